"""Settings of sandbox-runtime to a policy file of ours: `ringfence init --from-srt FILE`.

The two differ in kind: there everything is readable and the whole environment passes, here nothing is and none of it
does, so what grants is kept or narrowed, what denies is kept, and what is narrowed says so in a remark.
"""

from collections.abc import Iterator

from ringfence.model.egress import HOST_LOOPBACK
from ringfence.model.errors import UsageError
from ringfence.policy.hosts import bracketed, is_address

from . import srt, srt_network
from .draft import Draft, plain, table, toml
from .srt_settings import CredentialVariable, Filesystem, Network, Path, Settings, SettingsError, parse, spelled

OPTION = "--from-srt"
_HERE = frozenset((".", "./", "$PWD", "${PWD}"))
_WEB = (0, 80, 443, 8443, 8080)
_NO_EFFECT = (
    *("ripgrep", "seccomp", "bwrap_path", "socat_path", "java_agent_jar_path", "windows", "allow_apple_events"),
    *("allow_pty", "enable_weaker_network_isolation", "ignore_violations", "enable_weaker_nested_sandbox"),
)


def policy_text(data: bytes, source: str, *, home: str, workspace: str) -> str:
    """Turn the settings `data`, read from `source`, into a policy; raise UsageError that names what cannot be kept."""
    try:
        found = parse(data, source)
    except SettingsError as error:
        raise UsageError(error.message, place=source, hint=error.hint) from None
    draft = Draft(source, OPTION)
    draft.remark("filesystem", "there everything is readable; here what is not named in `read` or a preset is hidden")
    draft.remark("environment", "there all of it passes; here what `env.pass` or a preset names")
    network(draft, found.network, "network")
    filesystem(draft, found.filesystem, "filesystem")
    credentials(draft, found)
    for number, (name, value) in enumerate(srt.git_variables(found).items()):
        draft.value("env.set", name, toml(value), f"git.safeDirectories, {number + 1}")
    for name in _NO_EFFECT:
        if getattr(found, name):
            draft.remark(_camel(name), "has no effect here")
    return draft.text(home=home, workspace=workspace)


def network(draft: Draft, found: Network, prefix: str) -> None:
    """Keep `network`: hosts, denials, addresses, a parent proxy."""
    try:
        allowed = list(srt_network.entries(found.allowed_domains, "allowedDomains"))
        denied = list(srt_network.entries(found.denied_domains, "deniedDomains"))
        parent = srt_network.parent_proxy(found)
    except SettingsError as error:
        name, _, why = error.message.partition(": ")
        draft.refuse(name.partition(" ")[0], why or "it has no equal")
        return
    for entry in allowed:
        allow(draft, entry, found, f"{prefix}.allowedDomains")
    for entry in denied:
        deny(draft, entry, found, f"{prefix}.deniedDomains")
    for text in found.denied_resolved_addresses:
        draft.entry("network", "denied-addresses", toml(text.strip("[]")), f"{prefix}.deniedResolvedAddresses")
    if parent:
        draft.value("network", "parent-proxy", toml(parent), f"{prefix}.parentProxy or httpProxyPort")
    if found.strict_allowlist:
        draft.value("network", "unknown", '"deny"', f"{prefix}.strictAllowlist")
    narrowed(draft, found, allowed, prefix)


def narrowed(draft: Draft, found: Network, allowed: list[srt_network.Entry], prefix: str) -> None:
    """Say what of `network` is narrower here, and refuse what is not to be had."""
    if found.allow_all_unix_sockets:
        draft.refuse(f"{prefix}.allowAllUnixSockets", "no socket of the host lies in the view")
    for name in ("allow_unix_sockets", "allow_mach_lookup", "allow_local_binding"):
        if getattr(found, name):
            draft.remark(f"{prefix}.{_camel(name)}", "has no effect: servers and sockets of the run's own work")
    if found.tls_terminate and found.tls_terminate.ca_cert_path:
        draft.remark(f"{prefix}.tlsTerminate.caCertPath", "not used: each run has an authority of its own")
    if found.tls_terminate and found.tls_terminate.extra_ca_cert_paths:
        draft.refuse(
            f"{prefix}.tlsTerminate.extraCaCertPaths", "upstream servers are verified by the host's authorities"
        )
    if any(not entry.port and entry.host != HOST_LOOPBACK for entry in allowed):
        draft.remark(f"{prefix}.allowedDomains", "without a port there means every port, here 80 and 443")
    if allowed:
        draft.remark(f"{prefix}.allowedDomains", "a name may resolve to public addresses only; see `addresses`")


