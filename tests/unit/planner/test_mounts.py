"""The view before anything is denied: what is granted, in which order, with which directories in between."""

import pytest

from ringfence.model.errors import UsageError
from ringfence.model.plan import MountKind, Plan
from ringfence.planner.mounts import DECOY_TEXT
from ringfence.planner.view import deciding, follow, reach
from tests.fake_host import HOME, WORKSPACE, Host, Link, at, filesystem, plan, request


def kinds(found: Plan, *targets: str) -> list[MountKind]:
    return [at(found, target).kind for target in targets]


def shown(found: Plan) -> dict[str, str | None]:
    """What comes from policy: place and source."""
    return {m.target: m.source for m in found.mounts if m.reason == "policy"}


@pytest.mark.parametrize(
    ("pattern", "paths"),
    [
        ("/srv/a", {"/srv/a"}),
        ("/srv/?", {"/srv/a", "/srv/b"}),
        ("/srv/[ab]", {"/srv/a", "/srv/b"}),
        ("/srv/[!a]", {"/srv/b"}),
        ("/srv/*", {"/srv/a", "/srv/b", "/srv/a*c", "/srv/.d"}),
        ("/srv/a\\*c", {"/srv/a*c"}),
        ("/srv/A", set()),
        ("/srv/[A]", set()),
        ("/srv/**/f", {"/srv/a/f", "/srv/b/f", "/srv/a*c/f", "/srv/.d/f"}),
    ],
)
@pytest.mark.parametrize("key", ["read", "write"])
def test_allowances_mean_what_the_matcher_says(key: str, pattern: str, paths: set[str]) -> None:
    host = Host({f"/srv/{name}/f": "x" for name in ("a", "b", "a*c", ".d")})
    found = plan(f"[filesystem]\n{key} = ['{pattern}']\n", host)
    assert shown(found).keys() == paths
    assert {at(found, path).kind for path in paths} <= {MountKind.RO_BIND if key == "read" else MountKind.BIND}


def test_a_literal_allowance_has_no_wildcards() -> None:
    host = Host({"/srv/a*c/f": "x", "/srv/abc/f": "x"})
    found = plan('[filesystem]\nread = [{ path = "/srv/a*c", literal = true }]\n', host)
    assert shown(found) == {"/srv/a*c": "/srv/a*c"}


@pytest.mark.parametrize("key", ["read", "write"])
def test_inside_the_workspace_its_mode_alone_decides(key: str) -> None:
    host = Host({f"{WORKSPACE}/sub/f": "x"})
    assert shown(plan(filesystem(**{key: [f"{WORKSPACE}/sub", "./sub", f"{WORKSPACE}/*"]}), host)) == {}


def test_a_writable_place_around_the_workspace_does_not_make_it_live() -> None:
    found = plan(filesystem(write=[f"{HOME}/all"]), Host({f"{HOME}/all/w/f": "x"}), request(f"{HOME}/all/w"))
    assert deciding(found.mounts, f"{HOME}/all/w/f").kind is MountKind.OVERLAY
    assert deciding(found.mounts, f"{HOME}/all/f").kind is MountKind.BIND


def test_a_mount_on_the_workspace_takes_its_place() -> None:
    text = f'[filesystem]\nmounts = [{{ source = "/srv/a", target = "{WORKSPACE}" }}]\n'
    assert at(plan(text, Host({"/srv/a/f": "x"})), WORKSPACE).source == "/srv/a"


def test_deeper_mounts_come_later_whatever_asked_for_them() -> None:
    host = Host({"/srv/a/b/c/f": "x"})
    found = plan(filesystem(read=["/srv/a/b/c", "/srv"], write=["/srv/a/b"]), host)
    assert kinds(found, "/srv", "/srv/a/b") == [MountKind.RO_BIND, MountKind.BIND]
    assert reach(found, "/srv/a/b/c/f").writable and not reach(found, "/srv/a/f").writable


def test_a_workspace_below_a_readable_place_and_around_one() -> None:
    below = plan("", None, request(f"{HOME}/.pyenv/plugins/p"))
    assert deciding(below.mounts, f"{HOME}/.pyenv/plugins/p/x").kind is MountKind.OVERLAY
    around = plan("", None, request(f"{HOME}/.pyenv"))
    assert deciding(around.mounts, f"{HOME}/.pyenv/cache").kind is MountKind.OVERLAY


def test_links_are_resolved_and_keep_their_name() -> None:
    host = Host({f"{HOME}/data": Link("/mnt/disk/data"), "/mnt/disk/data/f": "x"})
    assert shown(plan(filesystem(read=["~/data"]), host)) == {f"{HOME}/data": "/mnt/disk/data"}


