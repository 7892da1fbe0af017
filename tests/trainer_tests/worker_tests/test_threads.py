import os

import pytest
from headway.launch.threads import available_cores, numba_cache, rank_threads, thread_environment


@pytest.mark.parametrize(
    ("cpu_max", "cores"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None), ("", None)]
)
def test_a_containers_cpu_limit_counts_rounded_up(tmp_path, cpu_max, cores):
    (tmp_path / "cpu.max").write_text(cpu_max)
    assert available_cores(tmp_path / "cpu.max") == (cores or len(os.sched_getaffinity(0)))


def test_cores_are_shared_evenly_and_each_rank_has_one():
    assert thread_environment({}, ranks=3, cores=8)["OMP_NUM_THREADS"] == "2"
    assert thread_environment({}, ranks=4, cores=2)["NUMBA_NUM_THREADS"] == "1"


def test_what_the_user_has_set_stays():
    assert "OMP_NUM_THREADS" not in thread_environment({"OMP_NUM_THREADS": "5"}, ranks=1, cores=2)
    assert rank_threads({"OMP_NUM_THREADS": "5"}) == 5


def test_numba_caches_beside_the_code_where_it_can(tmp_path):
    assert numba_cache({"HOME": "/nonexistent"}, package=tmp_path) == {}


def test_else_in_the_users_own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: str(path).startswith(str(tmp_path)))
    chosen = numba_cache({"HOME": str(tmp_path)}, package="/usr/lib/headway")
    assert chosen == {"NUMBA_CACHE_DIR": str(tmp_path / ".cache" / "headway" / "numba")}


def test_a_cache_that_others_may_write_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: str(path).startswith(str(tmp_path)))
    shared = tmp_path / "headway" / "numba"
    shared.mkdir(parents=True)
    shared.chmod(0o777)
    chosen = numba_cache({"XDG_CACHE_HOME": str(tmp_path)}, package="/usr/lib/headway")["NUMBA_CACHE_DIR"]
    assert chosen != str(shared)
    os.rmdir(chosen)


def test_kernels_that_an_image_brings_along_are_copied_to_where_numba_can_write(tmp_path, monkeypatch):
    brought = tmp_path / "image"
    (brought / "nav_1a2b").mkdir(parents=True)
    (brought / "nav_1a2b" / "step.nbi").write_bytes(b"index")
    monkeypatch.setattr(os, "access", lambda path, mode: "home" in str(path))
    env = {"HOME": str(tmp_path / "home"), "NUMBA_CACHE_DIR": str(brought)}
    own = tmp_path / "home" / ".cache" / "headway" / "numba"
    assert numba_cache(env) == {"NUMBA_CACHE_DIR": str(own)}
    assert (own / "nav_1a2b" / "step.nbi").read_bytes() == b"index"


def test_a_cache_folder_that_the_user_named_is_left_to_numba(tmp_path):
    assert numba_cache({"NUMBA_CACHE_DIR": str(tmp_path)}) == {}
    assert numba_cache({"NUMBA_CACHE_DIR": str(tmp_path / "not-yet-there")}) == {}
