# How a session comes to a worker: one of another version, one that never says a word, interrupts while
# it connects, descriptors, settings that change, and one limit for all that it has under way.
use strict;
use warnings;
use Cwd qw(abs_path getcwd);
use FindBin;
use lib "$FindBin::RealBin/../lib";
use IO::Socket::UNIX;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SemtokTest qw(private_installation);
use Socket;
use Test::More;
use WorkerTest qw(worker_node worker_program wait_for workers descriptors %verbs);

my $folder = abs_path(PostgreSQL::Test::Utils::tempdir());
my ($path, undef, $libraries) = private_installation($folder);
my $program = "$libraries/semtok/semtokd";
my $saved = "$folder/saved";
system_or_bail('cp', '-L', $program, $saved);
worker_program($program, $saved);

# The same program with another version number, and one that says nothing, ever.
my ($version) = `"$saved" --version` =~ /^semtokd (\S+)$/ or die 'no version';
my $foreign = $version =~ tr/0-9/9/r;
append_to_file("$folder/foreign", slurp_file($saved) =~ s/\Q$version\E/$foreign/gr);
append_to_file("$folder/mute", "#!/bin/sh\nexec sleep 3600\n");
chmod 0755, "$folder/foreign", "$folder/mute";

# 64 files at most leave room for few connections: one that is not let go is soon missed.
my $node = worker_node('connection', "max_files_per_process = 64\nsemtok.worker_timeout = '1min'", install_path => $path);
my $place = 'pg_stat_tmp/semtok.sock';
my $socket = $node->data_dir . "/$place";
my $on = 'SET semtok.offload = on; SET client_min_messages = warning';
my $evaluate = $verbs{evaluate}{sql};
my $alone = WorkerTest->session($node, 'SET semtok.offload = off');
my $right = $alone->ask($evaluate);
$alone->end;

sub children
{
	my ($pid) = @_;
	return split ' ', `ps -o pid= --ppid $pid`;
}

# A socket at the place of the shared worker's, whose whole path may be too long for an address.
sub at_place
{
	my $back = getcwd;
	chdir $node->data_dir or die $!;
	my $socket = IO::Socket::UNIX->new(@_);
	chdir $back or die $!;
	return $socket;
}

# The session waits for a worker to say something: for its first word, or (REPLY) an answer.
sub waits
{
	my ($session, $reply) = @_;
	my $event = $node->pg_version < 17 ? 'Extension' : $reply ? 'SemtokWorkerReply' : 'SemtokWorkerStart';
	return $node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = $session->{pid} AND state = 'active' AND wait_event_type = 'Extension' AND wait_event = '$event'");
}

