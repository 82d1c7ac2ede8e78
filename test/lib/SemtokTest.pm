# Shared by the TAP tests: a cluster with semtok and the oracle, and ways to kill it.
package SemtokTest;

use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter 'import';
use File::Basename;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT_OK = qw(oracle_node oracle_sql oracle_check kill_everything restarted
  extension_catalog private_installation first_difference);

my $lib = dirname(__FILE__);

# The oracle's SQL.
sub oracle_sql
{
	return slurp_file("$lib/oracle.sql");
}

# What the catalog of a database knows of the extension: a line a fact, the same for the same.
sub extension_catalog
{
	my ($node, $database) = @_;
	return $node->safe_psql($database, slurp_file("$lib/extension_catalog.sql"));
}

# A PostgreSQL installation under dir whose extension scripts and libraries may be changed: the
# programs that look for them beside themselves are copies, all else are links to the one in PATH.
# Returns install_path for PostgreSQL::Test::Cluster, the folder of scripts and that of libraries.
sub private_installation
{
	my $dir = abs_path(shift); # from 16 on, tempdir's may be relative
	my %from = map { chomp(my $path = `pg_config --$_`); $_ => $path } qw(bindir pkglibdir sharedir);
	# Where they lie relative to each other is compiled in.
	my $common = $from{bindir};
	$common =~ s{/[^/]*$}{} while grep { index($_, "$common/") != 0 } values %from;
	my %to = map { $_ => $dir . substr($from{$_}, length $common) } keys %from;
	foreach my $what (qw(bindir pkglibdir sharedir))
	{
		system_or_bail('mkdir', '-p', $to{$what});
		system_or_bail('cp', '-as', "$from{$what}/.", $to{$what});
	}
	foreach my $copy (map({ "$to{bindir}/$_" } qw(postgres initdb pg_ctl pg_config)), "$to{pkglibdir}/semtok.so")
	{
		system_or_bail('cp', '-L', '--remove-destination', $copy =~ s/^\Q$dir\E/$common/r, $copy);
	}
	return (dirname($to{bindir}), "$to{sharedir}/extension", $to{pkglibdir});
}

# A new, started node with semtok and the oracle in database postgres.
sub oracle_node
{
	my ($name, $conf, %init) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(%init);
	$node->append_conf('postgresql.conf', "autovacuum = off\njit = off\nlog_statement = none\n$conf\n");
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION semtok');
	$node->safe_psql('postgres', oracle_sql());
	return $node;
}

# Run n cases of the oracle on oracle.item as it is, and leave it so.
sub oracle_check
{
	my ($node, $what, $n) = @_;
	my ($out, $err) = ('', '');
	my $rc = $node->psql(
		'postgres', qq{
			BEGIN;
			SELECT oracle.check('$what', $n);
			SELECT format('FAILED %s: %s: %s', phase, what, detail) FROM oracle.failure;
			ROLLBACK;
		},
		stdout => \$out,
		stderr => \$err);
	my @failures = grep { /^FAILED/ } split /\n/, $out;
	ok($rc == 0 && !@failures, "$what: the index answers as the sequential plan does")
	  or diag("$err\n" . join("\n", grep { defined } @failures[ 0 .. 5 ]));
	return;
}

# Where two long texts differ first, for is(first_difference(...), ''): nothing where they do not.
sub first_difference
{
	my ($got, $expected) = map { [ split /\n/ ] } @_;
	for my $i (0 .. ($#$got > $#$expected ? $#$got : $#$expected))
	{
		my ($x, $y) = map { defined ? substr($_, 0, 300) : 'nothing' } $got->[$i], $expected->[$i];
		$x eq $y or return "line $i: $x, not $y";
	}
	return '';
}

# SIGKILL for the postmaster and all of its children at once, as when a machine's memory is out.
sub kill_everything
{
	my ($node) = @_;
	my $pid = $node->{_pid};
	# Stopped first, the postmaster can neither start a child that would escape the list nor see one
	# die and begin recovery by itself. A stop takes effect some time after kill returns.
	kill 'STOP', $pid;
	my $stopping = 1000;
	select undef, undef, undef, 0.01 until `ps -o stat= -p $pid` =~ /^T/ || $stopping-- == 0;
	my @children = split ' ', `ps -o pid= --ppid $pid`;
	kill 'KILL', @children;
	$node->kill9;
	# A new postmaster refuses to start while the old one's pid exists or a process is attached to
	# its shared memory.
	foreach my $p ($pid, @children)
	{
		my $tries = 1000;
		select undef, undef, undef, 0.01 while kill(0, $p) && $tries-- > 0;
		next unless kill(0, $p);
		# in a container whose first process does not reap, the dead stay as zombies
		die "process $p does not die" unless `ps -o stat= -p $p` =~ /^Z/;
		unlink $node->data_dir . '/postmaster.pid';
	}
	return;
}

# Wait until the server takes connections again after a crash of one backend. No query asks for it: a
# psql that is refused before it has read its query is a broken pipe, of which IPC::Run dies.
sub restarted
{
	my ($node) = @_;
	my $tries = 1800;
	while (system('pg_isready', '-q', '-h', $node->host, '-p', $node->port) != 0)
	{
		$tries-- > 0 or die 'the server did not come back';
		select undef, undef, undef, 0.1;
	}
	return;
}

1;
