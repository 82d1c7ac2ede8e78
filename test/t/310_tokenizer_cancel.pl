# The tokenizer verbs stop when they are told to, at any point, and leave nothing behind, in the session
# and in a worker.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkerTest qw(wait_for workers);

my $rounds = $ENV{TORTURE_ROUNDS} || 8;
srand($ENV{TORTURE_SEED} || 1);

my $node = PostgreSQL::Test::Cluster->new('cancel');
$node->init;
$node->start;
$node->safe_psql(
	'postgres', q{
	SET client_min_messages = error;
	CREATE EXTENSION semtok;
	CREATE TABLE items (id int, x real[], sid semid);
	INSERT INTO items SELECT i, array(SELECT (hashint4(i * 100 + j) / 1e6)::real FROM generate_series(1, 32) AS j), null
		FROM generate_series(1, 4000) AS i;
	SELECT semtok.train('items', 'SELECT x FROM items', levels => 2, codes => 32, epochs => 2);
});

# Each takes longer than the longest timeout below.
my %statements = (
	'train' => q{SELECT semtok.train('items', 'SELECT x FROM items, generate_series(1, 10)', epochs => 100000, codes => 512)},
	'train by mini-batch' =>
	  q{SELECT semtok.train('items', 'SELECT x FROM items', epochs => 100000, codes => 512, batch_size => 100)},
	'train with refinement' =>
	  q{SELECT semtok.train('items', 'SELECT x FROM items', epochs => 1, codes => 64, options => '{"refine": 10000, "beam": 16}')},
	'train balanced' =>
	  q{SELECT semtok.train('items', 'SELECT x FROM items, generate_series(1, 10)', epochs => 100000, codes => 512, options => '{"balance": 1.1}')},
	'train by averages' =>
	  q{SELECT semtok.train('items', 'SELECT x FROM items', epochs => 100000, codes => 512, batch_size => 100, method => 'ema')},
	'partial_fit' =>
	  q{SELECT semtok.partial_fit('items', 'SELECT x FROM items', epochs => 100000, batch_size => 100)},
	'train from a slow source' =>
	  q{SELECT semtok.train('items', 'SELECT array[sum(i)] FROM generate_series(1, 100000000) AS i')},
	'encode_batch' =>
	  q{SELECT count(*) FROM semtok.encode_batch('items', 'SELECT id, x FROM items, generate_series(1, 1000)')},
	'evaluate' =>
	  q{SELECT * FROM semtok.evaluate('items', 'SELECT x FROM items, generate_series(1, 1000)')},
	'encode' => q{SELECT count(semtok.encode('items', x, 32)) FROM items, generate_series(1, 1000)},
	'tokenize' =>
	  q{CALL semtok.tokenize('items', 'x', 'sid', 'items', batch_size => 200, where_clause => 'pg_sleep(0.0005) IS NOT NULL')},
	'tokenize by appending' =>
	  q{CALL semtok.tokenize('items', 'x', 'sid', 'items', batch_size => 200, collisions => 'append', where_clause => 'pg_sleep(0.0005) IS NOT NULL')});

foreach my $what (sort keys %statements)
{
	my @states;
	for my $round (1 .. $rounds)
	{
		my $timeout = 1 + int(rand(150));
		my $offload = $round % 2 ? 'on' : 'off';
		my ($status, $out, $err) = $node->psql('postgres',
			"\\set VERBOSITY sqlstate\nSET semtok.offload = $offload;\nSET statement_timeout = $timeout;\n$statements{$what};");
		push @states, $err =~ /(\w{5})$/ ? $1 : "no error: $out";
	}
	is("@states", join(' ', ('57014') x $rounds), "$what is cancelled");
}

is($node->safe_psql('postgres', 'SELECT count(*) FROM semtok.tokenizers'), 1, 'no tokenizer was left');
is( $node->safe_psql(
		'postgres', 'SELECT count(*) FROM semtok.training_log AS l LEFT JOIN semtok.tokenizers AS t ON t.id = l.tokenizer WHERE t.id IS NULL'
	),
	0, 'and no line of a log');
is( $node->safe_psql(
		'postgres', q{SELECT count(*) FROM pg_locks WHERE pid <> pg_backend_pid() AND locktype <> 'virtualxid'}),
	0, 'no lock is held');

is($node->safe_psql('postgres', 'SELECT count(*) FROM pg_ls_tmpdir()'), 0, 'no temporary file');
chomp(my $libraries = `pg_config --pkglibdir`);
ok(wait_for(sub { !workers("$libraries/semtok/semtokd") }), 'no worker');

# What tokenize had committed is right, and it goes on from there.
is( $node->safe_psql(
		'postgres', q{SELECT count(*) FROM items WHERE semid_prefix(sid, 2) <> semtok.encode('items', x)}),
	0, 'ids given before a cancel are right');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM items WHERE sid IS NULL'), '>', 0, 'some are missing');
$node->safe_psql('postgres', q{CALL semtok.tokenize('items', 'x', 'sid', 'items', collisions => 'append')});
is( $node->safe_psql(
		'postgres', q{SELECT count(*) FROM items WHERE semid_prefix(sid, 2) = semtok.encode('items', x)}),
	4000, 'and afterwards none is');

# A session that was cancelled works on.
my ($status, $out, $err) = $node->psql(
	'postgres', q{SET statement_timeout = 50;
	SELECT semtok.train('items', 'SELECT x FROM items, generate_series(1, 10)', epochs => 100000, codes => 512);
	RESET statement_timeout;
	SELECT semtok.train('again', 'SELECT x FROM items', levels => 1, codes => 4, epochs => 1) > 0,
		semtok.encode('items', x) IS NOT NULL FROM items LIMIT 1;},
	on_error_stop => 0);
is($out, 't|t', 'the session goes on');

done_testing();
