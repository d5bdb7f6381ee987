"""`params.yaml`, read and checked.

Each stage reads one section of its study, so DVC reruns just the stages whose section changed.
"""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fer_lib.augment import Augmentation
from fer_lib.errors import UserError
from fer_lib.model import Architecture
from fer_lib.paths import project_root

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


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
    in faces (each SupCon face gives two views), `precision` as in lightning's Fabric.
    """

    seed: int
    epochs: Count
    batch_size: Annotated[int, Field(ge=2)]
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: Positive
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    temperature: Positive = 0.1
    embedding_width: Count = 128
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "bf16-mixed"
    compile: bool = False
    augmentation: Augmentation = Augmentation()


class CkPlus(Section):
    """Cross-validation on CK+; both protocols share every setting."""

    folds: Annotated[int, Field(ge=2)]
    split_seed: int
    training: Training


class Evaluation(Section):
    """What the evaluation notebooks need beside the weights."""

    bootstrap: Annotated[int, Field(ge=100)]
    seed: int


class Video(Section):
    """From video to valence line."""

    crop_margin: Annotated[float, Field(ge=-0.3, le=1)]
    smoothing_seconds: Annotated[float, Field(ge=0)]


class Study(Section):
    """One study: where its raw data lies, and one section a stage."""

    raw: Path
    world: World | None = None
    model: Architecture
    pretrain: Training
    train: dict[Literal["fer13-7", "fer13-3"], Training]
    ckplus: CkPlus
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
