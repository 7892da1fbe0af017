"""Optuna's storage protocol behind TLS and tokens: its own conformance suite, and that no namespace reaches another."""

from __future__ import annotations

import json
import pickle  # noqa: TID251 - to show that nobody else does
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import optuna
import pytest
from headway.hpo.core import StudyCore
from headway.hpo.service import grpc as service
from headway.hpo.service.tenants import ReadOnlyError, TenantStorage
from headway.hpo.storage import open_storage
from optuna.storages import BaseStorage
from optuna.storages._grpc.auto_generated import api_pb2
from optuna.study import StudyDirection
from optuna.testing.pytest_storages import StorageTestCase
from trainer_tests.hpo_tests.conftest import finish, study
from trainer_tests.hpo_tests.serving import certify, client, served
from trainer_tests.hpo_tests.tokens import Fixed

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
IDENTITY = Fixed(namespaces={"team-a": "ta", "team-b": "tb"})


@pytest.fixture
def backend(tmp_path: Path) -> BaseStorage:
    return open_storage(f"sqlite:///{tmp_path / 'studies.db'}")


@pytest.fixture
def address(backend: BaseStorage, tmp_path: Path) -> Iterator[str]:
    with served(backend, IDENTITY, tmp_path) as where:
        yield where


class TestConformance(StorageTestCase):
    """Optuna's published suite, through TLS and a token, to one of two namespaces."""

    @pytest.fixture
    def storage(self, backend: BaseStorage, address: str, tmp_path: Path) -> BaseStorage:
        TenantStorage(backend, "team-b").create_new_study([StudyDirection.MINIMIZE], "theirs")
        return client(address, "ta", tmp_path)

    @pytest.mark.xfail(reason="a protobuf map has no order: Optuna's plain proxy fails here too", strict=False)
    @pytest.mark.parametrize("param_names", [["a", "b"], ["b", "a"]])
    def test_get_all_trials_params_order(self, storage: BaseStorage, param_names: list[str]) -> None:
        super().test_get_all_trials_params_order(storage, param_names)


# --- who is let in ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["", "tc", "secret"])  # nobody's, and the operator's, which is for the calls
def test_without_a_namespaces_token_no_call_is_answered(address: str, tmp_path: Path, token: str) -> None:
    channel = client(address, token, tmp_path)._channel
    for name in service.rpc_names():
        assert code_of(channel, name) == grpc.StatusCode.UNAUTHENTICATED, name


def test_without_tls_or_with_another_authority_nothing_is_answered(address: str, tmp_path: Path) -> None:
    with grpc.insecure_channel(address) as plain:
        assert code_of(plain, "GetAllStudies") == grpc.StatusCode.UNAVAILABLE
    certify(tmp_path / "strangers")
    stranger = client(address, "ta", tmp_path / "strangers")
    with pytest.raises(ConnectionError):
        stranger.wait_server_ready(timeout=1)


def code_of(channel: grpc.Channel, name: str, **fields: Any) -> grpc.StatusCode | None:
    """Call the RPC `name` with these fields of its request; return how it was refused, None if it was not."""
    request = getattr(api_pb2, f"{name}Request")
    known = {field.name for field in request.DESCRIPTOR.fields}
    given = request(**{key: value for key, value in fields.items() if key in known})
    call = channel.unary_unary(
        f"/optuna.StorageService/{name}",
        request_serializer=request.SerializeToString,
        response_deserializer=lambda data: data,
    )
    try:
        call(given, timeout=10)
    except grpc.RpcError as error:
        return error.code()
    return None


# --- what a namespace reaches -------------------------------------------------------------------------------------

NO_IDS = {"CreateNewStudy", "GetAllStudies"}  # the only calls that name nothing that could be another's
WRITES = {
    "CreateNewStudy", "CreateNewTrial", "DeleteStudy", "SetStudyUserAttribute", "SetStudySystemAttribute",
    "SetTrialParameter", "SetTrialStateValues", "SetTrialIntermediateValue", "SetTrialUserAttribute",
    "SetTrialSystemAttribute",
}  # fmt: skip
DISTRIBUTION = optuna.distributions.distribution_to_json(optuna.distributions.FloatDistribution(0, 1))


def contents(backend: BaseStorage) -> str:
    """All that is in the storage, to be compared."""
    studies = backend.get_all_studies()
    return repr([(s.study_name, s.user_attrs, s.system_attrs, backend.get_all_trials(s._study_id)) for s in studies])


def fields_of(study_id: int, trial_id: int, study_name: str) -> dict[str, Any]:
    """A value for every field of every request."""
    return {
        "study_id": study_id, "trial_id": trial_id, "study_name": study_name, "trial_number": 0, "key": "k",
        "value": json.dumps("changed"), "state": api_pb2.COMPLETE, "values": [1.0], "step": 1, "param_name": "y",
        "intermediate_value": 0.5, "param_value_internal": 0.5, "distribution": DISTRIBUTION,
        "template_trial_is_none": True, "trial_id_greater_than": -1,
    }  # fmt: skip


def test_no_call_reaches_a_study_of_another_namespace(backend: BaseStorage, address: str, tmp_path: Path) -> None:
    other = TenantStorage(backend, "team-b")
    study_id = other.create_new_study([StudyDirection.MINIMIZE], "theirs")
    trial_id = other.create_new_trial(study_id)
    before = contents(backend)
    channel = client(address, "ta", tmp_path)._channel
    for name in set(service.rpc_names()) - NO_IDS:
        for ids in ((study_id, trial_id, "theirs"), (study_id, trial_id, "team-b:theirs"), (10**6, 10**6, "nobodys")):
            assert code_of(channel, name, **fields_of(*ids)) == grpc.StatusCode.NOT_FOUND, (name, ids)
    assert contents(backend) == before
    assert client(address, "ta", tmp_path).get_all_studies() == []


