"""Episodes of a policy, side by side, as a picture or moving: what `headway eval --picture FILE` writes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from headway_api.train_spec import TrainSpec
from PIL import Image

from headway.envs.nav.render import render
from headway.envs.nav.vector import Level, NavVectorEnv
from headway.errors import UserError
from headway.evaluation.baselines import Actor

FRAME = {None: (205, 208, 212), True: (46, 160, 67), False: (200, 60, 50)}  # under way, success, failure
BORDER = 6
FRAMES, COLOURS = 120, 48  # at most, of an animation: a few hundred kB
FRAME_MS, LAST_MS = 80, 2500


def save_episodes(path: Path, actor: Actor, spec: TrainSpec, stage: int, split: str = "test") -> None:
    """Write a .gif, three episodes as they go on, or a .png, six as they were one step before their ends.

    Raises UserError for a file that cannot be written.
    """
    try:
        if path.suffix.lower() == ".gif":
            _save_moving(path, animate_episodes(actor, spec, stage, split))
        else:
            draw_episodes(actor, spec, stage, split).save(path)
    except OSError as error:
        raise UserError(f"--picture {path}: cannot be written: {error.strerror or error}") from None


def draw_episodes(
    actor: Actor, spec: TrainSpec, stage: int, split: str = "test", levels: int = 6, columns: int = 3, pixels: int = 360
) -> Image.Image:
    """Play levels 0 to `levels - 1` and draw each as it was one step before its end; a green frame means success."""
    *_, last = _play(actor, spec, stage, split, levels)
    return tile([framed(render(scene, trail, pixels), won) for scene, trail, won in last], columns)


def animate_episodes(
    actor: Actor, spec: TrainSpec, stage: int, split: str = "test", levels: int = 3, pixels: int = 300
) -> list[Image.Image]:
    """Play levels 0 to `levels - 1` and draw their moments side by side; each gets its coloured frame at its end."""
    moments = list(_play(actor, spec, stage, split, levels))
    every = math.ceil(len(moments) / FRAMES)
    chosen = [*moments[:-1:every], moments[-1]]
    return [
        tile([framed(render(scene, trail, pixels, beams=True), won) for scene, trail, won in moment], levels)
        for moment in chosen
    ]


def _play(
    actor: Actor, spec: TrainSpec, stage: int, split: str, levels: int
) -> Iterator[list[tuple[Level, list[tuple[float, float]], bool | None]]]:
    """Yield each moment's level, way so far and outcome of every episode, until all have one."""
    env = NavVectorEnv(spec, levels, split=split, level_stride=levels)
    env.set_stage(stage)
    observation = env.reset()
    trails: list[list[tuple[float, float]]] = [[] for _ in range(levels)]
    scenes: list[Level] = [env.level(i) for i in range(levels)]
    won: list[bool | None] = [None] * levels
    begins = torch.ones(levels, dtype=torch.bool)
    while None in won:
        for i in range(levels):
            if won[i] is None:
                scenes[i] = env.level(i)
                trails[i].append(scenes[i].robot[:2])
        yield list(zip(scenes, map(list, trails), won, strict=True))
        step = env.step(actor(env, observation, begins))
        for i in step.episodes.ended.nonzero().flatten().tolist():
            won[i] = bool(step.episodes.success[i]) if won[i] is None else won[i]
        observation, begins = step.observation, step.episodes.ended
    yield list(zip(scenes, trails, won, strict=True))


def _save_moving(path: Path, frames: Sequence[Image.Image]) -> None:
    """Write an animation that goes on for ever; one palette for all, so that what stands still costs nothing."""
    palette = frames[-1].quantize(COLOURS, Image.Quantize.MEDIANCUT)
    first, *rest = (frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames)
    times = [FRAME_MS] * len(rest) + [LAST_MS]
    first.save(path, save_all=True, append_images=rest, duration=times, loop=0, optimize=False)


def framed(image: Image.Image, success: bool | None) -> Image.Image:
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
