"""RecTokens' quantization grid by others, beside test/cuda/bench_grid.c: same rows, same timing.

    python3 rivals.py OURS >RIVALS      bench/gpu/run does

OURS is what bench_grid printed; the sums of right codes in it say whether both have the same rows.
Always: PyTorch's cdist and matmul, each with argmin. With RECTOKENS=checkout its Triton kernels, with
FLASH_KMEANS=checkout its assignment. Prints a line for each cell and rival: rows, dim, codewords, who,
microseconds a call, rows whose code is wrong (another codeword is nearer in binary64). Lines that begin
with # say what ran and what the device can do at most.

A time is a CUDA graph's of CALLS calls over inputs that take turns, divided by their number, median of
REPLAYS, behind a fill of the second-level cache: what the device needs, without Python. Compiling and
tuning come before.
"""

import os
import subprocess
import sys

import torch
import triton

POOL = 1 << 26
CALLS = 16
REPLAYS = 15
ROWS = (32, 256, 1024, 4096, 16384, 32768, 65536)
DIMS = (64, 128, 256)
SIZES = (64, 128, 256, 512)
COMPILERS = 12

cuda = torch.device("cuda")


def signed(v):
    return v - (1 << 64) if v >= 1 << 63 else v


def shifted(v, bits):
    """v >> bits of unsigned 64-bit numbers, which PyTorch has as signed ones."""
    return (v >> bits) & ((1 << (64 - bits)) - 1)


def numbers(sequence, n):
    """bench_grid.c's: the sum of four uniform numbers from splitmix64, exact in binary32."""
    parts = []
    for first in range(0, n, 1 << 24):
        i = torch.arange(first + 1, min(n, first + (1 << 24)) + 1, device=cuda)
        z = (i * signed(0x9E3779B97F4A7C15)) + (sequence << 40)
        z = (z ^ shifted(z, 30)) * signed(0xBF58476D1CE4E5B9)
        z = (z ^ shifted(z, 27)) * signed(0x94D049BB133111EB)
        z = z ^ shifted(z, 31)
        total = sum(((z >> j) & 0xFFFF) for j in (0, 16, 32, 48))
        parts.append((total - 131070).to(torch.float32) * 2.0**-15)
    return torch.cat(parts)


def graph_of(work, inputs):
    """A graph of one call of work for each input, and the calls' results."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for x in inputs[:2]:
            work(x)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = [work(x) for x in inputs]
    return graph, results


def median_us(run, flushed, calls):
    """Median time of run(), which does so many calls, in microseconds a call."""
    took = []
    for i in range(-2, REPLAYS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        flushed.fill_(i + 2)
        begin.record()
        run()
        end.record()
        torch.cuda.synchronize()
        if i >= 0:
            took.append(begin.elapsed_time(end) * 1e3 / calls)
    return sorted(took)[len(took) // 2]


def brief_bench(flushed):
    """What Triton's autotuner asks: quantiles of a call's time in ms, from few runs."""

    def bench(call, quantiles=None, **_):
        events = []
        for _ in range(2):
            call()
        for _ in range(9):
            pair = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
            flushed.zero_()
            pair[0].record()
            call()
            pair[1].record()
            events.append(pair)
        torch.cuda.synchronize()
        times = sorted(a.elapsed_time(b) for a, b in events)
        return [times[int(q * (len(times) - 1))] for q in quantiles or (0.5,)]

    return bench


def compile_share(number):
    """Compile one share of RecTokens' kernels into Triton's cache: one of COMPILERS processes."""
    from rectokens.kernels import nn_quantize as nn

    tf32 = nn.IS_PTX_RNA_TF32_SUPPORTED
    work = []
    for dim in DIMS:
        for config in nn.quantize_fwd_kernel.configs:
            work.append((nn.quantize_fwd_kernel, dim, config, 32))
        for config in nn.quantize_fwd_kernel_mm.configs:
            for rows in (32, 256):
                work.append((nn.quantize_fwd_kernel_mm, dim, config, rows))
    for kernel, dim, config, rows in work[number::COMPILERS]:
        x = torch.empty(rows, dim, device=cuda)
        c = torch.empty(64, dim, device=cuda)
        out = torch.empty(rows, dtype=torch.int64, device=cuda)
        dist = torch.empty(rows, device=cuda)
        locks = torch.empty(rows // 16, dtype=torch.int32, device=cuda)
        more = (dist, locks, rows // 16) if kernel is nn.quantize_fwd_kernel_mm else ()
        try:
            kernel.fn.warmup(
                x, c, out, *more, dim, 1, dim, 1, rows, 64, dim, FP32_TO_TF32_MAX_PRECISION=tf32,
                num_warps=config.num_warps, num_stages=config.num_stages, grid=(1,), **config.kwargs
            )
        except Exception as e:  # what does not compile here, its autotuner will not take
            print(f"# not compiled: {type(e).__name__}", file=sys.stderr)


def rectokens(flushed):
    """Its two kernels, compiled and ready to be tuned."""
    path = os.environ.get("RECTOKENS")
    if not path:
        return []
    sys.path.insert(0, path)
    shares = [
        subprocess.Popen([sys.executable, __file__, "--compile", str(i)],
                         env={**os.environ, "PYTHONPATH": path})
        for i in range(COMPILERS)
    ]
    for share in shares:
        share.wait()
    from rectokens.kernels import nn_quantize as nn

    for kernel in (nn.quantize_fwd_kernel, nn.quantize_fwd_kernel_mm):
        kernel.do_bench = brief_bench(flushed)
    return [
        ("RecTokens fwd", lambda c: lambda x: nn.quantize_fwd(x, c)),
        ("RecTokens mm", lambda c: lambda x: nn.quantize_fwd_mm(x, c)[0]),
    ]


def flash_kmeans():
    """Its assignment with the shapes it chooses; the rows' norms are not counted."""
    path = os.environ.get("FLASH_KMEANS")
    if not path:
        return []
    sys.path.insert(0, path)
    from flash_kmeans.assign_euclid_triton import euclid_assign_triton

    def bound(c):
        norms = {}

        def work(x):
            return euclid_assign_triton(x[None], c[None], norms[x.data_ptr()])[0]

        def prepare(inputs):
            for x in inputs:
                norms[x.data_ptr()] = (x * x).sum(1)[None]

        work.prepare = prepare
        return work

    return [("flash-kmeans", bound)]


