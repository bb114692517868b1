"""I1: state that the kernel keeps beside the file system: System V IPC, message queues, keyrings."""

import ctypes
import os
import secrets
from collections.abc import Callable

from tests.attacks.arena import Arena, Ran
from tests.attacks.attack import Attack, cases
from tests.attacks.kernel import NUMBERS, PRELUDE

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.shmat.restype = ctypes.c_void_p
CREATE, REMOVE, SETVAL, GETVAL = 0o1600, 0, 16, 12  # IPC_CREAT with mode 0600; IPC_RMID; <sys/sem.h>
USER_KEYRING, UNLINK, SEARCH, READ, SESSION = -4, 9, 10, 11, -3  # keyctl(2)
OTHER_NAMESPACE = "the IPC namespace is the sandbox's own: the key finds nothing there, which is no refusal"


def _shared(call: str, *arguments: int) -> int:
    found: int = getattr(_LIBC, call)(*arguments)
    assert found >= 0, f"{call}: {os.strerror(ctypes.get_errno())}"
    return found


def _key(arena: Arena) -> int:
    key = secrets.randbelow(2**31 - 1) + 1
    arena.values["key"] = str(key)
    return key


def memory_segment(arena: Arena) -> None:
    segment = _shared("shmget", _key(arena), 4096, CREATE)
    arena.closing.callback(_LIBC.shmctl, segment, REMOVE, None)
    address = _LIBC.shmat(segment, None, 0)
    ctypes.memmove(address, arena.canary.encode(), len(arena.canary))
    _LIBC.shmdt(ctypes.c_void_p(address))


def segment_and_file(arena: Arena) -> None:
    memory_segment(arena)
    arena.write("@workspace@/secret-name", arena.canary)


def message_queue(arena: Arena) -> None:
    queue = _shared("msgget", _key(arena), CREATE)
    arena.closing.callback(_LIBC.msgctl, queue, REMOVE, None)
    message = (1).to_bytes(8, "little") + arena.canary.encode()
    assert _LIBC.msgsnd(queue, message, len(message) - 8, 0) == 0


def semaphore(arena: Arena) -> None:
    found = _shared("semget", _key(arena), 1, CREATE)
    arena.closing.callback(_LIBC.semctl, found, 0, REMOVE)
    assert _LIBC.semctl(found, 0, SETVAL, 1) == 0
    arena.values["semaphore"] = str(found)


def taken(arena: Arena, ran: Ran) -> bool:
    return int(_LIBC.semctl(int(arena.values["semaphore"]), 0, GETVAL)) == 0


@cases(
    Attack(
        name="shared-memory",
        script=f"{PRELUDE}\nlibc.shmat.restype = ctypes.c_void_p\n"
        "address = libc.shmat(show(libc.shmget(@key@, 0, 0)), None, 0)\nprint(ctypes.string_at(address, 99))",
        prepare=memory_segment,
        unseen=OTHER_NAMESPACE,
    ),
    Attack(
        name="message-queue",
        script=f"{PRELUDE}\nspace = ctypes.create_string_buffer(200)\n"
        "show(libc.msgrcv(libc.msgget(@key@, 0), space, 190, 0, 0o4000))\nprint(space.raw)",
        prepare=message_queue,
        unseen=OTHER_NAMESPACE,
    ),
    Attack(
        name="semaphore",
        script=f"{PRELUDE}\nshow(libc.semop(libc.semget(@key@, 1, 0), struct.pack('Hhh', 0, -1, 0), 1))",
        prepare=semaphore,
        evidence=taken,
        unseen=OTHER_NAMESPACE,
    ),
    Attack(
        name="list-of-segments",
        script="grep -c @key@ /proc/sysvipc/shm >/dev/null && cat secret-name",
        shell=True,
        prepare=segment_and_file,
        evidence=lambda arena, ran: arena.canary in ran.output,
        unseen=OTHER_NAMESPACE,
    ),
)
def test_system_v(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)


def posix_queue(arena: Arena) -> None:
    name = f"/ringfence-attack-{secrets.token_hex(6)}"
    arena.values["queue"] = name
    queue = ctypes.CDLL("librt.so.1").mq_open(name.encode(), os.O_CREAT | os.O_RDWR, 0o600, None)
    assert queue >= 0
    arena.closing.callback(_LIBC.mq_unlink, name.encode())
    assert _LIBC.mq_send(queue, arena.canary.encode(), len(arena.canary), 0) == 0
    os.close(queue)


@cases(
    Attack(
        name="message-queue",
        script=f"{PRELUDE}\nspace = ctypes.create_string_buffer(9000)\nqueue = show(libc.mq_open(b'@queue@', 0))\n"
        "libc.mq_receive(queue, space, 9000, None)\nprint(space.value)",
        prepare=posix_queue,
        unseen=OTHER_NAMESPACE,
    )
)
def test_posix(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)


def _keyctl(operation: int, *arguments: object) -> int:
    wide = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return int(_LIBC.syscall(ctypes.c_long(NUMBERS["keyctl"] or 0), ctypes.c_long(operation), *wide))


def _search(name: str) -> int:
    return _keyctl(SEARCH, USER_KEYRING, b"user", name.encode(), 0)


def _forget(name: str) -> None:
    if (key := _search(name)) > 0:
        _keyctl(UNLINK, key, USER_KEYRING)


def key_name(arena: Arena) -> None:
    arena.values["name"] = f"ringfence-attack-{secrets.token_hex(6)}"
    arena.closing.callback(_forget, arena.values["name"])


def host_key(arena: Arena) -> None:
    """Put a key that holds the canary, and one that is named after it, into the user's keyring."""
    key_name(arena)
    arena.closing.callback(_forget, arena.canary)
    for name in (arena.values["name"], arena.canary):
        number = ctypes.c_long(NUMBERS["add_key"] or 0)
        ring = ctypes.c_long(USER_KEYRING)
        payload = arena.canary.encode()
        assert _LIBC.syscall(number, b"user", name.encode(), payload, ctypes.c_long(len(payload)), ring) > 0


@cases(
    Attack(
        name="leave-a-key",
        script=f"{PRELUDE}\nshow(call('add_key', b'user', b'@name@', b'pwned', 5, {USER_KEYRING}))",
        prepare=key_name,
        evidence=lambda arena, ran: _search(arena.values["name"]) > 0,
        code="keyring-denied",
    ),
    Attack(
        name="read-a-key",
        # The session keyring is linked to the user's only after a login; possession is made first.
        script=f"{PRELUDE}\ncall('keyctl', 8, {USER_KEYRING}, {SESSION})\nspace = ctypes.create_string_buffer(99)\n"
        f"found = show(call('keyctl', {SEARCH}, {USER_KEYRING}, b'user', b'@name@', 0))\n"
        f"show(call('keyctl', {READ}, found, space, 99))\n"
        "print(space.value)",
        prepare=host_key,
        code="keyring-denied",
    ),
    Attack(
        name="request-a-key",
        script=f"{PRELUDE}\ncall('keyctl', 8, {USER_KEYRING}, {SESSION})\nspace = ctypes.create_string_buffer(99)\n"
        f"show(call('keyctl', {READ}, show(call('request_key', b'user', b'@name@', None, 0)), space, 99))\n"
        "print(space.value)",
        prepare=host_key,
        code="keyring-denied",
    ),
    Attack(
        name="names-of-keys",
        script="cat /proc/keys",
        shell=True,
        prepare=host_key,
        unseen="the file is masked by an empty one: opening it succeeds and shows nothing",
    ),
)
def test_keyring(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)
