"""What tells one installation from another where it is a checkout, from which Python has imported or has not."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ringfence

COUNT = """
import sys
sys.path.insert(0, sys.argv[1])
from ringfence.session import places
from ringfence.integrations import hook_client
print(places.installed_version(), hook_client.name())
from ringfence.policy.permissions import engine
from ringfence.integrations import hook_resident
from ringfence.session import prepare
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A tree of the package from which nothing was imported yet."""
    kept = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(ringfence.__file__).parent, tmp_path / "src/ringfence", ignore=kept)
    return tmp_path / "src"


def told(checkout: Path, *options: str) -> str:
    """What tells it from another."""
    words = [sys.executable, "-E", "-P", *options, "-c", COUNT, str(checkout)]
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.mark.parametrize("options", [(), ("-B",)], ids=["compiled", "not-by-the-first"])
def test_the_second_run_from_a_checkout_is_of_the_same_installation(checkout: Path, options: tuple[str, ...]) -> None:
    """Python makes folders of its own at the first import, also in a process that another one leaves behind."""
    first = told(checkout, *options)
    assert told(checkout) == first
    assert (checkout / "ringfence/policy/__pycache__").is_dir()  # the control: it was imported from there
    assert told(checkout) == first


@pytest.mark.parametrize("edit", ["removed", "added", "replaced"])
def test_an_edited_checkout_is_another_installation(checkout: Path, edit: str) -> None:
    first, file = told(checkout), checkout / "ringfence/policy/template.py"
    if edit == "removed":
        file.unlink()
    elif edit == "added":
        file.with_name("more.py").touch()
    else:
        file.with_name("new").write_bytes(file.read_bytes())
        file.with_name("new").replace(file)
    assert told(checkout) != first
