"""The sample of DPO. openrft does not have it yet, and says so at once, by name."""

from openai import BadRequestError, OpenAI
from uploaded import upload

client = OpenAI()
asked = [{"role": "user", "content": "What is 2 + 2?"}]
reply = [{"role": "assistant", "content": "4"}]
row = {"input": {"messages": asked}, "preferred_output": reply, "non_preferred_output": reply}
preferences = upload(client, "preferences.jsonl", [row] * 10)

try:
    client.fine_tuning.jobs.create(
        training_file=preferences,
        model="gpt-4.1-nano-2025-04-14",
        method={"type": "dpo", "dpo": {"hyperparameters": {"beta": 0.1}}},
    )
except BadRequestError as error:
    assert error.param == "method.type" and "not available" in error.message, error
else:
    raise AssertionError("a DPO job was taken")
assert [job for job in client.fine_tuning.jobs.list(limit=200) if job.training_file == preferences] == []
