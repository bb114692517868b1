"""Paths that some program loads on its own, so that writing them means running code later, outside of any boundary.

A pattern is a sequence of path components (`*`, `?` within one); it matches at any depth, in any letter case, whether
or not the path exists, and a match covers everything below it. Threat ids are those of docs/threats.md.
"""

import re
from fnmatch import translate
from functools import lru_cache

import msgspec

from .names import canonical_path


class Surface(msgspec.Struct, frozen=True, kw_only=True):
    """One auto-load surface. `loader`: who loads it, in a word. `anchored`: only at the top of the workspace."""

    pattern: str
    reason: str
    loader: str = ""
    threat: str = "new-names"
    anchored: bool = False


def listed(loader: str, reason: str, patterns: str, threat: str = "new-names") -> tuple[Surface, ...]:
    """One surface for each of the `patterns`, which are separated by blanks."""
    return tuple(Surface(pattern=pattern, reason=reason, loader=loader, threat=threat) for pattern in patterns.split())


SURFACES: tuple[Surface, ...] = (
    *listed(
        "ringfence",
        "this is ringfence's own policy for the next run",
        "ringfence.toml .ringfence .ringfence-*",
        "next-run",
    ),
    *listed(
        "agent",
        "agents load settings, hooks, commands and servers from it at their next start",
        """.claude .claude.json .mcp.json mcp.json .codex .gemini .cursor .cursorrules .windsurf .windsurfrules
        .aider* .cline .clinerules .roo .roomodes .kilocode .kiro .amazonq .augment .continue .continuerc.json .goose
        .opencode opencode.json opencode.jsonc .qwen .crush crush.json .crush.json .amp .trae .junie .factory
        .openhands .agents .agent .claude-plugin .vibe .warp .replit .tabnine .zencoder .codebuddy .lingma .qodo
        .grok .iflow .rovodev gptme.toml .sweep.yaml .codeium .cody .copilot .github/copilot .github/hooks
        .github/agents .srt-settings.json .nono""",
        "next-run",
    ),
    *listed(
        "editor",
        "editors run tasks, interpreters and extensions named in it when the folder is opened",
        """.vscode .idea .devcontainer .devcontainer.json devcontainer.json *.code-workspace .zed .fleet .theia .vs
        .nova *.sublime-project .vimrc _vimrc .gvimrc .exrc .nvimrc .nvim.lua .lvimrc .vim .emacs .emacs.d
        .dir-locals.el .dir-locals-2.el .kakrc .helix .kateproject pyrightconfig.json""",
    ),
    *listed(
        "shell",
        "shells and login sessions run it when they start",
        """.bashrc .bash_profile .bash_login .bash_aliases .bash_logout .profile .login .logout .cshrc .tcshrc .kshrc
        .mkshrc .zshrc .zprofile .zshenv .zlogin .zlogout .zsh .oh-my-zsh .inputrc .xprofile .xinitrc .xsession
        .xsessionrc .pam_environment .config/fish .config/nushell .config/systemd .config/autostart
        .config/environment.d .config/nvim .config/direnv .config/mise .local/bin""",
    ),
    *listed(
        "directory",
        "directory hooks of the shell load it when someone enters the directory",
        """.envrc .direnv .autoenv .autoenv.zsh .env.zsh mise.toml .mise.toml mise.local.toml .mise.local.toml .mise
        .config/mise.toml .rtx.toml .tool-versions .devenv""",
    ),
    *listed(
        "version-control",
        "version control runs hooks, filters and helpers named in it",
        """.gitconfig .config/git .gitmodules .lfsconfig .husky .githooks .git-hooks .hooks .pre-commit-config.yaml
        .pre-commit-config.yml .pre-commit-hooks.yaml lefthook.* .lefthook.* lefthook-local.* .lefthook-local.*
        .lefthook .overcommit.yml .overcommit .hg .hgrc .svn .bzr .jj .sl .fossil-settings""",
        "git",
    ),
    *listed(
        "package-manager",
        "package managers take registries, hooks, wrappers or interpreters from it",
        """.npmrc .yarnrc .yarnrc.yml .yarnrc.yaml .yarn .pnp.cjs .pnp.loader.mjs .pnp.js .pnpmfile.cjs pnpmfile.js
        .pnpmfile.mjs bunfig.toml .bunfig.toml .cargo .mvn gradle-wrapper.properties gradle-wrapper.jar
        maven-wrapper.properties maven-wrapper.jar .bazelrc .bazelversion .bazeliskrc .bundle .gemrc pip.conf .pip
        .pypirc nuget.config .sbtopts .jvmopts .terraformrc terraform.rc .config/dotnet-tools.json""",
        "next-run",
    ),
    *listed(
        "interpreter",
        "interpreters and debuggers run it when they start in this directory",
        """.gdbinit .lldbinit .pdbrc .pythonrc .pythonstartup sitecustomize.py usercustomize.py jupyter_*_config.py
        ipython_config.py .irbrc .pryrc .rprofile .renviron .sqliterc .psqlrc .perldb .ghci .ocamlinit .octaverc""",
        "next-run",
    ),
    *listed(
        "tool",
        "tools of the command line take programs, proxies or credentials from it",
        """.ssh .gnupg .netrc .curlrc .wgetrc .ripgreprc .tmux.conf .screenrc .lesskey .mailcap .docker .kube .aws
        .azure .config/gcloud .config/containers""",
        "next-run",
    ),
    *listed(
        "make", "make reads it before `Makefile`, so a new one silently takes over the build", "gnumakefile", "next-run"
    ),
    *listed(
        "build-server",
        "build servers run it with their own credentials after the next push",
        """.github/workflows .github/actions .gitlab-ci.yml .gitlab-ci.yaml .gitlab/ci .circleci .travis.yml .drone.yml
        .woodpecker .woodpecker.yml .buildkite .forgejo/workflows .gitea/workflows jenkinsfile azure-pipelines.yml
        .azure-pipelines bitbucket-pipelines.yml .appveyor.yml appveyor.yml .semaphore .cirrus.yml .teamcity""",
        "next-run",
    ),
)


