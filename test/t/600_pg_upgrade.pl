# pg_upgrade from one PostgreSQL to the next takes everything along: tokenizers, ids, indexes,
# sets, queries and codebooks give the same answers from the same files, and life goes on.
#
# SEMTOK_PG_CONFIGS names the pg_config of each installation, oldest first, semtok installed in all:
#   SEMTOK_PG_CONFIGS="/opt/15/bin/pg_config /opt/17/bin/pg_config /opt/18/bin/pg_config"
use strict;
use warnings;
use Cwd;
use FindBin;
use IPC::Run;
use lib "$FindBin::Bin/../lib";
use PostgreSQL::Test::Utils;
use SemtokTest qw(first_difference);
use Test::More;

my @installations;
foreach my $pg_config (split ' ', $ENV{SEMTOK_PG_CONFIGS} || '')
{
	my ($bin, $share, $version) =
	  map { my $x = qx('$pg_config' --$_); chomp $x; $x } qw(bindir sharedir version);
	plan skip_all => "SEMTOK_PG_CONFIGS: $pg_config does not work" if $version !~ /^PostgreSQL (\d+)/;
	my $major = $1;
	plan skip_all => "semtok is not installed in $pg_config" if !-e "$share/extension/semtok.control";
	push @installations, { bin => $bin, major => $major };
}
plan skip_all => 'SEMTOK_PG_CONFIGS does not name two installations' if @installations < 2;

# Sockets want short paths; pg_upgrade writes into the folder that it runs in.
my $home = PostgreSQL::Test::Utils::tempdir_short();
my $port = 50000 + $$ % 10000;
delete local $ENV{PGHOST};
my @superuser = ('-U', 'postgres');

sub run_ok
{
	my ($what, @command) = @_;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run(\@command, '>', \$out, '2>', \$err);
	diag("@command\n$out$err"), BAIL_OUT("$what failed") if !$ok;
	return $out;
}

sub make_cluster
{
	my ($installation, $data) = @_;
	run_ok('initdb', "$installation->{bin}/initdb", '-D', $data, @superuser, qw(-A trust -k -E UTF8 --locale=C --no-sync));
	append_to_file("$data/postgresql.conf",
		"listen_addresses = ''\nunix_socket_directories = '$home'\nport = $port\nfsync = off\nautovacuum = off\n");
}

# Output goes to a file: a server that holds a pipe open is waited for.
sub pg_ctl
{
	my ($installation, $data, $action) = @_;
	system_or_bail("$installation->{bin}/pg_ctl", '-D', $data, '-l', "$data/log", '-s', '-w', $action);
}

sub psql
{
	my ($installation, $database, $sql) = @_;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run([ "$installation->{bin}/psql", '-XAtq', '-v', 'ON_ERROR_STOP=1', '-h', $home, '-p', $port,
			@superuser, '-d', $database, '-f', '-' ], '<', \$sql, '>', \$out, '2>', \$err);
	diag($err, substr(slurp_file("$home/$installation->{major}/log"), -2000)), BAIL_OUT('psql failed') if !$ok;
	chomp $out;
	return $out;
}

my $first = shift @installations;
my $current = $first;
my $data = "$home/$first->{major}";
make_cluster($first, $data);
pg_ctl($first, $data, 'start');

