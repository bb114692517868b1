"""`ringfence allow` and `ringfence deny`: write a rule about hosts, and put it in force in runs that are going on."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, InlineTable, Table

from ringfence.model.decision import Source, Verdict
from ringfence.model.egress import Egress, EgressRule, Inspection
from ringfence.model.errors import UsageError
from ringfence.model.paths import HostPath
from ringfence.policy import layers, parse
from ringfence.policy.effective import Policy
from ringfence.policy.egress import decide_connection, matching, rule_text
from ringfence.policy.hosts import matches
from ringfence.session import control, places, prepare
from ringfence.session import options as options_module
from ringfence.session import run as session
from ringfence.workspace import runs as kept

from . import arguments, catalogue
from . import help as help_text
from .terminal import paint, put, safe

EMPTY = "version = 1\n"


def main(name: str, words: Sequence[str]) -> int:
    """Add what is named; exit status 1 where a live run could not take it."""
    command = catalogue.find(name)
    given = arguments.parse(command, words)
    if given is None:
        return help_text.show([name])
    control.rules(name, given.words)
    workspace = options_module.workspace_of(session.working_directory(options_module.Options()))
    if given.has("run"):
        return tell_runs(name, given, workspace)
    path = os.path.realpath(places.user_policy())
    if given.has("print"):
        text, lines = add(name, given.words, path, workspace)
        put(*lines, "", text.rstrip("\n"))
        return 0
    with editing(path, os.path.dirname(places.user_policy())):
        text, lines = add(name, given.words, path, workspace)
        put(*lines)
        changed = text != read(path)
        if changed:
            write(path, text)
    put(f"written to {safe(path)}" if changed else f"nothing to change in {safe(path)}")
    return tell_runs(name, given, workspace)


def add(verb: str, hosts: Sequence[str], path: str, workspace: str) -> tuple[str, list[str]]:
    """The user's policy file with what of `hosts` has an effect there, and lines that say what changes."""
    old = read(path)
    before = policy_in_force(old, workspace).egress
    full = policy_in_force(with_rules(old, verb, hosts, path), workspace)
    written, lines = [], []
    for host in hosts:
        added = control.rules(verb, [host])
        refuse_without_effect(verb, added, full)
        lines += difference(added, before, full.egress)
        if verb == "deny" or any(needed(rule, before, full.egress) for rule in added):
            written.append(host)
    return with_rules(old, verb, written, path) if written else old, lines


@contextmanager
def editing(path: str, ours: str) -> Iterator[None]:
    """Keep other commands from writing the policy file in the meantime: of two at once, both have their effect.

    `ours` is made where it is missing; where a link leads elsewhere, nothing is made there.
    """
    directory = os.path.dirname(path)
    try:
        os.makedirs(ours, mode=0o700, exist_ok=True)
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read(path: str) -> str:
    """The text of the user's policy file, with its line ends; what says nothing yet begins with the version."""
    text = as_it_is(path)
    return EMPTY + text if says_nothing(text) else text


def says_nothing(text: str) -> bool:
    """Whether a policy file is empty but for comments."""
    return all(line.lstrip().startswith("#") or not line.strip() for line in text.splitlines())


