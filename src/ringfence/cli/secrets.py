"""`ringfence secrets`: list what policy keeps outside, check its sources, try it, have runs read it anew.

No value is ever in this process, so none can be printed.
"""

import os
from collections.abc import Sequence
from typing import Any

import msgspec

from ringfence.model.egress import Egress
from ringfence.model.errors import UsageError
from ringfence.model.paths import HostPath
from ringfence.model.secrets import Capture, Injection, Secret, SecretFile, Secrets
from ringfence.policy.effective import Policy
from ringfence.policy.hosts import canonical_host
from ringfence.secrets.sources import described
from ringfence.session import control, places, prepare, secret_trial, vaults
from ringfence.session import options as options_module
from ringfence.session import run as session
from ringfence.workspace import runs as kept

from . import arguments, catalogue
from . import help as help_text
from .explain import split
from .terminal import paint, put, put_json, safe, table

REFUSING = (401, 403)
NONE = "policy keeps no secrets"


def main(name: str, words: Sequence[str]) -> int:
    """List, check, try or reload; the exit status is 1 where something that is needed does not work."""
    if "-h" in words or "--help" in words:
        return help_text.show([name])
    if "reload" in words:  # which is about runs that live, and takes no options of one
        given = arguments.parse(catalogue.find(name), words)
        if given is None:
            return help_text.show([name])
        check_words(*given.words)
        return reloaded(given)
    options, named = split(list(words))
    action, *rest = named or ("",)
    actions = {"list": listed, "check": checked, "test": tried}
    if action not in actions:
        hint = "it is one of " + ", ".join(f"`{one}`" for one in (*actions, "reload"))
        said = f"`ringfence secrets` has no `{safe(action)}`" if action else "`ringfence secrets` needs more words"
        raise UsageError(said, hint=hint)
    check_words(action, *rest)
    return actions[action](options, rest)


def check_words(action: str, *rest: str) -> None:
    """Require what an action is about, and nothing more; raise UsageError."""
    if len(rest) != (action == "test"):
        wrong = "needs one host" if action == "test" else "takes no further words"
        usage = "`ringfence secrets test api.example.com`" if action == "test" else "`ringfence secrets --help`"
        raise UsageError(f"`ringfence secrets {safe(action)}` {wrong}", hint=usage)


def in_force(options: options_module.Options) -> Policy:
    """The policy that would be in force for a run with these options."""
    return prepare.effective_policy(options, options_module.workspace_of(session.working_directory(options)))


# ---- list


def listed(options: options_module.Options, _: Sequence[str]) -> int:
    """Names, where values come from, where they are put in, and what holds placeholders inside."""
    found = in_force(options).secrets
    if options.json:
        put_json([as_json(secret, found) for secret in found.secrets])
        return 0
    for secret in found.secrets:
        put(f"{paint(secret.name, 'bold')}  {safe(described(secret.source))}", *details(secret, found))
    if not found.secrets:
        put(
            NONE,
            "docs/secrets.md shows how to begin; agents bring keys of their own; try `--preset` or `--secret` here",
        )
    return 0


def details(secret: Secret, found: Secrets) -> list[str]:
    """Everything but the name and the source, a line each."""
    rows = [("into", f"{where(one)}  {how(one)}".rstrip()) for one in secret.inject]
    rows += [("from", f"{where(one)}  {', '.join(f'{a} -> {b}' for a, b in one.fields)}") for one in secret.captures]
    rows += [("inside", f"${name}") for name in secret.variables]
    rows += [("inside", one.path) for one in files_of(secret, found)]
    if secret.scopes is not None:
        rows.append(("scopes", ", ".join(secret.scopes) or "none"))
    rows.append(("says", f"{secret.declared}{', optional' if secret.optional else ''}"))
    return table(rows, styles=["dim"])


def files_of(secret: Secret, found: Secrets) -> list[SecretFile]:
    """The files inside that have its placeholder."""
    return [one for one in found.files if f"{{{secret.name}}}" in one.text]


def where(one: Injection | Capture) -> str:
    """Host and ports, as rules are written."""
    ports = ",".join(str(low) if low == high else f"{low}-{high}" for low, high in one.ports)
    paths = " " + " ".join(one.paths) if one.paths else ""
    return f"{one.host}{'' if ports == '443' else f':{ports}'}{paths}"


def how(one: Injection) -> str:
    """In which part of which requests."""
    place = f"{one.placing.value} {one.name}".rstrip()
    return f"{place}  {' '.join(one.methods)}".rstrip()


def as_json(secret: Secret, found: Secrets) -> dict[str, object]:
    """One secret, as `--json` prints it."""
    built: dict[str, Any] = msgspec.to_builtins(secret)
    built["declared"] = str(secret.declared)
    asking: tuple[Injection | Capture, ...] = (*secret.inject, *secret.captures)
    for one, place in zip([*built.get("inject", ()), *built.get("captures", ())], asking, strict=True):
        one["declared"] = str(place.declared)
    built["files"] = [one.path for one in files_of(secret, found)]
    return built


# ---- check


