"""Sections of `studies/ablation/params.yaml`, read and checked."""

from pathlib import Path

from fer_lib.errors import UserError
from fer_lib.params import Kind, Section, Training, checked, read_yaml
from fer_lib.paths import project_root


class FromNothing(Section):
    """The section `ckplus`: cross-validation without an encoder that has learnt FER2013."""

    train: Training


def load_section(name: str, kind: type[Kind], root: Path | None = None) -> Kind:
    """A section of `studies/ablation/params.yaml`, checked.

    Raises:
        UserError: naming the file and the value that is wrong.
    """
    path = (root or project_root()) / "studies" / "ablation" / "params.yaml"
    section = read_yaml(path).get(name)
    if not isinstance(section, dict):
        raise UserError(
            f"{path} has no section {name}: restore it with "
            "`git checkout studies/ablation/params.yaml`."
        )
    return checked(kind, section, path, name)
