"""``GET /v1/fine_tuning/options``: what a job can be told, with its meaning, for whoever builds a form. Ours."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from openrft.api.access import Reader
from openrft.config.graders import GRADER_TYPES
from openrft.config.reinforcement import ReinforcementHyperparameters
from openrft.config.spec import Spec
from openrft.config.supervised import SupervisedHyperparameters

router = APIRouter(prefix="/fine_tuning/options", tags=["fine-tuning"])

_METHODS: dict[str, type[Spec]] = {
    "reinforcement": ReinforcementHyperparameters,
    "supervised": SupervisedHyperparameters,
}


@router.get("")
def list_options(_: Reader) -> dict[str, Any]:
    """The hyperparameters of each method, and the fields of each type of grader, as JSON schemas."""
    return {
        "object": "fine_tuning.options",
        "hyperparameters": {name: kind.model_json_schema() for name, kind in _METHODS.items()},
        "graders": {name: kind.model_json_schema() for name, kind in GRADER_TYPES.items()},
    }
