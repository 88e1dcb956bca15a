"""What holds for every reinforcement job, whatever it trains: one function that each example ends with."""

import csv
import io
import json
import re
import time
from itertools import pairwise

TERMINAL = ("succeeded", "failed", "cancelled")
JOB_KEYS = set(
    "object id model created_at finished_at fine_tuned_model organization_id result_files status validation_file "
    "training_file trained_tokens error user_provided_suffix seed estimated_finish integrations method metadata "
    "usage_metrics shared_with_openai eval_id".split()
)
HYPERPARAMETERS = set(
    "batch_size learning_rate_multiplier n_epochs eval_interval eval_samples compute_multiplier "
    "reasoning_effort".split()
)
EVENT_KEYS = set(
    "step total_steps usage errors scores timing train_mean_reward full_valid_mean_reward full_valid_mean_parse_error "
    "reasoning_tokens_mean valid_reasoning_tokens_mean completion_tokens_mean mean_unresponsive_rewards "
    "model_graders_token_usage".split()
)
COLUMNS = set(
    "step train_mean_reward full_valid_mean_reward completion_tokens_mean reasoning_tokens_mean "
    "mean_unresponsive_rewards sampling_duration training_duration eval_duration total_duration pg_loss_sum "
    "total_loss_sum entropy_loss_sum".split()
)
ERRORS = {
    "python": ("python_grader_server_error", "python_grader_runtime_error"),
    "score_model": ("model_grader_server_error",),
}
SENTENCE = re.compile(
    r"Step (\d+)/(\d+) , train mean reward=-?\d+\.\d\d"
    r"(, full validation mean reward=-?\d+\.\d\d, full validation mean parse error=\d\.\d\d)?"
)
NAME = re.compile(r"ft:[^:/]+:[^:]+:([^:]*):[A-Za-z0-9]{8}(:ckpt-step-(\d+))?")


def raw(response):
    """The JSON of an answer as it was on the wire."""
    return json.loads(response.http_response.read())


def check_created(client, job_id, method):
    """A job that was just made: OpenAI's object key for key, with the request's method in it. Returns the object."""
    wire = raw(client.fine_tuning.jobs.with_raw_response.retrieve(job_id))
    assert set(wire) == JOB_KEYS, set(wire) ^ JOB_KEYS
    assert re.fullmatch(r"ftjob-[A-Za-z0-9]{24}", wire["id"]), wire["id"]
    assert wire["status"] in ("validating_files", "queued", "running", *TERMINAL), wire["status"]
    assert isinstance(wire["seed"], int) and isinstance(wire["created_at"], int)
    assert wire["error"] == {} and wire["usage_metrics"] is None and wire["shared_with_openai"] is False
    assert wire["method"]["type"] == "reinforcement"
    kept, sent = wire["method"]["reinforcement"], method["reinforcement"]
    assert kept["response_format"] == sent.get("response_format")
    assert set(kept["hyperparameters"]) >= HYPERPARAMETERS
    for name, value in sent.get("hyperparameters", {}).items():
        assert value in (None, "auto") or kept["hyperparameters"][name] == value, (name, kept["hyperparameters"])
    return wire


def wait(client, job_id, statuses=TERMINAL):
    """Ask again and again, as scripts do, until the job has one of ``statuses``."""
    while (job := client.fine_tuning.jobs.retrieve(job_id)).status not in statuses:
        assert job.status not in TERMINAL, (job.status, job.error, told(client, job_id))
        time.sleep(0.4)
    return job


def told(client, job_id):
    return [event.message for event in client.fine_tuning.jobs.list_events(job_id, limit=300).data]


def finish(client, job_id, *, graders, steps, valid_rows, eval_samples, suffix="", prompt=None, response_format=None):
    """Wait for the job and hold it to everything that its scripts may rely on.

    ``graders`` are the (name, type) that metrics are told by. Returns the job and the data of its metrics events, in
    the order of steps.
    """
    job = wait(client, job_id)
    assert job.status == "succeeded", (job.status, job.error, told(client, job_id))
    wire = raw(client.fine_tuning.jobs.with_raw_response.retrieve(job_id))
    assert set(wire) == JOB_KEYS and wire["error"] == {} and wire["estimated_finish"] is None
    assert wire["finished_at"] >= wire["created_at"] and wire["trained_tokens"] > 0
    numbers = wire["method"]["reinforcement"]["hyperparameters"]
    assert "auto" not in numbers.values(), numbers
    assert numbers["eval_samples"] == eval_samples, numbers
    metrics = check_events(client, job, graders, steps)
    final = job.fine_tuned_model
    assert final is not None and NAME.fullmatch(final)[1] == suffix and NAME.fullmatch(final)[2] is None, final
    names = check_checkpoints(client, job, steps)
    for name in names:
        check_answers(client, name, prompt or [{"role": "user", "content": "What is 12 + 34?"}], response_format)
    check_result_file(client, job, graders, steps)
    check_eval(client, job, graders, valid_rows * eval_samples)
    assert job_id in [other.id for other in client.fine_tuning.jobs.list(limit=200).data]
    return job, metrics


