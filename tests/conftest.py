"""Fixtures for every test: a home of its own, the machine's missing tools, the guard over pure packages."""

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest

from tests import native, requirements
from tests.lab import Lab
from tests.purity import Guard

_numbers = itertools.count()

# What a developer's shell may carry that would change what a test sees. RINGFENCE_REQUIRE and the like stay.
FOREIGN = (
    "BASH_ENV",
    "CDPATH",
    "EDITOR",
    "ENV",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_WORK_TREE",
    "NO_COLOR",
    "FORCE_COLOR",
)


# How long an example takes, and how many are drawn in vain, says nothing about the product. The gate has the same
# examples each time; a developer's run has others.
hypothesis.settings.register_profile(
    "ringfence",
    deadline=None,
    derandomize="RINGFENCE_REQUIRE" in os.environ or hypothesis.settings.get_current_profile_name() == "ci",
    suppress_health_check=[
        hypothesis.HealthCheck.too_slow,
        hypothesis.HealthCheck.filter_too_much,
        hypothesis.HealthCheck.data_too_large,
    ],
)


def pytest_configure() -> None:
    """Watch the pure packages in every test of this process; see tests/purity.py. No example is timed."""
    Guard().install()
    if hypothesis.settings.get_current_profile_name() in ("default", "ci"):  # scripts/mutate has one of its own
        hypothesis.settings.load_profile("ringfence")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Carry out `@pytest.mark.require(...)`."""
    for marker in item.iter_markers("require"):
        requirements.require(*marker.args)


@pytest.fixture
def require() -> Callable[..., None]:
    """Give `require("node")`, for a test that learns only as it runs what it needs."""
    return requirements.require


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the directory that holds each test's home."""
    return tmp_path_factory.mktemp("homes")


@pytest.fixture(autouse=True)
def home(homes: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give every test an empty home, and point HOME and the XDG variables at it: the real one is never touched."""
    place = homes / str(next(_numbers))
    runtime = place / ".run"
    runtime.mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(place / ".config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(place / ".local/state"))
    monkeypatch.setenv("XDG_DATA_HOME", str(place / ".local/share"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(place / ".cache"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("RINGFENCE_STANDBY", "0")  # no process outlives a test; test_egress_standby.py turns it on
    monkeypatch.setenv("RINGFENCE_SUPERVISOR", "0")  # nor does one start where it was not asked to: test_resident*.py
    for name in FOREIGN:
        monkeypatch.delenv(name, raising=False)
    return place


@pytest.fixture
def open_path() -> Iterator[Path]:
    """Give a directory that every user of this machine can reach; `tmp_path` is private to the one running."""
    place = Path(tempfile.mkdtemp(prefix="ringfence-test-", dir="/tmp"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def ordinary_user() -> str:
    """Name an account without privileges that this test, running as root, may become."""
    requirements.require("ordinary-user")
    account = requirements.ordinary_user()
    assert account is not None and os.geteuid() == 0
    return account.pw_name


@pytest.fixture(scope="session")
def native_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the native command, which asks the resident supervisor."""
    return native.built(tmp_path_factory.mktemp("client") / "ringfence", "--client")


@pytest.fixture(scope="session")
def native_stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the native stager of root's sandboxes."""
    return native.built(tmp_path_factory.mktemp("native") / "native-stage", "--stage")


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Give the network lab of this worker; see tests/lab.py."""
    requirements.require("network-lab")
    running = Lab()
    yield running
    running.close()
