"""F4: getting around a denied path: other names, other ways of opening, moved parents, links, time."""

from collections.abc import Callable

from tests.attacks.arena import Arena, Ran
from tests.attacks.attack import Attack, cases, holds, present

DENY_KEY = ("--deny-read", "./secrets/key.pem")
DENY_DIRECTORY = ("--deny-read", "./secrets")
ENV = ("--deny-read", ".env")


def secrets_directory(arena: Arena) -> None:
    arena.write("@workspace@/secrets/key.pem", arena.canary, mode=0o644)
    arena.write("@workspace@/secrets/harmless", "nothing\n", mode=0o644)


def environment_file(arena: Arena) -> None:
    arena.write("@workspace@/.env", f"TOKEN={arena.canary}\n", mode=0o644)
    arena.write("@workspace@/deep/below/.env", f"TOKEN={arena.canary}\n", mode=0o644)


def linked(arena: Arena) -> None:
    arena.write("@workspace@/real/token", arena.canary, mode=0o644)
    (arena.workspace / ".env").symlink_to("real/token")


def printed(arena: Arena, ran: Ran) -> bool:
    """The file stands in the host's workspace anyway, so only what was printed counts."""
    return arena.canary in ran.output


def read(name: str, script: str, options: tuple[str, ...], setting_up: Callable[[Arena], None]) -> Attack:
    return Attack(
        name=name,
        script=script,
        shell=not script.startswith("import"),
        evidence=printed,
        options=options,
        prepare=setting_up,
        code="path-protected",
    )


@cases(
    read("plainly", "cat secrets/key.pem", DENY_KEY, secrets_directory),
    read("denied-directory", "cat secrets/key.pem; ls secrets", DENY_DIRECTORY, secrets_directory),
    read("at-any-depth", "cat .env; cat deep/below/.env", ENV, environment_file),
    read("recursive-search", "grep -r canary- .", DENY_KEY, secrets_directory),
    read("archive", "tar -cf - . | cat", DENY_KEY, secrets_directory),
    read("renamed-parent", "mv secrets other; cat other/key.pem; cat secrets/key.pem", DENY_KEY, secrets_directory),
    read("copied-parent", "cp -r secrets other; cat other/key.pem", DENY_KEY, secrets_directory),
    read("symlink-to-it", "ln -s secrets/key.pem k; cat k", DENY_KEY, secrets_directory),
    read("symlink-to-its-parent", "ln -s secrets s; cat s/key.pem", DENY_KEY, secrets_directory),
    read("target-of-a-denied-symlink", "cat real/token; cat .env", ENV, linked),
    read("dots-and-slashes", "cat ./secrets/../secrets//./key.pem", DENY_KEY, secrets_directory),
    read("magic-link", "cat /proc/self/cwd/secrets/key.pem", DENY_KEY, secrets_directory),
    read(
        "path-descriptor",
        "import os; at = os.open('secrets/key.pem', os.O_PATH)\n"
        "for name in (f'/proc/self/fd/{at}', 'secrets/key.pem'):\n"
        "    try: print(open(name).read())\n    except OSError as error: print(error)",
        DENY_KEY,
        secrets_directory,
    ),
    read("own-directory", "cd secrets && cat key.pem", DENY_KEY, secrets_directory),
    read("execute-it", "sh secrets/key.pem; . secrets/key.pem", DENY_KEY, secrets_directory),
)
def test_denied_read(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)


def appears_later(arena: Arena, ran: Ran) -> None:
    """While the script looks, the user writes the denied file."""
    arena.write("@workspace@/.env", arena.canary, mode=0o644)


def replaced_later(arena: Arena, ran: Ran) -> None:
    """While the script looks, the user's editor saves the denied file by renaming a new one over it."""
    arena.write("@workspace@/.env.new", arena.canary, mode=0o644).rename(arena.workspace / ".env")


# Before it is there, at every moment around that, and once more when it is there for certain.
POLL = (
    "cat .env 2>/dev/null; echo; echo ready\n"
    "while :; do cat .env 2>/dev/null; sleep 0.02; done &\n"
    "read end; sleep 0.2; kill $!; cat .env"
)


@cases(
    Attack(
        name="hard-link-to-it",
        script="ln secrets/key.pem k; cat k",
        shell=True,
        evidence=printed,
        options=DENY_KEY,
        prepare=secrets_directory,
        unseen="linking to a mount point fails with EXDEV or EPERM before anything is opened",
    ),
    Attack(
        name="file-that-appears-later",
        script=POLL,
        shell=True,
        evidence=printed,
        options=ENV,
        meanwhile=appears_later,
        unseen="the name is kept from appearing in the view: it stays ENOENT",
    ),
    Attack(
        name="file-that-is-replaced",
        script=POLL,
        shell=True,
        evidence=printed,
        options=ENV,
        prepare=present("@workspace@/.env", "old\n"),
        meanwhile=replaced_later,
        code="path-protected",
    ),
)
def test_denied_read_otherwise(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)


def sources(arena: Arena) -> None:
    arena.write("@workspace@/src/keep.py", "original\n", mode=0o644)
    arena.write("@workspace@/migrations/1.sql", "original\n", mode=0o644)


def write(name: str, script: str, target: str, pattern: str, code: str = "path-protected") -> Attack:
    return Attack(
        name=name,
        script=script,
        shell=True,
        evidence=holds(f"@workspace@/{target}"),
        options=("--deny-write", pattern),
        prepare=sources,
        code=code if code != "sealed" else "",
        unseen=""
        if code != "sealed"
        else "the mount refuses: EROFS, or EBUSY for what lies above it, of which there is no event",
    )


@cases(
    write("plainly", "echo pwned > src/keep.py", "src/keep.py", "./src/keep.py", "sealed"),
    write("renamed-parent", "mv src s; mkdir src; echo pwned > src/keep.py", "src/keep.py", "./src/keep.py", "sealed"),
    write("renamed-over", "echo pwned > new; mv -f new src/keep.py", "src/keep.py", "./src/keep.py", "sealed"),
    write("new-name-below", "echo pwned > migrations/2.sql", "migrations/2.sql", "migrations/", "sealed"),
    write("new-name-by-pattern", "echo pwned > src/x.lock", "src/x.lock", "*.lock"),
    write("absent-literal", "echo pwned > src/absent", "src/absent", "./src/absent", "sealed"),
    write(
        "directory-swap",
        "cp -r src s; rm -rf src; mv s src; echo pwned > src/keep.py",
        "src/keep.py",
        "./src/keep.py",
        "sealed",
    ),
    write("other-case", "echo pwned > MIGRATIONS", "MIGRATIONS", "migrations/", "sealed"),
)
def test_denied_write(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)


@cases(
    Attack(
        name="host-directory-behind-a-swapped-parent",
        script="mv a x; ln -s @outside@/victim a",
        shell=True,
        # Unconfined the attacker simply does what the supervisor must not be made to do.
        evidence=lambda arena, ran: not (arena.root / "outside/victim/b").exists(),
        options=("--deny-write", "./a/b/c/secret"),
        prepare=lambda arena: (arena.root / "outside/victim/b").mkdir(parents=True),
        refused_here=lambda: True,
        unseen="what the supervisor does on the host afterwards is under test, not what the script does",
    ),
)
def test_stand_in(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)
