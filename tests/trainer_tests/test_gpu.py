import json
import logging
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest
import torch
from headway import gpu
from headway.commands.info import info
from headway.gpu import Device, Monitor, columns, over_ranks, watch
from headway.session import Session
from headway.tracking import is_measured
from headway.train import train
from headway_api.progress import MetricName
from pydantic import TypeAdapter
from rich.console import Console
from trainer_tests.conftest import line_spec
from trainer_tests.test_train import UPDATE, never, rows
from trainer_tests.waiting import wait_for

UUID = "11111111-2222-3333-4444-555555555555"


class NVMLError(Exception):
    pass


class FakeNvml(ModuleType):
    """Two GPUs by their handles; torch's first is NVML's second. What is in `refused` raises."""

    NVMLError = NVMLError
    NVML_TEMPERATURE_GPU = 0

    def __init__(self):
        super().__init__("pynvml")
        self.__spec__ = ModuleSpec("pynvml", None)  # `headway info` looks for it
        self.opened = 0
        self.refused = set()
        self.known = {f"GPU-{UUID}": "second"}
        self.busy, self.reasons = 50, 0

    def _may(self, what):
        if what in self.refused:
            raise NVMLError(f"{what}: not supported")

    def nvmlInit(self):  # noqa: N802 - NVML's own names
        self._may("init")
        self.opened += 1

    def nvmlShutdown(self):  # noqa: N802
        self.opened -= 1

    def nvmlSystemGetDriverVersion(self):  # noqa: N802
        self._may("version")
        return "580.65"

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802
        if uuid not in self.known:
            raise NVMLError("not found")
        return self.known[uuid]

    def nvmlDeviceGetHandleByPciBusId(self, place):  # noqa: N802
        return self.nvmlDeviceGetHandleByUUID(place)

    def nvmlDeviceGetUtilizationRates(self, handle):  # noqa: N802
        self._may("utilisation")
        return SimpleNamespace(gpu=self.busy, memory=1)

    def nvmlDeviceGetMemoryInfo(self, handle):  # noqa: N802
        self._may("memory")
        return SimpleNamespace(used=3 * 2**30, total=8 * 2**30)

    def nvmlDeviceGetPowerUsage(self, handle):  # noqa: N802
        self._may("power")
        return 250_000

    def nvmlDeviceGetTemperature(self, handle, sensor):  # noqa: N802
        self._may("temperature")
        return 60

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle):  # noqa: N802
        self._may("reasons")
        return self.reasons


