"""Rules about the source that no reviewer should have to check by eye."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "unbelief"
SOURCES = sorted(PACKAGE.rglob("*.py"))

# A module imports only from its own group and from groups above it.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("types", "errors", "hashing", "provenance", "outputs", "parquet", "processes", "rundir"),
    ("data", "plugins", "wording"),
    ("tokens",),
    ("models",),
    ("beliefs",),
    ("objectives",),
    ("train",),
    ("measure",),
    ("scores",),
    ("report",),
    ("card", "preflight", "unlearner", "ledger"),
    ("suites", "interventions", "diagnose", "judge", "calibrate"),
    ("evaluate",),
    ("audit",),
    ("patch",),
    ("lab",),
    ("study",),
    ("auto",),
    ("vision",),
    ("config",),
    ("cli", "__main__"),
)
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
# Pages are made from results; they never see a model.
REPORT_MAY_IMPORT = {*LAYERS[0], "scores", "report"}

# Their methods are called by other packages, which prescribe names and signatures.
FOREIGN_BASES = {"DynamicLayer", "Trainer", "TrainerCallback"}
# Functions whose arbitrary keywords are checked by what they are handed to.
CHECKED_KEYWORDS = {"objectives/base.py:with_options"}  # dataclasses.replace refuses unknown names

MAX_LINES = 300
# Longer files, with the length they may have at most. This list only shrinks.
LONG_FILES = {
    "beliefs/bank.py": 320,
    "models/runner.py": 345,
    "unlearner.py": 345,
}


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_layers(path: Path) -> Iterator[tuple[int, str]]:
    """Line and top-level module of everything imported from this package."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)}:{node.lineno}: relative import"
            module = node.module or ""
            names = (
                [f"unbelief.{alias.name}" for alias in node.names]
                if module == "unbelief"
                else [module]
            )
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "unbelief" and len(parts) > 1 and not parts[1].startswith("__"):
                yield node.lineno, parts[1]


def test_every_module_has_a_layer() -> None:
    unknown = {layer_of(p) for p in SOURCES} - RANK.keys() - {"__init__"}
    assert not unknown, f"give {sorted(unknown)} a place in LAYERS"


def test_imports_point_upwards_only() -> None:
    wrong = []
    for path in SOURCES:
        layer = layer_of(path)
        if layer == "__init__":
            continue  # the public names, imported on first use
        for line, imported in imported_layers(path):
            too_low = RANK.get(imported, len(LAYERS)) > RANK[layer]
            if too_low or (layer == "report" and imported not in REPORT_MAY_IMPORT):
                wrong.append(f"{relative(path)}:{line}: {layer} imports {imported}")
    assert not wrong, "\n".join(wrong)


def public_functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Public functions and methods whose signature is ours; not those inside functions."""
    stack: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while stack:
        for child in ast.iter_child_nodes(stack.pop()):
            if isinstance(child, ast.ClassDef):
                bases = {ast.unparse(base).split(".")[-1] for base in child.bases}
                if not child.name.startswith("_") and not bases & FOREIGN_BASES:
                    stack.append(child)
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                dunder = child.name.startswith("__") and child.name.endswith("__")
                if dunder or not child.name.startswith("_"):
                    yield child
            elif isinstance(child, ast.If | ast.Try | ast.With):
                stack.append(child)


def test_public_functions_take_no_arbitrary_keywords() -> None:
    wrong = [
        f"{relative(path)}:{node.lineno}: {node.name}"
        for path in SOURCES
        for node in public_functions(path)
        if node.args.kwarg and f"{relative(path)}:{node.name}" not in CHECKED_KEYWORDS
    ]
    assert not wrong, "a misspelt option must be an error:\n" + "\n".join(wrong)


def test_public_functions_have_docstrings() -> None:
    wrong = [
        f"{relative(path)}:{node.lineno}: {node.name}"
        for path in SOURCES
        for node in public_functions(path)
        if not node.name.startswith("__") and not ast.get_docstring(node)
    ]
    assert not wrong, "\n".join(wrong)


def test_files_stay_short() -> None:
    lengths = {relative(p): len(p.read_text(encoding="utf-8").splitlines()) for p in SOURCES}
    too_long = {name: n for name, n in lengths.items() if n > LONG_FILES.get(name, MAX_LINES)}
    assert not too_long, f"split these files: {too_long}"
    settled = [name for name in LONG_FILES if lengths.get(name, 0) <= MAX_LINES]
    assert not settled, f"take these out of LONG_FILES: {settled}"


HEAVY = "{'torch', 'transformers', 'peft', 'accelerate', 'datasets', 'scipy', 'pyarrow'}"
CLI_HELP = """
import sys
from unbelief.cli.main import main
sys.argv = ["unbelief", "--help"]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
"""


@pytest.mark.parametrize("code", ["import unbelief", CLI_HELP], ids=["import", "--help"])
def test_import_and_help_load_no_heavy_package(code: str) -> None:
    check = f"\nimport sys\nloaded = {HEAVY} & sys.modules.keys()\nassert not loaded, loaded"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code + check], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_public_names_can_be_imported() -> None:
    import unbelief

    missing = []
    for name in unbelief.__all__:
        try:
            getattr(unbelief, name)
        except (ImportError, AttributeError) as error:
            missing.append(f"{name}: {error}")
    assert not missing, "\n".join(missing)
