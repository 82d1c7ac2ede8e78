"""k-means by others, beside test/cuda/bench_kmeans.c: the table's shape, on a CUDA device.

With FLASH_KMEANS=checkout its Euclidean k-means, from given centroids: a whole run of 25 iterations
of 50,000 x 128 rows, 512 codewords, as its users call it, and by its own assignment and update
alone. Milliseconds, the median of event-timed runs. How far its last objective is from that of the
same iterations in binary64 tells how exact it is.
"""

import os
import statistics
import sys

import torch

ROWS, DIM, SIZE, ITERATIONS = 50000, 128, 512, 25
WARM, RUNS = 3, 15


def milliseconds(work):
    times = []
    for i in range(WARM + RUNS):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        torch.cuda.synchronize()
        if i >= WARM:
            times.append(begin.elapsed_time(end))
    return statistics.median(times)


def objective(x, centroids):
    return (torch.cdist(x.double(), centroids.double()).min(1).values ** 2).mean().item()


def exact(x, centroids):
    """Lloyd's iterations in binary64; a centroid without rows stays."""
    x, c = x.double(), centroids.double()
    for _ in range(ITERATIONS):
        codes = torch.cdist(x, c).argmin(1)
        counts = torch.bincount(codes, minlength=SIZE)
        sums = torch.zeros_like(c).index_add_(0, codes, x)
        c = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], c)
    return c


checkout = os.environ.get("FLASH_KMEANS")
print(f"PyTorch {torch.__version__}, {torch.cuda.get_device_name()}")
if not checkout:
    print("flash-kmeans: no checkout named")
    sys.exit(0)
sys.path.insert(0, checkout)
from flash_kmeans.kmeans_triton_impl import batch_kmeans_Euclid  # noqa: E402

torch.manual_seed(1)
rows = (torch.rand(ROWS, DIM, device="cuda") * 2 - 1) + (torch.rand(ROWS, DIM, device="cuda") * 2 - 1)
start = rows[torch.arange(SIZE, device="cuda") * 7919 % ROWS].clone()


def run():
    # A negative tolerance: all iterations.
    return batch_kmeans_Euclid(rows[None], SIZE, max_iters=ITERATIONS, tol=-1.0, init_centroids=start[None])


ms = milliseconds(run)
codes, centroids, iterations = run()
print(f"flash-kmeans {ROWS} x {DIM}, K {SIZE}, {iterations} iterations: {ms:.3f} ms; objective "
      f"{objective(rows, centroids[0]):.6f}, in binary64 {objective(rows, exact(rows, start)):.6f}")