@pytest.fixture
def nvml(monkeypatch):
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    properties = SimpleNamespace(uuid=UUID, pci_domain_id=0, pci_bus_id=0x1A, pci_device_id=0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    return fake


ALL = {
    "utilization": 0.5, "memory_used_gib": 3.0, "memory_total_gib": 8.0, "power_w": 250.0, "temperature_c": 60.0,
    "throttled": 0.0, "throttled_power_cap": 0.0, "throttled_thermal": 0.0, "throttled_slowdown": 0.0,
}  # fmt: skip


def test_a_sample_has_shares_gibibytes_watts_and_degrees(nvml):
    assert Device(nvml, "second").read() == ALL


@pytest.mark.parametrize(
    ("reasons", "held"),
    [
        (0x0, set()),
        (0x1 | 0x2 | 0x10 | 0x100, set()),  # idle, set by somebody, in step with others, by a display
        (0x4, {"power_cap"}), (0x20, {"thermal"}), (0x40, {"thermal"}), (0x80, {"slowdown"}),
        (0x1 | 0x4 | 0x8 | 0x40, {"power_cap", "thermal", "slowdown"}),
    ],
)  # fmt: skip
def test_why_clocks_are_held_back(nvml, reasons, held):
    nvml.reasons = reasons
    sample = Device(nvml, "second").read()
    assert {name for name in ("power_cap", "thermal", "slowdown") if sample[f"throttled_{name}"]} == held
    assert sample["throttled"] == float(bool(held))


@pytest.mark.parametrize(
    ("refused", "missing"),
    [
        ("utilisation", {"utilization"}), ("memory", {"memory_used_gib", "memory_total_gib"}), ("power", {"power_w"}),
        ("temperature", {"temperature_c"}), ("reasons", {name for name in ALL if name.startswith("throttled")}),
    ],
)  # fmt: skip
def test_what_nvml_refuses_is_left_out_and_told_once(nvml, caplog, refused, missing):
    nvml.refused = {refused}
    device = Device(nvml, "second")
    assert ALL.keys() - device.read().keys() == missing == ALL.keys() - device.read().keys()
    assert caplog.text.count("cannot be read and is left out") == 1
    nvml.refused = set()
    assert device.read() == ALL  # it may come back


def test_a_row_has_means_and_the_largest_of_its_samples():
    other = ALL | {
        "utilization": 1.0,
        "memory_used_gib": 5.0,
        "power_w": 350.0,
        "temperature_c": 70.0,
        "throttled": 1.0,
    }
    found = columns([ALL, other, {"power_w": 300.0}])
    assert found == {
        "gpu/utilization": 0.75, "gpu/utilization_max": 1.0, "gpu/memory_used_gib_max": 5.0,
        "gpu/memory_total_gib": 8.0, "gpu/power_w": 300.0, "gpu/power_w_max": 350.0, "gpu/temperature_c_max": 70.0,
        "gpu/throttled": 0.5, "gpu/throttled_power_cap": 0.0, "gpu/throttled_thermal": 0.0,
        "gpu/throttled_slowdown": 0.0,
    }  # fmt: skip
    assert all(is_measured(name) and TypeAdapter(MetricName).validate_python(name) for name in found)
    assert columns([]) == {}


def test_ranks_are_averaged_and_of_maxima_the_largest_counts_whoever_has_no_gpu():
    ranks = [{"gpu/power_w": 100.0, "gpu/power_w_max": 200.0}, {}, {"gpu/power_w": 300.0, "gpu/power_w_max": 310.0}]
    assert over_ranks(ranks) == {"gpu/power_w": 200.0, "gpu/power_w_max": 310.0}
    assert over_ranks([{}, {}]) == {}


def test_a_rank_without_a_gpu_takes_part_where_another_has_one():
    group = SimpleNamespace(gather=lambda message: [b'{"gpu/power_w": 100.0}', message])
    session = SimpleNamespace(has_gpus=True, gpu=None, group=group)
    assert Session.gpu_metrics(session) == {"gpu/power_w": 100.0}


def test_a_monitor_looks_again_and_again_until_it_is_closed(nvml):
    monitor = Monitor(Device(nvml, "second"), every_s=0.01)
    wait_for(monitor.take)
    nvml.busy = 90
    wait_for(lambda: monitor.take()["gpu/utilization"] == 0.9)
    monitor.close()
    nvml.busy = 10
    assert monitor.take()["gpu/utilization"] == 0.9
    assert nvml.opened == -1  # let go once; whoever made the device had opened it


def test_a_row_begins_where_the_last_one_ended_and_without_a_sample_of_its_own_repeats_it(nvml):
    monitor = Monitor(Device(nvml, "second"), every_s=1e6)  # looks once
    wait_for(monitor.take)
    for busy in (20, 40):
        nvml.busy = busy
        monitor._look()
    assert monitor.take()["gpu/utilization"] == pytest.approx(0.3)  # and not the first sample's 0.5
    assert monitor.take()["gpu/utilization"] == 0.4 == monitor.take()["gpu/utilization"]
    monitor.close()


@pytest.mark.parametrize("known", [f"GPU-{UUID}", f"MIG-{UUID}", "00000000:1A:00.0"])
def test_torchs_gpu_is_found_among_nvmls_by_uuid_or_by_its_place_on_the_bus(nvml, known):
    nvml.known = {known: "second"}
    monitor = watch("cuda:0")
    assert monitor._device._handle == "second"
    monitor.close()
    assert nvml.opened == 0


def test_a_gpu_that_nvml_does_not_know_is_told_and_not_guessed(nvml, caplog):
    nvml.known = {"GPU-another": "first"}
    assert watch("cuda:0") is None
    assert "NVML does not know cuda:0" in caplog.text
    assert nvml.opened == 0


@pytest.mark.parametrize("reason", ["a rank on the CPU", "no driver", "no package"])
def test_without_gpu_driver_or_package_there_is_nothing_and_no_word(nvml, monkeypatch, caplog, reason):
    caplog.set_level(logging.DEBUG)
    if reason == "no driver":
        nvml.refused = {"init"}
    if reason == "no package":
        monkeypatch.setitem(sys.modules, "pynvml", None)
    assert watch("cpu" if reason == "a rank on the CPU" else "cuda:0") is None
    assert nvml.opened == 0 and not caplog.records


def test_a_run_logs_and_reports_its_gpus_figures_and_they_do_not_count_as_repeatable(
    nvml, monkeypatch, line_env, context
):
    """The rank learns on the CPU; only the monitor believes in a GPU."""
    monkeypatch.setattr(gpu, "watch", lambda device, real=gpu.watch: real("cuda:0"))
    seen, run = [], context()
    train(line_spec(totalSteps=UPDATE * 3), run, never, seen.append)
    lines = [json.loads(line) for line in (run.out / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["gpu/utilization"] == 0.5 == seen[-1].metrics["gpu/utilization"]
    assert lines[-1]["gpu/memory_used_gib_max"] == 3.0
    assert nvml.opened == 0
    assert not any(name.startswith("gpu/") for row in rows(run) for name in row)


def test_without_a_gpu_a_run_has_no_such_column(line_env, context):
    run = context()
    train(line_spec(totalSteps=UPDATE), run, never, lambda snapshot: None)
    assert "gpu/" not in (run.out / "metrics.jsonl").read_text()


def test_info_names_the_driver_where_there_is_one(nvml, capsys):
    info(Console(width=120))
    assert "NVIDIA driver 580.65" in capsys.readouterr().out
    for refused in ("version", "init"):
        nvml.refused = {refused}
        assert gpu.driver() == ""
    assert nvml.opened == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="NOT RUN ON A GPU: there is none here")
def test_the_real_nvml_knows_torchs_gpu_and_sees_its_memory():
    held = torch.zeros(2**28, device="cuda")  # 1 GiB
    monitor = watch("cuda:0")
    try:
        row = wait_for(monitor.take)
        properties = torch.cuda.get_device_properties(0)
        assert row["gpu/memory_total_gib"] == pytest.approx(properties.total_memory / 2**30, rel=0.1)
        assert held.nbytes / 2**30 <= row["gpu/memory_used_gib_max"] <= row["gpu/memory_total_gib"]
        assert gpu.driver()
    finally:
        monitor.close()
