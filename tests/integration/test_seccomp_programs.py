"""Toolchains, debuggers and a nested sandbox do their work under the filter of the profile meant for them."""

import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringfence.sandbox import seccomp
from tests import requirements
from tests.integration.test_seccomp_kernel import load

MACHINE = platform.machine()
TIMEOUT_S = 200
pytestmark = pytest.mark.skipif(MACHINE not in ("x86_64", "aarch64"), reason="the filter knows x86_64 and aarch64")

ASYNCIO = """
import asyncio, fcntl, mmap, multiprocessing, os, pty, signal, socket, sqlite3, subprocess, tempfile, threading
from multiprocessing import shared_memory

def square(n): return n * n

async def serve():
    async def echo(reader, writer):
        writer.write(await reader.readline()); await writer.drain(); writer.close()
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"hello\\n")
    assert await reader.readline() == b"hello\\n"
    child = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
    assert (await child.communicate(b"x"))[0] == b"x"

if __name__ == "__main__":
    asyncio.run(serve())
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(square, range(4)) == [0, 1, 4, 9]
    block = shared_memory.SharedMemory(create=True, size=64); block.close(); block.unlink()
    base = sqlite3.connect("base.db"); base.execute("pragma journal_mode=wal"); base.execute("create table t (x)")
    with open("lock", "w") as lock: fcntl.flock(lock, fcntl.LOCK_EX); fcntl.lockf(lock, fcntl.LOCK_EX)
    master, slave = pty.openpty(); assert os.ttyname(slave)
    thread = threading.Thread(target=lambda: None); thread.start(); thread.join()
    assert mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    socket.getaddrinfo("127.0.0.1", 80)
    os.setxattr("lock", "user.x", b"1") if hasattr(os, "setxattr") else None
    assert subprocess.run(["sh", "-c", "kill -TERM $$"]).returncode == -signal.SIGTERM
    print("works")
"""
C_SOURCE = """
#include <pthread.h>
#include <stdio.h>
static void *say(void *unused) { puts("works"); return unused; }
int main(void) { pthread_t t; return pthread_create(&t, 0, say, 0) || pthread_join(t, 0); }
"""
NODE = """
const { Worker } = require('worker_threads'), { execFileSync } = require('child_process'), fs = require('fs');
fs.watch('.').close();
const server = require('net').createServer(c => c.end('x')).listen(0, '127.0.0.1', () =>
  require('net').connect(server.address().port, '127.0.0.1').on('data', () => {
    server.close();
    new Worker("require('worker_threads').parentPort.postMessage(1)", { eval: true })
      .on('message', () => process.stdout.write(execFileSync('echo', ['works'])));
  }));
"""
GIT = (
    "git init -q -b main --shared=group r && cd r && echo x >f && git add f && "
    "git -c user.name=a -c user.email=a@b.c commit -q -m m && git worktree add -q ../w && git gc -q && echo works"
)
JAVA = "public class Main { public static void main(String[] a) throws Exception { Thread t = new Thread(() -> "
JAVA += 'System.out.println("works")); t.start(); t.join(); System.gc(); } }'
GO = """package main
func main() { done := make(chan int); go func() { println("works"); close(done) }(); <-done }
"""
BWRAP = "{bwrap} --unshare-all --ro-bind / / --tmpfs /tmp --proc /proc --dev /dev --hostname inner echo works"

PROGRAMS = [
    ("default", (), [sys.executable, "main.py"]),
    ("default", ("gcc",), ["sh", "-c", "gcc -pthread -o main main.c && ./main"]),
    ("default", ("node",), ["node", "main.js"]),
    ("default", ("git",), ["sh", "-c", GIT]),
    ("default", ("java",), ["java", "-Xmx64m", "Main.java"]),
    ("default", ("rustc",), ["sh", "-c", "rustc -o main main.rs && ./main"]),
    ("default", ("go",), ["go", "run", "main.go"]),
    ("default", ("tar",), ["sh", "-c", "tar -cf a.tar main.c && tar -xpf a.tar && cp -a main.c copy && echo works"]),
    ("debug", ("strace",), ["strace", "-f", "-qq", "-o", "trace", "sh", "-c", "echo works"]),
    (
        "debug",
        ("gdb",),
        ["gdb", "-q", "-batch", "-ex", "starti", "-ex", "p $pc", "-ex", "continue", "--args", "/bin/echo", "works"],
    ),
    ("nested", ("bubblewrap",), ["sh", "-c", BWRAP]),
]


@pytest.fixture(scope="module")
def sources() -> Iterator[Path]:
    """Give a directory with one small program per language."""
    with tempfile.TemporaryDirectory(prefix="ringfence-test-") as name:
        place = Path(name)
        (place / "main.py").write_text(ASYNCIO)
        (place / "main.c").write_text(C_SOURCE)
        (place / "main.js").write_text(NODE)
        (place / "Main.java").write_text(JAVA)
        (place / "main.rs").write_text('fn main() { std::thread::spawn(|| println!("works")).join().unwrap() }')
        (place / "main.go").write_text(GO)
        yield place


def works(argv: list[str], place: Path, code: bytes | None) -> str:
    """Run `argv` under the filter, if there is one; return what went wrong."""
    done = subprocess.run(
        argv,
        cwd=place,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        preexec_fn=None if code is None else lambda: load(code) and None,
    )
    output = done.stdout + done.stderr
    return "" if done.returncode == 0 and "works" in output else f"exit {done.returncode}: {output}"


@pytest.mark.timeout(2 * TIMEOUT_S + 20)
@pytest.mark.parametrize(
    ("profile", "needs", "argv"), PROGRAMS, ids=[f"{p}-{(*n, 'python')[0]}" for p, n, _ in PROGRAMS]
)
def test_real_programs_work(profile: str, needs: tuple[str, ...], argv: list[str], sources: Path) -> None:
    requirements.require(*needs)
    argv = [part.replace("{bwrap}", str(requirements.bubblewrap())) for part in argv]
    if trouble := works(argv, sources, None):
        pytest.skip(f"does not work here without the filter either: {trouble[:200]}")
    subprocess.run(["rm", "-rf", *(str(sources / left) for left in ("r", "w", "base.db"))], check=True)
    assert works(argv, sources, seccomp.build(profile, notify=False, machine=MACHINE)) == ""
