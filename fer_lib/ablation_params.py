"""Sections of `ablation/params.yaml`, read and checked."""

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import ValidationError

from fer_lib.errors import UserError
from fer_lib.params import Section, Training
from fer_lib.paths import project_root

Kind = TypeVar("Kind", bound=Section)


class FromNothing(Section):
    """The section `ckplus`: cross-validation without an encoder that has learnt FER2013."""

    train: Training


def load_section(name: str, kind: type[Kind], root: Path | None = None) -> Kind:
    """A section of `ablation/params.yaml`, checked.

    Raises:
        UserError: naming the file and the value that is wrong.
    """
    path = (root or project_root()) / "ablation" / "params.yaml"
    try:
        return kind.model_validate(yaml.safe_load(path.read_text())[name])
    except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
        raise UserError(
            f"{path} has no readable section {name} ({type(error).__name__}): "
            "restore it with `git checkout ablation/params.yaml`."
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in (name, *first["loc"]))
        raise UserError(f"{path}: {place} = {first['input']!r}: {first['msg']}.") from None
