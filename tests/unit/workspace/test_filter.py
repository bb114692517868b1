"""The filter, rule by rule."""

import pytest

from ringfence.model.surfaces import SURFACES, Surface
from ringfence.workspace.change import Change, ChangeKind, FileType, Reviewed
from ringfence.workspace.filter import Rules, review

FILE, DIRECTORY, SYMLINK = FileType.FILE, FileType.DIRECTORY, FileType.SYMLINK
CREATE, MODIFY, DELETE = ChangeKind.CREATE, ChangeKind.MODIFY, ChangeKind.DELETE
REPLACE, MODE = ChangeKind.REPLACE, ChangeKind.MODE
OBJECT = f"objects/ab/{'c' * 38}"
PACK = f"objects/pack/pack-{'d' * 40}"


def new(path: str, type: FileType = FILE, **more: object) -> Change:  # noqa: A002 - the field's own name
    mode = 0o755 if type is DIRECTORY else 0o644
    return Change(**{"path": path, "kind": CREATE, "type": type, "mode": mode, **more})  # type: ignore[arg-type]  # keywords of a test


def changed(path: str, **more: object) -> Change:
    return new(path, **{"kind": MODIFY, "old_type": FILE, "old_mode": 0o644, **more})  # type: ignore[arg-type]  # keywords of a test


def deleted(path: str, type: FileType = FILE) -> Change:  # noqa: A002 - the field's own name
    return new(path, type, kind=DELETE, old_type=type, old_mode=0o644)


def link(path: str, target: str, **more: object) -> Change:
    return new(path, SYMLINK, link=target, **more)


def codes(*changes: Change, **rules: object) -> dict[str, str]:
    reviewed = review(changes, rules=Rules(**rules))  # type: ignore[arg-type]  # keywords of a test
    assert [item.change for item in reviewed] == list(changes)
    return {item.change.path: item.code for item in reviewed}


def code(change: Change, **rules: object) -> str:
    return codes(change, **rules)[change.path]


def test_ordinary_changes_pass() -> None:
    found = codes(
        new("src", DIRECTORY),
        new("src/main.py"),
        changed("README.md"),
        deleted("old.txt"),
        new("run.sh", mode=0o755),
        new("name\nwith\x1bcontrols"),
        new("\udcff\udcfe"),
        new("twice", nlink=2),
        new("attributed", xattrs=("user.comment",)),
        link("latest", "src/main.py"),
        changed("a", kind=MODE, mode=0o600),
    )
    assert set(found.values()) == {""}


@pytest.mark.parametrize(
    "path",
    [
        f"{OBJECT}",
        f"objects/ab/{'0' * 62}",
        f"{PACK}.pack",
        f"{PACK}.idx",
        f"{PACK}.rev",
        "objects/info/packs",
        "objects/info/commit-graph",
        "refs/heads/main",
        "refs/heads/with space/x",
        "refs/stash",
        "logs/HEAD",
        "logs/refs/heads/main",
        "HEAD",
        "index",
        "packed-refs",
        "ORIG_HEAD",
        "FETCH_HEAD",
        "MERGE_HEAD",
        "MERGE_MSG",
        "MERGE_MODE",
        "COMMIT_EDITMSG",
        "AUTO_MERGE",
        "REBASE_HEAD",
        "CHERRY_PICK_HEAD",
        "REVERT_HEAD",
        "BISECT_LOG",
        "shallow",
        "SQUASH_MSG",
        f"lfs/objects/ab/01/ab01{'e' * 60}",
    ],
)
def test_git_data_passes_as_a_regular_file_only(path: str) -> None:
    full = f".git/{path}"
    assert code(new(full)) == ""
    assert code(changed(full)) == ""
    assert code(link(full, "elsewhere")) == "git-protected"
    assert code(new(full, FileType.FIFO)) == "special-file"
    assert code(changed(full, kind=REPLACE, old_type=DIRECTORY)) == "git-protected"


