"""Runs with self-play for tests, and what they leave behind."""

import json

import torch
from headway.checkpoint import load_tensors
from headway.envs.nav.vector import NavVectorEnv
from headway.parallel import Group
from headway.selfplay import RunningSelfPlay
from headway.selfplay.partners import build_partner
from headway_api.train_spec import TrainSpec
from trainer_tests.curriculum_tests.making import ends

UPDATE = 12 * 8
CPU = torch.device("cpu")


def play_spec(self_play=None, robots=1, **changes):
    """12 environments, updates of 8 steps, episodes of at most 10."""
    levels = {"world": {"empty": {"sizeMeters": 6.0}}, "robots": robots}
    stages = [{"name": "one", "levels": levels, "gate": {"successRate": 0.99}}]
    wire = {
        "totalSteps": UPDATE * 6, "numEnvs": 12, "network": {"mlp": {"hidden": [8]}},
        "env": {"nav": {"others": "self", "maxSteps": 10, "lidar": {"beams": 8}}},
        "algo": {"ppo": {"rolloutSteps": 8, "minibatchSize": 48, "epochs": 2, "learningRate": 0.003}},
        "curriculum": {"stages": stages},
        "selfPlay": {"pool": {"size": 2, "everySteps": UPDATE}} if self_play is None else self_play,
    }  # fmt: skip
    return TrainSpec.model_validate(wire | changes)


def never():
    return False


def ignore(snapshot):
    pass


def model(result):
    return load_tensors(result.checkpoint / "model.safetensors")


def own(result):
    return load_tensors(result.checkpoint / "rank-0.safetensors")


def rows(run):
    return [json.loads(line) for line in (run.out / "metrics.jsonl").read_text().splitlines()]


class Half(Group):
    """One of two ranks, whose sums come out as whoever asks has set them."""

    total = None

    def sum_(self, tensor):
        return tensor.copy_(self.total)


class Learner:
    """What self-play asks of an algorithm: its weights are its number."""

    number = 0.0

    def __init__(self, env, spec):
        self.tensors = {f"network.{k}": v for k, v in build_partner(spec, env, CPU).state_dict().items()}

    def policy(self):
        return lambda features, begins: torch.full((len(features), 2), -1.0)

    def get_state(self):
        return {name: torch.full_like(tensor, self.number) for name, tensor in self.tensors.items()}


def plays(spec, group=None, num_envs=12):
    env = NavVectorEnv(spec, num_envs)
    return RunningSelfPlay(spec, env, Learner(env, spec), group or Group(), CPU)


def all_end(success, **changes):
    return ends([True] * len(success), success, **changes)
