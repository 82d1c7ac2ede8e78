# Retraining while the table is in use: at every batch of CALL semtok.tokenize, before and after the
# new version is activated, and on the way back, one index answers for both generations as the table
# does, whatever others write. A run that is cancelled is taken up again, and a version can be dropped
# once nobody holds its ids, not before.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('retrain');
$node->init;
$node->append_conf('postgresql.conf', "autovacuum = off\nfsync = off\njit = off");
$node->start;
$node->safe_psql(
	'postgres', q{
	SET client_min_messages = error;
	CREATE EXTENSION semtok;
	CREATE TABLE items (id int PRIMARY KEY, x real[], sid semid, filler text) WITH (fillfactor = 80);
	INSERT INTO items SELECT i, array[hashint4(i) % 100, hashint4(i + 1000) % 100, i % 10]::real[], null, repeat('-', 100)
		FROM generate_series(1, 400) AS i;
	SELECT semtok.train('items', 'SELECT x FROM items WHERE id % 10 <> 0', levels => 2, codes => 12);
	CREATE INDEX items_sid ON items USING semtrie (sid) WITH (pending_limit = 64);
	VACUUM ANALYZE items;

	-- A stepped run of tokenize waits before each batch's statement for a lock of the number of the
	-- batch; by then the batches before are committed, and the statement has its snapshot.
	CREATE SEQUENCE batch;
	CREATE FUNCTION step() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM pg_advisory_xact_lock(42, nextval('batch')::int);
		RETURN NULL;
	END $$;
	CREATE TRIGGER step BEFORE UPDATE ON items FOR EACH STATEMENT
		WHEN (current_setting('application_name') = 'stepped') EXECUTE FUNCTION step();

	-- Rows of a generation by the index and by the table: costs in order, and which rows they are.
	-- Ties have no order among them.
	CREATE FUNCTION answer(version int, asked real[], by_index boolean) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE
		tokenizer int := (SELECT id FROM semtok.tokenizers WHERE name = 'items' AND tokenizers.version = answer.version);
		query semquery := semtok.neighbors(tokenizer, asked);
		result text;
	BEGIN
		PERFORM set_config('enable_' || scan, by_index::text, true) FROM unnest('{indexscan,bitmapscan}'::text[]) AS scan;
		PERFORM set_config('enable_' || scan, (NOT by_index)::text, true) FROM unnest('{seqscan,sort}'::text[]) AS scan;
		SELECT concat_ws(E'\n', array_agg(cost)::text, (SELECT array_agg(id ORDER BY id) FROM unnest(array_agg(r.id)) AS id))
		INTO result
		FROM (SELECT id, sid <~> query AS cost FROM items ORDER BY sid <~> query) AS r WHERE cost < 'Infinity';
		RETURN concat_ws(E'\n', result,
			(SELECT array_agg(id ORDER BY id) FROM items WHERE sid ^@ semid(array[3], tokenizer)),
			(SELECT array_agg(id ORDER BY id) FROM items WHERE sid ^@ '[5]'),
			(SELECT array_agg(id ORDER BY id) FROM items WHERE sid = semtok.encode(tokenizer, asked)),
			(SELECT array_agg(id ORDER BY id) FROM items WHERE sid IS NULL));
	END $$;
	CREATE FUNCTION wrong() RETURNS text LANGUAGE sql AS $$
		SELECT concat_ws('; ',
			(SELECT string_agg(format('version %s near %s: %s is %s', version, asked, answer(version, asked, true),
				answer(version, asked, false)), '; ')
			 FROM unnest(array[1, 2]) AS v (version), (SELECT x FROM items WHERE id % 200 = 1 UNION SELECT '{0,0,0}') AS a (asked)
			 WHERE EXISTS (SELECT FROM semtok.tokenizers AS t WHERE t.version = v.version)
			 AND answer(version, asked, true) IS DISTINCT FROM answer(version, asked, false)),
			(SELECT 'scored by another generation''s query: ' || string_agg(i.id::text, ' ')
			 FROM items AS i, semtok.tokenizers AS t
			 WHERE (sid <~> semtok.neighbors(t.id, '{0,0,0}') < 'Infinity') <> (semid_tokenizer(sid) = t.id)),
			(SELECT 'ids that are not their rows'': ' || string_agg(id::text, ' ')
			 FROM items WHERE sid <> semtok.encode(semid_tokenizer(sid), x)))
	$$;
});
$node->safe_psql('postgres', q{CALL semtok.tokenize('items', 'x', 'sid', 'items')});
$node->safe_psql('postgres', q{SET client_min_messages = error;
	SELECT semtok.train('items', 'SELECT x FROM items WHERE id % 10 <> 0', levels => 2, codes => 12, seed => 7)});

