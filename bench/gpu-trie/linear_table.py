"""RecTokens' grid of a layer under a trie, from what bench_linear and linear_rivals.py printed: a
table, and a picture of each of masked logits, top-k and sampling.

    python3 linear_table.py OURS RIVALS CSV PICTURES

OURS has the lines of `bench_linear grid`. RIVALS may be empty; where a cell's baselines had no turn
its picture has a dash. PICTURES is the beginning of three files' names. What was lost is named on
standard output.
"""

import csv
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "gpu"))
from table import picture  # noqa: E402

WAYS = {"masked": ("fused masked", "kernel masked", "pytorch masked", "sparse pytorch masked"),
        "topk": ("fused top-k", "sparse pytorch top-k", "gathered product and torch.topk"),
        "sampling": ("fused sampling", "sparse pytorch sampling")}
TITLES = {"masked": "Masked logits of a layer", "topk": "Top-50 of a layer under a trie",
          "sampling": "Sampling from a layer under a trie"}


def read_ours(path):
    """{(rows, tokens, children): {way: microseconds}}"""
    cells = {}
    for line in open(path):
        fields = line.strip().split(",")
        if len(fields) == 6 and fields[0].isdigit():
            cells[tuple(map(int, fields[:3]))] = dict(zip(WAYS, map(float, fields[3:])))
    return cells


def read_rivals(path):
    """{(rows, tokens, children): {baseline: microseconds}}, and remarks."""
    cells, remarks = {}, []
    for line in open(path):
        fields = line.strip().split(",", 4)
        try:
            cells.setdefault(tuple(map(int, fields[:3])), {})[fields[3]] = float(fields[4].split(",")[0])
        except (ValueError, IndexError):
            remarks.append(line.strip())
    return cells, remarks


def share(cell):
    """Children per mille of the tokens, by the grid's three shares."""
    return min((1, 10, 100), key=lambda s: abs(max(1, cell[1] * s // 1000) - cell[2]))


def main():
    ours = read_ours(sys.argv[1])
    rivals, remarks = read_rivals(sys.argv[2])
    names = sorted({name for found in rivals.values() for name in found})
    with open(sys.argv[3], "w", newline="") as f:
        table = csv.writer(f, lineterminator="\n")
        table.writerow(["rows", "tokens", "children"] + [f"semtok_{way}_us" for way in WAYS] +
                       [name.replace(" ", "_") + "_us" for name in names])
        for cell, took in sorted(ours.items()):
            found = rivals.get(cell, {})
            table.writerow([*cell] + [f"{took[way]:.2f}" for way in WAYS] +
                           [f"{found[name]:.2f}" if name in found else "" for name in names])
    for way, baselines in WAYS.items():
        best, cells = {}, {}
        for cell, took in ours.items():
            place = (cell[0], cell[1], share(cell))
            cells[place] = (took[way], 0)
            found = [(us, name) for name, us in rivals.get(cell, {}).items() if name in baselines]
            if found:
                best[place] = (min(found)[1], min(found)[0], 0)
        picture(f"{sys.argv[4]}_{way}.svg", cells, best, TITLES[way], "‰ of the tokens", "tokens")
        lost = [c for c in sorted(best) if best[c][1] <= cells[c][0]]
        print(f"{TITLES[way]}: the fastest in {len(best) - len(lost)} of {len(best)} cells that have a rival's time, "
              f"of {len(cells)}")
        for c in lost:
            print(f"  not in {c[0]} rows, {c[1]} tokens, {c[2]} per mille: {cells[c][0]:.1f} us, "
                  f"{best[c][0]} {best[c][1]:.1f} us")
    for remark in remarks:
        print(remark)


if __name__ == "__main__":
    main()