def as_it_is(path: str) -> str:
    """The text of a policy file; empty where there is none."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return file.read()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise UsageError(f"cannot read policy: {error.strerror}", place=path) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"cannot read policy: {error}", place=path, hint="a policy must be UTF-8") from error


def with_rules(text: str, verb: str, entries: Sequence[str | InlineTable], path: str) -> str:
    """The file with `entries` in `network.allow` or `network.deny`; comments and layout stay."""
    parse.parse(text, file=path, scope="user")
    try:
        document = tomlkit.parse(text)
    except TOMLKitError as error:
        raise UsageError(f"cannot edit policy: {error}", place=path, hint="add the line by hand") from error
    if "network" not in document:
        document["network"] = tomlkit.table()
    network = document["network"]
    listed = network.get(verb)
    if listed is None:
        listed = tomlkit.array()
        listed.multiline(not isinstance(network, InlineTable))
        network[verb] = listed
    for entry in entries:
        item = as_table(entry) if isinstance(listed, AoT) else entry
        if item not in listed:
            listed.append(item)
    edited = tomlkit.dumps(document)
    return edited.replace("\r\n", "\n").replace("\n", "\r\n") if "\r\n" in text else edited


def as_table(entry: str | InlineTable) -> Table:
    """An entry for a file that writes them under `[[network.allow]]`."""
    table = tomlkit.table()
    table.update({"host": entry} if isinstance(entry, str) else entry)
    return table


def in_force(text: str | None, workspace: str) -> Egress | None:
    """The egress in force for `workspace`, with `text` in place of the user's policy file where it is given."""
    return policy_in_force(text, workspace).egress


def policy_in_force(text: str | None, workspace: str) -> Policy:
    """The policy in force for `workspace`, with `text` in place of the user's policy file where it is given."""
    options = options_module.Options()
    options.no_user_policy = says_nothing(as_it_is(places.user_policy()))
    found = [layer for layer in prepare.policy_layers(options, workspace) if text is None or layer.scope != "user"]
    if text is not None:
        found.append(parse.parse(text, file=places.user_policy(), scope="user"))
    return layers.merge(found, home=places.home(), workspace=workspace)


def refuse_without_effect(verb: str, added: Sequence[EgressRule], after: Policy) -> None:
    """Raise UsageError where something stronger makes an allowance say nothing."""
    if verb != "allow":
        return
    if after.egress is None:
        place = str(after.origins["network.mode"])
        hint = 'remove `mode = "off"` there; `--allow` of a single run turns it on as well'
        raise UsageError("the network is off by policy, so a host cannot be allowed", place=place, hint=hint)
    for rule in added:
        said = decide_connection(after.egress, some_host(rule), rule.ports[0][0])
        if said.rule and standing(after.egress, rule) == "denied":
            hint = f"a denial beats every allowance; {taking_back(said.source)}"
            raise UsageError(f"`{rule_text(rule)}` stays denied by `{said.rule}`", place=str(said.source), hint=hint)


def taking_back(source: Source) -> str:
    """How a denial that stands at `source` is taken back: no command does it."""
    if source.scope == "preset":
        return f"leave `{source.file.removeprefix('preset:')}` out of `extends`, or write what you need of it yourself"
    if source.scope == "managed":
        return f"whoever manages this machine can lift it: {source}"
    return f"take it out of `network.deny` in {source}"


def needed(rule: EgressRule, before: Egress | None, after: Egress | None) -> bool:
    """Whether a rule that allows has an effect that lasts: not where all is allowed already, or asked about anyway."""
    return standing(before, rule) not in ("allowed", "allowed with exceptions") and standing(after, rule) != "asked"


def difference(added: Sequence[EgressRule], before: Egress | None, after: Egress | None) -> list[str]:
    """What can be reached afterwards that could not before, or the other way round."""
    lines = []
    for rule in added:
        old, new = (standing(egress, rule) for egress in (before, after))
        change = f"{old} -> {new}" if old != new else f"{new}, as before"
        told = "" if old == new == "allowed" else remark(rule, new, after)
        lines.append(f"  {paint(rule_text(rule), 'bold')}  {change}{told}")
    return lines


def remark(rule: EgressRule, new: str, after: Egress | None) -> str:
    """What is to be known of a rule besides whether it allows."""
    if rule.verdict is Verdict.DENY or after is None:
        return ""
    if new == "asked":
        said = decide_connection(after, some_host(rule), rule.ports[0][0])
        return f"  (a question beats an allowance: {said.source})" if said.rule else ""
    web = all(low == high and low in (80, 443) for low, high in rule.ports)
    only = "" if web or rule.inspection is Inspection.RAW else ": only HTTP and TLS pass"
    return f"  ({rule.inspection.value}{only})"


