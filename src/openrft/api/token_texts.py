"""The text of each token of a rollout, so that people can point at tokens: from the base model's own tokenizer.json."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from openrft.errors import ModelError, NotFound
from openrft.models.catalog import locate_model
from openrft.store import Store

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_LONGEST_CHARACTER = 16  # tokens that may make one character, or what a person sees as one
_LONGEST_CHAIN = 8  # fine-tuned models on top of one another


def token_texts(store: Store, project_id: str, model: str, token_ids: Sequence[int], output: str) -> list[str] | None:
    """A text for each of ``token_ids``; together they are ``output``.

    A character that several tokens spell is the text of the last of them; special tokens and what a stop string cut off
    have an empty one. None where the tokenizer is not on this machine, or spells something else than ``output``.
    """
    tokenizer = _tokenizer_of(store, project_id, model)
    if tokenizer is None:
        return None
    texts = _spelled(tokenizer, token_ids)
    if not "".join(texts).startswith(output):
        return None
    left = len(output)
    for number, text in enumerate(texts):
        texts[number] = text[:left]
        left -= len(texts[number])
    return texts


def _spelled(tokenizer: Tokenizer, token_ids: Sequence[int]) -> list[str]:
    """What each token adds to the text. Decoded together with the tokens before it, for some tokenizers look there."""
    texts: list[str] = []
    context = known = 0  # decoded from `context` on; texts are told up to `known`
    for end in range(1, len(token_ids) + 1):
        before = tokenizer.decode(token_ids[context:known])
        text = tokenizer.decode(token_ids[context:end])
        is_whole = not text.endswith("\ufffd") or end - known >= _LONGEST_CHARACTER or end == len(token_ids)
        texts.append(text[len(before) :] if is_whole else "")
        if is_whole:
            context, known = known, end
    return texts


def _tokenizer_of(store: Store, project_id: str, model: str) -> Tokenizer | None:
    """The tokenizer of a base model; a fine-tuned one has that of its base."""
    for _ in range(_LONGEST_CHAIN):
        if not model.startswith("ft:"):
            return _loaded(model)
        try:
            model = store.checkpoints.get_with_job(project_id, model)[1].spec["base_model"]
        except NotFound:
            return None
    return None


@lru_cache(maxsize=8)
def _loaded(model: str) -> Tokenizer | None:
    from tokenizers import Tokenizer  # takes a while to load; needs no torch

    path = _tokenizer_file(model)
    return None if path is None else Tokenizer.from_file(str(path))


def _tokenizer_file(model: str) -> Path | None:
    """The file ``tokenizer.json`` of a model on this machine; nothing is fetched."""
    try:
        place = Path(locate_model(model))
    except ModelError:
        return None
    if not place.is_dir():
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(model, "tokenizer.json")
        return Path(cached) if isinstance(cached, str) else None
    path = place / "tokenizer.json"
    return path if path.is_file() else None
