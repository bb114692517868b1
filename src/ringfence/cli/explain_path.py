"""Whether a path can be read and written inside: what policy says of it, and what stands there in the view.

Policy answers by rule and line, the plan by what is mounted where. A denial by rule counts before the view; where
no rule speaks, the last mount that covers the path decides, as it does in the kernel.
"""

import os
import shlex
import stat

import msgspec

from ringfence.model.action import Action, ActionKind
from ringfence.model.decision import Decision, Source, Verdict
from ringfence.model.errors import UsageError
from ringfence.model.plan import Mount, MountKind, PathKind, Plan
from ringfence.planner import view
from ringfence.planner.mounts import DECOY_TEXT
from ringfence.policy import entries, evaluate
from ringfence.policy.document import PathEntry
from ringfence.policy.effective import PathRule
from ringfence.session.prepare import Prepared
from ringfence.workspace import filter as apply_filter
from ringfence.workspace.change import Change, ChangeKind, FileType

from . import explain_secret
from .explanation import Answer, Explanation, Remedy


def explain_path(prepared: Prepared, text: str) -> Explanation:
    """Read and write access to `text`, a path of this host as seen from the working directory."""
    given = os.path.normpath(os.path.join(os.getcwd(), os.path.expanduser(text)))
    real = os.path.realpath(given)
    notes = [f"{given} leads to {real}"] if real != given else []
    if not os.path.lexists(given):
        notes.append("there is nothing of that name on this host now")
    found = view.reach(prepared.plan, real)
    answers = {kind.value: answer(prepared, found, kind) for kind in (ActionKind.READ, ActionKind.WRITE)}
    denied = {kind: decision(prepared, given, kind) for kind in (ActionKind.READ, ActionKind.WRITE)}
    for kind, said in denied.items():
        if said.verdict is Verdict.DENY and said.rule:
            answers[kind.value] = by_rule(said)
    if holder := explain_secret.holder(prepared.policy.secrets, (given, real)):
        # No advice: a file that was opened to the command would tell it the value.
        rule, origin = f"secrets.{holder.name}", str(holder.declared)
        said_of = Answer(status="no", reason=f"it holds the secret `{holder.name}`", rule=rule, origin=origin)
        return Explanation(kind="path", target=given, answers=dict.fromkeys(answers, said_of), notes=tuple(notes))
    notes += fate(prepared, real) if answers["write"].status == "yes" else []
    remedies = tuple(remedy for kind in answers for remedy in remedies_for(prepared, real, kind, answers[kind]))
    return Explanation(kind="path", target=given, answers=answers, notes=tuple(notes), remedies=remedies)


def decision(prepared: Prepared, path: str, kind: ActionKind) -> Decision:
    """What the rules of policy say, knowing which system trees every view has."""
    default = Source(scope="default")
    system = [
        PathRule(pattern=mount.target, source=default, reason=mount.reason, literal=True)
        for mount in prepared.plan.mounts
        if mount.kind is MountKind.RO_BIND and mount.origin == default
    ]
    action = Action(kind=kind, target=path)
    return evaluate.evaluate(prepared.policy, action, workspace=prepared.request.workspace, system=system)


def by_rule(said: Decision) -> Answer:
    """An answer in the words of policy."""
    status = "yes" if said.verdict is Verdict.ALLOW else "no"
    return Answer(status=status, reason=said.reason, rule=said.rule, origin=str(said.source))


def answer(prepared: Prepared, found: view.Reach, kind: ActionKind) -> Answer:
    """What the view says of a path."""
    mount = found.mount
    origin = str(mount.origin)
    if mount is view.ROOT:
        return Answer(status="no", reason="not in the view: nothing makes it visible", origin=origin)
    if mount.kind is MountKind.WHITEOUT:
        return Answer(status="no", reason=f"hidden: {mount.reason}", origin=origin)
    if mount.kind is MountKind.COVER:
        return Answer(status="no", reason=f"covered: {mount.reason}", origin=origin)
    if found.source is None:
        return own(prepared, mount, found.path, kind)
    if kind is ActionKind.WRITE and not found.writable:
        return Answer(status="no", reason=f"read-only: {mount.reason}", origin=origin)
    if not permitted(prepared.plan, found.source):
        return Answer(status="no", reason="in the view, but its file permissions keep the command out", origin=origin)
    said = decision(prepared, found.path, kind)
    if said.verdict is Verdict.ALLOW and said.rule:
        return by_rule(said)
    return Answer(status="yes", reason=mount.reason, origin=origin)


