# A training by method rqvae that is interrupted goes on from its checkpoint to the same bytes: after a
# cancel, the end of its session, a crash of the server, and when its worker is killed under it. Whose
# checkpoint is whose, and when one goes. And what is learnt is the same after a dump, on a standby, and
# when two sessions train one name at a time.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SemtokTest qw(private_installation restarted);
use Test::More;
use WorkerTest qw(worker_node worker_program wait_for workers);

plan skip_all => 'this system has no /proc' if !-e "/proc/$$/exe";

my ($path, undef, $libraries) = private_installation(PostgreSQL::Test::Utils::tempdir());
my $program = "$libraries/semtok/semtokd";
# A copy, so that this test's workers are told from another's.
my $saved = PostgreSQL::Test::Utils::tempdir() . '/semtokd';
system_or_bail('cp', '-L', $program, $saved);
worker_program($program, $saved);
my $node = worker_node('rqvae', 'restart_after_crash = on', install_path => $path);
my $folder = $node->data_dir . '/semtok_checkpoints';
my $epochs = 250;
my $options = '"encoder": [64, 32], "latent": 8, "learning_rate": 0.002, "eval_every": 50, "eval_source": "SELECT x FROM few"';

# A training that takes seconds, and what it comes to.
sub training
{
	my ($name, $more, %say) = @_;
	my $source = $say{source} // 'SELECT x FROM items';
	return qq{SELECT semtok.train('$name', '$source', method => 'rqvae', levels => 2, codes => 32, epochs => $epochs, batch_size => 64, options => '{$options$more}')};
}

sub last_version
{
	my ($name) = @_;
	return $node->safe_psql('postgres',
		"SELECT hash, md5(state) FROM semtok.tokenizer WHERE name = '$name' ORDER BY version DESC LIMIT 1");
}

sub versions
{
	my ($name) = @_;
	return $node->safe_psql('postgres', "SELECT count(*) FROM semtok.tokenizer WHERE name = '$name'");
}

sub checkpoints { return grep { !/\.tmp$/ } glob "$folder/*" }

