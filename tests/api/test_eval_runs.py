"""Runs of evals on the wire: asked for through OpenAI's client, executed by the worker's own loop beside the server."""

import json
import re
import threading
import time

import openai
import pytest

from model_server import Answer, ModelServer, score
from openrft.config.evals import RunData
from openrft.config.settings import GraderModel, ServedModel, Settings
from openrft.config.spec import parse_spec
from openrft.errors import Unavailable
from openrft.serving.client import ServingClient
from openrft.serving.protocol import ModelPlace
from openrft.worker.eval_answers import Sampler
from openrft.worker.eval_runs import ROWS_AT_ONCE, run_due
from openrft.worker.source_rows import EvalSourceRow

on_both = pytest.mark.parametrize("url", ["sqlite", "postgres"], indirect=True)

EXACT = {
    "type": "string_check",
    "name": "exact match",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}
PYTHON = {
    "type": "python",
    "name": "close",
    "source": "def grade(sample, item):\n    return 1 / (1 + abs(int(sample['output_text']) - int(item['answer'])))\n",
    "pass_threshold": 0.5,
}
SCHEMA = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
CUSTOM = {"type": "custom", "item_schema": SCHEMA, "include_sample_schema": True}
TEMPLATE = {"type": "template", "template": [{"role": "user", "content": "Say {{item.answer}}."}]}


