"""Published figures with what anybody needs to compute them again: counts, and no label.

A figure such as an accuracy needs predictions and labels; the labels are not ours to hand out.
What decides it, though, is only how often each prediction met each label. Those counts are kept
beside the figure, and `fer verify` computes it anew from them, intervals included, and holds the
counts against the predictions (`predictions.py`): each column of a table must count what the
network predicts. With the data at hand the counts themselves are made anew.

N images, K classes, S networks (seeds).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from fer_lib.errors import UserError
from fer_lib.evaluation import calibration, metrics, published
from fer_lib.evaluation.intensity import concordance_of_sums
from fer_lib.files import whole
from fer_lib.labels import LEFT_OUT

BINS = 15  # of confidence, for the expected calibration error


class Evidence:
    """Computes the figures of one notebook and keeps what each is computed from.

    Args:
        stage: the notebook.
        n: bootstrap draws.
        seed: of the bootstrap.
    """

    def __init__(self, stage: str, *, n: int, seed: int) -> None:
        self.stage, self.n, self.seed = stage, n, seed
        self.tables: dict[str, dict] = {}
        self.figures: dict[str, dict] = {}
        self.asked: dict[str, dict] = {}

    def measured(
        self,
        key: str,
        truth: np.ndarray,
        predicted: np.ndarray,
        classes: int,
        *,
        of: str | Sequence[str],
        names: np.ndarray,
        target: str,
        where: str,
        output: str = "probabilities",
        mask: np.ndarray | None = None,
        metric: str = "accuracy",
        groups: np.ndarray | None = None,
        **about,
    ) -> dict:
        """A figure in percent with its 95 % bootstrap interval, published under `key`.

        The interval tells how much the figure owes to the choice of test images (or persons). Of
        several networks the figure is the mean, with the standard deviation between them (divisor
        S - 1) as its spread; each draw of images is judged by all of them.

        Args:
            key: such as "fer13_7.private.accuracy".
            truth: (N,) int, `LEFT_OUT` where an image has no label of this task.
            predicted: (N,) int of one network, (S, N) of several.
            classes: K.
            of: the network's name in `predictions.py`, or S names.
            names: (N,) what names the images there.
            target: what `truth` is, such as "label" or "FER+ plurality"; with `where` it tells
                tables apart.
            where: which images are asked about, such as "PrivateTest".
            output: see `Predictions.output`.
            mask: (N,) bool, these images; chosen without a look at any label.
            metric: see `value_of`.
            groups: (N,) what each image belongs to, such as its subject; whole groups are drawn.
            about: split, protocol and seeds of `published.figure`.
        """
        networks = [of] if isinstance(of, str) else list(of)
        chosen = np.ones(len(truth), dtype=bool) if mask is None else mask
        rows = np.vstack([truth, np.atleast_2d(predicted)])[:, chosen]
        table = {
            "kind": "counts", "networks": networks, "output": output, "classes": classes,
            "images": ranges(names[chosen]),
            **count_cells(rows, None if groups is None else groups[chosen]),
        }  # fmt: skip
        name = "/".join(["+".join(networks), output, where, target])
        return self._publish(key, {name: table}, metric, about)

    def calibration(
        self,
        key: str,
        truth: np.ndarray,
        probabilities: Sequence[np.ndarray],
        *,
        of: Sequence[str],
        names: np.ndarray,
        target: str,
        where: str,
        output: str = "probabilities",
        mask: np.ndarray | None = None,
        **about,
    ) -> dict:
        """The expected calibration error in percent; of several networks the mean, with its spread.

        Args:
            probabilities: S arrays (N, K) float.
            of: S names. All else as in `measured`.
        """
        chosen = np.ones(len(truth), dtype=bool) if mask is None else mask
        tables = {}
        for network, values in zip(of, probabilities, strict=True):
            known = truth[chosen] != LEFT_OUT
            bins = calibration.confidence_bins(values[chosen][known], truth[chosen][known], BINS)
            tables[f"{network}/{output}/{where}/{target}/bins"] = {
                "kind": "bins", "networks": [network], "output": output,
                "images": ranges(names[chosen]), "left_out": int((~known).sum()),
                **{name: column.tolist() for name, column in bins.items()},
            }  # fmt: skip
        return self._publish(key, tables, "ece", about)

    def intensity(
        self,
        key: str,
        targets: np.ndarray,
        values: np.ndarray,
        *,
        of: str,
        baseline: np.ndarray,
        where: str,
        metric: str = "rmse",
        **about,
    ) -> dict:
        """A figure of intensities, in [0, 1]; "rmse" with its interval over faces.

        Args:
            targets: (N, 7) in [0, 1], of the faces that have targets.
            values: (N, 7), the network's.
            baseline: (7,) always predicted by who does not look: the training mean.
            metric: "rmse", "rmse.K" of the K-th emotion, "ccc", or "baseline_rmse".
        """
        t, r = targets.astype(np.float64), values.astype(np.float64)
        sums = {"t": t, "r": r, "tt": t * t, "rr": r * r, "tr": t * r}
        errors = np.sort(((t - r) ** 2).mean(axis=1))  # sorted: no face can be told
        table = {
            "kind": "intensity", "networks": [of], "images": len(t),
            "sums": {name: array.sum(axis=0).round(9).tolist() for name, array in sums.items()},
            "baseline": np.asarray(baseline, float).round(9).tolist(),
            "squared_errors": errors.round(7).tolist(),
        }  # fmt: skip
        return self._publish(key, {f"{of}/intensities/{where}": table}, metric, about)

    def leak(self, key: str, share: float, *, of: str, unit: str, **about) -> dict:
        """The share of test images whose `unit` stands in training, from the folds alone."""
        entry = published.figure(100 * share, unit="percent", stage=self.stage, **about)
        self.asked[key] = {"network": of, "metric": f"leak.{unit}"}
        self.figures[key] = entry
        return entry

    def plain(self, key: str, value: float, **about) -> dict:
        """A figure that cannot be computed from predictions, published as it is."""
        self.figures[key] = published.figure(value, stage=self.stage, **about)
        return self.figures[key]

    def save(self, build: Path) -> None:
        """Write `figures/STAGE.json` and `evidence/STAGE.json` under the study's folder."""
        published.write_figures(build / "figures" / f"{self.stage}.json", self.figures)
        write(build / "evidence" / f"{self.stage}.json", self.tables, self.asked)

    def _publish(self, key: str, tables: dict[str, dict], metric: str, about: dict) -> dict:
        for name, table in tables.items():
            if self.tables.setdefault(name, table) != table:
                raise ValueError(f"two tables are called {name}: tell them apart by `where`")
        self.asked[key] = {"tables": list(tables), "metric": metric, "n": self.n, "seed": self.seed}
        found = value_of(list(tables.values()), metric, self.n, self.seed)
        unit = "percent" if tables[next(iter(tables))]["kind"] != "intensity" else "score"
        self.figures[key] = published.figure(**found, **about, unit=unit, stage=self.stage)  # type: ignore[arg-type]
        return self.figures[key]


