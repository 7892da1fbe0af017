"""What one namespace sees of the storage: its own studies, which it may change, and those of its HPOStudies, to read.

A study that a notebook has made is kept as `namespace:name`, one of an HPOStudy as `namespace/name/uid`. No namespace
has either sign in its name, so that each study has exactly one. What is not this namespace's is not there: the answer
is the same as for an id that nobody has.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import DuplicatedStudyError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from headway.hpo.storage import study_id_of_trial

OWN, STUDY = ":", "/"
MAX_NAME = 400  # characters; a database's column ends at 512


class ReadOnlyError(Exception):
    """The study is an HPOStudy's: only the operator writes there."""


class TenantStorage(BaseStorage):
    """Optuna's storage as one namespace has it. Raises KeyError for what is not there, ReadOnlyError."""

    def __init__(self, storage: BaseStorage, namespace: str) -> None:
        self._storage, self._namespace = storage, namespace

    # --- who may see and change what ----------------------------------------------------------------------------
    def _inside(self, study_name: str) -> str | None:
        """A study's name as this namespace says it; None for another's."""
        for sign in (OWN, STUDY):
            if study_name.startswith(self._namespace + sign):
                return study_name[len(self._namespace) + 1 :]
        return None

    def _is_own(self, study_name: str) -> bool:
        return study_name.startswith(self._namespace + OWN)

    def _readable(self, study_id: int) -> int:
        if self._inside(self._storage.get_study_name_from_id(study_id)) is None:
            raise KeyError("Record does not exist.")  # Optuna's own words for what is not there
        return study_id

    def _writable(self, study_id: int) -> int:
        self._readable(study_id)
        if not self._is_own(self._storage.get_study_name_from_id(study_id)):
            raise ReadOnlyError("the study is an HPOStudy's: only the operator writes there")
        return study_id

    def _readable_trial(self, trial_id: int) -> int:
        self._readable(study_id_of_trial(self._storage, trial_id))
        return trial_id

    def _writable_trial(self, trial_id: int) -> int:
        self._writable(study_id_of_trial(self._storage, trial_id))
        return trial_id

    # --- studies ------------------------------------------------------------------------------------------------
    def create_new_study(self, directions: Sequence[StudyDirection], study_name: str | None = None) -> int:
        """Make a study of the namespace's own."""
        if study_name is None or len(study_name) > MAX_NAME:
            raise ValueError(f"a study's name has at most {MAX_NAME} characters")
        if study_name in {study.study_name for study in self.get_all_studies()}:
            raise DuplicatedStudyError(f"Another study with name '{study_name}' already exists.")
        return self._storage.create_new_study(directions, f"{self._namespace}{OWN}{study_name}")

    def delete_study(self, study_id: int) -> None:
        """Delete a study of the namespace's own."""
        self._storage.delete_study(self._writable(study_id))

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set an attribute of an own study."""
        self._storage.set_study_user_attr(self._writable(study_id), key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set an attribute of an own study."""
        self._storage.set_study_system_attr(self._writable(study_id), key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        """Return the id of an own study, or of an HPOStudy's, `name/uid`."""
        for sign in (OWN, STUDY):
            try:
                return self._storage.get_study_id_from_name(f"{self._namespace}{sign}{study_name}")
            except KeyError:
                continue
        raise KeyError("Record does not exist.")

    def get_study_name_from_id(self, study_id: int) -> str:
        """Return the name without the namespace."""
        return self._inside(self._storage.get_study_name_from_id(self._readable(study_id))) or ""

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """Return the directions."""
        return self._storage.get_study_directions(self._readable(study_id))

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Return the attributes."""
        return self._storage.get_study_user_attrs(self._readable(study_id))

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """Return the attributes."""
        return self._storage.get_study_system_attrs(self._readable(study_id))

    def get_all_studies(self) -> list[FrozenStudy]:
        """Return the namespace's studies, under their names without it."""
        found = []
        for study in self._storage.get_all_studies():
            if (name := self._inside(study.study_name)) is not None:
                found.append(copy.copy(study))
                found[-1].study_name = name
        return found

    # --- trials -------------------------------------------------------------------------------------------------
    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Make a trial in an own study."""
        return self._storage.create_new_trial(self._writable(study_id), template_trial)

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Set a parameter in an own study."""
        self._storage.set_trial_param(self._writable_trial(trial_id), param_name, param_value_internal, distribution)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Set state and values in an own study."""
        return self._storage.set_trial_state_values(self._writable_trial(trial_id), state, values)

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Set an intermediate value in an own study."""
        self._storage.set_trial_intermediate_value(self._writable_trial(trial_id), step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set an attribute in an own study."""
        self._storage.set_trial_user_attr(self._writable_trial(trial_id), key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set an attribute in an own study."""
        self._storage.set_trial_system_attr(self._writable_trial(trial_id), key, value)

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """Return the id of a trial by its number."""
        return self._storage.get_trial_id_from_study_id_trial_number(self._readable(study_id), trial_number)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial."""
        return self._storage.get_trial(self._readable_trial(trial_id))

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return all trials of a study."""
        return self._storage.get_all_trials(self._readable(study_id), deepcopy, states)
