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
import sys

from ringfence.model.errors import HostError, SandboxError, UsageError
from ringfence.model.filling import filled
from ringfence.sandbox import launch

from . import places, standby
from .readiness import is_readable

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
    `inheritance` is a descriptor over which an older vault leaves what it holds. With `installed`
    (`places.installed_version`) a prepared one is taken where there is one.
    """

    def __init__(
        self,
        secrets: bytes,
        *,
        identifier: int = UNPRIVILEGED_UID,
        placeholders: bytes = b"{}",
        variables: "Mapping[str, str] | None" = None,
        environment: int = -1,
        inheritance: int = -1,
        installed: str = "",
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
        everything = {**os.environ, **(variables or {})}
        words = [str(identifier)]
        ready = installed and standby.is_wanted()
        found = standby.take(installed, "vault", words, self.log) if ready else None
        if found:
            self.process, channel = found
            told = b"\0".join(os.fsencode(f"{name}={value}") for name, value in everything.items())
            environment = launch.memory_file("environment", told)
        else:
            command = [*standby.bootstrap("vault_worker"), *words]
            child, channel = launch.start_worker(sys.executable, command, everything, self.log)
            self.process = os.pidfd_open(child)
        self.channel = _socket.socket(fileno=channel)
        inherits = b"true" if inheritance >= 0 else b"false"
        keep = b'{"type":"keep","secrets":%b,"placeholders":%b,"inherits":%b}' % (secrets, placeholders, inherits)
        passed = [descriptor for descriptor in (environment, inheritance) if descriptor >= 0]
        try:
            launch.send_descriptors(self.channel, keep, passed)
        finally:
            if found:
                os.close(environment)

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
        text = os.pread(self.log, os.lseek(self.log, 0, os.SEEK_CUR), 0).decode(errors="replace")  # where it stands
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
        if not self.is_used or not is_readable(process, END_TIMEOUT_S):
            try:
                _signal.pidfd_send_signal(process, _signal.SIGKILL)
            except ProcessLookupError:
                pass  # a child of the standby, which has ended
        is_readable(process)
        try:
            os.waitid(os.P_PIDFD, process, os.WEXITED)
        except ChildProcessError:
            pass  # the standby reaps it
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
        installed = places.installed_version()
        run.vault = Vault(artefact.secrets, identifier=identifier, variables=given, installed=installed)
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
        for line in unusable(secrets, kept.missing, {**os.environ, **run.vault.given}):
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
    secrets: "tuple[Secret, ...]", missing: "tuple[Absent, ...]", variables: "Mapping[str, str]"
) -> "list[str]":
    """What the operator is told of optional secrets: only of those that have a value, or a variable, of no use.

    A line for each, and one for what to do about it.
    """
    found = {one.name: one for one in missing}
    lines = []
    for secret in secrets:
        one, locator = found.get(secret.name), secret.source.locator
        of_variable = secret.source.origin.value == "env" and bool(variables.get(locator))
        if secret.optional and one and (one.is_unfit or of_variable):
            there = f"`{locator}` is set" if of_variable else "it has a value"
            lines.append(f"ringfence: the secret `{one.name}` is left out, though {there}: {one.reason}")
            lines += [f"  hint: {one.hint}"] if one.hint else []
    return lines


def first_missing(secrets: "tuple[Secret, ...]", kept: "Kept") -> UsageError | None:
    """The error for the first secret that must be there and is not."""
    absent: dict[str, Absent] = {one.name: one for one in kept.missing}
    for secret in secrets:
        if secret.name in absent and not secret.optional:
            one = absent[secret.name]
            hint = one.hint or "`ringfence secrets check` tests every source"
            return UsageError(f"the secret `{one.name}`: {one.reason}", place=str(secret.declared), hint=hint)
    return None
