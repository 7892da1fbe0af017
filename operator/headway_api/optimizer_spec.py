"""Samplers and pruners in a study's spec: Optuna's, by the names and defaults of its documentation, and Ray Tune's."""

from __future__ import annotations

from pydantic import Field

from headway_api.base import Contract, Float, Int, OneOf, described


class Tpe(Contract):
    """Tree-structured Parzen estimator (Bergstra et al. 2011), multivariate, with running trials counted as bad."""

    startup_trials: Int = described(10, "Trials at random before the model is asked.", ge=1, le=10000)


class Gp(Contract):
    """Gaussian process with logEI. Needs PyTorch in the study service, which our image has."""

    startup_trials: Int = described(10, "Trials at random before the model is asked.", ge=1, le=10000)


class CmaEs(Contract):
    """CMA-ES (Hansen 2016) for numbers. Its state is made again from the trials: nothing is unpickled."""

    startup_trials: Int = described(1, "Trials at random before the strategy begins.", ge=1, le=10000)


class NsgaII(Contract):
    """NSGA-II (Deb et al. 2002) for several objectives."""

    population: Int = described(50, "Trials of a generation.", ge=2, le=10000)


class NsgaIII(Contract):
    """NSGA-III (Deb and Jain 2014) for many objectives."""

    population: Int = described(50, "Trials of a generation.", ge=2, le=10000)


class Qmc(Contract):
    """Quasi-random Sobol points: more even than random ones."""


class Random(Contract):
    """Independent draws."""


class Grid(Contract):
    """Every point of a finite space, in an order drawn from the seed."""


class Sampler(OneOf):
    """How parameters are chosen. A trial's own seed is a function of the study's seed and its number."""

    tpe: Tpe | None = None
    gp: Gp | None = None
    cma_es: CmaEs | None = None
    nsga_ii: NsgaII | None = None
    nsga_iii: NsgaIII | None = None
    qmc: Qmc | None = None
    random: Random | None = None
    grid: Grid | None = None


class NoPruner(Contract):
    """Every trial runs to its end."""


class Patient(Contract):
    """Stop a trial whose last `patience` + 1 evaluations have brought no new best of its own, whatever others reach."""

    patience: Int = described(3, "Evaluations without a new best that are borne.", ge=0, le=100000)
    min_delta: Float = described(0.0, "What is this much worse than its best is as good as it.", ge=0.0, le=1e12)


class Median(Contract):
    """Stop a trial whose best value so far is worse than the median of earlier trials at the same evaluation."""

    startup_trials: Int = described(5, "Trials that must be complete before any is stopped.", ge=0, le=10000)
    warmup_evaluations: Int = described(0, "Evaluations of a trial before it can be stopped.", ge=0, le=100000)
    patient: Patient | None = described(None, "Stop only who has not improved either.")


class Percentile(Contract):
    """Keep trials among the best so many percent at the same evaluation."""

    percentile: Float = described(25.0, "The share that is kept, in percent.", gt=0.0, lt=100.0)
    startup_trials: Int = described(5, "Trials that must be complete before any is stopped.", ge=0, le=10000)
    warmup_evaluations: Int = described(0, "Evaluations of a trial before it can be stopped.", ge=0, le=100000)
    patient: Patient | None = described(None, "Stop only who has not improved either.")


class SuccessiveHalving(Contract):
    """Asynchronous successive halving, ASHA (Li et al. 2020): at each rung the best 1/reductionFactor go on."""

    min_evaluations: Int = described(1, "Evaluations of the first rung.", ge=1, le=100000)
    reduction_factor: Int = described(3, "Each rung has so many times the evaluations of the one before.", ge=2, le=100)


class Hyperband(Contract):
    """Successive halving in brackets that begin at different rungs (Li et al. 2018); the last one is the whole run."""

    min_evaluations: Int = described(1, "Evaluations of the first rung.", ge=1, le=100000)
    reduction_factor: Int = described(3, "Each rung has so many times the evaluations of the one before.", ge=2, le=100)


class Wilcoxon(Contract):
    """Stop a trial once its seeds are surely worse than the same seeds of the best trial; needs seedsPerTrial."""

    p_threshold: Float = described(0.1, "Stop below this p-value.", gt=0.0, lt=1.0)


class Threshold(Contract):
    """Stop a trial whose value leaves the bounds."""

    lower: Float | None = described(None, "Stop below this.", ge=-1e12, le=1e12)
    upper: Float | None = described(None, "Stop above this.", ge=-1e12, le=1e12)
    warmup_evaluations: Int = described(0, "Evaluations of a trial before it can be stopped.", ge=0, le=100000)


class Pruner(OneOf):
    """Which trials are stopped early. It looks at evaluations on validation levels, and at nothing else."""

    none: NoPruner | None = None
    median: Median | None = None
    percentile: Percentile | None = None
    successive_halving: SuccessiveHalving | None = None
    hyperband: Hyperband | None = None
    wilcoxon: Wilcoxon | None = None
    patient: Patient | None = None
    threshold: Threshold | None = None


class BayesOpt(Contract):
    """Ray's BayesOptSearch: a Gaussian process with upper confidence bounds, over evenly searched real numbers."""

    startup_trials: Int = described(10, "Trials at random before the model is asked.", ge=1, le=10000)


class RaySearcher(OneOf):
    """How parameters are chosen. Optuna's TPE is asked by us: Ray's OptunaSearch takes stopped trials for complete."""

    random: Random | None = None
    bayes_opt: BayesOpt | None = None
    optuna: Tpe | None = None


class Pbt(Contract):
    """Population-based training (Jaderberg et al. 2017): after each generation of all trials, the worst take over a
    checkpoint of one of the best and go on with values near that one's."""

    interval_evaluations: Int = described(1, "Evaluations of a generation.", ge=1, le=100000)
    quantile: Float = described(0.25, "The share that is replaced, and that it is replaced by.", gt=0.0, le=0.5)
    resample_probability: Float = described(0.25, "How often a value is drawn anew instead.", ge=0.0, le=1.0)


class Pb2(Contract):
    """Population-based bandits (Parker-Holder et al. 2020): the same, with values that a Gaussian process chooses."""

    interval_evaluations: Int = described(1, "Evaluations of a generation.", ge=1, le=100000)
    quantile: Float = described(0.25, "The share that is replaced, and that it is replaced by.", gt=0.0, le=0.5)


class RayScheduler(OneOf):
    """Which trials are stopped early, or go on from another's checkpoint."""

    asha: SuccessiveHalving | None = None
    hyperband: Hyperband | None = None
    pbt: Pbt | None = None
    pb2: Pb2 | None = None
    none: NoPruner | None = None


class RayTuneEngine(Contract):
    """Ray Tune: here with `headway study`, in a cluster in one driver pod. One objective, one seed a trial."""

    scheduler: RayScheduler = Field(
        default_factory=lambda: RayScheduler(asha=SuccessiveHalving()),
        description="Which trials are stopped early, or go on from another's checkpoint.",
    )
    searcher: RaySearcher = Field(
        default_factory=lambda: RaySearcher(optuna=Tpe()),
        description="How parameters are chosen; of a population, those that it begins with.",
    )
    address: str = described(
        "",
        "A Ray cluster, host:port; its nodes see the study's folder under the same path and have Headway. Empty: Ray "
        "is started on this machine.",
        max_length=253,
        pattern=r"^([A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?:[0-9]{1,5})?$",
    )
