import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from openrft.config.settings import (
    EvaluationSettings,
    GraderModel,
    ServerSettings,
    Settings,
    parse_settings,
    read_settings,
    settings_path,
)
from openrft.errors import InvalidRequest

TEXT = """
cosine_model = "small"

[grader_models."gpt-4.1-2025-04-14"]
base_url = "http://127.0.0.1:8000/v1/"
api_key_env = "JUDGE_KEY"
model = "Qwen/Qwen3-8B"
input_price = 2
output_price = 8.0
structured_output = "json_object"

[embedding_models.small]
base_url = "https://example.com/v1"
"""


def refused(data: dict[str, Any]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse_settings(data)
    return caught.value


def judge(**table: Any) -> dict[str, Any]:
    return {"grader_models": {"judge": {"base_url": "http://example.com", **table}}}


def test_a_file_is_read_with_defaults_for_what_it_leaves_out(tmp_path: Path) -> None:
    (tmp_path / "openrft.toml").write_text(TEXT, encoding="utf-8")
    settings = read_settings({}, tmp_path)
    model = settings.grader_models["gpt-4.1-2025-04-14"]
    assert model.base_url == "http://127.0.0.1:8000/v1"
    assert (model.model, model.api_key_env, model.input_price, model.output_price) == (
        "Qwen/Qwen3-8B",
        "JUDGE_KEY",
        2.0,
        8.0,
    )
    assert (model.max_concurrency, model.timeout_seconds, model.max_attempts) == (16, 120.0, 5)
    assert settings.cosine_model == "small" and list(settings.embedding_models) == ["small"]


def test_without_a_file_nothing_is_mapped(tmp_path: Path) -> None:
    assert read_settings({}, tmp_path) == Settings()
    assert Settings().cosine_model == "text-embedding-3-large"


def test_the_environment_names_another_file(tmp_path: Path) -> None:
    (tmp_path / "openrft.toml").write_text("not read = ", encoding="utf-8")
    other = tmp_path / "other.toml"
    other.write_text('cosine_model = "x"', encoding="utf-8")
    assert read_settings({"OPENRFT_CONFIG": str(other)}, tmp_path).cosine_model == "x"


def test_the_file_that_is_read_is_known_beforehand(tmp_path: Path) -> None:
    assert settings_path({}, tmp_path) is None
    assert settings_path({"OPENRFT_CONFIG": "some/where.toml"}, tmp_path) == Path.cwd() / "some/where.toml"
    (tmp_path / "openrft.toml").touch()
    assert settings_path({}, tmp_path) == tmp_path / "openrft.toml"


def test_a_named_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"nope\.toml does not exist; correct or unset OPENRFT_CONFIG"):
        read_settings({"OPENRFT_CONFIG": str(tmp_path / "nope.toml")}, tmp_path)


@pytest.mark.parametrize(
    ("text", "part"), [(b"[grader_models", "is not TOML: "), (b"\xff", "cannot be read: 'utf-8' codec")]
)
def test_a_file_that_is_no_toml_is_named_with_its_mistake(tmp_path: Path, text: bytes, part: str) -> None:
    path = tmp_path / "openrft.toml"
    path.write_bytes(text)
    with pytest.raises(InvalidRequest) as caught:
        read_settings({}, tmp_path)
    assert str(path) in caught.value.message and part in caught.value.message


@pytest.mark.parametrize(
    ("data", "param", "part"),
    [
        ({"grader_model": {}}, "grader_model", "unknown key"),
        (judge(timeout=3), "grader_models.judge.timeout", "unknown key"),
        ({"grader_models": {"judge": {}}}, "grader_models.judge.base_url", "missing"),
        (judge(max_concurrency=0), "grader_models.judge.max_concurrency", "greater than or equal to 1"),
        (judge(timeout_seconds=0), "grader_models.judge.timeout_seconds", "greater than 0"),
        (judge(input_price=-1), "grader_models.judge.input_price", "greater than or equal to 0"),
        (judge(output_price=float("nan")), "grader_models.judge.output_price", "finite"),
        (judge(structured_output="xml"), "grader_models.judge.structured_output", "'json_schema'"),
        ({"grader_models": {"judge": 5}}, 'grader_models."judge"', "expected a table, but got int"),
        (
            {"grader_models": {"gpt-4": {"1": {"base_url": "http://x"}}}},
            'grader_models."gpt-4"',
            'quotes around names with dots, as in [grader_models."gpt-4.1"]',
        ),
        (judge(base_url="example.com"), 'grader_models."judge".base_url', "http://"),
        (judge(base_url="http://"), 'grader_models."judge".base_url', "names no host"),
        (judge(base_url="http://host:port"), 'grader_models."judge".base_url', "Port"),
        (judge(base_url="http://a b"), 'grader_models."judge".base_url', "blanks"),
        (judge(base_url="http://x/v1?a=1"), 'grader_models."judge".base_url', "a ? or #"),
        (judge(base_url=5), 'grader_models."judge".base_url', "int"),
    ],
)
def test_a_mistake_is_told_with_file_table_and_key(data: dict[str, Any], param: str, part: str) -> None:
    error = refused(data)
    assert error.param == param
    assert error.message.startswith(f"openrft.toml: {param}: ") and part in error.message


def test_everything_that_may_be_a_key_is_refused_unseen() -> None:
    secret = "sk-test-1234567890"
    for wrong in ({"api_key": secret}, {"api_key_env": secret}, {"base_url": f"http://me:{secret}@example.com"}):
        error = refused(judge(**wrong))
        assert secret not in error.message
    assert 'api_key_env = "NAME"' in refused(judge(api_key=secret)).message


def test_each_kind_of_table_has_only_its_own_keys() -> None:
    assert set(GraderModel.model_fields) >= {"output_price", "cached_input_price"}
    data = {"embedding_models": {"e": {"base_url": "http://x", "output_price": 1}}}
    assert refused(data).param == "embedding_models.e.output_price"


def test_every_key_of_the_settings_is_in_the_docs(repository: Path) -> None:
    docs = repository / "docs"
    text = "".join((docs / name).read_text(encoding="utf-8") for name in ("model-graders.md", "server.md"))
    tables = (Settings, ServerSettings, EvaluationSettings, GraderModel)
    keys = {key for table in tables for key in table.model_fields} - {"server", "evaluation", "tracking"}
    assert [key for key in keys if f"`{key}`" not in text and f"[{key}." not in text] == []


def test_the_settings_in_the_docs_are_accepted(repository: Path) -> None:
    docs = repository / "docs"
    text = "".join((docs / name).read_text(encoding="utf-8") for name in ("model-graders.md", "server.md"))
    blocks = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    for block in blocks:
        settings = parse_settings(tomllib.loads(block))
        assert settings.grader_models or settings.embedding_models or settings.served_models
