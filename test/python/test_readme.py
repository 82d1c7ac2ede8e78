"""The Python of the README's chapter on use, one block after the other: README."""

import contextlib
import io
import re
import sys

from tap import done, ok

with open(sys.argv[1]) as f:
    chapter = re.search(r"^## Use it from.*?(?=^## )", f.read(), re.M | re.S)[0]
blocks = re.findall(r"^```python\n(.*?)^```$", chapter, re.M | re.S)
ok(blocks, "the README has Python")
names = {}
for n, block in enumerate(blocks, 1):
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(block, f"README block {n}", "exec"), names)
        ok(True, f"block {n} runs")
    except Exception as e:
        ok(False, f"block {n} runs: {e!r}")
ok(len(names.get("near", ())) == 3 and names["near"][0][0] == "hair conditioner", "it finds what the example in SQL finds")
ok(names.get("sid") == names["near"][0][1] and (("hair conditioner",) in names["same"]), "and the id")
done()
