from headway.local.screens import BAR, PlainScreen, bar, render
from headway.view import SAVING, View, gate_words, goodput_words, plain_line
from headway_api.progress import CurriculumProgress, Goodput, Progress
from rich.console import Console
from trainer_tests.local_tests.test_document import MINIMAL, run

STAGES = [
    {"name": name, "levels": {"world": {"empty": {}}}, "gate": {"successRate": gate}}
    for name, gate in (("empty", 0.9), ("sparse", 0.8))
]
RUN = run(train=MINIMAL["spec"]["train"] | {"curriculum": {"stages": STAGES}, "totalSteps": 40000})


def progress(**changes):
    fields = {
        "step": 10000,
        "total_steps": 40000,
        "percent": 25,
        "eta": "1m00s",
        "steps_per_second": 500.0,
        "metrics": {
            "curriculum/gate_lower_bound": 0.68,
            "curriculum/gate_episodes": 1000.0,
            "episodes/reward": 4.8123,
            "episodes/collision_rate": 0.12,
        },
        "curriculum": CurriculumProgress(
            stage=2, stage_name="sparse", stages=2, success_rate=0.71, episodes_in_stage=1200
        ),
    }
    return Progress(**{**fields, **changes})


def test_the_plain_line_of_a_run_that_starts():
    assert plain_line(View(RUN, 3.0)).startswith("    3s  starting")


def test_the_plain_line_of_a_run_that_trains():
    assert plain_line(View(RUN, 75.0, progress())) == (
        " 1m15s  stage 2/2 sparse  success 71 %, gate 80 % · surely 68 %  step 10,000 of 40,000 (25 %)  "
        "500 steps/s  at most 1m00s left  reward 4.81  collisions 12 %"
    )


def test_a_gate_that_has_not_seen_enough_episodes_says_how_many_it_has():
    metrics = progress().metrics | {"curriculum/gate_episodes": 200.0}
    assert "gate 80 % · 200 of 1,000 episodes" in plain_line(View(RUN, 1.0, progress(metrics=metrics)))


def test_before_any_episode_has_ended_there_is_a_gate_and_no_success():
    curriculum = CurriculumProgress(stage=1, stage_name="empty", stages=2, episodes_in_stage=0)
    line = plain_line(View(RUN, 1.0, progress(curriculum=curriculum, metrics={"curriculum/gate_episodes": 0.0})))
    assert "empty  gate 90 %  step" in line


def test_self_play_shows_rating_pool_and_how_much_is_won_beside_it():
    metrics = progress().metrics | {"selfplay/rating": 1043.4, "selfplay/pool": 8.0}
    line = plain_line(View(RUN, 1.0, progress(metrics=metrics)))
    assert line.endswith("collisions 12 %  rating 1,043 (8 in the pool)")
    won = plain_line(View(RUN, 1.0, progress(metrics=metrics | {"selfplay/win_rate": 0.72})))
    assert won.endswith("rating 1,043 (8 in the pool, 72 % won)")


def gated(gate, **curriculum_fields):
    """A run whose second stage has this gate."""
    stages = [STAGES[0], STAGES[1] | {"gate": gate}]
    made = run(train=MINIMAL["spec"]["train"] | {"curriculum": {"stages": stages}, "totalSteps": 40000})
    fields = {"stage": 2, "stage_name": "sparse", "stages": 2, "success_rate": 0.71, "episodes_in_stage": 1200}
    metrics = progress().metrics | {"curriculum/gate_collision_bound": 0.034}
    return View(made, 1.0, progress(curriculum=CurriculumProgress(**fields | curriculum_fields), metrics=metrics))


def test_a_gate_on_collisions_and_reward_shows_both():
    words = gate_words(gated({"successRate": 0.8, "collisionRate": 0.05, "reward": 1.5}, reward=1.25))
    assert words == "gate 80 % · surely 68 % · collisions at most 5 %, surely 3 % · reward 1.5, now 1.25"


def test_a_gate_on_reward_alone_says_nothing_of_success():
    view = gated({"successRate": 0, "reward": -120.0}, reward=-130.5)
    assert gate_words(view) == "reward -120, now -130.50"
    assert "┃" not in drawn(view)[1]  # there is no rate to be reached


