# Every form of dump and restore: what comes back is what was there, to the last bit, and goes on.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('forms');
$node->init;
$node->append_conf('postgresql.conf', "autovacuum = off\nfsync = off\nmax_wal_senders = 0\nwal_level = minimal");
$node->start;
my $backup = $node->backup_dir;
mkdir $backup;

# Everything that a schema can do with semtok's types.
$node->safe_psql('postgres', 'CREATE ROLE alice LOGIN; CREATE ROLE bob LOGIN; CREATE DATABASE source');
$node->safe_psql(
	'source', q{
	SET client_min_messages = error;
	CREATE EXTENSION semtok;
	GRANT CREATE ON SCHEMA public TO alice, bob;
	SELECT semtok.train('gone', 'SELECT array[i, 1] FROM generate_series(1, 9) AS i', codes => 2);
	SELECT semtok.drop_tokenizer('gone');
	CREATE TABLE seed AS SELECT i, array[i % 17, i * 37 % 101, 1.0 / i]::real[] AS x FROM generate_series(1, 200) AS i;
	GRANT SELECT ON seed TO alice;
	SET ROLE alice;
	SELECT semtok.train('items', 'SELECT x FROM seed', levels => 2, codes => 16);
	SELECT semtok.train('items', 'SELECT x FROM seed', codes => array[8, 4, 2], metric => 'cosine');
	SELECT semtok.activate('items', 2);
	RESET ROLE;
	-- a generated column and an index by a codebook as a constant: IMMUTABLE, and no catalog is needed
	SELECT format('CREATE TABLE coded (id int PRIMARY KEY, x real[],
		sid semid GENERATED ALWAYS AS (semtok.encode(%L::codebook, x)) STORED);
		CREATE INDEX coded_expression ON coded USING semtrie ((semtok.encode(%1$L::codebook, x, 4)));', codebook)
	FROM semtok.tokenizer WHERE id = 2 \gexec
	INSERT INTO coded SELECT i, x FROM seed;
	CREATE INDEX coded_sid ON coded USING semtrie (sid) WITH (pending_limit = 128);
	SET ROLE alice;
	CREATE DOMAIN short_id AS semid CHECK (semid_levels(VALUE) <= 3);
	CREATE TABLE items (id int PRIMARY KEY, x real[], price int,
		sid semid, two semid(2, 16) DEFAULT '[1,2]@2', short short_id,
		kin semid[], allowed semset, asked semquery, book codebook,
		CONSTRAINT not_there CHECK (NOT two ^@ '[15,15]@2'));
	RESET ROLE;
	INSERT INTO items SELECT i, x, i, semtok.encode(CASE WHEN i % 3 = 0 THEN 2 ELSE 3 END, x),
		CASE WHEN i % 5 > 0 THEN semid(array[i % 15, i % 16], 2) END, semid(array[i % 7], 3),
		array[semid(array[i]), null], semset(array[semid(array[i % 4, 1])]),
		semtok.neighbors(2, x), CASE WHEN i = 1 THEN (SELECT codebook FROM semtok.tokenizer WHERE id = 3) END
		FROM seed WHERE i % 16 <> 15 OR i % 15 <> 15;
	CREATE INDEX items_sid ON items USING semtrie (sid);
	CREATE INDEX items_cheap ON items USING semtrie (two) WHERE price < 100 AND two ^@ '[3]';
	CREATE INDEX items_btree ON items (sid);
	CREATE INDEX items_hash ON items USING hash (sid);
	CREATE TABLE split (id int, sid semid) PARTITION BY HASH (sid);
	CREATE TABLE split_0 PARTITION OF split FOR VALUES WITH (MODULUS 2, REMAINDER 0);
	CREATE TABLE split_1 PARTITION OF split FOR VALUES WITH (MODULUS 2, REMAINDER 1);
	CREATE INDEX split_sid ON split USING semtrie (sid);
	INSERT INTO split SELECT i, semid(array[i % 10, i % 7], 3) FROM seed;
	CREATE TABLE ranges (id int, sid semid) PARTITION BY RANGE (sid);
	CREATE TABLE ranges_old PARTITION OF ranges FOR VALUES FROM (MINVALUE) TO ('[0]@3');
	CREATE TABLE ranges_new PARTITION OF ranges FOR VALUES FROM ('[0]@3') TO (MAXVALUE);
	INSERT INTO ranges SELECT i, semid(array[i % 10], 2 + i % 2) FROM seed;
	CREATE MATERIALIZED VIEW mat AS SELECT id, semtok.encode('items', x) AS sid FROM items;
	CREATE UNIQUE INDEX mat_id ON mat (id);
	CREATE INDEX mat_sid ON mat USING semtrie (sid);
	CREATE VIEW likely AS SELECT id FROM items ORDER BY sid <~> (SELECT semtok.neighbors('items', '{1,2,3}')) LIMIT 5;
	GRANT SELECT ON items TO bob;
	ALTER TABLE items CLUSTER ON items_btree;
	CREATE STATISTICS items_stats ON sid, two FROM items;
});

