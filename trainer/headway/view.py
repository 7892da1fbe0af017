"""What a person sees of a run, as words: the same for the live view, the plain one and the tests. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from headway_api.progress import Progress
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
    def stage_name(self) -> str:
        """Name of the present stage."""
        return self.progress.curriculum.stage_name if self.progress and self.progress.curriculum else ""

    @property
    def stage(self) -> int:
        """Number of the present stage, from 1."""
        return self.progress.curriculum.stage if self.progress and self.progress.curriculum else 1

    @property
    def stages(self) -> list[str]:
        """Names of all stages."""
        return [stage.name for stage in self.run.spec.train.curriculum.stages]

    @property
    def gate(self) -> float:
        """Success rate that the present stage's gate wants."""
        return self.run.spec.train.curriculum.stages[self.stage - 1].gate.success_rate

    @property
    def passed(self) -> bool:
        """Say whether every gate has passed."""
        return bool(self.progress and self.progress.curriculum and self.progress.curriculum.passed)

    @property
    def success(self) -> float | None:
        """Success rate over the gate's window; None while no episode has ended."""
        return self.progress.curriculum.success_rate if self.progress and self.progress.curriculum else None

    @property
    def sure(self) -> float:
        """The lower end of its interval: what the gate looks at."""
        return self.metric("curriculum/gate_lower_bound") or 0.0

    @property
    def episodes(self) -> tuple[int, int]:
        """Episodes in the gate's window, and how many it needs."""
        wanted = self.run.spec.train.curriculum.stages[self.stage - 1].gate.episodes
        return int(self.metric("curriculum/gate_episodes") or 0), wanted

    def metric(self, name: str) -> float | None:
        """Return a metric of the newest report."""
        return self.progress.metrics.get(name) if self.progress else None


def gate_words(view: View) -> str:
    """Say how the gate stands: `success 71 %, surely 68 %, of 80 %`."""
    if view.success is None:
        return f"gate {percent(view.gate)}"
    have, want = view.episodes
    if have < want:
        return f"gate {percent(view.gate)} · {count(have)} of {count(want)} episodes"
    return f"gate {percent(view.gate)} · surely {percent(view.sure)}"


def figures(view: View) -> list[str]:
    """Return the small figures of one moment, most important first."""
    if view.progress is None:
        return []
    words = [f"{count(view.progress.steps_per_second)} steps/s"]
    if view.progress.eta:
        words.append(f"at most {view.progress.eta} left" if _may_end_early(view) else f"{view.progress.eta} left")
    if (reward := view.metric("episodes/reward")) is not None:
        words.append(f"reward {reward:.2f}")
    if (collisions := view.metric("episodes/collision_rate")) is not None:
        words.append(f"collisions {percent(collisions)}")
    return words


def _may_end_early(view: View) -> bool:
    return view.run.spec.train.curriculum.stop_after_last_gate


def plain_line(view: View) -> str:
    """Return one moment as one line, for logs, notebooks and CI."""
    clock = f"{short_duration(view.seconds):>6}"
    if view.progress is None:
        return f"{clock}  {STARTING}"
    if view.saving:
        return f"{clock}  saving"
    success = "" if view.success is None else f"success {percent(view.success)}, "
    where = f"stage {view.stage}/{len(view.stages)} {view.stage_name}"
    steps = f"step {count(view.progress.step)} of {count(view.progress.total_steps)} ({view.progress.percent} %)"
    return "  ".join([clock, where, success + gate_words(view), steps, *figures(view)])
