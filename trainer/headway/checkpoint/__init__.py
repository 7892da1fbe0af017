"""Checkpoints: whole or not there, of one run and one lineage of attempts, safetensors and JSON, never pickle."""

from headway.checkpoint.files import load_tensors, write_tensors
from headway.checkpoint.fingerprint import differences as fingerprint_differences
from headway.checkpoint.fingerprint import fingerprint
from headway.checkpoint.interval import Interval
from headway.checkpoint.lineage import Found, choose, search, verify
from headway.checkpoint.manifest import FILE, MODEL, Manifest, read_manifest, spec_differences, spec_hash
from headway.checkpoint.retention import Retention
from headway.checkpoint.segments import NOTHING, History, load_history
from headway.checkpoint.snapshot import Snapshot
from headway.checkpoint.spec_change import accept, is_of_curriculum, path_of, with_own_scale
from headway.checkpoint.store import CheckpointStore
from headway.checkpoint.writer import Saver

__all__ = [
    "FILE",
    "MODEL",
    "NOTHING",
    "CheckpointStore",
    "Found",
    "History",
    "Interval",
    "Manifest",
    "Retention",
    "Saver",
    "Snapshot",
    "accept",
    "choose",
    "fingerprint",
    "fingerprint_differences",
    "is_of_curriculum",
    "load_history",
    "load_tensors",
    "path_of",
    "read_manifest",
    "search",
    "spec_differences",
    "spec_hash",
    "verify",
    "with_own_scale",
    "write_tensors",
]
