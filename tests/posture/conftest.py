"""One live sandbox per workspace mode, shared by every test that only looks."""

from collections.abc import Iterator

import pytest

from tests import requirements
from tests.posture.live import Live, live


@pytest.fixture(scope="session", params=["overlay", "direct", "readonly"])
def box(request: pytest.FixtureRequest) -> Iterator[Live]:
    """Give a running sandbox with the Plan it was promised."""
    requirements.require("bubblewrap", "userns")
    with live(request.param) as found:
        yield found