def count_cells(rows: np.ndarray, groups: np.ndarray | None = None) -> dict:
    """How often each combination of label and predictions occurs.

    Args:
        rows: (1 + S, N) int: labels, then the predictions of each network.
        groups: (N,) what each image belongs to.

    Returns:
        cells: the C combinations that occur, in order; counts: how often, (C,), or with groups
        (G, C), a row a group. Groups are sorted by their counts, so that none can be told.
    """
    cells, member = np.unique(rows, axis=1, return_inverse=True)
    member = member.ravel()
    if groups is None:
        counts = np.bincount(member, minlength=cells.shape[1])
    else:
        _, group = np.unique(groups, return_inverse=True)
        counts = np.zeros((group.max() + 1, cells.shape[1]), dtype=np.int64)
        np.add.at(counts, (group, member), 1)
        counts = counts[np.lexsort(counts.T[::-1])]
    return {"cells": cells.T.tolist(), "counts": counts.tolist()}


def value_of(tables: Sequence[dict], metric: str, n: int, seed: int) -> dict[str, float]:
    """A figure from its tables alone: value, n (images), and where they exist low, high, spread.

    Args:
        tables: one; for "ece" one a network.
        metric: "accuracy", "macro_f1", "recall.K", "share.K" (the share of label K among labels
            above 0), "ece", or those of `Evidence.intensity`.
        n: bootstrap draws.
        seed: of the bootstrap.

    Raises:
        UserError: for an unknown metric or table.
    """
    kind = tables[0]["kind"]
    if kind == "counts":
        return _of_counts(tables[0], metric, n, seed)
    if kind == "bins" and metric == "ece":
        errors = np.array([_ece(table) for table in tables])
        found = {"value": 100 * errors.mean(), "n": sum(tables[0]["images_in_bin"])}
        return found | ({"spread": 100 * errors.std(ddof=1)} if len(errors) > 1 else {})
    if kind == "intensity":
        return _of_intensities(tables[0], metric, n, seed)
    raise UserError(f"evidence of the kind {kind!r} does not give {metric!r}: restore the record.")


def _of_counts(table: Mapping, metric: str, n: int, seed: int) -> dict[str, float]:
    cells = np.array(table["cells"], dtype=np.int64)
    counts = np.atleast_2d(np.array(table["counts"], dtype=np.int64))
    kept = cells[:, 0] != LEFT_OUT
    cells, counts = cells[kept], counts[:, kept]
    whole, images = counts.sum(axis=0), int(counts.sum())
    classes, ask = table["classes"], _metric(metric)
    networks = range(1, cells.shape[1])
    matrices = [_matrices(cells, whole[None], k, classes) for k in networks]
    values = np.array([float(ask(matrix)[0]) for matrix in matrices])
    found = {"value": 100 * values.mean(), "n": images}
    if metric.startswith("share."):
        return found | {"n": int(whole[cells[:, 0] > 0].sum())}
    rng = np.random.default_rng(seed)
    if len(counts) == 1:
        # Drawing images with replacement and counting is one multinomial draw over the cells.
        draws = rng.multinomial(images, whole / images, size=n)
    else:
        draws = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=n) @ counts
    drawn = np.mean([ask(_matrices(cells, draws, k, classes)) for k in networks], axis=0)
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    found |= {"low": 100 * float(low), "high": 100 * float(high)}
    return found | ({"spread": 100 * values.std(ddof=1)} if len(values) > 1 else {})


