"""The workspace's modes, and denials: what they cover, what they leave alone, in which order."""

import msgspec
import pytest

from ringfence.model.errors import UsageError
from ringfence.model.plan import Mount, MountKind, Plan
from ringfence.planner.view import deciding, reach
from tests.fake_host import HOME, WORKSPACE, Host, Link, Node, at, filesystem, plan, request

OVERLAY, DIRECT, READ_ONLY = ("", '[workspace]\nmode = "direct"\n', '[workspace]\nmode = "readonly"\n')


def covers(found: Plan) -> dict[str, Mount]:
    return {mount.target: mount for mount in found.mounts if mount.kind is MountKind.COVER}


def sealed(found: Plan) -> list[str]:
    """Read-only binds that a denial or a surface asked for."""
    said = ("deny-write", "loaded by")
    return [m.target for m in found.mounts if m.kind is MountKind.RO_BIND and m.reason.startswith(said)]


@pytest.mark.parametrize(
    ("mode", "kind"),
    [(OVERLAY, MountKind.OVERLAY), (DIRECT, MountKind.BIND), (READ_ONLY, MountKind.RO_BIND)],
)
def test_the_mode_decides_how_the_workspace_is_mounted(mode: str, kind: MountKind) -> None:
    found = at(plan(mode), WORKSPACE)
    assert (found.kind, found.source) == (kind, WORKSPACE)


# ---- denials act on what is exposed, and only there


@pytest.mark.parametrize("key", ["deny_read", "deny_write"])
@pytest.mark.parametrize("path", [f"{HOME}/.ssh/id_rsa_x", f"{HOME}/diary", "/etc/shadow", "/srv/data", "/boot"])
def test_a_denial_never_brings_in_what_is_not_in_the_view(key: str, path: str) -> None:
    host = Host({f"{HOME}/.ssh/id_rsa_x": "key", f"{HOME}/diary": "x", "/srv/data/x": "x", "/boot/x": "x"})
    assert plan(filesystem(**{key: [path]}), host).mounts == plan("", host).mounts


SHOWN = (f"{HOME}/data/private/f", f"{HOME}/link/private/f", "/shown/private/f")
TO_SHOWN = f'mounts = [{{ source = "{HOME}/data", target = "/shown" }}]'


@pytest.mark.parametrize(
    ("allowed", "denied", "secrets"),
    [
        (f'read = ["{HOME}/data"]', f"{HOME}/data/private", SHOWN),
        (f'write = ["{HOME}/data"]', f"{HOME}/data/private", SHOWN),
        (TO_SHOWN, f"{HOME}/data/private", SHOWN),
        (TO_SHOWN, "/shown/private", SHOWN),
        (TO_SHOWN, "/shown/*vate", SHOWN),
        (f'read = ["{HOME}/*a*"]', f"{HOME}/**/private", SHOWN),
        (f'read = ["{HOME}/dat?"]', "~/data/PRIVATE", SHOWN),
        (f'read = ["{HOME}/link"]', "~/link/private", SHOWN),
        (f'read = ["{HOME}/link"]', "~/data/private", SHOWN),
        (f'read = ["{HOME}/data"]', "~/link/private", SHOWN),
        (f'read = ["{HOME}/data"]', "~/link/**/private", SHOWN),
        ("", "~/.pyenv/**/secret", (f"{HOME}/.pyenv/cache/secret",)),
        ("", "/usr/share/doc", ("/usr/share/doc/readme",)),
        ("", "/**/ca.pem", ("/etc/ssl/certs/ca.pem",)),
        ("", "/etc/os-release", ("/etc/os-release", "/usr/lib/os-release")),
    ],
)
def test_a_denial_holds_wherever_the_view_exposes_the_path(allowed: str, denied: str, secrets: tuple[str, ...]) -> None:
    host = Host({f"{HOME}/data/private/f": "secret", f"{HOME}/data/open": "x", f"{HOME}/link": Link("data")})
    before = plan(f"[filesystem]\n{allowed}\n", host)
    after = plan(f'[filesystem]\n{allowed}\ndeny-read = ["{denied}"]\n', host)
    assert any(reach(before, path).source for path in secrets)
    assert not any(reach(after, path).source for path in secrets)


def test_every_place_where_a_path_shows_is_covered() -> None:
    mounts = '[filesystem]\nread = ["/srv/d"]\n'
    mounts += 'mounts = [{ source = "/srv/d", target = "/a" }, { source = "/srv", target = "/b" }]\n'
    found = plan(f'{mounts}deny-read = ["/srv/d/key"]\n', Host({"/srv/d/key": "x"}))
    assert covers(found).keys() == {"/srv/d/key", "/a/key", "/b/d/key"}


