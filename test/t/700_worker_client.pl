# A session and its own worker: when that begins and ends, what becomes of a statement that is cancelled
# or loses its worker while it waits, what limits hold, and that answers are the same with and without.
use strict;
use warnings;
use Cwd qw(abs_path);
use FindBin;
use lib "$FindBin::RealBin/../lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SemtokTest qw(private_installation restarted);
use Test::More;
use WorkerTest qw(worker_node worker_program wait_for workers descriptors files %verbs @verbs);

my ($path, undef, $libraries) = private_installation(PostgreSQL::Test::Utils::tempdir());
my $program = "$libraries/semtok/semtokd";
my $saved = PostgreSQL::Test::Utils::tempdir() . '/semtokd';
system_or_bail('cp', '-L', $program, $saved);
worker_program($program, $saved);

# One that says nothing, ever.
my $mute = PostgreSQL::Test::Utils::tempdir() . '/mute';
append_to_file($mute, "#!/bin/sh\nexec sleep 3600\n");
chmod 0755, $mute;

my $node = worker_node('client', "semtok.worker_timeout = '1min'\nrestart_after_crash = on", install_path => $path);
my $on = 'SET semtok.offload = on; SET client_min_messages = warning';
my $begin = "$verbs{partial_fit}{sql}";

# Children of a process, whatever they are by now, the dead ones that nobody has reaped included.
sub children
{
	my ($pid) = @_;
	return split ' ', `ps -o pid= --ppid $pid`;
}

# The backend waits for its worker.
sub waits
{
	my ($session) = @_;
	return $node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE pid = $session->{pid} AND state = 'active' AND wait_event_type = 'Extension'");
}

sub temporary_files
{
	return $node->safe_psql('postgres', 'SELECT count(*) FROM pg_ls_tmpdir()');
}

