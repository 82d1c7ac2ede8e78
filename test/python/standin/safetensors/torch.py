"""save_file for the stand-in's tensors."""

import json
import struct
from array import array


def save_file(tensors, path, metadata=None):
    header, body = {"__metadata__": metadata}, b""
    for name, tensor in tensors.items():
        data = array({"F32": "f", "F64": "d"}[tensor.dtype], tensor.values).tobytes()
        header[name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + body)
