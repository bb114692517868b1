"""`ringfence policy check | show | presets | schema`; what is about permission rules is in permissions.py."""

import os
from collections.abc import Iterable, Sequence

import msgspec

from ringfence.integrations.agent_catalogue import AGENTS
from ringfence.model.egress import Egress, EgressRule
from ringfence.model.errors import RingfenceError, UsageError
from ringfence.model.git import GitRemote
from ringfence.model.secrets import Secret
from ringfence.policy.effective import ExtraMount, PathRule, Policy, VariableRule
from ringfence.policy.egress import rule_text
from ringfence.policy.preset_entries import PresetHost
from ringfence.policy.presets import DEFAULT, PRESETS
from ringfence.policy.schema import json_schema
from ringfence.policy.units import size_text
from ringfence.sandbox import facts
from ringfence.session import deployments, places, prepare
from ringfence.session import options as options_module
from ringfence.session import run as session

from . import arguments, catalogue, entry
from . import help as help_text
from .explain_secret import injection_text, remote_text, source_text
from .permission_options import ACTIONS
from .plan import section
from .run_options import SHAPING
from .terminal import paint, put, put_json, safe, table

_ACTIONS = catalogue.find("policy").words


def main(name: str, words: Sequence[str]) -> int:
    """Carry out one of them; raise UsageError for what is wrong with the policy or the request."""
    command = catalogue.find(name)
    given = arguments.parse(command, words)
    if given is None:
        return help_text.show([name])
    action, rest = given.words[0], given.words[1:]
    if action not in _ACTIONS:
        hint = arguments.hint(command, action, _ACTIONS)
        raise UsageError(f"`ringfence policy` has no `{safe(action)}`", hint=hint)
    if action in ACTIONS:
        from . import permissions  # the parsers of shell commands are loaded for these alone

        return permissions.main(action, given, rest)
    if rest and action != "check":
        raise UsageError(f"unexpected word `{safe(rest[0])}`", hint=f"ringfence policy {action} [OPTIONS]")
    if action == "schema":
        put_json(json_schema())
    elif action == "presets":
        put_json(PRESETS) if given.has("json") else put(*described_presets())
    elif action == "check" and rest:
        return check_files(rest, given.text("scope"))
    else:
        show(given, brief=action == "check")
    return 0


def shaping(given: arguments.Arguments) -> options_module.Options:
    """The options of a run, from what was parsed by the catalogue."""
    words = [f"--{key}={value}" if value else f"--{key}" for key, all_ in given.values.items() for value in all_]
    known = {f"--{option.key}" for option in SHAPING}
    return options_module.parse([word for word in words if word.partition("=")[0] in known])[0]


def show(given: arguments.Arguments, *, brief: bool) -> None:
    """The policy in force here; raise UsageError with the place of what is wrong."""
    options = shaping(given)
    workspace = options_module.workspace_of(session.working_directory(options))
    policy, standing = prepare.judged_policy(options, workspace)
    if given.has("json"):
        put_json(policy)
        return
    for path, scope in files_in_force(options, workspace):
        counts = (
            paint("ok", "good") if standing.trusted or scope != "project" else paint("not read, not trusted", "warn")
        )
        put(f"{counts}  {safe(path)} ({scope})")
    if brief:
        put(f"the policy for {safe(workspace)} is sound", *changed_scalars(policy))
    else:
        put(f"policy for {safe(workspace)}", *described(policy))


def files_in_force(options: options_module.Options, workspace: str) -> list[tuple[str, str]]:
    """Every policy file that counts here, the highest first."""
    user = "" if options.no_user_policy else places.user_policy()
    listed = (
        (places.MANAGED_POLICY, "managed"),
        (options.policy, "cli"),
        (user, "user"),
        (places.project_policy(workspace), "project"),
    )
    return [(path, scope) for path, scope in listed if path and os.path.lexists(path)]


