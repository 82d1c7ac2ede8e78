"""serve_model.py: the forward pass, and a model that recommends what exists (environment: PGHOST, …).

    test_serve_model.py FOLDER [MODEL]     FOLDER takes a model of random weights; MODEL is a trained one
"""

import json
import math
import random
import struct
import subprocess
import sys
from pathlib import Path

import numpy
import psycopg
import serve_model
from semtok_psycopg import Semid, register
from serve_model import Llama, Mirror, Recommender
from tap import done, equal, ok, raises

folder = Path(sys.argv[1])
trained = Path(sys.argv[2]) if len(sys.argv) > 2 else None
conn = psycopg.connect(autocommit=True)
register(conn)


def write_safetensors(path, tensors, dtype="F32"):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, array in tensors.items():
        raw = array.astype("<f4").tobytes() if dtype == "F32" else (array.astype("<f4").view("<u4") >> 16).astype("<u2").tobytes()
        header[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_model(path, tied=True, dtype="F32"):
    """A Llama of random weights, as Hugging Face saves it."""
    config = {"model_type": "llama", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
              "num_attention_heads": 4, "num_key_value_heads": 2, "rms_norm_eps": 1e-5, "rope_theta": 500.0,
              "vocab_size": 20, "bos_token_id": 1, "tie_word_embeddings": tied}
    shapes = {"model.embed_tokens.weight": (20, 16), "model.norm.weight": (16,)}
    for layer in range(2):
        name = f"model.layers.{layer}."
        shapes.update({name + "input_layernorm.weight": (16,), name + "post_attention_layernorm.weight": (16,),
                       name + "self_attn.q_proj.weight": (16, 16), name + "self_attn.k_proj.weight": (8, 16),
                       name + "self_attn.v_proj.weight": (8, 16), name + "self_attn.o_proj.weight": (16, 16),
                       name + "mlp.gate_proj.weight": (24, 16), name + "mlp.up_proj.weight": (24, 16),
                       name + "mlp.down_proj.weight": (16, 24)})
    if not tied:
        shapes["lm_head.weight"] = (20, 16)
    values = numpy.random.default_rng(7)
    path.mkdir()
    (path / "config.json").write_text(json.dumps(config))
    write_safetensors(path / "model.safetensors", {n: values.normal(0, 0.5, s) for n, s in shapes.items()}, dtype)
    return path


def plain_logits(model, tokens):
    """The same forward pass written once more, a number at a time: what comes after the last token."""
    w, config = model.weights, model.config

    def dot(matrix, x):
        return [sum(float(a) * b for a, b in zip(row, x)) for row in matrix]

    def norm(x, name):
        scale = math.sqrt(sum(a * a for a in x) / len(x) + config["rms_norm_eps"])
        return [a / scale * float(b) for a, b in zip(x, w[name])]

    def turned(head, position):
        half = len(head) // 2
        out = list(head)
        for i in range(half):
            angle = position / config["rope_theta"] ** (i / half)
            a, b = head[i], head[i + half]
            out[i] = a * math.cos(angle) - b * math.sin(angle)
            out[i + half] = b * math.cos(angle) + a * math.sin(angle)
        return out

    def heads(x, n):
        return [x[i * len(x) // n:(i + 1) * len(x) // n] for i in range(n)]

    n, shared = config["num_attention_heads"], config["num_attention_heads"] // config["num_key_value_heads"]
    rows = [[float(a) for a in model.embedding[t]] for t in tokens]
    for layer in range(config["num_hidden_layers"]):
        name = f"model.layers.{layer}."
        normed = [norm(x, name + "input_layernorm.weight") for x in rows]
        q, k, v = ([heads(dot(w[f"{name}self_attn.{p}_proj.weight"], x), n if p == "q" else n // shared)
                    for x in normed] for p in "qkv")
        for at in reversed(range(len(rows))):
            mixed = []
            for h in range(n):
                query = turned(q[at][h], at)
                scores = [sum(a * b for a, b in zip(query, turned(k[j][h // shared], j))) / math.sqrt(len(query)) for j in range(at + 1)]
                share = [math.exp(s - max(scores)) for s in scores]
                mixed += [sum(share[j] * v[j][h // shared][i] for j in range(at + 1)) / sum(share) for i in range(len(query))]
            rows[at] = [a + b for a, b in zip(rows[at], dot(w[name + "self_attn.o_proj.weight"], mixed))]
        for at, x in enumerate(rows):
            y = norm(x, name + "post_attention_layernorm.weight")
            gate, up = dot(w[name + "mlp.gate_proj.weight"], y), dot(w[name + "mlp.up_proj.weight"], y)
            y = dot(w[name + "mlp.down_proj.weight"], [g / (1 + math.exp(-g)) * u for g, u in zip(gate, up)])
            rows[at] = [a + b for a, b in zip(x, y)]
    return dot(model.head, norm(rows[-1], "model.norm.weight"))


def close(a, b, by=1e-4):
    return len(a) == len(b) and all(abs(x - y) <= by for x, y in zip(a, b))


# The model
small = write_model(folder / "small")
for tied, dtype in ((True, "F32"), (False, "F32"), (True, "BF16")):
    path = folder / f"model-{tied}-{dtype}"
    model = Llama(write_model(path, tied, dtype))
    sequences = [[1, 5, 9, 19, 0, 7], [1, 2, 3, 4, 5, 6]]
    ok(all(close(got, plain_logits(model, tokens)) for got, tokens in zip(model.logits(sequences).tolist(), sequences)),
       f"the forward pass, {'tied' if tied else 'with a head of its own'}, {dtype}")
(small / "config.json").write_text((small / "config.json").read_text().replace('"llama"', '"other"'))
raises(ValueError, "expected model_type llama, not other", lambda: Llama(small), "another architecture is refused")
if trained:
    model = Llama(trained)
    golden = json.loads((trained / "golden_greedy.json").read_text())
    tokens = list(golden["prompt_ids"])
    for _ in golden["greedy_60_ids"]:
        tokens.append(int(model.logits([tokens])[0].argmax()))
    equal(tokens[len(golden["prompt_ids"]):], golden["greedy_60_ids"], "the trained model writes what it is known to write")

# Items: 3 levels of 6 codes, some ids shared by two items, made by tokenizer 5
random.seed(2)
conn.execute("CREATE TABLE items (id int PRIMARY KEY, title text, sid semid)")
rows = [(n, f"item {n}", Semid(tuple(random.randrange(6) for _ in range(3)), 5)) for n in range(1, 151)]
with conn.cursor() as cursor:
    cursor.executemany("INSERT INTO items VALUES (%s, %s, %s)", rows)
conn.execute("CREATE INDEX items_sid ON items USING semtrie (sid)")


def existing():
    return {sid for sid, in conn.execute("SELECT sid FROM items WHERE sid IS NOT NULL")}


def truth(recommender, prompt):
    """log p of every id: a softmax over the codes that exist, level by level, for one id at a time."""
    ids = {sid.codes for sid in existing()}
    scores, logits = {}, {}
    for codes in ids:
        score = 0.0
        for level in range(3):
            prefix = codes[:level]
            if prefix not in logits:
                tokens = prompt + recommender.tokens.of(Semid(prefix) if prefix else None)
                logits[prefix] = recommender.model.logits([tokens])[0].astype(float)
            of = {c[level]: logits[prefix][recommender.tokens.offsets[level] + c[level]] for c in ids if c[:level] == prefix}
            score += of[codes[level]] - math.log(sum(math.exp(x) for x in of.values()))
        scores[Semid(codes, 5)] = score
    return sorted(scores.items(), key=lambda hit: (-hit[1], hit[0]))


def same(a, b):
    return [sid for sid, _ in a] == [sid for sid, _ in b] and close([x for _, x in a], [x for _, x in b])


for path, name in [(folder / "model-True-F32", "a random model")] + ([(trained, "the trained model")] if trained else []):
    recommender = Recommender(conn, Llama(path))
    equal(recommender.tokens.count, 3 * 6 + 2, f"{name}: a token for each code, a start and an end")
    equal(recommender.tokens.of(Semid((2, 0, 5), 5)), [recommender.tokens.start - 18 + t for t in (2, 6, 17)], f"{name}: tokens level by level")
    had = [rows[2][2], rows[16][2]]
    prompt = recommender.prompt(had)
    found, = recommender.recommend([prompt], k=10, beam_size=200)
    ok(same(found, truth(recommender, prompt)[:10]), f"{name}: the ten likeliest of all ids, found by steps")
    ok(same(recommender.generate(prompt, 10, 200), found), f"{name}: the same by masks of the database")
    mirror = Mirror(conn)
    ok(same(recommender.generate(prompt, 10, 200, mirror.mask(recommender.tokens, recommender.model.vocabulary)), found),
       f"{name}: the same by a trie outside")
    narrow, = recommender.recommend([prompt], k=3, beam_size=3)
    ok(same(recommender.generate(prompt, 3, 3), narrow), f"{name}: with three beams too")
    prompts = [recommender.prompt([]), prompt, recommender.prompt(had[:1])]
    together = recommender.recommend(prompts, k=5, beam_size=8)
    ok(all(same(a, recommender.recommend([p], k=5, beam_size=8)[0]) for a, p in zip(together, prompts)),
       f"{name}: three shoppers at a time, as one by one")
    draws = [recommender.recommend([prompt], k=5, beam_size=20, temperature=1, seed=seed)[0] for seed in (1, 1, 2)]
    ok(draws[0] == draws[1] != draws[2], f"{name}: drawn, again by the same seed")
    ok(all(len({sid for sid, _ in draw}) == 5 for draw in draws), f"{name}: no id twice")
    ok({sid for hits in [found, *together, *draws] for sid, _ in hits} <= existing(), f"{name}: nothing that does not exist")
    titles = recommender.titles(found)
    equal({t[2] for t in titles}, {sid for sid, _ in found}, f"{name}: the items of the ids")
    equal([t[0] for t in titles if t[2] == found[0][0]], sorted(i for i, _, sid in rows if sid == found[0][0]), f"{name}: all that share one")

    # What is sold out is not shown; once VACUUM has been there it is not generated either.
    best = found[0][0]
    gone = [row for row in rows if row[2] == best]
    conn.execute("DELETE FROM items WHERE sid = %s", [best])
    ok(best not in {t[2] for t in recommender.titles(recommender.recommend([prompt], beam_size=200)[0])}, f"{name}: sold out, not shown")
    conn.execute("VACUUM (INDEX_CLEANUP on) items")
    found, = recommender.recommend([prompt], beam_size=200)
    ok(best not in {sid for sid, _ in found} and same(found, truth(recommender, prompt)[:10]), f"{name}: nor generated after VACUUM")
    mirror.refresh()
    ok(same(recommender.generate(prompt, 10, 200, mirror.mask(recommender.tokens, recommender.model.vocabulary)), found),
       f"{name}: nor by the trie outside, refreshed")
    with conn.cursor() as cursor:
        cursor.executemany("INSERT INTO items VALUES (%s, %s, %s)", gone)
    found, = recommender.recommend([prompt], beam_size=200)
    equal(found[0][0], best, f"{name}: in stock again, at once")

# The trie outside, against all that exists
mirror = Mirror(conn)
equal(mirror.ids, existing(), "the mirror has all ids")


def refreshed(what):
    mirror.refresh()
    fresh = Mirror(conn)
    below = {prefix: codes for prefix, codes in mirror.below.items() if codes}
    ok(mirror.ids == fresh.ids == existing() and below == fresh.below, what)


version = mirror.version
refreshed("nothing has changed")
number = 1000
for turn in range(12):
    for _ in range(random.randrange(40)):
        number += 1
        conn.execute("INSERT INTO items VALUES (%s, '', %s)", [number, Semid(tuple(random.randrange(6) for _ in range(3)), 5)])
    mirror.refresh()
    ok(mirror.ids >= existing(), f"turn {turn}: new ids are known at once")
    conn.execute("UPDATE items SET sid = %s WHERE id %% 17 = %s", [Semid((turn % 6, 5, turn % 5), 5), turn])
    conn.execute("DELETE FROM items WHERE id %% 9 = %s", [turn % 9])
    conn.execute("VACUUM (INDEX_CLEANUP on) items")
    refreshed(f"turn {turn}: what is gone too, after VACUUM")
with psycopg.connect() as other:
    register(other)
    other.execute("INSERT INTO items VALUES (9001, '', '[0,0,1]@5'), (9002, '', '[5,0,0]@5'), (9003, '', '[0,5,0]@5')")
    mirror.refresh()
    equal(mirror.ids, existing(), "another's insert is not there before its commit")
    conn.execute("INSERT INTO items VALUES (9004, '', '[1,5,5]@5')")
    mirror.refresh()
    other.commit()
    refreshed("and is after it")
conn.execute("REINDEX INDEX items_sid")
refreshed("an index made anew: all of it is loaded")

# The program
run = subprocess.run([sys.executable, serve_model.__file__, "--model", str(trained or folder / "model-True-F32"), "--history", "4,8", "--k", "3"],
                     capture_output=True, text=True)
lines = [line.split("\t") for line in run.stdout.splitlines()]
ok(run.returncode == 0 and len(lines) >= 3, "the program runs")
ok({line[2] for line in lines} <= {str(sid) for sid in existing()}, "and prints items that exist")
run = subprocess.run([sys.executable, serve_model.__file__], capture_output=True, text=True)
ok(run.returncode != 0 and "expected --model FOLDER" in run.stderr, "without a model it says what it wants")
done()
