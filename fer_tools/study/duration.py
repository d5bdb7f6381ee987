"""How long the training of a study will take on this computer, from a few timed steps.

A rough estimate, given before hours of work begin. It counts the faces that go through the
networks, forwards and backwards, and takes each to cost the same. Evaluation is left out, and so is
what is kept from an earlier run.
"""

from collections.abc import Callable

from fer_lib.params import Study, load
from fer_lib.precision import best_device, resolve, summary
from fer_tools.timing.speed import TimedStep, Variant

FACES = 28_709  # of FER2013's Training
SEQUENCE_FACES = 927  # of CK+48 that have one of the seven emotions
FORWARD = 1 / 3  # of a step: what a teacher computes
BATCH, STEPS = 64, 2  # timed; on a GPU the batches are the study's own


def faces_to_learn(study: Study) -> float:
    """How many times a face goes through a network in training, all runs of a study together.

    A face that goes through a teacher counts a third. Paper B's network counts like MSFERNet,
    though it computes less.
    """
    teachers = study.teachers.networks
    runs = [study.pretrain.epochs * 2.0]  # two views
    runs += [teacher.epochs for teacher in teachers.values()]
    for train in study.train.values():
        distilled = len(teachers) * FORWARD if train.teacher_weight else 0.0
        runs += [train.epochs * (1 + distilled)] * (1 + len(study.further_seeds))
    runs += [train.epochs for train in study.intensity.values()]
    folds = 2 * (study.ckplus.folds - 1) * (1 + len(study.further_seeds))  # two ways to split
    return FACES * sum(runs) + SEQUENCE_FACES * folds * study.ckplus.training.epochs


def faces_a_second(study: Study) -> float:
    """How fast this computer trains the network for seven classes, measured in a few seconds."""
    settings, device = resolve(study.train["fer13-7"]), best_device()
    batch = settings.batch_size if device == "cuda" else BATCH
    settings = settings.model_copy(update={"batch_size": batch})
    step = TimedStep(Variant(device, settings.precision), settings)
    step.take()  # the first one allocates
    return batch * STEPS / sum(step.take(number)[0] for number in range(1, 1 + STEPS))


def estimate(study: str, report: Callable[[str], None]) -> None:
    """Report how long the training of a study will take here, and what takes minutes instead.

    Args:
        study: of `params.yaml`.
        report: is given each line.
    """
    settings = load(study)
    rate = faces_a_second(settings)
    faces = faces_to_learn(settings)
    report(summary(settings.train["fer13-7"], round(FACES * settings.train["fer13-7"].epochs)))
    report(
        f"At {rate:,.0f} faces a second, training everything takes about "
        f"{as_words(faces / rate)} here; runs that are finished already are taken over, and a "
        f"killed one goes on. `fer study {study} --published` evaluates the published weights "
        "instead, in minutes."
    )


def as_words(seconds: float) -> str:
    """Such as "40 minutes", "7 hours" or "3 days"."""
    for unit, size in (("days", 86_400), ("hours", 3600)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds / 60, 2):.0f} minutes"
