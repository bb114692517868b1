"""Names to addresses for the dialer: each name is asked for once, and no question holds up another.

Theory of operation. The C library's resolver blocks, for half a minute if it must, so that every question has a thread
of its own, a bounded number at a time. An answer is kept for a while and serves every connection of that time: a
name that points elsewhere when it is asked for again (rebinding) is not asked for again.

SECURITY: only the exact name that policy allows may be asked for. The C library would append the machine's search
domains, so names are given to it as absolute ones, with a dot at the end; for those it skips /etc/hosts, which is
therefore read here.
"""

import _socket
import _thread
from collections import deque
from collections.abc import Callable, Iterable

import msgspec

from ringfence.policy.hosts import canonical_host, is_address

WORKERS = 8
MAX_QUESTIONS = 256
MAX_KEPT = 1024
MAX_ADDRESSES = 64  # of one name; a longer answer is cut
KEPT_S, FAILURE_KEPT_S = 30.0, 2.0
HOSTS = "/etc/hosts"
NO_SUCH_NAME = (_socket.EAI_NONAME, _socket.EAI_NODATA)

Resolve = Callable[[str], Iterable[str]]
"""Gives the addresses of a name, best first, as text; raises OSError where there are none. May block."""


class Answer(msgspec.Struct, frozen=True):
    """Addresses; or, as in `messages.Dialed`, the code and reason why there are none."""

    addresses: tuple[str, ...] = ()
    code: str = "not-found"
    reason: str = "no such name"
    address: str = ""


BUSY = Answer(code="busy", reason="too many names are being looked up")


class Resolver:
    """The names of one session.

    `post(action)` runs `action` on the owner's thread, where every method but `_work` belongs; `answered(host)` is
    called there when `find` has something new to say.
    """

    def __init__(
        self,
        resolve: Resolve,
        *,
        clock: Callable[[], float],
        post: Callable[[Callable[[], None]], bool],
        answered: Callable[[str], None],
    ) -> None:
        self._resolve = resolve
        self._clock = clock
        self._post = post
        self._answered = answered
        self._kept: dict[str, tuple[float, Answer]] = {}
        self._asked: set[str] = set()
        self._queue: deque[str] = deque()
        self._workers = 0

    def find(self, host: str) -> Answer | None:
        """Give the answer, or None where it has to be waited for."""
        expires, answer = self._kept.get(host, (0.0, BUSY))
        if self._clock() < expires:
            return answer
        if host not in self._asked:
            if len(self._asked) >= MAX_QUESTIONS:
                return BUSY
            self._asked.add(host)
            self._queue.append(host)
            self._hire()
        return None

    def _hire(self) -> None:
        while self._queue and self._workers < WORKERS:
            self._workers += 1
            host = self._queue.popleft()
            try:
                _thread.start_new_thread(self._work, (host,))
            except RuntimeError:  # the machine has no thread left
                self._report(host, BUSY)

    def _work(self, host: str) -> None:
        answer = Answer()
        try:
            if found := tuple(self._resolve(host))[:MAX_ADDRESSES]:
                answer = Answer(found)
        except OSError as error:
            if error.errno not in NO_SUCH_NAME:
                answer = Answer(code="unreachable", reason=f"the name cannot be looked up: {error.strerror}")
        finally:
            self._report(host, answer)

    def _report(self, host: str, answer: Answer) -> None:
        self._post(lambda: self._keep(host, answer))

    def _keep(self, host: str, answer: Answer) -> None:
        self._workers -= 1
        self._asked.discard(host)
        self._kept.pop(host, None)  # the newest is the last
        self._kept[host] = (self._clock() + (KEPT_S if answer.addresses else FAILURE_KEPT_S), answer)
        if len(self._kept) > MAX_KEPT:
            del self._kept[next(iter(self._kept))]
        self._hire()
        self._answered(host)


def system_addresses(host: str) -> Iterable[str]:
    """Ask the system for a canonical name: its hosts file, then the C library, in the order of RFC 6724."""
    if listed := hosts_file(host):
        return listed
    # As bytes: a str would load the interpreter's own IDNA codec, which is another than policy's.
    found = _socket.getaddrinfo(f"{host}.".encode("ascii"), 0, 0, _socket.SOCK_STREAM)
    return [str(place[4][0]).partition("%")[0] for place in found]


def hosts_file(host: str, path: str = HOSTS) -> list[str]:
    """List the addresses that hosts(5) has for a name; none where one of them is not an address."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            entries = [line.partition("#")[0].lower().split() for line in file]
        found = [canonical_host(words[0]) for words in entries if host in words[1:]]
    except (OSError, ValueError):
        return []
    return found if all(map(is_address, found)) else []
