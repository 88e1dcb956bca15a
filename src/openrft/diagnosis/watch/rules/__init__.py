"""The table of contents: a new rule is a file here, a line below, a test, and a row in docs/diagnosis.md."""

from openrft.diagnosis.watch.rule import Rule
from openrft.diagnosis.watch.rules import (
    entropy_collapse,
    grader_errors,
    length_exploited,
    no_op,
    no_signal,
    one_answer,
    one_part_wins,
    overfitting,
    repetition,
    reward_hacking,
    sameness,
    score_jump,
    too_easy,
    too_hard,
    truncation,
    worse_than_base,
)

RULES: tuple[Rule, ...] = (
    no_op.RULE,
    worse_than_base.RULE,
    reward_hacking.RULE,
    grader_errors.RULE,
    too_hard.RULE,
    too_easy.RULE,
    no_signal.RULE,
    truncation.RULE,
    one_part_wins.RULE,
    length_exploited.RULE,
    one_answer.RULE,
    score_jump.RULE,
    overfitting.RULE,
    sameness.RULE,
    repetition.RULE,
    entropy_collapse.RULE,
)
"""Worst first."""
