"""Episodes of a policy, side by side in one picture: what `headway eval --picture FILE` writes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from headway_api.train_spec import TrainSpec
from PIL import Image

from headway.envs.nav.render import render
from headway.envs.nav.vector import Level, NavVectorEnv
from headway.evaluation.baselines import Actor

FRAME = {True: (46, 160, 67), False: (200, 60, 50)}  # success, failure
BORDER = 6


def draw_episodes(
    actor: Actor, spec: TrainSpec, stage: int, split: str = "test", levels: int = 6, columns: int = 3, pixels: int = 360
) -> Image.Image:
    """Play levels 0 to `levels - 1` and draw each as it was one step before its end; a green frame means success."""
    env = NavVectorEnv(spec, levels, split=split, level_stride=levels)
    env.set_stage(stage)
    observation = env.reset()
    trails: list[list[tuple[float, float]]] = [[] for _ in range(levels)]
    scenes: list[Level] = [env.level(i) for i in range(levels)]
    won: dict[int, bool] = {}
    begins = torch.ones(levels, dtype=torch.bool)
    while len(won) < levels:
        for i in set(range(levels)) - set(won):
            scenes[i] = env.level(i)
            trails[i].append(scenes[i].robot[:2])
        step = env.step(actor(env, observation, begins))
        for i in step.episodes.ended.nonzero().flatten().tolist():
            won.setdefault(i, bool(step.episodes.success[i]))
        observation, begins = step.observation, step.episodes.ended
    return tile([framed(render(scenes[i], trails[i], pixels), won[i]) for i in range(levels)], columns)


def framed(image: Image.Image, success: bool) -> Image.Image:
    """Put a border around a picture that says how the episode ended."""
    out = Image.new("RGB", (image.width + 2 * BORDER, image.height + 2 * BORDER), FRAME[success])
    out.paste(image, (BORDER, BORDER))
    return out


def tile(images: Sequence[Image.Image], columns: int) -> Image.Image:
    """Put pictures in rows of `columns`."""
    width, height = max(i.width for i in images), max(i.height for i in images)
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    out = Image.new("RGB", (columns * (width + BORDER), rows * (height + BORDER)), (255, 255, 255))
    for k, image in enumerate(images):
        out.paste(image, (k % columns * (width + BORDER), k // columns * (height + BORDER)))
    return out
