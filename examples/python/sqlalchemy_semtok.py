"""semtok's types for SQLAlchemy 1.4 and 2, with any of its PostgreSQL drivers. One file: copy it.

    from sqlalchemy import Column, Index, Integer, cast, func, select
    from sqlalchemy_semtok import Real, Semid

    class Item(Base):
        __tablename__ = "items"
        id = Column(Integer, primary_key=True)
        embedding = Column(Real)
        sid = Column(Semid(3, 256))
        __table_args__ = (Index("items_sid", "sid", postgresql_using="semtrie"),)

    query = select(func.semtok.neighbors("items", cast([0.1, 0.2], Real))).scalar_subquery()
    select(Item).order_by(Item.sid.cost(query)).limit(10)
    select(Item).where(Item.sid.starts_with("[12,7]"))

In Python a semid is its text, "[12,7,255]@3". Given as a parameter it may also be a list of codes, or
anything whose str() is the text, such as semtok_psycopg.Semid. SQLAlchemy 1.4 cannot reflect a type
of two numbers, such as semid(3,256): where you need reflection there, declare the column as Semid.
"""

from sqlalchemy import REAL, Boolean, Float, cast, literal
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.sql import ClauseElement
from sqlalchemy.types import UserDefinedType

# An embedding's type.
Real = ARRAY(REAL, dimensions=1)


class _TextType(UserDefinedType):
    """A type whose values are their text form; a cast tells the server which type that is."""

    cache_ok = True
    name = None

    def get_col_spec(self, **kw):
        return self.name

    def bind_expression(self, bindvalue):
        # Without levels and codes: a value of another shape is unequal, not an error. What is stored
        # has to fit all the same.
        return cast(bindvalue, type(self)())

    def bind_processor(self, dialect):
        return lambda value: None if value is None else str(value)

    def result_processor(self, dialect, coltype):
        return lambda value: None if value is None else str(value)


class Semid(_TextType):
    """semid, or semid(levels, codes) when both are given."""

    name = "semid"

    def __init__(self, levels=None, codes=None):
        if (levels is None) != (codes is None):
            raise TypeError("expected both levels and codes, or neither")
        self.levels = levels if levels is None else int(levels)
        self.codes = codes if codes is None else int(codes)

    def get_col_spec(self, **kw):
        return "semid" if self.levels is None else f"semid({self.levels}, {self.codes})"

    def bind_processor(self, dialect):
        def process(value):
            if type(value) in (list, tuple):
                return "[" + ",".join(str(int(code)) for code in value) + "]"
            return None if value is None else str(value)

        return process

    class comparator_factory(UserDefinedType.Comparator):
        def cost(self, query):
            """sid <~> query: what the id costs under a semquery; ascending, the likeliest first."""
            return self.op("<~>", return_type=Float())(_as(query, Semquery))

        def starts_with(self, prefix):
            """sid ^@ prefix"""
            return self.op("^@", return_type=Boolean())(_as(prefix, Semid))

        def within(self, ids):
            """sid <@ ids: is it in this semset?"""
            return self.op("<@", return_type=Boolean())(_as(ids, Semset))


class Semset(_TextType):
    name = "semset"


class Semquery(_TextType):
    name = "semquery"


class Codebook(_TextType):
    name = "codebook"


def _as(value, kind):
    """An expression as it is, anything else as a value of the type."""
    if isinstance(value, ClauseElement) or hasattr(value, "__clause_element__"):
        return value
    return literal(value, kind())


# What reflection makes of such columns.
ischema_names.update(semid=Semid, semset=Semset, semquery=Semquery, codebook=Codebook)