def check_events(client, job, graders, steps):
    """The story in order, and one event of numbers for each step."""
    events = client.fine_tuning.jobs.list_events(job.id, limit=300).data
    assert [event.id for event in client.fine_tuning.jobs.list_events(job.id, limit=2)] == [one.id for one in events]
    assert all(newer.created_at >= older.created_at for newer, older in pairwise(events))
    assert all(event.object == "fine_tuning.job.event" and event.id.startswith("ftevent-") for event in events)
    story = [event.message for event in reversed(events)]
    expected = [
        f"Created fine-tuning job: {job.id}",
        f"Validating training file: {job.training_file} and validation file: {job.validation_file}",
        "Files validated, moving job to queued state",
        "Fine-tuning job started",
        f"New fine-tuned model created: {job.fine_tuned_model}",
        "The job has successfully completed",
    ]
    places = [story.index(message) for message in expected if message in story]
    assert len(places) == len(expected) and places == sorted(places), story
    # Ours beside OpenAI's, as data of messages: what diagnosis noticed, a policy that was put back, the report.
    assert all(
        set(event.data or {}) <= {"alarm", "return", "verdict"} for event in events if event.type == "message"
    ), events
    numbers = [event for event in reversed(events) if event.type == "metrics" and event.data["step"] > 0]
    assert [event.data["step"] for event in numbers] == list(range(1, steps + 1)), story
    for event in numbers:
        found = SENTENCE.fullmatch(event.message)
        assert found and (int(found[1]), int(found[2])) == (event.data["step"], steps), event.message
        assert (event.data["full_valid_mean_reward"] is not None) == (found[3] is not None), event
        check_numbers(event.data, graders)
    assert SENTENCE.fullmatch(numbers[-1].message)[3], numbers[-1].message  # the last step is validated
    return [event.data for event in numbers]


def check_numbers(data, graders):
    """Names and nesting of a step's numbers, and the two names that some of them have."""
    assert set(data) >= EVENT_KEYS, EVENT_KEYS - set(data)
    sides = [(side, kind) for side in ("train", "valid") for kind in ("mean", "count")]
    for part in ("usage", "errors", "scores", "timing"):
        told = [(one["name"], one["type"]) for one in data[part]["graders"] if one["type"] != "multi"]
        assert sorted(told) == sorted(graders), (part, told)
    for one in data["usage"]["graders"]:
        tokens = {f"{side}_{which}_tokens_{kind}" for side, kind in sides for which in ("prompt", "completion")}
        assert set(one) == {"name", "type", "model", *tokens}, one
    assert set(data["usage"]["samples"]) == {f"{side}_reasoning_tokens_{kind}" for side, kind in sides}
    for one in data["errors"]["graders"]:
        errors = ("other_error", "sample_parse_error", "invalid_variable_error", *ERRORS.get(one["type"], ()))
        assert one.keys() == {"name", "type"} | {f"{side}_{error}_{kind}" for side, kind in sides for error in errors}
    for one in data["scores"]["graders"]:
        assert set(one) == {"name", "type", "train_reward_mean", "valid_reward_mean"}
    assert set(data["timing"]["step"]) == {"sampling", "training", "eval", "full_iteration"}
    for one in data["timing"]["graders"]:
        assert set(one) == {"name", "type", "train_execution_latency_mean", "valid_execution_latency_mean"}
    assert data["train_mean_reward"] == data["scores"]["train_reward_mean"]
    assert data["full_valid_mean_reward"] == data["scores"]["valid_reward_mean"]
    assert data["reasoning_tokens_mean"] == data["usage"]["samples"]["train_reasoning_tokens_mean"]
    assert data["valid_reasoning_tokens_mean"] == data["usage"]["samples"]["valid_reasoning_tokens_mean"]
    assert data["completion_tokens_mean"] > 0 and 0 <= data["mean_unresponsive_rewards"] <= 1
    for spent in data["model_graders_token_usage"].values():
        kinds = ("prompt", "completion", "cached")
        assert set(spent) == {f"{side}_{kind}_tokens" for side in ("train", "eval") for kind in kinds}
        assert all(isinstance(count, int) for count in spent.values())


