"""The egress proxy's process: prepare, say what must be trusted, give everything up, serve one session.

Two ways lead here. `main` is a process started for one run, with the channel to its supervisor as descriptor 3.
`serve_assigned` is a fork of the standby (standby_server.py): prepared in advance, it waits to be given to a run.
Preparing takes some 150 ms, nearly all of it imports; a prepared one serves within a millisecond. Forks share what the
standby has loaded and tried out before (`rehearse`); keys, rules and names come after the fork.
"""

import ctypes
import functools
import os
import socket
import sys
from collections.abc import Collection

from ringfence.network import confinement, messages, proxy, spool, tls, trust
from ringfence.sandbox import proxy_syscalls, seccomp

from . import titles

CHANNEL = 3
STORES = ("authority", "bundle", "java")


def main() -> None:
    """Serve the run that started this process. The arguments: the user to be as root, the names of files to fill."""
    os.closerange(CHANNEL + 1, (1 << 31) - 1)  # SECURITY: what the user's shell has left open
    titles.appear_as(titles.PROXY)
    prepared = proxy.prepare()
    serve(prepared, stores(prepared, sys.argv[2:]), sys.argv[1:], CHANNEL)


def rehearse() -> None:
    """In the standby, before it forks: do all that a proxy does before its run is known, so that forks share it.

    What does not work fails here, before a run depends on it. SECURITY: the keys made here are nobody's.
    """
    prepared = proxy.prepare()
    stores(prepared, STORES)
    prepared.close()
    program()


def serve_assigned(give: socket.socket, names: Collection[str]) -> None:
    """Prepare, wait on `give` for a run, serve it; `names` are the files that it is likely to want filled."""
    titles.appear_as(titles.PROXY)
    prepared = proxy.prepare()
    made = stores(prepared, names)
    data, descriptors, _, _ = socket.recv_fds(give, messages.PACKET_BYTES, 2)
    give.close()
    if len(descriptors) != 2:
        return  # the standby has ended
    channel, log = descriptors
    os.dup2(log, 2)
    os.close(log)
    serve(prepared, made, data.decode().split(" "), channel)


def serve(prepared: proxy.Proxy, made: dict[str, bytes], words: list[str], channel: int) -> None:
    """Introduce the session's authority, give up everything, and serve until the supervisor is gone."""
    wanted = [name.rpartition(".")[2] for name in words[1:]]
    if not made.keys() >= set(wanted):
        made.update(stores(prepared, wanted))
    introduce(prepared.authority.certificate_pem, [made[name] for name in wanted], channel)
    made.clear()
    give_back()
    confinement.confine(program(), identifier=int(words[0]), file_bytes=spool.LARGEST_BYTES)
    prepared.run(channel)


@functools.cache
def program() -> bytes:
    """The system-call filter, the same for every run."""
    return seccomp.build_list(proxy_syscalls.PROXY, machine=os.uname().machine)


def give_back() -> None:
    """Let the kernel have the memory that only preparing needed, where the C library knows how: malloc_trim(3)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)


def stores(prepared: proxy.Proxy, names: Collection[str]) -> dict[str, bytes]:
    """What is to stand in each file of trust (planner/trust_store.py), by its store."""
    certificate = prepared.authority.certificate_pem
    wanted = {name.rpartition(".")[2] for name in names}
    found = {"authority": certificate.encode()}
    if wanted & {"bundle", "java"}:
        found["bundle"] = trust.bundle(tls.system_certificates(), certificate)
    if "java" in wanted:
        found["java"] = trust.java_store(found["bundle"])
    return found


def introduce(certificate: str, contents: list[bytes], channel: int) -> None:
    """Send the session's certificate, and a memfd with each of `contents`."""
    made = [memory_file(content) for content in contents]
    with socket.socket(fileno=os.dup(channel)) as told:
        socket.send_fds(told, [messages.encode(messages.Authority(certificate=certificate))], made)
    for descriptor in made:
        os.close(descriptor)


def memory_file(data: bytes) -> int:
    """A descriptor on an anonymous file that holds `data`."""
    descriptor = os.memfd_create("trust")
    with open(os.dup(descriptor), "wb") as file:
        file.write(data)
    return descriptor
