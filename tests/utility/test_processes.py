"""Processes among themselves: children, threads, shared memory, signals, sockets, debugging, terminals."""

import pytest

from tests.utility.confined import Item, Place, carry_out, python

# multiprocessing needs a module that its children can import.
POOL = """cat >work.py <<'EOF'
import multiprocessing as mp, sys
def square(n): return n * n
def put(queue, value): queue.put(value)
if __name__ == "__main__":
    mp.set_start_method(sys.argv[1])
    with mp.Pool(4) as pool: assert pool.map(square, range(100)) == [n * n for n in range(100)]
    queue = mp.Queue(); process = mp.Process(target=put, args=(queue, b"x" * 1_000_000)); process.start()
    assert len(queue.get(timeout=20)) == 1_000_000; process.join(); assert process.exitcode == 0
    lock, value, array = mp.Lock(), mp.Value("i", 1), mp.Array("d", 10)
    with lock: value.value += 1
    with mp.Manager() as manager: shared = manager.dict(); shared["k"] = 1; assert dict(shared) == {"k": 1}
EOF
/usr/bin/python3 work.py %s"""

ITEMS = (
    # ---- between own processes
    Item(name="multiprocessing-fork", script=POOL % "fork"),
    Item(name="multiprocessing-spawn", script=POOL % "spawn"),
    Item(name="multiprocessing-forkserver", script=POOL % "forkserver"),
    python(
        "process-pool-of-futures",
        "from concurrent.futures import ProcessPoolExecutor as P, ThreadPoolExecutor as T; assert list(P(2).map(abs, [-1, -2])) == [1, 2]; assert list(T(50).map(abs, range(500))) == list(range(500))",
    ),
    python(
        "posix-shared-memory",
        "from multiprocessing.shared_memory import SharedMemory as S; a = S(create=True, size=1 << 20); a.buf[:3] = b'abc'; b = S(a.name); assert bytes(b.buf[:3]) == b'abc'; b.close(); a.close(); a.unlink()",
    ),
    python(
        "posix-semaphore",
        """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True); libc.sem_open.restype = ctypes.c_void_p
sem = ctypes.c_void_p(libc.sem_open(b"/ringfence-test", os.O_CREAT, 0o600, 0)); assert sem.value
if os.fork() == 0: libc.sem_post(sem); os._exit(0)
assert libc.sem_wait(sem) == 0 and libc.sem_unlink(b"/ringfence-test") == 0; os.wait()
""",
    ),
    python(
        "posix-message-queue",
        """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
queue = libc.mq_open(b"/ringfence-test", os.O_CREAT | os.O_RDWR, 0o600, None); assert queue >= 0, os.strerror(ctypes.get_errno())
assert libc.mq_send(queue, b"hello", 5, 1) == 0
room = ctypes.create_string_buffer(8192); assert libc.mq_receive(queue, room, 8192, None) == 5 and room.raw[:5] == b"hello"
assert libc.mq_unlink(b"/ringfence-test") == 0
""",
    ),
    python(
        "sysv-ipc",
        """
import ctypes
libc = ctypes.CDLL(None, use_errno=True); libc.shmat.restype = ctypes.c_void_p
libc.shmat.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
memory = libc.shmget(0x5254, 4096, 0o1600); assert memory >= 0
place = libc.shmat(memory, None, 0); ctypes.memmove(place, b"abc", 3); assert ctypes.string_at(place, 3) == b"abc"
assert libc.shmctl(memory, 0, None) == 0
sem = libc.semget(0, 1, 0o1600); assert sem >= 0 and libc.semctl(sem, 0, 0) == 0
queue = libc.msgget(0, 0o1600); assert queue >= 0
message = ctypes.create_string_buffer(b"\\1" + bytes(7) + b"hi", 16); assert libc.msgsnd(queue, message, 2, 0) == 0
assert libc.msgrcv(queue, message, 2, 0, 0) == 2 and libc.msgctl(queue, 0, None) == 0
""",
    ),
    Item(name="ipc-commands", needs=("ipcs", "ipcmk"), script="ipcmk -M 4096 >/dev/null && ipcs -m | grep -q 4096"),
    python(
        "unix-sockets",
        """
import os, socket, threading
for place in ("server.sock", os.environ["TMPDIR"] + "/s", os.environ["XDG_RUNTIME_DIR"] + "/s", "\\0ringfence-own"):
    for kind in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET):
        server = socket.socket(socket.AF_UNIX, kind); server.bind(place); server.listen()
        client = socket.socket(socket.AF_UNIX, kind); client.connect(place); other = server.accept()[0]
        client.send(b"hello"); assert other.recv(10) == b"hello"; server.close(); client.close(); other.close()
        if not place.startswith("\\0"): os.unlink(place)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); server.bind(place)
    client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); client.sendto(b"hi", place); assert server.recv(10) == b"hi"
    server.close()
""",
    ),
    python(
        "socketpairs-and-descriptor-passing",
        """
import array, os, socket
for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
    a, b = socket.socketpair(socket.AF_UNIX, kind); a.send(b"x"); assert b.recv(1) == b"x"
a, b = socket.socketpair(); r, w = os.pipe(); socket.send_fds(a, [b"f"], [w]); _, fds, _, _ = socket.recv_fds(b, 1, 1)
os.write(fds[0], b"through"); assert os.read(r, 10) == b"through"
assert b.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
""",
    ),
    python(
        "asyncio",
        """
import asyncio, signal, sys
async def serve(reader, writer): writer.write(await reader.readline()); await writer.drain(); writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()); writer.write(b"echo\\n")
    assert await reader.readline() == b"echo\\n"
    unix = await asyncio.start_unix_server(serve, "u.sock"); reader, writer = await asyncio.open_unix_connection("u.sock"); writer.write(b"e\\n")
    assert await reader.readline() == b"e\\n"
    process = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1); assert (await process.communicate(b"in"))[0] == b"in"
    assert await asyncio.to_thread(sum, [1, 2]) == 3
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, lambda: None)
asyncio.run(main())
""",
    ),
    python(
        "event-descriptors",
        """
import ctypes, os, select, signal, time
libc = ctypes.CDLL(None); e = libc.eventfd(0, 0); os.eventfd_write(e, 3); assert os.eventfd_read(e) == 3
t = libc.timerfd_create(1, 0); libc.timerfd_settime(t, 0, ctypes.create_string_buffer(bytes(24) + (10_000_000).to_bytes(8, "little"), 32), None)
poll = select.epoll(); poll.register(t, select.EPOLLIN); assert poll.poll(5) and len(os.read(t, 8)) == 8
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2]); s = libc.signalfd(-1, (1 << 11).to_bytes(128, "little"), 0); os.kill(os.getpid(), signal.SIGUSR2)
assert os.read(s, 128)[0] == signal.SIGUSR2
p = os.fork()
if p == 0: time.sleep(60)
h = os.pidfd_open(p); signal.pidfd_send_signal(h, signal.SIGKILL); assert select.select([h], [], [], 5)[0]; os.waitid(os.P_PIDFD, h, os.WEXITED)
m = os.memfd_create("m"); os.write(m, b"x"); assert os.pread(m, 1, 0) == b"x"
""",
    ),
    python(
        "signals-and-timers",
        """
import os, signal, threading, time
seen = []
for number in (signal.SIGUSR1, signal.SIGALRM, signal.SIGPROF, signal.SIGRTMIN): signal.signal(number, lambda n, f: seen.append(n))
os.kill(os.getpid(), signal.SIGUSR1); signal.setitimer(signal.ITIMER_REAL, 0.01); signal.pause(); signal.raise_signal(signal.SIGRTMIN)
os.killpg(0, signal.SIGUSR1); signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
assert seen.count(signal.SIGUSR1) == 3 and signal.SIGALRM in seen and signal.SIGRTMIN in seen
""",
    ),
    python(
        "many-threads",
        """
import threading
barrier = threading.Barrier(200); threads = [threading.Thread(target=barrier.wait) for _ in range(200)]
[t.start() for t in threads]; [t.join() for t in threads]
""",
    ),
    # ---- shells and children
    Item(name="a-thousand-short-processes", script="i=0; while [ $i -lt 1000 ]; do /bin/true; i=$((i+1)); done"),
    Item(
        name="hundred-processes-at-once",
        script="i=0; while [ $i -lt 100 ]; do sleep 0.3 & i=$((i+1)); done; wait; seq 50 | xargs -P 8 -n 1 true",
    ),
    Item(
        name="background-jobs",
        shell=("bash", "-euc"),
        script="sleep 30 & kill %1; wait %1 && exit 1 || test $? = 143; (exit 7) & wait $! || test $? = 7; set -m; sleep 30 & jobs | grep -q Running; kill %%",
    ),
    Item(
        name="process-substitution-and-coprocesses",
        shell=("bash", "-euc"),
        script="diff <(echo a) <(echo a); echo x | tee >(cat >/dev/null); coproc cat; echo hi >&${COPROC[1]}; read -r l <&${COPROC[0]}; test $l = hi; mapfile -t a < <(seq 3); test ${#a[@]} = 3",
    ),
    Item(
        name="here-documents",
        shell=("bash", "-euc"),
        script="cat <<E | grep -q two\none\ntwo\nE\ngrep -q x <<<x; cat <<-'E' | grep -qF '$HOME'\n\t$HOME\n\tE\n",
    ),
    Item(
        name="traps",
        script="trap 'echo done >f' EXIT; trap 'exit 3' TERM; kill -TERM $$",
        status=3,
        after="test $(cat ws/f) = done",
    ),
    Item(
        name="setsid-and-nohup",
        script="setsid -w sh -c 'ps -o sid= -p $$ | tr -d \" \" | grep -qx $$'; nohup sh -c 'echo n >f' >/dev/null 2>&1 & wait; test $(cat f) = n",
    ),
    python(
        "daemon",
        """
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: os.chdir("/"); open("/tmp/pid", "w").write(str(os.getppid())); os.rename("/tmp/pid", "/tmp/daemon"); os._exit(0)
    os._exit(0)
os.wait()
for _ in range(500):
    if os.path.exists("/tmp/daemon"): break
    time.sleep(0.01)
else: raise SystemExit(1)
""",
    ),
    Item(
        name="leftover-background-process-does-not-hold",
        script="sleep 300 & setsid sleep 300 & nohup sleep 300 >/dev/null 2>&1 & exit 4",
        status=4,
    ),
    Item(
        name="nice-and-priorities",
        script='test "$(nice -n 5 nice)" -ge 5; renice -n 6 -p $$ >/dev/null; ionice -c 3 true || true; taskset -c 0 true; chrt -b 0 true',
    ),
    Item(
        name="timeout-command",
        script="timeout 5 true; timeout 0.2 sleep 30 && exit 1 || test $? = 124; timeout -s KILL 0.2 sleep 30 && exit 1 || test $? = 137",
    ),
    Item(
        name="limits-of-a-shell",
        shell=("bash", "-euc"),
        script="ulimit -a >/dev/null; ulimit -n 100; test $(ulimit -n) = 100; ulimit -c 0; (ulimit -t 1000; ulimit -v 1000000; true)",
    ),
    Item(
        name="wait-status-of-killed-children",
        shell=("bash", "-uc"),
        script="sleep 9 & kill -9 $!; wait $!; test $? = 137 || exit 1; sh -c 'kill -SEGV $$'; test $? = 139",
    ),
    # ---- looking around
    Item(
        name="proc-self",
        script='cat /proc/self/status /proc/self/maps /proc/self/cmdline /proc/meminfo /proc/cpuinfo /proc/loadavg /proc/uptime /proc/stat /proc/version /proc/mounts /proc/self/mountinfo /proc/filesystems >/dev/null; test "$(readlink /proc/self/exe)" = /usr/bin/readlink; ls /proc/self/fd /proc/self/task >/dev/null; cat /proc/sys/kernel/osrelease /proc/sys/vm/overcommit_memory /proc/sys/fs/file-max >/dev/null',
    ),
    python(
        "processors",
        "import os; assert os.cpu_count() >= 1 and len(os.sched_getaffinity(0)) >= 1; os.sysconf('SC_PHYS_PAGES'); os.getloadavg()",
    ),
    Item(
        name="nproc-and-lscpu",
        script='test "$(nproc)" -ge 1; test "$(getconf _NPROCESSORS_ONLN)" -ge 1; free >/dev/null; uptime >/dev/null; lscpu >/dev/null',
    ),
    Item(
        name="process-listings",
        needs=("ps", "top", "pgrep"),
        script="sleep 60 & ps aux | grep -q '[s]leep 60'; ps -ef >/dev/null; pgrep sleep >/dev/null; top -bn1 >/dev/null; pstree >/dev/null 2>&1 || true; pkill sleep",
    ),
    Item(name="open-files-listing", needs=("lsof",), script="lsof -p $$ >/tmp/l 2>/dev/null; grep -q cwd /tmp/l"),
    Item(
        name="who-am-i",
        script='id -u; id -un; id -gn; whoami; hostname; uname -a; test "$(id -u)" != 0; tty || test $? = 1; groups; logname || true',
    ),
    Item(
        name="sudo-says-no",
        script="if command -v sudo; then sudo -n true && exit 1 || true; else sudo true 2>/tmp/e && exit 1 || test $? = 127; grep -q 'not found' /tmp/e; fi",
    ),
    # ---- just-in-time code
    python(
        "callbacks-from-c",
        "import ctypes; F = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int)); a = (ctypes.c_int * 3)(3, 1, 2); ctypes.CDLL(None).qsort(a, 3, 4, F(lambda x, y: x[0] - y[0])); assert list(a) == [1, 2, 3]",
    ),
    python(
        "writable-then-executable-memory",
        "import ctypes, mmap, os; m = mmap.mmap(-1, 4096, prot=7); m.write(b'\\xb8\\x2a\\0\\0\\0\\xc3' if os.uname().machine == 'x86_64' else b'\\x40\\x05\\x80\\x52\\xc0\\x03\\x5f\\xd6'); assert ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))() == 42",
    ),
    # ---- debugging one's own children
    Item(
        name="strace-of-a-child",
        needs=("strace",),
        options=("--seccomp", "debug"),
        script="strace -f -o t sh -c 'true; /bin/true' && grep -q execve t; strace -c -o c true; grep -q total c",
    ),
    Item(
        name="gdb-of-a-child",
        needs=("gdb",),
        options=("--seccomp", "debug"),
        script="gdb -nx -batch -ex run -ex 'info proc' /bin/true 2>&1 | tee g | grep -q 'exited normally'",
    ),
    Item(
        name="gdb-attaches-to-a-child",
        needs=("gdb",),
        options=("--seccomp", "debug"),
        script="sleep 60 & gdb -nx -batch -p $! -ex bt -ex detach >g 2>&1; kill $!; grep -q nanosleep g",
    ),
    # ---- terminals
    Item(
        name="script-makes-a-terminal",
        needs=("script",),
        script="script -qec 'tty && test -t 0 && stty size' log >/dev/null && grep -q /dev/pts log",
    ),
    python(
        "pty-of-python",
        "import os, pty; seen = []; status = pty.spawn(['sh', '-c', 'test -t 0 && test -t 1 && echo on-a-tty >/dev/tty'], lambda fd: seen.append(os.read(fd, 1024)) or seen[-1]); assert status == 0 and b'on-a-tty' in b''.join(seen)",
    ),
    Item(
        name="tmux",
        needs=("tmux",),
        script="tmux new-session -d -s t 'echo in-tmux >f; sleep 60' && tmux ls | grep -q t: && while ! test -s f; do sleep 0.05; done; tmux kill-server; test $(cat f) = in-tmux",
    ),
    Item(
        name="nested-sandbox",
        needs=("bwrap",),
        options=("--seccomp", "nested"),
        script="test \"$(bwrap --ro-bind / / --unshare-user --unshare-pid --proc /proc --dev /dev sh -c 'echo $$')\" -lt 5; unshare -Ur true",
    ),
)


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.name)
def test_processes(item: Item, place: Place) -> None:
    carry_out(item, place)
