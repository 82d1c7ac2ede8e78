# Eight sessions under load while their workers are killed and stopped, the supervisor is ended, the
# socket is removed, the disk is full, and sessions are cancelled and ended: every answer is right, no
# other session notices, and nothing is left. Then whole servers: a fast stop and a crash in the middle
# of heavy work, a standby with a worker of its own, two clusters side by side, and a data directory
# whose path is too long for the address of a socket. `make torture` does the first part at length.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SemtokTest qw(kill_everything restarted);
use Test::More;
use Time::HiRes qw(time);
use WorkerChaos qw(chaos @disturbances);
use WorkerTest qw(faulty_installation worker_node set_faults faults_met wait_for workers shared_worker
  %verbs @verbs);

plan skip_all => 'this system has no /proc' if !-e "/proc/$$/exe";

my $seed = $ENV{SEMTOK_SEED} || 42;
my $answers = $ENV{SEMTOK_CHAOS_ANSWERS} || 150;
note "SEMTOK_SEED=$seed SEMTOK_CHAOS_ANSWERS=$answers";
srand $seed;

# A copy, so that this test's workers are told from another's.
my ($path, $program) = faulty_installation();
my %preload = (private => '', shared => "shared_preload_libraries = 'semtok'");
my $settings = 'SET semtok.offload = on; SET semtok.worker_timeout = 100';
my $long = q{SELECT semtok.train('long', 'SELECT x FROM items, generate_series(1, 20)', codes => 512, epochs => 100000, batch_size => 100)};

