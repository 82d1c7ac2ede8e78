# Shared by the tests of semtokd: a PostgreSQL whose worker does wrong what a test says, sessions that
# stay open, the verbs that use a worker, and what must be as it was before.
package WorkerTest;

use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter 'import';
use File::Basename;
use IPC::Open2;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use SemtokTest qw(private_installation);
use Test::More;
use Time::HiRes qw(time);

our @EXPORT_OK = qw(faulty_installation worker_node set_faults faults_met wait_for workers
  worker_program shared_worker descriptors files %verbs @verbs);

my $top = abs_path(dirname(__FILE__) . '/../..');

# Everything that is waited for comes sooner, in seconds.
my $patience = 120;

# A private installation whose semtokd has faults: install_path, and the program.
sub faulty_installation
{
	my ($path, undef, $libraries) = private_installation(PostgreSQL::Test::Utils::tempdir());
	my $program = "$libraries/semtok/semtokd";
	{
		local %ENV = %ENV;
		delete @ENV{qw(MAKEFLAGS MAKELEVEL MFLAGS)};
		chomp(my $pg_config = `which pg_config`);
		system_or_bail('make', '-s', '-C', $top, "PG_CONFIG=$pg_config", 'test/faults/semtokd');
	}
	worker_program($program, "$top/test/faults/semtokd");
	return ($path, $program);
}

# Have this program started for semtokd; undef: none.
sub worker_program
{
	my ($program, $from) = @_;
	unlink $program;
	system_or_bail('cp', '-L', $from, $program) if defined $from;
	return;
}

# A started node with a table of embeddings and a tokenizer.
sub worker_node
{
	my ($name, $conf, %new) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name, %new);
	$node->init(allows_streaming => 1);
	$node->append_conf('postgresql.conf', "autovacuum = off\njit = off\nmax_connections = 40\n$conf\n");
	$node->start;
	# 600 rows of 32 dimensions are more than a message holds, and so are 512 codewords.
	$node->safe_psql(
		'postgres', q{
		SET client_min_messages = error;
		SET semtok.offload = off;
		CREATE EXTENSION semtok;
		CREATE TABLE items (id int PRIMARY KEY, x real[], sid semid);
		INSERT INTO items SELECT i, array(SELECT (hashint4(i * 100 + j) / 1e6)::real FROM generate_series(1, 32) AS j), null
			FROM generate_series(1, 600) AS i;
		CREATE TABLE few AS SELECT id, x FROM items WHERE id <= 20;
		SELECT semtok.train('items', 'SELECT x FROM items', levels => 3, codes => 16, epochs => 2, options => '{"beam": 3}');
		SELECT semtok.train('fitted', 'SELECT x FROM items', levels => 2, codes => 16, epochs => 1, batch_size => 100);
	});
	return $node;
}

my $trained = q{ AS id \gset
	SELECT encode(hash, 'hex'), md5(counts::text), options FROM semtok.tokenizer WHERE id = :id;
	SELECT md5(string_agg(format('%s %s %s %s %s', step, level, epoch, metric, value), ',' ORDER BY step, level, epoch, metric))
		FROM semtok.training_log WHERE tokenizer = :id;
	ROLLBACK;
};

# The verbs that use a worker: SQL that prints an answer and leaves nothing behind; which request it
# makes, and which message answers that.
our %verbs = (
	train => {
		sql => qq{BEGIN; SELECT semtok.train('new', 'SELECT x FROM items', levels => 2, codes => 256, epochs => 2, options => '{"eval_source": "SELECT x FROM few", "eval_every": 1, "refine": 1}')$trained},
		request => 'train',
		answer => 'trained' },
	partial_fit => {
		sql => qq{BEGIN; SELECT semtok.partial_fit('fitted', 'SELECT x FROM few', epochs => 2, batch_size => 7)$trained},
		request => 'train',
		answer => 'trained' },
	evaluate => {
		sql => q{SELECT * FROM semtok.evaluate('items', 'SELECT x FROM items');},
		request => 'encode',
		answer => 'codes' },
	encode_batch => {
		sql => q{SELECT md5(string_agg(e::text, ',' ORDER BY e::text)) FROM semtok.encode_batch('items', 'SELECT x FROM items') AS e;},
		request => 'encode',
		answer => 'codes' },
	tokenize => {
		sql => q{TRUNCATE given; INSERT INTO given SELECT * FROM items;
			CALL semtok.tokenize('given', 'x', 'sid', 'items', batch_size => 600);
			SELECT md5(string_agg(sid::text, ',' ORDER BY id)), count(sid) FROM given;},
		prepare => q{CREATE TABLE IF NOT EXISTS given (LIKE items)},
		request => 'encode',
		answer => 'codes' },
	beam_search => {
		sql => q{SELECT count(*), md5(string_agg(b::text, ',' ORDER BY query, rank)) FROM wanted,
			semtok.beam_search_batch_set(ids, queries, 20, 60) AS b;},
		prepare => q{CREATE TABLE IF NOT EXISTS wanted AS SELECT
			(SELECT semset_agg(semid(ARRAY[i % 16, i * 7 % 13, i * i % 11])) FROM generate_series(1, 4000) AS i) AS ids,
			ARRAY(SELECT semtok.logits(ARRAY(SELECT (hashint4(q * 100 + j) / 1e9)::real FROM generate_series(1, 48) AS j), '{16,16,16}')
				FROM generate_series(1, 200) AS q) AS queries},
		request => 'search',
		answer => 'found' });
