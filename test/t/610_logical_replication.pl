# Logical replication of a tokenized table: the subscriber has the same ids and tokenizers, answers
# from indexes of its own as the publisher does, and follows inserts, updates, deletes and trainings.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PostgreSQL::Test::Utils;
use SemtokTest qw(first_difference);
use Test::More;

my $publisher = PostgreSQL::Test::Cluster->new('publisher');
$publisher->init(allows_streaming => 'logical');
$publisher->append_conf('postgresql.conf', 'autovacuum = off');
$publisher->start;
my $subscriber = PostgreSQL::Test::Cluster->new('subscriber');
$subscriber->init(allows_streaming => 'logical');
$subscriber->append_conf('postgresql.conf', "autovacuum = off\nwal_retrieve_retry_interval = 100ms");
$subscriber->start;

# item has a key; loose has none, so that whole rows, ids included, find what changes; shop is
# partitioned and has the extension's types in every column.
my $tables = q{
	CREATE EXTENSION semtok;
	CREATE TABLE item (id int PRIMARY KEY, x real[], sid semid(3, 8), extra semid);
	CREATE TABLE loose (sid semid, n int);
	ALTER TABLE loose REPLICA IDENTITY FULL;
	CREATE TABLE shop (id int PRIMARY KEY, ids semset, words codebook, q semquery) PARTITION BY HASH (id);
	CREATE TABLE shop_0 PARTITION OF shop FOR VALUES WITH (MODULUS 2, REMAINDER 0);
	CREATE TABLE shop_1 PARTITION OF shop FOR VALUES WITH (MODULUS 2, REMAINDER 1);
};
$publisher->safe_psql('postgres', $tables);
$subscriber->safe_psql('postgres', $tables);
$publisher->safe_psql(
	'postgres', q{
	SET client_min_messages = error;
	INSERT INTO item SELECT i, array[i % 17, i * 37 % 101, 1.0 / i]::real[] FROM generate_series(1, 600) i;
	SELECT semtok.train('items', 'SELECT x FROM item', codes => 8, epochs => 5);
	CREATE INDEX item_sid ON item USING semtrie (sid);
});
$publisher->safe_psql('postgres', q{CALL semtok.tokenize('item', 'x', 'sid', 'items')});
$publisher->safe_psql(
	'postgres', q{
	INSERT INTO loose SELECT sid, id / 2 FROM item WHERE id <= 100;
	INSERT INTO loose VALUES (NULL, 1), (NULL, NULL), ('[1,2]', NULL), ('[1,2]@1', NULL);
	INSERT INTO shop SELECT n, semset_agg(sid), min(codebook::text)::codebook,
			min(semtok.neighbors('items', x)::text)::semquery
		FROM item, semtok.tokenizer, generate_series(1, 4) n WHERE item.id % 4 = n - 1 GROUP BY n;
	CREATE PUBLICATION everything FOR ALL TABLES;
});
# Indexes are each side's own affair: a semtrie index alone on loose.
$subscriber->safe_psql(
	'postgres', q{
	CREATE INDEX item_sid ON item USING semtrie (sid) WITH (pending_limit = 64);
	CREATE INDEX loose_sid ON loose USING semtrie (sid);
});

my $digest = q{
	SELECT id, sid, extra, x FROM item ORDER BY id;
	SELECT sid, n, count(*) FROM loose GROUP BY sid, n ORDER BY sid, n;
	SELECT id, ids, words, q FROM shop ORDER BY id;
	SELECT id, name, version, active, owner, hash, counts, codebook_hash(codebook) FROM semtok.tokenizer ORDER BY id;
	SELECT * FROM semtok.training_log ORDER BY tokenizer, step, level, epoch, metric;
};
# The same by the index of either side.
my $answers = q{
	SET enable_seqscan = off; SET enable_sort = off;
	SELECT n, s.* FROM (SELECT n, semtok.neighbors('items', array[n, n * 7, 0.5]::real[]) AS q
			FROM generate_series(1, 12) n) a,
		LATERAL (SELECT sid, sid <~> q AS cost FROM item ORDER BY sid <~> q LIMIT 20) s;
	SELECT array(SELECT b FROM semtok.beam_search('item', semtok.neighbors('items', '{3, 4, 5}')) b);
	SELECT array(SELECT id FROM item WHERE sid ^@ '[3]' ORDER BY id), (SELECT count(*) FROM item WHERE sid IS NULL);
	SELECT id, semtok.encode('items', x), semtok.decode(sid) FROM item WHERE id % 50 = 0 ORDER BY id;
};

sub caught_up
{
	$publisher->wait_for_catchup('follow');
}

sub agree
{
	my ($what) = @_;
	caught_up();
	foreach ([ rows => $digest ], [ answers => $answers ])
	{
		my ($name, $sql) = @$_;
		is(first_difference(map { $_->safe_psql('postgres', $sql) } $subscriber, $publisher), '', "$what: same $name");
	}
}

