"""The `headway` command. Everything heavy is imported by the command that needs it: help must come at once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from rich.console import Console

DESCRIPTION = "Reinforcement learning for robot navigation, from a laptop to a GPU cluster."
NO_TERMINAL_WIDTH = 120  # of tables in logs and pipes
EXAMPLES = """\
examples:
  headway run configs/default.yaml                           train here; run it again to go on after Ctrl-C
  headway run configs/default.yaml --set train.seed=1 --out runs/seed-1
  headway eval runs/nav-ppo                                  score the policy on levels it has never seen
  kubectl apply -f configs/default.yaml                      train the same file on a cluster
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 2, with one message and no traceback, for what the user can mend."""
    options = _parser().parse_args(argv)
    try:
        return int(options.command(options))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `headway eval … | head`
        sys.stderr.close()
        return 141
    except Exception as error:
        from headway_api.load import SpecError

        from headway.errors import UserError

        if not isinstance(error, UserError | SpecError):
            raise
        for line in str(error).splitlines():
            print(f"error: {line}", file=sys.stderr)
        return 2


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors look like all our others."""

    def error(self, message: str) -> NoReturn:
        print(f"error: {message}: see `{self.prog} --help`", file=sys.stderr)
        raise SystemExit(2)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="headway", description=DESCRIPTION, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"headway {version('headway')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=_Parser)
    _add_run(commands.add_parser("run", help="train a TrainingRun file on this machine"))
    _add_study(commands.add_parser("study", help="search hyperparameters on this machine"))
    _add_studies(commands.add_parser("studies", help="serve studies to a cluster, or look at them"))
    _add_eval(commands.add_parser("eval", help="score a trained policy on test levels, beside baselines"))
    _add_bench(commands.add_parser("bench", help="measure how fast this machine is"))
    _add_worker(commands.add_parser("worker", help="what a pod of a cluster runs: not for people"))
    info = commands.add_parser("info", help="versions, cores, GPUs, and what is not installed")
    info.set_defaults(command=_info)
    return parser


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.description = "Train a TrainingRun file on this machine. The same command again goes on where it stopped."
    parser.add_argument("spec", metavar="SPEC", type=Path, help="the TrainingRun, as YAML or JSON")
    parser.add_argument(
        "--set", dest="sets", metavar="PATH=VALUE", action="append", default=[],
        help="change a field below spec, e.g. train.algo.ppo.learningRate=3e-4 or train.curriculum.stages[0].name=a",
    )  # fmt: skip
    parser.add_argument("--out", metavar="DIR", type=Path, help="output folder (default: runs/<name>)")
    parser.add_argument(
        "--resume", metavar="auto|never|PATH", help="from the newest checkpoint (auto), anew, or from a checkpoint"
    )
    parser.add_argument(
        "--accept-changes", action="store_true", help="go on from a checkpoint of another spec, where its state fits"
    )
    parser.add_argument("--nodes", metavar="N", type=int, help="times --processes: ranks on this machine (default: 1)")
    parser.add_argument("--processes", metavar="N", type=int, help="ranks (default: the file's processesPerNode)")
    parser.add_argument("--budget", metavar="TIME", help="save and leave before this much time is over, e.g. 11h30m")
    parser.add_argument("--dry-run", action="store_true", help="print the object, defaults included, and train nothing")
    parser.add_argument("--plain", action="store_true", help="lines instead of a live view (the default off terminals)")
    parser.set_defaults(command=_run)


def _add_study(parser: argparse.ArgumentParser) -> None:
    parser.description = "Search the space of an HPOStudy file on this machine. The same command again goes on."
    parser.add_argument("spec", metavar="SPEC", type=Path, help="the HPOStudy, as YAML or JSON")
    parser.add_argument(
        "--set", dest="sets", metavar="PATH=VALUE", action="append", default=[],
        help="change a field below spec, e.g. runTemplate.train.totalSteps=1000000",
    )  # fmt: skip
    parser.add_argument("--trials", metavar="N", type=int, help="trials in all (default: the file's budget.trials)")
    parser.add_argument("--parallel", metavar="N", type=int, help="at a time (default: the file's budget.parallel)")
    parser.add_argument("--out", metavar="DIR", type=Path, help="output folder (default: runs/<name>)")
    parser.add_argument("--budget", metavar="TIME", help="save and leave before this much time is over, e.g. 11h30m")
    parser.add_argument("--engine", choices=["optuna", "raytune"], help="what searches (default: the file's engine)")
    parser.add_argument("--plain", action="store_true", help="lines instead of a live view (the default off terminals)")
    parser.set_defaults(command=_study)


