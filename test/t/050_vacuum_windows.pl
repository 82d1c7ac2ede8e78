# What can go wrong only in the middle of a VACUUM, with VACUUM slowed down so that its middle can be
# met: rows put into heap slots that it has just freed, while other sessions remember where the old
# rows were; and inserts that pass the pending limit while it cleans the index.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PostgreSQL::Test::Utils;
use SemtokTest qw(oracle_node oracle_check);
use Test::More;

my $node = oracle_node('windows', 'max_connections = 20');
$node->safe_psql('postgres', q{
	INSERT INTO oracle.shape VALUES (0, '{8,8,8}', false, '{1}', 0, 0, false);
	CREATE TABLE oracle.item (id int PRIMARY KEY, sid semid, extra int DEFAULT 0, note int DEFAULT 0)
		WITH (autovacuum_enabled = off);
	CREATE INDEX ON oracle.item (note);
	CREATE TABLE asked AS SELECT n, semtok.logits(
		(SELECT array_agg(((hashint4(n * 100 + c) & 255) / 8.0)::real ORDER BY c) FROM generate_series(1, 24) c),
		'{8,8,8}') AS q FROM generate_series(1, 3) n;
	-- how many rows of a forced index scan are not what was asked for, and whether orders agree
	CREATE FUNCTION wrong() RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		foreign_rows int;
		differences text;
	BEGIN
		PERFORM oracle.plan('index');
		SELECT count(*) INTO foreign_rows FROM (SELECT sid FROM oracle.item WHERE sid ^@ '[3]@1' OFFSET 0) i
			WHERE semid_code(sid, 0) <> 3;
		SELECT string_agg(d, '; ') INTO differences
			FROM (SELECT oracle.compare('oracle.item', q, 100000) AS d FROM asked) c;
		RETURN format('%s foreign rows, differences: %s', foreign_rows, coalesce(differences, 'none'));
	END
	$$;
});
my $right = '0 foreign rows, differences: none';

foreach my $where ('in the run', 'pending', 'in both')
{
	my %rows = (
		'in the run' => [ 'INSERT', 'CREATE' ],
		'pending' => [ 'CREATE', 'INSERT' ],
		'in both' => [ 'INSERT', 'CREATE', 'UPDATE' ]);
	my %sql = (
		INSERT => q{INSERT INTO oracle.item SELECT i, semid(array[i % 4, i / 4 % 8, i / 32 % 8], 1)
			FROM generate_series(1, 5000) i},
		CREATE => 'CREATE INDEX item_sid ON oracle.item USING semtrie (sid) WITH (pending_limit = 512)',
		UPDATE => 'UPDATE oracle.item SET note = 1 WHERE id % 3 = 0');
	$node->safe_psql('postgres', 'TRUNCATE oracle.item; DROP INDEX IF EXISTS oracle.item_sid');
	$node->safe_psql('postgres', $sql{$_}) for @{ $rows{$where} };

	my $reader = $node->background_psql('postgres');
	my $writer = $node->background_psql('postgres');
	my $vacuum = $node->background_psql('postgres');
	is($reader->query('SELECT wrong()'), $right, "$where: before");
	$node->safe_psql('postgres', 'DELETE FROM oracle.item WHERE id % 2 = 0');
	is($reader->query('SELECT wrong()'), $right, "$where: deleted");

	# a page every 40 ms
	$vacuum->query('SET vacuum_cost_delay = 10; SET vacuum_cost_limit = 1');
	$vacuum->query_until(qr/started/, "\\echo started\nVACUUM oracle.item;\n");

	# In the index: inserters pass the limit, and do not wait for VACUUM.
	wait_for_phase("phase = 'vacuuming indexes'");
	$writer->query_safe(q{INSERT INTO oracle.item SELECT 100000 + i, semid(array[4 + i % 4, i % 8, 7], 1)
		FROM generate_series(1, 40000) i});
	is(phase(), 'vacuuming indexes', "$where: inserting does not wait for VACUUM");
	is($reader->query('SELECT wrong()'), $right, "$where: while VACUUM cleans the index");

	# In the heap: other ids take the slots, below the reader's remembered entries.
	wait_for_phase("phase = 'vacuuming heap' AND heap_blks_vacuumed >= 5");
	$writer->query_safe(q{INSERT INTO oracle.item SELECT 200000 + i, semid(array[4 + i % 4, i % 8, 6], 1)
		FROM generate_series(1, 500) i});
	is($reader->query('SELECT wrong()'), $right, "$where: while VACUUM frees slots that are used again");
	is(phase(), 'vacuuming heap', "$where: VACUUM was still at it");

	# the rest at full speed
	$vacuum->query('SELECT 1');
	is($reader->query('SELECT wrong()'), $right, "$where: after VACUUM");
	$node->safe_psql('postgres', q{SELECT semtok.index_check('oracle.item_sid', true)});
	oracle_check($node, "$where: at the end", 4);
	$_->quit for $reader, $writer, $vacuum;
}
$node->stop;
done_testing();

sub phase
{
	return $node->safe_psql('postgres', 'SELECT phase FROM pg_stat_progress_vacuum');
}

sub wait_for_phase
{
	my ($condition) = @_;
	$node->poll_query_until('postgres',
		"SELECT EXISTS (SELECT FROM pg_stat_progress_vacuum WHERE $condition)")
	  or die "VACUUM: $condition never came";
	return;
}
