"""An autoregressive model that recommends items which exist: numpy runs the model, the database is
the constraint.

    python3 serve_model.py --model FOLDER [--history 3,17] [--k 10] [CONNECTION]

FOLDER is a Llama as Hugging Face saves it (config.json, model.safetensors); CONNECTION is as psql
takes it. It reads the table items (id, title, sid) with a semtrie index, and prints what the model
generates next for a shopper who has had the items of --history, oldest first.

Item tokens come after the model's own: <item_L0_C0>, <item_L0_C1>, …, <item_L1_C0>, …, then
<|item_start|> and <|item_end|>, as RecTokens has them. A model trained with them brings their
embeddings; one that was not gets random ones, and then its taste is random. What it recommends exists
all the same.

Three ways to constrain it, which agree:

    recommend   one call of semtok.beam_step a code for all shoppers: the database keeps the beams
    generate    one call of semtok.mask_packed a code: this program keeps them, as generate() of
                transformers would with a LogitsProcessor
    Mirror      a trie of its own, kept fresh by semtok.changes: no call while it generates
"""

import argparse
import json
import os
import struct
from pathlib import Path

import numpy
import psycopg
from semtok_psycopg import Semid, register


def read_safetensors(path):
    """The tensors of a file, as float32."""
    data = Path(path).read_bytes()
    size, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        if entry["dtype"] == "BF16":  # the upper half of a float32
            array = numpy.frombuffer(data[begin:end], "<u2").astype("<u4") << 16
            array = array.view("<f4")
        else:
            array = numpy.frombuffer(data[begin:end], {"F32": "<f4", "F16": "<f2"}[entry["dtype"]])
        tensors[name] = array.astype(numpy.float32).reshape(entry["shape"])
    return tensors


class Llama:
    """The forward pass of a Llama, without a cache of keys and values: short and slow."""

    def __init__(self, folder):
        self.config = json.loads((Path(folder) / "config.json").read_text())
        if self.config["model_type"] != "llama":
            raise ValueError(f"expected model_type llama, not {self.config['model_type']}")
        self.weights = read_safetensors(Path(folder) / "model.safetensors")
        self.embedding = self.weights["model.embed_tokens.weight"]
        self.head = self.weights.get("lm_head.weight", self.embedding)
        self.heads = self.config["num_attention_heads"]
        self.key_heads = self.config.get("num_key_value_heads") or self.heads
        self.width = self.config.get("head_dim") or self.config["hidden_size"] // self.heads

    @property
    def vocabulary(self):
        return len(self.embedding)

    def extend(self, tokens, seed=0):
        """Room for more tokens, with random embeddings: resize_token_embeddings."""
        random = numpy.random.default_rng(seed)
        rows = random.normal(0, self.embedding.std(), (tokens, self.embedding.shape[1]))
        tied = self.head is self.embedding
        self.embedding = numpy.vstack([self.embedding, rows]).astype(numpy.float32)
        self.head = self.embedding if tied else numpy.vstack([self.head, rows]).astype(numpy.float32)

    def _norm(self, x, name):
        scale = numpy.sqrt((x * x).mean(-1, keepdims=True) + self.config["rms_norm_eps"])
        return x / scale * self.weights[name]

    def _turn(self, x):
        """Rotary positions of [n, heads, length, width]."""
        half = self.width // 2
        theta = self.config.get("rope_theta", 10000.0)
        angle = numpy.outer(numpy.arange(x.shape[2]), theta ** (-numpy.arange(half) / half))
        cos, sin = (numpy.tile(f(angle), 2).astype(numpy.float32) for f in (numpy.cos, numpy.sin))
        return x * cos + numpy.concatenate([-x[..., half:], x[..., :half]], -1) * sin

    def _attend(self, x, layer):
        n, length, _ = x.shape
        name = f"model.layers.{layer}.self_attn."

        def project(which, heads):
            y = x @ self.weights[name + which + ".weight"].T
            return y.reshape(n, length, heads, self.width).swapaxes(1, 2)

        shared = self.heads // self.key_heads
        q = self._turn(project("q_proj", self.heads))
        k = self._turn(project("k_proj", self.key_heads)).repeat(shared, 1)
        v = project("v_proj", self.key_heads).repeat(shared, 1)
        scores = q @ k.swapaxes(2, 3) / numpy.float32(self.width ** 0.5)
        scores += numpy.triu(numpy.full((length, length), -numpy.inf, numpy.float32), 1)
        share = numpy.exp(scores - scores.max(-1, keepdims=True))
        y = share / share.sum(-1, keepdims=True) @ v
        return y.swapaxes(1, 2).reshape(n, length, -1) @ self.weights[name + "o_proj.weight"].T

    def _feed_forward(self, x, layer):
        name = f"model.layers.{layer}.mlp."
        gate = x @ self.weights[name + "gate_proj.weight"].T
        up = x @ self.weights[name + "up_proj.weight"].T
        return gate / (1 + numpy.exp(-gate)) * up @ self.weights[name + "down_proj.weight"].T

    def logits(self, sequences):
        """[n][length] tokens, all of one length, to [n][vocabulary]: what comes next."""
        x = self.embedding[numpy.array(sequences)]
        for layer in range(self.config["num_hidden_layers"]):
            name = f"model.layers.{layer}."
            x = x + self._attend(self._norm(x, name + "input_layernorm.weight"), layer)
            x = x + self._feed_forward(self._norm(x, name + "post_attention_layernorm.weight"), layer)
        return self._norm(x[:, -1], "model.norm.weight") @ self.head.T


