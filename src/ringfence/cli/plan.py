"""`ringfence plan`: what a run would be given, without running."""

import os
from collections.abc import Iterable, Sequence

import msgspec

from ringfence.model.decision import Verdict
from ringfence.model.errors import UsageError
from ringfence.model.guest_network import GATEWAYS
from ringfence.model.plan import Mount, MountKind, Plan, Variable
from ringfence.policy.effective import Policy
from ringfence.policy.egress import rule_text
from ringfence.policy.units import size_text
from ringfence.sandbox import seatbelt
from ringfence.session import options as options_module
from ringfence.session import prepare
from ringfence.session import run as session

from . import arguments, catalogue, unmet
from . import help as help_text
from .explain_secret import injection_text, remote_text, source_text
from .terminal import paint, put, put_json, safe, table

_NETWORK = {
    "off": "only the sandbox's own loopback",
    "allow-list": "what a rule allows, through a proxy outside; the sandbox has its own loopback only",
}
_LIMITS = (
    ("processes", "processes", "count"),
    ("memory", "memory_bytes", "size"),
    ("cpu-time", "cpu_time_s", "time"),
    ("file-size", "file_size_bytes", "size"),
    ("open-files", "open_files", "count"),
    ("wall-time", "wall_time_s", "time"),
    ("tmp-size", "tmp_bytes", "size"),
    ("home-size", "home_bytes", "size"),
    ("run-size", "run_bytes", "size"),
    ("shm-size", "shm_bytes", "size"),
    ("workspace-size", "workspace_bytes", "size"),
)


def main(name: str, words: Sequence[str]) -> int:
    """Show the plan for the command in `words`; raise RingfenceError where there would be no run."""
    if list(words[:1]) in (["-h"], ["--help"]):
        return help_text.show([name])
    backend, others = backend_of(list(words))
    options, argv = options_module.parse(others)
    prepared = prepared_for(options, argv)
    notes = (*prepared.plan.notes, *unmet.wishes(options, unmet.view_of(prepared), os.environ))
    prepared = msgspec.structs.replace(prepared, plan=msgspec.structs.replace(prepared.plan, notes=notes))
    if backend == seatbelt.NAME:
        put(*seatbelt.profile(prepared.plan, prepared.facts).rstrip("\n").split("\n"))
    elif options.json:
        put_json(prepared.plan)
    else:
        put(*lines(prepared.plan, prepared.policy))
    return 0


def backend_of(words: list[str]) -> tuple[str, list[str]]:
    """Take `--backend NAME` out of the options, which end where the command begins; raise UsageError."""
    option = next(option for option in catalogue.find("plan").options if "--backend" in option.names)
    at = 0
    while at < len(words) and words[at].startswith("-") and words[at] not in ("-", "--"):
        name, has_value, value = words[at].partition("=")
        if name == "--backend" and not has_value and at + 1 == len(words):
            raise UsageError("option `--backend` needs a value", hint="see `ringfence plan --help`")
        width = 2 if not has_value and (name == "--backend" or name in options_module.FLAGS) else 1
        if name == "--backend":
            found = arguments.checked(option, name, value if has_value else words[at + 1])
            return found, words[:at] + words[at + width :]
        at += width
    return "", words


def prepared_for(options: options_module.Options, argv: Sequence[str]) -> prepare.Prepared:
    """Everything that is known before a launch from the directory the options name."""
    directory = session.working_directory(options)
    return prepare.prepare(options, list(argv), directory, options_module.workspace_of(directory))


def lines(plan: Plan, policy: Policy) -> Iterable[str]:
    """The plan for people: workspace, mounts, environment, limits, process."""
    command = " ".join(plan.argv)
    yield safe(f"plan for `{command}`" if command else "plan for any command") + f" in {safe(plan.cwd)}"
    yield from section("workspace", workspace_rows(plan, policy))
    yield from section("mounts", [mount_row(mount) for mount in plan.mounts])
    absent = [item.name for item in plan.environment if item.value is None and not present(item.name)]
    yield from section("environment", [variable_row(item) for item in plan.environment if item.name not in absent])
    yield from [f"  not set here: {safe(' '.join(absent))}"] if absent else []
    yield from section("secrets", secret_rows(plan))
    yield from section("limits", limit_rows(policy))
    yield from section("network", egress_rows(plan))
    yield from section("git", git_rows(plan))
    yield from section("process", process_rows(plan, policy))
    yield from section("recorded when touched", watch_rows(plan))
    yield from section("notes", [(note,) for note in plan.notes])


def section(title: str, rows: Sequence[Sequence[str]]) -> Iterable[str]:
    """A heading and aligned rows; nothing where there are none."""
    if rows:
        yield ""
        yield paint(title, "bold")
        yield from table(rows, styles=("name",))


def workspace_rows(plan: Plan, policy: Policy) -> list[tuple[str, ...]]:
    """Where writes go and what becomes of them."""
    mode = plan.workspace.mode
    fate = {"direct": "writes reach the host at once", "readonly": "nothing can be changed"}.get(mode, "")
    if not fate:
        when = "when the command ends" if plan.workspace.apply == "exit" else "by `ringfence apply`"
        fate = f"changes are kept apart, and applied {when}"
    rows: list[tuple[str, ...]] = [(plan.workspace.path, mode, str(policy.origins["workspace.mode"]), fate)]
    return rows + [(path, mode, "default", "git directory of the workspace") for path in plan.workspace.repositories]


