"""Files: every kind of change that a build or an editor makes works inside and arrives on the host."""

import pytest

from tests.utility.confined import Item, Place, carry_out, python

ITEMS = (
    # ---- what arrives on the host
    Item(
        name="edit-arrives",
        before="echo one >ws/a",
        script="echo two >>a",
        after='test "$(cat ws/a)" = "$(printf "one\\ntwo")"',
    ),
    Item(
        name="edit-in-place",
        before="echo one >ws/a",
        script="sed -i s/one/two/ a && perl -pi -e 's/two/three/' a",
        after='test "$(cat ws/a)" = three && test "$(ls ws)" = a',
    ),
    Item(name="new-file-arrives", script="mkdir -p x/y && echo n >x/y/n", after='test "$(cat ws/x/y/n)" = n'),
    Item(
        name="deletion-arrives",
        before="echo one >ws/a; mkdir ws/d; echo b >ws/d/b",
        script="rm a && rm -r d",
        after='test -z "$(ls -A ws)"',
    ),
    Item(
        name="rename-arrives",
        before="echo one >ws/a",
        script="mv a b",
        after='test "$(ls ws)" = b && test "$(cat ws/b)" = one',
    ),
    Item(
        name="rename-across-directories",
        before="mkdir -p ws/x ws/y; echo one >ws/x/a",
        script="mv x/a y/b",
        after='test ! -e ws/x/a && test "$(cat ws/y/b)" = one && test -d ws/x',
    ),
    Item(
        name="rename-a-directory",
        before="mkdir -p ws/x/deep; echo one >ws/x/deep/a",
        script="mv x z && test -f z/deep/a",
        after='test ! -e ws/x && test "$(cat ws/z/deep/a)" = one',
    ),
    Item(
        name="directory-deleted-and-made-again",
        before="mkdir ws/d; echo old >ws/d/old",
        script='rm -r d && mkdir d && echo new >d/new && test "$(ls d)" = new',
        after='test "$(ls ws/d)" = new',
    ),
    Item(
        name="file-becomes-directory-and-back",
        before="echo f >ws/f; mkdir ws/d",
        script="rm f && mkdir f && echo in >f/in && rmdir d && echo d >d",
        after='test "$(cat ws/f/in)" = in && test "$(cat ws/d)" = d',
    ),
    Item(name="empty-directory-arrives", script="mkdir -p out/empty", after="test -d ws/out/empty"),
    Item(
        name="exec-bit-arrives",
        before="echo '#!/bin/sh' >ws/s",
        script="chmod +x s && ./s && printf '#!/bin/sh\\nexit 0\\n' >t && chmod 755 t && ./t",
        after='test -x ws/s && ws/s && test "$(stat -c %a ws/t)" = 755',
    ),
    Item(
        name="modes-arrive",
        script="for m in 600 640 644 700 755 444; do echo x >f$m; chmod $m f$m; done",
        after='for m in 600 640 644 700 755 444; do test "$(stat -c %a ws/f$m)" = $m; done',
    ),
    Item(
        name="symlinks-arrive",
        script='mkdir d; echo x >d/f; ln -s d/f link; ln -s d dirlink; test "$(cat dirlink/f)" = x',
        after='test "$(readlink ws/link)" = d/f && test "$(cat ws/dirlink/f)" = x',
    ),
    Item(
        name="timestamps-arrive",
        script="echo x >f && touch -d '2001-02-03 04:05:06.123456789 UTC' f && test \"$(stat -c %Y f)\" = 981173106",
        after='test "$(stat -c %Y ws/f)" = 981173106',
    ),
    Item(
        name="own-files-belong-to-us",
        before="echo x >ws/a",
        script='test "$(stat -c %u a)" = "$(id -u)"; echo y >b; test -O b',
        after='test "$(stat -c %u ws/a)" = "$(stat -c %u ws/b)"; test -O ws/b',
    ),
    Item(
        name="read-only-file-is-replaced",
        before="echo x >ws/a; chmod 444 ws/a",
        script="echo y >n && mv -f n a",
        after='test "$(cat ws/a)" = y',
    ),
    Item(
        name="umask",
        script='umask 027; touch a; mkdir d; test "$(stat -c %a a)" = 640; test "$(stat -c %a d)" = 750',
        after='test "$(stat -c %a ws/a)" = 640',
    ),
    Item(
        name="unchanged-tree-stays",
        before="mkdir -p ws/a/b; echo x >ws/a/b/c; find ws -printf '%p %m %T@ %i\\n' | sort >before",
        script="cat a/b/c; ls -R; find . -type f | xargs cat",
        after="find ws -printf '%p %m %T@ %i\\n' | sort | cmp - before",
    ),
    Item(
        name="five-thousand-files",
        script="mkdir m && cd m && i=0; while [ $i -lt 5000 ]; do : >$i; i=$((i+1)); done; test $(ls | wc -l) = 5000",
        after="test $(ls ws/m | wc -l) = 5000",
    ),
    Item(
        name="deep-directories",
        script="p=.; i=0; while [ $i -lt 60 ]; do p=$p/directory$i; i=$((i+1)); done; mkdir -p $p && echo x >$p/f",
        after='test "$(find ws -name f | tr -cd / | wc -c)" = 61',
    ),
    Item(
        name="large-file",
        script="head -c 50000000 /dev/zero | tr '\\0' x >big && sha256sum <big >sum",
        after="cd ws && sha256sum <big | cmp - sum && test $(stat -c %s big) = 50000000",
    ),
    Item(
        name="sparse-file",
        script="truncate -s 1G s && printf x | dd of=s bs=1 seek=500000000 conv=notrunc status=none && test $(du -k s | cut -f1) -lt 1000",
        after="test $(stat -c %s ws/s) = 1073741824 && test $(du -k ws/s | cut -f1) -lt 1000",
    ),
    Item(
        name="hard-links",
        script="echo x >a && ln a b && test $(stat -c %h a) = 2 && echo y >>b && cmp a b",
        after="cmp ws/a ws/b && grep -q y ws/a",
    ),
    Item(
        name="hard-link-to-a-file-of-the-host",
        before="echo x >ws/a",
        script="ln a b && test $(stat -c %h a) = 2 && echo y >>b && cmp a b",
        after="cmp ws/a ws/b",
    ),
    # ---- names
    Item(
        name="unicode-names",
        before="echo x >'ws/naïve – 名前 🦀.txt'",
        script="cat naïve*; mkdir 'Ünïcödé 目录'; mv naïve* 'Ünïcödé 目录/'",
        after="test -f 'ws/Ünïcödé 目录/naïve – 名前 🦀.txt'",
    ),
    Item(
        name="odd-names",
        script=r"""for n in '-rf' ' lead' 'trail ' 'a"b' "a'b" 'a\b' '$HOME' '*' '?' ';' '%n' '~' '#x' '...'; do echo x >"./$n"; done
        printf x >"$(printf 'new\nline')"; printf x >"$(printf 'tab\ttab')"; test $(ls -A | tr '\n' ' ' | wc -w) -gt 10""",
        after="cd ws && test -f ./-rf && test -f 'trail ' && test -f '*' && test -f \"$(printf 'new\\nline')\" && test -f 'a\\b' && test -f ...",
    ),
    python("names-that-are-not-utf-8", r"open(b'caf\xe9', 'w').write('x')", after="test -f ws/$(printf 'caf\\351')"),
    Item(name="longest-name", script="n=$(printf '%0255d' 7); echo x >$n", after="test -f ws/$(printf '%0255d' 7)"),
    Item(
        name="names-differing-in-case",
        script="echo 1 >Readme && echo 2 >README && test $(cat Readme) = 1",
        after="test $(cat ws/README) = 2",
    ),
    # ---- the ways of writing
    python(
        "atomic-replace",
        "import os; open('a.tmp','w').write('new'); os.replace('a.tmp','a'); assert open('a').read() == 'new'",
        before="echo old >ws/a",
        after='test "$(cat ws/a)" = new',
    ),
    python(
        "exchange-of-two-names",
        "import ctypes; assert ctypes.CDLL(None).renameat2(-100, b'a', -100, b'b', 2) == 0",
        before="echo 1 >ws/a; echo 2 >ws/b",
        after="test $(cat ws/a) = 2 && test $(cat ws/b) = 1",
    ),
    python(
        "unnamed-temporary-file",
        "import ctypes, os; f = os.open('.', os.O_TMPFILE | os.O_RDWR); os.write(f, b'x'); assert ctypes.CDLL(None).linkat(-100, b'/proc/self/fd/%d' % f, -100, b'named', 0x400) == 0",
        after="test $(cat ws/named) = x",
    ),
    python(
        "shared-mapping",
        "import mmap; f = open('a', 'r+b'); m = mmap.mmap(f.fileno(), 0); m[0:3] = b'two'; m.flush()",
        before="echo one >ws/a",
        after="test $(cat ws/a) = two",
    ),
    python(
        "allocate-truncate-append",
        "import os; f = os.open('a', os.O_RDWR | os.O_CREAT | os.O_APPEND); os.posix_fallocate(f, 0, 1 << 20); os.truncate('a', 3); os.write(f, b'end'); os.fsync(f)",
        after="test $(stat -c %s ws/a) = 6",
    ),
    python(
        "copy-in-the-kernel",
        "import os, shutil; shutil.copyfile('a', 'b'); s, t = os.open('a', 0), os.open('c', 65); assert os.copy_file_range(s, t, 1000) == 1000; s = os.open('a', 0); u = os.open('d', 65); assert os.sendfile(u, s, 0, 1000) == 1000",
        before="head -c 1000 /dev/urandom >ws/a",
        after="cmp ws/a ws/b && cmp ws/a ws/c && cmp ws/a ws/d",
    ),
    Item(
        name="copy-preserving",
        before="mkdir -p ws/src; echo x >ws/src/f; chmod 750 ws/src/f; touch -d 2001-01-01 ws/src/f; ln -s f ws/src/l",
        script="cp -a src dst; cp --reflink=auto src/f g",
        after='test "$(stat -c "%a %Y" ws/dst/f)" = "$(stat -c "%a %Y" ws/src/f)" && test "$(readlink ws/dst/l)" = f',
    ),
    Item(
        name="tar-preserving",
        before="mkdir ws/src; echo x >ws/src/f; chmod 751 ws/src/f; touch -d 2001-01-01 ws/src/f",
        script="tar czf a.tgz src; tar cJf - src | tar tJf -; mkdir out; tar xpzf a.tgz -C out",
        after='test "$(stat -c "%a %Y" ws/out/src/f)" = "$(stat -c "%a %Y" ws/src/f)"',
    ),
    Item(
        name="zip-and-unzip",
        needs=("zip", "unzip"),
        script="mkdir d; echo x >d/f; chmod 755 d/f; zip -qr a.zip d; rm -r d; unzip -q a.zip",
        after='test "$(stat -c %a ws/d/f)" = 755',
    ),
    Item(
        name="rsync",
        needs=("rsync",),
        script="mkdir s; echo x >s/f; rsync -a s/ t/; rsync -a --delete s/ t/",
        after="cmp ws/s/f ws/t/f",
    ),
    Item(
        name="compressors",
        script="echo hello >a; for c in gzip bzip2 xz; do $c -k a; done; gzip -t a.gz; xz -t a.xz; zcat a.gz | cmp - a",
        after="gzip -t ws/a.gz",
    ),
    # ---- locks, attributes, watches, databases
    python(
        "whole-file-lock",
        """
import fcntl, os
f = open("lock", "w"); fcntl.flock(f, fcntl.LOCK_EX)
if os.fork() == 0:
    try: fcntl.flock(open("lock", "w"), fcntl.LOCK_EX | fcntl.LOCK_NB); os._exit(1)
    except BlockingIOError: os._exit(0)
assert os.wait()[1] == 0
""",
    ),
    python(
        "record-lock",
        """
import fcntl, os
f = open("lock", "w+"); fcntl.lockf(f, fcntl.LOCK_EX, 10, 0)
if os.fork() == 0:
    g = open("lock", "w+"); fcntl.lockf(g, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 20)
    try: fcntl.lockf(g, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 0); os._exit(1)
    except BlockingIOError: os._exit(0)
assert os.wait()[1] == 0
""",
    ),
    Item(name="flock-command", script="flock lock sh -c 'flock -n lock true && exit 1 || exit 0'"),
    python(
        "extended-attributes",
        "import os; open('a','w'); os.setxattr('a', 'user.note', b'v'); assert os.getxattr('a', 'user.note') == b'v'; assert 'user.note' in os.listxattr('a'); os.removexattr('a', 'user.note')",
    ),
    python(
        "extended-attributes-of-the-host",
        "import os; assert os.getxattr('a', 'user.note') == b'v'; open('a', 'a').write('x'); assert os.getxattr('a', 'user.note') == b'v'",
        before="/usr/bin/python3 -c \"import os; open('ws/a','w'); os.setxattr('ws/a','user.note',b'v')\"",
        after="/usr/bin/python3 -c \"import os; assert os.getxattr('ws/a','user.note') == b'v'\"",
    ),
    python(
        "watching-files",
        """
import ctypes, os, select, struct
libc = ctypes.CDLL(None); fd = libc.inotify_init1(0)
for place in (b".", os.environ["HOME"].encode(), b"/tmp"):
    assert libc.inotify_add_watch(fd, place, 0x100) > 0
    open(os.path.join(place, b"new"), "w").close()
    assert select.select([fd], [], [], 5)[0]
    assert b"new" in os.read(fd, 4096)
""",
    ),
    python(
        "watching-a-file-of-the-host",
        """
import ctypes, os, select
libc = ctypes.CDLL(None); fd = libc.inotify_init1(0)
assert libc.inotify_add_watch(fd, b".", 0x2 | 0x8) > 0
open("a", "a").write("x")
assert select.select([fd], [], [], 5)[0]
""",
        before="echo x >ws/a",
    ),
    python(
        "database-with-a-journal",
        """
import sqlite3
one = sqlite3.connect("db"); assert one.execute("pragma journal_mode=wal").fetchone()[0] == "wal"
one.execute("create table t (n)"); one.executemany("insert into t values (?)", [(n,) for n in range(1000)]); one.commit()
two = sqlite3.connect("db"); assert two.execute("select count(*) from t").fetchone()[0] == 1000
one.close(); two.close()
""",
        after="/usr/bin/python3 -c \"import sqlite3; assert sqlite3.connect('ws/db').execute('select sum(n) from t').fetchone()[0] == 499500\"",
    ),
    python(
        "database-of-the-host",
        "import sqlite3; c = sqlite3.connect('db'); c.execute('update t set n = n + 1'); c.commit(); c.close()",
        before="/usr/bin/python3 -c \"import sqlite3; c = sqlite3.connect('ws/db'); c.execute('create table t (n)'); c.execute('insert into t values (41)'); c.commit()\"",
        after="/usr/bin/python3 -c \"import sqlite3; assert sqlite3.connect('ws/db').execute('select n from t').fetchone()[0] == 42\"",
    ),
    python(
        "dbm-and-shelve",
        "import shelve; s = shelve.open('s'); s['k'] = [1]; s.close(); assert shelve.open('s')['k'] == [1]",
    ),
    Item(name="fifo-in-the-workspace", script='mkfifo p; echo hello >p & test "$(cat p)" = hello; rm p'),
    # ---- places
    Item(
        name="home-is-writable",
        script='cd && echo x >f && mkdir -p .cache/tool .config/tool && echo y >.config/tool/rc && test -w . && test "$(realpath ~)" = "$HOME"',
        after="test ! -e home/f && test ! -e home/.config/tool",
    ),
    Item(
        name="home-is-in-the-account-table",
        script='test "$(getent passwd "$(id -u)" | cut -d: -f6)" = "$HOME"; test "$(id -un)" = "$USER"',
    ),
    Item(
        name="private-temporary-directory",
        script='test "$TMPDIR" = /tmp; f=$(mktemp); d=$(mktemp -d); echo x >$f; touch $d/x; echo x >/var/tmp/y; test "$(stat -c %a /tmp)" = 1777',
    ),
    python(
        "temporary-files-of-python",
        "import tempfile; f = tempfile.NamedTemporaryFile(); f.write(b'x'); d = tempfile.TemporaryDirectory(); tempfile.TemporaryFile(); tempfile.SpooledTemporaryFile(10).write(b'x' * 100)",
    ),
    Item(
        name="run-time-directory",
        script='test -d "$XDG_RUNTIME_DIR"; test -O "$XDG_RUNTIME_DIR"; test "$(stat -c %a "$XDG_RUNTIME_DIR")" = 700; touch "$XDG_RUNTIME_DIR/x"; touch /run/lock/x /dev/shm/x',
    ),
    Item(
        name="devices",
        script='echo x >/dev/null; head -c 10 /dev/zero | wc -c | grep -q 10; head -c 10 /dev/urandom >f; (echo x >/dev/full) 2>/tmp/e && exit 1; test "$(echo x | cat /dev/stdin)" = x; test "$(echo y >/dev/fd/1)" = y; echo e >/tmp/e 2>&1',
    ),
    Item(
        name="symlinked-start",
        before="ln -s ws link; echo x >ws/a",
        start="link",
        script='test "$(cat a)" = x; echo y >b; cd "$(pwd -P)"; test -f b',
        after="test -f ws/b",
    ),
    Item(
        name="symlinked-start-keeps-its-name",
        before="ln -s ws link; echo x >ws/a",
        start="link",
        script='cd ..; cd link && test -f a; case "$(pwd -L)" in */link) ;; *) exit 1;; esac',
    ),
    Item(
        name="start-in-a-directory-with-odd-name",
        before="mkdir 'ws/a b'; cd 'ws/a b'; mkdir './-é;$x'",
        start="ws/a b/-é;$x",
        script="echo x >f && test -f f && pwd",
        after="test -f 'ws/a b/-é;$x/f'",
    ),
    Item(
        name="workspace-by-option",
        before="mkdir other; echo x >other/a",
        script='test "$(cat a)" = x; echo y >b',
        start="home",
        options=("-C", "../other"),
        after="test -f other/b",
    ),
    Item(
        name="find-and-xargs",
        before="mkdir -p ws/a/b; touch ws/a/1.o ws/a/b/2.o ws/a/k",
        script="find . -name '*.o' -print0 | xargs -0 rm; find . -type f -newermt 2000-01-01 | grep -q k; find . -empty -delete",
        after='test -z "$(find ws -name "*.o")"',
    ),
    Item(name="disk-free-and-usage", script="df . /tmp ~ >/dev/null; du -sh . >/dev/null; stat -f . >/dev/null"),
)


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.name)
def test_files(item: Item, place: Place) -> None:
    carry_out(item, place)
