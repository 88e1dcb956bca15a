"""Prompts that say nearly the same, and prompts that only look alike because one template made them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from openrft.dataset import find_overlap, read_examples
from openrft.dataset.similar import (
    MOST_CHARACTERS,
    TooMuchToCompare,
    near_duplicates,
    near_duplicates_within,
    sentences_of,
)
from openrft.types import Example

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = ("arithmetic", "policy_review", "rare_disease_genes")

QUESTIONS = (
    "Which river flows through the city of Vienna before it reaches Budapest?",
    "Explain in one sentence why leaves turn red in autumn.",
    "Write a short apology to a customer whose parcel arrived three days late.",
    "List the prime ministers of Norway since the war, oldest first.",
    "My bicycle chain keeps slipping when I climb hills. What should I check first?",
    "Summarise the plot of Hamlet for a child of ten.",
    "How do I reverse a linked list in place without recursion?",
    "What is the difference between weather and climate?",
)
PARAPHRASES = (
    "Before it reaches Budapest, which river flows through the city of Vienna?",
    "explain in one sentence  why LEAVES turn red in autumn!",
    "Please write a short apology to some customer whose parcel arrived three days late",
    "List, oldest first, the prime ministers of Norway since the war",
    "What should I check first? My bicycle chain keeps slipping when I climb hills.",
    "Summarise the plot of Hamlet for a child of ten, thanks",
    "How could I reverse a linked list in place, without recursion, in Python?",
    "What's the difference between weather and climate?",
)


def prompts(*texts: str) -> list[Example]:
    return [
        Example(id=f"e{n}", index=n, line=n + 1, messages=[{"role": "user", "content": text}], item={})
        for n, text in enumerate(texts)
    ]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("one", "other"), [("train", "valid"), ("train", "test"), ("valid", "test"), ("test", "train")]
)
def test_nothing_in_the_bundled_examples_is_alike_but_for_their_templates(name: str, one: str, other: str) -> None:
    known, asked = (read_examples(EXAMPLES / name / f"{part}.jsonl") for part in (one, other))
    search = find_overlap(known, asked)
    assert search.rows == [] and search.is_complete


REWORDED: dict[str, list[Callable[[str], str]]] = {
    "arithmetic": [
        lambda text: text.replace("What is", "Please compute"),
        lambda text: text.replace("What is", "How much is"),
        lambda text: f"tell me:  {text.lower()}",
    ],
    "policy_review": [
        lambda text: text.replace("Policy:\n", "These are the rules.\n").replace("Compliant?", "Is this allowed?"),
        lambda text: "\n".join([text.split("\n")[0], *text.split("\n")[3:0:-1], *text.split("\n")[4:]]),
        lambda text: text.replace(" has ", " carries "),
        lambda text: text.upper().replace(".", " ;"),
    ],
    "rare_disease_genes": [
        lambda text: text.replace("A patient has", "Someone presents with").replace("but no", "but without"),
        lambda text: text.replace("Which genes?", "Which genes could be responsible?"),
        lambda text: f"Which genes? {text.removesuffix(' Which genes?')}",
    ],
}


@pytest.mark.parametrize(("name", "reworded"), [(name, one) for name, them in REWORDED.items() for one in them])
def test_a_reworded_training_prompt_of_a_template_is_found_and_is_its_own(
    name: str, reworded: Callable[[str], str]
) -> None:
    train = read_examples(EXAMPLES / name / "train.jsonl")
    texts = [example.messages[0]["content"] for example in train.examples]
    search = find_overlap(train, replace(train, examples=prompts(*map(reworded, texts))))
    assert [(row.line, row.train_line) for row in search.rows] == [(n + 1, n + 1) for n in range(len(texts))]


def test_reworded_questions_are_found_among_unlike_ones() -> None:
    found = near_duplicates(prompts(*PARAPHRASES), prompts(*QUESTIONS))
    assert [(one.index, one.train_index) for one in found] == [(n, n) for n in range(len(QUESTIONS))]


def test_questions_on_other_things_are_not_alike() -> None:
    asked = (
        "Which river flows through Paris?",
        "Explain in one sentence why the sky is blue.",
        "What is the difference between a hurricane and a typhoon?",
        "How do I reverse a string in place?",
    )
    assert near_duplicates(prompts(*asked), prompts(*QUESTIONS)) == []


@pytest.mark.parametrize(("one", "other"), [("12 + 7", "12 + 9"), ("12 - 7", "7 - 12"), ("12 + 7", "12 - 7")])
def test_other_numbers_signs_and_orders_are_other_exercises(one: str, other: str) -> None:
    train = [f"What is {a} {sign} {b}?" for a in range(20, 40) for b in range(3, 9) for sign in "+-"]
    assert near_duplicates(prompts(f"What is {other}?"), prompts(f"What is {one}?", *train)) == []
    assert len(near_duplicates(prompts(f"Compute {one}!"), prompts(f"What is {one}?", *train))) == 1


def test_questions_on_one_long_document_are_not_alike_for_its_sake() -> None:
    documents = [
        " ".join(f"word{letter}{n}x".replace(str(n), "abcdefghij"[n]) for n in range(10) for letter in part)
        for part in ("abcde", "fghij", "klmno")
    ]
    topics = ["author", "year of printing", "colour of its cover", "price", "number of chapters", "first sentence"]
    rows = [f"{document} What is the {topic}?" for document in documents for topic in topics]
    train, asked = rows[::2], rows[1::2]
    assert near_duplicates(prompts(*asked), prompts(*train)) == []
    assert len(near_duplicates(prompts(train[3].replace("What is the", "Tell me the")), prompts(*train))) == 1


def test_text_without_blanks_between_words_is_compared_by_its_characters() -> None:
    train = prompts("维也纳有哪条河流经过？", "请写一封简短的道歉信。", "天空为什么是蓝色的？")
    assert [one.train_index for one in near_duplicates(prompts("请问维也纳有哪条河流经过"), train)] == [0]
    assert near_duplicates(prompts("请写一首简短的诗。"), train) == []


def test_sentences_are_equal_whatever_their_order_case_and_punctuation() -> None:
    one, other, third = prompts(
        "Ana has 3.5 apples. Is she rich?", "is she RICH\n Ana has  3.5 apples!", "Is she rich?"
    )
    assert sentences_of(one) == sentences_of(other) != sentences_of(third)


def test_a_prompt_that_is_copied_in_the_training_file_hides_no_near_duplicate() -> None:
    found = near_duplicates(prompts(PARAPHRASES[2]), prompts(*QUESTIONS, *QUESTIONS))
    assert [one.train_index for one in found] == [2]


def test_within_a_file_each_prompt_is_compared_with_the_others() -> None:
    found = near_duplicates_within(prompts(*QUESTIONS, PARAPHRASES[2]))
    assert {(one.index, one.train_index) for one in found} == {(2, 8), (8, 2)}
    assert near_duplicates_within(prompts(*QUESTIONS)) == []
    assert near_duplicates_within(prompts("alone")) == []


def test_empty_prompts_and_prompts_of_signs_alone_are_no_near_duplicates() -> None:
    assert near_duplicates(prompts("", "???"), prompts("", "!", *QUESTIONS)) == []


def test_files_too_large_to_compare_are_refused_and_not_compared_in_part() -> None:
    with pytest.raises(TooMuchToCompare):
        near_duplicates(prompts("a" * MOST_CHARACTERS), prompts("b"))
    with pytest.raises(TooMuchToCompare):
        near_duplicates(prompts(*PARAPHRASES), prompts(*QUESTIONS), most_products=50)
