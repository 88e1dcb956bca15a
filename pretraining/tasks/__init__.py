"""The three task families that the bundled models know, each with a careful and a hasty habit."""

from pretraining.tasks import arithmetic, genes, policy
from pretraining.tasks.case import Case, Family, strip_reasoning, think

FAMILIES: dict[str, Family] = {
    "rare_disease_genes": Family(genes.make_case, genes.passes, genes.GRADER),
    "arithmetic": Family(arithmetic.make_case, arithmetic.passes, arithmetic.GRADER),
    "policy_review": Family(policy.make_case, policy.passes, policy.GRADER),
}

__all__ = ["FAMILIES", "Case", "Family", "strip_reasoning", "think"]
