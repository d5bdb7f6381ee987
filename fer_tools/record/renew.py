"""The paper record and today's code: what differs, and binding one to the other by proof.

`studies/dvc.lock` says which code, settings and data gave the weights of the record. After a change
of the code, DVC would train them anew: hours, for a mended comment. `renew` writes today's code
into the lock where nothing that decides the weights has changed: settings and data by comparison,
code by the golden training (`golden.py`). Where something has, it refuses, and the lock stays.

Only stages that train are renewed; all others run in minutes, from predictions or weights.
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

# Settings that the record's lock may lack, the value with which they change nothing, and why.
ADDED = {
    "precision": ("auto", "chooses bfloat16 on the GPU of the record, which was the default then"),
}


@dataclass
class Standing:
    """How a stage's lock entry stands to today's project.

    Attributes:
        stage: of `studies/dvc.yaml`, with the hashes of its lock entry.
        case: of `golden.CASES` that proves it; "" where the stage does not train.
        code: what differs and may be renewed: "cmd", and paths of code.
        against: why it cannot be renewed.
        accepted: settings that are new and change nothing, with the reason.
        absent: it has no lock entry, so nothing of it is in the record.
    """

    stage: "PipelineStage"
    case: str
    code: list[str] = field(default_factory=list)
    against: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    absent: bool = False


def status(say: Callable[[str], None]) -> None:
    """Tell how the lock entries of the paper study's stages stand to today's code and settings."""
    standings = _standings(_open())
    for standing in standings:
        if standing.absent:
            say(f"{standing.stage.name}: not in the record")
        differs = [*standing.code, *standing.against, *standing.accepted]
        if differs:
            kind = "trains" if standing.case else "runs in minutes"
            say(f"{standing.stage.name} ({kind}): {_in_short(differs)}")
    count = sum(bool(s.code or s.against or s.accepted or s.absent) for s in standings)
    say(f"{len(standings) - count} of {len(standings)} stages of the paper study are as recorded.")


def renew(names: Iterable[str], say: Callable[[str], None]) -> None:
    """Bind the lock entries of stages that train to today's code, all of them or none.

    Args:
        names: of stages, such as "train@paper"; none of them means all that train.
        say: is given a line for each stage, and what was done.

    Raises:
        UserError: if a stage must be trained anew, naming each and the reasons; if a name is none
            of a stage that trains.
    """
    repo = _open()
    with repo.lock:
        trained = {s.stage.name: s for s in _standings(repo) if s.case}
        for name in [name for name, standing in trained.items() if standing.absent]:
            say(f"{name}: not in the record, so there is nothing to bind")
            del trained[name]
        names = list(names) or list(trained)
        if unknown := [name for name in names if name not in trained]:
            raise UserError(
                f"{', '.join(unknown)}: no stage of the paper study that trains; name one of "
                f"{', '.join(trained)}."
            )
        todo = [s for s in map(trained.get, names) if s and (s.code or s.against or s.accepted)]
        if not todo:
            say("Nothing to renew: the record is bound to today's code.")
            return
        _prove(todo, say)
        _pass_on(todo)
        if refused := [s for s in todo if s.against]:
            raise UserError(
                "nothing was renewed, since these stages must be trained anew (`fer study paper`), "
                "or what changed must be taken back:\n"
                + "\n".join(f"  {s.stage.name}: {_in_short(s.against)}" for s in refused)
            )
        for standing in todo:
            _take_todays_code(standing.stage)
            said = _in_short([*standing.code, *standing.accepted])
            say(f"{standing.stage.name}: bound to today's {said} (proven by {standing.case})")
        # One write for all, so that the file is the old one or the new one.
        todo[0].stage.dvcfile._lockfile.dump_stages([standing.stage for standing in todo])
    say(f"{len(todo)} stage(s) renewed in {Path(PIPELINE).with_suffix('.lock')}; commit it.")


def _open() -> "Repo":
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo import Repo

    try:
        return Repo(str(project_root()))
    except NotDvcRepoError:
        raise UserError(f"{project_root()} is no DVC project: clone the repository anew.") from None


def _standings(repo: "Repo") -> list[Standing]:
    """Each stage of the paper study, compared with its lock entry."""
    stages = repo.stage.load_all(PIPELINE)
    lock = yaml.safe_load((Path(repo.root_dir) / PIPELINE).with_suffix(".lock").read_text())
    params = yaml.safe_load((Path(repo.root_dir) / "params.yaml").read_text())
    made = {
        path: entry for name, recorded in lock["stages"].items()
        if name in {stage.name for stage in stages}
        for path, entry in ((out["path"], out) for out in recorded.get("outs", []))
    }  # fmt: skip
    return [
        _standing(stage, lock["stages"].get(stage.name, {}), made, params)
        for stage in stages
        if any(STUDY in Path(out.def_path).parts for out in stage.outs)
    ]


def _standing(stage: "PipelineStage", recorded: dict, made: dict, params: dict) -> Standing:
    """Compare a stage with its lock entry.

    Args:
        stage: as `studies/dvc.yaml` has it today.
        recorded: its entry in the lock; empty if there is none.
        made: the lock's entry of each output of a stage, by path.
        params: today's `params.yaml`.
    """
    found = Standing(stage, case_of(stage.cmd))
    if not recorded:
        found.absent = True
        return found
    before = {dep["path"]: dep for dep in recorded.get("deps", [])}
    if stage.cmd_changed:
        found.code.append("cmd")
    for dep in stage.deps:
        if dep.def_path == "params.yaml":
            continue
        was = before.pop(dep.def_path, {}).get("md5")
        if _is_code(dep.def_path):
            if not dep.exists:
                found.against.append(f"{dep.def_path} is missing")
            elif was != dep.get_hash().value:
                found.code.append(dep.def_path)
        elif was is None or made.get(dep.def_path, {}).get("md5", was) != was:
            found.against.append(f"its input {dep.def_path} is not the one of the record")
    for path in before:
        if _is_code(path):
            found.code.append(f"without {path}")
        else:
            found.against.append(f"it no longer reads {path}")
    outs = {out["path"] for out in recorded.get("outs", [])}
    new = [out.def_path for out in stage.outs if out.def_path not in outs]
    found.against += [f"its output {path} is new" for path in new]
    _compare_params(found, recorded.get("params", {}).get("params.yaml", {}), params)
    return found


def _compare_params(found: Standing, recorded: dict[str, Any], params: dict) -> None:
    """Add to `found` which settings are not those of the record.

    Args:
        found: with the stage, whose settings are compared.
        recorded: values by path ("studies.paper.model"), as in the lock.
        params: today's `params.yaml`.
    """
    today = {path: _at(params, path) for path in [*recorded, *_params_of(found.stage)]}
    before, now = _leaves(recorded), _leaves(today)
    for path in dict.fromkeys([*before, *now]):
        was, value = before.get(path), now.get(path)
        if path in before and path in now and was == value:
            continue
        name = path.rsplit(".", 1)[-1]
        if path not in before and name in ADDED and value == ADDED[name][0]:
            found.accepted.append(f"{path} = {value} ({ADDED[name][1]})")
        else:
            then = f"{was!r} then" if path in before else "not recorded"
            found.against.append(f"{path} = {value!r}, {then}")


def case_of(cmd: str) -> str:
    """The golden case that proves a stage's command, "" if it runs no notebook that trains."""
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