@pytest.mark.parametrize(
    "path", ["objects/ab", "objects/pack", "refs/heads/topic", "logs/refs", "objects/info", "lfs/objects/ab/01"]
)
def test_git_data_directories_pass(path: str) -> None:
    assert code(new(f".git/{path}", DIRECTORY)) == ""
    assert code(link(f".git/{path}", "elsewhere")) == "git-protected"


@pytest.mark.parametrize(
    "path",
    [
        "config",
        "config.worktree",
        "Config",
        "hooks/pre-commit",
        "hooks",
        "info/attributes",
        "info/exclude",
        "info/grafts",
        "info/sparse-checkout",
        "commondir",
        "gitdir",
        "modules/sub/config",
        "worktrees/w/commondir",
        "objects/info/alternates",
        "objects/info/http-alternates",
        "OBJECTS/info/alternates",
        "objects/INFO/alternates",
        "objects/pack/tmp_pack_x",
        "rebase-merge/git-rebase-todo",
        "rebase-merge/strategy",
        "rebase-apply/patch",
        "sequencer/todo",
        "index.lock",
        "HEAD.lock",
        "refs/heads/main.lock",
        "description",
        "fsmonitor--daemon.ipc",
        "gc.pid",
        "new-thing",
        f"lfs/objects/ab/02/ab01{'e' * 60}",
        f"lfs/objects/ab/01/ab01{'E' * 60}",
        f"lfs/tmp/ab01{'e' * 60}",
        "lfs/config",
    ],
)
def test_the_rest_of_git_is_held(path: str) -> None:
    assert code(new(f".git/{path}")) == "git-protected"
    assert code(changed(f".git/{path}")) == "git-protected"


@pytest.mark.parametrize("path", ["HEAD", "config", "hooks/pre-commit", "info/exclude", "commondir", "modules/x/HEAD"])
def test_what_git_needs_is_not_removed(path: str) -> None:
    assert code(deleted(f".git/{path}")) == "git-protected"


@pytest.mark.parametrize("path", ["objects", "refs"])
def test_directories_git_needs_are_not_removed(path: str) -> None:
    assert code(deleted(f".git/{path}", DIRECTORY)) == "git-protected"


@pytest.mark.parametrize(
    "path", [OBJECT, f"{PACK}.pack", "refs/heads/topic", "MERGE_HEAD", "rebase-merge/git-rebase-todo", "rebase-apply/x"]
)
def test_git_data_may_be_removed(path: str) -> None:
    assert code(deleted(f".git/{path}")) == ""


def test_a_new_replaced_or_removed_git_directory_is_held_whole() -> None:
    assert set(codes(new(".git", DIRECTORY), new(".git/HEAD"), new(".git/objects", DIRECTORY)).values()) == {"git-new"}
    assert code(new(".git")) == "git-new"
    assert code(link(".git", "elsewhere")) == "git-new"
    swapped = codes(new(".git", kind=REPLACE, old_type=DIRECTORY), deleted(".git/HEAD"))
    assert set(swapped.values()) == {"git-new"}
    assert set(codes(deleted(".git", DIRECTORY), deleted(".git/HEAD")).values()) == {"git-new"}


@pytest.mark.parametrize("name", [".GIT", ".Git", ".g\u200cit", ".git.", "git~1", ".git::$INDEX_ALLOCATION"])
def test_look_alikes_of_git_are_held(name: str) -> None:
    assert code(new(f"{name}/hooks/pre-commit")) == "git-lookalike"
    assert code(new(f"sub/{name}/config")) == "git-nested"


def test_nested_repositories_are_held() -> None:
    found = codes(
        new("vendor/.git", DIRECTORY), new("vendor/.git/config"), new("vendor/.git/HEAD"), new("vendor/code.py")
    )
    assert found == {
        "vendor/.git": "git-nested",
        "vendor/.git/config": "git-nested",
        "vendor/.git/HEAD": "git-nested",
        "vendor/code.py": "",
    }
    assert code(new("sub/.git")) == "git-nested"