def allow(draft: Draft, entry: srt_network.Entry, found: Network, setting: str) -> None:
    """Allow one entry, looked into as deeply as there."""
    if entry.host == HOST_LOOPBACK and not entry.port:
        draft.refuse(setting, f"`{plain(entry.text)}` is every port of this host; name the port")
        return
    fixed = is_address(entry.host) or entry.host == HOST_LOOPBACK
    host = bracketed(entry.host) + (f":{entry.port}" if entry.port else ":80,443" if fixed else "")
    inspection = "raw" if not fixed and entry.port not in _WEB else "" if fixed else look(entry.host, found)
    text = table(host=host, inspection=inspection) if inspection else toml(host)
    draft.entry("network", "allow", text, setting)


def look(host: str, found: Network) -> str:
    """`sni` where TLS is not opened there, else nothing, which is to inspect."""
    tls = found.tls_terminate
    if tls is None:
        return "sni"
    return "sni" if any(srt_network.covers(text, host) for text in tls.exclude_domains) else ""


def deny(draft: Draft, entry: srt_network.Entry, found: Network, setting: str) -> None:
    """Deny one entry, with the reason that is given for it."""
    if entry.host == "*":
        if entry.port:
            draft.refuse(setting, f"`{plain(entry.text)}` is one port of every host")
        else:
            draft.value("network", "mode", '"off"', setting)
        return
    host = bracketed(entry.host) + (f":{entry.port}" if entry.port else "")
    reason = " ".join(found.denied_domain_reasons.get(entry.text, "").split())
    draft.entry("network", "deny", table(host=host, reason=reason) if reason else toml(host), setting)


def filesystem(draft: Draft, found: Filesystem, prefix: str) -> None:
    """Keep `filesystem`: the workspace is one place, written to as a whole or not at all."""
    inside, whole = [], False
    for path, literal in map(spelled, found.allow_write):
        whole = whole or path in _HERE
        if path not in _HERE and not path.startswith(("/", "~")):
            inside.append(path)
        elif path not in _HERE:
            draft.entry("filesystem", "write", _entry(path, literal), f"{prefix}.allowWrite")
    if whole:
        draft.remark(f"{prefix}.allowWrite", "`.` is the workspace, whose changes are applied at the end, filtered")
    if inside and not whole:
        draft.refuse(
            f"{prefix}.allowWrite", f"`{plain(inside[0])}` is a part of the workspace, which is written as a whole"
        )
    elif not whole:
        draft.value("workspace", "mode", '"readonly"', f"{prefix}.allowWrite without `.`")
    lists = {"denyRead": found.deny_read, "denyWrite": found.deny_write, "allowRead": found.allow_read}
    for name, key, entries in zip(lists, ("deny-read", "deny-write", "read"), lists.values(), strict=True):
        for text in _entries(entries):
            draft.entry("filesystem", key, text, f"{prefix}.{name}")
    if found.allow_git_config:
        draft.remark(f"{prefix}.allowGitConfig", "not granted: changes to .git/config are held back for review")


def credentials(draft: Draft, found: Settings) -> None:
    """Hide files, withhold variables; a masked variable becomes a secret where it is said which hosts get it."""
    for item in found.credentials.files:
        if item.mode == "mask":
            draft.refuse(
                "credentials.files", f"`{plain(item.path)}` is masked; see `[[secret-files]]` in docs/secrets.md"
            )
        else:
            draft.entry("filesystem", "deny-read", _entry(item.path, literal=False), "credentials.files")
    for variable in found.credentials.env_vars:
        if variable.mode == "deny":
            draft.remark(f"credentials.envVars {variable.name}", "does not pass, as no variable does that is not named")
        else:
            masked(draft, variable)
    for name in ("aws_pairs", "sigv4", "allow_plaintext_inject"):
        if getattr(found.credentials, name):
            draft.refuse(f"credentials.{_camel(name)}", "see `[secrets]` in docs/secrets.md")


def masked(draft: Draft, item: CredentialVariable) -> None:
    """Keep a masked variable as a secret that is put into `authorization`, and into no other part of a request."""
    setting = f"credentials.envVars {item.name}"
    if item.extract is not None or item.decode or item.mask_claims or item.mask_duplicates or not item.inject_hosts:
        draft.refuse(setting, "only a whole variable with `injectHosts` becomes a secret")
        return
    name = f"secrets.{item.name.lower().replace('_', '-').strip('-')}"
    draft.value(name, "source", table(env=item.name), setting)
    for host in item.inject_hosts:
        draft.entry(name, "inject", table(host=host, header="authorization"), setting)
    draft.entry(name, "variables", toml(item.name), setting)
    draft.value(name, "optional", "true", setting)
    draft.remark(setting, "the value is put into `authorization` only; name other places in `inject`")


def _entries(entries: tuple[Path, ...]) -> Iterator[str]:
    for entry in entries:
        yield _entry(*spelled(entry))


def _entry(path: str, literal: bool) -> str:
    """A path as ours: what is relative there starts at the working directory, not at any depth."""
    if not path.startswith(("/", "~", "./", "../")):
        path = f"./{path}"
    path = path.removesuffix("/**") or "/"
    special = literal and any(character in path for character in "*?[\\$!")
    return table(path=path, literal=True) if special else toml(path)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)
