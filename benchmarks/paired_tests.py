"""How often the tests of `medtrain compare` find a difference: where there is none, and where there is one.

    python benchmarks/paired_tests.py                    2,000 data sets of each kind; 5 % of nulls should be rejected
    python benchmarks/paired_tests.py --patients 30      with few patients
    python benchmarks/paired_tests.py --rare             nulls by how many patients have a positive
    python benchmarks/paired_tests.py --numbers          nulls of every number of scores, of several classes and labels
    python benchmarks/paired_tests.py --seeds 3          two settings with so many seeds each
    python benchmarks/paired_tests.py --time             seconds of a whole comparison: 25,000 images, 14 labels

A data set is the scores of two models for 1 to 8 images of each patient, which are alike: see drawn_scores in
tests/helpers/clustered_scores.py. The tests that take images for independent stand beside those by patient. The third
column is of patients with one image each, where both must be the same.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))

from clustered_scores import Scored, drawn_scores, drawn_seeds
from scored_runs import scored_run

from medtrain.core.console import table
from medtrain.evaluation.seed_tests import over_seeds
from medtrain.metrics.calibration_sums import OF_CLASSES, OF_LABELS
from medtrain.metrics.delong import clustered_variance, delong, placements
from medtrain.metrics.mcnemar import mcnemar
from medtrain.metrics.numbers import Floats
from medtrain.metrics.paired_bootstrap import ROUNDS, difference, paired_bootstrap
from medtrain.metrics.resampled_numbers import (
    ABNORMALITY,
    MULTICLASS,
    MULTILABEL,
    SCORE,
    abnormality_numbers,
    multiclass_numbers,
    multilabel_numbers,
    score_numbers,
)
from medtrain.metrics.swapped_patients import CalibrationErrors

MAIN = 5  # numbers of ABNORMALITY that are not means over study types
TESTS = (
    *(f"bootstrap of patients, {name}" for name in ABNORMALITY[:MAIN]), "DeLong by patient", "McNemar by patient",
    "DeLong by image", "McNemar by image",
)  # fmt: skip


def main() -> None:
    """Draw, test, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=2000)
    parser.add_argument("--patients", type=int, default=150)
    parser.add_argument("--better", type=float, default=0.25, help="the real difference, as in drawn_scores")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--time", action="store_true", help="only measure the time of a large comparison")
    parser.add_argument("--rare", action="store_true", help="only DeLong's test, where few patients have a positive")
    parser.add_argument("--seeds", type=int, default=0, help="only two settings, trained with so many seeds each")
    parser.add_argument("--numbers", action="store_true", help="only nulls of every number of the other tasks")
    parser.add_argument("--sharper", type=float, default=1.0, help="of --numbers: logits of the second, times this")
    options = parser.parse_args()
    print(f"{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} cores", flush=True)
    if options.time:
        print(f"{seconds_of_a_comparison():.1f} s")
        return
    if options.rare:
        print(rare_labels(options.sets, options.patients))
        return
    if options.numbers:
        print(f"{options.sets:,} nulls each, {options.patients} patients, {options.rounds:,} rounds")
        for task, names, errors in (
            ("score", SCORE, ()), ("multiclass", MULTICLASS, OF_CLASSES), ("multilabel", MULTILABEL, OF_LABELS),
        ):  # fmt: skip
            shares, rows = nulls_of(task, options), (*names, *(f"{name}, patients swapped" for name in errors))
            print(table(("number", task), [(name, f"{own:.4f}") for name, own in zip(rows, shares, strict=True)]))
        return
    if options.seeds:
        print(by_seeds(options))
        return
    cases = [(8, 0.0), (8, options.better), (1, 0.0)]
    columns = [rejected(options, most_images, better) for most_images, better in cases]
    heads = ("test", "null", "a difference", "null, one image a patient")
    print(f"{options.sets:,} data sets each, {options.patients} patients; share with p < 0.05")
    print(table(heads, [(name, *(f"{own:.4f}" for own in row)) for name, *row in zip(TESTS, *columns, strict=True)]))


