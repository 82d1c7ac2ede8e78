# The shared worker and its supervisor: whatever happens to one of them, it is replaced, the server and
# its sessions notice nothing, and nothing outlives the server. Who may see what in the views.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/../lib";
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SemtokTest qw(private_installation restarted);
use Test::More;
use WorkerTest qw(files);

my $preload = "shared_preload_libraries = 'semtok'\nsemtok.worker_timeout = '1s'\nsemtok.worker_threads = 1\nautovacuum = off\nrestart_after_crash = on\n";

# Wait for a shared worker other than the one with this pid; the new one's pid.
sub worker
{
	my ($node, $not) = @_;
	my $running = q{SELECT pid FROM semtok.workers WHERE kind = 'shared' AND state = 'running' AND pid <> } . ($not // 0);
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM ($running) AS r") or die 'there is no worker';
	return $node->safe_psql('postgres', $running);
}

# Has the process gone, or will it soon? Where the first process does not reap, the dead stay zombies.
sub gone
{
	my ($pid) = @_;
	my $tries = 10 * $PostgreSQL::Test::Utils::timeout_default;
	while ($tries-- > 0)
	{
		return 1 unless kill(0, $pid) && `ps -o stat= -p $pid` =~ /^[^Z]/;
		select undef, undef, undef, 0.1;
	}
	return 0;
}

sub one
{
	my ($node, $columns) = @_;
	return $node->safe_psql('postgres', "SELECT $columns FROM semtok.workers WHERE kind = 'shared'");
}

my $supervisors = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'semtok supervisor'};

my $node = PostgreSQL::Test::Cluster->new('supervised');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', $preload);
my $log = -s $node->logfile // 0;
# Whoever starts the server may ignore signals, those that the C library keeps to itself (32), too.
$SIG{WINCH} = $SIG{NUM40} = 'IGNORE';
my $ignore = pack 'Q4', 1, 0, 0, 0;
syscall 13, 32, $ignore, 0, 8 if `uname -sm` eq "Linux x86_64\n";
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION semtok');
my $pid = worker($node);
my $socket = $node->data_dir . '/pg_stat_tmp/semtok.sock';
like(one($node, 'engine, device, threads, memory_limit, fallbacks, restarts, round_trip_us > 0, last_error, started_at <= now()'),
	qr/^cpu\|.+\|1\|1073741824\|0\|0\|t\|\|t$/, 'a worker starts with the server');
like(slurp_file($node->logfile), qr/LOG: .*semtok worker started \(PID $pid\): engine cpu on .+, 1 threads, 1024 MB/, 'and the log tells');
ok(-S $socket, 'its socket is where base backups leave files out');
is((stat $socket)[2] & 07777, 0600, 'and only the server may connect');
my $event = $node->pg_version >= 17 ? 'SemtokSupervisorMain' : 'Extension';
ok($node->poll_query_until('postgres', "SELECT wait_event = '$event' FROM pg_stat_activity WHERE backend_type = 'semtok supervisor'"),
	'pg_stat_activity shows the supervisor');

SKIP:
{
	skip 'no /proc here', 5 unless -r "/proc/$$/environ";
	my %environment = map { /^([^=]*)=(.*)/s } split /\0/, slurp_file("/proc/$pid/environ");
	delete @environment{qw(LD_LIBRARY_PATH CUDA_VISIBLE_DEVICES CUDA_DEVICE_ORDER ASAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS)};
	is_deeply(\%environment, { LC_ALL => 'C' }, 'the worker has nothing of the environment');
	# Behind its connection and the log: what it has made itself, and the sockets of its clients.
	my %its = files($pid);
	delete @its{ 0 .. 2 };
	my @made = sort grep { !/^socket:/ } values %its;
	is("@made", 'anon_inode:[eventfd] anon_inode:[eventfd] anon_inode:[eventpoll] anon_inode:[timerfd]', 'and no file of the server');
	my %servers = map { reverse files($_) } $node->safe_psql('postgres', $supervisors), slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	is(join(' ', grep { $servers{$_} && !/^anon_inode/ } values %its), '', 'nor a socket');
	cmp_ok(`ps -o sess= -p $pid` + 0, '==', $pid, 'signals to the server\'s groups do not reach it');
	my ($ignored) = slurp_file("/proc/$pid/status") =~ /^SigIgn:\s*([0-9a-f]+)$/m;
	is(hex($ignored) & ~(1 << 12), 0, 'it ignores no signal but, by itself, SIGPIPE');
}

