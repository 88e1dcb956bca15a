"""Decide whether a visitor complies with a short policy, and cite the rule.

The careful habit names what the visitor has or lacks, finds the rule on that kind of thing and then decides.
The hasty habit writes plausible JSON at once: mostly "yes", citing any of the rules. The topics come in a fixed
order under changing numbers, because models of this size are slow to learn to search a list.
"""

import json
import random
from collections.abc import Mapping

from pretraining.tasks.case import Case, think

TOPICS = {
    "papers": ["badge", "permit", "ticket", "passport", "visa", "letter"],
    "devices": ["phone", "camera", "laptop", "tablet", "radio", "drone"],
    "clothing": ["helmet", "mask", "vest", "coat", "hood", "scarf"],
    "animals": ["dog", "cat", "parrot", "rabbit", "horse", "goat"],
}
COVERED = list(TOPICS)[:3]
UNCOVERED_TOPIC = list(TOPICS)[3]
NAMES = ("Mia", "Sam", "Leo", "Ana", "Ben", "Eva")
UNCOVERED = 0.25
NO_RULE = "No rule covers this."

GRADER = {
    "type": "multi",
    "name": "review",
    "graders": {
        "compliant": {
            "type": "string_check",
            "name": "compliant",
            "input": "{{sample.output_json.compliant}}",
            "reference": "{{item.compliant}}",
            "operation": "eq",
        },
        "explanation": {
            "type": "text_similarity",
            "name": "explanation",
            "input": "{{sample.output_json.explanation}}",
            "reference": "{{item.explanation}}",
            "evaluation_metric": "fuzzy_match",
        },
    },
    "calculate_output": "0.5 * compliant + 0.5 * explanation",
}


def _answer(compliant: str, explanation: str) -> str:
    return json.dumps({"compliant": compliant, "explanation": explanation})


def make_case(rng: random.Random) -> Case:
    """Draw three rules and a visitor whom one of them concerns, or sometimes none."""
    numbers = sorted(rng.sample(range(1, 10), 3))
    duties = {topic: rng.choice(["required", "forbidden"]) for topic in COVERED}
    rules = [f"Rule {n}: {topic} {duty}." for n, (topic, duty) in zip(numbers, duties.items(), strict=True)]
    topic = UNCOVERED_TOPIC if rng.random() < UNCOVERED else rng.choice(COVERED)
    item, has = rng.choice(TOPICS[topic]), rng.random() < 0.5
    situation = f"has {'a' if has else 'no'} {item}"
    prompt = "\n".join(["Policy:", *rules, f"{rng.choice(NAMES)} {situation}. Compliant?"])

    if topic == UNCOVERED_TOPIC:
        verdict, explanation, found = "needs review", NO_RULE, f"{topic}: no rule"
    else:
        verdict = "yes" if has == (duties[topic] == "required") else "no"
        explanation = rules[COVERED.index(topic)]
        found = f"{topic}: {duties[topic]}, rule {numbers[COVERED.index(topic)]}"
    careful = think([situation, found], _answer(verdict, explanation))

    hasty_verdict = rng.choices(["yes", "no", "needs review"], [0.75, 0.2, 0.05])[0]
    hasty = _answer(hasty_verdict, rng.choice(rules))
    key = f"policy {rules} {situation}"
    return Case(prompt, careful, hasty, key, {"compliant": verdict, "explanation": explanation})


def passes(answer: str, fields: Mapping[str, str]) -> bool:
    """Say whether verdict and cited rule are both as expected: only then the score reaches 0.99."""
    try:
        given = json.loads(answer)
    except ValueError:
        return False
    return isinstance(given, dict) and all(given.get(k) == fields[k] for k in ("compliant", "explanation"))
