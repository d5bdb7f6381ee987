"""The estimate of a study's training time: the faces it counts, and its message."""

import pytest

from fer_lib.params import Teachers, Training, load
from fer_tools.study import duration


def test_faces_of_every_run_are_counted():
    study = load("paper")
    common = {"seed": 1, "batch_size": 8, "lr": 0.1}
    small = study.model_copy(
        update={
            "pretrain": Training(epochs=1, **common),
            "teachers": Teachers(seeds=(1,), epochs=3, batch_size=8, lr=0.1),
            "train": {"fer13-7": Training(epochs=10, **common)}, "further_seeds": (),
            "intensity": {},
            "ckplus": study.ckplus.model_copy(
                update={"folds": 2, "training": Training(epochs=5, **common)}
            ),
        }
    )  # fmt: skip
    fold = 5 * duration.SEQUENCE_FACES
    assert duration.faces_to_learn(small) == duration.FACES * (2 + 3 + 10) + 3 * fold
    # A further seed trains all networks again except pretraining and the teachers.
    two_seeds = small.model_copy(update={"further_seeds": (2,)})
    more = duration.faces_to_learn(two_seeds) - duration.faces_to_learn(small)
    assert more == duration.FACES * 10 + 2 * fold
    distilled = Training(epochs=10, teacher_weight=0.5, **common)
    with_teacher = small.model_copy(update={"train": {"fer13-7": distilled}})
    more = duration.faces_to_learn(with_teacher) - duration.faces_to_learn(small)
    assert more == pytest.approx(duration.FACES * 10 / 3)


def test_the_rate_is_that_of_the_timed_steps(monkeypatch):
    timed = []

    class TimedStep:
        def __init__(self, variant, settings):
            timed.append((variant.precision, settings.batch_size))

        def run(self, number=0):
            return (9.0, 0.0) if number == 0 else (2.0, 1.0)  # the first one is not counted

    monkeypatch.setattr(duration, "TimedStep", TimedStep)
    monkeypatch.setattr(duration, "best_device", lambda: "cpu")
    assert duration.faces_per_second(load("paper")) == duration.BATCH / 2
    assert timed[0][1] == duration.BATCH and timed[0][0] != "auto"


def test_the_message_mentions_the_faster_alternative(monkeypatch):
    monkeypatch.setattr(duration, "faces_per_second", lambda study: 10.0)
    monkeypatch.setattr(duration, "faces_to_learn", lambda study: 10 * 7200.0 * 5)
    lines = []
    duration.estimate("paper", lines.append)
    assert lines[0].startswith("Precision ")
    assert "about 10 hours here" in lines[1] and "`fer study paper --published`" in lines[1]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "2 minutes"), (3000, "50 minutes"), (4 * 3600, "4 hours"), (4 * 86_400, "4 days")],
)
def test_a_duration_is_readable(seconds, text):
    assert duration.duration_text(seconds) == text
