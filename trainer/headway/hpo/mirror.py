"""One study in memory, over the storage that it is kept in: a read costs nothing, a write is in the storage first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import FrozenTrial, TrialState


class Mirror(InMemoryStorage):
    """For the one process that holds the study. Ids in here are its own.

    Optuna's database storages read every unfinished trial anew at each call, which takes most of the time of asking.
    """

    def __init__(self, storage: BaseStorage, study_id: int) -> None:
        super().__init__()
        self._storage, self._there = storage, study_id
        self.is_stale = False
        """A write has failed: nobody knows what is in the storage, and another mirror has to be made."""
        name = storage.get_study_name_from_id(study_id)
        self.study_id = self.create_new_study(storage.get_study_directions(study_id), name)
        for key, value in storage.get_study_user_attrs(study_id).items():
            super().set_study_user_attr(self.study_id, key, value)
        for key, value in storage.get_study_system_attrs(study_id).items():
            super().set_study_system_attr(self.study_id, key, value)
        trials = storage.get_all_trials(study_id, deepcopy=False)
        self._ids = {super(Mirror, self).create_new_trial(self.study_id, trial): trial._trial_id for trial in trials}

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.is_stale = True
            raise

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set an attribute of the study."""
        with self._writing():
            self._storage.set_study_user_attr(self._there, key, value)
        super().set_study_user_attr(study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Set an attribute of the study that is Optuna's."""
        with self._writing():
            self._storage.set_study_system_attr(self._there, key, value)
        super().set_study_system_attr(study_id, key, value)

    @contextmanager
    def draft(self, template: FrozenTrial) -> Iterator[int]:
        """Make a trial that is in here alone while the block runs, then in the storage, in one transaction.

        Yields its id. If the block fails there is nothing of it in the storage, and this mirror is stale.
        """
        with self._writing():
            here = super().create_new_trial(self.study_id, template)
            yield here
            self._ids[here] = self._storage.create_new_trial(self._there, self.get_trial(here))

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Make a trial; return its id in here."""
        with self._writing():
            there = self._storage.create_new_trial(self._there, template_trial)
        here = super().create_new_trial(study_id, template_trial)
        self._ids[here] = there
        return here

    def _is_draft(self, trial_id: int) -> bool:
        return trial_id not in self._ids

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        """Set a parameter."""
        if not self._is_draft(trial_id):
            with self._writing():
                self._storage.set_trial_param(self._ids[trial_id], param_name, param_value_internal, distribution)
        super().set_trial_param(trial_id, param_name, param_value_internal, distribution)

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """Set state and values."""
        with self._writing():
            is_set = self._storage.set_trial_state_values(self._ids[trial_id], state, values)
        return super().set_trial_state_values(trial_id, state, values) and is_set

    def set_trial_intermediate_value(self, trial_id: int, step: int, intermediate_value: float) -> None:
        """Set an intermediate value."""
        with self._writing():
            self._storage.set_trial_intermediate_value(self._ids[trial_id], step, intermediate_value)
        super().set_trial_intermediate_value(trial_id, step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set an attribute of a trial."""
        if not self._is_draft(trial_id):
            with self._writing():
                self._storage.set_trial_user_attr(self._ids[trial_id], key, value)
        super().set_trial_user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set an attribute of a trial that is Optuna's."""
        if not self._is_draft(trial_id):
            with self._writing():
                self._storage.set_trial_system_attr(self._ids[trial_id], key, value)
        super().set_trial_system_attr(trial_id, key, value)
