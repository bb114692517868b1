"""Where programs look for certificate authorities: paths to mount over, variables to set.

The session's authority signs for every host whose requests are inspected, so a program that does not trust it gets
no further than a handshake. Measured with fourteen clients, neither mounts nor variables reach all of them: wget,
npm with a `cafile` and Java ignore variables; requests, httpx (certifi) and Node ignore the system's store.

The files themselves are made when the run starts (network/trust.py): a `store` is `authority` (the session's
certificate alone), `bundle` (the host's authorities and the session's) or `java` (the same as a Java trust store).

JAVA_TOOL_OPTIONS is not used: a JVM prints it on stderr, and its build tools overwrite it. A JDK below the
workspace or the home keeps its own store; so does what carries authorities in its program (webpki-roots) or pins
them. Such hosts want a rule with `inspection = "sni"`.
"""

from collections.abc import Iterable

import msgspec

from ringfence.model.paths import GuestPath
from ringfence.model.plan import HostFacts, PathKind

AUTHORITY = GuestPath("/run/ringfence/trust/authority.pem")
BUNDLE = GuestPath("/run/ringfence/trust/bundle.pem")

# Files that programs have built in. Each is covered where the host has it; the first one is there in any case.
BUNDLE_PATHS: tuple[tuple[str, str], ...] = (
    ("/etc/ssl/certs/ca-certificates.crt", "OpenSSL, GnuTLS, Go, curl and git on Debian, Arch and Alpine"),
    ("/etc/pki/tls/certs/ca-bundle.crt", "the same on Fedora"),
    ("/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", "what the names on Fedora lead to"),
    ("/etc/ssl/cert.pem", "OpenSSL and LibreSSL on Alpine"),
    ("/etc/ssl/ca-bundle.pem", "OpenSSL and Go on openSUSE"),
    ("/usr/lib/ssl/cert.pem", "the default file of OpenSSL on Debian"),
)

JAVA_PATHS: tuple[tuple[str, str], ...] = (
    ("/etc/ssl/certs/java/cacerts", "every JDK packaged by Debian"),
    ("/etc/pki/java/cacerts", "every JDK packaged by Fedora"),
    ("/etc/pki/ca-trust/extracted/java/cacerts", "what the name on Fedora leads to"),
    ("/usr/lib/jvm/*/lib/security/cacerts", "JDKs with a store of their own"),
    ("/usr/lib/jvm/*/jre/lib/security/cacerts", "the same before version 9"),
    ("/opt/*/lib/security/cacerts", "JDKs installed by hand"),
)

VARIABLES: tuple[tuple[str, GuestPath, str], ...] = (
    ("SSL_CERT_FILE", BUNDLE, "OpenSSL, Python ssl, httpx, Go, Ruby, uv, rustls with native roots"),
    ("REQUESTS_CA_BUNDLE", BUNDLE, "requests, which reads certifi otherwise"),
    ("CURL_CA_BUNDLE", BUNDLE, "curl built with another path"),
    ("GIT_SSL_CAINFO", BUNDLE, "git built with another path"),
    ("PIP_CERT", BUNDLE, "pip, which carries certifi"),
    ("CARGO_HTTP_CAINFO", BUNDLE, "cargo, which carries its own libcurl"),
    ("AWS_CA_BUNDLE", BUNDLE, "the AWS tools and boto3, which carry certifi"),
    ("NODE_EXTRA_CA_CERTS", AUTHORITY, "Node, in addition to the authorities it carries"),
    ("DENO_CERT", AUTHORITY, "Deno, in addition to the authorities it carries"),
)

PATHS = tuple(path for path, _ in (*BUNDLE_PATHS, *JAVA_PATHS) if "*" not in path)
GLOBS = tuple(path for path, _ in JAVA_PATHS if "*" in path)
"""What the host must be asked about: `HostFacts.paths` and `HostFacts.matches`."""


class TrustMount(msgspec.Struct, frozen=True, kw_only=True):
    """The file `store` (`authority`, `bundle` or `java`) appears, read-only, at `target`."""

    target: GuestPath
    store: str
    reason: str


def trust_mounts(facts: HostFacts) -> tuple[TrustMount, ...]:
    """Say what appears where on this host; links are followed, and each place is covered once."""
    first, reason = BUNDLE_PATHS[0]
    found = {
        str(AUTHORITY): TrustMount(target=AUTHORITY, store="authority", reason="for what adds to its own authorities"),
        str(BUNDLE): TrustMount(target=BUNDLE, store="bundle", reason="for what is told its authorities"),
    }
    for store, entries in (("bundle", BUNDLE_PATHS), ("java", JAVA_PATHS)):
        for path, why in _present(facts, entries):
            found.setdefault(path, TrustMount(target=GuestPath(path), store=store, reason=why))
    if not any(mount.store == "bundle" and mount.target != BUNDLE for mount in found.values()):
        found[first] = TrustMount(target=GuestPath(first), store="bundle", reason=reason)
    return tuple(found.values())


def _present(facts: HostFacts, entries: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    for pattern, reason in entries:
        for path in facts.matches.get(pattern, ()) if "*" in pattern else (pattern,):
            known = facts.paths.get(path)
            if known is not None and known.kind is not PathKind.ABSENT:
                yield known.resolved or path, reason