# Hundredths of a second that a process has computed.
sub computed
{
	my ($pid) = @_;
	open(my $file, '<', "/proc/$pid/stat") or return 0;
	my @words = split ' ', (<$file> // '') =~ s/.*\) //r;
	return ($words[11] // 0) + ($words[12] // 0);
}

# A worker of this session's, or the shared one, is deep in work.
sub busy
{
	my ($session) = @_;
	return wait_for(sub {
		grep { computed($_) > 20 } workers($program);
	});
}

my %right;
foreach my $mode (qw(private shared))
{
	my $node = worker_node($mode, "$preload{$mode}\ntemp_file_limit = 100MB\nrestart_after_crash = on", install_path => $path);
	$node->safe_psql('postgres', $_) for grep { defined } map { $_->{prepare} } values %verbs;
	my $started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
	my @bystanders = map { WorkerTest->session($node) } 1 .. 2;
	my $alone = WorkerTest->session($node, 'SET semtok.offload = off');
	%right = map { $_ => scalar $alone->ask($verbs{$_}{sql}) } @verbs;
	$alone->end;

	my @here = grep { $mode eq 'shared' || !/supervisor|socket/ } @disturbances;
	my $seen = chaos(node => $node, program => $program, sessions => 8, settings => $settings,
		right => \%right, answers => $answers, every => 3, disturbances => \@here);
	is(join("\n", @{ $seen->{wrong} }), '', "$mode: all answers are right");
	note sprintf "%d answers, %d cancelled, %d sessions ended, %d with a warning, in %.1f s; %s", @$seen{qw(answers cancelled ended warnings seconds)},
	  join(', ', map { "$_ $seen->{done}{$_}" } sort keys %{ $seen->{done} });

	# What was stopped is found out and replaced; everybody is served by a worker again.
	foreach my $session (@{ $seen->{sessions} })
	{
		my ($answer) = $session->ask($verbs{evaluate}{sql});
		is($answer, $right{evaluate}, "$mode: and so is the next");
		$session->end;
	}
	ok(wait_for(sub { workers($program) <= ($mode eq 'shared' ? 1 : 0) }), "$mode: no worker is left over");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_ls_tmpdir()'), 0, "$mode: nor a file");
	ok(shared_worker($node), 'the shared worker is there') if $mode eq 'shared';

	# The disk: a session's limit, a worker that finds no room, and one that may not write that much
	my $session = WorkerTest->session($node, $settings);
	my ($answer, $said) = $session->ask("SET temp_file_limit = '20kB'; $verbs{train}{sql}; RESET temp_file_limit");
	like($said, qr/ERROR:  temporary file size exceeds "?temp_file_limit"?/, "$mode: a full disk is the usual error");
	is($session->ask($verbs{train}{sql}), $right{train}, "$mode: and the next request is served");
	set_faults($node, 'compute:train disk');
	is($session->ask($verbs{train}{sql}), $right{train}, "$mode: a worker without room for its answer");
	ok(faults_met($node), "$mode: which it noticed");
	set_faults($node);
	$session->ask($verbs{train}{sql});
	my @workers = workers($program);
	if (@workers && system('prlimit', "--pid=$workers[0]", '--fsize=1000') == 0)
	{
		is($session->ask($verbs{train}{sql}), $right{train}, "$mode: a worker that may not write that much");
		kill 'KILL', @workers;
	}
	$session->end;

	is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $started, "$mode: the server went on");
	is($_->ask('SELECT pg_backend_pid()'), $_->{pid}, "$mode: a bystander went on") for @bystanders;

	# A backend that dies takes its own worker along, and the server the shared one.
	$session = WorkerTest->session($node, $settings);
	$session->send($long);
	ok(busy($session), "$mode: a long training");
	kill 'KILL', $session->{pid};
	$session->answer;
	$session->end;
	if ($mode eq 'private')
	{
		ok(wait_for(sub { !workers($program) }), 'the worker of a killed backend is gone');
	}
	restarted($node);
	$_->end for @bystanders;

	# All processes at once
	shared_worker($node) if $mode eq 'shared';
	$session = WorkerTest->session($node, $settings);
	$session->send($long);
	ok(busy($session), "$mode: a long training again");
	kill_everything($node);
	ok(wait_for(sub { !workers($program) }), "$mode: nothing outlives a crash");
	$session->answer;
	$session->end;
	$node->start;
	$session = WorkerTest->session($node, $settings);
	is($session->ask($verbs{evaluate}{sql}), $right{evaluate}, "$mode: the server that recovered answers");

	# Stopped in the middle of it
	$session->send($long);
	ok(busy($session), "$mode: and a long training once more");
	my $began = time;
	$node->stop('fast');
	note sprintf 'pg_ctl stop -m fast took %.0f ms', 1000 * (time - $began);
	ok(wait_for(sub { !workers($program) }), "$mode: a fast stop ends the work");
	my (undef, $words) = $session->answer;
	like($words, qr/terminating connection due to administrator command/, "$mode: and says so");
	$session->end;
	my $log = slurp_file($node->logfile);
	unlike($log, qr/PANIC|TRAP|received immediate shutdown/, "$mode: the log has nothing else");
	$node->clean_node;
}

# A standby has a worker of its own, which the primary's fate does not concern; so has a second cluster.
{
	my $primary = worker_node('primary', $preload{shared}, install_path => $path);
	$primary->backup('base');
	my $standby = PostgreSQL::Test::Cluster->new('standby', install_path => $path);
	$standby->init_from_backup($primary, 'base', has_streaming => 1);
	$standby->start;
	my $other = worker_node('x' x 100, $preload{shared}, install_path => $path);
	cmp_ok(length $other->data_dir . '/pg_stat_tmp/semtok.sock', '>', 107, 'a path too long for a socket');
	$primary->wait_for_catchup($standby);

	my %pids = map { $_->name => shared_worker($_) } $primary, $standby, $other;
	is(scalar(workers($program)), 3, 'a worker each');
	is(scalar(keys %{ { map { $_ => 1 } values %pids } }), 3, 'each its own');
	my %sessions = map { $_->name => WorkerTest->session($_, $settings) } $primary, $standby, $other;
	foreach my $name (sort keys %sessions)
	{
		foreach my $verb (qw(evaluate encode_batch))
		{
			my ($answer, $said) = $sessions{$name}->ask($verbs{$verb}{sql});
			is("$said$answer", $right{$verb}, substr($name, 0, 10) . ": $verb");
		}
	}
	kill 'KILL', $pids{primary};
	ok(wait_for(sub { shared_worker($primary) !~ /^(|$pids{primary})$/ }), 'one is killed and comes back');
	is(shared_worker($_), $pids{ $_->name }, 'the others stay') for $standby, $other;
	is($_->ask($verbs{evaluate}{sql}), $right{evaluate}, 'all are served') for values %sessions;
	$primary->stop('immediate');
	ok(wait_for(sub { workers($program) == 2 }), 'its worker goes with the primary');
	$standby->promote;
	is(shared_worker($standby), $pids{standby}, 'the one of the standby is there after promotion');
	is($sessions{standby}->ask($verbs{train}{sql}), $right{train}, 'and trains');
	$_->end for values %sessions;
	$_->stop for $standby, $other;
	ok(wait_for(sub { !workers($program) }), 'and nothing is left');
}

done_testing();
