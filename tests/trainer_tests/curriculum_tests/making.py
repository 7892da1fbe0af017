"""Curricula and ends of episodes for tests."""

import torch
from headway.envs.protocol import EpisodeEnds
from headway_api.curriculum_spec import Curriculum

GATE = {"successRate": 0.8, "episodes": 100, "confidence": 0.95}


def curriculum(*gates, **changes):
    stages = [{"name": f"s{i}", "levels": {"world": {"empty": {}}}, "gate": gate} for i, gate in enumerate(gates)]
    return Curriculum.model_validate({"stages": stages} | changes)


def ends(ended, success, stage=None, collision=None, reward=None, level=None, slot=None):
    n = len(ended)
    zeros = [0] * n
    return EpisodeEnds(
        ended=torch.tensor(ended), stage=torch.tensor(stage or zeros), success=torch.tensor(success),
        collision=torch.tensor(collision or [False] * n), total_reward=torch.tensor(reward or [0.0] * n),
        length=torch.ones(n, dtype=torch.int64), level=torch.tensor(level or [[0, i] for i in range(n)]),
        slot=torch.tensor(slot or [-1] * n),
    )  # fmt: skip
