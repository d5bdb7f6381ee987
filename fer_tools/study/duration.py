"""How long the training of a study will take on this computer, from a few timed steps.

A rough answer, given before hours of work begin: what is counted are the faces that go through the
networks, forwards and backwards, and a face's work is taken to grow with the network's
multiply-adds. Evaluation, and what is kept from an earlier run, are left out.
"""

from collections.abc import Callable

from fer_lib.params import Study, load
from fer_lib.precision import best_device, resolve, summary
from fer_tools.timing.speed import Step, Variant

FACES = 28_709  # of FER2013's Training
SEQUENCE_FACES = 927  # of CK+48 that have one of the seven emotions
FORWARD = 1 / 3  # of a step: a teacher only looks at the faces
BATCH, STEPS = 64, 2  # timed; on a GPU the batches are the study's own


def faces_to_learn(study: Study) -> float:
    """How many times a face goes through a network in training, all runs of a study together.

    A face that a teacher looks at counts a third. Paper B's network counts like MSFERNet, though it
    has less work with a face.
    """
    teachers = study.teachers.networks
    runs = [study.pretrain.epochs * 2.0]  # two views
    runs += [teacher.epochs for teacher in teachers.values()]
    for train in study.train.values():
        asked = len(teachers) * FORWARD if train.teacher_weight else 0.0
        runs += [train.epochs * (1 + asked)] * (1 + len(study.further_seeds))
    runs += [train.epochs for train in study.intensity.values()]
    folds = 2 * (study.ckplus.folds - 1) * (1 + len(study.further_seeds))  # two ways to split
    return FACES * sum(runs) + SEQUENCE_FACES * folds * study.ckplus.training.epochs


def faces_a_second(study: Study) -> float:
    """How fast this computer trains the network for seven classes, measured in a few seconds."""
    settings, device = resolve(study.train["fer13-7"]), best_device()
    batch = settings.batch_size if device == "cuda" else BATCH
    settings = settings.model_copy(update={"batch_size": batch})
    step = Step(Variant(device, settings.precision), settings)
    step.take()  # what follows needs no preparation any more
    return batch * STEPS / sum(step.take(number)[0] for number in range(1, 1 + STEPS))


def tell(study: str, say: Callable[[str], None]) -> None:
    """Say how long the training of a study will take here, and what takes minutes instead.

    Args:
        study: of `params.yaml`.
        say: is given each line.
    """
    settings = load(study)
    rate = faces_a_second(settings)
    faces = faces_to_learn(settings)
    say(summary(settings.train["fer13-7"], round(FACES * settings.train["fer13-7"].epochs)))
    say(
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
