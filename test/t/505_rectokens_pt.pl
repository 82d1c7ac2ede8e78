# examples/import/rectokens_pt.py with stand-ins for torch, safetensors and rectokens, and what
# semtok.import_safetensors makes of its files.
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
my $python = python_with('json') or plan skip_all => 'no Python 3';
my $folder = PostgreSQL::Test::Utils::tempdir();
$ENV{PYTHONPATH} = "$top/test/python/standin";
$ENV{PYTHONDONTWRITEBYTECODE} = 1;
is(system($python, "$top/test/python/make_pt.py", $folder), 0, 'made the files to convert');

sub convert
{
	my ($name, @options) = @_;
	my ($out, $err);
	my $ok = IPC::Run::run([ $python, "$top/examples/import/rectokens_pt.py", "$folder/$name.pt", "$folder/$name.safetensors", @options ],
		'>' => \$out, '2>' => \$err, IPC::Run::timeout(60));
	return ($ok, $out, $err);
}

my ($ok, $out, $err) = convert('rqkmeans');
ok(!$ok, 'a pickled object is not read unasked');
like($err, qr/rqkmeans.pt: is a pickled object.*--trust/, 'the message names the option');
ok(!-e "$folder/rqkmeans.safetensors", 'and nothing is written');
($ok, $out, $err) = convert('rqkmeans', '--trust');
ok($ok, 'RQKMeansTokenizer') or diag($err);
is($out, "codebooks.0 [4, 2]\ncodebooks.1 [4, 2]\ncounts.0 [4]\ncounts.1 [4]\n", 'its codebooks and counts');
($ok, $out, $err) = convert('rqvae');
ok($ok, 'RQVAETokenizer') or diag($err);
is($out, "codebooks.0 [4, 2]\ncodebooks.1 [4, 2]\nencoder.net.0.weight [2, 3]\nencoder.net.0.bias [2]\ndecoder.net.0.weight [3, 2]\ndecoder.net.0.bias [3]\n",
	'its codebooks, encoder and decoder');
($ok, $out, $err) = convert('unfitted', '--trust');
like($err, qr/has not been fitted/, 'a tokenizer without codewords is refused');
($ok, $out, $err) = convert('other');
like($err, qr/expected an RQKMeansTokenizer or an RQVAETokenizer, not dict/, 'another file too');
($ok, $out, $err) = convert('none');
like($err, qr/none.pt/, 'and one that is not there');
append_to_file("$folder/broken.pt", substr slurp_file("$folder/rqkmeans.pt"), 0, 60);
($ok, $out, $err) = convert('broken', '--trust');
ok(!$ok && $err =~ /broken.pt: cannot be read/, 'and a truncated one') or diag($err);
unlike($err, qr/Traceback/, 'as a sentence');
append_to_file("$folder/empty.pt", '');
($ok, $out, $err) = convert('empty');
ok(!$ok && $err =~ /empty.pt: cannot be read/, 'and an empty one, unasked') or diag($err);
unlike($err, qr/Traceback/, 'as a sentence');

my $node = PostgreSQL::Test::Cluster->new('rectokens');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION semtok');
# With the networks a third number comes and goes; without them the codewords are left.
foreach my $case ([ 'rqkmeans', 'rqkmeans', 'null', 2, '', '' ], [ 'rqvae', 'rqvae', 'null', 3, ', 7', ',0.5' ],
	[ 'alone', 'rqvae', q('{"encoder": null}'), 2, '', '' ])
{
	my ($name, $file, $config, $dim, $third, $decoded) = @$case;
	is($node->safe_psql('postgres', qq{
			\\set file `base64 -w 0 '$folder/$file.safetensors'`
			SELECT semtok.import_safetensors('$name', decode(:'file', 'base64'), $config) > 0;
			SELECT metric, dim, sizes FROM semtok.tokenizers WHERE name = '$name';
			SELECT semid_codes(semtok.encode('$name', '{10.2, 0.9$third}')), semtok.decode('$name', '[3,3]')}),
		"t\nl2|$dim|{4,4}\n{1,2}|{11,11$decoded}", "$name is imported, encodes and decodes");
}
# Five rows are behind the first codeword, so a sixth moves it by a sixth of the way.
is($node->safe_psql('postgres', q{
		SELECT semtok.partial_fit('rqkmeans', 'SELECT ''{3,0}''::real[]') > 0;
		SELECT codebook_vector(codebook, 0, 0) FROM semtok.tokenizer WHERE name = 'rqkmeans' AND version = 2}),
	"t\n{0.5,0}", 'partial_fit continues by the counts');
my ($rc, $stdout, $stderr) = $node->psql('postgres', q{SELECT semtok.partial_fit('rqvae', 'SELECT ''{3,0}''::real[]')});
isnt($rc, 0, 'what has no counts is not continued');
done_testing();