# Two databases: all kinds of values, indexes and tables in one, the extension in its own schema
# in the other. The semtrie indexes have a delta, dead rows and merged runs.
psql($first, 'postgres', q{
	SET client_min_messages = error;
	CREATE ROLE alice;
	CREATE EXTENSION semtok;
	CREATE TYPE pair AS (old semid, new semid);
	CREATE DOMAIN item_id AS semid CHECK (semid_levels(VALUE) > 1);
	CREATE TABLE item (id int PRIMARY KEY, x real[], sid semid, extra item_id, both_ids pair, many semid[]);
	INSERT INTO item SELECT i, array[i % 17, i * 37 % 101, 1.0 / i, i % 5]::real[] FROM generate_series(1, 2000) i;
	GRANT SELECT ON item TO alice;
	SELECT semtok.train('gone', 'SELECT x FROM item', codes => 2, epochs => 1);
	SELECT semtok.drop_tokenizer('gone');
	SELECT semtok.train('l2', 'SELECT x FROM item', codes => 32, epochs => 3, options => '{"beam": 4}');
	SELECT semtok.train('uneven', 'SELECT x FROM item', codes => array[16, 4], metric => 'cosine', epochs => 2);
	SELECT semtok.train('ema', 'SELECT x FROM item', method => 'ema', codes => 8, metric => 'ip', epochs => 1);
	SET ROLE alice;
	SELECT semtok.train('l2_of_alice', 'SELECT x FROM item', codes => 4, epochs => 1);
	SELECT semtok.partial_fit('l2_of_alice', 'SELECT x FROM item WHERE id < 300');
	RESET ROLE;
});
psql($first, 'postgres', q{CALL semtok.tokenize('item', 'x', 'sid', 'l2')});
psql($first, 'postgres', q{
	UPDATE item SET extra = semtok.encode('uneven', x), both_ids = (sid, semtok.encode('ema', x)),
		many = array[sid, sid || 3] WHERE id % 3 = 0;
	CREATE INDEX item_sid ON item USING semtrie (sid) WITH (pending_limit = 64);
	CREATE INDEX item_cheap ON item USING semtrie (sid) WHERE id < 500;
	CREATE INDEX item_expression ON item USING semtrie (semid_prefix(sid, 2));
	CREATE INDEX item_btree ON item (sid, id);
	CREATE INDEX item_hash ON item USING hash (extra);
	CREATE INDEX item_many ON item USING gin (many);
	INSERT INTO item (id, x, sid) SELECT i + 10000, x, semtok.encode('l2', x) FROM (
		SELECT i, array[i % 13, i * 31 % 97, 2.0 / i, 1]::real[] AS x FROM generate_series(1, 3000) i) s;
	DELETE FROM item WHERE id % 9 = 0;
	VACUUM item;
	INSERT INTO item (id, x, sid) SELECT -id, x, sid FROM item WHERE id < 40;
	UPDATE item SET sid = NULL WHERE id % 11 = 0;
	DELETE FROM item WHERE id % 13 = 0;
	CREATE TABLE set_of AS SELECT id % 4 AS n, semset_agg(sid) AS ids FROM item GROUP BY 1;
	CREATE TABLE words AS SELECT id, codebook FROM semtok.tokenizer;
	CREATE TABLE asked AS
		SELECT n, semtok.neighbors('l2', array[n, n * 7, 0.5, 1]::real[]) AS q FROM generate_series(1, 8) n
		UNION ALL SELECT 9, semtok.logits(array_fill(0.5, array[96])::real[] || '{}', '{32,32,32}')
		UNION ALL SELECT 10, semtok.logits('{{1,2,3},{4,5,6},{7,8,9}}', norm => 'masked', within => ids)
			FROM set_of WHERE n = 1;
	CREATE UNLOGGED TABLE passing AS SELECT * FROM item WHERE id < 200;
	CREATE INDEX passing_sid ON passing USING semtrie (sid);
	CREATE TABLE shop (id int, sid semid) PARTITION BY RANGE (id);
	CREATE TABLE shop_1 PARTITION OF shop FOR VALUES FROM (MINVALUE) TO (1000);
	CREATE TABLE shop_2 PARTITION OF shop FOR VALUES FROM (1000) TO (MAXVALUE);
	CREATE INDEX shop_sid ON shop USING semtrie (sid);
	INSERT INTO shop SELECT id, sid FROM item;
	CREATE VIEW likely AS SELECT id, sid FROM item ORDER BY sid <~> (SELECT q FROM asked WHERE n = 3) LIMIT 5;
	CREATE FUNCTION near(real[]) RETURNS SETOF int LANGUAGE sql STABLE
		RETURN (SELECT id FROM item ORDER BY sid <~> (SELECT semtok.neighbors('l2', $1)), id LIMIT 1);
	CREATE DATABASE other;
});
psql($first, 'other', q{
	SET client_min_messages = error;
	CREATE SCHEMA ext;
	CREATE EXTENSION semtok SCHEMA ext;
	SELECT semtok.train('small', 'SELECT array[i, i % 7] FROM generate_series(1, 99) i', codes => 4, epochs => 2);
	CREATE TABLE t AS SELECT i, semtok.encode('small', array[i, i % 7]::real[]) AS sid FROM generate_series(1, 99) i;
	CREATE INDEX t_sid ON t USING semtrie (sid ext.semid_ops);
});

