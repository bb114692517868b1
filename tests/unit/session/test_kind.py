"""What kind a request is of is known without making its key, only where that would be the same."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ringfence.sandbox.artefact import FIELDS, Artefact
from ringfence.session import cache, kind, look
from ringfence.session.kind import Kind
from ringfence.session.options import Options
from ringfence.session.outlook import Outlook

Patch = pytest.MonkeyPatch


@pytest.fixture
def project(tmp_path: Path, monkeypatch: Patch) -> Path:
    place = tmp_path / "above/project"
    place.mkdir(parents=True)
    monkeypatch.chdir(place)
    monkeypatch.setenv("PWD", str(place))
    return place


def standing(options: Options) -> tuple[Kind, Outlook]:
    """A kind, and what would stand for it, whose artefact is in the launch cache."""
    empty: dict[str, object] = {name: [] for name in ("covers", "whiteouts", "sources", "lowers")}
    artefact = Artefact(**{**dict.fromkeys(FIELDS, ""), **empty})
    cache.store(kind.key_of(options)[1], [], [], artefact, since_ns=1 << 62)
    found = Kind(options)
    assert found.entry
    return found, Outlook(found.entry, artefact, found.seen)


def with_directory(project: Path) -> Options:
    options = Options()
    options.directory = str(project)
    return options


def moved_away(project: Path, monkeypatch: Patch) -> None:
    """The directory has another name now, and another one has its name."""
    project.rename(project.with_name("old"))
    project.mkdir()


def linked(project: Path, monkeypatch: Patch) -> None:
    project.rename(project.with_name("old"))
    project.symlink_to("old")


def logical(project: Path, monkeypatch: Patch) -> None:
    project.with_name("logical").symlink_to("project")
    monkeypatch.setenv("PWD", str(project.with_name("logical")))


def stored_again(project: Path, monkeypatch: Patch) -> None:
    (file,) = (Path(os.environ["XDG_CACHE_HOME"]) / "ringfence/launch").iterdir()
    file.rename(file.with_suffix(".old"))
    file.write_bytes(file.with_suffix(".old").read_bytes())


CHANGES: dict[str, Callable[[Path, Patch], object]] = {
    "a repository here": lambda project, patch: (project / ".git").mkdir(),
    "a repository above": lambda project, patch: (project.parent / ".git").mkdir(),
    "another home": lambda project, patch: patch.setenv("HOME", str(project)),
    "no home": lambda project, patch: patch.delenv("HOME"),
    "another place of policy": lambda project, patch: patch.setenv("XDG_CONFIG_HOME", "/elsewhere"),
    "another place of state": lambda project, patch: patch.setenv("XDG_STATE_HOME", "/elsewhere"),
    "another place of the cache": lambda project, patch: patch.setenv("XDG_CACHE_HOME", "/elsewhere"),
    "another file in the cache": stored_again,
}
OF_THE_CURRENT = {
    "another directory": lambda project, patch: patch.chdir(project.parent),
    "another way to it": logical,
}
OF_A_NAMED_ONE = {"it was moved away": moved_away, "it is a link now": linked}


@pytest.mark.parametrize("change", [*CHANGES, *OF_THE_CURRENT, *OF_A_NAMED_ONE])
def test_a_change_makes_it_another_kind_or_has_the_key_made_anew(
    project: Path, monkeypatch: Patch, change: str
) -> None:
    options = with_directory(project) if change in OF_A_NAMED_ONE else Options()
    found, outlook = standing(options)
    assert found.seen and found.is_of(options, outlook)
    assert outlook.is_plainly_the_same() == (look.together is not None)
    {**CHANGES, **OF_THE_CURRENT, **OF_A_NAMED_ONE}[change](project, monkeypatch)
    assert kind.given(options) != found.given or not outlook.is_plainly_the_same()
    is_same = kind.key_of(options)[1] == found.key and cache.kept_file(found.key) == (found.entry and found.entry.file)
    assert found.is_of(options, outlook) == is_same
    outlook.close()


def test_other_options_are_another_kind(project: Path) -> None:
    options, other = Options(), Options()
    found, outlook = standing(options)
    other.deny_read.append("./secret")
    other.verbose = options.verbose = True  # makes no difference
    assert found.is_of(options, outlook) and not found.is_of(other, outlook)
    outlook.close()


def test_what_is_not_called_by_its_real_name_is_looked_up_each_time(
    project: Path, tmp_path: Path, monkeypatch: Patch
) -> None:
    assert kind.seen(Options())
    relative, policy = Options(), Options()
    relative.directory, policy.policy = ".", "policy.toml"
    assert not kind.seen(relative) and not kind.seen(policy)
    (tmp_path / "link").symlink_to("above")
    assert not kind.seen(with_directory(tmp_path / "link/project"))
    assert not kind.seen(with_directory(tmp_path / "nothing"))
    monkeypatch.setenv("HOME", str(tmp_path / "link"))
    assert not kind.seen(Options())


@pytest.mark.require("root")
def test_the_home_of_somebody_else_is_looked_up_each_time(project: Path, tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert kind.seen(Options())
    os.chown(tmp_path, 12345, -1)
    assert not kind.seen(Options())
