"""L1: memory without end, in every place that the kernel keeps it, also where no process's share shows it."""

from collections.abc import Callable

from tests.attacks.arena import Arena, Ran
from tests.attacks.attack import Attack, cases, to_be_stopped

LIMIT = '[limits]\nmemory = "64MiB"\ntmp-size = "32MiB"\nshm-size = "32MiB"\nrun-size = "8MiB"\nhome-size = "32MiB"\n'
WANTED_MIB = 160  # well above the limit, well below what a small machine has
# What is held must stay until somebody looks: the watchdog does so ten times a second where it gets the time.
STAY = "\nimport sys\nprint('ready', flush=True)\nsys.stdin.read()\nopen('survived', 'w').write('pwned')\n"


def survived(arena: Arena, ran: Ran) -> bool:
    return (arena.workspace / "survived").exists()


def hoards(name: str, body: str, code: str = "memory", unseen: str = "") -> Attack:
    return Attack(
        name=name,
        script=body + STAY,
        meanwhile=to_be_stopped,
        evidence=survived,
        policy=LIMIT,
        code="" if unseen else code,
        unseen=unseen,
    )


@cases(
    hoards("private", f"kept = bytearray({WANTED_MIB} << 20)"),
    Attack(
        name="many-processes",
        script="import os, sys\nread, write = os.pipe()\nfor number in range(8):\n    if os.fork() == 0:\n"
        f"        kept = bytearray({WANTED_MIB // 8} << 20); os.write(write, b'1'); os.close(write)\n"
        "        sys.stdin.read(); open(f'survived-{number}', 'w').write('pwned'); os._exit(0)\n"
        "os.close(write)\nif sum(len(os.read(read, 1)) for number in range(8)) < 5: sys.exit('killed')\n"
        "print('ready', flush=True)\n"
        "for number in range(8): os.wait()",
        meanwhile=to_be_stopped,
        evidence=lambda arena, ran: len(list(arena.workspace.glob("survived-*"))) > 4,
        policy=LIMIT,
        code="memory",
    ),
    hoards(
        "memory-file-never-mapped",
        f"import os\nkept = os.memfd_create('x')\nfor number in range({WANTED_MIB}): os.write(kept, bytes(1 << 20))",
    ),
    hoards(
        "memory-files-on-their-way",
        f"import os, socket\nkept = []\nfor number in range({WANTED_MIB // 8}):\n"
        "    file = os.memfd_create('x')\n"
        "    for _ in range(8): os.write(file, bytes(1 << 20))\n"
        "    kept += (pair := socket.socketpair()); socket.send_fds(pair[0], [b'x'], [file]); os.close(file)",
    ),
    hoards(
        "segments-detached",
        "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.shmat.restype = ctypes.c_void_p\n"
        f"for number in range({WANTED_MIB // 16}):\n"
        "    segment = libc.shmget(0, ctypes.c_size_t(16 << 20), 0o1600)\n"
        "    if segment < 0: raise SystemExit('refused')\n"
        "    address = libc.shmat(segment, None, 0)\n"
        "    ctypes.memset(ctypes.c_void_p(address), 1, 16 << 20); libc.shmdt(ctypes.c_void_p(address))",
        unseen="kernel.shmall of the sandbox's IPC namespace refuses with ENOSPC, of which there is no event",
    ),
    hoards("shared-anonymous", f"import mmap\nkept = mmap.mmap(-1, {WANTED_MIB} << 20)\nkept.write(bytes(len(kept)))"),
)
def test_memory(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)


# A private file system of unlimited size stands where the sandbox has a small one.
MOUNTS = 'mount -t tmpfs none "$1" && shift && exec "$@"'
FULL = "the file system is full: ENOSPC goes to whoever writes, and the kernel tells nobody else"


def fills(name: str, place: str) -> Attack:
    return Attack(
        name=name,
        script=f"with open('{place}/filling', 'wb', buffering=0) as file:\n"
        f"    for number in range({WANTED_MIB}):\n"
        f"        if file.write(bytes(1 << 20)) < 1 << 20: raise SystemExit('full')\n" + STAY,
        world=lambda arena: ["unshare", "-Urm", "--", "sh", "-c", MOUNTS, "sh", place],
        evidence=survived,
        policy=LIMIT,
        unseen=FULL,
    )


@cases(fills("tmp", "/tmp"), fills("shared-memory", "/dev/shm"), fills("run", "/run"))
def test_private_place(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)
