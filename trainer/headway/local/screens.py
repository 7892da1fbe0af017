"""The two ways to show a run: a few calm lines that stay in place on a terminal, or one line every few seconds."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from headway.units import count, percent, short_duration
from headway.view import SAVING, STARTING, View, figures, gate_words, plain_line

PLAIN_SECONDS = 5.0
BAR = 32  # characters


class Screen(Protocol):
    """Shows moments of a run between `with` and its end."""

    def show(self, view: View) -> None:
        """Show the present moment, in place of the last."""
        ...

    def say(self, text: str, style: str = "") -> None:
        """Print a line that stays."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...


class PlainScreen:
    """For logs, notebooks and CI: a line every few seconds, and at once when something happens."""

    def __init__(self, console: Console, every_seconds: float = PLAIN_SECONDS) -> None:
        self._console = console
        self._every_seconds = every_seconds
        self._next = 0.0
        self._kind: tuple[bool, bool, str] | None = None
        self._number = 0  # of the report that was last printed

    def show(self, view: View) -> None:
        """Print the moment if it is of another kind than the last, or if it is new and it is time."""
        kind = (view.progress is not None, view.saving, view.stage_name)
        number = view.progress.number if view.progress and not view.saving else self._number
        now = time.monotonic()
        if kind != self._kind or (number != self._number and now >= self._next):
            self._kind, self._number, self._next = kind, number, now + self._every_seconds
            self.say(plain_line(view))

    def say(self, text: str, style: str = "") -> None:
        """Print one line, however long."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass


class LiveScreen:
    """For terminals: lines that stay in place while figures change, below the lines that were said."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def show(self, view: View) -> None:
        """Redraw."""
        self._live.update(render(view), refresh=True)

    def say(self, text: str, style: str = "") -> None:
        """Print above the lines that stay in place."""
        self._console.print(Text(text, style), soft_wrap=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()


def render(view: View) -> Group | Text:
    """Return the lines for a terminal."""
    if view.progress is None:
        words = SAVING if view.saving else STARTING
        return Text(f"\n {short_duration(view.seconds):>4}  {words}", "dim", no_wrap=True, overflow="ellipsis")
    table = Table.grid(padding=(0, 2, 0, 0), expand=True)
    table.add_column(width=9)
    table.add_column(width=BAR)
    table.add_column(width=5, justify="right")
    table.add_column(ratio=1, overflow="ellipsis", no_wrap=True)  # the one that a narrow terminal cuts
    success = view.success or 0.0
    share = view.progress.step / max(1, view.progress.total_steps)
    wanted = view.gate.success_rate
    table.add_row(
        Text(" success"), bar(success, "green" if view.sure >= wanted else "cyan", wanted or None),
        percent(success), Text(gate_words(view), "dim"),
    )  # fmt: skip
    table.add_row(
        Text(" steps"), bar(share, "blue"), percent(share),
        Text(f"{count(view.progress.step)} of {count(view.progress.total_steps)}", "dim"),
    )  # fmt: skip
    last = Text(f" {SAVING}", "yellow") if view.saving else Text(" " + " · ".join(figures(view)), "dim")
    lines = (Text(), stage_dots(view), table, last)
    for line in lines:
        if isinstance(line, Text):
            line.no_wrap, line.overflow = True, "ellipsis"  # a line that wrapped would move all others
    return Group(*lines)


def stage_dots(view: View) -> Text:
    """Return the stages as a path: passed, present, to come."""
    text = Text(" ")
    for number, name in enumerate(view.stages, start=1):
        if number <= view.behind:
            text.append(f"● {name}", "green")
        elif number == view.stage:
            text.append("◐ ", "bold cyan").append(name, "bold")
        else:
            text.append(f"○ {name}", "dim")
        text.append("   ")
    return text.append(short_duration(view.seconds), "dim")


def bar(share: float, colour: str, mark: float | None = None) -> Text:
    """Return a bar of `BAR` characters, filled to `share`, with a mark to be reached."""
    filled = round(min(1.0, max(0.0, share)) * BAR)
    text = Text("━" * filled, colour).append("─" * (BAR - filled), "grey30")
    if mark is None:
        return text
    at = min(BAR - 1, round(mark * BAR))
    return Text.assemble(text[:at], ("┃", "bold"), text[at + 1 :])
