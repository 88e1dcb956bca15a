"""Where things are kept, and who may look at them."""

from __future__ import annotations

from pathlib import Path

import pytest

from openrft.config.home import home_at, kept_at_home, make_private


def test_what_runs_keep_is_in_the_home_that_the_variable_names(tmp_path: Path) -> None:
    assert kept_at_home({"OPENRFT_HOME": str(tmp_path)}) == home_at(tmp_path).kept
    assert kept_at_home({}) == Path("~/.openrft/kept").expanduser()


def test_a_user_without_a_home_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", no_home)
    assert kept_at_home({}) is None


def test_every_folder_that_is_made_is_its_owners_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_private(tmp_path / "one" / "two")
    make_private(tmp_path / "one" / "two")
    modes = [path.stat().st_mode & 0o777 for path in (tmp_path, tmp_path / "one", tmp_path / "one" / "two")]
    assert modes == [0o755, 0o700, 0o700]