class Model(ModelServer):
    """A server of chat completions, streamed, that says what follows "Say" in the last message."""

    def __init__(self, *, wait=0.0):
        super().__init__(lambda request: self.say(request))
        self.wait = wait

    def say(self, request):
        body = request.body
        text = re.sub(r"Say (.*)\.", r"\1", body["messages"][-1]["content"])
        usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
        if not body.get("stream"):
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            whole = {"object": "chat.completion", "choices": [choice], "usage": usage}
            return Answer(body=whole, wait=self.wait)
        chunks = [
            {"choices": [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {"choices": [], "usage": usage},
        ]
        lines = [f"data: {json.dumps({'object': 'chat.completion.chunk', **chunk})}\n\n" for chunk in chunks]
        stream = "".join([*lines, "data: [DONE]\n\n"])
        return Answer(body=stream, headers={"Content-Type": "text/event-stream"}, wait=self.wait)


@pytest.fixture
def model():
    with Model() as running:
        yield running


@pytest.fixture
def judge():
    with ModelServer(score(0.8, "good")) as running:
        yield running


@pytest.fixture
def settings(model, judge):
    return Settings(
        served_models={
            "parrot": ServedModel(base_url=model.base_url),
            "lone parrot": ServedModel(base_url=model.url + "/v1/", max_concurrency=2),
        },
        grader_models={"judge": GraderModel(base_url=judge.base_url)},
    )


@pytest.fixture
def executor(store, settings, tmp_path):
    """The worker's loop, until the test ends."""
    stop = threading.Event()
    arguments = (store, ServingClient(tmp_path / "serving.sock"), settings, stop)
    thread = threading.Thread(target=run_due, args=arguments)
    thread.start()
    yield
    stop.set()
    thread.join(30)
    assert not thread.is_alive()


def create(client, *criteria):
    return client.evals.create(data_source_config=CUSTOM, testing_criteria=list(criteria) or [EXACT])


def row(answer, said=None):
    return {"item": {"answer": answer}} | ({} if said is None else {"sample": {"output_text": said}})


def content(*rows):
    return {"type": "file_content", "content": list(rows)}


def jsonl(*rows):
    return {"type": "jsonl", "source": content(*rows)}


def completions(*rows, **options):
    return {
        "type": "completions",
        "model": "parrot",
        "source": content(*rows),
        "input_messages": TEMPLATE,
        **options,
    }


def upload(client, text):
    return client.files.create(file=("rows.jsonl", text.encode()), purpose="evals").id


def done(client, run, seconds=60):
    """The run once it is over."""
    end = time.monotonic() + seconds
    while run.status in ("queued", "in_progress"):
        assert time.monotonic() < end, run
        time.sleep(0.1)
        run = client.evals.runs.retrieve(run.id, eval_id=run.eval_id)
    return run


def items_of(client, run, **options):
    found = list(client.evals.runs.output_items.list(run.id, eval_id=run.eval_id, limit=2, **options))
    return sorted(found, key=lambda item: item.datasource_item_id)


@on_both
@pytest.mark.usefixtures("executor")
def test_a_run_over_recorded_samples_is_graded(client):
    made = create(client, EXACT, PYTHON)
    source = jsonl(row("1", "1"), row("2", "3"), row("5", "9"), row("7", "seven"))
    run = client.evals.runs.create(made.id, name="recorded", metadata={"a": "b"}, data_source=source)
    assert (run.object, run.status, run.eval_id, run.name) == ("eval.run", "queued", made.id, "recorded")
    run = done(client, run)
    assert (run.status, run.error, run.metadata) == ("completed", None, {"a": "b"})
    # "seven" is no number: the python grader raises, which is an error and neither a pass nor a failure.
    assert run.result_counts.to_dict() == {"total": 4, "errored": 1, "failed": 2, "passed": 1}
    ids = [criterion.id for criterion in made.testing_criteria]
    assert [one.to_dict() for one in run.per_testing_criteria_results] == [
        {"testing_criteria": ids[0], "passed": 1, "failed": 3},
        {"testing_criteria": ids[1], "passed": 2, "failed": 1},
    ]
    assert (run.data_source.to_dict(), run.per_model_usage) == (source, [])
    items = items_of(client, run)
    assert [item.status for item in items] == ["pass", "fail", "fail", "error"]
    assert [[result.score for result in item.results] for item in items] == [[1, 1], [0, 0.5], [0, 0.2], [0, None]]
    assert [[result.passed for result in item.results] for item in items[:2]] == [[True, True], [False, True]]
    assert [result.name for result in items[0].results] == ids
    assert items[3].results[1].error["code"] == "python_grader_runtime_error"
    assert items[1].datasource_item == {"answer": "2"}
    assert items[1].sample.output[0].content == "3"


@pytest.mark.usefixtures("executor")
def test_an_item_is_told_key_for_key(client, http):
    made = create(client)
    run = done(client, client.evals.runs.create(made.id, data_source=jsonl(row("1", "1"))))
    listed = http.get(f"/v1/evals/{made.id}/runs/{run.id}/output_items").json()
    assert set(listed) == {"object", "data", "has_more", "first_id", "last_id"}
    (item,) = listed["data"]
    assert set(item) == {
        "object",
        "id",
        "run_id",
        "eval_id",
        "created_at",
        "status",
        "datasource_item_id",
        "datasource_item",
        "results",
        "sample",
    }
    assert (item["object"], item["datasource_item_id"]) == ("eval.run.output_item", 0)
    assert re.fullmatch(r"outputitem_[0-9a-f]{32}", item["id"])
    sample = {"input", "output", "finish_reason", "model", "usage", "error"}
    assert set(item["sample"]) == sample | {"temperature", "max_completion_tokens", "top_p", "seed"}
    assert http.get(f"/v1/evals/{made.id}/runs/{run.id}/output_items/{item['id']}").json() == item
    whole = http.get(f"/v1/evals/{made.id}/runs/{run.id}").json()
    assert set(whole) == {
        "object",
        "id",
        "eval_id",
        "report_url",
        "status",
        "model",
        "name",
        "created_at",
        "result_counts",
        "per_model_usage",
        "per_testing_criteria_results",
        "data_source",
        "metadata",
        "error",
    }
    assert whole["report_url"].endswith(f"/evals/{made.id}/runs/{run.id}")


@pytest.mark.usefixtures("executor")
def test_a_model_answers_and_its_answers_are_graded(client, model):
    made = create(client, EXACT, PYTHON)
    options = {"temperature": 0.5, "max_completion_tokens": 20, "top_p": 0.9, "seed": 3}
    source = completions(row("1"), row("2"), row("3"), sampling_params=options)
    run = done(client, client.evals.runs.create(made.id, name="parrot", data_source=source))
    assert (run.status, run.model, run.error) == ("completed", "parrot", None)
    assert run.result_counts.to_dict() == {"total": 3, "errored": 0, "failed": 0, "passed": 3}
    assert [one.to_dict() for one in run.per_model_usage] == [
        {
            "model_name": "parrot",
            "invocation_count": 3,
            "prompt_tokens": 21,
            "completion_tokens": 6,
            "total_tokens": 27,
            "cached_tokens": 0,
        }
    ]
    sample = items_of(client, run)[1].sample
    assert [one.to_dict() for one in sample.input] == [{"role": "user", "content": "Say 2."}]
    assert (sample.output[0].content, sample.finish_reason, sample.model) == ("2", "stop", "parrot")
    assert sample.usage.to_dict() == {
        "total_tokens": 9,
        "completion_tokens": 2,
        "prompt_tokens": 7,
        "cached_tokens": 0,
    }
    assert {name: getattr(sample, name) for name in options} == options
    sent = model.requests[0].body
    assert (sent["temperature"], sent["top_p"], sent["seed"]) == (0.5, 0.9, 3)


@pytest.mark.usefixtures("executor")
def test_a_run_in_the_words_of_the_responses_api_is_the_same(client):
    made = create(client)
    message = {"type": "message", "role": "user", "content": {"type": "input_text", "text": "Say {{item.answer}}."}}
    source = completions(
        row("blue"),
        type="responses",
        input_messages={"type": "template", "template": [message]},
        sampling_params={"text": {"format": {"type": "text"}}},
    )
    run = done(client, client.evals.runs.create(made.id, data_source=source))
    assert run.result_counts.passed == 1, items_of(client, run)


@pytest.mark.usefixtures("executor")
def test_the_conversation_may_be_a_part_of_the_row(client, model):
    made = create(client)
    asked = [{"role": "developer", "content": "Be a parrot."}, {"role": "user", "content": "Say red."}]
    rows = {"item": {"answer": "red", "messages": asked}}, {"item": {"answer": "red", "messages": "Say red."}}, row("x")
    source = completions(*rows, input_messages={"type": "item_reference", "item_reference": "item.messages"})
    run = done(client, client.evals.runs.create(made.id, data_source=source))
    assert [item.status for item in items_of(client, run)] == ["pass", "pass", "error"]
    error = items_of(client, run)[2].sample.error
    assert (error.code, "no key" in error.message) == ("invalid_eval_data", True)
    assert asked in [request.body["messages"] for request in model.requests]


@pytest.mark.usefixtures("executor")
def test_a_model_grader_is_asked_and_counted(client, judge):
    grader = {
        "type": "score_model",
        "name": "style",
        "model": "judge",
        "input": [{"role": "user", "content": "Rate {{sample.output_text}}"}],
        "pass_threshold": 0.8,
    }
    made = create(client, grader)
    run = done(client, client.evals.runs.create(made.id, data_source=jsonl(row("1", "fine"))))
    assert run.result_counts.passed == 1
    assert (run.per_model_usage[0].run_model_name, run.per_model_usage[0].prompt_tokens) == ("judge", 100)
    assert judge.requests[0].body["messages"][-1]["content"] == "Rate fine"


@pytest.mark.usefixtures("executor")
def test_rows_come_from_a_file_and_are_those_of_a_reinforcement_file_too(client):
    made = create(client)
    file = upload(client, '{"item": {"answer": "1"}, "sample": {"output_text": "1"}}\n\n{"item": {"answer": "2"}}\n')
    source = {"type": "jsonl", "source": {"type": "file_id", "id": file}}
    run = done(client, client.evals.runs.create(made.id, data_source=source))
    # Without a sample there is nothing that the grader could read.
    assert [item.status for item in items_of(client, run)] == ["pass", "error"]
    row = {"messages": [{"role": "user", "content": "Say 4."}], "answer": "4"}
    file = upload(client, json.dumps(row))
    reference = {"type": "item_reference", "item_reference": "item.messages"}
    source = completions(source={"type": "file_id", "id": file}, input_messages=reference)
    run = done(client, client.evals.runs.create(made.id, data_source=source))
    (item,) = items_of(client, run)
    assert item.status == "pass"
    assert list(item.datasource_item) == ["messages", "tools", "parallel_tool_calls", "answer"]


@pytest.mark.usefixtures("executor")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"item": {"answer": "1"}}\n{"item": ', "line 2 is not JSON"),
        ('{"item": {"answer": [' + "[]," * 100_000 + "[]]}}", "line 1 has more than 100,000 parts"),
        ('{"item": {"answer": "1"}}\n\n{"itm": {}}', 'line 3: expected the key "item", found itm'),
        ('{"item": {"answer": "1"}, "smaple": {}}', "line 1: smaple: unknown key"),
        ('{"item": [1]}', "line 1: item"),
        ("[1]", "line 1: expected an object"),
        ('{"item": {"answer": NaN}}', "NaN is not a number"),
        ('{"item": {"answer": "\\ud83d"}}', "half of a character"),
        ('{"item": {"question": "1"}}', "line 1: item has no 'answer', which the eval's item_schema requires"),
        ('{"item": {"answer": 1}}', "line 1: item.answer is not of type string"),
        ("\n \n", "the file has no rows"),
    ],
)
def test_rows_that_are_none_fail_the_run_with_their_line(client, text, words):
    made = create(client)
    source = {"type": "jsonl", "source": {"type": "file_id", "id": upload(client, text)}}
    run = done(client, client.evals.runs.create(made.id, data_source=source))
    assert (run.status, run.error.code) == ("failed", "invalid_eval_data")
    assert words in run.error.message
    assert items_of(client, run) == []