def _add_studies(parser: argparse.ArgumentParser) -> None:
    roles = parser.add_subparsers(title="roles", metavar="ROLE", required=True, parser_class=_Parser)
    serve = roles.add_parser("serve", help="the study service of a cluster: the operator's calls, Optuna's storage")
    serve.add_argument("--listen", metavar="HOST:PORT", default="0.0.0.0:8444", help="calls (default: 0.0.0.0:8444)")
    serve.add_argument("--grpc-listen", metavar="HOST:PORT", help="Optuna's storage protocol (default: not served)")
    serve.add_argument("--tls-dir", metavar="DIR", type=Path, required=True, help="has tls.crt and tls.key, or will")
    who = serve.add_mutually_exclusive_group(required=True)
    who.add_argument(
        "--operator-account", metavar="NS/NAME", help="the operator's ServiceAccount; TokenReview is asked"
    )
    who.add_argument("--token-file", metavar="FILE", type=Path, help="fixed tokens: see docs/studies.md")
    serve.set_defaults(command=_studies_serve)
    dashboard = roles.add_parser("dashboard", help="optuna-dashboard over a storage, for looking only")
    dashboard.add_argument("--listen", metavar="HOST:PORT", default="127.0.0.1:8080", help="default: 127.0.0.1:8080")
    dashboard.set_defaults(command=_studies_dashboard)
    picture = roles.add_parser("plot", help="a study as one picture: history, importance, parameters, rungs")
    picture.add_argument("--study", metavar="NAME", help="its name in the storage (default: the only one)")
    picture.add_argument("--picture", metavar="FILE", type=Path, default=Path("study.png"), help="default: study.png")
    picture.set_defaults(command=_studies_plot)
    replay = roles.add_parser("replay", help="train again by the schedule that pbt or pb2 has found")
    replay.add_argument("folder", metavar="OUT", type=Path, help="the study's folder")
    replay.add_argument("--trial", metavar="N", type=int, help="whose schedule (default: the best trial's)")
    replay.add_argument(
        "--seed", metavar="N", type=int, help="another seed (default: its own, and compare the weights)"
    )
    replay.add_argument("--out", metavar="DIR", type=Path, help="default: OUT/replay-N, with the seed if one is given")
    replay.set_defaults(command=_studies_replay)
    for role in (serve, dashboard, picture):
        role.add_argument(
            "--storage", metavar="URL", help="sqlite:///FILE or PostgreSQL's (default: $HEADWAY_STUDIES_STORAGE)"
        )


def _add_eval(parser: argparse.ArgumentParser) -> None:
    parser.description = "Score a policy: each level once, success, collision and time-out rates with 95 % intervals."
    parser.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="an output folder or a step-* folder")
    parser.add_argument("--levels", metavar="N", type=int, default=1000, help="levels to play (default: 1000)")
    parser.add_argument("--stage", metavar="NAME", help="stage whose levels are played (default: the last)")
    parser.add_argument("--split", choices=("train", "validation", "test"), default="test", help="default: test")
    parser.add_argument(
        "--baselines",
        metavar="NAMES",
        help="default: go-straight,astar, of env.gym random; also all and none",
    )
    parser.add_argument("--picture", metavar="FILE", type=Path, help="draw episodes: .png, or moving .gif")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    parser.set_defaults(command=_eval)


