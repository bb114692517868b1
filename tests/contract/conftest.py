"""The implementations that a contract is tested against."""

from pathlib import Path

import pytest

from tests import native, requirements
from tests.contract import first_process
from tests.contract.first_process import Implementation


@pytest.fixture(scope="session")
def native_binary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile the native first process as the developers' script does it, warnings being errors."""
    return native.built(tmp_path_factory.mktemp("native") / "native-init")


@pytest.fixture(params=["python", "native"])
def first(request: pytest.FixtureRequest) -> Implementation:
    """Give each first process in turn."""
    requirements.require("bubblewrap", "userns")
    if request.param == "python":
        return first_process.python()
    binary: Path = request.getfixturevalue("native_binary")
    return Implementation((first_process.NATIVE,), binary)