def test_runs_are_listed_by_status_and_deleted(client):
    made = create(client)
    first, second, third = (client.evals.runs.create(made.id, data_source=jsonl(row("1", "1"))) for _ in range(3))
    assert [run.id for run in client.evals.runs.list(made.id, limit=2)] == [first.id, second.id, third.id]
    assert [run.id for run in client.evals.runs.list(made.id, order="desc", limit=1)] == [third.id, second.id, first.id]
    client.evals.runs.cancel(first.id, eval_id=made.id)
    assert [run.id for run in client.evals.runs.list(made.id, status="canceled")] == [first.id]
    gone = client.evals.runs.delete(second.id, eval_id=made.id)
    assert gone.to_dict() == {"object": "eval.run.deleted", "deleted": True, "run_id": second.id}
    with pytest.raises(openai.NotFoundError, match=second.id):
        client.evals.runs.retrieve(second.id, eval_id=made.id)
    with pytest.raises(openai.BadRequestError, match="status"):
        client.evals.runs.list(made.id, status="running")


def test_a_run_is_canceled_at_either_path(client, http):
    made = create(client)
    one, other = (client.evals.runs.create(made.id, data_source=jsonl(row("1", "1"))) for _ in range(2))
    assert client.evals.runs.cancel(one.id, eval_id=made.id).status == "canceled"
    answer = http.post(f"/v1/evals/{made.id}/runs/{other.id}")
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")