def test_bare_repositories_are_held_whole() -> None:
    bare = [new("x", DIRECTORY), new("x/HEAD"), new("x/config"), new("x/objects", DIRECTORY), new("x/refs", DIRECTORY)]
    assert set(codes(*bare, new("x/readme")).values()) == {"git-bare"}
    assert set(codes(new("x/HEAD"), new("x/commondir")).values()) == {"git-bare"}
    assert set(codes(new("x/head"), new("x/Objects/ab"), new("x/REFS/heads")).values()) == {"git-bare"}


def test_a_bare_repository_may_be_half_on_the_host() -> None:
    host = {"x/HEAD": FILE, "x/objects": DIRECTORY}
    assert code(new("x/refs", DIRECTORY), existing=host.get) == "git-bare"
    complete = host | {"x/refs": DIRECTORY}
    assert code(changed("x/config"), existing=complete.get) == "git-bare"
    assert code(changed("x/deep/file"), existing=complete.get) == "git-bare"
    assert code(changed("y/config"), existing=complete.get) == ""


def test_a_workspace_is_not_turned_into_a_bare_repository() -> None:
    found = codes(new("HEAD"), new("objects", DIRECTORY), new("refs", DIRECTORY), new("config"), new("main.py"))
    assert found == dict.fromkeys(["HEAD", "objects", "refs", "config"], "git-bare") | {"main.py": ""}


@pytest.mark.parametrize("path", [".claude/settings.json", "sub/.ENVRC", ".github/workflows/x.yml", ".vscode"])
def test_auto_load_surfaces_are_held_whatever_happens_to_them(path: str) -> None:
    assert code(new(path)) == "auto-load"
    assert code(changed(path)) == "auto-load"
    assert code(deleted(path)) == "auto-load"
    assert code(changed(path, kind=MODE, mode=0o755)) == "auto-load"
    assert code(link(path, "x")) == "auto-load"


def test_a_link_in_the_place_of_a_surface_s_parent_is_held() -> None:
    assert code(link(".github", "prepared")) == "auto-load"
    assert code(new(".github", DIRECTORY)) == ""


def test_callers_add_surfaces_and_protected_paths() -> None:
    surfaces = (*SURFACES, Surface(pattern="tools/hooks", reason="git runs it", anchored=True))
    assert code(new("tools/hooks/pre-commit"), surfaces=surfaces) == "auto-load"
    assert code(new("secret/x"), protected=lambda path: path.startswith("secret/")) == "path-protected"
    assert code(new("other/x"), protected=lambda path: path.startswith("secret/")) == ""


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/etc/passwd", "link-outside"),
        ("/", "link-outside"),
        ("../..", "link-outside"),
        ("../../../etc/passwd", "link-outside"),
        ("x/../../../../etc", "link-outside"),  # where `x` is a link, `..` leads to that link's parent
        ("x/../y", "link-outside"),
        ("../../.git/hooks", "link-into-git"),
        ("../../.GIT/config", "link-into-git"),
        ("../../sub/.git", "link-into-git"),
        ("../../.claude/settings.json", "link-to-auto-load"),
        ("../sibling", ""),
        ("../../top", ""),
        ("./here", ""),
        ("../..//a", ""),
        ("missing", ""),
    ],
)
def test_links(target: str, expected: str) -> None:
    change = link("a/b/l", target)
    expected = "" if target == "../.." else expected  # two levels up from here is the workspace itself
    assert code(change) == expected


def test_links_at_the_top_do_not_leave() -> None:
    assert code(link("l", "..")) == "link-outside"
    assert code(link("l", "../x")) == "link-outside"
    assert code(link("l", ".")) == ""


def test_links_through_links_of_the_host_are_held() -> None:
    host = {"data": SYMLINK, "dir": DIRECTORY}
    assert code(link("l", "data/x"), existing=host.get) == "link-indirect"
    assert code(link("l", "data"), existing=host.get) == "link-indirect"
    assert code(link("l", "dir/x"), existing=host.get) == ""


def test_a_link_for_a_directory_holds_what_was_in_it() -> None:
    found = codes(link("d", "e", kind=REPLACE, old_type=DIRECTORY), deleted("d/file"), new("e", DIRECTORY))
    assert found == {"d": "link-replaces-directory", "d/file": "parent-held", "e": ""}


