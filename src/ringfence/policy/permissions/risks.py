"""What a command may do besides what it is asked for, as data: facts for reviews and for `policy lint`, no verdicts.

Each fact carries its reason in words. A program that is not listed is not thereby harmless.
"""

from collections.abc import Sequence
from enum import Enum

import msgspec


class Risk(Enum):
    """What may come of a command."""

    WRITES = "writes"
    NETWORK = "network"
    EXECUTES = "executes"
    READS_SECRET = "reads-secret"  # noqa: S105 (the name of a risk)
    PUBLISHES = "publishes"
    DEPLOYS = "deploys"
    REWRITES_HISTORY = "rewrites-history"


class RiskFact(msgspec.Struct, frozen=True, kw_only=True):
    """One risk of a command, with the reason."""

    risk: Risk
    command: str
    reason: str


def _facts(risk: Risk, reasons: dict[str, str]) -> dict[str, RiskFact]:
    return {
        command: RiskFact(risk=risk, command=command, reason=reason)
        for commands, reason in reasons.items()
        for command in commands.split(", ")
    }


_EXECUTES = _facts(
    Risk.EXECUTES,
    {
        "sh, bash, dash, zsh, ksh, fish": "runs any command in its arguments, its input or a file",
        "python, python3, node, deno, bun, ruby, perl, php, lua, Rscript": (
            "runs any program in its arguments or a file"
        ),
        "env, timeout, nice, nohup, stdbuf, setsid, ionice, xargs, watch, flock, time, parallel, sudo, doas, chroot, "
        "unshare, nsenter, strace, script, busybox": "runs the rest of its line as a command",
        "find": "`-exec` runs a command for each file, `-delete` removes them",
        "fd": "`-x` and `-X` run a command for each file",
        "rg": "`--pre` and `--hostname-bin` run a program",
        "awk, gawk, mawk": "`system()` and pipes in its program run commands",
        "sed": "the `e` command runs what it finds in the text",
        "tar": "`--checkpoint-action` and `--to-command` run commands",
        "zip": "`-TT` runs a command to test the archive",
        "sort": "`--compress-program` runs a program",
        "split": "`--filter` runs a command for each part",
        "vi, vim, nvim, ed, ex, emacs, nano, less, more, man": "can start a shell from inside",
        "git": "configuration, hooks, `-c`, aliases and helpers name programs that it runs",
        "ssh": "`ProxyCommand` runs here, the rest of the line over there",
        "scp, rsync": "`-S`, `-e` name a program that carries the connection",
        "make, cmake, ninja, just, task, rake, gradle, mvn, ant": "runs the commands of a file in the workspace",
        "npm, npx, yarn, pnpm, bunx, pip, pipx, uv, uvx, cargo, gem, bundle, composer, go": (
            "runs scripts of packages, or fetches packages and runs them"
        ),
        "docker, podman": "runs programs, and mounts any directory into them",
        "gdb": "runs programs and, with `-ex`, commands",
        "tmux, screen": "starts commands that outlive the session",
        "crontab, at, systemctl": "has commands run later, without anybody there",
        "pytest, tox, nox, jest, vitest, mocha": "runs code of the workspace",
        "ld.so, ld-linux-x86-64.so.2": "runs the program in its arguments, whatever its name",
        "openssl": "`engine` and `-provider` load libraries",
        "curl, wget": "what they fetch is often piped to a shell",
    },
)
_OTHERS = [
    _facts(
        Risk.NETWORK,
        {
            "curl, wget, nc, ncat, socat, telnet, ftp, sftp, scp, ssh, rsync": "connects wherever it is told to",
            "dig, nslookup, host, ping": "names and packets carry data out as well",
            "gh, glab, aws, gcloud, az, kubectl, helm": "speaks to a service with the user's credentials",
            "git fetch, git pull, git clone, git push, git ls-remote": "connects to the remote",
            "npm install, pip install, cargo install, go get, gem install": "fetches from a registry",
        },
    ),
    _facts(
        Risk.WRITES,
        {
            "rm, rmdir, shred, truncate, unlink": "destroys files",
            "mv, cp, install, ln, dd, tee, rsync": "replaces files",
            "chmod, chown, chattr": "changes who may do what with files",
            "git clean, git checkout, git restore, git reset": "discards changes that are nowhere else",
        },
    ),
    _facts(
        Risk.READS_SECRET,
        {
            "env, printenv, set, export": "prints the environment, secrets included",
            "gpg, pass, security, secret-tool, op, vault": "hands out stored secrets",
            "ssh-add, ssh-keygen": "reads private keys",
            "gh auth, aws configure, gcloud auth": "prints tokens of the user",
        },
    ),
    _facts(
        Risk.PUBLISHES,
        {
            "npm publish, yarn publish, pnpm publish, cargo publish, twine upload, gem push, poetry publish": (
                "puts a package where others install it from"
            ),
            "docker push, podman push, helm push": "puts an image where others run it from",
            "git push": "puts commits where others build from",
            "gh release, gh pr, gh issue, gh gist": "writes where others read",
        },
    ),
    _facts(
        Risk.DEPLOYS,
        {
            "kubectl apply, kubectl delete, kubectl exec, helm install, helm upgrade, helm uninstall": (
                "changes a cluster"
            ),
            "terraform apply, terraform destroy, tofu apply, pulumi up, cdk deploy": "changes infrastructure",
            "serverless deploy, vercel deploy, netlify deploy, fly deploy, heroku": "changes what users see",
            "systemctl start, systemctl stop, systemctl restart": "changes a service of this machine",
        },
    ),
    _facts(
        Risk.REWRITES_HISTORY,
        {
            "git rebase, git commit --amend, git filter-branch, git filter-repo, git reset --hard": "changes commits "
            "that exist",
            "git push --force, git push -f, git push --force-with-lease": "replaces the commits of others",
            "git reflog expire, git gc --prune=now": "removes what could be restored",
        },
    ),
]


def risks_of(words: Sequence[str]) -> tuple[RiskFact, ...]:
    """Return what is known about the command `words`, its program and the subcommands it begins with."""
    if not words:
        return ()
    name = words[0].rpartition("/")[2]
    starts = [" ".join((name, *words[1 : 1 + length])) for length in range(3)]
    return tuple(dict.fromkeys(table[start] for table in (_EXECUTES, *_OTHERS) for start in starts if start in table))


def launches(program: str) -> str:
    """Return why an allowance of `program` with any arguments is one of everything; empty if nothing is known."""
    fact = _EXECUTES.get(program)
    return fact.reason if fact is not None else ""
