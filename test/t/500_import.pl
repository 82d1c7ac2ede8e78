# examples/import/: each format's script on a small sample (test/data/import), on bad files, and on
# published ids where SEMTOK_SHARED has them.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use FindBin;
use IPC::Run ();
use lib "$FindBin::Bin/../lib";
use PythonTest qw(python_with);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = abs_path(dirname(__FILE__) . '/../..');
my $examples = "$top/examples/import";
my $samples = "$top/test/data/import";
my $python = python_with('json');
my $scratch = PostgreSQL::Test::Utils::tempdir();

my $node = PostgreSQL::Test::Cluster->new('import');
$node->init;
$node->start;
$node->safe_psql('template1', 'CREATE EXTENSION semtok');

# A database of its own for each case, so that what an import leaves is all there is.
my $database;
my $number = 0;
sub fresh
{
	$database = 'import' . ++$number;
	$node->safe_psql('postgres', "CREATE DATABASE $database");
	$node->safe_psql($database, $_[0]) if defined $_[0];
	return;
}

sub sql { return $node->safe_psql($database, $_[0]) }

# Run a script as its head says, with this text as its input: (succeeded, output, messages).
sub import_text
{
	my ($script, $text, %set) = @_;
	my ($out, $err);
	my $ok = IPC::Run::run([ 'psql', '-X', (map { ('-v', "$_=$set{$_}") } sort keys %set),
			'-f', "$examples/$script.sql", $node->connstr($database) ],
		'<' => \$text, '>' => \$out, '2>' => \$err, IPC::Run::timeout(60));
	return ($ok, $out, $err);
}

sub imports
{
	my ($what, $script, $text, $set, $said) = @_;
	my ($ok, $out, $err) = import_text($script, $text, %$set);
	ok($ok, "$what: imported") or diag($err);
	is($out, $said, "$what: counted");
	is($err, '', "$what: no message");
	return;
}

# A bad file is an error that says why, and leaves no table, tokenizer or temporary thing.
sub refuses
{
	my ($what, $script, $text, $pattern, %set) = @_;
	my ($ok, $out, $err) = import_text($script, $text, %set);
	ok(!$ok, "$what: refused");
	like($err, $pattern, "$what: says why");
	unlike($err, qr/CONTEXT|PL\/pgSQL/, "$what: and no more than that");
	unchanged($what);
	return;
}

