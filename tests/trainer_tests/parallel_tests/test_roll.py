from headway.errors import RankLostError
from headway.parallel.roll import GONE_LOOKS, LOOK_S, Patience, Roll, Sign, decode, encode

PATIENCE = Patience(arrival_s=300.0, life_s=10 * LOOK_S)


def sign(beat, calls=7, node=0):
    return Sign(beat, node, "", calls)


def heard(looks, **silent_since):
    """Rank 0 of four, two on a node, after so many looks; `r3=5` stops giving signs at look 5."""
    roll = Roll(0, 4)
    for look in range(looks):
        signs = {r: sign(min(look, silent_since.get(f"r{r}", look)), node=r // 2) for r in (1, 2, 3)}
        roll.hear(signs)
    return roll


def test_who_gives_signs_is_not_blamed():
    assert heard(100).hung(7, 299.0, PATIENCE) is None


def test_a_rank_without_a_sign_of_life_is_named_with_its_node_as_soon_as_it_was_silent_for_so_long():
    assert heard(16, r3=6).hung(7, 1.0, PATIENCE) is None  # 9 looks after its last sign
    lost = heard(17, r3=6).hung(7, 1.0, PATIENCE)
    assert (str(lost), lost.ranks, lost.hung) == ("rank 3 (node 1) has given no sign of life for 5 s", (3,), True)


def test_a_node_is_named_by_all_its_ranks():
    lost = heard(17, r2=6, r3=6).hung(7, 1.0, PATIENCE)
    assert str(lost) == "ranks 2 (node 1), 3 (node 1) have given no sign of life for 5 s"


def test_a_new_sign_ends_the_silence():
    roll = heard(16, r3=6)
    roll.hear({3: sign(100)})
    roll.hear({3: sign(100)})
    assert roll.hung(7, 1.0, PATIENCE) is None


def test_a_rank_that_lives_and_does_not_come_is_named_by_its_number_of_calls():
    roll = heard(3)
    roll.hear({2: sign(50, calls=6, node=1)})
    assert roll.hung(7, 299.0, PATIENCE) is None
    lost = roll.hung(7, 300.0, PATIENCE)
    assert str(lost) == "rank 2 (node 1) has not come to where the others wait for 300 s"
    assert (lost.ranks, lost.hung) == ((2,), True)


def test_where_all_wait_for_one_another_nobody_is_named():
    lost = heard(3).hung(7, 300.0, PATIENCE)
    assert (str(lost), lost.ranks) == ("all ranks live and have waited for one another for 300 s", ())


def test_ranks_that_never_began_are_named():
    roll = Roll(1, 3)
    roll.hear({0: sign(1)})
    assert roll.missing == [2]
    assert roll.late(299.0, PATIENCE) is None
    assert str(roll.late(300.0, PATIENCE)) == "rank 2 has not begun for 300 s"
    roll.hear({2: sign(1)})
    assert roll.late(300.0, PATIENCE) is None


def test_after_a_broken_connection_a_short_silence_is_enough():
    assert heard(6 + GONE_LOOKS, r1=6).gone() is None
    lost = heard(7 + GONE_LOOKS, r1=6).gone()
    assert (str(lost), lost.ranks, lost.hung) == ("rank 1 (node 0) is gone", (1,), False)


def test_signs_and_verdicts_travel_as_json():
    assert Sign.decode(Sign(3, 1, "GPU-5", 9).encode().encode()) == Sign(3, 1, "GPU-5", 9)
    lost = decode(encode(RankLostError("rank 1 is gone", (1,))).encode())
    assert (str(lost), lost.ranks, lost.hung) == ("rank 1 is gone", (1,), False)
