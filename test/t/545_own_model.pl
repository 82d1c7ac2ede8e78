# Models of the user's own: examples/scorers.sql prints what it should, examples/python/serve_model.py
# runs a model outside, on random weights always and on a trained model where shared/ has one.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use FindBin;
use lib "$FindBin::Bin/../lib";
use PythonTest qw(python_with python_test);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = abs_path(dirname(__FILE__) . '/../..');
my $node = PostgreSQL::Test::Cluster->new('own_model');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION semtok');

# Twice: it makes its schema anew.
$node->psql('postgres', undef, extra_params => [ '-f', "$top/examples/scorers.sql" ], stdout => \my $first, stderr => \my $errors);
$node->psql('postgres', undef, extra_params => [ '-f', "$top/examples/scorers.sql" ], stdout => \my $out);
is($errors, '', 'scorers.sql runs');
is($out, $first, 'and runs again');
my $python_scorer = $out =~ s/^(2\. In PL\/Python.*?\n)(.*?)(?=^3\.)/$1/ms ? $2 : '';
is($out, <<'END' =~ s/\n\z//r, 'and prints what it should');
1. In SQL: what is like the item in the context. A code counts the more, the nearer it is to that
   item's, as long as the prefix is that item's too.
1|inner tube|-1.491
2|bike lamp|-2.491
3|bike pump|-2.491
4|road bike|-2.633
2. In PL/Python, where a model of any library can be called: it would be loaded once a session.
3. An n-gram model, made of what shoppers bought, oldest first.
   After the road bike, what is bought next?
1|bike helmet|0.425
2|inner tube|0.321
3|bike lamp|0.049
   For each of three shoppers, without what they have, at most one of a kind (the first code).
2|1|camping mat|0.444
2|2|hiking boots|0.030
5|1|lantern|0.312
5|2|rain jacket|0.019
9|1|dry bag|0.871
9|2|sleeping bag|0.018
   All probabilities together: the model is one over the items that exist.
18|1.000000
END
SKIP: {
	skip 'PL/Python is not installed', 1 if $python_scorer =~ /is not installed: left out/;
	is($python_scorer, "1|lantern|-1.067\n2|gas stove|-2.067\n3|sleeping bag|-2.305\n", 'the scorer in Python');
}

my $python = python_with('psycopg', 'numpy');
my $model = ($ENV{SEMTOK_SHARED} // '') . '/data/models/stories260k_hf';
SKIP: {
	skip 'no Python with psycopg 3 and numpy (python3-psycopg, python3-numpy)', 1 unless $python;
	my @trained = -e "$model/model.safetensors" ? ($model) : ();
	diag('no trained model in shared/: random weights only') unless @trained;
	python_test($python, 'test_serve_model', $node, PostgreSQL::Test::Utils::tempdir(), @trained);
}
done_testing();
