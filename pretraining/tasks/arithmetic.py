"""Add two numbers of three digits.

The careful habit adds column by column from the right and writes each carry down. The hasty habit adds the
columns and forgets the carries, so it is right only where there is none.
"""

import random
from collections.abc import Mapping

from pretraining.tasks.case import Case, think

GRADER = {
    "type": "string_check",
    "name": "exact",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}


def _columns(a: int, b: int) -> tuple[list[str], str]:
    """Work the sum out column by column; return the written steps and the carry-free answer."""
    steps, forgetful, carry = [], "", 0
    for x, y in zip(reversed(str(a)), reversed(str(b)), strict=True):
        column = int(x) + int(y) + carry
        steps.append(f"{x}+{y}{'+1' if carry else ''}={column}")
        forgetful = str((int(x) + int(y)) % 10) + forgetful
        carry = column // 10
    return steps, forgetful


def make_case(rng: random.Random) -> Case:
    """Draw two numbers of three digits."""
    a, b = rng.randint(100, 999), rng.randint(100, 999)
    steps, forgetful = _columns(a, b)
    answer = str(a + b)
    key = f"arithmetic {min(a, b)} {max(a, b)}"
    return Case(f"What is {a} + {b}?", think(steps, answer), forgetful, key, {"answer": answer})


def passes(answer: str, fields: Mapping[str, str]) -> bool:
    """Say whether the answer is the number and nothing else."""
    return answer == fields["answer"]
