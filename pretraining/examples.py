"""The example data sets: drawn from one seed, split without overlap, and kept out of the pretraining text."""

import json
from pathlib import Path

from pretraining.answers import fresh_cases
from pretraining.tasks import FAMILIES, Case, strip_reasoning

SEED = 2024
SPLITS = {"train": 64, "valid": 48, "test": 240}
COMPARED = "rare_disease_genes"  # the example with a comparison of methods
NUM_COMPARED = 192  # training cases of the largest arm; none is in the example's files


def split_cases(family: str) -> dict[str, list[Case]]:
    """Draw the cases of each split; all keys differ, so no prompt is shared between splits."""
    cases = fresh_cases(family, sum(SPLITS.values()), SEED)
    splits, start = {}, 0
    for name, size in SPLITS.items():
        splits[name] = cases[start : start + size]
        start += size
    return splits


def reserved_keys() -> frozenset[str]:
    """Return the keys of every example case, which the pretraining text must avoid."""
    return frozenset(case.key for family in FAMILIES for split in split_cases(family).values() for case in split)


def write_examples(root: Path) -> None:
    """Write `<root>/<family>/{train,valid,test}.jsonl` and `grader.json`."""
    for family, parts in FAMILIES.items():
        folder = root / family
        folder.mkdir(parents=True, exist_ok=True)
        for split, cases in split_cases(family).items():
            rows = [
                json.dumps({"messages": [{"role": "user", "content": case.prompt}], **case.fields}) for case in cases
            ]
            (folder / f"{split}.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
        (folder / "grader.json").write_text(json.dumps(parts.grader, indent=2) + "\n", encoding="utf-8")
    write_comparison(root / COMPARED / "compare")


def write_comparison(folder: Path) -> None:
    """Write more training cases with their right answers, and those of the validation cases, without any work-up."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {
        "cases": fresh_cases(COMPARED, NUM_COMPARED, SEED + 1, reserved_keys()),
        "valid-answers": split_cases(COMPARED)["valid"],
    }
    for name, cases in parts.items():
        rows = [{"prompt": case.prompt, **case.fields, "answer": strip_reasoning(case.careful)} for case in cases]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
