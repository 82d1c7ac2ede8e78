# semtokd by hand: what it tells of itself, its test of itself, and what it refuses.
use strict;
use warnings;
use FindBin;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'there is no worker on this system' if $^O ne 'linux';

chomp(my $libraries = `pg_config --pkglibdir`);
chomp(my $share = `pg_config --sharedir`);
my ($version) = slurp_file("$share/extension/semtok.control") =~ /^default_version = '([^']+)'/m;

# Its exit code, and what it says.
sub semtokd
{
	my (@arguments) = @_;
	my ($out, $err);
	IPC::Run::run([ "$libraries/semtok/semtokd", @arguments ], '<', \undef, '>', \$out, '2>', \$err);
	return ($? >> 8, $out, $err);
}

my ($status, $out, $err) = semtokd('--version');
is("$status $out$err", "0 semtokd $version\n", '--version is that of the extension');

($status, $out, $err) = semtokd('--engines');
is("$status$err", '0', '--engines');
like($out, qr/^cpu\t\S.*\n/, 'the cores are the first');

($status, $out, $err) = semtokd('--selftest');
is("$status$err", '0', '--selftest finds nothing wrong');
like($out, qr/^ok .*\n(.*\n)*engine cpu: .*\n(ok .*(encode|train).*\n)+(.*\n)*all is well\n\z/, 'and tells what it has tried');

my @settings = qw(--threads 1 --memory 67108864 --batch-max 1 --batch-wait-us 0);
my %refused = (
	'nothing' => [],
	'an option that there is not' => [ '--private', @settings, '--nothing', '1' ],
	'an option without its value' => [ '--private', @settings, '--threads' ],
	'no thread' => [ '--private', '--threads', '0', @settings[ 2 .. $#settings ] ],
	'a number that is none' => [ '--private', '--threads', '1x', @settings[ 2 .. $#settings ] ],
	'a setting too few' => [ '--private', @settings[ 2 .. $#settings ] ],
	'two questions' => [ '--version', '--engines' ]);
foreach my $what (sort keys %refused)
{
	($status, $out, $err) = semtokd(@{ $refused{$what} });
	is("$status$out", '2', "$what is refused");
	like($err, qr/^(usage: |semtokd: )/, 'with a reason');
}

done_testing();
