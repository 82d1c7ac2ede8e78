# The tokenizer verbs are cancelled, and their sessions terminated, in the middle of each thing that
# they do: while the source runs, while they learn, in the session and in a worker, and with the
# catalog's row or the log half written. Nothing is left, and tokenize goes on afterwards.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkerTest qw(wait_for workers);

chomp(my $libraries = `pg_config --pkglibdir`);
my $node = PostgreSQL::Test::Cluster->new('interrupt');
$node->init;
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;
$node->safe_psql(
	'postgres', q{
	SET client_min_messages = error;
	CREATE EXTENSION semtok;
	CREATE TABLE items (id int, x real[], sid semid);
	INSERT INTO items SELECT i, array(SELECT (hashint4(i * 100 + j) / 1e6)::real FROM generate_series(1, 16) AS j), null
		FROM generate_series(1, 2000) AS i;
	SELECT semtok.train('items', 'SELECT x FROM items', levels => 2, codes => 32, epochs => 2);
	CREATE TABLE appended AS SELECT id, array[id % 9, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]::real[] AS x, sid FROM items;
	-- waits at row 1500 for whoever holds lock 1
	CREATE FUNCTION gate(int) RETURNS boolean LANGUAGE plpgsql AS
		'BEGIN IF $1 = 1500 THEN PERFORM pg_advisory_xact_lock_shared(1); END IF; RETURN true; END';
});

# A session with one statement, which its application name tells; then one more, to see that it lives.
sub start
{
	my ($name, $sql, $offload) = @_;
	my %session = (out => '', err => '');
	local $ENV{PGAPPNAME} = $name;
	local $ENV{PGOPTIONS} = '-c semtok.offload=' . ($offload // 'off');
	$session{run} = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-v', 'VERBOSITY=sqlstate', '-c', $sql, '-c', q{SELECT 'lives'} ],
		'<', \undef, '>', \$session{out}, '2>', \$session{err});
	return \%session;
}

# The session of this name waits, or, where the condition says something else, meets it.
sub reached
{
	my ($name, $condition) = @_;
	return $node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity AS a WHERE application_name = '$name' AND state = 'active' AND $condition");
}

# What holds the verbs up: SQL of a session that keeps it until it ends.
my %gates = (
	source => 'SELECT pg_advisory_lock(1)',
	catalog => 'LOCK TABLE semtok.tokenizer IN EXCLUSIVE MODE',
	log => 'LOCK TABLE semtok.training_log IN EXCLUSIVE MODE',
	name => q{SELECT semtok.register_tokenizer('new', '{4}')},
	rows => 'SELECT FROM items WHERE id = 1500 FOR UPDATE');
my $waits = "wait_event_type = 'Lock'";
my $learns = q{EXISTS (SELECT FROM pg_ls_tmpdir() AS f WHERE f.name LIKE 'pgsql_tmp' || a.pid || '.%')};

# on 17 and later the event has a name
my $away = q{wait_event_type = 'Extension' AND wait_event IN ('Extension', 'SemtokWorkerReply')};

my $gated = 'SELECT x FROM items WHERE gate(id)';
my $short = q{levels => 2, codes => 8, epochs => 1};
my $long = q{levels => 2, codes => 512, epochs => 100000};
my %verbs = (
	'train' => {
		source => qq{SELECT semtok.train('new', '$gated', $short)},
		learning => qq{SELECT semtok.train('new', 'SELECT x FROM items', batch_size => 50, $long)},
		catalog => qq{SELECT semtok.train('new', 'SELECT x FROM items', $short)},
		log => qq{SELECT semtok.train('new', 'SELECT x FROM items', $short)},
		name => qq{SELECT semtok.train('new', 'SELECT x FROM items', $short)}},
	'train with held-out rows' => {
		source => qq{SELECT semtok.train('new', 'SELECT x FROM items', $short, options => '{"eval_source": "$gated"}')},
		learning => qq{SELECT semtok.train('new', 'SELECT x FROM items WHERE id < 900', method => 'ema', batch_size => 500, $long, options => '{"beam": 64, "eval_source": "SELECT x FROM items", "eval_every": 1}')}},
	'partial_fit' => {
		source => qq{SELECT semtok.partial_fit('items', '$gated')},
		learning => qq{SELECT semtok.partial_fit('items', 'SELECT x FROM items', epochs => 100000, batch_size => 50)},
		catalog => q{SELECT semtok.partial_fit('items', 'SELECT x FROM items')},
		log => q{SELECT semtok.partial_fit('items', 'SELECT x FROM items')}},
	'encode_batch' => { source => qq{SELECT count(*) FROM semtok.encode_batch('items', '$gated')} },
	'evaluate' => { source => qq{SELECT count(*) FROM semtok.evaluate('items', '$gated')} },
	'import_tokenizer' => { catalog => q{SELECT semtok.import_tokenizer('new', codebook) FROM semtok.tokenizer}, name => q{SELECT semtok.import_tokenizer('new', codebook) FROM semtok.tokenizer} },
	'import_safetensors' => { catalog => q{SELECT semtok.import_safetensors('new', semtok.export_safetensors('items'))} },
	'register_tokenizer' => { catalog => q{SELECT semtok.register_tokenizer('new', '{8,8}')} },
	'activate' => { catalog => q{SELECT semtok.activate('items', 1)} },
	'tokenize' => { source => q{CALL semtok.tokenize('items', 'x', 'sid', 'items', batch_size => 100, where_clause => 'gate(id)')},
		rows => q{CALL semtok.tokenize('items', 'x', 'sid', 'items', batch_size => 100)} },
	'tokenize by appending' => {
		source => q{CALL semtok.tokenize('appended', 'x', 'sid', 'items', batch_size => 100, collisions => 'append', where_clause => 'gate(id)')} });

