# psycopg 3: examples/python/semtok_psycopg.py and the service that uses it.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PythonTest qw(python_with python_test);
use PostgreSQL::Test::Cluster;
use Test::More;

my $python = python_with('psycopg') or plan skip_all => 'no Python with psycopg 3 (python3-psycopg)';
my $node = PostgreSQL::Test::Cluster->new('psycopg');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION semtok');
python_test($python, 'test_psycopg', $node);
done_testing();
