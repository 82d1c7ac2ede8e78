# Every function, operator, aggregate, cast and type of the extension is called with values nobody
# would think of, thousands of times, chosen by chance: it answers or raises an error that somebody
# foresaw. SEMTOK_HOSTILE_SEED repeats a run, SEMTOK_HOSTILE_SECONDS makes it longer.
use strict;
use warnings;
use Cwd qw(abs_path);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $seed = $ENV{SEMTOK_HOSTILE_SEED} // 20;
my $seconds = $ENV{SEMTOK_HOSTILE_SECONDS} // 8;
note("seed $seed, $seconds seconds");
srand($seed);

my $node = PostgreSQL::Test::Cluster->new('hostile');
$node->init;
$node->append_conf('postgresql.conf', "autovacuum = off\nfsync = off\nlog_min_messages = warning\n"
	  . "log_min_error_statement = panic\nlog_error_verbosity = verbose\nwork_mem = 1MB\nlog_statement = none\nstatement_timeout = 300ms\n");
$node->start;
$node->safe_psql('postgres', q{
	SET client_min_messages = error;
	SET statement_timeout = 0;
	CREATE EXTENSION semtok;
	CREATE TABLE h_items (id int, embedding real[], sid semid, note text);
	INSERT INTO h_items SELECT i, array[i % 10, i % 7, i % 3]::real[], semid(array[i % 4, i % 3]), 'n' || i FROM generate_series(1, 300) i;
	UPDATE h_items SET embedding = NULL, sid = NULL WHERE id % 50 = 0;
	CREATE TABLE h_plain AS SELECT * FROM h_items;
	CREATE INDEX h_items_sid ON h_items USING semtrie (sid);
	CREATE TABLE h_parts (id int, sid semid) PARTITION BY RANGE (id);
	CREATE TABLE h_part PARTITION OF h_parts DEFAULT;
	CREATE INDEX ON h_parts USING semtrie (sid);
	INSERT INTO h_parts SELECT id, sid FROM h_items;
	SELECT semtok.train('h_points', 'SELECT embedding FROM h_items', levels => 2, codes => 4, epochs => 2);
	CREATE TABLE h_values AS SELECT codebook AS book, 'whole' AS name FROM semtok.tokenizer;
	CREATE FUNCTION h_scorer(context jsonb, prefixes semid[], level int) RETURNS real[] LANGUAGE sql AS $$
		SELECT array_fill(0.5::real, array[cardinality(prefixes), 4]) $$;
	CREATE FUNCTION h_liar(context jsonb, prefixes semid[], level int) RETURNS real[] LANGUAGE sql AS $$
		SELECT (array['{}', '{NaN}', '{1,NULL}', '{{{1}}}', NULL, '{1,2,3,4}'])[(cardinality(prefixes) + level) % 6 + 1]::real[] $$;
	CREATE FUNCTION h_declared(context jsonb, prefixes semid[], level int) RETURNS real[] LANGUAGE sql
		SET semtok.scorer_tokenizer = 1 AS $$ SELECT h_scorer(context, prefixes, level) $$;
	-- random calls may drop the tokenizer itself
	CREATE TABLE h_received (semid semid, shaped semid(2, 4), semset semset, semquery semquery, codebook codebook);
});

# What each type is tried with. Not in it: what a call of minutes could come of.
my $book = '(SELECT book FROM h_values LIMIT 1)';
my @names = map { "'$_'" } qw(h_points h_items nobody full none masked keep append l2 cosine ip rqkmeans ema rqvae cpu auto static rectokens
  index.json sid2pid embedding sid kmeans++ random gumbel items ids);