# Everything there is to know, by every index.
my $state = q{
	SELECT id, name, version, active, owner, hash, options, counts, trained_rows, codebook, created_at
		FROM semtok.tokenizer ORDER BY id;
	SELECT * FROM semtok.training_log ORDER BY tokenizer, step, level, epoch, metric;
	SELECT last_value, is_called FROM semtok.tokenizer_id_seq;
	SELECT id, sid, extra, both_ids, many, md5(semid_send(sid)), semtok.decode(sid),
		semtok.encode('l2', x), semtok.encode('uneven', x), semtok.encode('ema', x) FROM item ORDER BY id;
	SELECT n, ids, md5(semset_send(ids)), semset_size(ids), semset_nodes(ids), pg_column_size(ids) FROM set_of ORDER BY n;
	SELECT id, codebook_hash(codebook), codebook FROM words ORDER BY id;
	SELECT n, q, md5(semquery_send(q)) FROM asked ORDER BY n;
	SELECT count(*) FROM passing;
	SELECT * FROM likely;
	SELECT near('{1, 2, 3, 4}');
	SELECT i.indexrelid::regclass, pg_get_indexdef(i.indexrelid), i.indisvalid, n.*
		FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam,
			LATERAL semtok.index_info(i.indexrelid) n
		WHERE a.amname = 'semtrie' AND c.relkind = 'i' ORDER BY c.relname;
	SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off;
	SELECT n, s.* FROM asked, LATERAL (SELECT encode(float8send(sid <~> q), 'hex'), sid, ctid FROM item
		ORDER BY sid <~> q LIMIT 300) s WHERE n < 10;
	SELECT n, s.* FROM asked, LATERAL (SELECT sid, tableoid::regclass FROM shop ORDER BY sid <~> q, sid, tableoid LIMIT 50) s WHERE n < 10;
	SELECT n, beam.* FROM asked, LATERAL semtok.beam_search('item_sid', q) beam WHERE n < 9 ORDER BY n, beam.rank;
	SELECT next.* FROM semtok.next_codes('item_sid', NULL) next;
	SELECT id FROM item WHERE semid_prefix(sid, 2) ^@ '[3]' ORDER BY id;
	SET enable_sort = on;
	SELECT id, sid FROM item WHERE sid > '[7]@2' AND sid < '[9]@2' ORDER BY sid, id;
	SELECT id FROM item WHERE extra = (SELECT extra FROM item WHERE id = 3) ORDER BY id;
	SET enable_bitmapscan = on; SET enable_indexscan = off;
	SELECT id FROM item WHERE many @> (SELECT many[2:2] FROM item WHERE id = 3) ORDER BY id;
};
my $other_state = q{
	SET search_path = ext, public;
	SET enable_seqscan = off;
	SELECT i, sid, semtok.decode(sid) FROM t ORDER BY sid <~> (SELECT semtok.neighbors('small', '{30, 5}'));
};
my $checks = q{
	SELECT semtok.index_check(c.oid, true) FROM pg_class c JOIN pg_am a ON a.oid = c.relam
		WHERE a.amname = 'semtrie' AND c.relkind = 'i';
};

# An index built anew, as it is on disk: without the header of each page, where WAL's position is,
# and block 0, where transaction ids are.
my $built = q{
	CREATE TABLE anew AS SELECT id, sid FROM item ORDER BY id;
	CREATE INDEX anew_sid ON anew USING semtrie (sid);
	CHECKPOINT;
	SELECT n, md5(substr(pg_read_binary_file(pg_relation_filepath('anew_sid'), n * 8192, 8192), 25))
		FROM generate_series(1, pg_relation_size('anew_sid') / 8192 - 1) n;
	DROP TABLE anew;
};

