"""A study in a world of two dictionaries: the service's trials and the cluster's runs. State in, state out."""

from __future__ import annotations

from typing import Any

from core_tests.makers import NOW, text
from headway_api import names
from headway_api.hpo_study import BestTrial, HPOStudy, TrialCounts
from headway_api.study_wire import StudySnapshot, TrialRow
from headway_operator.core.reconcile_study import Away, reconcile_study
from headway_operator.core.study_plan import StudyPlan, observe_trials
from specs import small_study

UID = "22222222-2222-4222-8222-222222222222"


def make_study(**spec: Any) -> HPOStudy:
    document = small_study(**spec)
    document["metadata"] |= {"namespace": "team", "uid": UID, "generation": 1}
    return HPOStudy.model_validate(document, by_alias=True, by_name=False)


class World:
    """Executes plans; may stop after any number of actions, as an operator that is killed does."""

    def __init__(self, study: HPOStudy) -> None:
        self.study, self.now = study, NOW
        self.open: dict[int, int] = {}  # seeds ended by number
        self.told: dict[int, tuple[str, int, str]] = {}
        self.tells: list[int] = []  # those that changed something
        self.runs: dict[str, dict[str, Any]] = {}
        self.config_maps: dict[str, str] = {}
        self.is_away = False
        self.last = StudyPlan()

    def service(self) -> StudySnapshot | Away:
        """What the service answers."""
        if self.is_away:
            return Away("connection refused")
        outcomes = [outcome for outcome, _, _ in self.told.values()]
        counts = {kind: outcomes.count(kind) for kind in ("complete", "pruned", "failed")}
        rows = [TrialRow(number=n, values=self.values(n), seeds_done=s) for n, s in sorted(self.open.items())]
        best = [n for n, (outcome, _, _) in sorted(self.told.items()) if outcome == "complete"][:1]
        return StudySnapshot(
            trials=TrialCounts(total=self.study.spec.budget.trials, running=len(rows), **counts),
            running=rows,
            finished={str(n): outcome for n, (outcome, _, _) in self.told.items()},
            best=[BestTrial(number=n, run="", values={"successRate": 0.5}, parameters=self.values(n)) for n in best],
            steps=sum(steps for _, steps, _ in self.told.values()),
            seconds=60.0 if self.told else 0.0,
        )

    def values(self, number: int) -> dict[str, Any]:
        return {"train.algo.ppo.learningRate": 1e-3 + 1e-5 * number}

    def step(self, at_most: int = 1000) -> StudyPlan:
        """One pass, of which only the first actions are done."""
        seen = observe_trials(UID, self.runs.values())
        plan = reconcile_study(self.study, seen, None, self.now)
        if plan.open:
            plan = reconcile_study(self.study, seen, self.service(), self.now)
        for action in self._actions(plan)[:at_most]:
            action()
        self.last = plan
        return plan

    def end(self, name: str, reason: str = names.REASON_SUCCEEDED, steps: int = 4096) -> None:
        """End a run."""
        kind = {names.REASON_SUCCEEDED: [names.SUCCEEDED], names.REASON_FAILED: [names.FAILED]}.get(reason, [])
        conditions = [
            {"type": k, "status": "True", "reason": reason, "message": "boom", "lastTransitionTime": text(self.now)}
            for k in [*kind, names.FINISHED]
        ]
        progress = {"step": steps, "totalSteps": 4096, "percent": 100}
        self.runs[name]["status"] = {
            "conditions": conditions, "progress": progress, "completionTime": text(self.now)
        }  # fmt: skip

    def active(self) -> list[str]:
        return sorted(name for name, run in self.runs.items() if not (run.get("status") or {}).get("completionTime"))

    def _actions(self, plan: StudyPlan) -> list[Any]:
        actions: list[Any] = []
        actions += [lambda r=r: self.end_seed(r.number, r.seed_index) for r in plan.ended]
        actions += [lambda t=t: self.tell(t) for t in plan.tell]
        actions += [lambda n=n: self.ask(n) for n in plan.ask]
        actions += [lambda m=m: self._create(m) for m in plan.create]
        actions += [lambda r=r, w=w: self.runs[r.name]["spec"].update(suspend=w) for r, w in plan.suspend]
        actions += [
            lambda m=m: self.config_maps.update({m["metadata"]["name"]: m["data"]["trainingrun.yaml"]})
            for m in plan.apply
        ]
        if plan.status is not None:
            actions.append(lambda: setattr(self, "study", self.study.model_copy(update={"status": plan.status})))
        actions += [lambda d=d: self.runs.pop(d.name) for d in plan.delete]
        return actions

    def ask(self, number: int) -> None:
        if number not in self.told:
            self.open.setdefault(number, 0)

    def end_seed(self, number: int, seed_index: int) -> None:
        self.open[number] = max(self.open[number], seed_index + 1)

    def tell(self, tell: Any) -> None:
        if tell.number not in self.told:
            self.told[tell.number] = (tell.outcome, tell.steps, tell.reason)
            self.tells.append(tell.number)
            self.open.pop(tell.number)

    def _create(self, manifest: dict[str, Any]) -> None:
        name = manifest["metadata"]["name"]
        self.runs.setdefault(name, {**manifest, "metadata": {**manifest["metadata"], "uid": f"uid-{name}"}})