my @numbers = qw(0 1 2 3 7 -1 255 256 65535 65536 1000000 2147483647 -2147483648);
my @texts = (@names, "''", "'[1,2]'", "'{}'", "'x y'", "E'\\x01'", "repeat('x', 100000)", "'SELECT embedding FROM h_items'",
	"'SELECT sid FROM h_items'", "'SELECT note, embedding FROM h_items'", "'SELECT ROW(id), sid FROM h_items'", "'SELECT 1, 2'", "'SELECT'", "'VALUES (array[1,2,3]::real[]), (NULL)'", "'SELECT 1/0'",
	"'DELETE FROM h_plain'", "'DELETE FROM h_plain RETURNING embedding'", "'id > 0'", "'1/0 = 1'", "'<item_L0_C12><item_L1_C7>'", "'<a_1><b_2>'", "'<s_a_1>'", "'<item_L0_C65536>'",
	"'%s %n'", "'NaN'");
my %pool = (
	integer => \@numbers,
	smallint => [qw(0 -1 32767 -32768)],
	bigint => [ @numbers, qw(9223372036854775807 -9223372036854775808) ],
	oid => [qw(0 1 4294967295)],
	'double precision' => [qw('NaN' 'Infinity' '-Infinity' 0 -0.0 1 0.5 -1 1e308 5e-324)],
	real => [qw('NaN' 'Infinity' 0 1 3e38 1e-45)],
	numeric => [qw('NaN' 'Infinity' '-Infinity' 0 -1 0.5 45 1e40 1e400 -1e400), "repeat('9', 1000)"],
	boolean => [qw(true false)],
	text => \@texts,
	name => \@texts,
	cstring => \@texts,
	tid => [ "'(0,0)'", "'(0,1)'", "'(4294967295,65535)'" ],
	'integer[]' => [ "'{}'", "'{1}'", "'{2,2}'", "'{4,4}'", "'{4,4,4}'", "'{256,256,256}'", "'{0}'", "'{-1,1}'", "'{NULL}'", "'{{1,2},{3,4}}'",
		"'{65535}'", "'{65536,65536,65536}'", "'{2147483647,2147483647}'", 'array_fill(1, array[32])', 'array_fill(65536, array[32])', 'array_fill(1, array[33])', "'[5:6]={1,2}'" ],
	'real[]' => [ "'{}'", "'{1,2,3}'", "'{0,0,0}'", "'{NaN,1,2}'", "'{1,-Infinity,2}'", "'{NULL,1,2}'", "'{{1,2},{3,4}}'", "'{{{1}}}'", "'{3.4e38,-3.4e38,3.4e38}'",
		"'{1e-45,1e-45,1e-45}'", 'array_fill(0.5::real, array[16001])', "'[0:2]={1,2,3}'", 'array_fill(0::real, array[3,256])', 'array_fill(1::real, array[4])' ],
	'text[]' => [ "'{}'", "'{NULL}'", "'{a,b}'" ],
	'double precision[]' => [ "'{}'", "'{NULL}'", "'{0}'", "'{0,1}'", "'{NaN}'", "'{{0},{1}}'", 'array_fill(-1::float8, array[3000])' ],
	'cstring[]' => [ "'{}'", "'{2,4}'", "'{x}'", "'{-1,0}'", "'{NULL,1}'", "'{99999999999,1}'", "'{{1,2}}'" ],
	semcode => [qw(0 1 65535 65536 -1)],
	semid => [ "'[0]'", "'[1,2]'", "'[1,2,3]'", q('[1,2]@1'), q('[65535]@2147483647'), 'array_fill(65535, array[32])::semid', "'[0,0,0,0]'" ],
	'semid[]' => [ "'{}'", "'{NULL}'", "'{NULL,[1]}'", q('{"[1]","[1,2]"}'), q('{{"[1]@1"},{"[2]"}}'), 'array(SELECT sid FROM h_items)', 'array(SELECT semid(array[i, i % 7, i % 300]) FROM generate_series(1, 3000) i)' ],
	semset => [ "'{}'", "'{[0]}'", q('{[1],[1,2],[1,2,3]@1}'), q('{[65535,65535]@2147483647}'), '(SELECT semset_agg(sid) FROM h_items)', 'semset(array[array_fill(65535, array[32])::semid])' ],
	semquery => [ "semtok.logits('{{1,2,3,4},{4,3,2,1}}')", "semtok.logits('{{1,2},{3,4}}', tokenizer => 1)", "semtok.logits('{{1,2},{3,4}}', norm => 'masked')", "semtok.logits('{1,2}', '{2}', 0, 'masked', '{[0],[1,2]}')",
		"semtok.logits('{1,2}', '{2}', 0, 'none', '{}')", 'semtok.logits(array_fill(1::real, array[32,2]))', "semtok.logits('{3e38,-3e38}', '{2}', norm => 'none')", "semtok.neighbors($book, '{1,2,3}')", 'semtok.logits(array_fill(0::real, array[1,65536]))' ],
	'semquery[]' => [ "'{}'", "array[semtok.logits('{{1,2,3,4},{4,3,2,1}}'), NULL]", "array[semtok.logits('{{1,2},{3,4}}', norm => 'masked'), semtok.neighbors($book, '{1,2,3}')]", "array_fill(semtok.logits('{{1,2},{3,4}}', norm => 'masked'), '{300}')" ],
	codebook => [ $book, "codebook_agg(0, 0, '{0}')", "codebook_agg(0, 0, '{3e38,3e38,3e38}')", "codebook_agg(0, 0, '{1,1,1}', 'cosine')", "codebook_agg(0, 0, array_fill(1::real, array[16000]))",
		q('{"dim":1,"sizes":[1],"metric":"cosine","data":"AACAPw==","inputs":1,"activation":"gelu","standardized":0,"encoder":[1],"decoder":[1],"network":"AACAPwAAgD8AAIA/AACAPw=="}') ],
	bytea => [ "'\\x'", "'\\x00'", "'\\x504b0304'", "decode(repeat('00', 1000), 'hex')", "decode(repeat('ff', 9), 'hex')", "codebook_to_safetensors($book)", "substr(codebook_to_safetensors($book), 1, 100)", "codebook_to_safetensors($book) || '\\x00'" ],
	json => [ "'{}'", "'[]'", 'to_json(1)', "$book\::json", "'{\"dim\":1}'" ],
	jsonb => [ "'{}'", "'[]'", "'1'", "'null'", "'\"x\"'", "'{\"refine\": 1}'", "'{\"beam\": 2}'", "'{\"beam\": -1e300}'", "'{\"decay\": \"x\"}'", "'{\"balance\": 1.5, \"empty\": \"split\"}'", "'{\"unheard\": {}}'", "'{\"1\": 2}'", "'{\"1\": 1, \"2\": 1e18}'", "'{\"eval_source\": \"SELECT 1\", \"eval_every\": 1}'",
		"'{\"preset\": \"rectokens\", \"encoder\": [2], \"latent\": 1}'", "'{\"encoder\": [], \"resume\": true, \"checkpoint_every\": 1}'", "'{\"encoder\": [0]}'" ],
	regclass => [ map { "'$_'" } qw(h_items h_items_sid h_plain h_parts h_part pg_class pg_type_oid_index semtok.tokenizers semtok.tokenizer semtok.tokenizer_id_seq 0 4294967295) ],
	regprocedure => [ "'now()'", "'0'", map { "'$_(jsonb,semid[],int)'" } qw(h_scorer h_liar h_declared) ],
	'"any"' => [ "''::text", '1', 'NULL::bytea', "'\\x0300000000000000'::bytea", "'{1,2,3}'::real[]", "'[1,2]'::semid", "ROW(1, 'x')", "'{}'::semset", "'x'" ],
);
# Values that functions of the extension make, where it has them.
foreach ([ 'bytea', 'semset_to_npz', q{semset_to_npz('{[1,2,1],[3,1,2],[3,1,3]}', 4, 2, 'rectokens')} ])
{
	my ($type, $function, $value) = @$_;
	push @{ $pool{$type} }, $value, "substr($value, 1, 200)"
	  if $node->safe_psql('postgres', "SELECT to_regproc('$function') IS NOT NULL") eq 't';
}

