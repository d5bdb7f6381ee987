"""Compare the paper record with the current code, and update it where the results are the same.

`studies/dvc.lock` records the code, settings and data that produced the weights of the record.
After a change of the code, DVC would train them again: hours, for a corrected comment. `renew`
writes the current code into the lock if nothing that determines the weights has changed: settings
and data by comparison, code by the golden training (`golden.py`). Otherwise it refuses, and the
lock is not changed.

Only training stages are renewed; all others run in minutes, from predictions or weights.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from fer_lib.errors import UserError
from fer_lib.paths import project_root

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import PipelineStage

PIPELINE = "studies/dvc.yaml"
CODE = ("fer_lib", "fer_tools", "notebooks", "scripts")  # folders whose files are code, not data
STUDY = "paper"

# Settings that the record's lock may lack, the value that changes no result, and the reason.
ADDED = {
    "precision": ("auto", "chooses bfloat16 on the GPU of the record, which was the default then"),
}


@dataclass
class Comparison:
    """A stage's lock entry compared with the current project.

    Attributes:
        stage: of `studies/dvc.yaml`, with the hashes of its lock entry.
        case: the case of `golden.CASES` that tests it; "" if the stage does not train.
        code: differences that can be renewed: "cmd", and paths of code.
        obstacles: why it cannot be renewed.
        accepted: new settings that change no result, with the reason.
        absent: it has no lock entry, so it is not part of the record.
    """

    stage: "PipelineStage"
    case: str
    code: list[str] = field(default_factory=list)
    obstacles: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    absent: bool = False


def status(echo: Callable[[str], None]) -> None:
    """Print how the stages of the paper study differ from their lock entries."""
    comparisons = _compare_stages(_open())
    for comparison in comparisons:
        if comparison.absent:
            echo(f"{comparison.stage.name}: not in the record")
        differences = [*comparison.code, *comparison.obstacles, *comparison.accepted]
        if differences:
            kind = "trains" if comparison.case else "runs in minutes"
            echo(f"{comparison.stage.name} ({kind}): {_abbreviated(differences)}")
    count = sum(bool(c.code or c.obstacles or c.accepted or c.absent) for c in comparisons)
    total = len(comparisons)
    echo(f"{total - count} of {total} stages of the paper study are as recorded.")


def renew(names: Iterable[str], echo: Callable[[str], None]) -> None:
    """Update the lock entries of training stages to the current code, all of them or none.

    Args:
        names: of stages, such as "train@paper"; if empty, all training stages.
        echo: prints a line for each stage, and the result.

    Raises:
        UserError: if a stage must be trained again, naming each and the reasons; if a name is not
            that of a training stage.
    """
    repo = _open()
    with repo.lock:
        trained = {c.stage.name: c for c in _compare_stages(repo) if c.case}
        for name in [name for name, comparison in trained.items() if comparison.absent]:
            echo(f"{name}: not in the record, so there is nothing to renew")
            del trained[name]
        names = list(names) or list(trained)
        if unknown := [name for name in names if name not in trained]:
            raise UserError(
                f"{', '.join(unknown)}: not a training stage of the paper study; name one of "
                f"{', '.join(trained)}."
            )
        todo = [c for c in map(trained.get, names) if c and (c.code or c.obstacles or c.accepted)]
        if not todo:
            echo("Nothing to renew: the record matches the current code.")
            return
        _run_golden_cases(todo, echo)
        _refuse_dependents(todo)
        if refused := [c for c in todo if c.obstacles]:
            raise UserError(
                "nothing was renewed: these stages must be trained again (`fer study paper`), or "
                "the changes reverted:\n"
                + "\n".join(f"  {c.stage.name}: {_abbreviated(c.obstacles)}" for c in refused)
            )
        for comparison in todo:
            _update_code(comparison.stage)
            changes = _abbreviated([*comparison.code, *comparison.accepted])
            echo(f"{comparison.stage.name}: renewed {changes} (tested by {comparison.case})")
        # One write for all, so that the file is either the old one or the new one.
        todo[0].stage.dvcfile._lockfile.dump_stages([comparison.stage for comparison in todo])
    echo(f"{len(todo)} stage(s) renewed in {Path(PIPELINE).with_suffix('.lock')}; commit it.")


def _open() -> "Repo":
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo

    try:
        return Repo(str(project_root()))
    except NotDvcRepoError:
        raise UserError(
            f"{project_root()} is not a DVC project: clone the repository again."
        ) from None


def _compare_stages(repo: "Repo") -> list[Comparison]:
    """Each stage of the paper study, compared with its lock entry."""
    stages = repo.stage.load_all(PIPELINE)
    lock = yaml.safe_load((Path(repo.root_dir) / PIPELINE).with_suffix(".lock").read_text())
    params = yaml.safe_load((Path(repo.root_dir) / "params.yaml").read_text())
    outputs = {
        path: entry for name, recorded in lock["stages"].items()
        if name in {stage.name for stage in stages}
        for path, entry in ((out["path"], out) for out in recorded.get("outs", []))
    }  # fmt: skip
    return [
        _compare_stage(stage, lock["stages"].get(stage.name, {}), outputs, params)
        for stage in stages
        if any(STUDY in Path(out.def_path).parts for out in stage.outs)
    ]


def _compare_stage(
    stage: "PipelineStage", recorded: dict, outputs: dict, params: dict
) -> Comparison:
    """Compare a stage with its lock entry.

    Args:
        stage: of the current `studies/dvc.yaml`.
        recorded: its entry in the lock; empty if there is none.
        outputs: the lock's entry of each output of a stage, by path.
        params: the current `params.yaml`.
    """
    comparison = Comparison(stage, case_of(stage.cmd))
    if not recorded:
        comparison.absent = True
        return comparison
    before = {dep["path"]: dep for dep in recorded.get("deps", [])}
    if stage.cmd_changed:
        comparison.code.append("cmd")
    for dep in stage.deps:
        if dep.def_path == "params.yaml":
            continue
        old = before.pop(dep.def_path, {}).get("md5")
        if _is_code(dep.def_path):
            if not dep.exists:
                comparison.obstacles.append(f"{dep.def_path} is missing")
            elif old != dep.get_hash().value:
                comparison.code.append(dep.def_path)
        elif old is None or outputs.get(dep.def_path, {}).get("md5", old) != old:
            comparison.obstacles.append(f"its input {dep.def_path} differs from the record's")
    for path in before:
        if _is_code(path):
            comparison.code.append(f"without {path}")
        else:
            comparison.obstacles.append(f"it no longer reads {path}")
    recorded_outs = {out["path"] for out in recorded.get("outs", [])}
    new = [out.def_path for out in stage.outs if out.def_path not in recorded_outs]
    comparison.obstacles += [f"its output {path} is new" for path in new]
    _compare_params(comparison, recorded.get("params", {}).get("params.yaml", {}), params)
    return comparison


def _compare_params(comparison: Comparison, recorded: dict[str, Any], params: dict) -> None:
    """Add the settings that differ from the record to `comparison`.

    Args:
        comparison: of the stage whose settings are compared.
        recorded: values by path ("studies.paper.model"), as in the lock.
        params: the current `params.yaml`.
    """
    current = {path: _at(params, path) for path in [*recorded, *_params_of(comparison.stage)]}
    before, now = _leaves(recorded), _leaves(current)
    for path in dict.fromkeys([*before, *now]):
        old, value = before.get(path), now.get(path)
        if path in before and path in now and old == value:
            continue
        name = path.rsplit(".", 1)[-1]
        if path not in before and name in ADDED and value == ADDED[name][0]:
            comparison.accepted.append(f"{path} = {value} ({ADDED[name][1]})")
        else:
            difference = f"recorded {old!r}" if path in before else "not recorded"
            comparison.obstacles.append(f"{path} = {value!r}, {difference}")


def case_of(cmd: str) -> str:
    """The golden case that tests a stage's command; "" if it runs no training notebook."""
    from fer_tools.record.golden import CASES  # loads torch

    words = cmd.split()
    notebooks = {Path(word).stem for word in words if word.endswith(".ipynb")}
    tasks = [word.removeprefix("task=") for word in words if word.startswith("task=")]
    task = tasks[0] if tasks else ""
    if task.startswith("teacher-"):
        task = "teacher-1"
    for name, case in CASES.items():
        if case.notebook in notebooks and case.task == task:
            return name
    return ""