@pytest.mark.usefixtures("executor")
def test_a_completed_run_cannot_be_canceled(client):
    made = create(client)
    run = done(client, client.evals.runs.create(made.id, data_source=jsonl(row("1", "1"))))
    with pytest.raises(openai.BadRequestError, match="already completed"):
        client.evals.runs.cancel(run.id, eval_id=made.id)


def test_canceling_stops_the_executor_long_before_the_last_row(client, model, executor):
    model.wait = 0.5
    made = create(client)
    run = client.evals.runs.create(made.id, data_source=completions(*(row(str(number)) for number in range(200))))
    model.await_requests(10)
    canceled = client.evals.runs.cancel(run.id, eval_id=made.id)
    assert canceled.status == "canceled"
    asked = -1
    while asked != len(model.requests):  # that those under way come to an end takes a while on a busy machine
        asked = len(model.requests)
        time.sleep(1.5)
    after = client.evals.runs.retrieve(run.id, eval_id=made.id)
    assert after.status == "canceled"
    assert after.result_counts.total == len(items_of(client, after)) < 200
    assert model.most_at_once <= ROWS_AT_ONCE + 1  # the server may still be counting one whose answer has arrived


@pytest.mark.usefixtures("executor")
def test_a_model_that_refuses_makes_items_with_an_error(client, model):
    model.script(Answer(status=400, body={"error": {"message": "too long", "code": "context_length_exceeded"}}))
    made = create(client)
    run = done(client, client.evals.runs.create(made.id, data_source=completions(row("1"), row("2"))))
    assert (run.status, run.result_counts.errored) == ("completed", 2)
    item = items_of(client, run)[0]
    assert (item.results, item.sample.output) == ([], [])
    assert "too long" in item.sample.error.message


@pytest.mark.usefixtures("executor")
def test_no_more_calls_are_made_at_once_than_the_settings_allow(client, model):
    model.wait = 0.1
    made = create(client)
    rows = (row(str(number)) for number in range(12))
    run = done(client, client.evals.runs.create(made.id, data_source=completions(*rows, model="lone parrot")))
    assert run.result_counts.passed == 12
    # Two; the server may still be counting one whose answer has arrived.
    assert 2 <= model.most_at_once <= 3


@pytest.mark.usefixtures("executor")
def test_a_model_that_is_away_for_a_moment_is_waited_for(client, model):
    model.script(Answer(status=503), Answer(status=429), model.say)
    made = create(client)
    run = done(client, client.evals.runs.create(made.id, data_source=completions(row("1"), row("2"))))
    assert (run.status, run.result_counts.passed) == ("completed", 2)


def test_a_model_that_stays_away_fails_the_run_and_no_item(tmp_path):
    data = parse_spec(RunData, completions(row("1")))
    sampler = Sampler(
        serving=ServingClient(tmp_path / "serving.sock"),
        place=ModelPlace(name="parrot", base="parrot"),
        data=data,
        halted=threading.Event(),
        patience_seconds=0.1,
    )
    with pytest.raises(Unavailable, match="not there"):
        sampler.answer(EvalSourceRow(row=0, line=1, item={"answer": "1"}, sample=None))


