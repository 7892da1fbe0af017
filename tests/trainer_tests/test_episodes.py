import torch
from headway.envs.protocol import EpisodeEnds
from headway.episodes import EpisodeSums
from headway.parallel import Group


def test_rates_and_means_of_the_fresh_episodes_of_one_stage():
    ends = EpisodeEnds(
        ended=torch.tensor([True, True, True, True, False, True]),
        stage=torch.tensor([1, 1, 1, 0, 1, 1]),  # the fourth is a replay, the fifth has not ended
        success=torch.tensor([True, False, False, True, True, True]),
        collision=torch.tensor([False, True, False, False, False, True]),
        total_reward=torch.tensor([1.0, -2.0, 4.0, 100.0, float("nan"), 100.0]),
        length=torch.tensor([10, 20, 30, 999, 999, 999]),
        level=torch.zeros(6, 2, dtype=torch.int64),
        slot=torch.tensor([-1, -1, -1, -1, -1, 7]),  # the last one's level was remembered
    )
    sums = EpisodeSums()
    sums.add(ends, stage=1)
    assert sums.metrics(Group()) == {
        "episodes/count": 3.0, "episodes/success_rate": 1 / 3, "episodes/collision_rate": 1 / 3,
        "episodes/timeout_rate": 1 / 3, "episodes/reward": 1.0, "episodes/steps": 20.0,
    }  # fmt: skip
    assert sums.metrics(Group()) == {"episodes/count": 0.0}  # counted once; no rate without episodes
