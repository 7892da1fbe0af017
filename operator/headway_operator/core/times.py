"""RFC 3339 text and datetimes. The core never looks at a clock: `now` is handed in."""

from __future__ import annotations

from datetime import UTC, datetime


def to_text(moment: datetime) -> str:
    """Return a moment as Kubernetes writes it, in whole seconds: 2026-01-31T12:00:00Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_text(text: str | None) -> datetime | None:
    """Return the moment, or None where there is none or the text is not one (a hand-edited status)."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def duration(seconds: int) -> str:
    """45 -> 45s, 75 -> 1m15s, 3900 -> 1h05m."""
    for unit, below, size, small in (("h", "m", 3600, 60), ("m", "s", 60, 1)):
        if seconds >= size:
            return f"{seconds // size}{unit}{seconds % size // small:02d}{below}"
    return f"{seconds}s"


def seconds_until(moment: datetime, now: datetime) -> float:
    """Return how long to wait for the moment: at least a second, so that skewed clocks cannot make a busy loop."""
    return max(1.0, (moment - now).total_seconds())