@pytest.mark.parametrize("kind", [FileType.DEVICE, FileType.FIFO, FileType.SOCKET])
def test_special_files_are_held_but_may_be_removed(kind: FileType) -> None:
    assert code(new("x", kind)) == "special-file"
    assert code(deleted("x", kind)) == ""


def test_special_bits_are_held() -> None:
    for bits in (0o4755, 0o2755, 0o1644):
        assert code(new("x", mode=bits)) == "special-mode"
        assert code(changed("x", mode=bits, old_mode=bits)) == "special-mode"
        assert code(changed("x", kind=MODE, mode=bits)) == "special-mode"
    assert code(changed("x", kind=MODE, mode=0o4755, old_mode=0o4777)) == ""
    assert code(new("d", DIRECTORY, mode=0o1777)) == "special-mode"
    assert code(new("d", DIRECTORY, mode=0o2755)) == ""


def test_capabilities_are_held() -> None:
    assert code(new("x", xattrs=("user.a", "security.capability"))) == "file-capability"


def test_unreadable_paths_hold_what_is_below() -> None:
    found = codes(new("d", DIRECTORY, kind=ChangeKind.UNREADABLE, detail="Permission denied"), new("d/x"))
    assert found == {"d": "unreadable", "d/x": "parent-held"}


def test_budgets() -> None:
    assert codes(new("a"), new("b"), new("c"), max_changes=2) == {"a": "", "b": "", "c": "budget-count"}
    assert code(new("bomb", size=1 << 50), max_file_bytes=1 << 40) == "budget-size"
    found = codes(new("a", allocated=600), new("b", allocated=600), new("c", allocated=300), max_bytes=1000)
    assert found == {"a": "", "b": "budget-size", "c": ""}
    assert codes(new("a", size=600), new("b", size=600), max_apparent_bytes=1000) == {"a": "", "b": "budget-size"}
    assert code(new("gone", kind=DELETE, old_type=FILE, size=1 << 50)) == ""


def test_a_removal_that_would_take_something_held_is_held() -> None:
    found = codes(deleted("d", DIRECTORY), deleted("d/e", DIRECTORY), deleted("d/e/.envrc"), deleted("d/f"))
    assert found == {"d": "content-held", "d/e": "content-held", "d/e/.envrc": "auto-load", "d/f": ""}
    swapped = codes(new("d", kind=REPLACE, old_type=DIRECTORY), deleted("d/.envrc"), deleted("d/f"))
    assert swapped == {"d": "content-held", "d/.envrc": "auto-load", "d/f": "parent-held"}


def test_release_lets_a_named_change_through_unless_nobody_may() -> None:
    assert code(new(".envrc"), release=frozenset({".envrc"})) == ""
    assert code(new(".git/hooks/pre-commit"), release=frozenset({".git/hooks/pre-commit"})) == ""
    assert code(new("x", mode=0o4755), release=frozenset({"x"})) == "special-mode"
    assert code(new("x"), release=frozenset({"x"}), protected=lambda _: True) == "path-protected"


def test_a_git_directory_of_its_own_is_judged_by_the_same_list() -> None:
    found = codes(
        new(OBJECT),
        new("worktrees/w/HEAD"),
        new("worktrees/w/logs/HEAD"),
        new("config"),
        new("hooks/pre-commit"),
        new("worktrees/w/gitdir"),
        new("worktrees/w/commondir"),
        new("worktrees/w/config.worktree"),
        new("worktrees/n", DIRECTORY),
        new("modules/m/HEAD"),
        git_directory=True,
    )
    passed = {path for path, held in found.items() if not held}
    assert passed == {OBJECT, "worktrees/w/HEAD", "worktrees/w/logs/HEAD"}


def test_a_verdict_says_why() -> None:
    (held,) = review([new(".envrc")], rules=Rules())
    assert isinstance(held, Reviewed)
    assert not held.allowed
    assert held.releasable
    assert held.sentence == "directory hooks of the shell load it when someone enters the directory"
