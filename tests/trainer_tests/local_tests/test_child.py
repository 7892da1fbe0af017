import pytest
from headway.errors import UserError
from headway.launch.settings import from_environment
from headway.local.child import worker_environment
from headway.local.document import on_this_machine
from headway.local.folder import Folder
from trainer_tests.local_tests.test_document import run


def test_the_child_is_told_what_a_launcher_needs(tmp_path):
    local = on_this_machine(run(), nodes=2, processes=3)
    ours = local.model_copy(update={"metadata": local.metadata.model_copy(update={"uid": "u"})})
    settings = from_environment(worker_environment({}, Folder(tmp_path), ours, attempt=4))
    assert (settings.nnodes, settings.nproc, settings.attempt, settings.uid) == (1, 6, 4, "u")
    assert settings.checkpoints == tmp_path / "checkpoints" / "default" / "nav"
    assert settings.progress_url == ""


@pytest.mark.parametrize("text", ["yesterday", "-1", "nan", "inf"])
def test_a_time_of_launch_that_is_none_is_refused_by_name(tmp_path, text):
    local = run().model_copy(update={"metadata": run().metadata.model_copy(update={"uid": "u"})})
    env = worker_environment({}, Folder(tmp_path), local, attempt=1)
    assert from_environment(env).launched_at == 0.0
    assert from_environment(env | {"HEADWAY_LAUNCHED_AT": "12.5"}).launched_at == 12.5
    with pytest.raises(UserError, match="HEADWAY_LAUNCHED_AT: found"):
        from_environment(env | {"HEADWAY_LAUNCHED_AT": text})


def test_what_another_launcher_left_in_the_environment_does_not_reach_the_child(tmp_path):
    left = {"HEADWAY_PROGRESS_URL": "https://operator", "PET_MASTER_ADDR": "elsewhere", "PATH": "/bin"}
    env = worker_environment(left, Folder(tmp_path), run(), attempt=1)
    assert env["PATH"] == "/bin"
    assert not {"HEADWAY_PROGRESS_URL", "PET_MASTER_ADDR"} & set(env)
