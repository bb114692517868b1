"""`ringfence trust`: show what a checkout would put in force by itself, and ask whether it may."""

import os
import sys
import termios
from collections.abc import Iterator, Sequence

from ringfence.model.errors import UsageError
from ringfence.policy.effective import Policy
from ringfence.session import options as options_module
from ringfence.session import prepare, trusting
from ringfence.session import run as session
from ringfence.trust.manifest import Found, Manifest

from . import arguments, catalogue
from . import help as help_text
from .terminal import paint, put, put_json, safe
from .trust_text import effects

UNRESOLVED_SHOWN = 20
_ACTIONS = ("show", "diff", "revoke", "yes", "trust-digest")


def main(name: str, words: Sequence[str]) -> int:
    """Carry out one of the actions; exit status 1 where `--diff` finds a change."""
    command = catalogue.find(name)
    given = arguments.parse(command, words)
    if given is None:
        return help_text.show([name])
    if len(chosen := [action for action in _ACTIONS if given.has(action)]) > 1:
        raise UsageError(f"`--{chosen[0]}` and `--{chosen[1]}` exclude each other", hint=command.usage[0])
    options = options_module.Options()
    options.directory = given.words[0] if given.words else ""
    workspace = options_module.workspace_of(session.working_directory(options))
    prepare.check_places(workspace)
    policy = prepare.operator_policy(options, workspace)
    if given.has("revoke"):
        count = trusting.revoke(policy, workspace)
        put(f"{safe(workspace)} is {'no longer' if count else 'not'} trusted")
        return 0
    standing = trusting.weighed(policy.trust, workspace, given.text("trust-digest"))
    if given.has("diff"):
        return difference(standing, as_json=given.has("json"))
    if given.has("json"):
        put_json(described(standing))
    elif not given.has("trust-digest"):
        put(*shown(standing))
    return 0 if given.has("show") or given.has("json") else decide(policy, standing, given)


def decide(policy: Policy, standing: trusting.Standing, given: arguments.Arguments) -> int:
    """Trust what was shown if the user says so; raise UsageError where nobody can be asked or policy forbids it."""
    if standing.manifest is None or (standing.trusted and standing.why != "given"):
        return 0
    if standing.why in ("forbidden", "not pinned"):
        hint = "`ringfence policy show` names the file that says so"
        raise UsageError(f"policy does not let you trust this checkout ({standing.why})", hint=hint)
    if not given.has("yes") and standing.why != "given" and not asked():
        put("nothing was changed")
        return 1
    trusting.decide(policy, standing.workspace, standing.manifest)
    put(f"{safe(standing.workspace)} is trusted as it is now; any change asks again")
    return 0


def asked() -> bool:
    """Ask on the terminal; raise UsageError where there is none."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        hint = "read `ringfence trust --show`, then use `--trust-digest DIGEST`, or `--yes`"
        raise UsageError("there is no terminal to ask on", hint=hint)
    sys.stdout.write("\nlet all of this take effect, as it is now? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def offered(standing: trusting.Standing) -> bool:
    """Show what an agent's checkout would put in force, and ask; what was typed before counts for nothing."""
    put(*shown(standing))
    termios.tcflush(sys.stdin, termios.TCIFLUSH)
    if asked():
        return True
    put("it stays hidden from the agent; `ringfence trust` asks again")
    return False


def shown(standing: trusting.Standing) -> Iterator[str]:
    """The manifest for a person: what each file would do, what it calls, and what cannot be known."""
    manifest = standing.manifest or Manifest(entries=())
    yield f"{paint(safe(standing.workspace), 'bold')}: {status(standing)}"
    if not manifest.entries:
        yield "nothing in it takes effect by itself"
    for reason in dict.fromkeys(entry.reason for entry in manifest.entries if not entry.called_by):
        yield f"\n{safe(reason)}:"
        for entry in (one for one in manifest.entries if one.reason == reason and not one.called_by):
            yield from described_entry(standing.workspace, entry)
            if entry.path in standing.signed:
                yield paint("    signed by a key that policy names", "good")
            for called in (one for one in manifest.entries if one.called_by == entry.path):
                yield f"    calls {safe(called.path)}"
    deeper = [one for one in manifest.entries if one.called_by and _is_called(manifest, one.called_by)]
    yield from (f"\n{safe(one.called_by)} calls {safe(one.path)}" for one in deeper)
    yield from unresolved(manifest)
    if manifest.never:
        yield f"\nhidden in any case: {len(manifest.never)} that nobody could keep trusting (`--json` lists them)"
    yield f"\ndigest {manifest.digest}"


def described_entry(workspace: str, entry: Found) -> Iterator[str]:
    """One file with what its text says it would do."""
    kind = {"link": f" -> {safe(entry.digest)}", "file": ""}.get(entry.kind, f" ({entry.kind})")
    yield f"  {paint(safe(entry.path), 'name')}{kind}"
    if entry.kind == "file":
        yield from (f"    {safe(line)}" for line in effects(os.path.join(workspace, entry.path), entry.digest))


def unresolved(manifest: Manifest) -> Iterator[str]:
    """What is put together only when it runs, or lies elsewhere: the digest says nothing of it."""
    if manifest.unresolved:
        yield "\nwhat the digest does not cover:"
    for path, words in manifest.unresolved[:UNRESOLVED_SHOWN]:
        yield f"  {safe(path)}: {safe(words)}"
    if len(manifest.unresolved) > UNRESOLVED_SHOWN:
        yield f"  and {len(manifest.unresolved) - UNRESOLVED_SHOWN} more; `--show --json` lists them"


def status(standing: trusting.Standing) -> str:
    """Whether it is trusted, and who says so."""
    who = {
        "decided": "you trusted it as it is now",
        "pinned": "policy pins its digest",
        "signed": "all that waits is signed by a key that policy names",
        "given": "the digest is the one given",
        "nothing to trust": "there is nothing to trust",
        "forbidden": "policy forbids its digest",
        "not pinned": "policy trusts only what it pins",
        "unknown": "nobody has trusted it as it is now",
    }[standing.why]
    return f"{paint('trusted', 'good') if standing.trusted else paint('not trusted', 'warn')}, {who}"


def difference(standing: trusting.Standing, *, as_json: bool) -> int:
    """What changed since the latest decision; 1 if anything did."""
    manifest = standing.manifest or Manifest(entries=())
    found = trusting.changed(standing.workspace, manifest)
    if as_json:
        put_json({"digest": manifest.digest, "decided": found is not None, "changes": found or []})
    elif found is None:
        put("you have never trusted this checkout; `ringfence trust --show` shows all of it")
    else:
        put(*(f"{change:8} {safe(path)}" for change, path in found) if found else ("nothing changed",))
    return 1 if found or (found is None and manifest.entries) else 0


def described(standing: trusting.Standing) -> dict[str, object]:
    """The same as JSON."""
    manifest = standing.manifest or Manifest(entries=())
    entries = [
        {"path": one.path, "kind": one.kind, "digest": one.digest, "reason": one.reason, "called_by": one.called_by}
        for one in manifest.entries
    ]
    return {
        "workspace": standing.workspace,
        "digest": manifest.digest,
        "trusted": standing.trusted,
        "why": standing.why,
        "entries": entries,
        "hidden": manifest.hidden,
        "never_shown": manifest.never,
        "unresolved": manifest.unresolved,
    }


def _is_called(manifest: Manifest, path: str) -> bool:
    return any(one.path == path and one.called_by for one in manifest.entries)
