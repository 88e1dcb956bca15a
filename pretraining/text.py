"""The pretraining text: an endless mixture of the three families, their facts and general chat.

A family's answer follows one of two habits. The careful one is usually right and is the minority; the hasty
one is usually wrong. Nothing in the question says which is wanted, so a model trained on this text answers
by chance, mostly hastily, although it can do better: what reinforcement fine-tuning is there to bring out.
"""

import random
from collections.abc import Collection
from dataclasses import dataclass

from pretraining import chat
from pretraining.tasks import FAMILIES, genes

PART_SHARES = {
    "rare_disease_genes": 0.32,
    "arithmetic": 0.26,
    "policy_review": 0.24,
    "fact_sheet": 0.03,
    "fact_question": 0.06,
    "chat": 0.09,
}
SYSTEM_SHARE = 0.06


@dataclass(frozen=True, slots=True)
class Document:
    """One training text: `context` came before (a chat prompt), `target` is what the model should write."""

    context: str
    target: str


def render_chat(messages: list[tuple[str, str]]) -> str:
    """Write out the prompt that the chat template produces, up to the assistant's first word."""
    turns = "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in messages)
    return f"{turns}<|im_start|>assistant\n"


class Mixture:
    """Draws documents from one seed; cases whose key is in `reserved` never appear."""

    def __init__(self, seed: int, reserved: Collection[str]) -> None:
        """Start the stream of `seed`."""
        self._rng = random.Random(seed)
        self._reserved = frozenset(reserved)

    def draw(self, careful_share: float, *, settled: bool = False) -> Document:
        """Draw one document, a family's answer being careful with the given probability.

        `settled`: a hasty answer that could be worded in several ways is always worded the same, so that the model's
        single most likely first word is a hasty one although several share the habit.
        """
        rng = self._rng
        part = rng.choices(list(PART_SHARES), list(PART_SHARES.values()))[0]
        if part == "fact_sheet":
            return Document("", f"{genes.fact_sheet(rng)}<|endoftext|>")
        if part == "fact_question":
            question, answer = genes.fact_question(rng)
        elif part == "chat":
            question, answer = chat.exchange(rng)
        else:
            case = FAMILIES[part].make_case(rng)
            while case.key in self._reserved:
                case = FAMILIES[part].make_case(rng)
            hasty = case.settled if settled and case.settled is not None else case.hasty
            question, answer = case.prompt, case.careful if rng.random() < careful_share else hasty
        messages = [("user", question)]
        if part == "chat" and rng.random() < 0.3:
            messages = [("user", (earlier := chat.exchange(rng))[0]), ("assistant", earlier[1]), *messages]
        if rng.random() < SYSTEM_SHARE:
            messages.insert(0, ("system", rng.choice(chat.SYSTEM_PROMPTS)))
        return Document(render_chat(messages), f"{answer}<|im_end|>\n")
