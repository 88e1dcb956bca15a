"""How fast the native engine generates, beside ``transformers.generate`` on the same model and work.

    python benchmarks/generation.py       # 1M and 10M random Qwen3, 8 prompts x 8 samples x 64 tokens
    python benchmarks/generation.py --rounds 9 --json generation.json
    python benchmarks/generation.py --end-every 40          # every 40th token id ends a completion
    python benchmarks/generation.py --schema                # what holding answers to a JSON schema costs

Both sides sample at temperature 1; only ours also returns log-probabilities. Without ``--end-every`` all completions
have full length. Rounds are interleaved (ours, theirs, ours, …) after one warm-up each. What is compared is CPU
seconds of this process per token, because they do not count the time that others held the core; the ratio is taken
round by round and its median printed with its range.

With ``--schema`` the two sides are ours without and with a schema, whose answers end where they like, and the replay of
the masks that training does is timed beside them. The tokenizer is that of a bundled model.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from transformers import DynamicCache, Qwen3Config, Qwen3ForCausalLM

from openrft.models.decoder.decoder import build_decoder
from openrft.models.load import load_tokenizer
from openrft.rollout.native import NativeEngine, schema_compiler
from openrft.types import Completion, GenerationRequest, NoiseKey, SamplingParams

SIZES: dict[str, dict[str, int]] = {
    "1M": {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4,
           "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 2048},
    "10M": {"hidden_size": 384, "intermediate_size": 1152, "num_hidden_layers": 5, "num_attention_heads": 6,
            "num_key_value_heads": 2, "head_dim": 64, "vocab_size": 4096},
    "100M": {"hidden_size": 768, "intermediate_size": 2304, "num_hidden_layers": 12, "num_attention_heads": 12,
             "num_key_value_heads": 4, "head_dim": 64, "vocab_size": 8192},
}  # fmt: skip


SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {
            "verdict": {"enum": ["yes", "no", "needs review"]},
            "score": {"type": "integer", "minimum": 0, "maximum": 100},
            "reasons": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 5},
        },
        "required": ["verdict", "score", "reasons"],
        "additionalProperties": False,
    }
)


SPECIAL = ("bos_token", "eos_token", "unk_token")  # CTranslate2 wants all three; here nothing ends early


class NoTokenizer:
    """Decodes nothing: the benchmark measures tokens, and neither side ends early."""

    eos_token_id = None
    all_special_ids: tuple[int, ...] = ()

    def decode(self, token_ids: list[int], skip_special_tokens: bool = False) -> str:
        """No text."""
        return ""


def build_model(shape: str | dict[str, int], end_every: int = 0) -> Any:
    """A random model of a named size or a shape; every so many token ids end a completion (0: none does)."""
    torch.manual_seed(0)
    config = Qwen3Config(
        **(SIZES[shape] if isinstance(shape, str) else shape),
        initializer_range=0.1, tie_word_embeddings=True, bos_token_id=None, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config).eval()
    if end_every:
        model.generation_config.eos_token_id = list(range(end_every, config.vocab_size, end_every))
    return model


def build_prompts(args: argparse.Namespace, vocabulary: int) -> list[list[int]]:
    """Random prompts between half of ``--prompt-tokens`` and all of it; all equal with ``--equal``."""
    generator = torch.Generator().manual_seed(1)
    low = args.prompt_tokens if args.equal else args.prompt_tokens // 2
    lengths = torch.randint(low, args.prompt_tokens + 1, (args.prompts,), generator=generator).tolist()
    return [torch.randint(1, vocabulary, (length,), generator=generator).tolist() for length in lengths]


def ours(model: Any, prompts: list[list[int]], args: argparse.Namespace) -> Callable[[int], int]:
    """One round of the native engine; returns the number of tokens."""
    engine = NativeEngine(model, NoTokenizer(), decoder=build_decoder(model, torch.float32))
    sampling = SamplingParams(max_tokens=args.tokens)

    def run(round_number: int) -> int:
        requests = [
            GenerationRequest(
                id=number, prompt_token_ids=prompt, num_samples=args.samples, sampling=sampling,
                noise=NoiseKey(seed=0, stream=0, step=round_number, example=number),
            )
            for number, prompt in enumerate(prompts)
        ]  # fmt: skip
        return sum(len(completion.token_ids) for completion in engine.generate(requests))

    return run


def theirs(model: Any, prompts: list[list[int]], args: argparse.Namespace) -> Callable[[int], int]:
    """One round of ``transformers.generate`` with its dynamic cache, each prompt repeated for its group."""
    width = max(len(prompt) for prompt in prompts)
    rows = [prompt for prompt in prompts for _ in range(args.samples)]
    token_ids = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])

    def run(round_number: int) -> int:
        torch.manual_seed(round_number)
        with torch.no_grad():
            output = model.generate(
                input_ids=token_ids, attention_mask=mask, do_sample=True, top_k=0, top_p=1.0, temperature=1.0,
                max_new_tokens=args.tokens, past_key_values=DynamicCache(config=model.config),
            )  # fmt: skip
        continuation = output[:, width:]
        ends = torch.isin(continuation, torch.tensor(model.generation_config.eos_token_id or []))
        # Tokens until the first end, it included; what follows is padding.
        return int((ends.long().cumsum(1) - ends.long() == 0).sum())

    return run


def ctranslate2(model: Any, prompts: list[list[int]], args: argparse.Namespace) -> Callable[[int], int]:
    """One round of CTranslate2 in float32, on a conversion of the same weights that is no part of the round."""
    sys.path.append(str(args.ctranslate2))
    import ctranslate2

    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(f"{folder}/model")
        words = {f"w{number}": number for number in range(model.config.vocab_size)}
        plain = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="w0"))
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=plain, **dict.fromkeys(SPECIAL, "w0"))
        tokenizer.save_pretrained(f"{folder}/model")
        ctranslate2.converters.TransformersConverter(f"{folder}/model").convert(f"{folder}/converted")
        generator = ctranslate2.Generator(f"{folder}/converted", compute_type="float32", intra_threads=args.threads)
    rows = [[f"w{token}" for token in prompt] for prompt in prompts for _ in range(args.samples)]

    def run(round_number: int) -> int:
        ctranslate2.set_random_seed(round_number)
        results = generator.generate_batch(
            rows, max_length=args.tokens, min_length=args.tokens, sampling_topk=0, sampling_temperature=1.0,
            include_prompt_in_result=False,
        )  # fmt: skip
        return sum(len(result.sequences_ids[0]) for result in results)

    return run


def measure(size: str, args: argparse.Namespace) -> dict[str, Any]:
    """Interleaved rounds of both sides on one model."""
    model = build_model(size, args.end_every)
    prompts = build_prompts(args, model.config.vocab_size)
    sides = {"openrft": ours(model, prompts, args), "transformers": theirs(model, prompts, args)}
    if args.ctranslate2:
        sides["CTranslate2"] = ctranslate2(model, prompts, args)
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    wall: dict[str, list[float]] = {name: [] for name in sides}
    tokens = 0
    for round_number in range(args.rounds + 1):
        for name, run in sides.items():
            started, started_wall = time.process_time(), time.perf_counter()
            tokens = run(round_number)
            assert args.end_every or tokens == args.prompts * args.samples * args.tokens, (name, tokens)
            if round_number:  # the first round warms up
                seconds[name].append((time.process_time() - started) / tokens)
                wall[name].append((time.perf_counter() - started_wall) / tokens)
    ratios = {
        name: _spread([other / ours for ours, other in zip(seconds["openrft"], seconds[name], strict=True)])
        for name in sides
        if name != "openrft"
    }
    return {
        "size": size,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "tokens_in_last_round": tokens,
        "cpu_seconds_per_token": {name: _spread(values) for name, values in seconds.items()},
        "wall_seconds_per_token": {name: _spread(values) for name, values in wall.items()},
        "ratios": ratios,
    }


def measure_schema(size: str, args: argparse.Namespace) -> dict[str, Any]:
    """Interleaved rounds without and with a schema, and the replay of the masks of the latter."""
    tokenizer, _ = load_tokenizer("openrft-tiny")
    model = build_model(size)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    prompts = build_prompts(args, len(tokenizer))
    engine = NativeEngine(model, tokenizer, decoder=build_decoder(model, torch.float32))
    compiler = schema_compiler(model, tokenizer)
    seconds: dict[str, list[float]] = {"openrft": [], "schema": [], "replay": []}

    def clocked(name: str, work: Callable[[], list[Completion]]) -> list[Completion]:
        started = time.process_time()
        done = work()
        if round_number:  # the first round warms up
            tokens = sum(len(completion.token_ids) for completion in done)
            seconds[name].append((time.process_time() - started) / tokens)
        return done

    for round_number in range(args.rounds + 1):
        for name, schema in (("openrft", None), ("schema", SCHEMA)):
            sampling = SamplingParams(max_tokens=args.tokens, json_schema=schema)
            requests = [
                GenerationRequest(
                    id=number, prompt_token_ids=prompt, num_samples=args.samples, sampling=sampling,
                    noise=NoiseKey(seed=0, stream=0, step=round_number, example=number),
                )
                for number, prompt in enumerate(prompts)
            ]  # fmt: skip
            done = clocked(name, lambda requests=requests: list(engine.generate(requests)))
        pairs = [(prompts[completion.request_id], completion.token_ids) for completion in done]
        clocked("replay", lambda pairs=pairs, done=done: compiler.replay(SCHEMA, pairs) and done)
    return {
        "size": size,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "cpu_seconds_per_token": {name: _spread(values) for name, values in seconds.items()},
        "ratios": {
            "schema": _spread([held / free for held, free in zip(seconds["schema"], seconds["openrft"], strict=True)])
        },
    }


def print_table(results: list[dict[str, Any]]) -> None:
    """Every side of each model beside openrft."""
    print("| model | parameters | side | CPU µs/token | openrft CPU µs/token | ratio (range) |")
    print("| --- | --- | --- | --- | --- | --- |")
    for result in results:
        medians = {name: spread["median"] * 1e6 for name, spread in result["cpu_seconds_per_token"].items()}
        for name, ratio in result["ratios"].items():
            print(
                f"| {result['size']} | {result['parameters'] / 1e6:.1f}M | {name} | {medians[name]:.0f} "
                f"| {medians['openrft']:.0f} | {ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f}) |"
            )
        if "replay" in medians:
            print(f"  replay of its masks: {medians['replay']:.1f} µs/token")


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def main() -> None:
    """Measure, print a table, and write JSON if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=sorted(SIZES), default=["1M", "10M"])
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--samples", type=int, default=8, help="completions per prompt")
    parser.add_argument("--tokens", type=int, default=64, help="tokens per completion")
    parser.add_argument("--prompt-tokens", type=int, default=64, help="longest prompt")
    parser.add_argument("--equal", action="store_true", help="all prompts of one length (no padding)")
    parser.add_argument("--end-every", type=int, default=0, help="every so many token ids end a completion")
    parser.add_argument("--schema", action="store_true", help="compare with answers held to a JSON schema instead")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ctranslate2", type=Path, help="folder that CTranslate2 is installed in: a third side")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    results = [measure_schema(size, args) if args.schema else measure(size, args) for size in args.sizes]
    print_table(results)
    if args.json:
        options = {key: value for key, value in vars(args).items() if key not in ("json", "ctranslate2")}
        versions = {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "cpu": platform.processor(),
        }
        args.json.write_text(
            json.dumps({"options": options, "versions": versions, "results": results}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
