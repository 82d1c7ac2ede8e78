"""What semset_to_npz writes, decoded with by STATIC's and RecTokens' own code; what they build, read
by semset_from_npz. STATIC and RECTOKENS name checkouts of the two libraries; one that is not named is
left out, and so is RecTokens' generation where there is no CUDA device, which it cannot run without.
"""
import importlib.util
import io
import itertools
import json
import os
import random
import subprocess
import sys

import numpy
import torch

from tap import done, equal, ok


def sql(query):
    """The one value of a query."""
    return subprocess.run(['psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-f', '-'], input=query, check=True,
                          capture_output=True, text=True).stdout.strip()


def set_literal(ids):
    return "'{%s}'::semset" % ','.join('[%s]' % ','.join(map(str, i)) for i in ids)


def array_literal(values):
    return "'{%s}'" % ','.join(map(str, values)) if values else 'NULL'


def export(ids, vocab, dense, layout, offsets):
    """The arrays of the file that the database writes."""
    hexed = sql("SELECT encode(semset_to_npz(%s, %d, %d, '%s', %s), 'hex')"
                % (set_literal(ids), vocab, dense, layout, array_literal(offsets)))
    return numpy.load(io.BytesIO(bytes.fromhex(''.join(hexed.split()))))


def read_back(ids, offsets, **arrays):
    """Is a file of these arrays the set of the ids?"""
    file = io.BytesIO()
    numpy.savez(file, **arrays)
    return sql("SELECT semset_from_npz('\\x%s', 0, %s) = %s"
               % (file.getvalue().hex(), array_literal(offsets), set_literal(ids)))


def masks(ids, prefixes, vocab, offsets):
    """Rows of semtok.mask_packed_set as numpy reads them: [prefixes][vocab]."""
    literal = ','.join('"[%s]"' % ','.join(map(str, p)) if p else 'NULL' for p in prefixes)
    hexed = sql("SELECT encode(semtok.mask_packed_set(%s, '{%s}', %d, %s), 'hex')"
                % (set_literal(ids), literal, vocab, array_literal(offsets)))
    packed = numpy.frombuffer(bytes.fromhex(''.join(hexed.split())), numpy.uint8)
    return numpy.unpackbits(packed.reshape(len(prefixes), -1), axis=1, bitorder='little')[:, :vocab]


def cases(dense_limit):
    """Ids, vocab, dense layers, offsets; their tokens as a sorted array."""
    draw = random.Random(8)
    for levels, codes, dense, count, offsets in (
            (2, 5, 1, 12, None), (3, 6, 2, 60, None), (5, 8, 2, 300, None), (8, 4, 1, 200, None),
            (3, 6, 1, 40, (30, 50, 40)), (4, 7, 2, 150, (3, 12, 20, 31))):
        ids = sorted({tuple(draw.randrange(codes) for _ in range(levels)) for _ in range(count)})
        base = offsets or (0,) * levels
        tokens = numpy.array([[c + o for c, o in zip(i, base)] for i in ids])
        yield ids, int(tokens.max()) + 2, min(dense, dense_limit, levels - 1), offsets, tokens


