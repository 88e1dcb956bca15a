"""What does not fit into memory is halved, and the step is the one that it would have been."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from openrft.errors import OpenRFTError
from openrft.models.load import Policy, load_policy
from openrft.training.batch import Cutter, GroupToTrain, Microbatch, Minibatch, packed_tokens
from openrft.training.forward import completion_logprobs
from openrft.training.update import update
from openrft.types import Metrics
from random_models import write_random_model
from rollouts import make_rollout

ERRORS: dict[str, Callable[[], BaseException]] = {
    "of a GPU": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "of a CPU": lambda: RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 12 bytes"),
    "of Python": MemoryError,
}


class Sums:
    def __init__(self, value: float, tokens: int) -> None:
        self.value, self.tokens = value, tokens

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.value + other.value, self.tokens + other.tokens)

    def as_metrics(self) -> Metrics:
        return {"policy/loss": self.value, "tokens": float(self.tokens)}

    def mismatch_metrics(self) -> Metrics:
        return {}


class Memory:
    """A loss that runs out of memory at the given calls, before or after half of the gradients are there."""

    def __init__(self, fails: set[int], error: Callable[[], BaseException], *, late: bool = False) -> None:
        self.fails, self.error, self.late = fails, error, late
        self.sizes: list[int] = []

    def loss(self, policy: Policy, batch: Microbatch) -> tuple[torch.Tensor, Sums]:
        call = len(self.sizes)
        self.sizes.append(sum(map(len, batch.prompts)) + sum(len(a) for answers in batch.completions for a in answers))
        if call in self.fails and not self.late:
            raise self.error()
        # What is first in the graph is last in the backward pass: every parameter has its gradient before it fails.
        failing = _Failing.apply(torch.zeros((), requires_grad=True), self.error)  # type: ignore[no-untyped-call]
        logprobs = completion_logprobs(policy, batch)
        value = (logprobs * batch.advantages_N * batch.token_weights_N).sum()
        sums = Sums(value.item(), len(logprobs))
        return (value + failing if call in self.fails else value), sums


class _Failing(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, error: Callable[[], BaseException]) -> torch.Tensor:
        ctx.error = error
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        raise ctx.error()


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Policy, dict[str, torch.Tensor]]:
    policy = load_policy(str(write_random_model(tmp_path_factory.mktemp("model"), "llama")))
    return policy, {name: tensor.clone() for name, tensor in policy.network.state_dict().items()}


@pytest.fixture
def policy(loaded: tuple[Policy, dict[str, torch.Tensor]]) -> Policy:
    loaded[0].network.load_state_dict(loaded[1])
    return loaded[0]


def weights(policy: Policy) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in policy.trained_parameters()}


def group(number: int, lengths: list[int]) -> GroupToTrain:
    rollouts = [make_rollout(place, 1.0, num_tokens=length) for place, length in enumerate(lengths)]
    return GroupToTrain(
        prompt_token_ids=[3 + number, 4, 5],
        rollouts=rollouts,
        advantages=[0.5 - place for place in range(len(lengths))],
        token_weights=[0.01 * (place + 1) for place in range(len(lengths))],
    )


GROUPS = [group(0, [2, 4, 3, 1, 3, 2]), group(1, [3, 3, 3, 3]), group(2, [1, 4, 3, 3, 2, 1, 1, 4])]


def step(
    policy: Policy, memory: Memory, *, most_tokens: int = 1000, told: list[str] | None = None, steps: int = 1
) -> tuple[Metrics, Cutter]:
    optimizer = torch.optim.AdamW([tensor for _, tensor in policy.trained_parameters()])
    cutter = Cutter(
        most_tokens=most_tokens,
        measure=packed_tokens,
        pad_id=256,
        device=torch.device("cpu"),
        tell=None if told is None else told.append,
    )
    for _ in range(steps):
        whole = [Minibatch(cutter.cut(GROUPS))]
        metrics = update(policy, optimizer, whole, memory.loss, learning_rate=1e-3, max_grad_norm=1.0)
    return metrics, cutter


@pytest.mark.parametrize(
    ("fails", "error", "late"),
    [
        ({0}, "of a GPU", False),
        ({0}, "of a GPU", True),
        ({0, 1}, "of a GPU", False),
        ({0, 1}, "of a CPU", True),
        ({0, 2}, "of Python", True),
        ({0, 3}, "of a CPU", False),
    ],
)
def test_a_step_that_ran_out_of_memory_ends_as_one_that_did_not(
    loaded: tuple[Policy, dict[str, torch.Tensor]], policy: Policy, fails: set[int], error: str, late: bool
) -> None:
    expected, _ = step(policy, Memory(set(), ERRORS[error]), most_tokens=64)
    wanted = weights(policy)
    policy.network.load_state_dict(loaded[1])
    memory = Memory(fails, ERRORS[error], late=late)
    found, _ = step(policy, memory, most_tokens=64)
    assert len(memory.sizes) > max(fails)
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)
    for name, tensor in weights(policy).items():
        torch.testing.assert_close(tensor, wanted[name], atol=1e-6, rtol=1e-5, msg=name)


def test_smaller_microbatches_are_remembered_and_told_once_for_each_halving(policy: Policy) -> None:
    memory, told = Memory({0, 1}, ERRORS["of a GPU"]), list[str]()
    _, cutter = step(policy, memory, told=told, steps=2)
    whole, half = memory.sizes[:2]
    assert whole == 55  # three prompts of 3 tokens, and 46 of completions
    assert told == [
        "microbatches of 55 tokens did not fit into memory; 27 from here on",
        f"microbatches of {half} tokens did not fit into memory; {half // 2} from here on",
    ]
    assert cutter.most_tokens == half // 2
    last_step = memory.sizes[-7:]
    assert max(last_step) <= cutter.most_tokens


def test_a_microbatch_that_was_cut_before_the_limit_fell_is_cut_again(policy: Policy) -> None:
    memory = Memory({0}, ERRORS["of a GPU"])
    _, cutter = step(policy, memory, most_tokens=32)
    assert cutter.most_tokens <= 16
    assert max(memory.sizes[1:]) <= cutter.most_tokens


def test_a_single_rollout_that_does_not_fit_fails_the_job_and_says_what_to_do(policy: Policy) -> None:
    before = weights(policy)
    with pytest.raises(OpenRFTError, match="lower max_completion_tokens") as caught:
        step(policy, Memory(set(range(1000)), ERRORS["of a GPU"]))
    assert caught.value.code == "out_of_memory"
    assert all(torch.equal(before[name], tensor) for name, tensor in policy.trained_parameters())


def test_other_errors_are_not_taken_for_a_lack_of_memory(policy: Policy) -> None:
    memory = Memory({0}, lambda: RuntimeError("shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        step(policy, memory)
    assert len(memory.sizes) == 1
