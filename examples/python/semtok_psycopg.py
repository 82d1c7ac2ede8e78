"""semtok's types for psycopg 3. One file without other needs: copy it into your project.

    import psycopg
    from semtok_psycopg import Semid, register

    with psycopg.connect(...) as conn:
        register(conn)
        conn.execute("SELECT semtok.encode('items', %s)", [array("f", embedding)]).fetchone()
        conn.execute("SELECT id FROM items WHERE sid = %s", [Semid((12, 7, 255), 1)])

After register(conn), on that connection:

* semid is Semid, in text and in binary mode, in arrays, and in COPY (for a binary COPY call
  copy.set_types(["int4", "semid", ...]) first).
* codebook, semset and semquery are Codebook, Semset and Semquery in binary results
  (conn.cursor(binary=True)) and as parameters: their binary form, as bytes. In text results they are
  str, the text form, which is good as a parameter too.
* array.array("f") and numpy arrays of float32 are real[], sent in binary, which is what embeddings and
  logits want to be: a two-dimensional one is {{…},{…}}. In a binary COPY the type is "float4[]". A list
  of floats is float8[] to psycopg, which PostgreSQL does not turn into real[] by itself: write
  %s::real[] there.
"""

import re
import struct
from array import array
from dataclasses import dataclass
from typing import NamedTuple, Tuple

from psycopg import DataError
from psycopg.adapt import Dumper, Loader
from psycopg.pq import Format
from psycopg.types import TypeInfo

REAL = 700
REAL_ARRAY = 1021
_SEMID = re.compile(r"\s*\[\s*(\d+(?:\s*,\s*\d+)*)\s*\]\s*(?:@\s*(\d+)\s*)?")


class Semid(NamedTuple):
    """A semantic ID: its codes, coarse to fine, and the id of their tokenizer (0: none)."""

    codes: Tuple[int, ...]
    tokenizer: int = 0

    def __str__(self):
        text = "[" + ",".join(map(str, self.codes)) + "]"
        return f"{text}@{self.tokenizer}" if self.tokenizer else text

    def __bytes__(self):
        # 4 bytes of tokenizer and 2 bytes a code, big-endian
        try:
            return struct.pack(f">I{len(self.codes)}H", self.tokenizer, *self.codes)
        except struct.error as e:
            raise DataError(f"cannot make a semid of {self.codes}@{self.tokenizer}: {e}") from e

    @classmethod
    def parse(cls, text: str) -> "Semid":
        match = _SEMID.fullmatch(text)
        if not match:
            raise DataError(f"not a semid: {text!r}")
        return cls(tuple(map(int, match[1].split(","))), int(match[2] or 0))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Semid":
        if len(data) < 6 or len(data) % 2:
            raise DataError(f"not the binary form of a semid: {len(data)} bytes")
        tokenizer, *codes = struct.unpack(f">I{len(data) // 2 - 2}H", data)
        return cls(tuple(codes), tokenizer)


@dataclass(frozen=True)
class Stored:
    """A value of one of semtok's other types, as its binary form."""

    data: bytes

    def __bytes__(self):
        return self.data


class Codebook(Stored):
    pass


class Semset(Stored):
    pass


class Semquery(Stored):
    pass


class _SemidDumper(Dumper):
    def dump(self, obj):
        return str(obj).encode()


class _BytesDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj):
        return bytes(obj)


class _SemidLoader(Loader):
    def load(self, data):
        return Semid.parse(bytes(data).decode())


class _SemidBinaryLoader(Loader):
    format = Format.BINARY

    def load(self, data):
        return Semid.from_bytes(bytes(data))


class _StoredLoader(Loader):
    format = Format.BINARY
    cls = Stored

    def load(self, data):
        return self.cls(bytes(data))


class _RealArrayDumper(Dumper):
    """32-bit floats, as array.array or numpy have them, as real[]."""

    oid = REAL_ARRAY

    def dump(self, obj):
        return _array_text(_reals(obj).tolist()).encode()


class _RealArrayBinaryDumper(Dumper):
    """The same in binary: a header, then each number after its length, big-endian."""

    oid = REAL_ARRAY
    format = Format.BINARY

    def dump(self, obj):
        view = _reals(obj)
        n = view.nbytes // 4
        if n == 0:
            return struct.pack(">iiI", 0, 0, REAL)
        bounds = [x for length in view.shape for x in (length, 1)]
        words = [4] * (2 * n)
        words[1::2] = struct.unpack(f"={n}I", view.tobytes())
        return struct.pack(f">iiI{len(bounds)}i{2 * n}I", view.ndim, 0, REAL, *bounds, *words)


class _AlsoLists:
    """Where the type is given, as by copy.set_types, one dumper takes all: lists as psycopg does."""

    def dump(self, obj):
        return super().dump(obj) if isinstance(obj, (list, tuple)) else self.reals.dump(self, obj)


def _reals(obj):
    view = memoryview(obj)
    if view.format != "f" or view.ndim == 0:
        raise DataError(f'expected an array of 32-bit floats ("f", numpy.float32), not of "{view.format}"')
    return view


def _array_text(value):
    return "{" + ",".join(map(_array_text, value)) + "}" if isinstance(value, list) else repr(value)


def _register_reals(adapters):
    for dumper in (_RealArrayDumper, _RealArrayBinaryDumper):
        lists = adapters.get_dumper_by_oid(REAL_ARRAY, dumper.format)
        adapters.register_dumper(array, dumper)
        adapters.register_dumper("numpy.ndarray", dumper)
        if not issubclass(lists, _AlsoLists):
            lists = type("Also" + lists.__name__, (_AlsoLists, lists), {"reals": dumper})
        adapters.register_dumper(None, lists)


_TYPES = {"semid": Semid, "codebook": Codebook, "semset": Semset, "semquery": Semquery}


def register(conn) -> None:
    """Teach a connection semtok's types. Where the extension is not installed: an error."""
    for name in _TYPES:
        _register_type(conn, name, TypeInfo.fetch(conn, name))


async def register_async(conn) -> None:
    """The same for an AsyncConnection."""
    for name in _TYPES:
        _register_type(conn, name, await TypeInfo.fetch(conn, name))


def _register_type(conn, name, info):
    if info is None:
        raise DataError(f"there is no type {name}: is semtok installed, its schema in search_path?")
    info.register(conn)
    adapters = conn.adapters
    oid = {"oid": info.oid}
    # Of several dumpers the last is taken for %s.
    if name == "semid":
        adapters.register_dumper(Semid, type("SemidDumper", (_SemidDumper,), oid))
        adapters.register_loader(info.oid, _SemidLoader)
        adapters.register_loader(info.oid, _SemidBinaryLoader)
        _register_reals(adapters)
    else:
        cls = _TYPES[name]
        loader = type(name + "Loader", (_StoredLoader,), {"cls": cls})
        adapters.register_loader(info.oid, loader)
    adapters.register_dumper(_TYPES[name], type(name + "BinaryDumper", (_BytesDumper,), oid))
