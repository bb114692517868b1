"""Looking at a checkout: what is found in it, at any depth, and what a hostile one cannot make of that."""

import os
import subprocess
from pathlib import Path

import pytest

from ringfence.model.errors import HostError
from ringfence.trust import scan
from ringfence.trust.manifest import Manifest


def write(root: Path, *paths: str, text: str = "x") -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text.encode("utf-8", "surrogateescape"))


def examined(root: Path) -> Manifest:
    return scan.examine(str(root.resolve()))


def paths(root: Path) -> list[str]:
    return [one.path for one in examined(root).entries]


def repository(place: Path, config: str = "[core]\n\tbare = false\n") -> None:
    write(place, "HEAD", text="ref: refs/heads/main\n")
    write(place, "config", text=config)
    for name in ("objects", "refs"):
        (place / name).mkdir(exist_ok=True)


HOSTILE = '[core]\n\tfsmonitor = "sh -c id"\n'


def test_an_ordinary_checkout_has_nothing(tmp_path: Path) -> None:
    write(tmp_path, "README.md", "src/main.py", "Makefile", ".github/workflows/ci.yml", ".gitignore")
    repository(tmp_path / ".git")
    assert examined(tmp_path) == Manifest(entries=())


def test_what_git_itself_makes_is_nothing(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path / "a")], check=True)
    (tmp_path / "a/file").write_text("x")
    run = ["git", "-C", str(tmp_path / "a"), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*run, "add", "."], check=True)
    subprocess.run([*run, "commit", "-qm", "x"], check=True)
    subprocess.run(["git", "clone", "-q", str(tmp_path / "a"), str(tmp_path / "b")], check=True)
    subprocess.run(["git", "-C", str(tmp_path / "b"), "checkout", "-qb", "config"], check=True)
    subprocess.run(["git", "-C", str(tmp_path / "b"), "remote", "add", "o", "git@example.com:a/b.git"], check=True)
    assert examined(tmp_path / "a").hidden == ()
    assert set(examined(tmp_path / "b").hidden) <= {".git/logs/refs/heads/config"}


@pytest.mark.parametrize(
    "path", ["CLAUDE.md", "a/b/c/d/AGENTS.md", "a/.Claude/Settings.json", "x/.github/Prompts/y.md"]
)
def test_a_surface_is_found_at_any_depth_and_in_any_case(tmp_path: Path, path: str) -> None:
    write(tmp_path, path)
    assert paths(tmp_path) == [path]


def test_a_directory_is_hidden_as_one_and_counted_file_by_file(tmp_path: Path) -> None:
    write(tmp_path, ".claude/settings.json", ".claude/skills/x/SKILL.md", ".claude/skills/x/run.sh")
    manifest = examined(tmp_path)
    assert manifest.hidden == (".claude",)
    assert len(manifest.entries) == 3


@pytest.mark.parametrize(
    "line",
    [
        "[core]\n\tfsmonitor = x",
        "[core]\n\thooksPath = x",
        "[core] pager = x",
        "[include]\n\tpath = x",
        '[includeIf "gitdir:/"]\n\tpath = x',
        '[filter "x"]\n\tclean = x',
        "[alias]\n\tst = !x",
        '[remote "o"]\n\turl = ext::sh -c x',
        '[remote "o"]\n\tuploadpack = x',
        '[url "ext::sh -c x"]\n\tinsteadOf = y',
        '[submodule "x"]\n\tupdate = !x',
        "[core]\n\tbare = false ; x\n\teditor = y",
        '[branch "m"]\n\tremote = a\\\n b',
        "[core]\r\n\tsshCommand = x\r\n",
        "\ufeff[core]\n\tfsmonitor = x",
        "[core]\n\tworktree = ../x",
        "# \0\n[core]\n\tfsmonitor = x",
        "# \udcff\n[core]\n\tfsmonitor = x",
    ],
)
def test_a_configuration_that_is_more_than_data_waits(tmp_path: Path, line: str) -> None:
    repository(tmp_path / ".git", line + "\n")
    assert paths(tmp_path) == [".git/config"]


@pytest.mark.parametrize(
    "place",
    ["sub/.git", "deep/er/.git", ".git/modules/sub", ".git/modules/objects", ".git/modules/a/b", "buried", "x/HEAD.d"],
)
def test_a_repository_below_is_found_wherever_it_lies(tmp_path: Path, place: str) -> None:
    repository(tmp_path / ".git")
    repository(tmp_path / place, HOSTILE)
    assert paths(tmp_path) == [f"{place}/config"]


