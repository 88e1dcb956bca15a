"""What is loaded is what is in the files, or it is an error."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from openrft.errors import ModelError
from openrft.models.decoder import GroupCache
from openrft.models.export import export_policy
from openrft.models.load import cast_weights, load_policy
from random_models import write_random_model


def test_a_model_that_lacks_weights_is_refused_and_not_filled_with_random_numbers(tmp_path: Path) -> None:
    folder = write_random_model(tmp_path / "model", "llama")
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if "layers.1." not in name}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks 9 of its weights"):
        load_policy(str(folder))


def test_a_damaged_file_is_an_error_in_words(tmp_path: Path) -> None:
    folder = write_random_model(tmp_path / "model", "llama")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_policy(str(folder))


def test_an_export_replaces_an_exported_model_and_nothing_else(tmp_path: Path) -> None:
    policy = load_policy(str(write_random_model(tmp_path / "model", "llama")))
    target = export_policy(policy, tmp_path / "out", card="x")
    with pytest.raises(ModelError, match="exists"):
        export_policy(policy, target, card="x")
    export_policy(policy, target, card="y", overwrite=True)
    assert (target / "README.md").read_text() == "y"
    (target / "thesis.tex").write_text("years of work")
    with pytest.raises(ModelError, match=r"not only an exported model \(thesis"):
        export_policy(policy, target, card="z", overwrite=True)
    assert (target / "thesis.tex").read_text() == "years of work"


def test_an_exported_adapter_model_answers_like_the_policy_it_came_from(tmp_path: Path) -> None:
    import torch

    policy = load_policy(str(write_random_model(tmp_path / "model", "qwen3")), weights="lora")
    with torch.no_grad():
        for _, tensor in policy.trained_parameters():
            tensor.add_(torch.randn_like(tensor) * 0.05)
    merged = load_policy(str(export_policy(policy, tmp_path / "out", card="x")), weights="frozen")
    tokens = torch.tensor([[5, 6, 7, 8]])
    torch.testing.assert_close(merged.network(tokens).logits, policy.network(tokens).logits, atol=1e-4, rtol=1e-4)
    assert (tmp_path / "out" / "adapter" / "adapter_model.safetensors").exists()


def test_weights_that_are_cast_down_leave_positions_as_exact_as_they_were(tmp_path: Path) -> None:
    import torch

    policy = load_policy(str(write_random_model(tmp_path / "model", "qwen3")), weights="frozen")
    before = policy.network.model.rotary_emb.inv_freq.clone()
    cast_weights(policy, torch.bfloat16)
    assert {parameter.dtype for parameter in policy.network.parameters()} == {torch.bfloat16}
    assert torch.equal(policy.network.model.rotary_emb.inv_freq, before)
    assert policy.network.lm_head.weight is policy.network.model.embed_tokens.weight  # what was tied is
    policy.compute_in(torch.bfloat16)
    assert policy.decoder is not None
    cache = GroupCache(policy.decoder, [[5, 6, 7], [8]], [2, 1], 4)
    with torch.no_grad():
        assert cache.next_logits(cache.read_prompts().argmax(-1)).isfinite().all()