def test_static(checkout):
    sys.path.insert(0, checkout)
    from static_decoding.csr_utils import build_static_index
    from static_decoding.decoding_pt import RandomModel, sparse_transition_torch

    names = ('packed_csr', 'indptr', 'layer_max_branches', 'start_mask', 'dense_mask', 'dense_states')
    differ, invalid, back = [], [], []
    for ids, vocab, dense, offsets, tokens in cases(2):
        arrays = export(ids, vocab, dense, 'static', offsets)
        built = dict(zip(names, build_static_index(tokens, vocab, dense)))
        differ += [n for n in names if not numpy.array_equal(arrays[n], numpy.array(built[n]))]
        device = torch.device('cpu')
        beams = min(10, arrays['start_mask'].sum())
        torch.manual_seed(1)
        out = sparse_transition_torch(
            RandomModel(vocab, device), 3, beams, min(vocab, 40), 0, tokens.shape[1], vocab,
            tuple(arrays['layer_max_branches'].tolist()),
            *(torch.from_numpy(arrays[n]).to(t) for n, t in (
                ('packed_csr', torch.long), ('indptr', torch.long), ('start_mask', torch.bool),
                ('dense_mask', torch.bool), ('dense_states', torch.long))), device, dense)
        valid = set(map(tuple, tokens.tolist()))
        invalid += [i for i in out.reshape(-1, tokens.shape[1]).tolist() if tuple(i) not in valid]
        back.append(read_back(ids, offsets, **{n: numpy.array(built[n]) for n in names}))
    equal(differ, [], 'STATIC: its own builder makes the same arrays')
    equal(invalid, [], 'STATIC: end_to_end: it decodes with ours, and only ids that exist')
    equal(set(back), {'t'}, 'STATIC: what it builds is read, with offsets too')


def load_rectokens(path, name):
    """A module of RecTokens by itself: its packages import kernels that want a device."""
    spec = importlib.util.spec_from_file_location(name.replace('/', '_'), '%s/rectokens/%s.py' % (path, name))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rectokens_trie(csr, arrays, dense):
    return csr(row_ptrs=torch.from_numpy(arrays['row_ptrs']),
               stacked_cols_vals=torch.from_numpy(arrays['stacked_cols_vals']),
               layer_max_branches=arrays['layer_max_branches'].tolist(),
               dense_mask_by_layer=[torch.from_numpy(arrays['dense_mask_by_layer_%d' % l]) for l in range(dense)],
               dense_states=torch.from_numpy(arrays['dense_states']), vocab_size=int(arrays['vocab_size']))


def rectokens_arrays(trie):
    arrays = {'dense_mask_by_layer_%d' % l: m.numpy() for l, m in enumerate(trie.dense_mask_by_layer)}
    return {**arrays, 'row_ptrs': trie.row_ptrs.numpy(), 'stacked_cols_vals': trie.stacked_cols_vals.numpy(),
            'layer_max_branches': numpy.array(trie.layer_max_branches), 'dense_states': trie.dense_states.numpy(),
            'vocab_size': numpy.array(trie.vocab_size)}


def walk_rectokens(vtnk, trie, levels, vocab):
    """All tokens that its masks let through, breadth first: (mask of every prefix, whole ids).

    On the CPU it reads as many edges as the widest node has, beyond the end of its own arrays too.
    """
    trie = trie._replace(stacked_cols_vals=torch.nn.functional.pad(trie.stacked_cols_vals, (0, vocab), value=-1))
    nodes, paths, seen = torch.zeros(1, dtype=torch.long), [()], {}
    for step in range(levels):
        following, valid, masked = vtnk(torch.zeros(len(paths), vocab), nodes, trie, step)
        for path, row in zip(paths, masked):
            seen[path] = (row == 0).numpy()
        pairs = [(p + (int(t),), n) for p, ts, ns in zip(paths, valid, following) for t, n in zip(ts, ns) if t >= 0]
        paths, nodes = [p for p, _ in pairs], torch.stack([n for _, n in pairs])
        if step < len(trie.dense_mask_by_layer):
            dense = trie.dense_mask_by_layer[step]
            for path in seen:
                if len(path) == step and not (dense[path].numpy() == seen[path]).all():
                    ok(False, 'dense mask of %r' % (path,))
    return seen, paths


