"""W2: files reach the host while the command still runs: what is held must not slip through, and no race may help."""

import contextlib
from collections.abc import Callable

from tests import paths
from tests.attacks.arena import Arena, Ran
from tests.attacks.attack import Attack, Evidence, cases, created, holds
from tests.attacks.test_g1_git_as_a_loader import repository

LIVE = ("--apply", "live")
# The last file of each script; once the host has it, everything before it has been looked at.
READY = "\nopen('barrier', 'w').write('x')\nprint('ready', flush=True)\ninput()\n"


def once_carried(evidence: Evidence) -> Evidence:
    """Look when the barrier has arrived on the host, while the command still runs."""

    def look(arena: Arena, ran: Ran) -> bool:
        assert paths.wait_until((arena.workspace / "barrier").exists), f"nothing arrived\n{ran.output}"
        return evidence(arena, ran)

    return look


def all_of(*evidence: Evidence) -> Evidence:
    return lambda arena, ran: all(one(arena, ran) for one in evidence)


def outside_file(arena: Arena) -> None:
    arena.write("@outside@/victim", "original\n")


changed_outside = holds("@outside@/victim")


def secret_in_file(arena: Arena, ran: Ran) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return arena.canary in (arena.workspace / "file").read_text()
    return False


WRITE = "import os\ndef put(path, text='pwned'):\n    os.makedirs(os.path.dirname(path) or '.', exist_ok=True)\n"
WRITE += "    with open(path, 'w') as file: file.write(text)\n"

# What is carried over may show inside for a moment after it was removed there, so each step is tried until it works.
FORCE = """
import subprocess, time
def force(*words):
    for _ in range(2000):
        if subprocess.run(words, stderr=subprocess.DEVNULL).returncode == 0: return
        time.sleep(0.02)
    raise SystemExit('cannot ' + ' '.join(words))
def link(target, name):
    force('sh', '-c', 'rm -rf "$2"; exec ln -sT "$1" "$2"', 'sh', target, name)
def put_again(path):
    try: put(path)
    except OSError: pass
end = time.monotonic() + 1
"""
SWAP = (
    FORCE
    + """
put_again('d/victim')
while time.monotonic() < end:
    subprocess.run(['mv', '-T', 'd', 'aside'], stderr=subprocess.DEVNULL)
    subprocess.run(['ln', '-sT', '@outside@', 'd'], stderr=subprocess.DEVNULL)
    subprocess.run(['rm', '-rf', 'd'])
    subprocess.run(['mv', '-T', 'aside', 'd'], stderr=subprocess.DEVNULL)
    put_again('d/victim')
link('@outside@', 'd')
link('@outside@', 'e')
"""
)
READ = (
    FORCE
    + """
while time.monotonic() < end:
    try:
        put('file', 'harmless')
        os.unlink('file')
        os.symlink('@home@/secret.txt', 'file')
        os.unlink('file')
    except OSError:
        continue
link('@home@/secret.txt', 'file')
"""
)


@cases(
    Attack(
        name="auto-load",
        script=WRITE + "put('.envrc')" + READY,
        evidence=once_carried(created("@workspace@/.envrc")),
        code="auto-load",
        hold=True,
        options=LIVE,
    ),
    Attack(
        name="auto-load-by-rename",
        script=WRITE + "put('notes/x'); os.rename('notes', '.husky')" + READY,
        evidence=once_carried(created("@workspace@/.husky/x")),
        code="auto-load",
        hold=True,
        options=LIVE,
    ),
    Attack(
        name="hook",
        script=WRITE + "put('.git/hooks/post-checkout')" + READY,
        prepare=repository,
        evidence=once_carried(created("@workspace@/.git/hooks/post-checkout")),
        code="git-protected",
        hold=True,
        options=LIVE,
    ),
    Attack(
        name="nested-repository",
        script=WRITE + "put('lib/.git/config', '[core]')" + READY,
        evidence=once_carried(created("@workspace@/lib/.git/config")),
        code="git-nested",
        hold=True,
        options=LIVE,
    ),
    Attack(
        name="letter-case",
        script=WRITE + "put('.GIT/config', '[core]')" + READY,
        evidence=once_carried(created("@workspace@/.GIT/config")),
        code="git-lookalike",
        hold=True,
        options=LIVE,
    ),
    Attack(
        name="bare-repository-piece-by-piece",
        script=WRITE + "put('d/HEAD')\nput('d/objects/x')\nput('d/refs/x')" + READY,
        evidence=once_carried(
            all_of(created("@workspace@/d/HEAD"), created("@workspace@/d/objects"), created("@workspace@/d/refs"))
        ),
        code="git-bare",
        hold=True,
        options=LIVE,
    ),
    Attack(
        name="denied-name",
        script=WRITE + "put('new.key')" + READY,
        evidence=once_carried(created("@workspace@/new.key")),
        code="path-protected",
        hold=True,
        options=(*LIVE, "--deny-write", "*.key"),
    ),
    Attack(
        name="directory-swapped-for-a-link",
        script=WRITE + SWAP + READY,
        prepare=outside_file,
        evidence=once_carried(lambda arena, ran: (arena.workspace / "d").is_symlink() or changed_outside(arena, ran)),
        code="link-outside",
        hold=True,
        options=LIVE,
    ),
    Attack(
        name="file-swapped-for-a-link",
        script=WRITE + READ + READY,
        evidence=once_carried(secret_in_file),
        code="link-outside",
        hold=True,
        options=LIVE,
    ),
)
def test_live(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)
