"""A place to work at for each test, as each account."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.utility.confined import Place, places


@pytest.fixture(params=["own", "ordinary"])
def place(request: pytest.FixtureRequest, open_path: Path) -> Iterator[Place]:
    """Give a workspace and a home that belong to us; for root a second time, to an account without privileges."""
    yield from places(request.param, open_path)