def _matrices(cells: np.ndarray, draws: np.ndarray, network: int, classes: int) -> np.ndarray:
    """(D, K, K) confusion matrices of one network, from counts of cells (D, C)."""
    place = cells[:, 0] * classes + cells[:, network]
    whole = np.zeros((classes * classes, len(draws)), dtype=np.int64)
    np.add.at(whole, place, draws.T)
    return whole.T.reshape(-1, classes, classes)


def _metric(name: str) -> Callable[[np.ndarray], np.ndarray]:
    plain = {"accuracy": metrics.accuracy, "macro_f1": metrics.macro_f1}
    if name in plain:
        return plain[name]
    kind, _, index = name.partition(".")
    if kind == "recall" and index.isdigit():
        return metrics.class_recall(int(index))
    if kind == "share" and index.isdigit():
        return lambda counts: counts[:, int(index)].sum(axis=-1) / counts[:, 1:].sum(axis=(-2, -1))
    raise UserError(f"there is no metric {name!r}: restore the record with `git checkout`.")


def _ece(table: Mapping) -> float:
    confidence, right = np.array(table["confidence"]), np.array(table["right"])
    return float(np.abs(confidence - right).sum() / sum(table["images_in_bin"]))


def _of_intensities(table: Mapping, metric: str, n: int, seed: int) -> dict[str, float]:
    images, baseline = table["images"], np.array(table["baseline"])
    sums = {name: np.array(values) for name, values in table["sums"].items()}
    squares = (sums["tt"] - 2 * sums["tr"] + sums["rr"]) / images  # (7,) mean squared error
    if metric == "rmse":
        low, high = metrics.mean_interval(np.array(table["squared_errors"]), n=n, seed=seed)
        value = float(np.sqrt(squares.mean()))
        return {"value": value, "n": images, "low": float(low**0.5), "high": float(high**0.5)}
    if metric == "ccc":
        return {"value": concordance_of_sums(images, sums), "n": images}
    if metric == "baseline_rmse":
        missed = (sums["tt"] - 2 * baseline * sums["t"]) / images + baseline**2
        return {"value": float(np.sqrt(missed.mean())), "n": images}
    emotion = metric.partition(".")[2]
    if metric.startswith("rmse.") and emotion.isdigit():
        return {"value": float(np.sqrt(squares[int(emotion)])), "n": images}
    raise UserError(f"there is no metric {metric!r}: restore the record with `git checkout`.")


def ranges(names: np.ndarray) -> list | None:
    """Rows of FER2013 as [first, last] pairs; None for CK+, whose images are all asked about."""
    if names.dtype.kind not in "iu":
        return None
    ends = np.flatnonzero(np.diff(names) != 1)
    first, last = names[np.r_[0, ends + 1]], names[np.r_[ends, len(names) - 1]]
    return np.stack([first, last], axis=1).tolist()


def chosen_by(images: list | None, names: np.ndarray) -> np.ndarray:
    """(N,) bool: which of `names` the `ranges` of a table hold."""
    if images is None:
        return np.ones(len(names), dtype=bool)
    wanted = np.concatenate([np.arange(first, last + 1) for first, last in images])
    return np.isin(names, wanted)


def write(path: Path, tables: Mapping[str, dict], asked: Mapping[str, dict]) -> None:
    """Write evidence as JSON, one line a table, whole or not at all."""

    def block(entries: Mapping[str, dict]) -> str:
        lines = [
            f"  {json.dumps(name)}: {json.dumps(entry, sort_keys=True, separators=(',', ':'))}"
            for name, entry in sorted(entries.items())
        ]
        return "{\n" + ",\n".join(lines) + "\n }"

    with whole(path) as part:
        part.write_text(f'{{"figures": {block(asked)},\n "tables": {block(tables)}}}\n')


def read(path: Path) -> tuple[dict[str, dict], dict[str, dict]]:
    """What `write` wrote: tables, and how each figure is computed.

    Raises:
        UserError: if the file is missing or holds something else.
    """
    try:
        content = json.loads(path.read_text())
        return dict(content["tables"]), dict(content["figures"])
    except FileNotFoundError:
        raise UserError(f"{path} is missing: restore it with `git checkout`.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} holds no evidence ({error}): restore it with `git checkout`."
        ) from None
