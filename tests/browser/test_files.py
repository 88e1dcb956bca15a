"""Files and models: brought, looked into, taken away; a model says where it is from."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import openai
from playwright.sync_api import Page, expect

from app_server import Server
from openrft.store import Store
from openrft.store.rows import Project
from wire_jobs import body, method, run_by_hand


def test_files_are_uploaded_by_choosing_or_dropping_and_deleted_after_a_question(
    window: Page, server: Server, client: openai.OpenAI, tmp_path: Path
) -> None:
    window.goto(f"{server.url}/files")
    expect(window.get_by_role("heading", name="No file yet")).to_be_visible()
    for name in ("one.jsonl", "two.jsonl"):
        (tmp_path / name).write_text('{"messages": [{"role": "user", "content": "1 + 1?"}], "answer": "2"}\n')
    window.get_by_label("Drop files here, or choose them").set_input_files(
        [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    )
    expect(window.get_by_role("link", name="two.jsonl", exact=True)).to_be_visible()
    drop = """(area) => {
        const data = new DataTransfer();
        data.items.add(new File(["{}"], "dropped.jsonl"));
        area.dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
    }"""
    window.get_by_role("combobox", name="Use", exact=True).select_option("for evals")
    window.locator(".drop").evaluate(drop)
    expect(window.get_by_role("link", name="dropped.jsonl", exact=True)).to_be_visible()
    assert {(file.filename, file.purpose) for file in client.files.list()} == {
        ("one.jsonl", "fine-tune"), ("two.jsonl", "fine-tune"), ("dropped.jsonl", "evals"),
    }  # fmt: skip

    with window.expect_download() as download:
        window.get_by_role("link", name="Download one.jsonl").click()
    assert Path(download.value.path()).read_text() == (tmp_path / "one.jsonl").read_text()
    assert download.value.suggested_filename == "one.jsonl"
    window.get_by_role("button", name="Delete one.jsonl").click()
    window.get_by_role("button", name="No").click()
    expect(window.get_by_role("link", name="one.jsonl", exact=True)).to_be_visible()
    window.get_by_role("button", name="Delete one.jsonl").click()
    window.get_by_role("button", name="Yes").click()
    expect(window.get_by_role("link", name="one.jsonl", exact=True)).to_have_count(0)
    assert "one.jsonl" not in {file.filename for file in client.files.list()}
    window.get_by_role("combobox", name="Purpose", exact=True).select_option("evals")
    expect(window.get_by_role("link", name="two.jsonl", exact=True)).to_have_count(0)
    window.reload()
    expect(window.get_by_role("link", name="dropped.jsonl", exact=True)).to_be_visible()


def test_a_file_shows_its_rows_by_line_its_problems_and_the_jobs_that_use_it(
    window: Page, server: Server, client: openai.OpenAI
) -> None:
    good = '{"messages": [{"role": "user", "content": "question %d"}], "answer": "a"}\n'
    text = "".join(good % number for number in range(1, 25)) + "not json\n"
    file = client.files.create(file=("rows.jsonl", io.BytesIO(text.encode())), purpose="fine-tune").id
    job = client.fine_tuning.jobs.create(**{**body(client, suffix="user"), "validation_file": file})
    other = client.files.create(file=("rows.jsonl", io.BytesIO(b"{}")), purpose="fine-tune").id

    window.goto(f"{server.url}/files/{file}")
    used = window.get_by_role("table", name="Jobs that use it")
    expect(used.get_by_role("link", name="user")).to_have_attribute("href", f"/finetune/{job.id}")
    expect(used).to_contain_text("validation file")
    wrong = window.get_by_role("table", name="Problems of the file")
    expect(wrong.get_by_role("rowheader", name="25")).to_be_visible()
    rows = window.get_by_role("table", name="Rows", exact=True)
    expect(rows.get_by_role("rowheader")).to_have_text([str(number) for number in range(1, 21)])
    window.get_by_role("button", name="Next rows").click()
    expect(rows.get_by_role("rowheader").first).to_have_text("21")
    expect(rows).to_contain_text("question 24")
    window.go_back()
    expect(rows.get_by_role("rowheader").first).to_have_text("1")

    window.goto(f"{server.url}/files/{other}")  # of the same name, and used by nobody
    expect(window.get_by_text("No job.")).to_be_visible()
    client.fine_tuning.jobs.create(**body(client, method=method(hyperparameters={"test_file": other})))
    window.reload()
    expect(used).to_contain_text("test file")
    notes = client.files.create(file=("notes.txt", b"first\nsecond \x1b[31m"), purpose="user_data").id
    window.goto(f"{server.url}/files/{notes}")
    lines = window.get_by_role("table", name="Lines").get_by_role("cell")
    expect(lines).to_have_text(["first", "second ⟨ESC⟩[31m"])


def test_a_model_says_which_job_and_step_it_is_from_and_how_to_ask_it(
    window: Page, server: Server, client: openai.OpenAI, store: Store, project: Project
) -> None:
    lease = run_by_hand(store, project.id, client.fine_tuning.jobs.create(**body(client)).id)
    for step, name, mean in ((4, "ft:a:b:c:x:ckpt-step-4", 0.25), (8, "ft:a:b:c:y", 0.75)):
        store.checkpoints.record(
            lease, step, model_name=name, artifact=f"jobs/x/{step}", metrics={"full_valid_mean_reward": mean}
        )
    store.queue.finish(lease, "succeeded", message="done", fine_tuned_model="ft:a:b:c:y")
    listed = {model.id: model.to_dict() for model in client.models.list()}
    assert listed["ft:a:b:c:y"]["source"] == {
        "type": "job", "fine_tuning_job_id": lease.job_id, "step_number": 8, "is_final": True,
        "valid_mean_reward": 0.75, "valid_loss": None,
    }  # fmt: skip
    window.goto(f"{server.url}/models")
    row = window.get_by_role("row").filter(has_text="ft:a:b:c:y")
    expect(row.get_by_role("link", name=lease.job_id)).to_have_attribute("href", f"/finetune/{lease.job_id}")
    expect(row).to_contain_text("0.750")
    expect(row.get_by_role("link", name="Try")).to_have_attribute("href", "/playground?models=ft%3Aa%3Ab%3Ac%3Ay")
    expect(window.get_by_text("ckpt-step-4")).to_have_count(0)
    window.get_by_label("Checkpoints (1)").check()
    expect(window.get_by_role("row").filter(has_text="ckpt-step-4")).to_contain_text("0.250")
    row.get_by_role("link", name="Code").click()
    expect(window.get_by_role("group", name="curl")).to_contain_text(f"{server.url}/v1/chat/completions")
    expect(window.get_by_role("group", name="Python")).to_contain_text('model="ft:a:b:c:y"')
    window.reload()
    expect(window.get_by_role("group", name="curl")).to_contain_text("ft:a:b:c:y")
    window.get_by_role("button", name="Delete ft:a:b:c:x:ckpt-step-4").click()
    window.get_by_role("button", name="Yes").click()
    expect(window.get_by_role("row").filter(has_text="ckpt-step-4")).to_have_count(0)
    assert "ft:a:b:c:x:ckpt-step-4" not in {model.id for model in client.models.list()}


def test_who_may_not_delete_a_model_is_not_offered_to(
    server: Server, store: Store, project: Project, login_with: Callable[[str], Page], client: openai.OpenAI
) -> None:
    lease = run_by_hand(store, project.id, client.fine_tuning.jobs.create(**body(client)).id)
    store.checkpoints.record(lease, 4, model_name="ft:a:b:c:y", artifact="jobs/x", metrics={})
    page = login_with(store.projects.create_key(project.id, "mine", scope="write")[1])
    page.goto(f"{server.url}/models")
    expect(page.get_by_role("link", name="Try ft:a:b:c:y")).to_be_visible()
    expect(page.get_by_role("button", name="Delete ft:a:b:c:y")).to_have_count(0)
