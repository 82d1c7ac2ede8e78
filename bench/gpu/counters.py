"""Nsight Compute's raw page as CSV, from standard input: a line or two for each kernel."""
import csv
import re
import sys

rows = list(csv.reader(line for line in sys.stdin if line.startswith('"')))
if len(rows) < 3:
    sys.exit("bench/gpu/counters.py: ncu counted nothing")
names, units = rows[0], rows[1]
SCALE = {"ns": 1e-3, "us": 1, "usecond": 1, "nsecond": 1e-3, "ms": 1e3, "msecond": 1e3,
         "byte": 1e-6, "Kbyte": 1e-3, "Mbyte": 1, "Gbyte": 1e3}

for row in rows[2:]:
    value, waits = {}, []
    for name, unit, text in zip(names, units, row):
        try:
            number = float(text.replace(",", "")) * SCALE.get(unit, 1)
        except ValueError:
            continue
        stall = re.search(r"issue_stalled_(\w+)_per_issue_active", name)
        if stall:
            waits.append((number, stall.group(1)))
        else:
            value[name.split(".")[0]] = number
    kernel = row[names.index("Kernel Name")].split("(")[0]
    print(f"  {kernel}: {value['gpu__time_duration']:.1f} us, {value['dram__bytes']:.0f} MB; memory "
          f"{value['dram__throughput']:.0f} %, L2 {value['lts__throughput']:.0f} %, tensor "
          f"{value['sm__pipe_tensor_cycles_active']:.0f} %, shared "
          f"{value['l1tex__data_pipe_lsu_wavefronts_mem_shared']:.0f} %, issue "
          f"{value['smsp__issue_active']:.0f} %; warps {value['sm__warps_active']:.0f} %")
    waits.sort(reverse=True)
    print("    waits: " + ", ".join(f"{what} {number:.1f}" for number, what in waits[:5]))
