"""RecTokens' own kernels and baselines on its grid, one line a cell as they come: rows, tokens,
children, baseline, microseconds; or why there is no figure. PyTorch's dense product, too.

    RECTOKENS=checkout python3 bench/gpu-trie/linear_rivals.py SECONDS

SECONDS is when to stop: its kernels are tuned anew for each shape, so that what matters comes first.
What did not get its turn is named. Times: triton's do_bench, median, without that tuning.
"""
import os
import sys
import time

begin = time.time()
seconds = float(sys.argv[1])
sys.path.insert(0, os.environ.get("RECTOKENS", "checkout-rectokens"))

import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from triton import testing  # noqa: E402

DIM, TOP = 512, 50
CELLS = [(4096, 512, 100), (256, 512, 100), (1024, 8192, 10), (4096, 150000, 10), (4096, 8192, 10), (32, 512, 10),
         (256, 8192, 10), (32, 8192, 10), (1024, 512, 100)]
CELLS += [(b, v, s) for b in (32, 256, 1024, 4096) for v in (512, 1024, 8192, 150000) for s in (1, 10, 100)
          if (b, v, s) not in CELLS]

try:
    from rectokens.decoding.vntk import sparse_linear_pytorch, vtnk_pytorch
    from rectokens.ops.constrained_node_transition import (
        constrained_node_transition, fused_linear_constrained_node_transition,
        fused_linear_constrained_node_transition_sampling,
        fused_linear_constrained_node_transition_topk)
    from rectokens.schemas.compact_csr_trie import CompactCSRTrie
    from rectokens.schemas.state import ConstraintState
    rectokens = None
except Exception as error:  # a rival that does not run is named
    rectokens = f"{type(error).__name__}: {error}"


def trie(tokens, children):
    """Depth one, the first tokens: as RecTokens' benchmark has it."""
    csr = CompactCSRTrie.from_sorted_batch(torch.arange(children)[:, None], vocab_size=tokens)
    return csr._replace(row_ptrs=csr.row_ptrs.cuda(), stacked_cols_vals=csr.stacked_cols_vals.cuda(),
                        dense_mask_by_layer=[m.cuda() for m in csr.dense_mask_by_layer],
                        dense_states=csr.dense_states.cuda())


def baselines(rows, tokens, children):
    x = torch.randn(rows, DIM, device="cuda")
    weights = torch.randn(tokens, DIM, device="cuda")
    yield "dense product", lambda: x @ weights.T
    chosen = torch.arange(children, device="cuda") * (tokens // children)
    top = min(TOP, children)
    yield "gathered product and torch.topk", lambda: torch.topk(x @ weights[chosen].T, top)
    if rectokens:
        return
    csr = trie(tokens, children)
    node = torch.zeros(rows, dtype=torch.long, device="cuda")
    state = ConstraintState(step=0, trie=csr, cur_node=node)
    yield "fused top-k", lambda: fused_linear_constrained_node_transition_topk(x, weights.T, state, k=top)
    yield "fused sampling", lambda: fused_linear_constrained_node_transition_sampling(x, weights.T, state)
    yield "fused masked", lambda: fused_linear_constrained_node_transition(x, weights.T, state)
    yield "kernel masked", lambda: constrained_node_transition(x @ weights.T, state)
    yield "pytorch masked", lambda: vtnk_pytorch(x @ weights.T, node, csr, step=0)
    sparse = torch.compile(sparse_linear_pytorch)
    yield "sparse pytorch masked", lambda: sparse(x, weights, node, csr, step=0)
    yield "sparse pytorch top-k", lambda: torch.topk(sparse(x, weights, node, csr, step=0)[2], top)
    yield "sparse pytorch sampling", lambda: torch.multinomial(
        F.softmax(sparse(x, weights, node, csr, step=0)[2], dim=-1), 1)


if rectokens:
    print(f"RecTokens does not run here: {rectokens}"[:300])
left = 0
with torch.no_grad():
    for rows, tokens, share in CELLS:
        children = max(1, tokens * share // 1000)
        if time.time() - begin > seconds:
            left += 1
            continue
        for name, run in baselines(rows, tokens, children):
            cell = f"{rows},{tokens},{children},{name}"
            if time.time() - begin > seconds:
                print(f"{cell},no time left", flush=True)
                continue
            try:
                first = time.time()
                run()
                torch.cuda.synchronize()
                first = time.time() - first
                us = testing.do_bench(run, warmup=5, rep=20, return_mode="median") * 1e3
                print(f"{cell},{us:.2f},first call {first:.1f} s", flush=True)
            except Exception as error:
                print(f"{cell},{type(error).__name__}: {str(error).splitlines()[0][:120]}", flush=True)
            torch.cuda.empty_cache()
print(f"{left} of {len(CELLS)} cells had no turn")