def check_files(paths: Sequence[str], scope: str) -> int:
    """Check each file on its own over the built-in default; 0 if all are sound, else the status of the last error."""
    status = 0
    for path in paths:
        speaks_for = scope or ("project" if os.path.basename(path) == "ringfence.toml" else "user")
        workspace = os.path.dirname(os.path.abspath(path))
        try:
            found = prepare.read_layer(path, speaks_for, required=True)
            deployments.merged(deployments.expanded(found), home=facts.home_directory(), workspace=workspace)
        except RingfenceError as error:
            status = entry.report(error)
        else:
            put(f"{paint('ok', 'good')}  {safe(path)} ({speaks_for})")
    return status


def changed_scalars(policy: Policy) -> list[str]:
    """The single values that are not the built-in default's, each with its place."""
    values = scalars(policy)
    rows = [(key, values[key], str(at)) for key, at in policy.origins.items() if at.scope != "default"]
    return table(sorted(rows), styles=("name",)) if rows else ["  every single value is the built-in default's"]


def scalars(policy: Policy) -> dict[str, str]:
    """Each single value as text, by its dotted key."""
    limits = policy.limits
    sizes = {
        "memory": limits.memory_bytes,
        "file-size": limits.file_size_bytes,
        "tmp-size": limits.tmp_bytes,
        "home-size": limits.home_bytes,
        "run-size": limits.run_bytes,
        "shm-size": limits.shm_bytes,
        "workspace-size": limits.workspace_bytes,
    }
    counts = {"processes": limits.processes, "open-files": limits.open_files}
    times = {"cpu-time": limits.cpu_time_s, "wall-time": limits.wall_time_s}
    texts = {key: size_text(value) for key, value in sizes.items()}
    texts |= {key: str(value) for key, value in counts.items()} | {key: f"{value}s" for key, value in times.items()}
    found = {f"limits.{key}": "no limit" if text in ("0", "0s") else text for key, text in texts.items()}
    return found | {
        "isolation.tier": policy.tier,
        "isolation.seccomp": policy.seccomp,
        "network.mode": policy.network,
        **network_scalars(policy.network_values),
        "workspace.mode": policy.workspace_mode,
        "workspace.apply": policy.workspace_apply,
        "trust.mode": policy.trust.mode,
        "trust.only-pinned": str(policy.trust.only_pinned).lower(),
        "audit.fsync": policy.audit_fsync,
        "audit.rotate-size": size_text(policy.audit_rotate_bytes),
    }


def network_scalars(egress: Egress) -> dict[str, str]:
    """The single values of `network` as text."""
    return {
        "network.unknown": egress.unknown.name.lower(),
        "network.requests": str(egress.request_limit) if egress.request_limit else "no limit",
        "network.bytes": size_text(egress.byte_limit) if egress.byte_limit else "no limit",
        "network.ask-timeout": f"{egress.ask_timeout_s}s",
        "network.proxy-variables": str(egress.proxy_variables).lower(),
        "network.parent-proxy": egress.parent_proxy or "none",
    }


def described(policy: Policy) -> Iterable[str]:
    """Every value in force with its origin."""
    values = scalars(policy)
    yield from section("single values", [(key, values[key], str(policy.origins[key])) for key in sorted(values)])
    for title, rules in (
        ("deny-read", policy.deny_read),
        ("deny-write", policy.deny_write),
        ("write", policy.write),
        ("read", policy.read),
    ):
        yield from section(f"filesystem.{title}", [path_row(rule) for rule in rules])
    yield from section("filesystem.mounts", [mount_row(item) for item in policy.mounts])
    if policy.egress:
        yield from section("network", [rule_row(rule) for rule in policy.egress.rules])
        paths = [(one.name, f"{one.host}:{one.port}", str(one.source), one.reason) for one in policy.egress.gateways]
        yield from section("network.gateways", paths)
        yield from section("git.remotes", [remote_row(remote) for remote in policy.egress.git_remotes])
    yield from section("env", [variable_row(rule) for rule in policy.environment])
    yield from section("secrets", [secret_row(secret) for secret in policy.secrets.secrets])
    yield from section("secret-files", [(one.path, str(one.declared), one.reason) for one in policy.secrets.files])
    settled = [(digest, "pin") for digest in policy.trust.pinned]
    settled += [(digest, "forbid") for digest in policy.trust.forbidden]
    yield from section("trust", settled + [(key, "signer") for key in policy.trust.signers])