# Tokenizers and what comes of them, whatever schemas are called there.
my $tokenizers = q{
	SET search_path = public, ext;
	SELECT id, name, version, active, owner, hash, options, counts, codebook_hash(codebook), created_at
		FROM semtok.tokenizer ORDER BY id;
	SELECT * FROM semtok.training_log ORDER BY tokenizer, step, level, metric;
	SELECT last_value, is_called FROM semtok.tokenizer_id_seq;
};
my $rows = q{
	SET search_path = public, ext;
	SELECT i.* FROM items AS i ORDER BY id;
	SELECT * FROM coded ORDER BY id;
	SELECT tableoid::regclass, * FROM split ORDER BY id;
	SELECT tableoid::regclass, * FROM ranges ORDER BY id;
	SELECT * FROM mat ORDER BY id;
	SELECT * FROM likely;
};
# Definitions, with the extension's schema taken away.
my $definitions = q{
	SET search_path = public, ext;
	SELECT c.relname, attname, format_type(atttypid, atttypmod), attgenerated, attnotnull,
		md5(pg_get_expr(adbin, adrelid))
	FROM pg_class AS c JOIN pg_attribute AS a ON attrelid = c.oid LEFT JOIN pg_attrdef ON adrelid = c.oid AND adnum = attnum
	WHERE relnamespace = 'public'::regnamespace AND attnum > 0 ORDER BY 1, 2;
	SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1;
	SELECT indexrelid::regclass::text, md5(pg_get_indexdef(indexrelid)), indisvalid FROM pg_index JOIN pg_class ON oid = indexrelid
		WHERE relnamespace = 'public'::regnamespace ORDER BY 1;
	SELECT relname, relacl, pg_get_expr(relpartbound, oid) FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1;
	SELECT pg_get_viewdef('likely'), pg_get_viewdef('mat');
	SELECT stxname FROM pg_statistic_ext;
};
# Each semtrie index holds its table and answers as the table does.
my $answers = q{
	SET search_path = public, ext;
	SET enable_sort = off;
	SELECT c.relname, semtok.index_check(i.indexrelid, true) FROM pg_index AS i JOIN pg_class AS c ON c.oid = indexrelid
		JOIN pg_am AS a ON a.oid = relam WHERE amname = 'semtrie' AND relkind = 'i' ORDER BY 1;
	SET enable_seqscan = off;
	SELECT array_agg(c) FROM (SELECT sid <~> semtok.logits('{{1,2,3,4,5,6,7,8},{8,7,6,5,4,3,2,1}}', null, 3) AS c
		FROM items ORDER BY c LIMIT 20) AS s;
	SELECT array_agg(c) FROM (SELECT semid_codes(sid) AS c FROM coded ORDER BY sid <~> semtok.neighbors(
		(SELECT codebook FROM semtok.tokenizer WHERE id = 2), '{1,2,3}') LIMIT 20) AS s;
	SELECT array_agg(id ORDER BY id) FROM items WHERE sid ^@ '[3]@2';
	SELECT array_agg(id ORDER BY id) FROM items WHERE price < 100 AND two ^@ '[3]';
	SELECT array_agg(id ORDER BY id) FROM mat WHERE sid ^@ '[3]';
	SELECT array_agg(id ORDER BY id) FROM split WHERE sid = '[3,3]@3';
};

sub state_of
{
	my ($db, @what) = @_;
	return join "\n--\n", map { $node->safe_psql($db, $_) } @what;
}
my $before = state_of('source', $tokenizers, $rows, $definitions, $answers);
cmp_ok(length $before, '>', 10000, 'there is something to dump');

