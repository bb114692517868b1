"""What the Plan promises to record is recorded when it happens."""

import pytest

from tests import paths, requirements
from tests.posture.live import Live, live


@pytest.fixture(params=["overlay", "direct"])
def fresh(request: pytest.FixtureRequest) -> object:
    """Give a sandbox of the test's own, in which it may cause events."""
    requirements.require("bubblewrap", "userns")
    with live(request.param) as found:
        yield found


def recorded(box: Live) -> set[tuple[str, str, str]]:
    found = set()
    for event in box.events():
        fields = event["fields"]
        assert isinstance(fields, dict)
        found.add((str(event["kind"]), str(event["code"]), str(fields.get("target", ""))))
    return found


def test_each_watch_fires(fresh: Live) -> None:
    assert len(fresh.plan.watches) >= 4
    wanted = set()
    for watch in fresh.plan.watches:
        if watch.on == "open":
            fresh.inside(
                f"import os\ntry:\n    os.close(os.open({str(watch.target)!r}, os.O_RDONLY))\nexcept OSError:\n    pass"
            )
            wanted.add(("denial", watch.code, str(watch.target)))
        else:
            for name in watch.names:
                path = f"{watch.target}/{name}"
                fresh.inside(f"import os\nif not os.path.isdir({path!r}): open({path!r}, 'a').write('x')")
            wanted |= {("contained", watch.code, f"{watch.target}/{name}") for name in watch.names if name != ".ssh"}
    paths.wait_until(lambda: recorded(fresh) >= wanted)
    assert wanted - recorded(fresh) == set()