# Begin one, and wait until it has left a checkpoint.
sub begun
{
	my ($name, $settings, $more) = @_;
	my $session = WorkerTest->session($node, $settings);
	$session->send(training($name, ', "checkpoint_every": 1' . ($more // '')));
	ok(wait_for(sub { checkpoints() }), 'there is a checkpoint');
	return $session;
}

my ($status, $out, $err) =
  $node->psql('postgres', "SET semtok.offload = off; SET client_min_messages = error; " . training('right', ''));
is($status, 0, 'a training without checkpoints') or diag $err;
my $right = last_version('right');
is(-e $folder, undef, 'keeps none');

my %end = (
	cancelled => sub { my $s = shift; $node->safe_psql('postgres', "SELECT pg_cancel_backend($s->{pid})"); $s->answer; },
	terminated => sub { my $s = shift; $node->safe_psql('postgres', "SELECT pg_terminate_backend($s->{pid})"); $s->answer; },
	killed => sub { my $s = shift; kill 'KILL', $s->{pid}; $s->answer; restarted($node); },
	stopped => sub { my $s = shift; $node->stop('immediate'); $s->answer; $node->start; });

foreach my $offload (qw(off on))
{
	foreach my $how (sort keys %end)
	{
		my $name = "$how $offload";
		my $session = begun($name, "SET semtok.offload = $offload; SET client_min_messages = error");
		$end{$how}->($session);
		$session->end;
		is(versions($name), 0, "$name: no version");
		is(scalar(checkpoints()), 1, "$name: its checkpoint stays");
		# It goes on wherever: the numbers are the same in a worker and in the session.
		($status, $out, $err) = $node->psql('postgres',
			'SET semtok.offload = ' . ($offload eq 'on' ? 'off' : 'on') . '; ' . training($name, ', "resume": true'));
		is($status, 0, "$name: resumed") or diag $err;
		my ($behind) = $err =~ /NOTICE:  training "$name" goes on behind epoch (\d+) of $epochs/;
		ok($behind, "$name: behind an epoch") or diag $err;
		is(last_version($name), $right, "$name: to the same bytes");
		is($node->safe_psql('postgres', "SELECT min(epoch), max(epoch), count(*) FROM semtok.training_log AS l JOIN semtok.tokenizer AS t ON t.id = l.tokenizer WHERE t.name = '$name' AND l.metric = 'loss'"),
			($behind + 1) . "|$epochs|" . ($epochs - $behind), "$name: its log has the epochs behind that");
		is(scalar(checkpoints()), 0, "$name: the checkpoint has gone");
	}
}

# The worker is killed: the session has the next one go on, without a word.
{
	my $session = begun('worker', 'SET semtok.offload = on; SET client_min_messages = warning');
	my ($worker) = workers($program, $session->{pid});
	kill 'KILL', $worker;
	my $killed = $node->safe_psql('postgres', 'SELECT clock_timestamp()');
	my (undef, $said) = $session->answer;
	unlike($said, qr/ERROR|computes in the session/, 'a worker is killed in the middle');
	$session->end;
	is(last_version('worker'), $right, 'the next one comes to the same bytes');
	is($node->safe_psql('postgres', q{SELECT count(DISTINCT epoch), count(*) FROM semtok.training_log AS l JOIN semtok.tokenizer AS t ON t.id = l.tokenizer WHERE t.name = 'worker' AND l.metric = 'loss'}),
		"$epochs|$epochs", 'the log has every epoch once');
	is($node->safe_psql('postgres', qq{SELECT min(at) < '$killed' FROM semtok.training_log AS l JOIN semtok.tokenizer AS t ON t.id = l.tokenizer WHERE t.name = 'worker' AND l.metric = 'loss'}),
		't', 'and those before were not computed again');
	is(scalar(checkpoints()), 0, 'no checkpoint is left');
}

# A checkpoint is of the same role, rows and arguments, and whole.
{
	my $session = begun('mine', 'SET semtok.offload = off; SET client_min_messages = error');
	$end{cancelled}->($session);
	$session->end;
	my ($file) = checkpoints();
	is((stat $file)[2] & 0077, 0, 'only the server reads it');
	$node->safe_psql('postgres', 'CREATE ROLE another; GRANT SELECT ON items, few TO another');
	my $anew = qr/training "\w+" has no checkpoint to go on from/;
	my $quickly = 'SET semtok.offload = on; SET statement_timeout = 0;';
	my %other = (
		'other rows' => training('mine', ', "resume": true', source => 'SELECT x FROM items WHERE id > 1'),
		'another learning rate' => training('mine', ', "resume": true') =~ s/0\.002/0.003/r,
		'another seed' => training('mine', ', "resume": true') =~ s/epochs =>/seed => 1, epochs =>/r,
		'another name' => training('yours', ', "resume": true'),
		'another role' => 'SET ROLE another; ' . training('theirs', ', "resume": true'));
	foreach my $what (sort keys %other)
	{
		(undef, undef, $err) = $node->psql('postgres', "$quickly BEGIN; $other{$what}; ROLLBACK");
		like($err, $anew, "$what: no checkpoint of this");
		ok(-e $file, 'which stays');
	}
	# What a training is rolled back with has it again.
	foreach my $back ('ROLLBACK', 'ROLLBACK TO s; COMMIT')
	{
		(undef, undef, $err) = $node->psql('postgres', "$quickly BEGIN; SAVEPOINT s; " . training('mine', ', "resume": true') . "; $back");
		like($err, qr/goes on behind epoch/, "$back: it went on");
		ok(-e $file, 'and the checkpoint stays');
	}
	open(my $damaged, '+<', $file) or die $!;
	seek $damaged, -100, 2;
	print $damaged 'x';
	close $damaged;
	(undef, undef, $err) = $node->psql('postgres', "$quickly BEGIN; SAVEPOINT s; " . training('mine', ', "resume": true') . '; RELEASE s; COMMIT');
	like($err, qr/WARNING:  checkpoint "semtok_checkpoints\/[^"]*" is damaged/, 'a damaged one is said to be');
	like($err, $anew, 'and is none');
	is(last_version('mine'), $right, 'what is learnt from the beginning is right');
	is(-e $file, undef, 'and the checkpoint goes when that is committed');
}

# What nobody has gone on from for a month goes.
{
	append_to_file("$folder/1-$_", 'old') for qw(a b);
	utime time - 31 * 86400, time - 31 * 86400, "$folder/1-a";
	$node->safe_psql('postgres', q{SET client_min_messages = error; SELECT semtok.train('sweep', 'SELECT x FROM few', method => 'rqvae', levels => 1, codes => 4, epochs => 1, options => '{"encoder": [4], "latent": 2, "checkpoint_every": 1}')});
	is_deeply([ checkpoints() ], ["$folder/1-b"], 'a training removes checkpoints of a month ago');
	unlink "$folder/1-b";
}

# Two sessions train one name, with checkpoints: two versions, alike.
{
	my @sessions = map { WorkerTest->session($node, 'SET semtok.offload = off; SET client_min_messages = error') } 1 .. 2;
	$_->send(training('both', ', "checkpoint_every": 3')) for @sessions;
	like(scalar $_->answer, qr/^\d+$/, 'one of two trainings of a name') for @sessions;
	$_->end for @sessions;
	is($node->safe_psql('postgres', q{SELECT count(*), count(DISTINCT state), count(*) FILTER (WHERE active) FROM semtok.tokenizer WHERE name = 'both'}),
		'2|1|1', 'makes a version');
	is(last_version('both'), $right, 'of the same bytes');
	is(scalar(checkpoints()), 0, 'no checkpoint is left');
}

# What the view shows meanwhile, on a server that has it.
SKIP:
{
	skip 'the view needs shared_preload_libraries before 17', 1 if $node->pg_version < 17;
	my $session = WorkerTest->session($node, 'SET semtok.offload = on; SET client_min_messages = error');
	$session->send(training('seen', ''));
	ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM semtok.stat_progress WHERE phase = 'training' AND epoch > 1 AND loss > 0}), 'progress is shown');
	$end{cancelled}->($session);
	$session->end;
}

