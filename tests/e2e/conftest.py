"""The command line as its users have it: a process of its own, as root and as an ordinary user."""

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import paths, requirements
from tests.e2e.commands import Commands


@pytest.fixture(params=["own", "ordinary"])
def ringfence(request: pytest.FixtureRequest, open_path: Path) -> Iterator[Commands]:
    """Give the command line with a home and a workspace; for root a second time as an account without privileges."""
    account: pwd.struct_passwd | None = pwd.getpwuid(os.geteuid())
    if request.param == "ordinary":
        requirements.require("ordinary-user")
        account = requirements.ordinary_user()
    assert account is not None
    commands = Commands(open_path, account)
    with paths.ended(commands.state):  # a supervisor that stays would build boundaries for nobody
        yield commands
