"""`params.yaml`, read and checked: a wrong value ends in one sentence with file and place.

Each stage reads one section of its study, so DVC reruns just the stages whose section changed.
Nothing here imports torch, so that a stage which needs none starts at once.
"""

from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic.dataclasses import dataclass

from fer_lib.errors import UserError
from fer_lib.paths import project_root

Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
PRECISIONS: tuple[str, ...] = get_args(Precision)


def _not_boolean(value: Any) -> Any:
    if isinstance(value, bool):  # which Python counts as 1 or 0
        raise ValueError("should be a number, not true or false")
    return value


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("should be odd, so that a kernel has a middle")
    return value


def _different(values: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(values)) < len(values):
        raise ValueError("should hold each number once")
    return values


Number = Annotated[float, BeforeValidator(_not_boolean), Field(allow_inf_nan=False)]
Whole = Annotated[int, BeforeValidator(_not_boolean)]
Share = Annotated[Number, Field(ge=0, le=1)]
Fraction = Annotated[Number, Field(ge=0, lt=1)]
Positive = Annotated[Number, Field(gt=0)]
NotNegative = Annotated[Number, Field(ge=0)]
Count = Annotated[Whole, Field(ge=1)]
Seed = Annotated[Whole, Field(ge=0, lt=2**32)]  # what numpy takes
Width = Annotated[Whole, Field(ge=1, le=4096)]
Kernel = Annotated[Whole, Field(ge=1, le=47), AfterValidator(_odd)]  # smaller than a face


@dataclass(frozen=True, config={"extra": "forbid"})
class Architecture:
    """Everything that decides the shape of a network; stored beside its weights.

    The defaults give 2.37 million parameters with seven classes; all are multiples of eight, which
    a GPU's matrix units ask for. `branches`, `attention`,
    `residual` and `fuse_first` are the switches of the ablation.
    """

    first_width: Width = 16
    second_width: Width = 40  # of each branch of stage 2, which concatenates them
    # of the residual blocks after stage 2
    widths: Annotated[tuple[Width, ...], Field(min_length=1)] = (128, 240, 256)
    # kernel sizes side by side; (3,) is a single scale
    branches: Annotated[tuple[Kernel, ...], Field(min_length=1)] = (3, 5)
    attention: bool = True
    residual: bool = True
    fuse_first: Literal["add", "concat"] = "add"


@dataclass(frozen=True, config={"extra": "forbid"})
class VggArchitecture:
    """Everything that decides the shape of paper B's kind of network; stored beside its weights.

    Paper B states a compact network derived from VGG-S, not its widths; these are chosen here.

    Attributes:
        kernels: side of each convolution, the first ones large as in VGG-S.
        widths: channels of each convolution.
        pools: after which convolutions (from 0) the map is halved.
        hidden: width of the fully connected layer, which gives the features.
    """

    kernels: Annotated[tuple[Kernel, ...], Field(min_length=1)] = (7, 5, 3, 3, 3)
    widths: Annotated[tuple[Width, ...], Field(min_length=1)] = (32, 64, 128, 128, 128)
    # 48 pixels can be halved five times
    pools: Annotated[
        tuple[Annotated[Whole, Field(ge=0)], ...], Field(max_length=5), AfterValidator(_different)
    ] = (0, 1, 4)
    hidden: Width = 256

    def __post_init__(self) -> None:
        if len(self.kernels) != len(self.widths):
            raise ValueError(f"{len(self.kernels)} kernels for {len(self.widths)} widths")
        if any(place >= len(self.widths) for place in self.pools):
            raise ValueError(f"pools name a convolution above {len(self.widths) - 1}, the last one")


