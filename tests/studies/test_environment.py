"""pyproject.toml and environment.yml describe one environment."""

import re
import tomllib

import yaml
from imports import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())


def test_same_packages_same_bounds():
    wanted = sum(PROJECT["dependency-groups"].values(), PROJECT["project"]["dependencies"])
    (pip,) = (part["pip"] for part in CONDA["dependencies"] if isinstance(part, dict))
    assert sorted(p for p in pip if not p.startswith("-e")) == sorted(wanted)
    assert "-e ." in pip


def test_same_python():
    (python,) = (p for p in CONDA["dependencies"] if isinstance(p, str) and p.startswith("python "))
    assert python.removeprefix("python ") == PROJECT["project"]["requires-python"]


def test_every_dependency_is_locked():
    locked = {p["name"] for p in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}
    groups = PROJECT["dependency-groups"].values()
    for wanted in sum(groups, PROJECT["project"]["dependencies"]):
        assert re.split(r"[><=\[ ]", wanted)[0].lower() in locked, wanted
