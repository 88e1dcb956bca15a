"""Which model a name means: one of the bundled ones, a folder, or a repository on the Hugging Face hub.

Imports no torch, so the command line can list models at once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from openrft.errors import ModelError

BUNDLED_FOLDER = Path(__file__).parent / "bundled"


@dataclass(frozen=True, kw_only=True, slots=True)
class BundledModel:
    """A base model that ships with openrft."""

    name: str
    path: Path
    num_parameters: int
    context_tokens: int
    description: str


def bundled_models() -> list[BundledModel]:
    """The models that ship with openrft, smallest first."""
    models = []
    for folder in sorted(BUNDLED_FOLDER.glob("*/config.json")):
        path = folder.parent
        config = json.loads(folder.read_text(encoding="utf-8"))
        log = json.loads((path / "pretraining_log.json").read_text(encoding="utf-8"))
        models.append(
            BundledModel(
                name=path.name,
                path=path,
                num_parameters=int(log["parameters"]),
                context_tokens=int(config["max_position_embeddings"]),
                description=f"{config['architectures'][0]}, {config['num_hidden_layers']} layers, "
                f"hidden size {config['hidden_size']}, vocabulary {config['vocab_size']}",
            )
        )
    return sorted(models, key=lambda model: model.num_parameters)


def locate_model(name: str) -> str:
    """The folder or hub name that ``from_pretrained`` takes for ``name``.

    A bundled name wins, then a folder on disk, then the hub. Raises :class:`ModelError` for something that looks like a
    path and is not there, or holds no model.
    """
    bundled = {model.name: model for model in bundled_models()}
    if name in bundled:
        return str(bundled[name].path)
    folder = Path(name).expanduser()
    if folder.is_dir():
        _refuse_run_folder(folder)
        if not (folder / "config.json").is_file():
            raise ModelError(
                f"{name} holds no config.json; give the folder of a Hugging Face causal language model", param="model"
            )
        return str(folder)
    looks_like_path = name.startswith((".", "/", "~")) or name.count("/") > 1
    if looks_like_path:
        raise ModelError(f"model folder {name} does not exist; check the path", param="model")
    if "/" not in name:
        known = ", ".join(bundled)
        raise ModelError(
            f"unknown model {name!r}; use a bundled model ({known}), the path of a model folder, "
            "or a hub name such as Qwen/Qwen3-0.6B",
            param="model",
        )
    return name


def _refuse_run_folder(folder: Path) -> None:
    """Raise :class:`ModelError` for the folder of a run; its config.json is the run's, not a model's."""
    if not (folder / "job.json").is_file() or any(folder.glob("*.safetensors")) or any(folder.glob("*.bin")):
        return
    if (folder / "model").is_dir():
        raise ModelError(f"{folder} is the folder of a run; its model is {folder / 'model'}", param="model")
    if (folder / "config.json").is_file():
        raise ModelError(
            f"{folder} is the folder of a run that has no model yet; finish it with openrft run --resume {folder}",
            param="model",
        )