def test_a_path_hidden_by_another_mount_is_left_alone() -> None:
    mounts = '[filesystem]\nread = ["/srv"]\nmounts = [{ source = "/other", target = "/srv/d" }]\n'
    found = plan(f'{mounts}deny-read = ["/srv/d/key"]\n', Host({"/srv/d/key": "x", "/other/f": "x"}))
    assert not covers(found)


def test_hiding_what_a_run_needs_is_refused_with_the_line() -> None:
    for path in (HOME, "/usr", WORKSPACE):
        with pytest.raises(UsageError, match="without which nothing can run") as caught:
            plan(filesystem(deny_read=[path]))
        assert caught.value.place == "p.toml:3"


def test_a_link_of_the_checkouts_cannot_hide_the_workspace_unnoticed() -> None:
    with pytest.raises(UsageError, match="without which nothing can run"):
        plan(filesystem(deny_read=[".env"]), Host({f"{WORKSPACE}/.env": Link(".")}))


# ---- deny-read


def test_a_file_and_a_directory_are_covered_as_what_they_are() -> None:
    host = Host({f"{WORKSPACE}/a/.env": "key", f"{WORKSPACE}/secrets/x": "key"})
    found = covers(plan(filesystem(deny_read=[".env", "secrets/"]), host))
    assert {path: mount.directory for path, mount in found.items()} == {
        f"{WORKSPACE}/a/.env": False,
        f"{WORKSPACE}/secrets": True,
    }


def test_only_the_outermost_of_nested_denials_is_covered() -> None:
    host = Host({f"{WORKSPACE}/a/b/key": "x", f"{WORKSPACE}/a-b": "x"})
    found = plan(filesystem(deny_read=["./a", "key", "./a-b"], deny_write=["./a/b"]), host)
    assert list(covers(found)) == [f"{WORKSPACE}/a", f"{WORKSPACE}/a-b"]
    assert sealed(found) == []


def test_a_link_is_covered_where_it_leads() -> None:
    host = Host(
        {f"{WORKSPACE}/x.key": Link("store/k"), f"{WORKSPACE}/store/k": "key", f"{WORKSPACE}/y.key": Link("no")}
    )
    assert list(covers(plan(filesystem(deny_read=["*.key"]), host))) == [f"{WORKSPACE}/store/k"]


def test_openings_of_covers_are_watched() -> None:
    found = plan(filesystem(deny_read=[".env"], deny_write=["./new"]), Host({f"{WORKSPACE}/.env": "key"}))
    assert f"{WORKSPACE}/.env" in {watch.target for watch in found.watches}
    assert f"{WORKSPACE}/new" not in {watch.target for watch in found.watches}


def test_no_event_is_promised_where_the_kernel_refuses_unseen() -> None:
    host = Host({f"{WORKSPACE}/.env": "key", f"{WORKSPACE}/private/x": "key"})
    found = plan(DIRECT + filesystem(deny_read=[".env", "./private"]), host)
    assert {f"{WORKSPACE}/.env", f"{WORKSPACE}/private"} == covers(found).keys()
    opened = {watch.target for watch in found.watches}
    assert f"{WORKSPACE}/private" in opened and f"{WORKSPACE}/.env" not in opened


def test_a_hidden_file_below_a_protected_directory_of_an_overlay_shows_a_notice() -> None:
    host = Host({f"{WORKSPACE}/conf/key": "x"})
    found = plan(filesystem(deny_read=["key"], deny_write=["./conf"]), host)
    hidden = covers(found)[f"{WORKSPACE}/conf/key"]
    assert "path-protected" in hidden.text
    assert found.mounts.index(at(found, f"{WORKSPACE}/conf")) < found.mounts.index(hidden)


# ---- deny-write


def test_what_exists_appears_read_only_in_any_letter_case() -> None:
    host = Host({f"{WORKSPACE}/Setup.CFG": "x"})
    found = plan(filesystem(deny_write=["./setup.cfg"]), host)
    assert sealed(found) == [f"{WORKSPACE}/Setup.CFG"]
    assert covers(found)[f"{WORKSPACE}/setup.cfg"].absent


def test_what_is_read_only_already_gets_no_mount() -> None:
    found = plan(READ_ONLY + filesystem(deny_write=["./main.py", "./new", "~/.pyenv/cache"]))
    assert sealed(found) == [] and not covers(found)


@pytest.mark.parametrize(
    ("files", "absent"),
    [
        ({}, True),
        ({f"{WORKSPACE}/a": "a file"}, False),
        ({f"{WORKSPACE}/a": Link("/srv")}, False),
        ({f"{WORKSPACE}/a/b": None}, True),
    ],
)
def test_an_absent_name_is_kept_from_being_created_where_its_parents_allow_it(
    files: dict[str, str | Link | None], absent: bool
) -> None:
    found = covers(plan(filesystem(deny_write=["./a/b/c"]), Host(files)))
    assert (f"{WORKSPACE}/a/b/c" in found) is absent


