"""Tool chains: interpreters, compilers, package managers without a network, editors, servers on localhost."""

import pytest

from tests.utility.confined import Item, Place, carry_out, python

PACKAGE = """mkdir -p ws/src; cd ws; cat >package.json <<'E'
{"name": "demo", "version": "1.0.0", "scripts": {"build": "node -e \\"require('fs').writeFileSync('built', 'yes')\\"", "test": "node --test"}}
E
cat >sum.test.js <<'E'
const test = require("node:test"), assert = require("node:assert");
test("adds", () => assert.strictEqual(1 + 1, 2));
E"""

PROJECT = """cd ws; mkdir demo; cat >demo/__init__.py <<'E'
def double(n): return n * 2
E
cat >pyproject.toml <<'E'
[build-system]
requires = []
build-backend = "setuptools.build_meta"
[project]
name = "demo"
version = "1.0"
[tool.setuptools]
packages = ["demo"]
E
cat >test_demo.py <<'E'
import unittest
import demo
class Test(unittest.TestCase):
    def test_double(self): self.assertEqual(demo.double(2), 4)
E
/usr/bin/python3 - <<'E'
import zipfile
info = "demo_wheel-1.0.dist-info"
with zipfile.ZipFile("demo_wheel-1.0-py3-none-any.whl", "w") as wheel:
    wheel.writestr("demo_wheel.py", "answer = 42\\n")
    wheel.writestr(info + "/METADATA", "Metadata-Version: 2.1\\nName: demo-wheel\\nVersion: 1.0\\n")
    wheel.writestr(info + "/WHEEL", "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    wheel.writestr(info + "/RECORD", "demo_wheel.py,,\\n" + info + "/METADATA,,\\n" + info + "/WHEEL,,\\n" + info + "/RECORD,,\\n")
E"""

HELLO_C = """cat >hello.c <<'E'
#include <pthread.h>
#include <stdio.h>
#include <math.h>
static void *work(void *p) { *(double *)p = sqrt(*(double *)p); return 0; }
int main(void) { pthread_t t; double n = 49; pthread_create(&t, 0, work, &n); pthread_join(t, 0); printf("%.0f\\n", n); return 0; }
E
"""

SERVER = """/usr/bin/python3 -u -m http.server -b 127.0.0.1 8000 >log 2>&1 & server=$!
while ! grep -q Serving log; do kill -0 $server; sleep 0.05; done
"""

