# Tokenizers survive pg_dump: the same ids mean the same, encode the same, and new ids go on after
# them, in another database, in another schema and on a server that lacks the owner's role.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('dump');
$node->init;
$node->start;
my $backup = $node->backup_dir;
mkdir $backup;

# Ids that are not the first ones: tokenizers were dropped before.
$node->safe_psql(
	'postgres', q{
	SET client_min_messages = error;
	CREATE ROLE alice LOGIN;
	CREATE SCHEMA ext;
	CREATE EXTENSION semtok SCHEMA ext;
	SELECT semtok.train('gone', 'SELECT array[i, 1] FROM generate_series(1, 9) AS i', codes => 2)
		FROM generate_series(1, 3);
	SELECT semtok.drop_tokenizer('gone');
	CREATE TABLE items (id int PRIMARY KEY, x real[], sid ext.semid);
	INSERT INTO items SELECT i, array[i % 17, i * 37 % 101, 1.0 / i]::real[], null
		FROM generate_series(1, 300) AS i;
	GRANT ALL ON items TO alice;
	SET ROLE alice;
	SELECT semtok.train('items', 'SELECT x FROM items', levels => 2, codes => 16);
	SELECT semtok.train('items', 'SELECT x FROM items', codes => array[8, 4, 2], metric => 'cosine');
	SELECT semtok.activate('items', 2);
});
$node->safe_psql('postgres',
	q{CALL semtok.tokenize('items', 'x', 'sid', 'items', collisions => 'append')});
$node->safe_psql('postgres', 'CREATE INDEX ON items USING semtrie (sid)');

my $state = q{
	SET search_path = public, ext;
	SELECT id, name, version, active, owner, hash, options, counts, codebook_hash(codebook), created_at
		FROM semtok.tokenizer ORDER BY id;
	SELECT * FROM semtok.training_log ORDER BY tokenizer, step, level, metric;
	SELECT id, sid, semtok.encode('items', x), semtok.encode(4, x), semtok.decode(sid) FROM items ORDER BY id;
};
my $before = $node->safe_psql('postgres', $state);
like($before, qr/^4\|items\|1\|f\|alice\|.*^5\|items\|2\|t\|alice\|/ms, 'there are tokenizers to dump');

sub check_goes_on
{
	my ($server, $db, $role) = @_;
	is($server->safe_psql($db, $state), $before, "$db: everything is as it was");
	is( $server->safe_psql(
			$db, qq{SET client_min_messages = error; SET ROLE $role;
			SELECT semtok.train('items', 'SELECT array[i, i, i] FROM generate_series(1, 9) AS i', codes => 2);}),
		6,
		"$db: ids go on");
	is( $server->safe_psql(
			$db, q{SELECT version, active, owner FROM semtok.tokenizers WHERE id = 6}),
		'3|f|alice',
		"$db: and versions do");
	is( $server->safe_psql(
			$db, q{SET search_path = ext; SELECT 'semtok.tokenizers'::regclass::oid > 0,
			has_table_privilege('public', 'semtok.tokenizer', 'select'),
			has_table_privilege('public', 'semtok.tokenizer', 'insert')}),
		't|t|f',
		"$db: rights are the same");
}

# The same server, plain SQL.
$node->command_ok([ 'pg_dump', '-d', $node->connstr('postgres'), '-f', "$backup/plain.sql" ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE copy');
$node->command_ok(
	[ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('copy'), '-f', "$backup/plain.sql" ],
	'psql restores');
check_goes_on($node, 'copy', 'alice');

# A server without alice, custom format.
my $other = PostgreSQL::Test::Cluster->new('other');
$other->init;
$other->start;
$node->command_ok([ 'pg_dump', '-Fc', '-d', $node->connstr('postgres'), '-f', "$backup/custom" ], 'pg_dump -Fc');
$other->safe_psql('postgres', 'CREATE DATABASE elsewhere');
$node->command_ok(
	[
		'pg_restore', '--exit-on-error', '--no-owner', '--no-acl',
		'-d', $other->connstr('elsewhere'), "$backup/custom"
	],
	'pg_restore without the role');
my $superuser = $other->safe_psql('postgres', 'SELECT current_user');
check_goes_on($other, 'elsewhere', $superuser);

# The role comes later, and the tokenizers are its own.
$other->safe_psql('elsewhere', q{CREATE ROLE alice; SET ROLE alice; SELECT semtok.activate('items', 1)});
is($other->safe_psql('elsewhere', q{SELECT version FROM semtok.tokenizers WHERE active}),
	1, 'a role of the owner\'s name owns');

# Ids in use are known to be after a restore, too.
my ($status, $out, $err) = $other->psql('elsewhere', q{SELECT semtok.drop_tokenizer('items', 2)});
like($err, qr/cannot drop version 2 of tokenizer "items": its ids are in use/, 'drop is refused');

done_testing();
