# Runs a test written in Python (test/python/NAME.py, which prints TAP) beside a server.
package PythonTest;

use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter 'import';
use File::Basename qw(dirname);
use IPC::Run ();
use Test::More;

our @EXPORT_OK = qw(python_with python_test);

my $top = abs_path(dirname(__FILE__) . '/../..');

# A Python 3 that can import these modules, or undef. Debian's packages belong to /usr/bin/python3,
# which need not be the first.
sub python_with
{
	my $import = join ', ', 'sys', @_;
	foreach my $python (grep { defined } $ENV{PYTHON}, 'python3', '/usr/bin/python3')
	{
		return $python if system("'$python' -c 'import $import' >/dev/null 2>&1") == 0;
	}
	return;
}

# Each line that the script prints becomes a test here. More arguments go to the script.
sub python_test
{
	my ($python, $name, $node, @arguments) = @_;
	local $ENV{PYTHONPATH} = "$top/examples/python:$top/test/python";
	local $ENV{PYTHONDONTWRITEBYTECODE} = 1;
	local $ENV{PGHOST} = $node->host;
	local $ENV{PGPORT} = $node->port;
	local $ENV{PGDATABASE} = $ENV{PGDATABASE} || 'postgres';
	my ($out, $err) = ('', '');
	my $run = IPC::Run::run([ $python, "$top/test/python/$name.py", @arguments ],
		'>' => \$out, '2>' => \$err, IPC::Run::timeout(120));
	my $planned;
	foreach my $line (split /\n/, $out)
	{
		if ($line =~ /^(not )?ok \d+ - (.*)$/) { ok(!$1, $2) }
		elsif ($line =~ /^1\.\.\d+$/) { $planned = 1 }
		else { diag($line) }
	}
	ok($planned, "$name.py ran to its end");
	diag($err) if $err ne '';
	return;
}

1;
