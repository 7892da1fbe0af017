"""A checkpoint of other ranks: everything that belongs to environments is taken over, whoever goes on with which."""

import os

import pytest
import torch
from headway.bench.resume import Run
from headway.bench.resume_compare import all_ranks, newest
from headway.bench.resume_specs import EVERYTHING, Case
from trainer_tests.parallel_tests import gang

# Memories, and a replay with everything: what the others have is among it or alike. make prove runs all of them.
OTHERS = [("ppo-gru", 3, 1), ("sac", 4, 2)]
if os.environ.get("HEADWAY_PROVE"):
    OTHERS += [("dagger", 2, 4), ("ppo", 2, 4), ("dqn", 3, 1), ("pqn", 1, 2), ("td3", 2, 4)]


@pytest.mark.slow
@pytest.mark.parametrize(("algo", "before", "after"), OTHERS)
def test_other_ranks_take_over_every_environment_with_all_that_belongs_to_it(tmp_path, algo, before, after):
    """Environments, memories, the gate's windows, remembered levels, self-play, the replay with its priorities."""
    case = Case(algo, EVERYTHING, before)
    Run(case.spec(updates=3), before, tmp_path).finish()
    one = newest(tmp_path, "bench")
    for code, output in gang.finish(gang.start(after, gang.save_again, case.spec().to_wire(), tmp_path, 2)):
        assert code == 0, output
        if "resuming from" in output:
            assert f"resume is not exact: worldSize: {before} -> {after}: " in output
            assert ("its own transitions" in output) == (algo in ("dqn", "sac", "td3"))
    other = newest(tmp_path, "bench")
    assert (other.manifest.attempt, other.manifest.world_size, one.manifest.world_size) == (2, after, before)
    assert (other.manifest.step, other.manifest.loop) == (one.manifest.step, one.manifest.loop)
    had, has = all_ranks(one), all_ranks(other)
    assert had.keys() == has.keys()
    assert {"env.robot", "curriculum.window.ended", "curriculum.learnability.level"} <= has.keys()
    # What a new transition is given by those ranks that it comes to: the highest of any of theirs.
    assert had.pop("replay.highest", torch.zeros(1)).max() == has.pop("replay.highest", torch.zeros(1)).max()
    assert [name for name in had if not torch.equal(had[name], has[name])] == []
