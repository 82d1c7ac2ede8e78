"""semset_to_npz and semset_from_npz beside NumPy: what it loads, what it saves.

The arrays are made a second time here, from a dictionary of prefixes, as the two libraries describe
them.
"""
import io
import random
import subprocess
import zipfile

import numpy

from tap import done, equal, ok


def sql(query):
    """The one value of a query; of an error its message."""
    run = subprocess.run(['psql', '-XAtq', '-v', 'VERBOSITY=terse', '-f', '-'], input=query,
                         capture_output=True, text=True)
    return run.stdout.strip() or run.stderr.strip()


def set_literal(ids, tokenizer=0):
    suffix = '@%d' % tokenizer if tokenizer else ''
    return "'{%s}'::semset" % ','.join('[%s]%s' % (','.join(map(str, i)), suffix) for i in ids)


def offsets_literal(offsets):
    return "'{%s}'" % ','.join(map(str, offsets)) if offsets else 'NULL'


def export(ids, vocab, dense, layout, offsets=None):
    hexed = sql("SELECT encode(semset_to_npz(%s, %d, %d, '%s', %s), 'hex')"
                % (set_literal(ids), vocab, dense, layout, offsets_literal(offsets)))
    return bytes.fromhex(''.join(hexed.split()))


def load(ids, data, offsets=None):
    """Does the file hold these ids? Or the error."""
    return sql("SELECT semset_from_npz('\\x%s', 5, %s) = %s"
               % (data.hex(), offsets_literal(offsets), set_literal(ids, 5)))


def children(ids):
    """Children of every prefix, and the prefixes by length, all in ascending order."""
    tree = {}
    for i in sorted(ids):
        for n in range(len(i)):
            tree.setdefault(i[:n], [])
            if i[n] not in tree[i[:n]]:
                tree[i[:n]].append(i[n])
    levels = len(ids[0])
    return tree, [sorted({i[:n] for i in ids}) for n in range(levels + 1)]


def branches(tree, prefixes):
    return numpy.array([max(len(tree[p]) for p in of) for of in prefixes[:-1]], numpy.int64)


def static(ids, vocab, dense):
    tree, prefixes = children(ids)
    levels = len(prefixes) - 1
    state = {p: p[0] + 1 for p in prefixes[1]}
    for of in prefixes[2:levels]:
        for p in of:
            state[p] = vocab + 1 + len(state) - len(prefixes[1])
    rows = {state[p]: [(c, state.get(p + (c,), 0)) for c in tree[p]] for p in state}
    states = vocab + 1 + len(state) - len(prefixes[1])
    edges, indptr = [], [0]
    for s in range(states):
        edges += rows.get(s, [])
        indptr.append(len(edges))
    edges += [(vocab, 0)] * vocab
    indptr.append(len(edges))
    start = numpy.zeros(vocab, bool)
    mask = numpy.zeros([vocab] * dense, bool)
    at = numpy.zeros([vocab] * dense, numpy.int32)
    for p in prefixes[1]:
        start[p] = True
    for p in prefixes[dense]:
        mask[p] = True
        at[p] = state[p]
    return {'packed_csr': numpy.array(edges, numpy.int32), 'indptr': numpy.array(indptr, numpy.int32),
            'layer_max_branches': branches(tree, prefixes), 'start_mask': start, 'dense_mask': mask,
            'dense_states': at}