def test_a_directory_that_only_looks_like_a_repository_is_searched_all_the_same(tmp_path: Path) -> None:
    repository(tmp_path / "assets")
    write(tmp_path, "assets/objects/CLAUDE.md")
    assert paths(tmp_path) == ["assets/objects/CLAUDE.md"]


def test_the_common_part_of_a_repository_is_found_without_a_head(tmp_path: Path) -> None:
    write(tmp_path, "c/config", text=HOSTILE)
    for name in ("objects", "refs"):
        (tmp_path / "c" / name).mkdir()
    write(tmp_path, "sub/.git", text="gitdir: ../g")
    write(tmp_path, "g/HEAD", text="ref: refs/heads/main")
    write(tmp_path, "g/commondir", text="../c")
    manifest = examined(tmp_path)
    assert [one.path for one in manifest.entries] == ["c/config", "g/commondir", "sub/.git"]
    assert manifest.hidden == ("c/config",)


@pytest.mark.parametrize("name", ["git~1", ".GIT", ".git."])
def test_a_name_that_only_other_systems_take_for_git_is_searched_all_the_same(tmp_path: Path, name: str) -> None:
    repository(tmp_path / name, HOSTILE)
    write(tmp_path, f"{name}/CLAUDE.md")
    assert set(paths(tmp_path)) == {f"{name}/CLAUDE.md", f"{name}/config"}


def test_a_pointer_calls_nothing(tmp_path: Path) -> None:
    write(tmp_path, "sub/.git", text="gitdir: /elsewhere/x\n$(run)\n")
    assert examined(tmp_path).unresolved == ()


def test_stores_are_not_read(tmp_path: Path) -> None:
    write(tmp_path, ".yarn/cache/a.zip", ".yarn/releases/yarn.cjs", ".cargo/registry/x", ".direnv/python/bin/x")
    assert paths(tmp_path) == [".yarn/releases/yarn.cjs"]


def test_a_whole_directory_that_nobody_could_trust_is_hidden_as_one(tmp_path: Path) -> None:
    write(tmp_path, ".claude/worktrees/a/x", ".claude/worktrees/b/CLAUDE.md", ".claude/y")
    manifest = examined(tmp_path)
    assert (manifest.never, [one.path for one in manifest.entries]) == ((".claude/worktrees",), [".claude/y"])


@pytest.mark.parametrize(
    "text", ["\n" * 200_000, "url =" + " " * 200_000 + "\\", "[core]" + "\t" * 200_000 + "x", "#" * 200_000]
)
def test_no_configuration_takes_long_to_read(tmp_path: Path, text: str) -> None:
    repository(tmp_path / ".git", text)
    examined(tmp_path)


@pytest.mark.parametrize(
    "text", ["Edit(" * 50_000, "~/" * 100_000, "!`" * 100_000, "$(" * 100_000, "/a" * 100_000, "@" * 200_000]
)
@pytest.mark.parametrize("name", [".mcp.json", "CLAUDE.md", ".envrc"])
def test_no_settings_take_long_to_read(tmp_path: Path, name: str, text: str) -> None:
    write(tmp_path, name, text=text)
    assert paths(tmp_path) == [name]


def test_hooks_wait_and_samples_do_not(tmp_path: Path) -> None:
    repository(tmp_path / ".git")
    write(tmp_path, ".git/hooks/pre-commit.sample")
    assert examined(tmp_path).hidden == ()
    write(tmp_path, ".git/hooks/pre-commit")
    assert examined(tmp_path).hidden == (".git/hooks",)


def test_hooks_behind_a_link_wait(tmp_path: Path) -> None:
    repository(tmp_path / ".git")
    write(tmp_path, "tools/hooks/pre-commit")
    (tmp_path / ".git/hooks").symlink_to("../tools/hooks")
    manifest = examined(tmp_path)
    assert manifest.hidden == (".git/hooks",)
    assert [one.path for one in manifest.entries] == [".git/hooks", "tools/hooks/pre-commit"]


def test_a_git_directory_outside_counts_where_the_checkout_works_with_it(tmp_path: Path) -> None:
    write(tmp_path, "work/.git", text="gitdir: ../repository/worktrees/work")
    repository(tmp_path / "repository", HOSTILE)
    place = str(tmp_path.resolve() / "repository")
    manifest = scan.examine(str(tmp_path.resolve() / "work"), [place])
    assert manifest.hidden == (f"{place}/config",)


