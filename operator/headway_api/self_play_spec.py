"""Self-play in a spec: which policies drive the other robots while the present one learns."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from headway_api.base import Contract, Float, Int, OneOf, RuleInt, described

EVERY_STEPS: Final = 200_000


class Pool(Contract):
    """Past policies of the run itself: who has only met itself is lost with others."""

    size: Int = described(8, "How many past policies are kept; where one more enters, the oldest leaves.", ge=1, le=64)
    every_steps: RuleInt = described(
        EVERY_STEPS,
        "Environment steps over all ranks between two policies that enter the pool, each at the first update at or "
        "after a multiple of it.",
        ge=1,
        le=10**12,
    )
    opponents: Literal["uniform", "latest", "prioritized"] = described(
        "prioritized",
        "Who of the pool drives: any alike; the newest; or by (1 - p)^2 of the learner's success rate p beside it, at "
        "least 1/100, so that those with whom it fails are met more often (Vinyals et al. 2019, AlphaStar).",
    )
    latest_share: Float = described(
        0.5, "Share of the episodes in which the present policy drives; all of them while the pool is empty.",
        ge=0.0, le=0.95,
    )  # fmt: skip


class Frozen(Contract):
    """One policy that never changes, in every episode."""

    policy: str = Field(
        min_length=1,
        max_length=512,
        description="A step-* folder, a best.safetensors or an output folder of a run with the same network; "
        "absolute, or relative to the trainer's working directory.",
    )


class SelfPlay(OneOf):
    """Who drives the other robots: exactly one.

    Each episode has one driver for all of its other robots. Evaluation is with the present policy.
    """

    pool: Pool | None = Field(None, description="The run's own past policies, and the present one.")
    frozen: Frozen | None = Field(None, description="One policy that never changes.")