class ItemTokens:
    """Where the item tokens are: levels of `sizes` codes after the first `base` tokens."""

    def __init__(self, base, sizes):
        self.sizes = list(sizes)
        self.offsets = [base + sum(sizes[:level]) for level in range(len(sizes))]
        self.start = base + sum(sizes)
        self.end = self.start + 1
        self.count = sum(sizes) + 2

    def of(self, sid):
        """The tokens of an id or a prefix; None is the empty one."""
        return [self.offsets[level] + code for level, code in enumerate(sid.codes)] if sid else []

    def history(self, sids):
        return [t for sid in sids for t in [self.start, *self.of(sid), self.end]]


class Recommender:
    """A model over the table `items`; prompts are lists of tokens."""

    def __init__(self, conn, model, items="items", seed=0):
        self.conn, self.model, self.items = conn, model, items
        self.tokenizer, sizes = shape(conn, items)
        self.tokens = ItemTokens(model.vocabulary, sizes)
        model.extend(self.tokens.count, seed)

    def prompt(self, sids):
        return [self.model.config["bos_token_id"], *self.tokens.history(sids), self.tokens.start]

    def recommend(self, prompts, k=10, beam_size=20, temperature=0, seed=None):
        """For each prompt [(sid, log-probability), …], best first; one call of the database a code."""
        beams = [(query, None, 0.0, 0.0) for query in range(len(prompts))]
        found = [[] for _ in prompts]
        for level, size in enumerate(self.tokens.sizes):
            if not beams:
                break
            offset = self.tokens.offsets[level]
            logits = numpy.empty((len(beams), size), numpy.float32)
            for query, prompt in enumerate(prompts):  # prompts differ in length, beams of one do not
                rows = [n for n, beam in enumerate(beams) if beam[0] == query]
                if rows:
                    sequences = [prompt + self.tokens.of(beams[n][1]) for n in rows]
                    logits[rows] = self.model.logits(sequences)[:, offset:offset + size]
            queries, sids, logprobs, keys = map(list, zip(*beams))
            steps = self.conn.execute("""
                SELECT parent, sid, logprob, key, complete
                FROM semtok.beam_step(%s, %s::semid[], %s::float8[], %s, beam_size => %s, temperature => %s,
                                      seed => %s, keys => %s::float8[], queries => %s::int[],
                                      tokenizer => %s)""",
                [self.items, sids, logprobs, logits, max(beam_size, k), temperature, seed,
                 keys if level else None, queries, self.tokenizer]).fetchall()
            beams = [(queries[parent - 1], sid, logprob, key) for parent, sid, logprob, key, _ in steps]
            for (query, sid, logprob, key), (*_, complete) in zip(beams, steps):
                if complete:
                    found[query].append((key, sid, logprob))
        return [[(sid, logprob) for _, sid, logprob in sorted(of, key=lambda hit: (-hit[0], hit[1]))[:k]]
                for of in found]

    def generate(self, prompt, k=10, beam_size=20, allowed=None):
        """The same with beams of our own; allowed(prefixes) gives [n][vocabulary] of true and false."""
        allowed = allowed or self.mask
        beams = [(0.0, None)]
        for size in self.tokens.sizes:
            prefixes = [sid for _, sid in beams]
            logits = self.model.logits([prompt + self.tokens.of(sid) for sid in prefixes])
            logits = numpy.where(allowed(prefixes), logits.astype(float), -numpy.inf)
            top = logits.max(-1, keepdims=True)
            logprobs = logits - top - numpy.log(numpy.exp(logits - top).sum(-1, keepdims=True))
            offset = self.tokens.offsets[len(prefixes[0].codes) if prefixes[0] else 0]
            beams = [(beams[n][0] + logprobs[n, offset + code], self.longer(prefixes[n], code))
                     for n in range(len(beams)) for code in range(size)
                     if logprobs[n, offset + code] > -numpy.inf]
            beams = sorted(beams, key=lambda beam: (-beam[0], beam[1]))[:max(beam_size, k)]
        return [(sid, logprob) for logprob, sid in beams[:k]]

    def longer(self, prefix, code):
        return Semid((prefix.codes if prefix else ()) + (code,), self.tokenizer)

    def mask(self, prefixes):
        """By the database: a bit for each token of the whole vocabulary."""
        packed, = self.conn.execute("SELECT semtok.mask_packed(%s, %s::semid[], %s, %s::int[], tokenizer => %s)",
            [self.items, prefixes, self.model.vocabulary, self.tokens.offsets, self.tokenizer]).fetchone()
        rows = numpy.frombuffer(packed, numpy.uint8).reshape(len(prefixes), -1)
        return numpy.unpackbits(rows, axis=1, bitorder="little")[:, :self.model.vocabulary] == 1

    def titles(self, found):
        """Items of the ids, best first: those that exist now."""
        sids, logprobs = zip(*found) if found else ((), ())
        return self.conn.execute(f"""
            SELECT i.id, i.title, i.sid, f.logprob
            FROM unnest(%s::semid[], %s::float8[]) WITH ORDINALITY AS f(sid, logprob, rank)
            JOIN {self.items} i USING (sid) ORDER BY f.rank, i.id""", [list(sids), list(logprobs)]).fetchall()


