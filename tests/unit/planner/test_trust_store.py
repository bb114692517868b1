"""Where authorities are looked for on different hosts."""

from ringfence.model.paths import HostPath
from ringfence.model.plan import HostFacts, PathFact, PathKind
from ringfence.planner import trust_store
from ringfence.planner.trust_store import AUTHORITY, BUNDLE, trust_mounts


def facts(paths: dict[str, str], matches: dict[str, tuple[str, ...]] | None = None) -> HostFacts:
    """Tell of a host: files by name, with what each name leads to."""
    return HostFacts(
        uid=1000,
        gid=1000,
        user="user",
        home=HostPath("/home/user"),
        hostname="host",
        python=HostPath("/usr/bin/python3"),
        bubblewrap=HostPath("/usr/bin/bwrap"),
        landlock_abi=6,
        idmap=False,
        overlay=True,
        terminal=False,
        git_name="",
        git_email="",
        paths={path: PathFact(kind=PathKind.FILE, resolved=resolved) for path, resolved in paths.items()},
        matches=matches or {},
    )


def places(host: HostFacts) -> dict[str, str]:
    return {str(mount.target): mount.store for mount in trust_mounts(host) if mount.target not in (AUTHORITY, BUNDLE)}


def test_debian() -> None:
    bundle = "/etc/ssl/certs/ca-certificates.crt"
    java = "/etc/ssl/certs/java/cacerts"
    own = "/usr/lib/jvm/temurin/lib/security/cacerts"
    packaged = "/usr/lib/jvm/java-17/lib/security/cacerts"
    found = facts(
        {bundle: bundle, "/usr/lib/ssl/cert.pem": bundle, java: java, own: own, packaged: java},
        {"/usr/lib/jvm/*/lib/security/cacerts": (packaged, own)},
    )
    assert places(found) == {bundle: "bundle", java: "java", own: "java"}


def test_fedora() -> None:
    real = "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"
    names = ("/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt", real)
    assert places(facts(dict.fromkeys(names, real))) == {real: "bundle"}


def test_a_host_without_authorities_gets_the_usual_file() -> None:
    assert places(facts({})) == {"/etc/ssl/certs/ca-certificates.crt": "bundle"}


def test_there_is_always_something_for_variables_to_name() -> None:
    targets = {mount.target: mount.store for mount in trust_mounts(facts({}))}
    assert targets[AUTHORITY] == "authority"
    assert targets[BUNDLE] == "bundle"
    assert {value for _, value, _ in trust_store.VARIABLES} <= targets.keys()


def test_everything_says_why() -> None:
    assert all(reason for _, _, reason in trust_store.VARIABLES)
    assert all(mount.reason for mount in trust_mounts(facts({})))
    assert not any("*" in path for path in trust_store.PATHS)
    assert all("*" in path for path in trust_store.GLOBS)
