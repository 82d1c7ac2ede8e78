# What packagers read: META.json follows the PGXN Meta Spec 1.0 and agrees with the control file and
# the Makefile, and the Dockerfile's build installs all of semtok where its last stage takes it.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename qw(dirname);
use File::Find qw(find);
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = abs_path(dirname(__FILE__) . '/../..');
my $semver = qr/^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z][0-9A-Za-z-]*)?$/;
my %licenses = map { $_ => 1 } qw(agpl_3 apache_1_1 apache_2_0 artistic_1 artistic_2 bsd freebsd
  gfdl_1_2 gfdl_1_3 gpl_1 gpl_2 gpl_3 lgpl_2_1 lgpl_3_0 mit mozilla_1_0 mozilla_1_1 openssl perl_5
  postgresql qpl_1_0 ssleay sun zlib open_source restricted unrestricted unknown);

# META.json
my $meta = eval { JSON::PP->new->decode(slurp_file("$top/META.json")) };
is(ref $meta, 'HASH', 'META.json is a JSON object') or BAIL_OUT($@);
foreach my $key (qw(name version abstract maintainer license provides meta-spec))
{
	ok(defined $meta->{$key} && $meta->{$key} ne '', "META.json has $key");
}
like($meta->{version}, $semver, 'the version is a semantic one');
like($meta->{name}, qr/^[^\s\/\\\x00-\x1f]{2,}$/, 'the name has no space, slash or control character');
ok($licenses{ $meta->{license} }, "the licence $meta->{license} is one that the specification names");
is($meta->{'meta-spec'}{version}, '1.0.0', 'it names the specification');
like($meta->{release_status}, qr/^(stable|testing|unstable)$/, 'and the status of the release');
ok(keys %{ $meta->{provides} } > 0, 'it provides something');
foreach my $name (sort keys %{ $meta->{provides} })
{
	my $part = $meta->{provides}{$name};
	like($part->{version}, $semver, "$name has a version");
	ok(-f "$top/$part->{file}", "and the file $part->{file}");
	ok(-f "$top/$part->{docfile}", "and the documentation $part->{docfile}");
}
ok(!(grep { ref || length > 255 || $_ eq '' } @{ $meta->{tags} }), 'tags are short strings');
my %allowed = map { $_ => 1 } qw(name version abstract maintainer license provides meta-spec
  description generated_by no_index prereqs release_status resources tags);
is_deeply([ grep { !$allowed{$_} && !/^[xX]_/ } sort keys %$meta ], [], 'no key is unknown');
foreach my $phase (sort keys %{ $meta->{prereqs} })
{
	like($phase, qr/^(configure|build|test|runtime|develop)$/, "phase $phase is known");
	foreach my $kind (sort keys %{ $meta->{prereqs}{$phase} })
	{
		like($kind, qr/^(requires|recommends|suggests|conflicts)$/, "$phase $kind is known");
		my $list = $meta->{prereqs}{$phase}{$kind};
		like($list->{$_}, $semver, "$phase $kind $_ $list->{$_}") foreach sort keys %$list;
	}
}

# One version everywhere.
my ($control) = slurp_file("$top/semtok.control") =~ /^default_version = '([^']*)'/m;
my ($makefile) = slurp_file("$top/Makefile") =~ /^EXTVERSION = (\S+)/m;
my ($changes) = slurp_file("$top/CHANGELOG.md") =~ /^## (\S+)/m;
is($meta->{version}, $control, 'META.json has the version of semtok.control');
is($meta->{provides}{semtok}{version}, $control, 'and provides it');
is($makefile, $control, 'the Makefile has it');
is($changes, $control, 'the change log begins with it');

# The Dockerfile
my $docker = slurp_file("$top/Dockerfile") =~ s/\\\n//gr;
my @stages = $docker =~ /^FROM (\S+)/mg;
is(scalar(@stages), 2, 'the Dockerfile has two stages');
is($stages[0], $stages[1], 'of the same base');
my ($build, $last) = $docker =~ /^(FROM .*)^(FROM .*)\z/ms;
unlike($last, qr/^(RUN|ADD)\b/m, 'the last one installs nothing besides');
unlike($docker, qr/\blatest\b/, 'the base has a version');
my ($out) = $build =~ /\bDESTDIR=(\S+)/;
like($last, qr{^COPY --from=build \Q$out\E/ /$}m, 'what is installed in the first goes to the last');
like($last, qr/^HEALTHCHECK .*\bpg_isready\b/m, 'which tells its health');

# Its install step, with the tree as it is built here.
my ($install) = $build =~ /^RUN (?:.*&& )?(make install .*)$/m;
my $folder = PostgreSQL::Test::Utils::tempdir();
my $pg_config = $ENV{PG_CONFIG} || 'pg_config';
chomp(my $libdir = `$pg_config --pkglibdir`);
chomp(my $sharedir = `$pg_config --sharedir`);
$install =~ s/\bDESTDIR=\S+/DESTDIR=$folder/;
$install =~ s/\bPG_CONFIG=\S+/PG_CONFIG=$pg_config/;
is(system("cd '$top' && $install >'$folder.log' 2>&1"), 0, "runs: $install")
  or diag(slurp_file("$folder.log"));
my %installed;
find({ no_chdir => 1, wanted => sub { $installed{ s/^\Q$folder\E//r } = 1 if -f } }, $folder);
is_deeply(
	[ sort keys %installed ],
	[ sort "$libdir/semtok.so", "$libdir/semtok/semtokd", "$sharedir/extension/semtok.control",
		map { "$sharedir/extension/" . s{.*/}{}r } glob("$top/semtok--*.sql") ],
	'it installs the library, the worker, the control file and the scripts');

# Without PostgreSQL's build files make says what to install.
my (undef, $complaint) = run_command([ 'make', '-C', $top, 'PG_CONFIG=/nowhere/pg_config', 'install' ]);
like($complaint, qr/no PGXS by .nowhere.pg_config: install .*postgresql-server-dev/, 'no PGXS: what to install');

# What the build reads is not ignored.
my @ignored = grep { /\S/ && !/^#/ } split /\n/, slurp_file("$top/.dockerignore");
my ($parts) = slurp_file("$top/Makefile") =~ /^SQL_PARTS = (.*?[^\\])\n/ms;
foreach my $needed ('Makefile', 'semtok.control', 'LICENSE', 'src/semtok.c', 'src/core/rq.c',
	map { "sql/$_" } $parts =~ /([\w.]+\.sql)/g)
{
	my ($head) = split m{/}, $needed;
	ok(!(grep { $_ eq $needed || $_ eq $head } @ignored), "the image's build sees $needed");
}

done_testing();
