# What test/torture runs: MINUTES SEED. Prints a table of times, and counts.
use strict;
use warnings;
use List::Util qw(sum0);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SemtokTest qw(private_installation);
use Test::More;
use Time::HiRes qw(time);
use WorkerChaos qw(chaos @disturbances);
use WorkerTest qw(worker_program worker_node wait_for workers shared_worker %verbs @verbs);

# PostgreSQL::Test::Utils has standard output and errors go to tmp_check/log before this program runs.
my ($table, $errors);
BEGIN
{
	open($table, '>&', \*STDOUT) or die;
	open($errors, '>&', \*STDERR) or die;
}

my ($minutes, $seed) = @ARGV;
srand $seed;

my $sessions = 8;
my %preload = (private => '', shared => "shared_preload_libraries = 'semtok'\nsemtok.worker_timeout = 500ms");
my $long = q{SELECT semtok.train('long', 'SELECT x FROM items, generate_series(1, 20)', codes => 512, epochs => 100000, batch_size => 100)};
my (%times, %counts, @wrong);

my ($path, undef, $libraries) = private_installation(PostgreSQL::Test::Utils::tempdir());
my $program = "$libraries/semtok/semtokd";
chomp(my $installed = `pg_config --pkglibdir`);
worker_program($program, "$installed/semtok/semtokd");

# Hundredths of a second that a process has computed; nothing when it is gone.
sub computed
{
	my ($pid) = @_;
	open(my $file, "<", "/proc/$pid/stat") or return 0;
	my @words = split " ", (<$file> // "") =~ s{.*\) }{}r;
	return ($words[11] // 0) + ($words[12] // 0);
}

# Seconds from `since` until the last of these processes did not compute any more, or was gone.
sub until_idle
{
	my ($since, @pids) = @_;
	my %was = map { $_ => computed($_) } @pids;
	my $last = time;
	while (time - $last < 0.05)
	{
		select undef, undef, undef, 0.001;
		foreach my $pid (@pids)
		{
			my $now = computed($pid);
			$last = time if $now > $was{$pid};
			$was{$pid} = $now;
		}
	}
	return $last - $since;
}

sub busy
{
	return wait_for(sub { grep { computed($_) > 20 } workers($program) });
}

foreach my $mode (qw(private shared))
{
	my $node = worker_node($mode, $preload{$mode}, install_path => $path);
	$node->safe_psql('postgres', $_) for grep { defined } map { $_->{prepare} } values %verbs;
	my $started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
	my $settings = 'SET semtok.offload = on; SET semtok.worker_timeout = 500';
	my $alone = WorkerTest->session($node, 'SET semtok.offload = off');
	my %right = map { $_ => scalar $alone->ask($verbs{$_}{sql}) } @verbs;
	my $served = sub { $mode eq 'private' || shared_worker($node) };
	my $record = sub { push @{ $times{ $_[0] }{$mode} }, $_[1] };
	$served->() or die 'no worker';

	my @here = grep { $mode eq 'shared' || !/supervisor|socket/ } @disturbances;
	my $seen = chaos(node => $node, program => $program, sessions => $sessions, settings => $settings, right => \%right,
		seconds => $minutes * 60 * 0.35, every => 3, disturbances => \@here);
	push @wrong, map { "$mode: $_" } @{ $seen->{wrong} };
	$counts{$_}{$mode} = $seen->{$_} for qw(answers warnings cancelled ended);
	$counts{"did: $_"}{$mode} = $seen->{done}{$_} for @here;
	foreach my $what (keys %{ $seen->{latencies} })
	{
		$record->("under load: $what", $_) for @{ $seen->{latencies}{$what} };
	}
	foreach my $s (@{ $seen->{sessions} })
	{
		my ($answer) = $s->ask($verbs{train}{sql});
		push @wrong, "$mode: afterwards: $answer" if $answer ne $right{train};
		$s->end;
	}
	$served->();

	# One thing at a time
	my $until = time + $minutes * 60 * 0.12;
	while (time < $until)
	{
		my $s = WorkerTest->session($node, $settings);
		$s->send($long);
		busy() or die 'no work';
		select undef, undef, undef, rand 0.2;
		my @working = grep { computed($_) > 20 } workers($program);
		my $began = time;
		kill 'INT', $s->{pid};
		my ($answer, $said) = $s->answer;
		$record->('cancel to the error', time - $began);
		push @wrong, "$mode: cancel: $answer$said" if $said !~ /canceling statement due to user request/;
		$record->('cancel to the end of the work', until_idle($began, @working));
		$answer = $s->ask($verbs{evaluate}{sql});
		push @wrong, "$mode: after a cancel: $answer" if $answer ne $right{evaluate};

		$s->send($verbs{train}{sql});
		my @pids;
		wait_for(sub { @pids = workers($program) or $s->answered(0) });
		$began = time;
		kill 'KILL', @pids;
		$answer = $s->answer;
		$record->('kill to the next answer', time - $began);
		push @wrong, "$mode: after a kill: $answer" if $answer ne $right{train};
		$s->end;
		$served->();
	}
	push @wrong, "$mode: the server was restarted" if $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()') ne $started;
	$alone->end;
	for (1 .. 5)
	{
		my @s = map { WorkerTest->session($node, $settings) } 1 .. 2;
		$_->send($long =~ s/'long'/'long_$_->{pid}'/r) for @s;
		busy() or die 'no work';
		my $began = time;
		$node->stop('fast');
		$record->('pg_ctl stop -m fast', time - $began);
		$_->answer, $_->end for @s;
		wait_for(sub { !workers($program) }) or push @wrong, "$mode: a worker outlives the server";
		$node->start;
		$served->();
	}
	$node->stop;
	my $log = slurp_file($node->logfile);
	push @wrong, "$mode: $1" while $log =~ /(.*(?:PANIC|TRAP:|server process .* was terminated by signal).*)/g;
}

my ($load) = split ' ', slurp_file('/proc/loadavg');
print $table "$sessions sessions under load; load average at the end $load\n\n";
printf $table "%-50s %-8s %6s %8s %8s %8s %8s\n", 'milliseconds from', '', 'n', 'p50', 'p90', 'p99', 'max';
foreach my $what (sort keys %times)
{
	foreach my $mode (sort keys %{ $times{$what} })
	{
		my @sorted = sort { $a <=> $b } map { 1000 * $_ } @{ $times{$what}{$mode} };
		printf $table "%-50s %-8s %6d %8.1f %8.1f %8.1f %8.1f\n", $what, $mode, scalar @sorted,
		  map { $sorted[ int $_ * $#sorted ] } 0.5, 0.9, 0.99, 1;
	}
}
printf $table "\n%-50s %8s %8s\n", 'count', 'private', 'shared';
printf $table "%-50s %8s %8s\n", $_, map { $_ // '-' } @{ $counts{$_} }{qw(private shared)} for sort keys %counts;
printf $table "\n%d answers, %d wrong\n", sum0(values %{ $counts{answers} }), scalar @wrong;
print $errors "$_\n" for @wrong;
exit(@wrong ? 1 : 0);
