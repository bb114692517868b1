"""Signs commits and tags for the contained side: the key stays outside, and what was signed stands in the audit.

Theory of operation. inside/sign.py sends one text (ear.py) and gets one signature, or a reason. A text is signed if it
is exactly one commit or tag as git writes it (signable.py), by people whom policy lets push where it says who may, as
long as there are signatures left. The record comes first: what cannot be recorded is not signed. The key is used by the
user's own `ssh-keygen` or `gpg`, with the user's own agent.

SECURITY: nothing is ever typed in for a program that asks: a passphrase belongs to the agent. Refusals are recorded up
to a limit, then counted.
"""

import hashlib
import os
import threading

import msgspec

from ringfence.model.egress import Egress
from ringfence.model.errors import HostError, RingfenceError
from ringfence.model.git import Pushes, Signing
from ringfence.model.guest_network import SIGNING
from ringfence.policy.git import accepts_address
from ringfence.sandbox import programs

from . import places, signable
from .ear import Ear
from .signable import Commit, Identity, Tag

TYPE_CHECKING = False  # for type checkers only
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ringfence.model.ports import Report
    from ringfence.sandbox.artefact import Artefact

SIGN_TIMEOUT_S = 60.0  # a key may wait to be touched
REFUSALS_RECORDED = 100
SHOWN_CHARACTERS = 200
KIND_BYTES = 64
REFUSED = 1  # inside/sign.py
BEGINNINGS = {"ssh": b"-----BEGIN SSH SIGNATURE-----", "openpgp": b"-----BEGIN PGP SIGNATURE-----"}


class Signer:
    """The companion (model/ports.py) of one run in which something may be signed."""

    def __init__(
        self, signing: Signing, pushes: "Sequence[Pushes]", sign: "Callable[[Signing, bytes], bytes] | None" = None
    ) -> None:
        self.signing = signing
        self.pushes = pushes
        self.sign = sign or sign_outside
        self.report: Report = lambda kind, code, fields: None
        self.ear = Ear("signing", self.answer, signable.LIMIT_BYTES + KIND_BYTES)
        self.one_at_a_time = threading.Lock()
        self.signed = self.refused = 0
        self.ended = False

    def attach(self, init: int, report: "Report") -> None:
        """Listen inside the boundary whose first process is `init`; raise HostError where that fails."""
        self.report = report
        self.ear.open(init, SIGNING)

    def close(self) -> None:
        """Stop listening, and record how much was refused beyond what the record shows."""
        self.ended = True
        self.ear.close()
        if self.refused > REFUSALS_RECORDED:
            self.report("denial", "signing-denied", {"target": "", "reason": "in all", "count": self.refused})

    def answer(self, data: bytes) -> tuple[int, bytes]:
        """Exit status and signature, or reason, for one message: format and namespace, a line feed, the text."""
        kind, _, text = data.partition(b"\n")
        with self.one_at_a_time:
            if self.ended:
                return REFUSED, b"the run has ended"
            try:
                found = self.permitted(kind.decode("ascii", "replace"), text)
                return 0, self.made(described(found, text) | {"format": self.signing.format}, text)
            except ValueError as error:
                self.refuse(str(error))
                return REFUSED, str(error).encode()
            except RingfenceError as error:
                return REFUSED, f"no signature could be made outside: {error}".encode(errors="replace")

    def made(self, fields: "dict[str, str | int | bool | list[str] | None]", text: bytes) -> bytes:
        """The signature of `text`, recorded first; raise HostError, recorded as well, where none can be made."""
        self.signed += 1
        self.report("signature", "", fields)
        try:
            return self.sign(self.signing, text)
        except (HostError, OSError) as error:
            if not self.ended:
                self.report("signature", "signing-failed", fields | {"reason": str(error)})
            raise HostError(str(error)) from error

    def permitted(self, kind: str, text: bytes) -> Commit | Tag:
        """What is to be signed; raise ValueError with the reason where policy has it refused."""
        form, _, namespace = kind.partition(" ")
        if not self.signing.key:
            raise ValueError("policy names no key to sign with")
        if form != self.signing.format:
            raise ValueError(f"policy's key signs as `{self.signing.format}`")
        if namespace != "git":
            raise ValueError("only what git signs is signed, in the namespace `git`")
        found = signable.read(text)
        if isinstance(found, Tag) and not self.signing.tags:
            raise ValueError("policy has no tags signed")
        self.check_people(found)
        if self.signed >= self.signing.max_signatures:
            raise ValueError(f"policy allows {self.signing.max_signatures} signatures in a run")
        return found

    def check_people(self, found: Commit | Tag) -> None:
        """Where policy says whose commits are pushed, nobody else's are signed; raise ValueError."""
        author, committer = (found.tagger, found.tagger) if isinstance(found, Tag) else (found.author, found.committer)
        if self.pushes and not any(
            accepts_address(rule.authors, author.email) and accepts_address(rule.committers, committer.email)
            for rule in self.pushes
        ):
            raise ValueError("policy lets nobody of that name push, so it is not signed")

    def refuse(self, reason: str) -> None:
        """Record a refusal, unless there were too many."""
        self.refused += 1
        if self.refused <= REFUSALS_RECORDED:
            self.report("denial", "signing-denied", {"target": "signature", "reason": reason})