def rectokens(ids, vocab, dense):
    tree, prefixes = children(ids)
    dense = min(dense, len(prefixes) - 1)
    nodes = [p for of in prefixes for p in of]
    number = {p: n for n, p in enumerate(nodes)}
    columns, values, rows = [], [], []
    for p in nodes:
        rows.append(len(columns))
        for c in tree.get(p, []):
            columns.append(c)
            values.append(number[p + (c,)])
    arrays = {'row_ptrs': numpy.array(rows, numpy.int64),
              'stacked_cols_vals': numpy.array([columns + [-1], values + [-1]], numpy.int64),
              'layer_max_branches': branches(tree, prefixes),
              'dense_states': numpy.zeros([vocab] * dense, numpy.int64),
              'vocab_size': numpy.array(vocab, numpy.int64)}
    for p in prefixes[dense]:
        arrays['dense_states'][p] = number[p]
    for level in range(dense):
        mask = numpy.zeros([vocab] * (level + 1), bool)
        for p in prefixes[level + 1]:
            mask[p] = True
        arrays['dense_mask_by_layer_%d' % level] = mask
    return arrays


MAKE = {'static': static, 'rectokens': rectokens}


def differences(data, expected):
    """What numpy loads, against the arrays made here."""
    found = []
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if archive.testzip() is not None:
            found.append('a checksum')
    with numpy.load(io.BytesIO(data), allow_pickle=False) as arrays:
        if sorted(arrays.files) != sorted(expected):
            found.append('names %s' % arrays.files)
        for name in set(arrays.files) & set(expected):
            array = arrays[name]
            if (array.dtype != expected[name].dtype or array.shape != expected[name].shape
                    or not (array == expected[name]).all()):
                found.append('%s %s, expected %s' % (name, array, expected[name]))
    return found


def save(arrays, **more):
    buffer = io.BytesIO()
    numpy.savez(buffer, **{**arrays, **more})
    return buffer.getvalue()


random.seed(5)
for layout in ('static', 'rectokens'):
    wrong = []
    for levels, vocab, dense, count, shifted in (
            (2, 3, 1, 5, False), (3, 6, 1, 20, False), (3, 6, 2, 100, True), (4, 5, 3, 200, False),
            (5, 3, 4, 40, True), (2, 300, 1, 400, False), (3, 2, 2, 8, False), (8, 2, 7, 60, False)):
        codes = vocab - levels if shifted and vocab > levels else vocab
        offsets = [n * (vocab - codes) // levels for n in range(levels)] if codes < vocab else None
        ids = sorted({tuple(random.randrange(codes) for _ in range(levels)) for _ in range(count)})
        tokens = [tuple(c + (offsets[n] if offsets else 0) for n, c in enumerate(i)) for i in ids]
        arrays = MAKE[layout](tokens, vocab, dense)
        wrong += differences(export(ids, vocab, dense, layout, offsets), arrays)
        if load(ids, save(arrays), offsets) != 't':
            wrong.append('read back: ' + load(ids, save(arrays), offsets))
    equal(wrong, [], '%s: numpy loads the arrays made here, and what it saves is read' % layout)

ids = [(1, 2, 1), (3, 1, 2), (3, 1, 3)]
for layout in ('static', 'rectokens'):
    arrays = MAKE[layout](ids, 4, 2)
    equal(load(ids, save({n: a.astype(numpy.int16) for n, a in arrays.items()})), 't',
        '%s: other integers are read' % layout)
    name = 'packed_csr' if layout == 'static' else 'stacked_cols_vals'
    for change, says in (  # an array that is changed, what the error says
            (arrays[name].astype('>i4'), 'type >i4'),
            (arrays[name].astype(float), 'type <f8'),
            (numpy.asfortranarray(arrays[name]), 'numpy.ascontiguousarray'),
            (arrays[name][:, :-1], 'shapes of the arrays contradict'),
            (arrays[name].flatten(), '1 dimensions, expected 2'),
            (numpy.array([['a']]), 'type <U1')):
        answer = load(ids, save(arrays, **{name: change}))
        ok('ERROR' in answer and says in answer, '%s: refused, saying %s' % (layout, says))
    buffer = io.BytesIO()
    numpy.savez_compressed(buffer, **arrays)
    answer = load(ids, buffer.getvalue())
    ok('numpy.savez, not savez_compressed' in answer, '%s: compressed says what to do' % layout)
done()
