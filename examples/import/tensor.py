#!/usr/bin/python3
"""Print the ids of a tensor, [levels][items] as GRID keeps them, for ids.sql. Needs no packages.

    python3 tensor.py ids.safetensors | psql -v tokenizer=grid -f ids.sql DATABASE

A .pt file becomes a safetensors file by
    safetensors.torch.save_file({"ids": torch.load("ids.pt").contiguous()}, "ids.safetensors")

--tensor NAME    which one, where the file has several
--items-first    it is [items][levels]
--first N        the items' numbers begin here (default 0)
--items FILE     the items' names, a line each, instead of numbers

Nothing is printed unless the whole file is good.
"""

import argparse
import json
import struct
import sys
from array import array

# safetensors' integers, as array's types
TYPES = {"U8": "B", "I8": "b", "U16": "H", "I16": "h", "U32": "I", "I32": "i", "U64": "Q", "I64": "q"}


def fail(message):
    sys.exit(f"tensor.py: {message}")


def read(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError as e:
        fail(f"{path}: {e.strerror}")


def read_safetensors(path):
    """The tensors of a file: name -> (dtype, shape, bytes)."""
    data = read(path)
    if len(data) < 8:
        fail(f"{path}: expected a safetensors file, not {len(data)} bytes")
    (length,) = struct.unpack("<Q", data[:8])
    if length > len(data) - 8:
        fail(f"{path}: is truncated, or no safetensors file: {length} bytes of header in {len(data)}")
    try:
        header = json.loads(data[8 : 8 + length])
        header.pop("__metadata__", None)
        body = data[8 + length :]
        tensors = {}
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            if not 0 <= begin <= end <= len(body):
                fail(f"{path}: is truncated: tensor {name} ends at {end}, the file's tensors at {len(body)}")
            tensors[name] = entry["dtype"], entry["shape"], body[begin:end]
        return tensors
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        fail(f"{path}: its header is not that of a safetensors file: {e!r}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file")
    parser.add_argument("--tensor")
    parser.add_argument("--items-first", action="store_true")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--items")
    options = parser.parse_args()

    tensors = read_safetensors(options.file)
    if options.tensor is None and len(tensors) != 1:
        fail(f"{options.file}: expected one tensor, not {len(tensors)}: choose one of them by --tensor: {', '.join(sorted(tensors))}")
    name = options.tensor or next(iter(tensors))
    if name not in tensors:
        fail(f"{options.file}: there is no tensor {name}, only {', '.join(sorted(tensors))}")
    dtype, shape, data = tensors[name]
    if dtype not in TYPES:
        fail(f"tensor {name}: expected integers, not {dtype}")
    if len(shape) != 2:
        fail(f"tensor {name}: expected 2 dimensions, not {len(shape)}")
    values = array(TYPES[dtype])
    if shape[0] * shape[1] * values.itemsize != len(data):
        fail(f"tensor {name}: expected {shape[0] * shape[1] * values.itemsize} bytes for its shape, not {len(data)}")
    values.frombytes(data)
    if sys.byteorder == "big":
        values.byteswap()
    items, levels = shape if options.items_first else reversed(shape)
    if not 1 <= levels <= 32:
        fail(f"tensor {name}: expected 1 to 32 levels, not {levels}: is it {'[levels][items]' if options.items_first else '[items][levels] (--items-first)'}?")
    keys = range(options.first, options.first + items)
    if options.items:
        keys = read(options.items).decode().splitlines()
        if len(keys) != items:
            fail(f"{options.items}: expected {items} lines, one for each item, not {len(keys)}")
        for key in keys:
            if not key or key.split() != [key]:
                fail(f"{options.items}: expected names without blanks, not {key!r}")
    rows = (values[i * levels : (i + 1) * levels] if options.items_first else values[i::items] for i in range(items))
    sys.stdout.writelines(f"{key}\t{' '.join(map(str, row))}\n" for key, row in zip(keys, rows))


if __name__ == "__main__":
    main()
