# The rows of a training lie in a temporary file and in the worker's memory, not in the session's.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkerTest;

plan skip_all => 'no /proc' if !-r '/proc/self/status';

# What is shared counts among a process's memory as soon as it is touched.
my $node = PostgreSQL::Test::Cluster->new('memory');
$node->init;
$node->append_conf('postgresql.conf', "shared_buffers = 1MB\njit = off\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION semtok');

# The most memory that a process ever had, in MB.
sub peak
{
	my ($pid) = @_;
	return slurp_file("/proc/$pid/status") =~ /^VmHWM:\s+(\d+) kB/m ? $1 / 1024 : die;
}

sub source { return "SELECT array_fill(i::real, array[2000]) FROM generate_series(1, $_[0]) AS i" }

# How much more a statement takes than the same one with few rows; many are 200 MB.
sub grown
{
	my ($offload, $statement) = @_;
	my $session = WorkerTest->session($node,
		"SET client_min_messages = warning; SET semtok.offload = $offload");
	my ($answer, $before);
	foreach my $rows (200, 25000)
	{
		$before = peak($session->{pid});
		$answer = $session->ask($statement =~ s/MANY/source($rows)/er =~ s/FEW/source(200)/er);
	}
	like($answer, qr/^\d+$/, "with semtok.offload = $offload: $statement");
	my $grown = peak($session->{pid}) - $before;
	$session->end;
	return $grown;
}

my $args = q{levels => 1, codes => 100, epochs => 1, init => 'random', batch_size => 1000};
my $train = qq{SELECT semtok.train('t', 'MANY', $args)};
cmp_ok(grown('off', $train), '>', 150, 'a session that trains by itself keeps the rows');
cmp_ok(grown('on', $train), '<', 40, 'one that has a worker does not');
cmp_ok(grown('on', qq{SELECT semtok.train('h', 'FEW', $args, options => '{"eval_source": "MANY"}')}),
	'<', 40, 'nor those held out');
cmp_ok(grown('on', qq{SELECT semtok.train('s', 'MANY', $args, sample => 20000)}), '<', 40, 'nor a sample');
cmp_ok(grown('on', q{SELECT semtok.partial_fit('t', 'MANY')}), '<', 40, 'nor partial_fit');
done_testing();
