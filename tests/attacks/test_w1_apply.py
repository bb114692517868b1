"""W1: what reaches the host at the end of a run: special files, links, and the supervisor's own steps."""

import hashlib
import os
import stat
from collections.abc import Callable

from tests.attacks.arena import Arena, Ran
from tests.attacks.attack import Attack, cases, created, holds, present
from tests.attacks.kernel import PRELUDE

ENVIRONMENT = "mkdir -p env/bin; touch env/pyvenv.cfg; "
MAKE = "cp /bin/true tool 2>/dev/null || cp /usr/bin/true tool; "


def special(name: str, bit: int) -> Callable[[Arena, Ran], bool]:
    def look(arena: Arena, ran: Ran) -> bool:
        path = arena.workspace / name
        return path.exists() and bool(path.stat().st_mode & bit)

    return look


def repository(arena: Arena) -> None:
    """A repository, and the place of a large file in it."""
    digest = hashlib.sha256(b"harmless").hexdigest()
    arena.values["large"] = f".git/lfs/objects/{digest[:2]}/{digest[2:4]}/{digest}"
    for name in ("HEAD", "config", "objects/x", "refs/x"):
        arena.write(f"@workspace@/.git/{name}", "x")


def is_link(name: str) -> Callable[[Arena, Ran], bool]:
    return lambda arena, ran: (arena.workspace / name).is_symlink()


# openat2(2) takes the mode from memory, out of the filter's sight.
OPENAT2 = PRELUDE + "fd = show(call(437, -100, b'tool', struct.pack('QQQ', os.O_CREAT | os.O_WRONLY, 0o4755, 0), 24))\n"


@cases(
    Attack(
        name="setuid",
        script=MAKE + "chmod 4755 tool",
        shell=True,
        evidence=special("tool", stat.S_ISUID),
        code="setuid-denied",
    ),
    Attack(name="setuid-out-of-sight", script=OPENAT2, evidence=special("tool", stat.S_ISUID), code="special-mode"),
    Attack(
        name="setgid",
        script=MAKE + "chmod 2755 tool",
        shell=True,
        evidence=special("tool", stat.S_ISGID),
        code="special-mode",
    ),
    Attack(
        name="setuid-kept-by-a-change-of-content",
        script="cat /bin/true > tool",
        shell=True,
        prepare=present("@workspace@/tool", "x", mode=0o4755),
        # Unconfined the kernel itself drops the bit on writing, inode(7).
        evidence=lambda arena, ran: (
            special("tool", stat.S_ISUID)(arena, ran) and (arena.workspace / "tool").stat().st_size > 1
        ),
        refused_here=lambda: True,
        unseen="the kernel drops the bit when somebody writes",
    ),
    Attack(
        name="named-pipe",
        script="mkfifo pipe",
        shell=True,
        evidence=created("@workspace@/pipe"),
        code="special-file",
    ),
    Attack(
        name="socket-file",
        script="import socket\nsocket.socket(socket.AF_UNIX).bind('server')",
        evidence=created("@workspace@/server"),
        code="special-file",
    ),
    Attack(
        name="device",
        script="mknod device c 1 3",
        shell=True,
        evidence=created("@workspace@/device"),
        refused="needs CAP_MKNOD",
        code="device-denied",
    ),
    Attack(
        name="link-to-the-home",
        script="ln -s @home@/secret.txt notes",
        shell=True,
        evidence=is_link("notes"),
        code="link-outside",
    ),
    Attack(
        name="link-with-dots",
        script="ln -s ../../outside notes",
        shell=True,
        evidence=is_link("notes"),
        code="link-outside",
    ),
    Attack(
        name="interpreter-in-the-home",
        script=ENVIRONMENT + "ln -s @home@/python3 env/bin/python3",
        shell=True,
        prepare=present("@home@/python3", "@canary@", mode=0o755),
        evidence=is_link("env/bin/python3"),
        code="link-outside",
    ),
    Attack(
        name="interpreter-through-a-link-of-the-workspace",
        script=ENVIRONMENT + "ln -s /usr here; ln -s @workspace@/here/bin/python3 env/bin/python3; rm here; "
        "ln -s @outside@ here",
        shell=True,
        evidence=is_link("env/bin/python3"),
        code="link-outside",
    ),
    Attack(
        name="interpreter-that-is-none",
        script=ENVIRONMENT + "ln -s /usr/bin/env env/bin/python3",
        shell=True,
        evidence=is_link("env/bin/python3"),
        code="link-outside",
    ),
    Attack(
        name="interpreter-through-the-process",
        script=ENVIRONMENT + "ln -s /proc/self/cwd/python3 env/bin/python3",
        shell=True,
        evidence=is_link("env/bin/python3"),
        code="link-outside",
    ),
    Attack(
        name="interpreter-of-another-name",
        script=ENVIRONMENT + "ln -s /usr/bin/python3 env/bin/activate",
        shell=True,
        evidence=is_link("env/bin/activate"),
        code="link-outside",
    ),
    Attack(
        name="large-file-with-another-content",
        script="mkdir -p $(dirname @large@); printf pwned > @large@",
        shell=True,
        prepare=repository,
        evidence=holds("@workspace@/@large@"),
        code="conflict",
    ),
    Attack(
        name="link-in-place-of-a-directory",
        script="rm -r src; ln -s /etc src",
        shell=True,
        prepare=present("@workspace@/src/code.py", "x"),
        evidence=is_link("src"),
        code="link-replaces-directory",
    ),
    Attack(
        name="link-to-auto-load",
        script="ln -s .envrc harmless",
        shell=True,
        evidence=is_link("harmless"),
        code="link-to-auto-load",
    ),
    Attack(
        name="file-below-a-planted-link",
        script="ln -s @outside@ out; rm out; mkdir out; echo pwned > out/new.txt; rm -r out; ln -s @outside@ out; "
        "echo pwned > out/new.txt",
        shell=True,
        evidence=created("@outside@/new.txt"),
        code="link-outside",
    ),
    Attack(
        name="capability-of-a-file",
        script=MAKE + "setcap cap_setuid+ep tool; python3 -c \"import os; os.setxattr('tool', 'security.capability', "
        "bytes.fromhex('0100000280000000000000000000000000000000'))\"",
        shell=True,
        evidence=lambda arena, ran: has_capability(arena),
        refused="needs CAP_SETFCAP",
        unseen="setting it fails with EPERM for want of the capability, of which there is no event",
    ),
    Attack(
        name="forged-whiteout",
        script="import os\nos.mkdir('d'); os.setxattr('d', 'user.overlay.opaque', b'y')\n"
        "open('w', 'w').close(); os.setxattr('w', 'user.overlay.whiteout', b'y')\n"
        "os.setxattr('.', 'user.overlay.opaque', b'x')",
        evidence=lambda arena, ran: not (arena.workspace / "README").exists(),
        refused_here=lambda: True,
        unseen="overlayfs escapes its own attributes when they are set through it: the attempt looks like any other",
    ),
    Attack(
        name="deleting-what-is-protected",
        script="rm -rf .claude",
        shell=True,
        prepare=present("@workspace@/.claude/settings.json", "{}"),
        evidence=lambda arena, ran: not (arena.workspace / ".claude/settings.json").exists(),
        code="auto-load",
    ),
)
def test_apply(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)