our @verbs = sort keys %verbs;

# Let the worker do wrong what these lines say (src/worker/faults.h), from now on; nothing: no faults.
sub set_faults
{
	my ($node, @lines) = @_;
	my $file = $node->data_dir . '/semtok_faults';
	unlink $file, glob("$file.*");
	return if !@lines;
	append_to_file("$file.new", join('', map { "$_\n" } @lines));
	rename "$file.new", $file or die "$file: $!";
	return;
}

# How many faults were met.
sub faults_met
{
	my ($node) = @_;
	my $file = $node->data_dir . '/semtok_faults.met';
	return -e $file ? scalar(split /\n/, slurp_file($file)) : 0;
}

# Wait until it is so; false when it never is, or not within so many seconds.
sub wait_for
{
	my ($condition, $seconds) = @_;
	my $end = time + ($seconds // $patience);
	until ($condition->())
	{
		return 0 if time > $end;
		select undef, undef, undef, 0.005;
	}
	return 1;
}

# The shared worker's process, once there is one; reading the configuration ends the supervisor's rest.
sub shared_worker
{
	my ($node) = @_;
	my $pid;
	wait_for(sub {
		$pid = $node->safe_psql('postgres', q{SELECT pid FROM semtok.workers WHERE kind = 'shared' AND pid IS NOT NULL});
		$node->reload if !$pid;
		return $pid;
	});
	return $pid;
}

# Processes of a program, those that have ended and wait for their parent included: of a process, or
# of any.
sub workers
{
	my ($program, $parent) = @_;
	my @found;
	foreach my $folder (glob '/proc/[0-9]*')
	{
		open(my $file, '<', "$folder/stat") or next;
		my ($comm, $state, $ppid) = (<$file> // '') =~ /\((.*)\) (\S) (\d+)/ or next;
		next if $comm ne 'semtokd' || (defined $parent && $ppid != $parent);
		my $exe = readlink "$folder/exe";
		push @found, $folder =~ s{.*/}{}r
		  if defined $exe ? $exe =~ /^\Q$program\E( \(deleted\))?$/ : defined $parent;
	}
	return @found;
}

# What a process holds open and could leak: sockets, pipes, files without a name, temporary files.
sub descriptors
{
	my ($pid) = @_;
	return scalar grep { defined && m{^(socket|pipe|anon_inode):|pgsql_tmp|memfd| \(deleted\)$} && !m{base/\d+/|pg_wal/} }
	  map { readlink $_ } glob "/proc/$pid/fd/*";
}

# What a process has open, by descriptor: "socket:[123]", "anon_inode:[eventpoll]", the name of a file.
sub files
{
	my ($pid) = @_;
	return map { defined readlink $_ ? (m{(\d+)$} => readlink $_) : () } glob "/proc/$pid/fd/*";
}

# A session that stays open.
sub session
{
	my ($class, $node, $settings) = @_;
	my $self = bless { number => 0, text => '' }, $class;
	$self->{process} = open2($self->{from}, $self->{to}, 'sh', '-c', 'exec psql -XAtq -d "$0" 2>&1',
		$node->connstr('postgres'));
	$self->{to}->autoflush(1);
	$self->ask($settings // '');
	$self->{pid} = $self->ask('SELECT pg_backend_pid()');
	return $self;
}

# Begin statements, whose answer `answered` and `answer` have.
sub send
{
	my ($self, $sql) = @_;
	local $SIG{PIPE} = 'IGNORE';
	$self->{number}++;
	$self->{began} = time;
	print { $self->{to} } "$sql;\n\\echo done $self->{number}\n";
	return;
}

# Is the answer there, or the session at its end? Waits so many seconds.
sub answered
{
	my ($self, $seconds) = @_;
	my $end = time + $seconds;
	until ($self->{ended} || $self->{text} =~ /^done $self->{number}\n/m)
	{
		my $ready = '';
		vec($ready, fileno $self->{from}, 1) = 1;
		my $left = $end - time;
		return 0 if select($ready, undef, undef, $left > 0 ? $left : 0) < 1;
		sysread($self->{from}, $self->{text}, 65536, length $self->{text}) or $self->{ended} = time;
	}
	return 1;
}

# The answer's rows, and what else was said.
sub answer
{
	my ($self) = @_;
	$self->answered($patience) or BAIL_OUT("no answer within $patience s");
	my $text = $self->{text};
	$self->{text} = '';
	$text =~ s/^done $self->{number}\n//m;
	my @said;
	push @said, $1 while $text =~ s/^((?:psql:\S+ )?(?:WARNING|ERROR|FATAL|NOTICE|DETAIL|HINT|CONTEXT|LINE).*)\n//m;
	chomp $text;
	return wantarray ? ($text, join("\n", @said)) : $text;
}

sub ask
{
	my ($self, $sql) = @_;
	$self->send($sql);
	return $self->answer;
}

sub end
{
	my ($self) = @_;
	close $self->{to};
	close $self->{from};
	waitpid $self->{process}, 0;
	return;
}

1;
