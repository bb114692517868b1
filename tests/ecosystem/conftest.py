"""The bench of each check, and the registries of each lab."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import requirements
from tests.ecosystem.bench import Bench
from tests.ecosystem.checks import Check
from tests.ecosystem.sites import SITES
from tests.lab import Lab
from tests.utility.confined import PATH


@pytest.fixture(scope="session")
def registries() -> dict[tuple[int, str], None]:
    """Remember which sites have been built in which lab."""
    return {}


def laid_out(check: Check, lab: Lab, registries: dict[tuple[int, str], None]) -> None:
    """Build the sites of a check that its lab does not have yet."""
    for name in check.sites:
        if (lab.pid, name) not in registries:
            SITES[name](lab.place / "sites")
            registries[lab.pid, name] = None


@pytest.fixture
def bench(
    request: pytest.FixtureRequest, check: Check, open_path: Path, registries: dict[tuple[int, str], None]
) -> Iterator[Bench]:
    """Give a workspace and a home that belong to us; `check` is the test's parameter."""
    requirements.require("bubblewrap", "userns", "overlay", *check.needs, path=PATH)
    lab: Lab | None = None
    if check.in_lab:
        lab = request.getfixturevalue("lab")
        assert lab
        laid_out(check, lab, registries)
    yield Bench(open_path / "root", lab, check.timeout_s)
    # Go's module cache and overlayfs leave directories that their owner cannot list or empty.
    subprocess.run(["chmod", "-R", "u+rwX", open_path], capture_output=True)