def test_rectokens(checkout):
    csr = load_rectokens(checkout, 'schemas/compact_csr_trie').CompactCSRTrie
    vtnk = load_rectokens(checkout, 'decoding/vntk').vtnk_pytorch
    differ, wrong, unlike, back = [], [], [], []
    for ids, vocab, dense, offsets, tokens in cases(3):
        arrays = export(ids, vocab, dense, 'rectokens', offsets)
        trie = rectokens_trie(csr, arrays, dense)
        built = rectokens_arrays(csr.from_sorted_batch(torch.from_numpy(tokens), vocab, dense))
        # The rows of leaves, which nobody expands, are left out of the file's end alone.
        differ += [n for n in built if not numpy.array_equal(arrays[n], built[n])]
        seen, paths = walk_rectokens(vtnk, trie, tokens.shape[1], vocab)
        wrong += sorted(set(paths) ^ set(map(tuple, tokens.tolist())))
        base = offsets or (0,) * tokens.shape[1]
        ours = masks(ids, [tuple(t - o for t, o in zip(p, base)) for p in seen], vocab, offsets)
        unlike += [p for p, row in zip(seen, ours) if not (row == seen[p]).all()]
        back.append(read_back(ids, offsets, **built))
    equal(differ, [], 'RecTokens: csr_sorted_batch_matches_trie: from_sorted_batch makes the same arrays')
    equal(wrong, [], 'RecTokens: csr_walk: its masks over our file lead to the ids, all of them')
    equal(unlike, [], 'RecTokens: vtnk_pytorch and semtok.mask_packed_set let the same tokens through')
    equal(set(back), {'t'}, 'RecTokens: what it builds is read, with offsets too')
    if not torch.cuda.is_available():
        print('# no CUDA device: RecTokens cannot generate', file=sys.stderr)
        return
    sys.path.insert(0, checkout)
    from rectokens.decoding.constrained_decoding import autoregressive_generate
    from rectokens.schemas.config import GenerationConfig

    class Logits:
        """A model of random logits, in the form that generation calls one."""

        def __init__(self, vocab):
            self.vocab = vocab

        def __call__(self, input_ids, **_):
            self.logits = torch.rand(input_ids.shape[0], 1, self.vocab, device='cuda')
            self.past_key_values = None
            return self

    invalid = []
    for ids, vocab, dense, offsets, tokens in cases(3):
        trie = rectokens_trie(csr, export(ids, vocab, dense, 'rectokens', offsets), dense)
        trie = trie._replace(row_ptrs=trie.row_ptrs.cuda(), stacked_cols_vals=trie.stacked_cols_vals.cuda(),
                             dense_mask_by_layer=[m.cuda() for m in trie.dense_mask_by_layer],
                             dense_states=trie.dense_states.cuda())
        out = autoregressive_generate(Logits(vocab), trie, torch.zeros(2, 1, dtype=torch.long, device='cuda'),
                                      GenerationConfig(steps=tokens.shape[1], k=1, beam_size=1, temperature=0.0))
        valid = set(map(tuple, tokens.tolist()))
        invalid += [i for i in out.reshape(-1, tokens.shape[1]).tolist() if tuple(i) not in valid]
    equal(invalid, [], 'RecTokens: autoregressive_generate decodes with ours, and only ids that exist')


def test_json():
    """index.json and sid2pid as their readers take them apart: tokens by item, items by codes."""
    ids = sorted({tuple(p) for p in itertools.product((0, 3, 255), (7, 0), (1,))})
    index = json.loads(sql("SELECT semset_to_json(%s, 'index.json')" % set_literal(ids)))
    letters = 'abc'
    equal([index[str(n)] for n in range(len(index))],
          [['<%s_%d>' % (letters[l], c) for l, c in enumerate(i)] for i in ids], 'index.json')
    sid2pid = json.loads(sql("SELECT semset_to_json(%s, 'sid2pid')" % set_literal(ids)))
    equal({tuple(map(int, k.split(','))): v for k, v in sid2pid.items()}, {i: [n] for n, i in enumerate(ids)}, 'sid2pid')


for name, test in (('STATIC', test_static), ('RECTOKENS', test_rectokens)):
    if os.environ.get(name):
        test(os.environ[name])
    else:
        print('# no %s=checkout: left out' % name, file=sys.stderr)
test_json()
done()