sub pick { return $_[ int rand @_ ] }

sub value
{
	my $type = shift;
	die "no values of type $type: add some to this test" unless $pool{$type};
	return pick(@{ $pool{$type} }) if $type eq '"any"';
	return rand() < 0.06 ? "NULL::$type" : '(' . pick(@{ $pool{$type} }) . ')' . ($type eq 'cstring' ? '::cstring' : "::$type");
}

# What the extension can be called by: [kind, name, how many arguments have defaults, argument types].
my @callable = map { my ($kind, $name, $defaults, $types) = split /\t/; [ $kind, $name, $defaults, [ split /,/, $types ] ] } split /\n/, $node->safe_psql('postgres', q{
	WITH member AS (SELECT classid, objid FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
		AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'semtok'))
	SELECT concat_ws(E'\t', prokind, p.oid::regproc, pronargdefaults,
	                 (SELECT string_agg(format_type(t, NULL), ',' ORDER BY n) FROM unnest(proargtypes) WITH ORDINALITY u(t, n)))
	FROM member JOIN pg_proc p ON classid = 'pg_proc'::regclass AND objid = p.oid
	WHERE NOT 'internal'::regtype = ANY (proargtypes) AND prorettype <> 'trigger'::regtype AND pronargs > 0
	UNION ALL
	SELECT concat_ws(E'\t', 'o', oprname, 0, format_type(oprleft, NULL) || ',' || format_type(oprright, NULL))
	FROM member JOIN pg_operator o ON classid = 'pg_operator'::regclass AND objid = o.oid
	UNION ALL
	SELECT concat_ws(E'\t', 'c', format_type(casttarget, NULL), 0, format_type(castsource, NULL))
	FROM member JOIN pg_cast c ON classid = 'pg_cast'::regclass AND objid = c.oid
	ORDER BY 1});
