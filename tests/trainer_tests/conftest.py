import pytest
from headway.envs import registry
from headway.run_context import RunContext
from headway_api.train_spec import TrainSpec
from trainer_tests.line_env import LineEnv


def line_spec(**changes):
    """A spec for LineEnv: its world is never built."""
    stages = [
        {"name": f"s{i}", "levels": {"world": {"empty": {}}}, "gate": {"successRate": 0.6, "episodes": 40}}
        for i in range(2)
    ]
    wire = {
        "totalSteps": 12 * 8 * 40, "numEnvs": 12, "env": {"nav": {}}, "network": {"mlp": {"hidden": [16, 16]}},
        "algo": {"ppo": {"rolloutSteps": 8, "minibatchSize": 48, "epochs": 2, "learningRate": 0.003}},
        "curriculum": {"stages": stages},
    }  # fmt: skip
    return TrainSpec.model_validate(wire | changes)


@pytest.fixture
def line_env(monkeypatch):
    """Let sessions train on LineEnv."""
    monkeypatch.setattr(
        registry,
        "make_vector_env",
        lambda spec, num_envs, offset, threads, device="cpu": LineEnv(num_envs, offset, spec.seed),
    )


@pytest.fixture
def context(tmp_path):
    def make(name="a", **changes):
        folder = tmp_path / name
        given = {
            "namespace": "here", "name": "run", "uid": "u1", "attempt": 1, "out": folder,
            "checkpoints": folder / "checkpoints", "threads": 1, "checkpoint_every_s": 1e9,
        }  # fmt: skip
        return RunContext(**(given | changes))

    return make