@dataclass(frozen=True, config={"extra": "forbid"})
class Augmentation:
    """How far a face may be changed without changing what it expresses.

    Attributes:
        flip: probability of a horizontal flip.
        rotate: largest rotation, degrees, in both directions.
        shift: largest shift, as a fraction of the side, along both axes and in both directions.
        scale: largest change of size, as a fraction, in both directions.
        gamma: largest log2 of the exponent applied to grey values in [0, 1] (0 = none).
        erase: probability that a box of up to a third of each side is replaced by mid-grey.
    """

    flip: Share = 0.5
    rotate: Annotated[Number, Field(ge=0, le=180)] = 10.0
    shift: Share = 0.08
    scale: Fraction = 0.1
    gamma: Annotated[Number, Field(ge=0, le=5)] = 0.5
    erase: Share = 0.25


Kind = TypeVar("Kind", bound="Section")


class Section(BaseModel):
    """A part of `params.yaml`: unknown names are refused, so that no slip is a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class World(Section):
    """The synthetic faces of the sample study."""

    seed: Seed
    train: Count
    public_test: Count
    private_test: Count
    subjects: Annotated[Whole, Field(ge=10)]
    video_seconds: Positive


class Recipe(Section):
    """One run of the training loop, without its seed.

    Units: `lr` a step, `warmup_epochs` and `epochs` in passes over the training set, `batch_size`
    in faces (each SupCon face gives two views). `precision` is as in lightning's Fabric, or "auto":
    bfloat16 where this computer has it, else float32 (`precision.py`); `compile` asks for
    `torch.compile` where it pays. `optimizer` is that of `optimizers.make_optimizer`, `mixup` the
    alpha of `augment.mixup`, `teacher_weight` the weight of the loss against the teachers' soft
    targets (`distillation.py`).
    """

    epochs: Count
    batch_size: Annotated[Whole, Field(ge=2)]
    optimizer: Literal["adamw", "muon"] = "adamw"
    lr: Positive
    weight_decay: NotNegative = 0.0
    warmup_epochs: NotNegative = 0.0
    ema_decay: Fraction = 0.0
    label_smoothing: Fraction = 0.0
    dropout: Fraction = 0.0
    mixup: NotNegative = 0.0
    temperature: Positive = 0.1
    embedding_width: Count = 128
    teacher_weight: Share = 0.0
    precision: Precision = "auto"
    compile: bool = False
    augmentation: Augmentation = Augmentation()


class Training(Recipe):
    """One run of the training loop."""

    seed: Seed


class Teachers(Recipe):
    """Networks whose predictions the published ones learn from; only their seeds differ."""

    seeds: Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(_different)]

    @property
    def networks(self) -> dict[str, Training]:
        """The teachers by name: "teacher-1" has the first seed."""
        recipe = self.model_dump(exclude={"seeds"})
        return {
            f"teacher-{number}": Training(seed=seed, **recipe)
            for number, seed in enumerate(self.seeds, start=1)
        }


class TwoHeadTraining(Training):
    """One run of a network with two heads.

    `class_weight` and `intensity_weight` are the factors of the two parts of the loss
    (`training/two_head.py`); 0 leaves a part out.
    """

    class_weight: NotNegative = 1.0
    intensity_weight: NotNegative = 1.0


class CkPlus(Section):
    """Cross-validation on CK+, from an encoder pretrained on FER2013.

    Both protocols share every setting.
    """

    folds: Annotated[Whole, Field(ge=2)]
    split_seed: Seed
    training: Training


class Sequences(Section):
    """Intensity from a frame's place in its CK+ sequence; see `intensity_probe.probe`."""

    folds: Annotated[Whole, Field(ge=2)]
    split_seed: Seed
    decay: NotNegative


class Evaluation(Section):
    """What the evaluation notebooks need beside the weights."""

    bootstrap: Annotated[Whole, Field(ge=100)]
    seed: Seed


class Video(Section):
    """From video to valence line."""

    smoothing_seconds: NotNegative