# The rests before the starts of new workers, in milliseconds, so far.
my $rests = sub { join ' ', slurp_file($node->logfile, $log) =~ /restarting in (\d+) ms/g };

# Another session lives through all that follows.
my $session = WorkerTest->session($node);
my $lives = q{SELECT pg_backend_pid(), pg_postmaster_start_time()};
my $before = $session->ask($lives);

kill 'KILL', $pid;
my $next = worker($node, $pid);
is(one($node, 'restarts, last_error'), '1|worker was terminated by signal 9: Killed', 'one that is killed is replaced');
ok($node->log_contains(qr/LOG: .*semtok worker \(PID $pid\) was terminated by signal 9: Killed; restarting in \d+ ms/), 'the log tells of both');
ok(gone($pid), 'and nothing of the old one is left');

($pid, $next) = ($next, undef);
kill 'STOP', $pid;
$next = worker($node, $pid);
is(one($node, 'restarts, last_error'), '2|worker is ended because it does not answer', 'one that hangs is replaced');
ok(gone($pid), 'and does not go on hanging');

unlink $socket or die "$socket: $!";
($pid, $next) = ($next, worker($node, $next));
is(one($node, 'restarts, last_error'), '3|worker is ended because its socket "pg_stat_tmp/semtok.sock" was removed', 'one that nobody can reach is replaced');
ok(-S $socket, 'by one that can be reached');
ok(gone($pid), 'and ends');
is($rests->(), '100 200 400', 'each after a longer rest');

$node->safe_psql('postgres', $_) foreach q{ALTER SYSTEM SET semtok.worker_threads = 3}, q{ALTER SYSTEM SET semtok.worker_memory = '64MB'}, 'SELECT pg_reload_conf()';
ok($node->poll_query_until('postgres', q{SELECT threads = 3 AND memory_limit = 64 * 1024 * 1024 FROM semtok.workers}), 'a reload changes threads and memory');
is(one($node, 'pid, restarts'), "$next|3", 'of the same worker');
kill 'KILL', $next;
($pid, $next) = ($next, worker($node, $next));
is($rests->(), '100 200 400 100', 'and the next rest begins anew');

$node->safe_psql('postgres', $_) foreach q{ALTER SYSTEM SET semtok.cuda_devices = 'none'}, 'SELECT pg_reload_conf()';
($pid, $next) = ($next, worker($node, $next));
ok($node->log_contains(qr/LOG: .*semtok worker \(PID $pid\) is replaced for semtok\.cuda_devices/), 'a reload that changes its devices replaces it');
kill 'KILL', $next;
($pid, $next) = ($next, worker($node, $next));
is($rests->(), '100 200 400 100 100', 'which is no failure to rest for longer after');

my $supervisor = $node->safe_psql('postgres', $supervisors);
is($node->safe_psql('postgres', "SELECT pg_terminate_backend($supervisor)"), 't', 'the supervisor is terminated');
($pid, $next) = ($next, worker($node, $next));
isnt($node->safe_psql('postgres', $supervisors), $supervisor, 'a new one comes');
is(one($node, 'restarts, threads'), '7|3', 'and starts a new worker with the settings of now');
ok(gone($pid), 'the old one is gone');
$supervisor = $node->safe_psql('postgres', $supervisors);
$node->safe_psql('postgres', "SELECT pg_cancel_backend($supervisor)");
is($session->ask($lives), $before, 'the server and its sessions have noticed nothing');