class Matcher:
    """A list of surfaces, prepared for many lookups."""

    def __init__(self, surfaces: tuple[Surface, ...]) -> None:
        self._literal: dict[str, list[tuple[tuple[str, ...], Surface]]] = {}
        self._globs: list[tuple[tuple[re.Pattern[str], ...], Surface]] = []
        for surface in surfaces:
            parts = canonical_path(surface.pattern)
            if "*" in surface.pattern or "?" in surface.pattern:
                self._globs.append((tuple(re.compile(translate(part)) for part in parts), surface))
            else:
                self._literal.setdefault(parts[0], []).append((parts, surface))
        self._starting = lru_cache(maxsize=4096)(self._globs_starting)

    def match(self, parts: tuple[str, ...], *, prefix: bool = False) -> Surface | None:
        """Find the surface that covers the canonical path `parts`.

        `prefix`: also one that would begin inside of it, for links that take the place of a directory.
        """
        for start, name in enumerate(parts):
            for pattern, surface in self._literal.get(name, ()):
                if surface.anchored and start:
                    continue
                rest = parts[start : start + len(pattern)]
                if rest == pattern or (prefix and rest == pattern[: len(rest)]):
                    return surface
            for globs, surface in self._starting(name):
                rest = parts[start : start + len(globs)]
                complete = len(rest) == len(globs) or prefix
                anchored = surface.anchored and start > 0
                if complete and not anchored and all(glob.match(part) for glob, part in zip(globs, rest, strict=False)):
                    return surface
        return None

    def _globs_starting(self, name: str) -> tuple[tuple[tuple[re.Pattern[str], ...], Surface], ...]:
        return tuple(entry for entry in self._globs if entry[0][0].match(name))
