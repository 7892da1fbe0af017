import json
import math

import pytest
from headway.tracking.jsonl import JsonLines, bytes_up_to, encode
from hypothesis import given
from hypothesis import strategies as st

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
ROWS = st.lists(
    st.tuples(st.integers(1, 50), st.dictionaries(st.sampled_from(["a", "b/c", "time/x"]), FLOATS)), max_size=12
)


def logged(path, rows):
    tracker = JsonLines(path)
    for step, values in rows:
        tracker.log(step, values)
    tracker.close()


def test_a_row_is_sorted_json_with_floats_that_round_trip():
    assert encode(3, {"b": 0.1, "a": 2.0}) == b'{"a": 2.0, "b": 0.1, "step": 3}\n'


def test_what_json_cannot_say_becomes_null():
    assert encode(1, {"x": math.nan, "y": math.inf}) == b'{"step": 1, "x": null, "y": null}\n'


@given(ROWS, st.integers(0, 600))
def test_n_rows_a_resume_and_m_rows_equal_n_plus_m_rows(tmp_path_factory, rows, cut):
    steps = [sum(gap for gap, _ in rows[: i + 1]) for i in range(len(rows))]
    numbered = [(step, values) for step, (_, values) in zip(steps, rows, strict=True)]
    folder = tmp_path_factory.mktemp("jsonl")
    logged(folder / "straight.jsonl", numbered)
    logged(folder / "cut.jsonl", numbered)
    tracker = JsonLines(folder / "cut.jsonl")
    tracker.resume(cut, {})
    for step, values in numbered:
        if step > cut:
            tracker.log(step, values)
    tracker.close()
    straight, cut_back = ((folder / name) for name in ("straight.jsonl", "cut.jsonl"))
    assert not numbered or cut_back.read_bytes() == straight.read_bytes()


@given(FLOATS)
def test_a_float_read_back_is_the_same_float(value):
    assert json.loads(encode(1, {"x": value}))["x"] == value


@pytest.mark.parametrize("torn", [1, 5])
def test_a_torn_last_line_is_cut_off_even_if_only_its_end_of_line_is_missing(tmp_path, torn):
    path = tmp_path / "m.jsonl"
    path.write_bytes(encode(10, {"a": 1.0}) + encode(20, {"a": 2.0})[:-torn])
    assert bytes_up_to(path, 100) == len(encode(10, {"a": 1.0}))


def test_a_line_that_is_no_row_ends_what_is_kept(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(encode(10, {}) + b"[]\n" + encode(20, {}))
    assert bytes_up_to(path, 100) == len(encode(10, {}))


def test_a_run_that_does_not_resume_begins_its_file_anew(tmp_path):
    path = tmp_path / "m.jsonl"
    logged(path, [(1, {"a": 1.0}), (2, {"a": 2.0})])
    logged(path, [(1, {"a": 5.0})])
    assert path.read_bytes() == encode(1, {"a": 5.0})


def test_a_row_is_with_the_operating_system_when_log_returns(tmp_path):
    tracker = JsonLines(tmp_path / "m.jsonl")
    tracker.log(1, {"a": 1.0})
    assert (tmp_path / "m.jsonl").read_bytes() == encode(1, {"a": 1.0})
    tracker.close()


@pytest.mark.parametrize("anew", [True, False])
def test_what_a_leftover_of_an_earlier_attempt_writes_is_in_nobodys_way(tmp_path, anew):
    leftover, successor = JsonLines(tmp_path / "m.jsonl"), JsonLines(tmp_path / "m.jsonl")
    leftover.log(1, {})
    if not anew:
        successor.resume(1, {})
    successor.log(2, {})
    leftover.log(2, {"a": 5.0})
    assert (tmp_path / "m.jsonl").read_bytes() == (b"" if anew else encode(1, {})) + encode(2, {})
    leftover.close()
    successor.close()
