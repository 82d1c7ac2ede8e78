# PgBouncer in transaction mode: every transaction may meet another server connection, so what a
# session sets is lost or, worse, met by somebody else.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use PythonTest qw(python_with python_test);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($pgbouncer) = grep { -x } map { "$_/pgbouncer" } split(/:/, $ENV{PATH}), '/usr/sbin', '/usr/local/sbin';
plan skip_all => 'no pgbouncer' unless $pgbouncer;
my $python = python_with('psycopg') or plan skip_all => 'no Python with psycopg 3 (python3-psycopg)';

my $node = PostgreSQL::Test::Cluster->new('pgbouncer');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION semtok');

# One server connection for all clients, so that they meet each other.
my $folder = PostgreSQL::Test::Utils::tempdir_short();
my $port = PostgreSQL::Test::Cluster::get_free_port();
append_to_file("$folder/pgbouncer.ini", <<"END");
[databases]
postgres = host=@{[ $node->host ]} port=@{[ $node->port ]} dbname=postgres user=@{[ scalar getpwuid($<) ]}
[pgbouncer]
listen_addr =
listen_port = $port
unix_socket_dir = $folder
auth_type = any
pool_mode = transaction
default_pool_size = 1
logfile = $folder/log
pidfile = $folder/pid
END
is(system($pgbouncer, '-q', '-d', "$folder/pgbouncer.ini"), 0, 'pgbouncer starts');
END
{
	# the server goes whatever happens to the test
	my $status = $?;
	if ($folder && -s "$folder/pid")
	{
		my ($pid) = slurp_file("$folder/pid") =~ /(\d+)/;
		kill 'INT', $pid;
	}
	$? = $status;
}
my $tries = 300;
select undef, undef, undef, 0.05 until -S "$folder/.s.PGSQL.$port" || !$tries--;

python_test($python, 'test_pgbouncer', $node, $folder, $port);
done_testing();