def has_capability(arena: Arena) -> bool:
    return (arena.workspace / "tool").exists() and "security.capability" in os.listxattr(arena.workspace / "tool")


DIRECT = ("--workspace", "direct")


@cases(
    Attack(
        name="existing-auto-load-file",
        script="echo pwned >> .envrc",
        shell=True,
        options=DIRECT,
        prepare=present("@workspace@/.envrc", "x\n"),
        evidence=lambda arena, ran: "pwned" in (arena.workspace / ".envrc").read_text(),
        unseen="the file is on a read-only mount: EROFS, of which there is no event",
    ),
    Attack(
        name="existing-directory-moved-away",
        script="mv .vscode old; mkdir .vscode; echo pwned > .vscode/tasks.json",
        shell=True,
        options=DIRECT,
        prepare=present("@workspace@/.vscode/tasks.json", "{}"),
        evidence=lambda arena, ran: "pwned" in (arena.workspace / ".vscode/tasks.json").read_text(),
        unseen="a mount point cannot be moved: EBUSY, of which there is no event",
    ),
    Attack(
        name="setuid",
        script=MAKE + "chmod 4755 tool",
        shell=True,
        options=DIRECT,
        evidence=special("tool", stat.S_ISUID),
        code="setuid-denied",
    ),
    Attack(
        name="read-only-workspace",
        script="echo pwned > new; echo pwned >> README",
        shell=True,
        options=("--workspace", "readonly"),
        evidence=lambda arena, ran: (arena.workspace / "new").exists() or "pwned" in arena.workspace_text(),
        unseen="the workspace is on a read-only mount: EROFS, of which there is no event",
    ),
)
def test_live_workspace(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)
