"""System calls of the egress proxy after it has been prepared, each with its reason; any other gets ENOSYS.

It reads hostile bytes, so it can make no socket, start nothing and signal nobody. `openat` is there because the ssl
module takes certificates from a path only: Landlock leaves it nothing to open but its own memfds.
"""

PROXY: dict[str, str] = {
    "read": "bytes in",
    "write": "bytes out, and its own error output",
    "readv": "bytes in",
    "writev": "bytes out",
    "recvfrom": "bytes in",
    "sendto": "bytes out on a connected socket",
    "recvmsg": "messages of the supervisor, connected sockets with them; queries for names",
    "sendmsg": "messages to the supervisor; answers",
    "accept4": "a program inside connects",
    "shutdown": "half-closed connections",
    "getsockname": "where a program inside wanted to connect to",
    "getpeername": "which port of the sandbox speaks",
    "getsockopt": "what kind of socket was passed",
    "setsockopt": "TCP_NODELAY",
    "splice": "bytes of a tunnel from socket to socket",
    "pipe2": "what splice goes through",
    "close": "ends",
    "dup": "ssl and asyncio hold a socket twice",
    "fcntl": "non-blocking descriptors",
    "ioctl": "FIONBIO, as Python sets it",
    "epoll_wait": "the event loop",
    "epoll_pwait": "the event loop",
    "epoll_pwait2": "the event loop",
    "epoll_ctl": "the event loop",
    "clock_gettime": "timeouts, where the vDSO cannot",
    "gettimeofday": "time, where the vDSO cannot",
    "getrandom": "keys and nonces",
    "mmap": "memory",
    "munmap": "memory",
    "mremap": "memory",
    "madvise": "memory",
    "mprotect": "heaps of the C library",
    "brk": "memory",
    "futex": "locks of the C library",
    "rt_sigaction": "the interpreter's handlers",
    "rt_sigprocmask": "the interpreter's handlers",
    "rt_sigreturn": "return from a handler",
    "getpid": "reseeding after a fork, in libcrypto",
    "gettid": "locks of the C library",
    "exit": "the end",
    "exit_group": "the end",
    "memfd_create": "certificates of the session",
    "openat": "certificates of the session, through /proc/self/fd; Landlock refuses everything else",
    "fstat": "of its own memfds",
    "newfstatat": "of its own memfds",
    "lseek": "of its own memfds",
    "pread64": "a push that is held until it is judged, in a file that it was sent",
    "pwrite64": "as pread64",
    "ftruncate": "of its own memfds; of files that it was sent, to use them again",
    "restart_syscall": "after a stop",
    "sched_yield": "locks",
    "rseq": "restartable sequences of the C library",
}

_NOT_OF_THE_VAULT = ("accept4", "splice", "pipe2", "memfd_create", "openat", "ftruncate")
# It is sent every socket, copies nothing unseen and serves no certificate: it opens nothing at all.
VAULT: dict[str, str] = {
    **{name: reason for name, reason in PROXY.items() if name not in _NOT_OF_THE_VAULT},
    "mlock": "values that came with an answer are kept out of swap",
    "munlock": "values that are given up",
}
