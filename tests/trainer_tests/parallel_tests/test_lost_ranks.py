"""A rank that hangs, dies or fails: the others end, and all of them name the same one."""

import os
import signal
import time
from contextlib import ExitStack

import pytest
from headway.curriculum import RunningCurriculum
from headway.errors import RankLostError
from headway.train import train
from trainer_tests.conftest import line_spec
from trainer_tests.parallel_tests import gang
from trainer_tests.parallel_tests.group_program import join_only, vote_until
from trainer_tests.waiting import wait_for

pytestmark = pytest.mark.slow

LIFE_S, SILENCE_S = 3.0, 6.0
GANGS = [(world_size, victim) for world_size in (2, 3) for victim in range(world_size)]
STORE = "node 0, which keeps the ranks' store, "  # without an agent it is in rank 0's process


def others_of(what):
    """Let one rank of each gang do that, all gangs at once; yield the victim and what each other rank has said."""
    with ExitStack() as stack:
        gangs = []
        for world_size, victim in GANGS:
            ranks = gang.start(world_size, vote_until, victim, what, SILENCE_S, LIFE_S)
            gangs.append((stack.enter_context(gang.ended(ranks)), victim))
        began = time.monotonic()
        for ranks, victim in gangs:
            others = [rank for number, rank in enumerate(ranks) if number != victim]
            assert [rank.wait(60) for rank in others] == [1] * len(others)
            yield victim, [rank.log.read_text() for rank in others], time.monotonic() - began


def test_a_stopped_rank_is_named_by_all_others_once_it_has_given_no_sign_of_life():
    for victim, said, seconds in others_of("is stopped"):
        who = f"rank {victim} (node 0) has given no sign of life for 3 s" if victim else f"{STORE}has not answered"
        for text in said:
            assert f"RankLostError: {who}" in text and "given up (votes, update 3)" in text, text
        assert seconds < 50  # torch alone would take 66 s


def test_a_rank_that_lives_and_does_not_come_is_named_when_the_others_have_waited_long_enough():
    for victim, said, _ in others_of("hangs"):
        who = f"rank {victim} (node 0) has not come to where the others wait for 6 s: given up (votes, update 3)"
        for text in said:
            assert f"RankLostError: {who}" in text, text


def test_a_killed_rank_ends_all_others_within_seconds_and_is_named():
    for victim, said, seconds in others_of("is killed"):
        who = f"rank {victim} (node 0) is gone" if victim else f"{STORE}is gone"
        for text in said:
            assert f"RankLostError: {who}: given up (votes, update 3)" in text, text
        assert seconds < 40


def test_the_others_say_how_a_rank_has_failed():
    for victim, said, _ in others_of("raises"):
        who = f"rank {victim} (node 0) has failed: ValueError: the loss is not finite"
        for text in said:  # also of rank 0, with whom the store ends
            assert f"RankLostError: {who}" in text, text


def test_a_rank_that_never_begins_is_named():
    with gang.ended(gang.start(3, join_only)) as ranks:
        os.kill(ranks[2].process.pid, signal.SIGSTOP)  # before it has joined
        for rank in ranks[:2]:
            assert rank.wait(60) == 1
            assert "RankLostError: rank 2 has not begun for 6 s: given up (start)" in rank.log.read_text()


def test_a_gang_that_was_stopped_as_a_whole_or_in_part_for_a_short_time_goes_on(tmp_path):
    ranks = gang.start(3, vote_until, -1, "", SILENCE_S, LIFE_S, str(tmp_path))
    wait_for(lambda: (tmp_path / "0").exists())
    for stopped, seconds in ((ranks, LIFE_S + 2), (ranks[1:2], LIFE_S - 1.5)):
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for rank in stopped:
                os.kill(rank.process.pid, number)
            time.sleep(seconds if number == signal.SIGSTOP else 0)
    for code, output in gang.finish(ranks):
        assert code == 0, output


def test_a_rank_that_goes_on_after_it_was_given_up_finds_that_out_and_ends():
    with gang.ended(gang.start(3, vote_until, 1, "is stopped", SILENCE_S, LIFE_S)) as ranks:
        for rank in (ranks[0], ranks[2]):
            assert rank.wait(60) == 1
        os.kill(ranks[1].process.pid, signal.SIGCONT)
        assert ranks[1].wait(60) == 1
        assert f"RankLostError: {STORE}is gone: given up (votes, update 3)" in ranks[1].log.read_text()


def test_a_rank_that_is_lost_while_a_checkpoint_is_read_is_no_damage_of_the_checkpoint(line_env, context, monkeypatch):
    def lost(*arguments):
        raise RankLostError("rank 1 is gone", (1,))

    spec = line_spec(totalSteps=12 * 8)
    train(spec, context(), lambda: False, lambda snapshot: None)
    monkeypatch.setattr(RunningCurriculum, "restore", lost)  # it adds up over ranks
    with pytest.raises(RankLostError, match="rank 1 is gone"):  # else the run would end for good, by exit code 2
        train(spec, context(attempt=2), lambda: False, lambda snapshot: None)