# The writer, who steps the run: he holds the locks of all batches to come.
my $writer = $node->background_psql('postgres');
sub ask { my $out = $writer->query(shift); return $out =~ s/\s+\z//r; }
my $now = q{SELECT concat_ws(' ', count(*) FILTER (WHERE semid_tokenizer(sid) = 1) > 0,
	count(*) FILTER (WHERE semid_tokenizer(sid) = 2) > 0) FROM items};

# What an application does all the time: new rows with and without an id, rows that change before,
# in and behind the batch, rows that go.
my $id = 10000;

sub write_something
{
	$id += 10;
	ask(qq{
		INSERT INTO items SELECT $id + i, x, CASE i WHEN 1 THEN semtok.encode('items', x) END, ''
			FROM generate_series(1, 2) AS i, LATERAL (SELECT array[i, $id % 100, 50]::real[]) AS e (x);
		WITH moved AS (SELECT id, array[x[2], x[1], $id % 70]::real[] AS x FROM items WHERE hashint4(id + $id) % 40 = 0)
		UPDATE items SET x = moved.x, sid = semtok.encode('items', moved.x) FROM moved WHERE items.id = moved.id;
		DELETE FROM items WHERE hashint4(id + $id) % 101 = 1;});
	return;
}

# Start a run, look at every batch, write; $at{n} is done at batch n. Ends with the run, or with what
# $at returns false for. Returns how many batches there were in which both generations were.
sub stepped
{
	my ($version, %at) = @_;
	ask(q{SELECT count(pg_advisory_lock(42, i)) FROM generate_series(1, 200) AS i; SELECT setval('batch', 1, false);});
	my $run = $node->background_psql('postgres', on_error_stop => 0);
	$run->query_until(qr/started/, qq{SET application_name = 'stepped';
		\\echo started
		CALL semtok.tokenize('items', 'x', 'sid', 'items', version => $version, batch_size => 100);\n});
	my ($batch, $both) = (0, 0);
	while (1)
	{
		my $state = '';
		my $end = time + $PostgreSQL::Test::Utils::timeout_default;
		until ($state ne '')
		{
			$state = ask(q{SELECT CASE
				WHEN EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = 42 AND NOT granted) THEN 'waits'
				WHEN EXISTS (SELECT FROM pg_stat_activity WHERE application_name = 'stepped' AND state = 'idle'
					AND query LIKE '%CALL%') THEN 'ended' END;});
			die 'the run hangs' if time > $end;
		}
		last if $state eq 'ended';
		$batch++;
		my $generations = ask("$now;");
		$both++ if $generations eq 't t';
		is(ask('SELECT wrong();'), '', "to version $version, batch $batch: all answers are right");
		write_something();
		is(ask('SELECT wrong();'), '', "to version $version, batch $batch: also of what was written");
		$at{$batch}->() if $at{$batch};
		ask("SELECT pg_advisory_unlock(42, $batch);");
	}
	ask('SELECT pg_advisory_unlock_all();');
	$run->quit;
	return ($batch, $both);
}

sub refused
{
	my ($sql) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY sqlstate\nSET lock_timeout = '100ms';\n$sql");
	return $err =~ /ERROR:  (\w{5})/ ? $1 : "no error: $out";
}

# Forth, activated on the way
my ($batches, $both) = stepped(
	2,
	1 => sub {
		is(refused(q{SELECT semtok.drop_tokenizer('items', 2)}), '55P03', 'a version that is being given out is not dropped');
	},
	3 => sub {
		ask(q{SELECT semtok.activate('items', 2);});
		is(refused(q{SELECT semtok.drop_tokenizer('items', 1)}), '2BP01', 'nor one whose ids are there');
	});
cmp_ok($batches, '>', 6, "the table and what moved in it took $batches batches");
cmp_ok($both, '>', 4, "and both generations were there in $both of them");
$node->safe_psql('postgres', q{CALL semtok.tokenize('items', 'x', 'sid', 'items')});
is(ask("$now;"), 'f t', 'a last call leaves no old id');
is(ask('SELECT wrong();'), '', 'and answers are right');
is(ask(q{SELECT count(*) FROM items WHERE sid IS NULL;}), 0, 'all rows have one');
$node->safe_psql('postgres', q{VACUUM items; SELECT semtok.index_check('items_sid', true)});
is(ask(q{SELECT tokenizers FROM semtok.index_info('items_sid');}), 1, 'after VACUUM the index has one generation');

# Back, cancelled on the way
ask(q{SELECT semtok.activate('items', 1);});
stepped(
	1,
	4 => sub {
		ask(q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'stepped';});
	});
is(ask("$now;"), 't t', 'a run that was cancelled has done a part');
is(ask('SELECT wrong();'), '', 'which is right');
is(refused(q{SELECT semtok.drop_tokenizer('items', 2)}), '2BP01', 'so the version cannot be dropped');
my $before = ask("CREATE TEMP TABLE before AS SELECT ctid AS tid, id, sid FROM items WHERE semid_tokenizer(sid) = 1; SELECT count(*) FROM before;");
stepped(1);
$node->safe_psql('postgres', q{CALL semtok.tokenize('items', 'x', 'sid', 'items')});
is(ask("$now;"), 't f', 'taken up again it ends');
cmp_ok(ask(q{SELECT count(*) FROM before AS b JOIN items AS i ON i.ctid = tid AND i.id = b.id;}), '>', 0.5 * $before,
	'without touching what was done, other than by writers');
is(ask('SELECT wrong();'), '', 'and all is right');
is(refused(q{SELECT semtok.drop_tokenizer('items', 2)}), 'no error: ', 'now it is dropped');
is(ask(q{SELECT count(*) FROM semtok.training_log WHERE tokenizer = 2;}), 0, 'its log with it');
cmp_ok(ask(q{SELECT count(*) FROM semtok.training_log WHERE tokenizer = 1;}), '>', 0, 'and no other');
is(refused(q{SELECT semtok.encode(2, '{1,2,3}')}), '42704', 'and is gone');
$node->safe_psql('postgres', q{VACUUM items; SELECT semtok.index_check('items_sid', true)});
is(ask(q{SELECT items = (SELECT count(*) FROM items), tokenizers FROM semtok.index_info('items_sid');}), 't|1',
	'the index has the table and no more');
$writer->quit;

done_testing();
