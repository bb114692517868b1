"""Path lists become regions: links, wildcards, names that do not exist, the names that are always sealed."""

import json
from pathlib import Path

import pytest

from ringfence.integrations.srt_regions import WALK_LIMIT, Laid, Layout, expand, repositories, walk
from ringfence.integrations.srt_settings import SettingsError, parse
from ringfence.model.decision import Source
from ringfence.model.errors import HostError
from ringfence.planner.open_root import Access
from ringfence.policy.effective import PathRule


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """Give a working directory beside a home."""
    (tmp_path / "h").mkdir()
    (tmp_path / "w").mkdir()
    return tmp_path / "w"


def laid(work: Path, **lists: list[object]) -> Laid:
    filesystem = {"denyRead": [], "allowWrite": [], "denyWrite": [], **lists}
    text = json.dumps({"network": {"allowedDomains": [], "deniedDomains": []}, "filesystem": filesystem})
    layout = Layout(str(work), str(work.parent / "h"), "s.json")
    layout.settings(parse(text.encode(), "s.json"), 5)
    return layout.done()


def paths(found: Laid, access: Access, root: Path) -> list[str]:
    return sorted(str(Path(region.path).relative_to(root)) for region in found.regions if region.access is access)


def test_paths_are_relative_to_the_working_directory_or_the_home(work: Path) -> None:
    (work / "a").mkdir()
    found = laid(work, denyRead=["~", "./a/..", "a/**", ".."])
    assert paths(found, Access.DENY, work.parent) == [".", "h", "w", "w/a"]


def test_a_denied_link_denies_what_it_leads_to(work: Path) -> None:
    (work / "real").mkdir()
    (work / "lnk").symlink_to("real")
    found = laid(work, denyRead=["lnk"])
    assert paths(found, Access.DENY, work) == ["real"]
    assert {f"{work}/lnk", f"{work}/real"} <= set(found.held)


def test_wildcards_find_what_exists_and_hold_what_comes(work: Path) -> None:
    (work / "sub/deep").mkdir(parents=True)
    for name in (".env", "sub/.env", "sub/deep/.env", "f1", "fz", "a*b", "axb"):
        (work / name).touch()
    found = laid(work, denyRead=["**/.env", "f[0-9]"], denyWrite=[{"path": "a*b", "literal": True}])
    assert paths(found, Access.DENY, work) == [".env", "f1", "sub/.env", "sub/deep/.env"]
    assert paths(found, Access.SEAL, work) == ["a*b"]
    assert f"{work}/**/.env" in found.held
    assert f"{work}/a\\*b" in found.held


def test_what_lies_around_a_writable_place_does_not_hold_it(work: Path) -> None:
    found = laid(work, allowWrite=["."], denyRead=["..", "~"])
    assert str(work.parent) not in found.held
    assert str(work.parent / "h") in found.held


def test_allowances_follow_no_link_but_those_of_the_root(work: Path) -> None:
    (work / "out").symlink_to("../h")
    found = laid(work, allowRead=["./out", "/bin"], allowWrite=["./out", "new", "*"])
    assert not paths(found, Access.WRITE, Path("/"))
    assert "bin" in paths(found, Access.READ, Path("/"))
    assert len(found.notes) == 4


def test_the_root_is_not_granted(work: Path) -> None:
    with pytest.raises(SettingsError, match="allowWrite"):
        laid(work, allowWrite=["/"])


@pytest.mark.parametrize("name", [".git/hooks", ".vscode", ".zshrc", ".claude/agents"])
def test_what_programs_run_is_not_granted(work: Path, name: str) -> None:
    (work / name).mkdir(parents=True)
    found = laid(work, allowWrite=[name])
    assert not paths(found, Access.WRITE, work)
    assert "programs run" in found.notes[0]


def test_names_that_run_code_are_sealed_in_every_writable_place(work: Path) -> None:
    (work / ".claude").mkdir()
    (work / "a/b/.git/hooks").mkdir(parents=True)
    (work.parent / "h/.bashrc").touch()
    found = laid(work, allowWrite=[".", "~"])
    sealed = paths(found, Access.SEAL, work.parent)
    assert {"w/.bashrc", "h/.bashrc", "w/.claude/agents", "h/.claude", "w/.mcp.json"} <= set(sealed)
    assert {"w/a/b/.git/hooks", "w/a/b/.git/config"} <= set(sealed)
    assert "w/.git" not in sealed and "w/.git/hooks" not in sealed  # `git init` is no concern of the view


def test_the_search_for_repositories_is_bounded(work: Path) -> None:
    (work / "one/.git").mkdir(parents=True)
    (work / "one/two/three/.git").mkdir(parents=True)
    (work / "node_modules/x/.git").mkdir(parents=True)
    assert sorted(repositories(str(work), 2)) == [f"{work}/one"]
    assert sorted(repositories(str(work), 3)) == [f"{work}/one", f"{work}/one/two/three"]


def test_a_pattern_below_a_link_is_found_where_it_leads(work: Path) -> None:
    (work / "real").mkdir()
    (work / "real/k.key").touch()
    (work / "lnk").symlink_to("real")
    rule = PathRule(pattern=f"{work}/lnk/*.key", source=Source(scope="cli"))
    assert expand(rule, str(work)) == [f"{work}/real/k.key"]


def test_too_many_names_are_an_error(work: Path) -> None:
    for number in range(5):
        (work / str(number)).touch()
    assert len(list(walk(str(work), lambda path: False, WALK_LIMIT))) == 5
    with pytest.raises(HostError, match="more than 4 names"):
        list(walk(str(work), lambda path: False, 4))