# The database is as it was, which the next bad file meets.
my $untouched = q{CREATE TABLE mine (item_id text PRIMARY KEY, other int); INSERT INTO mine VALUES ('1', 2)};
sub unchanged
{
	my $what = shift;
	is(sql(q{SELECT (SELECT count(*) FROM semtok.tokenizers), (SELECT string_agg(relname, ' ') FROM pg_class
			WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'), (SELECT string_agg(mine::text, ' ') FROM mine)}),
		'0|mine|(1,2)', "$what: nothing loaded");
	return;
}

# What the index says must be what the table says.
sub indexed
{
	my ($what, $table, $column) = @_;
	is(sql(qq{SELECT bool_and(n = (SELECT count(*) FROM $table WHERE $column = s.$column)) FROM (
			SELECT $column, count(*) AS n FROM $table WHERE $column IS NOT NULL GROUP BY 1 LIMIT 50) s}),
		't', "$what: found by id");
	is(sql(qq{SELECT count(*) FROM pg_index JOIN pg_class c ON c.oid = indexrelid JOIN pg_am a ON a.oid = relam
			WHERE amname = 'semtrie' AND indrelid = '$table'::regclass}), 1, "$what: one semtrie index");
	return;
}

# Text, into a new table: numbers become bigint keys
fresh();
imports('text', 'ids', slurp_file("$samples/ids.tsv"), {},
	"5 items, 4 ids of tokenizer 1 (imported, sizes {196,233,253,197})\n"
	  . "2 items share an id with others, at most 2 the same; 0 rows have none\n");
is(sql('SELECT item_id, sid FROM items ORDER BY item_id'),
	"1|[166,146,232,196]\@1\n2|[166,212,252,96]\@1\n3|[189,232,216,95]\@1\n4|[195,119,3,161]\@1\n5|[166,146,232,196]\@1",
	'text: every item has its codes');
is(sql(q{SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'items'::regclass AND attname = 'item_id'}),
	'bigint', 'text: numbers are bigint');
indexed('text', 'items', 'sid');
is(sql(q{SELECT item_id FROM items ORDER BY sid <~> semtok.neighbors('{"dim":1,"sizes":[1],"metric":"l2","data":"AAAAAA=="}'::codebook, '{1}'), item_id LIMIT 1}),
	1, 'text: answers an ordered scan');

fresh();
imports('text with CRLF', 'ids', "1 2 3\r\n2 3 4\r\n", {},
	"2 items, 2 ids of tokenizer 1 (imported, sizes {4,5})\n"
	  . "0 items share an id with others, at most 1 the same; 0 rows have none\n");

# … into a column of a table that is there, under names that need quotes; a second import is a new version
fresh(q{CREATE SCHEMA shop; CREATE TABLE shop."Goods" ("Key" int PRIMARY KEY, title text);
	INSERT INTO shop."Goods" SELECT i, 'good ' || i FROM generate_series(1, 7) i});
my %there = (table => 'shop."Goods"', key => 'Key', column => 'Sid 1', tokenizer => 'it\'s', sizes => '{256,256,256,256}');
imports('own table', 'ids', slurp_file("$samples/ids.tsv"), \%there,
	"5 items, 4 ids of tokenizer 1 (it's, sizes {256,256,256,256})\n"
	  . "2 items share an id with others, at most 2 the same; 2 rows have none\n");
is(sql(q{SELECT name, sizes, active FROM semtok.tokenizers}), "it's|{256,256,256,256}|t", 'own table: the tokenizer');
indexed('own table', 'shop."Goods"', '"Sid 1"');
imports('again', 'ids', "1 1 2 3 4\n", \%there,
	"1 items, 1 ids of tokenizer 2 (it's, sizes {256,256,256,256})\n"
	  . "0 items share an id with others, at most 1 the same; 2 rows have none\n");
indexed('again', 'shop."Goods"', '"Sid 1"');
is(sql(q{SELECT "Sid 1" FROM shop."Goods" WHERE "Key" <= 2 ORDER BY "Key"}), "[1,2,3,4]\@2\n[166,212,252,96]\@1", 'again: both versions stand side by side');
my ($ok, $out, $err) = import_text('ids', "1 1 2 3 4\n9 1 2 3 5\n", %there);
ok(!$ok && $err =~ /1 items have no row in the table, such as "9"/, 'own table: an item that it has not is an error');
is(sql('SELECT count(*) FROM semtok.tokenizers'), 2, 'own table: which loads nothing');

# LC-Rec
fresh();
imports('LC-Rec', 'lcrec', slurp_file("$samples/index.json"), {},
	"6 items, 5 ids of tokenizer 1 (lcrec, sizes {201,32,256,2})\n"
	  . "2 items share an id with others, at most 2 the same; 0 rows have none\n");
is(sql('SELECT sid FROM items WHERE item_id IN (0, 5) ORDER BY item_id'), "[12,7,255,0]\@1\n[200,1,2,0]\@1", 'LC-Rec: the codes');
indexed('LC-Rec', 'items', 'sid');

# … new items by the tokenizer that is there, one told apart by another level; and what is refused then
sql('INSERT INTO items (item_id) VALUES (6), (7)');
imports('LC-Rec, new items', 'lcrec', '{"6": ["<a_1>", "<b_2>", "<c_3>", "<d_0>"], "7": ["<a_12>", "<b_7>", "<c_255>", "<d_0>", "<e_1>"]}',
	{ id => 1 }, "2 items, 2 ids of tokenizer 1 (lcrec, sizes {201,32,256,2})\n"
	  . "0 items share an id with others, at most 1 the same; 0 rows have none\n");
is(sql('SELECT sid FROM items WHERE item_id IN (0, 6, 7) ORDER BY item_id'),
	"[12,7,255,0]\@1\n[1,2,3,0]\@1\n[12,7,255,0,1]\@1", 'LC-Rec, new items: beside the others');
is(sql('SELECT count(*) FROM semtok.tokenizers'), 1, 'LC-Rec, new items: no new tokenizer');
for my $bad ([ 'a code beyond its sizes', '<d_2>', {}, qr/expected a code below 2, not 2, at level 3/ ],
	[ 'another name', '<d_1>', { tokenizer => 'other' }, qr/tokenizer with id 1 exists already/ ])
{
	my ($what, $last, $set, $pattern) = @$bad;
	my ($done, undef, $said) = import_text('lcrec', qq({"6": ["<a_1>", "<b_2>", "<c_3>", "$last"]}), id => 1, %$set);
	ok(!$done && $said =~ $pattern, "LC-Rec, new items, $what: refused") or diag($said);
}

# A database without the extension
$database = 'bare';
$node->safe_psql('postgres', 'CREATE DATABASE bare TEMPLATE template0');
imports('LC-Rec, bare database', 'lcrec', '{"0": ["<a_1>"]}', {}, "1 items, 1 ids of tokenizer 1 (lcrec, sizes {2})\n"
	  . "0 items share an id with others, at most 1 the same; 0 rows have none\n");

# sid2pid by numbers and by tokens
fresh();
imports('sid2pid', 'sid2pid', slurp_file("$samples/sid2pid.json"), {},
	"5 items, 4 ids of tokenizer 1 (sid2pid, sizes {8192,8192,8192})\n"
	  . "2 items share an id with others, at most 2 the same; 0 rows have none\n");
is(sql('SELECT item_id, sid FROM items ORDER BY item_id'),
	"5|[8191,8191,8191]\@1\n11|[12,7,256]\@1\n12|[12,7,256]\@1\n541971|[0,0,0]\@1\n7098944|[12,7,255]\@1", 'sid2pid: the codes');
fresh();
imports('sid2pid, codes', 'sid2pid', $node->safe_psql($database, q{SELECT semset_to_json('{[12,7,255],[3,4,5]}', 'sid2pid')}), {},
	"2 items, 2 ids of tokenizer 1 (sid2pid, sizes {13,8,256})\n"
	  . "0 items share an id with others, at most 1 the same; 0 rows have none\n");
is(sql('SELECT item_id, sid FROM items ORDER BY item_id'), "0|[3,4,5]\@1\n1|[12,7,255]\@1", 'sid2pid, codes: as they were');
fresh();
imports('sid2pid, other sizes', 'sid2pid', '{"7": [1], "15": 2}', { sizes => '{2,4,2}' },
	"2 items, 2 ids of tokenizer 1 (sid2pid, sizes {2,4,2})\n"
	  . "0 items share an id with others, at most 1 the same; 0 rows have none\n");
is(sql('SELECT sid FROM items ORDER BY item_id'), "[0,3,1]\@1\n[1,3,1]\@1", 'sid2pid, other sizes: the codes');
fresh();
imports('sid2pid, tokens', 'sid2pid', slurp_file("$samples/sid2pid_tokens.json"), {},
	"4 items, 3 ids of tokenizer 1 (sid2pid, sizes {13,8,256})\n"
	  . "2 items share an id with others, at most 2 the same; 0 rows have none\n");
is(sql('SELECT item_id, sid FROM items ORDER BY item_id'), "b-1|[12,7,255]\@1\nb-2|[12,7,255]\@1\nb-3|[12,7,3]\@1\nb-4|[0,1,2]\@1", 'sid2pid, tokens: the codes');
is(sql(q{SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'items'::regclass AND attname = 'item_id'}), 'text', 'sid2pid, tokens: names are text');
indexed('sid2pid, tokens', 'items', 'sid');

# Bad files, every format
fresh($untouched);
my $many = join ' ', 0 .. 32;
refuses('text, empty', 'ids', '', qr/there are no ids in the input/);
refuses('text, blank', 'ids', "\n  \n", qr/there are no ids in the input/);
refuses('text, an item twice', 'ids', "1 1 2\n2 3 4\n1 1 2\n", qr/item "1" is there 2 times, in entries 1, 3/);
refuses('text, ragged', 'ids', "1 1 2\n2 3\n", qr/item "2": expected 2 codes as the first item has, not 1/);
refuses('text, a level more', 'ids', "1 1 2\n2 3 4 5\n", qr/item "2": expected 2 codes as the first item has, not 3\nHINT: .*-v sizes='\{256,256,…\}'/);
refuses('text, negative', 'ids', "1 1 2\n2 3 -4\n", qr/item "2": expected a code from 0 to 65535, not "-4"/);
refuses('text, too large', 'ids', "1 1 65536\n", qr/item "1": expected a code from 0 to 65535, not "65536"/);
refuses('text, words', 'ids', "item_id sid\n1 2\n", qr/item "item_id": expected a code from 0 to 65535, not "sid"/);
refuses('text, fractions', 'ids', "1 1.5 2\n", qr/not "1.5"/);
refuses('text, no codes', 'ids', "1\n2\n", qr/expected 1 to 32 codes an item, not 0/);
refuses('text, too deep', 'ids', "1 $many\n", qr/expected 1 to 32 codes an item, not 33/);
refuses('text, beyond its sizes', 'ids', "1 1 2\n2 1 4\n", qr/item "2": expected a code below 4, not 4, at level 1/, sizes => '{4,4}');
refuses('text, sizes of another depth', 'ids', "1 1 2\n", qr/item "1": expected at least 3 codes, one for each of the sizes, and at most 32, not 2/, sizes => '{4,4,4}');
refuses('text, no encoding', 'ids', "1 1 2\n\xff 1 3\n", qr/invalid byte sequence/);
refuses('text, a column of another type', 'ids', "1 1 2\n", qr/column "other" is of type integer but expression is of type semid/, table => 'mine', column => 'other');
refuses('text, an item that the table has not', 'ids', "1 1 2\n2 1 3\n", qr/1 items have no row in the table, such as "2"/, table => 'mine');
refuses('text, no name', 'ids', "1 1 2\n", qr/name/, tokenizer => '');
refuses('LC-Rec, empty', 'lcrec', '', qr/expected an object of items, not nothing/);
refuses('LC-Rec, no items', 'lcrec', '{}', qr/there are no ids in the input/);
refuses('LC-Rec, a list', 'lcrec', '[["<a_1>"]]', qr/expected an object of items, not array/);
refuses('LC-Rec, truncated', 'lcrec', '{"0": ["<a_1>", "<b_', qr/invalid input syntax for type json/);
refuses('LC-Rec, an item twice', 'lcrec', '{"0": ["<a_1>"], "0": ["<a_2>"]}', qr/item "0" is there 2 times, in entries 1, 2/);
refuses('LC-Rec, ragged', 'lcrec', '{"0": ["<a_1>", "<b_2>"], "1": ["<a_2>"]}', qr/item "1": expected 2 codes as the first item has, not 1/);
refuses('LC-Rec, negative', 'lcrec', '{"0": ["<a_1>", "<b_-2>"]}', qr/item "0": .*<b_-2>/);
refuses('LC-Rec, too large', 'lcrec', '{"0": ["<a_65536>"]}', qr/item "0": .*65536/);
refuses('LC-Rec, no token', 'lcrec', '{"0": ["a_1"]}', qr/item "0": .*a_1/);
refuses('LC-Rec, a number', 'lcrec', '{"0": [1, 2]}', qr/item "0": /);
refuses('LC-Rec, null', 'lcrec', '{"0": null}', qr/item "0": expected a list of tokens, not null/);
refuses('LC-Rec, no tokens', 'lcrec', '{"0": []}', qr/item "0": /);
refuses('LC-Rec, levels in another order', 'lcrec', '{"0": ["<b_1>", "<a_2>"]}', qr/item "0": /);
refuses('sid2pid, an item twice', 'sid2pid', '{"0": [1], "1": [2, 1]}', qr/item "1" is there 2 times/);
refuses('sid2pid, beyond the sizes', 'sid2pid', '{"549755813888": [1]}', qr/id "549755813888": /);
refuses('sid2pid, negative', 'sid2pid', '{"-1": [1]}', qr/id "-1": /);
refuses('sid2pid, no id', 'sid2pid', '{"x": [1]}', qr/id "x": /);
refuses('sid2pid, too large a code', 'sid2pid', '{"1,65536": [1]}', qr/item "1": expected a code from 0 to 65535, not "65536"/);
refuses('sid2pid, no pid', 'sid2pid', '{"0": [{"count": 1}]}', qr/id "0": expected a number, a string, or an object with pid or iid, not \{"count": 1\}/);
refuses('sid2pid, null', 'sid2pid', '{"0": [null]}', qr/id "0": expected .* not null/);
refuses('sid2pid, ragged', 'sid2pid', '{"<s_a_1><s_b_2>": [1], "<s_a_1>": [2]}', qr/item "2": expected 2 codes/);
refuses('sid2pid, truncated', 'sid2pid', '{"0": [1', qr/invalid input syntax for type json/);

# Tensors go through tensor.py into ids.sql.
my $tensor_py = "$examples/tensor.py";
sub import_tensor
{
	my ($arguments, %set) = @_;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run([ $python, $tensor_py, @$arguments ], '2>' => \$err,
		'|', [ 'psql', '-X', (map { ('-v', "$_=$set{$_}") } sort keys %set), '-f', "$examples/ids.sql",
			$node->connstr($database) ],
		'>' => \$out, '2>>' => \$err, IPC::Run::timeout(60));
	return ($ok, $out, $err);
}
# A safetensors file of these bytes.
sub safetensors
{
	my ($header, $data) = @_;
	my $file = "$scratch/" . ++$number . '.safetensors';
	open my $out, '>:raw', $file or die "$file: $!";
	print $out pack('Q<', length $header), $header, $data;
	close $out or die "$file: $!";
	return $file;
}
sub refuses_tensor
{
	my ($what, $file, $pattern, @arguments) = @_;
	my ($ok, $out, $err) = import_tensor([ $file, @arguments ]);
	ok(!$ok, "tensor, $what: refused");
	like($err, $pattern, "tensor, $what: says why");
	unlike($err, qr/Traceback/, "tensor, $what: as a sentence");
	unchanged("tensor, $what");
	return;
}
SKIP:
{
	skip 'no Python 3', 1 unless $python;
	fresh();
	my ($ok, $out, $err) = import_tensor(["$samples/grid.safetensors"], tokenizer => 'grid');
	ok($ok, 'tensor: imported') or diag($err);
	is($out, "5 items, 4 ids of tokenizer 1 (grid, sizes {256,4,8})\n"
		  . "2 items share an id with others, at most 2 the same; 0 rows have none\n", 'tensor: counted');
	is(sql('SELECT item_id, sid FROM items ORDER BY item_id'),
		"0|[0,1,0]\@1\n1|[0,2,0]\@1\n2|[255,3,7]\@1\n3|[255,3,7]\@1\n4|[9,0,1]\@1", 'tensor: the codes');
	my $i32 = '{"sids":{"dtype":"I32","shape":[2,3],"data_offsets":[0,24]},"__metadata__":{"a":"b"}}';
	my $names = "$scratch/names";
	append_to_file($names, "B001\nB002\n");
	fresh();
	($ok, $out, $err) = import_tensor([ safetensors($i32, pack 'l<6', 1 .. 6), '--items-first', '--items', $names ], tokenizer => 'grid');
	ok($ok, 'tensor, items first: imported') or diag($err);
	is(sql('SELECT item_id, sid FROM items ORDER BY item_id'), "B001|[1,2,3]\@1\nB002|[4,5,6]\@1", 'tensor, items first: the codes and names');
	fresh();
	($ok, $out, $err) = import_tensor([ safetensors($i32 =~ s/I32/U32/r, pack 'L<6', 1 .. 6), '--first', 1 ], tokenizer => 'grid');
	is(sql('SELECT item_id, sid FROM items ORDER BY item_id'), "1|[1,4]\@1\n2|[2,5]\@1\n3|[3,6]\@1", 'tensor: numbers begin where they are told to');

	fresh($untouched);
	my $good = pack 'l<6', 1 .. 6;
	refuses_tensor('negative codes', safetensors($i32, pack 'l<6', 1, 2, -3, 4, 5, 6), qr/item "2": expected a code from 0 to 65535, not "-3"/);
	refuses_tensor('truncated', safetensors($i32, substr $good, 0, 23), qr/is truncated: tensor sids ends at 24, the file's tensors at 23/);
	refuses_tensor('truncated in the header', safetensors('{"sids":', ''), qr/its header is not that of a safetensors file/);
	refuses_tensor('of another kind', "$samples/index.json", qr/is truncated, or no safetensors file/);
	refuses_tensor('that is not there', "$scratch/none", qr/none: No such file/);
	refuses_tensor('of fractions', safetensors($i32 =~ s/I32/F32/r, $good), qr/tensor sids: expected integers, not F32/);
	refuses_tensor('of one dimension', safetensors($i32 =~ s/\[2,3\]/[6]/r, $good), qr/tensor sids: expected 2 dimensions, not 1/);
	refuses_tensor('of another shape', safetensors($i32 =~ s/\[2,3\]/[3,3]/r, $good), qr/expected 36 bytes for its shape, not 24/);
	refuses_tensor('without its offsets', safetensors('{"sids":{"dtype":"I32","shape":[2,3]}}', $good), qr/its header is not/);
	refuses_tensor('of a negative shape', safetensors($i32 =~ s/\[2,3\]/[-2,-3]/r, $good), qr/expected .*levels|shape/);
	refuses_tensor('the wrong way round', safetensors('{"s":{"dtype":"U8","shape":[40,2],"data_offsets":[0,80]}}', "\1" x 80), qr/expected 1 to 32 levels, not 40: is it \[items\]\[levels\]/);
	refuses_tensor('two of them', safetensors('{"a":{"dtype":"U8","shape":[1,1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1,1],"data_offsets":[1,2]}}', "\1\1"), qr/expected one tensor, not 2: choose one of them by --tensor: a, b/);
	refuses_tensor('by a name that it has not', safetensors($i32, $good), qr/there is no tensor x, only sids/, '--tensor', 'x');
	refuses_tensor('with names that are not there', safetensors($i32, $good), qr/nobody: No such file/, '--items', "$scratch/nobody");
	refuses_tensor('with too few names', safetensors($i32, $good), qr/expected 3 lines, one for each item, not 2/, '--items', $names);
}

# Published ids, as they are and through the other formats
SKIP:
{
	my $beauty = ($ENV{SEMTOK_SHARED} || '') . '/data/beauty';
	skip 'no shared data', 1 unless -r "$beauty/items.tsv";
	fresh();
	imports('IBA', 'ids', slurp_file("$beauty/iba_sid.tsv"), { tokenizer => 'iba', sizes => '{256,256,256,256}' },
		"12101 items, 11868 ids of tokenizer 1 (iba, sizes {256,256,256,256})\n"
		  . "410 items share an id with others, at most 9 the same; 0 rows have none\n");
	indexed('IBA', 'items', 'sid');
	my @letter = map { [ (split /\t/)[ 0, 5 ] ] } grep { /^\d/ } split /\n/, slurp_file("$beauty/items.tsv");
	my $counted = "12101 items, 12088 ids of tokenizer 1 (letter, sizes {256,256,256,256})\n24 items share an id with others, at most 3 the same; 0 rows have none\n";
	fresh();
	imports('LETTER', 'ids', join("\n", map { join "\t", @$_ } @letter), { tokenizer => 'letter', sizes => '{256,256,256,256}' }, $counted);
	my $ids = sql('SELECT md5(string_agg(sid::text, $$,$$ ORDER BY item_id)) FROM items');
	fresh();
	imports('LETTER as LC-Rec', 'lcrec', '{' . join(",\n", map { my @c = split ' ', $_->[1]; qq("$_->[0]": ["<a_$c[0]>", "<b_$c[1]>", "<c_$c[2]>", "<d_$c[3]>"]) } @letter) . '}',
		{ tokenizer => 'letter', sizes => '{256,256,256,256}' }, $counted);
	is(sql('SELECT md5(string_agg(sid::text, $$,$$ ORDER BY item_id)) FROM items'), $ids, 'LETTER as LC-Rec: the same ids');
	indexed('LETTER', 'items', 'sid');
	my %items;
	push @{ $items{ do { my @c = split ' ', $_->[1]; (($c[0] * 256 + $c[1]) * 256 + $c[2]) * 256 + $c[3] } } }, $_->[0] foreach @letter;
	fresh();
	imports('LETTER as sid2pid', 'sid2pid', '{' . join(', ', map { qq("$_": [) . join(', ', map { qq({"pid": $_, "count": 1}) } @{ $items{$_} }) . ']' } sort keys %items) . '}',
		{ tokenizer => 'letter', sizes => '{256,256,256,256}' }, $counted);
	is(sql('SELECT md5(string_agg(sid::text, $$,$$ ORDER BY item_id)) FROM items'), $ids, 'LETTER as sid2pid: the same ids');
	skip 'no Python 3', 1 unless $python;
	fresh();
	my @codes = map { [ split ' ', $_->[1] ] } @letter;
	my $data = join '', map { my $l = $_; pack 'q<*', map { $_->[$l] } @codes } 0 .. 3;
	my $bytes = length $data;
	my $n = @letter;
	my ($ok, $out, $err) = import_tensor([ safetensors(qq({"ids":{"dtype":"I64","shape":[4,$n],"data_offsets":[0,$bytes]}}), $data), '--first', 1 ],
		tokenizer => 'letter', sizes => '{256,256,256,256}');
	is($out, $counted, 'LETTER as a tensor: counted');
	is(sql('SELECT md5(string_agg(sid::text, $$,$$ ORDER BY item_id)) FROM items'), $ids, 'LETTER as a tensor: the same ids');
}

done_testing();
