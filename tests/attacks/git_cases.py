"""Pushes, and what becomes of them: the table behind test_g2_git_push.py.

The server has `main` (three commits, with `.github/workflows/ci.yml`, `src/a` and `docs/a`), `agent/old` (one commit
ahead of the second of `main`), `release` (a commit of its own, which changes the workflow) and the tag `v1` (the first
commit of `main`). The client has a clone of it, on `main`. `steps` is shell there; `push` are the words after `git
push`. The rule is `refs = ["refs/heads/agent/**"]` with what `rule` adds. `refused` is what the user is told; empty
where the push is allowed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

FILE = "echo more >> src/a && git commit -qam more"
EVIL = "echo evil >> .github/workflows/ci.yml && git commit -qam evil"
OLD = "git checkout -q -B old origin/agent/old"
DENY = {"deny_paths": (".github/workflows/**", "**/secret.txt")}
NEW = "HEAD:refs/heads/agent/new"
ONTO_OLD = "HEAD:refs/heads/agent/old"
NO_REF = "no rule allows pushing to this ref"
NO_FORCE = "not a fast-forward"
NO_PATH = "which the rule denies"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One push."""

    name: str
    steps: str = FILE
    push: str = NEW
    rule: Mapping[str, object] = field(default_factory=dict)
    refused: str = ""


