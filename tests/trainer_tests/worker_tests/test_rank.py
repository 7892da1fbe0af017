from pathlib import Path

import pytest
from headway.launch.settings import Settings
from headway.rank import run_context
from headway_api.load import validate
from specs import small_run

SETTINGS = Settings(
    spec=Path("run.json"), namespace="team", name="small", uid="u", attempt=2, root=Path("ckpt"), out=Path("out"),
    leave_at=0, launched_at=0.0, nnodes=1, nproc=1, node_rank=0, master_addr="", master_port=29500, progress_url="",
    progress_ca=Path("ca"), progress_token=Path("token"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (60, 3, True, 0, "auto")),
        ({"everySeconds": "auto", "keep": 5, "keepBest": False, "milestoneSteps": 1000, "resume": "never"},
         ("auto", 5, False, 1000, "never")),
    ],
)  # fmt: skip
def test_training_is_told_what_the_spec_says_of_checkpoints(given, expected):
    document = small_run()
    document["spec"]["checkpoint"] = given
    run = run_context(validate(document), SETTINGS, 0, 1)
    assert (run.checkpoint_every_s, run.keep, run.keep_best, run.milestone_steps, run.resume) == expected