def test_a_study_of_an_hpo_study_is_read_and_never_changed(backend: BaseStorage, address: str, tmp_path: Path) -> None:
    core = StudyCore(backend, "team-a/search/uid-1", study())
    finish(core, 0)
    core.ask(1)
    before = contents(backend)
    notebook = client(address, "ta", tmp_path)
    (seen,) = notebook.get_all_studies()
    assert seen.study_name == "search/uid-1"
    trials = notebook.get_all_trials(seen._study_id)
    assert [trial.state.name for trial in trials] == ["COMPLETE", "RUNNING"]
    for name in WRITES - NO_IDS:
        fields = fields_of(seen._study_id, trials[1]._trial_id, seen.study_name)
        assert code_of(notebook._channel, name, **fields) == grpc.StatusCode.PERMISSION_DENIED, name
    assert contents(backend) == before
    with pytest.raises(optuna.exceptions.DuplicatedStudyError):
        notebook.create_new_study([StudyDirection.MINIMIZE], "search/uid-1")


def test_every_call_of_the_protocol_is_a_read_or_a_write_that_is_known_here() -> None:
    """A call that a later Optuna adds has to be looked at."""
    reads = {name for name in service.rpc_names() if name.startswith("Get")}
    assert reads | WRITES == set(service.rpc_names())
    storage = {name for name in vars(BaseStorage) if getattr(getattr(BaseStorage, name), "__isabstractmethod__", False)}
    assert storage <= set(vars(TenantStorage))


def test_names_of_two_namespaces_do_not_meet(backend: BaseStorage) -> None:
    for namespace in ("team", "team-a"):
        TenantStorage(backend, namespace).create_new_study([StudyDirection.MINIMIZE], "same")
    tricky = TenantStorage(backend, "team")
    tricky.create_new_study([StudyDirection.MINIMIZE], "search/uid-1")  # looks like an HPOStudy's
    assert [s.study_name for s in tricky.get_all_studies()] == ["same", "search/uid-1"]
    assert [s.study_name for s in TenantStorage(backend, "team-a").get_all_studies()] == ["same"]
    with pytest.raises(KeyError):
        backend.get_study_id_from_name("team/search/uid-1")
    with pytest.raises(ValueError, match="at most 400 characters"):
        tricky.create_new_study([StudyDirection.MINIMIZE], "x" * 401)


def test_reading_is_no_way_to_write(backend: BaseStorage) -> None:
    StudyCore(backend, "team/search/uid-1", study())
    view = TenantStorage(backend, "team")
    with pytest.raises(ReadOnlyError):
        view.set_study_user_attr(view.get_study_id_from_name("search/uid-1"), "k", 1)


def test_a_renewed_certificate_is_served_to_the_next_who_comes(
    backend: BaseStorage, address: str, tmp_path: Path
) -> None:
    first = client(address, "ta", tmp_path)
    assert first.get_all_studies() == []
    certify(tmp_path)  # by another authority, so that who trusts it has seen the new one
    assert client(address, "ta", tmp_path).get_all_studies() == []
    assert first.get_all_studies() == []  # its connection stands


def test_a_token_in_a_file_is_read_anew_and_the_client_survives_pickling(address: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old\n")
    storage = client(address, str(token), tmp_path)
    with pytest.raises(grpc.RpcError):
        storage.get_all_studies()
    token.write_text("ta\n")
    assert storage.get_all_studies() == []
    assert pickle.loads(pickle.dumps(storage)).get_all_studies() == []


# --- nothing is unpickled -----------------------------------------------------------------------------------------


class Bomb:
    """Leaves a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return Path.touch, (self.path,)


def test_a_planted_pickle_is_executed_by_no_process_of_ours(backend: BaseStorage, address: str, tmp_path: Path) -> None:
    """Where Optuna's CMA-ES keeps its state, in a tenant's own study, in the study that ours is, and in its source."""
    fuse = tmp_path / "exploded"
    planted = pickle.dumps(Bomb(fuse)).hex()
    notebook = client(address, "ta", tmp_path)
    own = notebook.create_new_study([StudyDirection.MAXIMIZE], "mine")
    source = StudyCore(backend, "team-a/old/uid-0", study(sampler={"cmaEs": {}}))
    finish(source, 0)
    core = StudyCore(
        backend, "team-a/new/uid-1", study(sampler={"cmaEs": {}}, warmStart={"study": "old"}), "team-a/old/uid-0"
    )
    for storage, study_id in ((notebook, own), *((backend, s._study_id) for s in backend.get_all_studies())):
        trial_id = storage.create_new_trial(study_id)
        for key in ("cma:optimizer", "cma:optimizer:0", "sepcma:optimizer:0", "cmawm:optimizer:0"):
            storage.set_trial_system_attr(trial_id, key, planted)
            storage.set_study_system_attr(study_id, key, planted)
        storage.set_trial_user_attr(trial_id, "headway:values", planted)
        storage.set_trial_state_values(trial_id, optuna.trial.TrialState.COMPLETE, [0.5])
    for number in range(4):
        finish(core, number, success=number / 10)
    core.snapshot()
    notebook.get_all_trials(own)
    TenantStorage(backend, "team-a").get_all_studies()
    assert not fuse.exists()
    pickle.loads(bytes.fromhex(planted))  # it is a real one
    assert fuse.exists()
