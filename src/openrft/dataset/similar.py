"""Prompts that say (nearly) the same: what an evaluation must not share with training, and a split must not part.

Edit distance is of no use here: two sums such as "What is 12 + 7?" and "What is 12 + 9?" differ in one character and
are different exercises, while a paraphrase differs in most of them. So words count by how rare they are in the training
file. What is in many of its rows is the template they share, and a word that none of them has is most likely another
wording; what tells rows apart are words that are known and rare, their order, and every number.
"""

from __future__ import annotations

import itertools
import math
import re
import statistics
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from openrft.types import Example

NEAR = 0.85
"""Similarity from which two prompts are near duplicates, unless unrelated rows of the training file are as alike."""

MOST_CHARACTERS = 30_000_000
MOST_PRODUCTS = 2_000_000_000
"""Characters of both files, and multiplications, beyond which they are not compared: about a minute of one core."""

_MOST_SAMPLED = 1_000  # training prompts that tell how alike unrelated ones are
_MOST_CELLS = 4_000_000  # similarities held at once
_TEMPLATE_SHARE = 0.95  # a word of more prompts than this is part of their template
_COMMON_SHARE = 0.75  # a feature of more prompts than this says next to nothing and costs most; it is left out
_FEW = 20  # prompts that are too few for such shares

_EAST_ASIAN = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"  # written without blanks: each character is a word
_WORD = re.compile(
    rf"\d+(?:[.,]\d+)*|[{_EAST_ASIAN}]|[^\W\d_{_EAST_ASIAN}]+|"
    r"[^\w\s.,;:!?\"'’“”()\[\]{}…–—]"  # signs such as + and -, but no punctuation
)
_SENTENCE_END = re.compile(r"[.!?;]+(?=\s|$)|\n")

Words = tuple[str, ...]
Feature = str | tuple[str, str]


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """A prompt and the training prompt that is most like it, by their positions in what was compared."""

    index: int
    train_index: int
    similarity: float


class TooMuchToCompare(Exception):
    """The files are too large for :func:`near_duplicates`; said by whoever asked for it."""


def sentences_of(example: Example) -> tuple[Words, ...]:
    """The prompt's sentences as words, sorted: equal for prompts that differ in case, blanks, punctuation or order."""
    sentences = (_words(part) for part in _SENTENCE_END.split(_text(example)))
    return tuple(sorted(words for words in sentences if words))


def near_duplicates(
    examples: Sequence[Example], train: Sequence[Example], *, most_products: int = MOST_PRODUCTS
) -> list[NearDuplicate]:
    """Those of ``examples`` whose prompt is nearly that of one in ``train``, each with its nearest; equal ones as well.

    The similarity of two prompts is twice the weight of the features they share over the weight of both (Dice). A
    feature is a word or a pair of words that follow one another, but for words that ``train`` does not have or nearly
    all of its prompts do; its weight is ``log((n + 1) / prompts that have it)`` over the ``n`` different prompts of
    ``train``. Prompts with different numbers are never alike. Near is :data:`NEAR` or more;
    where training prompts are so alike that half of them have a neighbour at ``m`` or closer, near is a quarter of the
    way from 1 to ``m``. Raises :class:`TooMuchToCompare` beyond :data:`MOST_CHARACTERS` and ``most_products``.
    """
    asked, known = _all_words(examples, train)
    space = _Space(known, most_products)
    threshold = _threshold(space.sampled_similarities())
    nearest = space.nearest(asked)
    return [
        NearDuplicate(index, found[0], found[1])
        for index, found in enumerate(nearest)
        if found is not None and found[1] >= threshold
    ]


def near_duplicates_within(examples: Sequence[Example]) -> list[NearDuplicate]:
    """As :func:`near_duplicates`, for each different prompt of a file among the others of it."""
    (words,) = _all_words(examples)
    space = _Space(words, MOST_PRODUCTS)
    nearest = space.nearest(space.prompts, own=range(len(space.prompts)))
    threshold = _threshold(found[1] if found else 0.0 for found in nearest)
    return [
        NearDuplicate(space.positions[row], found[0], found[1])
        for row, found in enumerate(nearest)
        if found is not None and found[1] >= threshold
    ]


def _threshold(similarities: Iterable[float]) -> float:
    """From which similarity on prompts are near duplicates, in a file whose rows are so alike to their nearest.

    A quarter and not half of the usual distance, because a query's unknown words count on one side only.
    """
    return max(NEAR, 1.0 - (1.0 - statistics.median(similarities)) / 4.0)


