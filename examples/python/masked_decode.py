"""A language model on a CUDA device that can only say items which exist.

PyTorch runs the model, semtok's trie on the device is the constraint, and no logit comes back to the
processor while it generates.

    python3 masked_decode.py [--library semtok_cuda.so] [--trie FILE] [--model FOLDER] [--batch 8]
                             [--fused]

FILE holds the items' ids: what semset_to_npz in SQL made, an npz file with the arrays of RecTokens
or STATIC, stored uncompressed; without one, some ids are made up. FOLDER is a model as Hugging Face
saves it; without one, a small Llama with random weights takes its place. Item tokens come after the
model's own, a range of --codes a level; a model that was not trained with them gets random
embeddings for them.

It generates an id for each row of a batch: by semtok_trie_mask, which turns logits of what may not
follow into -inf, and an ordinary softmax after it; or, with --fused, by semtok_linear_sample, which
takes the last hidden state and never computes the other logits. Then it checks that every id is one
of the file's.

semtok_trie.h says what the functions of semtok_cuda.so do; make install-cuda installs both.
"""

import argparse
import ctypes
import io
import sys
from pathlib import Path


class SemtokError(RuntimeError):
    """What the library says is wrong."""


class Library:
    """semtok_cuda.so by ctypes: arguments are tensors on the device, or plain numbers."""

    NUMBERS = {"torch.float32": 0, "torch.float16": 1, "torch.bfloat16": 2}

    def __init__(self, path, torch):
        self.torch = torch
        self.c = ctypes.CDLL(str(path))
        self.c.semtok_trie_root.restype = ctypes.c_uint32
        self.c.semtok_trie_root.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
        self.c.semtok_trie_bytes.restype = ctypes.c_size_t
        self.c.semtok_trie_bytes.argtypes = [ctypes.c_void_p]
        self.c.semtok_trie_depth.argtypes = [ctypes.c_void_p]
        self.c.semtok_trie_free.argtypes = [ctypes.c_void_p]
        self.c.semtok_linear_free.argtypes = [ctypes.c_void_p]

    def call(self, name, *arguments):
        """Call a function that takes (…, stream, error, error_bytes): on PyTorch's current stream."""
        return self.call_for(name, None, *arguments)

    def call_for(self, name, out, *arguments):
        """The same, with where it puts a handle between the stream and the error."""
        error = ctypes.create_string_buffer(200)
        stream = ctypes.c_void_p(self.torch.cuda.current_stream().cuda_stream)
        handle = [] if out is None else [ctypes.byref(out)]
        result = self.c[name](*map(self.argument, arguments), stream, *handle, error,
                              ctypes.c_size_t(len(error)))
        if result != 0:
            raise SemtokError(error.value.decode())

    def argument(self, value):
        if isinstance(value, self.torch.Tensor):
            if not value.is_cuda or not value.is_contiguous():
                raise ValueError("expected a contiguous tensor on the device")
            return ctypes.c_void_p(value.data_ptr())
        if value is None:
            return ctypes.c_void_p(None)
        if isinstance(value, bool) or not isinstance(value, int):
            return value
        return ctypes.c_size_t(value)  # of any width: the rest of a register is not looked at


class Trie:
    """Items' ids on the device. Nodes are int32 tensors with the bits of the library's numbers."""

    def __init__(self, library, data, vocab, offsets):
        self.library = library
        self.handle = ctypes.c_void_p()
        library.call_for("semtok_trie_load", self.handle, data, len(data), vocab,
                         (ctypes.c_uint32 * len(offsets))(*offsets), len(offsets))
        self.depth = library.c.semtok_trie_depth(self.handle)
        self.bytes = library.c.semtok_trie_bytes(self.handle)

    def close(self):
        self.library.c.semtok_trie_free(self.handle)

    def roots(self, n):
        root = self.library.c.semtok_trie_root(self.handle, 0)
        root -= (root >> 31) << 32
        return self.library.torch.full((n,), root, dtype=self.library.torch.int32, device="cuda")

    def mask(self, level, nodes, logits):
        """In place: logits [n][vocab], float32."""
        self.library.call("semtok_trie_mask", self.handle, level, nodes, len(nodes), logits)

    def step(self, level, nodes, tokens):
        """In place: nodes become those that tokens, int32, lead to."""
        self.library.call("semtok_trie_step", self.handle, level, nodes, tokens, len(nodes), nodes)


class Head:
    """A model's last layer, multiplied only by what may follow."""

    def __init__(self, library, linear):
        self.library = library
        self.weights = linear.weight.detach().contiguous()  # stays as long as the handle
        self.bias = None if linear.bias is None else linear.bias.detach().contiguous()
        self.handle = ctypes.c_void_p()
        tokens, dim = self.weights.shape
        library.call_for("semtok_linear_prepare", self.handle,
                         library.NUMBERS[str(self.weights.dtype)], self.weights, self.bias, tokens, dim)

    def close(self):
        self.library.c.semtok_linear_free(self.handle)

    def sample(self, trie, level, hidden, nodes, states, seed):
        """Tokens drawn, int32; nodes and states move on."""
        torch = self.library.torch
        n = len(nodes)
        values = torch.empty(n, device="cuda")
        tokens = torch.empty(n, dtype=torch.int32, device="cuda")
        following = torch.empty_like(nodes)
        self.library.call("semtok_linear_sample", self.handle, trie.handle, level, hidden.contiguous(),
                          nodes, n, None, states, seed, values, tokens, following)
        nodes.copy_(following)
        return tokens


