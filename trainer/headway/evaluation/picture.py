"""Episodes of a policy, side by side, as a picture or moving: what `headway eval --picture FILE` writes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from headway_api.train_spec import TrainSpec
from PIL import Image, ImageDraw, ImageFont

from headway.envs.nav.render import INK, ROBOT, TRAIL, render
from headway.envs.nav.vector import Level, NavVectorEnv
from headway.errors import UserError
from headway.evaluation.baselines import Actor

UNDER_WAY, SUCCESS, COLLISION, TIMEOUT = "under way", "goal reached", "collision", "out of time"
FRAME = {UNDER_WAY: (205, 208, 212), SUCCESS: (46, 160, 67), COLLISION: (200, 60, 50), TIMEOUT: (222, 170, 30)}
BORDER, CAPTION = 6, 22
TEXT, PAPER = (58, 64, 72), (255, 255, 255)
FRAMES, COLOURS = 120, 48  # at most, of an animation: a few hundred kB
FRAME_MS, LAST_MS = 80, 2500

Moment = tuple[Level, list[tuple[float, float]], str]  # level, way so far, outcome


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
    """Play levels 0 to `levels - 1` and draw each as it was one step before its end, framed by how it ended."""
    *_, last = _play(actor, spec, stage, split, levels)
    return sheet(last, spec, columns, pixels)


def animate_episodes(
    actor: Actor, spec: TrainSpec, stage: int, split: str = "test", levels: int = 3, pixels: int = 300
) -> list[Image.Image]:
    """Play levels 0 to `levels - 1` and draw their moments side by side; each gets its coloured frame at its end."""
    moments = list(_play(actor, spec, stage, split, levels))
    every = math.ceil(len(moments) / FRAMES)
    chosen = [*moments[:-1:every], moments[-1]]
    return [sheet(moment, spec, levels, pixels) for moment in chosen]


def _play(actor: Actor, spec: TrainSpec, stage: int, split: str, levels: int) -> Iterator[list[Moment]]:
    """Yield each moment of every episode, until all have ended."""
    env = NavVectorEnv(spec, levels, split=split, level_stride=levels)
    env.set_stage(stage)
    observation = env.reset()
    trails: list[list[tuple[float, float]]] = [[] for _ in range(levels)]
    scenes: list[Level] = [env.level(i) for i in range(levels)]
    outcomes = [UNDER_WAY] * levels
    begins = torch.ones(levels, dtype=torch.bool)
    while UNDER_WAY in outcomes:
        for i in range(levels):
            if outcomes[i] == UNDER_WAY:
                scenes[i] = env.level(i)
                trails[i].append(scenes[i].robot[:2])
        yield list(zip(scenes, map(list, trails), outcomes, strict=True))
        step = env.step(actor(env, observation, begins))
        for i in step.episodes.ended.nonzero().flatten().tolist():
            if outcomes[i] == UNDER_WAY:
                outcomes[i] = (
                    SUCCESS if step.episodes.success[i] else COLLISION if step.episodes.collision[i] else TIMEOUT
                )
        observation, begins = step.observation, step.episodes.ended
    env.close()
    yield list(zip(scenes, trails, outcomes, strict=True))


def _save_moving(path: Path, frames: Sequence[Image.Image]) -> None:
    """Write an animation that goes on for ever; one palette for all, so that what stands still costs nothing."""
    palette = frames[-1].quantize(COLOURS, Image.Quantize.MEDIANCUT)
    first, *rest = (frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames)
    times = [FRAME_MS] * len(rest) + [LAST_MS]
    first.save(path, save_all=True, append_images=rest, duration=times, loop=0, optimize=False)


def sheet(moments: Sequence[Moment], spec: TrainSpec, columns: int, pixels: int) -> Image.Image:
    """Draw episodes in rows of `columns`, each with its outcome and time below, and what the colours mean."""
    assert spec.env.nav is not None
    pictures = [
        framed(
            render(level, trail, pixels, beams=True),
            outcome,
            f"{outcome} · {len(trail) * spec.env.nav.step_seconds:.1f} s",
        )
        for level, trail, outcome in moments
    ]
    tiled = tile(pictures, columns)
    out = Image.new("RGB", (tiled.width, tiled.height + CAPTION), PAPER)
    out.paste(tiled, (0, 0))
    _explain(out, tiled.height, [level for level, _, _ in moments])
    return out


def framed(image: Image.Image, outcome: str, text: str) -> Image.Image:
    """Put a border around a picture that says how the episode ended, and so does the text below."""
    size = (image.width + 2 * BORDER, image.height + 2 * BORDER + CAPTION)
    out = Image.new("RGB", size, FRAME[outcome])
    out.paste(image, (BORDER, BORDER))
    ink = TEXT if outcome in (UNDER_WAY, TIMEOUT) else PAPER
    draw = ImageDraw.Draw(out)
    draw.text((size[0] / 2, size[1] - (CAPTION + BORDER) / 2), text, ink, ImageFont.load_default(13), anchor="mm")
    return out


def _explain(image: Image.Image, top: int, levels: Sequence[Level]) -> None:
    """Write a legend of what is there to see, as far as it fits."""
    keys = {"robot": ROBOT, "its way": TRAIL, "goal": INK["goal"]}
    keys |= {"people": INK["person"]} if any(len(level.people) for level in levels) else {}
    keys |= {"other robots": INK["other robot"]} if any(len(level.others) for level in levels) else {}
    draw, font, x, middle = ImageDraw.Draw(image), ImageFont.load_default(12), 8.0, top + CAPTION / 2
    for name, ink in keys.items():
        end = x + 14 + draw.textlength(name, font)
        if end > image.width:
            break
        draw.ellipse((x, middle - 5, x + 10, middle + 5), fill=ink)
        draw.text((x + 14, middle), name, TEXT, font, anchor="lm")
        x = end + 14


def tile(images: Sequence[Image.Image], columns: int) -> Image.Image:
    """Put pictures in rows of `columns`."""
    width, height = max(i.width for i in images), max(i.height for i in images)
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    out = Image.new("RGB", (columns * (width + BORDER), rows * (height + BORDER)), PAPER)
    for k, image in enumerate(images):
        out.paste(image, (k % columns * (width + BORDER), k // columns * (height + BORDER)))
    return out
