# A worker that does wrong costs time and nothing else. semtokd is built with faults on purpose
# (src/worker/faults.h) and crashes, hangs, lies, is late, cuts off and runs out of things at each
# step of its protocol, private to a session and shared. The answer is always the one that the session
# computes by itself, the next request is served, other sessions and the server never notice, and no
# process, file, descriptor or memory is left.
#
# Verbs take turns; SEMTOK_FAULTS_ALL=1 has every verb meet every fault, at first and for ever.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);
use WorkerTest qw(faulty_installation worker_node set_faults faults_met wait_for workers worker_program
  shared_worker descriptors %verbs @verbs);

plan skip_all => 'this system has no /proc' if !-e "/proc/$$/exe";

# Faults of the process, or of one of its threads, at any step
my @process = qw(segv abort exit stop hang late memory descriptors disk);
my @steps = qw(start accept header descriptor body compute computing computed answer answered);
# Faults of a message
my @message = qw(garbage body version request earlier kind length short long half half_segv half_stop drip trickle
  twice extra more swallow failed_memory failed_data failed_request failed_device failed_ending);

# Where these are worth their time; a worker may take five seconds to say that it is there
my %rarely = (
	late => qr/^(start|compute|answer)$/,
	stop => qr/^(start|header|computing|answer)$/,
	hang => qr/^(accept|body|compute|answered)$/,
	descriptors => qr/^(accept|header|compute)$/,
	memory => qr/^(header|compute)$/,
	disk => qr/^(header|compute)$/);

# What happens to nobody: a private worker accepts no connections.
my %never = (private => { accept => 1 }, shared => {});
# What leaves a worker crippled, so that it has to be replaced.
my $cripples = qr/^(hang|stop|half_stop|trickle|descriptors)$/;

my ($path, $program) = faulty_installation();

# What people install has none of this.
chomp(my $installed = `pg_config --pkglibdir`);
like(slurp_file($program), qr/semtok_faults/, 'a worker with faults');
unlike(slurp_file("$installed/semtok/semtokd"), qr/semtok_faults|stk_fault/, 'and the installed one, without');

# A fault, at a step, of messages of a kind; the kind is told by the verb.
my @cases;
foreach my $step (@steps)
{
	# What tokenize asks for at a time is small.
	push @cases, map { { step => $step, fault => $_, rare => $rarely{$_} && $step !~ $rarely{$_},
		verbs => $step =~ /^(descriptor|computing)$/ ? [ grep { $_ ne 'tokenize' } @verbs ] : undef } } @process;
}
push @cases, map { { step => 'answer', fault => $_ } } @message;
push @cases, { step => 'computed', fault => 'values' };
# What is said before and beside the answer
push @cases, map { { step => 'answer', message => 'welcome', fault => $_, rare => /stop/ } }
  qw(garbage body version length short long half half_segv half_stop more swallow failed_request failed_ending segv stop drip);
push @cases, map { { step => 'answer', message => 'progress', verbs => [qw(train partial_fit)], fault => $_ } }
  qw(garbage body request kind short half half_segv segv stop drip);
push @cases, map { { step => 'answer', message => 'missing', verbs => [qw(evaluate encode_batch)], fault => $_ } }
  qw(garbage request half more swallow segv failed_memory drip);
push @cases, map { { step => 'answer', message => 'done', verbs => [qw(evaluate encode_batch)], fault => $_ } }
  qw(garbage request half more swallow segv failed_memory failed_data drip);

my $timeout = 100;
my $settings = "SET semtok.offload = on; SET semtok.worker_timeout = $timeout";

