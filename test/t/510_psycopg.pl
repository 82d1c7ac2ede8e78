# psycopg 3: examples/python/semtok_psycopg.py, the service that uses it, and the README's Python.
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

my $python = python_with('psycopg') or plan skip_all => 'no Python with psycopg 3 (python3-psycopg)';
my $node = PostgreSQL::Test::Cluster->new('psycopg');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION semtok');
python_test($python, 'test_psycopg', $node);

my $readme = abs_path(dirname(__FILE__) . '/../../README.md');
my ($example) = slurp_file($readme) =~ /^```sql\n(.*?)^```$/ms;
$node->safe_psql('postgres', 'CREATE DATABASE readme');
$node->safe_psql('readme', $example);
$ENV{PGDATABASE} = 'readme';
python_test($python, 'test_readme', $node, $readme);
done_testing();
