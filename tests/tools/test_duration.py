"""How long a study's training will take: what is counted, and the sentence."""

import pytest

from fer_lib.params import Teachers, Training, load
from fer_tools.study import duration


def test_faces_are_those_of_every_run():
    study = load("paper")
    one = {"seed": 1, "batch_size": 8, "lr": 0.1}
    quiet = study.model_copy(
        update={
            "pretrain": Training(epochs=1, **one),
            "teachers": Teachers(seeds=(1,), epochs=3, batch_size=8, lr=0.1),
            "train": {"fer13-7": Training(epochs=10, **one)}, "further_seeds": (),
            "intensity": {},
            "ckplus": study.ckplus.model_copy(
                update={"folds": 2, "training": Training(epochs=5, **one)}
            ),
        }
    )  # fmt: skip
    folds = 2 * 5 * duration.SEQUENCE_FACES
    assert duration.faces_to_learn(quiet) == duration.FACES * (2 + 3 + 10) + folds
    # A further seed trains again what is not shared; teachers look at each face.
    again = quiet.model_copy(update={"further_seeds": (2,)})
    more = duration.faces_to_learn(again) - duration.faces_to_learn(quiet)
    assert more == duration.FACES * 10 + folds
    taught = Training(epochs=10, teacher_weight=0.5, **one)
    asked = quiet.model_copy(update={"train": {"fer13-7": taught}})
    more = duration.faces_to_learn(asked) - duration.faces_to_learn(quiet)
    assert more == pytest.approx(duration.FACES * 10 / 3)


def test_the_rate_is_that_of_the_timed_steps(monkeypatch):
    asked = []

    class TimedStep:
        def __init__(self, variant, settings):
            asked.append((variant.precision, settings.batch_size))

        def take(self, number=0):
            return (9.0, 0.0) if number == 0 else (2.0, 1.0)  # the first one is not counted

    monkeypatch.setattr(duration, "TimedStep", TimedStep)
    monkeypatch.setattr(duration, "best_device", lambda: "cpu")
    assert duration.faces_a_second(load("paper")) == duration.BATCH / 2
    assert asked[0][1] == duration.BATCH and asked[0][0] != "auto"


def test_it_is_told_with_the_way_that_takes_minutes(monkeypatch):
    monkeypatch.setattr(duration, "faces_a_second", lambda study: 10.0)
    monkeypatch.setattr(duration, "faces_to_learn", lambda study: 10 * 7200.0 * 5)
    lines = []
    duration.estimate("paper", lines.append)
    assert lines[0].startswith("Precision ")
    assert "about 10 hours here" in lines[1] and "`fer study paper --published`" in lines[1]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5, "2 minutes"), (3000, "50 minutes"), (4 * 3600, "4 hours"), (4 * 86_400, "4 days")],
)
def test_a_duration_reads_well(seconds, words):
    assert duration.as_words(seconds) == words
