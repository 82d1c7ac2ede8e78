# CALL semtok.tokenize: a table grows by little more than a batch, and is walked once where nobody else
# writes. On a server of its own, where nothing else runs.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $rows = 4000;

my $node = PostgreSQL::Test::Cluster->new('space');
$node->init;
$node->append_conf('postgresql.conf', "autovacuum = off\nmax_prepared_transactions = 1\n");
$node->start;
$node->safe_psql(
	'postgres', qq{
	SET client_min_messages = error;
	CREATE EXTENSION semtok;
	CREATE TABLE items AS SELECT i AS id, array(SELECT (hashint4(i * 100 + j) / 1e6)::real FROM generate_series(1, 32) AS j) AS x,
		repeat('-', 400) AS filler FROM generate_series(1, $rows) AS i;
	CREATE TABLE other (x int);
	SELECT semtok.train('items', 'SELECT x FROM items', levels => 2, codes => 32, epochs => 2);
});

# A table without room, and without a row that has its id.
sub fresh
{
	my ($fillfactor) = @_;

	$node->safe_psql(
		'postgres', qq{
		SET client_min_messages = error;
		DROP TABLE IF EXISTS goods;
		CREATE TABLE goods (id int, x real[], sid semid, filler text) WITH (fillfactor = $fillfactor);
		CREATE INDEX ON goods USING semtrie (sid);
		INSERT INTO goods SELECT id, x, null, filler FROM items;
		VACUUM goods;
	});
	return $node->safe_psql('postgres', q{SELECT pg_relation_size('goods')});
}

# Tuples that the run's scans returned for each row of the table: one a walk, and no more.
sub tokenize
{
	my ($before, %options) = @_;
	my $arguments = $options{arguments} || '';

	return $node->safe_psql(
		'postgres', qq{
		SET client_min_messages = error;
		$before;
		SELECT pg_stat_reset_single_table_counters('goods'::regclass) \\g /dev/null
		CALL semtok.tokenize('goods', 'x', 'sid', 'items', batch_size => 100 $arguments);
		SELECT pg_stat_force_next_flush() \\g /dev/null
		SELECT round(seq_tup_read / $rows.0) FROM pg_stat_user_tables WHERE relname = 'goods';
	});
}

sub check
{
	my ($what) = @_;

	is( $node->safe_psql(
			'postgres', q{SELECT count(*) FROM goods WHERE sid IS DISTINCT FROM semtok.encode('items', x)}),
		0, "$what: every row has its id");
	is($node->safe_psql('postgres', q{SELECT semtok.index_check('goods_sid_idx', true)}),
		'', "$what: the index is in order, and has every row");
}

foreach my $fillfactor (100, 50)
{
	my $size = fresh($fillfactor);
	is(tokenize(''), 1, "fillfactor $fillfactor: one walk");
	my $now = $node->safe_psql('postgres', q{SELECT pg_relation_size('goods')});
	cmp_ok($now, '<', $size * 1.2, "fillfactor $fillfactor: the table hardly grows");
	check("fillfactor $fillfactor");
}

# An old snapshot sees what it saw, so nothing of it is reused, nor after that.
my $size = fresh(100);
my $reader = $node->background_psql('postgres');
$reader->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ');
my $sum = 'SELECT count(*), count(sid), sum(x[1]), sum(length(filler)) FROM goods';
my $seen = $reader->query_safe($sum);
is(tokenize(''), 1, 'a reader does not write: one walk');
is($reader->query_safe($sum), $seen, 'an old snapshot sees the rows as they were');
$reader->query_safe('COMMIT');
cmp_ok($node->safe_psql('postgres', q{SELECT pg_relation_size('goods')}),
	'>', $size * 1.8, 'the table had to grow for that');
check('beside an old snapshot');

# Who has a transaction id might write to the table, and so there is a second walk.
fresh(100);
$reader->query_safe('BEGIN');
$reader->query_safe('INSERT INTO other VALUES (1)');
is(tokenize(''), 2, 'beside a transaction that is older: two walks');
$reader->query_safe('COMMIT');
$reader->quit;
check('beside an older transaction');

