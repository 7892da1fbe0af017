import kopf
from headway_api import names
from headway_operator.shell.cluster import RunKey
from headway_operator.shell.handlers import Generations, kopf_settings, registry
from headway_operator.shell.queue import WorkQueue

KEY = RunKey("team", "nav")


def metadata(generation=1, uid="a", **more):
    return {"uid": uid, "generation": generation, **more}


def test_a_change_of_status_alone_is_no_news():
    seen = Generations()
    assert seen.is_news(KEY, "ADDED", metadata())
    assert not seen.is_news(KEY, "MODIFIED", metadata())
    assert seen.is_news(KEY, "MODIFIED", metadata(generation=2))
    assert not seen.is_news(KEY, "MODIFIED", metadata(generation=2))


def test_deletion_and_a_namesake_are_news():
    seen = Generations()
    seen.is_news(KEY, "ADDED", metadata())
    assert seen.is_news(KEY, "MODIFIED", metadata(deletionTimestamp="now"))
    assert seen.is_news(KEY, "DELETED", metadata())
    assert seen.is_news(KEY, "MODIFIED", metadata(uid="b"))


def test_after_a_broken_watch_everything_is_news():
    seen = Generations()
    seen.is_news(KEY, "ADDED", metadata())
    assert seen.is_news(KEY, None, metadata())


def test_what_no_resync_has_found_is_forgotten():
    seen = Generations()
    seen.is_news(KEY, "ADDED", metadata())
    seen.keep(set())
    assert seen.is_news(KEY, "MODIFIED", metadata())


def test_kopf_only_watches():
    """No finalizer, no annotation, no timer: nothing but on.event handlers, whose errors kopf ignores."""
    handlers = registry(WorkQueue(), Generations())
    assert {handler.id.rsplit(".", 1)[-1] for handler in handlers._watching.get_all_handlers()} == {
        "run_changed",
        "pod_changed",
    }
    assert not list(handlers._changing.get_all_handlers()) and not list(handlers._spawning.get_all_handlers())
    assert not list(handlers._indexing.get_all_handlers())


def test_pods_are_selected_by_the_server_and_lists_come_in_chunks():
    settings = kopf_settings()
    pods = kopf.Resource("", "v1", "pods", namespaced=True)
    runs = kopf.Resource(names.GROUP, names.VERSION, names.TRAINING_RUNS, namespaced=True)
    assert settings.watching.label_selectors.collect(pods) == ["app.kubernetes.io/managed-by=headway"]
    assert settings.watching.label_selectors.collect(runs) == []
    assert settings.watching.chunk_size and settings.scanning.disabled and not settings.posting.enabled


def test_kopf_copies_no_object_to_compare_it():
    assert kopf_settings().persistence.diffbase_storage.build(body=kopf.Body({"spec": {"a": 1}})) == {}
