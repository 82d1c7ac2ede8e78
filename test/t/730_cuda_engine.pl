# The engine of CUDA devices, without one: on a fake of CUDA whose calls fail when the test says so.
# What semtok.device asks for is what computes; whatever fails, the answer is the one that the processor
# gives, the log says once what happened, the worker begins anew by itself when the device is to be
# well again, and neither server nor sessions notice.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::Bin/../lib";
use Cwd qw(abs_path);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use WorkerTest qw(faulty_installation worker_node wait_for workers worker_program shared_worker %verbs @verbs);

plan skip_all => 'this system has no /proc' if !-e "/proc/$$/exe";

my $top = abs_path("$FindBin::Bin/../..");
my ($path, $program) = faulty_installation();
my $plugin = $program =~ s/semtokd$/semtok_cuda.so/r;
my $fake = "$top/test/unit/bin/cuda/semtok_cuda.so";
{
	local %ENV = %ENV;
	delete @ENV{qw(MAKEFLAGS MAKELEVEL MFLAGS)};
	system_or_bail('make', '-s', '-C', $top, 'test/unit/bin/cuda/semtok_cuda.so');
}

# The library beside the worker's program: the fake, another file, or none.
sub plugin
{
	my ($from) = @_;
	unlink $plugin;
	system_or_bail('cp', $from, $plugin) if defined $from;
	return;
}

plugin($fake);
my $node = worker_node('cuda', "shared_preload_libraries = 'semtok'\nsemtok.worker_threads = 2", install_path => $path);
my $data = $node->data_dir;
my $started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
$node->safe_psql('postgres', $_) for grep { defined } map { $verbs{$_}{prepare} } @verbs;

# Let CUDA's calls do what these lines say (test/cuda/fake/fake.h); nothing: they do well.
sub fake
{
	my @lines = @_;
	unlink "$data/semtok_fake_cuda";
	return if !@lines;
	append_to_file("$data/fake.new", join('', map { "$_\n" } @lines));
	rename "$data/fake.new", "$data/semtok_fake_cuda" or die "$data: $!";
	return;
}

sub one
{
	my ($columns) = @_;
	return $node->safe_psql('postgres', "SELECT $columns FROM semtok.workers WHERE kind = 'shared'");
}

# A new worker in place of this one, and what it is.
sub another
{
	my ($pid) = @_;
	my $new;
	ok(wait_for(sub { $new = one(q{coalesce(pid, 0) * (state = 'running')::int}); $new && $new != $pid }), 'another worker comes')
	  or BAIL_OUT('no worker');
	return $new;
}

sub replace
{
	my $pid = shared_worker($node);
	kill 'KILL', $pid;
	return another($pid);
}

# What the log has since the last look.
my $seen = 0;
sub log_lines
{
	my $text = slurp_file($node->logfile, $seen);
	$seen += length $text;
	return $text;
}

sub times
{
	my ($pattern, $text) = @_;
	return scalar(() = $text =~ /$pattern/g);
}

# What is right
my %right;
my $alone = WorkerTest->session($node, 'SET semtok.offload = off');
foreach my $verb (@verbs)
{
	($right{$verb}, my $said) = $alone->ask($verbs{$verb}{sql});
	is($said, '', "$verb alone") or BAIL_OUT('without a worker nothing can be compared');
}
my ($none, $refused) = $alone->ask("SET semtok.device = cuda; $verbs{evaluate}{sql}");
like($refused, qr/^ERROR:  there is no CUDA device that semtok can compute on\nDETAIL:  A worker process would compute there, and semtok.offload is off\./,
	'a session has no device');
$alone->end;

# All verbs, as one session asks for them: the answers that are right, and what is said beside.
sub all_right
{
	my ($session, $what) = @_;
	foreach my $verb (@verbs)
	{
		my ($answer, $said) = $session->ask($verbs{$verb}{sql});
		is("$said$answer", $right{$verb}, "$what: $verb");
	}
	return;
}

my $pid = shared_worker($node);
my $log = log_lines();
like($log, qr/semtokd\[$pid\]: computing on fake device 0, compute capability 9\.0/, 'the worker has the device');
like(one('engine, device, device_memory > 0, device_memory_limit, fallbacks'),
	qr/^cuda\|fake device 0, compute capability 9\.0\|t\|536870912\|0$/, 'and the view shows it');

# Each device, as it is asked for: what goes to it fails, what does not goes well.
my $session = WorkerTest->session($node, 'SET semtok.offload = on');
all_right($session, 'auto');
$session->ask('SET semtok.device = cuda');
all_right($session, 'cuda');
fake('launch 2');
my ($answer, $said) = $session->ask($verbs{evaluate}{sql});
like($said, qr/^ERROR:  could not compute on device cuda: it has no such device: CUDA device 0: could not encode rows on the device: the device has no memory left\nHINT:  With semtok\.device = auto/,
	'cuda is computed on the device, or is an error');
