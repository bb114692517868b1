"""The command line as its users have it: a process of its own, as root and as an ordinary user."""

import os
import pwd
from pathlib import Path

import pytest

from tests import requirements
from tests.e2e.commands import Commands


@pytest.fixture(params=["own", "ordinary"])
def ringfence(request: pytest.FixtureRequest, open_path: Path) -> Commands:
    """Give the command line with a home and a workspace; for root a second time as an account without privileges."""
    if request.param == "own":
        return Commands(open_path, pwd.getpwuid(os.geteuid()))
    requirements.require("ordinary-user")
    account = requirements.ordinary_user()
    assert account is not None
    return Commands(open_path, account)
