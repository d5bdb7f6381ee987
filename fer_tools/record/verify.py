"""`fer verify STUDY`: do the stored predictions reproduce every published figure?

Without data or GPU, in seconds: each figure is recomputed from its counts (`evidence.py`), with its
interval, and the counts are compared with the stored predictions. If the data is available, the
counts are recounted from labels and predictions, and the published networks predict again.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer_lib.data import ferplus
from fer_lib.data.arrays import CkPlus, Fer13, load_ckplus, load_fer13
from fer_lib.data.splits import share_seen
from fer_lib.errors import UserError
from fer_lib.evaluation import calibration, predictions
from fer_lib.evaluation.predictions import Predictions
from fer_lib.evaluation.published import DECIMALS, read_figures
from fer_lib.labels import LEFT_OUT, remap_valence
from fer_lib.paths import build_folder
from fer_lib.progress import progress_bar
from fer_tools.record import evidence
from fer_tools.record.files import record_folder
from fer_tools.record.report import HEADLINES
from fer_tools.record.versions import changed

TOLERANCE = 2e-3  # of a probability on another computer; float16 keeps three digits
# Why a figure of a stage cannot be recomputed from predictions.
NEEDS = {
    "10_data": "counts images",
    "46_evaluate_intensity": "runs a network over sequences or a video",
    "55_inside": "reads activations of the network",
    "65_label_noise": "compares labels with votes, or images with images",
    "70_video_valence": "runs a network over the video",
    "75_carry_over": "runs a network over degraded faces, neutral faces or drawn videos",
}

HEADINGS = {
    "computed": "figures are reproduced from the predictions.",
    "recorded": "figures are recorded:",
    "images": "figures cannot be recomputed from predictions:",
    "wrong": "WRONG:",
}


@dataclass(frozen=True)
class Verdict:
    """The result for one figure.

    Attributes:
        key: of the figure.
        state: "computed", "wrong", "recorded" (measured by networks no longer available) or
            "images" (needs images, labels or a video).
        reason: the difference, or why it cannot be recomputed.
    """

    key: str
    state: str
    reason: str = ""


@dataclass(frozen=True)
class Record:
    """The contents of a record in addition to its figures.

    Attributes:
        stored: from network to predictions.
        tables: from name to counts.
        recipes: from key of a figure to how it is computed from tables.
        recorded: figures of networks that are no longer available.
    """

    stored: Mapping[str, Predictions]
    tables: Mapping[str, dict]
    recipes: Mapping[str, dict]
    recorded: Mapping[str, dict]

    @classmethod
    def read(cls, folder: Path) -> "Record":
        """Read `reports/STUDY` or `build/STUDY/report`.

        Raises:
            UserError: if a file is missing or damaged.
        """
        file = folder / "predictions" / "recorded.json"
        return cls(
            predictions.load_all(folder / "predictions"),
            *evidence.read(folder / "predictions" / "evidence.json"),
            read_figures(file) if file.is_file() else {},
        )


def verify(folder: Path) -> list[Verdict]:
    """Recompute all figures of a record for which predictions suffice; one verdict per figure.

    Args:
        folder: `reports/STUDY`, or `build/STUDY/report`.

    Raises:
        UserError: if a file of the record is missing or damaged.
    """
    figures, record = read_figures(folder / "summary.json"), Record.read(folder)
    damaged = {name: reason for name, table in record.tables.items()
               if (reason := mismatch(table, record.stored))}  # fmt: skip
    verdicts = []
    with progress_bar(len(figures), "figures", unit="figure") as bar:
        for key, entry in figures.items():
            verdicts.append(_judge(key, entry, record, damaged))
            bar.update()
    missing = record.recipes.keys() - figures
    verdicts += [Verdict(key, "wrong", "is not published") for key in missing]
    return verdicts + _headlines(folder, figures) + _versions(folder, figures)


def _judge(key: str, entry: dict, record: Record, damaged: Mapping[str, str]) -> Verdict:
    """The verdict on one figure; `damaged` maps a table to the reason why it is invalid."""
    recipe = record.recipes.get(key)
    if key in record.recorded:
        if record.recorded[key] != entry:
            return Verdict(key, "wrong", "not as recorded")
        commit = entry["recorded"][:10]
        reason = f"measured at commit {commit}, by networks no longer available"
        return Verdict(key, "recorded", reason)
    if key in ("model.parameters", "model.multiply_adds"):
        found = {"value": record.stored["fer13-7"].about[key.removeprefix("model.")]}
    elif recipe is None:
        if entry["stage"] not in NEEDS:
            return Verdict(key, "wrong", "there is no evidence for it")
        return Verdict(key, "images", NEEDS[entry["stage"]])
    elif recipe["metric"].startswith("leak."):
        unit = recipe["metric"].removeprefix("leak.")
        found = {"value": 100 * leak(record.stored[recipe["network"]], unit)}
    else:
        for name in recipe["tables"]:
            if name not in record.tables or name in damaged:
                reason = damaged.get(name, f"the table {name} is missing")
                return Verdict(key, "wrong", reason)
        tables = [record.tables[name] for name in recipe["tables"]]
        found = evidence.value_of(tables, recipe["metric"], recipe["n"], recipe["seed"])
    if reason := difference(entry, found):
        return Verdict(key, "wrong", reason)
    return Verdict(key, "computed")


def difference(entry: Mapping, found: Mapping[str, float]) -> str:
    """How a published figure differs from the computed one, rounded; "" if it does not."""
    decimals = DECIMALS[entry["unit"]]
    for name, value in found.items():
        published = entry.get(name)
        allowed = 1e-9 if name == "n" else 0.5 * 10.0**-decimals + 1e-7
        if published is None or not abs(published - value) <= allowed:
            return f"{name} is {published}, the predictions give {value:.{decimals}f}"
    return ""


def leak(folds: Predictions, unit: str) -> float:
    """Fraction of images whose subject or sequence is also in training, in [0, 1]."""
    of = predictions.subjects if unit == "subject" else predictions.sequences
    assert folds.fold is not None
    return share_seen(of(folds.names), folds.fold)


def mismatch(table: Mapping, stored: Mapping[str, Predictions]) -> str:
    """Why a table does not match the predictions; "" if it does.

    Without labels only the number and the confidence of the predictions of each class can be
    compared.
    """
    if table["kind"] in ("intensity", "values"):
        return ""
    for column, name in enumerate(table["networks"], 1):
        parts = [stored.get(part) for part in name.split("+")]
        if any(part is None for part in parts):
            return f"the predictions of {name} are missing"
        output = "probabilities" if table["output"] == "mean" else table["output"]
        outputs = [part.output(output) for part in parts if part is not None]
        chosen = evidence.chosen_by(table["images"], parts[0].names)  # type: ignore[union-attr]
        probabilities = np.mean(outputs, axis=0)[chosen]
        same = _same_bins if table["kind"] == "bins" else _same_classes
        if not same(table, probabilities, column):
            what = "confidences" if table["kind"] == "bins" else "predicted classes"
            return f"the {what} of {name} differ"
    return ""


def _same_bins(table: Mapping, probabilities: np.ndarray, _column: int) -> bool:
    if table["left_out"]:
        return True  # which images have no label is not stored
    predicted = probabilities.argmax(axis=1)
    found = calibration.confidence_bins(predicted, probabilities, evidence.BINS)
    same = found["images_in_bin"].tolist() == table["images_in_bin"]
    return same and np.allclose(found["confidence"], table["confidence"], atol=1e-3)


def _same_classes(table: Mapping, probabilities: np.ndarray, column: int) -> bool:
    cells, classes = np.array(table["cells"]), probabilities.shape[1]
    counts = np.atleast_2d(np.array(table["counts"])).sum(axis=0)
    counted = np.bincount(cells[:, column], counts, minlength=classes)
    return np.array_equal(counted, np.bincount(probabilities.argmax(axis=1), minlength=classes))


def _headlines(folder: Path, figures: Mapping[str, dict]) -> list[Verdict]:
    shown = json.loads((folder / "metrics.json").read_text())
    wanted = {key: figures[key]["value"] for key in HEADLINES if key in figures}
    return [] if shown == wanted else [Verdict("metrics.json", "wrong", "not summary.json's")]


def _versions(folder: Path, figures: Mapping[str, dict]) -> list[Verdict]:
    """Of a published record: is its last version in `studies/versions.csv` this one?"""
    if folder.parent.name != "reports" or not changed(folder.name, figures):
        return []
    return [Verdict("studies/versions.csv", "wrong", "its last version is not this record")]


def verify_counts(folder: Path, fer13: Fer13, ck: CkPlus) -> list[Verdict]:
    """Recount the tables from the data's labels; a verdict for each wrong table.

    This covers tables of labels, valence and FER+ votes. Tables of other targets are recounted when
    the notebooks run (`fer study paper --published`).
    """
    record, targets = Record.read(folder), _targets(fer13.select(fer13.usage != "Training"))
    wrong = []
    for name, table in record.tables.items():
        if table["kind"] != "counts" or table["output"] == "mean":
            continue
        stored = [record.stored[network] for network in table["networks"]]
        if stored[0].about["data"] not in ("ckplus", "fer2013"):
            continue  # a collection that is read when notebook 75 runs
        on_ckplus = stored[0].about["data"] == "ckplus"
        labels = ck.labels if on_ckplus else targets.get(name.rsplit("/", 1)[-1])
        if labels is None:
            continue
        chosen = evidence.chosen_by(table["images"], stored[0].names)
        rows = np.vstack([labels, *(s.predicted(table["output"]) for s in stored)])[:, chosen]
        groups = ck.subject if on_ckplus else None
        if evidence.count_cells(rows, groups) != {key: table[key] for key in ("cells", "counts")}:
            wrong.append(Verdict(name, "wrong", "differs from the counts of the labels"))
    return wrong


def _targets(test: Fer13) -> dict[str, np.ndarray]:
    targets = {"label": test.labels, "valence": remap_valence(test.labels)}
    if test.has_votes:
        plurality = ferplus.plurality(test.votes)
        used = (ferplus.targets_from_votes(test.votes)[1] == "").to_numpy()
        used = used & (test.usage == "PrivateTest")
        targets |= {
            "FER+ plurality": plurality,
            "FER+ lead": np.where(used, plurality, LEFT_OUT),
        }
    return targets


def verify_networks(
    folder: Path, fer13: Fer13, ck: CkPlus, report: Callable[[str], None]
) -> list[Verdict]:
    """Compare the predictions of the published networks on the data with the published ones.

    Args:
        folder: see `verify`.
        fer13, ck: the prepared data.
        report: called with a line for each network.
    """
    from fer_lib.models.weights import load_model

    test, names = fer13.select(fer13.usage != "Training"), predictions.ckplus_names(ck)
    wrong = []
    for network, stored in predictions.load_all(folder / "predictions").items():
        file = folder / "weights" / f"{network.removesuffix('-on-ckplus')}.safetensors"
        if not file.is_file() or stored.fold is not None or stored.probabilities is None:
            continue
        on_ckplus = stored.about["data"] == "ckplus"
        images, have = (ck.images, names) if on_ckplus else (test.images, test.row)
        if not np.array_equal(have, stored.names):
            raise UserError(
                f"{network}: the prepared data has other images than the record: prepare it again "
                f"with `fer study paper --published`."
            )
        found = predictions.predict(*load_model(file), images, have, {"network": network})
        largest = np.abs(found.output("probabilities") - stored.output("probabilities")).max()
        changed = int((found.predicted() != stored.predicted()).sum())
        report(f"{network}: probabilities differ by up to {largest:.1e}, {changed} classes differ")
        if largest > TOLERANCE:
            reason = f"its weights predict other probabilities (by up to {largest:.3f})"
            wrong.append(Verdict(network, "wrong", reason))
    return wrong


def command(
    study: str, folder: Path | None, with_data: bool | None, report: Callable[[str], None]
) -> bool:
    """`fer verify`: report the verdicts; returns whether no figure is wrong.

    Raises:
        UserError: see `verify`; or if the data is requested but not prepared.
    """
    folder = folder or record_folder(study)
    files = [build_folder(study) / name for name in ("fer13.npz", "ckplus.npz")]
    if with_data is None:
        with_data = all(file.is_file() for file in files)
    verdicts = verify(folder)
    if with_data:
        fer13, ck = load_fer13(files[0]), load_ckplus(files[1])
        verdicts += verify_counts(folder, fer13, ck)
        verdicts += verify_networks(folder, fer13, ck, report)
    for state, heading in HEADINGS.items():
        in_state = [verdict for verdict in verdicts if verdict.state == state]
        if in_state:
            report(f"\n{len(in_state)} {heading}")
        if state != "computed":
            for reason in dict.fromkeys(verdict.reason for verdict in in_state):
                keys = [verdict.key for verdict in in_state if verdict.reason == reason]
                report(f"  {reason}:\n    " + "\n    ".join(keys))
    wrong = any(verdict.state == "wrong" for verdict in verdicts)
    data = "labels and networks were checked as well" if with_data else "no data was used"
    report(f"\n{folder}: {'NOT ' if wrong else ''}verified; {data}.")
    return not wrong
