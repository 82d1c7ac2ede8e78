# ALTER EXTENSION semtok UPDATE: an updated extension is the same as a new one, its data stays, and
# sessions that have the old library loaded go on.
#
# Released versions are in sql/released, as they were, with the scripts that lead on in sql/upgrades.
# Besides, an older version is made up here: what the script does, with some statements left out.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(basename dirname);
use lib abs_path(dirname(__FILE__) . '/../lib');
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SemtokTest qw(extension_catalog private_installation);
use Test::More;

my $top = abs_path(dirname(__FILE__) . '/../..');
my ($current) = slurp_file("$top/semtok.control") =~ /^default_version = '(.*)'/m;
my ($path, $scripts, $libraries) = private_installation(PostgreSQL::Test::Utils::tempdir());
my $library = "$libraries/semtok.so";

my $node = PostgreSQL::Test::Cluster->new('upgrade', install_path => $path);
$node->init;
$node->append_conf('postgresql.conf', "autovacuum = off\nfsync = off");
$node->start;

sub write_file
{
	my ($file, $text) = @_;
	open(my $handle, '>:raw', $file) or die "$file: $!";
	print $handle $text;
	close $handle;
	return;
}

my $number = 0;

# A database with the extension, of a version; with its update, when asked for.
sub database
{
	my ($version, $update) = @_;
	my $db = 'd' . ++$number;
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, "CREATE EXTENSION semtok VERSION '$version'");
	$node->safe_psql($db, 'ALTER EXTENSION semtok UPDATE') if $update;
	return $db;
}

# Lines that only one of two texts has.
sub difference
{
	my ($a, $b) = @_;
	my %a = map { $_ => 1 } split /\n/, $a;
	my %b = map { $_ => 1 } split /\n/, $b;
	return join "\n", (map { "- $_" } grep { !$b{$_} } sort keys %a), (map { "+ $_" } grep { !$a{$_} } sort keys %b);
}

my $new = extension_catalog($node, database($current));
cmp_ok(scalar(split /\n/, $new), '>', 500, 'a new installation has its facts');

# Every released version
foreach my $released (glob("$top/sql/released/semtok--*.sql"))
{
	my ($version) = basename($released) =~ /--(.*)\.sql$/;
	next if $version eq $current;
	write_file("$scripts/" . basename($released), slurp_file($released));
	is(difference($new, extension_catalog($node, database($version, 1))), '', "$version becomes $current");
}
foreach my $upgrade (glob("$top/sql/upgrades/semtok--*.sql"))
{
	ok(-e "$scripts/" . basename($upgrade), basename($upgrade) . ' is installed');
}

# The made-up version. A statement ends with a line's semicolon, outside of dollar quotes.
my $script = slurp_file("$scripts/semtok--$current.sql");
my ($head, $body) = $script =~ /\A(\\echo.*?\n)(.*)\z/s;
my @statements = $body =~ /((?:\$\$.*?\$\$|.)*?;\n)/sg;
is($head . join('', @statements), $script, 'the script falls into statements');

