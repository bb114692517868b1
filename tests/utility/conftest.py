"""The accounts that the utility suite works as, and a place for each test."""

import os
import pwd
from pathlib import Path

import pytest

from tests import requirements
from tests.utility.confined import Place


@pytest.fixture(params=["own", "ordinary"])
def place(request: pytest.FixtureRequest, open_path: Path) -> Place:
    """Give a workspace and a home that belong to us; for root a second time, to an account without privileges."""
    requirements.require("bubblewrap", "userns")
    if request.param == "own":
        return Place(open_path, pwd.getpwuid(os.geteuid()))
    requirements.require("ordinary-user")
    account = requirements.ordinary_user()
    assert account is not None
    return Place(open_path, account)