def signer(artefact: "Artefact") -> Signer:
    """The one for a run whose policy has something signed."""
    remotes = msgspec.json.decode(artefact.egress, type=Egress).git_remotes if artefact.egress else ()
    pushes = [remote.push for remote in remotes if remote.push]
    return Signer(msgspec.json.decode(artefact.signing, type=Signing), pushes)


def described(found: Commit | Tag, text: bytes) -> "dict[str, str | int | bool | list[str] | None]":
    """What the audit keeps of what was signed; the digest is of every byte of it."""
    digest = {"digest": f"sha256:{hashlib.sha256(text).hexdigest()}", "subject": found.subject[:SHOWN_CHARACTERS]}
    if isinstance(found, Tag):
        return {"target": f"tag {found.name}", "object": found.target, "tagger": shown(found.tagger), **digest}
    people = {"author": shown(found.author), "committer": shown(found.committer)}
    return {"target": "commit", "tree": found.tree, "parents": list(found.parents[:16]), **people, **digest}


def shown(who: Identity) -> str:
    """Name and address as git writes them."""
    return f"{who.name} <{who.email}>"[:SHOWN_CHARACTERS]


def sign_outside(signing: Signing, text: bytes) -> bytes:
    """The signature that the user's own program makes; raise OSError, or HostError where it makes none."""
    passed = ("HOME", "PATH", "SSH_AUTH_SOCK", "GNUPGHOME", "LANG", "LC_ALL", "DISPLAY", "WAYLAND_DISPLAY", "GPG_TTY")
    environment = {name: os.environ[name] for name in passed if name in os.environ}
    if signing.format == "ssh":
        key = f"{places.home()}/{signing.key[2:]}" if signing.key.startswith("~/") else signing.key
        words = ["ssh-keygen", "-Y", "sign", "-n", "git", "-f", key]
        # Without these it would ask for a passphrase at the terminal that the contained command has.
        environment |= {"SSH_ASKPASS": "/bin/false", "SSH_ASKPASS_REQUIRE": "force"}
    else:
        key = signing.key
        words = ["gpg", "--batch", "--no-tty", "--armor", "--detach-sign", "--local-user", signing.key]
    try:
        status, made = programs.output_of(words, environment, SIGN_TIMEOUT_S, told=text)
    except TimeoutError:
        raise HostError(f"`{words[0]}` took longer than {SIGN_TIMEOUT_S:.0f} s") from None
    if status and signing.format == "ssh" and not os.path.lexists(key):
        raise HostError(f"there is no key `{key}`", hint="`git.signing.key` names it")
    if status or not made.startswith(BEGINNINGS[signing.format]):
        raise HostError(f"`{words[0]}` made no signature: is the key in your agent, or without a passphrase?")
    return made