my %later = (
	'function' => qr/FUNCTION semtok\.(collisions|index_check)\(/,
	'comment' => qr/^COMMENT ON COLUMN semtok\.tokenizer\.hash/m,
	'index' => qr/^CREATE INDEX training_log_tokenizer_idx/m,
	'right' => qr/^GRANT SELECT ON semtok\.tokenizers/m,
	'storage' => qr/ALTER COLUMN counts SET STORAGE/,
	'view' => qr/^(?:CREATE VIEW|COMMENT ON VIEW) semtok\.tokenizers/m,
	'configuration table' => qr/pg_extension_config_dump\('semtok\.training_log'/,
	'cast' => qr/^(?:CREATE|COMMENT ON) CAST \(\@extschema\@\.semid AS integer\[\]\)/m,
	'operator class' => qr/OPERATOR (?:CLASS|FAMILY) \S*semset_ops/,
);
my %old = map { $_ => 1 } @statements;
my @update;
foreach my $statement (@statements)
{
	next if !grep { $statement =~ $_ } values %later;
	delete $old{$statement};
	push @update, $statement;
}
foreach my $what (sort keys %later)
{
	cmp_ok(scalar(grep { $_ =~ $later{$what} } @update), '>', 0, "the old version lacks a $what");
}
my $old_script = $head . join('', grep { $old{$_} } @statements);
# And what is there but different.
$old_script =~ s/(FUNCTION semtok\.decode\(codebook.*?COST )10;/${1}20;/s or die;
my $altered = 'ALTER FUNCTION semtok.decode(@extschema@.codebook, @extschema@.semid) COST 10;' . "\n";
push @update, $altered;
write_file("$scripts/semtok--0.0.9.sql", $old_script);
write_file("$scripts/semtok--0.0.9--$current.sql", join '', @update);

# Its library: one that has not got a function that the new version calls.
my $new_library = slurp_file($library);
my $old_library = $new_library =~ s/semtok_collisions\0/semtok_collisionx\0/gr;
isnt($old_library, $new_library, 'and the old library lacks a function');

# A library is replaced as install does it: the new file takes the old one's name.
sub install_library
{
	my $content = shift;
	write_file("$library.new", $content);
	rename "$library.new", $library or die $!;
	return;
}
install_library($old_library);

my $db = database('0.0.9');
isnt(extension_catalog($node, $db), $new, 'the old version is another');
$node->safe_psql(
	$db, q{
	SET client_min_messages = error;
	CREATE TABLE items (id int, x real[], sid semid);
	INSERT INTO items SELECT i, array[i % 17, i * 37 % 101, 1.0 / i]::real[], null FROM generate_series(1, 300) AS i;
	SELECT semtok.train('items', 'SELECT x FROM items', levels => 2, codes => 16);
	UPDATE items SET sid = semtok.encode('items', x);
	CREATE INDEX items_sid ON items USING semtrie (sid);
	CREATE VIEW likely AS SELECT id FROM items ORDER BY sid <~> (SELECT semtok.neighbors('items', '{1,2,3}')) LIMIT 5;
});
my $state = q{
	SELECT id, name, version, active, owner, hash, codebook FROM semtok.tokenizer;
	SELECT * FROM semtok.training_log ORDER BY step, level, metric;
	SELECT id, sid, semtok.encode('items', x), semtok.decode(sid) FROM items ORDER BY id;
	SET enable_seqscan = off;
	SELECT * FROM likely;
	SELECT array_agg(id ORDER BY id) FROM items WHERE sid ^@ '[3]';
};
my $before = $node->safe_psql($db, $state);

# A session opened before.
my $session = $node->background_psql($db, on_error_stop => 0);
sub in_session { my $out = $session->query(shift); return $out =~ s/\s+\z//r; }
my $answers = q{SELECT bool_and(semtok.encode('items', x) = sid), count(*) FROM items;};
is(in_session($answers), 't|300', 'a session uses the old version');
is(in_session(q{DO $$ BEGIN ALTER EXTENSION semtok UPDATE; EXCEPTION WHEN undefined_function THEN
		RAISE EXCEPTION USING message = 'refused: ' || sqlerrm; END $$; SELECT 1;}),
	'1', 'it goes on after an attempt to update');
is($node->safe_psql($db, q{SELECT extversion FROM pg_extension WHERE extname = 'semtok'}),
	'0.0.9', 'the update needs the new library');

install_library($new_library);
is(in_session($answers), 't|300', 'the session goes on while files are replaced');
is($node->safe_psql($db, $state), $before, 'the new library serves the old version');
is($node->safe_psql($db, "SELECT semtok.library_version(), extversion FROM pg_extension WHERE extname = 'semtok'"),
	"$current|0.0.9", 'and tells that the two differ');
$node->safe_psql($db, 'ALTER EXTENSION semtok UPDATE');
is(in_session($answers), 't|300', 'the session goes on after the update');
is(in_session(q{DO $$ BEGIN PERFORM semtok.collisions('items', 'sid'); EXCEPTION WHEN undefined_function THEN
	PERFORM set_config('test.missing', sqlerrm, false); END $$; SELECT current_setting('test.missing');})
	=~ s{"/.*/}{"}r,
	'could not find function "semtok_collisions" in file "semtok.so"',
	'what its library has not got is an error');
$session->quit;
is(difference($new, extension_catalog($node, $db)), '', 'an updated extension is what a new one is');
is($node->safe_psql($db, $state), $before, 'its data is what it was');
is($node->safe_psql($db, q{SELECT count(*) > 0 FROM semtok.collisions('items', 'sid')}), 't', 'and it has what is new');
$node->safe_psql($db, q{INSERT INTO items SELECT 1000 + i, x, semtok.encode('items', x) FROM items, generate_series(1, 3) AS i});
is($node->safe_psql($db, q{SELECT semtok.index_check('items_sid', true)}), '', 'its index is sound and goes on');

# Updating twice changes nothing.
my ($status, $out, $err) = $node->psql($db, 'ALTER EXTENSION semtok UPDATE');
like($err, qr/NOTICE:  version "\Q$current\E" of extension "semtok" is already installed/, 'there is no more to update');

# A dump of the old version restores into the new one: CREATE EXTENSION names no version.
my $old_db = database('0.0.9');
my $dump = $node->backup_dir;
$node->command_ok([ 'pg_dump', '-d', $node->connstr($old_db), '-f', "$dump.sql" ], 'the old version is dumped');
$node->safe_psql('postgres', 'CREATE DATABASE restored');
$node->command_ok([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('restored'), '-f', "$dump.sql" ],
	'and restored');
is(difference($new, extension_catalog($node, 'restored')), '', 'as the new one');

# The comparison sees what an update script forgets.
foreach my $what ([ 'altered' => qr/^ALTER FUNCTION/ ], map { [ $_ => $later{$_} ] } sort keys %later)
{
	my ($name, $pattern) = @$what;
	# what the statements left out would make cannot be spoken of
	my @forgetful = grep { $_ !~ $pattern } @update;
	@forgetful = grep { $_ !~ $later{right} } @forgetful if $name eq 'view';
	write_file("$scripts/semtok--0.0.9--$current.sql", join '', @forgetful);
	isnt(extension_catalog($node, database('0.0.9', 1)), $new, "a forgotten $name is seen");
}

done_testing();
