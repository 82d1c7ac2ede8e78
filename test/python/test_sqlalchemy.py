"""sqlalchemy_semtok.py through one driver: psycopg2 or psycopg. (environment: PGHOST, PGPORT)"""

import random
import sys

import sqlalchemy
from sqlalchemy import (Column, Index, Integer, MetaData, Table, Text, cast, create_engine, event, exc, func, inspect,
                        literal, select, text)
from sqlalchemy.orm import Session, declarative_base
from sqlalchemy_semtok import Codebook, Real, Semid, Semquery, Semset
from tap import done, equal, ok, raises

driver = sys.argv[1]
what = f"SQLAlchemy {sqlalchemy.__version__}, {driver}"
Base = declarative_base()


class Item(Base):
    __tablename__ = "items"
    id = Column(Integer, primary_key=True)
    title = Column(Text)
    embedding = Column(Real)
    sid = Column(Semid(3, 16))
    __table_args__ = (Index("items_sid", "sid", postgresql_using="semtrie"),)


engine = create_engine(f"postgresql+{driver}:///postgres", future=True)
Base.metadata.create_all(engine)

# The schema that it makes, and what it reads back of one
with engine.begin() as c:
    equal(c.scalar(text("SELECT amname FROM pg_class JOIN pg_am a ON a.oid = relam WHERE relname = 'items_sid'")), "semtrie", f"the index is a semtrie ({what})")
    equal(c.scalar(text("SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'items'::regclass AND attname = 'sid'")), "semid(3,16)", "the column has its shape")
    equal(c.scalar(text("SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'items'::regclass AND attname = 'embedding'")), "real[]", "embeddings are real[]")
    c.execute(text("CREATE TABLE plain (sid semid)"))
columns = {c["name"]: c["type"] for c in inspect(engine).get_columns("plain")}
equal(str(columns["sid"]), "semid", "reflection finds the type")
if sqlalchemy.__version__ >= "2":
    columns = {c["name"]: c["type"] for c in inspect(engine).get_columns("items")}
    equal(str(columns["sid"]), "semid(3, 16)", "reflection finds its shape")
raises(TypeError, "expected both", lambda: Semid(3), "a shape has two numbers")

random.seed(4)
with Session(engine) as s:
    s.add_all([Item(id=n, title=f"item {n}", embedding=[random.gauss(0, 1) for _ in range(4)]) for n in range(500)])
    s.commit()
with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as c:
    c.execute(text("SET client_min_messages = warning"))
    tokenizer = c.scalar(select(func.semtok.train("items", "SELECT embedding FROM items", "rqkmeans", 3, 16)))
    c.execute(text("CALL semtok.tokenize('items', 'embedding', 'sid', 'items')"))
    c.execute(text("ANALYZE items"))

with Session(engine) as s:
    # Values
    item = s.get(Item, 7)
    ok(isinstance(item.sid, str) and item.sid.endswith(f"@{tokenizer}"), "a semid is its text")
    equal(s.scalars(select(Item.id).where(Item.sid == item.sid, Item.id == 7)).all(), [7], "equal to a text")
    equal(s.scalars(select(Item.id).where(Item.sid.in_([item.sid, "[1,2,3]"]), Item.id == 7)).all(), [7], "in a list")
    equal(s.scalars(select(Item.id).where(Item.sid == "[1,2]")).all(), [], "another shape is unequal, no error")
    item.sid = [1, 2, 3]
    s.flush()
    s.expire(item)
    equal(item.sid, "[1,2,3]", "a list of codes is stored")
    item.sid = None
    s.flush()
    s.expire(item)
    equal(item.sid, None, "null")
    s.rollback()


def store(value):
    with Session(engine) as s:
        s.get(Item, 7).sid = value
        s.flush()


raises(exc.DBAPIError, "expected 3 levels", lambda: store("[1,2]"), "what is stored must fit the column")
raises(exc.DBAPIError, "invalid input syntax for type semid", lambda: store("nonsense"), "nonsense is refused")

