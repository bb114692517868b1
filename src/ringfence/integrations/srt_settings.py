"""Read a settings file of sandbox-runtime (0.0.83) and refuse what is not sound, before anything runs.

The rules of its schema, on the user's file as it is: `network` and `filesystem` with their four lists are
mandatory, domains are exact or `*.name.tld`, a masked credential needs TLS termination. Unknown keys are refused
at every level, not only at the top: a misspelt denial that is ignored leaves its author believing in it.
"""

import ipaddress
import re
from collections.abc import Iterator
from typing import Annotated

import msgspec

from ringfence.model.errors import UsageError

DEFAULT_NAME = ".srt-settings.json"
_GLOB = re.compile(r"[*?\[\]]")

Text = Annotated[str, msgspec.Meta(min_length=1)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Mode = Annotated[str, msgspec.Meta(pattern=r"^(deny|mask)$")]


class SettingsError(UsageError):
    """A settings file that sandbox-runtime would refuse too, or that asks for what ringfence does not do."""

    exit_status = 1


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    pass


class PathEntry(_Table, frozen=True, kw_only=True):
    """One path; `literal` turns wildcards off."""

    path: Text
    literal: bool = False


Path = Text | PathEntry


class TlsTermination(_Table, frozen=True, kw_only=True):
    """`network.tlsTerminate`."""

    ca_cert_path: Text = ""
    ca_key_path: Text = ""
    exclude_domains: tuple[str, ...] = ()
    extra_ca_cert_paths: tuple[Text, ...] = ()


class ParentProxy(_Table, frozen=True, kw_only=True):
    """`network.parentProxy`."""

    http: Text = ""
    https: Text = ""
    no_proxy: str = ""


class Network(_Table, frozen=True, kw_only=True):
    """`network`; what becomes of it stands in srt_network.py."""

    allowed_domains: tuple[str, ...]
    denied_domains: tuple[str, ...]
    denied_domain_reasons: dict[str, Text] = {}
    denied_resolved_addresses: tuple[str, ...] = ()
    strict_allowlist: bool = False
    allow_unix_sockets: tuple[str, ...] = ()
    allow_all_unix_sockets: bool = False
    allow_local_binding: bool = False
    allow_mach_lookup: tuple[str, ...] = ()
    http_proxy_port: Port | None = None
    socks_proxy_port: Port | None = None
    mitm_proxy: dict[str, object] | None = None
    parent_proxy: ParentProxy | None = None
    tls_terminate: TlsTermination | None = None


class Filesystem(_Table, frozen=True, kw_only=True):
    """`filesystem`: reading is open but for `deny_read`, writing closed but for `allow_write`."""

    deny_read: tuple[Path, ...]
    allow_write: tuple[Path, ...]
    deny_write: tuple[Path, ...]
    allow_read: tuple[Path, ...] = ()
    allow_git_config: bool = False
    disabled: bool = False


class _Credential(_Table, frozen=True, kw_only=True):
    mode: Mode
    extract: str | None = None
    on_extract_no_match: Annotated[str, msgspec.Meta(pattern="^(warn|deny|error)$")] = "warn"
    decode: Annotated[str, msgspec.Meta(pattern="^jwt$")] | None = None
    mask_claims: tuple[Text, ...] | None = None
    mask_duplicates: bool = False
    inject_hosts: tuple[str, ...] | None = None


class CredentialFile(_Credential, frozen=True, kw_only=True):
    """One of `credentials.files`."""

    path: Text


class CredentialVariable(_Credential, frozen=True, kw_only=True):
    """One of `credentials.envVars`."""

    name: Name


class Credentials(_Table, frozen=True, kw_only=True):
    """`credentials`."""

    files: tuple[CredentialFile, ...] = ()
    env_vars: tuple[CredentialVariable, ...] = ()
    allow_plaintext_inject: bool = False
    aws_pairs: tuple[dict[str, str], ...] = ()
    sigv4: dict[str, str] = {}


class Settings(_Table, frozen=True, kw_only=True):
    """A whole settings file."""

    network: Network
    filesystem: Filesystem
    credentials: Credentials = Credentials()
    ignore_violations: dict[str, tuple[str, ...]] = {}
    enable_weaker_nested_sandbox: bool = False
    enable_weaker_network_isolation: bool = False
    allow_apple_events: bool = False
    allow_pty: bool = False
    mandatory_deny_search_depth: Annotated[int, msgspec.Meta(ge=1, le=10)] = 3
    ripgrep: dict[str, object] | None = None
    seccomp: dict[str, object] | None = None
    bwrap_path: Text | None = None
    socat_path: Text | None = None
    java_agent_jar_path: Text | None = None
    windows: dict[str, object] | None = None
    git: dict[str, object] | None = None


EMPTY = Settings(
    network=Network(allowed_domains=(), denied_domains=()),
    filesystem=Filesystem(deny_read=(), allow_write=(), deny_write=()),
)


def load(path: str, home: str) -> Settings:
    """Read `path`; without one, the user's default file, or settings that allow no write where that is absent.

    Raises SettingsError for a file that cannot be read or is not sound.
    """
    place = path or f"{home}/{DEFAULT_NAME}"
    try:
        with open(place, "rb") as file:
            return parse(file.read(), place)
    except FileNotFoundError as error:
        if path:
            raise SettingsError(f"no settings file `{path}`") from error
        return EMPTY
    except OSError as error:
        raise SettingsError(f"cannot read settings: {error.strerror}", place=place) from error


def parse(data: bytes, place: str) -> Settings:
    """Decode and judge settings; raise SettingsError that names the setting."""
    try:
        found = msgspec.json.decode(data, type=Settings)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        text = str(error)
        raise SettingsError(text[:1].lower() + text[1:], place=place) from error
    wrong = next(faults(found), None)
    if wrong:
        raise SettingsError(wrong, place=place)
    return found


def faults(found: Settings) -> Iterator[str]:
    """Yield what is wrong with settings whose types are right."""
    network, filesystem = found.network, found.filesystem
    for key, entries in (("allowedDomains", network.allowed_domains), ("deniedDomains", network.denied_domains)):
        for entry in entries:
            if not is_domain(entry, any_host=key == "deniedDomains"):
                yield f"network.{key}: `{entry}` is no domain, `*.domain.tld` or address, with or without `:port`"
    for entry in network.denied_resolved_addresses:
        if not _is_network(entry):
            yield f"network.deniedResolvedAddresses: `{entry}` is no address and no network"
    tls = network.tls_terminate
    if tls and bool(tls.ca_cert_path) != bool(tls.ca_key_path):
        yield "network.tlsTerminate: caCertPath and caKeyPath go together"
    for entry in tls.exclude_domains if tls else ():
        if not is_domain(entry, port=False):
            yield f"network.tlsTerminate.excludeDomains: `{entry}` is no domain"
    yield from _path_faults(filesystem)
    yield from _credential_faults(found.credentials, network)


def _path_faults(filesystem: Filesystem) -> Iterator[str]:
    lists = {
        "denyRead": filesystem.deny_read,
        "allowRead": filesystem.allow_read,
        "allowWrite": filesystem.allow_write,
        "denyWrite": filesystem.deny_write,
    }
    for key, entries in lists.items():
        for entry in entries:
            path, literal = spelled(entry)
            if "\0" in path:
                yield f"filesystem.{key}: a path cannot hold a NUL"
            if not literal and path.endswith("/"):
                yield f"filesystem.{key}: `{path}` ends in a slash and would match nothing"
    if filesystem.disabled:
        yield "filesystem.disabled: a run without any boundary around files is not what ringfence does"


def _credential_faults(credentials: Credentials, network: Network) -> Iterator[str]:
    masked = False
    named = [*((item.path, item) for item in credentials.files), *((item.name, item) for item in credentials.env_vars)]
    for name, item in named:
        key = f"credentials: `{name}`"
        masked = masked or item.mode == "mask"
        if item.mask_claims is not None and (item.decode is None or not item.mask_claims):
            yield f"{key}: maskClaims names claims of what `decode` opens"
        if item.inject_hosts is not None and not item.inject_hosts and item.mode == "mask":
            yield f"{key}: injectHosts is empty, so the value could never be used"
        for host in item.inject_hosts or ():
            if not _reachable(host, network.allowed_domains):
                yield f"{key}: injectHosts names `{host}`, which allowedDomains does not cover"
        if item.extract is not None and not _captures(item.extract):
            yield f"{key}: extract is no regular expression with a group"
    if masked and network.tls_terminate is None and not credentials.allow_plaintext_inject:
        yield "credentials: masking needs network.tlsTerminate, so that a value only travels verified connections"


def spelled(entry: Path) -> tuple[str, bool]:
    """The path of an entry and whether it stands for itself; without wildcards it does anyway."""
    if isinstance(entry, PathEntry):
        return entry.path, entry.literal or not _GLOB.search(entry.path)
    return entry, not _GLOB.search(entry)


def is_domain(entry: str, *, any_host: bool = False, port: bool = True) -> bool:
    """Whether `entry` is a name, `*.name.tld` or an address, with `port` possibly followed by `:port`.

    A bare IPv6 address is ambiguous beside a port and must stand in brackets.
    """
    host, number = entry, "1"
    if entry.startswith("["):
        host, closing, rest = entry[1:].partition("]")
        number = rest[1:] if rest.startswith(":") else "1" if not rest else ""
        return bool(closing) and (port or not rest) and _is_port(number) and _is_address(host, 6)
    if port and entry.count(":") == 1:
        host, _, number = entry.partition(":")
    if not _is_port(number) or re.search(r"[\s/:\x00-\x1f]", host):
        return False
    if host == "localhost" or (any_host and host == "*"):
        return True
    labels = host.removeprefix("*.").split(".")
    return len(labels) > 1 and all(labels) and "*" not in host.removeprefix("*.")


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 1 <= int(text) <= 65535


def _is_address(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text.strip("[]"), strict=False)
    except ValueError:
        return False
    return True


def _reachable(host: str, allowed: tuple[str, ...]) -> bool:
    """Whether some allowed entry, its port aside, covers `host`."""
    hosts = [entry if entry.startswith("[") else entry.partition(":")[0] for entry in allowed]
    return any(host == each or (each.startswith("*.") and host.endswith(each[1:])) for each in hosts)


def _captures(pattern: str) -> bool:
    try:
        return re.compile(pattern).groups > 0
    except re.error:
        return False