# Dump and restore: the same ids, and partial_fit goes on from the state.
my $look = q{SELECT md5(string_agg(semtok.encode('right', x)::text || semtok.decode('right', semtok.encode('right', x))::text, ',' ORDER BY id)) FROM items};
my $fit = q{SET client_min_messages = error; SELECT semtok.partial_fit('right', 'SELECT x FROM items WHERE id < 300', batch_size => 50) AS id \gset
	SELECT hash, md5(state) FROM semtok.tokenizer WHERE id = :id};
my $answer = $node->safe_psql('postgres', $look);
my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, '-d', $node->connstr('postgres') ], 'dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', $dump, '-d', $node->connstr('restored') ], 'restored');
is($node->safe_psql('restored', $look), $answer, 'ids and embeddings are the same');
is($node->safe_psql('restored', $fit), $node->safe_psql('postgres', $fit), 'and so is what goes on from it');

# A standby.
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby', install_path => $path);
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', $look), $answer, 'a standby answers the same');
(undef, undef, $err) = $standby->psql('postgres', training('right', ''));
like($err, qr/cannot execute semtok\.train\(\) during recovery|read-only transaction/, 'and trains nothing');
# What a crash has left of one that was being written is none.
is(scalar(grep { !/\.tmp$/ } glob($standby->data_dir . '/semtok_checkpoints/*')), 0, 'it has no checkpoints');
$standby->stop;
$node->stop;
done_testing();
