"""semtok through PgBouncer in transaction mode with one server connection: FOLDER PORT."""

import random
import sys
import threading
from array import array

import psycopg
import service
from semtok_psycopg import register
from tap import done, equal, ok

pooled = f"host={sys.argv[1]} port={sys.argv[2]} dbname=postgres"


def client(where=pooled):
    # Before 1.21 PgBouncer knows no prepared statements.
    conn = psycopg.connect(where, autocommit=True, prepare_threshold=None)
    register(conn)
    return conn


def one(conn, statement, *parameters):
    return conn.execute(statement, parameters).fetchone()[0]


a, b, direct = client(), client(), client("")
equal(one(a, "SELECT pg_backend_pid()"), one(b, "SELECT pg_backend_pid()"), "two clients meet one server connection")
ok(one(direct, "SELECT pg_backend_pid()") != one(a, "SELECT pg_backend_pid()"), "the direct one is another")

# Load, train, tokenize: binary COPY, and a procedure that commits by itself
random.seed(3)
a.execute("CREATE TABLE items (id int PRIMARY KEY, title text, embedding real[], sid semid)")
with a.cursor() as cursor, cursor.copy("COPY items (id, title, embedding) FROM STDIN (FORMAT binary)") as copy:
    copy.set_types(["int4", "text", "float4[]"])
    for n in range(2000):
        copy.write_row((n, f"item {n}", array("f", [random.gauss(0, 1) for _ in range(8)])))
tokenizer = one(a, "SELECT semtok.train('items', 'SELECT embedding FROM items', levels => 6, codes => 8, epochs => 3)")
equal(one(b, "SELECT id FROM semtok.tokenizers"), tokenizer, "another client sees the tokenizer")
equal(one(b, "SELECT semid_tokenizer(semtok.encode('items', embedding)) FROM items LIMIT 1"), tokenizer, "and encodes")
done_by = []
worker = threading.Thread(target=lambda: done_by.append(a.execute("CALL semtok.tokenize('items', 'embedding', 'sid', 'items', batch_size => 100)")))
worker.start()
seen = [one(b, "SELECT count(sid) FROM items") for _ in range(5)]
worker.join()
equal(len(done_by), 1, "CALL semtok.tokenize through the pool")
equal(seen, sorted(seen), "others read meanwhile")
equal(one(b, "SELECT count(*) FROM items WHERE sid = semtok.encode('items', embedding)"), 2000, "every row has its id")
a.execute("CREATE INDEX ON items USING semtrie (sid)")
a.execute("ANALYZE items")

# Settings: an argument, SET LOCAL, set_config, a function's SET. None is met by the next client.
query = one(direct, "SELECT semtok.neighbors('items', embedding)::text FROM items WHERE id = 7")
count = "SELECT count(*) FROM (SELECT sid FROM items ORDER BY sid <~> %s::semquery) s"


def rows(conn):
    conn.execute("SET LOCAL enable_seqscan = off")
    conn.execute("SET LOCAL enable_sort = off")
    return one(conn, count, query)


def width(conn):
    return one(conn, "SELECT current_setting('semtok.beam_width')")


equal(width(b), "0", "the width is that of the configuration")
with a.transaction():
    a.execute("SET LOCAL semtok.beam_width = 2")
    ok(0 < rows(a) < 2000, "SET LOCAL holds for the transaction's scan")
equal(width(b), "0", "and is gone for the next client")
with b.transaction():
    equal(rows(b), 2000, "whose scan is exact")
with a.transaction():
    one(a, "SELECT set_config('semtok.beam_width', '2', true)")
    ok(0 < rows(a) < 2000, "set_config(…, true) likewise")
equal(width(b), "0", "and is gone")
a.execute("""CREATE FUNCTION best(query semquery, k int) RETURNS SETOF semid LANGUAGE sql STABLE
             SET semtok.beam_width = 2 SET enable_seqscan = off SET enable_sort = off
             AS 'SELECT sid FROM items ORDER BY sid <~> query LIMIT k'""")
ok(0 < one(a, "SELECT count(*) FROM best(%s::semquery, 2000)", query) < 2000, "a function's SET holds within it")
equal(width(a), "0", "and only there")
# why a plain SET will not do: it stays on the server connection, for whoever comes next
a.execute("SET semtok.beam_width = 2")
equal(width(b), "2", "a plain SET is met by another client")
b.execute("RESET semtok.beam_width")
equal(width(a), "0", "as is its RESET")

for what, statement in (
    ("encode's beam", "SELECT array_agg(semtok.encode('items', embedding, beam => 8) ORDER BY id) FROM items"),
    ("beam_search's k and beam_size", "SELECT array_agg(sid ORDER BY rank) FROM semtok.beam_search('items', semtok.logits(array_fill(0.5::real, '{48}'), '{8,8,8,8,8,8}'), k => 20, beam_size => 64)"),
):
    equal(one(a, statement), one(direct, statement), f"{what}: an argument, the same answer")

# A new version is everybody's at once
second = one(a, "SELECT semtok.partial_fit('items', 'SELECT embedding FROM items')")
one(a, "SELECT semtok.activate('items', 2)::text")
equal({one(c, "SELECT semid_tokenizer(semtok.encode('items', embedding)) FROM items LIMIT 1") for c in (a, b, direct)}, {second}, "activate is met by all clients")
one(a, "SELECT semtok.activate('items', 1)::text")

# The example service, without prepared statements
recommender = service.Recommender(pooled, prepare=False)
embedding = [random.gauss(0, 1) for _ in range(8)]
good = True
for _ in range(8):
    good = good and len(recommender.similar(embedding, 5)) == 5 and recommender.encode(embedding).tokenizer == tokenizer
ok(good, "the example service, not prepared")
equal(one(a, "SELECT count(*) FROM pg_prepared_statements"), 0, "leaves no statement behind")
done()