def standing(egress: Egress | None, rule: EgressRule) -> str:
    """What is said of all that `rule` is about; for a rule that denies, the loosest of it.

    `partly allowed` are some requests, ports or names; `allowed with exceptions` is all but some requests.
    """
    if egress is None:
        return "denied"
    about = [other for other in egress.rules if matches(rule.host, other.host) or matches(other.host, some_host(rule))]
    ports = {low for low, _ in rule.ports}
    ports |= {port for other in about for low, high in other.ports for port in (low, high + 1) if _covers(rule, port)}
    hosts = {some_host(rule)} | {some_host(other) for other in about if matches(rule.host, other.host)}
    words = {_said(egress, host, port) for host in hosts for port in ports}
    if rule.verdict is Verdict.DENY:
        return min(words, key=_LOOSEST_FIRST.index)
    if len(words) == 1:
        return words.pop()
    return "asked" if words == {"asked", "denied"} else "partly allowed"


_LOOSEST_FIRST = ("allowed", "allowed with exceptions", "partly allowed", "asked", "denied")


def _said(egress: Egress, host: str, port: int) -> str:
    """One word on a host and a port."""
    verdict = decide_connection(egress, host, port).verdict
    if verdict is not Verdict.ALLOW:
        return {Verdict.ASK: "asked", Verdict.DENY: "denied"}[verdict]
    rules = matching(egress, host, port)
    whole = any(rule.verdict is Verdict.ALLOW and not (rule.methods or rule.paths) for rule in rules)
    if not whole:
        return "partly allowed" if rules else "allowed"
    return "allowed with exceptions" if any(rule.verdict is not Verdict.ALLOW for rule in rules) else "allowed"


def _covers(rule: EgressRule, port: int) -> bool:
    return any(low <= port <= high for low, high in rule.ports)


def some_host(rule: EgressRule) -> str:
    """A host that a rule is about."""
    return f"any{rule.host[1:]}" if rule.host.startswith("*") else rule.host


def write(path: str, text: str) -> None:
    """Replace the file at once, keeping its mode."""
    temporary = f"{path}.{os.getpid()}"
    try:
        mode = os.stat(path).st_mode & 0o777 if os.path.exists(path) else 0o600
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        with open(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _unwritable(path: str, error: OSError) -> UsageError:
    hint = "`--print` shows the file as it would be; `--run RUN` needs none"
    return UsageError(f"cannot write policy: {error.strerror}", place=path, hint=hint)


def tell_runs(verb: str, given: arguments.Arguments, workspace: str) -> int:
    """Put the rules in force in the live runs of this workspace, or in the one that is named."""
    wanted = given.text("run")
    live = [run for run in kept.list_runs(HostPath(places.runs())) if kept.is_live(run)]
    chosen = [run for run in live if (run.run.startswith(wanted) if wanted else run.workspace == workspace)]
    if wanted and len(chosen) != 1:
        raise UsageError(f"`{safe(wanted)}` is not one live run", hint="`ringfence runs --all` lists them")
    if live and not chosen:
        put("no run of this workspace is live; `--run RUN` names one of another")
    failed = False
    for run in chosen:
        answer = control.tell(run.directory, control.Change(verb=verb, hosts=tuple(given.words)))
        if answer is None:
            put(f"run {run.run}: its network was off when it began; start it again")
        elif answer.error:
            failed = True
            put(f"run {run.run}: {safe(answer.error)}", *([f"  hint: {safe(answer.hint)}"] if answer.hint else []))
        else:
            waiting = "1 waiting connection" if answer.answered == 1 else f"{answer.answered} waiting connections"
            asked = f"; {waiting} answered" if answer.answered else ""
            put(f"run {run.run}: in force{asked}")
    return 1 if failed else 0