class CarryOver(Section):
    """Tests on faces from elsewhere: how many, and how long.

    `condition_faces` of PublicTest are made worse by degrees, `drawn_people` are drawn in each
    turn of the head and at rest, and `videos` of `video_seconds` are drawn. Of CK+'s release
    `sequences` are followed from neutral to apex. `allowed_loss` is the
    loss of accuracy at which a condition has reached its limit (chosen).
    """

    condition_faces: Count
    drawn_people: Annotated[Whole, Field(ge=2)]
    videos: Annotated[Whole, Field(ge=2)]
    video_seconds: Annotated[Number, Field(ge=2)]
    sequences: Count
    allowed_loss: Annotated[Number, Field(gt=0, lt=1)]


class Study(Section):
    """One study: where its raw data lies, and one section a stage.

    `further_seeds` are trained beside the published one, to measure the variance over seeds.
    """

    raw: Path
    world: World | None = None
    model: Architecture
    pretrain: Training
    teachers: Teachers
    train: dict[Literal["fer13-7", "fer13-3"], Training]
    further_seeds: Annotated[tuple[Seed, ...], AfterValidator(_different)]
    ckplus: CkPlus
    vgg: VggArchitecture
    intensity: dict[Literal["ferplus-7", "ferplus-7-vgg"], TwoHeadTraining]
    sequences: Sequences
    evaluation: Evaluation
    video: Video
    carry_over: CarryOver
    publish_weights: bool

    @model_validator(mode="after")
    def _names_are_distinct(self) -> Self:
        for section in ("train", "intensity"):
            given, known = getattr(self, section), Study.model_fields[section].annotation
            if missing := [n for n in get_args(get_args(known)[0]) if n not in given]:
                raise ValueError(f"{section} lacks {missing[0]}")
        if 0 in self.further_seeds or self.train["fer13-7"].seed in self.further_seeds:
            raise ValueError("further_seeds names 0, or the seed of train.fer13-7")
        return self


def load(study: str, root: Path | None = None) -> Study:
    """Read and check the section of one study.

    Args:
        study: "sample" or "paper", or whatever `params.yaml` names under `studies`.
        root: folder of `params.yaml`; by default the project's.

    Raises:
        UserError: naming the file, the value and what is allowed.
    """
    file = (root or project_root()) / "params.yaml"
    studies = read_yaml(file).get("studies")
    if not isinstance(studies, dict) or not isinstance(studies.get(study), dict):
        raise UserError(f"{file} has no section studies.{study}: add it, or name another study.")
    return checked(Study, studies[study], file, f"studies.{study}")


def checked(kind: type[Kind], section: dict, file: Path, place: str) -> Kind:
    """A section of a file of settings as a `kind`.

    Raises:
        UserError: naming the file, the value's place in it, the value, and what is allowed.
    """
    try:
        return kind.model_validate(section)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in (place, *first["loc"]) if part != "[key]")
        value = "" if isinstance(first["input"], dict) else f" = {first['input']!r:.80}"
        message = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{file}: {where}{value}: {message}; change the value there.") from None


def read_yaml(file: Path) -> dict:
    """A file of settings.

    Raises:
        UserError: if it is missing, no plain file, not UTF-8, no YAML, no mapping, or names
            something twice in the same place (of which YAML readers silently drop one).
    """
    if not file.is_file():  # a pipe would be waited for
        raise UserError(f"{file} is missing: restore it with `git checkout {file.name}`.")
    try:
        settings = yaml.load(file.read_text(encoding="utf-8"), _EachOnce)
    except UnicodeDecodeError as error:
        raise UserError(f"{file} is not UTF-8 ({error.reason}): save it as UTF-8.") from None
    except OSError as error:
        raise UserError(f"{file} cannot be read ({error.strerror}): check the disk.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        raise UserError(f"{file}{line}: no valid YAML ({reason}): correct it there.") from None
    if not isinstance(settings, dict):
        raise UserError(f"{file} is no mapping of names to settings: restore it with git.")
    return settings


class _EachOnce(yaml.SafeLoader):
    """Refuses a mapping that holds a key twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"{key.value} stands there twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)
