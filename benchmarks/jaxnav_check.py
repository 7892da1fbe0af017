"""Is the preset `jaxnav` JaxNav's task? Plays our levels in JaxNav, one step at a time, and compares.

    python benchmarks/jaxnav_check.py --venv DIR             # DIR as made by benchmarks/env_vs_jaxnav.py

Each of our steps is made again by JaxNav's own `step_env` from the same map, pose, velocities, goal and action. What
remains are the differences that docs/environment.md lists: the exact arc against Euler's step, exact rays against
samples every 6/119 m, collisions at every moment against at the end of the step. One JSON object is printed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from env_vs_jaxnav import PUBLISHED, ROOT, their_python

ENVS, STEPS = 256, 60


def record(file: Path) -> None:
    """Play our environment and save what every step began with, did and returned; S steps in all."""
    sys.path[:0] = [str(ROOT / "operator"), str(ROOT / "trainer")]
    import numpy as np
    import torch
    from headway.bench.env import random_actions
    from headway.bench.tasks import bench_spec
    from headway.envs.nav.vector import NavVectorEnv

    env = NavVectorEnv(bench_spec("jaxnav", ENVS), ENVS)
    actions, rows = random_actions(env), []
    seen = env.reset()
    for k in range(STEPS):
        action = actions[k].clone()
        action[:, 0] = action[:, 0].abs() if k % 2 else action[:, 0]
        worlds = np.stack([env.level(i).occupied for i in range(ENVS)])
        before, goal = seen["observation"].numpy(), seen["desired_goal"].numpy()
        step = env.step(action)
        after = step.observation["observation"].numpy().copy()
        after[step.final_rows.numpy()] = step.final_observation["observation"].numpy()
        command = (action + torch.tensor([1.0, 0.0])) * torch.tensor([0.5, 0.6])
        outcome = torch.stack((step.episodes.success, step.episodes.collision), 1).numpy()
        rows.append((worlds, before, goal, command.numpy(), after, step.reward.numpy(), outcome))
        seen = step.observation
    names = ("worlds", "before", "goal", "command", "after", "reward", "outcome")
    np.savez(
        file, **{name: np.concatenate(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    )


def replay(file: Path) -> dict[str, Any]:
    """Make the recorded steps in JaxNav; return how far the two are apart. Runs in JaxNav's own environment."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jaxmarl.environments.jaxnav import JaxNav
    from jaxmarl.environments.jaxnav.jaxnav_env import State

    env = JaxNav(num_agents=1, **PUBLISHED | {"lidar_num_beams": 201})  # the last repeats the first: 200 as ours
    ours = {name: np.asarray(value) for name, value in np.load(file).items()}

    def one(world: Any, row: Any, goal: Any, command: Any) -> Any:
        off, heading = jnp.zeros(1, bool), jnp.arctan2(row[3], row[2])
        state = State(
            pos=row[None, :2] + 1.0, theta=heading[None], vel=row[None, 4:6], goal=goal[None] + 1.0, map_data=world,
            done=off, term=off, goal_reached=off, move_term=off, step=0, ep_done=False, rew_lambda=0.5,
        )  # fmt: skip
        seen, state, reward, _, info = env.step_env(jax.random.PRNGKey(0), state, {"agent_0": command})
        scan = env.unnormalise_lidar(seen["agent_0"][:200])
        outcome = jnp.stack([info["GoalR"][0], info["MapC"][0]]).astype(bool)
        return state.pos[0] - 1.0, state.theta[0], state.vel[0], scan, reward["agent_0"], outcome

    given = (ours["worlds"].astype(np.int32), ours["before"], ours["goal"], ours["command"])
    place, heading, velocity, scan, reward, outcome = map(np.asarray, jax.jit(jax.vmap(one))(*given))
    after, alike = ours["after"], (outcome == ours["outcome"]).all(1)
    moving = alike & ~outcome[:, 1]  # a collision stops ours where it happens, within the step
    turned = np.abs(np.angle(np.exp(1j * (heading - np.arctan2(after[:, 3], after[:, 2])))))
    longer = (scan - after[:, 6:])[moving]
    apart = np.abs(reward - ours["reward"])
    return {
        "steps": len(alike),
        "goals": int(outcome[:, 0].sum()),
        "collisions": int(outcome[:, 1].sum()),
        "same_outcome_share": round(float(alike.mean()), 5),
        "reward_within_0.01_share": round(float((apart[alike] <= 0.01).mean()), 5),
        "place_apart_m_max": round(float(np.linalg.norm(place - after[:, :2], axis=1)[moving].max()), 5),
        "heading_apart_rad_max": round(float(turned[moving].max()), 7),
        "velocity_apart_max": round(float(np.abs(velocity - after[:, 4:6])[moving].max()), 7),
        "beam_longer_m_quantiles": dict(
            zip(("0.01", "0.5", "0.99"), np.quantile(longer, (0.01, 0.5, 0.99)).round(4).tolist(), strict=True)
        ),
    }


def main() -> None:
    """Record here, replay there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--venv", type=Path, metavar="DIR", help="JaxNav's own virtual environment")
    parser.add_argument("--replay", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.replay:
        found = replay(options.replay)
        Path(f"{options.replay}.json").write_text(json.dumps(found))
        return
    if options.venv is None:
        parser.error("--venv DIR: say where JaxNav's virtual environment is, or is to be made")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "steps.npz"
        record(file)
        command = [their_python(options.venv), __file__, "--replay", file]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        print(Path(f"{file}.json").read_text())


if __name__ == "__main__":
    main()
