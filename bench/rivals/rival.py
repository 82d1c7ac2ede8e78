"""What the rivals' scripts share: raw files in, "name value" lines out."""

import argparse
import sys
import time

import numpy as np


def arguments(*names):
    """Command line of NAME=VALUE pairs: `names` as text, all others as integers."""
    given = argparse.Namespace()
    for pair in sys.argv[1:]:
        name, value = pair.split("=", 1)
        setattr(given, name, value if name in names else int(value))
    return given


def read_rows(path, dim):
    """Rows of binary32 from a raw file: [n][dim]."""
    return np.fromfile(path, dtype=np.float32).reshape(-1, dim)


def write_codes(path, codes):
    codes.astype(np.uint16).tofile(path)


def write_rows(path, rows):
    np.ascontiguousarray(rows, dtype=np.float32).tofile(path)


def measure(times, work):
    """Run work() so often; (shortest, median) seconds and the last result."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        result = work()
        took.append(time.perf_counter() - began)
    return min(took), float(np.median(took)), result


def memory_kb(what):
    """VmRSS or VmHWM of this process."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(what + ":"))


def forget_peak():
    """Let VmHWM begin again at what is resident now."""
    with open("/proc/self/clear_refs", "w") as refs:
        refs.write("5")


def tell(**values):
    for name, value in values.items():
        print(name, repr(float(value)))
