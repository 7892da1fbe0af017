import pytest
from headway.envs.nav import jit


@pytest.fixture
def folder_of(monkeypatch):
    def find(**environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, str(value))
        jit.cache_folder.cache_clear()
        return jit.cache_folder()

    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    yield find
    jit.cache_folder.cache_clear()


def test_the_cache_follows_numbas_variable_then_the_users_cache(tmp_path, folder_of):
    assert folder_of(XDG_CACHE_HOME=tmp_path / "a").startswith(str(tmp_path / "a" / "headway" / "numba" / "nav-"))
    assert folder_of(NUMBA_CACHE_DIR=tmp_path / "b").startswith(str(tmp_path / "b" / "nav-"))


def test_without_a_writable_folder_kernels_are_compiled_in_memory(tmp_path, folder_of):
    (tmp_path / "file").write_text("")  # a folder below a file cannot be made, not even by root
    assert folder_of(NUMBA_CACHE_DIR=tmp_path / "file" / "below") == ""
    assert jit.kernel(lambda x: x + 1)(2) == 3


def test_what_only_kernels_call_is_not_compiled_on_its_own():
    inner = jit.kernel(lambda x: x + 1)
    outer = jit.kernel(lambda x: 2 * inner(x))
    assert outer(2) == 6
    assert not inner.overloads
    assert inner(2) == 3
    assert inner.overloads


def test_any_changed_source_is_another_folder(tmp_path, folder_of, monkeypatch):
    for name in ("jit.py", "grid.py"):
        (tmp_path / name).write_text("one")
    monkeypatch.setattr(jit, "__file__", str(tmp_path / "jit.py"))
    before = folder_of(NUMBA_CACHE_DIR=tmp_path)
    (tmp_path / "grid.py").write_text("two")
    assert folder_of() != before


def test_kernels_of_another_package_have_a_folder_of_their_own_that_follows_both(tmp_path, folder_of, monkeypatch):
    for name in ("nav/jit.py", "planners/dwa.py"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("one")
    monkeypatch.setattr(jit, "__file__", str(tmp_path / "nav/jit.py"))
    nav = folder_of(NUMBA_CACHE_DIR=tmp_path)
    before = jit.cache_folder(tmp_path / "planners")
    (tmp_path / "planners/dwa.py").write_text("two")
    assert folder_of() == nav
    after = jit.cache_folder(tmp_path / "planners")
    (tmp_path / "nav/jit.py").write_text("two")
    jit.cache_folder.cache_clear()
    assert len({nav, before, after, jit.cache_folder(tmp_path / "planners")}) == 4
