import asyncio

import kopf
from headway_api import names
from headway_operator.shell.cluster import Key
from headway_operator.shell.handlers import Marks, News, fate_mark, kopf_settings, registry, spec_mark
from headway_operator.shell.queue import WorkQueue

KEY = Key("team", "nav")


def metadata(generation=1, uid="a", **more):
    return spec_mark({"uid": uid, "generation": generation, **more})


def test_a_change_of_status_alone_is_no_news():
    seen = Marks()
    assert seen.is_news(KEY, "ADDED", metadata())
    assert not seen.is_news(KEY, "MODIFIED", metadata())
    assert seen.is_news(KEY, "MODIFIED", metadata(generation=2))
    assert not seen.is_news(KEY, "MODIFIED", metadata(generation=2))


def test_deletion_and_a_namesake_are_news():
    seen = Marks()
    seen.is_news(KEY, "ADDED", metadata())
    assert seen.is_news(KEY, "MODIFIED", metadata(deletionTimestamp="now"))
    assert seen.is_news(KEY, "DELETED", metadata())
    assert seen.is_news(KEY, "MODIFIED", metadata(uid="b"))


def test_after_a_broken_watch_everything_is_news():
    seen = Marks()
    seen.is_news(KEY, "ADDED", metadata())
    assert seen.is_news(KEY, None, metadata())


def test_what_no_resync_has_found_is_forgotten():
    seen = Marks()
    seen.is_news(KEY, "ADDED", metadata())
    seen.keep(set())
    assert seen.is_news(KEY, "MODIFIED", metadata())


def test_kopf_only_watches():
    """No finalizer, no annotation, no timer: nothing but on.event handlers, whose errors kopf ignores."""
    handlers = registry(WorkQueue(), News())
    assert {handler.id.rsplit(".", 1)[-1] for handler in handlers._watching.get_all_handlers()} == {
        "run_changed",
        "study_changed",
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


def trial(*true, generation=1, step=0, owner=names.HPO_STUDY):
    status = {"progress": {"step": step}, "conditions": [{"type": kind, "status": "True"} for kind in true]}
    owners = [{"kind": owner, "name": "search", "uid": "s", "controller": True}]
    metadata = {
        "uid": "u",
        "name": "search-0",
        "namespace": "team",
        "generation": generation,
        "ownerReferences": owners,
    }
    return {"metadata": metadata, "status": status}


def told(*events):
    """Give a watch's events to the handler of runs; return the keys that it puts into the queue, event by event."""

    async def story():
        queue, found = WorkQueue(), []
        handlers = registry(queue, News())._watching.get_all_handlers()
        handler = next(h for h in handlers if h.id.endswith("run_changed"))
        for kind, thing in events:
            await handler.fn(event={"type": kind, "object": thing}, namespace="team", name="search-0")
            found.append({(key.kind, key.name) for key in queue._waiting})
            while queue._waiting:
                queue.release(await queue.take())
        return found

    return asyncio.run(story())


RUN, STUDY = (names.TRAINING_RUN, "search-0"), (names.HPO_STUDY, "search")


def test_a_trial_wakes_its_study_when_its_conditions_change_and_not_with_every_report():
    assert told(
        ("ADDED", trial()),
        ("MODIFIED", trial(step=100)),
        ("MODIFIED", trial(names.READY, step=100)),
        ("MODIFIED", trial(names.READY, step=200)),
        ("MODIFIED", trial(names.READY, names.FINISHED, step=300)),
        ("DELETED", trial(names.READY, names.FINISHED, step=300)),
    ) == [{RUN, STUDY}, set(), {STUDY}, set(), {STUDY}, {RUN, STUDY}]


def test_a_run_of_another_owner_wakes_no_study():
    assert told(("ADDED", trial(owner="Pipeline")), ("MODIFIED", trial(names.READY, owner="Pipeline"))) == [
        {RUN},
        set(),
    ]


def test_marks_of_fates_are_forgotten_with_those_of_specs():
    news = News()
    assert news.fates.is_news(KEY, "MODIFIED", fate_mark(trial()))
    news.keep(set())
    assert news.fates.is_news(KEY, "MODIFIED", fate_mark(trial()))