with Session(engine) as s:
    # Order, prefix, set; the plan
    target = cast([0.1, 0.2, 0.3, 0.4], Real)
    query = select(func.semtok.neighbors("items", target)).scalar_subquery()
    best = select(Item).order_by(Item.sid.cost(query)).limit(5)
    expected = s.scalars(text(f"SELECT sid <~> semtok.neighbors({tokenizer}, '{{0.1,0.2,0.3,0.4}}') FROM items ORDER BY 1 LIMIT 5")).all()
    costs = s.scalars(select(Item.sid.cost(query)).order_by(Item.sid.cost(query)).limit(5)).all()
    equal(costs, expected, "ordered by cost")
    equal(len(s.scalars(best).all()), 5, "whole items too")
    value = s.scalar(select(func.semtok.neighbors("items", target)))
    equal(s.scalars(select(Item.sid.cost(value)).order_by(Item.sid.cost(value)).limit(5)).all(), expected, "a semquery as a value")
    s.execute(text("SET LOCAL enable_seqscan = off"))
    s.execute(text("SET LOCAL enable_sort = off"))

    def explained(statement):
        compiled = statement.compile(engine)
        with_cursor = s.connection().connection.cursor()
        parameters = compiled.construct_params()
        processors = compiled._bind_processors
        with_cursor.execute("EXPLAIN " + str(compiled), {k: processors[k](v) if k in processors else v for k, v in parameters.items()})
        return "\n".join(line for line, in with_cursor.fetchall())

    ok("Index Scan using items_sid" in explained(best), "by the index")
    prefix = s.get(Item, 7).sid.rsplit(",", 1)[0] + "]"
    found = s.scalars(select(Item.sid).where(Item.sid.starts_with(prefix))).all()
    ok(found and all(i.startswith(prefix[:-1]) for i in found), "starts with")
    ok("items_sid" in explained(select(Item.id).where(Item.sid.starts_with(prefix))), "by the index")
    wanted = s.scalar(select(func.semset_agg(Item.sid)).where(Item.id < 10))
    equal(s.scalar(select(func.count()).where(Item.sid.within(wanted))), s.scalar(text("SELECT count(*) FROM items WHERE sid IN (SELECT sid FROM items WHERE id < 10)")), "within a semset")
    equal(s.scalar(select(func.count()).where(Item.sid.within(select(func.semset_agg(Item.sid)).scalar_subquery()))), 500, "within a subquery's")

# Every type of a table goes there and back
with engine.begin() as c:
    table = Table("values_of", MetaData(), Column("sid", Semid), Column("ids", Semset), Column("q", Semquery), Column("cb", Codebook), prefixes=["TEMPORARY"])
    table.create(c)
    row = c.execute(text("""SELECT '[1,2]@3'::semid, '{[1,2]}'::semset, semtok.logits('{{1,2}}')::text,
                     codebook_agg(0, 0, '{1,2}')::text""")).one()
    values = dict(zip(("sid", "ids", "q", "cb"), map(str, row)))
    c.execute(table.insert(), [values])
    equal(dict(c.execute(select(table)).one()._mapping), values, "all four types")
    equal(dict(c.execute(select(table).where(table.c.sid == literal("[1,2]@3", Semid()))).one()._mapping), values, "and in a condition")

if driver == "psycopg":
    # beside semtok_psycopg, whose values are not str
    import semtok_psycopg

    registered = create_engine("postgresql+psycopg:///postgres", future=True)
    event.listen(registered, "connect", lambda connection, record: semtok_psycopg.register(connection))
    with Session(registered) as s:
        sid = semtok_psycopg.Semid.parse(s.get(Item, 7).sid)
        equal(s.scalars(select(Item.id).where(Item.sid == sid, Item.id == 7)).all(), [7], "Semid of semtok_psycopg as a value")
    registered.dispose()
with engine.begin() as c:
    c.execute(text("DROP TABLE plain, items"))
engine.dispose()
done()
