"""Published figures with the counts to recompute them, but without labels.

A figure such as an accuracy needs predictions and labels, and the labels must not be distributed.
But it depends only on how often each label occurs with each prediction. These counts are stored
with the figure. `fer verify` recomputes the figure from them, including the interval, and compares
the counts with the stored predictions. If the data is available it recounts them as well.

N images, K classes, S networks (seeds).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from fer_lib.errors import UserError
from fer_lib.evaluation import calibration, individuals, metrics, published
from fer_lib.evaluation.intensity import concordance_of_sums
from fer_lib.files import whole
from fer_lib.labels import LEFT_OUT

BINS = 15  # of the expected calibration error
FEW = 20  # errors: in fewer groups the interval is exact, since a bootstrap would be too narrow


class Evidence:
    """Computes the figures of one notebook and stores the counts behind each.

    Args:
        stage: the notebook.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Attributes:
        figures: from key to what `published.figure` returns.
        tables: from name to counts.
        recipes: from key to the tables and the metric that a figure is computed from.
    """

    def __init__(self, stage: str, *, resamples: int, seed: int) -> None:
        self.stage, self.resamples, self.seed = stage, resamples, seed
        self.figures: dict[str, dict] = {}
        self.tables: dict[str, dict] = {}
        self.recipes: dict[str, dict] = {}

    def measured(
        self,
        key: str,
        labels: np.ndarray,
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
        """A figure in percent with its 95 % interval, published under `key`.

        The interval covers the choice of test images (or subjects): a bootstrap's, or for an
        accuracy with fewer than `FEW` images (or subjects) in error that of `exact_interval`. Of
        several networks the figure is the mean, and its spread their standard deviation (divisor
        S - 1); all networks are evaluated on the same resampled images.

        Args:
            key: such as "fer13_7.private.accuracy".
            labels: (N,) int, `LEFT_OUT` for an image without a label of this task.
            predicted: (N,) int of one network, (S, N) of several.
            classes: K.
            of: the network's name in `predictions.py`, or S names.
            names: (N,) names of the images there.
            target: what the labels are, such as "label" or "FER+ plurality".
            where: which images, such as "PrivateTest"; with `target` it names the table.
            output: see `Predictions.output`.
            mask: (N,) bool, which images are used; must not depend on labels.
            metric: see `value_of`.
            groups: (N,) group of each image, such as its subject; whole groups are resampled.
            about: split, protocol and seeds of `published.figure`.
        """
        networks = [of] if isinstance(of, str) else list(of)
        chosen = np.ones(len(labels), dtype=bool) if mask is None else mask
        rows = np.vstack([labels, np.atleast_2d(predicted)])[:, chosen]
        table = {
            "kind": "counts", "networks": networks, "output": output, "classes": classes,
            "images": ranges(names[chosen]),
            **count_cells(rows, None if groups is None else groups[chosen]),
        }  # fmt: skip
        name = "/".join(["+".join(networks), output, where, target])
        return self._publish(key, {name: table}, metric, about)

    def difference(self, key: str, first: str, second: str, **about) -> dict:
        """The figure `first` minus the figure `second`, in points of percent, with its interval.

        Both must have been published by `measured`, with one metric. They are of different images
        (or subjects), so each is resampled by itself.
        """
        recipes = [self.recipes[name] for name in (first, second)]
        assert recipes[0]["metric"] == recipes[1]["metric"], (first, second)
        tables = {name: self.tables[name] for recipe in recipes for name in recipe["tables"]}
        return self._publish(key, tables, f"difference.{recipes[0]['metric']}", about)

    def calibration(
        self,
        key: str,
        labels: np.ndarray,
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
            of: S names. The other arguments are those of `measured`.
        """
        chosen = np.ones(len(labels), dtype=bool) if mask is None else mask
        known = labels[chosen] != LEFT_OUT
        tables = {}
        for network, values in zip(of, probabilities, strict=True):
            bins = calibration.confidence_bins(labels[chosen][known], values[chosen][known], BINS)
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
            targets: (N, 7) in [0, 1].
            values: (N, 7) predicted.
            baseline: (7,) a constant prediction: the training mean.
            metric: "rmse", "rmse.K" for emotion K, "ccc", or "baseline_rmse".
        """
        t, r = targets.astype(np.float64), values.astype(np.float64)
        sums = {"t": t, "r": r, "tt": t * t, "rr": r * r, "tr": t * r}
        errors = np.sort(((t - r) ** 2).mean(axis=1))  # sorted: no face is identified
        table = {
            "kind": "intensity", "networks": [of], "images": len(t),
            "sums": {name: array.sum(axis=0).round(9).tolist() for name, array in sums.items()},
            "baseline": np.asarray(baseline, float).round(9).tolist(),
            "squared_errors": errors.round(7).tolist(),
        }  # fmt: skip
        return self._publish(key, {f"{of}/intensities/{where}": table}, metric, about)

    def mean(
        self, key: str, values: np.ndarray, *, of: str, where: str, unit: str = "score", **about
    ) -> dict:
        """The mean of a value of each image, with its 95 % bootstrap interval.

        Args:
            values: (N,) float, such as the negative log-likelihood of each label, or the difference
                of two networks, in which images are paired.
            of: what it is computed from; with `where` it names the table.
            where: which images.
            unit: "score", or "percent" for values of which 1 is 100 %.
        """
        found, counts = np.unique(values.round(4), return_counts=True)  # sorted: none is identified
        table = {
            "kind": "values", "unit": unit, "values": found.tolist(), "counts": counts.tolist()
        }  # fmt: skip
        return self._publish(key, {f"{of}/{where}": table}, "mean", about)

    def leak(self, key: str, fraction: float, *, of: str, unit: str, **about) -> dict:
        """The fraction of test images whose `unit` is also in training, from the folds alone."""
        entry = published.figure(100 * fraction, unit="percent", stage=self.stage, **about)
        self.recipes[key] = {"network": of, "metric": f"leak.{unit}"}
        self.figures[key] = entry
        return entry

    def plain(self, key: str, value: float, **about) -> dict:
        """A figure that cannot be recomputed from predictions."""
        self.figures[key] = published.figure(value, stage=self.stage, **about)
        return self.figures[key]

    def save(self, build: Path) -> None:
        """Write `figures/STAGE.json` and `evidence/STAGE.json` under the study's folder."""
        published.write_figures(build / "figures" / f"{self.stage}.json", self.figures)
        write(build / "evidence" / f"{self.stage}.json", self.tables, self.recipes)

    def _publish(self, key: str, tables: dict[str, dict], metric: str, about: dict) -> dict:
        for name, table in tables.items():
            if self.tables.setdefault(name, table) != table:
                raise ValueError(f"two tables are called {name}: distinguish them by `where`")
        recipe = {"tables": list(tables), "metric": metric, "n": self.resamples, "seed": self.seed}
        self.recipes[key] = recipe
        found = value_of(list(tables.values()), metric, self.resamples, self.seed)
        table = next(iter(tables.values()))
        unit = {"intensity": "score", "values": table.get("unit")}.get(table["kind"], "percent")
        unit = "images" if metric.startswith("count.") else unit
        self.figures[key] = published.figure(**found, **about, unit=unit, stage=self.stage)  # type: ignore[arg-type]
        return self.figures[key]