def rejected(options: argparse.Namespace, most_images: int, better: float) -> list[float]:
    """The share of data sets in which each of TESTS has p < 0.05."""
    jobs = [(seed, options.patients, most_images, better, options.rounds) for seed in range(options.sets)]
    with get_context("fork").Pool(os.cpu_count()) as pool:
        p_values = np.array(pool.map(p_values_of, jobs, chunksize=10))
    return (p_values < 0.05).mean(0).tolist()  # type: ignore[no-any-return]


def p_values_of(job: tuple[int, int, int, float, int]) -> list[float]:
    """One for each of TESTS."""
    seed, patients, most_images, better, rounds = job
    own = drawn_scores(seed, patients, most_images, better=better)
    draws = paired_bootstrap([abnormality_numbers(scores, own.positive, own.patients)
                              for scores in (own.first, own.second)], patients, seed, rounds)  # fmt: skip
    alone = Scored(np.arange(len(own.first)), own.positive, own.first, own.second)
    by_bootstrap = [difference(draws, 0, 1, number).p for number in range(MAIN)]
    return [
        *by_bootstrap,
        *(
            test
            for data in (own, alone)
            for test in (
                delong(data.first, data.second, data.positive, data.patients).p,
                mcnemar(*data.right, data.patients).p,
            )
        ),
    ]


def rare_labels(sets: int, patients: int) -> str:
    """A table of nulls by the number of patients with a positive: by Student's t, and by the normal distribution."""
    found: dict[int, list[tuple[float, float]]] = {}
    for prevalence in (0.004, 0.008, 0.015, 0.03, 0.05):
        for seed in range(sets):
            own = drawn_scores(seed, patients, prevalence=prevalence)
            few = len(np.unique(own.patients[own.positive]))
            both = placements(own.first, own.positive), placements(own.second, own.positive)
            gap = both[1].positives.mean() - both[0].positives.mean()
            distances = [other - one - gap for one, other in zip(*both, strict=True)]
            variance, _ = clustered_variance(*distances, own.patients[own.positive], own.patients[~own.positive])
            normal = math.erfc(abs(gap) / math.sqrt(2 * variance)) if variance else math.nan
            student = delong(own.first, own.second, own.positive, own.patients).p
            found.setdefault(few if few < 6 else 6 if few <= 10 else 11, []).append((student, normal))
    names = {1: "1", 2: "2", 3: "3", 4: "4", 5: "5", 6: "6 to 10", 11: "11 and more"}
    rows = [(names[few], len(own), *(f"{share:.4f}" for share in (np.array(own) < 0.05).mean(0)))
            for few, own in sorted(found.items())]  # fmt: skip
    return table(("patients with a positive", "data sets", "Student's t", "normal"), rows)


def nulls_of(task: str, options: argparse.Namespace) -> list[float]:
    """The share of nulls in which each number of a task has p < 0.05."""
    jobs = [(task, seed, options.patients, options.rounds, options.sharper) for seed in range(options.sets)]
    with get_context("fork").Pool(os.cpu_count()) as pool:
        p_values = np.array(pool.map(p_values_of_task, jobs, chunksize=10))
    return (p_values < 0.05).mean(0).tolist()  # type: ignore[no-any-return]