cmp_ok(scalar(@callable), '>', 80, 'there is much to call');

sub call
{
	my ($kind, $name, $defaults, $types) = @{ shift() };
	my $given = @$types - int rand($defaults + 1);
	my $arguments = sub { join ', ', map { value($_) } @$types[ 0 .. $given - 1 ] };
	return "SELECT $name(" . $arguments->() . ')' if $kind eq 'f';
	return "CALL $name(" . $arguments->() . ')' if $kind eq 'p';
	return 'SELECT ' . value($types->[0]) . " $name " . value($types->[1]) if $kind eq 'o';
	return 'SELECT ' . value($types->[0]) . "::$name" if $kind eq 'c';
	my @columns = map { "c$_" } 1 .. @$types;
	return "SELECT $name(" . join(', ', @columns) . ') FROM (VALUES '
	  . join(', ', map { '(' . $arguments->() . ')' } 0 .. rand 4) . ') AS v(' . join(', ', @columns) . ')';
}

# Calls that no function is: literals, shapes, bytes, the index.
my @types = qw(semid semset semquery codebook);
my @others = (
	sub { 'SELECT ' . pick(@texts) . '::' . pick(@types) },
	sub { 'SELECT ' . value('semid') . '::semid(' . pick(@numbers) . ', ' . pick(@numbers) . ')' },
	sub { 'INSERT INTO h_items (sid) VALUES (' . value('semid') . ')' },
	sub { 'SELECT count(*) FROM h_items WHERE sid ' . pick('=', '^@', '<', '<=', '>', '>=', '<>') . ' ' . value('semid') },
	sub { 'SELECT count(*) FROM h_items WHERE sid <@ ' . value('semset') },
	sub { 'SELECT id FROM ' . pick('h_items', 'h_parts') . ' ORDER BY sid <~> ' . value('semquery') . ' LIMIT 5' },
	sub { 'SET semtok.beam_width = ' . pick(@numbers) },
	sub { 'SET semtok.codebook_cache = ' . pick(@numbers) },
	sub { 'SET enable_seqscan = ' . pick('on', 'off') },
	sub { 'SET min_parallel_table_scan_size = 0' }, sub { 'SET parallel_setup_cost = 0' },
	sub { 'VACUUM h_items' }, sub { 'ANALYZE h_items' },
	sub { "UPDATE h_items SET embedding = " . value('real[]') . ' WHERE id = ' . int rand 300 },
	sub {
		# the binary form of a valid value, a byte or the end of it changed, comes in by COPY
		my $type = pick(@types);
		my $column = $type eq 'semid' ? pick('semid', 'shaped') : $type;
		my $file = abs_path($node->basedir) . '/received'; # relative from 18 on
		my $bytes = "${type}_send(" . value($type) . ')';
		$bytes = pick($bytes, value('bytea'), "substr($bytes, 1, " . int(rand 60) . ')', "$bytes || '\\x00'::bytea",
			"set_byte($bytes, " . int(rand 40) . ', ' . int(rand 256) . ')', "set_bit($bytes, " . int(rand 300) . ', ' . int(rand 2) . ')');
		return "COPY (SELECT $bytes) TO '$file' (FORMAT binary);\nCOPY h_received ($column) FROM '$file' (FORMAT binary)";
	});
