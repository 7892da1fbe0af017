"""How busy this rank's GPU is while it trains, by NVML: utilisation, memory, power, temperature, clocks held back.

A thread looks once a second; a row of metrics has what was seen since the row before. Where there is no GPU or no
driver there is nothing of it; a value that NVML refuses (a MIG slice has no utilisation, a container may lack the
right) is left out and named once in the log.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, Final

log = logging.getLogger(__name__)

EVERY_S: Final = 1.0
CLOSE_S: Final = 5.0
GIB: Final = 2**30

# Why clocks are held back: bits of nvmlClocksEventReasons. Idle, and clocks that somebody has set, are no throttling.
POWER_CAP: Final = 0x4  # the limit of power, in software
THERMAL: Final = 0x20 | 0x40  # too hot, in software or by the board
SLOWDOWN: Final = 0x8 | 0x80  # the board's own: heat, or the power supply's brake

Sample = dict[str, float]


class Device:
    """One GPU as NVML knows it."""

    def __init__(self, nvml: ModuleType, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle
        self._refused: set[str] = set()
        self._readers: dict[str, Callable[[], Sample]] = {
            "utilisation": self._utilisation,
            "memory": self._memory,
            "power": self._power,
            "temperature": self._temperature,
            "reasons for held-back clocks": self._throttling,
        }

    def read(self) -> Sample:
        """Return what can be read at this moment. Raises nothing."""
        sample: Sample = {}
        for what, reader in self._readers.items():
            try:
                sample |= reader()
            except self._nvml.NVMLError as error:
                if what not in self._refused:
                    self._refused.add(what)
                    log.warning("the GPU's %s cannot be read and is left out: %s", what, error)
        return sample

    def close(self) -> None:
        """Let NVML go."""
        try:
            self._nvml.nvmlShutdown()
        except self._nvml.NVMLError as error:
            log.info("NVML could not be closed: %s", error)

    def _utilisation(self) -> Sample:
        return {"utilization": self._nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu / 100}

    def _memory(self) -> Sample:
        memory = self._nvml.nvmlDeviceGetMemoryInfo(self._handle)
        return {"memory_used_gib": memory.used / GIB, "memory_total_gib": memory.total / GIB}

    def _power(self) -> Sample:
        return {"power_w": self._nvml.nvmlDeviceGetPowerUsage(self._handle) / 1000}

    def _temperature(self) -> Sample:
        sensor = self._nvml.NVML_TEMPERATURE_GPU
        return {"temperature_c": float(self._nvml.nvmlDeviceGetTemperature(self._handle, sensor))}

    def _throttling(self) -> Sample:
        """Return 1 or 0 for each kind of cause."""
        reasons = self._nvml.nvmlDeviceGetCurrentClocksEventReasons(self._handle)
        causes = {"power_cap": POWER_CAP, "thermal": THERMAL, "slowdown": SLOWDOWN}
        held = {f"throttled_{name}": float(bool(reasons & bits)) for name, bits in causes.items()}
        return {"throttled": max(held.values())} | held


class Monitor:
    """Looks at a GPU once every `every_s` seconds, in a thread of its own, until it is closed."""

    def __init__(self, device: Device, every_s: float = EVERY_S) -> None:
        self._device, self._every_s = device, every_s
        self._lock, self._over = threading.Lock(), threading.Event()
        self._samples: list[Sample] = []  # since the last row; or, if they are taken, the newest one
        self._taken = False
        self._thread = threading.Thread(target=self._watch, name="gpu-monitor", daemon=True)
        self._thread.start()

    def take(self) -> Sample:
        """Return the columns of a row, of the samples since the row before; a short row repeats the last sample."""
        with self._lock:
            samples, self._samples, self._taken = self._samples, self._samples[-1:], True
        return columns(samples)

    def close(self) -> None:
        """Stop looking. A driver that does not answer any more holds up nothing."""
        self._over.set()
        self._thread.join(CLOSE_S)
        if not self._thread.is_alive():
            self._device.close()

    def _watch(self) -> None:
        self._look()
        while not self._over.wait(self._every_s):
            self._look()

    def _look(self) -> None:
        sample = self._device.read()
        with self._lock:
            if self._taken:
                self._samples, self._taken = [], False
            self._samples.append(sample)


def columns(samples: Sequence[Sample]) -> dict[str, float]:
    """Return what a row says of these samples, under gpu/: means, and under names that end in _max the largest."""
    found: dict[str, float] = {}
    for name in sorted({name for sample in samples for name in sample}):
        values = [sample[name] for sample in samples if name in sample]
        if name not in ("memory_used_gib", "temperature_c"):  # of these only the largest tells something
            found[f"gpu/{name}"] = sum(values) / len(values)
        if not name.startswith("throttled") and name != "memory_total_gib":
            found[f"gpu/{name}_max"] = max(values)
    return found


def over_ranks(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return one row for those of all ranks: means over the ranks that have the value, maxima where a name says so."""
    found: dict[str, float] = {}
    for name in sorted({name for row in rows for name in row}):
        values = [row[name] for row in rows if name in row]
        found[name] = max(values) if name.endswith("_max") else sum(values) / len(values)
    return found


def watch(device: str) -> Monitor | None:
    """Return a monitor of a torch device's GPU; None where there is none, or NVML does not know it."""
    if not device.startswith("cuda") or (nvml := _nvml()) is None:
        return None
    import torch

    properties = torch.cuda.get_device_properties(torch.device(device))
    for find in _ways_to_find(nvml, properties):
        try:
            return Monitor(Device(nvml, find()))
        except nvml.NVMLError:
            continue
    nvml.nvmlShutdown()
    log.warning("NVML does not know %s: there are no figures of the GPU", device)
    return None


def _ways_to_find(nvml: ModuleType, properties: Any) -> Iterator[Callable[[], Any]]:
    """Yield ways to find a GPU among NVML's, whose numbers are not torch's where CUDA_VISIBLE_DEVICES is set."""
    if uuid := getattr(properties, "uuid", None):
        yield lambda: nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
        yield lambda: nvml.nvmlDeviceGetHandleByUUID(f"MIG-{uuid}")
    if hasattr(properties, "pci_bus_id"):
        place = f"{properties.pci_domain_id:08X}:{properties.pci_bus_id:02X}:{properties.pci_device_id:02X}.0"
        yield lambda: nvml.nvmlDeviceGetHandleByPciBusId(place)


def driver() -> str:
    """Return the version of the NVIDIA driver; nothing where there is none."""
    if (nvml := _nvml()) is None:
        return ""
    try:
        return str(nvml.nvmlSystemGetDriverVersion())
    except nvml.NVMLError:
        return ""
    finally:
        nvml.nvmlShutdown()


def _nvml() -> ModuleType | None:
    """Return NVML, ready; None without its package or without a driver."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    module: ModuleType = pynvml
    return module