def _run_golden_cases(todo: list[Comparison], echo: Callable[[str], None]) -> None:
    """Run the golden cases of the stages; add cases that do not reproduce to `obstacles`."""
    from fer_tools.record import golden

    cases = [name for name in golden.CASES if name in {comparison.case for comparison in todo}]
    echo(f"Golden training of {len(cases)} case(s), about a minute: {', '.join(cases)}")
    differences_of = golden.check(cases)
    for comparison in todo:
        if differences := differences_of[comparison.case]:
            more = f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""
            comparison.obstacles.append(
                f"the golden case {comparison.case} does not reproduce: {differences[0]}{more}"
            )


def _refuse_dependents(todo: list[Comparison]) -> None:
    """Refuse every stage that reads an output of a refused stage as well."""
    waiting = [comparison for comparison in todo if not comparison.obstacles]
    refused = [comparison for comparison in todo if comparison.obstacles]
    while refused:
        source = refused.pop().stage
        outputs = {Path(out.def_path) for out in source.outs}
        for comparison in list(waiting):
            inputs = {Path(dep.def_path) for dep in comparison.stage.deps}
            if any(path in inputs or inputs & set(path.parents) for path in outputs):
                comparison.obstacles.append(f"it reads the output of {source.name}")
                waiting.remove(comparison)
                refused.append(comparison)


def _update_code(stage: "PipelineStage") -> None:
    """Give a stage the current hashes of code and values of settings; data keeps the lock's."""
    for dep in stage.deps:
        if dep.def_path == "params.yaml" or _is_code(dep.def_path):
            dep.save()


def _is_code(path: str) -> bool:
    return Path(path).parts[0] in CODE


def _params_of(stage: "PipelineStage") -> list[str]:
    return [name for dep in stage.deps for name in getattr(dep, "params", [])]


def _at(params: dict, path: str) -> Any:
    """The value at a path such as "studies.paper.model"; an empty section if there is none."""
    value: Any = params
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            return {}
        value = value[part]
    return value


def _leaves(sections: dict[str, Any]) -> dict[str, Any]:
    """Flatten nested sections: {"a.b": {"c": 1}} to {"a.b.c": 1}."""
    flat: dict[str, Any] = {}
    for path, value in sections.items():
        if isinstance(value, dict):
            flat |= _leaves({f"{path}.{name}": part for name, part in value.items()})
        else:
            flat[path] = value
    return flat


def _abbreviated(items: list[str], limit: int = 6) -> str:
    more = f", and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + more