def test_an_absent_name_behind_a_link_is_kept_where_the_link_leads() -> None:
    host = Host({f"{WORKSPACE}/a": Link("real"), f"{WORKSPACE}/real/x": "x"})
    assert covers(plan(filesystem(deny_write=["./a/new"]), host))[f"{WORKSPACE}/real/new"].absent


def test_of_nested_absent_names_the_outermost_is_enough() -> None:
    found = plan(filesystem(deny_write=["./new", "./new/deeper", "./gone/x"], deny_read=["./gone"]))
    assert list(covers(found)) == [f"{WORKSPACE}/gone/x", f"{WORKSPACE}/new"]


def test_the_apply_filter_learns_patterns_with_their_meaning() -> None:
    text = '[filesystem]\ndeny-write = [{ path = "a*b", literal = true }, "*.lock"]\ndeny-read = ["key"]\n'
    assert plan(text).workspace.deny_write == (("a*b", True), ("*.lock", False), ("key", False))


# ---- live directories


def test_parents_in_a_live_directory_are_pinned_before_anything_is_covered() -> None:
    host = Host({f"{WORKSPACE}/a/b/x": "x", f"{WORKSPACE}/a/y": "y", f"{WORKSPACE}/a/c/key": "k"})
    found = plan(DIRECT + filesystem(deny_write=["./a/b/x", "./a/y"], deny_read=["key"]), host)
    order = [mount.target.removeprefix(WORKSPACE) for mount in found.mounts if mount.target.startswith(f"{WORKSPACE}/")]
    assert order == ["/a", "/a/b", "/a/b/x", "/a/c", "/a/y", "/a/c/key"]
    for path in ("a/b/x", "a/y"):
        assert not reach(found, f"{WORKSPACE}/{path}").writable
    assert reach(found, f"{WORKSPACE}/a/new").writable


def test_what_protects_a_live_directory_does_not_uncover_what_lies_in_it() -> None:
    """A pin of `/srv/w` made after the workspace would show the host's own, live."""
    host = Host({"/srv/w/project/f": "x", "/srv/w/key": "k", "/srv/w/other/f": "x"})
    found = plan(filesystem(write=["/srv"], deny_read=["/srv/w/key"]), host, request("/srv/w/project"))
    assert deciding(found.mounts, "/srv/w/project/f").kind is MountKind.OVERLAY
    assert deciding(found.mounts, "/srv/w/other").reason == "pinned in place"


def test_a_writable_mount_inside_a_protected_directory_is_protected_too() -> None:
    text = f'[filesystem]\nmounts = [{{ source = "/srv/a", target = "{WORKSPACE}/conf/a", writable = true }}]\n'
    host = Host({"/srv/a/f": "x", f"{WORKSPACE}/conf/a": None})
    assert reach(plan(text, host), f"{WORKSPACE}/conf/a/f").writable
    found = reach(plan(f'{text}deny-write = ["./conf"]\n', host), f"{WORKSPACE}/conf/a/f")
    assert (found.writable, found.source) == (False, "/srv/a/f")
    hidden = plan(f'{text}deny-read = ["./conf", "/srv/a/f"]\n', host)
    assert list(covers(hidden)) == [f"{WORKSPACE}/conf"]


def test_the_top_of_a_live_directory_needs_no_pin() -> None:
    found = plan(filesystem(write=["/srv/out"], deny_write=["/srv/out/keep"]), Host({"/srv/out/keep": "x"}))
    assert not [mount for mount in found.mounts if mount.reason == "pinned in place"]
    assert sealed(found) == ["/srv/out/keep"]


@pytest.mark.parametrize(
    ("policy", "top"),
    [
        (DIRECT, WORKSPACE),
        (filesystem(write=["/srv/out"]), "/srv/out"),
        ('[filesystem]\nmounts = [{ source = "/srv/out", target = "/o", writable = true }]\n', "/o"),
    ],
)
def test_surfaces_at_the_top_of_a_live_directory_are_read_only(policy: str, top: str) -> None:
    files = {f"{place}/{name}": "x" for place in (WORKSPACE, "/srv/out") for name in (".envrc", ".git/hooks/pre-push")}
    found = plan(policy, Host(files))
    assert sealed(found) == [f"{top}/.envrc", f"{top}/.git/hooks"]
    assert f"`{top}` is live: protected names that do not exist yet can be created there" in found.notes


def test_a_git_directory_that_is_live_itself_keeps_its_hooks() -> None:
    files = {f"/srv/bare.git/{name}": "x" for name in ("HEAD", "config", "hooks/update", "worktrees/w/HEAD")}
    found = plan(filesystem(write=["/srv/bare.git"]), Host(files))
    assert sealed(found) == ["/srv/bare.git/config", "/srv/bare.git/hooks"]