def mount_row(mount: Mount) -> tuple[str, str, str, str]:
    """Target, kind, origin, reason."""
    target = str(mount.target)
    if mount.kind is MountKind.SYMLINK:
        target += f" -> {mount.text}"
    elif mount.source and str(mount.source) != target:
        target += f" <- {mount.source}"
    kind = mount.kind.value + (f" {size_text(mount.size_bytes)}" if mount.size_bytes else "")
    return target, kind, str(mount.origin), mount.reason


def present(name: str) -> bool:
    """Whether the variable, or one that begins so where `name` ends in `*`, is set here."""
    return any(key.startswith(name[:-1]) for key in os.environ) if name.endswith("*") else name in os.environ


def variable_row(item: Variable) -> tuple[str, str, str, str]:
    """Name, where the value comes from, origin, reason. Values that pass through are never shown."""
    return item.name, "passed" if item.value is None else f"= {item.value}", str(item.origin), item.reason


def limit_rows(policy: Policy) -> list[tuple[str, str, str]]:
    """Name, value, origin."""
    rows = []
    for key, field, unit in _LIMITS:
        amount = int(getattr(policy.limits, field))
        text = "no limit" if amount == 0 else size_text(amount) if unit == "size" else str(amount)
        rows.append((key, text + (" s" if unit == "time" and amount else ""), str(policy.origins[f"limits.{key}"])))
    return rows


def process_rows(plan: Plan, policy: Policy) -> list[tuple[str, ...]]:
    """Identity, isolation and what each rests on."""
    who = plan.identity
    kernel = "an unprivileged kernel uid through id-mapped mounts" if who.idmap else "your own kernel uid"
    if who.uid != who.owner_uid and not who.idmap:
        kernel = "kernel uid 0 without capabilities"
    rules = (*plan.landlock_scopes, *(("files",) if plan.landlock_files else ()))
    said = {key: str(policy.origins[key]) for key in ("isolation.tier", "isolation.seccomp", "network.mode")}
    return [
        ("user", f"{who.user} ({who.uid}:{who.gid})", "default", f"{kernel}; no capability"),
        ("home", who.home, "default", "private, ends with the run"),
        ("tier", plan.tier, said["isolation.tier"], "Linux namespaces: " + " ".join(plan.namespaces)),
        ("seccomp", plan.seccomp, said["isolation.seccomp"], "allowed system calls"),
        (
            "landlock",
            " ".join(rules) or "none",
            "default",
            "scopes of signals and sockets, files reached by descriptor",
        ),
        ("network", plan.network, said["network.mode"], _NETWORK[plan.network]),
        ("presets", " ".join(plan.presets) or "none", "default", "toolchains that may be read"),
    ]


def egress_rows(plan: Plan) -> list[tuple[str, str, str, str]]:
    """Each rule, its verdict, origin and what it is limited to; then what becomes of the rest."""
    if plan.egress is None:
        return []
    words = {Verdict.ALLOW: "allow", Verdict.ASK: "ask", Verdict.DENY: "deny"}
    rows = []
    for rule in plan.egress.rules:
        narrowed = " ".join([*rule.methods, *rule.paths])
        how = "" if rule.verdict is Verdict.DENY else f"{rule.inspection.value}: "
        rows.append(
            (rule_text(rule), words[rule.verdict], str(rule.source), f"{how}{narrowed or rule.reason or 'any'}")
        )
    rows.append(("anything else", words[plan.egress.unknown], "", "no packet and no query for a name leaves"))
    for outside, inside in plan.egress.publish:
        rows.append((f"127.0.0.1:{outside} here", "publish", "", f"leads to port {inside} inside"))
    for one in plan.egress.gateways:
        where = f"leads to {one.host}:{one.port}"
        rows.append((f"{GATEWAYS}/{one.name}.sock", "gateway", str(one.source), one.reason or where))
    return rows


def secret_rows(plan: Plan) -> list[tuple[str, ...]]:
    """What has a placeholder inside: each variable, each file, each place where it is put in; what may leak."""
    if plan.secrets is None:
        return []
    rows: list[tuple[str, ...]] = []
    for one in plan.secrets.secrets:
        kept = f"from {source_text(one.source)}" + (", if it has a value" if one.optional else "")
        rows.append((one.name, kept, str(one.declared), one.reason or "its value stays outside"))
        rows += [(f"  ${name}", "placeholder", str(one.declared), "in the environment") for name in one.variables]
        rows += [("  put in at", injection_text(place), str(place.declared), "") for place in one.inject]
    for file in plan.secrets.files:
        rows.append((file.path, "file", str(file.declared), file.reason or "with placeholders in it"))
    if plan.secrets.leaks:
        said = plan.secrets.leaks
        verdicts = f"known: {said.known.name.lower()}, found: {said.found.name.lower()}"
        rows.append(("leaks", verdicts, "", "requests are searched for values and credentials"))
    return [*rows, ("once tainted", plan.on_taint.value, "", "what a run loses that has reached for a secret")]


def git_rows(plan: Plan) -> list[tuple[str, ...]]:
    """What git may fetch, push and have signed."""
    remotes = plan.egress.git_remotes if plan.egress else ()
    rows: list[tuple[str, ...]] = [
        (remote.host, remote_text(remote), str(remote.source), remote.reason) for remote in remotes
    ]
    if plan.signing:
        what = "commits and tags" if plan.signing.tags else "commits"
        rows.append(
            ("signing", what, "", f"at most {plan.signing.max_signatures}, outside, with a key that stays there")
        )
    return rows


def watch_rows(plan: Plan) -> list[tuple[str, str, str]]:
    """Path, what is watched for, the event's code."""
    return [(item.target, item.on, item.code) for item in plan.watches]
