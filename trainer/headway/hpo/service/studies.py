"""The studies that the service holds: one StudyCore each, opened on demand and kept."""

from __future__ import annotations

import json
import threading

from headway_api.hpo_study import MUTABLE_STUDY_FIELDS, HPOStudySpec
from optuna.storages import BaseStorage

from headway.errors import UserError
from headway.hpo import warm
from headway.hpo.core import StudyCore

SPEC = "headway:spec"  # attribute of the study: what a restarted service opens it with


class UnknownStudyError(KeyError):
    """Nobody has opened a study of that namespace, name and UID."""


class FixedFieldError(Exception):
    """The study is there with another value in a field that a search cannot change midway. `str()` names it."""


class Studies:
    """Studies by key `<namespace>/<name>/<uid>`. All methods may be called from several threads."""

    def __init__(self, storage: BaseStorage) -> None:
        self.storage = storage
        self._cores: dict[str, StudyCore] = {}
        self._lock = threading.Lock()  # two cores of one study would not see each other's lock

    def open(self, key: str, spec: HPOStudySpec) -> StudyCore:
        """Make the study, or take over what may change of one that is there: above all its budget.

        Raises FixedFieldError for a change of the rest, UserError for a beginning that cannot be made.
        """
        with self._lock:
            core = self._held(key) or self._from_storage(key)
            if core is None:
                core = StudyCore(self.storage, key, spec, self._warm_from(key, spec))
            if fixed := _changed(core.spec, spec) - MUTABLE_STUDY_FIELDS:
                raise FixedFieldError(f"{min(fixed)}: is fixed once the study exists: make another study")
            core.spec = spec
            wire = json.dumps(core.spec.to_wire())
            study_id = self.storage.get_study_id_from_name(key)
            if self.storage.get_study_user_attrs(study_id).get(SPEC) != wire:
                self.storage.set_study_user_attr(study_id, SPEC, wire)
            self._cores[key] = core
            return core

    def get(self, key: str) -> StudyCore:
        """Return a study that was opened, by this process or one before it. Raises UnknownStudyError."""
        with self._lock:
            core = self._held(key) or self._from_storage(key)
            if core is None:
                raise UnknownStudyError(key)
            self._cores[key] = core
            return core

    def _held(self, key: str) -> StudyCore | None:
        core = self._cores.get(key)
        return None if core is None or core.is_stale else core

    def _from_storage(self, key: str) -> StudyCore | None:
        try:
            study_id = self.storage.get_study_id_from_name(key)
        except KeyError:
            return None
        wire = self.storage.get_study_user_attrs(study_id).get(SPEC)
        if wire is None:  # killed between making it and writing this: the next open goes on
            return None
        spec = HPOStudySpec.model_validate(json.loads(wire), by_alias=True, by_name=False)
        return StudyCore(self.storage, key, spec, self._warm_from(key, spec))

    def _warm_from(self, key: str, spec: HPOStudySpec) -> str | None:
        """Name the newest study of that name in the same namespace. Raises UserError where there is none."""
        if spec.warm_start is None or self._has_begun(key):
            return None
        namespace = key.partition("/")[0]
        prefix = f"{namespace}/{spec.warm_start.study}/"
        found = [s for s in self.storage.get_all_studies() if s.study_name.startswith(prefix) and s.study_name != key]
        if not found:
            raise UserError(
                f"warmStart.study: no study {spec.warm_start.study} of namespace {namespace} is known: "
                "name one that has begun, or leave warmStart out"
            )
        return max(found, key=lambda s: s._study_id).study_name

    def _has_begun(self, key: str) -> bool:
        """Whether all is taken over already: the earlier study may be gone by now."""
        try:
            study_id = self.storage.get_study_id_from_name(key)
        except KeyError:
            return False
        return warm.FIRST in self.storage.get_study_user_attrs(study_id)


def _changed(old: HPOStudySpec, new: HPOStudySpec) -> set[str]:
    """Top-level fields that differ, as they are named in YAML. Defaults count: both have been filled in."""
    fields = type(old).model_fields.items()
    return {info.alias or name for name, info in fields if getattr(old, name) != getattr(new, name)}
