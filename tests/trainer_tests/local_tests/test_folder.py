import subprocess
import sys

import pytest
from headway.errors import UserError
from headway.local.folder import Folder
from headway_api import load
from trainer_tests.local_tests.test_document import run


def test_a_new_folder_gives_the_run_an_identity_and_keeps_it(tmp_path):
    folder = Folder(tmp_path / "out")
    folder.claim()
    first = folder.adopt(run())
    folder.write(first)
    assert first.metadata.uid
    assert folder.adopt(run()).metadata.uid == first.metadata.uid
    assert load.load_run(folder.document) == first


def test_a_run_that_begins_anew_has_another_identity_so_that_only_restarts_of_it_go_on(tmp_path):
    folder = Folder(tmp_path)
    folder.write(folder.adopt(run()))
    wire = run().to_wire()
    wire["spec"]["checkpoint"] = {"resume": "never"}
    assert folder.adopt(load.validate(wire)).metadata.uid not in ("", folder.read().metadata.uid)


def test_another_runs_folder_is_refused_by_name(tmp_path):
    folder = Folder(tmp_path)
    folder.write(run())
    with pytest.raises(UserError, match=r"holds the run 'nav', not 'other': give another folder"):
        folder.refuse_strangers("other")
    folder.refuse_strangers("nav")


def test_a_folder_with_anything_else_in_it_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match="is not empty and holds no run"):
        Folder(tmp_path).refuse_strangers("nav")


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(UserError, match="is not a folder"):
        Folder(tmp_path / "out").refuse_strangers("nav")


def test_a_damaged_object_is_refused_and_not_overwritten(tmp_path):
    folder = Folder(tmp_path)
    folder.document.write_text("kind: TrainingRun\n")
    with pytest.raises(UserError, match="is damaged"):
        folder.refuse_strangers("nav")


def test_two_runs_cannot_train_in_one_folder(tmp_path):
    program = "import sys; from pathlib import Path; from headway.local.folder import Folder; \
Folder(Path(sys.argv[1])).claim(); print('locked', flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "locked\n"
    with pytest.raises(UserError, match=f"process {other.pid} is training here"):
        Folder(tmp_path).claim()
    other.kill()
    other.communicate()
    Folder(tmp_path).claim()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"attempt": 1}'])
def test_a_report_that_cannot_be_read_is_no_report(tmp_path, content):
    (tmp_path / "progress.json").write_text(content)
    assert Folder(tmp_path).read_progress(1) is None


def test_a_report_of_an_earlier_attempt_is_no_report(tmp_path):
    (tmp_path / "progress.json").write_text(
        '{"attempt": 1, "number": 3, "progress": {"step": 1, "totalSteps": 2, "percent": 50}}'
    )
    assert Folder(tmp_path).read_progress(2) is None
    assert Folder(tmp_path).read_progress(1).number == 3
