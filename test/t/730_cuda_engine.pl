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

# A device encodes greedily, so by the tokenizer that does.
my %sql = map { $_ => $verbs{$_}{sql} =~ s/'items'(?=, 'SELECT|, batch)/'fitted'/r } @verbs;

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

# Another worker in place of this one.
sub another
{
	my ($pid) = @_;
	my $new;
	ok(wait_for(sub { $new = one(q{coalesce(pid, 0) * (state = 'running')::int}); $new && $new != $pid }), 'another worker comes')
	  or BAIL_OUT('no worker');
	return $new;
}

# The same at once, for the sake of a setting.
my $devices = 'all';
sub replace
{
	my $pid = shared_worker($node);
	$devices = $devices eq 'all' ? '0' : 'all';
	$node->safe_psql('postgres', "ALTER SYSTEM SET semtok.cuda_devices = '$devices'");
	$node->reload;
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

sub count_of
{
	my ($pattern, $text) = @_;
	return scalar(() = $text =~ /$pattern/g);
}

# What is right
my %right;
my $alone = WorkerTest->session($node, 'SET semtok.offload = off');
foreach my $verb (@verbs)
{
	($right{$verb}, my $said) = $alone->ask($sql{$verb});
	is($said, '', "$verb alone") or BAIL_OUT('without a worker nothing can be compared');
}
my ($none, $refused) = $alone->ask("SET semtok.device = cuda; $sql{evaluate}");
like($refused, qr/^ERROR:  there is no CUDA device that semtok can compute on\nDETAIL:  A worker process would compute there, and semtok.offload is off\./,
	'a session has no device');
$alone->end;

# All verbs, as one session asks for them: the answers that are right, and what is said beside.
sub all_right
{
	my ($session, $what) = @_;
	foreach my $verb (@verbs)
	{
		my ($answer, $said) = $session->ask($sql{$verb});
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
my ($answer, $said) = $session->ask($sql{evaluate});
like($said, qr/^ERROR:  could not compute on device cuda: CUDA device 0: could not encode rows on the device: the device has no memory left\nHINT:  Where neither the call nor semtok\.device asks for cuda/,
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

# A lack of memory: the processor computes, once it is over the device. One line, however often, for
# rows and one for tries.
fake('launch 2');
all_right($session, 'no memory');
cmp_ok(my $fallbacks = one('fallbacks'), '>=', 2, 'fallbacks are counted');
is(one('last_error'), 'CUDA device 0: could not encode rows on the device: the device has no memory left', 'and told');
$log = log_lines();
is(count_of(qr/could not encode rows on the device: the device has no memory left; the processor computes instead/, $log), 1, 'once in the log');
is(count_of(qr/could not search a trie: the device has no memory left; the processor computes instead/, $log), 1, 'and once for searches');
fake();
all_right($session, 'memory again');
is(one('fallbacks'), $fallbacks, 'no more of them');
is(shared_worker($node), $pid, 'by the same worker');

# Requests that wait for each other are computed together, but who insists on the device is not left to the
# processor with those who do not.
$node->safe_psql('postgres', 'ALTER SYSTEM SET semtok.batch_wait_us = 1000000');
replace();
my $many = q{SELECT count(*) FROM semtok.encode_batch('fitted', 'SELECT x FROM items, generate_series(1, 10)')};
my $insists = WorkerTest->session($node, 'SET semtok.offload = on; SET semtok.device = cuda');
is(scalar $_->ask($many), '6000', 'it is at the worker') foreach $session, $insists;
fake('launch 2');
$session->send($many);
ok(wait_for(sub { $node->safe_psql('postgres', "SELECT wait_event_type FROM pg_stat_activity WHERE pid = $session->{pid}") eq 'Extension' }),
	'one waits for others');
($answer, $said) = $insists->ask($many);
like($said, qr/^ERROR:  could not compute on device cuda: /, 'who insists on the device is told');
is(scalar $session->answer, '6000', 'who does not has an answer');
fake();
$insists->end;
$node->safe_psql('postgres', 'ALTER SYSTEM RESET semtok.batch_wait_us');
$pid = replace();
log_lines();

# What ends the device for this process: the processor computes, and the worker begins anew with it.
my %deadly = (
	'an illegal address' => [ 'cudaStreamQuery 700', 'could not compute on the device: an illegal memory access was encountered' ],
	'an ECC error' => [ 'cudaMemcpyAsync 214', 'could not copy (?:rows|a codebook) to the device: uncorrectable ECC error encountered' ],
	'a lost device' => [ 'cudaSetDevice 999', 'could not choose the device: unknown error' ],
	'a kernel that hangs' => [ 'cudaStreamQuery 600', 'it has not answered for 1 seconds' ]);
foreach my $what (sort keys %deadly)
{
	my ($script, $words) = @{ $deadly{$what} };
	fake($script);
	my ($mine, $theirs) = $session->ask($sql{evaluate});
	fake();
	is("$theirs$mine", $right{evaluate}, "$what: the answer is right");
	my $new = another($pid);
	$log = log_lines();
	is(count_of(qr/semtokd\[$pid\]: CUDA device 0: $words; the processor computes instead/, $log), 1, "$what: one line says what it was");
	is(count_of(qr/semtokd\[$pid\]: a device has failed, and is left alone until this worker begins anew: CUDA device 0: $words/, $log), 1,
		"$what: one that the device is left alone");
	like($log, qr/semtok worker \(PID $pid\) ended to begin anew with the device that had failed; restarting in 100 ms/, "$what: one that it begins anew");
	is(one('engine'), 'cuda', "$what: the device is back");
	$pid = $new;
}
all_right($session, 'after all that');

# A device that fails soon again and again is tried more and more rarely; the worker serves meanwhile, and
# who insists on the device is told.
like(slurp_file("/proc/$pid/cmdline"), qr/--device-rest\x0016\x00/, 'rests grow');
fake('cudaStreamQuery 719');
($answer, $said) = $session->ask($sql{evaluate});
fake();
is("$said$answer", $right{evaluate}, 'while it rests: the answer is right');
all_right($session, 'while it rests');
is(one('engine'), 'cpu', 'by the processor');
$session->ask('SET semtok.device = cuda');
($answer, $said) = $session->ask($sql{evaluate});
like($said, qr/^ERROR:  (there is no CUDA device that semtok can compute on\nDETAIL:  The worker process says: CUDA device 0: could not compute|could not compute on device cuda: CUDA device 0: could not compute)/,
	'device cuda is an error');
$session->ask('RESET semtok.device');
is(shared_worker($node), $pid, 'the worker is still the same');

# A training whose device fails goes on where it was.
$pid = replace();
fake('train 700');
($answer, $said) = $session->ask($sql{train});
fake();
is("$said$answer", $right{train}, 'a device that fails at a training');
$pid = another($pid);
is(one('engine'), 'cuda', 'comes back');

# Several devices share what is large; those that are named are taken, or none.
fake('devices 3');
$pid = replace();
like(one('device'), qr/^fake device 0, compute capability 9\.0(, and 2 more)?$/, 'devices');
all_right($session, 'several devices');
$node->safe_psql('postgres', q{ALTER SYSTEM SET semtok.cuda_devices = '2, 1'});
$node->reload;
$pid = another($pid);
is(one('device'), 'fake device 2, compute capability 9.0, and 1 more', 'those that are named');
all_right($session, 'those that are named');
like(log_lines(), qr/semtok worker \(PID \d+\) is replaced for semtok\.cuda_devices/, 'the log tells of the change');
$node->safe_psql('postgres', q{ALTER SYSTEM SET semtok.cuda_devices = 'none'});
$node->reload;
$pid = another($pid);
is(one('engine'), 'cpu', 'none');
all_right($session, 'none');
my ($status, undef, $why) = $node->psql('postgres', q{ALTER SYSTEM SET semtok.cuda_devices = '0;1'});
like($why, qr/invalid value for parameter "semtok\.cuda_devices": "0;1"\nDETAIL:  Expected "all", "none"/, 'nonsense');
fake();

# What cannot be opened: a line, and the processor.
my $folder = PostgreSQL::Test::Utils::tempdir();
sub library
{
	my ($name, $code) = @_;
	append_to_file("$folder/$name.c", $code);
	system_or_bail('cc', '-shared', '-fPIC', '-o', "$folder/$name.so", "$folder/$name.c");
	return "$folder/$name.so";
}
my $empty = library('empty', 'int nothing;');
my $old = library('old', 'const unsigned stk_plugin_entry[16] = {1, 64};');
append_to_file("$folder/garbage.so", 'this is no library');
my @unfit = (
	[ 'no library', undef, '', undef, 'semtok_cuda.so is not installed' ],
	[ 'a file that is none', "$folder/garbage.so", '', qr/semtok_cuda\.so: / ],
	[ 'another library', $empty, '', qr/semtok_cuda\.so: it is no engine of semtok/ ],
	[ 'a plugin of another version', $old, '', qr/semtok_cuda\.so: its interface has version 1, not \d+/ ],
	[ 'an old driver', $fake, "cudaGetDeviceCount 35\ndriver 11040", qr/the driver is for CUDA 11\.4, expected 13\.0 or later/ ],
	[ 'no driver', $fake, "cudaGetDeviceCount 35\ndriver 0", qr/no driver of NVIDIA is installed/ ],
	[ 'no device', $fake, 'devices 0', qr/there is no CUDA device to use: no CUDA-capable device is detected/ ],
	[ 'arithmetic that is not what it must be', $fake, 'probe 1', qr/CUDA device 0: its tensor unit adds worse than it may/ ]);
foreach (@unfit)
{
	my ($what, $library, $script, $words, $reason) = @$_;
	$reason = $words if $words;
	plugin($library);
	fake($script ? $script : ());
	log_lines();
	$pid = replace();
	$log = log_lines();
	is(one('engine'), 'cpu', "$what: the processor computes");
	is(count_of(qr/semtokd\[$pid\]: computing without CUDA devices: .*$words/, $log), 1, "$what: one line says why") if $words;
	unlike($log, qr/computing without/, "$what: nothing to say") if !$words;
	my ($mine, $theirs) = $session->ask($sql{evaluate});
	is("$theirs$mine", $right{evaluate}, "$what: the answer is right");
	($mine, $theirs) = $session->ask("SET semtok.device = cuda; $sql{evaluate}; RESET semtok.device");
	like($theirs, qr/^ERROR:  there is no CUDA device that semtok can compute on\nDETAIL:  The worker process says: .*$reason/, "$what: device cuda is an error");
	$session->ask('RESET semtok.device');
}

# What installs say of themselves
plugin($fake);
fake();
my $text = `cd '$data' && '$program' --engines 2>&1`;
like($text, qr/^cpu\t.+ us \+ .+\ncuda\tfake device 0, compute capability 9\.0\t.+ us \+ /m, '--engines');
$text = `cd '$data' && '$program' --selftest 2>&1`;
like($text, qr/^engine cuda: fake device 0, compute capability 9\.0\nok      encode 600 rows.*all is well$/ms, '--selftest');

$session->end;
is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $started, 'the server has not been restarted');
$node->stop;
is(scalar workers($program), 0, 'no worker is left');
unlike(slurp_file($node->logfile), qr/\b(PANIC|TRAP|signal 11|signal 6)\b/, 'and no crash');

done_testing();