def _add_bench(parser: argparse.ArgumentParser) -> None:
    subjects = parser.add_subparsers(title="subjects", metavar="SUBJECT", required=True, parser_class=_Parser)
    env = subjects.add_parser("env", help="environment steps a second: alone, with inference, with training")
    env.description = "Measure an environment alone, with a policy that acts and with one that learns. Resets included."
    env.add_argument(
        "--task",
        metavar="NAME|SPEC",
        default="jaxnav",
        help="default, jaxnav, or a TrainingRun's file (default: jaxnav)",
    )
    env.add_argument("--envs", metavar="N", type=int, nargs="+", help="environments (default: 1024, or the file's)")
    env.add_argument("--threads", metavar="N", type=int, help="CPU threads (default: all cores that it may use)")
    env.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where all of it runs (default: cpu)")
    env.add_argument("--seconds", metavar="S", type=float, default=5.0, help="for each measurement (default: 5)")
    env.add_argument("--json", action="store_true", help="one JSON object a line, as off a terminal, not a table")
    env.set_defaults(command=_bench_env)
    _add_bench_train(subjects.add_parser("train", help="steps a second of whole runs, by number of ranks"))
    study = subjects.add_parser("study", help="trials a second of a study, by way and storage")
    study.description = (
        "Ask, report once, tell: the study service with and without TLS and token, beside Optuna's ways."
    )
    study.add_argument("--trials", metavar="N", type=int, default=200, help="of each measurement (default: 200)")
    study.add_argument("--workers", metavar="N", type=int, nargs="+", default=[1, 4, 8], help="default: 1 4 8")
    study.add_argument("--repeats", metavar="N", type=int, default=3, help="medians are printed (default: 3)")
    study.add_argument("--postgresql", metavar="URL", help="a database that may be written to (default: SQLite alone)")
    study.add_argument("--json", action="store_true", help="one JSON object a line, as off a terminal, not a table")
    study.set_defaults(command=_bench_study)
    replay = subjects.add_parser("replay", help="microseconds of a batch from a replay")
    replay.description = "Draw a batch and set its priorities, in one thread: everything of a gradient step but it."
    replay.add_argument("--capacity", metavar="N", type=int, default=1_000_000, help="transitions (default: 1000000)")
    replay.add_argument("--batch", metavar="N", type=int, default=256, help="default: 256")
    replay.add_argument("--n-steps", metavar="N", type=int, default=1, help="of returns (default: 1)")
    replay.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where it lies (default: cpu)")
    replay.add_argument("--seconds", metavar="S", type=float, default=3.0, help="for each measurement (default: 3)")
    replay.add_argument("--json", action="store_true", help="one JSON object a line, as off a terminal, not a table")
    replay.set_defaults(command=_bench_replay)
    _add_bench_resume(subjects.add_parser("resume", help="whether a run that is killed anywhere goes on bit for bit"))


def _add_bench_resume(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Train small runs twice, once killed with SIGKILL at random moments, and compare every tensor of their ends."
    )
    parser.add_argument("--points", metavar="N", type=int, default=2, help="kills of each combination (default: 2)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--ranks", metavar="N", type=int, nargs="+", default=[1, 2, 3], help="default: 1 2 3")
    parser.add_argument("--only", metavar="NAME", nargs="+", help="combinations, e.g. sac, per, sac/per or sac/per/2")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where they learn (default: cpu)")
    parser.add_argument(
        "--results", metavar="FILE", type=Path, help="add lines here, and run nothing again that this code has passed"
    )
    parser.add_argument("--list", action="store_true", help="print the names of the combinations, and run nothing")
    parser.set_defaults(command=_bench_resume)


