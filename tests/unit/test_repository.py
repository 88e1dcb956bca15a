"""Statements that the repository makes about itself, kept true."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import openrft

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((REPOSITORY / "scripts").iterdir())

# Written in two parts, so that this file does not contain what it forbids.
MACHINE_PATHS = ["/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/", "/op" + "t/"]
REGISTRY_HOSTS = ["pypi" + ".org", "pythonhosted" + ".org", "download.pytorch" + ".org", "npmjs" + ".org"]

# The CPU index that PyTorch documents is the one host that installing needs by name.
HOSTS_ALLOWED = {name: {"download.pytorch" + ".org"} for name in ("scripts/setup", "scripts/bench")}


def committed_files() -> list[Path]:
    """Files that git has or would take."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    paths = [REPOSITORY / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def is_text(path: Path) -> bool:
    with path.open("rb") as file:
        return b"\0" not in file.read(8192)


def pyproject() -> dict:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_every_script_can_be_run(script):
    assert os.access(script, os.X_OK), f"chmod +x scripts/{script.name}"
    lines = script.read_text(encoding="utf-8").splitlines()
    if lines[0] == "#!/bin/sh":
        assert "set -eu" in lines
        subprocess.run(["sh", "-n", script], check=True)


def test_the_version_is_written_in_one_place():
    assert pyproject()["project"]["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", openrft.__version__)
    with_version = [
        path.relative_to(REPOSITORY).as_posix()
        for path in (REPOSITORY / "src").rglob("*.py")
        if re.search(r"^__version__ = ", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    assert with_version == ["src/openrft/__init__.py"]


def test_the_changelog_has_a_place_for_the_next_entry():
    assert "\n## [Unreleased]\n" in (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_dependency_is_pinned_in_constraints():
    project = pyproject()["project"]
    declared = [
        line for extra in (project["dependencies"], *project["optional-dependencies"].values()) for line in extra
    ]
    names = {re.match(r"[A-Za-z0-9._-]+", line)[0] for line in declared} - {project["name"]}
    pins = [
        line
        for line in (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    ]
    assert [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", pin)] == []

    def canonical(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    pinned = {canonical(pin.partition("==")[0]) for pin in pins}
    assert {canonical(name) for name in names} - pinned == set()


def test_no_file_names_a_machine_or_a_registry():
    # A slash after a word is inside a path of ours or a web address, not the start of a path on a machine.
    paths = re.compile("|".join(rf"(?<![\w./}}*-]){re.escape(path)}" for path in MACHINE_PATHS))
    found = []
    for path in committed_files():
        if not is_text(path):
            continue
        name = path.relative_to(REPOSITORY).as_posix()
        text = path.read_text(encoding="utf-8", errors="replace")
        words = set(paths.findall(text)) | {host for host in REGISTRY_HOSTS if host in text}
        found += [f"{name}: {word}" for word in sorted(words - HOSTS_ALLOWED.get(name, set()))]
    assert found == []


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_every_command_of_a_page_exists(page):
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL))
    assert set(re.findall(r"(?:^|[`;&] *)make ([a-z][a-z-]*)", code, re.MULTILINE)) <= targets
    scripts = set(re.findall(r"\bscripts/([a-z][a-z-]*)", code))
    assert scripts <= {script.name for script in SCRIPTS}