def _prove(todo: list[Standing], say: Callable[[str], None]) -> None:
    """Run the golden cases of the stages; add to `against` what does not reproduce."""
    from fer_tools.record import golden

    cases = [name for name in golden.CASES if name in {standing.case for standing in todo}]
    say(f"Golden training of {len(cases)} case(s), about a minute: {', '.join(cases)}")
    found = golden.check(cases)
    for standing in todo:
        if differences := found[standing.case]:
            more = f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""
            standing.against.append(
                f"the golden case {standing.case} does not reproduce: {differences[0]}{more}"
            )


def _pass_on(todo: list[Standing]) -> None:
    """A stage that reads what a refused one makes must be trained anew as well."""
    waiting = [standing for standing in todo if not standing.against]
    refused = [standing for standing in todo if standing.against]
    while refused:
        source = refused.pop().stage
        made = {out.def_path for out in source.outs}
        for standing in list(waiting):
            read = {Path(dep.def_path) for dep in standing.stage.deps}
            if any(path in read or read & set(Path(path).parents) for path in map(Path, made)):
                standing.against.append(f"it reads what {source.name} makes")
                waiting.remove(standing)
                refused.append(standing)


def _take_todays_code(stage: "PipelineStage") -> None:
    """Give a stage today's hashes of code and values of settings; its data keeps the lock's."""
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
    """Nested sections as one: {"a.b": {"c": 1}} to {"a.b.c": 1}."""
    flat: dict[str, Any] = {}
    for path, value in sections.items():
        if isinstance(value, dict):
            flat |= _leaves({f"{path}.{name}": part for name, part in value.items()})
        else:
            flat[path] = value
    return flat


def _in_short(things: list[str], most: int = 6) -> str:
    more = f", and {len(things) - most} more" if len(things) > most else ""
    return ", ".join(things[:most]) + more
