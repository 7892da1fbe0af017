import numpy as np
import pytest
from headway.envs.nav.philox import philox, uniforms

ONES = 0xFFFFFFFF
# Random123's published known-answer vectors (kat_vectors, philox4x32 10): counter, key, result.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_philox_gives_the_published_answers(counter, key, result):
    words = [np.uint32(word) for word in (*counter, *key)]
    assert tuple(int(word) for word in philox(*words)) == result


def test_uniforms_are_the_words_top_24_bits():
    # Key (seed 0, stream 0) and an all-zero counter: the first known answer.
    expected = [word >> 8 for word in KNOWN[0][2]]
    assert [round(u * 2**24) for u in uniforms((0, 0, 0, 0, 0), 0, 0, 0)] == expected


def test_every_part_of_the_key_changes_the_draw():
    names = {uniforms((0, 0, 0, 0, 0), 1, 0, 0)}
    for place in range(5):
        names.add(uniforms(tuple(int(k == place) for k in range(5)), 1, 0, 0))
    names |= {uniforms((0, 0, 0, 0, 0), *rest) for rest in ((2, 0, 0), (1, 1, 0), (1, 0, 1))}
    assert len(names) == 9


def test_draws_are_uniform_and_unrelated():
    # 4000 draws of four: the mean of a uniform has a standard error of 0.289 / sqrt(4000) = 0.0046.
    draws = np.array([uniforms((7, 0, 1, 0, index), 1, 0, 0) for index in range(4000)])
    assert np.abs(draws.mean(axis=0) - 0.5).max() < 5 * 0.0046
    assert np.abs(np.corrcoef(draws.T) - np.eye(4)).max() < 5 / np.sqrt(4000)
    assert draws.min() >= 0.0
    assert draws.max() < 1.0
