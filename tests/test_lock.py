"""The dependencies: bounds on both sides, and a lock that keeps to them and names no place."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements-dev.lock").read_text()
OWN = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = PROJECT["optional-dependencies"]
# `dev` asks for the extra `dicom` by the project's own name.
LISTED = [Requirement(line) for name in ("dev", "dicom") for line in EXTRAS[name]]
NEEDED = [*OWN, *(needed for needed in LISTED if needed.name != PROJECT["name"])]


def list_locked() -> list[tuple[str, Version]]:
    found = re.findall(r"^([\w.-]+)==([^\s;]+)", LOCK, re.MULTILINE)
    return [(canonicalize_name(name), Version(version)) for name, version in found]


@pytest.mark.parametrize("needed", NEEDED, ids=lambda needed: needed.name)
def test_lock_keeps_to_the_bounds(needed: Requirement) -> None:
    versions = [version for name, version in list_locked() if name == canonicalize_name(needed.name)]
    assert versions, f"requirements-dev.lock lacks {needed.name}; its first lines say how it is made"
    assert all(version in needed.specifier for version in versions)


@pytest.mark.parametrize("needed", OWN, ids=lambda needed: needed.name)
def test_every_dependency_has_bounds_on_both_sides(needed: Requirement) -> None:
    assert {part.operator for part in needed.specifier} == {">=", "<"}


def test_lock_has_hashes_and_names_no_place() -> None:
    assert len(re.findall(r"^[\w.-]+==", LOCK, re.MULTILINE)) > 50
    for block in re.split(r"\n(?=[\w.-]+==)", LOCK)[1:]:
        assert "--hash=sha256:" in block
    assert not re.search(r"://|--index-url|--find-links|\bfile:|(^|\s)/\w", LOCK)
