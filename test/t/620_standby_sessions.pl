# What sessions of a physical standby can do: read by tokenizers and indexes, also those that came
# after the session; not write, and they are told so before any long work. No library is preloaded.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = PostgreSQL::Test::Cluster->new('primary');
$primary->init(allows_streaming => 1);
$primary->append_conf('postgresql.conf', 'autovacuum = off');
$primary->start;
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
is($standby->safe_psql('postgres', 'SHOW shared_preload_libraries'), '', 'nothing is preloaded');

# Older than the extension itself.
my $session = $standby->background_psql('postgres', on_error_stop => 0);
is($session->query('SELECT pg_is_in_recovery()'), 't', 'a session on the standby');

$primary->safe_psql(
	'postgres', q{
	SET client_min_messages = error;
	CREATE EXTENSION semtok;
	CREATE TABLE item (id int PRIMARY KEY, x real[], sid semid);
	INSERT INTO item SELECT i, array[i % 17, i * 37 % 101, 1.0 / i]::real[] FROM generate_series(1, 1000) i;
	SELECT semtok.train('items', 'SELECT x FROM item', codes => 8, epochs => 3);
	CREATE TABLE ids AS SELECT '{}'::semset AS ids;
	CREATE UNLOGGED TABLE passing (sid semid);
	CREATE INDEX passing_sid ON passing USING semtrie (sid);
});
$primary->safe_psql('postgres', q{CALL semtok.tokenize('item', 'x', 'sid', 'items')});
$primary->safe_psql('postgres', q{CREATE INDEX item_sid ON item USING semtrie (sid);
	UPDATE ids SET ids = (SELECT semset_agg(sid) FROM item)});
$primary->wait_for_catchup($standby);

my $reads = q{
	SELECT sum(semid_code(semtok.encode('items', x), 1)), bool_and(semtok.encode('items', x) = sid) FROM item;
	SELECT sum(d) FROM item, unnest(semtok.decode('items', sid)) d;
	SET enable_seqscan = off;
	SELECT id FROM item ORDER BY sid <~> (SELECT semtok.neighbors('items', '{3, 50, 0.1}')), id LIMIT 10;
	SELECT * FROM semtok.beam_search('item', semtok.logits('{{3,1,4,1,5,9,2,6},{5,3,5,8,9,7,9,3},{2,3,8,4,6,2,6,4}}'));
	SELECT * FROM semtok.beam_search_set((SELECT ids FROM ids), semtok.neighbors('items', '{3, 50, 0.1}'), 5);
	SELECT * FROM semtok.next_codes('item', NULL);
	SELECT level, mse, used FROM semtok.evaluate('items', 'SELECT x FROM item');
	SELECT * FROM semtok.collisions('item', 'sid') ORDER BY sid LIMIT 5;
	SELECT semtok.index_check('item_sid', true);
	SELECT ids, items, nodes FROM semtok.index_info('item_sid');
	SELECT id, name, version, active FROM semtok.tokenizers ORDER BY id;
	SELECT count(*), sum(value) FROM semtok.training_log;
	RESET enable_seqscan;
};
my $expected = $primary->safe_psql('postgres', $reads);
like($expected, qr/^\d+\|t$/m, 'the primary answers');
is($standby->safe_psql('postgres', $reads), $expected, 'so does a new session of the standby');
is($session->query($reads), $expected, 'and the one that is older than the extension');

# Every verb that writes, with a source that cannot be run: refused before it is.
foreach my $call (
	q{SELECT semtok.train('items', 'SELECT array[1 / 0]')},
	q{SELECT semtok.train('items', 'SELECT array[1 / 0]', codes => array[4, 4])},
	q{SELECT semtok.partial_fit('items', 'SELECT array[1 / 0]')},
	q{SELECT semtok.activate('items', 1)},
	q{SELECT semtok.drop_tokenizer('items')},
	q{CALL semtok.tokenize('item', 'x', 'sid', 'items')},
	q{INSERT INTO item (id) VALUES (0)})
{
	my ($status, $out, $err) = $standby->psql('postgres', "\\set VERBOSITY verbose\n$call", on_error_stop => 1);
	like($err, qr/ERROR:  25006: cannot .* (in a read-only transaction|during recovery)/, "refused: $call");
}
my ($status, $out, $err) = $standby->psql('postgres', 'SELECT count(*) FROM passing');
like($err, qr/cannot access temporary or unlogged relations during recovery/, 'an unlogged index is out of reach');

# What is active follows the primary, in the session that has its caches warm.
my $version = q{SELECT DISTINCT semid_tokenizer(semtok.encode('items', x)) FROM item};
is($session->query($version), 1, 'version 1 encodes');
$primary->safe_psql(
	'postgres', q{
	SET client_min_messages = error;
	SELECT semtok.train('items', 'SELECT x FROM item', codes => 4, epochs => 2);
	SELECT semtok.activate('items', 2)});
$primary->wait_for_catchup($standby);
is($session->query($version), 2, 'version 2 does once it is active on the primary');
$primary->safe_psql(
	'postgres', q{SELECT semtok.activate('items', 1); SELECT semtok.drop_tokenizer('items', 2);
	UPDATE item SET sid = semid_prefix(sid, 2) WHERE id % 3 = 0; DELETE FROM item WHERE id % 5 = 0;});
$primary->safe_psql('postgres', 'VACUUM item');
$primary->wait_for_catchup($standby);
$expected = $primary->safe_psql('postgres', $reads);
is($session->query($reads), $expected, 'the session goes on after updates, deletes and VACUUM');
$session->query(q{SELECT semtok.encode(2, '{1, 2, 3}')});
like($session->{stderr}, qr/tokenizer with id 2 does not exist/, 'what was dropped is gone');
$session->{stderr} = '';

# After promotion the same session writes.
$standby->promote;
$standby->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'not promoted';
is($session->query($reads), $expected, 'the session answers after promotion');
is( $session->query(q{SET client_min_messages = error;
		SELECT semtok.train('items', 'SELECT x FROM item', codes => 4, epochs => 2) > 2}),
	't', 'and trains: no id is given twice');
$session->query(q{INSERT INTO item SELECT id + 2000, x, semtok.encode('items', x) FROM item; VACUUM item});
is($session->query(q{SELECT semtok.index_check('item_sid', true)}), '', 'and inserts');
$session->quit;
unlike(slurp_file($standby->logfile), qr/PANIC|TRAP|past chunk end/, 'nothing crashed');

$standby->stop;
$primary->stop;
done_testing();