push @others, sub {
	'CREATE OR REPLACE TRIGGER h_trigger BEFORE INSERT OR UPDATE ON h_plain FOR EACH ROW EXECUTE FUNCTION semtok.tokenize_trigger('
	  . join(', ', map { pick("'embedding'", "'sid'", "'h_points'", pick(@names)) } 1 .. pick(0 .. 5)) . ");\n"
	  . 'INSERT INTO h_plain (id, embedding, sid) VALUES (1, ' . value('real[]') . ', ' . value('semid') . ');'
	  . 'UPDATE h_plain SET embedding = ' . value('real[]') . ' WHERE id < 3' }
  if $node->safe_psql('postgres', q{SELECT to_regproc('semtok.tokenize_trigger') IS NOT NULL}) eq 't';

my (%states, $calls, @unforeseen);
my $until = time + $seconds;
my $round = 0;
my $lived = 1;
while ($lived && ($round == 0 || time < $until))
{
	# The first round calls everything, the others what chance takes.
	my @statements = map { call($_) } $round++ == 0 ? @callable : map { pick(@callable) } 1 .. 300;
	push @statements, map { pick(@others)->() } 1 .. 60;
	my ($out, $err) = ('', '');
	my $script = "\\set VERBOSITY verbose\n\\o /dev/null\n" . join(";\n", @statements) . ';';
	my $status = $node->psql('postgres', $script,
		stdout => \$out, stderr => \$err, on_error_stop => 0, on_error_die => 0);
	$calls += @statements;
	my @lines = split /\n/, $script;
	while ($err =~ /^psql:<stdin>:(\d+): \w+:  (\w{5}): (.*)$/mg)
	{
		my ($line, $state, $said) = ($1, $2, $3);
		$states{$state}++;
		push @unforeseen, substr("$state: $said: $lines[$line - 1]", 0, 600) if $state =~ /^(XX000|57P0|58)/;
	}
	$lived = 0 if $status != 0 || $err =~ /server closed the connection|terminating connection/;
	diag(substr($err, -2000)) unless $lived;
}
note("$calls calls; " . join ', ', map { "$_: $states{$_}" } sort keys %states);
ok($lived, 'the server lives');
is(join("\n", @unforeseen), '', 'every error was foreseen');
cmp_ok($calls, '>', @callable, 'everything was called');
is($node->safe_psql('postgres', 'SET statement_timeout = 0; SET enable_seqscan = off; SELECT semtok.index_check(\'h_items_sid\', true)'), '', 'the index is sound');
$node->stop;
my @broken = grep { /write past chunk end|leak: |PANIC:|TRAP:|XX000/ } split /\n/, slurp_file($node->logfile);
is(join("\n", @broken), '', 'and the log is clean');
done_testing();
