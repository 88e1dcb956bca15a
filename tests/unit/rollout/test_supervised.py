"""Tokens of supervised rows: what trains is what would have been sampled after the same prompt."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from openrft.errors import InvalidRequest
from openrft.models.load import PLAIN_CHAT_TEMPLATE, load_tokenizer
from openrft.rollout.prompt import render_prompt
from openrft.rollout.supervised import AnswerSequence, Demonstration, render_demonstration
from openrft.types import Example
from random_models import byte_tokenizer

# As Qwen3's: the last turn gets its thoughts, empty ones where it has none; earlier turns lose theirs.
THINKING_TEMPLATE = """
{%- set ns = namespace(last=-1) %}
{%- for message in messages %}{% if message.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}
{%- if tools %}{{ '<s>system\n' }}{% for tool in tools %}{{ tool | tojson }}{% endfor %}{{ '</s>\n' }}{% endif %}
{%- for message in messages %}
{%- set content = message.content %}{% set thoughts = '' %}
{%- if '</think>' in content %}
{%- set thoughts = content.split('</think>')[0].split('<think>')[-1].strip('\n') %}
{%- set content = content.split('</think>')[-1].lstrip('\n') %}
{%- endif %}
{{- '<s>' + message.role + '\n' }}
{%- if message.role == 'assistant' and loop.index0 > ns.last %}
{{- '<think>\n' + thoughts + '\n</think>\n\n' }}
{%- endif %}
{{- content }}
{%- for call in message.tool_calls or [] %}
{{- '<call>' + call.function.name + call.function.arguments | tojson }}
{%- endfor %}
{{- '</s>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<s>assistant\n' }}{% endif %}
"""

ASKED = {"role": "user", "content": "2+2?"}
DOUBTED = {"role": "user", "content": "Sure?"}


def said(text: str, **extra: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **extra}


def rendered(tokenizer: Any, *dialogue: dict[str, Any], tools: list[dict[str, Any]] | None = None) -> Demonstration:
    messages = list(dialogue)
    example = Example(id="e", index=0, line=7, messages=messages[:-1], item={}, tools=tools, dialogue=messages)
    return render_demonstration(tokenizer, example, {tokenizer.eos_token_id})


def trained_texts(tokenizer: Any, demonstration: Demonstration) -> list[str]:
    """The runs of trained tokens as text."""
    texts = []
    for sequence in demonstration.sequences:
        run: list[int] = []
        for token, is_trained in [*zip(sequence.token_ids, sequence.trained, strict=True), (0, False)]:
            if is_trained:
                run.append(token)
            elif run:
                texts.append(tokenizer.decode(run))
                run = []
    return texts


def thinking() -> PreTrainedTokenizerFast:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = THINKING_TEMPLATE
    return tokenizer


@pytest.mark.parametrize("name", ["openrft-tiny", "openrft-small"])
def test_with_a_bundled_model_an_answer_and_its_end_train_after_the_prompt_that_is_sampled_from(name: str) -> None:
    tokenizer, _ = load_tokenizer(name)
    (sequence,) = rendered(tokenizer, ASKED, said("HAXE, ZANT because of fever")).sequences
    assert sequence.prompt_token_ids == render_prompt(tokenizer, [ASKED])
    answer = tokenizer("HAXE, ZANT because of fever", add_special_tokens=False)["input_ids"]
    assert sequence.token_ids == [*answer, tokenizer.eos_token_id]
    assert all(sequence.trained)


def test_a_thinking_model_learns_to_think_nothing_before_an_answer_without_thoughts() -> None:
    tokenizer = thinking()
    demonstration = rendered(tokenizer, ASKED, said("4"))
    assert trained_texts(tokenizer, demonstration) == ["<think>\n\n</think>\n\n4</s>"]
    assert demonstration.sequences[0].prompt_token_ids == render_prompt(tokenizer, [ASKED])


def test_thoughts_that_are_given_train_with_their_answer() -> None:
    tokenizer = thinking()
    demonstration = rendered(tokenizer, ASKED, said("<think>\ntwo and two\n</think>\n\n4"))
    assert trained_texts(tokenizer, demonstration) == ["<think>\ntwo and two\n</think>\n\n4</s>"]


def test_every_answer_of_a_conversation_trains_in_one_sequence_where_the_template_only_adds() -> None:
    tokenizer, _ = load_tokenizer("openrft-tiny")
    demonstration = rendered(tokenizer, ASKED, said("4"), DOUBTED, said("yes"))
    (sequence,) = demonstration.sequences
    assert trained_texts(tokenizer, demonstration) == ["4<|im_end|>", "yes<|im_end|>"]
    whole = [*sequence.prompt_token_ids, *sequence.token_ids]
    second = render_prompt(tokenizer, [ASKED, said("4"), DOUBTED])
    assert whole[: len(second)] == second  # what the second answer would be sampled after


def test_answers_train_apart_where_the_template_changes_what_was_said_before() -> None:
    tokenizer = thinking()
    demonstration = rendered(tokenizer, ASKED, said("4"), DOUBTED, said("yes"))
    assert trained_texts(tokenizer, demonstration) == ["<think>\n\n</think>\n\n4</s>", "<think>\n\n</think>\n\nyes</s>"]
    first, second = demonstration.sequences
    assert first.prompt_token_ids == render_prompt(tokenizer, [ASKED])
    assert second.prompt_token_ids == render_prompt(tokenizer, [ASKED, said("4"), DOUBTED])


def test_an_answer_of_weight_0_is_read_and_not_learned() -> None:
    tokenizer, _ = load_tokenizer("openrft-tiny")
    demonstration = rendered(tokenizer, ASKED, said("5", weight=0), DOUBTED, said("no, 4"))
    assert trained_texts(tokenizer, demonstration) == ["no, 4<|im_end|>"]
    (sequence,) = demonstration.sequences
    assert sequence.prompt_token_ids == render_prompt(tokenizer, [ASKED, said("5"), DOUBTED])


def test_between_two_answers_one_of_weight_0_is_read_and_not_learned() -> None:
    tokenizer, _ = load_tokenizer("openrft-tiny")
    dialogue = [ASKED, said("4"), DOUBTED, said("no", weight=0), DOUBTED, said("yes")]
    demonstration = rendered(tokenizer, *dialogue)
    assert trained_texts(tokenizer, demonstration) == ["4<|im_end|>", "yes<|im_end|>"]
    assert len(demonstration.sequences) == 1


@pytest.mark.parametrize("content", ["four\n", "four", " four"])
def test_a_template_that_ends_a_turn_by_text_alone_gets_the_tokenizer_s_last_token(content: str) -> None:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = PLAIN_CHAT_TEMPLATE
    demonstration = rendered(tokenizer, ASKED, said(content))
    assert trained_texts(tokenizer, demonstration) == [content.rstrip() + "</s>"]


def test_tokens_of_the_prompt_stay_whole_where_the_tokenizer_would_merge_them_with_the_answer() -> None:
    tokenizer, _ = load_tokenizer("openrft-tiny")
    tokenizer.chat_template = (
        "{% for message in messages %}{{ message.role + ': ' + message.content + ('<|im_end|>' if message.role == "
        "'assistant' else ' ') }}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
    )
    (sequence,) = rendered(tokenizer, ASKED, said("because")).sequences
    assert sequence.prompt_token_ids == render_prompt(tokenizer, [ASKED])
    whole = tokenizer("user: 2+2? assistant: because<|im_end|>", add_special_tokens=False)["input_ids"]
    assert [*sequence.prompt_token_ids, *sequence.token_ids] != whole  # or this test says nothing
    assert tokenizer.decode(sequence.token_ids) == "because<|im_end|>"


def test_an_answer_that_spells_the_end_of_a_turn_is_refused_with_its_line() -> None:
    tokenizer, _ = load_tokenizer("openrft-tiny")
    with pytest.raises(InvalidRequest, match=r"line 7: the answer holds <\|im_end\|>"):
        rendered(tokenizer, ASKED, said("4<|im_end|> and more"))


def test_a_template_whose_prompt_differs_from_what_stands_before_the_answer_is_refused() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = tokenizer.chat_template.replace("'<s>assistant:'", "'<s>assistant:<think>'")
    with pytest.raises(InvalidRequest, match="after another prompt"):
        rendered(tokenizer, ASKED, said("4"))


CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 2, "b": 2}'}}
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {}}}]


def test_a_call_trains_as_the_template_writes_it() -> None:
    tokenizer = thinking()
    demonstration = rendered(tokenizer, ASKED, {"role": "assistant", "tool_calls": [CALL]}, tools=TOOLS)
    assert trained_texts(tokenizer, demonstration) == ['<think>\n\n</think>\n\n<call>add{"a": 2, "b": 2}</s>']
    assert '"name": "add"' in tokenizer.decode(demonstration.sequences[0].prompt_token_ids)


@pytest.mark.parametrize("tools", [None, TOOLS])
def test_a_template_that_leaves_tools_out_is_refused(tools: list[dict[str, Any]] | None) -> None:
    tokenizer, _ = load_tokenizer("openrft-tiny")
    what = "tool_calls" if tools is None else "the row's tools"
    with pytest.raises(InvalidRequest, match=f"line 7: the model's chat template does not write {what}"):
        rendered(tokenizer, ASKED, {"role": "assistant", "tool_calls": [CALL]}, tools=tools)


def test_a_row_that_is_too_long_is_cut_at_its_end_and_sequences_without_an_answer_go() -> None:
    first = AnswerSequence(prompt_token_ids=[1, 2], token_ids=[3, 4, 5], trained=[True, False, True])
    second = AnswerSequence(prompt_token_ids=[1, 2, 3, 4], token_ids=[5], trained=[True])
    example = Example(id="e", index=0, line=1, messages=[], item={}, dialogue=[])
    cut = Demonstration(example=example, sequences=[first, second]).cut(4)
    assert cut.sequences == [AnswerSequence(prompt_token_ids=[1, 2], token_ids=[3, 4], trained=[True, False])]
    assert cut.num_trained == 1