# What learns can do so in a worker, which then goes with what asked it.
foreach my $verb (grep { $verbs{$_}{learning} } keys %verbs)
{
	$verbs{$verb}{'learning in a worker'} = $verbs{$verb}{learning};
}
my %meets = ('learning' => $learns, 'learning in a worker' => $away);

foreach my $verb (sort keys %verbs)
{
	foreach my $phase (sort keys %{ $verbs{$verb} })
	{
		my $gate = $gates{$phase} && start('gate', "BEGIN; $gates{$phase}; SELECT pg_sleep(1000)");
		reached('gate', "wait_event = 'PgSleep'") if $gate;
		foreach my $end ('cancel', 'terminate')
		{
			my $session = start('verb', $verbs{$verb}{$phase}, $phase =~ /worker/ ? 'on' : 'off');
			ok(reached('verb', $meets{$phase} // $waits), "$verb: $phase");
			$node->safe_psql('postgres', "SELECT pg_${end}_backend(pid) FROM pg_stat_activity WHERE application_name = 'verb'");
			$session->{run}->finish;
			if ($end eq 'cancel')
			{
				like($session->{err}, qr/^ERROR:\s+57014/m, "$verb is cancelled: $phase");
				is($session->{out}, "lives\n", 'and its session goes on');
			}
			else
			{
				like($session->{err}, qr/57P01/, "$verb ends with its session: $phase");
			}
		}
		if ($gate)
		{
			$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid, 100000) FROM pg_stat_activity WHERE application_name = 'gate'});
			$gate->{run}->finish;
		}
		# A backend that is told to end takes its time after the client has heard of it.
		$node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name IN ('verb', 'gate'))});
		is( $node->safe_psql(
				'postgres', q{SELECT (SELECT string_agg(name, ',') FROM semtok.tokenizers), (SELECT count(DISTINCT tokenizer) FROM semtok.training_log),
					(SELECT count(*) FROM pg_locks WHERE pid <> pg_backend_pid() AND locktype <> 'virtualxid'), (SELECT count(*) FROM pg_ls_tmpdir())}),
			'items|1|0|0', "$verb leaves nothing: $phase");
		ok(wait_for(sub { !workers("$libraries/semtok/semtokd") }), 'and no worker');
	}
}

# tokenize kept what it had committed, whatever ended it, and goes on with the same condition or
# another one.
my $given = $node->safe_psql('postgres', 'SELECT count(sid) FROM items');
cmp_ok($given, '>', 0, 'some rows have an id');
cmp_ok($given, '<', 1500, 'those behind the gate have none');
is( $node->safe_psql('postgres', q{SELECT count(*) FROM items WHERE sid <> semtok.encode('items', x)}),
	0, 'all that are there are right');
$node->safe_psql('postgres', 'CREATE TABLE before AS SELECT id, ctid AS tid FROM items WHERE sid IS NOT NULL');
$node->safe_psql('postgres', q{CALL semtok.tokenize('items', 'x', 'sid', 'items', batch_size => 100, where_clause => 'gate(id) AND id % 2 = 0')});
is( $node->safe_psql(
		'postgres', q{SELECT count(*) FILTER (WHERE sid IS NULL AND id % 2 = 0), count(*) FILTER (WHERE sid IS NULL AND id % 2 = 1) > 0 FROM items}),
	'0|t', 'a condition picks what to go on with');
$node->safe_psql('postgres', q{CALL semtok.tokenize('items', 'x', 'sid', 'items', batch_size => 100, where_clause => 'gate(id)')});
is( $node->safe_psql('postgres', q{SELECT count(*) FROM items WHERE sid = semtok.encode('items', x)}),
	2000, 'and the next run does the rest');