# A session whose worker is stopped, so that whatever it asks of it stays under way.
sub stopped
{
	my ($settings) = @_;
	my $session = WorkerTest->session($node, join '; ', $on, $settings // ());
	$session->ask($begin);
	my ($worker, @more) = workers($program, $session->{pid});
	ok($worker && !@more, 'there is one worker');
	kill 'STOP', $worker;
	return ($session, $worker);
}

# What verbs answer without a worker.
my %right;
{
	my $session = WorkerTest->session($node, 'SET semtok.offload = off; SET client_min_messages = warning');
	foreach my $verb (@verbs)
	{
		$session->ask($verbs{$verb}{prepare}) if $verbs{$verb}{prepare};
		$right{$verb} = $session->ask($verbs{$verb}{sql});
		unlike($right{$verb}, qr/ERROR/, "$verb: answers");
	}
	is(scalar(children($session->{pid})), 0, 'offload = off starts no worker');
	$session->end;
}

# A worker begins with the first heavy call, serves them all, and ends with the session.
{
	my $session = WorkerTest->session($node, $on);
	is(scalar(children($session->{pid})), 0, 'no worker without work');
	$session->ask($begin);
	my @first = workers($program, $session->{pid});
	is(scalar @first, 1, 'the first heavy call starts a worker');
	# It closes what it was handed a moment after its answer.
	my %its;
	ok( wait_for(sub {
			%its = files($first[0]);
			delete @its{ 0 .. 2 };
			join(' ', sort values %its) eq 'anon_inode:[eventfd] anon_inode:[eventfd] anon_inode:[eventpoll] anon_inode:[timerfd]';
		}, 10),
		'which has nothing of the session open') or diag(join "\n", values %its);
	foreach my $verb (@verbs)
	{
		my ($answer, $said) = $session->ask($verbs{$verb}{sql});
		is($answer, $right{$verb}, "$verb: a worker answers the same");
		is($said, '', "$verb: and that is all");
	}
	is(join(' ', workers($program, $session->{pid})), "@first", 'it is the only one');
	is(temporary_files(), 0, 'no temporary file is left');
	$session->end;
	ok(wait_for(sub { !kill 0, @first }), 'it ends with the session');

	$session = WorkerTest->session($node, $on);
	$session->ask($begin);
	@first = workers($program, $session->{pid});
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($session->{pid})");
	ok(wait_for(sub { !kill 0, @first }), 'it ends with a session that is terminated');
	$session->end;
}

# A worker that dies idle is replaced, without a word.
{
	my $session = WorkerTest->session($node, $on);
	$session->ask($begin);
	my ($worker) = workers($program, $session->{pid});
	kill 'KILL', $worker;
	my ($answer, $said) = $session->ask($verbs{evaluate}{sql});
	is($answer, $right{evaluate}, 'a worker that died idle is replaced');
	is($said, '', 'without a word');
	$session->end;
}

# One that is killed at work is followed by another, without a word; after the second loss the session
# computes, and warns.
foreach my $verb (@verbs)
{
	my ($session, $worker) = stopped();
	$session->send($verbs{$verb}{sql});
	ok(waits($session), "$verb: waits");
	kill 'KILL', $worker;
	my ($answer, $said) = $session->answer;
	is($answer, $right{$verb}, "$verb: the worker killed, the same answer");
	is($said, '', "$verb: of another one, without a word");
	isnt((workers($program, $session->{pid}))[0], $worker, "$verb: it is another one");
	$session->end;

	($session, $worker) = stopped();
	$session->send($verbs{$verb}{sql});
	ok(waits($session), "$verb: waits");
	worker_program($program, $mute);
	kill 'KILL', $worker;
	my @next;
	ok(wait_for(sub { @next = grep { $_ != $worker } children($session->{pid}) }), "$verb: another one begins");
	ok(wait_for(sub { readlink("/proc/$next[0]/exe") =~ /sleep|busybox|coreutils/ }), "$verb: and is mute");
	kill 'KILL', $next[0];
	($answer, $said) = $session->answer;
	is($answer, $right{$verb}, "$verb: that one killed, too, the same answer");
	like($said, qr/\AWARNING:  semtok computes in the session what was meant for a worker: it was terminated by signal 9: Killed\nDETAIL:.*\nHINT:  The server's standard error, a part of most logs, has what it said itself\.\z/,
		"$verb: of the session, which warns, once");
	worker_program($program, $saved);
	($answer, $said) = $session->ask($verbs{$verb}{sql});
	is("$answer$said", $right{$verb}, "$verb: the next statement has a worker");
	is(scalar(workers($program, $session->{pid})), 1, "$verb: one");
	$session->end;
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM semtok.tokenizers'), 2, 'nothing was left behind');

# What ends a statement while it waits ends its worker, and the session works on.
sub cancelled
{
	my ($session, $verb, $end, $open) = @_;
	my (undef, $said) = $session->answer;
	like($said, qr/^ERROR:  57014: canceling statement/, "$verb, $end: it is cancelled");
	is(scalar(children($session->{pid})), 0, "$verb, $end: its worker is no more");
	# the worker's socket, and what the session waits with for it
	cmp_ok(descriptors($session->{pid}), '<', $open, "$verb, $end: and no descriptor");
	$session->ask('SET statement_timeout = 0; ROLLBACK');
	is(scalar($session->ask($verbs{$verb}{sql})), $right{$verb}, "$verb, $end: the next statement works");
	is(descriptors($session->{pid}), $open, "$verb, $end: with the descriptors of before");
	return;
}

foreach my $verb (@verbs)
{
	my ($session, $worker) = stopped();
	$session->ask("\\set VERBOSITY verbose\n");
	my $open = descriptors($session->{pid});
	$session->send($verbs{$verb}{sql});
	ok(waits($session), "$verb, pg_cancel_backend: waits");
	$node->safe_psql('postgres', "SELECT pg_cancel_backend($session->{pid})");
	cancelled($session, $verb, 'pg_cancel_backend', $open);
	is(temporary_files(), 0, "$verb, pg_cancel_backend: no temporary file is left");

	($worker) = workers($program, $session->{pid});
	kill 'STOP', $worker;
	$session->send($verbs{$verb}{sql});
	ok(waits($session), "$verb, pg_terminate_backend: waits");
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($session->{pid})");
	ok(wait_for(sub { !kill 0, $session->{pid} }), "$verb, pg_terminate_backend: the session ends");
	ok(!kill(0, $worker), "$verb, pg_terminate_backend: its worker has ended before");
	is(temporary_files(), 0, "$verb, pg_terminate_backend: no temporary file is left");
	$session->end;
}

# A timeout gives each time enough to come to wait, so all of them wait together.
my @timed;
foreach my $verb (@verbs)
{
	my ($session) = stopped(q{SET statement_timeout = '1s'});
	$session->ask("\\set VERBOSITY verbose\n");
	push @timed, [ $session, $verb, descriptors($session->{pid}) ];
	$session->send($verbs{$verb}{sql});
}
cancelled($_->[0], $_->[1], 'statement_timeout', $_->[2]) foreach @timed;
is(temporary_files(), 0, 'statement_timeout: no temporary file is left');
$_->[0]->end foreach @timed;

# An error of the caller's while rows are on their way, caught by it.
{
	my $session = WorkerTest->session($node, "$on; SET client_min_messages = error");
	$session->ask($begin);
	my ($worker) = workers($program, $session->{pid});
	my $open = descriptors($session->{pid});
	kill 'STOP', $worker;
	$session->ask(q{CREATE FUNCTION fails(int) RETURNS bool LANGUAGE plpgsql AS
		'BEGIN IF $1 = 599 THEN RAISE EXCEPTION ''here''; END IF; RETURN true; END'});
	my $caught = $session->ask(q{DO $$ BEGIN
			PERFORM count(*) FROM semtok.evaluate('items', 'SELECT x FROM items, generate_series(1, 60) AS g WHERE g < 60 OR fails(id)');
			RAISE EXCEPTION 'no error';
		EXCEPTION WHEN raise_exception THEN
			IF sqlerrm <> 'here' THEN RAISE; END IF;
		END $$});
	is($caught, '', 'an error among the rows reaches the caller');
	is(scalar(children($session->{pid})), 0, 'what it was asked for ends with the worker');
	cmp_ok(descriptors($session->{pid}), '<', $open, 'and with the connection');
	is(scalar($session->ask($verbs{evaluate}{sql})), $right{evaluate}, 'and the session works on');
	is(temporary_files(), 0, 'no temporary file is left');
	$session->ask('DROP FUNCTION fails');
	$session->end;
}

# Limits.
{
	my $session = WorkerTest->session($node, $on);
	$session->ask("\\set VERBOSITY verbose\n");
	my $train = q{SELECT semtok.train('limited', 'SELECT x FROM items, generate_series(1, 100)', levels => 2, codes => 16, epochs => 1)};
	$session->ask(q{SET temp_file_limit = '4MB'});
	my ($answer, $said) = $session->ask($train);
	like($said, qr/^ERROR:  53400: temporary file size exceeds "?temp_file_limit"? \(4096kB\)/, 'temp_file_limit holds');
	is(temporary_files(), 0, 'and leaves no file');
	# Rows take less than that, and so does the answer.
	$session->ask(q{SET temp_file_limit = '100kB'});
	($answer, $said) = $session->ask($verbs{train}{sql});
	like($said, qr/^ERROR:  53400: temporary file size exceeds "?temp_file_limit"? \(100kB\)/, 'it counts the room for the answer, too');
	$session->ask('ROLLBACK');
	$session->ask(q{RESET temp_file_limit; SET semtok.max_worker_bytes = '4MB'});
	($answer, $said) = $session->ask($train);
	like($said, qr/^ERROR:  53400: expected at most 4096 kB of data for a worker, not 7505 kB\n(.*\n)*HINT:/,
		'semtok.max_worker_bytes holds for a training');
	is(scalar($session->ask($verbs{evaluate}{sql})), $right{evaluate}, 'pieces of rows keep to it');
	$session->ask(q{SET semtok.max_worker_bytes = '8kB'});
	is(scalar($session->ask($verbs{evaluate}{sql})), $right{evaluate}, 'small ones, where it is low');
	$session->ask(q{SET semtok.max_worker_bytes = '4kB'});
	($answer, $said) = $session->ask($verbs{evaluate}{sql});
	like($said, qr/^ERROR:  53400: expected at most 4 kB of data for a worker, not 7 kB\n/, 'and none, where it leaves no room');
	# Without semtok.offload = on that is what the session computes, though it has a worker.
	my $rows = q{SELECT rows FROM semtok.workers WHERE backend = pg_backend_pid()};
	my $before = $session->ask($rows);
	foreach my $verb (@verbs)
	{
		is(join('', $session->ask("SET semtok.offload = auto; $verbs{$verb}{sql} SET semtok.offload = on")), $right{$verb}, "$verb: what is too much for a worker the session computes");
	}
	is(scalar($session->ask($rows)), $before, 'the worker gets none of it');
	# A limit of a role's
	$node->safe_psql('postgres', q{CREATE ROLE limited LOGIN; ALTER ROLE limited SET semtok.max_worker_bytes = '4kB'; GRANT SELECT ON items TO limited});
	my ($status, $out, $err) = $node->psql('postgres', "SET semtok.offload = on; $verbs{evaluate}{sql}", extra_params => [ '-U', 'limited' ]);
	like($err, qr/ERROR: .*expected at most 4 kB of data for a worker, not 7 kB/, 'a role has its limit');
	($status, $out, $err) = $node->psql('postgres', "SELECT '[1]'::semid; SET semtok.max_worker_bytes = -1", extra_params => [ '-U', 'limited' ]);
	like($err, qr/ERROR: .*permission denied to set parameter "semtok.max_worker_bytes"/, 'which only a superuser moves');
	($status, $out, $err) = $node->psql('postgres', "SET semtok.max_worker_bytes = -1; SET semtok.offload = on; $verbs{evaluate}{sql}", extra_params => [ '-U', 'limited' ]);
	like($err, qr/ERROR: .*expected at most 4 kB of data for a worker, not 7 kB/, 'before the library is there, either');
	$session->ask(q{RESET semtok.max_worker_bytes; SET semtok.device = cuda});
	($answer, $said) = $session->ask($verbs{evaluate}{sql});
	like($said, qr/^ERROR:  0A000: /, 'a device that is not there');
	$session->end;
}

# Pieces, several at a time, and rows that are at fault: the same with a worker and without.
{
	my $session = WorkerTest->session($node, 'SET client_min_messages = warning');
	$session->ask(q{
		CREATE TABLE many AS SELECT g * 10000 + i AS id, array(SELECT ((hashint4(i * 7 + g * 1000003 + j)) / 1e6)::real FROM generate_series(1, 384) AS j) AS x, null::semid AS sid
			FROM generate_series(1, 5) AS g, generate_series(1, 300) AS i;
		SET semtok.max_worker_bytes = '1MB';
		SET semtok.offload = off;
		SELECT semtok.train('many', 'SELECT x FROM many WHERE id % 10 = 0', levels => 3, codes => 64, epochs => 2)});
	# A codebook that the row at fault is farther away from than a number can tell.
	$session->ask(q{
		CREATE TABLE wrong AS SELECT i AS id, array_fill(CASE WHEN i = 701 THEN 3e38 ELSE i END::real, '{32}') AS x, null::semid AS sid
			FROM generate_series(1, 1400) AS i;
		SELECT semtok.train('far', 'SELECT array_fill((-3e38)::real, ''{32}'')', levels => 2, codes => 1)});
	my %answers;
	foreach my $offload (qw(off on auto))
	{
		$session->ask("SET semtok.offload = $offload; UPDATE many SET sid = NULL");
		$session->ask(q{CALL semtok.tokenize('many', 'x', 'sid', 'many', batch_size => 1000)});
		push @{ $answers{tokenize} }, scalar $session->ask(q{SELECT md5(string_agg(sid::text, ',' ORDER BY id)), count(sid) FROM many});
		push @{ $answers{evaluate} }, scalar $session->ask(q{SELECT e::text FROM semtok.evaluate('many', 'SELECT x FROM many ORDER BY id') AS e});
		push @{ $answers{'so many codes that they come in the file'} },
		  scalar $session->ask(q{RESET semtok.max_worker_bytes; SELECT e::text FROM semtok.evaluate('items', 'SELECT x FROM items, generate_series(1, 60)') AS e; SET semtok.max_worker_bytes = '1MB'});
		push @{ $answers{'a row at fault'} }, join ' ', $session->ask(q{CALL semtok.tokenize('wrong', 'x', 'sid', 'far')});
		push @{ $answers{'a row at fault of evaluate'} }, join ' ', $session->ask(q{SELECT * FROM semtok.evaluate('far', 'SELECT x FROM wrong ORDER BY id')});
	}
	foreach my $what (sort keys %answers)
	{
		my ($off, @others) = @{ $answers{$what} };
		is($_, $off, "$what: the same, whoever computes") foreach @others;
	}
	like($answers{$_}[0], qr/ERROR:.*\n(CONTEXT|.*row)/, "$_ is an error that names it") foreach grep { /fault/ } keys %answers;
	$session->end;
}

# A session that is killed takes its worker with it, though the whole server starts anew.
{
	my $session = WorkerTest->session($node, $on);
	$session->ask($begin);
	my ($worker) = workers($program, $session->{pid});
	kill 'STOP', $worker; # it does not see that the connection ends
	kill 'KILL', $session->{pid};
	ok(wait_for(sub { !kill(0, $worker) || `ps -o stat= -p $worker` =~ /^Z/ }), 'the worker of a session that is killed ends');
	$session->end;
	restarted($node);
	is(scalar(workers($program)), 0, 'and none is left');
}
$node->stop;
ok(wait_for(sub { !workers($program) }), 'none outlives the server');

# Two servers on one machine, one of them in a folder whose path is too long for a socket's address.
{
	my $shared = "shared_preload_libraries = 'semtok'\nsemtok.offload = on";
	my @nodes = map { worker_node($_, $shared, install_path => $path) } 'near', 'far_' . 'a' x 120;
	cmp_ok(length $nodes[1]->data_dir, '>', 108, 'a long path');
	my @workers;
	foreach my $n (@nodes)
	{
		my @found;
		my $folder = abs_path($n->data_dir); # a worker's is its server's
		ok(wait_for(sub { @found = grep { (readlink("/proc/$_/cwd") // '') eq $folder } workers($program) }), 'each server has a worker');
		is(scalar @found, 1, 'one');
		ok(wait_for(sub { -S $n->data_dir . '/pg_stat_tmp/semtok.sock' }), 'which listens');
		push @workers, @found;
	}
	foreach my $n (@nodes)
	{
		my $session = WorkerTest->session($n, 'SET client_min_messages = warning');
		is(join('', $session->ask($verbs{evaluate}{sql})), $right{evaluate}, 'which answers');
		is(scalar(children($session->{pid})), 0, 'and its sessions need none of their own');
		$session->end;
	}
	$nodes[0]->stop;
	ok(!kill(0, $workers[0]), 'one server stops, and its worker');
	ok(kill(0, $workers[1]), 'the other one goes on');
	$nodes[1]->stop;
}

# The first process of a server is killed while a session waits for its worker: both end, too.
$node = worker_node('orphans', "semtok.worker_timeout = '1min'", install_path => $path);
{
	my ($session, $worker) = stopped();
	$session->send($verbs{evaluate}{sql});
	ok(waits($session), 'a session waits');
	$node->kill9;
	foreach my $pid ($session->{pid}, $worker)
	{
		ok(wait_for(sub { !kill(0, $pid) || `ps -o stat= -p $pid` =~ /^Z/ }), 'the session and its worker end with the server');
	}
	$session->answer;
	$session->end;
}

done_testing();
