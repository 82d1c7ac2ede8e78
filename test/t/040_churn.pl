# The index does not grow under churn: deleted, vacuumed and refilled again and again, it keeps the
# size it had. And many sessions at once, inserting, deleting, vacuuming and reading, see no wrong
# row.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PostgreSQL::Test::Utils;
use SemtokTest qw(oracle_node oracle_check);
use Test::More;

my $node = oracle_node('churn', "max_connections = 30\nshared_buffers = 64MB");
$node->safe_psql('postgres', q{
	INSERT INTO oracle.shape VALUES (0, '{64,64,64}', false, '{1}', 0, 0, false);
	CREATE FUNCTION random_sid() RETURNS semid LANGUAGE sql VOLATILE AS $$
		SELECT semid(array[floor(random() * 64)::int, floor(random() * 64)::int, floor(random() * 64)::int], 1)
	$$;
});

# Sizes after each of 20 rounds, for a small limit, where inserters merge several times a round,
# and for the default, where only VACUUM does.
foreach my $limit (64, 4096)
{
	$node->safe_psql('postgres', qq{
		DROP TABLE IF EXISTS oracle.item;
		CREATE TABLE oracle.item (id bigint GENERATED ALWAYS AS IDENTITY, sid semid, extra int DEFAULT 0,
			note int DEFAULT 0) WITH (autovacuum_enabled = off);
		INSERT INTO oracle.item (sid) SELECT random_sid() FROM generate_series(1, 30000);
		CREATE INDEX item_sid ON oracle.item USING semtrie (sid) WITH (pending_limit = $limit);
	});
	my @sizes;
	for my $round (1 .. 20)
	{
		$node->safe_psql('postgres', "SELECT setseed($round / 100.0); DELETE FROM oracle.item WHERE random() < 0.5");
		$node->safe_psql('postgres', 'VACUUM oracle.item');
		$node->safe_psql('postgres', 'INSERT INTO oracle.item (sid) SELECT random_sid()
			FROM generate_series(1, 30000 - (SELECT count(*) FROM oracle.item))');
		push @sizes, $node->safe_psql('postgres', q{SELECT pg_relation_size('oracle.item_sid')});
	}
	note("pending_limit $limit: kB after each round: " . join ' ', map { $_ / 1024 } @sizes);
	cmp_ok($sizes[19], '<=', 1.02 * $sizes[2],
		"pending_limit $limit: after 20 rounds no more than 1.02 times the size after 3");
	$node->safe_psql('postgres', q{SELECT count(*) FROM semtok.index_check('oracle.item_sid', true)});
	oracle_check($node, "pending_limit $limit: after 20 rounds", 6);
}

# Sessions at once. Each reader compares index and sequential plan under one snapshot.
$node->safe_psql('postgres', q{
	TRUNCATE oracle.item;
	ALTER INDEX oracle.item_sid SET (pending_limit = 64);
	INSERT INTO oracle.item (sid) SELECT random_sid() FROM generate_series(1, 3000);
	CREATE TABLE asked AS SELECT n, oracle.random_query((array['full', 'none', 'masked', 'neighbors'])[1 + n % 4]) AS q
		FROM generate_series(1, 20) n;
	CREATE FUNCTION agree(n int) RETURNS void LANGUAGE plpgsql AS $$
	DECLARE
		d text := oracle.compare('oracle.item', (SELECT q FROM asked WHERE asked.n = agree.n), 100000);
	BEGIN
		IF d IS NOT NULL THEN
			RAISE EXCEPTION 'plans disagree: %', d;
		END IF;
	END
	$$;
});
$node->pgbench(
	'-c 8 -j 2 -t 60 --no-vacuum',
	0,
	[qr{processed: 480/480}],
	[qr{^\s*(pgbench.*)?\s*$}s],
	'inserters, deleters, VACUUM and readers at once',
	{
		'insert@6' => 'INSERT INTO oracle.item (sid) SELECT random_sid() FROM generate_series(1, 300);',
		'delete@4' => 'DELETE FROM oracle.item WHERE id IN
			(SELECT id FROM oracle.item ORDER BY id LIMIT 400 FOR UPDATE SKIP LOCKED);',
		'abort@1' => 'BEGIN; INSERT INTO oracle.item (sid) SELECT random_sid() FROM generate_series(1, 300); ROLLBACK;',
		'vacuum@1' => 'SET client_min_messages = error; VACUUM (SKIP_LOCKED) oracle.item;',
		'read@4' => '\set n random(1, 20)
			BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT agree(:n); COMMIT;',
	});
$node->safe_psql('postgres', q{SELECT count(*) FROM semtok.index_check('oracle.item_sid', true)});
oracle_check($node, 'afterwards', 6);
$node->stop;
done_testing();
