"""What every child of a study carries: whose it is."""

from __future__ import annotations

from typing import Any

from headway_api import names
from headway_api.hpo_study import HPOStudy


def ownership(study: HPOStudy) -> dict[str, Any]:
    """Return labels and owner reference, by which children are found, and collected with the study."""
    owner: dict[str, Any] = {"apiVersion": names.API_VERSION, "kind": names.HPO_STUDY, "name": study.metadata.name}
    owner |= {"uid": study.metadata.uid, "controller": True, "blockOwnerDeletion": False}
    labels = {
        names.LABEL_MANAGED_BY: names.MANAGED_BY,
        names.LABEL_STUDY: study.metadata.name,
        names.LABEL_STUDY_UID: study.metadata.uid,
    }
    return {"labels": labels, "ownerReferences": [owner]}
