"""`doctor`: what it finds on a machine where runs work, and on one where they do not."""

import json

import pytest

from tests.e2e.commands import Commands

pytestmark = pytest.mark.require("bubblewrap", "userns", "overlay")


def test_every_part_is_tried_and_a_run_works(ringfence: Commands) -> None:
    found = ringfence.json("doctor")
    assert found["works"] is True
    status = {finding["name"]: finding["status"] for finding in found["findings"]}
    assert "missing" not in status.values()
    assert status["user namespaces"] == status["overlay"] == status["a contained command"] == "ok"
    assert {"processes", "memory", "wall-time"} <= found["limits"].keys()


def test_it_is_readable_and_leaves_nothing_behind(ringfence: Commands) -> None:
    text = ringfence.good("doctor")
    assert text.rstrip().splitlines()[-1].startswith("`ringfence run` works here")
    assert "\x1b" not in text
    assert not [path for path in ringfence.state.iterdir() if path.name.startswith(".doctor")]
    assert not list((ringfence.state / "runs").glob("2*"))


@pytest.mark.require("unshare")
def test_without_user_namespaces_it_names_the_setting(ringfence: Commands) -> None:
    script = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    done = ringfence("-c", script, "sh", *ringfence.words("doctor", "--json"), before=["unshare", "-Ur", "sh"])
    assert done.returncode == 3, done.stderr
    found = json.loads(done.stdout)
    assert found["works"] is False
    (finding,) = [item for item in found["findings"] if item["status"] == "missing"]
    assert finding["name"] == "user namespaces"
    assert "sysctl -w user.max_user_namespaces=" in finding["remedy"]


def test_a_policy_that_is_wrong_is_found(ringfence: Commands) -> None:
    ringfence.write("ringfence.toml", "version = 2\n")
    done = ringfence("doctor")
    assert done.returncode == 3
    assert "ringfence.toml:1" in done.stdout


def test_a_state_directory_that_cannot_be_had_is_found(ringfence: Commands) -> None:
    ringfence.write("state", "a file")
    done = ringfence("doctor", XDG_STATE_HOME=str(ringfence.workspace / "state"))
    assert done.returncode == 3
    assert "missing" in done.stdout
    assert "XDG_STATE_HOME" in done.stdout
    assert done.stdout.count("state directory") == 1  # and not a second time as one that is not there yet


def test_a_run_that_is_refused_tells_its_own_remedy(ringfence: Commands) -> None:
    ringfence.good("run", "--", "true")
    (ringfence.state / "audit").chmod(0o755)
    done = ringfence("doctor", "--json")
    assert done.returncode == 3
    (finding,) = [item for item in json.loads(done.stdout)["findings"] if item["status"] == "missing"]
    assert finding["name"] == "a contained command"
    assert finding["remedy"] == "run `ringfence log verify`, then `chmod 700` it"
