"""An estimate of how long the training of a study takes on this computer, from a few timed steps.

A rough estimate, printed before hours of work begin. It counts the faces that go through the
networks, forwards and backwards, and assumes that each takes the same time. It ignores evaluation
and the results of earlier runs.
"""

from collections.abc import Callable

from fer_lib.params import Study, load
from fer_lib.precision import best_device, resolve, summary
from fer_tools.timing.speed import TimedStep, Variant

FACES = 28_709  # of FER2013's Training
SEQUENCE_FACES = 927  # of CK+48 that have one of the seven emotions
FORWARD = 1 / 3  # share of a step that a teacher computes
BATCH, STEPS = 64, 2  # timed; on a GPU the batch size is that of the study


def faces_to_learn(study: Study) -> float:
    """The number of times a face goes through a network in training, over all runs of a study.

    A pass through a teacher counts a third. Paper B's network counts like MSFERNet, although it
    computes less.
    """
    teachers = study.teachers.networks
    runs = [study.pretrain.epochs * 2.0]  # two views
    runs += [teacher.epochs for teacher in teachers.values()]
    for train in study.train.values():
        distilled = len(teachers) * FORWARD if train.teacher_weight else 0.0
        runs += [train.epochs * (1 + distilled)] * (1 + len(study.further_seeds))
    runs += [train.epochs for train in study.intensity.values()]
    protocols = 3 + 2 * len(study.further_seeds)  # the third one with the first seed only
    folds = protocols * (study.ckplus.folds - 1)
    return FACES * sum(runs) + SEQUENCE_FACES * folds * study.ckplus.training.epochs


def faces_per_second(study: Study) -> float:
    """How fast this computer trains the network for seven classes, measured in a few seconds."""
    settings, device = resolve(study.train["fer13-7"]), best_device()
    batch = settings.batch_size if device == "cuda" else BATCH
    settings = settings.model_copy(update={"batch_size": batch})
    step = TimedStep(Variant(device, settings.precision), settings)
    step.run()  # the first one allocates memory
    return batch * STEPS / sum(step.run(number)[0] for number in range(1, 1 + STEPS))


def estimate(study: str, report: Callable[[str], None]) -> None:
    """Report how long the training of a study takes here, and the alternative that takes minutes.

    Args:
        study: of `params.yaml`.
        report: called with each line.
    """
    settings = load(study)
    rate = faces_per_second(settings)
    faces = faces_to_learn(settings)
    report(summary(settings.train["fer13-7"], round(FACES * settings.train["fer13-7"].epochs)))
    report(
        f"At {rate:,.0f} faces per second, training everything takes about "
        f"{duration_text(faces / rate)} here; finished runs are reused, and an interrupted run "
        f"resumes. `fer study {study} --published` evaluates the published weights instead, in "
        "minutes."
    )


def duration_text(seconds: float) -> str:
    """A duration such as "40 minutes", "7 hours" or "3 days"."""
    for unit, size in (("days", 86_400), ("hours", 3600)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds / 60, 2):.0f} minutes"
