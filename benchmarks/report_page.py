"""Seconds, memory and bytes of the report of a large test split, and what subgroups' gaps cost an evaluation.

    python benchmarks/report_page.py                     25,000 images of 14 labels
    python benchmarks/report_page.py --images 5000

The run is one of tests/helpers/written_run.py: its scores are drawn, three images a patient. `medtrain report` is
timed as a fresh command, with its start.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))

from written_run import drawn, written

from medtrain.metrics.multilabel_report import multilabel_report, with_intervals
from medtrain.metrics.subgroup_gaps import with_gaps

LABELS = tuple(f"label {i}" for i in range(14))
GROUPS = {"sex": 2, "age": 5, "view": 3}


def main() -> None:
    """Write a run, report it, and measure the gaps of its subgroups alone."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=25_000)
    many = parser.parse_args().images
    load = os.getloadavg()[0]
    print(f"{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} cores, load {load:.1f}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        written(Path(folder), "multilabel", "large", many, names=LABELS, groups=(many * 2 // 3, many // 3))
        began = time.monotonic()
        subprocess.run([sys.executable, "-m", "medtrain", "report", "large", "--runs", folder], check=True)
        seconds, usage = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        size = (Path(folder) / "large" / "report.html").stat().st_size
    spent = f"{seconds:.1f} s ({usage.ru_utime + usage.ru_stime:.1f} s of a core)"
    print(f"report: {spent}, {usage.ru_maxrss / 1e6:.2f} GB, {size / 1e6:.2f} MB", flush=True)
    table = drawn("multilabel", LABELS, many)
    patients, generator = table.rows["group"], np.random.default_rng(0)
    began = time.process_time()
    with_intervals(multilabel_report(table.scores, table.labels, LABELS), table.scores, table.labels, patients)
    print(f"the numbers of all samples with intervals, as before: {time.process_time() - began:.1f} s of a core")
    for attribute, parts in GROUPS.items():
        of = generator.integers(0, parts, many)
        members = {f"group {i}": of == i for i in range(parts)}
        began = time.process_time()
        nothing = np.zeros(len(LABELS), bool)
        with_gaps({name: {} for name in members}, table.scores, table.labels, patients, members, nothing)
        print(f"gaps of {attribute} ({parts} groups): {time.process_time() - began:.1f} s of a core", flush=True)


if __name__ == "__main__":
    main()
