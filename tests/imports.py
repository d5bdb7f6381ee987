"""Which modules of fer_lib a notebook or script imports, directly or through others."""

import ast
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]


def fer_lib_imports(source: str) -> set[str]:
    """Names of the modules of fer_lib that some Python source imports itself."""
    modules = {path.stem for path in (ROOT / "fer_lib").glob("*.py")}
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "fer_lib":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fer_lib."):
            found.add(node.module.split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("fer_lib.")}
    return found & modules


def with_what_they_import(modules: set[str]) -> set[str]:
    """The modules and everything of fer_lib behind them."""
    done: set[str] = set()
    while todo := modules - done:
        for module in todo:
            done.add(module)
            modules = modules | fer_lib_imports((ROOT / f"fer_lib/{module}.py").read_text())
    return done


def code_of(notebook: Path) -> str:
    """All code cells of a notebook as one source."""
    cells = nbformat.read(notebook, as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "code")
