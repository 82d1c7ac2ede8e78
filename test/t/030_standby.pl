# A physical standby replays every page identically under load, answers as the primary does, keeps
# its open scans right while blocks are reused under them, and can be promoted.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SemtokTest qw(oracle_node oracle_check first_difference);
use Test::More;

my $seed = $ENV{SEMTOK_SEED} || 42;
note "SEMTOK_SEED=$seed";

# A semtrie index writes generic WAL and full images of pages, nothing else. Heap records are left
# out: PostgreSQL forgets to mask HEAP_COMBOCID of a frozen row, so that locking a row whose deletion
# was rolled back in the inserting transaction before a freeze looks inconsistent (15 to 18, any
# table; rare on 15, where pages are not frozen early).
my $primary = oracle_node('primary', q{
	wal_consistency_checking = 'generic'
	full_page_writes = on
	wal_keep_size = 1GB
	shared_buffers = 32MB
	max_connections = 20
}, allows_streaming => 1);
$primary->safe_psql('postgres', qq{
	SELECT setseed($seed / 1000.0);
	INSERT INTO oracle.shape VALUES (0, '{12,12,12}', true, '{0,1,2}', 0.02, 0.3, false);
	CREATE TABLE oracle.item (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sid semid,
		extra int, note int) WITH (autovacuum_enabled = off);
	CREATE INDEX ON oracle.item (note);
	SELECT oracle.fill(2000);
	CREATE INDEX item_sid ON oracle.item USING semtrie (sid) WITH (pending_limit = 64);
	CREATE TABLE asked AS SELECT n, oracle.random_query(kind) AS q
		FROM (SELECT n, (array['full', 'none', 'masked', 'neighbors'])[1 + n % 4] AS kind
			  FROM generate_series(1, 12) n) k;
});

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', q{
	max_standby_streaming_delay = -1
	hot_standby_feedback = off
});
$standby->start;
$primary->wait_for_catchup($standby);

my $compare_all = q{
	SELECT count(*) || ' compared, wrong: ' || count(d) || coalesce(' ' || min(d), '')
	FROM (SELECT oracle.compare('oracle.item', q, 3000) AS d FROM asked) c;
};
my $right = '12 compared, wrong: 0';

# Opened before the load, with its caches warm.
my $reader = $standby->background_psql('postgres');
is($reader->query("$compare_all"), $right, 'the standby answers before the load');

# Load: two sessions write while a third vacuums.
for my $round (1 .. 4)
{
	my @h = map {
		IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $primary->connstr('postgres'),
			'-c', "SELECT setseed($round / 10.0)", ('-c', $_) x 20 ], '>', \my $out, '2>', \my $err)
	  } ('SELECT oracle.churn(40)', 'SELECT oracle.fill(80), oracle.churn(15)');
	$primary->safe_psql('postgres', 'VACUUM oracle.item') for 1 .. 4;
	$_->finish || BAIL_OUT('the load failed') for @h;
	$primary->safe_psql('postgres', "DELETE FROM oracle.item WHERE id % 4 = $round % 4");
	is($reader->query("BEGIN ISOLATION LEVEL REPEATABLE READ; $compare_all COMMIT;"),
		$right, "round $round: the session opened before the load goes on answering");
	$primary->safe_psql('postgres', 'VACUUM oracle.item');
}
$primary->wait_for_catchup($standby);
is($standby->safe_psql('postgres', "BEGIN ISOLATION LEVEL REPEATABLE READ; $compare_all COMMIT;"),
	$right, 'a new session answers');
my $digest = q{
	SELECT n, md5(string_agg(format('%s %s %s', encode(float8send(i.c), 'hex'), i.sid, i.ctid), ','))
	FROM asked, LATERAL (SELECT sid <~> q AS c, sid, ctid FROM oracle.item ORDER BY sid <~> q LIMIT 500) i
	GROUP BY n ORDER BY n;
};
is($standby->safe_psql('postgres', "SET enable_seqscan = off; $digest"),
	$primary->safe_psql('postgres', "SET enable_seqscan = off; $digest"),
	'primary and standby give the same rows and costs');
{
	my ($rc, $out, $err) = $standby->psql('postgres',
		q{SELECT count(*) FROM semtok.index_check('oracle.item_sid', true)});
	is($rc, 0, 'index_check works on a standby') or diag($err);
}

# A scan that stays open on the standby while inserts on the primary merge, retire and reuse the
# blocks that it reads: without feedback the primary does not know of it, and nothing is pruned
# that would stop the replay.
my $ask = q{(SELECT q FROM asked WHERE n = 1)};
$reader->query(q{BEGIN ISOLATION LEVEL REPEATABLE READ});
$reader->query(q{SELECT oracle.plan('index')});
$reader->query(qq{DECLARE c NO SCROLL CURSOR FOR
	SELECT encode(float8send(sid <~> $ask), 'hex'), sid, ctid FROM oracle.item ORDER BY sid <~> $ask});
# rows go to a file: there are many
my $file = "$PostgreSQL::Test::Utils::tmp_check/listing";
$reader->query("\\o $file.index");
$reader->query('FETCH 20 FROM c');
my $merges = 6;
for (1 .. $merges)
{
	# each call is a transaction, so that the horizon for reuse moves on
	$primary->safe_psql('postgres', 'SELECT oracle.fill(5000)');
	$primary->wait_for_catchup($standby);
	$reader->query('FETCH 20 FROM c');
}
$reader->query("FETCH ALL FROM c; CLOSE c;\n\\o");
$reader->query(q{SELECT oracle.plan('sequential')});
$reader->query(qq{\\o $file.sequential
	SELECT encode(float8send(c), 'hex'), sid, ctid FROM (SELECT sid <~> $ask AS c, sid, ctid
		FROM oracle.item OFFSET 0) i ORDER BY c, sid, ctid;
\\o});
$reader->query('COMMIT');
my ($got, $expected) = map { slurp_file("$file.$_") } 'index', 'sequential';
cmp_ok(length $expected, '>', 10_000, 'the scan has many rows');
is(first_difference($got, $expected), '', "a scan on the standby goes on through $merges rounds of merges");

$reader->quit;

# Promotion.
$standby->promote;
$standby->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
is($standby->safe_psql('postgres', $compare_all), $right, 'the promoted standby answers');
$standby->safe_psql('postgres', 'SELECT oracle.churn(200); ');
$standby->safe_psql('postgres', 'VACUUM oracle.item');
oracle_check($standby, 'written to after promotion', 8);
$standby->safe_psql('postgres', q{SELECT count(*) FROM semtok.index_check('oracle.item_sid', true)});

my $log = slurp_file($standby->logfile);
unlike($log, qr/inconsistent page/, 'replay found every page as the primary left it');
unlike($log, qr/PANIC|TRAP|invalid page/, 'and nothing else went wrong');

$standby->stop;
$primary->stop;
done_testing();
