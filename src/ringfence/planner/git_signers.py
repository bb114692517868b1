"""Whose signatures a push needs: keys out of the files that policy names, else the key of `git.signing`.

SECURITY: who can write to such a file decides who may sign, so none may be writable inside.
"""

from collections.abc import Sequence

import msgspec

from ringfence.model.egress import Egress
from ringfence.model.errors import UsageError
from ringfence.model.git import GitRemote, Pushes, Signer
from ringfence.model.plan import HostFacts, Mount
from ringfence.policy.effective import Policy
from ringfence.policy.signers import is_path, read_signers

from .git import public_key
from .mounts import fact
from .view import LIVE, places

UNWANTED = "or leave `signed` out"


def paths(policy: Policy, home: str) -> list[str]:
    """Host files of keys."""
    signers = (one for _, pushes in _signed(policy.egress) for one in pushes.signers)
    return [_absolute(one.key, home) for one in signers if is_path(one.key)]


def with_signers(policy: Policy, facts: HostFacts) -> Egress | None:
    """Return what may be reached with every signer's own key; raise UsageError where a push would need nobody's."""
    egress = policy.egress
    if egress is None or not (wanting := _signed(egress)):
        return egress
    changed = {remote: _with_keys(remote, pushes, policy, facts) for remote, pushes in wanting}
    return msgspec.structs.replace(egress, git_remotes=tuple(changed.get(one, one) for one in egress.git_remotes))


def check_signers(view: Sequence[Mount], policy: Policy, facts: HostFacts) -> None:
    """Refuse a view in which a file of signers can be written to; raise UsageError."""
    for path in paths(policy, facts.home):
        for place in {path, fact(facts, path).resolved or path}:
            if any(mount.kind in LIVE for mount, _ in places(view, place)):
                message = f"`{path}` says whose signatures count, and could be changed inside"
                raise UsageError(message, hint="keep it outside the workspace, or write the keys into policy")


def _with_keys(remote: GitRemote, pushes: Pushes, policy: Policy, facts: HostFacts) -> GitRemote:
    place = str(remote.source)
    found: list[Signer] = []
    for one in pushes.signers:
        found += _read(_absolute(one.key, facts.home), facts, place) if is_path(one.key) else (one,)
    if not pushes.signers:
        if not policy.signing.key or policy.signing.format != "ssh":
            hint = f'add `signers = ["ssh-ed25519 AAAA..."]`, {UNWANTED}; signatures of OpenPGP cannot be checked'
            raise UsageError("a push must be `signed`, but by nobody: there is no SSH key", place=place, hint=hint)
        found += _keys(public_key(policy.signing, facts), f"{policy.signing.key}.pub", place)
    return msgspec.structs.replace(remote, push=msgspec.structs.replace(pushes, signers=tuple(found)))


def _read(path: str, facts: HostFacts, place: str) -> tuple[Signer, ...]:
    found = _keys(fact(facts, path).text, path, place)
    if not found:
        message = f"`{path}` names nobody whose signatures count"
        raise UsageError(message, place=place, hint=f"a line of it is as in `id_ed25519.pub`, {UNWANTED}")
    return found


def _keys(text: str, path: str, place: str) -> tuple[Signer, ...]:
    try:
        return read_signers(text)
    except ValueError as error:
        raise UsageError(f"`{path}` holds {error}", place=place, hint=UNWANTED) from error


def _signed(egress: Egress | None) -> list[tuple[GitRemote, Pushes]]:
    remotes = egress.git_remotes if egress is not None else ()
    return [(remote, remote.push) for remote in remotes if remote.push is not None and remote.push.signed]


def _absolute(path: str, home: str) -> str:
    return f"{home}/{path[2:]}" if path.startswith("~/") else path
