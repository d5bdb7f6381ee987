"""`params.yaml`, read and checked.

Each stage reads one section of its study, so DVC reruns just the stages whose section changed.
Nothing here imports torch, so that a stage which needs none starts at once.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fer_lib.errors import UserError
from fer_lib.paths import project_root

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]
PRECISIONS: tuple[str, ...] = get_args(Precision)


@dataclass(frozen=True)
class Architecture:
    """Everything that decides the shape of a network; stored beside its weights.

    The defaults give 2.37 million parameters with seven classes; all are multiples of eight, which
    a GPU's matrix units ask for. `branches`, `attention`,
    `residual` and `fuse_first` are the switches of the ablation.
    """

    first_width: int = 16
    second_width: int = 40  # of each branch of stage 2, which concatenates them
    widths: tuple[int, ...] = (128, 240, 256)  # of the residual blocks after stage 2
    branches: tuple[int, ...] = (3, 5)  # kernel sizes side by side; (3,) is a single scale
    attention: bool = True
    residual: bool = True
    fuse_first: str = "add"  # or "concat"

    def __post_init__(self) -> None:
        # Read back from JSON the tuples arrive as lists.
        object.__setattr__(self, "widths", tuple(self.widths))
        object.__setattr__(self, "branches", tuple(self.branches))
        if self.fuse_first not in ("add", "concat"):
            raise ValueError(f"fuse_first must be 'add' or 'concat', not {self.fuse_first!r}")

    def as_dict(self) -> dict:
        """The fields as plain JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class VggArchitecture:
    """Everything that decides the shape of paper B's kind of network; stored beside its weights.

    Paper B states a compact network derived from VGG-S, not its widths; these are chosen here.

    Attributes:
        kernels: side of each convolution, the first ones large as in VGG-S.
        widths: channels of each convolution.
        pools: after which convolutions (from 0) the picture is halved.
        hidden: width of the fully connected layer, which gives the features.
    """

    kernels: tuple[int, ...] = (7, 5, 3, 3, 3)
    widths: tuple[int, ...] = (32, 64, 128, 128, 128)
    pools: tuple[int, ...] = (0, 1, 4)
    hidden: int = 256

    def __post_init__(self) -> None:
        for name in ("kernels", "widths", "pools"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.kernels) != len(self.widths):
            raise ValueError(f"{len(self.kernels)} kernels for {len(self.widths)} widths")

    def as_dict(self) -> dict:
        """The fields as plain JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class Augmentation:
    """How far a face may be changed without changing what it expresses.

    Attributes:
        flip: probability of a mirror image.
        rotate: largest turn, degrees either way.
        shift: largest move, as a share of the side, either way, both directions.
        scale: largest change of size, as a share, either way.
        gamma: largest log2 of the exponent applied to grey values in [0, 1] (0 = none).
        erase: probability that a box of up to a third of each side is replaced by mid-grey.
    """

    flip: float = 0.5
    rotate: float = 10.0
    shift: float = 0.08
    scale: float = 0.1
    gamma: float = 0.5
    erase: float = 0.25


class Section(BaseModel):
    """A part of `params.yaml`: unknown names are refused, so that no slip is a default."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class World(Section):
    """The synthetic faces of the sample study."""

    seed: Annotated[int, Field(ge=0)]
    train: Count
    public_test: Count
    private_test: Count
    subjects: Annotated[int, Field(ge=10)]
    video_seconds: Positive


class Training(Section):
    """One run of the training loop.

    Units: `lr` a step, `warmup_epochs` and `epochs` in passes over the training set, `batch_size`
    in faces (each SupCon face gives two views). `precision` is as in lightning's Fabric, or "auto":
    bfloat16 where this computer has it, else float32 (`precision.py`); `compile` asks for
    `torch.compile` where it pays. `optimizer` is told at `training.make_optimizer`, `mixup` is the
    alpha of `augment.mixup`, `teacher_weight` the share of the loss that asks for the teachers'
    answers (`teachers.py`). The first `small_epochs` see faces shrunk to `small_side` pixels a
    side, which cost less (progressive learning, Tan and Le 2021, section 4).
    """

    seed: int
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    optimizer: Literal["adamw", "muon", "sgd"] = "adamw"
    lr: Positive
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    mixup: Annotated[float, Field(ge=0)] = 0.0
    temperature: Positive = 0.1
    embedding_width: Count = 128
    teacher_weight: Share = 0.0
    small_epochs: Annotated[int, Field(ge=0)] = 0
    small_side: Annotated[int, Field(ge=16, le=48)] = 32
    precision: Precision = "auto"
    compile: bool = False
    augmentation: Augmentation = Augmentation()


class TwoHeadTraining(Training):
    """One run of a network with two heads.

    `class_weight` and `intensity_weight` are the factors of the two parts of the loss
    (`two_heads.two_head_loss`); 0 leaves a part out.
    """

    class_weight: Annotated[float, Field(ge=0)] = 1.0
    intensity_weight: Annotated[float, Field(ge=0)] = 1.0


class CkPlus(Section):
    """Cross-validation on CK+, from an encoder that has learnt FER2013.

    Both protocols share every setting.
    """

    folds: Annotated[int, Field(ge=2)]
    split_seed: int
    training: Training


class Sequences(Section):
    """Intensity from a frame's place in its CK+ sequence; see `intensity_probe.probe`."""

    folds: Annotated[int, Field(ge=2)]
    split_seed: int
    decay: Annotated[float, Field(ge=0)]


class Evaluation(Section):
    """What the evaluation notebooks need beside the weights."""

    bootstrap: Annotated[int, Field(ge=100)]
    seed: int


class Video(Section):
    """From video to valence line."""

    crop_margin: Annotated[float, Field(ge=-0.3, le=1)]
    smoothing_seconds: Annotated[float, Field(ge=0)]


class Study(Section):
    """One study: where its raw data lies, and one section a stage.

    `teachers` are networks whose answers the published ones learn from, by name. `further_seeds`
    are trained beside the published one, to see how much of a figure is luck.
    """

    raw: Path
    world: World | None = None
    model: Architecture
    pretrain: Training
    teachers: dict[str, Training]
    train: dict[Literal["fer13-7", "fer13-3"], Training]
    further_seeds: tuple[int, ...]
    ckplus: CkPlus
    vgg: VggArchitecture
    intensity: dict[Literal["ferplus-7", "ferplus-7-vgg"], TwoHeadTraining]
    sequences: Sequences
    evaluation: Evaluation
    video: Video
    publish_weights: bool


def load(study: str, root: Path | None = None) -> Study:
    """Read and check the section of one study.

    Args:
        study: "sample" or "paper", or whatever `params.yaml` names under `studies`.
        root: folder of `params.yaml`; by default the project's.

    Raises:
        UserError: naming the file, the value and what is allowed.
    """
    file = (root or project_root()) / "params.yaml"
    try:
        studies = yaml.safe_load(file.read_text())["studies"]
        section = studies[study]
    except FileNotFoundError:
        raise UserError(f"{file} is missing: restore it with `git checkout params.yaml`.") from None
    except yaml.YAMLError as error:
        raise UserError(f"{file} is no valid YAML ({error}): mend it there.") from None
    except (KeyError, TypeError):
        raise UserError(
            f"{file} has no section studies.{study}: add it, or name another study."
        ) from None
    try:
        return Study.model_validate(section)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in ("studies", study, *first["loc"]))
        raise UserError(
            f"{file}: {place} = {first['input']!r}: {first['msg']}; change the value there."
        ) from None