def secret_row(secret: Secret) -> tuple[str, str, str, str]:
    """Name, source and variables, origin, where it is put in."""
    filled = " ".join(f"${name}" for name in secret.variables)
    source = source_text(secret.source)
    where = "; ".join(injection_text(one) for one in secret.inject)
    return secret.name, f"from {source}" + (f", in {filled}" if filled else ""), str(secret.declared), where


def remote_row(remote: GitRemote) -> tuple[str, str, str, str]:
    """Host, what git may do there, origin, reason."""
    return remote.host, remote_text(remote), str(remote.source), remote.reason


def rule_row(rule: EgressRule) -> tuple[str, str, str, str]:
    """Host and ports, what becomes of which requests, origin, reason."""
    narrowed = " ".join((rule.verdict.name.lower(), *rule.methods, *rule.paths))
    return rule_text(rule), narrowed, str(rule.source), rule.reason


def path_row(rule: PathRule) -> tuple[str, str, str]:
    """Pattern, origin, reason."""
    return rule.pattern + (" (literal)" if rule.literal else ""), str(rule.source), rule.reason


def mount_row(item: ExtraMount) -> tuple[str, str, str]:
    """Places, origin, whether writes reach the host."""
    return f"{item.guest} <- {item.host}", str(item.source), "writable" if item.writable else "read-only"


def variable_row(rule: VariableRule) -> tuple[str, str, str, str]:
    """Name, where its value is from, origin, reason."""
    return rule.name, "passed" if rule.value is None else f"= {rule.value}", str(rule.source), rule.reason


def described_presets() -> Iterable[str]:
    """What each preset adds, and why."""
    yield "Presets make toolchains readable, and pass variables; those apply to every run. Their hosts can be reached"
    yield "where your own policy, or --preset, names the preset."
    yield "Those marked `untested` are made from what makers document: no test of ours runs their program."
    for name, preset in (*PRESETS.items(), ("built in", DEFAULT)):
        rows = [(path, "readable", reason) for path, reason in preset.read]
        kept = {variable: name for name, table in preset.secrets for variable in table.variables}
        rows += [(name, "passed", reason) for name, reason in preset.variables if name not in kept]
        rows += [(variable, f"secret {name}", "a placeholder, where it is set") for variable, name in kept.items()]
        rows += [host_row(item) for item in preset.hosts]
        title = f"{name} (untested)" if preset.untested else name
        yield from section(title, agent_rows(name) + pattern_rows(name) + rows)


def pattern_rows(name: str) -> list[tuple[str, str, str]]:
    """What a deployment pattern sets, what it is for, and below what it refuses to start."""
    rows = []
    for pattern, deployment in deployments.DEPLOYMENTS.items():
        if pattern == name:
            floor = {key: " or ".join(enough) for key, enough in deployment.floor}
            document = msgspec.to_builtins(deployment.settings)
            values = {
                f"{table}.{key}": str(value)
                for table, keys in document.items()
                if isinstance(keys, dict)
                for key, value in keys.items()
            }
            rows = [(key, value, f"needs {floor[key]}" if key in floor else "") for key, value in values.items()]
            rows += [("", "", deployment.purpose)]
    return rows


def agent_rows(name: str) -> list[tuple[str, str, str]]:
    """What `ringfence agent NAME` adds to the preset of that name: state, and whether it is tested."""
    found = [agent for agent in AGENTS if agent.name == name]
    rows = [
        (f"~/{one.path}", "state", "ringfence's own copy; the host's is only read")
        for agent in found
        for one in agent.state
    ]
    return rows + [
        (agent.program, "tested" if agent.tested else "untested", f"documented at {agent.source}") for agent in found
    ]


def host_row(item: PresetHost) -> tuple[str, str, str]:
    """Host, what may be done there, reason."""
    narrowed = " ".join((*item.methods, *item.paths)) or "any request"
    return item.host, ("denied: " if item.verdict == "deny" else "") + narrowed, item.reason
