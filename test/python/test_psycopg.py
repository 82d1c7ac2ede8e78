"""semtok_psycopg.py and service.py against a server (environment: PGHOST, PGPORT, PGDATABASE)."""

import asyncio
import http.client
import json
import random
import re
import struct
import subprocess
import sys
from array import array
from pathlib import Path

import psycopg
import service
from semtok_psycopg import Codebook, Semid, Semquery, Semset, register, register_async
from tap import done, equal, ok, raises

conn = psycopg.connect(autocommit=True)
register(conn)


def one(statement, *parameters, binary=False):
    with conn.cursor(binary=binary) as cursor:
        return cursor.execute(statement, parameters).fetchone()[0]


# Values
random.seed(1)
ids = [Semid((0,)), Semid((12, 7, 255), 3), Semid((65535,) * 32, 2**31 - 1), Semid(tuple(range(32)))]
ids += [Semid(tuple(random.randrange(65536) for _ in range(random.randrange(1, 33))), random.randrange(5)) for _ in range(20)]
equal([Semid.parse(str(i)) for i in ids], ids, "text form of Semid")
equal([Semid.from_bytes(bytes(i)) for i in ids], ids, "binary form of Semid")
equal(Semid.parse(" [ 1 , 2 ] @ 3 "), Semid((1, 2), 3), "spaces in the text form")
for bad in ("", "[]", "[1", "1,2", "[1,,2]", "[-1]", "[1]@", "[1]x", "[1.5]"):
    raises(psycopg.DataError, "not a semid", lambda: Semid.parse(bad), f"no Semid: {bad!r}")
for bad in (b"", b"\0\0\0\0", b"\0\0\0\0\0", b"\0\0\0\0\0\1\2"):
    raises(psycopg.DataError, "binary form", lambda: Semid.from_bytes(bad), f"no binary Semid: {bad!r}")
raises(psycopg.DataError, "cannot make a semid", lambda: bytes(Semid((70000,))), "a code that is too large")
raises(psycopg.DataError, "cannot make a semid", lambda: bytes(Semid((-1,))), "a negative code")

# Parameters and results, each way and mixed
for place in ("%s", "%t", "%b"):
    for binary in (False, True):
        what = f"{place}, {'binary' if binary else 'text'} result"
        equal([one(f"SELECT {place}", i, binary=binary) for i in ids], ids, f"Semid: {what}")
        equal(one(f"SELECT {place}", ids, binary=binary), ids, f"list of Semid: {what}")
        equal(one(f"SELECT {place}::text", ids[1], binary=binary), "[12,7,255]@3", f"the server reads it: {what}")
equal(one("SELECT pg_typeof(%s)::text", ids[0]), "semid", "its type is semid")
equal(one("SELECT pg_typeof(%s)::text", ids), "semid[]", "a list's is semid[]")
equal(one("SELECT NULL::semid"), None, "null")
raises(psycopg.errors.InvalidBinaryRepresentation, "semid", lambda: one("SELECT %b", Semid(())), "no codes: the server refuses")

# real[] from array.array
numbers = array("f", [0, 1.5, -2.25, 3e38, 1e-45, 0.1, float("inf"), float("-inf")])
for place in ("%s", "%t", "%b"):
    equal(array("f", one(f"SELECT {place}", numbers, binary=True)), numbers, f'array("f"), {place}')
    equal(one(f"SELECT {place}", array("f")), [], f'empty array("f"), {place}')
    equal(str(one(f"SELECT {place}", array("f", [float("nan")]))), "[nan]", f"NaN, {place}")
    raises(psycopg.DataError, 'expected an array of 32-bit floats', lambda: one(f"SELECT {place}", array("d", [1])), f'array("d"), {place}')
equal(one("SELECT pg_typeof(%s)::text", numbers), "real[]", "its type is real[]")
# The same from numpy, and from lists where the type is given; registered twice.
register(conn)
try:
    import numpy
except ImportError:
    numpy = None
conn.execute("CREATE TABLE reals (embedding real[])")
for form in ("binary", "text"):
    ways = [numbers, list(numbers), [numbers.tolist(), numbers.tolist()], [], None]
    if numpy:
        ways += [numpy.array(numbers), numpy.array([numbers] * 2), numpy.array(list(numbers) * 2, "f")[::2], numpy.zeros((0, 3), "f")]
    with conn.cursor() as cursor:
        with cursor.copy(f"COPY reals FROM STDIN (FORMAT {form})") as copy:
            copy.set_types(["float4[]"])
            for value in ways:
                copy.write_row([value])
    copied = [v for v, in conn.execute("DELETE FROM reals RETURNING embedding").fetchall()]
    equal(copied[:5], [one("SELECT %s::real[]", v) for v in ways[:5]], f"arrays, lists and null in COPY, {form}")
    if numpy:
        equal(copied[5:], [copied[0], copied[2], [copied[0][i] for i in (0, 2, 4, 6) * 2], []], f"numpy in COPY, {form}")