@pytest.mark.parametrize("type", ["completions", "responses"])
@pytest.mark.usefixtures("executor")
def test_tools_are_offered_in_the_shape_of_chat_completions(client, model, type):
    function = {"name": "look", "parameters": {"type": "object", "properties": {}}}
    tool = {"type": "function"} | ({"function": function} if type == "completions" else function)
    made = create(client)
    source = completions(row("1"), type=type, sampling_params={"tools": [tool]})
    done(client, client.evals.runs.create(made.id, data_source=source))
    assert model.requests[0].body["tools"][0]["function"] == function


@pytest.mark.parametrize(
    ("source", "param", "words"),
    [
        ({"type": "logs"}, "data_source.type", "'logs' is not available"),
        (
            {"type": "completions", "model": "parrot", "source": {"type": "stored_completions"}},
            "data_source.source.type",
            "not stored here",
        ),
        (
            {"type": "responses", "model": "parrot", "source": {"type": "responses"}},
            "data_source.source.type",
            "file_content, file_id",
        ),
        ({"type": "jsonl", "source": {"type": "file_id", "id": "file-x"}}, "data_source.source.id", "file-x"),
        ({"type": "jsonl", "source": content()}, "data_source.source.content", "at least one"),
        ({"type": "jsonl", "source": content({"itm": {}})}, "data_source.source.content[0].item", "Missing"),
        (completions(row("1"), model="gpt-9"), "data_source.model", "gpt-9"),
        (completions(row("1"), input_messages=None), "data_source.input_messages", ""),
        (completions(row("1"), colour="red"), "data_source.colour", "Unknown parameter"),
        (
            completions(row("1"), sampling_params={"temprature": 1}),
            "data_source.sampling_params.temprature",
            "Unknown parameter",
        ),
        (
            completions(row("1"), type="responses", sampling_params={"tools": [{"type": "web_search"}]}),
            "data_source.sampling_params.tools",
            "only functions",
        ),
        (
            completions(row("1"), sampling_params={"response_format": {"type": "xml"}}),
            "data_source.sampling_params.response_format.type",
            "json_schema",
        ),
        (
            completions(row("1"), sampling_params={"temperature": 3}),
            "data_source.sampling_params.temperature",
            "less than or equal to 2",
        ),
        (
            completions(
                row("1"),
                input_messages={
                    "type": "template",
                    "template": [{"role": "user", "content": "{{sample.output_text}}"}],
                },
            ),
            "data_source.input_messages.template[0].content",
            "not known before the model has answered",
        ),
        (
            completions(
                row("1"),
                input_messages={
                    "type": "template",
                    "template": [{"role": "user", "content": {"type": "input_image", "image_url": "x"}}],
                },
            ),
            "data_source.input_messages.template",
            "image",
        ),
        (
            completions(row("1"), input_messages={"type": "item_reference", "item_reference": "sample.x"}),
            "data_source.input_messages.item_reference",
            "pattern",
        ),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(client, source, param, words):
    made = create(client)
    with pytest.raises(openai.BadRequestError) as caught:
        client.evals.runs.create(made.id, data_source=source)
    assert (caught.value.param, words in caught.value.message) == (param, True), caught.value.message


def test_creating_a_run_answers_201_and_only_for_an_eval_that_is_there(client, http):
    made = create(client)
    assert http.post(f"/v1/evals/{made.id}/runs", json={"data_source": jsonl(row("1"))}).status_code == 201
    with pytest.raises(openai.NotFoundError, match="eval_0"):
        client.evals.runs.create("eval_0", data_source=jsonl(row("1")))


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"max_completions_tokens": 5}, 201),
        ({"max_completions_tokens": 5, "max_completion_tokens": None}, 201),
        ({"max_completions_tokens": None, "max_completion_tokens": 5}, 201),
        ({"max_completions_tokens": 5, "max_completion_tokens": 5}, 201),
        ({"max_completions_tokens": 5, "max_completion_tokens": 6}, 400),
    ],
)
def test_both_spellings_of_the_most_tokens_are_taken_even_together(client, http, given, status):
    evaluation = create(client)
    data = {**completions(row("x")), "sampling_params": given}
    answer = http.post(f"/v1/evals/{evaluation.id}/runs", json={"data_source": data})
    assert answer.status_code == status, answer.text
