"""A run's vault, as far as a launch waits for it: start it, learn what stands for each secret, put that in its places.

Starting takes some 50 ms, during which the boundary is built: what stands for the values is only needed for the last
thing that is told to it, the command's environment.

The vault (vault_worker.py) is a process of its own, there only in runs that have secrets. It reads values itself, so
none ever comes here: a variable that is a secret's source has its value in the environment with which the user started
ringfence, and is handed on with all of it.
"""

import _signal
import _socket
import os
import select
import sys

from ringfence.model.errors import HostError, SandboxError, UsageError
from ringfence.model.filling import filled
from ringfence.sandbox import launch

from . import standby

TYPE_CHECKING = False  # for type checkers only: `typing` costs 10 ms
if TYPE_CHECKING:
    from collections.abc import Mapping

    from ringfence.model.secrets import Secret
    from ringfence.sandbox.artefact import Artefact

    from .run import Run
    from .vault_messages import Absent, Kept

START_TIMEOUT_S = 20.0
END_TIMEOUT_S = 2.0
SLOW_ORIGINS = (b'"command"', b'"keyring"', b'"vault"', b'"aws"', b'"op"')
UNPRIVILEGED_UID = 65534


class Vault:
    """One vault process. `secrets` is JSON (model/secrets.py).

    `identifier` is whom it becomes as root, 0 for a user of its own; `placeholders` are those of the vault whose place
    it takes, as JSON. `variables` go before our own, and those in `environment`, a descriptor (-1: none), before both.
    """

    def __init__(
        self,
        secrets: bytes,
        *,
        identifier: int = UNPRIVILEGED_UID,
        placeholders: bytes = b"{}",
        variables: "Mapping[str, str] | None" = None,
        environment: int = -1,
    ) -> None:
        if not sys.executable:
            raise HostError("the vault needs a Python interpreter of its own", hint="set `sys.executable`")
        self.placeholders: dict[str, str] = {}
        self.missing: list[tuple[str, str]] = []  # optional ones without a value, and why
        self.given = variables or {}
        self.is_used = False
        self.secrets = secrets
        self.identifier = identifier
        self.log = os.memfd_create("vault.log", os.MFD_CLOEXEC)
        command = [*standby.bootstrap("vault_worker"), str(identifier)]
        child, channel = launch.start_worker(sys.executable, command, {**os.environ, **(variables or {})}, self.log)
        self.process = os.pidfd_open(child)
        self.channel = _socket.socket(fileno=channel)
        keep = b'{"type":"keep","secrets":%b,"placeholders":%b}' % (secrets, placeholders)
        launch.send_descriptors(self.channel, keep, [environment] if environment >= 0 else [])

    def take(self) -> "Kept":
        """Wait for what stands for each value; raises SandboxError for a vault that ended first."""
        from . import vault_messages  # while the vault starts

        slow = sum(self.secrets.count(origin) for origin in SLOW_ORIGINS)
        self.channel.settimeout(START_TIMEOUT_S * (1 + slow))
        try:
            data = self.channel.recv(vault_messages.PACKET_BYTES)
        except (TimeoutError, ConnectionError):
            data = b""
        finally:
            self.channel.settimeout(None)
        kept = vault_messages.from_vault.decode(data) if data else None
        if not isinstance(kept, vault_messages.Kept):
            self.close()
            said = self.said()
            self.release()
            raise SandboxError(f"the vault did not start: {said}", hint="`ringfence secrets check`")
        self.placeholders = dict(kept.placeholders)
        return kept

    def marked(self) -> bytes:
        """What the proxy is told of the placeholders, so that it knows them where they may not be."""
        from ringfence.network import messages

        return messages.encode(messages.Marked(placeholders=self.placeholders))

    def said(self) -> str:
        """The last thing it said on standard error: a kind of error and a place, never a value."""
        text = os.pread(self.log, 1 << 16, 0).decode(errors="replace")
        return text.strip().rpartition("\n")[2] or "it said nothing"

    def send(self, message: bytes, descriptors: "list[int]") -> None:
        """Send a message; raises OSError, also where the vault does not take messages any more."""
        self.is_used = True
        rights = b"".join(descriptor.to_bytes(4, "little") for descriptor in descriptors)
        ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)] if rights else []
        self.channel.sendmsg([message], ancillary, _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)

    def close(self) -> None:
        """End the vault and every connection through it; what it has said can still be received."""
        process, self.process = self.process, -1
        if process < 0:
            return
        try:
            self.channel.shutdown(_socket.SHUT_WR)  # it sees the end, says the rest, and ends
        except OSError:
            pass  # it has ended already
        # One that was told nothing has nothing to tell, and may be loading what it would need.
        if not self.is_used or not select.select([process], [], [], END_TIMEOUT_S)[0]:
            _signal.pidfd_send_signal(process, _signal.SIGKILL)
        os.waitid(os.P_PIDFD, process, os.WEXITED)
        os.close(process)

    def release(self) -> None:
        """End it, if that has not been done, and give every descriptor back; once more is nothing."""
        self.close()
        self.channel.close()
        log, self.log = self.log, -1
        if log >= 0:
            os.close(log)


