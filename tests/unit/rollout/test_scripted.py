import pytest

from openrft.errors import EngineError
from openrft.rollout.scripted import ScriptedEngine
from openrft.types import GenerationRequest, NoiseKey, SamplingParams
from random_models import byte_tokenizer

TOKENIZER = byte_tokenizer()
EOS = TOKENIZER.eos_token_id


def ask(prompt: str, *, num_samples: int = 1, max_tokens: int = 50, stop: tuple[str, ...] = ()) -> GenerationRequest:
    return GenerationRequest(
        id=7,
        prompt_token_ids=TOKENIZER.encode(prompt),
        num_samples=num_samples,
        sampling=SamplingParams(max_tokens=max_tokens, stop=stop),
        noise=NoiseKey(seed=0, stream=0, step=0, example=0),
    )


def test_samples_take_the_texts_in_turn() -> None:
    engine = ScriptedEngine({"2+2=": ["4", "5"]}, TOKENIZER, version=3)
    completions = list(engine.generate([ask("What is 2+2=?", num_samples=3)]))
    assert [completion.text for completion in completions] == ["4", "5", "4"]
    assert [completion.sample_index for completion in completions] == [0, 1, 2]
    assert {completion.policy_version for completion in completions} == {3}
    assert completions[0].token_ids == [*TOKENIZER.encode("4"), EOS]
    assert completions[0].sampling_logprobs == [-1.0, -1.0]
    assert completions[0].finish_reason == "stop"


def test_a_predicate_may_choose() -> None:
    engine = ScriptedEngine({lambda prompt: len(prompt) > 3: ["long"], "": ["short"]}, TOKENIZER)
    texts = [completion.text for completion in engine.generate([ask("abcdef"), ask("ab")])]
    assert texts == ["long", "short"]


def test_an_answer_longer_than_max_tokens_is_cut() -> None:
    (completion,) = ScriptedEngine({"": ["abcdef"]}, TOKENIZER).generate([ask("x", max_tokens=3)])
    assert (completion.text, completion.finish_reason, len(completion.token_ids)) == ("abc", "length", 3)


def test_a_stop_string_ends_the_answer() -> None:
    (completion,) = ScriptedEngine({"": ["ab\n\ncd"]}, TOKENIZER).generate([ask("x", stop=("\n\n",))])
    assert (completion.text, completion.finish_reason, len(completion.token_ids)) == ("ab", "stop", 4)


def test_a_prompt_without_a_script_is_an_error_that_names_it() -> None:
    with pytest.raises(EngineError, match="no answer for the prompt 'x'"):
        list(ScriptedEngine({"2+2=": ["4"]}, TOKENIZER).generate([ask("x")]))


def test_requests_and_versions_are_kept() -> None:
    engine = ScriptedEngine({"": ["a"]}, TOKENIZER)
    engine.load_weights(5)
    (completion,) = engine.generate([ask("x")])
    assert completion.policy_version == 5
    assert [request.id for request in engine.requests] == [7]