def check_checkpoints(client, job, steps):
    """Newest first, at most three beside the model that ships. Returns the names that answer."""
    page = client.fine_tuning.jobs.checkpoints.list(job.id)
    rows = page.data
    assert 1 <= len(rows) <= 4 and page.has_more is False, rows
    assert page.first_id == rows[0].id and page.last_id == rows[-1].id
    finals = [row for row in rows if row.fine_tuned_model_checkpoint == job.fine_tuned_model]
    assert len(finals) == 1, rows
    for row in rows:
        assert row.object == "fine_tuning.job.checkpoint" and row.id.startswith("ftckpt_"), row
        assert row.fine_tuning_job_id == job.id and 0 <= row.step_number <= steps
        metrics = row.metrics.to_dict()
        assert metrics["step"] == row.step_number
        assert isinstance(metrics["full_valid_mean_reward"], float) and "completion_tokens_mean" in metrics, metrics
        step = NAME.fullmatch(row.fine_tuned_model_checkpoint)[3]
        assert row in finals or int(step) == row.step_number, row
    names = [row.fine_tuned_model_checkpoint for row in rows]
    assert len({name.split(":")[4] for name in names}) == len(names), names
    listed = [model.id for model in client.models.list()]
    assert set(names) <= set(listed), listed
    for name in names:
        assert client.models.retrieve(name).id == name  # its colons are not escaped in the path
    return names


def check_answers(client, model, prompt, response_format):
    """The model talks, through both of OpenAI's ways to ask."""
    options = {} if response_format is None else {"response_format": response_format}
    chat = client.chat.completions.create(model=model, messages=prompt, max_completion_tokens=60, **options)
    assert chat.object == "chat.completion" and chat.model == model, chat
    assert chat.choices[0].message.role == "assistant" and chat.choices[0].finish_reason in ("stop", "length")
    assert chat.usage.total_tokens == chat.usage.prompt_tokens + chat.usage.completion_tokens
    if response_format is not None:
        schema = response_format["json_schema"]
        options = {"text": {"format": {"type": "json_schema", **schema}}}
        if chat.choices[0].finish_reason == "stop":
            assert set(json.loads(chat.choices[0].message.content)) == set(schema["schema"]["required"])
    response = client.responses.create(model=model, input=prompt, max_output_tokens=60, **options)
    assert response.object == "response" and response.status in ("completed", "incomplete"), response
    if response_format is not None and response.status == "completed":
        assert set(json.loads(response.output_text)) == set(schema["schema"]["required"])


def check_result_file(client, job, graders, steps):
    """A table with a row per step, under the names that people's plots read."""
    [file_id] = job.result_files
    assert client.files.retrieve(file_id).purpose == "fine-tune-results"
    rows = list(csv.DictReader(io.StringIO(client.files.content(file_id).text)))
    of_graders = {
        f"scores/graders/{kind}/{name}/{side}_reward_mean" for name, kind in graders for side in ("train", "valid")
    }
    of_graders |= {
        f"errors/graders/{kind}/{name}/errors/{side}_sample_parse_error_{what}"
        for name, kind in graders
        for side in ("train", "valid")
        for what in ("mean", "count")
    }
    assert set(rows[0]) >= COLUMNS | of_graders, (COLUMNS | of_graders) - set(rows[0])
    assert [int(row["step"]) for row in rows if row["train_mean_reward"]] == list(range(1, steps + 1))
    assert rows[-1]["full_valid_mean_reward"]


def check_eval(client, job, graders, samples):
    """The eval that comes with the job: a run per validation, the untrained model first, no sample averaged away."""
    assert job.eval_id.startswith("eval_"), job
    found = client.evals.retrieve(job.eval_id)
    assert found.object == "eval" and found.name == f"Reinforcement Fine Tuning validation runs for {job.id}"
    runs = list(client.evals.runs.list(job.eval_id, order="asc"))
    assert runs[0].name == "Step 0" and len(runs) >= 2, runs
    assert all(re.fullmatch(r"Step \d+", run.name) and run.status == "completed" for run in runs), runs
    items = list(client.evals.runs.output_items.list(runs[0].id, eval_id=job.eval_id, limit=100))
    assert len(items) == samples == runs[0].result_counts.total, (len(items), samples, runs[0].result_counts)
    for item in items:
        assert item.object == "eval.run.output_item" and item.status in ("pass", "fail", "error")
        assert "messages" in item.datasource_item and item.sample.output[0].role == "assistant"
        assert [re.fullmatch(r"(.+)-[0-9a-f-]{36}", result.name) is not None for result in item.results]