def _add_bench_train(parser: argparse.ArgumentParser) -> None:
    parser.description = "Train as `headway run` does, by each number of ranks in turns, and compare."
    parser.add_argument(
        "--task",
        metavar="NAME|SPEC",
        default="default",
        help="default, jaxnav, or a TrainingRun's file (default: default)",
    )
    parser.add_argument("--algo", choices=["ppo", "pqn", "dqn", "sac", "td3"], help="default: ppo, or the file's")
    parser.add_argument("--processes", metavar="N", type=int, nargs="+", default=[1, 2], help="ranks (default: 1 2)")
    parser.add_argument("--threads", metavar="N", type=int, default=1, help="CPU threads of a rank (default: 1)")
    parser.add_argument("--envs", metavar="N", type=int, default=0, help="over all ranks (default: 512, or the file's)")
    parser.add_argument(
        "--scaling", choices=["strong", "weak"], default="strong",
        help="strong: the same work over all ranks; weak: as much for each rank (default: strong)",
    )  # fmt: skip
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where ranks learn (default: cpu)")
    parser.add_argument("--seconds", metavar="S", type=float, default=10.0, help="of each training (default: 10)")
    parser.add_argument("--repeats", metavar="N", type=int, default=3, help="turns: medians are printed (default: 3)")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, as off a terminal, not a table")
    parser.set_defaults(command=_bench_train)


def _add_worker(parser: argparse.ArgumentParser) -> None:
    parser.description = "Run this node's ranks as the environment (HEADWAY_*, PET_*) says. The operator starts it."
    parser.add_argument(
        "--termination-log", metavar="FILE", type=Path, default=Path("/dev/termination-log"), help="gets the outcome"
    )
    parser.add_argument("--stop-at-eof", action="store_true", help="save and leave when standard input ends")
    parser.set_defaults(command=_worker)


def _run(options: argparse.Namespace) -> int:
    console = _console()
    from headway.local.interrupts import parse_budget
    from headway.local.run import Options, run

    return run(
        Options(
            spec=options.spec,
            sets=tuple(options.sets),
            nodes=options.nodes,
            processes=options.processes,
            out=options.out,
            resume=options.resume,
            accept_changes=options.accept_changes,
            budget_s=None if options.budget is None else parse_budget(options.budget),
            dry_run=options.dry_run,
            plain=options.plain,
        ),
        console,
    )


def _study(options: argparse.Namespace) -> int:
    console = _console()
    from headway.commands.study import Options, study
    from headway.local.interrupts import parse_budget

    return study(
        Options(
            spec=options.spec,
            sets=tuple(options.sets),
            trials=options.trials,
            parallel=options.parallel,
            out=options.out,
            budget_s=None if options.budget is None else parse_budget(options.budget),
            plain=options.plain,
            engine=options.engine,
        ),
        console,
    )


def _studies_serve(options: argparse.Namespace) -> int:
    from headway.commands.studies import serve

    return serve(options)


def _studies_plot(options: argparse.Namespace) -> int:
    from headway.commands.studies import picture

    return picture(options)


def _studies_replay(options: argparse.Namespace) -> int:
    console = _console()
    from headway.commands.replay import replay

    return replay(options, console)


def _studies_dashboard(options: argparse.Namespace) -> int:
    from headway.commands.studies import dashboard

    return dashboard(options)


def _eval(options: argparse.Namespace) -> int:
    console = _console()
    from headway.commands.eval import evaluate

    return evaluate(options, console)


def _bench_env(options: argparse.Namespace) -> int:
    console = _console()
    from headway.commands.bench import bench_env

    return bench_env(options, console)


def _bench_train(options: argparse.Namespace) -> int:
    console = _console()
    from headway.commands.bench_train import bench_train

    return bench_train(options, console)


def _bench_study(options: argparse.Namespace) -> int:
    console = _console()
    from headway.commands.bench_study import bench_study

    return bench_study(options, console)


def _bench_replay(options: argparse.Namespace) -> int:
    console = _console()
    from headway.commands.bench_replay import bench_replay

    return bench_replay(options, console)


def _bench_resume(options: argparse.Namespace) -> int:
    console = _console()
    from headway.commands.bench_resume import bench_resume

    return bench_resume(options, console)


def _worker(options: argparse.Namespace) -> int:
    from headway.worker import work

    return work(options.termination_log, options.stop_at_eof)


def _info(options: argparse.Namespace) -> int:
    from headway.commands.info import info

    return info(_console())


def _console() -> Console:
    try:
        from rich.console import Console
    except ImportError:
        from headway.extras import require

        require("trainer")
        raise
    return Console() if sys.stdout.isatty() else Console(width=NO_TERMINAL_WIDTH)
