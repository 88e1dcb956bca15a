"""Which model a name means."""

from __future__ import annotations

from pathlib import Path

import pytest

from openrft.errors import ModelError
from openrft.models.catalog import BUNDLED_FOLDER, locate_model


def make(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    return folder


def refused(name: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        locate_model(str(name))
    return caught.value


def test_a_bundled_name_wins_over_a_folder_and_a_folder_over_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "openrft-tiny/config.json", "Qwen/here/config.json")
    monkeypatch.chdir(tmp_path)
    assert locate_model("openrft-tiny") == str(BUNDLED_FOLDER / "openrft-tiny")
    assert locate_model("./openrft-tiny") == "openrft-tiny"
    assert locate_model("Qwen/here") == "Qwen/here"
    assert locate_model("Qwen/not-here") == "Qwen/not-here"


def test_the_folder_of_a_run_is_refused_with_where_its_model_is(tmp_path: Path) -> None:
    run = make(tmp_path / "run", "job.json", "config.json", "model/config.json", "model/model.safetensors")
    error = refused(run)
    assert error.message == f"{run} is the folder of a run; its model is {run}/model"
    assert error.param == "model"
    assert locate_model(str(run / "model")) == str(run / "model")


def test_the_folder_of_a_run_that_has_no_model_yet_says_how_to_finish_it(tmp_path: Path) -> None:
    run = make(tmp_path / "run", "job.json", "config.json")
    assert refused(run).message == (
        f"{run} is the folder of a run that has no model yet; finish it with openrft run --resume {run}"
    )


@pytest.mark.parametrize("weights", ["model.safetensors", "model-00001-of-00002.safetensors", "pytorch_model.bin"])
def test_a_model_folder_in_which_somebody_keeps_a_job_is_a_model(tmp_path: Path, weights: str) -> None:
    assert locate_model(str(make(tmp_path, "job.json", "config.json", weights))) == str(tmp_path)


def test_a_folder_that_holds_only_a_job_is_no_run(tmp_path: Path) -> None:
    assert "holds no config.json" in refused(make(tmp_path, "job.json")).message
