"""`ringfence learn`: run a command with the public network open, propose the rules it needs; write them on demand."""

import os
import sys
from collections.abc import Iterable, Sequence

import msgspec
import tomlkit
from tomlkit.items import InlineTable

from ringfence.audit import read
from ringfence.model.egress import HOST_LOOPBACK, Egress
from ringfence.model.errors import UsageError
from ringfence.report.learned import Proposal, Seen, as_entry, propose
from ringfence.session import options as options_module
from ringfence.session import places
from ringfence.session import run as session

from . import allow, catalogue
from . import help as help_text
from .run import summarise
from .terminal import paint, safe

NOT_LEARNT = frozenset(
    {"egress-denied", "address-denied", "mismatch", "upstream-certificate", "budget-exceeded", "rate-exceeded"}
)
MOST_REFUSED = 10


def main(name: str, words: Sequence[str]) -> int:
    """Run and propose, or accept what an earlier run needed; the status is the command's own."""
    if list(words[:1]) in (["-h"], ["--help"]):
        return help_text.show([name])
    if words and words[0].partition("=")[0] == "--accept":
        _, has_value, value = words[0].partition("=")
        rest = list(words[1:]) if has_value else list(words[2:])
        wanted = value if has_value else "".join(words[1:2])
        if not wanted:
            raise UsageError("option `--accept` needs a value", hint=catalogue.find("learn").usage[1])
        return accept(wanted, rest)
    options, argv = options_module.parse(list(words))
    options.learn = True
    if not argv:
        raise UsageError("no command", hint=catalogue.find("learn").usage[0])
    finished = session.prepared_run(options, argv).carry_out()
    if options.verbose or sys.stderr.isatty():
        summarise(finished)
    reached = seen(finished.run)
    lines = [*rendered(propose(reached, before(options)), finished.run, bool(reached)), *refused(finished.run)]
    sys.stderr.write("\n".join(["", *lines]) + "\n")
    return finished.status


def before(options: options_module.Options) -> Egress:
    """The egress in force without learning."""
    workspace = options_module.workspace_of(session.working_directory(options))
    return allow.in_force(None, workspace) or Egress()


def seen(run: str) -> list[Seen]:
    """What the records of `run` say that passed."""
    fields = (record.fields for record in read.read(places.audit(), run=run, kind="egress") if not record.code)
    return [msgspec.convert({k: v for k, v in one.items() if v is not None}, Seen) for one in fields if one.get("host")]


def refused(run: str) -> Iterable[str]:
    """What the run did not reach although it was learning: no rule would be found for it."""
    records = read.read(places.audit(), run=run, kind="denial")
    denials = [one for one in records if one.code in NOT_LEARNT and "count" not in one.fields]
    told = dict.fromkeys((str(record.fields.get("target", "")), reason_of(record)) for record in denials)
    if told:
        yield "ringfence: refused all the same, so nothing was learnt about"
    for target, reason in list(told)[:MOST_REFUSED]:
        yield f"  {safe(target)}  {safe(reason)}"
    if len(told) > MOST_REFUSED:
        yield f"  and {len(told) - MOST_REFUSED} more: `ringfence log --denied --run {run}`"


def reason_of(record: read.Record) -> str:
    """Why something was refused although the run was learning."""
    if record.fields.get("call"):
        return "no name, or a port that is not watched: name it with `--allow HOST:PORT`"
    target = str(record.fields.get("target", ""))
    if target.startswith(f"{HOST_LOOPBACK}:"):
        return f"a service of this host, which only a rule lets in: `--allow {target}`"
    return str(record.fields.get("reason", ""))


def rendered(found: Sequence[Proposal], run: str, reached: bool = True) -> Iterable[str]:
    """The rules as they would stand in a policy file, each under what was seen."""
    if not found:
        what = "policy allows everything that was reached" if reached else "nothing was reached"
        yield f"ringfence: {what}"
        return
    yield paint(f"ringfence: this run reached {counted(len(found), 'host')} that policy does not allow", "bold")
    for proposal in found:
        yield f"  # {safe(evidence(proposal))}"
        yield f"  {safe(line(proposal, run))}"
    yield f"  accept with `ringfence learn --accept {run} [HOST...]`"


def evidence(proposal: Proposal) -> str:
    """What the rule rests on, in one line."""
    paths = ", ".join(proposal.paths[:3]) + (", ..." if len(proposal.paths) > 3 else "")
    reach = "writes as well" if proposal.writes else "reads only"
    amount = f"{proposal.sent_bytes} bytes out, {proposal.received_bytes} in"
    programs = ", ".join(proposal.programs) or "unknown program"
    return f"{counted(proposal.seen, 'time')} by {programs}: {reach}; {amount}" + (f"; {paths}" if paths else "")


def counted(number: int, noun: str) -> str:
    """A number of things."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def line(proposal: Proposal, run: str) -> str:
    """One entry of `network.allow`."""
    return inline(as_entry(proposal, f"seen in run {run}")).as_string()


def inline(entry: dict[str, object]) -> InlineTable:
    """An entry as an inline table."""
    table = tomlkit.inline_table()
    table.update(entry)
    return table


def accept(wanted: str, hosts: Sequence[str]) -> int:
    """Add what a run needed to the user's policy: all of it, or the hosts that are named."""
    records = {record.run for record in read.read(places.audit(), run=wanted, kind="launch")}
    if len(records) != 1:
        raise UsageError(f"`{safe(wanted)}` is not one run", hint="`ringfence log --kind launch` lists them")
    run = records.pop()
    found = propose(seen(run), before(options_module.Options()))
    chosen = [proposal for proposal in found if not hosts or proposal.host in hosts]
    for host in set(hosts) - {proposal.host for proposal in found}:
        raise UsageError(f"run {run} needed no rule for `{safe(host)}`", hint="hosts are written as in the proposal")
    if not chosen:
        sys.stdout.write("policy allows everything that was reached\n")
        return 0
    path = os.path.realpath(places.user_policy())
    entries = [inline(as_entry(proposal, f"seen in run {run}")) for proposal in chosen]
    with allow.editing(path, os.path.dirname(places.user_policy())):
        text = allow.with_rules(allow.read(path), "allow", entries, path)
        allow.in_force(text, options_module.workspace_of(session.working_directory(options_module.Options())))
        allow.write(path, text)
    sys.stdout.write(f"{counted(len(chosen), 'rule')} written to {safe(path)}\n")
    return 0
