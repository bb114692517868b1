"""The implementations that a contract is tested against."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import requirements
from tests.contract import first_process
from tests.contract.first_process import Implementation
from tests.house.sources import ROOT


@pytest.fixture(scope="session")
def native_binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the native first process as the developers' script does it, warnings being errors."""
    requirements.require("cc")
    program = tmp_path_factory.mktemp("native") / "native-init"
    subprocess.run([ROOT / "scripts/native", program], check=True, stdout=sys.stderr, timeout=60)
    return program


@pytest.fixture(params=["python", "native"])
def first(request: pytest.FixtureRequest) -> Implementation:
    """Give each first process in turn."""
    requirements.require("bubblewrap", "userns")
    if request.param == "python":
        return first_process.python()
    binary: Path = request.getfixturevalue("native_binary")
    return Implementation((first_process.NATIVE,), binary)