def test_demotions_are_counted_once_there_are_any():
    assert "demotion" not in plain_line(gated({}))
    assert plain_line(gated({}, demotions=1)).endswith("collisions 12 %  1 demotion")
    assert plain_line(gated({}, demotions=2)).endswith("2 demotions")


def goodput(useful, start_up=0.0, recompute=0.0, checkpointing=0.0, waiting=0.0):
    fraction = useful / (useful + start_up + recompute + checkpointing + waiting)
    return Goodput(
        fraction=fraction, useful_seconds=useful, start_up_seconds=start_up, recompute_seconds=recompute,
        checkpointing_seconds=checkpointing, waiting_seconds=waiting,
    )  # fmt: skip


def test_goodput_is_the_last_figure():
    assert plain_line(View(RUN, 75.0, progress(goodput=goodput(96.0, 4.0)))).endswith("collisions 12 %  goodput 96 %")


def test_goodput_in_words_tells_where_at_least_a_second_went():
    assert goodput_words(goodput(120.0)) == "100 % of 2m00s"
    assert goodput_words(goodput(90.0, start_up=20.0, checkpointing=0.4, waiting=9.6)) == (
        "75 % of 2m00s: start-up 20s, waiting 10s"
    )
    assert goodput_words(goodput(60.0, 6.0, 30.0, 4.0)) == "60 % of 1m40s: start-up 6s, recompute 30s, checkpoints 4s"


def test_a_manual_schedule_has_left_no_stage_behind():
    manual = {"stages": STAGES, "schedule": {"manual": {"stage": "sparse"}}}
    view = View(run(train=MINIMAL["spec"]["train"] | {"curriculum": manual}), 75.0, progress())
    assert drawn(view)[0] == " ○ empty   ◐ sparse   1m15s"


def drawn(view, width=100):
    console = Console(width=width, record=True, file=open("/dev/null", "w"), force_terminal=True)  # noqa: SIM115
    console.print(render(view))
    return [line.rstrip() for line in console.export_text().splitlines() if line.strip()]


def test_the_live_view_of_a_run_that_trains():
    # 71 % of 32 characters are 23, 25 % are 8; the gate's mark stands at 80 %, the 26th.
    assert drawn(View(RUN, 75.0, progress())) == [
        " ● empty   ◐ sparse   1m15s",
        " success   " + "━" * 23 + "───" + "┃" + "─" * 5 + "   71 %  gate 80 % · surely 68 %",
        " steps     " + "━" * 8 + "─" * 24 + "   25 %  10,000 of 40,000",
        " 500 steps/s · at most 1m00s left · reward 4.81 · collisions 12 %",
    ]


def test_a_narrow_terminal_cuts_words_and_keeps_lines_and_bars():
    lines = drawn(View(RUN, 75.0, progress()), width=60)
    assert len(lines) == 4
    assert lines[1].startswith(" success   " + "━" * 23 + "───┃─────   71 %  gate")
    assert all(len(line) <= 60 for line in lines)


def test_the_live_view_says_that_it_saves_and_what_ctrl_c_does_now():
    assert drawn(View(RUN, 75.0, progress(), saving=True))[-1] == f" {SAVING}"


def test_a_bar_is_as_long_as_any_other_whatever_it_shows():
    assert {len(bar(share, "blue", mark)) for share in (-1.0, 0.0, 0.5, 1.0, 2.0) for mark in (None, 0.0, 1.0)} == {BAR}


def test_the_plain_screen_prints_only_what_is_new(capsys):
    screen = PlainScreen(Console(width=40), every_seconds=0.0)
    for number in (1, 1, 2):
        screen.show(View(RUN, 2.0, progress(number=number)))
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_the_plain_screen_keeps_its_pace_and_prints_at_once_when_something_changes(capsys):
    screen = PlainScreen(Console(width=40), every_seconds=3600)
    for _ in range(3):
        screen.show(View(RUN, 1.0))
    for number in (1, 2, 3):
        screen.show(View(RUN, 2.0, progress(number=number)))
    for number in (4, 5):
        screen.show(View(RUN, 3.0, progress(number=number), saving=True))
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["starting…", "stage", "saving"]