def count_cells(rows: np.ndarray, groups: np.ndarray | None = None) -> dict:
    """How often each combination of label and predictions occurs.

    Args:
        rows: (1 + S, N) int: labels, then the predictions of each network.
        groups: (N,) group of each image.

    Returns:
        cells: the C combinations that occur, sorted; counts: how often, (C,), or with groups
        (G, C), one row per group. Groups are sorted by their counts, so that none is identified.
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


def value_of(tables: Sequence[dict], metric: str, resamples: int, seed: int) -> dict[str, float]:
    """A figure from its tables: value, n (images), and if they exist low, high, spread.

    Args:
        tables: one; for "ece" one per network.
        metric: "accuracy", "macro_f1", "macro_recall", "recall.K", "predicted.K" (how often
            class K is predicted), "share.K" (the fraction of label K among labels above 0),
            "count.K" (how many images have label K), "worst_tenth" and "best_tenth" (the accuracy
            of those groups), "difference.METRIC" (of two tables), "ece", "mean", or those of
            `Evidence.intensity`.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        UserError: for an unknown metric or table.
    """
    kind = tables[0]["kind"]
    if metric.startswith("difference."):
        return _difference(tables, metric.removeprefix("difference."), resamples, seed)
    if kind == "counts":
        return _of_counts(tables[0], metric, resamples, seed)
    if kind == "bins" and metric == "ece":
        errors = np.array([_ece(table) for table in tables])
        found = {"value": 100 * errors.mean(), "n": sum(tables[0]["images_in_bin"])}
        return found | ({"spread": 100 * errors.std(ddof=1)} if len(errors) > 1 else {})
    if kind == "values" and metric == "mean":
        return _of_values(tables[0], resamples, seed)
    if kind == "intensity":
        return _of_intensities(tables[0], metric, resamples, seed)
    raise UserError(
        f"{metric!r} cannot be computed from evidence of the kind {kind!r}: restore the record "
        "with `git checkout`."
    )


def _of_counts(table: Mapping, metric: str, resamples: int, seed: int) -> dict[str, float]:
    if metric in ("worst_tenth", "best_tenth"):
        return _tenth(table, metric)
    cells, counts = _labelled(table)
    total = counts.sum(axis=0)
    if metric.startswith("count."):
        return {"value": int(total[cells[:, 0] == int(metric[6:])].sum()), "n": int(total.sum())}
    n, values, drawn = _values_and_draws(table, metric, resamples, seed)
    found = {"value": 100 * values.mean(), "n": n}
    if drawn is None:
        return found
    if metric.startswith("recall."):
        found["n"] = int(total[cells[:, 0] == int(metric[7:])].sum())
    trials = _trials_where_few_err(cells, counts) if metric == "accuracy" else None
    if trials:
        low, high = metrics.exact_interval(float(values.mean()), trials)
    else:
        low, high = np.nanpercentile(drawn, [2.5, 97.5])
    found |= {"low": 100 * float(low), "high": 100 * float(high)}
    return found | ({"spread": 100 * values.std(ddof=1)} if len(values) > 1 else {})


def _values_and_draws(
    table: Mapping, metric: str, resamples: int, seed: int
) -> tuple[int, np.ndarray, np.ndarray | None]:
    """Number of images, the metric of each network (S,), and its mean in each resample (R,)."""
    cells, counts = _labelled(table)
    total, function = counts.sum(axis=0), _metric(metric)

    def by_network(draws: np.ndarray) -> np.ndarray:
        """The metric of each network, (S, D), from counts of cells (D, C)."""
        networks = range(1, cells.shape[1])
        return np.stack([function(_matrices(cells, draws, k, table["classes"])) for k in networks])

    values = by_network(total[None])[:, 0]
    if metric.startswith("share."):
        return int(total[cells[:, 0] > 0].sum()), values, None
    rows = total if len(counts) == 1 else counts
    drawn = by_network(metrics.resample(rows, resamples=resamples, seed=seed)).mean(axis=0)
    return int(total.sum()), values, drawn


def _difference(tables: Sequence[dict], metric: str, resamples: int, seed: int) -> dict[str, float]:
    """The first table's metric minus the second's; n is that of the second."""
    (_, first, first_draws), (n, second, second_draws) = (
        _values_and_draws(table, metric, resamples, seed + place)
        for place, table in enumerate(tables)
    )
    assert first_draws is not None and second_draws is not None
    low, high = np.nanpercentile(first_draws - second_draws, [2.5, 97.5])
    value = 100 * (first.mean() - second.mean())
    return {"value": value, "n": n, "low": 100 * float(low), "high": 100 * float(high)}


def _tenth(table: Mapping, metric: str) -> dict[str, float]:
    """The mean accuracy of the worst or best tenth of the groups; n is the number of groups."""
    cells, counts = _labelled(table)
    accuracies = counts[:, cells[:, 0] == cells[:, 1]].sum(axis=1) / counts.sum(axis=1)
    worst, best = individuals.tenths(accuracies)
    return {"value": 100 * (worst if metric == "worst_tenth" else best), "n": len(counts)}


def _labelled(table: Mapping) -> tuple[np.ndarray, np.ndarray]:
    """Cells (C, 1 + S) of images with a label, and their counts (1 or G, C)."""
    cells = np.array(table["cells"], dtype=np.int64)
    counts = np.atleast_2d(np.array(table["counts"], dtype=np.int64))
    kept = cells[:, 0] != LEFT_OUT
    return cells[kept], counts[:, kept]


def _trials_where_few_err(cells: np.ndarray, counts: np.ndarray) -> float | None:
    """Trials of an exact interval; None where `FEW` groups (or images) or more are in error."""
    failures = (cells[:, 1:] != cells[:, :1]).mean(axis=1)  # of a cell: by how many networks
    if len(counts) == 1:
        return float(counts.sum()) if counts[0, failures > 0].sum() < FEW else None
    wrong = counts @ failures
    if (wrong > 0).sum() >= FEW:
        return None
    return metrics.effective_trials(wrong, counts.sum(axis=1))


def _matrices(cells: np.ndarray, draws: np.ndarray, network: int, classes: int) -> np.ndarray:
    """(D, K, K) confusion matrices of one network, from counts of cells (D, C)."""
    place = cells[:, 0] * classes + cells[:, network]
    counts = np.zeros((classes * classes, len(draws)), dtype=np.int64)
    np.add.at(counts, place, draws.T)
    return counts.T.reshape(-1, classes, classes)


def _metric(name: str) -> Callable[[np.ndarray], np.ndarray]:
    if name in ("accuracy", "macro_f1", "macro_recall"):
        return getattr(metrics, name)
    kind, _, index = name.partition(".")
    if kind == "predicted" and index.isdigit():
        return lambda counts: counts[:, :, int(index)].sum(axis=-1) / counts.sum(axis=(-2, -1))
    if kind == "recall" and index.isdigit():
        return metrics.class_recall(int(index))
    if kind == "share" and index.isdigit():
        return lambda counts: counts[:, int(index)].sum(axis=-1) / counts[:, 1:].sum(axis=(-2, -1))
    raise UserError(f"there is no metric {name!r}: restore the record with `git checkout`.")


def _ece(table: Mapping) -> float:
    confidence, correct = np.array(table["confidence"]), np.array(table["right"])
    return float(np.abs(confidence - correct).sum() / sum(table["images_in_bin"]))


def _of_values(table: Mapping, resamples: int, seed: int) -> dict[str, float]:
    values = np.repeat(np.array(table["values"]), table["counts"])
    low, high = metrics.mean_interval(values, resamples=resamples, seed=seed)
    factor = 100 if table["unit"] == "percent" else 1
    found = {"value": float(values.mean()), "low": low, "high": high}
    return {name: factor * value for name, value in found.items()} | {"n": len(values)}


def _of_intensities(table: Mapping, metric: str, resamples: int, seed: int) -> dict[str, float]:
    images, baseline = table["images"], np.array(table["baseline"])
    sums = {name: np.array(values) for name, values in table["sums"].items()}
    squares = (sums["tt"] - 2 * sums["tr"] + sums["rr"]) / images  # (7,) mean squared error
    if metric == "rmse":
        low, high = metrics.mean_interval(
            np.array(table["squared_errors"]), resamples=resamples, seed=seed
        )
        value = float(np.sqrt(squares.mean()))
        return {"value": value, "n": images, "low": float(low**0.5), "high": float(high**0.5)}
    if metric == "ccc":
        return {"value": concordance_of_sums(images, sums), "n": images}
    if metric == "baseline_rmse":
        errors = (sums["tt"] - 2 * baseline * sums["t"]) / images + baseline**2
        return {"value": float(np.sqrt(errors.mean())), "n": images}
    emotion = metric.partition(".")[2]
    if metric.startswith("rmse.") and emotion.isdigit():
        return {"value": float(np.sqrt(squares[int(emotion)])), "n": images}
    raise UserError(f"there is no metric {metric!r}: restore the record with `git checkout`.")


def ranges(names: np.ndarray) -> list | None:
    """Rows of FER2013 as [first, last] pairs; None for CK+, whose images are all used."""
    if names.dtype.kind not in "iu":
        return None
    ends = np.flatnonzero(np.diff(names) != 1)
    first, last = names[np.r_[0, ends + 1]], names[np.r_[ends, len(names) - 1]]
    return np.stack([first, last], axis=1).tolist()


def chosen_by(images: list | None, names: np.ndarray) -> np.ndarray:
    """(N,) bool: which of `names` are in the `ranges` of a table."""
    if images is None:
        return np.ones(len(names), dtype=bool)
    wanted = np.concatenate([np.arange(first, last + 1) for first, last in images])
    return np.isin(names, wanted)


def write(path: Path, tables: Mapping[str, dict], recipes: Mapping[str, dict]) -> None:
    """Write evidence as JSON, one line per table, atomically."""

    def block(entries: Mapping[str, dict]) -> str:
        lines = [
            f"  {json.dumps(name)}: {json.dumps(entry, sort_keys=True, separators=(',', ':'))}"
            for name, entry in sorted(entries.items())
        ]
        return "{\n" + ",\n".join(lines) + "\n }"

    with whole(path) as part:
        part.write_text(f'{{"figures": {block(recipes)},\n "tables": {block(tables)}}}\n')


def read(path: Path) -> tuple[dict[str, dict], dict[str, dict]]:
    """Read evidence: tables and recipes.

    Raises:
        UserError: if the file is missing or contains something else.
    """
    try:
        content = json.loads(path.read_text())
        return dict(content["tables"]), dict(content["figures"])
    except FileNotFoundError:
        raise UserError(f"{path} is missing: restore it with `git checkout`.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} contains no evidence ({error}): restore it with `git checkout`."
        ) from None