# A listening semtokd whose descriptor 0 is ours: it ends when that is closed.
sub listening
{
	my ($which) = @_;
	socketpair(my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die $!;
	my $pid = fork // die $!;
	if ($pid == 0)
	{
		chdir $node->data_dir or die $!;
		open STDIN, '<&', $theirs or die $!;
		close $ours;
		exec $which, ('--listen', $place), qw(--threads 1 --memory 67108864 --batch-max 1 --batch-wait-us 0);
		die $!;
	}
	close $theirs;
	wait_for(sub { at_place(Peer => $place) }) or die 'it does not listen';
	return ($ours, $pid);
}

my $warning = "WARNING:  semtok computes in the session what was meant for a worker: it is of version $foreign, not $version\n"
  . "DETAIL:  The answer is the same, but takes longer.\nHINT:  ";

# A shared worker of another version: refused each time, and nothing is left open.
{
	my ($control, $pid) = listening("$folder/foreign");
	my $session = WorkerTest->session($node, $on);
	my ($answer, $said) = $session->ask($evaluate);
	is($answer, $right, 'a shared worker of another version: the session computes');
	is($said, $warning . 'semtok was replaced while the server ran. Restart the server.', 'and says what to do');
	my $open = descriptors($session->{pid});
	($answer, $said) = $session->ask($evaluate) for 1 .. 20;
	like($said, qr/it is of version/, 'each time');
	is(descriptors($session->{pid}), $open, 'without leaving a connection');
	is(scalar(children($session->{pid})), 0, 'nor does it start one of its own');
	$session->end;
	close $control;
	waitpid $pid, 0;
	unlink $socket;
}

# One of the session's own of another version
{
	my $session = WorkerTest->session($node, $on);
	worker_program($program, "$folder/foreign");
	my ($answer, $said) = $session->ask($evaluate);
	is($answer, $right, 'a private worker of another version: the session computes');
	is($said, $warning . 'semtok was replaced while this session used it. Begin a new session.', 'and says what to do');
	is(scalar(children($session->{pid})), 0, 'no process is left');
	worker_program($program, $saved);
	($answer, $said) = $session->ask($evaluate);
	is("$answer$said", $right, 'the right one is taken');
	$session->end;
}

# Interrupts while it connects: to a socket that nobody serves, and to a program that says nothing.
foreach my $which ('shared', 'private')
{
	my $listener = $which eq 'shared' ? at_place(Local => $place, Listen => 8) // die $! : undef;
	worker_program($program, "$folder/mute");
	my $session = WorkerTest->session($node, $on);
	# What is read for the first time stays open.
	$session->ask("SET semtok.offload = off; $evaluate SET semtok.offload = on");
	my $open = descriptors($session->{pid});
	foreach (1 .. 2)
	{
		$session->send($evaluate);
		ok(waits($session), "$which: the session waits for a worker that says nothing");
		$node->safe_psql('postgres', "SELECT pg_cancel_backend($session->{pid})");
		my (undef, $said) = $session->answer;
		like($said, qr/^ERROR:  canceling statement/, "$which: is cancelled");
		is(scalar(children($session->{pid})), 0, "$which: no process is left");
		is(descriptors($session->{pid}), $open, "$which: nor a descriptor");
	}
	close $listener if $listener;
	unlink $socket;
	worker_program($program, $saved);
	is(join('', $session->ask($evaluate)), $right, "$which: the next statement has a worker");
	worker_program($program, "$folder/mute");
	kill 'KILL', workers($program, $session->{pid});
	$session->send($evaluate);
	ok(wait_for(sub { grep { readlink("/proc/$_/exe") =~ /sleep|busybox|coreutils/ } children($session->{pid}) }), "$which: another one begins");
	ok(waits($session), "$which: which says nothing");
	my @mute = children($session->{pid});
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($session->{pid})");
	ok(wait_for(sub { !kill 0, $session->{pid} }), "$which: the session is terminated");
	ok(!kill(0, @mute), "$which: and what it has started has ended before");
	$session->end;
	worker_program($program, $saved);
}

# Settings that a reload changes reach the worker that a session has.
{
	my $session = WorkerTest->session($node, $on);
	$session->ask($evaluate);
	my $has = q{SELECT pid, threads, memory_limit FROM semtok.workers WHERE backend = pg_backend_pid()};
	my ($worker) = split /\|/, scalar $session->ask($has);
	ok($worker, 'a worker');
	is(scalar $session->ask('SELECT round_trip_us > 0, offload_above_us > round_trip_us FROM semtok.workers WHERE backend = pg_backend_pid()'),
		't|t', 'from which work on it is the sooner was measured');
	my $began = q{SELECT started_at, started_at BETWEEN backend_start AND now() FROM semtok.workers JOIN pg_stat_activity AS a ON a.pid = backend WHERE backend = pg_backend_pid()};
	my $first = $session->ask($began);
	like($first, qr/\|t$/, 'it tells when it began');
	is(scalar $session->ask($began), $first, 'to all who ask the same');
	$node->append_conf('postgresql.conf', "semtok.worker_threads = 3\nsemtok.worker_memory = '64MB'");
	$node->reload;
	ok(wait_for(sub { $session->ask('SHOW semtok.worker_threads') eq '3' }), 'settings change');
	is(join('', $session->ask($evaluate)), $right, 'the worker answers');
	is(scalar $session->ask($has), "$worker|3|67108864", 'and is the same, with the new settings');
	$session->end;
}

# All that a session has under way keeps to one limit: what another pipe leaves no room for is computed
# in the session.
{
	my $session = WorkerTest->session($node, "$on; SET semtok.max_worker_bytes = '40kB'");
	my $inner = q{SELECT md5(string_agg(e::text, ',' ORDER BY e::text)) FROM semtok.encode_batch('items', 'SELECT x FROM items WHERE id <= 172') AS e};
	my $outer = q{SELECT * FROM semtok.evaluate('items', 'SELECT x FROM items WHERE id <= 250 AND (id <> 250 OR inside())')};
	my $rows = q{SELECT rows FROM semtok.workers WHERE backend = pg_backend_pid()};
	$session->ask(q{CREATE FUNCTION inside() RETURNS bool LANGUAGE plpgsql AS
		$$ BEGIN PERFORM set_config('test.inside', md5(string_agg(e::text, ',' ORDER BY e::text)), false) FROM semtok.encode_batch('items', 'SELECT x FROM items WHERE id <= 172') AS e; RETURN true; END $$});
	my $separate = $session->ask($inner);
	my $whole = $session->ask(q{SELECT * FROM semtok.evaluate('items', 'SELECT x FROM items WHERE id <= 250')});
	my $before = $session->ask($rows);
	is($before, 172 + 250, 'one after the other: the worker computes all');
	my ($worker) = workers($program, $session->{pid});
	kill 'STOP', $worker;
	$session->send($outer);
	ok(waits($session, 'reply'), 'one inside the other, and no answers');
	kill 'CONT', $worker;
	is(join('', $session->answer), $whole, 'the outer one is right');
	is($session->ask('SHOW test.inside'), $separate, 'so is the inner one');
	my $more = $session->ask($rows) - $before;
	cmp_ok($more, '<', 172 + 250, 'there was no room for all');
	cmp_ok($more, '>', 250, 'but for some');
	$session->ask('DROP FUNCTION inside');
	$session->end;
}
$node->stop;
ok(wait_for(sub { !workers($program) }), 'no worker is left');

done_testing();