is( $node->safe_psql('postgres', 'SELECT count(*) FROM items JOIN before USING (id) WHERE items.ctid <> tid'),
	0, 'rows that had their id were not touched again');

# Numbers go on where they stopped: no id twice, none left out.
$node->safe_psql('postgres', q{CALL semtok.tokenize('appended', 'x', 'sid', 'items', batch_size => 100, collisions => 'append', where_clause => 'gate(id)')});
is( $node->safe_psql(
		'postgres', q{SELECT count(sid), count(DISTINCT sid), (SELECT count(*) FROM (SELECT semid_prefix(sid, 2) AS base, count(*) - 1 AS n, max(CASE semid_levels(sid) WHEN 3 THEN semid_code(sid, 2) ELSE 0 END) AS top FROM appended GROUP BY 1) AS g WHERE n <> top) FROM appended}),
	'2000|2000|0', 'appended numbers go on where they stopped');

# How far they are, they tell in the view where sessions share memory without preloading, from 17 on;
# else every few seconds by a NOTICE. The verb, with a place for a condition; what the view calls its
# subject; what the NOTICE says.
my %long = (
	tokenize => [ q{CALL semtok.tokenize('items', 'x', 'sid', 'items', batch_size => 100, where_clause => '%s')}, 'items',
		qr/NOTICE:  tokenizing items: \d+ rows, table 1 of 1, block \d+ of \d+/ ],
	evaluate => [ q{SELECT semtok.evaluate('items', 'SELECT x FROM items WHERE id > 1000 AND %s')}, 'items', qr/NOTICE:  evaluating: \d+ rows read/ ],
	train => [ q{SELECT semtok.train('new', 'SELECT x FROM items WHERE id > 1000 AND %s', levels => 2, codes => 8, epochs => 1)}, 'new',
		qr/NOTICE:  training "new": \d+ rows read/ ]);
my $mine = q{FROM semtok.stat_progress WHERE pid IN (SELECT pid FROM pg_stat_activity WHERE application_name = 'verb')};
foreach my $verb (sort keys %long)
{
	my ($sql, $subject, $notice) = @{ $long{$verb} };
	$node->safe_psql('postgres', 'UPDATE items SET sid = NULL WHERE id > 1000');
	if ($node->pg_version < 17)
	{
		my ($status, $out, $err) = $node->psql('postgres', sprintf $sql, '(id <> 1500 OR pg_sleep(5.1) IS NOT NULL)');
		like($err, $notice, "$verb tells how far it is");
		next;
	}
	my $gate = start('gate', 'BEGIN; SELECT pg_advisory_lock(1); SELECT pg_sleep(1000)');
	reached('gate', "wait_event = 'PgSleep'");
	my $session = start('verb', sprintf $sql, 'gate(id)');
	ok(reached('verb', $waits), "$verb waits half-way");
	is($node->safe_psql('postgres', "SELECT datname, usename = current_user, verb, subject, rows_done > 0, rows_done < 1000, now() - began < '1h' $mine"),
		"postgres|t|$verb|$subject|t|t|t", 'and the view tells how far it is');
	$node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid, 100000) FROM pg_stat_activity WHERE application_name = 'gate'});
	$_->{run}->finish foreach $gate, $session;
	like($session->{out}, qr/lives\n$/, 'its session goes on');
	unlike($session->{err}, qr/NOTICE/, 'and says nothing else');
	is($node->safe_psql('postgres', 'SELECT count(*) FROM semtok.stat_progress'), 0, 'when it is done it is not shown');
}

# Levels count from 0 in both, as they do everywhere.
{
	my $session = WorkerTest->session($node, 'SET semtok.offload = off');
	my $level = "SELECT level BETWEEN 0 AND 1, levels FROM semtok.stat_progress WHERE pid = $session->{pid} AND level IS NOT NULL";
	$session->send(q{SELECT semtok.train('endless', 'SELECT x FROM items', levels => 2, codes => 4, epochs => 100000, batch_size => 100)});
	if ($node->pg_version < 17)
	{
		ok(wait_for(sub { $session->answered(0.1) || $session->{text} =~ /NOTICE:.*: level/ }), 'a training tells its level');
		like($session->{text}, qr/NOTICE:  training "endless": level [01] \(0 to 1\), epoch \d+ of 100000, mean squared error/, 'which counts from 0');
	}
	else
	{
		ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM ($level) AS l"), 'a training tells its level');
		is($node->safe_psql('postgres', $level), 't|2', 'which counts from 0');
	}
	$node->safe_psql('postgres', "SELECT pg_cancel_backend($session->{pid})");
	like(join('', $session->answer), qr/canceling statement/, 'and is cancelled');
	$session->end;
}

done_testing();
