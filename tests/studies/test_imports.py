"""Imports point down: from the commands to the tools, from these to the library, room by room."""

import ast
from graphlib import CycleError, TopologicalSorter

import pytest
from imports import PACKAGES, ROOT, all_modules, code_of, imports, module_file, room

MODULES = all_modules()
# What each room of the library may import beside the modules at its root.
BELOW = {
    "fer_lib/faces": set(),
    "fer_lib/plots": set(),
    "fer_lib/data": {"fer_lib/faces"},
    "fer_lib/models": set(),
    "fer_lib/training": {"fer_lib/data", "fer_lib/models"},
    "fer_lib/evaluation": {"fer_lib/data", "fer_lib/models", "fer_lib/plots"},
}


def rooms(root: str) -> set[str]:
    return {room(module) for module in MODULES if module.startswith(root + ".")}


def test_the_rooms_are_those_of_the_plan():
    assert {r for r in rooms("fer_lib") if not r.endswith(".py")} == set(BELOW)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module):
    folder = room(module)
    for other in {room(name) for name in imports(MODULES[module])} - {folder}:
        if folder.startswith("fer_lib/"):
            assert other.startswith("fer_lib/"), f"{module} imports {other}, which uses the library"
            at_root = other.endswith(".py")
            assert at_root or other in BELOW.get(folder, set()), f"{module} imports {other}"


def test_no_module_imports_itself_through_others():
    graph = {module: imports(source) - {module} for module, source in MODULES.items()}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"imports go round: {' <- '.join(error.args[1])}")


def test_no_room_of_the_tools_needs_itself_through_others():
    graph: dict[str, set[str]] = {}
    for module, source in MODULES.items():
        graph.setdefault(room(module), set()).update(
            {room(other) for other in imports(source)} - {room(module)}
        )
    assert tuple(TopologicalSorter(graph).static_order())  # raises where there is a circle
    assert not [other for other, needed in graph.items() if "fer_tools/cli" in needed]


@pytest.mark.parametrize("module", MODULES)
def test_private_names_stay_private(module):
    tree = ast.parse(MODULES[module])
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PACKAGES:
            names = [alias.name for alias in node.names]
            assert not [name for name in names if name.startswith("_")], node.module
            imported |= {alias.asname or alias.name for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            private = node.attr.startswith("_") and not node.attr.startswith("__")
            assert not (private and node.value.id in imported), f"{node.value.id}.{node.attr}"


def test_what_a_check_out_shows_first_is_the_study():
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "."}
    assert {"notebooks", "fer_lib", "data", "reports", "tests"} <= folders
    assert not {"ablation", "benchmarks", "paper"} & folders


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_what_a_notebook_imports_is_there(path):
    """A name that has moved shows here, and not only when the study runs."""
    for node in ast.walk(ast.parse(code_of(path))):
        if isinstance(node, ast.ImportFrom) and (file := module_file(node.module or "")):
            tree = ast.parse(file.read_text())
            names = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
            names |= {getattr(n, "name", None) for n in tree.body}
            missing = [alias.name for alias in node.names if alias.name not in names]
            assert not missing, f"{node.module} has no {', '.join(missing)}"