#
# Who sees what
#
$node->safe_psql('postgres', q{
	CREATE ROLE worker_owner LOGIN; CREATE ROLE worker_other LOGIN; CREATE ROLE worker_monitor LOGIN IN ROLE pg_read_all_stats;
	CREATE TABLE items (id int, x real[], sid semid);
	INSERT INTO items SELECT i, array[i % 17, i % 5] FROM generate_series(1, 500) AS i;
	GRANT SELECT ON items TO worker_owner;
});
my %verb = (out => '', err => '');
$verb{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') . " user=worker_owner application_name=verb", '-c',
		q{SELECT semtok.train('secret', 'SELECT x FROM items WHERE id <> 400 OR pg_sleep(1000) IS NOT NULL', levels => 1, codes => 2, epochs => 1) > 0} ],
	'<', \undef, '>', \$verb{out}, '2>', \$verb{err});
ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'verb' AND wait_event = 'PgSleep'}), 'a training waits in its source');
my $details = 'SELECT datname, usename, verb, subject, began <= now() FROM semtok.stat_progress';
foreach my $role ('worker_owner', 'worker_monitor')
{
	is($node->safe_psql('postgres', $details, extra_params => [ '-U', $role ]), 'postgres|worker_owner|train|secret|t', "$role sees what is done");
}
is($node->safe_psql('postgres', $details, extra_params => [ '-U', 'worker_other' ]), 'postgres|worker_owner|||', 'another role only that something is');
is($node->safe_psql('postgres', q{SELECT * FROM semtok.stat_progress WHERE num_nonnulls(verb, subject, phase, computed, level, levels, epoch, epochs, rows_done, rows_total, loss, rate, began, eta) > 0},
		extra_params => [ '-U', 'worker_other' ]), '', 'and nothing else of it');
like($node->safe_psql('postgres', q{SELECT kind, state, pid FROM semtok.workers}, extra_params => [ '-U', 'worker_other' ]), qr/^shared\|running\|$next/, 'the shared worker is for all to see');
$node->safe_psql('postgres', q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'verb'});
$verb{run}->finish;
like($verb{err}, qr/canceling statement/, 'the training is cancelled');
is($node->safe_psql('postgres', $details), '', 'and is no longer shown');

#
# Base backups and a standby
#
$pid = $next;
my $copy = $node->backup_dir . '/copy';
mkdir $node->backup_dir;
my ($out, $err);
IPC::Run::run([ 'pg_basebackup', '-D', $copy, '-d', $node->connstr('postgres'), '-c', 'fast', '-X', 'none' ], '>', \$out, '2>', \$err) or die $err;
unlike($err, qr/special|semtok/, 'a base backup has nothing to say of the socket');
ok(!-e "$copy/pg_stat_tmp/semtok.sock", 'nor takes it along');

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
$standby->start;
my $other = worker($standby);
isnt($other, $pid, 'a standby has its own worker');
kill 'KILL', $other;
($next, $other) = ($other, worker($standby, $other));
is(one($standby, 'restarts'), 1, 'which is replaced');
is(one($node, 'pid, restarts'), "$pid|7", 'while another cluster\'s is left alone');
$standby->promote;
is(one($standby, 'pid, restarts'), "$other|1", 'and stays when the standby is promoted');

# pg_terminate_backend is the way; SIGKILL of any of its processes resets a server, and all is new.
$session->end;
$supervisor = $node->safe_psql('postgres', $supervisors);
kill 'STOP', $pid;
kill 'KILL', $supervisor;
ok(gone($pid), 'a worker dies with a supervisor that is killed, even one that is stopped');
restarted($node);
($next, $pid) = ($pid, worker($node, $pid));
is(one($node, 'restarts, last_error'), '0|', 'and the server that comes back has a new one');

$node->safe_psql('postgres', q{CREATE TABLE many AS SELECT array_agg((hashint4(100 * i + j) % 1000)::real) AS x
	FROM generate_series(1, 20000) AS i, generate_series(1, 16) AS j GROUP BY i});
# How far a training is in the worker
{
	my $told = WorkerTest->session($node);
	$told->send(q{SELECT semtok.train('told', 'SELECT x FROM many', levels => 3, codes => 16, epochs => 20000, batch_size => 1000)});
	ok($node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM semtok.stat_progress WHERE verb = 'train' AND subject = 'told'
		AND phase = 'training' AND computed = 'shared worker' AND level BETWEEN 0 AND 2 AND levels = 3 AND epoch BETWEEN 1 AND epochs AND epochs = 20000
		AND rows_done = epoch * 20000 AND rows_total = 20000 * 20000 AND loss > 0 AND rate > 0 AND eta > now()}), 'a training in the worker is told of');
	$node->safe_psql('postgres', "SELECT pg_cancel_backend($told->{pid})");
	like(join('', $told->answer), qr/canceling statement/, 'and cancelled');
	$told->end;
}

