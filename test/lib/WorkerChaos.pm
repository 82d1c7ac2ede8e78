# Sessions under load while workers are killed and stopped, the supervisor ended, the socket removed,
# and sessions cancelled and ended, at random moments that a seed chooses. Counts and times what
# happens; what is wrong is told, never fatal.
package WorkerChaos;

use strict;
use warnings;
use Exporter 'import';
use Test::More;
use Time::HiRes qw(time);
use WorkerTest qw(workers %verbs @verbs);

our @EXPORT_OK = qw(chaos @disturbances);

our @disturbances = qw(kill stop supervisor socket cancel terminate timeout);

# Each session has names of its own, so that none waits for another's locks.
sub statement
{
	my ($verb, $n) = @_;
	return $verbs{$verb}{sql} =~ s/\bgiven\b/given_$n/gr =~ s/'new'/'new_$n'/r;
}

# Options: node, program, sessions, settings, right (a verb's answer), verbs, and how long: until so
# many `answers`, or for so many `seconds`; `every` so many answers something is done to them.
# Returns counts, wrong => [what], and latencies => { what => [seconds] }.
sub chaos
{
	my (%o) = @_;
	my %seen = (answers => 0, cancelled => 0, ended => 0, warnings => 0, wrong => [], latencies => {}, done => {});
	my @verbs_here = @{ $o{verbs} || \@verbs };
	my $node = $o{node};
	my @sessions;
	my $began = time;
	my $next = $o{every};

	my $open = sub {
		my ($n) = @_;
		my $s = WorkerTest->session($node, $o{settings});
		$sessions[$n] = { session => $s, number => $n };
	};
	$node->safe_psql('postgres', join '', map { "DROP TABLE IF EXISTS given_$_; CREATE TABLE given_$_ (LIKE items);" } 0 .. $o{sessions} - 1);
	$open->($_) for 0 .. $o{sessions} - 1;

	my $begin = sub {
		my ($c) = @_;
		my $verb = $verbs_here[ int rand @verbs_here ];
		my $sql = statement($verb, $c->{number});
		my $limit = $c->{timeout} ? 1 + int rand 40 : 0;
		# The limit may end its own RESET, and what comes next then, too.
		@$c{qw(verb disturbed killed asked)} = ($verb, $c->{timeout} || $c->{limited} ? 'timeout' : '', 0, 0);
		@$c{qw(timeout limited)} = (0, $limit > 0);
		$sql = "RESET statement_timeout; $sql" if !$limit;
		$c->{session}->send($limit ? "SET statement_timeout = $limit; $sql; RESET statement_timeout" : $sql);
	};
	my $latency = sub { push @{ $seen{latencies}{ $_[0] } }, time - $_[1] };

	my $check = sub {
		my ($c) = @_;
		my $ended = $c->{session}{ended};
		my ($answer, $said) = $c->{session}->answer;
		$seen{warnings}++ if $said =~ /^WARNING/m;
		if ($ended)
		{
			$seen{ended}++;
			push @{ $seen{wrong} }, "$c->{verb}: the session ended: $answer$said" if !$c->{doomed};
			$latency->('termination to the end of the session', $c->{doomed}) if $c->{doomed};
			$c->{session}->end;
			$open->($c->{number});
			return;
		}
		if ($said =~ /^ERROR/m)
		{
			$seen{cancelled}++;
			push @{ $seen{wrong} }, "$c->{verb}: $said"
			  if !$c->{disturbed} || $said !~ /canceling statement due to (user request|statement timeout)/;
			return;
		}
		$seen{answers}++;
		$latency->('kill of the worker to the answer', $c->{killed}) if $c->{killed};
		push @{ $seen{wrong} }, "$c->{verb}: $answer$said" if $answer ne $o{right}{ $c->{verb} };
	};

	my $disturb = sub {
		my $what = $o{disturbances}[ int rand @{ $o{disturbances} } ];
		my @busy = grep { $_->{verb} } @sessions;
		my $c = $busy[ int rand @busy ];
		my @workers = workers($o{program});
		$seen{done}{$what}++;
		if ($what eq 'kill' || $what eq 'stop')
		{
			my $pid = @workers ? $workers[ int rand @workers ] : return;
			my %own = map { $_ => 1 } map { workers($o{program}, $_->{session}{pid}) } @busy;
			kill $what eq 'kill' ? 'KILL' : 'STOP', $pid;
			foreach my $hit (@busy)
			{
				$hit->{killed} = time if $what eq 'kill' && (!$own{$pid} || grep { $_ == $pid } workers($o{program}, $hit->{session}{pid}));
			}
		}
		elsif ($what eq 'supervisor')
		{
			my @pids = split /\n/, $node->safe_psql('postgres',
				q{SELECT pid FROM pg_stat_activity WHERE backend_type LIKE '%semtok%'});
			kill 'TERM', @pids;
		}
		elsif ($what eq 'socket')
		{
			unlink $node->data_dir . '/pg_stat_tmp/semtok.sock';
		}
		elsif ($what eq 'timeout')
		{
			$c->{timeout} = 1;
		}
		else
		{
			$c->{$what eq 'cancel' ? 'asked' : 'doomed'} = time;
			$c->{disturbed} = $what;
			kill $what eq 'cancel' ? 'INT' : 'TERM', $c->{session}{pid};
		}
	};

	my $over = sub { $o{seconds} ? time - $began >= $o{seconds} : $seen{answers} >= $o{answers} };
	$begin->($_) for @sessions;
	while (grep { $_->{verb} } @sessions)
	{
		my $ready = '';
		vec($ready, fileno $_->{session}{from}, 1) = 1 for grep { $_->{verb} } @sessions;
		if (select($ready, undef, undef, 120) < 1)
		{
			push @{ $seen{wrong} }, map { "$_->{verb}: no answer" } grep { $_->{verb} } @sessions;
			last;
		}
		foreach my $n (0 .. $#sessions)
		{
			my $c = $sessions[$n];
			next if !$c->{verb};
			my $answered = $c->{session}->answered(0);
			# A session that was cancelled may have more statements to run after that.
			if ($c->{asked} && $c->{session}{text} =~ /canceling/)
			{
				$latency->('cancel to the error', $c->{asked});
				$c->{asked} = 0;
			}
			next if !$answered;
			$check->($c);
			$c = $sessions[$n];
			$c->{verb} = '';
			$begin->($c) if !$over->();
		}
		while ($seen{answers} >= $next && !$over->())
		{
			$disturb->();
			$next += $o{every};
		}
	}
	# One that was told to end just as it had answered ends later: another takes its place.
	foreach my $c (grep { $_->{doomed} } @sessions)
	{
		$c->{session}->end;
		$open->($c->{number});
	}
	$seen{seconds} = time - $began;
	$seen{sessions} = [ map { $_->{session} } @sessions ];
	return \%seen;
}

1;
