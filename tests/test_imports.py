"""Imports go one way: commands to core and report, and inside core from training down to losses."""

import ast
from functools import cache
from pathlib import Path

import pytest

import pneumocli

PACKAGE = Path(pneumocli.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

KERAS = {
    "blocks",
    "model",
    "joining",
    "losses",
    "features",
    "material",
    "phase",
    "pooling",
    "training",
    "inference",
    "artefact",
    "evaluation",
    "explain",
    "export",
    "backend",
}
# Each may import what stands before it, and nothing that stands behind it.
NETWORK_ORDER = (
    "losses",
    "blocks",
    "model",
    "joining",
    "pooling",
    "inference",
    "features",
    "material",
    "phase",
    "training",
    "experiments",
)
GROUND = (
    "errors",
    "config",
    "data",
    "groups",
    "metrics",
    "records",
    "runs",
    "scores",
    "figures",
    "files",
    "seeding",
    "progress",
)


def name_module(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_module(path): path for path in MODULES}


def list_imports(path: Path) -> list[tuple[ast.stmt, str]]:
    """Every import statement, wherever it stands, with the modules it names."""
    found: list[tuple[ast.stmt, str]] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.extend((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            module = node.module or ""
            names = [f"{module}.{alias.name}" for alias in node.names]
            found.extend((node, name if name in NAMES else module) for name in names)
    return found


@cache
def imports_of(path: Path) -> frozenset[str]:
    return frozenset(name for _, name in list_imports(path))


def packages_of(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports_of(path)}


def modules_in(room: str) -> list[Path]:
    return [path for path in MODULES if path.is_relative_to(PACKAGE / room)]


def find_core(name: str) -> Path:
    return PACKAGE / "core" / f"{name}.py"


def test_there_is_something_to_look_at() -> None:
    assert len(MODULES) > 20
    assert "pneumocli.core.model" in imports_of(find_core("training"))


@pytest.mark.parametrize("path", modules_in("core"), ids=lambda path: path.stem)
def test_core_knows_neither_terminal_nor_pictures_nor_commands(path: Path) -> None:
    assert not packages_of(path) & {"typer", "click", "rich", "matplotlib"}
    assert not any(name.startswith(("pneumocli.commands", "pneumocli.report")) for name in imports_of(path))
    assert "pneumocli.cli" not in imports_of(path)


@pytest.mark.parametrize("path", modules_in("report"), ids=lambda path: path.stem)
def test_report_knows_no_network(path: Path) -> None:
    assert not packages_of(path) & {"keras", "tensorflow", "typer"}
    assert not any(name.startswith("pneumocli.commands") for name in imports_of(path))
    forbidden = {f"pneumocli.core.{name}" for name in KERAS | {"experiments"}}
    assert not imports_of(path) & forbidden


@pytest.mark.parametrize("path", modules_in("core"), ids=lambda path: path.stem)
def test_only_the_network_modules_import_keras(path: Path) -> None:
    assert path.stem in KERAS or not packages_of(path) & {"keras", "tensorflow"}


def test_only_the_backend_module_imports_tensorflow() -> None:
    assert [path.stem for path in MODULES if "tensorflow" in packages_of(path)] == ["backend"]


def test_only_the_session_and_export_modules_import_onnx() -> None:
    onnx = {"onnx", "onnxruntime", "tf2onnx"}
    assert [path.stem for path in MODULES if packages_of(path) & onnx] == ["export", "session"]


def test_only_the_dicom_module_imports_pydicom() -> None:
    assert [path.stem for path in MODULES if "pydicom" in packages_of(path)] == ["dicom"]


@pytest.mark.parametrize("path", [*modules_in("commands"), PACKAGE / "cli.py"], ids=lambda path: path.stem)
def test_commands_leave_keras_to_the_core(path: Path) -> None:
    assert not packages_of(path) & {"keras", "tensorflow", "matplotlib", "numpy", "sklearn"}


@pytest.mark.parametrize("position", range(len(NETWORK_ORDER)), ids=NETWORK_ORDER)
def test_training_leads_down_to_losses_and_never_back(position: int) -> None:
    behind = {f"pneumocli.core.{name}" for name in NETWORK_ORDER[position + 1 :]}
    assert not imports_of(find_core(NETWORK_ORDER[position])) & behind


@pytest.mark.parametrize("name", GROUND)
def test_the_ground_imports_nothing_of_the_network(name: str) -> None:
    network = {f"pneumocli.core.{other}" for other in {*NETWORK_ORDER, *KERAS}}
    assert not imports_of(find_core(name)) & network


def test_no_module_imports_itself_by_a_detour() -> None:
    edges = {name: {other for other in imports_of(path) if other in NAMES} for name, path in NAMES.items()}
    while edges:
        leaves = {name for name, others in edges.items() if not others & set(edges)}
        assert leaves, f"these import each other in a circle: {sorted(edges)}"
        edges = {name: others for name, others in edges.items() if name not in leaves}
