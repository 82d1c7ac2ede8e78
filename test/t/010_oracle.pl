# The index against the sequential plan: random catalogs, random queries, every kind of plan, to
# the last bit. SEMTOK_ORACLE_SEEDS=first-last runs other seeds.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use SemtokTest qw(oracle_node);
use Test::More;

my ($first, $last) = ($ENV{SEMTOK_ORACLE_SEEDS} || '1-36') =~ /^(\d+)-(\d+)$/
  or die "SEMTOK_ORACLE_SEEDS: expected first-last";

my $node = oracle_node('oracle', '');

# One session for each seed: VACUUM stands between the functions.
my $cases = 0;
for my $seed ($first .. $last)
{
	my $script = qq{
		SELECT oracle.make($seed);
		SELECT oracle.check('fresh', 32);
		SELECT oracle.churn(40);
		SELECT oracle.check('churned', 32);
		VACUUM oracle.item;
		SELECT oracle.check('vacuumed', 32);
		SELECT oracle.churn(60);
		VACUUM oracle.item;
		SELECT oracle.fill(20);
		SELECT oracle.check('vacuumed twice, pending rows', 32);
		SELECT 'index_check', count(*) FROM semtok.index_check('oracle.item_sid', true);
	};
	# the operators compiled, and inlined where there is bitcode
	$script .= q{
		SET oracle.jit = on;
		SET jit_above_cost = 0;
		SET jit_inline_above_cost = 0;
		SELECT oracle.check('compiled', 2);
		RESET oracle.jit;
	} if $seed % 12 == 5;
	# many times the pending limit: the inserter merges, several times
	$script .= q{
		SELECT oracle.fill(6000);
		DELETE FROM oracle.item WHERE id % 5 = 0;
		SELECT oracle.check('merged by inserts', 10);
		VACUUM oracle.item;
		SELECT oracle.check('merged by inserts, vacuumed', 10);
		SELECT 'index_check', count(*) FROM semtok.index_check('oracle.item_sid', true);
	} if $seed % 12 == 0;
	my ($out, $err);
	my $rc = $node->psql('postgres', $script, stdout => \$out, stderr => \$err);
	my ($shape) = $out =~ /^(seed .*)$/m;
	my $ran = 0;
	$ran += $_ for $out =~ /^(\d+)$/mg;
	$cases += $ran;
	my $failures = $node->safe_psql('postgres',
		"SELECT format('%s: %s: %s', phase, what, detail) FROM oracle.failure WHERE seed = $seed");
	ok($rc == 0 && $failures eq '', ($shape || "seed $seed") . ": $ran cases")
	  or diag("$err\n" . join("\n", grep { defined } (split /\n/, $failures)[ 0 .. 5 ]));
	last if $rc != 0 && $err =~ /server closed|could not connect/;
}
cmp_ok($cases, '>', 300 * ($last - $first + 1), "$cases cases ran");
$node->stop;
done_testing();