# A database that must be like the source, and goes on after it.
sub same_ok
{
	my ($db, $what, @state) = @_;
	@state = ($tokenizers, $rows, $definitions, $answers) unless @state;
	is(state_of($db, @state), state_of('source', @state), "$what: all is as it was");
	is( $node->safe_psql(
			$db, q{SET client_min_messages = error; SET ROLE alice;
			SELECT semtok.train('items', 'SELECT array[i, i, i] FROM generate_series(1, 9) AS i', codes => 2);
			SELECT version, active, owner FROM semtok.tokenizers WHERE id = 4}),
		"4\n3|f|alice", "$what: ids and versions go on");
}

sub run_ok
{
	my ($what, @command) = @_;
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port);
	my $ok = IPC::Run::run(\@command, '>', \my $out, '2>', \my $err);
	ok($ok, $what) or diag("@command\n$err");
	return;
}

sub dump_ok
{
	my ($file, @options) = @_;
	run_ok("pg_dump @options", 'pg_dump', '-d', 'source', '-f', "$backup/$file", @options);
	return;
}
my @psql = ('psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-1');
my @restore = ('pg_restore', '--exit-on-error');
my $number = 0;

sub new_database
{
	my $db = 'copy' . ++$number;
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	return $db;
}

# Whole dumps
foreach my $form ([ 'plain' ], [ 'inserts', '--column-inserts', '--rows-per-insert=50' ])
{
	my ($what, @options) = @$form;
	my $db = new_database();
	dump_ok("$what.sql", @options);
	run_ok("$what: restored", @psql, '-d', $db, '-f', "$backup/$what.sql");
	same_ok($db, $what);
}
dump_ok('custom', '-Fc');
dump_ok('directory', '-Fd', '-j2');
foreach my $form ([ 'custom', '-1' ], [ 'directory', '-j2' ])
{
	my ($what, @options) = @$form;
	my $db = new_database();
	run_ok("$what: restored", @restore, @options, '-d', $db, "$backup/$what");
	same_ok($db, $what);
}

# Section by section, each dumped by itself
my $sections = new_database();
foreach my $section ('pre-data', 'data', 'post-data')
{
	dump_ok("$section.sql", "--section=$section");
	run_ok("$section: restored", @psql, '-d', $sections, '-f', "$backup/$section.sql");
}
same_ok($sections, 'by sections');

# Definitions first, then data. What the schema alone makes is empty: no tokenizer, and ids from 1.
my $later = new_database();
run_ok('schema only: restored', @restore, '--schema-only', '-d', $later, "$backup/custom");
is(state_of($later, $definitions), state_of('source', $definitions), 'schema only: definitions are the same');
is($node->safe_psql($later, 'SELECT count(*), nextval($$semtok.tokenizer_id_seq$$) FROM semtok.tokenizer, items'),
	'0|1', 'schema only: nothing else');
run_ok('data only: restored', @restore, '--data-only', '-1', '-d', $later, "$backup/custom");
$node->safe_psql($later, 'REFRESH MATERIALIZED VIEW mat');
same_ok($later, 'data only');