def made_up(levels, codes, n, offsets, vocab):
    """Ids as RecTokens lays them out, in an npz file's bytes; and their tokens."""
    import numpy

    ids = numpy.unique(numpy.random.default_rng(0).integers(0, codes, (n, levels)), axis=0)
    tokens = ids + numpy.array(offsets)
    row_ptrs, columns, most = [0], [], []
    prefixes = [numpy.unique(tokens[:, :level + 1], axis=0) for level in range(levels)]
    parents = numpy.zeros((1, 0), ids.dtype)
    for level, prefix in enumerate(prefixes):
        keys = {tuple(row): 0 for row in parents}
        for row in prefix:
            keys[tuple(row[:level])] += 1
        row_ptrs += list(row_ptrs[-1] + numpy.cumsum([keys[tuple(row)] for row in parents]))
        columns += list(prefix[:, level])
        most.append(max(keys.values()))
        parents = prefix
    edges = len(columns)
    row_ptrs += [edges] * (edges + 1 - len(row_ptrs))  # what nothing follows; not the last
    file = io.BytesIO()
    numpy.savez(file, row_ptrs=numpy.array(row_ptrs[:edges + 1], "<i8"),
                stacked_cols_vals=numpy.array([columns + [-1], list(range(1, edges + 1)) + [-1]], "<i8"),
                layer_max_branches=numpy.array(most, "<i8"),
                vocab_size=numpy.array(vocab, "<i8"))
    return file.getvalue(), {tuple(int(t) for t in row) for row in tokens}


def load_model(folder, torch, items):
    """A causal language model on the device with tokens for items behind its own; their first token."""
    import transformers

    if folder:
        model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    else:
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(
            vocab_size=1000, hidden_size=128, intermediate_size=256, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=4))
    first = model.get_input_embeddings().weight.shape[0]
    model.resize_token_embeddings(first + items)
    return model.to("cuda").eval(), first


def generate(model, trie, head, prompt, torch):
    """Tokens [batch][depth] of an id each."""
    batch = len(prompt)
    nodes = trie.roots(batch)
    states = torch.arange(batch, dtype=torch.int64, device="cuda")
    said, cache, tokens = [], None, prompt
    for level in range(trie.depth):
        out = model(input_ids=tokens, past_key_values=cache, use_cache=True,
                    output_hidden_states=head is not None, logits_to_keep=1)
        cache = out.past_key_values
        if head:
            chosen = head.sample(trie, level, out.hidden_states[-1][:, -1], nodes, states, seed=1)
        else:
            logits = out.logits[:, -1].float().contiguous()
            trie.mask(level, nodes, logits)
            chosen = torch.multinomial(logits.softmax(-1), 1)[:, 0].int()
            trie.step(level, nodes, chosen)
        said.append(chosen)
        tokens = chosen[:, None].long()
    return torch.stack(said, 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--library", default="semtok_cuda.so", type=Path)
    parser.add_argument("--trie", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--levels", type=int, default=3)
    parser.add_argument("--codes", type=int, default=256)
    parser.add_argument("--fused", action="store_true")
    options = parser.parse_args()

    try:
        import torch
    except ImportError:
        sys.exit("masked_decode.py: no PyTorch here; where there is no device, ask the database: "
                 "serve_model.py generates the same items by SQL")
    if not torch.cuda.is_available():
        sys.exit("masked_decode.py: PyTorch finds no CUDA device; where there is none, ask the database: "
                 "serve_model.py generates the same items by SQL")
    path = options.library.resolve() if options.library.exists() else options.library
    try:
        library = Library(path, torch)
    except OSError as error:
        sys.exit(f"masked_decode.py: cannot open {path}: {error}; make install-cuda installs it, into "
                 "semtok beside pg_config --pkglibdir")
    torch.manual_seed(0)
    model, first = load_model(options.model, torch, options.levels * options.codes)
    vocab = first + options.levels * options.codes
    offsets = [first + level * options.codes for level in range(options.levels)]
    if options.trie:
        data, known = options.trie.read_bytes(), None
    else:
        data, known = made_up(options.levels, options.codes, 5000, offsets, vocab)
    trie = Trie(library, data, vocab, offsets)
    head = Head(library, model.get_output_embeddings()) if options.fused else None
    prompt = torch.randint(0, first, (options.batch, 4), device="cuda")
    with torch.no_grad():
        said = generate(model, trie, head, prompt, torch).tolist()
    for row in said:
        print([token - offset for token, offset in zip(row, offsets)])
    if known is not None and not all(tuple(row) in known for row in said):
        sys.exit("masked_decode.py: an id that does not exist")
    print(f"{len(said)} ids, all of the trie ({trie.bytes} bytes on the device)")
    if head:
        head.close()
    trie.close()


if __name__ == "__main__":
    main()
