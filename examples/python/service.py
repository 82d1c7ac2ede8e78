"""A small recommendation service: psycopg 3, semtok and the standard library.

    python3 service.py [--listen 127.0.0.1:8080] [CONNECTION]     CONNECTION: as psql takes it

It serves the table items (id, title, sid) with a semtrie index and the tokenizer "items":

    POST /similar    {"embedding": [0.1, ...], "k": 10}            items most like an embedding
    POST /recommend  {"logits": [[0.1, ...], ...], "k": 10}        by a model's logits, a row a level
    POST /encode     {"embedding": [0.1, ...]}                     the semantic ID

Every statement is prepared once a connection (psycopg's prepare=True). Behind PgBouncer in
transaction mode before its version 1.21, give --no-prepare.
"""

import argparse
import json
from array import array
from http.server import BaseHTTPRequestHandler, HTTPServer

import psycopg
from semtok_psycopg import register

SIMILAR = """
    SELECT id, title, sid FROM items
    ORDER BY sid <~> (SELECT semtok.neighbors('items', %s)) LIMIT %s"""
# The ids first, by a beam search over the index, then their items.
RECOMMEND = """
    SELECT items.id, items.title, items.sid
    FROM semtok.beam_search('items', semtok.logits(%s, %s::int[]), %s, %s) AS found
    JOIN items USING (sid)
    ORDER BY found.rank, items.id LIMIT %s"""


class Recommender:
    """What the service answers, as methods; one connection, one thread."""

    def __init__(self, conninfo="", prepare=True):
        # No transaction stays open between two requests.
        self.conn = psycopg.connect(conninfo, autocommit=True, prepare_threshold=5 if prepare else None)
        self.prepare = prepare
        register(self.conn)

    def _rows(self, statement, parameters):
        with self.conn.cursor(binary=True) as cursor:
            cursor.execute(statement, parameters, prepare=self.prepare)
            return cursor.fetchall()

    def encode(self, embedding):
        return self._rows("SELECT semtok.encode('items', %s)", [array("f", embedding)])[0][0]

    def similar(self, embedding, k=10):
        return self._rows(SIMILAR, [array("f", embedding), k])

    def recommend(self, logits, k=10, beam_size=50):
        flat = array("f", (x for row in logits for x in row))
        sizes = [len(row) for row in logits]
        return self._rows(RECOMMEND, [flat, sizes, k, max(k, beam_size), k])


def handler(recommender):
    def items(rows):
        return {"items": [{"id": i, "title": title, "sid": str(sid)} for i, title, sid in rows]}

    routes = {
        "/encode": lambda q: {"sid": str(recommender.encode(q["embedding"]))},
        "/similar": lambda q: items(recommender.similar(q["embedding"], q.get("k", 10))),
        "/recommend": lambda q: items(recommender.recommend(q["logits"], q.get("k", 10))),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            try:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.path not in routes:
                    return self.reply(404, {"error": f"expected one of {', '.join(routes)}"})
                self.reply(200, routes[self.path](json.loads(body)))
            except (KeyError, TypeError, ValueError, psycopg.DataError) as e:
                # The caller's mistake; SQL's data errors say what was expected.
                self.reply(400, {"error": f"{type(e).__name__}: {e}"})

        def reply(self, status, value):
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--listen", default="127.0.0.1:8080")
    parser.add_argument("--no-prepare", action="store_true")
    parser.add_argument("connection", nargs="?", default="")
    options = parser.parse_args()
    host, port = options.listen.rsplit(":", 1)
    recommender = Recommender(options.connection, prepare=not options.no_prepare)
    server = HTTPServer((host, int(port)), handler(recommender))
    print(f"listening on {host}:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
