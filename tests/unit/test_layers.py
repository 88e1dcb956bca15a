"""Who may import whom inside openrft: the picture in docs/architecture.md, as data and as a check."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

# Top first. A part may import from the lines below its own, never from its own line or from above. A part is
# a module or package right under src/openrft; inside a part, imports are its own affair.
LAYERS = [
    {"__main__"},
    {"cli"},
    {"api", "worker"},
    {"serving"},
    {"distributed"},
    {"training"},
    {"evaluation", "diagnosis"},
    {"rollout"},
    {"store", "dataset", "graders", "models", "algorithms", "tracking", "dashboard"},
    {"template"},
    {"config"},
    {"types"},
    {"errors", "faults", "log"},
]

# Numbers in, numbers out: these import nothing of ours at all.
ALONE = {"algorithms", "errors", "faults"}

REGISTER = "register it in LAYERS in tests/unit/test_layers.py and in the picture in docs/architecture.md"


def level_of(part: str) -> int | None:
    """The line of a part, counted from the bottom; None if it is in no line."""
    for level, parts in enumerate(reversed(LAYERS)):
        if part in parts:
            return level
    return None


def part_of(path: Path, package: Path) -> str:
    return path.relative_to(package).parts[0].removesuffix(".py")


def imported_parts(path: Path, package: Path) -> Iterator[tuple[int, str]]:
    """Line number and part of every import of ours in a file, also of those inside functions."""
    dotted = [package.name, *path.relative_to(package).with_suffix("").parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.Import):
            targets = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = dotted[: -node.level] if node.level else []
            module = above + (node.module.split(".") if node.module else [])
            targets = [[*module, alias.name] for alias in node.names]
        else:
            continue
        for target in targets:
            if target[0] != package.name or len(target) == 1:
                continue
            # `from openrft import __version__` names an attribute of the package, which has no part.
            is_part = (package / f"{target[1]}.py").exists() or (package / target[1]).is_dir()
            if is_part:
                yield node.lineno, target[1]


def violations(package: Path) -> list[str]:
    """Every breach of the rule in a package, as sentences."""
    found = []
    for path in sorted(package.rglob("*.py")):
        where = path.relative_to(package.parent)
        part = part_of(path, package)
        if part == "__init__":
            found += [
                f"{where}:{line}: imports {imported}; this file imports nothing, so that one part "
                "can be loaded without the others"
                for line, imported in imported_parts(path, package)
            ]
            continue
        level = level_of(part)
        if level is None:
            found.append(f"{where}: the part {part!r} is in no layer; {REGISTER}")
            continue
        for line, imported in imported_parts(path, package):
            imported_level = level_of(imported)
            if imported == part:
                continue
            if imported_level is None:
                found.append(f"{where}:{line}: imports {imported!r}, which is in no layer; {REGISTER}")
            elif part in ALONE:
                found.append(f"{where}:{line}: {part} imports nothing of ours, but here {imported}")
            elif imported_level == level:
                found.append(f"{where}:{line}: {part} imports {imported}, which is its neighbour")
            elif imported_level > level:
                found.append(f"{where}:{line}: {part} imports {imported}, which is above it")
    return found


def plant(folder: Path, files: dict[str, str]) -> Path:
    """A package named openrft with these files."""
    package = folder / "openrft"
    for name, text in {"__init__.py": "", **files}.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return package


def test_every_import_goes_down(repository):
    assert violations(repository / "src" / "openrft") == []


def test_every_part_is_in_exactly_one_line():
    parts = [part for line in LAYERS for part in line]
    assert len(parts) == len(set(parts))
    assert set(parts) >= ALONE


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (
            {"errors.py": "", "types.py": "from openrft import config", "config/__init__.py": ""},
            "openrft/types.py:1: types imports config, which is above it",
        ),
        (
            {"dataset/read.py": "def read():\n    import openrft.graders.text", "graders/text.py": ""},
            "openrft/dataset/read.py:2: dataset imports graders, which is its neighbour",
        ),
        (
            {"rollout/native.py": "from ..training.loop import train", "training/loop.py": ""},
            "openrft/rollout/native.py:1: rollout imports training, which is above it",
        ),
        (
            {"algorithms/loss.py": "from openrft.types import TrainingSample", "types.py": ""},
            "openrft/algorithms/loss.py:1: algorithms imports nothing of ours, but here types",
        ),
        (
            {"__init__.py": "from openrft.models import load", "models/__init__.py": ""},
            "openrft/__init__.py:1: imports models; this file imports nothing, so that one part "
            "can be loaded without the others",
        ),
        (
            {"utilities.py": ""},
            f"openrft/utilities.py: the part 'utilities' is in no layer; {REGISTER}",
        ),
    ],
)
def test_a_planted_violation_is_found(tmp_path, files, sentence):
    assert violations(plant(tmp_path, files)) == [sentence]


def test_imports_downward_and_within_a_part_are_fine(tmp_path):
    files = {
        "cli.py": "from openrft import __version__\nimport torch\nfrom openrft.training import loop",
        "training/__init__.py": "",
        "training/loop.py": "from . import batch\nfrom .methods import grpo\nfrom openrft.errors import Oops",
        "training/batch.py": "from ..types import TrainingSample",
        "training/methods/grpo.py": "from ..batch import pack\nfrom ...algorithms import advantages",
        "algorithms/__init__.py": "from .advantages import group_advantages",
        "algorithms/advantages.py": "import torch",
        "types.py": "from openrft.errors import Oops",
        "errors.py": "",
    }
    assert violations(plant(tmp_path, files)) == []
