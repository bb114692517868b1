"""What is asked of the arguments of system calls that are allowed in part, or that are watched.

A node is a verdict, `(errno, code)`, or a `Match` that leads on to other nodes. errno 0 lets the call through; a
code other than that of ABSENT means that the call is recorded, let through or not.

A filter sees registers, not memory: rules exist only where the deciding value is a scalar. The kernel reads each
of these arguments as 32 bits or less, so exactly the low half is compared. Comparing all 64 bits let TIOCSTI
through with rubbish in the upper half (CVE-2019-7303). What lies in memory is out of sight: clone3 does not exist
inside for that reason, and openat2 can still create a setuid file, so that keeping such files from the host is the
business of the workspace as well.
"""

from __future__ import annotations

from .refused_syscalls import ENOSYS, EPERM

EPROTONOSUPPORT = 93  # errno(3)
EAFNOSUPPORT = 97

TYPE_CHECKING = False  # as typing.TYPE_CHECKING, which costs an import of its own
if TYPE_CHECKING:
    Verdict = tuple[int, str]


class Match:
    """Go to the case that an argument equals after `mask`, else to `otherwise`. `high`: its upper 32 bits."""

    __slots__ = ("argument", "cases", "high", "mask", "otherwise")

    def __init__(
        self,
        argument: int,
        cases: dict[int, Match | Verdict],
        otherwise: Match | Verdict,
        *,
        mask: int = 0xFFFFFFFF,
        high: bool = False,
    ) -> None:
        self.argument = argument
        self.cases = cases
        self.otherwise = otherwise
        self.mask = mask
        self.high = high


ALLOW: Verdict = (0, "")
ABSENT: Verdict = (ENOSYS, "syscall-absent")
FOREIGN_ABI: Verdict = (ENOSYS, "foreign-abi")

# Watched: the call goes ahead; the record shows who was to be reached. Deliberately not among them: tgkill and
# tkill (Go and the JVM preempt with them, thousands a second) and sendmsg (its address lies in memory).
CONNECT: Verdict = (0, "connect-attempt")
SEND: Verdict = (0, "send-attempt")
SIGNAL: Verdict = (0, "signal-attempt")

NAMESPACE: Verdict = (EPERM, "namespace-denied")
SETUID: Verdict = (EPERM, "setuid-denied")
DEVICE: Verdict = (EPERM, "device-denied")
TERMINAL: Verdict = (EPERM, "terminal-injection")
PROCESS: Verdict = (EPERM, "process-access")
PERSONALITY: Verdict = (EPERM, "personality-denied")
LISTENER: Verdict = (EPERM, "seccomp-listener")
FAMILY: Verdict = (EAFNOSUPPORT, "socket-family")
TYPE: Verdict = (EPERM, "socket-type")
UNIX: Verdict = (EPERM, "unix-socket")
PROTOCOL: Verdict = (EPROTONOSUPPORT, "socket-protocol")

# clone(2), linux/sched.h: NEWNS NEWCGROUP NEWUTS NEWIPC NEWUSER NEWPID NEWNET. CLONE_NEWTIME (0x80) lies within
# the exit signal here; only unshare and clone3 take it.
CLONE_NEW = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16  # address_families(7)
SOCK_TYPE_MASK = 0xF  # linux/net.h; above it stand SOCK_CLOEXEC and SOCK_NONBLOCK
SOCK_STREAM, SOCK_DGRAM = 1, 2  # socket(2)
IPPROTO_IP, IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMPV6 = 0, 1, 6, 17, 58  # ip(7), ipv6(7)
NETLINK_ROUTE = 0  # netlink(7)

TIOCSTI = 0x5412  # ioctl_tty(2): types into the user's terminal (CVE-2017-5226)
TIOCLINUX = 0x541C  # ioctl_console(2): pastes into a virtual console (CVE-2023-28100)
TIOCSETD = 0x5423  # ioctl_tty(2): loads a line discipline (CVE-2017-2636, CVE-2023-6546)

PR_SET_MM = 35  # prctl(2): rewrites what /proc shows of the process
PER_LINUX, ADDR_NO_RANDOMIZE, QUERY = 0, 0x0040000, 0xFFFFFFFF  # personality(2)
SECCOMP_FILTER_FLAG_NEW_LISTENER = 0x8  # seccomp(2)

S_ISUID = 0o4000  # inode(7)
S_IFMT, S_IFIFO, S_IFREG, S_IFSOCK = 0o170000, 0o010000, 0o100000, 0o140000
O_CREAT, O_TMPFILE_BIT = 0o100, 0o20000000  # asm-generic/fcntl.h (__O_TMPFILE); the same on both machines


def _without_setuid(mode: int) -> Match:
    """Refuse S_ISUID in argument `mode`. S_ISGID stays: shared git repositories set it on directories."""
    return Match(mode, {0: ALLOW}, SETUID, mask=S_ISUID)