def test_a_place_behind_a_link_of_the_view_appears_where_it_leads() -> None:
    host = Host({"/var/tmp/x/f": "x"})
    assert shown(plan(filesystem(read=["/var/tmp/x"]), host)) == {"/tmp/x": "/var/tmp/x"}


def test_a_workspace_in_var_tmp_keeps_its_path() -> None:
    found = plan("", Host({"/var/tmp/w/f": "x"}), request("/var/tmp/w"))
    assert follow(found.mounts, "/var/tmp/w") == "/var/tmp/w"
    assert kinds(found, "/var/tmp", "/var/tmp/w") == [MountKind.TMPFS, MountKind.OVERLAY]


@pytest.mark.parametrize("path", ["/", "/proc", "/proc/1", "/dev", "/run", "/run/ringfence"])
def test_what_the_view_is_made_of_cannot_be_replaced(path: str) -> None:
    host = Host({f"{path.rstrip('/')}/f": "x"})
    for text in (filesystem(read=[path]), f'[filesystem]\nmounts = [{{ source = "{path}", target = "/x" }}]\n'):
        if "/proc" in path or "read" in text:
            with pytest.raises(UsageError, match="cannot be shown") as caught:
                plan(text, host)
            assert caught.value.place == "p.toml:3"


def test_a_mount_without_a_source_is_refused() -> None:
    with pytest.raises(UsageError, match="does not exist"):
        plan('[filesystem]\nmounts = [{ source = "/srv/none", target = "/x" }]\n')


@pytest.mark.parametrize(
    ("files", "fits"),
    [
        ({}, False),
        ({"in/here": None}, True),
        ({"in/here": "a file"}, False),
        ({"in/here": Link("x"), "in/x": None}, False),
    ],
)
@pytest.mark.parametrize("mode", ["overlay", "direct", "readonly"])
def test_no_directory_is_made_on_the_host_to_mount_on(
    files: dict[str, str | Link | None], fits: bool, mode: str
) -> None:
    host = Host({"/srv/a/f": "x"} | {f"{WORKSPACE}/{path}": node for path, node in files.items()})
    text = f'[filesystem]\nmounts = [{{ source = "/srv/a", target = "{WORKSPACE}/in/here" }}]\n'
    text += f'[workspace]\nmode = "{mode}"\n'
    if fits:
        assert shown(plan(text, host)) == {f"{WORKSPACE}/in/here": "/srv/a"}
        return
    with pytest.raises(UsageError, match="nothing can be mounted") as caught:
        plan(text, host)
    assert caught.value.place == "p.toml:3"


def test_a_place_inside_what_a_mount_shows_must_exist_there() -> None:
    text = '[filesystem]\nread = ["/srv/x/b"]\nmounts = [{ source = "/data", target = "/srv/x" }]\n'
    host = {"/srv/x/b/f": "x", "/data/f": "x"}
    with pytest.raises(UsageError, match="nothing can be mounted"):
        plan(text, Host(host))
    assert shown(plan(text, Host({**host, "/data/b": None})))["/srv/x/b"] == "/srv/x/b"


def test_what_does_not_exist_is_not_shown() -> None:
    assert shown(plan(filesystem(read=["/srv/none"], write=["/srv/none/x"]))) == {}


# ---- files and notices


def test_entries_of_etc_that_others_cannot_read_stay_out() -> None:
    found = plan()
    assert {"/etc/shells", "/etc/ssl/certs", "/etc/passwd"} <= {mount.target for mount in found.mounts}
    assert "/etc/shadow" not in {mount.target for mount in found.mounts}


def test_notices_stand_in_for_secrets_and_are_watched() -> None:
    found = plan()
    assert at(found, f"{HOME}/.ssh/id_ed25519").text == DECOY_TEXT
    assert at(found, f"{HOME}/.docker/config.json").text == "{}\n"
    opened = [watch.target for watch in found.watches if watch.on == "open"]
    assert opened == [f"{HOME}/.ssh/id_ed25519", f"{HOME}/.docker/config.json"]


def test_changes_of_start_up_files_are_watched_in_directories_that_are_there_from_the_start() -> None:
    found = [watch for watch in plan().watches if watch.on == "change"]
    assert [watch.target for watch in found] == [HOME, f"{HOME}/.ssh"]
    assert ".bashrc" in found[0].names and found[1].names == ()


def test_a_readable_home_has_its_files_and_no_alarm() -> None:
    found = plan(filesystem(read=["~"]))
    assert reach(found, f"{HOME}/.ssh/id_ed25519").source == f"{HOME}/.ssh/id_ed25519"
    assert found.watches == ()


