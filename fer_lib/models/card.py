"""The model card in a model's file, whatever the format; read without torch."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import ValidationError

from fer_lib.errors import UserError
from fer_lib.labels import TASKS
from fer_lib.params import Architecture, VggArchitecture

TYPES = {"kind": str, "study": str, "task": str, "params": dict, "commit": str, "notes": dict}


@dataclass(frozen=True)
class Card:
    """The facts about a network that its weights file or ONNX file carries.

    Attributes:
        kind: "classifier" (encoder and classifier), "two heads" (encoder, classifier and intensity
            head) or "encoder" (after SupCon pretraining).
        study: the study whose stage trained it.
        task: key of `labels.TASKS`; "supcon" for an encoder.
        arch: the architecture of the encoder, MSFERNet's or paper B's.
        params: the section of `params.yaml` it was trained with.
        commit: the last commit that changed the code it was trained with.
        notes: further facts, such as the validation accuracy.
    """

    kind: str
    study: str
    task: str
    arch: Architecture | VggArchitecture
    params: dict
    commit: str
    notes: dict

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the logits, in order."""
        return TASKS[self.task]

    @property
    def has_intensities(self) -> bool:
        """Whether the network gives an intensity for each class beside its probabilities."""
        return self.kind == "two heads"

    @property
    def temperature(self) -> float:
        """What the logits are divided by before the softmax; 1 unless `notes` holds another.

        Above 1 it makes a network less confident, so that its probabilities match how often it is
        correct (Guo et al. 2017, eq. 9); the order of the classes stays.
        """
        return float(self.notes.get("temperature", 1.0))

    def header(self) -> dict[str, str]:
        """The fields as JSON texts: the metadata of a file."""
        fields = self.__dict__ | {"arch": asdict(self.arch)}
        return {name: json.dumps(value, sort_keys=True) for name, value in fields.items()}

    @classmethod
    def from_header(cls, header: Mapping[str, str], path: Path) -> "Card":
        """The card in the metadata of the file `path`.

        Raises:
            UserError: if the file is of another project, or of an unknown architecture.
        """
        try:
            fields = {name: json.loads(header[name]) for name in cls.__dataclass_fields__}
        except (KeyError, ValueError) as error:
            reason = "lacks" if isinstance(error, KeyError) else "is not JSON:"
            raise UserError(
                f"{path} was not written by this study (its header {reason} {error}): "
                "name a weights file of the study."
            ) from None
        try:
            kind = VggArchitecture if "kernels" in fields["arch"] else Architecture
            fields["arch"] = kind(**fields["arch"])
        except (TypeError, ValidationError) as error:
            raise UserError(
                f"{path} holds an unknown architecture ({_first(error)}): retrain it."
            ) from None
        try:
            for name, its_type in TYPES.items():
                if not isinstance(fields[name], its_type):
                    raise TypeError(f"{name}: {fields[name]!r} is no {its_type.__name__}")
            card = cls(**fields)
            if card.task not in (*TASKS, "supcon"):
                raise ValueError(f"task: there is no {card.task!r}")
            if not (math.isfinite(card.temperature) and card.temperature > 0):
                raise ValueError(f"temperature: {card.temperature} is not above 0")
        except (TypeError, ValueError) as error:
            raise UserError(
                f"{path} has a header that this study did not write ({_first(error)}): get the "
                "file again, or retrain it."
            ) from None
        return card


def _first(error: Exception) -> str:
    """The first of pydantic's errors, or another error, in one line."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)