if numpy:
    for place in ("%s", "%t", "%b"):
        matrix = numpy.arange(6, dtype="f").reshape(2, 3)
        equal(one(f"SELECT {place}", matrix), matrix.tolist(), f"numpy's matrix, {place}")
        for other in (numpy.zeros(2), numpy.zeros(2, "i4"), numpy.zeros((), "f")):
            raises(psycopg.DataError, "expected an array of 32-bit floats", lambda: one(f"SELECT {place}", other), f"numpy's {other.dtype} {other.shape}, {place}")

# The other types
codebook = one("SELECT codebook_agg(l, c, array[l, c]::real[]) FROM generate_series(0, 1) l, generate_series(0, 3) c", binary=True)
equal(type(codebook), Codebook, "codebook as Codebook")
equal(one("SELECT codebook_sizes(%s)", codebook), [4, 4], "and back")
text = one("SELECT %s", codebook)
equal(type(text), str, "as text")
equal(one("SELECT %s::codebook = %s", text, codebook), True, "which is the same")
semset = one("SELECT semset(%s)", ids, binary=True)
equal(type(semset), Semset, "semset as Semset")
equal([r[0] for r in conn.execute("SELECT semset_members(%s)", [semset])], sorted(ids, key=bytes), "and back; ids sort as their bytes")
query = one("SELECT semtok.neighbors(%s, %s)", codebook, array("f", [1, 2]), binary=True)
equal(type(query), Semquery, "semquery as Semquery")
equal(one("SELECT '[1,1]' <~> %s", query), one("SELECT '[1,1]' <~> semtok.neighbors(%s, '{1,2}')", codebook), "and back")
raises(psycopg.errors.InvalidBinaryRepresentation, "semset", lambda: one("SELECT %s", Semset(semset.data[:-1])), "a truncated one is refused")

# COPY, both ways, in binary and text
conn.execute("CREATE TABLE copied (n int, sid semid, cb codebook, ids semset, q semquery, embedding real[], many semid[])")
rows = [(n, i, codebook, semset, query, numbers, [i, ids[0]]) for n, i in enumerate(ids)] + [(99,) + (None,) * 6]
with conn.cursor() as cursor:
    with cursor.copy("COPY copied FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["int4", "semid", "codebook", "semset", "semquery", "float4[]", "semid[]"])
        for row in rows:
            copy.write_row(row)
    equal(cursor.rowcount, len(rows), "binary COPY in")
    with cursor.copy("COPY (TABLE copied ORDER BY n) TO STDOUT (FORMAT binary)") as copy:
        copy.set_types(["int4", "semid", "codebook", "semset", "semquery", "float4[]", "semid[]"])
        got = [r[:5] + (r[5] and array("f", r[5]), r[6]) for r in copy.rows()]
    equal(got, rows, "binary COPY out")
    with cursor.copy("COPY copied (n, sid, embedding, many) FROM STDIN") as copy:
        for n, i, *_, reals, many in rows[:-1]:
            copy.write_row((n + 1000, i, reals, many))
    with cursor.copy("COPY (SELECT n, sid, many FROM copied WHERE n >= 1000 ORDER BY n) TO STDOUT") as copy:
        copy.set_types(["int4", "semid", "semid[]"])
        equal(list(copy.rows()), [(n + 1000, i, many) for n, i, *_, many in rows[:-1]], "text COPY in and out")
equal(one("SELECT bool_and(b.embedding = a.embedding) FROM copied a, copied b WHERE b.n = a.n + 1000"), True, "real[] is the same by text")

bad = struct.pack(">hi4si6s", 2, 4, b"\0\0\0\1", 6, b"\xff\0\0\0\0\1")


def copy_bad():
    with conn.cursor() as cursor, cursor.copy("COPY copied (n, sid) FROM STDIN (FORMAT binary)") as copy:
        copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8) + bad + b"\xff\xff")


raises(psycopg.errors.InvalidBinaryRepresentation, "semid", copy_bad, "a binary COPY of a bad semid loads nothing")
equal(one("SELECT count(*) FROM copied WHERE n = 1"), 1, "nothing")

# Verbs and the index, as the service uses them; prepared statements run past the generic plan
conn.execute("CREATE TABLE items (id int PRIMARY KEY, title text, embedding real[], sid semid)")
random.seed(2)
with conn.cursor() as cursor, cursor.copy("COPY items (id, title, embedding) FROM STDIN (FORMAT binary)") as copy:
    copy.set_types(["int4", "text", "float4[]"])
    for n in range(3000):
        copy.write_row((n, f"item {n}", array("f", [random.gauss(0, 1) for _ in range(8)])))
