"""`ringfence policy check | show | presets | schema`."""

import os
import sys
from collections.abc import Iterable, Sequence

from ringfence.model.errors import RingfenceError, UsageError
from ringfence.policy import layers
from ringfence.policy.effective import ExtraMount, PathRule, Policy, VariableRule
from ringfence.policy.presets import DEFAULT, PRESETS
from ringfence.policy.schema import json_schema
from ringfence.policy.units import size_text
from ringfence.sandbox import facts
from ringfence.session import options as options_module
from ringfence.session import places, prepare
from ringfence.session import run as session

from . import arguments, catalogue
from . import help as help_text
from .plan import section
from .terminal import paint, put, put_json, safe, table

_ACTIONS = catalogue.find("policy").words


def main(name: str, words: Sequence[str]) -> int:
    """Carry out one of the four; raise UsageError for what is wrong with the policy or the request."""
    command = catalogue.find(name)
    given = arguments.parse(command, words)
    if given is None:
        return help_text.show([name])
    action, rest = given.words[0], given.words[1:]
    if action not in _ACTIONS:
        hint = arguments.hint(command, action, _ACTIONS)
        raise UsageError(f"`ringfence policy` has no `{safe(action)}`", hint=hint)
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
    known = {f"--{option.key}" for option in catalogue.SHAPING}
    return options_module.parse([word for word in words if word.partition("=")[0] in known])[0]


def show(given: arguments.Arguments, *, brief: bool) -> None:
    """The policy in force here; raise UsageError with the place of what is wrong."""
    options = shaping(given)
    workspace = options_module.workspace_of(session.working_directory(options))
    policy = prepare.effective_policy(options, workspace)
    if given.has("json"):
        put_json(policy)
        return
    for path, scope in files_in_force(options, workspace):
        put(f"{paint('ok', 'good')}  {safe(path)} ({scope})")
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
            layers.merge(found, home=facts.home_directory(), workspace=workspace)
        except RingfenceError as error:
            sys.stderr.write(f"ringfence: {error}\n" + (f"  hint: {error.hint}\n" if error.hint else ""))
            status = error.exit_status
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
        "workspace.mode": policy.workspace_mode,
        "workspace.apply": policy.workspace_apply,
        "audit.fsync": policy.audit_fsync,
        "audit.rotate-size": size_text(policy.audit_rotate_bytes),
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
    yield from section("env", [variable_row(rule) for rule in policy.environment])


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
    yield "Presets make toolchains readable, and pass variables. All of them apply."
    for name, preset in (*PRESETS.items(), ("built in", DEFAULT)):
        rows = [(path, "readable", reason) for path, reason in preset.read]
        yield from section(name, rows + [(variable, "passed", reason) for variable, reason in preset.variables])
