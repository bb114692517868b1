"""Whether a host can be reached, or a request made: which rule says so, and the line that would change it."""

import msgspec

from ringfence.model.action import Action, ActionKind
from ringfence.model.decision import Decision, Source, Verdict
from ringfence.model.egress import HOST_LOOPBACK, Egress, Inspection
from ringfence.model.errors import UsageError
from ringfence.policy import connect, evaluate
from ringfence.policy import egress as rules
from ringfence.policy.addresses import special
from ringfence.policy.effective import Policy
from ringfence.policy.host_rules import host_rule
from ringfence.policy.hosts import bracketed, is_address
from ringfence.policy.network import preset_rules
from ringfence.policy.presets import PRESETS
from ringfence.session.prepare import Prepared

from . import explain_secret
from .explain_git import explain_git
from .explain_git import remedy as git_remedy
from .explanation import Answer, Explanation, Remedy
from .terminal import safe

_STATUS = {Verdict.ALLOW: "yes", Verdict.ASK: "ask", Verdict.DENY: "no"}
_LOOKS = {
    Inspection.INSPECT: "every request is looked at and decided; what is neither HTTP nor TLS is refused",
    Inspection.SNI: "TLS passes through where it names the host",
    Inspection.RAW: "any bytes pass",
}


def explain_host(prepared: Prepared, text: str) -> Explanation:
    """Whether `text`, a host or a request, would be let through."""
    if "*" in text.partition("://")[0]:
        hint = "name one of them, as in `ringfence explain api.example.com`"
        raise UsageError(f"`{safe(text)}` stands for many hosts", hint=hint)
    try:
        what = connect.asked(text)
    except ValueError as error:
        hint = "write HOST, HOST:PORT, a URL, or METHOD and URL; for a file `path NAME`"
        raise UsageError(f"`{safe(text)}` is not a host: {error}", hint=hint) from None
    asked_for = "request" if what.method else "connect"
    policy = prepared.policy
    if _is_own(what.host) and not is_of_this_host(policy.egress, what):
        return own(what, asked_for)
    notes = []
    if _is_own(what.host):
        what = msgspec.structs.replace(what, host=HOST_LOOPBACK)
        notes.append("policy opens this port of the host's loopback, so it stands in for the sandbox's own")
    action = Action(kind=ActionKind.CONNECT, target=str(what))
    decision = evaluate.evaluate(policy, action, workspace=prepared.request.workspace)
    origin = "default" if decision.source == Source(scope="default") else str(decision.source)
    answer = Answer(status=_STATUS[decision.verdict], reason=decision.reason, rule=decision.rule, origin=origin)
    remedies = () if decision.verdict is Verdict.ALLOW else tuple(changes(policy, what, decision))
    by_git = None if decision.verdict is Verdict.DENY and decision.rule else explain_git(policy.egress, what, text)
    if by_git and (by_git.status == "no" or decision.verdict is Verdict.ALLOW):
        answer = by_git
        remedies = (git_remedy(by_git),) if by_git.status == "no" else ()
    return Explanation(
        kind="host",
        target=str(what),
        answers={asked_for: answer},
        notes=(*notes, *remarks(policy, what, decision)),
        remedies=remedies,
    )


def own(what: connect.Asked, asked_for: str) -> Explanation:
    """What is said of loopback: the sandbox has its own."""
    reason = "the sandbox has a loopback of its own; the host's is not reachable by this name"
    answer = Answer(status="private", reason=reason, origin="default")
    service = connect.Asked(host=HOST_LOOPBACK, port=what.port)
    remedy = Remedy(why="to reach a service of this host", lines=entry(service), once=once(service))
    return Explanation(
        kind="host", target=str(what), answers={asked_for: answer}, remedies=(remedy,) if what.port else ()
    )


def is_of_this_host(egress: Egress | None, what: connect.Asked) -> bool:
    """Whether a port of the sandbox's loopback leads to that of the host."""
    if egress is None or not what.port:
        return False
    return rules.decide_connection(egress, HOST_LOOPBACK, what.port).rule != ""


