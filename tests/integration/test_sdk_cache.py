"""A launch is compiled anew when anything that shapes it changes, and only then."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ringfence.sandbox.artefact import FIELDS
from ringfence.session import cache
from ringfence.session.options import Options, workspace_of
from ringfence.session.run import artefact_for

pytestmark = pytest.mark.require("bubblewrap", "userns")
POLICY = 'version = 1\n[env]\nset = {{ FROM = "{0}" }}\n'


class Place:
    """A workspace below a directory, a home, and a policy file that is named on the command line."""

    def __init__(self, root: Path, home: Path) -> None:
        self.home, self.outer = home, root / "outer"
        self.workspace = self.outer / "workspace"
        self.workspace.mkdir(parents=True)
        self.policy = root / "policy.toml"
        self.policy.write_text(POLICY.format("one"))

    def launch(self) -> list[object]:
        options = Options()
        options.policy = str(self.policy)
        directory = str(self.workspace)
        found = artefact_for(options, ["true"], directory, workspace_of(directory))
        return [getattr(found, name) for name in FIELDS]


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def move_policy(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    write(place.outer / "conf/ringfence/policy.toml", 'version = 1\n[env]\npass = ["Y"]\n')
    monkeypatch.setenv("XDG_CONFIG_HOME", str(place.outer / "conf"))


CHANGES: dict[str, Callable[[Place, pytest.MonkeyPatch], object]] = {
    "the named policy is edited": lambda p, m: p.policy.write_text(POLICY.format("two")),
    "a user policy appears": lambda p, m: write(
        p.home / ".config/ringfence/policy.toml", 'version = 1\n[env]\npass = ["X"]\n'
    ),
    "a project policy appears": lambda p, m: write(
        p.workspace / "ringfence.toml", "version = 1\n[limits]\nprocesses = 7\n"
    ),
    "a preset's path appears": lambda p, m: (p.home / ".nvm").mkdir(),
    "a secret appears for which a decoy stands": lambda p, m: write(p.home / ".ssh/id_rsa", "key"),
    "the user's name changes": lambda p, m: write(p.home / ".gitconfig", "[user]\n\tname = Ada\n"),
    "a repository appears above": lambda p, m: (p.outer / ".git").mkdir(),
    "another home is used": lambda p, m: m.setenv("HOME", str(p.outer)),
    "another policy directory is used": move_policy,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen_at_the_next_run(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    place = Place(tmp_path, home)
    before = place.launch()
    assert place.launch() == before
    CHANGES[change](place, monkeypatch)
    assert place.launch() != before


def test_nothing_is_compiled_twice(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(tmp_path, home)
    first = place.launch()
    stored: list[str] = []
    monkeypatch.setattr(cache, "store", lambda key, *rest, **named: stored.append(key))
    (place.workspace / "new").write_text("a workspace's own files come and go")
    assert place.launch() == first and stored == []
    (place.home / ".nvm").mkdir()
    assert place.launch() != first and len(stored) == 1