class _Space:
    """The different prompts of a file as weighted features."""

    def __init__(self, prompts: Sequence[Words], most_products: int) -> None:
        self.products_left = most_products
        first: dict[Words, int] = {}
        for position, words in enumerate(prompts):
            first.setdefault(words, position)
        self.prompts, self.positions = list(first), list(first.values())
        prompts_with = Counter(word for words in self.prompts for word in set(words))
        template = max(_FEW, _TEMPLATE_SHARE * len(self.prompts))
        self.telling = {word for word, count in prompts_with.items() if count <= template}
        self.counts = Counter(feature for words in self.prompts for feature in self._features(words))
        common = max(_FEW, _COMMON_SHARE * len(self.prompts))
        known = [feature for feature, count in self.counts.items() if count <= common]
        self.columns = {feature: column for column, feature in enumerate(known)}
        self.weights = [math.log((len(self.prompts) + 1) / self.counts[feature]) for feature in known]

    def sampled_similarities(self) -> list[float]:
        """How alike prompts and their nearest neighbours within the file are, for at most about a thousand of them."""
        sampled = range(0, len(self.prompts), math.ceil(len(self.prompts) / _MOST_SAMPLED))
        nearest = self.nearest([self.prompts[row] for row in sampled], own=sampled)
        return [found[1] if found else 0.0 for found in nearest]

    def nearest(self, queries: Sequence[Words], own: Sequence[int] | None = None) -> list[tuple[int, float] | None]:
        """(position of the most similar prompt, similarity) for each query; None where no prompt has its numbers.

        ``own`` are the queries' rows, if they are of this file: a row is no neighbour of its own, and a feature that
        it has alone is unknown to the others.
        """
        found: list[tuple[int, float] | None] = [None] * len(queries)
        rows_with = _by_numbers(self.prompts)
        fewest = 1 if own is None else 2  # prompts that something of a query must be in for another one to have it
        for numbers, members in _by_numbers(queries).items():
            rows = rows_with.get(numbers, [])
            if len(rows) < fewest:
                continue
            left, right = (
                self._matrix([queries[i] for i in members], fewest),
                self._matrix([self.prompts[i] for i in rows]),
            )
            self.products_left -= _products(left, right)
            if self.products_left < 0:
                raise TooMuchToCompare
            places = {row: place for place, row in enumerate(rows)}
            for i, best, similarity in _best(left, right, None if own is None else [places[own[i]] for i in members]):
                found[members[i]] = self.positions[rows[best]], similarity
        return found

    def _features(self, words: Words) -> set[Feature]:
        """Words that tell something and pairs of those that follow one another, whatever stands between them."""
        telling = [word for word in words if word in self.telling]
        return {*telling, *itertools.pairwise(telling)}

    def _matrix(self, prompts: Sequence[Words], fewest: int = 1) -> Any:
        """Prompts by features; an entry is the root of a weight, so that products of rows are weights they share."""
        from scipy.sparse import csr_array

        columns, ends = [], [0]
        for words in prompts:
            known = (feature for feature in self._features(words) if self.counts[feature] >= fewest)
            columns += [self.columns[feature] for feature in known if feature in self.columns]
            ends.append(len(columns))
        values = [math.sqrt(self.weights[column]) for column in columns]
        return csr_array((values, columns, ends), shape=(len(prompts), len(self.weights)))


def _products(queries: Any, prompts: Any) -> int:
    """How many numbers are multiplied or looked at to compare all of them."""
    shared = int(queries.count_nonzero(axis=0).astype("int64") @ prompts.count_nonzero(axis=0))
    return shared + int(queries.shape[0] * prompts.shape[0])


def _best(queries: Any, prompts: Any, own: Sequence[int] | None) -> Iterator[tuple[int, int, float]]:
    """(query, its most similar prompt, similarity), in blocks that fit into memory."""
    import numpy as np

    totals = queries.multiply(queries).sum(axis=1), prompts.multiply(prompts).sum(axis=1)
    columns, size = prompts.T.tocsr(), max(1, _MOST_CELLS // prompts.shape[0])
    for start in range(0, queries.shape[0], size):
        shared = (queries[start : start + size] @ columns).toarray()
        both = totals[0][start : start + size, None] + totals[1][None, :]
        similarity = np.divide(2.0 * shared, both, out=np.zeros_like(shared), where=both > 0.0)
        if own is not None:
            similarity[np.arange(len(similarity)), own[start : start + size]] = -1.0
        for i, best in enumerate(similarity.argmax(axis=1).tolist()):
            yield start + i, best, max(0.0, float(similarity[i, best]))


def _all_words(*files: Sequence[Example]) -> list[list[Words]]:
    texts = [[_text(example) for example in examples] for examples in files]
    if sum(len(text) for one in texts for text in one) > MOST_CHARACTERS:
        raise TooMuchToCompare
    return [[_words(text) for text in one] for one in texts]


def _text(example: Example) -> str:
    return "\n".join(str(message.get("content", "")) for message in example.messages)


def _words(text: str) -> Words:
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def _by_numbers(prompts: Sequence[Words]) -> dict[Words, list[int]]:
    """Positions of the prompts with the same numbers in them, in whatever order."""
    members: dict[Words, list[int]] = {}
    for position, words in enumerate(prompts):
        numbers = tuple(sorted(word for word in words if word[0].isdigit()))
        members.setdefault(numbers, []).append(position)
    return members
