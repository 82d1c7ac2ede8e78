"""Constrained beam search by STATIC or RecTokens in PyTorch on the CPU, over a catalog of ids of three
levels, with logits that are given: each step's model hands out that level's row of the query.

  decode.py static|rectokens CHECKOUT IDS LOGITS LEVELS VOCAB BEAM K QUERIES THREADS

IDS: a line of codes for each id, sorted, none twice. LOGITS: a line of LEVELS * VOCAB for each query.
Prints "number ms id…" a query, the K best ids, best first; then "0 ms" for all of them in one batch.

RecTokens' step for a CPU is its sparse PyTorch one (rectokens.decoding.vntk): its own dispatch loads a
kernel that needs a CUDA device, so the module that dispatches is stood in for. That step reads as many
edges of each node as the widest of its level has, past the table's end too: edges to nowhere are added.
"""

import sys
import time
import types

import numpy as np
import torch

layout, checkout, ids, logits, *numbers = sys.argv[1:]
levels, vocab, beam, k, queries, threads = map(int, numbers)
torch.set_num_threads(threads)
sys.path.insert(0, checkout)
ids = np.loadtxt(ids, dtype=np.int64, delimiter=",", ndmin=2)
logits = torch.from_numpy(np.loadtxt(logits, dtype=np.float32, delimiter=",", ndmin=2, max_rows=queries))
logits = logits.reshape(-1, levels, vocab)


class Given:
    """A model whose logits do not look at the prefix; what calls it may write on them."""

    def __init__(self, rows):
        self.rows, self.step = rows, -1

    def __call__(self, tokens, **_):
        self.step += 1
        rows = self.rows[:, self.step].repeat_interleave(tokens.shape[0] // self.rows.shape[0], 0).unsqueeze(1)
        return types.SimpleNamespace(logits=rows, past_key_values=None)


def static():
    from static_decoding.csr_utils import build_static_index
    from static_decoding.decoding_pt import sparse_transition_torch

    csr, indptr, branches, start, mask, states = build_static_index(ids, vocab, 2)
    tables = [torch.from_numpy(np.ascontiguousarray(a)) for a in (csr, indptr, start, mask, states)]

    def search(rows):
        model = Given(rows)
        return sparse_transition_torch(
            lambda tokens: model(tokens).logits, rows.shape[0], beam, beam, 0, levels, vocab, branches,
            *tables, torch.device("cpu"), 2
        )

    return search


def rectokens():
    name = "rectokens.ops.constrained_node_transition"
    stand_in = types.ModuleType(name)
    for function in ("", "_sampling", "_topk"):
        setattr(stand_in, "fused_linear_constrained_node_transition" + function, None)
    sys.modules[name] = stand_in
    from rectokens.decoding.vntk import vtnk_pytorch

    stand_in.constrained_node_transition = lambda scores, constraint_state: vtnk_pytorch(
        scores, constraint_state.cur_node, constraint_state.trie, constraint_state.step
    )
    from rectokens.decoding.constrained_decoding import autoregressive_generate
    from rectokens.schemas.compact_csr_trie import CompactCSRTrie
    from rectokens.schemas.config import GenerationConfig

    trie = CompactCSRTrie.from_sorted_batch(torch.from_numpy(ids), vocab)
    trie = trie._replace(stacked_cols_vals=torch.nn.functional.pad(trie.stacked_cols_vals, (0, vocab), value=-1))
    config = GenerationConfig(steps=levels, k=beam, beam_size=beam, temperature=0.0)

    def search(rows):
        start = torch.zeros(rows.shape[0], 1, dtype=torch.long)
        return autoregressive_generate(Given(rows), trie, start, config)

    return search


def measure(search, rows):
    began = time.perf_counter()
    found = search(rows)
    return (time.perf_counter() - began) * 1000, found


search = static() if layout == "static" else rectokens()
for i in range(10):
    search(logits[i % len(logits)][None])
for i in range(len(logits)):
    took, found = measure(search, logits[i][None])
    print(i + 1, took, *("[%s]" % ",".join(map(str, row)) for row in found[0, :k].tolist()))
search(logits)
print(0, min(measure(search, logits)[0] for _ in range(5)), flush=True)