def checked(options: options_module.Options, _: Sequence[str]) -> int:
    """Whether each source gives a value: its shape, never more."""
    secrets = in_force(options).secrets
    if not secrets.secrets:
        put_json([]) if options.json else put(NONE)
        return 0
    found = secret_trial.kept(secrets)
    absent = {one.name: one for one in found.missing}
    warnings = dict(found.warnings)
    rows = []
    for secret in secrets.secrets:
        row = {"name": secret.name, "source": described(secret.source), "state": "ok", "says": "", "hint": ""}
        if one := absent.get(secret.name):
            row |= {"state": "absent" if secret.optional else "missing", "says": one.reason, "hint": one.hint}
        elif secret.name in found.placeholders:
            row["says"] = secret_trial.shape(found.placeholders[secret.name])
        if warning := warnings.get(secret.name):
            row |= {"state": "unwise", "hint": warning}
        rows.append(row)
    if options.json:
        put_json(rows)
    else:
        put(*table([(row["state"], row["name"], row["source"], row["says"]) for row in rows], styles=["", "bold"]))
        put(*(f"  hint: {row['name']}: {safe(row['hint'])}" for row in rows if row["hint"]))
    return 1 if any(row["state"] == "missing" for row in rows) else 0


# ---- test


def tried(options: options_module.Options, named: Sequence[str]) -> int:
    """One real request to the host with each secret that is put in there."""
    host, policy = read_host(named[0]), in_force(options)
    wanted = secret_trial.requests(policy.secrets, host)
    if not wanted:
        raise UsageError(f"no secret is put into requests to `{host}`", hint="`ringfence secrets list`")
    trying = secret_trial.Trying(policy.secrets, policy.egress or Egress())
    try:
        results = [(secret, trying.request(secret, injection, host)) for secret, injection in wanted]
    finally:
        trying.close()
    problems = [problem(secret, trial) for secret, trial in results]
    failed = [why for (secret, trial), why in zip(results, problems, strict=True) if why and not spared(secret, trial)]
    if options.json:
        put_json(
            [msgspec.to_builtins(trial) | {"problem": why} for (_, trial), why in zip(results, problems, strict=True)]
        )
    for (_, trial), why in zip(results, problems, strict=True) if not options.json else ():
        said = "  ".join(part for part in (str(trial.status or ""), scopes(trial), why or accepted(trial)) if part)
        put(f"{paint(trial.secret, 'bold')}  {safe(trial.request)}  {safe(said)}")
        if trial.hint:
            put(f"  hint: {safe(trial.hint)}")
    return 1 if failed else 0


def spared(secret: Secret, trial: secret_trial.Trial) -> bool:
    """Whether it matters not that there was nothing to try: an optional secret without a value."""
    return secret.optional and trial.is_absent


def accepted(trial: secret_trial.Trial) -> str:
    """What a status that is no refusal says of the secret: nothing, where the host gives it to anybody."""
    if trial.status < 400 and trial.status_without == trial.status:
        return "no proof: the host answers the same without it"
    return "accepted" if trial.status < 400 else "not refused"


def read_host(text: str) -> str:
    """A host's canonical name; raise UsageError for what is none."""
    if "://" in text or "/" in text:
        raise UsageError(f"`{safe(text)}` is not a host", hint="write the host alone, as in `api.example.com`")
    try:
        return canonical_host(text)
    except ValueError as error:
        raise UsageError(f"`{safe(text)}` is not a host: {error}") from error


def scopes(trial: secret_trial.Trial) -> str:
    """The scopes that the host named."""
    return "" if trial.scopes is None else f"scopes: {', '.join(trial.scopes) or 'none'}"


def problem(secret: Secret, trial: secret_trial.Trial) -> str:
    """What is wrong; empty where the host took the secret."""
    if trial.problem:
        return trial.problem
    if trial.status in REFUSING:
        return "the host refuses it"
    beyond = set(trial.scopes or ()) - set(secret.scopes) if secret.scopes is not None else set()
    return f"it may do more than policy says: {', '.join(sorted(beyond))}" if beyond else ""


# ---- reload


def reloaded(given: arguments.Arguments) -> int:
    """Have live runs read every source anew."""
    wanted = given.text("run")
    workspace = options_module.workspace_of(session.working_directory(options_module.Options()))
    live = [run for run in kept.list_runs(HostPath(places.runs())) if kept.is_live(run)]
    chosen = [run for run in live if (run.run.startswith(wanted) if wanted else run.workspace == workspace)]
    if wanted and len(chosen) != 1:
        raise UsageError(f"`{safe(wanted)}` is not one live run", hint="`ringfence runs --all` lists them")
    if not chosen:
        put("no run of this workspace is live; `--run RUN` names one of another")
    failed = False
    for run in chosen:
        environment = vaults.operator_environment()
        try:
            answer = control.tell(run.directory, control.Reload(), [environment])
        finally:
            os.close(environment)
        failed = failed or answer is None or bool(answer.error)
        if answer is None:
            put(f"run {run.run}: it does not answer; its network may be off")
        elif answer.error:
            put(f"run {run.run}: {safe(answer.error)}", *([f"  hint: {safe(answer.hint)}"] if answer.hint else []))
        else:
            put(f"run {run.run}: read anew: {', '.join(answer.reloaded) or 'no secret has a value'}")
    return 1 if failed else 0
