"""Gymnasium environments of other packages in a spec."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from headway_api.base import Contract, Int, described

# Whatever the environment's own constructor takes: plain JSON, checked by it and not by us.
Keywords = Annotated[dict[str, Any], Field(max_length=32, json_schema_extra={"x-headway-form": "opaque"})]


def keywords_field(description: str) -> Any:
    """Return an empty-by-default field of keyword arguments."""
    return described({}, description, max_length=32, json_schema_extra={"x-headway-form": "opaque"})


class GymEnv(Contract):
    """A Gymnasium environment by its id. It cannot give its state, so a resumed run begins new episodes in it."""

    id: str = Field(
        min_length=1,
        max_length=128,
        pattern=r"^([A-Za-z_][A-Za-z0-9_.]*:)?([A-Za-z][A-Za-z0-9_.-]*/)?[A-Za-z][A-Za-z0-9_.-]*-v[0-9]+$",
        description="Its id, such as LunarLander-v3, parking-v0 or headway/IrSim-v0, after the module that registers "
        "it and a colon if Headway does not know it. The package must be installed.",
    )
    kwargs: Keywords = keywords_field("Arguments of its constructor.")
    max_steps: Int = described(
        0, "Steps after which an episode is truncated; 0 keeps the environment's own limit.", ge=0, le=1000000
    )
