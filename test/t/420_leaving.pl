# The extension comes, goes and comes again, and leaves nothing behind; what uses it keeps it; tables
# and indexes with ids live through what an administrator does to tables and indexes; and the export
# leaves plain arrays.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = abs_path(dirname(__FILE__) . '/../..');
my $node = PostgreSQL::Test::Cluster->new('leaving');
$node->init;
$node->append_conf('postgresql.conf', "autovacuum = off\nfsync = off\nallow_in_place_tablespaces = on\nmax_wal_senders = 0\nwal_level = minimal");
$node->start;
my $db;

sub sql { return $node->safe_psql($db, join ';', 'SET client_min_messages = error', @_); }

sub new_database
{
	$db = shift;
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	return;
}

# SQLSTATE and message of what must fail.
sub refusal
{
	my ($sql) = @_;
	my ($status, $out, $err) = $node->psql($db, "\\set VERBOSITY verbose\nSET client_min_messages = error;\n$sql", on_error_stop => 1);
	return "no error: $out" if $status == 0;
	return ($err =~ s/.*?ERROR:  //sr) =~ s/LOCATION:.*//sr =~ s/\s+\z//r;
}

# How many rows each catalog has. Planner statistics come and go by themselves.
my $catalogs = q{
	SELECT string_agg(c || ' ' || (xpath('//n/text()', query_to_xml('SELECT count(*) AS n FROM pg_catalog.' || c, false, true, '')))[1]::text, E'\n' ORDER BY c)
	FROM (SELECT relname AS c FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r'
		AND relname <> 'pg_statistic') AS s};
my $use = q{
	SELECT semtok.train('items', 'SELECT array[i, i % 7, i % 3] FROM generate_series(1, 100) AS i', levels => 2, codes => 4);
	CREATE TABLE items (id int PRIMARY KEY, x real[], sid semid, allowed semset, CONSTRAINT few CHECK (NOT sid ^@ '[9]'));
	INSERT INTO items SELECT i, array[i, i % 7, i % 3]::real[], semtok.encode('items', array[i, i % 7, i % 3]::real[]), '{[1,2]}'
		FROM generate_series(1, 100) AS i;
	CREATE INDEX items_sid ON items USING semtrie (sid)};

# Refused while something uses it
new_database('used');
my $before = sql($catalogs);
sql('CREATE EXTENSION semtok', $use, 'CREATE VIEW likely AS SELECT semtok.decode(sid) FROM items', 'CREATE DOMAIN short AS semid');
is(join("\n", sort split /\n/, refusal('DROP EXTENSION semtok') =~ s/DETAIL:  //r), join("\n", sort
		'2BP01: cannot drop extension semtok because other objects depend on it',
		'column sid of table items depends on type semid',
		'column allowed of table items depends on type semset',
		'view likely depends on function semtok.decode(semid)',
		'type short depends on type semid',
		'HINT:  Use DROP ... CASCADE to drop the dependent objects too.'), 'what uses it is named');
is(refusal('DROP SCHEMA semtok'), "2BP01: cannot drop schema semtok because extension semtok requires it\nHINT:  You can drop extension semtok instead.",
	'its schema is not dropped by itself');
is(refusal('DROP SCHEMA semtok CASCADE'), "2BP01: cannot drop schema semtok because extension semtok requires it\nHINT:  You can drop extension semtok instead.",
	'nor with CASCADE');
like(refusal('DROP TABLE semtok.tokenizer CASCADE'), qr/^2BP01: cannot drop table semtok.tokenizer because extension semtok requires it/,
	'nor the catalog');
like(refusal('ALTER EXTENSION semtok SET SCHEMA pg_catalog'), qr/^0A000: extension "semtok" does not support SET SCHEMA/,
	'it does not move');
is(sql('SELECT count(sid) FROM items'), 100, 'all that changes nothing');

# Sessions that know the old objects find the new ones.
my $session = $node->background_psql($db, on_error_stop => 0);
my $query = q{SELECT semtok.encode('items', '{1,1,1}') = (SELECT sid FROM items WHERE id = 1);};
is($session->query($query), 't', 'a session uses it');

sql('DROP EXTENSION semtok CASCADE');
is(sql('SELECT * FROM items WHERE id = 1'), '1|{1,1,1}', 'CASCADE takes columns, not tables');
sql('DROP TABLE items');
is(sql($catalogs), $before, 'and no catalog has a row more than before');
is(sql(q{SELECT count(*) FROM pg_namespace WHERE nspname = 'semtok'}), 0, 'schema semtok is gone');
is(sql(q{SELECT count(*) FROM pg_roles WHERE rolname ~ 'semtok'}), 0, 'there is no role');

sql('CREATE EXTENSION semtok', $use);
is($session->query($query), 't', 'a session from before uses the new one');
$session->quit;
is(sql('SELECT id FROM semtok.tokenizers'), 1, 'which is as new');
sql('CREATE TABLE semtok.mine ()');
like(refusal('DROP EXTENSION semtok'), qr/table semtok.mine depends on schema semtok/, 'foreign objects in its schema keep it');

# Its schemas
new_database('schemas');
$before = sql('CREATE SCHEMA semtok', $catalogs);
like(refusal('CREATE EXTENSION semtok'), qr/^42P06: schema "semtok" already exists/,
	'a schema of its name that is there is not taken over');
is(sql($catalogs), $before, 'and nothing is left of the attempt');
sql('CREATE EXTENSION semtok SCHEMA semtok', 'SET search_path = public, semtok', $use, 'DROP TABLE items', 'DROP EXTENSION semtok');
is(sql("SELECT nspacl, obj_description(oid) FROM pg_namespace WHERE nspname = 'semtok'"), '{' . sql('SELECT current_user') =~
	s/(.*)/$1=UC\/$1,=U\/$1/r . '}|', 'unless it is told to: then it stays when the extension goes, and so does USAGE for everybody');
is(sql($catalogs) =~ s/pg_init_privs \d+//r, $before =~ s/pg_init_privs \d+//r, 'and nothing else');
$before = sql('DROP SCHEMA semtok', 'CREATE SCHEMA ext', $catalogs);
sql('CREATE EXTENSION semtok SCHEMA ext', 'SET search_path = public, ext', $use);
like(refusal('DROP SCHEMA ext'), qr/^2BP01: .*extension semtok depends on schema ext/s, 'the schema of the types is kept');
sql('ALTER SCHEMA ext RENAME TO other', 'UPDATE items SET sid = NULL');
$node->safe_psql($db, q{CALL semtok.tokenize('items', 'x', 'sid', 'items')});
is(sql('SELECT count(sid) FROM items'), 100, 'but may be renamed');
sql('ALTER SCHEMA semtok RENAME TO lost');
is(refusal(q{SELECT lost.encode('items', '{1,1,1}')}), '3F000: schema "semtok" does not exist', 'schema semtok may not');
sql('ALTER SCHEMA lost RENAME TO semtok', 'DROP SCHEMA other CASCADE', 'DROP TABLE items', 'CREATE SCHEMA ext');
is(sql($catalogs), $before, 'with the schema of the types goes all');

# What happens to tables
new_database('tables');
sql('CREATE EXTENSION semtok', $use, q{
	CREATE FUNCTION answer() RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		found text;
	BEGIN
		SET LOCAL enable_seqscan = off;
		SET LOCAL enable_sort = off;
		SELECT string_agg(round(c::numeric, 3)::text, ' ') INTO found FROM (
			SELECT sid <~> semtok.neighbors(1, '{1,2,3}') AS c FROM items ORDER BY c LIMIT 40) AS s;
		RETURN found;
	END $$});
my $answer = sql('SELECT answer()');
my $check = q{SELECT semtok.index_check(oid, true) FROM pg_class WHERE relname LIKE 'items_sid%' AND relkind = 'i'};
my @done = (
	'a tablespace' => q{CREATE TABLESPACE fast LOCATION ''; ALTER INDEX items_sid SET TABLESPACE fast},
	'VACUUM FULL' => 'VACUUM FULL items',
	'back' => 'ALTER INDEX items_sid SET TABLESPACE pg_default',
	'made there' => 'DROP INDEX items_sid; CREATE INDEX items_sid ON items USING semtrie (sid) TABLESPACE fast',
	'a tablespace for the table' => 'ALTER TABLE items SET TABLESPACE fast',
	'REINDEX into another' => 'REINDEX (TABLESPACE pg_default) INDEX items_sid',
	'REINDEX into another, CONCURRENTLY' => 'REINDEX (TABLESPACE fast, CONCURRENTLY) INDEX items_sid',
	'REINDEX TABLE' => 'REINDEX TABLE items',
	'REINDEX TABLE CONCURRENTLY' => 'REINDEX TABLE CONCURRENTLY items',
	'REINDEX SCHEMA' => 'REINDEX SCHEMA public',
	'REINDEX DATABASE' => 'REINDEX DATABASE tables',
	'REINDEX DATABASE CONCURRENTLY' => 'REINDEX DATABASE CONCURRENTLY tables',
	'UNLOGGED' => 'ALTER TABLE items SET UNLOGGED',
	'LOGGED' => 'ALTER TABLE items SET LOGGED',
	'CLUSTER' => 'CLUSTER items USING items_pkey',
	'a new type' => 'ALTER TABLE items ALTER sid TYPE semid(2, 4)',
	'the old type' => 'ALTER TABLE items ALTER sid TYPE semid',
	'a rename of the index' => 'ALTER INDEX items_sid RENAME TO items_sid_renamed',
	'a rename of the column' => 'ALTER TABLE items RENAME sid TO key; ALTER TABLE items RENAME key TO sid',
	'a rename of the table' => 'ALTER TABLE items RENAME TO things; ALTER TABLE things RENAME TO items',
	'another schema' => 'CREATE SCHEMA shop; ALTER TABLE items SET SCHEMA shop; ALTER TABLE shop.items SET SCHEMA public',
	'another owner' => 'CREATE ROLE alice; ALTER TABLE items OWNER TO alice',
	'a column more' => q{ALTER TABLE items ADD note text DEFAULT 'x'; ALTER TABLE items ADD at timestamptz DEFAULT clock_timestamp()},
	'a restart' => undef);
while (my ($what, $sql) = splice @done, 0, 2)
{
	# one by one: some cannot run in the block that several statements make
	if (defined $sql) { $node->safe_psql($db, $_) foreach split /;\s*/, $sql; }
	else { $node->restart; }
	is(sql($check, 'SELECT answer()'), "\n$answer", "$what: the index is sound and answers");
}
like(refusal('CLUSTER items USING items_sid_renamed'), qr/^0A000: cannot cluster on index "items_sid_renamed" because access method does not support clustering/,
	'a table is not clustered by it');
sql('ALTER TABLE items DROP CONSTRAINT few');
like(refusal('ALTER TABLE items ALTER sid TYPE int[] USING sid::int[]'),
	qr/^42704: data type integer\[\] has no default operator class for access method "semtrie"/, 'a column with an index does not become int[]');
my $ids = sql('SELECT id, sid FROM items ORDER BY id');
sql('DROP INDEX items_sid_renamed', 'ALTER TABLE items ALTER sid TYPE int[] USING sid::int[]');
is(sql('SELECT pg_typeof(sid) FROM items WHERE id = 1'), 'integer[]', 'without it, it does');
sql('ALTER TABLE items ALTER sid TYPE semid USING semid(sid, 1)', 'CREATE INDEX items_sid ON items USING semtrie (sid)');
is(sql('SELECT id, sid FROM items ORDER BY id'), $ids, 'and back');
is(sql($check, 'SELECT answer()'), "\n$answer", 'the index too');
sql('TRUNCATE items');
is(sql($check, q{SELECT items, delta_entries FROM semtok.index_info('items_sid')}), "\n0|0", 'TRUNCATE empties it');
sql('BEGIN', 'INSERT INTO items (id, sid) VALUES (1, $$[1,1]@1$$)', 'TRUNCATE items', 'INSERT INTO items (id, sid) VALUES (2, $$[1,2]@1$$)', 'COMMIT');
is(sql($check, q{SET enable_seqscan = off; SELECT id FROM items WHERE sid ^@ '[1]'}), "\n2", 'also in the transaction that fills it');

# The export
new_database('exported');
sql('CREATE EXTENSION semtok', $use, q{
	CREATE TABLE parts (id int, sid semid(2, 4) NOT NULL DEFAULT '[1,1]@1', PRIMARY KEY (id)) PARTITION BY RANGE (id);
	CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (50);
	CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (50) TO (1000);
	INSERT INTO parts SELECT id, sid FROM items;
	CREATE INDEX ON parts USING semtrie (sid);
	CREATE INDEX ON parts (sid);
	CREATE INDEX ON items USING semtrie (sid) WHERE id < 50;
	CREATE INDEX ON items ((semid_prefix(sid, 1)));
	CREATE INDEX untouched ON items (x);
	CREATE TRIGGER keep BEFORE INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION semtok.tokenize_trigger('x', 'sid', 'items');
	CREATE TRIGGER keep BEFORE INSERT OR UPDATE ON parts FOR EACH ROW EXECUTE FUNCTION semtok.tokenize_trigger('id', 'sid', 'items');
	CREATE TABLE "Odd ""name" ("Sid" semid, book codebook);
	INSERT INTO "Odd ""name" SELECT NULL, codebook FROM semtok.tokenizer;
	CREATE TABLE parent (sid semid);
	CREATE TABLE child () INHERITS (parent);
	INSERT INTO child VALUES ('[3]@7')}, q{
	SELECT format('CREATE TABLE made (x real[], sid semid GENERATED ALWAYS AS (semtok.encode(%L::codebook, x)) STORED)', codebook)
	FROM semtok.tokenizer \gexec
	INSERT INTO made SELECT x FROM items});
my %exported = (
	'items' => 'SELECT id, sid::int[], semid_tokenizer(sid), allowed::text FROM items ORDER BY id',
	'parts' => 'SELECT id, sid::int[], semid_tokenizer(sid) FROM parts ORDER BY id',
	'made' => 'SELECT x, sid::int[], semid_tokenizer(sid) FROM made ORDER BY x',
	'parent' => 'SELECT sid::int[], semid_tokenizer(sid) FROM parent',
	'codewords' => 'SELECT id, e.* FROM semtok.tokenizer AS t, codebook_entries(codebook) AS e ORDER BY 1, 2, 3',
	'tokenizers' => 'SELECT * FROM semtok.tokenizers',
	'log' => 'SELECT * FROM semtok.training_log ORDER BY step, level, metric');
my %rows = map { $_ => sql($exported{$_}) } keys %exported;
my @export = ('psql', '-Xq', '-d', $node->connstr($db), '-f', "$top/examples/export_int.sql");
sql('CREATE VIEW in_the_way AS SELECT sid FROM items');
$node->command_fails_like(\@export, qr/cannot alter type of a column used by a view/, 'the export stops at what it cannot change');
is(sql($exported{items}), $rows{items}, 'and has changed nothing');
sql('DROP VIEW in_the_way');
$node->command_ok(\@export, 'the export');
sql('DROP EXTENSION semtok');
foreach my $what ('items', 'parts', 'made', 'parent')
{
	is(sql($exported{$what} =~ s/semid_tokenizer\(sid\)/sid_tokenizer/r), $rows{$what}, "rows of $what are as they were");
	is(sql("SELECT pg_typeof(sid), pg_typeof(sid_tokenizer) FROM $what LIMIT 1"), 'integer[]|integer', "$what has plain columns");
}
is(sql('SELECT * FROM semtok_export.codeword ORDER BY 1, 2, 3'), $rows{codewords}, 'codewords are kept');
is(sql('SELECT * FROM semtok_export.tokenizer'), $rows{tokenizers}, 'tokenizers, too');
is(sql('SELECT * FROM semtok_export.training_log ORDER BY step, level, metric'), $rows{log}, 'and their log');
is(sql(q{SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'items'::regclass ORDER BY indexrelid}),
	"items_pkey\nuntouched", 'indexes that have no need of it stay');
is(sql(q{SELECT is_nullable FROM information_schema.columns WHERE table_name = 'parts_1' AND column_name = 'sid'}), 'NO',
	'and so does NOT NULL');

done_testing();