my $before = psql($first, 'postgres', $state);
my $other_before = psql($first, 'other', $other_state);
is($before, psql($first, 'postgres', $state), "$first->{major}: the answers do not change by themselves");
my $built_before = psql($first, 'postgres', $built);
my $went_on = 0;

foreach my $next (@installations)
{
	my ($from, $to) = ($current->{major}, $next->{major});
	my $new = "$home/$to";
	# copied the first time, hard-linked then
	my @way = $current == $first ? () : ('--link');

	pg_ctl($current, $data, 'stop');
	make_cluster($next, $new);
	my $here = getcwd();
	chdir $home or die;
	my ($out, $ok) = ('');
	$ok = IPC::Run::run([ "$next->{bin}/pg_upgrade", '-b', $current->{bin}, '-B', $next->{bin}, '-d', $data, '-D', $new,
			'-s', $home, '-p', $port, '-P', $port + 1, @superuser, @way ], '>', \$out, '2>&1');
	chdir $here or die;
	ok($ok, "pg_upgrade @way from $from to $to") or do { diag($out); BAIL_OUT("pg_upgrade failed") };
	($current, $data) = ($next, $new);
	pg_ctl($current, $data, 'start');

	is(first_difference(psql($current, 'postgres', $state), $before), '', "$to: all answers are as before");
	is(psql($current, 'other', $other_state), $other_before, "$to: in the other database too");
	like(psql($current, 'postgres', $checks), qr/^\s*$/, "$to: every index is sound and complete");
	is(psql($current, 'postgres', q{SELECT count(*) FROM pg_index WHERE NOT indisvalid}), 0, "$to: and valid");

	is(psql($current, 'postgres', $built), $built_before, "$to: an index built anew has the same bytes");

	# Life goes on.
	$went_on++;
	my $trained = psql($current, 'postgres', q{
		SET client_min_messages = error;
		SET ROLE alice;
		SELECT semtok.train('l2_of_alice', 'SELECT x FROM item', codes => 4, epochs => 1);});
	is($trained, 6 + $went_on, "$to: training goes on counting ids");
	psql($current, 'postgres', qq{
		SELECT semtok.partial_fit('l2_of_alice', 'SELECT x FROM item WHERE id < 300');
		SELECT semtok.drop_tokenizer('l2_of_alice', (SELECT max(version) FROM semtok.tokenizers WHERE name = 'l2_of_alice'));
		SELECT setval('semtok.tokenizer_id_seq', $trained);
		DELETE FROM item WHERE id > 20000 AND id % 2 = 0;
		INSERT INTO item (id, x) SELECT i + 30000 + 5000 * $went_on, array[i % 19, i % 23, 1, i % 5]::real[]
			FROM generate_series(1, 3000) i;
	});
	psql($current, 'postgres', q{CALL semtok.tokenize('item', 'x', 'sid', 'l2')});
	psql($current, 'postgres', q{VACUUM ANALYZE item; DELETE FROM item WHERE id % 17 = 0; REINDEX INDEX item_cheap;});
	like(psql($current, 'postgres', $checks), qr/^\s*$/, "$to: indexes are sound after more rows");
	$before = psql($current, 'postgres', $state);
	$built_before = psql($current, 'postgres', $built);
	my $sequential = psql($current, 'postgres', q{SET enable_indexscan = off; SELECT n, s.* FROM asked, LATERAL (
		SELECT encode(float8send(sid <~> q), 'hex'), sid, ctid FROM item ORDER BY sid <~> q, sid, ctid LIMIT 300) s WHERE n < 10});
	ok(index($before, $sequential) >= 0, "$to: they answer as a sequential scan does");
	unlike(slurp_file("$data/log"), qr/PANIC|TRAP|past chunk end/, "$to: nothing crashed");
}
pg_ctl($current, $data, 'stop');
done_testing();
