"""The vault's first half: read the values, and answer with what stands for them.

Theory of operation. Values are read and placeholders made before anything else is loaded, because the command waits for
them. Then the process takes leave of files, of new sockets and of every other user (network/confinement.py); from there
on it has what it is sent: pairs of sockets, each of which the hop (network/hop.py) serves with the values' gate.

INVARIANT: no message to the supervisor holds a value (tests/integration/test_secrets.py searches its memory).
"""

import os
import socket
import sys
import threading
from collections.abc import Mapping, Sequence

from ringfence.sandbox import programs
from ringfence.secrets import sources
from ringfence.secrets.holdings import Bequest
from ringfence.secrets.keeper import Keeper
from ringfence.secrets.placeholders import UnfitError, placeholder

from . import places, vault_messages, vault_succession
from .vault_messages import Absent, Keep, Kept

NICE = 5


def serve(channel: int, *, identifier: int, adopted: bool = False) -> None:
    """Serve the run at the other end of `channel`, a descriptor, until that end is closed; confined as `identifier`.

    A process of somebody else's that was `adopted` has everything of its environment from that run.
    """
    link = socket.socket(fileno=channel)
    data, descriptors, _, _ = socket.recv_fds(link, vault_messages.PACKET_BYTES, 2)
    if not data:
        return
    keep = vault_messages.to_vault.decode(data)
    if not isinstance(keep, Keep):
        raise ConnectionAbortedError("the supervisor did not begin with what to keep")
    if adopted:
        os.environ.clear()
        os.environ.update(environment(descriptors[:1]))
        os.close(descriptors.pop(0))
    older = socket.socket(fileno=descriptors.pop()) if keep.inherits else None
    keeper, kept = opened(keep, environment(descriptors), vault_succession.everything(older) if older else [])
    link.send(vault_messages.encode(kept))
    if "ringfence.session.vault_carrying" not in sys.modules:
        loader = threading.Thread(target=load_aside)
        loader.start()
        loader.join()
    from . import vault_carrying

    vault_carrying.carry_on(link, keeper, older, identifier=identifier)


def load_aside() -> None:
    """Load the second half, which takes longer than all of the first, behind what builds and starts the command.

    A thread has a priority of its own, and whoever has lowered it may not raise it again.
    """
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
    from . import vault_carrying  # noqa: F401 - for whoever imports it next


def environment(descriptors: list[int]) -> dict[str, str]:
    """The variables to read: our own, and before them those in a copy of another process's (proc(5), `environ`)."""
    found = dict(os.environ)
    for descriptor in descriptors:
        with open(descriptor, "rb", closefd=False) as file:
            pairs = [item.partition(b"=") for item in file.read().split(b"\0") if b"=" in item]
        found |= {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}
    return found


def opened(keep: Keep, variables: Mapping[str, str], left: Sequence[Bequest] = ()) -> tuple[Keeper, Kept]:
    """Read every source; the values with what stands for them, and what to tell of them.

    What stood for a value of a source before, as an older vault has `left` it, stands for the new one.
    """
    outside = sources.Outside(
        environment=variables,
        home=places.home(),
        execute=lambda words, timeout_s: programs.output_of(words, variables, timeout_s),
    )
    values: dict[str, bytes] = {}
    missing: list[Absent] = []
    warnings: list[tuple[str, str]] = []
    for secret in keep.secrets.secrets:
        found = sources.read(secret.source, outside)
        if isinstance(found, sources.Missing):
            missing.append(Absent(secret.name, found.reason, found.hint))
            continue
        try:
            placeholder(found.value.reveal())
        except UnfitError as error:
            missing.append(Absent(secret.name, error.reason, error.hint, is_unfit=True))
            continue
        values[secret.name] = found.value.reveal()
        found.value.close()
        if found.warning:
            warnings.append((secret.name, found.warning))
    stood = {one.name: one.stand_in.decode("utf-8", "surrogateescape") for one in left if one.place == "source"}
    keeper = Keeper(keep.secrets, values, {**keep.placeholders, **stood})
    for one in left:
        keeper.inherit(one)
    told = Kept(placeholders=keeper.placeholders, missing=tuple(missing), warnings=tuple(warnings))
    return keeper, told