# Into another schema: who restores makes the extension before.
my $moved = new_database();
$node->safe_psql($moved, 'CREATE SCHEMA ext; CREATE EXTENSION semtok SCHEMA ext');
dump_ok('moved.sql', '--no-comments');
my $sql = slurp_file("$backup/moved.sql");
my $types = qr/(?:semid|semset|semquery|codebook)/;
$sql =~ s/\bpublic\.(?=$types)/ext./g;
$sql =~ s/OPERATOR\(public\./OPERATOR(ext./g;
open(my $file, '>', "$backup/moved.sql") or die $!;
print $file $sql;
close $file;
run_ok('another schema: restored', @psql, '-d', $moved, '-f', "$backup/moved.sql");
is($node->safe_psql($moved, 'SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = $$semtok$$'),
	'ext', 'another schema: the extension is in it');
is(state_of($moved, $rows, $answers), state_of('source', $rows, $answers), 'another schema: rows and answers');
is(state_of($moved, $tokenizers), state_of('source', $tokenizers), 'another schema: tokenizers');

# One table, into a database where its tokenizers are
my $one = new_database();
run_ok('one table: tokenizers', @restore, '-1', '-d', $one, "$backup/custom");
$node->safe_psql($one, 'DROP TABLE items CASCADE');
dump_ok('table.sql', '-t', 'items');
unlike(slurp_file("$backup/table.sql"), qr/EXTENSION|tokenizer_id_seq|COPY semtok/, 'one table: nothing of the extension');
run_ok('one table: restored', @psql, '-d', $one, '-f', "$backup/table.sql");
is( state_of($one, 'SELECT * FROM items ORDER BY id'),
	state_of('source', 'SELECT * FROM items ORDER BY id'), 'one table: its rows');
is( $node->safe_psql($one, q{SELECT semtok.index_check('items_sid', true); SELECT indexrelid::regclass FROM pg_index
		WHERE indrelid = 'items'::regclass ORDER BY indexrelid::regclass::text}),
	$node->safe_psql('source', q{SELECT semtok.index_check('items_sid', true); SELECT indexrelid::regclass FROM pg_index
		WHERE indrelid = 'items'::regclass ORDER BY indexrelid::regclass::text}), 'one table: its indexes');

# Into a database that has tokenizers of its own: an error that changes nothing, and the way round.
my $busy = new_database();
$node->safe_psql($busy, q{
	SET client_min_messages = error;
	CREATE EXTENSION semtok;
	SELECT semtok.train('own', 'SELECT array[i, 1] FROM generate_series(1, 9) AS i', codes => 2) FROM generate_series(1, 9)});
my $own = state_of($busy, $tokenizers);
IPC::Run::run([ @restore, '--data-only', '-1', '-n', 'semtok', '-h', $node->host, '-p', $node->port, '-d', $busy,
		"$backup/custom" ], '>', \my $out, '2>', \my $err);
like($err, qr/duplicate key value violates unique constraint "tokenizer_pkey"/, 'other tokenizers: an error');
is(state_of($busy, $tokenizers), $own, 'other tokenizers: and nothing is changed');
dump_ok('rows', '-Fc', '--exclude-table-data=semtok.*', '--exclude-table=mat');
run_ok('other tokenizers: rows alone', @restore, '-1', '--no-comments', '-d', $busy, "$backup/rows");
is(state_of($busy, $tokenizers), $own, 'other tokenizers: they stay as they are');
is( state_of($busy, 'SELECT id, sid, two FROM items ORDER BY id'),
	state_of('source', 'SELECT id, sid, two FROM items ORDER BY id'), 'other tokenizers: the rows are there');

# Who is no superuser may dump what is his, and restore his own once the extension is there.
$node->safe_psql('postgres', 'CREATE DATABASE owned OWNER alice; CREATE DATABASE restored OWNER alice');
$node->safe_psql('owned', 'CREATE EXTENSION semtok');
$node->safe_psql('owned', q{
	SET client_min_messages = error;
	SET ROLE alice;
	CREATE SCHEMA shop;
	CREATE TABLE shop.items (x real[], sid semid);
	INSERT INTO shop.items (x) SELECT array[i % 17, i * 37 % 101, 1.0 / i]::real[] FROM generate_series(1, 100) AS i;
	SELECT semtok.train('items', 'SELECT x FROM shop.items', levels => 2, codes => 4);
	UPDATE shop.items SET sid = semtok.encode('items', x);
	CREATE INDEX ON shop.items USING semtrie (sid)});
my @as_alice = ('-U', 'alice');
run_ok('an owner dumps', 'pg_dump', @as_alice, '-d', 'owned', '-Fc', '-f', "$backup/owned");
$node->safe_psql('restored', 'CREATE EXTENSION semtok');
run_ok('the tokenizers are a superuser\'s to restore',
	@restore, '--data-only', '-1', '-n', 'semtok', '-d', 'restored', "$backup/owned");
run_ok('the rest is the owner\'s', @restore, @as_alice, '-1', '--no-comments', '-N', 'semtok', '-d', 'restored', "$backup/owned");
my $whose = q{SELECT id, name, owner FROM semtok.tokenizers;
	SELECT sid, semtok.encode('items', x) = sid FROM shop.items ORDER BY x;
	SELECT semtok.index_check('shop.items_sid_idx', true)};
is(state_of('restored', $whose), state_of('owned', $whose), 'all is there');

done_testing();
