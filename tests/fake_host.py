"""A host made of a dictionary, and the plans that are made for it: planner tests without a file system.

`Host` answers what `sandbox/facts.py` and `session/prepare.py` learn from the kernel, in the same steps.
"""

import posixpath
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from ringfence.model.paths import GuestPath, HostPath
from ringfence.model.plan import HostFacts, Identity, Mount, PathFact, PathKind, Plan
from ringfence.planner import build
from ringfence.planner.request import Request
from ringfence.policy.effective import Policy
from ringfence.policy.layers import merge
from ringfence.policy.parse import parse

HOME = "/home/user"
WORKSPACE = "/home/user/project"
MAIN = f"{HOME}/main/.git"
LINKED = f"{MAIN}/worktrees/project"
SURFACES = (".claude", ".envrc", ".git/config", ".git/hooks", ".git/worktrees")


class Link(NamedTuple):
    """A symbolic link."""

    target: str


Node = str | Link | None
"""A file's text, a link, or None for a directory."""

SYSTEM: dict[str, Node] = {
    "/usr/bin/bash": "ELF",
    "/usr/bin/python3.11": "ELF",
    "/usr/lib/os-release": "ID=debian\n",
    "/usr/share/doc/readme": "text",
    "/bin": Link("usr/bin"),
    "/lib": Link("usr/lib"),
    "/sys/devices/system/cpu/online": "0-1",
    "/etc/os-release": Link("../usr/lib/os-release"),
    "/etc/shells": "/bin/sh\n",
    "/etc/shadow": "root:secret",
    "/etc/ssl/certs/ca.pem": "certificate",
    "/etc/localtime": Link("/usr/share/zoneinfo/UTC"),
    "/usr/share/zoneinfo/UTC": "TZif",
    f"{HOME}/.ssh/id_ed25519": "key",
    f"{HOME}/.docker/config.json": "token",
    f"{HOME}/.pyenv/versions/3.12/bin/python": "ELF",
    f"{HOME}/.pyenv/cache/secret": "token",
    f"{WORKSPACE}/main.py": "print()",
}


class Host:
    """Files by path; what lies above a file is a directory. `owners` gives the uid of a tree, else `uid` owns it."""

    def __init__(
        self,
        files: Mapping[str, Node] | None = None,
        *,
        uid: int = 1000,
        home: str = HOME,
        owners: Mapping[str, int] | None = None,
        idmap: bool = True,
    ) -> None:
        self.files = {**SYSTEM, **(files or {})}
        self.uid = uid
        self.home = home
        self.owners = owners or {}
        self.idmap = idmap and uid == 0
        self.children: dict[str, set[str]] = {"/": set()}
        for path, node in [*self.files.items(), (home, None)]:
            steps = path.split("/")[1:]
            for depth, name in enumerate(steps):
                directory = "/" + "/".join(steps[:depth])
                self.children.setdefault(directory, set()).add(name)
            if node is None:
                self.children.setdefault(path, set())

    def real(self, path: str, budget: int = 40) -> str:
        """Resolve links as realpath(3) does; what does not exist is kept as it is."""
        place = "/"
        steps = [step for step in path.split("/") if step]
        while steps:
            step = steps.pop(0)
            if step in (".", ".."):
                place = posixpath.dirname(place) if step == ".." else place
                continue
            place = posixpath.join(place, step)
            node = self.files.get(place)
            if isinstance(node, Link) and budget:
                budget -= 1
                steps = [one for one in node.target.split("/") if one] + steps
                place = "/" if node.target.startswith("/") else posixpath.dirname(place)
        return place

    def fact(self, path: str) -> PathFact:
        """What `facts.path_fact` would say."""
        resolved = self.real(path)
        place = posixpath.join(self.real(posixpath.dirname(path)), posixpath.basename(path))
        node = self.files.get(place)
        uid = next((uid for top, uid in self.owners.items() if f"{path}/".startswith(f"{top}/")), self.uid)
        if place in self.children:
            return PathFact(kind=PathKind.DIRECTORY, resolved=resolved, others_read=True, uid=uid, gid=uid)
        if isinstance(node, Link):
            text = self.files.get(resolved)
            shown = text if isinstance(text, str) else ""
            return PathFact(
                kind=PathKind.SYMLINK, link=node.target, resolved=resolved, others_read=True, uid=uid, text=shown
            )
        if node is None:
            return PathFact(kind=PathKind.ABSENT, resolved=resolved)
        readable = "shadow" not in path
        return PathFact(kind=PathKind.FILE, resolved=resolved, others_read=readable, uid=uid, gid=uid, text=node)

    def listing(self, directory: str) -> list[tuple[str, bool]]:
        """What `prepare.Names` would say."""
        real = self.real(directory)
        return [(name, posixpath.join(real, name) in self.children) for name in sorted(self.children.get(real, ()))]

    def facts(self, policy: Policy, request: Request) -> HostFacts:
        """Gather what the planner asks for, as `prepare.gather` does."""
        paths, _ = build.wanted(policy, request, self.home)
        found = HostFacts(
            uid=self.uid,
            gid=self.uid,
            user="root" if self.uid == 0 else "user",
            home=HostPath(self.home),
            hostname="ringfence",
            python=HostPath("/usr/bin/python3.11"),
            bubblewrap=HostPath("/opt/bwrap"),
            landlock_abi=6,
            idmap=self.idmap,
            overlay=True,
            terminal=False,
            git_name="A User",
            git_email="user@example.org",
            paths={path: self.fact(path) for path in paths},
        )
        found = self.complete(policy, request, found, build.allowances(policy, found, self.listing))
        return self.complete(policy, request, found, build.denials(policy, found, request, self.listing))

    def complete(
        self, policy: Policy, request: Request, found: HostFacts, matches: dict[str, tuple[str, ...]]
    ) -> HostFacts:
        """Add `matches` and what they lead to."""
        found = msgspec.structs.replace(found, matches=found.matches | matches)
        while more := build.missing(policy, found, request):
            found = msgspec.structs.replace(found, paths=found.paths | {path: self.fact(path) for path in more})
        return found


