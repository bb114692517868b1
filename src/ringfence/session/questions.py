"""What policy wants the operator to be asked about, held until somebody answers or the time is over.

A question is answered by `ringfence allow` or `ringfence deny` in another terminal (session/control.py), never from
inside: neither the socket nor the command's terminal is a way to answer. Without an answer it is a denial.
"""

import threading
import time

TYPE_CHECKING = False  # for type checkers only
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from ringfence.sandbox.peers import Peer

    class Reply(Protocol):
        """Receives the answer to one question, once."""

        def __call__(self, *, allowed: bool, reason: str) -> None:
            """Take it."""


NO_ANSWER = "nobody answered in time"
PENDING_AT_MOST = 64


class Question:
    """One thing asked: a connection, or a request on one where `method` is set."""

    __slots__ = ("asked_at", "caller", "host", "method", "path", "port", "reason")

    def __init__(self, host: str, port: int, request: tuple[str, str], caller: "Peer") -> None:
        self.host = host
        self.port = port
        self.method, self.path = request
        self.caller = caller
        self.reason = ""  # what is asked about, where that is not the target itself
        self.asked_at = time.monotonic()

    @property
    def target(self) -> str:
        """Host and port as records name them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Questions:
    """The open questions of one run; safe to use from any thread."""

    def __init__(self, timeout_s: float, notice: "Callable[[Question], None]") -> None:
        self.timeout_s = timeout_s
        self.notice = notice
        self.lock = threading.Lock()
        self.open: dict[int, tuple[Question, Reply, threading.Timer]] = {}
        self.count = 0

    def put(self, question: Question, reply: "Reply") -> None:
        """Ask; `reply` is called exactly once, from another thread or from this one."""
        with self.lock:
            self.count += 1
            number = self.count
            room = len(self.open) < PENDING_AT_MOST
            if room:
                timer = threading.Timer(self.timeout_s, self.answer_one, (number,), {"reason": NO_ANSWER})
                timer.daemon = True
                self.open[number] = (question, reply, timer)
                timer.start()
        if room:
            self.notice(question)
        else:
            reply(allowed=False, reason="too many open questions")

    def answer_one(self, number: int, *, allowed: bool = False, reason: str) -> None:
        """Answer an open question; one that is answered already stays so."""
        with self.lock:
            found = self.open.pop(number, None)
        if found:
            _, reply, timer = found
            timer.cancel()
            reply(allowed=allowed, reason=reason)

    def answer(self, fits: "Callable[[Question], bool]", *, allowed: bool, reason: str) -> int:
        """Answer every open question that `fits`; return how many those were."""
        with self.lock:
            numbers = [number for number, (question, _, _) in self.open.items() if fits(question)]
        for number in numbers:
            self.answer_one(number, allowed=allowed, reason=reason)
        return len(numbers)

    def pending(self) -> list[Question]:
        """The open questions, oldest first."""
        with self.lock:
            return [question for question, _, _ in self.open.values()]

    def close(self) -> None:
        """Deny whatever is still open."""
        self.answer(lambda _: True, allowed=False, reason="the run has ended")
