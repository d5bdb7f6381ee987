"""The DVC graph is correct: deps match the imports, parameters exist, studies have equal stages."""

from pathlib import Path

import nbformat
import pytest
import yaml
from imports import ROOT, code_of, imports, room, with_what_they_import

from fer_lib.params import load
from fer_tools.record.files import EVALUATION
from studies.ablation.variants import TRAINED_BY

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
STAGES = yaml.safe_load((ROOT / "studies/dvc.yaml").read_text())["stages"]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def body(stage: dict) -> dict:
    """What a stage does, with or without `foreach`."""
    return stage.get("do", stage)


def items(stage: dict, study: str) -> list[dict]:
    """What a stage is run for in a study, beside its name."""
    tasks = stage.get("matrix", {}).get("task", [])
    named = stage.get("foreach", {})
    rows = [i for i in named.values() if i.get("study") == study] if isinstance(named, dict) else []
    return [{"task": task} for task in tasks] or rows or [{}]


def runs(stage: dict) -> Path:
    """The notebook or script that a stage runs."""
    words = body(stage)["cmd"].split()
    return ROOT / next((w for w in words if w.endswith(".ipynb")), words[1])


@pytest.mark.parametrize("name", STAGES)
def test_deps_hold_the_notebook_and_the_packages_it_uses(name):
    target, deps = runs(STAGES[name]), body(STAGES[name])["deps"]
    source = code_of(target) if target.suffix == ".ipynb" else target.read_text()
    used = {room(module) for module in with_what_they_import(imports(source))}
    # Of the modules beside the packages only the labels decide a figure.
    packages = {r for r in used if not r.endswith(".py") or r == "fer_lib/labels.py"}
    assert packages == {dep for dep in deps if dep.startswith(("fer_lib", "fer_tools"))}
    assert str(target.relative_to(ROOT)) in deps
    assert ("scripts/run_nb.py" in deps) == (target.suffix == ".ipynb")
    # What Python compiles by the way is no change of the library.
    assert "__pycache__" in (ROOT / ".dvcignore").read_text().splitlines()


def test_short_trainings_depend_on_the_code_that_trains():
    stages = yaml.safe_load((ROOT / "studies/ablation/dvc.yaml").read_text())["stages"]
    for name, stage in stages.items():
        deps = [d for d in body(stage)["deps"] if not d.startswith(("build", "reports"))]
        assert all((ROOT / dep).exists() for dep in deps), name
        if "matrix" in stage:
            assert {str(Path(file).parent) for file in TRAINED_BY} <= {
                *deps,
                "fer_lib",
                "studies/ablation",
            }
            assert "studies/ablation/variants.py" in deps


def test_every_notebook_is_a_stage():
    assert {runs(stage) for stage in STAGES.values() if runs(stage).suffix == ".ipynb"} == set(
        NOTEBOOKS
    )


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("study", PARAMS["studies"])
def test_params_exist(name, study):
    if name == "draw" and study != "sample":
        pytest.skip("only the sample study draws its data")
    for param in body(STAGES[name]).get("params", []):
        for item in items(STAGES[name], study):
            path = param.replace("${key}", study).replace("${item.study}", study)
            section = PARAMS
            for name_, value in item.items():
                path = path.replace(f"${{item.{name_}}}", str(value))
            for part in path.split("."):
                section = section[part]


@pytest.mark.parametrize("name", STAGES)
def test_passed_names_stand_in_the_parameters_cell(name):
    target = runs(STAGES[name])
    if target.suffix != ".ipynb":
        pytest.skip("a script, no notebook")
    passed = {w.split("=")[0] for w in body(STAGES[name])["cmd"].split() if "=" in w}
    cells = nbformat.read(target, as_version=4).cells
    marked = [c for c in cells if "parameters" in c.metadata.get("tags", [])]
    assert len(marked) == 1
    namespace: dict = {}
    exec(marked[0].source, namespace)
    # Without `seed` a stage takes the study's own, and a parameter that is None need not be passed.
    optional = {"seed"} | {name for name, value in namespace.items() if value is None}
    assert passed | optional >= {n for n in namespace if not n.startswith("__")} >= passed


@pytest.mark.parametrize("study", PARAMS["studies"])
def test_all_teachers_are_trained(study):
    trained = [item["teacher"] for item in items(STAGES["teach"], study)]
    assert trained == list(load(study).teachers.networks)


@pytest.mark.parametrize("study", PARAMS["studies"])
def test_further_seeds_are_the_ones_that_are_trained(study):
    for stage in ("repeat", "repeat_valence"):
        items = STAGES[stage]["foreach"].values()
        seeds = [item["seed"] for item in items if item["study"] == study]
        assert seeds == PARAMS["studies"][study]["further_seeds"]
    seeds = [item["seed"] for item in STAGES["repeat_ckplus"]["foreach"].values()]
    assert seeds == PARAMS["studies"]["paper"]["further_seeds"]


def test_no_stage_writes_what_git_keeps():
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert "/build/" in ignored
    for stage in STAGES.values():
        assert all(out.startswith("build/") for out in body(stage)["outs"])


def test_evaluation_needs_no_training():
    """What `fer study paper --published` runs: all that comes after `predict`, in order."""
    after = list(STAGES)[list(STAGES).index("predict") + 1 :]
    assert set(after) == set(EVALUATION)
    trained = ["encoder.safetensors", "/seeds", "teachers/", "ferplus"]
    for name in EVALUATION[:-1]:  # the last gathers what there is
        deps = body(STAGES[name])["deps"]
        assert not [dep for dep in deps for part in trained if part in dep], name
    made = [body(STAGES[name])["outs"] for name in EVALUATION]
    for place, name in enumerate(EVALUATION):
        later = {out for outs in made[place:] for out in outs}
        assert not later & set(body(STAGES[name])["deps"]), name


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_clean_and_read_like_a_text(path):
    notebook = nbformat.read(path, as_version=4)
    code = [c for c in notebook.cells if c.cell_type == "code"]
    prose = [c for c in notebook.cells if c.cell_type == "markdown"]
    assert not any(c.outputs or c.execution_count for c in code)
    lengths = sorted(len(c.source.splitlines()) for c in code)
    assert lengths[len(lengths) // 2] <= 8
    text = "\n".join(c.source for c in prose)
    assert prose[0].source.startswith("# ")
    for part in ("**Question.**", "## Takeaways", "## References"):
        assert part in text