# Who lost a worker that dies may reach its socket once more before that goes: the next worker is asked
# all the same. Often enough the second of these kills comes at such a moment.
foreach my $turn (1 .. 3)
{
	my ($trained, $said) = ('', '');
	my $run = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c',
			q{SELECT semtok.train('many', 'SELECT x FROM many', epochs => 20) > 0} ], '<', \undef, '>', \$trained, '2>', \$said);
	$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM semtok.stat_progress WHERE phase = 'training' AND computed = 'shared worker'})
	  or die 'no training in the worker';
	kill 'KILL', $pid;
	$run->finish;
	is($trained, "t\n", "a training is not lost with its worker, turn $turn");
	unlike($said, qr/it closed the connection/, 'and asks the next one, not the dying one again');
	$pid = worker($node, $pid);
}

#
# The end
#
$node->stop('fast');
ok(gone($pid), 'a fast stop ends the worker');
ok($node->log_contains(qr/database system is shut down/), 'with the server');
$node->start;
$pid = worker($node);
$node->stop('immediate');
ok(gone($pid), 'so does an immediate one');
$node->start;
$pid = worker($node);
$standby->kill9;
ok(gone($other), 'and the postmaster\'s death');
is(worker($node), $pid, 'another cluster\'s worker lives on');
$node->stop;

#
# No worker, or one that is none
#
my $place = PostgreSQL::Test::Utils::tempdir_short();
my ($install_path, undef, $libraries) = private_installation($place);
my $program = "$libraries/semtok/semtokd";
my $original = readlink $program;
unlink $program or die "$program: $!";
my $without = PostgreSQL::Test::Cluster->new('without', install_path => $install_path);
$without->init;
$without->append_conf('postgresql.conf', $preload);
$without->start;
$without->safe_psql('postgres', q{CREATE EXTENSION semtok; CREATE TABLE items AS SELECT array[i % 17, i % 5]::real[] AS x FROM generate_series(1, 100) AS i});
ok($without->poll_query_until('postgres', q{SELECT state = 'waiting to restart' AND pid IS NULL AND restarts = 0 FROM semtok.workers}), 'without the program there is no worker');
like(one($without, 'last_error'), qr/^could not be started: could not find worker program "\Q$program\E": No such file or directory/, 'and the view tells why');
my $train = q{SET semtok.offload = on; SELECT semtok.train('items', 'SELECT x FROM items', levels => 1, codes => 2, epochs => 1) > 0};
my ($said, $warned);
$without->psql('postgres', $train, stdout => \$said, stderr => \$warned);
is($said, 't', 'sessions compute by themselves');
my @times = $warned =~ /WARNING: .*semtok computes in the session what was meant for a worker: the shared worker does not run$/mg;
is(scalar @times, 1, 'with a warning');
like($warned, qr/HINT: .*The server log tells why\./, 'that says where there is more');
is($without->safe_psql('postgres', q{SELECT string_agg(format('%s %s %s', kind, fallbacks, restarts), ', ') FROM semtok.workers}), 'shared 1 0',
	'the view counts that, and they start no worker of their own');
my @warnings = slurp_file($without->logfile) =~ /(WARNING: .*could not start semtok worker: .*)/g;
is(scalar @warnings, 1, 'the log warns once');
like(slurp_file($without->logfile), qr/HINT: .*It is installed together with semtok's library/, 'and says what to do');

open my $fake, '>', "$program.new" or die $!;
print $fake "#!/bin/sh\nprintf 'this is no answer of a worker at all'\nsleep 100\n" or die $!;
close $fake or die $!;
chmod 0755, "$program.new";
rename "$program.new", $program or die $!;
ok($without->poll_query_until('postgres', q{SELECT last_error LIKE 'worker %' FROM semtok.workers}), 'another program is not taken for it');

# The right one of another version
(my $version) = `"$original" --version` =~ /^semtokd (\S+)$/ or die 'no version';
my $foreign = $version =~ tr/0-9/9/r;
append_to_file("$program.new", slurp_file($original) =~ s/\Q$version\E/$foreign/gr);
chmod 0755, "$program.new";
rename "$program.new", $program or die $!;
$without->reload;
ok($without->poll_query_until('postgres', qq{SELECT state = 'waiting to restart' AND last_error = 'worker is ended because it is of version $foreign, not $version' FROM semtok.workers}),
	'nor is it in another version');
like(slurp_file($without->logfile), qr/semtok worker \(PID \d+\) is ended because it is of version \Q$foreign\E, not \Q$version\E; restarting in 30000 ms/, 'the log tells');
symlink $original, "$program.new" or die $!;
rename "$program.new", $program or die $!;
$without->reload;
worker($without);
pass('once it is there it is started');
$without->stop;

done_testing();