ITEMS = (
    # ---- Python
    Item(
        name="python-venv",
        script="/usr/bin/python3 -m venv --without-pip /tmp/v && /tmp/v/bin/python -c 'import sys; assert sys.prefix == \"/tmp/v\"'",
    ),
    Item(
        name="pip-installs-a-local-wheel",
        before=PROJECT,
        script="/usr/bin/python3 -m venv .venv && .venv/bin/pip -q --disable-pip-version-check install --no-index ./demo_wheel-1.0-py3-none-any.whl && test $(.venv/bin/python -c 'import demo_wheel; print(demo_wheel.answer)') = 42",
    ),
    Item(
        name="python-unittest-and-bytecode",
        before=PROJECT,
        script="/usr/bin/python3 -m unittest -q && /usr/bin/python3 -m compileall -q demo && ls demo/__pycache__/*.pyc",
        after="ls ws/demo/__pycache__/*.pyc",
    ),
    Item(
        name="python-repl-from-standard-input",
        script="echo 'print(6 * 7)' | /usr/bin/python3 | grep -qx 42; /usr/bin/python3 - a b <<'E'\nimport sys; assert sys.argv[1:] == ['a', 'b']\nE",
    ),
    python(
        "python-standard-library",
        "import ssl, hashlib, bz2, lzma, zlib, decimal, curses, readline, sqlite3, ctypes, zoneinfo, uuid, secrets, getpass, pwd, locale; ssl.create_default_context(); uuid.uuid4(); assert getpass.getuser(); pwd.getpwuid(__import__('os').getuid()); zoneinfo.ZoneInfo('Europe/Paris')",
    ),
    # ---- Node
    Item(
        name="node-worker-threads",
        needs=("node",),
        script="""node -e '
const { Worker, isMainThread } = require("worker_threads");
const workers = [1, 2, 3, 4].map(n => new Promise((done, fail) => new Worker("const {parentPort, workerData} = require(\\"worker_threads\\"); parentPort.postMessage(workerData * 2)", {eval: true, workerData: n}).on("message", done).on("error", fail)));
Promise.all(workers).then(r => process.exit(r.join() === "2,4,6,8" ? 0 : 1));'""",
    ),
    Item(
        name="node-child-processes",
        needs=("node",),
        script="""node -e '
const { spawn, execSync, fork, spawnSync } = require("child_process"); const fs = require("fs"), assert = require("assert");
assert.strictEqual(execSync("echo hi").toString(), "hi\\n"); assert.strictEqual(spawnSync("sh", ["-c", "exit 3"]).status, 3);
fs.writeFileSync("child.js", "process.on(\\"message\\", m => { process.send(m + 1); process.disconnect() })");
const child = fork("child.js"); child.send(1); child.on("message", m => { assert.strictEqual(m, 2);
  const cat = spawn("cat"); let got = ""; cat.stdout.on("data", d => got += d); cat.on("close", () => { assert.strictEqual(got, "x".repeat(200000)); process.exit(0) }); cat.stdin.end("x".repeat(200000)) });'""",
    ),
    Item(
        name="node-files-and-watching",
        needs=("node",),
        script="""timeout 20 node -e '
const fs = require("fs"), os = require("os"), crypto = require("crypto"); fs.mkdtempSync(os.tmpdir() + "/x"); os.cpus(); os.userInfo(); os.networkInterfaces();
const watcher = fs.watch(".", () => { watcher.close(); fs.promises.readFile("new").then(() => crypto.pbkdf2("a", "b", 10, 8, "sha256", () => process.exit(0))) }); fs.writeFileSync("new", "x"); fs.cpSync("new", "copy")'""",
        after="test -f ws/copy",
    ),
    Item(
        name="node-server-and-client",
        needs=("node",),
        script="""timeout 20 node -e 'require("http").createServer((q, s) => s.end("ok")).listen(0, "localhost", function () { fetch("http://localhost:" + this.address().port).then(r => r.text()).then(t => process.exit(t === "ok" ? 0 : 1)) })'""",
    ),
    Item(
        name="node-web-assembly",
        needs=("node",),
        script="""node -e 'new WebAssembly.Module(new Uint8Array([0,97,115,109,1,0,0,0])); for (let i = 0, s = 0; i < 5e6; i++) s += i; new SharedArrayBuffer(8)'""",
    ),
    Item(
        name="npm-run-and-test",
        needs=("node", "npm"),
        before=PACKAGE,
        script="npm run -s build && npm test --silent && npm pkg get name | grep -q demo",
        after="test $(cat ws/built) = yes",
    ),
    Item(
        name="npm-installs-a-local-package",
        needs=("node", "npm"),
        before=PACKAGE
        + '\nmkdir dep; echo \'{"name": "dep", "version": "1.0.0"}\' >dep/package.json; echo \'module.exports = 7\' >dep/index.js',
        script="npm install --silent --offline --no-audit --no-fund ./dep && test $(node -p 'require(\"dep\")') = 7",
    ),
    # ---- compiled languages
    Item(
        name="gcc-and-run",
        needs=("gcc",),
        script=HELLO_C
        + "gcc -O2 -Wall -pthread hello.c -lm -o hello && test $(./hello) = 7 && gcc -shared -fPIC hello.c -lm -o lib.so && gcc -g -fsanitize=undefined hello.c -lm -o s && ./s",
        after="test $(ws/hello) = 7",
    ),
    Item(
        name="address-sanitizer",
        needs=("gcc",),
        script=HELLO_C + "gcc -g -fsanitize=address -pthread hello.c -lm -o s && ASAN_OPTIONS=detect_leaks=0 ./s",
    ),
    Item(
        name="c-plus-plus",
        needs=("g++",),
        script="printf '#include <iostream>\\n#include <thread>\\nint main() { std::thread t([] { std::cout << 42; }); t.join(); }\\n' >a.cc && g++ -pthread a.cc -o a && test $(./a) = 42",
    ),
    Item(
        name="make-in-parallel",
        needs=("make", "gcc"),
        script=HELLO_C
        + "printf 'all: 1 2 3 4 hello\\n1 2 3 4:\\n\\ttouch $@\\nhello: hello.c\\n\\t$(CC) -pthread $< -lm -o $@\\n' >Makefile && make -sj4 && make -s | cat",
        after="test -f ws/4 && test $(ws/hello) = 7",
    ),
    Item(
        name="cmake",
        needs=("cmake", "gcc", "make"),
        script=HELLO_C
        + "printf 'cmake_minimum_required(VERSION 3.5)\\nproject(h C)\\nadd_executable(h hello.c)\\ntarget_link_libraries(h m pthread)\\n' >CMakeLists.txt && cmake -S . -B build >/dev/null && cmake --build build -j2 >/dev/null && test $(build/h) = 7",
    ),
    Item(
        name="java-compile-and-run",
        needs=("java", "javac"),
        script="printf 'public class A { public static void main(String[] a) throws Exception { Thread t = new Thread(() -> System.out.println(42)); t.start(); t.join(); System.gc(); } }' >A.java && javac A.java && test $(java -Xmx256m A) = 42",
    ),
    Item(name="java-version", needs=("java",), script="java -version 2>&1 | grep -qi version"),
    Item(
        name="go-build-and-test",
        needs=("go",),
        script="printf 'package main\\nimport \"fmt\"\\nfunc main() { c := make(chan int); go func() { c <- 42 }(); fmt.Print(<-c) }\\n' >main.go && go mod init demo 2>/dev/null && go vet ./... && test $(go run .) = 42",
    ),
    # ---- text tools and editors
    Item(
        name="perl-awk-sed-bc",
        script="test $(perl -MPOSIX -MFile::Temp -e 'print floor(42.5)') = 42; test $(echo 1 2 | awk '{print $1+$2}') = 3; test $(echo a | sed s/a/b/) = b; seq 10 | sort -rn | head -1 | grep -qx 10; test $(echo '6*7' | bc) = 42; echo abc | cut -c2 | tr b B; printf 'b\\na\\n' | sort -u -T /tmp | paste -s",
    ),
    Item(
        name="grep-diff-patch",
        script="printf 'a\\nb\\n' >x; printf 'a\\nc\\n' >y; diff -u x y >p || true; patch -s x p; cmp x y; grep -rn c . | grep -q y; cmp -s x y; comm -12 x y >/dev/null; file x >/dev/null",
    ),
    Item(
        name="vim-in-ex-mode",
        needs=("vim",),
        before="echo old >ws/f",
        script="vim -es -u NONE -c '%s/old/new/' -c wq f </dev/null; printf 's/new/newer/\\nwq\\n' | ex -s f || true; grep -q new f",
        after="grep -q new ws/f",
    ),
    Item(
        name="less-as-a-pipe",
        needs=("less",),
        script="seq 1000 | less | tail -1 | grep -qx 1000; PAGER=less git --version >/dev/null",
    ),
    Item(
        name="editor-variable-and-crontab-like-editing",
        needs=("git",),
        before="cd ws; git init -q",
        script="EDITOR='sed -i 1s/^/edited/' git commit -q --allow-empty && git log --format=%s | grep -q edited",
    ),
    Item(
        name="openssl-and-keys",
        needs=("openssl",),
        script="openssl rand -hex 8 >/dev/null; openssl genpkey -algorithm ed25519 -out k 2>/dev/null; echo x | sha256sum >/dev/null; base64 k | base64 -d | cmp - k",
    ),
    Item(
        name="locale-and-time-zone",
        script='test $(LC_ALL=C.UTF-8 sh -c "printf \'é\' | wc -m") = 1; test "$(TZ=Asia/Tokyo date -d @0 +%H)" = 09; date >/dev/null; locale >/dev/null; test "$(/usr/bin/python3 -c \'import locale, sys; print(sys.getfilesystemencoding())\')" = utf-8; ls /usr/share/zoneinfo >/dev/null',
    ),
    # ---- servers on localhost
    Item(
        name="development-server",
        needs=("curl",),
        script=SERVER
        + "echo hello >f; test $(curl -s http://127.0.0.1:8000/f) = hello; test $(curl -s http://localhost:8000/f) = hello; kill $server",
    ),
    Item(name="listening-sockets", needs=("ss",), script=SERVER + "ss -tln | grep -q 127.0.0.1:8000; kill $server"),
    python(
        "tcp-and-udp-on-loopback",
        """
import socket, threading
for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "localhost"), (socket.AF_INET6, "::1"), (socket.AF_INET, "127.9.9.9")):
    server = socket.create_server((host, 0), family=family); client = socket.create_connection(server.getsockname()[:2]); other = server.accept()[0]
    client.sendall(b"x" * 100_000); client.close(); total = 0
    while part := other.recv(65536): total += len(part)
    assert total == 100_000
    udp = socket.socket(family, socket.SOCK_DGRAM); udp.bind((host, 0)); udp.sendto(b"hi", udp.getsockname()); assert udp.recv(9) == b"hi"
socket.create_server(("0.0.0.0", 0)); socket.create_server(("", 8080)); socket.getaddrinfo(socket.gethostname(), 80)
""",
    ),
    python(
        "names-of-this-machine",
        "import socket; assert socket.gethostbyname('localhost').startswith('127.'); socket.gethostbyname(socket.gethostname()); socket.getservbyname('http'); socket.if_nameindex()",
    ),
    Item(
        name="no-network-fails-fast",
        script="timeout 10 /usr/bin/python3 -c \"import socket; socket.create_connection(('192.0.2.1', 80), 5)\" && exit 1 || test $? = 1; timeout 10 getent hosts example.org && exit 1 || test $? = 2",
    ),
)


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.name)
def test_languages(item: Item, place: Place) -> None:
    carry_out(item, place)
