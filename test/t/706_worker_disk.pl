# The disk is full where sessions put what a worker is to read: wherever in a statement that is, it is
# the usual error of that statement (53100), nothing is left behind, the worker and the session live,
# and the next statement is served.
use strict;
use warnings;
use Cwd qw(abs_path);
use FindBin;
use lib "$FindBin::RealBin/../lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SemtokTest qw(private_installation);
use Test::More;
use WorkerTest qw(worker_node worker_program wait_for workers descriptors %verbs @verbs);

plan skip_all => 'this system has no /proc' if !-e "/proc/$$/exe";

# Nobody but root can fill a disk, so the server is told that it is full: test/lib/full_disk.c.
my $folder = abs_path(PostgreSQL::Test::Utils::tempdir());
my $compiler = $ENV{CC} // 'cc';
system_or_bail("$compiler -shared -fPIC -o '$folder/full_disk.so' '$FindBin::RealBin/../lib/full_disk.c' -ldl");

my ($path, undef, $libraries) = private_installation($folder);
my $program = "$libraries/semtok/semtokd";
system_or_bail('cp', '-L', $program, "$folder/saved");
worker_program($program, "$folder/saved");
# Rows for tokenize that do not go in a message.
local $verbs{tokenize} = {
	%{ $verbs{tokenize} },
	prepare => q{SET semtok.offload = off; SET client_min_messages = error;
		CREATE TABLE wide AS SELECT i AS id, array(SELECT (hashint4(i * 1000 + j) / 1e6)::real FROM generate_series(1, 512) AS j) AS x, null::semid AS sid FROM generate_series(1, 300) AS i;
		SELECT semtok.train('wide', 'SELECT x FROM wide', levels => 2, codes => 8, epochs => 1)},
	sql => q{UPDATE wide SET sid = null; CALL semtok.tokenize('wide', 'x', 'sid', 'wide'); SELECT md5(string_agg(sid::text, ',' ORDER BY id)), count(sid) FROM wide;} };
my %preload = (private => '', shared => "shared_preload_libraries = 'semtok'");

foreach my $mode (qw(private shared))
{
	my $node;
	{
		local $ENV{LD_PRELOAD} = "$folder/full_disk.so";
		$node = worker_node($mode, $preload{$mode}, install_path => $path);
	}
	my $full = $node->data_dir . '/full_disk';
	$node->safe_psql('postgres', $_) for grep { defined } map { $verbs{$_}{prepare} } @verbs;
	my $alone = WorkerTest->session($node, 'SET semtok.offload = off; SET client_min_messages = warning');
	my %right = map { $_ => scalar $alone->ask($verbs{$_}{sql}) } @verbs;
	$alone->end;

	my $session = WorkerTest->session($node, 'SET semtok.offload = on; SET client_min_messages = warning');
	$session->ask("\\set VERBOSITY verbose\n");
	is(join('', $session->ask($verbs{$_}{sql})), $right{$_}, "$mode: $_, with room") foreach @verbs;
	my @workers = workers($program);
	is(scalar @workers, 1, "$mode: there is a worker");
	my $open = descriptors($session->{pid});

	# No room at all; none for all rows, which a write finds in its middle; none behind the 76800 bytes of
	# the rows, where codes may have to lie; and none for all of the codewords that a training gives.
	foreach my $room (0, 40_000, 76_800, 90_000)
	{
		foreach my $verb (@verbs)
		{
			next if $room >= 90_000 && $verbs{$verb}{request} eq 'encode';
			# It has few rows and codewords.
			next if $room > 0 && $verb eq 'partial_fit';
			append_to_file("$full.new", "$room\n");
			rename "$full.new", $full or die "$full: $!";
			my (undef, $said) = $session->ask($verbs{$verb}{sql});
			like($said, qr/^ERROR:  53100: could not write to temporary file of a worker's data: No space left on device$/m, "$mode: $verb, with room for $room bytes");
			$session->ask('ROLLBACK');
			unlike($said, qr/WARNING:  [^2]/, "$mode: $verb: and nothing else");
			unlink $full or die "$full: $!";
			is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_ls_tmpdir()'), 0, "$mode: $verb: no file is left");
			is(join('', $session->ask($verbs{$verb}{sql})), $right{$verb}, "$mode: $verb: the next one is served");
			is(descriptors($session->{pid}), $open, "$mode: $verb: with the descriptors of before");
		}
	}
	is(scalar(workers($program)), 1, "$mode: there is one worker");
	is((workers($program))[0], $workers[0], "$mode: which is the same") if $mode eq 'shared';
	$session->end;
	my $log = slurp_file($node->logfile);
	unlike($log, qr/PANIC|TRAP|terminated by signal/, "$mode: the log has no crash");
	$node->stop;
	ok(wait_for(sub { !workers($program) }), "$mode: no worker is left");
}

done_testing();