def remarks(policy: Policy, what: connect.Asked, decision: Decision) -> list[str]:
    """What is to be known besides the decision."""
    egress = policy.egress
    if egress is None or decision.verdict is Verdict.DENY:
        return []
    found = [] if is_address(what.host) else ["what it resolves to is checked when it is connected to"]
    if what.port:
        found.append(_LOOKS[rules.inspection(egress, what.host, what.port)])
    partial = [rule for rule in rules.matching(egress, what.host, what.port) if rule.methods or rule.paths]
    if partial and not what.method:
        found.append(f"not every request: try `ringfence explain 'POST https://{what.host}/'`")
    return found + explain_secret.remarks(policy.secrets, egress.git_remotes, what.host)


def changes(policy: Policy, what: connect.Asked, decision: Decision) -> list[Remedy]:
    """What would let it through, where policy may say so."""
    if policy.egress is None and policy.origins["network.mode"].scope != "default":
        return [Remedy(why=f"to let it be reached, remove `{decision.rule}` at {decision.source}")]
    if decision.verdict is Verdict.DENY and decision.rule and policy.egress is not None:
        place = decision.source
        if place.scope == "preset":
            return [Remedy(why=f"no line lets it be reached while {place} applies, which denies it")]
        return [Remedy(why=f"to let it be reached, narrow or remove `{decision.rule}` at {place}")]
    if decision.verdict is Verdict.ASK and decision.rule.startswith("network.ask"):
        why = f"to let it through without a question, remove `{decision.rule}` at {decision.source}"
        return [Remedy(why=f"{why}; `ringfence allow` answers for one run")]
    named = {rule.source.file for rule in policy.egress.rules} if policy.egress else set()
    found = [by_preset(name) for name in presets_for(what) if f"preset:{name}" not in named]
    lines = entry(what)
    try:
        host_rule(bracketed(what.host) + (f":{what.port}" if what.port else ""), Verdict.ALLOW, Source(scope="user"))
    except UsageError as error:
        return [*found, Remedy(why=f"no line of policy lets it be reached: {error.message}; {error.hint}")]
    if what.method:
        return [*found, Remedy(why="to let this request be made", lines=lines)]
    why = f"to let it be reached (`ringfence allow {argument(what)}` writes this)"
    return [*found, Remedy(why=why, lines=lines, once=once(what))]


def presets_for(what: connect.Asked) -> list[str]:
    """The presets by which alone it would be allowed."""
    alone = {name: Egress(rules=tuple(preset_rules(name))) for name in PRESETS}
    return [name for name, egress in alone.items() if connect.decide(egress, what).verdict is Verdict.ALLOW]


def by_preset(name: str) -> Remedy:
    """The line that names a preset."""
    why = f"the preset `{name}` lets it be reached"
    return Remedy(why=why, lines=(f'extends = ["{name}"]',), once=f"ringfence run --preset {name}")


def argument(what: connect.Asked) -> str:
    """The host as `--allow` takes it: with its port where that is not the usual one."""
    usual = what.port in (0, 80, 443) and not is_address(what.host)
    return bracketed(what.host) if usual else f"{bracketed(what.host)}:{what.port or 443}"


def entry(what: connect.Asked) -> tuple[str, ...]:
    """The lines of a policy file that allow it and no more than was asked for."""
    host = msgspec.json.encode(argument(what)).decode()
    if not what.method:
        return ("[network]", f"allow = [{host}]")
    path = msgspec.json.encode(what.path).decode()
    return ("[network]", f'allow = [{{ host = {host}, methods = ["{what.method}"], paths = [{path}] }}]')


def once(what: connect.Asked) -> str:
    """The option for a single run."""
    return f"ringfence run --allow {argument(what)}"


def _is_own(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost") or (is_address(host) and special(host) == "loopback")