def test_what_a_surface_of_a_live_directory_leads_to_is_read_only() -> None:
    files: dict[str, Node] = {
        f"{WORKSPACE}/.claude": Link("shared"),
        f"{WORKSPACE}/shared": Link("conf/agents"),
        f"{WORKSPACE}/conf/agents/settings.json": "{}",
        f"{WORKSPACE}/.envrc": Link("/srv/out/env"),
        f"{WORKSPACE}/.git": Link(f"{WORKSPACE}/repository"),
        f"{WORKSPACE}/repository/config": "[core]",
        f"{WORKSPACE}/repository/hooks": Link("../tools/hooks"),
        f"{WORKSPACE}/tools/hooks/pre-push": "x",
        "/srv/out/env": "x",
    }
    inside = [f"{WORKSPACE}/{name}" for name in ("conf/agents", "repository/config", "tools/hooks")]
    found = plan(DIRECT, Host(files))  # what is not in the view cannot be written, and is not brought into it
    assert sealed(found) == inside
    pinned = [mount.target for mount in found.mounts if mount.reason == "pinned in place"]
    assert pinned == [f"{WORKSPACE}/{name}" for name in ("conf", "repository", "tools")]
    assert sealed(plan(DIRECT + filesystem(write=["/srv/out"]), Host(files))) == [*inside, "/srv/out/env"]


@pytest.mark.parametrize("target", [".", "..", "/", "nowhere", ".envrc", "/srv"])
def test_a_surface_that_leads_nowhere_or_to_the_whole_seals_nothing(target: str) -> None:
    found = plan(DIRECT, Host({f"{WORKSPACE}/.envrc": Link(target), "/srv/x": "x"}))
    assert sealed(found) == []
    assert reach(found, f"{WORKSPACE}/main.py").writable


def test_a_link_that_could_be_replaced_in_a_live_directory_is_refused() -> None:
    host = Host({f"{WORKSPACE}/conf": Link("real"), f"{WORKSPACE}/real/x": "x"})
    with pytest.raises(UsageError, match="is a link") as caught:
        plan(DIRECT + filesystem(deny_write=["./conf"]), host)
    assert (caught.value.place, "overlay" in caught.value.hint) == ("p.toml:5", True)
    assert sealed(plan(filesystem(deny_write=["./conf"]), host)) == [f"{WORKSPACE}/real"]
    assert list(covers(plan(DIRECT + filesystem(deny_read=["./conf"]), host))) == [f"{WORKSPACE}/real"]


# ---- what nobody has trusted


def untrusted(*paths: str, text: str = "") -> Plan:
    files = {f"{WORKSPACE}/CLAUDE.md": "x", f"{WORKSPACE}/.claude/key": "x", f"{WORKSPACE}/sub/.envrc": "x"}
    return plan(text, Host(files), msgspec.structs.replace(request(), hidden=paths))


def test_what_nobody_has_trusted_does_not_exist_on_the_overlay() -> None:
    found = untrusted(f"{WORKSPACE}/CLAUDE.md", f"{WORKSPACE}/.claude")
    gone = [mount.target for mount in found.mounts if mount.kind is MountKind.WHITEOUT]
    assert sorted(gone) == [f"{WORKSPACE}/.claude", f"{WORKSPACE}/CLAUDE.md"]
    for path in (f"{WORKSPACE}/CLAUDE.md", f"{WORKSPACE}/.claude/key"):
        assert (reach(found, path).readable, reach(found, path).writable) == (False, False)
    assert reach(found, f"{WORKSPACE}/sub/.envrc").readable


def test_what_is_written_under_such_a_name_does_not_reach_the_host() -> None:
    assert (f"{WORKSPACE}/.claude", True) in untrusted(f"{WORKSPACE}/.claude").workspace.deny_write


def test_a_denial_below_what_does_not_exist_needs_no_cover() -> None:
    found = untrusted(
        f"{WORKSPACE}/.claude", text=filesystem(deny_read=["key", "CLAUDE.md"], deny_write=[".claude/new"])
    )
    assert covers(found).keys() == {f"{WORKSPACE}/CLAUDE.md"}


def test_what_another_mount_lies_over_is_left_to_that() -> None:
    text = '[[filesystem.mounts]]\nsource = "/srv/other"\ntarget = "/home/user/project/sub"\n'
    machine = Host({f"{WORKSPACE}/sub/.envrc": "x", "/srv/other/.envrc": "x"})
    wish = msgspec.structs.replace(request(), hidden=(f"{WORKSPACE}/sub/.envrc",))
    found = plan(text.replace("/home/user/project", WORKSPACE) + filesystem(deny_read=[".envrc"]), machine, wish)
    assert not [mount for mount in found.mounts if mount.kind is MountKind.WHITEOUT]
    assert f"{WORKSPACE}/sub/.envrc" in covers(found)
