"""A launcher started as a process, with ranks whose training is a function of these tests (fake_ranks.py)."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from headway_api import names

HERE = Path(__file__).parent
LAUNCH = "import os, sys; from pathlib import Path; from headway import worker; \
worker.WITNESS_S = float(os.environ.get('FAKE_WITNESS_S', '0')); \
sys.exit(worker.work(Path(sys.argv[1]), stop_at_eof={eof}, command=[sys.executable, *sys.argv[2:]]))"

RUN = {
    "apiVersion": names.API_VERSION,
    "kind": names.TRAINING_RUN,
    "metadata": {"name": "nav"},
    "spec": {
        "train": {
            "totalSteps": 100,
            "numEnvs": 4,
            "env": {"nav": {}},
            "algo": {"ppo": {"rolloutSteps": 4, "minibatchSize": 4}},
            "network": {"mlp": {}},
            "curriculum": {"stages": [{"name": "empty", "levels": {"world": {"empty": {}}}}]},
        }
    },
}


class Launcher:
    """One `work` process and what it says."""

    def __init__(self, folder: Path, behaviour: str, env: dict[str, str], eof: bool = False) -> None:
        self.log = folder / f"termination-{env.get(names.ENV_NODE_RANK, '0')}"
        self.output = folder / f"output-{env.get(names.ENV_NODE_RANK, '0')}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH.format(eof=eof), self.log, HERE / "fake_ranks.py", behaviour],
            env=env,
            stdin=subprocess.PIPE,
            stdout=self.output.open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout: float = 60) -> tuple[int, dict]:
        code = self.process.wait(timeout)
        return code, json.loads(self.log.read_text()) if self.log.exists() else {}


@pytest.fixture
def launch(tmp_path):
    """Start launchers: launch(behaviour, nproc=..., **more environment)."""
    started = []

    def start(behaviour: str, nproc: int = 1, eof: bool = False, **env: str) -> Launcher:
        (tmp_path / "run.json").write_text(json.dumps(RUN))
        ours = {
            names.ENV_SPEC: str(tmp_path / "run.json"),
            names.ENV_NAMESPACE: "default",
            names.ENV_NAME: "nav",
            names.ENV_UID: "uid",
            names.ENV_ATTEMPT: "1",
            names.ENV_ROOT: str(tmp_path / "checkpoints"),
            names.ENV_OUT: str(tmp_path / "out"),
            names.ENV_NPROC: str(nproc),
            "FAKE_FOLDER": str(tmp_path),
        }
        started.append(Launcher(tmp_path, behaviour, {**os.environ, **ours, **env}, eof))
        return started[-1]

    yield start
    for launcher in started:
        if launcher.process.poll() is None:
            launcher.process.kill()
        launcher.process.wait()