class Mirror:
    """The ids of a table as a trie outside the database, refreshed by what has changed."""

    def __init__(self, conn, items="items"):
        self.conn, self.items = conn, items
        self.load()

    def load(self):
        """All of it. The version first: changes from then on may say twice what this has seen."""
        self.version, = self.conn.execute("SELECT semtok.catalog_version(%s)", [self.items]).fetchone()
        self.ids, self.below = set(), {}
        for sid, in self.conn.execute(f"SELECT DISTINCT sid FROM {self.items} WHERE sid IS NOT NULL"):
            self.put(sid, True)

    def refresh(self):
        """What has changed since; where that is too long ago, all of it."""
        try:
            version, = self.conn.execute("SELECT semtok.catalog_version(%s)", [self.items]).fetchone()
            changes = self.conn.execute("SELECT sid, present FROM semtok.changes(%s, %s)",
                [self.items, self.version]).fetchall()
        except psycopg.errors.ObjectNotInPrerequisiteState:
            self.load()
            return
        for sid, present in changes:
            self.put(sid, present)
        self.version = version

    def put(self, sid, present):
        if (sid in self.ids) == present:
            return
        (self.ids.add if present else self.ids.remove)(sid)
        for level, code in enumerate(sid.codes):
            children = self.below.setdefault(sid.codes[:level], {})
            children[code] = children.get(code, 0) + (1 if present else -1)
            if not children[code]:
                del children[code]

    def mask(self, tokens, vocabulary):
        """What Recommender.generate takes as `allowed`."""
        def allowed(prefixes):
            rows = numpy.zeros((len(prefixes), vocabulary), bool)
            for row, prefix in zip(rows, prefixes):
                codes = prefix.codes if prefix else ()
                row[[tokens.offsets[len(codes)] + code for code in self.below.get(codes, ())]] = True
            return rows
        return allowed


def shape(conn, items):
    """The tokenizer of the ids that exist, and how many codes each of their levels has."""
    rows = conn.execute(f"""
        SELECT tokenizer, array_agg(size ORDER BY level)
        FROM (SELECT semid_tokenizer(sid) AS tokenizer, level, max(code) + 1 AS size
              FROM {items}, unnest(sid::int[]) WITH ORDINALITY AS u(code, level) GROUP BY 1, 2) s
        GROUP BY 1""").fetchall()
    if len(rows) != 1:
        raise ValueError(f"expected ids of one tokenizer in {items}, not of {len(rows)}")
    return rows[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--model", default=os.environ.get("SEMTOK_MODEL"), help="folder (SEMTOK_MODEL)")
    parser.add_argument("--history", default="", help="ids of items, oldest first: 3,17")
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("conninfo", nargs="?", default="")
    arguments = parser.parse_args()
    if not arguments.model:
        parser.error("expected --model FOLDER")
    with psycopg.connect(arguments.conninfo, autocommit=True) as conn:
        register(conn)
        recommender = Recommender(conn, Llama(arguments.model))
        ids = [int(i) for i in arguments.history.split(",") if i]
        had = dict(conn.execute("SELECT id, sid FROM items WHERE id = ANY(%s)", [ids]).fetchall())
        prompt = recommender.prompt([had[i] for i in ids if i in had])
        found, = recommender.recommend([prompt], arguments.k)
        for i, title, sid, logprob in recommender.titles(found):
            print(f"{i}\t{title}\t{sid}\t{logprob:.4f}")


if __name__ == "__main__":
    main()
