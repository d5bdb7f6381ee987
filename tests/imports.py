"""Which modules of this project a notebook or module imports, directly or through others."""

import ast
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("fer_lib", "fer_tools")


def module_file(name: str) -> Path | None:
    """The file of a module such as "fer_lib.data.arrays"; None if there is none of that name."""
    path = ROOT / (name.replace(".", "/") + ".py")
    return path if path.is_file() else None


def imports(source: str) -> set[str]:
    """Dotted names of the project's modules that some Python source imports itself."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] in PACKAGES and module_file(name)}


def with_what_they_import(modules: set[str]) -> set[str]:
    """The modules and everything of the project behind them."""
    done: set[str] = set()
    while todo := modules - done:
        for module in todo:
            done.add(module)
            modules = modules | imports(module_file(module).read_text())
    return done


def room(module: str) -> str:
    """The folder in which a module lies, two levels deep; a module at a root is its own."""
    parts = module.split(".")
    return "/".join(parts[:2]) if len(parts) > 2 else f"{'/'.join(parts)}.py"


def all_modules() -> dict[str, str]:
    """Source of every module of the project by its dotted name."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text()
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if path.name != "__init__.py"
    }


def code_of(notebook: Path) -> str:
    """All code cells of a notebook as one source."""
    cells = nbformat.read(notebook, as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "code")
