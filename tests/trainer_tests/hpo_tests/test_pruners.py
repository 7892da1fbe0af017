"""Who is stopped, by tables worked out by hand. A run has four evaluations."""

from __future__ import annotations

import pytest
from headway.hpo.core import StudyCore
from headway.hpo.pruners import evaluations_per_run
from trainer_tests.hpo_tests.conftest import KEY, memory, point, study

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def stops(pruner: dict, curves: list[list[float]], seeds: int = 1) -> list[int]:
    """Report the curves one trial after another; where each is told to stop (0: nowhere)."""
    core = StudyCore(memory(), KEY, study(pruner=pruner, seedsPerTrial=seeds, budget={"trials": 50}))
    found = []
    for number, curve in enumerate(curves):
        core.ask(number)
        for index, success in enumerate(curve, start=1):
            if core.report(number, 0, [point(index, success)]):
                found.append(index)
                core.tell(number, "pruned", steps=index)
                break
        else:
            found.append(0)
            core.tell(number, "complete", steps=4)
    return found


def test_a_run_of_4096_steps_with_an_evaluation_every_1024_has_four() -> None:
    assert evaluations_per_run(study()) == 4


def test_the_median_stops_who_is_below_the_middle_of_those_before() -> None:
    curves = [[0.5] * 4, [0.3] * 4, [0.4] * 4, [0.39] * 4, [0.41] * 4]
    # Median of 0.5, 0.3, 0.4 is 0.4: 0.39 is below it at once. Pruned trials count with what they have reached.
    assert stops({"median": {"startupTrials": 3}}, curves) == [0, 0, 0, 1, 0]


def test_the_median_waits_for_its_warm_up() -> None:
    curves = [[0.5] * 4, [0.5] * 4, [0.1] * 4]
    assert stops({"median": {"startupTrials": 2, "warmupEvaluations": 2}}, curves) == [0, 0, 2]


def test_the_best_quarter_goes_on() -> None:
    curves = [[x] * 4 for x in (0.1, 0.2, 0.3, 0.4, 0.35)]
    # The 25 % percentile of the four before is 0.325 from above: 0.35 goes on, 0.3 would not.
    assert stops({"percentile": {"percentile": 25.0, "startupTrials": 4}}, curves) == [0, 0, 0, 0, 0]
    curves[-1] = [0.3] * 4
    assert stops({"percentile": {"percentile": 25.0, "startupTrials": 4}}, curves)[-1] == 1


def test_at_each_rung_of_successive_halving_the_best_half_goes_on() -> None:
    curves = [[0.5] * 4, [0.4] * 4, [0.6] * 4, [0.45] * 4]
    # Rung of 1 evaluation: the first is alone; 0.4 is the worse of two; 0.6 is the best of three; 0.45 is in no half.
    assert stops({"successiveHalving": {"reductionFactor": 2}}, curves) == [0, 1, 0, 1]


def test_a_patient_pruner_stops_who_does_not_get_better_and_compares_with_nobody() -> None:
    curves = [[0.3, 0.5, 0.4, 0.4], [0.1, 0.2, 0.3, 0.4]]
    assert stops({"patient": {"patience": 0}}, curves) == [3, 0]
    assert stops({"patient": {"patience": 1}}, curves) == [4, 0]
    assert stops({"patient": {"patience": 1, "minDelta": 0.2}}, curves) == [0, 0]


def test_with_patience_the_median_lets_go_on_who_still_improves() -> None:
    curves = [[0.5] * 4, [0.5] * 4, [0.1, 0.2, 0.3, 0.4], [0.3, 0.2, 0.1, 0.1]]
    median = {"startupTrials": 2}
    assert stops({"median": median}, curves) == [0, 0, 1, 1]
    assert stops({"median": median | {"patient": {"patience": 0}}}, curves) == [0, 0, 0, 2]
    assert stops({"percentile": median | {"percentile": 50.0, "patient": {"patience": 0}}}, curves) == [0, 0, 0, 2]


def test_a_threshold_stops_who_leaves_the_bounds() -> None:
    assert stops({"threshold": {"lower": 0.2}}, [[0.3, 0.1, 0.5, 0.5], [0.3, 0.4, 0.5, 0.6]]) == [2, 0]
    assert stops({"threshold": {"upper": 0.5}}, [[0.3, 0.6, 0.5, 0.5]]) == [2]


def test_hyperband_stops_some_and_lets_its_last_bracket_be() -> None:
    found = stops({"hyperband": {"reductionFactor": 2}}, [[0.5 - k / 100] * 4 for k in range(40)])
    assert found.count(1) > 5  # of the first bracket
    assert found.count(0) >= 2  # of the last, which never stops anybody


def test_wilcoxon_compares_seed_by_seed() -> None:
    core = StudyCore(memory(), KEY, study(pruner={"wilcoxon": {}}, seedsPerTrial=8, budget={"trials": 2}))
    core.ask(0)
    for seed in range(8):
        core.report(0, seed, [point(4, 0.8 + seed / 100)], ended=True)
    core.tell(0, "complete", steps=0)
    core.ask(1)
    verdicts = [core.report(1, seed, [point(4, 0.3 + seed / 200)], ended=True) for seed in range(8)]
    assert not verdicts[0]  # one seed proves nothing
    assert verdicts[-1]


def test_several_objectives_are_never_stopped() -> None:
    two = [{"metric": "successRate", "direction": "maximize"}, {"metric": "spl", "direction": "maximize"}]
    core = StudyCore(memory(), KEY, study(objectives=two))
    core.ask(0)
    assert not core.report(0, 0, [point(1, 0.0, spl=0.0)])


@pytest.mark.parametrize("seed_index", [-1, 2])
def test_a_seed_that_there_is_not_is_refused(seed_index: int) -> None:
    core = StudyCore(memory(), KEY, study(seedsPerTrial=2))
    core.ask(0)
    with pytest.raises(IndexError, match="the trial has 2"):
        core.report(0, seed_index, [point(1)])
