"""What leaves openrft: a Hugging Face folder with a model card, and for LoRA the PEFT adapter beside it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
import yaml

from openrft.errors import ModelError
from openrft.models.catalog import bundled_models
from openrft.models.load import Policy, load_policy

_EXPORTED = {".json", ".safetensors", ".jinja", ".md", ".txt", ".model"}  # endings of the files that an export writes


def export_policy(policy: Policy, folder: Path, *, card: str, overwrite: bool = False) -> Path:
    """Write ``policy`` as a folder that ``AutoModelForCausalLM.from_pretrained`` loads, and return its path.

    With LoRA the folder holds the merged weights and ``adapter/`` the adapter alone. ``card`` becomes README.md. The
    folder appears whole. Raises :class:`ModelError` if it is there already and ``overwrite`` is not set.
    """
    folder = folder.absolute()
    check_target(folder, overwrite=overwrite)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".partial-{folder.name}-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    network = policy.network if policy.adapter is None else _merged(policy)
    network.save_pretrained(partial)
    policy.tokenizer.save_pretrained(partial)
    if policy.adapter is not None:
        _save_adapter(policy, partial / "adapter")
    (partial / "README.md").write_text(card, encoding="utf-8")
    if folder.exists():
        old = folder.with_name(f".partial-old-{folder.name}-{os.getpid()}")
        folder.rename(old)
        partial.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    else:
        partial.rename(folder)
    return folder


def check_target(folder: Path, *, overwrite: bool) -> None:
    """Raise :class:`ModelError` unless ``folder`` is free, or an exported model that may be replaced."""
    if not folder.exists():
        return
    if not overwrite:
        raise ModelError(f"{folder} exists; choose another folder or pass --overwrite", param="to")
    # Nothing of anybody else's is ever deleted.
    foreign = [path.name for path in folder.iterdir() if path.suffix not in _EXPORTED and path.name != "adapter"]
    if not folder.is_dir() or foreign or not (folder / "config.json").is_file():
        raise ModelError(
            f"{folder} is not only an exported model ({', '.join(foreign[:3]) or 'no config.json'})", param="to"
        )


def model_card(
    *,
    policy: Policy,
    title: str,
    grader: dict[str, Any] | None,
    report: str,
    metrics: dict[str, float],
    how: str,
    method: str = "reinforcement",
) -> str:
    """A model card: YAML header, how the model came about, the grader if there is one, the report."""
    is_bundled = policy.name in {model.name for model in bundled_models()}
    header = {
        "base_model": policy.name,
        "base_model_relation": "finetune",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["openrft", f"{method}-fine-tuning", *(["lora"] if policy.adapter is not None else [])],
        # A fine-tuned model stands under its base's licence; only of ours do we know it for certain.
        **({"license": "apache-2.0"} if is_bundled else {}),
        "model-index": [
            {
                "name": title,
                "results": [
                    {
                        "task": {"type": "text-generation"},
                        "dataset": {"name": "held-out examples of the job", "type": "jsonl"},
                        "metrics": [{"type": name, "value": value} for name, value in metrics.items()],
                    }
                ],
            }
        ],
    }
    graded_by = ""
    if grader is not None:
        graded_by = f"## Grader\n\n```json\n{json.dumps(grader, indent=2, ensure_ascii=False)}\n```\n\n"
    return (
        f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---\n# {title}\n\n{how}\n\n"
        f"{graded_by}{report}\n"
    )


def _merged(policy: Policy) -> Any:
    """A copy of the base with the adapter folded in; the policy itself stays as it is."""
    rank = next(iter(policy.adapter.peft_config.values())).r
    dtype = policy.network.get_input_embeddings().weight.dtype
    # In fp32, rounded once at the end: small adapters vanish when added to bf16 weights one by one.
    copy = load_policy(policy.source, weights="lora", lora_rank=rank, device=policy.network.device)
    theirs = dict(copy.trained_parameters())
    with torch.no_grad():
        for name, parameter in policy.trained_parameters():
            theirs[name].copy_(parameter)
    return copy.adapter.merge_and_unload(safe_merge=True).to(dtype)


def _save_adapter(policy: Policy, folder: Path) -> None:
    policy.adapter.save_pretrained(folder)
    # PEFT writes the path that the base was loaded from and a stub card; people need the base's name.
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = policy.name
    path.write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
    (folder / "README.md").unlink(missing_ok=True)
