"""TRL as an independent oracle: its own code does the arithmetic on the same numbers, padded as it wants.

The trainers are TRL's, less their construction: they are told the log-probabilities a model would have given
and the rewards a grader would have; everything after that is theirs.
"""

from collections import defaultdict
from functools import cache
from types import SimpleNamespace

import pytest
import torch

from openrft.algorithms import ALGORITHMS, PackedTokens

LENGTHS = [3, 7, 1, 5, 4, 7, 2, 6]
GROUPS = [0, 0, 0, 0, 1, 1, 1, 1]
MAX_COMPLETION_TOKENS = 9
MASK_ST = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
SEQUENCE_INDEX_N = torch.arange(len(LENGTHS)).repeat_interleave(torch.tensor(LENGTHS))

SEEDS = range(5)


class WithoutConstruction:
    """A TRL trainer with the settings it is given; what is not given is off."""

    def __init__(self, **settings):
        one_process = SimpleNamespace(
            device=torch.device("cpu"),
            num_processes=1,
            process_index=0,
            gather=lambda tensor: tensor,
            reduce=lambda tensor, reduction: tensor,
        )
        vars(self).update(
            accelerator=one_process,
            args=SimpleNamespace(
                delta=None,
                use_bias_correction_kl=False,
                report_to=[],
                steps_per_generation=1,
                gradient_accumulation_steps=1,
                per_device_train_batch_size=8,
                gradient_checkpointing_kwargs=None,
            ),
            model=SimpleNamespace(training=True, is_gradient_checkpointing=False),
            current_gradient_accumulation_steps=1,
            max_completion_length=MAX_COMPLETION_TOKENS,
            top_entropy_quantile=1.0,
            beta=0.0,
            importance_sampling_level="token",
            num_generations=4,
            num_iterations=1,
            multi_objective_aggregation="sum_then_normalize",
            reward_weights=torch.ones(1),
            reward_func_names=["grader"],
            _tokenizer=SimpleNamespace(pad_token_id=0),
            _metrics={"train": defaultdict(list)},
            _logs=defaultdict(list, rewards=defaultdict(list), extra=defaultdict(list)),
            _pending_extra_logs={},
            _pending_metrics={},
        )
        vars(self).update(settings)

    def __getattr__(self, name):
        return None

    def _get_per_token_logps_and_entropies(self, *args, **kwargs):
        return self.logprobs_ST, torch.zeros(self.logprobs_ST.shape), None

    def _generate(self, prompts):
        completion_ids = [[1] * self.logprobs_ST.shape[1] for _ in prompts]
        return [[1]] * len(prompts), completion_ids, None, [""] * len(prompts), None, {}, None, None

    def _calculate_rewards(self, *args):
        return self.given_rewards[:, None]


@cache
def grpo_trainer():
    from trl.trainer.grpo_trainer import GRPOTrainer  # takes seconds: not while tests are collected

    return type("GRPO", (WithoutConstruction, GRPOTrainer), {})


@cache
def rloo_trainer():
    from trl.trainer.rloo_trainer import RLOOTrainer

    class RLOO(WithoutConstruction, RLOOTrainer):
        def _generate(self, prompts):
            prompt_ids, completion_ids, _, completions, *_ = super()._generate(prompts)
            return prompt_ids, completion_ids, completions

    return RLOO


def random_batch(seed, drift):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, dtype=torch.float64, generator=generator)

    logprobs_ST = -2.0 * normal(*MASK_ST.shape).abs() - 0.01
    return SimpleNamespace(
        logprobs_ST=logprobs_ST.clone().requires_grad_(),
        sampling_logprobs_ST=logprobs_ST + drift * normal(*MASK_ST.shape),
        reference_logprobs_ST=logprobs_ST + 0.5 * normal(*MASK_ST.shape),
        advantages_S=normal(len(LENGTHS)),
    )


def loss_of_trl(trainer_class, batch, **settings):
    mask_ST = MASK_ST.long()
    inputs = {
        "prompt_ids": torch.ones(len(LENGTHS), 1).long(),
        "prompt_mask": torch.ones(len(LENGTHS), 1).long(),
        "completion_ids": mask_ST,
        "completion_mask": mask_ST,
        "advantages": batch.advantages_S,
        "old_per_token_logps": batch.sampling_logprobs_ST,
        "ref_per_token_logps": batch.reference_logprobs_ST,
        "old_logps": (batch.sampling_logprobs_ST * mask_ST).sum(1),
        "num_items_in_batch": torch.tensor(sum(LENGTHS)),
    }
    trainer = trainer_class(logprobs_ST=batch.logprobs_ST, **settings)
    loss = trainer._compute_loss(None, inputs)
    (gradient_ST,) = torch.autograd.grad(loss, batch.logprobs_ST)
    return loss, gradient_ST, trainer._metrics["train"]


def loss_of_ours(algorithm, batch, kl_beta=0.0):
    weights_S = algorithm.aggregation(LENGTHS, GROUPS, MAX_COMPLETION_TOKENS)
    tokens = PackedTokens(
        logprobs_N=batch.logprobs_ST[MASK_ST],
        sampling_logprobs_N=batch.sampling_logprobs_ST[MASK_ST],
        advantages_N=batch.advantages_S[SEQUENCE_INDEX_N],
        weights_N=torch.tensor(weights_S, dtype=torch.float64)[SEQUENCE_INDEX_N],
        sequence_index_N=SEQUENCE_INDEX_N,
        reference_logprobs_N=batch.reference_logprobs_ST[MASK_ST] if kl_beta else None,
    )
    loss, metrics = algorithm.policy_loss(tokens, kl_beta=kl_beta)
    (gradient_ST,) = torch.autograd.grad(loss, batch.logprobs_ST)
    return loss, gradient_ST, metrics.as_metrics()