conn.execute("SET client_min_messages = warning")
tokenizer = one("SELECT semtok.train('items', 'SELECT embedding FROM items', levels => 3, codes => 16)")
conn.execute("CALL semtok.tokenize('items', 'embedding', 'sid', 'items')")
conn.execute("CREATE INDEX ON items USING semtrie (sid)")
conn.execute("ANALYZE items")

for prepare in (True, False):
    how = "prepared" if prepare else "not prepared"
    recommender = service.Recommender(prepare=prepare)
    embedding = [random.gauss(0, 1) for _ in range(8)]
    equal(recommender.encode(embedding), one("SELECT semtok.encode('items', %s)", array("f", embedding)), f"encode, {how}")
    equal(recommender.encode(embedding).tokenizer, tokenizer, f"by the tokenizer, {how}")
    good = True
    for _ in range(8):
        embedding = [random.gauss(0, 1) for _ in range(8)]
        expected = conn.execute(
            "SELECT sid <~> semtok.neighbors(%s, %s) FROM items ORDER BY 1 LIMIT 5", [tokenizer, array("f", embedding)]).fetchall()
        found = [r[2] for r in recommender.similar(embedding, 5)]
        costs = conn.execute("SELECT s <~> semtok.neighbors(%s, %s) FROM unnest(%s) WITH ORDINALITY u (s, n) ORDER BY n",
                             [tokenizer, array("f", embedding), found]).fetchall()
        good = good and len(costs) == 5 and costs == expected
    ok(good, f"the ordered scan eight times, {how}")
    plan = recommender.conn.execute(
        "EXPLAIN " + service.SIMILAR % ("'{1,2,3,4,5,6,7,8}'", "5")).fetchall()
    ok(any("Index Scan using items_sid_idx" in line for line, in plan), f"by the index, {how}")
    good = True
    for _ in range(8):
        logits = [[random.gauss(0, 1) for _ in range(16)] for _ in range(3)]
        best = conn.execute(
            "SELECT sid FROM items GROUP BY sid ORDER BY sid <~> semtok.logits(%s, '{16,16,16}') LIMIT 4",
            [array("f", [x for row in logits for x in row])]).fetchall()
        found = recommender.recommend(logits, 4, 4096)
        good = good and len(found) == 4 and [(s,) for s in dict.fromkeys(r[2] for r in found)] == best[: len({r[2] for r in found})]
    ok(good, f"beam_search eight times, {how}")
    prepared = recommender.conn.execute("SELECT count(*), min(generic_plans + custom_plans) FROM pg_prepared_statements WHERE name LIKE '_pg3_%%'", prepare=False).fetchone()
    equal(prepared[0] >= 3 if prepare else prepared[0], True if prepare else 0, f"statements are {how}")
    recommender.conn.close()


# The service itself
server = subprocess.Popen([sys.executable, str(Path(service.__file__)), "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
try:
    port = int(re.search(r":(\d+)$", server.stdout.readline())[1])

    def post(path, value):
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        client.request("POST", path, value if isinstance(value, str) else json.dumps(value))
        reply = client.getresponse()
        return reply.status, json.loads(reply.read())

    embedding = [0.5] * 8
    equal(post("/encode", {"embedding": embedding}), (200, {"sid": str(one("SELECT semtok.encode('items', %s)", array("f", embedding)))}), "POST /encode")
    status, answer = post("/similar", {"embedding": embedding, "k": 3})
    equal((status, len(answer["items"])), (200, 3), "POST /similar")
    status, answer = post("/recommend", {"logits": [[1.0] + [0.0] * 15] * 3, "k": 3})
    equal((status, len(answer["items"])), (200, 3), "POST /recommend")
    equal(post("/similar", {"embedding": [1, 2]})[0], 400, "a wrong dimension is the caller's error")
    ok("expected 8 dimensions, not 2" in post("/similar", {"embedding": [1, 2]})[1]["error"], "which says what was expected")
    equal(post("/similar", "{")[0], 400, "as is no JSON")
    equal(post("/similar", {})[0], 400, "and a missing key")
    equal(post("/nothing", {})[0], 404, "another path is not found")
    equal(post("/encode", {"embedding": embedding})[0], 200, "the service goes on")
finally:
    server.kill()
    server.wait()


# The asynchronous connection
async def asynchronous():
    async with await psycopg.AsyncConnection.connect(autocommit=True) as c:
        await register_async(c)
        return (await (await c.execute("SELECT %s", [ids[1]])).fetchone())[0]


equal(asyncio.run(asynchronous()), ids[1], "AsyncConnection")

# Without the extension
conn.execute("CREATE DATABASE bare")
with psycopg.connect("dbname=bare") as bare:
    raises(psycopg.DataError, "is semtok installed", lambda: register(bare), "register says when semtok is not there")
conn.close()
done()
