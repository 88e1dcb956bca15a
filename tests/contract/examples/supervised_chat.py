"""The guide to supervised fine-tuning: a job with and without ``method``, its losses, and the model that answers."""

import csv
import io
import re

from finished_job import check_answers, raw, told, wait
from openai import BadRequestError, OpenAI
from uploaded import upload

client = OpenAI()
QUESTIONS = ["the capital of France", "who wrote Romeo and Juliet", "how far away the Moon is"]


def rows(count):
    """Conversations with Marv, who knows everything and is not happy about it."""
    return [
        {
            "messages": [
                {"role": "system", "content": "Marv is a factual chatbot that is also sarcastic."},
                {"role": "user", "content": f"Marv, tell me {QUESTIONS[number % 3]}, question {number}"},
                {"role": "assistant", "content": f"As if anybody needed to ask that {number} times.", "weight": 1},
            ]
        }
        for number in range(count)
    ]


train = upload(client, "marv.jsonl", rows(20))
valid = upload(client, "marv-valid.jsonl", rows(24)[20:])

job = client.fine_tuning.jobs.create(
    training_file=train,
    validation_file=valid,
    model="gpt-4.1-nano-2025-04-14",
    suffix="marv",
    seed=7,
    method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": 4}}},
)
assert job.hyperparameters.n_epochs == 2 and job.hyperparameters.learning_rate_multiplier == "auto", job
assert job.method.supervised.hyperparameters.batch_size == 4, job

# Scripts from before there were methods: without one, with hyperparameters at the top, and without a validation file.
old = client.fine_tuning.jobs.create(
    training_file=train, model="gpt-4o-mini-2024-07-18", hyperparameters={"n_epochs": 1}
)
assert old.method.type == "supervised" and old.hyperparameters.n_epochs == 1 and old.validation_file is None, old

job = wait(client, job.id)
assert job.status == "succeeded", (job.error, told(client, job.id))
wire = raw(client.fine_tuning.jobs.with_raw_response.retrieve(job.id))
assert "auto" not in wire["hyperparameters"].values(), wire
assert wire["method"]["supervised"]["hyperparameters"] == wire["hyperparameters"]
assert wire["trained_tokens"] > 0 and wire["usage_metrics"] is None and wire["eval_id"] is None

# The events, oldest first.
events = list(reversed(client.fine_tuning.jobs.list_events(job.id, limit=300).data))
assert events[1].message == f"Validating training file: {train} and validation file: {valid}", events[1]
steps = [event for event in events if event.type == "metrics" and event.data["step"] > 0]
assert [event.data["step"] for event in steps] == list(range(1, 11)), [event.message for event in steps]
SENTENCE = re.compile(
    r"Step \d+/10: training loss=\d+\.\d\d(, validation loss=\d+\.\d\d, full validation loss=\d+\.\d\d)?"
)
for event in steps:
    found = SENTENCE.fullmatch(event.message)
    assert found, event.message
    assert {"step", "total_steps", "train_loss", "train_mean_token_accuracy"} <= set(event.data), event.data
    validated = {"valid_loss", "valid_mean_token_accuracy", "full_valid_loss", "full_valid_mean_token_accuracy"}
    assert validated & set(event.data) == (validated if found[1] else set()), event.data
assert steps[-1].data["full_valid_loss"] < steps[0].data["train_loss"], (steps[0].data, steps[-1].data)

# The checkpoints, and the models that they are.
checkpoints = client.fine_tuning.jobs.checkpoints.list(job.id).data
assert 1 <= len(checkpoints) <= 4, checkpoints
for checkpoint in checkpoints:
    assert checkpoint.metrics.full_valid_loss > 0 and checkpoint.metrics.train_mean_token_accuracy <= 1, checkpoint
    check_answers(client, checkpoint.fine_tuned_model_checkpoint, rows(1)[0]["messages"][:2], None)
assert job.fine_tuned_model in [checkpoint.fine_tuned_model_checkpoint for checkpoint in checkpoints]

# The table that people plot.
table = list(csv.DictReader(io.StringIO(client.files.content(job.result_files[0]).text)))
assert [row["step"] for row in table if row["train_loss"]] == [str(step) for step in range(1, 11)], table
assert table[-1]["valid_loss"] and table[-1]["full_valid_mean_token_accuracy"] and table[-1]["train_accuracy"], table

# What OpenAI does not show: the base against the model, every held-out answer's loss, and no rollouts.
beneath = f"/fine_tuning/jobs/{job.id}"
report = client.get(f"{beneath}/report", cast_to=object)
assert report["sentence"] in [event.message for event in events], report["sentence"]
passes = client.get(f"{beneath}/evaluations", cast_to=object)["data"]
assert {(one["dataset"], one["mode"]) for one in passes} == {("valid", "loss")}, passes
last = client.get(f"{beneath}/evaluations/{passes[-1]['id']}", cast_to=object)
assert last["num_rows"] == 4 and abs(last["loss"] - steps[-1].data["full_valid_loss"]) < 1e-9, last
assert client.get(f"{beneath}/rollouts", cast_to=object)["data"] == []
assert "train/loss" in client.get(f"{beneath}/metrics", cast_to=object)["series"]

stopped = client.fine_tuning.jobs.create(training_file=train, model="gpt-4.1-nano-2025-04-14")
assert client.fine_tuning.jobs.cancel(stopped.id).status == "cancelled"

# A job that has no validation file, and one whose rows have no answers.
assert wait(client, old.id).status == "succeeded", told(client, old.id)
prompts = upload(client, "prompts.jsonl", [{"messages": row["messages"][:2], "answer": "no"} for row in rows(12)])
wrong = client.fine_tuning.jobs.create(training_file=prompts, model="gpt-4.1-nano-2025-04-14")
failed = wait(client, wrong.id)
assert (failed.status, failed.error.code, failed.error.param) == ("failed", "invalid_training_file", "training_file")
assert "a reinforcement fine-tuning file" in failed.error.message, failed.error
few = upload(client, "few.jsonl", rows(7))
failed = wait(client, client.fine_tuning.jobs.create(training_file=few, model="gpt-4.1-nano-2025-04-14").id)
assert failed.error.code == "invalid_n_examples", failed.error
assert "Training file has 7 example(s), but must have at least 10 examples" in failed.error.message, failed.error

try:
    client.fine_tuning.jobs.create(
        training_file=train,
        model="gpt-4.1-nano-2025-04-14",
        method={"type": "supervised"},
        hyperparameters={"epochs": 3},
    )
except BadRequestError as error:
    assert error.param == "hyperparameters.epochs", error
else:
    raise AssertionError("an unknown hyperparameter was taken")
