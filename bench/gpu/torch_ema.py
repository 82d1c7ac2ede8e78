"""The update of a codebook by moving averages in PyTorch, in its usual five steps, on a CUDA device.

Prints one line for each shape: milliseconds, the median of event-timed updates over batches that
take turns and together are larger than the second-level cache. Two ways to add up the rows of each
code: a product with a one-hot matrix, and index_add_, which adds in no fixed order.
"""

import statistics

import torch

NUMBERS = 32 << 20
WARM, RUNS = 5, 40
SHAPES = [(65536, 64, 256), (65536, 64, 4096), (65536, 128, 256), (65536, 384, 256), (1024, 128, 256)]
DECAY, RESTART_AFTER = 0.99, 20


def update(x, codes, state, one_hot):
    counts, sums, codewords, idle = state
    size = counts.shape[0]
    # 1. how many rows each code has, and their sum
    if one_hot:
        assigned = torch.nn.functional.one_hot(codes, size).to(x.dtype)
        rows, added = assigned.sum(0), assigned.t() @ x
    else:
        rows = torch.bincount(codes, minlength=size).to(x.dtype)
        added = torch.zeros_like(sums).index_add_(0, codes, x)
    hit = rows > 0
    # 2. blend
    counts.copy_(torch.where(hit, DECAY * counts + (1 - DECAY) * rows, counts))
    sums.copy_(torch.where(hit[:, None], DECAY * sums + (1 - DECAY) * added, sums))
    # 3. refresh
    codewords.copy_(torch.where(hit[:, None], sums / counts.clamp(min=1e-5)[:, None], codewords))
    # 4. count idle batches
    idle.copy_(torch.where(hit, torch.zeros_like(idle), idle + 1))
    # 5. restart what is dead
    dead = idle >= RESTART_AFTER
    rows_of = torch.randint(0, x.shape[0], (size,), device=x.device)
    codewords.copy_(torch.where(dead[:, None], x[rows_of], codewords))
    sums.masked_fill_(dead[:, None], 0)
    counts.masked_fill_(dead, 0)
    idle.masked_fill_(dead, 0)


def measure(n, dim, size, one_hot):
    batches = NUMBERS // dim // n
    x = torch.rand(batches, n, dim, device="cuda") * 2 - 1
    codes = torch.randint(0, size, (batches, n), device="cuda")
    state = (torch.zeros(size, device="cuda"), torch.zeros(size, dim, device="cuda"),
             torch.rand(size, dim, device="cuda"), torch.zeros(size, dtype=torch.int32, device="cuda"))
    times = []
    for i in range(WARM + RUNS):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        update(x[i % batches], codes[i % batches], state, one_hot)
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times[WARM:])


if __name__ == "__main__":
    print(f"PyTorch {torch.__version__}, {torch.cuda.get_device_name()}")
    print("rows x dim     codes   one-hot ms  index_add_ ms")
    for n, dim, size in SHAPES:
        way = [measure(n, dim, size, one_hot) for one_hot in (True, False)]
        print(f"{n:8d} x {dim:<4d} {size:6d}   {way[0]:8.4f}     {way[1]:8.4f}")