def _creating(flags: int, mode: int) -> Match:
    """Look at `mode` only where `flags` create a file; otherwise the kernel ignores it and callers leave rubbish."""
    return Match(flags, {0: ALLOW}, _without_setuid(mode), mask=O_CREAT | O_TMPFILE_BIT)


def _node_of(mode: int) -> Match:
    kind = _without_setuid(mode)
    return Match(mode, dict.fromkeys((0, S_IFREG, S_IFIFO, S_IFSOCK), kind), DEVICE, mask=S_IFMT)


_PROTOCOLS = (IPPROTO_IP, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6)
_INET_PROTOCOL = Match(2, dict.fromkeys(_PROTOCOLS, ALLOW), PROTOCOL)
_INET = Match(1, {SOCK_STREAM: _INET_PROTOCOL, SOCK_DGRAM: _INET_PROTOCOL}, TYPE, mask=SOCK_TYPE_MASK)
_ROUTE = Match(2, {NETLINK_ROUTE: ALLOW}, PROTOCOL)

# name -> (node, reason). A profile's grant of the same name lifts the rule.
RULES: dict[str, tuple[Match | Verdict, str]] = {
    "clone": (Match(0, {0: ALLOW}, NAMESPACE, mask=CLONE_NEW), "threads and children, no namespaces"),
    "socket": (
        Match(0, {AF_UNIX: ALLOW, AF_INET: _INET, AF_INET6: _INET, AF_NETLINK: _ROUTE}, FAMILY),
        "TCP, UDP and ping; MPTCP passes Landlock's port rules, SCTP and DCCP load modules (CVE-2017-6074)",
    ),
    "socketpair": (Match(0, {AF_UNIX: ALLOW}, FAMILY), "no other family is needed as a pair"),
    "ioctl": (
        Match(1, dict.fromkeys((TIOCSTI, TIOCLINUX, TIOCSETD), TERMINAL), ALLOW),
        "the terminal belongs to the user's session",
    ),
    "prctl": (Match(0, {PR_SET_MM: PROCESS}, ALLOW), "a process must not disguise itself in /proc"),
    "personality": (
        Match(0, dict.fromkeys((PER_LINUX, ADDR_NO_RANDOMIZE, QUERY), ALLOW), PERSONALITY),
        "READ_IMPLIES_EXEC and foreign personalities change the rules of mmap and exec",
    ),
    # SECURITY: with two listeners on one call the newer filter's wins, and it could answer "continue" to what
    # this filter refuses, seccomp_unotify(2). Holds in every profile.
    "seccomp": (
        Match(1, {0: ALLOW}, LISTENER, mask=SECCOMP_FILTER_FLAG_NEW_LISTENER),
        "a listener of one's own could overrule this filter",
    ),
    "chmod": (_without_setuid(1), "setuid files left in the workspace"),
    "fchmod": (_without_setuid(1), "setuid files left in the workspace"),
    "fchmodat": (_without_setuid(2), "setuid files left in the workspace"),
    "fchmodat2": (_without_setuid(2), "setuid files left in the workspace"),
    "creat": (_without_setuid(1), "setuid files left in the workspace"),
    "open": (_creating(1, 2), "setuid files left in the workspace"),
    "openat": (_creating(2, 3), "setuid files left in the workspace"),
    "mknod": (_node_of(1), "no devices; overlayfs whiteouts are devices too, mknod(2)"),
    "mknodat": (_node_of(2), "no devices; overlayfs whiteouts are devices too, mknod(2)"),
    "connect": (CONNECT, "which peers were tried"),
    "sendto": (Match(4, {0: Match(4, {0: ALLOW}, SEND, high=True)}, SEND), "which peers were tried, if it names one"),
    "kill": (SIGNAL, "which processes were signalled"),
    "pidfd_send_signal": (SIGNAL, "which processes were signalled"),
}

# What a profile refuses beyond RULES: profile -> name -> (node, reason). Where the host's root is visible, its unix
# sockets are within reach, and neither the network namespace nor a read-only mount stops connect(2) to a path. A
# datagram pair can be connected anew, unix(7), and so is refused with them; stream pairs cannot.
NARROWED: dict[str, dict[str, tuple[Match | Verdict, str]]] = {
    "no-unix": {
        "socket": (
            Match(0, {AF_UNIX: UNIX, AF_INET: _INET, AF_INET6: _INET, AF_NETLINK: _ROUTE}, FAMILY),
            "no unix socket but pairs: those of the host lie in the view",
        ),
        "socketpair": (
            Match(0, {AF_UNIX: Match(1, {SOCK_DGRAM: UNIX}, ALLOW, mask=SOCK_TYPE_MASK)}, FAMILY),
            "a datagram pair reaches any socket by its path",
        ),
    },
}