def torch_ways():
    def by_cdist(c):
        return lambda x: torch.cdist(x, c).argmin(1)

    def by_matmul(tf32):
        def bound(c):
            half, turned = 0.5 * (c * c).sum(1), c.t()

            def work(x):
                torch.backends.cuda.matmul.allow_tf32 = tf32
                try:
                    return torch.addmm(half, x, turned, alpha=-1).argmin(1)
                finally:
                    torch.backends.cuda.matmul.allow_tf32 = False

            return work

        return bound

    return [
        ("torch cdist", by_cdist),
        ("torch matmul fp32", by_matmul(False)),
        ("torch matmul tf32", by_matmul(True)),
    ]


def floors(flushed):
    """Ceilings of this device in this call: bytes and operations a second, and an empty launch."""
    a = torch.empty(1 << 28, device=cuda)
    b = torch.empty_like(a)
    copy = 2 * a.numel() * 4 / median_us(lambda: b.copy_(a), flushed, 1) * 1e-6
    del a, b
    p = torch.randn(8192, 8192, device=cuda, dtype=torch.float16)
    q = torch.randn(8192, 8192, device=cuda, dtype=torch.float16)
    product = 2 * 8192**3 / median_us(lambda: torch.mm(p, q), flushed, 1) * 1e-6
    one = torch.zeros(1, device=cuda)
    graph, _ = graph_of(lambda x: x.add_(1), [one] * CALLS)
    return copy, product, median_us(graph.replay, flushed, CALLS)


def main():
    torch.backends.cuda.matmul.allow_tf32 = False
    right = {}
    for line in open(sys.argv[1]):
        fields = line.strip().split(",")
        if len(fields) == 6 and fields[0].isdigit():
            right[tuple(map(int, fields[:3]))] = int(fields[5])
    flushed = torch.empty(1 << 28, dtype=torch.uint8, device=cuda)
    pool = numbers(0, POOL)
    copy, product, launch = floors(flushed)
    print(f"# device {torch.cuda.get_device_name()}, PyTorch {torch.__version__}, Triton {triton.__version__}")
    print(f"# floor copy {copy:.3f} TB/s, product {product:.1f} TFLOP/s, launch {launch:.2f} us")
    ways = torch_ways()
    for name, take in (("RecTokens", lambda: rectokens(flushed)), ("flash-kmeans", flash_kmeans)):
        try:
            found = take()
            ways += found
            print(f"# {name}: {'ran' if found else 'not carried'}")
        except Exception as e:
            print(f"# {name}: failed, {type(e).__name__}: {e}".splitlines()[0])
    for rows in ROWS:
        for dim in DIMS:
            for size in SIZES:
                values = rows * dim
                inputs = [
                    pool[(i % (POOL // values)) * values :][:values].view(rows, dim) for i in range(CALLS)
                ]
                c = numbers(1, size * dim).view(size, dim)
                wide = c.double()
                scores = 0.5 * (wide * wide).sum(1) - inputs[0].double() @ wide.t()
                best, codes = scores.min(1)
                total = int((codes * torch.arange(1, rows + 1, device=cuda)).sum()) & 0xFFFFFFFF
                if right.get((rows, dim, size), total) != total:
                    print(f"# {rows},{dim},{size}: other rows than bench_grid's")
                for name, bind in ways:
                    try:
                        work = bind(c)
                        if hasattr(work, "prepare"):
                            work.prepare(inputs)
                        work(inputs[0])
                        graph, results = graph_of(work, inputs)
                        took = median_us(graph.replay, flushed, CALLS)
                        chosen = results[0].long().clamp(0, size - 1)
                        wrong = int((scores.gather(1, chosen[:, None])[:, 0] > best).sum())
                        print(f"{rows},{dim},{size},{name},{took:.2f},{wrong}", flush=True)
                    except Exception as e:
                        print(f"# {rows},{dim},{size}: {name} failed, {type(e).__name__}: {e}".splitlines()[0])
                    finally:
                        graph = results = None


if __name__ == "__main__":
    if sys.argv[1] == "--compile":
        compile_share(int(sys.argv[2]))
    else:
        main()