sub subscribe
{
	my ($options) = @_;
	my $connection = $publisher->connstr . ' dbname=postgres application_name=follow';
	$subscriber->safe_psql('postgres',
		"CREATE SUBSCRIPTION follow CONNECTION '$connection' PUBLICATION everything WITH ($options)");
	$subscriber->poll_query_until('postgres',
		q{SELECT count(*) > 5 AND bool_and(srsubstate IN ('r', 's')) FROM pg_subscription_rel})
	  or die 'the initial copy does not end';
}

like($publisher->safe_psql('postgres', $answers), qr/^12\|\[\d,\d,\d\]\@1\|/m, 'there are answers to compare');
subscribe('binary = false');
agree('initial copy as text');

# Changes, many of them, in transactions of different sizes; some take the subscriber's index
# beyond what it keeps in its delta.
my $changes = q{
	INSERT INTO item SELECT i, a, semtok.encode('items', a), NULL
		FROM (SELECT i, array[i % 13, i * 31 % 97, 2.0 / i]::real[] AS a FROM generate_series(%1$d, %1$d + 999) i) s;
	UPDATE item SET extra = sid || (id % 100) WHERE id % 3 = 0 AND sid IS NOT NULL;
	UPDATE item SET sid = NULL WHERE id % 7 = 0;
	UPDATE item SET id = -id WHERE id % 90 = 1 AND id > 0;
	DELETE FROM item WHERE id % 5 = 0;
	UPDATE loose SET sid = semid_prefix(sid, 2) || 5 WHERE n % 3 = 0;
	UPDATE loose SET n = 77 WHERE sid IS NULL OR sid = '[1,2]';
	UPDATE loose SET sid = '[9]' WHERE sid = '[1,2]@1';
	DELETE FROM loose WHERE n % 4 = 0;
	UPDATE shop SET ids = semset(array(SELECT m FROM semset_members(ids) m LIMIT 5)) WHERE id %% 2 = 0;
	DELETE FROM shop WHERE id = 3;
	INSERT INTO shop SELECT max(id) + 1, NULL, NULL, NULL FROM shop;
};
sub change
{
	my ($from) = @_;
	(my $sql = $changes) =~ s/%1\$d/$from/g;
	$sql =~ s/%%/%/g;
	$publisher->safe_psql('postgres', $sql);
}
change(1000);
agree('changes');

# Tokenizers come the same way: the subscriber's name follows what is active at the publisher.
$publisher->safe_psql(
	'postgres', q{
	SET client_min_messages = error;
	SELECT semtok.train('items', 'SELECT x FROM item', codes => array[4, 4], epochs => 3);
	SELECT semtok.activate('items', 2);
	SELECT semtok.train('passing', 'SELECT x FROM item', codes => 2, epochs => 1);
});
my $session = $subscriber->background_psql('postgres');
caught_up();
my $encoded = q{SELECT semtok.encode('items', '{1, 2, 3}') = semtok.encode(2, '{1, 2, 3}')};
is($session->query($encoded), 't', 'the subscriber encodes by the version activated at the publisher');
$publisher->safe_psql('postgres', q{SELECT semtok.activate('items', 1); SELECT semtok.drop_tokenizer('passing')});
caught_up();
is($session->query($encoded), 'f', 'and by the one before when that is active again, in the same session');
is($session->query(q{SELECT count(*) FROM semtok.tokenizers WHERE name = 'passing'}), '0', 'a dropped one is gone');
$session->quit;
agree('another tokenizer');

# A subscriber that trains too: names and ids of its own.
$subscriber->safe_psql(
	'postgres', q{
	SET client_min_messages = error;
	SET semtok.tokenizer_id_base = 1000000;
	SELECT semtok.train('own', 'SELECT x FROM item', codes => 2, epochs => 1);
});
$publisher->safe_psql('postgres',
	q{SET client_min_messages = error; SELECT semtok.train('passing', 'SELECT x FROM item', codes => 2, epochs => 1)});
caught_up();
is( $subscriber->safe_psql('postgres', q{SELECT id > 1000000, name FROM semtok.tokenizers WHERE id > 3 ORDER BY id}),
	"f|passing\nt|own", 'the subscriber\'s ids are apart from those that come');

# A new start in binary.
$subscriber->safe_psql(
	'postgres', q{DROP SUBSCRIPTION follow; TRUNCATE item, loose, shop; TRUNCATE semtok.tokenizer, semtok.training_log});
subscribe('binary = true');
agree('initial copy in binary');
change(3000);
agree('changes in binary');

$subscriber->safe_psql('postgres', 'VACUUM item, loose');
for my $index (qw(item_sid loose_sid))
{
	is( $subscriber->safe_psql('postgres', "SELECT semtok.index_check('$index', true)"),
		'', "$index at the subscriber is sound and complete");
}
unlike(slurp_file($subscriber->logfile), qr/ERROR|PANIC|TRAP/, 'the subscriber logged no error');

$subscriber->stop;
$publisher->stop;
done_testing();
