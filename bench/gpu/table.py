"""Join what bench_grid and rivals.py printed: a table, a picture, and who was faster where.

    python3 table.py OURS RIVALS CSV SVG      bench/gpu/run does

RIVALS may be empty: then ours stands alone. The summary goes to standard output.
"""

import csv
import math
import re
import sys


def read_ours(path):
    """{(rows, dim, codes): (microseconds, wrong)}"""
    cells = {}
    for line in open(path):
        fields = line.strip().split(",")
        if len(fields) == 6 and fields[0].isdigit():
            cells[tuple(map(int, fields[:3]))] = (float(fields[3]), int(fields[4]))
    return cells


def read_rivals(path):
    """Remarks, and {rival: {cell: (microseconds, wrong)}} in the order of their appearance."""
    remarks, rivals = [], {}
    for line in open(path):
        if line.startswith("#"):
            remarks.append(line[1:].strip())
            continue
        fields = line.strip().split(",")
        rivals.setdefault(fields[3], {})[tuple(map(int, fields[:3]))] = (float(fields[4]), int(fields[5]))
    return remarks, rivals


def floor_us(cell, remarks):
    """What memory, the tensor units and a launch leave no way around, in microseconds; or None."""
    found = re.search(r"copy ([\d.]+) TB/s, product ([\d.]+) TFLOP/s, launch ([\d.]+) us", "\n".join(remarks))
    if not found:
        return None
    copy, product, launch = map(float, found.groups())
    rows, dim, codes = cell
    moved = (rows * dim * 4 + rows * 2) / copy * 1e-6
    multiplied = 2 * rows * dim * codes / product * 1e-6
    return max(moved, multiplied, launch)


def colour(ratio):
    """Red where the rival is faster, white where both are the same, green up to eight times."""
    at = max(-1.0, min(1.0, math.log2(ratio) / 3))
    ends = (27, 120, 55) if at > 0 else (178, 24, 43)
    return "#%02x%02x%02x" % tuple(round(247 + (e - 247) * abs(at) ** 0.8) for e in ends)


def picture(path, cells, best, title, panels="codewords", columns="dimensions"):
    """Tables side by side, one for each third number of a cell: times faster than the best rival."""
    rows = sorted({c[0] for c in cells}, reverse=True)
    dims = sorted({c[1] for c in cells})
    sizes = sorted({c[2] for c in cells})
    wide, high, left, top, gap = 84, 44, 70, 84, 28
    panel = wide * len(dims)
    width = left + len(sizes) * (panel + gap)
    height = top + high * len(rows) + 56
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{left}" y="26" font-size="16" font-weight="bold">{title}</text>',
        f'<text x="{left}" y="46" fill="#555555">times faster than the fastest rival of the cell; '
        "below, microseconds of ours</text>",
    ]
    for p, size in enumerate(sizes):
        x0 = left + p * (panel + gap)
        out.append(f'<text x="{x0 + panel / 2}" y="{top - 14}" text-anchor="middle">{size} {panels}</text>')
        for r, n in enumerate(rows):
            y0 = top + r * high
            if p == 0:
                out.append(f'<text x="{left - 8}" y="{y0 + high / 2 + 5}" text-anchor="end">{n:,}</text>')
            for d, dim in enumerate(dims):
                cell = (n, dim, size)
                if cell not in cells:
                    continue
                ratio = best[cell][1] / cells[cell][0] if cell in best else None
                fill = colour(ratio) if ratio else "#eeeeee"
                ink = "#ffffff" if ratio and abs(math.log2(ratio)) > 1.9 else "#111111"
                x = x0 + d * wide
                out.append(
                    f'<rect x="{x}" y="{y0}" width="{wide - 2}" height="{high - 2}" fill="{fill}"/>'
                    f'<text x="{x + wide / 2 - 1}" y="{y0 + 19}" text-anchor="middle" fill="{ink}">'
                    + (f"{ratio:.1f}×" if ratio else "–")
                    + f'</text><text x="{x + wide / 2 - 1}" y="{y0 + 35}" text-anchor="middle" '
                    f'font-size="11" fill="{ink}">{cells[cell][0]:.1f}</text>'
                )
        for d, dim in enumerate(dims):
            x = x0 + d * wide + wide / 2
            out.append(f'<text x="{x}" y="{height - 36}" text-anchor="middle">{dim}</text>')
    out.append(f'<text x="{left - 8}" y="{top - 14}" text-anchor="end">rows</text>')
    out.append(f'<text x="{left}" y="{height - 14}" fill="#555555">{columns}</text>')
    out.append("</svg>")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(out) + "\n")


def write_csv(path, ours, rivals, floors):
    with open(path, "w", newline="") as f:
        table = csv.writer(f, lineterminator="\n")
        head = ["rows", "dim", "codewords", "floor_us", "semtok_us", "semtok_wrong"]
        for name in rivals:
            head += [f"{name}_us".replace(" ", "_"), f"{name}_wrong".replace(" ", "_")]
        table.writerow(head)
        for cell, (took, wrong) in sorted(ours.items()):
            line = [*cell, f"{floors[cell]:.2f}" if floors[cell] else "", f"{took:.2f}", wrong]
            for found in rivals.values():
                line += [f"{found[cell][0]:.2f}", found[cell][1]] if cell in found else ["", ""]
            table.writerow(line)


def mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def summary(ours, remarks, rivals, floors, best):
    for remark in remarks:
        print(remark)
    rows = sum(cell[0] for cell in ours)
    print(f"semtok: {len(ours)} cells, {sum(w for _, w in ours.values())} of {rows} codes wrong")
    if any(floors.values()):
        for least, most in ((0, 1024), (1025, 16384), (16385, 1 << 30)):
            share = [floors[c] / t for c, (t, _) in ours.items() if least <= c[0] <= most]
            if share:
                print(f"  share of the floor, {max(least, 1)} to {min(most, max(c[0] for c in ours))} rows:"
                      f" {100 * min(share):.0f} to {100 * max(share):.0f} %, mean {100 * mean(share):.0f} %")
    for name, found in rivals.items():
        common = [c for c in found if c in ours]
        ratios = [found[c][0] / ours[c][0] for c in common]
        wrong = sum(found[c][1] for c in common)
        worst = max(100 * found[c][1] / c[0] for c in common)
        print(f"{name:20} semtok is {mean(ratios):6.2f} times as fast ({min(ratios):.2f} to {max(ratios):.2f});"
              f" wrong codes {100 * wrong / sum(c[0] for c in common):.3f} %, in one cell up to {worst:.2f} %")
    if best:
        lost = [c for c in sorted(best) if best[c][1] <= ours[c][0]]
        print(f"cells where semtok is the fastest: {len(best) - len(lost)} of {len(best)}")
        for c in lost:
            print(f"  not in {c[0]} x {c[1]}, {c[2]} codewords: {ours[c][0]:.2f} us, "
                  f"{best[c][0]} {best[c][1]:.2f} us with {best[c][2]} wrong")


def main():
    ours = read_ours(sys.argv[1])
    remarks, rivals = read_rivals(sys.argv[2])
    floors = {cell: floor_us(cell, remarks) for cell in ours}
    best = {}
    for name, found in rivals.items():
        for cell, (took, wrong) in found.items():
            if cell in ours and (cell not in best or took < best[cell][1]):
                best[cell] = (name, took, wrong)
    write_csv(sys.argv[3], ours, rivals, floors)
    picture(sys.argv[4], {c: t for c, t in ours.items()}, best, "Nearest codeword, RecTokens' grid")
    summary(ours, remarks, rivals, floors, best)


if __name__ == "__main__":
    main()
