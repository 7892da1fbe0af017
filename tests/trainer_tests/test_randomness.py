import torch
from headway import randomness


def words(counter, key):
    return [int(w) for w in randomness.philox(tuple(torch.tensor(c) for c in counter), key)]


def test_philox_gives_the_published_answers():
    # Random123's kat_vectors, philox 4x32 10 rounds.
    assert words((0, 0, 0, 0), (0, 0)) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    ones = 0xFFFFFFFF
    assert words((ones, ones, ones, ones), (ones, ones)) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    pi = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
    assert words(pi, (0xA4093822, 0x299F31D0)) == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


def test_a_seed_is_itself_before_a_rollback_and_another_after_each():
    seeds = [[randomness.shifted(seed, rollbacks) for rollbacks in range(4)] for seed in (0, 1, 2**31 - 1)]
    assert [row[0] for row in seeds] == [0, 1, 2**31 - 1]
    assert len({seed for row in seeds for seed in row}) == 12
    assert all(0 <= seed < 2**31 for row in seeds for seed in row)


def test_noise_is_the_same_for_any_split_of_environments_and_steps():
    whole = randomness.normals(7, torch.arange(6), torch.arange(10, 14), size=2)
    assert whole.shape == (4, 6, 2)
    split = randomness.normals(7, torch.arange(3, 6), torch.arange(12, 14), size=2)
    assert torch.equal(whole[2:, 3:], split)


def test_noise_differs_between_seeds_environments_steps_and_entries():
    noise = randomness.normals(7, torch.arange(50), torch.arange(50), size=5)
    assert noise.unique().numel() == noise.numel()
    assert not torch.equal(noise, randomness.normals(8, torch.arange(50), torch.arange(50), size=5))


def test_noise_is_standard_normal():
    noise = randomness.normals(0, torch.arange(500), torch.arange(200), size=2)  # 200,000 numbers
    assert abs(float(noise.mean())) < 0.01
    assert abs(float(noise.std()) - 1.0) < 0.01
    assert abs(float((noise.abs() < 1.0).float().mean()) - 0.6827) < 0.005
    assert abs(float((noise[..., 0] * noise[..., 1]).mean())) < 0.01


def test_steps_beyond_32_bits_do_not_repeat():
    near, far = (randomness.normals(0, torch.arange(4), torch.tensor([s]), size=2) for s in (5, 5 + 2**32))
    assert not torch.equal(near, far)


def test_a_permutation_holds_every_item_once_and_depends_on_each_argument():
    def order(*arguments):
        return randomness.permutation(1000, *arguments, device=torch.device("cpu"))

    base = order(0, 3, 1, 0)
    assert torch.equal(base.sort().values, torch.arange(1000))
    assert torch.equal(base, order(0, 3, 1, 0))
    for other in ((1, 3, 1, 0), (0, 4, 1, 0), (0, 3, 2, 0), (0, 3, 1, 8)):
        assert not torch.equal(base, order(*other))