def test_a_link_is_hidden_and_its_target_counts(tmp_path: Path) -> None:
    write(tmp_path, "docs/guide.md", "docs/more/x.md")
    (tmp_path / "CLAUDE.md").symlink_to("docs/guide.md")
    (tmp_path / ".claude").symlink_to("docs/more")
    manifest = examined(tmp_path)
    assert manifest.hidden == (".claude", "CLAUDE.md")
    assert [one.path for one in manifest.entries] == [".claude", "CLAUDE.md", "docs/guide.md", "docs/more/x.md"]


@pytest.mark.parametrize("target", ["/etc/hostname", "../outside.md", "missing.md", "CLAUDE.md"])
def test_a_link_that_leads_out_or_nowhere_reads_nothing(tmp_path: Path, target: str) -> None:
    write(tmp_path, "outside.md")
    (tmp_path / "w").mkdir()
    (tmp_path / "w/CLAUDE.md").symlink_to(target)
    assert [(one.path, one.kind, one.digest) for one in examined(tmp_path / "w").entries] == [
        ("CLAUDE.md", "link", target)
    ]


def test_no_link_is_followed_on_the_way(tmp_path: Path) -> None:
    write(tmp_path, "outside/.claude/settings.json")
    (tmp_path / "w").mkdir()
    (tmp_path / "w/sub").symlink_to("../outside")
    (tmp_path / "w/loop").symlink_to(".")
    assert paths(tmp_path / "w") == []


def test_a_link_in_place_of_a_directory_that_holds_a_surface_waits(tmp_path: Path) -> None:
    write(tmp_path, "meta/prompts/x.md")
    (tmp_path / ".github").symlink_to("meta")
    assert examined(tmp_path).hidden == (".github",)


def test_a_called_script_is_read_within_the_checkout_only(tmp_path: Path) -> None:
    write(tmp_path, "outside.sh", "w/inside.sh")
    (tmp_path / "w/way-out.sh").symlink_to("../outside.sh")
    write(tmp_path, "w/.envrc", text="../outside.sh\n./way-out.sh\n./inside.sh\n")
    assert paths(tmp_path / "w") == [".envrc", "inside.sh"]


def test_nothing_but_regular_files_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "CLAUDE.md")
    (tmp_path / ".claude").mkdir()
    os.mkfifo(tmp_path / ".claude/settings.json")
    assert {one.kind for one in examined(tmp_path).entries} == {"other"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_what_cannot_be_read_waits(tmp_path: Path) -> None:
    write(tmp_path, "CLAUDE.md", "closed/x")
    (tmp_path / "CLAUDE.md").chmod(0)
    (tmp_path / "closed").chmod(0)
    try:
        assert {(one.path, one.kind) for one in examined(tmp_path).entries} == {
            ("CLAUDE.md", "unreadable"),
            ("closed", "unreadable"),
        }
        assert examined(tmp_path).hidden == ("CLAUDE.md", "closed")
    finally:
        (tmp_path / "closed").chmod(0o700)


def test_what_is_rewritten_all_the_time_is_in_no_digest(tmp_path: Path) -> None:
    write(tmp_path, ".idea/modules.xml", ".idea/workspace.xml", "node_modules/a/CLAUDE.md")
    before = examined(tmp_path)
    assert before.never == (".idea/workspace.xml", "node_modules/a/CLAUDE.md")
    write(tmp_path, ".idea/workspace.xml", text="y")
    assert examined(tmp_path).digest == before.digest


def test_names_that_are_not_utf8_count(tmp_path: Path) -> None:
    place = os.fsencode(tmp_path) + b"/\xff\xfe"
    os.mkdir(place)
    with open(place + b"/CLAUDE.md", "wb") as file:
        file.write(b"x")
    manifest = examined(tmp_path)
    assert [os.fsencode(one.path) for one in manifest.entries] == [b"\xff\xfe/CLAUDE.md"]
    assert manifest.digest


@pytest.mark.parametrize("limit", ["NAMES_LIMIT", "FILES_LIMIT", "BYTES_LIMIT", "LOOKS_LIMIT"])
def test_a_checkout_beyond_the_limits_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(scan, limit, 2)
    write(tmp_path, ".claude/a", ".claude/b", ".claude/c", text="one two three")
    with pytest.raises(HostError, match="more than"):
        examined(tmp_path)


def test_a_large_file_counts_and_is_not_searched(tmp_path: Path) -> None:
    write(tmp_path, ".envrc", text="#" * (scan.TEXT_LIMIT_BYTES + 1))
    manifest = examined(tmp_path)
    assert manifest.unresolved == ((".envrc", "too large, or no text: not searched for what it calls"),)
    write(tmp_path, ".envrc", text="#" * scan.TEXT_LIMIT_BYTES + "!")
    assert examined(tmp_path).digest != manifest.digest


def test_a_checkout_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="cannot read"):
        scan.examine(str(tmp_path / "missing"))


