"""The search for what rules match: which directories are read, what is found, under which name."""

from ringfence.model.decision import Source
from ringfence.model.plan import MountKind, PathFact, PathKind
from ringfence.planner.search import Sought, search, sought
from ringfence.policy.effective import PathRule
from tests.fake_host import WORKSPACE, Host, Link, plan, policy, request

HERE = Source(scope="user")


def rules(host: Host, *patterns: str, links: dict[str, str] | None = None) -> tuple[Sought, ...]:
    known = host.facts(policy(), request())
    for path, real in (links or {}).items():
        known.paths[path] = PathFact(kind=PathKind.SYMLINK, resolved=real)
    return sought([PathRule(pattern=pattern, source=HERE) for pattern in patterns], known, WORKSPACE)


def found(host: Host, *patterns: str, start: tuple[str, str] = (WORKSPACE, WORKSPACE)) -> dict[str, tuple[str, ...]]:
    return {**search([start], rules(host, *patterns), host.listing)}


def test_a_fixed_path_reads_one_directory_per_name() -> None:
    host = Host({f"{WORKSPACE}/a/b/c": "x", f"{WORKSPACE}/a/d/e": "x", f"{WORKSPACE}/f/g": "x"})
    assert found(host, f"{WORKSPACE}/a/b/c") == {
        f"{WORKSPACE}/": (),
        f"{WORKSPACE}/a/": (),
        f"{WORKSPACE}/a/b/": (f"{WORKSPACE}/a/b/c",),
    }


def test_other_spellings_of_a_fixed_path_are_found_at_every_level() -> None:
    host = Host({f"{WORKSPACE}/Dir/KEY": "x", f"{WORKSPACE}/dir/Key": "x", f"{WORKSPACE}/dira/key": "x"})
    names = found(host, f"{WORKSPACE}/dir/key")
    assert names == {
        f"{WORKSPACE}/": (),
        f"{WORKSPACE}/Dir/": (f"{WORKSPACE}/Dir/KEY",),
        f"{WORKSPACE}/dir/": (f"{WORKSPACE}/dir/Key",),
    }


def test_nothing_is_read_where_no_rule_could_match() -> None:
    assert found(Host(), "/srv/**/key") == {}
    assert found(Host(), f"{WORKSPACE}-other/**") == {}


def test_below_a_match_only_other_rules_are_looked_for() -> None:
    host = Host({f"{WORKSPACE}/a/key": "x", f"{WORKSPACE}/a/b/c": "x"})
    assert found(host, "a") == {f"{WORKSPACE}/": (f"{WORKSPACE}/a",)}
    assert found(host, "a", "key")[f"{WORKSPACE}/a/"] == (f"{WORKSPACE}/a/key",)


def test_a_name_in_the_view_is_found_under_its_host_path() -> None:
    host = Host({"/srv/data/deep/key": "x"})
    names = found(host, "/shown/**/key", start=("/srv/data", "/shown"))
    assert names["/srv/data/deep/"] == ("/srv/data/deep/key",)


def test_a_search_may_start_at_the_root() -> None:
    assert found(Host({"/srv/key": "x"}), "/srv/key", start=("/", "/"))["/srv/"] == ("/srv/key",)


def test_a_rule_whose_fixed_part_is_a_link_means_what_is_behind_it() -> None:
    (rule,) = rules(Host(), "/data/**/key", links={"/data": "/mnt/disk"})
    assert rule.matches("/mnt/disk/a/key") and rule.matches("/data/a/key") and not rule.matches("/mnt/a/key")
    assert rule.near("/mnt/disk/a") and rule.near("/data") and not rule.near("/mnt/disks")


def test_links_are_not_descended_into() -> None:
    host = Host({f"{WORKSPACE}/real/key": "x"})
    assert f"{WORKSPACE}/real/" in found(host, "key")


def test_a_link_that_leads_into_itself_ends_the_search() -> None:
    host = Host({f"{WORKSPACE}/a.key": Link("a.key/b"), f"{WORKSPACE}/sub/b.key": Link("../sub")})
    asked = plan('[filesystem]\ndeny-read = ["*.key", "./a.key/c"]\n', host)
    assert [mount.target for mount in asked.mounts if mount.kind is MountKind.COVER] == [f"{WORKSPACE}/sub"]
