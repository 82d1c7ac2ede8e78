"""STATIC's own PyTorch code in bench_trie's setting: a whole decode of random ids, a step of it.

    STATIC=checkout python3 torch_trie.py      bench/gpu/run trie does

Its model hands out logits that lie there already, so that only decoding is timed: as it is, and as
one CUDA graph. Ids are as many, as long and as random as bench_trie's, not the same ones.
"""

import os
import sys

import numpy
import torch

ITEMS, LEVELS, VOCABULARY, BATCH, BEAM = 1_000_000, 8, 2048, 32, 50
RUNS = 40


class Ready(torch.nn.Module):
    """Logits for the first step, and for the others."""

    def __init__(self, device):
        super().__init__()
        self.logits = torch.rand(BATCH * BEAM, 1, VOCABULARY, device=device) * 8 - 4

    def forward(self, input_ids):
        return self.logits[: input_ids.size(0)]


def median_ms(call):
    for _ in range(5):
        call()
    torch.cuda.synchronize()
    times = []
    for _ in range(RUNS):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        call()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return sorted(times)[RUNS // 2]


def main():
    checkout = os.environ.get("STATIC")
    if not checkout:
        print("# no checkout of STATIC: STATIC=folder")
        return
    sys.path.insert(0, checkout)
    from static_decoding.csr_utils import build_static_index
    from static_decoding.decoding_pt import sparse_transition_torch

    device = torch.device("cuda")
    rng = numpy.random.default_rng(1)
    sids = rng.integers(0, VOCABULARY, size=(ITEMS, LEVELS), dtype=numpy.int32)
    sids = sids[numpy.lexsort([sids[:, i] for i in range(LEVELS - 1, -1, -1)])]
    csr, indptr, branches, start, dense, states = build_static_index(sids, VOCABULARY, 2)
    there = [torch.tensor(a, device=device) for a in (csr, indptr, start, dense, states)]
    size = sum(a.numel() * a.element_size() for a in there)
    model = Ready(device)

    def decode():
        return sparse_transition_torch(
            model, BATCH, BEAM, BEAM, 0, LEVELS, VOCABULARY, branches, there[0], there[1],
            there[2], there[3], there[4], device, 2)

    found = decode()[:, 0].cpu().numpy()
    known = {bytes(row) for row in sids.astype(numpy.int32)}
    valid = sum(bytes(row.astype(numpy.int32)) in known for row in found)
    plain = median_ms(decode)
    print(f"STATIC, PyTorch {torch.__version__}: trie {size * 1e-6:.1f} MB; batch {BATCH} x beam "
          f"{BEAM}, {LEVELS} steps {plain:.3f} ms, {plain / LEVELS * 1e3:.1f} us a step; "
          f"{valid} of {BATCH} best ids exist")
    try:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            decode()
        replayed = median_ms(graph.replay)
        print(f"STATIC in one CUDA graph: {LEVELS} steps {replayed:.3f} ms, "
              f"{replayed / LEVELS * 1e3:.1f} us a step")
    except RuntimeError as error:
        print(f"# STATIC in one CUDA graph: {str(error).splitlines()[0]}")


main()
