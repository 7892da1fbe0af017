"""What more ranks bring: `headway bench train` with strong and with weak scaling, the lines kept with their revision.

    python benchmarks/ranks.py [--processes 1 2] [--seconds 20] [--repeats 5] [--keep]

One thread a rank; each number of ranks trains in processes of its own, in turns. Measure on a quiet machine only: where
other work competes for the cores, two ranks get two shares of them and one gets one, which flatters the speed-up.
Prints one JSON object a line; with --keep it writes them to benchmarks/results/ranks.jsonl.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

import kept

NAME = "ranks"


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", nargs="+", default=["1", "2"])
    parser.add_argument("--seconds", default="20")
    parser.add_argument("--repeats", default="5")
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    lines = []
    for scaling in ("strong", "weak"):
        command = [sys.executable, "-m", "headway", "bench", "train", "--json", "--scaling", scaling]
        command += ["--seconds", options.seconds, "--repeats", options.repeats, "--processes", *options.processes]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        for line in map(json.loads, output.splitlines()):
            line["params"] |= kept.machine()
            lines.append(line | {"revision": kept.revision()})
        print(output, end="", flush=True)
    if options.keep:
        kept.write(kept.RESULTS / f"{NAME}.jsonl", lines)


if __name__ == "__main__":
    main()