def policy(text: str = "", *, home: str = HOME, workspace: str = WORKSPACE) -> Policy:
    """The policy of a user's file with `text`."""
    return merge([parse(f"version = 1\n{text}", file="p.toml", scope="user")], home=home, workspace=workspace)


def request(workspace: str = WORKSPACE, *, cwd: str = "", came_by: str = "") -> Request:
    """A request for one command."""
    return Request(
        argv=("true",),
        workspace=HostPath(workspace),
        cwd=HostPath(cwd or workspace),
        logical_cwd=came_by,
        surfaces=SURFACES,
        inside=HostPath("/usr/lib/ringfence/inside"),
    )


def plan(text: str = "", host: Host | None = None, asked: Request | None = None) -> Plan:
    """The plan for a policy's text on a host."""
    machine, wish = host or Host(), asked or request()
    rules = policy(text, home=machine.home, workspace=wish.workspace)
    return build.build(rules, machine.facts(rules, wish), wish)


def filesystem(**lists: list[str]) -> str:
    """A `[filesystem]` table; the keys' underscores stand for dashes."""
    lines = [f"{key.replace('_', '-')} = {msgspec.json.encode(entries).decode()}" for key, entries in lists.items()]
    return "\n".join(["[filesystem]", *lines, ""])


def at(found: Plan, target: str) -> Mount:
    """The last operation on exactly `target`."""
    return next(mount for mount in reversed(found.mounts) if mount.target == target)


def repository(path: str) -> dict[str, Node]:
    """Give the files of a git directory."""
    return {f"{path}/HEAD": "ref: refs/heads/main\n", f"{path}/objects/pack": None, f"{path}/config": "[core]\n"}


def worktree(common: str = "../..", back: str = f"{WORKSPACE}/.git", directory: str = LINKED) -> dict[str, Node]:
    """Give the files that make the workspace a linked worktree of the repository in `MAIN`."""
    return {
        f"{WORKSPACE}/.git": f"gitdir: {directory}\n",
        f"{directory}/HEAD": "ref: refs/heads/topic\n",
        f"{directory}/gitdir": f"{back}\n",
        f"{directory}/commondir": f"{common}\n",
    }


ALICE = Identity(user="user", uid=1000, gid=1000, home=GuestPath(HOME))
