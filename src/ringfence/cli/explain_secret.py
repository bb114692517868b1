"""What is said of secrets: which variables and files hold their placeholders, where they are put in, by whose word."""

from collections.abc import Sequence

from ringfence.model.git import GitRemote
from ringfence.model.secrets import Injection, Origin, Placing, Secret, Secrets, SecretSource
from ringfence.policy.hosts import bracketed, matches
from ringfence.policy.secrets.variables import filler, reader

from .explanation import Answer, Explanation

_PLACES = {Placing.HEADER: "header", Placing.QUERY: "parameter", Placing.BODY: "field"}


def explain_secret_variable(secrets: Secrets, name: str) -> Explanation | None:
    """Whether the variable `name` holds a placeholder, or is kept out because a secret is read from it; else None."""
    if secret := filler(secrets, name):
        state = f"a placeholder of the secret `{secret.name}`" + (f": {secret.reason}" if secret.reason else "")
        answer = Answer(status="yes", reason=state, rule=f"secrets.{secret.name}", origin=str(secret.declared))
        missing = ("without a value it is not set",) if secret.optional else ()
        notes = (f"its value is read from {source_text(secret.source)}, and stays outside", *put_in(secret), *missing)
        return Explanation(kind="env", target=name, answers={"seen": answer}, notes=notes)
    if secret := reader(secrets, name):
        reason = f"the secret `{secret.name}` is read from it, so its value stays outside"
        answer = Answer(status="no", reason=reason, rule=f"secrets.{secret.name}", origin=str(secret.declared))
        return Explanation(kind="env", target=name, answers={"seen": answer}, notes=put_in(secret))
    return None


def holder(secrets: Secrets, paths: Sequence[str]) -> Secret | None:
    """The secret whose value is read from a file, under one of its names."""
    files = [secret for secret in secrets.secrets if secret.source.origin is Origin.FILE]
    return next((secret for secret in files if secret.source.locator in paths), None)


def put_in(secret: Secret) -> tuple[str, ...]:
    """Where the placeholder is replaced by the value, a line for each place."""
    return tuple(f"put in at {injection_text(one)}" for one in secret.inject) or ("it is put in nowhere",)


def remarks(secrets: Secrets, remotes: Sequence[GitRemote], host: str) -> list[str]:
    """What is to be known of secrets and of git at a host that can be reached."""
    found = [
        f"the secret `{secret.name}` is put in at {injection_text(one)}"
        for secret in secrets.secrets
        for one in secret.inject
        if matches(one.host, host)
    ]
    for remote in (remote for remote in remotes if matches(remote.host, host)):
        found.append(f"git: {remote_text(remote)} ({remote.source})")
    return found


def injection_text(one: Injection) -> str:
    """One place in requests: host and ports, what is put in, which requests."""
    ports = ",".join(str(low) if low == high else f"{low}-{high}" for low, high in one.ports)
    what = f"{_PLACES[one.placing]} `{one.name}`" if one.placing in _PLACES else "the signature of AWS"
    narrowed = " ".join((*one.methods, *one.paths))
    return f"{bracketed(one.host)}:{ports}, {what}" + (f", {narrowed}" if narrowed else "")


def source_text(source: SecretSource) -> str:
    """Where a value is read from; of a command only its program, since the rest may tell more than is needed."""
    match source.origin:
        case Origin.ENVIRONMENT:
            return f"the variable `{source.locator}` outside"
        case Origin.FILE:
            return f"`{source.locator}`" + (f", `{source.field}`" if source.field else "")
        case Origin.COMMAND:
            return f"the command `{source.argv[0]}`"
        case _:
            return f"{source.origin.value} `{source.locator}`"


def remote_text(remote: GitRemote) -> str:
    """What git may do at a remote."""
    said = [" ".join(remote.repositories), "fetch" if remote.fetch else "no fetch"]
    signed = " what is signed" if remote.push and remote.push.signed else ""
    said.append(f"push{signed} to {' '.join(remote.push.refs)}" if remote.push else "no push")
    return ", ".join(said + ([f"LFS {remote.lfs.value}"] if remote.lfs.value != "none" else []))
