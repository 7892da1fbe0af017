"""Whole algorithms whose networks multiply in bf16 or fp16."""

import pytest
import torch
from headway.algos import build_algorithm
from headway.algos.divergence import DivergenceError
from headway.algos.loss_scale import LEAST
from headway.envs.protocol import Transition
from headway.parallel import Group
from trainer_tests.conftest import line_spec
from trainer_tests.line_env import LineEnv

OFF_POLICY = {"batchSize": 24, "learningStarts": 96, "updateSteps": 96, "learningRate": 0.003, "gradientSteps": 8}
ALGOS = {
    "ppo": {"rolloutSteps": 8, "minibatchSize": 48, "epochs": 2, "learningRate": 0.003},
    "sac": OFF_POLICY,
    "td3": OFF_POLICY,
}
NARROW = {"bf16": torch.bfloat16, "fp16": torch.float16}


@pytest.mark.parametrize("precision", NARROW)
@pytest.mark.parametrize("kind", ALGOS)
def test_every_product_of_the_network_is_narrow_and_what_is_learned_is_not(kind, precision, tmp_path):
    spec = line_spec(algo={kind: ALGOS[kind]}, precision=precision)
    algorithm = build_algorithm(spec, LineEnv(12), Group(), torch.device("cpu"), 1, tmp_path)
    network = algorithm.network if kind == "ppo" else algorithm.learner.network
    seen = set()
    for module in network.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(lambda module, given, output: seen.add(output.dtype))
    action = algorithm.act(torch.zeros(12, 2), 1000)
    assert (seen, action.dtype) == ({NARROW[precision]}, torch.float32)
    floating = {tensor.dtype for tensor in algorithm.get_state().values() if tensor.is_floating_point()}
    assert floating == {torch.float32}


def trained(kind, precision, folder, steps=24, threads=1, **more):
    """An algorithm after `steps` steps of each environment, where it began, and its last metrics."""
    env = LineEnv(12)
    spec = line_spec(algo={kind: ALGOS[kind]}, precision=precision, **more)
    algorithm = build_algorithm(spec, env, Group(), torch.device("cpu"), threads, folder)
    before = weights(algorithm)
    observation = env.reset()
    for step in range(steps):
        features = env.features(observation)
        action = algorithm.act(features, step)
        made = env.step(action)
        following = env.features(made.observation)
        algorithm.observe(Transition(observation, features, action, made, following, env.features))
        observation = made.observation
        if algorithm.ready():
            metrics = algorithm.update(following, 1.0)
    return algorithm, before, metrics


def weights(algorithm):
    state = algorithm.get_state()
    return torch.cat([state[name].clone().flatten() for name in sorted(state) if name.startswith("network.")])


@pytest.mark.parametrize("kind", ALGOS)
def test_it_learns_nearly_what_full_precision_learns(kind, tmp_path):
    full, before, metrics = trained(kind, "fp32", tmp_path)
    moved = (weights(full) - before).norm()
    assert moved > 0.1 and not any(name.startswith("precision/") for name in metrics)
    apart = {}
    for precision in NARROW:
        narrow, began, metrics = trained(kind, precision, tmp_path)
        assert torch.equal(began, before)
        apart[precision] = ((weights(narrow) - weights(full)).norm() / moved).item()
        assert ("precision/loss_scale" in metrics) == (precision == "fp16")
        if precision == "fp16":
            assert metrics["precision/overflows"] == 0.0
    assert 0.0 < apart["fp16"] < apart["bf16"] < 0.5  # 11 bits of a product, and 8


def test_a_network_with_memory_learns_the_same_each_time_in_two_lanes(tmp_path):
    network = {"gru": {"hidden": [16], "size": 16}}
    results = [weights(trained("ppo", "bf16", tmp_path, 48, threads=2, network=network)[0]) for _ in range(4)]
    assert all(torch.equal(results[0], other) for other in results[1:])


@pytest.mark.parametrize("kind", ALGOS)
def test_what_overflows_whatever_the_factor_is_the_learning_rates_fault(kind, tmp_path):
    algorithm, _, _ = trained(kind, "fp16", tmp_path)
    state = algorithm.get_state()
    algorithm.set_state(state | {"loss_scale.scale": torch.tensor(LEAST / 2)})
    with pytest.raises(
        DivergenceError, match=r"the factor of fp16's losses is 3\.05176e-05 and gradients still overflow"
    ):
        if kind == "ppo":
            algorithm._fit(None)
        else:
            algorithm.update(torch.zeros(12, 2), 1.0)
