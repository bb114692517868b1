"""Published ports: what listens inside a sandbox, made reachable on the host's loopback interface.

Theory of operation. One thread accepts on every published port. Each connection has two threads, one a direction, which
move the bytes from socket to socket through a pipe (splice(2)), so that they never enter this process's memory. The end
of one direction is passed on and does not end the other.

SECURITY: only 127.0.0.1 is bound, and nothing can be opened from inside: connections begin on the host. Any program on
this machine can begin one, a browser's page included, as with every development server.
"""

import _socket
import os
import select
import socket
import threading
from collections.abc import Callable, Iterable

MAX_CONNECTIONS = 64  # at a time, each on six descriptors of usually 1,024; the next one is closed at once
CHUNK_BYTES = 1 << 20
CLOSE_TIMEOUT_S = 5.0
PAUSE_S = 0.1

OpenInside = Callable[[int], _socket.socket]
"""Gives a socket connected to a port inside; raises OSError where nothing listens. May block for a moment."""


class Publisher:
    """The published ports of one run, from construction to `close`.

    `ports` are pairs of a port on the host's loopback (0 for any) and the port inside that it leads to. Raises OSError
    naming the port that cannot be bound.
    """

    def __init__(self, ports: Iterable[tuple[int, int]], open_inside: OpenInside) -> None:
        self._open_inside = open_inside
        self._listeners: dict[socket.socket, int] = {}
        self._connections: dict[socket.socket, list[_socket.socket]] = {}  # both ends of each, by the client's
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._ending = threading.Event()
        try:
            for port, inside in ports:
                self._listeners[listen(port)] = inside
        except OSError:
            for listener in self._listeners:
                listener.close()
            raise
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC)
        self._start(self._serve)

    @property
    def ports(self) -> list[int]:
        """The ports on the host, in the order they were given."""
        return [listener.getsockname()[1] for listener in self._listeners]

    def close(self) -> None:
        """End every connection and stop listening; every thread has ended on return, unless `open_inside` hangs."""
        with self._lock:
            if self._ending.is_set():
                return
            self._ending.set()
            for both in self._connections.values():
                for connected in both:
                    end(connected)
            threads = list(self._threads)
        os.eventfd_write(self._wakeup, 1)
        for thread in threads:
            thread.join(CLOSE_TIMEOUT_S)

    def _start(self, work: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            finally:
                with self._lock:
                    self._threads.discard(thread)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self._threads.add(thread)

    def _serve(self) -> None:
        by_descriptor = {listener.fileno(): listener for listener in self._listeners}
        poller = select.poll()
        for descriptor in (*by_descriptor, self._wakeup):
            poller.register(descriptor, select.POLLIN)
        while not self._ending.is_set():
            for descriptor, _ in poller.poll():
                if descriptor != self._wakeup:
                    self._accept(by_descriptor[descriptor])
        for listener in self._listeners:
            listener.close()
        os.close(self._wakeup)

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except OSError:
            self._ending.wait(PAUSE_S)  # it has given up; or no descriptor is left, and poll(2) would say so for ever
            return
        with self._lock:
            if self._ending.is_set() or len(self._connections) >= MAX_CONNECTIONS:
                client.close()
                return
            self._connections[client] = [client]
            try:
                self._start(lambda: self._relay(client, self._listeners[listener]))
            except RuntimeError:  # the machine has no thread left
                del self._connections[client]
                client.close()

    def _relay(self, client: socket.socket, port: int) -> None:
        try:
            inside = self._open_inside(port)
            inside.setblocking(True)
            with self._lock:
                self._connections[client].append(inside)
                if self._ending.is_set():
                    end(inside)
            back = threading.Thread(target=pump, args=(inside, client), daemon=True)
            back.start()
            pump(client, inside)
            back.join()
        except (OSError, RuntimeError):
            pass  # nothing listens there, or no thread is left: the client sees the end
        finally:
            with self._lock:  # `close` must not meet a descriptor that has a new owner
                for connected in self._connections.pop(client):
                    connected.close()


def listen(port: int) -> socket.socket:
    """Open a non-blocking listening socket on the host's loopback; raise OSError naming the port."""
    made = socket.socket()
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setblocking(False)
        made.bind(("127.0.0.1", port))
        made.listen()
    except OSError as error:
        made.close()
        raise OSError(error.errno, f"port {port}: {error.strerror}") from error
    return made


def pump(source: _socket.socket, target: _socket.socket) -> None:
    """Move bytes until the source ends, then tell the target; an error on either side ends both directions."""
    pipe: tuple[int, ...] = ()
    try:
        pipe = read, write = os.pipe()
        while count := os.splice(source.fileno(), write, CHUNK_BYTES):
            while count:
                count -= os.splice(read, target.fileno(), count)
        target.shutdown(_socket.SHUT_WR)
    except OSError:
        end(source)
        end(target)
    finally:
        for descriptor in pipe:
            os.close(descriptor)


def end(connected: _socket.socket) -> None:
    """End both directions of a connection, which wakes whoever waits for it."""
    try:
        connected.shutdown(_socket.SHUT_RDWR)
    except OSError:
        pass  # the other side was faster
