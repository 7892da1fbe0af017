"""What the last bit of a floating-point sum depends on."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Final

import torch
from pydantic import JsonValue

from headway.parallel import flushes_subnormals

# What checkpoints had that do not name it.
_UNNAMED: Final[dict[str, JsonValue]] = {"microBatch": 0}
# Why another number of ranks rounds and draws otherwise; what belongs to environments goes over to them whole.
OTHER_RANKS: Final = "gradients add up in another order; minibatches are drawn otherwise"
OTHER_RANKS_REPLAY: Final = "each rank draws its share of a replay batch from its own transitions"


def fingerprint(world_size: int, device: str = "cpu", micro_batch: int = 0) -> dict[str, JsonValue]:
    """Describe library, device, CPU features, threads, ranks and pieces. Equal fingerprints resume bit for bit.

    `micro_batch`: rows that go through the networks at a time; 0: a rank's whole share.
    """
    on_gpu = device.startswith("cuda")
    return ({"gpu": torch.cuda.get_device_name(device)} if on_gpu else {}) | {
        "torch": torch.__version__,
        "device": device.partition(":")[0],
        "machine": platform.machine(),
        "cpuCapability": torch.backends.cpu.get_cpu_capability(),
        "cpuFeatures": _cpu_features(),
        "threads": torch.get_num_threads(),
        "worldSize": world_size,
        "subnormalsAreZero": flushes_subnormals(),
        "microBatch": micro_batch,
        "deterministicAlgorithms": torch.are_deterministic_algorithms_enabled(),
        "float32MatmulPrecision": torch.get_float32_matmul_precision(),
    }


def differences(old: dict[str, JsonValue], new: dict[str, JsonValue], has_replay: bool = False) -> list[str]:
    """List what differs between two fingerprints, for the log lines that say why a resume is not exact."""
    old = _UNNAMED | old
    changed = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    ranks = "; ".join([OTHER_RANKS, *([OTHER_RANKS_REPLAY] if has_replay else [])])
    why = {"worldSize": f": {ranks}"}
    return [f"{key}: {old.get(key)} -> {new.get(key)}{why.get(key, '')}" for key in changed]


def _cpu_features() -> str:
    """Vector extensions of this CPU, those that choose among matrix kernels; empty where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    flags = next((line.split(":", 1)[1].split() for line in lines if line.startswith(("flags", "Features"))), [])
    return " ".join(sorted(flag for flag in flags if flag.startswith(("avx", "fma", "amx", "asimd", "sve"))))
