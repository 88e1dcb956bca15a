"""`python -m pretraining build|examples|measure`."""

import argparse
import json
from pathlib import Path

import torch

from pretraining.card import model_card
from pretraining.examples import write_examples
from pretraining.measure import measure
from pretraining.tokenizer import VOCAB_SIZE
from pretraining.train import CONTEXT_LENGTH, RECIPES, Recipe, pretrain

ROOT = Path(__file__).resolve().parent.parent
BUNDLED = ROOT / "src" / "openrft" / "models" / "bundled"
EXAMPLES = ROOT / "examples"
SAMPLES = 4


def main() -> None:
    """Run one command."""
    parser = argparse.ArgumentParser(prog="python -m pretraining", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="pretrain a model from scratch and write its folder")
    commands.add_parser("examples", help="write examples/*/{train,valid,test}.jsonl and grader.json")
    measured = commands.add_parser("measure", help="measure the untuned models on the test sets, and renew their cards")
    for command in (build, measured):
        command.add_argument("--model", choices=[*RECIPES, "all"], default="all")
        command.add_argument("--folder", type=Path, default=BUNDLED, help="where the model folders are")
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # sums in another order change the last digits, and so, in time, the model
    if arguments.command == "examples":
        write_examples(EXAMPLES)
        return
    for name in RECIPES if arguments.model == "all" else [arguments.model]:
        recipe = RECIPES[name]
        if arguments.command == "build":
            pretrain(recipe, arguments.folder / recipe.name)
        _measure(recipe, arguments.folder / recipe.name)


def _measure(recipe: Recipe, folder: Path) -> None:
    """Print the untuned accuracies on the test sets and write them into the model card."""
    rows = []
    for row in measure(folder, SAMPLES):
        print(json.dumps(row), flush=True)
        rows.append(row)
    record = json.loads((folder / "pretraining_log.json").read_text(encoding="utf-8"))
    card = model_card(
        name=recipe.name,
        parameters=record["parameters"],
        vocabulary=VOCAB_SIZE,
        window=CONTEXT_LENGTH,
        careful_share=recipe.careful_share,
        shares=[(other.name, other.careful_share) for other in RECIPES.values()],
        samples=SAMPLES,
        last=record["steps"][-1],
        measured=rows,
    )
    (folder / "README.md").write_text(card, encoding="utf-8")


if __name__ == "__main__":
    main()