def test_a_denied_notice_becomes_a_cover_and_other_files_go() -> None:
    found = plan(filesystem(deny_read=["~/.ssh", "/etc/shells", "~/.gitconfig"]))
    notice = at(found, f"{HOME}/.ssh/id_ed25519")
    assert (notice.kind, notice.directory) == (MountKind.COVER, True)
    assert f"{HOME}/.ssh/id_ed25519" in {watch.target for watch in found.watches}
    assert not {"/etc/shells", f"{HOME}/.gitconfig"} & {mount.target for mount in found.mounts}


def test_git_gets_a_name_that_cannot_carry_a_setting() -> None:
    text = at(plan(), f"{HOME}/.gitconfig").text
    assert text == '[user]\n\tname = "A User"\n\temail = "user@example.org"\n'
    assert "checkStat" in at(plan("", Host(uid=0)), f"{HOME}/.gitconfig").text


# ---- directories in between


def test_every_directory_that_leads_to_a_mount_is_named_before_it() -> None:
    found = plan(filesystem(read=["/srv/a/b"]), Host({"/srv/a/b/f": "x"}))
    order = [str(mount.target) for mount in found.mounts]
    for path in ("/home", "/var", "/sys", "/sys/devices", "/etc", "/etc/ssl", "/run/user", "/srv", "/srv/a"):
        made = at(found, path)
        assert (made.kind, made.mode) == (MountKind.DIRECTORY, 0o755), path
        assert all(order.index(path) < order.index(other) for other in order if other.startswith(f"{path}/"))


def test_directories_of_the_hosts_are_never_made() -> None:
    host = Host({f"{WORKSPACE}/a/b/key": "x", f"{HOME}/.pyenv/a/key": "x"})
    found = plan(filesystem(deny_read=["key", "~/.pyenv/a/key"], deny_write=["./x/y/z"]), host)
    made = {mount.target for mount in found.mounts if mount.kind is MountKind.DIRECTORY}
    assert not [path for path in made if path.startswith((WORKSPACE, f"{HOME}/.pyenv"))]


# ---- root in another user's workspace


def test_preset_paths_that_root_cannot_show_are_left_out_and_said() -> None:
    owners = {WORKSPACE: 1001}
    found = plan(filesystem(read=["/srv/a"]), Host({"/srv/a/f": "x"}, uid=0, owners=owners))
    assert shown(found) == {"/srv/a": "/srv/a"}
    assert f"{HOME}/.pyenv" not in {mount.target for mount in found.mounts}
    assert f"not shown, because the workspace belongs to another user than the home: `{HOME}/.pyenv`" in found.notes
    for host in (Host(uid=0), Host(owners=owners), Host(uid=0, owners=owners, idmap=False)):
        assert f"{HOME}/.pyenv" in {mount.target for mount in plan("", host).mounts}


@pytest.mark.parametrize(
    ("profile", "settings"),
    [("default", set()), ("debug", set()), ("nested", {"containers.conf", "storage.conf", "policy.json"})],
)
def test_an_engine_has_settings_where_it_may_start_containers(profile: str, settings: set[str]) -> None:
    found = plan(f'[isolation]\nseccomp = "{profile}"\n')
    files = [mount for mount in found.mounts if mount.target.startswith("/etc/containers/")]
    assert {mount.target.rpartition("/")[2] for mount in files} == settings
    assert {mount.kind for mount in files} <= {MountKind.FILE}


def test_who_logs_in_is_told_why_it_fails() -> None:
    found = at(plan(""), "/etc/pam.d/other")
    assert found.kind is MountKind.FILE and "pam_deny.so" in found.text and "auth sufficient" not in found.text


def test_apt_says_why_it_installs_nothing_where_there_is_one() -> None:
    name = "/etc/apt/apt.conf.d/ringfence"
    assert name not in {mount.target for mount in plan().mounts}
    found = plan(host=Host({"/etc/debian_version": "12.11\n"}))
    assert "packages of the system are installed outside" in at(found, name).text


def test_maven_gets_its_own_settings_and_not_the_sites() -> None:
    files = ("/etc/maven/m2.conf", "/etc/maven/logging/simplelogger.properties", "/etc/maven/settings.xml")
    found = plan(host=Host(dict.fromkeys(files, "text\n")))
    assert {mount.target for mount in found.mounts if mount.target.startswith("/etc/maven/")} >= set(files[:2])
    assert files[2] not in {mount.target for mount in found.mounts}