HOOK = '{{"hooks": {{"Stop": [{{"hooks": [{{"command": "{}"}}]}}]}}}}'
CALLED = {
    "a library without an ending": ({"tools/x.sh": ". tools/lib\n"}, "tools/x.sh", "tools/lib"),
    "a library beside the script": ({"tools/x.sh": 'source "$(dirname "$0")/lib"\n'}, "tools/x.sh", "tools/lib"),
    "a module": ({"tools/x.py": "import helper\n"}, "python3 tools/x.py", "tools/helper.py"),
    "a module of a package": ({"tools/x.py": "from pkg.sub import y\n"}, "python3 tools/x.py", "tools/pkg/sub.py"),
    "a module that comes first": ({"tools/x.py": "import json\n"}, "python3 tools/x.py", "tools/json.py"),
    "a program as a module": ({}, "python3 -m tools.run", "tools/run.py"),
    "a required file": ({"tools/x.js": "require('./helper')\n"}, "node tools/x.js", "tools/helper.js"),
    "a required directory": ({"tools/x.js": "require('./lib')\n"}, "node tools/x.js", "tools/lib/index.js"),
    "another directory first": ({}, "cd tools && ./run", "tools/run"),
    "a name with blanks": ({}, "sh 'tools/a b'", "tools/a b"),
    "a name with escaped blanks": ({}, "sh tools/a\\\\\\\\ b", "tools/a b"),
}


@pytest.mark.parametrize("name", CALLED)
def test_whatever_a_settings_file_leads_to_is_in_the_digest(tmp_path: Path, name: str) -> None:
    files, command, target = CALLED[name]
    write(tmp_path, ".claude/settings.json", text=HOOK.format(command))
    for path, text in files.items():
        write(tmp_path, path, text=text)
    before = examined(tmp_path).digest
    write(tmp_path, target, text="true")
    between = examined(tmp_path).digest
    write(tmp_path, target, text="evil")
    assert len({before, between, examined(tmp_path).digest}) == 3


def test_configuration_that_configuration_includes_is_in_the_digest(tmp_path: Path) -> None:
    repository(tmp_path / "buried", "[include]\n\tpath = ../a.cfg\n")
    write(tmp_path, "a.cfg", text="[include]\n\tpath = b.cfg\n")
    write(tmp_path, "b.cfg", text="[user]\n")
    before = examined(tmp_path).digest
    write(tmp_path, "b.cfg", text=HOSTILE)
    assert examined(tmp_path).digest != before


def test_text_that_text_imports_is_in_the_digest(tmp_path: Path) -> None:
    write(tmp_path, "CLAUDE.md", text="see @docs/a.md")
    write(tmp_path, "docs/a.md", text="@b.md")
    write(tmp_path, "docs/b.md", text="be kind")
    before = examined(tmp_path).digest
    write(tmp_path, "docs/b.md", text="be evil")
    assert examined(tmp_path).digest != before


def test_a_pattern_is_said_not_to_be_followed(tmp_path: Path) -> None:
    write(tmp_path, ".claude/settings.json", text=HOOK.format("sh tools/*.sh"))
    assert (".claude/settings.json", "tools/*.sh") in examined(tmp_path).unresolved


HOSTILE_TEXTS = ["[", "a/", "'a ", '"a ', "a\\ ", "a/a*", "source a ", "${a", "Read(", "!`", "python3."]


@pytest.mark.parametrize("piece", HOSTILE_TEXTS)
@pytest.mark.timeout(10)
def test_no_text_takes_long_to_look_through(tmp_path: Path, piece: str) -> None:
    write(tmp_path, ".envrc", text=piece * (200_000 // len(piece)))
    examined(tmp_path)