SETTINGS = {
    "grpo": {"loss_type": "grpo", "epsilon_low": 0.2, "epsilon_high": 0.2},
    "dr_grpo": {"loss_type": "dr_grpo", "epsilon_low": 0.2, "epsilon_high": 0.2},
    "dapo": {"loss_type": "dapo", "epsilon_low": 0.2, "epsilon_high": 0.28},
    "cispo": {"loss_type": "cispo", "epsilon_high": 5.0},
    "gspo": {
        "loss_type": "grpo",
        "importance_sampling_level": "sequence",
        "epsilon_low": 3e-4,
        "epsilon_high": 4e-4,
    },
}


# The drifts leave some tokens inside the bounds and some beyond, for the narrow bounds and for the wide.
@pytest.mark.parametrize("drift", [0.0, 3e-4, 0.2, 1.5])
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", SETTINGS)
def test_losses_and_gradients_are_those_of_trl(name, seed, drift):
    batch = random_batch(seed, drift)
    expected_loss, expected_gradient_ST, _ = loss_of_trl(grpo_trainer(), batch, **SETTINGS[name])
    loss, gradient_ST, _ = loss_of_ours(ALGORITHMS[name], batch)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient_ST, expected_gradient_ST, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", SETTINGS)
def test_losses_with_a_kl_penalty_are_those_of_trl(name, seed):
    batch = random_batch(seed, 0.2)
    expected_loss, expected_gradient_ST, trl_metrics = loss_of_trl(grpo_trainer(), batch, beta=0.04, **SETTINGS[name])
    loss, gradient_ST, metrics = loss_of_ours(ALGORITHMS[name], batch, kl_beta=0.04)
    torch.testing.assert_close(loss, expected_loss, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient_ST, expected_gradient_ST, rtol=1e-12, atol=1e-12)
    assert metrics["policy/kl_to_reference"] == pytest.approx(trl_metrics["kl"][0], rel=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["grpo", "dr_grpo", "dapo"])
def test_the_clipped_share_is_that_of_trl(name, seed):
    batch = random_batch(seed, 0.3)
    _, _, trl_metrics = loss_of_trl(grpo_trainer(), batch, **SETTINGS[name])
    _, _, metrics = loss_of_ours(ALGORITHMS[name], batch)
    assert 0.0 < metrics["policy/clipped_share"] < 1.0
    assert metrics["policy/clipped_share"] == pytest.approx(trl_metrics["clip_ratio/region_mean"][0], rel=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_on_policy_gradient_of_rloo_is_that_of_trl_but_for_the_constant_divisor(seed):
    batch = random_batch(seed, 0.0)
    _, expected_gradient_ST, _ = loss_of_trl(rloo_trainer(), batch, epsilon_low=0.2, epsilon_high=0.2)
    _, gradient_ST, _ = loss_of_ours(ALGORITHMS["rloo"], batch)
    # TRL: the sum over a rollout's tokens, then the mean over rollouts
    torch.testing.assert_close(gradient_ST * MAX_COMPLETION_TOKENS, expected_gradient_ST, rtol=1e-12, atol=1e-12)


def advantages_of_trl(trainer_class, rewards_KG, **settings):
    trainer = trainer_class(
        given_rewards=rewards_KG.flatten(),
        reward_funcs=[None],
        logprobs_ST=torch.zeros(rewards_KG.numel(), 1),
        **settings,
    )
    inputs = [{"prompt": "a prompt"}] * rewards_KG.numel()
    return trainer._generate_and_score_completions(inputs)["advantages"].view(rewards_KG.shape)


def random_rewards(seed):
    """Groups of mixed, ungraded (NaN), equal and zero-one rewards."""
    generator = torch.Generator().manual_seed(seed)
    rewards_KG = torch.rand(4, 4, dtype=torch.float64, generator=generator)
    rewards_KG[1, 2] = torch.nan
    rewards_KG[2] = 0.5
    rewards_KG[3] = rewards_KG[3].round()
    return rewards_KG


@pytest.mark.parametrize(
    ("name", "trainer", "settings"),
    [
        ("grpo", grpo_trainer, {"scale_rewards": "group"}),
        ("dr_grpo", grpo_trainer, {"scale_rewards": "none"}),
        ("rloo", rloo_trainer, {}),
    ],
)
@pytest.mark.parametrize("seed", SEEDS)
def test_advantages_are_those_of_trl_where_an_ungraded_rollout_leaves_its_group(name, trainer, settings, seed):
    rewards_KG = random_rewards(seed)
    graded_KG = ~rewards_KG.isnan()
    expected_KG = advantages_of_trl(trainer(), rewards_KG, **settings)
    groups = [rewards[graded].tolist() for rewards, graded in zip(rewards_KG, graded_KG, strict=True)]
    advantages = [value for group in ALGORITHMS[name].advantages(groups) for value in group]
    # TRL rounds the n / (n - 1) of its std to float32.
    assert advantages == pytest.approx(expected_KG[graded_KG].tolist(), rel=1e-7, abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_reinforce_advantages_are_trls_batch_scale_around_the_batch_mean(seed):
    # One group that is the batch: then TRL's mean of the group is the mean of the batch.
    rewards_KG = torch.rand(1, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    expected_KG = advantages_of_trl(grpo_trainer(), rewards_KG, scale_rewards="batch", num_generations=8)
    groups = rewards_KG.view(4, 2).tolist()
    advantages = [value for group in ALGORITHMS["reinforce"].advantages(groups) for value in group]
    assert advantages == pytest.approx(expected_KG[0].tolist(), rel=1e-7)
