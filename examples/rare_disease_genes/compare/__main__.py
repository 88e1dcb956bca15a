"""The comparison that made reinforcement fine-tuning known, in miniature: what 12 to 192 cases are worth to a method.

    python examples/rare_disease_genes/compare --dir /tmp/compare        every run (see below), then table and plot
    python examples/rare_disease_genes/compare --dir /tmp/compare --sizes 24 --seeds 0
    python examples/rare_disease_genes/compare --dir /tmp/compare --show    table and plot again, from what is there

Every arm is measured on the same 240 test cases, four answers each, by the same grader, with the same random numbers:

    tiny base       openrft-tiny, untuned
    small base      openrft-small, five times as large, untuned
    tiny + SFT      supervised fine-tuning on the cases' right answers
    tiny + RFT      reinforcement fine-tuning on the same cases, of which only its grader sees the gene
    tiny + chance   the same with random grades: the control

Everything is chosen by "auto" for every arm, and the checkpoint that ships by the same graded validation cases. SFT is
tried with three learning rates, of which those cases choose one as well. Seed s draws its cases from the 192 in
cases.jsonl and seeds the run. The answers that SFT learns from are what the grader wants: three genes, the true one
first, and two reasons. They say more than RFT is told, which sees a score.
Finished runs are kept in --dir and not run again.
"""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

from arms import run_arm, run_base
from figures import BASES, TRAINED, as_table, differences, draw

SIZES = (12, 24, 48, 96, 192)
SEEDS = (0, 1, 2, 3, 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, required=True, help="one JSON file per finished run")
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, help="numbers of training cases")
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    parser.add_argument("--arms", nargs="+", choices=TRAINED, default=list(TRAINED))
    parser.add_argument(
        "--jobs", type=int, default=1, help="runs at a time, of one thread each where there are several"
    )
    parser.add_argument("--plot", type=Path, help="where the plot goes; default compare.svg in --dir")
    parser.add_argument("--show", action="store_true", help="run nothing")
    options = parser.parse_args()
    options.dir.mkdir(parents=True, exist_ok=True)
    if options.jobs > 1:
        os.environ["OMP_NUM_THREADS"] = "1"
    wanted = [
        options.dir / f"{arm}-{size}-{seed}.json"
        for seed in options.seeds
        for size in options.sizes
        for arm in options.arms
    ]
    if not options.show:
        with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
            waiting = {
                pool.submit(run_base, arm, file): file
                for arm in BASES
                if not (file := options.dir / f"{arm}.json").exists()
            }
            for file in wanted:
                if not file.exists():
                    arm, size, seed = file.stem.split("-")
                    waiting[pool.submit(run_arm, arm, int(size), int(seed), file)] = file
            for done in as_completed(waiting):
                done.result()
                print(f"{waiting[done].stem} done", flush=True)
    files = [*(options.dir / f"{arm}.json" for arm in BASES), *wanted]
    runs = [json.loads(file.read_text()) for file in files if file.exists()]
    print("\n\n".join([as_table(runs, "sampled"), as_table(runs, "greedy"), differences(runs)]))
    draw(runs, options.plot or options.dir / "compare.svg")


if __name__ == "__main__":
    main()