def begin(run: "Run") -> None:
    """Start the run's vault where it needs one.

    What the run's caller sets for the command, and a secret fills or is read from, is a value for the vault. `fill` is
    called here where the boundary needs what stands for the values from its start, or where reading them may take the
    user's time: until the boundary is started, Ctrl-C ends everything.
    """
    artefact = run.artefact
    given = {name: run.extra_environment.pop(name) for name in artefact.withheld if name in run.extra_environment}
    if is_needed(artefact, given):
        identifier = 0 if artefact.idmap else UNPRIVILEGED_UID
        run.vault = Vault(artefact.secrets, identifier=identifier, variables=given)
    run.is_filled = False
    if run.vault is None or artefact.secret_files or any(origin in artefact.secrets for origin in SLOW_ORIGINS):
        fill(run)


def fill(run: "Run") -> None:
    """Put placeholders into the run's variables and files; raise UsageError for a secret that must be there."""
    artefact = run.artefact
    placeholders: dict[str, str] = {}
    if run.vault:
        kept = run.vault.take()
        secrets = declared(artefact.secrets)
        if found := first_missing(secrets, kept):
            raise found
        placeholders = run.vault.placeholders
        run.vault.missing = [(absent.name, absent.reason) for absent in kept.missing]
        for line in unusable(secrets, run.vault.missing, {**os.environ, **run.vault.given}):
            run.notice(line)
        for secret in secrets:
            if secret.name in placeholders:
                run.extra_environment.update(dict.fromkeys(secret.variables, placeholders[secret.name]))
    for number in artefact.secret_files:
        artefact.files[number] = filled(artefact.files[number], placeholders)
    artefact.secret_files = []
    run.is_filled = True


def is_needed(artefact: "Artefact", given: "Mapping[str, str]") -> bool:
    """Whether there is anything to keep, and a network for which to keep it."""
    if not artefact.secrets or not artefact.egress:
        return False
    return not artefact.vault_if or any(name in os.environ or name in given for name in artefact.vault_if)


def declared(secrets: bytes) -> "tuple[Secret, ...]":
    """The secrets in their JSON form, as policy has declared them."""
    import msgspec

    from ringfence.model.secrets import Secrets

    return msgspec.json.decode(secrets, type=Secrets).secrets


def unusable(
    secrets: "tuple[Secret, ...]", missing: "list[tuple[str, str]]", variables: "Mapping[str, str]"
) -> "list[str]":
    """What the operator is told of optional secrets: only of those whose variable is set, and is no value."""
    reasons = dict(missing)
    return [
        f"ringfence: the secret `{secret.name}` is left out, though `{secret.source.locator}` is set: "
        f"{reasons[secret.name]}"
        for secret in secrets
        if secret.name in reasons and secret.source.origin.value == "env" and variables.get(secret.source.locator)
    ]


def first_missing(secrets: "tuple[Secret, ...]", kept: "Kept") -> UsageError | None:
    """The error for the first secret that must be there and is not."""
    absent: dict[str, Absent] = {one.name: one for one in kept.missing}
    for secret in secrets:
        if secret.name in absent and not secret.optional:
            one = absent[secret.name]
            hint = one.hint or "`ringfence secrets check` tests every source"
            return UsageError(f"the secret `{one.name}`: {one.reason}", place=str(secret.declared), hint=hint)
    return None
