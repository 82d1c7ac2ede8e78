# SQLAlchemy: examples/python/sqlalchemy_semtok.py, with each driver that is here.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PythonTest qw(python_with python_test);
use PostgreSQL::Test::Cluster;
use Test::More;

# SQLAlchemy 1.4 speaks to psycopg 2 alone, 2 to both.
my %python = (
	psycopg2 => scalar python_with('sqlalchemy', 'psycopg2'),
	psycopg => scalar python_with('psycopg', 'sqlalchemy; assert sqlalchemy.__version__ >= "2"'));
plan skip_all => 'no Python with SQLAlchemy and a driver (python3-sqlalchemy, python3-psycopg2)'
  unless grep { defined } values %python;
my $node = PostgreSQL::Test::Cluster->new('sqlalchemy');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION semtok');
foreach my $driver (grep { $python{$_} } sort keys %python)
{
	python_test($python{$driver}, 'test_sqlalchemy', $node, $driver);
	$node->safe_psql('postgres', q{SELECT semtok.drop_tokenizer('items')});
}
done_testing();
