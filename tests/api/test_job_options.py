"""What a job can be told, for whoever builds a form."""

from openrft.config.graders import GRADER_TYPES, parse_grader
from openrft.config.reinforcement import ReinforcementHyperparameters


def test_every_option_has_its_default_and_its_meaning(http):
    options = http.get("/v1/fine_tuning/options").json()
    properties = options["hyperparameters"]["reinforcement"]["properties"]
    assert list(properties) == list(ReinforcementHyperparameters.model_fields)
    assert all(field["description"] and "default" in field for field in properties.values())
    assert properties["batch_size"]["default"] == "auto"
    assert "group_size" not in options["hyperparameters"]["supervised"]["properties"]


def test_every_type_of_grader_tells_its_fields(http):
    graders = http.get("/v1/fine_tuning/options").json()["graders"]
    assert list(graders) == list(GRADER_TYPES)
    assert graders["string_check"]["required"] == ["input", "reference", "operation"]
    made = {"type": "string_check", "input": "a", "reference": "b"}
    for operation in graders["string_check"]["properties"]["operation"]["enum"]:
        assert parse_grader({**made, "operation": operation}).type == "string_check"
