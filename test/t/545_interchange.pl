# semset_to_npz and semset_from_npz beside STATIC's and RecTokens' own code: STATIC=… and RECTOKENS=…
# name checkouts of them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PythonTest qw(python_with python_test);
use PostgreSQL::Test::Cluster;
use Test::More;

plan skip_all => 'no STATIC=checkout, no RECTOKENS=checkout' unless $ENV{STATIC} || $ENV{RECTOKENS};
my $python = python_with('numpy', 'torch') or plan skip_all => 'no Python with numpy and torch';
my $node = PostgreSQL::Test::Cluster->new('interchange');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION semtok');
python_test($python, 'test_interchange', $node);
done_testing();
