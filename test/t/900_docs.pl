# The documentation says what is so: its SQL runs, what is shown below it is what it prints, and the
# reference names all of the extension and nothing that is not there. SEMTOK_DOCS=FOLDER writes the files
# there with what was printed in the place of what is shown.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = abs_path(dirname(__FILE__) . '/../..');
my $readme = slurp_file("$top/README.md");
my $reference = slurp_file("$top/docs/reference.md");

# The fenced blocks of a Markdown text: [language, text], in their order.
sub blocks
{
	my $text = shift;
	my @blocks;
	push @blocks, [ $1, $2 ] while $text =~ /^```(\w*)\n(.*?)^```$/msg;
	return @blocks;
}

my $node = PostgreSQL::Test::Cluster->new('docs');
$node->init;
$node->start;

# The first block of the README is the example, the second what it prints.
my ($example, $shown) = map { $_->[1] } (grep { $_->[0] =~ /^(sql|text)$/ } blocks($readme))[ 0, 1 ];
$node->safe_psql('postgres', 'CREATE DATABASE example');
my ($status, $out, $err) = $node->psql('example', $example, on_error_stop => 1);
is($status, 0, "the README's example runs") or diag($err);
is($out, $shown =~ s/\s+\z//r, 'and prints what the README shows');
cmp_ok(scalar(grep { /\S/ } split /\n/, $example), '<=', 24, 'and is short');

# Every block of SQL or, in docs/, of shell commands runs after those before it in the same file, in a
# database of its own, where the README's example comes first if the file goes on from it. What is shown
# below a block is what psql or the shell printed; where that is an error, the block ends with it.
my %goes_on = map { $_ => 1 } qw(decoding reference);
my $work = PostgreSQL::Test::Utils::tempdir();
my ($stdin, $merged) = ("$work/stdin", "$work/merged");
symlink "$top/examples", "$work/examples" or die $!;

sub run_block
{
	my ($language, $text, $database) = @_;
	local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => $database);
	open(my $file, '>', $stdin) or die $!;
	print $file $text;
	close $file;
	my @command =
	  $language eq 'sql'
	  ? ('psql', '-Xq', '-v', 'ON_ERROR_STOP=1')
	  : ('bash', '-euo', 'pipefail', '-c', 'cd "$0" && eval "$(cat)"', $work);
	IPC::Run::run(\@command, '<', $stdin, '>&', $merged);
	return ($? >> 8, slurp_file($merged));
}

# Lines whose end alone differs are the same: an editor may take blanks away.
sub same_lines
{
	my $text = shift;
	return $text =~ s/[ \t]+$//mgr =~ s/\s+\z//r;
}

