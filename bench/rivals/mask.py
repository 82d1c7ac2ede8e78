"""The masking step of STATIC or RecTokens on the CPU: which logits stay, for the nodes of given prefixes.

  mask.py static|rectokens CHECKOUT TRIE.npz PREFIXES VOCAB OFFSETS DENSE RUNS

Prints "depth ms" for every depth that the step is for (dense layers are a lookup in a table). What it
lets through is checked against the trie itself first.
"""
import importlib.util
import sys
import time

import numpy as np
import torch


def module(path):
    spec = importlib.util.spec_from_file_location("rival", path)
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def median_ms(runs, work):
    took = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return float(np.median(took[1:])) * 1000


layout, checkout, file, prefixes, vocab, offsets, dense, runs = sys.argv[1:]
vocab, dense, runs = int(vocab), int(dense), int(runs)
base = None if offsets == "NULL" else [int(o) for o in offsets.strip("'{}").split(",")]
asked = {}
for line in open(prefixes):
    depth, codes = line.split("|")
    codes = [int(c) for c in codes.strip().strip("{}").split(",")]
    asked.setdefault(int(depth), []).append([c + base[n] if base else c for n, c in enumerate(codes)])
arrays = np.load(file)
branches = arrays["layer_max_branches"].tolist()

if layout == "static":
    rival = module(checkout + "/static_decoding/decoding_pt.py")
    csr, indptr = (torch.from_numpy(arrays[n]).long() for n in ("packed_csr", "indptr"))
    first, ends, edges = (lambda tokens: tokens[0] + 1), arrays["indptr"], arrays["packed_csr"]
    taken = 1
else:
    rival = module(checkout + "/rectokens/decoding/vntk.py")
    # It reads as many edges as the widest node has, beyond the end of the array too.
    cols_vals = torch.nn.functional.pad(torch.from_numpy(arrays["stacked_cols_vals"]), (0, max(branches)), value=-1)
    trie = type("Trie", (), {"row_ptrs": torch.from_numpy(arrays["row_ptrs"]), "stacked_cols_vals": cols_vals,
                             "layer_max_branches": branches})
    first, ends, edges = (lambda tokens: 0), arrays["row_ptrs"], arrays["stacked_cols_vals"].T
    taken = 0


def node_of(tokens):
    node = first(tokens)
    for token in tokens[taken:]:
        row = edges[ends[node]:ends[node + 1]]
        node = row[np.searchsorted(row[:, 0], token), 1]
    return int(node)


for depth, paths in sorted(asked.items()):
    if depth < dense:
        continue
    nodes = torch.tensor([node_of(p) for p in paths])
    logits = torch.randn(len(paths), vocab)
    if layout == "static":
        def step():
            return rival.generate_and_apply_logprobs_mask(logits, nodes, csr, indptr, branches[depth], vocab, torch.device("cpu"))
        scores, tokens, _ = step()
        through = [set(t[torch.isfinite(s)].tolist()) for s, t in zip(scores, tokens)]
    else:
        def step():
            return rival.vtnk_pytorch(logits, nodes, trie, depth)
        through = [set(torch.nonzero(torch.isfinite(row)).flatten().tolist()) for row in step()[2]]
    for node, tokens in zip(nodes.tolist(), through):
        assert tokens == set(edges[ends[node]:ends[node + 1], 0].tolist())
    print(depth, median_ms(runs, step), flush=True)