def own(prepared: Prepared, mount: Mount, path: str, kind: ActionKind) -> Answer:
    """What the sandbox has of its own: private directories, generated files, copies."""
    origin = str(mount.origin)
    if mount.kind is MountKind.SECRET_FILE:
        reason = f"a file of the run's own, with placeholders: {mount.reason}"
        return Answer(status="private", reason=reason, origin=origin)
    if mount.kind is MountKind.FILE:
        if mount.text == DECOY_TEXT or (mount.text == "{}\n" and path.startswith(prepared.plan.identity.home)):
            reason = "a notice stands in its place; opening it is recorded"
            return Answer(status="no", reason=reason, origin=origin)
        known = prepared.facts.paths.get(path)
        if kind is ActionKind.READ and known and known.kind is not PathKind.ABSENT and known.text == mount.text:
            return Answer(status="yes", reason=f"a copy: {mount.reason}", origin=origin)
        return Answer(status="private", reason=f"generated for the run: {mount.reason}", origin=origin)
    return Answer(
        status="private",
        reason=f"the host's is hidden: the sandbox has its own {mount.target} ({mount.reason})",
        origin=origin,
    )


def permitted(plan: Plan, host: str) -> bool:
    """Whether the file's own mode lets the command read it; what does not exist is no matter of permission."""
    try:
        found = os.stat(host)
    except OSError:
        return not os.path.lexists(os.path.dirname(host)) or os.access(os.path.dirname(host), os.X_OK)
    if not plan.identity.idmap:
        return os.access(host, os.R_OK)
    owned = found.st_uid == plan.identity.owner_uid and found.st_mode & stat.S_IRUSR
    return bool(owned or found.st_mode & stat.S_IROTH)


def fate(prepared: Prepared, path: str) -> list[str]:
    """What becomes of a change to `path` in the overlay when the command ends."""
    workspace = prepared.plan.workspace
    if workspace.mode != "overlay" or not path.startswith(workspace.path + "/"):
        return []
    change = Change(path=path[len(workspace.path) + 1 :], kind=ChangeKind.MODIFY, type=FileType.FILE, mode=0o644)
    (reviewed,) = apply_filter.review([change], rules=apply_filter.Rules())
    if not reviewed.allowed:
        return [f"a change is kept apart and held back ({reviewed.code}): {reviewed.sentence}"]
    when = "applied when the command ends" if workspace.apply == "exit" else "applied by `ringfence apply`"
    return [f"a change is kept apart and {when}"]


def remedies_for(prepared: Prepared, path: str, kind: str, found: Answer) -> list[Remedy]:
    """The line that would let `path` be read or written, where one may say so."""
    if found.status == "yes" or (kind == "write" and systems_own(path)):
        return []
    if view.reach(prepared.plan, path).mount.kind is MountKind.SECRET_FILE:
        return []  # the run's own file is what stands there, whatever is granted
    verb = "be read" if kind == "read" else "be written"
    if found.rule.startswith("workspace.mode"):
        lines = ("[workspace]", 'mode = "overlay"')
        return [Remedy(why=f"to let it {verb}", lines=lines, once="ringfence run --workspace overlay")]
    if found.rule:
        return [Remedy(why=f"to let it {verb}, narrow or remove `{found.rule}` at {found.origin}")]
    if not permitted(prepared.plan, path):
        return [Remedy(why=f"no line of policy lets it {verb}: its file permissions keep the command out")]
    shown = path.replace(prepared.facts.home, "~", 1) if view.within(path, prepared.facts.home) else path
    home, workspace = prepared.facts.home, prepared.request.workspace
    build = entries.write_rule if kind == "write" else entries.path_rule
    entry = PathEntry(path=path, literal=True)
    try:
        build(entry, Source(scope="user"), entries.Places(home=home, workspace=workspace))
    except UsageError as error:
        return [Remedy(why=f"no line of policy lets it {verb}: {error.message}")]
    text = msgspec.json.encode(shown).decode()
    lines = ("[filesystem]", f"{kind} = [{{ path = {text}, literal = true }}]" if wild(path) else f"{kind} = [{text}]")
    return [Remedy(why=f"to let it {verb}", lines=lines, once=f"ringfence run --{kind} {shlex.quote(path)}")]


def systems_own(path: str) -> bool:
    """Whether `path` is the system's: nobody is advised to let a command write there."""
    return any(view.within(path, root) for root in ("/usr", "/etc", "/bin", "/sbin", "/lib", "/proc", "/sys", "/dev"))


def wild(path: str) -> bool:
    """Whether a pattern would read `path` otherwise than as a name."""
    return any(mark in path for mark in "*?[\\!$")