fresh(100);
$node->safe_psql('postgres', "BEGIN; INSERT INTO other VALUES (1); PREPARE TRANSACTION 'older'");
is(tokenize(''), 2, 'beside a prepared transaction: two walks');
$node->safe_psql('postgres', "ROLLBACK PREPARED 'older'");
check('beside a prepared transaction');

# What a batch itself does to the table, beyond its statement.
fresh(100);
$node->safe_psql(
	'postgres', q{
	CREATE FUNCTION writes(id int) RETURNS boolean VOLATILE LANGUAGE plpgsql AS $$
	BEGIN
		IF id = 2000 THEN
			INSERT INTO goods SELECT i, x, null, '' FROM items, generate_series(10001, 10005) AS i WHERE items.id = 1;
		END IF;
		RETURN true;
	END $$});
cmp_ok(tokenize('', arguments => q{, where_clause => 'writes(id)'}),
	'>=', 2, 'a condition that writes: a second walk');
check('a condition that writes');

# A cursor that such a condition holds is read when the batch commits; here the last one.
fresh(100);
$node->safe_psql(
	'postgres', q{
	CREATE FUNCTION late() RETURNS int VOLATILE LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO goods SELECT 20000 + id, x, null, filler FROM items WHERE id <= 500;
		RETURN 1;
	END $$;
	CREATE FUNCTION holds(id int) RETURNS boolean VOLATILE LANGUAGE plpgsql AS $$
	BEGIN
		IF id = 4000 AND NOT EXISTS (SELECT FROM pg_cursors WHERE name = 'held') THEN
			EXECUTE 'DECLARE held CURSOR WITH HOLD FOR SELECT late()';
		END IF;
		RETURN true;
	END $$});
is(tokenize('', arguments => q{, where_clause => 'holds(id)'}), 2, 'a condition that holds a cursor: a second walk');
is($node->safe_psql('postgres', 'SELECT count(id) FROM goods'), $rows + 500, 'which writes');
check('a condition that holds a cursor');

# The trigger's rows go where the walk has been: there is room, which the last run left.
foreach my $kind ('', 'CONSTRAINT')
{
	my $when = $kind ? 'DEFERRABLE INITIALLY DEFERRED' : '';

	fresh(100);
	$node->safe_psql(
		'postgres', qq{
		CREATE OR REPLACE FUNCTION doubled() RETURNS trigger LANGUAGE plpgsql AS \$\$
		BEGIN
			IF NEW.id = $rows THEN
				INSERT INTO goods VALUES (20000, NEW.x, null, '');
			END IF;
			RETURN null;
		END \$\$;
		CREATE $kind TRIGGER doubled AFTER UPDATE ON goods $when FOR EACH ROW EXECUTE FUNCTION doubled()});
	is(tokenize(''), 2, "a trigger ($kind): two walks");
	check("a trigger ($kind)");
}

# The caller's own transaction writes when it commits, which is after the tables were measured. Its id is
# in no snapshot of its own, and the one that came after it, of a block that failed, is finished.
fresh(100);
$node->safe_psql(
	'postgres', q{
	CREATE FUNCTION more() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO goods SELECT 30000 + id, x, null, filler FROM items WHERE id <= 1000;
		RETURN null;
	END $$;
	CREATE CONSTRAINT TRIGGER more AFTER INSERT ON other DEFERRABLE INITIALLY DEFERRED
		FOR EACH ROW EXECUTE FUNCTION more()});
$node->safe_psql(
	'postgres', q{
	SET client_min_messages = error;
	DO $$
	BEGIN
		INSERT INTO other VALUES (1);
		BEGIN
			DELETE FROM other;
			RAISE 'failed';
		EXCEPTION WHEN raise_exception THEN
		END;
		CALL semtok.tokenize('goods', 'x', 'sid', 'items', batch_size => 100);
	END $$});
is($node->safe_psql('postgres', 'SELECT count(*) FROM goods'), $rows + 1000, 'the caller writes when it commits');
check('a caller that writes');

$node->stop;
done_testing;
