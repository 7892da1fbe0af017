import math

import pytest
import torch
from headway.algos import batch_finder, build_algorithm
from headway.algos.batch_finder import Finding, find, is_refusal, measurement
from headway.algos.micro_batch import MicroBatch
from headway.errors import SpecError
from headway.parallel import Group
from trainer_tests.conftest import line_spec
from trainer_tests.line_env import LineEnv

CPU = torch.device("cpu")


def table(rates, most=math.inf):
    """A measurement: rows a second by rows, refused where they are more than `most`; and what was asked."""
    asked = []

    def measure(rows):
        asked.append(rows)
        return None if rows > most else rates(rows)

    return measure, asked


def saturating(rows):
    """A fixed cost of 100 rows beside each row's own."""
    return rows / (100 + rows)


@pytest.mark.parametrize(
    ("rates", "memory", "most", "unit", "tried", "finding"),
    [
        (saturating, math.inf, 100, 1, [16, 32, 64, 100], Finding(100, "memory takes them all")),
        (saturating, math.inf, 9, 1, [9], Finding(9, "memory takes them all")),
        (saturating, 300, 4096, 1, [16, 32, 64, 128, 256, 512], Finding(256, "memory refuses 512")),
        # 1024 rows are 91 % of the limit and 2048 are 95 %: 4.8 % more, which is worth having and the end of it.
        (
            saturating, math.inf, 65536, 1, [16, 32, 64, 128, 256, 512, 1024, 2048],
            Finding(2048, "more rows are no faster"),
        ),
        # Out of the cache: 64 are slower than 32.
        (lambda rows: min(rows, 1024 / rows), math.inf, 4096, 1, [16, 32, 64], Finding(32, "more rows are no faster")),
        # Even the start is too much: halved until it fits.
        (saturating, 5, 4096, 1, [16, 8, 4], Finding(4, "memory refuses 8")),
        (saturating, 0, 4096, 1, [16, 8, 4, 2, 1], Finding(0, "memory refuses 1")),
        # Whole rollouts of 12 rows, and of 40, one of which is more than the usual start.
        (saturating, 100, 480, 12, [12, 24, 48, 96, 192], Finding(96, "memory refuses 192")),
        (saturating, 100, 480, 40, [40, 80, 160], Finding(80, "memory refuses 160")),
        (saturating, 30, 480, 40, [40], Finding(0, "memory refuses 40")),
    ],
)  # fmt: skip
def test_rows_double_while_memory_takes_them_and_they_go_faster(rates, memory, most, unit, tried, finding):
    measure, asked = table(rates, memory)
    assert find(measure, most, unit) == finding
    assert asked == tried


@pytest.mark.parametrize(
    ("error", "refused"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (MemoryError(), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_only_full_memory_is_a_refusal(error, refused):
    assert is_refusal(error) is refused


class Rehearsed:
    """An algorithm whose memory holds so many rows."""

    def __init__(self, rows, words="DefaultCPUAllocator: can't allocate memory"):
        self.rows, self.words = rows, words
        self.micro = MicroBatch(64)

    def rehearsal(self, rows):
        def rehearse():
            if rows > self.rows:
                raise RuntimeError(self.words)

        return rehearse

    def get_state(self):
        return {}


def test_a_measurement_is_refused_by_memory_and_raises_everything_else():
    measure = measurement(Rehearsed(32), CPU)
    assert measure(32) > 0 and measure(33) is None
    with pytest.raises(RuntimeError, match="shapes"):
        measurement(Rehearsed(32, "shapes cannot be multiplied"), CPU)(33)


def test_the_torch_here_says_so_when_memory_is_full():
    with pytest.raises(RuntimeError) as refusal:
        torch.empty(2**62, dtype=torch.uint8)
    assert is_refusal(refusal.value)


def test_where_not_one_row_fits_the_run_ends_and_says_so():
    with pytest.raises(SpecError, match=r"train.microBatch: 'auto': memory does not take a single row"):
        batch_finder.settle("auto", 0, Rehearsed(0), Group(), CPU)


def test_what_was_found_is_kept_and_a_number_does_not_forget_it():
    algorithm = Rehearsed(0)  # a search would fail
    assert batch_finder.settle("auto", 48, algorithm, Group(), CPU) == 48 and algorithm.micro.rows == 48
    assert batch_finder.settle(16, 48, algorithm, Group(), CPU) == 48 and algorithm.micro.rows == 16


class Other(Group):
    """One of two ranks, the other of which has found 16 rows."""

    def least(self, number):
        return min(number, 16)


def test_all_ranks_take_what_the_smallest_takes(monkeypatch, caplog):
    monkeypatch.setattr(batch_finder, "measurement", lambda algorithm, device: table(lambda rows: rows)[0])
    algorithm = Rehearsed(64)
    with caplog.at_level("INFO"):
        assert batch_finder.settle("auto", 0, algorithm, Other(), CPU) == 16
    assert algorithm.micro.rows == 16
    assert "auto: 16 of a rank's 64 rows go through the networks at a time: another rank takes no more" in caplog.text


def test_that_rollouts_are_kept_whole_is_said(caplog, tmp_path):
    spec = line_spec(network={"gru": {"hidden": [8], "size": 4}})  # minibatches of 48 rows, rollouts of 8
    algorithm = build_algorithm(spec, LineEnv(12), Group(), CPU, 1, tmp_path)
    with caplog.at_level("INFO"):
        batch_finder.settle(20, 0, algorithm, Group(), CPU)
    assert algorithm.micro.rows == 16
    assert "train.microBatch: 20 rows are made 16" in caplog.text


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="NOT RUN ON A GPU: there is none here")
def test_a_gpu_that_is_full_refuses_and_goes_on():
    class Filling(Rehearsed):
        def rehearsal(self, rows):
            return lambda: torch.empty(rows * 2**30, dtype=torch.uint8, device="cuda")

    gpu = torch.device("cuda")
    measure = measurement(Filling(0), gpu)
    assert measure(1) > 0 and measure(2**20) is None and measure(1) > 0  # 1 GiB, 1 PiB