foreach my $mode (qw(private shared))
{
	my $node = worker_node($mode, $mode eq 'shared' ? "shared_preload_libraries = 'semtok'\nsemtok.worker_timeout = 200ms" : '',
		install_path => $path);
	$node->safe_psql('postgres', $_) for grep { defined } map { $verbs{$_}{prepare} } @verbs;
	my $started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
	my @bystanders = map { WorkerTest->session($node) } 1 .. 2;

	# What is right
	my $alone = WorkerTest->session($node, 'SET semtok.offload = off');
	my %right;
	foreach my $verb (@verbs)
	{
		($right{$verb}, my $said) = $alone->ask($verbs{$verb}{sql});
		is($said, '', "$mode: $verb alone") or BAIL_OUT('without a worker nothing can be compared');
	}
	$alone->end;

	# One that is well, before each case; in shared mode there is always one.
	my $well = sub { $mode eq 'private' || shared_worker($node) };
	ok($well->(), "$mode: a worker") or BAIL_OUT('no worker');

	my $old = WorkerTest->session($node, $settings);
	foreach my $verb (@verbs)
	{
		my ($answer, $said) = $old->ask($verbs{$verb}{sql});
		is("$said$answer", $right{$verb}, "$mode: $verb by a worker that does nothing wrong");
	}
	my @first = workers($program);
	is(scalar @first, 1, "$mode: one worker") or BAIL_OUT('the verbs do not use a worker');
	my $open = descriptors($old->{pid});
	my $memory = q{SELECT sum(total_bytes) FROM pg_backend_memory_contexts WHERE name <> 'CacheMemoryContext'};
	my $used = 0;

	my $turn = 0;
	foreach my $case (@cases)
	{
		my ($step, $fault) = @$case{qw(step fault)};
		next if $never{$mode}{$step} || ($case->{rare} && !$ENV{SEMTOK_FAULTS_ALL});
		my @able = @{ $case->{verbs} || \@verbs };
		my @combinations = ([ $able[ $turn % @able ], $turn % 3 ? 'last=1' : '' ]);
		@combinations = map { my $verb = $_; map { [ $verb, $_ ] } '', 'last=1' } @able if $ENV{SEMTOK_FAULTS_ALL};
		$turn++;
		foreach (@combinations)
		{
			my ($verb, $times) = @$_;
			my $kind = $step =~ /^(start|accept)$/ ? '' : $step =~ /^answer/ ? $verbs{$verb}{answer} : $verbs{$verb}{request};
			$kind = $case->{message} if $case->{message};
			my $anew = $step =~ /^(start|accept)$/ ? $1 : ($case->{message} // '') =~ /^(welcome|missing|done)$/ ? $1 : '';
			my $what = "$mode: $verb, " . ($kind ? "$step:$kind" : $step) . " $fault $times";
			my @problems;
			my $began = time;

			# A codebook is loaded once, and a connection made once.
			kill 'KILL', workers($program) if $mode eq 'shared' && $anew =~ /missing|done/;
			$well->() or push @problems, 'no worker';
			my $session = $anew ? WorkerTest->session($node, $settings) : $old;
			set_faults($node, $kind ? "$step:$kind $fault $times" : "$step $fault $times");
			kill 'KILL', workers($program) if $mode eq 'shared' && $anew eq 'start';
			my ($answer, $said) = $session->ask($verbs{$verb}{sql});
			push @problems, "wrong answer: $answer$said" if $answer ne $right{$verb};
			wait_for(sub { faults_met($node) > 0 }, 5) or push @problems, 'the fault was not met';
			push @problems, "said: $said" if $said =~ /ERROR|FATAL/ || (() = $said =~ /^WARNING/mg) > 1;
			set_faults($node);
			if ($mode eq 'shared' && $fault =~ $cripples)
			{
				# who is stopped is noticed by the supervisor; who has no descriptors left is not
				kill 'KILL', workers($program);
				$well->() or push @problems, 'no worker came back';
			}
			($answer, $said) = $session->ask($verbs{$verb}{sql});
			push @problems, "wrong answer afterwards: $answer$said" if $answer ne $right{$verb} || $said =~ /ERROR|FATAL/;
			wait_for(sub { descriptors($session->{pid}) <= $open })
			  or push @problems, 'open: ' . descriptors($session->{pid}) . ", not $open";
			wait_for(sub { workers($program, $session->{pid}) <= ($mode eq 'private' ? 1 : 0) })
			  or push @problems, 'processes left: ' . join(' ', workers($program, $session->{pid}));
			if ($anew)
			{
				$session->end;
				wait_for(sub { !workers($program, $session->{pid}) }) or push @problems, 'a worker outlives its session';
			}
			ok(!@problems, $what) or diag(join "\n", @problems);
			note sprintf('%.0f ms', 1000 * (time - $began));
			$used ||= $old->ask($memory) if $turn == 40;
		}
	}

	# An answer that comes after its statement was cancelled is nobody's: the next statement gets its own.
	foreach my $verb (qw(encode_batch train))
	{
		$well->();
		set_faults($node, "answer:$verbs{$verb}{answer} late ms=300 last=1");
		my $late = $verbs{$verb}{sql} =~ s/^BEGIN; |;$| AS id \\gset.*//sgr;
		my ($answer, $said) = $old->ask("SET semtok.worker_timeout = 5000; SET statement_timeout = 50; $late; "
			  . "RESET statement_timeout; $verbs{evaluate}{sql} SET semtok.worker_timeout = $timeout");
		like($said, qr/ERROR:  canceling statement due to statement timeout/, "$mode: $verb waits for a late answer");
		is($answer, $right{evaluate}, "$mode: and the next statement gets its own");
	}

	# What looks like life and is none: an answer that comes byte by byte, so slowly that it would take
	# minutes, and news of other requests from one that hangs.
	foreach (
		[ 'answer:codes trickle last=1', 'it did not answer for \d+ ms' ],
		[ 'answer:pong other', 'it told of a request that it was not asked for', 'compute:encode hang last=2' ])
	{
		my ($fault, $lost, @more) = @$_;
		$well->();
		$old->ask($verbs{evaluate}{sql});
		my $log = -s $node->logfile;
		set_faults($node, $fault, @more);
		is(scalar $old->ask($verbs{evaluate}{sql}), $right{evaluate}, "$mode: the right answer in spite of $fault");
		ok($node->log_contains(qr/lost (this session's|semtok's shared) worker( of semtok)?: $lost/, $log), "$mode: of another one, or the session");
		set_faults($node);
		kill 'KILL', workers($program) if $mode eq 'shared';
	}

	# A shared worker that was taken for lost goes on, and writes codes when the session has other rows
	# on their way: here those that wait while the source sleeps.
	if ($mode eq 'shared')
	{
		$node->safe_psql(
			'postgres', q{
			SET semtok.offload = off;
			SET client_min_messages = error;
			CREATE TABLE wide AS SELECT i AS id, ARRAY[sin(i), cos(i), sin(2 * i), cos(3 * i)]::real[] AS x
				FROM generate_series(1, 30000) AS i;
			SELECT semtok.train('wide', 'SELECT x FROM wide WHERE id <= 1000', levels => 32, codes => 2, epochs => 1);
		});
		my $encode = sub {
			my ($row) = @_;
			return "SELECT md5(string_agg(sid::text, ',')) FROM semtok.encode_batch('wide',"
			  . " 'SELECT x FROM wide WHERE CASE WHEN id = $row THEN pg_sleep(0.5) IS NOT NULL ELSE true END')";
		};
		my $session = WorkerTest->session($node, 'SET client_min_messages = error');
		my $expected = $session->ask('SET semtok.offload = off; ' . $encode->(0));
		# 1200 rows at a time are the fewest whose codes are more than a message holds.
		$session->ask("SET semtok.offload = on; SET semtok.worker_timeout = 50; SET semtok.max_worker_bytes = '290kB'");
		foreach my $piece (13 .. 16)
		{
			$well->();
			set_faults($node, 'computed:encode late ms=400 first=6 last=6');
			is($session->ask($encode->(1216 * $piece + 600)), $expected, "shared: late codes are nobody's, piece $piece");
		}
		set_faults($node);
		$session->end;
	}

	# A worker that is lost is followed by one more, not by others.
	foreach my $verb (qw(evaluate train))
	{
		$well->();
		set_faults($node, "compute:$verbs{$verb}{request} exit");
		my ($answer, $said) = $old->ask($verbs{$verb}{sql});
		is($answer, $right{$verb}, "$mode: $verb ends every worker");
		like($said, qr/^WARNING:  semtok computes in the session/, "$mode: the session computes");
		cmp_ok(faults_met($node), '<=', 2, "$mode: after two");
		set_faults($node);
	}

	# What one worker refuses another may compute; what two refuse is an error.
	set_faults($node, 'answer:trained failed_computation last=1');
	is(scalar $old->ask($verbs{train}{sql}), $right{train}, "$mode: one worker alone that finds fault is not believed");
	set_faults($node, 'answer:trained failed_computation');
	my (undef, $refused) = $old->ask($verbs{train}{sql});
	like($refused, qr/ERROR:  .*a fault on purpose/, "$mode: a computation's error is the statement's");
	set_faults($node);
	is(scalar $old->ask($verbs{train}{sql}), $right{train}, "$mode: and the next goes well");

	set_faults($node, 'answer:codes failed_memory');
	like(join('', $old->ask($verbs{evaluate}{sql})), qr/too little memory.*HINT:  Raise semtok\.worker_memory\./s, "$mode: what a failure calls for is said");
	set_faults($node);

	# Computations that hang for good do not keep the shared worker from others.
	if ($mode eq 'shared')
	{
		set_faults($node, 'compute:encode hang last=4');
		is(scalar $old->ask($verbs{evaluate}{sql}), $right{evaluate}, 'shared: asked of a worker whose threads hang') for 1 .. 2;
		my $third = WorkerTest->session($node, $settings);
		ok(wait_for(sub { join('', $third->ask($verbs{evaluate}{sql})) eq $right{evaluate} }), 'shared: it is replaced');
		$third->end;
		set_faults($node);
	}
	cmp_ok($old->ask($memory) - $used, '<', 65536, "$mode: memory of a session that met most of them is what it was");
	$old->end;

	is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $started, "$mode: the server went on");
	is($_->ask('SELECT pg_backend_pid()'), $_->{pid}, "$mode: a bystander went on") for @bystanders;
	$_->end for @bystanders;
	is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_ls_tmpdir()'), 0, "$mode: no file is left");
	$node->stop;
	ok(wait_for(sub { !workers($program) }), "$mode: no worker outlives the server");
	my $log = slurp_file($node->logfile);
	unlike($log, qr/PANIC|TRAP|server process .* was terminated|all server processes terminated/, "$mode: the log has no crash");
}