def p_values_of_task(job: tuple[str, int, int, int, float]) -> list[float]:
    """One for each number of a task: two networks that are as good as each other, images of a patient are alike. The
    logits of the second are `sharper` times as large."""
    task, seed, patients, rounds, sharper = job
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(patients), rng.integers(1, 9, patients))
    width = {"score": 1, "multiclass": 3, "multilabel": 2}[task]

    def noise(by_patient: float, by_image: float) -> Floats:
        return by_patient * rng.normal(size=(patients, width))[of] + by_image * rng.normal(size=(len(of), width))

    illness, shared = noise(0.7, 0.7), noise(0.6, 0.0)
    if task == "score":
        numbers = [score_numbers((illness + shared + noise(0.4, 0.3))[:, 0], illness[:, 0], of) for _ in range(2)]
        names, swapped = len(SCORE), {}
    elif task == "multiclass":
        truth = illness.argmax(1)
        odds = [np.exp(by * (1.5 * np.eye(width)[truth] + shared + noise(0.6, 0.4))) for by in (1.0, sharper)]
        shares = [own / own.sum(1, keepdims=True) for own in odds]
        numbers = [multiclass_numbers(own, truth, of) for own in shares]
        names = len(MULTICLASS)
        swapped = CalibrationErrors.of_classes(shares, truth, of).p_values(0, 1, rounds, seed)
    else:
        labels = (illness > (0.8, 1.2)).astype(np.int8)
        scores = [1 / (1 + np.exp(by * (1.45 - 1.5 * labels - shared - noise(0.6, 0.4)))) for by in (1.0, sharper)]
        numbers = [multilabel_numbers(own, labels, of, np.full(width, 0.4)) for own in scores]
        names = len(MULTILABEL)
        swapped = CalibrationErrors.of_labels(scores, labels, of).p_values(0, 1, rounds, seed)
    draws = paired_bootstrap(numbers, patients, seed, rounds)
    return [difference(draws, 0, 1, number).p for number in range(names)] + list(swapped.values())


def by_seeds(options: argparse.Namespace) -> str:
    """A table of how often a null, and a difference, is found: by patients and seeds, and by patients alone."""
    columns = []
    for better in (0.0, options.better):
        jobs = [(seed, options.patients, options.seeds, better, options.rounds) for seed in range(options.sets)]
        with get_context("fork").Pool(os.cpu_count()) as pool:
            columns.append((np.array(pool.map(p_values_of_seeds, jobs, chunksize=5)) < 0.05).mean(0))
    heads = ("number", "test", "null", "a difference")
    tests = [(name, test) for name in ABNORMALITY[:2] for test in ("patients and seeds", "patients alone, mean score")]
    return table(heads, [(*test, *(f"{own:.4f}" for own in row)) for test, *row in zip(tests, *columns, strict=True)])


def p_values_of_seeds(job: tuple[int, int, int, float, int]) -> list[float]:
    """Of kappa and AUROC: over seeds, and of the mean scores as of one network."""
    seed, patients, seeds, better, rounds = job
    of, positive, scores = drawn_seeds(seed, patients, seeds, better)
    means = [np.mean(scores[:seeds], 0), np.mean(scores[seeds:], 0)]
    numbers = [abnormality_numbers(own, positive, of) for own in (*scores, *means)]
    draws = paired_bootstrap(numbers, patients, seed, rounds)
    found = []
    for number in range(2):
        both = slice(0, seeds), slice(seeds, 2 * seeds)
        found.append(over_seeds(draws, *both, number, patients).p)
        found.append(difference(draws, 2 * seeds, 2 * seeds + 1, number).p)
    return found


def seconds_of_a_comparison(images: int = 25_000, labels: int = 14) -> float:
    """The whole command, on the tables of two runs with patients of one to eight images."""
    names = tuple(f"label {number}" for number in range(labels))
    sets = [drawn_scores(number, math.ceil(images / 4.3), prevalence=0.02 + 0.02 * number) for number in range(labels)]
    truth = np.stack([own.positive[:images] for own in sets], 1).astype(np.int8)
    with tempfile.TemporaryDirectory() as folder:
        for which in ("first", "second"):
            scores = np.stack([getattr(own, which)[:images] for own in sets], 1)
            scored_run(Path(folder), which, scores, truth, sets[0].patients[:images], classes=names)
        begin = time.perf_counter()
        command = ["medtrain", "compare", "first", "second", "--runs", folder, "--json"]
        subprocess.run([sys.executable, "-m", *command], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - begin


if __name__ == "__main__":
    main()
