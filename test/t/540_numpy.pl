# semset_to_npz and semset_from_npz: what numpy loads and saves.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PythonTest qw(python_with python_test);
use PostgreSQL::Test::Cluster;
use Test::More;

my $python = python_with('numpy') or plan skip_all => 'no Python with numpy (python3-numpy)';
my $node = PostgreSQL::Test::Cluster->new('numpy');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION semtok');
python_test($python, 'test_numpy', $node);
done_testing();
