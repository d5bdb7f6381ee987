"""`fer verify STUDY`: is every published figure what the predictions give?

Without data or GPU, in seconds: each figure is computed anew from its counts (`evidence.py`), with
its interval, and the counts are held against the predictions (`predictions.py`), whose classes they
must add up to. Where the data is at hand, the counts are made anew from labels and predictions, and
the published networks predict once more.
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

# How far a probability of another computer may lie from a stored one: float16 keeps three digits.
TOLERANCE = 2e-3
# Why a figure of a stage cannot be computed from predictions.
NEEDS = {
    "10_data": "counts the images themselves",
    "46_evaluate_intensity": "runs a network over sequences or a video",
    "55_inside": "looks inside the network while it sees the images",
    "65_label_noise": "compares labels with votes, or images with images",
    "70_video_valence": "runs a network over the video",
}

HEADINGS = {
    "computed": "figures are what the predictions give.",
    "recorded": "figures are recorded ones:",
    "images": "figures cannot be computed from predictions:",
    "wrong": "WRONG:",
}


@dataclass(frozen=True)
class Verdict:
    """What was found out about one figure.

    Attributes:
        key: of the figure.
        published: its entry in `summary.json`.
        state: "computed", "wrong", "recorded" (measured once, by networks that are gone) or
            "images" (needs images, labels or a video).
        reason: what differs, or why it cannot be computed.
    """

    key: str
    published: dict
    state: str
    reason: str = ""


def verify(record: Path) -> list[Verdict]:
    """Compute all figures of a record that predictions suffice for; one verdict a figure.

    Args:
        record: `reports/STUDY`, or `build/STUDY/report`.

    Raises:
        UserError: if a file of the record is missing or damaged.
    """
    figures = read_figures(record / "summary.json")
    known = predictions.load_all(record / "predictions")
    tables, asked = evidence.read(record / "predictions" / "evidence.json")
    off = {name: reason for name, table in tables.items() if (reason := mismatch(table, known))}
    file = record / "predictions" / "recorded.json"
    recorded = read_figures(file) if file.is_file() else {}
    verdicts = []
    with progress_bar(len(figures), "figures", unit="figure") as bar:
        for key, entry in figures.items():
            verdicts.append(_judge(key, entry, asked.get(key), tables, known, off, recorded))
            bar.update()
    verdicts += [Verdict(key, {}, "wrong", "is not published") for key in asked.keys() - figures]
    return verdicts + _headlines(record, figures)


def _judge(
    key: str,
    entry: dict,
    how: dict | None,
    tables: Mapping[str, dict],
    known: Mapping[str, Predictions],
    off: Mapping[str, str],
    recorded: Mapping[str, dict],
) -> Verdict:
    if key in recorded:
        same = recorded[key] == entry
        reason = (
            f"measured at commit {recorded[key]['recorded'][:10]}, by networks no longer at hand"
        )
        return Verdict(
            key, entry, *(("recorded", reason) if same else ("wrong", "not as recorded"))
        )
    if key in ("model.parameters", "model.multiply_adds"):
        found = {"value": known["fer13-7"].about[key.removeprefix("model.")]}
    elif how is None:
        if entry["stage"] not in NEEDS:
            return Verdict(key, entry, "wrong", "there is no evidence for it")
        return Verdict(key, entry, "images", NEEDS[entry["stage"]])
    elif how["metric"].startswith("leak."):
        found = {"value": 100 * leak(known[how["network"]], how["metric"].removeprefix("leak."))}
    else:
        for name in how["tables"]:
            if name not in tables or name in off:
                return Verdict(key, entry, "wrong", off.get(name, f"the table {name} is missing"))
        chosen = [tables[name] for name in how["tables"]]
        found = evidence.value_of(chosen, how["metric"], how["n"], how["seed"])
    if differs := difference(entry, found):
        return Verdict(key, entry, "wrong", differs)
    return Verdict(key, entry, "computed")


def difference(entry: Mapping, found: Mapping[str, float]) -> str:
    """Where a published figure is not the computed one, rounded; "" where it is."""
    step = 10.0 ** -DECIMALS[entry["unit"]]
    for name, value in found.items():
        published = entry.get(name)
        allowed = 1e-9 if name == "n" else 0.5 * step + 1e-7
        if published is None or not abs(published - value) <= allowed:
            return (
                f"{name} is {published}, the predictions give {value:.{DECIMALS[entry['unit']]}f}"
            )
    return ""


def leak(folds: Predictions, unit: str) -> float:
    """Share of images whose subject or sequence also stands in training, in [0, 1]."""
    of = predictions.subjects if unit == "subject" else predictions.sequences
    assert folds.fold is not None
    return share_seen(of(folds.names), folds.fold)


def mismatch(table: Mapping, known: Mapping[str, Predictions]) -> str:
    """Why a table cannot be of these predictions; "" where it adds up.

    Without labels nobody can tell which image is right; but how often each class is predicted, and
    how sure the network is, must be the same by either file.
    """
    if table["kind"] == "intensity":
        return ""
    for place, name in enumerate(table["networks"], 1):
        parts = [known.get(part) for part in name.split("+")]
        if any(part is None for part in parts):
            return f"the predictions of {name} are missing"
        outputs = [part.output(_stored(table["output"])) for part in parts if part is not None]
        chosen = evidence.chosen_by(table["images"], parts[0].names)  # type: ignore[union-attr]
        values = np.mean(outputs, axis=0)[chosen]
        if table["kind"] == "bins":
            if table["left_out"]:
                continue  # which images have no label is not told
            found = calibration.confidence_bins(values, values.argmax(axis=1), evidence.BINS)
            same = found["images_in_bin"].tolist() == table["images_in_bin"]
            if not same or not np.allclose(found["confidence"], table["confidence"], atol=1e-3):
                return f"the confidences of {name} add up to others"
            continue
        cells = np.array(table["cells"])
        counts = np.atleast_2d(np.array(table["counts"])).sum(axis=0)
        columns = np.bincount(cells[:, place], counts, minlength=values.shape[1])
        if columns.astype(int).tolist() != np.bincount(
            values.argmax(axis=1), minlength=values.shape[1]
        ).tolist():  # fmt: skip
            return f"{name} predicts its classes in other numbers"
    return ""


def _stored(output: str) -> str:
    return "probabilities" if output == "mean" else output


def _headlines(record: Path, figures: Mapping[str, dict]) -> list[Verdict]:
    shown = json.loads((record / "metrics.json").read_text())
    wanted = {key: figures[key]["value"] for key in HEADLINES if key in figures}
    return [] if shown == wanted else [Verdict("metrics.json", {}, "wrong", "not summary.json's")]


def verify_counts(record: Path, fer13: Fer13, ck: CkPlus) -> list[Verdict]:
    """With the data at hand: are the counts those of its labels? A verdict for each wrong table.

    Looked at are tables of labels, valence and FER+ tags; those of other questions are made anew
    when the notebooks run (`fer study paper --published`).
    """
    known = predictions.load_all(record / "predictions")
    tables, _ = evidence.read(record / "predictions" / "evidence.json")
    test = fer13.select(fer13.usage != "Training")
    wrong = []
    for name, table in tables.items():
        target = name.rsplit("/", 1)[-1]
        if table["kind"] != "counts" or table["output"] == "mean":
            continue
        parts = [known[network] for network in table["networks"]]
        on_ckplus = parts[0].about["data"] == "ckplus"
        truth = _targets(test).get(target) if not on_ckplus else ck.labels
        if truth is None:
            continue
        chosen = evidence.chosen_by(table["images"], parts[0].names)
        rows = np.vstack([truth, *(part.predicted(table["output"]) for part in parts)])[:, chosen]
        groups = ck.subject if on_ckplus else None
        if evidence.count_cells(rows, groups) != {key: table[key] for key in ("cells", "counts")}:
            wrong.append(Verdict(name, {}, "wrong", "the labels at hand give other counts"))
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
    record: Path, fer13: Fer13, ck: CkPlus, tell: Callable[[str], None]
) -> list[Verdict]:
    """With the data at hand: do the published networks predict what is published?

    Args:
        record: see `verify`.
        fer13, ck: the prepared data.
        tell: is given a line a network.
    """
    from fer_lib.models.weights import load_model

    known = predictions.load_all(record / "predictions")
    test = fer13.select(fer13.usage != "Training")
    names = predictions.ckplus_names(ck)
    wrong = []
    for network, stored in known.items():
        on_ckplus = stored.about["data"] == "ckplus"
        file = record / "weights" / f"{network.removesuffix('-on-ckplus')}.safetensors"
        if not file.is_file() or stored.fold is not None or stored.probabilities is None:
            continue
        images, have = (ck.images, names) if on_ckplus else (test.images, test.row)
        if not np.array_equal(have, stored.names):
            raise UserError(f"{network}: the data at hand holds other images than the record's.")
        model, card = load_model(file)
        found = predictions.predict(model, card, images, have, {"network": network})
        assert found.probabilities is not None
        far = np.abs(found.output("probabilities") - stored.output("probabilities")).max()
        changed = int((found.predicted() != stored.predicted()).sum())
        tell(
            f"{network}: largest difference of a probability {far:.1e}, other class {changed} times"
        )
        if far > TOLERANCE:
            reason = f"its weights give other probabilities (by up to {far:.3f})"
            wrong.append(Verdict(network, {}, "wrong", reason))
    return wrong


def command(
    study: str, record: Path | None, with_data: bool | None, tell: Callable[[str], None]
) -> bool:
    """`fer verify`: tell what was found; whether all is well.

    Raises:
        UserError: see `verify`; or if the data is asked for and not prepared.
    """
    record = record or record_folder(study)
    files = [build_folder(study) / name for name in ("fer13.npz", "ckplus.npz")]
    if with_data is None:
        with_data = all(file.is_file() for file in files)
    verdicts = verify(record)
    if with_data:
        fer13, ck = load_fer13(files[0]), load_ckplus(files[1])
        verdicts += verify_counts(record, fer13, ck)
        verdicts += verify_networks(record, fer13, ck, tell)
    for state, heading in HEADINGS.items():
        some = [verdict for verdict in verdicts if verdict.state == state]
        if some:
            tell(f"\n{len(some)} {heading}")
        if state != "computed":
            for reason in dict.fromkeys(verdict.reason for verdict in some):
                keys = [verdict.key for verdict in some if verdict.reason == reason]
                tell(f"  {reason}:\n    " + "\n    ".join(keys))
    wrong = any(verdict.state == "wrong" for verdict in verdicts)
    data = "labels and networks were held against it as well" if with_data else "no data was used"
    tell(f"\n{record}: {'NOT ' if wrong else ''}verified; {data}.")
    return not wrong
