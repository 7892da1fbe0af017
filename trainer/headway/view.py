"""What a person sees of a run, as words: the same for the live view, the plain one and the tests. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from headway_api.curriculum_spec import Gate
from headway_api.progress import CurriculumProgress, Goodput, Progress
from headway_api.training_run import TrainingRun

from headway.units import count, percent, short_duration

STARTING = "starting… (the first time takes up to a minute: the environment is compiled)"
SAVING = "saving… (Ctrl-C again leaves at once, without saving)"


@dataclass(frozen=True)
class View:
    """One moment of a run."""

    run: TrainingRun
    seconds: float  # since the command was started
    progress: Progress | None = None  # of this attempt
    saving: bool = False

    @property
    def curriculum(self) -> CurriculumProgress | None:
        """Where the run stands in its curriculum."""
        return self.progress.curriculum if self.progress else None

    @property
    def stage_name(self) -> str:
        """Name of the present stage."""
        return self.curriculum.stage_name if self.curriculum else ""

    @property
    def stage(self) -> int:
        """Number of the present stage, from 1."""
        return self.curriculum.stage if self.curriculum else 1

    @property
    def stages(self) -> list[str]:
        """Names of all stages."""
        return [stage.name for stage in self.run.spec.train.curriculum.stages]

    @property
    def gate(self) -> Gate:
        """What the present stage's gate wants."""
        return self.run.spec.train.curriculum.stages[self.stage - 1].gate

    @property
    def passed(self) -> bool:
        """Say whether the last gate has passed."""
        return bool(self.curriculum and self.curriculum.passed)

    @property
    def behind(self) -> int:
        """Number of the last stage that is behind the run, 0: none. A manual schedule has no stages before its own."""
        if self.passed:
            return self.stage
        return 0 if self.run.spec.train.curriculum.schedule.manual else self.stage - 1

    @property
    def demotions(self) -> int:
        """How often the run was led back."""
        return self.curriculum.demotions if self.curriculum else 0

    @property
    def success(self) -> float | None:
        """Success rate over the gate's window; None while no episode has ended."""
        return self.curriculum.success_rate if self.curriculum else None

    @property
    def sure(self) -> float:
        """The lower end of its interval: what the gate looks at."""
        return self.metric("curriculum/gate_lower_bound") or 0.0

    @property
    def episodes(self) -> tuple[int, int]:
        """Episodes in the gate's window, and how many it needs."""
        return int(self.metric("curriculum/gate_episodes") or 0), self.gate.episodes

    def metric(self, name: str) -> float | None:
        """Return a metric of the newest report."""
        return self.progress.metrics.get(name) if self.progress else None


def gate_words(view: View) -> str:
    """Say how the gate stands: `gate 80 % · surely 68 %`, and so on for everything that it asks for."""
    gate, (have, want) = view.gate, view.episodes
    full = have >= want
    words = []
    if gate.success_rate > 0:
        words += [f"gate {percent(gate.success_rate)}", *([f"surely {percent(view.sure)}"] if full else [])]
    if gate.collision_rate < 1:
        bound = f", surely {percent(view.metric('curriculum/gate_collision_bound') or 0.0)}" if full else ""
        words.append(f"collisions at most {percent(gate.collision_rate)}{bound}")
    if gate.reward is not None:
        mean = view.curriculum.reward if view.curriculum else None
        words.append(f"reward {gate.reward:g}" + ("" if mean is None else f", now {mean:.2f}"))
    if 0 < have < want:
        words.append(f"{count(have)} of {count(want)} episodes")
    return " · ".join(words)


def figures(view: View) -> list[str]:
    """Return the small figures of one moment, most important first."""
    if view.progress is None:
        return []
    words = [f"{count(view.progress.steps_per_second)} steps/s"]
    if view.progress.eta:
        words.append(f"at most {view.progress.eta} left" if _may_end_early(view) else f"{view.progress.eta} left")
    if (reward := view.metric("episodes/reward")) is not None:
        words.append(f"reward {reward:.2f}")
    collisions = view.metric("episodes/collision_rate")
    if collisions is not None and view.success is not None:  # else nobody says what a collision is
        words.append(f"collisions {percent(collisions)}")
    words += self_play_words(view)
    if view.demotions:
        words.append(f"{view.demotions} demotion{'s' if view.demotions > 1 else ''}")
    if view.progress.goodput is not None:
        words.append(f"goodput {percent(view.progress.goodput.fraction)}")
    return words


def self_play_words(view: View) -> list[str]:
    """Say how self-play stands: `rating 1,043 (8 in the pool, 72 % won)`; nothing without it."""
    rating, won = view.metric("selfplay/rating"), view.metric("selfplay/win_rate")
    if rating is None:
        return []
    beside = "" if won is None else f", {percent(won)} won"
    return [f"rating {count(round(rating))} ({count(int(view.metric('selfplay/pool') or 0))} in the pool{beside})"]


def goodput_words(goodput: Goodput) -> str:
    """Say what of the time was useful, and where at least a second of the rest went: `93 % of 2m10s: start-up 6s`."""
    lost = {
        "start-up": goodput.start_up_seconds,
        "recompute": goodput.recompute_seconds,
        "checkpoints": goodput.checkpointing_seconds,
        "waiting": goodput.waiting_seconds,
    }
    told = ", ".join(f"{part} {short_duration(seconds)}" for part, seconds in lost.items() if seconds >= 1)
    total = goodput.useful_seconds + sum(lost.values())
    return f"{percent(goodput.fraction)} of {short_duration(total)}" + (f": {told}" if told else "")


def _may_end_early(view: View) -> bool:
    return view.run.spec.train.curriculum.stop_after_last_gate


def plain_line(view: View) -> str:
    """Return one moment as one line, for logs, notebooks and CI."""
    clock = f"{short_duration(view.seconds):>6}"
    if view.progress is None:
        return f"{clock}  {STARTING}"
    if view.saving:
        return f"{clock}  saving"
    success = "" if view.success is None else f"success {percent(view.success)}"
    rates = ", ".join(filter(None, [success, gate_words(view)]))
    where = f"stage {view.stage}/{len(view.stages)} {view.stage_name}"
    steps = f"step {count(view.progress.step)} of {count(view.progress.total_steps)} ({view.progress.percent} %)"
    return "  ".join([clock, where, rates, steps, *figures(view)])