# A program that is not there, that nobody may execute, and those of other people
my $node = worker_node('strangers', '', install_path => $path);
my $session = WorkerTest->session($node, $settings);
my $right = $session->ask("SET semtok.offload = off; $verbs{train}{sql} SET semtok.offload = on");
foreach my $stranger (undef, '/dev/null', map { chomp(my $found = `which $_`); $found } qw(true cat))
{
	worker_program($program, $stranger);
	my ($answer, $said) = $session->ask($verbs{train}{sql});
	my $what = $stranger // 'nothing';
	is($answer, $right, "$what instead of the worker");
	like($said, qr/^WARNING:[^\n]*$/m, "$what: said so");
	unlike($said, qr/ERROR|WARNING.*WARNING/s, "$what: once");
	like($said, defined $stranger ? qr/^HINT: .*(right to execute it|standard error)/m : qr/^HINT: .*It is installed together with semtok's library\./m,
		"$what: and what to do");
	ok(wait_for(sub { !grep { !/^$$/ } split ' ', `ps -o pid= --ppid $session->{pid}` }), "$what: and it is gone");
}
$session->end;
$node->stop;
$node = worker_node('nobody', "shared_preload_libraries = 'semtok'", install_path => $path);
$session = WorkerTest->session($node, $settings);
is($session->ask($verbs{train}{sql}), $right, 'a supervisor with strangers');
$session->end;
$node->stop;

done_testing();
