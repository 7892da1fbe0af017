import pytest
import torch
from headway.parallel.backend import GLOO, WITH_NCCL, backend, gpu_of
from trainer_tests.parallel_tests import gang
from trainer_tests.parallel_tests.group_program import sum_on_gpus

GPUS = {
    "no GPU anywhere": (["", ""], GLOO),
    "a GPU for each": (["GPU-a", "GPU-b"], WITH_NCCL),
    "GPUs of two machines": (["GPU-a", "GPU-b", "GPU-c", "GPU-d"], WITH_NCCL),
    "two ranks on one GPU, which NCCL refuses": (["GPU-a", "GPU-a"], GLOO),
    "two of three on one GPU": (["GPU-a", "GPU-b", "GPU-a"], GLOO),
    "one without a GPU": (["GPU-a", ""], GLOO),
}


@pytest.mark.parametrize(("gpus", "expected"), GPUS.values(), ids=GPUS.keys())
def test_nccl_is_for_ranks_that_have_a_gpu_each_and_whatever_the_order_all_choose_alike(gpus, expected):
    assert backend(gpus) == backend(gpus[::-1]) == expected


def test_a_rank_on_the_cpu_has_no_gpu():
    assert gpu_of("cpu") == ""


def test_ranks_know_a_gpu_by_its_own_name_and_not_by_its_number(monkeypatch):
    named = {0: "GPU-5f", 1: "GPU-6a"}
    properties = {f"cuda:{n}": type("Properties", (), {"uuid": name}) for n, name in named.items()}
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties.__getitem__)
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: True)
    assert [gpu_of("cuda:0"), gpu_of("cuda:1")] == ["GPU-5f", "GPU-6a"]
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: False)
    assert gpu_of("cuda:0") == ""


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_two_ranks_on_one_gpu_add_up_by_gloo():
    for code, output in gang.finish(gang.start(2, sum_on_gpus, False, "")):
        assert code == 0, output


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two NVIDIA GPUs")
def test_two_ranks_on_two_gpus_add_up_by_nccl_and_vote_by_gloo():
    for code, output in gang.finish(gang.start(2, sum_on_gpus, True, "")):
        assert code == 0, output


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize("what", ["is killed", "is stopped"])
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two NVIDIA GPUs")
def test_a_rank_that_nccl_waits_for_in_vain_is_named(what):
    with gang.ended(gang.start(2, sum_on_gpus, True, what)) as ranks:
        assert ranks[0].wait(60) == 1
        assert "RankLostError: rank 1 (node 0) " in ranks[0].log.read_text()
