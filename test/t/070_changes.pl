# What semtok.changes promises: whoever has a copy of the ids as of a version, and applies what changed
# since, has what semset_agg gives then, but for ids whose rows are deleted and not yet vacuumed, which
# VACUUM takes out. Copies of several ages, on primary and standby, are brought up to date and
# compared after every step of a random life: writers that commit, roll back, are prepared or stay
# open, VACUUM, merges, REINDEX, crashes, promotion.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use List::Util qw(shuffle);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SemtokTest qw(oracle_node kill_everything);
use Test::More;

my $seed = $ENV{SEMTOK_SEED} || 42;
my $steps = $ENV{SEMTOK_CHANGES_STEPS} || 70;
note "SEMTOK_SEED=$seed SEMTOK_CHANGES_STEPS=$steps";
srand $seed;

my $primary = oracle_node('primary', q{
	wal_consistency_checking = 'generic'
	full_page_writes = on
	wal_keep_size = 1GB
	shared_buffers = 32MB
	max_connections = 30
	max_prepared_transactions = 10
}, allows_streaming => 1, no_data_checksums => 1);
$primary->safe_psql('postgres', q{
	CREATE FUNCTION sid_of(n bigint) RETURNS semid IMMUTABLE LANGUAGE sql AS $$
		SELECT CASE WHEN h % 40 = 0 THEN NULL ELSE
			semid((array[h & 15, (h >> 4) & 15, (h >> 8) & 7, h & 3])[1 : 1 + ((h >> 11) & 3)], (h >> 13) & 1)
			END
		FROM (SELECT hashint8(n) & 65535 AS h) h
	$$;
	CREATE TABLE item (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sid semid, note int DEFAULT 0)
		WITH (autovacuum_enabled = off);
	-- no update is HOT
	CREATE INDEX ON item (note);
	INSERT INTO item (sid) SELECT sid_of(i) FROM generate_series(1, 3000) i;
	CREATE INDEX item_sid ON item USING semtrie (sid) WITH (pending_limit = 64, history_limit = 1024);
});
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', 'max_standby_streaming_delay = -1');
$standby->start;

my ($refreshes, $exports, $changed, $wrong) = (0, 0, 0, 0);
my (@open, @prepared);
my $next_prepared = 0;
my @copies = map { { name => $_ } } 1 .. 4;

sub words { return [ split ' ', shift ] }

# Bring a copy up to date in one transaction, whatever the order of its questions; between them may
# come what another session does. Returns the ids that the copy has and semset_agg has not.
sub refresh
{
	my ($node, $copy, $what, $between) = @_;
	my %ask = (
		version => q{SELECT semtok.catalog_version('item')},
		set => q{SELECT string_agg(m::text, ' ') FROM semset_members((SELECT semset_agg(sid) FROM item)) m},);
	$ask{changes} = "SELECT coalesce(string_agg(present || '|' || sid, ' '), '') FROM semtok.changes('item', $copy->{version})"
	  if defined $copy->{version};
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my %got;
	# the first query takes the snapshot
	$session->query('BEGIN ISOLATION LEVEL REPEATABLE READ');
	my $too_old = 0;
	foreach my $question (shuffle sort keys %ask)
	{
		$got{$question} = $session->query($ask{$question});
		if ($question eq 'changes' && $session->{stderr} =~ /ERROR/)
		{
			like($session->{stderr}, qr/ERROR:  version \d+ of index "item_sid" is too old/, "$what: too old");
			$session->{stderr} = '';
			$too_old = 1;
			last;
		}
		$between->() if $between;
	}
	$session->query('ROLLBACK');
	$session->quit;
	if ($too_old)
	{
		delete $copy->{version};
		$exports++;
		return refresh($node, $copy, $what);
	}
	if (defined $copy->{version})
	{
		foreach my $word (@{ words($got{changes}) })
		{
			my ($present, $sid) = split /\|/, $word;
			$changed++;
			if ($present eq 'true') { $copy->{ids}{$sid} = 1; }
			else { delete $copy->{ids}{$sid}; }
		}
		$refreshes++;
	}
	else
	{
		$copy->{ids} = { map { $_ => 1 } @{ words($got{set}) } };
	}
	$copy->{version} = $got{version};
	my %set = map { $_ => 1 } @{ words($got{set}) };
	my @missing = grep { !$copy->{ids}{$_} } keys %set;
	if (@missing)
	{
		$wrong++;
		fail("$what: copy $copy->{name} lacks " . scalar(@missing) . " ids, one is $missing[0]");
	}
	return grep { !$set{$_} } keys %{ $copy->{ids} };
}