CASES = (
    # refs
    Case(name="a new branch"),
    Case(name="a branch at a commit the server has", steps="true"),
    Case(name="a branch with a slash more", push="HEAD:refs/heads/agent/a/b/c"),
    Case(name="main", push="HEAD:main", refused=NO_REF),
    Case(name="a branch whose name begins alike", push="HEAD:refs/heads/agents/x", refused=NO_REF),
    Case(name="another letter case", push="HEAD:refs/heads/Agent/x", refused=NO_REF),
    Case(name="a tag", steps="git tag t", push="refs/tags/t", refused=NO_REF),
    Case(name="an annotated tag", steps="git tag -a -m t t", push="refs/tags/t", refused=NO_REF),
    Case(name="notes", steps="git notes add -m n", push="refs/notes/commits", refused=NO_REF),
    Case(name="a ref for reviews", push="HEAD:refs/for/main", refused=NO_REF),
    Case(name="a ref of a pull request", push="HEAD:refs/pull/1/head", refused=NO_REF),
    Case(name="two good refs", push=f"{NEW} HEAD:refs/heads/agent/two"),
    Case(name="one good ref and one bad", push=f"{NEW} HEAD:main", refused=NO_REF),
    Case(name="one bad ref, and atomic", push=f"--atomic {NEW} HEAD:main", refused=NO_REF),
    Case(name="everything", steps=f"{FILE} && git branch agent/x", push="--all", refused=NO_REF),
    Case(name="a mirror", push="--mirror", refused=NO_REF),
    Case(
        name="too many refs",
        push=f"{NEW} HEAD:refs/heads/agent/two HEAD:refs/heads/agent/three",
        rule={"max_refs": 2},
        refused="more than 2 refs",
    ),
    Case(name="a tag where tags are allowed", steps="git tag t", push="refs/tags/t", rule={"refs": ("refs/tags/*",)}),
    Case(
        name="a tag that moves",
        steps=f"{FILE} && git tag -f v1",
        push="-f refs/tags/v1",
        rule={"refs": ("refs/tags/*",)},
        refused="moving tags",
    ),
    # updates
    Case(name="an update", steps=f"{OLD} && {FILE}", push=ONTO_OLD),
    Case(name="an update by a merge", steps=f"{OLD} && git merge -q --no-edit origin/main", push=ONTO_OLD),
    Case(name="an update to what the server has", steps="true", push="origin/main:refs/heads/agent/behind"),
    Case(name="a forced update", push=f"-f {ONTO_OLD}", refused=NO_FORCE),
    Case(name="a forced update to what the server has", steps="true", push=f"-f {ONTO_OLD}", refused=NO_FORCE),
    Case(name="a forced update with a plus", push=f"+{ONTO_OLD}", refused=NO_FORCE),
    Case(name="force where it is allowed", push=f"-f {ONTO_OLD}", rule={"force": True}),
    Case(name="force where it is allowed, elsewhere", push="-f HEAD~2:main", rule={"force": True}, refused=NO_REF),
    Case(
        name="an unrelated history",
        steps="git checkout -q --orphan o && git commit -qm o",
        push=f"-f {ONTO_OLD}",
        refused=NO_FORCE,
    ),
    Case(name="deleting", steps="true", push=":refs/heads/agent/old", refused="deleting"),
    Case(name="deleting where it is allowed", steps="true", push=":refs/heads/agent/old", rule={"delete": True}),
    Case(name="deleting main", steps="true", push=":refs/heads/release", rule={"delete": True}, refused=NO_REF),
    # paths
    Case(name="a change beside what is denied", rule=DENY),
    Case(name="a change of a workflow", steps=EVIL, rule=DENY, refused=NO_PATH),
    Case(name="a change and its reversal", steps=f"{EVIL} && git revert --no-edit HEAD", rule=DENY, refused=NO_PATH),
    Case(
        name="a new workflow",
        steps="echo x > .github/workflows/b.yml && git add . && git commit -qm b",
        rule=DENY,
        refused=NO_PATH,
    ),
    Case(
        name="a workflow in other letters",
        steps="mkdir -p .GitHub/Workflows && echo x > .GitHub/Workflows/b.yml && git add . && git commit -qm b",
        rule=DENY,
        refused=NO_PATH,
    ),
    Case(name="no workflow any more", steps="git rm -q -r .github && git commit -qm r", rule=DENY, refused=NO_PATH),
    Case(
        name="a directory turned into a link",
        steps="git mv .github g && ln -s g .github && git add . && git commit -qm l",
        rule=DENY,
        refused=NO_PATH,
    ),
    Case(
        name="another mode", steps="chmod +x .github/workflows/ci.yml && git commit -qam m", rule=DENY, refused=NO_PATH
    ),
    Case(
        name="a denied name deep within",
        steps="mkdir -p x/y && echo s > x/y/secret.txt && git add . && git commit -qm s",
        rule=DENY,
        refused=NO_PATH,
    ),
    Case(name="a merge that brings the server's own", steps="git merge -q --no-edit origin/release", rule=DENY),
    Case(
        name="a merge that brings a change of its own",
        steps="git merge -q --no-commit origin/release && echo evil >> .github/workflows/ci.yml && git commit -qam m",
        rule=DENY,
        refused=NO_PATH,
    ),
    Case(
        name="a history of its own with a workflow",
        steps="git checkout -q --orphan o && git commit -qm o",
        rule=DENY,
        refused=NO_PATH,
    ),
    Case(
        name="a change below an annotated tag",
        steps=f"{EVIL} && git tag -a -m t t",
        push="refs/tags/t",
        rule={**DENY, "refs": ("refs/tags/*",)},
        refused=NO_PATH,
    ),
    Case(
        name="a change in the second of two refs",
        steps=f"{FILE} && git branch good && {EVIL}",
        push=f"good:refs/heads/agent/good {NEW}",
        rule=DENY,
        refused=NO_PATH,
    ),
    # who, how many, how large
    Case(name="an author who is allowed", rule={"authors": ("*@EXAMPLE.com",), "committers": ("agent@example.com",)}),
    Case(
        name="another author",
        steps="git commit -q --allow-empty -m m --author 'B <boss@example.org>'",
        rule={"authors": ("*@example.com",)},
        refused="the author <boss@example.org>",
    ),
    Case(
        name="another author in between",
        steps=f"git commit -q --allow-empty -m m --author 'B <boss@example.org>' && {FILE}",
        rule={"authors": ("*@example.com",)},
        refused="the author <boss@example.org>",
    ),
    Case(
        name="another committer",
        steps="GIT_COMMITTER_EMAIL=boss@example.org git commit -q --allow-empty -m m",
        rule={"committers": ("*@example.com",)},
        refused="the committer <boss@example.org>",
    ),
    Case(name="an unsigned commit", rule={"signed": True}, refused="is not signed"),
    Case(name="as many commits as allowed", steps=f"{FILE} && {FILE}", rule={"max_commits": 2}),
    Case(
        name="too many commits", steps=f"{FILE} && {FILE} && {FILE}", rule={"max_commits": 2}, refused="3 new commits"
    ),
    Case(
        name="too large",
        steps="head -c 200000 /dev/urandom > big && git add big && git commit -qm big",
        rule={"max_bytes": 100_000},
        refused="larger than 100,000 bytes",
    ),
    Case(
        name="as large as allowed",
        steps="head -c 50000 /dev/urandom > big && git add big && git commit -qm big",
        rule={"max_bytes": 100_000},
    ),
)