$session->ask('SET semtok.device = cpu');
all_right($session, 'cpu, while the device does not work');
$session->ask('SET semtok.device = auto');
all_right($session, 'auto, where the processor is faster');
is(one('fallbacks'), 0, 'nothing was meant for another device');
fake();

# From here on any device counts as the faster one: auto goes there, and falls back.
append_to_file("$data/semtok_fast_device", '');
all_right($session, 'auto, where the device is faster');
is(one('fallbacks'), 0, 'and well');
log_lines();

# A lack of memory: the processor computes, once it is over the device. One line, however often.
fake('launch 2');
all_right($session, 'no memory');
cmp_ok(my $fallbacks = one('fallbacks'), '>=', 3, 'fallbacks are counted');
is(one('last_error'), 'CUDA device 0: could not encode rows on the device: the device has no memory left', 'and told');
$log = log_lines();
is(times(qr/the device has no memory left; the processor computes instead/, $log), 1, 'once in the log');
fake();
all_right($session, 'memory again');
is(one('fallbacks'), $fallbacks, 'no more of them');
is(shared_worker($node), $pid, 'by the same worker');

# What ends the device for this process: the processor computes, and the worker begins anew with it.
my %deadly = (
	'an illegal address' => [ 'cudaStreamQuery 700 first=2', qr/could not compute on the device: an illegal memory access was encountered/ ],
	'an ECC error' => [ 'cudaMemcpyAsync 214 first=3', qr/could not copy rows to the device: uncorrectable ECC error encountered/ ],
	'a lost device' => [ 'cudaSetDevice 999', qr/could not choose the device: unknown error/ ],
	'a kernel that hangs' => [ 'cudaStreamQuery 600', qr/it has not answered for 1 seconds/ ]);
foreach my $what (sort keys %deadly)
{
	my ($script, $words) = @{ $deadly{$what} };
	fake($script);
	my ($mine, $theirs) = $session->ask($verbs{evaluate}{sql});
	is("$theirs$mine", $right{evaluate}, "$what: the answer is right");
	is(shared_worker($node), $pid, "$what: by the same worker");
	my ($cuda, $error) = WorkerTest->session($node, 'SET semtok.device = cuda')->ask($verbs{evaluate}{sql});
	like($error, qr/^ERROR:  (there is no CUDA device|could not compute on device cuda)/, "$what: whoever insists on the device is told");
	fake();
	my $new = another($pid);
	$log = log_lines();
	is(times(qr/semtokd\[$pid\]: CUDA device 0: $words; the processor computes instead/, $log), 1, "$what: one line says what it was");
	is(times(qr/semtokd\[$pid\]: a device has failed, and is left alone until this worker begins anew: CUDA device 0: $words/, $log), 1,
		"$what: one that the device is left alone");
	like($log, qr/semtok worker \(PID $pid\) ended to begin anew with the device that had failed; restarting in 100 ms/, "$what: one that it begins anew");
	is(one('engine'), 'cuda', "$what: the device is back");
	$pid = $new;
}
all_right($session, 'after all that');

# A device that fails again and again is tried more and more rarely, and the worker serves.
my @rests = $log =~ /--device-rest/g;
open(my $arguments, '<', "/proc/$pid/cmdline");
like(<$arguments>, qr/--device-rest\0(8|16|32|60)\0/, 'rests grow');

# What cannot be opened: a line, and the processor.
my $garbage = PostgreSQL::Test::Utils::tempdir() . '/garbage.so';
append_to_file($garbage, 'this is no library');
my $old = $garbage =~ s/garbage/old/r;
my %unfit = (
	'no library' => [ sub { plugin() }, undef, 'semtok_cuda.so is not installed' ],
	'a file that is none' => [ sub { plugin($garbage) }, qr/computing without CUDA devices: .*semtok_cuda\.so: /, 'semtok_cuda.so: ' ],
	'another library' => [ sub { plugin('/proc/self/exe') }, qr/computing without CUDA devices: /, '' ],
	'a plugin of another version' => [ sub { my $bytes = slurp_file($fake); $bytes =~ s/(cuda\0)//; plugin($fake); version() }, qr/computing without CUDA devices: its interface has version 1, not \d+/, 'its interface has version' ],
	'an old driver' => [ sub { plugin($fake); fake('cudaGetDeviceCount 35', 'driver 11040') }, qr/computing without CUDA devices: the driver is for CUDA 11\.4, expected 13\.0 or later/, 'the driver is for CUDA 11.4' ],
	'no device' => [ sub { plugin($fake); fake('devices 0') }, qr/computing without CUDA devices: there is no CUDA device to use: no CUDA-capable device is detected/, 'there is no CUDA device to use' ],
	'arithmetic that is not what it must be' => [ sub { plugin($fake); fake('probe 1') }, qr/computing without CUDA devices: CUDA device 0: its tensor unit adds worse than it may/, 'adds worse than it may' ]);