# Rows that no open transaction has locked.
sub free_rows { return "id IN (SELECT id FROM item WHERE $_[0] FOR UPDATE SKIP LOCKED)" }
sub run_sql { $primary->safe_psql('postgres', shift); return; }
sub number { return 1 + int rand shift }

my %actions = (
	insert => sub { my $n = number(60); my $from = number(6000);
		run_sql("INSERT INTO item (sid) SELECT sid_of(i) FROM generate_series($from, $from + $n) i") },
	# merges on the way, and passes what the history keeps
	'insert much' => sub { my $from = number(100_000);
		run_sql("INSERT INTO item (sid) SELECT sid_of(i) FROM generate_series($from, $from + 4000) i") },
	delete => sub { my ($m, $r) = (10 + number(200), number(200));
		run_sql('DELETE FROM item WHERE ' . free_rows("id % $m = $r % $m")) },
	'delete much' => sub { run_sql('DELETE FROM item WHERE ' . free_rows('id < (SELECT max(id) - 3000 FROM item)')) },
	# every row of an id, so that it goes
	'delete ids' => sub { my $x = number(16);
		run_sql('DELETE FROM item WHERE ' . free_rows("semid_code(sid, 0) = $x - 1 AND semid_levels(sid) > 1")) },
	update => sub { my $r = number(300); my $s = number(6000);
		run_sql("UPDATE item SET sid = sid_of($s + id) WHERE " . free_rows("id % 300 = $r")) },
	'update without change' => sub { my $r = number(300);
		run_sql('UPDATE item SET note = note + 1 WHERE ' . free_rows("id % 300 = $r")) },
	'roll back' => sub { my $s = number(9000);
		run_sql("BEGIN; INSERT INTO item (sid) SELECT sid_of(i) FROM generate_series($s, $s + 50) i; ROLLBACK") },
	subtransactions => sub { my $s = number(9000);
		run_sql("BEGIN; SAVEPOINT a; INSERT INTO item (sid) SELECT sid_of(i) FROM generate_series($s, $s + 9) i;
			ROLLBACK TO a; SAVEPOINT b; INSERT INTO item (sid) SELECT sid_of(i + 7) FROM generate_series($s, $s + 9) i;
			RELEASE b; COMMIT") },
	vacuum => sub { run_sql('VACUUM (INDEX_CLEANUP ON) item') },
	'vacuum a few' => sub { run_sql('DELETE FROM item WHERE id IN (SELECT id FROM item ORDER BY id LIMIT 3 FOR UPDATE SKIP LOCKED)');
		run_sql('VACUUM (INDEX_CLEANUP ON) item') },
	open => sub {
		return if @open > 3;
		my $s = $primary->background_psql('postgres');
		my $from = number(9000);
		$s->query("BEGIN; SELECT 1");
		$s->query("SAVEPOINT a") if rand() < 0.5;
		$s->query("INSERT INTO item (sid) SELECT sid_of(i) FROM generate_series($from, $from + 30) i");
		$s->query("DELETE FROM item WHERE id IN (SELECT id FROM item ORDER BY random() LIMIT 5 FOR UPDATE SKIP LOCKED)");
		push @open, $s },
	close => sub {
		my $s = splice @open, int rand @open, 1 or return;
		$s->query(rand() < 0.6 ? 'COMMIT' : 'ROLLBACK');
		$s->quit },
	prepare => sub {
		return if @prepared > 2;
		my $name = 'p' . $next_prepared++;
		my $from = number(9000);
		run_sql("BEGIN; INSERT INTO item (sid) SELECT sid_of(i) FROM generate_series($from, $from + 30) i;
			PREPARE TRANSACTION '$name'");
		push @prepared, $name },
	finish => sub {
		my $name = splice @prepared, int rand @prepared, 1 or return;
		run_sql((rand() < 0.6 ? 'COMMIT' : 'ROLLBACK') . " PREPARED '$name'") },
	limit => sub { run_sql('ALTER INDEX item_sid SET (history_limit = ' . (64, 1024, 4096, 16384)[ rand 4 ] . ')') },);
my @dice = ((qw(insert delete update vacuum)) x 4, (qw(open close prepare finish), 'roll back', 'update without change',
	'subtransactions', 'vacuum a few', 'delete ids') x 2, 'insert much', 'delete much', 'limit');

sub wait_for_standby { $primary->wait_for_catchup($standby) if $standby; return; }

sub end_open_transactions
{
	while (@open) { $actions{close}->() }
	while (@prepared) { $actions{finish}->() }
	return;
}

# Nothing runs: VACUUM takes out every deleted row, and every copy is what semset_agg is.
sub all_equal
{
	my ($what) = @_;
	end_open_transactions();
	run_sql('VACUUM (INDEX_CLEANUP ON) item');
	run_sql('SELECT pg_current_xact_id()');
	wait_for_standby();
	foreach my $copy (@copies)
	{
		my $node = $standby && $copy->{name} % 2 ? $standby : $primary;
		is(scalar(refresh($node, $copy, $what)), 0, "$what: copy $copy->{name} is what semset_agg is");
	}
	# and what changed since then is nothing
	is($primary->safe_psql('postgres',
			"SELECT count(*) FROM semtok.changes('item', semtok.catalog_version('item'))"),
		0, "$what: nothing has changed");
	run_sql(q{SELECT semtok.index_check('item_sid', true)});
	return;
}

sub live
{
	my ($what, $n) = @_;
	for my $step (1 .. $n)
	{
		my $action = $dice[ rand @dice ];
		$actions{$action}->();
		my $copy = $copies[ rand @copies ];
		my $node = $standby && rand() < 0.4 ? $standby : $primary;
		wait_for_standby() if $node != $primary;
		my $between = rand() < 0.3 ? sub { $actions{ (qw(insert vacuum delete))[ rand 3 ] }->() } : undef;
		# replay waits for the standby's own snapshots
		refresh($node, $copy, "$what, step $step, $action", $node == $primary ? $between : undef);
		if ($step % 50 == 0)
		{
			all_equal("$what, step $step");
		}
	}
	return;
}

refresh($primary, $_, 'first') for @copies;
is($exports, 0, 'the first versions');
live('life', $steps);

# REINDEX begins anew, and so does TRUNCATE.
all_equal('before REINDEX');
my $before = $exports;
run_sql('REINDEX INDEX item_sid');
wait_for_standby();
refresh($primary, $_, 'REINDEX') for @copies;
is($exports - $before, scalar @copies, 'every version of before REINDEX is too old');
live('after REINDEX', 20);
end_open_transactions();
$before = $exports;
run_sql(q{BEGIN; TRUNCATE item; INSERT INTO item (sid) SELECT sid_of(i) FROM generate_series(1, 2000) i; COMMIT});
wait_for_standby();
refresh($primary, $_, 'TRUNCATE') for @copies;
is($exports - $before, scalar @copies, 'and of before TRUNCATE');
$before = $exports;
run_sql('REINDEX INDEX CONCURRENTLY item_sid');
wait_for_standby();
refresh($primary, $_, 'CONCURRENTLY') for @copies;
is($exports - $before, scalar @copies, 'and of before REINDEX CONCURRENTLY');

# Crashes: what was open is gone, what was prepared stays.
for my $cycle (1 .. 3)
{
	live("crash $cycle", 8);
	$actions{prepare}->();
	$actions{open}->();
	$primary->safe_psql('postgres', 'CHECKPOINT') if rand() < 0.5;
	my @h = map {
		IPC::Run::start([ 'psql', '-XAtq', '-d', $primary->connstr('postgres'), ('-c', $_) x 50 ],
			'>', \my $out, '2>', \my $err)
	  } ('INSERT INTO item (sid) SELECT sid_of(i) FROM generate_series(100, 400) i',
		'DELETE FROM item WHERE id % 7 = 3', 'VACUUM (INDEX_CLEANUP ON) item');
	my $xid = $primary->safe_psql('postgres', 'SELECT pg_snapshot_xmax(pg_current_snapshot())');
	$primary->poll_query_until('postgres',
		"SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint > $xid + 20") or die 'no load';
	kill_everything($primary);
	eval { $_->finish } for @h;
	eval { $_->quit } for @open;
	@open = ();
	$primary->start;
	wait_for_standby();
	refresh($primary, $_, "crash $cycle") for @copies;
	all_equal("after crash $cycle");
}

# Sessions at once, and clients that go on asking meanwhile.
{
	run_sql('ALTER INDEX item_sid SET (history_limit = 16384)');
	my @load = (
		'INSERT INTO item (sid) SELECT sid_of((random() * 20000)::int) FROM generate_series(1, 30)',
		'BEGIN; INSERT INTO item (sid) SELECT sid_of((random() * 20000)::int) FROM generate_series(1, 30); ROLLBACK',
		'DELETE FROM item WHERE id IN (SELECT id FROM item ORDER BY random() LIMIT 20 FOR UPDATE SKIP LOCKED)',
		'UPDATE item SET sid = sid_of(id + 1) WHERE id IN (SELECT id FROM item ORDER BY random() LIMIT 5 FOR UPDATE SKIP LOCKED)');
	my @h = map {
		IPC::Run::start([ 'psql', '-XAtq', '-d', $primary->connstr('postgres'), ('-c', $_) x 150 ],
			'>', \my $out, '2>', \my $err)
	} @load;
	for my $round (1 .. 12)
	{
		run_sql('VACUUM (INDEX_CLEANUP ON) item') if $round % 3 == 0;
		refresh($round % 2 ? $primary : $standby, $copies[ $round % 2 ], "load, round $round");
	}
	$_->finish || BAIL_OUT('the load failed') for @h;
	all_equal('after the load');
}

# A standby that is behind has not reached the version; promoted, it goes on.
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
run_sql('INSERT INTO item (sid) SELECT sid_of(i) FROM generate_series(1, 500) i');
my $ahead = $primary->safe_psql('postgres', q{SELECT semtok.catalog_version('item')});
my ($rc, $out, $err) = $standby->psql('postgres', "SELECT * FROM semtok.changes('item', $ahead)");
like($err, qr/ERROR:  version $ahead of index "item_sid" is ahead of its last one/, 'a standby that is behind says so');
$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
wait_for_standby();
my $log = slurp_file($standby->logfile);
unlike($log, qr/inconsistent page/, 'replay found every page as the primary left it');
$standby->promote;
$standby->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()');
$primary->stop;
($primary, $standby) = ($standby, undef);
live('promoted', 15);
all_equal('promoted');

is($wrong, 0, "no copy lacked an id in $refreshes refreshes with $changed changes");
cmp_ok($exports, '<', $refreshes / 2, "most were refreshed, $exports exported anew");

# An index of the format before this one, which had no history: the number behind the metapage's magic.
my $path = $primary->data_dir . '/' . $primary->safe_psql('postgres', q{SELECT pg_relation_filepath('item_sid')});
$primary->stop;
open my $fh, '+<:raw', $path or die $!;
seek $fh, 24 + 4, 0;
print $fh pack 'L', 1;
close $fh;
$primary->start;
($rc, $out, $err) = $primary->psql('postgres', q{SELECT semtok.catalog_version('item')});
like($err, qr/ERROR:  semtrie index "item_sid" has format version 1, expected 2\nHINT:  REINDEX it\./, 'an older format is refused');
run_sql('REINDEX INDEX item_sid');
run_sql(q{SELECT semtok.index_check('item_sid', true)});
$primary->stop;
done_testing();