# Write a file with what its blocks printed: [text, printed].
sub write_printed
{
	my ($file, $name, @printed) = @_;
	my $content = slurp_file($file);
	foreach (@printed)
	{
		my ($text, $shown) = @$_;
		$content =~ s/(^```\w+\n\Q$text\E```\n.*?^```text\n).*?^```$/$1$shown\n```/ms;
	}
	open(my $out, '>', "$ENV{SEMTOK_DOCS}/$name") or die "$ENV{SEMTOK_DOCS}/$name: $!";
	print $out $content;
	close $out;
}

foreach my $file ("$top/README.md", "$top/CONTRIBUTING.md", glob("$top/docs/*.md"))
{
	my ($name, $database) = $file =~ m{(([^/]+)\.md)$};
	my @blocks = grep { $_->[0] =~ /^(sql|sh|text)$/ } blocks(slurp_file($file));
	@blocks = grep { $_->[0] ne 'sh' } @blocks unless $file =~ m{/docs/};
	my $block = 0;
	my @printed;
	$database = lc $database;
	$node->safe_psql('postgres', "CREATE DATABASE \"$database\"");
	$node->safe_psql($database, $example) if $goes_on{$database};
	while (my $next = shift @blocks)
	{
		my ($language, $text) = @$next;
		next if $language eq 'text'; # no command is above it
		my $expected = @blocks && $blocks[0][0] eq 'text' ? (shift @blocks)->[1] : undef;
		$expected = undef if $text eq $example; # compared above, as it is printed there
		my $what = "$name: $language block " . ++$block;
		my ($code, $printed) = run_block($language, $text, $database);
		my $refused = defined $expected && $expected =~ /^ERROR:/m;
		ok($refused ? $code != 0 : $code == 0, $refused ? "$what is refused" : "$what runs")
		  or diag("$text\n$printed");
		next unless defined $expected;
		is(same_lines($printed), same_lines($expected), "$what prints what is shown");
		push @printed, [ $text, same_lines($printed) ];
	}
	write_printed($file, $name, @printed) if $ENV{SEMTOK_DOCS};
}

# What the extension consists of; its settings are known once it is loaded.
my $names = $node->safe_psql('example', q{
	LOAD 'semtok';
	WITH member AS (
		SELECT classid, objid FROM pg_depend
		WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
		AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'semtok'))
	SELECT DISTINCT CASE nspname WHEN 'semtok' THEN 'semtok.' ELSE '' END || proname
	FROM member JOIN pg_proc p ON classid = 'pg_proc'::regclass AND objid = p.oid
	     JOIN pg_namespace n ON n.oid = pronamespace
	WHERE prorettype NOT IN ('cstring'::regtype, 'index_am_handler'::regtype)
	AND NOT 'internal'::regtype = ANY (proargtypes) AND NOT 'cstring'::regtype = ANY (proargtypes)
	AND NOT 'cstring[]'::regtype = ANY (proargtypes)
	-- What is reached by an operator, an operator class, a cast or an aggregate has no use by name.
	AND NOT EXISTS (SELECT FROM pg_operator WHERE oprcode = p.oid)
	AND NOT EXISTS (SELECT FROM pg_amproc WHERE amproc = p.oid)
	AND NOT EXISTS (SELECT FROM pg_cast WHERE castfunc = p.oid)
	AND NOT EXISTS (SELECT FROM pg_type WHERE typsend = p.oid OR typreceive = p.oid)
	AND NOT EXISTS (SELECT FROM pg_aggregate WHERE p.oid IN (aggtransfn, aggfinalfn, aggcombinefn,
	                aggserialfn, aggdeserialfn))
	UNION
	SELECT 'semtok.' || relname
	FROM member JOIN pg_class c ON classid = 'pg_class'::regclass AND objid = c.oid
	WHERE relkind IN ('r', 'v')
	UNION
	SELECT typname FROM member JOIN pg_type t ON classid = 'pg_type'::regclass AND objid = t.oid
	WHERE typtype = 'b' AND typcategory <> 'A'
	UNION
	SELECT oprname FROM member JOIN pg_operator o ON classid = 'pg_operator'::regclass AND objid = o.oid
	UNION
	SELECT amname FROM member JOIN pg_am a ON classid = 'pg_am'::regclass AND objid = a.oid
	UNION
	SELECT name FROM pg_settings WHERE name LIKE 'semtok.%'});
cmp_ok(scalar(my @names = split /\n/, $names), '>', 30, 'the extension has its objects');
foreach my $name (@names)
{
	my $escaped = $name =~ s/\|/\\|/gr;
	ok(index($reference, $escaped) >= 0, "the reference names $name");
}

# And back: what the documentation calls semtok.something exists.
my %known = map { $_ => 1 } @names,
  split /\n/, $node->safe_psql('example', q{
	SELECT 'semtok.' || proname FROM pg_proc WHERE pronamespace = 'semtok'::regnamespace
	UNION SELECT 'semtok.' || relname FROM pg_class WHERE relnamespace = 'semtok'::regnamespace});
my %mentioned = map { $_ => 1 } map { slurp_file($_) =~ /(?<![\w.])(semtok\.[a-z_]+)/g }
  "$top/README.md", "$top/docs/reference.md", "$top/docs/decoding.md";
foreach my $name (sort keys %mentioned)
{
	ok($known{$name} || $name =~ /^semtok\.(control|so|c)$/, "what is called $name exists");
}

# The README's figures are those of the benchmark's kept results.
my $ordered = slurp_file("$top/bench/results/ordered.txt");
my %row = map { /^ *(\w+) +\| +([\d.]+) +\| +([^|]+?) +\| +([\d.]+)/ ? ($1 => [ $2, $3, $4 ]) : () }
  split /\n/, $ordered;
my $figures = sprintf(
	'median %.2f ms, 99th percentile %.2f ms by the index; %.0f ms by the sequential plan. '
	  . 'The index takes %d MB and is built in %.1f s (a btree: %s, %.1f s)',
	@{ $row{index} }[ 1, 2 ], $row{sequential}[1],
	$row{item_semtrie}[1] =~ /^(\d+) kB/ ? $1 / 1024 + 0.5 : $row{item_semtrie}[1] =~ /^(\d+) MB/,
	$row{item_semtrie}[0] / 1000, $row{item_btree}[1], $row{item_btree}[0] / 1000);
ok(index($readme =~ s/\s+/ /gr, $figures) >= 0, "the README has the benchmark's figures: $figures");

# So are its times beside rivals', theirs first.
my @beside = (
	[ 'nearest', qr/^normal, .*?^FAISS IndexFlatL2 +([\d.]+)/ms, qr/^normal, .*?^bf16 filter, AVX-512 +([\d.]+)/ms ],
	[ 'kmeans', qr/^FAISS Kmeans, the same start +([\d.]+)/m, qr/^ours, the same start.*?\) +([\d.]+)/m ],
	[ 'mnist', qr/^scikit-learn KMeans, lloyd +([\d.]+)/m, qr/^ours, the same start.*?\) +([\d.]+)/m ],
	[ 'residual', qr/^FAISS Kmeans, k-means\+\+ +([\d.]+)/m, qr/^ours, k-means\+\+ +([\d.]+)/m ],
	[ 'beam', qr/^ +5  FAISS ResidualQuantizer +([\d.]+)/m, qr/^ +5  ours +([\d.]+)/m ]);
foreach (@beside)
{
	my ($name, @found) = @$_;
	my $result = slurp_file("$top/bench/results/$name.txt");
	my $cells = join ' | ', map { $result =~ $_ ? sprintf('%.0f ms', $1) : 'nothing found' } @found;
	like($readme, qr{\| \Q$cells\E \| \[\Q$name\E\]\(bench/results/\Q$name\E\.txt\)},
		"the README has the times of $name: $cells");
}
my $refine = slurp_file("$top/bench/results/refine.txt");
my @theirs = $refine =~ /^FAISS RQ Train_refine_codebook +5 +([\d.]+) +[\d.]+ +([\d.]+)/m;
my @ours = $refine =~ /^ours, k-means\|\|, 5 \+ 3 rounds +5 +([\d.]+) +[\d.]+ +([\d.]+)/m;
my $refined = "error $theirs[1] | $theirs[0] s | $ours[0] s, error $ours[1] |";
ok(index($readme, $refined) >= 0, "the README has what refinement gives: $refined");
my ($cost) = slurp_file("$top/bench/results/encode.txt") =~ /encode at most 10 us a row: ([\d.]+)/;
like($readme, qr/\Q@{[ sprintf '%.1f', $cost ]}\E µs a row/, 'and what encode costs');
my %built = slurp_file("$top/bench/results/semid.txt") =~ /^ (semid|bigint) +\| +(\d+) \|/mg;
my $built = sprintf 'is built in %.2f s, one on as many random bigints in %.2f s', map { $_ / 1000 } @built{qw(semid bigint)};
ok(index($readme =~ s/\s+/ /gr, $built) >= 0, "and that a btree on semids $built");

# What is kept belongs to a benchmark, and says where it is from.
foreach my $file (glob("$top/bench/results/*.txt"))
{
	my ($name) = $file =~ m{([^/]+)\.txt$};
	my $path = $name =~ s/^(worker|gpu|decode|quality)-/$1\//r;
	my $result = slurp_file($file);
	my @programs = $name =~ /^cuda_/ ? (split /\n/, $result)[0] =~ m{\b((?:test/cuda|bench/gpu)/\w+)}g : ();
	ok((grep { -e "$top/$_" } "bench/core/$name.c", "bench/$path.c", "bench/$path.sh", "test/$name", map { ($_, "$_.c") } @programs),
		"there is a benchmark $name");
	like($result, qr/^CPU .*^compiler .*^commit .*^date /ms, "$name says where it was run");
}

# Every training option is described.
($status, $out, $err) = $node->psql('example', q{
	SELECT semtok.train('x', 'SELECT 1', options => '{"": 1}');
	SELECT semtok.train('x', 'SELECT 1', method => 'ema', options => '{"": 1}');
	SELECT semtok.train('x', 'SELECT 1', method => 'rqvae', options => '{"": 1}');}, on_error_stop => 0);
my @lists = $err =~ /^HINT:  Options of [^:]*: (.*)\.$/mg;
is(scalar(@lists), 3, 'training names its options');
foreach my $list (@lists)
{
	foreach my $option (split /, /, $list)
	{
		like($reference, qr/^\| (?:`\w+`[^|`]*)*?`$option`/m, "the reference describes option $option");
	}
}

# Files that the documentation names are there.
foreach my $file ('README.md', 'CONTRIBUTING.md', map { s/^\Q$top\E\///r } glob("$top/docs/*.md"))
{
	my %files = map { $_ => 1 } slurp_file("$top/$file") =~
	  /(?<![\w.\/])(?<!make )((?:src|sql|test|demo|bench|scripts|expected|docs|examples)\/[\w.\/-]*\w)/g;
	foreach my $name (grep { !/\bname\./ } sort keys %files)
	{
		ok(-e "$top/$name", "$file: $name exists");
	}
}

done_testing();
