from headway import units


def test_bytes_are_told_in_the_largest_unit_that_they_fill():
    told = {0: "0 B", 999: "999 B", 1000: "1.0 kB", 2_345_678: "2.3 MB", 7.79e10: "77.9 GB"}
    assert {size: units.size(size) for size in told} == told
