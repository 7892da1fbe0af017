import os

import pytest
import torch
from headway.determinism import WORKSPACE, deterministic_kernels, order_does_not_matter


@pytest.fixture(autouse=True)
def no_workspace(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")  # and is taken back to what it was


def test_kernels_are_deterministic_while_it_is_wanted_and_cublas_is_told():
    with deterministic_kernels(True):
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.benchmark
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == WORKSPACE["CUBLAS_WORKSPACE_CONFIG"]
    assert not torch.are_deterministic_algorithms_enabled()


def test_nothing_is_set_where_it_is_not_wanted_and_the_users_own_workspace_stays(monkeypatch):
    with deterministic_kernels(False):
        assert not torch.are_deterministic_algorithms_enabled()
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    with deterministic_kernels(True):
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_an_operation_can_be_let_through_and_what_follows_cannot():
    with deterministic_kernels(True):
        with order_does_not_matter():
            assert not torch.are_deterministic_algorithms_enabled()
        assert torch.are_deterministic_algorithms_enabled()
