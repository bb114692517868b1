"""K2: new namespaces and changes of the view: the privileged kernel surface, and what a mount hides."""

from collections.abc import Callable

from tests.attacks.attack import Attack, cases, present
from tests.attacks.kernel import descriptor, held, mounted, namespaces

USER, MOUNT, NETWORK, PID, IPC, UTS, CGROUP, TIME = (
    0x10000000,
    0x00020000,
    0x40000000,
    0x20000000,
    0x08000000,
    0x04000000,
    0x02000000,
    0x00000080,
)


def in_child(body: str) -> str:
    """Have a child do it, so that the parent shows the difference; go on when it is done."""
    return (
        "read, write = os.pipe()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        f"    {body}; os.write(write, b'1')\n"
        "    import signal; signal.pause()\n"
        "os.close(write); os.read(read, 1)\n"
    )


def cleaned(body: str) -> str:
    """Make a held script that ends its children before it ends."""
    after = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.killpg(0, signal.SIGTERM)"
    return f"{held(body)}{after}\n"


# Unconfined this makes the attacker root of namespaces of its own; confined it is refused and goes on regardless.
POWER = f"call('unshare', {USER | MOUNT})\n"


def unshares(flags: int) -> str:
    return cleaned(in_child(f"show(call('unshare', {flags}))"))


def namespace(name: str, flags: int) -> Attack:
    return Attack(
        name=f"unshare-{name}",
        script=unshares(USER | flags),
        evidence=namespaces(name),
        code="namespace-denied",
        hold=True,
    )


CLONE = cleaned(
    "pid = call(56 if os.uname().machine == 'x86_64' else 220, "
    f"{USER | 17}, 0, 0, 0, 0)\n"
    "if pid == 0:\n    import signal; signal.pause()\nshow(pid)"
)
CLONE3 = cleaned(
    f"pid = call('clone3', struct.pack('QQQQQQQQ', {USER}, 0, 0, 0, 17, 0, 0, 0), 64)\n"
    "if pid == 0:\n    import signal; signal.pause()\nshow(pid)"
)
SETNS = cleaned(
    in_child(f"call('unshare', {USER})")
    + "other = child\n"
    + in_child(f"show(call('setns', os.open(f'/proc/{{other}}/ns/user', 0), {USER}))")
)


@cases(
    namespace("user", 0),
    namespace("mnt", MOUNT),
    namespace("net", NETWORK),
    namespace("ipc", IPC),
    namespace("uts", UTS),
    namespace("cgroup", CGROUP),
    Attack(name="clone", script=CLONE, evidence=namespaces("user"), code="namespace-denied", hold=True),
    Attack(
        name="clone3",
        script=CLONE3,
        evidence=namespaces("user"),
        unseen="clone3 does not exist inside: libc asks for it at each thread, so a record would drown the others",
        hold=True,
    ),
    Attack(name="setns", script=SETNS, evidence=namespaces("user"), code="namespace-denied", hold=True),
)
def test_namespace(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)


@cases(
    Attack(
        name="mount",
        script=held(POWER + "show(libc.mount(b'@mark@', b'@workspace@', b'tmpfs', 0, None))"),
        evidence=mounted("@mark@"),
        code="mount-denied",
        hold=True,
    ),
    Attack(
        name="bind-over-etc",
        script=held(POWER + "show(libc.mount(b'@workspace@', b'/etc', None, 4096, None))"),
        evidence=mounted(" /etc "),
        code="mount-denied",
        hold=True,
    ),
    Attack(
        name="fsopen",
        script=held(POWER + "show(call('fsopen', b'tmpfs', 0))"),
        evidence=descriptor("[fscontext]"),
        code="mount-denied",
        hold=True,
    ),
    Attack(
        name="mount-setattr",
        script=held(
            POWER + "libc.mount(None, b'/', None, 0x44000, None)\n"
            "show(call('mount_setattr', -100, b'/', 0, struct.pack('QQQQ', 0x200000, 0, 0, 0), 32))"
        ),
        evidence=mounted("nosymfollow"),
        code="mount-denied",
        hold=True,
    ),
    Attack(
        name="open-tree-and-move",
        script=held(
            POWER + "tree = show(call('open_tree', -100, b'/usr/bin', 1))\n"
            "os.mkdir('tree'); show(call('move_mount', tree, b'', -100, b'@workspace@/tree', 4))"
        ),
        evidence=mounted("@workspace@/tree"),
        code="mount-denied",
        hold=True,
    ),
    Attack(
        name="chroot",
        script=held(
            POWER + "os.mkdir('jail')\nshow(call('chroot', b'jail')) or os.chdir('/')\n"
            "open('in-jail', 'w').write('pwned')"
        ),
        evidence=lambda arena, ran: (arena.workspace / "jail/in-jail").exists(),
        code="mount-denied",
        hold=True,
    ),
    Attack(
        name="uncover-a-denied-file",
        script=held(POWER + "show(call('umount2', b'@workspace@/key.pem', 2))\nprint(open('key.pem').read())"),
        prepare=present("@workspace@/key.pem", "@canary@"),
        evidence=lambda arena, ran: arena.canary in ran.output,
        options=("--deny-read", "./key.pem"),
        code="mount-denied",
    ),
    Attack(
        name="hostname",
        script=held(
            f"call('unshare', {USER | UTS})\nshow(call('sethostname', b'@mark@', 21))\nprint(os.uname().nodename)"
        ),
        evidence=lambda arena, ran: f"\n{arena.values['mark']}" in ran.output,
        code="host-state",
    ),
)
def test_view(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)
