"""HPOStudy: a search over TrainingRuns. Trials are child runs; their history lives in the study service's storage."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from headway_api import names
from headway_api.base import Contract, Float, Int, OneOf, Rule, RuleInt, described
from headway_api.optimizer_spec import Hyperband, Pruner, RayTuneEngine, Sampler, Tpe
from headway_api.ray_rules import RAY_RULES
from headway_api.search_space import Parameter
from headway_api.training_run import Condition, Metadata, TrainingRunSpec

# A metric of an evaluation on validation levels, by its name in the spec; `evaluation/…` in metrics.jsonl.
METRICS = {
    "successRate": "evaluation/success_rate",
    "collisionRate": "evaluation/collision_rate",
    "timeoutRate": "evaluation/timeout_rate",
    "reward": "evaluation/reward",
    "spl": "evaluation/spl",
    "seconds": "evaluation/seconds",
}
Metric = Literal["successRate", "collisionRate", "timeoutRate", "reward", "spl", "seconds"]


class Objective(Contract):
    """What a trial is judged by: its last evaluation on validation levels. Test levels have no part in a study."""

    metric: Metric = Field(description="The metric; a mean over the trial's seeds.")
    direction: Literal["maximize", "minimize"] = Field(description="Which way is better.")


class Constraint(Contract):
    """A bound that a trial must keep to count as best; samplers that can are told how far it is from it."""

    metric: Metric = Field(description="The metric; a mean over the trial's seeds.")
    at_most: Float | None = Field(None, ge=-1e9, le=1e9, description="Not more than this.")
    at_least: Float | None = Field(None, ge=-1e9, le=1e9, description="Not less than this.")
    rules = (
        Rule(
            "has(self.atMost) != has(self.atLeast)",
            lambda m: (m.at_most is None) != (m.at_least is None),
            "set exactly one of: atMost, atLeast",
        ),
    )


class Budget(Contract):
    """When the study ends. What runs then is stopped, saved and told to the storage as far as it came."""

    trials: RuleInt = Field(ge=1, le=10000, description="Trials in all: complete, pruned and failed ones count.")
    parallel: RuleInt = described(1, "Trials at a time.", ge=1, le=256)
    failed: Int | None = Field(None, ge=1, le=10000, description="The study fails once so many trials have failed.")
    seconds: Int | None = Field(None, ge=1, le=10**9, description="Wall-clock seconds since the study began.")
    steps: Int | None = Field(None, ge=1, le=10**15, description="Environment steps of all trials together.")
    rules = (
        Rule(
            "self.parallel <= self.trials",
            lambda m: m.parallel <= m.trials,
            "parallel must be at most trials",
            "parallel",
        ),
    )


class OptunaEngine(Contract):
    """Optuna, asked and told by us."""

    sampler: Sampler = Field(default_factory=lambda: Sampler(tpe=Tpe()), description="How parameters are chosen.")
    pruner: Pruner = Field(
        default_factory=lambda: Pruner(hyperband=Hyperband()), description="Which trials are stopped early."
    )


class Engine(OneOf):
    """What searches."""

    optuna: OptunaEngine | None = None
    ray_tune: RayTuneEngine | None = None


class WarmStart(Contract):
    """What is taken from an earlier study of the same namespace. Its objectives must be the same."""

    study: str = Field(
        min_length=1, max_length=names.MAX_STUDY_NAME, pattern=names.OBJECT_NAME, description="Name of that study."
    )
    history: bool = described(
        True, "The sampler knows its finished trials, as far as they fit the space; they count to no budget."
    )
    best: Int = described(0, "So many of its best points are tried first.", ge=0, le=1000)


class HPOStudySpec(Contract):
    """What to search, by which means, and over which run."""

    parameters: list[Parameter] = Field(
        min_length=1, max_length=32, description="The space: fields of the run and what they may be."
    )
    objectives: list[Objective] = Field(min_length=1, max_length=4, description="What is to become better.")
    constraints: list[Constraint] = described([], "Bounds that the best must keep.", max_length=8)
    budget: Budget = Field(description="When the study ends.")
    seed: Int = described(0, "Seed of the search and of the trials' training.", ge=0, le=2**31 - 1)
    seeds_per_trial: RuleInt = described(
        1, "Runs of each trial, one after the other, each with a seed of its own; their mean counts.", ge=1, le=16
    )
    engine: Engine = Field(
        default_factory=lambda: Engine(optuna=OptunaEngine()), description="What searches: Optuna's TPE and Hyperband."
    )
    warm_start: WarmStart | None = Field(None, description="What is taken from an earlier study.")
    trial_history_limit: Int = described(
        10, "Finished runs that stay in the cluster; their results stay in the storage anyway.", ge=0, le=10000
    )
    suspend: bool = described(False, "Stop the trials, keeping their checkpoints; false again goes on.")
    run_template: TrainingRunSpec = Field(description="The run that every trial is a variation of.")

    rules = (
        Rule(
            "self.objectives.all(o, self.objectives.exists_one(p, p.metric == o.metric))",
            lambda m: len({o.metric for o in m.objectives}) == len(m.objectives),
            "each metric can be an objective once",
            "objectives",
        ),
        Rule(
            "self.parameters.all(p, self.parameters.exists_one(q, q.path == p.path))",
            lambda m: len({p.path for p in m.parameters}) == len(m.parameters),
            "each path can stand in the list once",
            "parameters",
        ),
        Rule(
            "self.objectives.size() == 1 || !has(self.engine.optuna) || has(self.engine.optuna.pruner.none)",
            lambda m: len(m.objectives) == 1 or not m.engine.optuna or m.engine.optuna.pruner.none is not None,
            "a study with several objectives cannot prune: set engine.optuna.pruner: {none: {}}",
            "engine",
        ),
        Rule(
            "self.objectives.size() == 1 || !has(self.engine.optuna) || !has(self.engine.optuna.sampler.cmaEs)",
            lambda m: len(m.objectives) == 1 or not m.engine.optuna or m.engine.optuna.sampler.cma_es is None,
            "CMA-ES knows one objective: choose tpe, gp or nsgaIi",
            "engine",
        ),
        Rule(
            "!has(self.engine.optuna) || !has(self.engine.optuna.sampler.cmaEs) || "
            "self.parameters.all(p, !has(p.categorical) && !has(p.when))",
            lambda m: (
                not m.engine.optuna
                or m.engine.optuna.sampler.cma_es is None
                or all(p.categorical is None and p.when is None for p in m.parameters)
            ),
            "CMA-ES knows numbers only, and no when: choose tpe or gp",
            "engine",
        ),
        Rule(
            "!has(self.engine.optuna) || !has(self.engine.optuna.sampler.grid) || "
            "self.parameters.all(p, !has(p.float) || has(p.float.step))",
            lambda m: (
                not m.engine.optuna
                or m.engine.optuna.sampler.grid is None
                or all(p.float_ is None or p.float_.step is not None for p in m.parameters)
            ),
            "a grid needs a step in every float",
            "engine",
        ),
        Rule(
            "!has(self.engine.optuna) || !has(self.engine.optuna.pruner.wilcoxon) || self.seedsPerTrial > 1",
            lambda m: not m.engine.optuna or m.engine.optuna.pruner.wilcoxon is None or m.seeds_per_trial > 1,
            "the Wilcoxon pruner compares seeds: seedsPerTrial must be above 1",
            "engine",
        ),
        *RAY_RULES,
        Rule(
            "!self.runTemplate.suspend",
            lambda m: not m.run_template.suspend,
            "suspend the study, not its template",
            "runTemplate",
        ),
    )


# What may change after creation; a search cannot honour a change of the rest midway.
MUTABLE_STUDY_FIELDS = frozenset({"suspend", "budget", "trialHistoryLimit"})


class TrialCounts(Contract):
    """How many trials are in which state."""

    total: Int = described(0, "Trials that the budget allows.", ge=0)
    running: Int = described(0, "Trials that run or wait for pods.", ge=0)
    complete: Int = described(0, "Trials that ran to their end.", ge=0)
    pruned: Int = described(0, "Trials that were stopped early.", ge=0)
    failed: Int = described(0, "Trials that ended without a result.", ge=0)

    @property
    def finished(self) -> int:
        """Trials that are over."""
        return self.complete + self.pruned + self.failed


class BestTrial(Contract):
    """A trial that no other is better than."""

    number: Int = Field(ge=0, description="Number of the trial, from 0.")
    run: str = Field(max_length=63, description="Name of its run.")
    values: dict[str, Float] = Field(max_length=4, description="Its objectives.")
    parameters: dict[str, Any] = Field(
        max_length=32, description="Its parameters, by path.", json_schema_extra={"x-headway-form": "opaque"}
    )


class HPOStudyStatus(Contract):
    """Observed state: counts and the best. Every trial with all its values is in the study service's storage."""

    observed_generation: Int = described(0, "Generation of the spec that this is about; -1 before the first.", ge=-1)
    phase: str = described("", "For people; programs read conditions.", max_length=32)
    conditions: list[Condition] = Field(
        default_factory=list,
        max_length=16,
        description="By type: SpecValid, Ready, Reconciling, Stalled, Suspended, Succeeded, Failed, Finished.",
        json_schema_extra={"x-headway-map-keys": ["type"]},
    )
    trials: TrialCounts = described(TrialCounts(), "How many trials are in which state.")
    finished: str = described("", "Finished trials of all, for people, e.g. 7/24.", max_length=16)
    best: list[BestTrial] = Field(
        default_factory=list, max_length=16, description="The best trial; of several objectives, the Pareto front."
    )
    best_value: str = described("", "Objectives of the best, for people.", max_length=64)
    steps: Int = described(0, "Environment steps of all trials together.", ge=0)
    eta_seconds: Int | None = Field(None, ge=0, description="Seconds to the last trial, at the present speed.")
    eta: str = described("", "The same for people, e.g. 1h05m.", max_length=16)
    runs: list[Annotated[str, Field(max_length=63)]] = described(
        [], "Runs that were there and had not ended when last seen.", max_length=256
    )
    start_time: str = described("", "When the first trial was asked for, RFC 3339.", max_length=40)
    completion_time: str = described("", "When the study finished, RFC 3339.", max_length=40)

    def condition(self, kind: str) -> Condition | None:
        """Return the condition of that type, or None."""
        return next((c for c in self.conditions if c.type == kind), None)

    def is_true(self, kind: str) -> bool:
        """Say whether the condition of that type is there and true."""
        condition = self.condition(kind)
        return condition is not None and condition.status == "True"


class StudyMetadata(Metadata):
    """Metadata with a name short enough for the names of its runs."""

    name: str = Field(
        min_length=1,
        max_length=names.MAX_STUDY_NAME,
        pattern=names.OBJECT_NAME,
        description="Name of the study: lower-case letters, digits and -, beginning with a letter.",
    )


class HPOStudy(Contract):
    """An HPOStudy object."""

    api_version: Literal["headway.dev/v1alpha1"] = Field(description="headway.dev/v1alpha1")
    kind: Literal["HPOStudy"] = Field(description="HPOStudy")
    metadata: StudyMetadata
    spec: HPOStudySpec
    status: HPOStudyStatus | None = None

    def with_status(self, **changes: Any) -> HPOStudy:
        """Return a copy with some top-level status fields replaced."""
        status = (self.status or HPOStudyStatus()).model_copy(update=changes)
        return self.model_copy(update={"status": status})
