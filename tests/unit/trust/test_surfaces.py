"""Which names of a checkout wait for trust."""

import pytest

from ringfence.model.names import canonical_path
from ringfence.trust.surfaces import never_shown, surface_at

WAITING = """
.claude .mcp.json .codex .cursor .cursorrules .gemini .vscode .devcontainer .idea .envrc mise.toml .config/mise.toml
.config/mise .husky .pre-commit-config.yaml lefthook.yml .gitmodules .npmrc .yarnrc.yml .yarn/releases
.cargo/config.toml .mvn .bazelrc .helix .lfsconfig .gdbinit .pdbrc sitecustomize.py .Rprofile ringfence.toml
CLAUDE.md claude.local.md AGENTS.md Agents.MD GEMINI.md .github/copilot-instructions.md .github/instructions
.github/prompts .GITHUB/Skills .aider.conf.yml .env .hg/hgrc deep/down/CLAUDE.md deep/down/.claude
deep/.github/copilot-instructions.md .goosehints x.code-workspace .exrc
""".split()

ORDINARY = """
README.md src/main.py Makefile GNUmakefile package.json setup.py conftest.py .gitignore .gitattributes .editorconfig
.github/workflows .github/CODEOWNERS .github .config .hg .svn docs claude .bashrc .ssh .docker .kube .netrc
Jenkinsfile .gitlab-ci.yml .direnv .yarn .yarn/cache .cargo/registry .jj/repo/store
gradle/wrapper/gradle-wrapper.properties .aider.chat.history.md .envrc.md .environment
""".split()


@pytest.mark.parametrize("path", WAITING)
def test_it_waits_for_trust_and_says_why(path: str) -> None:
    surface = surface_at(canonical_path(path))
    assert surface is not None
    assert surface.reason and surface.loader


@pytest.mark.parametrize("path", ORDINARY)
def test_what_runs_only_when_asked_for_does_not(path: str) -> None:
    assert surface_at(canonical_path(path)) is None


def test_a_link_counts_where_a_directory_would_begin_a_surface() -> None:
    assert surface_at((".github",)) is None
    assert surface_at((".github",), link=True) is not None


@pytest.mark.parametrize("path", [".idea/workspace.xml", "a/.idea/shelf/x.patch", ".claude/worktrees"])
def test_what_its_program_rewrites_all_the_time_is_shown_to_nobody(path: str) -> None:
    assert never_shown(canonical_path(path), None)


@pytest.mark.parametrize("path", ["node_modules/x/CLAUDE.md", "web/node_modules/@a/b/.claude", ".venv/lib/AGENTS.md"])
def test_what_packages_bring_for_their_own_agents_is_shown_to_nobody(path: str) -> None:
    parts = canonical_path(path)
    assert never_shown(parts, surface_at(parts))


@pytest.mark.parametrize(
    "path", ["CLAUDE.md", ".idea/modules.xml", "node_modules/x/.npmrc", "site-packages/sitecustomize.py"]
)
def test_everything_else_is_shown_once_trusted(path: str) -> None:
    parts = canonical_path(path)
    assert not never_shown(parts, surface_at(parts))
