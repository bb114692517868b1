"""The list of auto-load surfaces and how it is matched."""

import pytest

from ringfence.model.names import canonical_path
from ringfence.model.surfaces import SURFACES, Matcher, Surface

MATCHER = Matcher(SURFACES)

# facts: the paths a popular agent itself protects, and the classes of names that got through its rivals.
PROTECTED = """
.vscode/tasks.json .idea/workspace.xml .husky/pre-commit .cargo/config.toml .devcontainer/devcontainer.json .yarn/x.cjs
.mvn/jvm.config .claude/settings.json .claude/settings.local.json .config/git/config .gitconfig .gitmodules .bashrc
.bash_profile .bash_login .bash_aliases .bash_logout .zshrc .zprofile .zshenv .zlogin .zlogout .profile .envrc .npmrc
.yarnrc .yarnrc.yml .pnp.cjs .pnp.loader.mjs .pnpmfile.cjs bunfig.toml .bunfig.toml .bazelrc .bazelversion .bazeliskrc
.pre-commit-config.yaml lefthook.yml .lefthook.yaml gradle-wrapper.properties maven-wrapper.properties
.devcontainer.json .ripgreprc pyrightconfig.json .mcp.json .claude.json .cursor/mcp.json .codex/config.toml
.gemini/settings.json .github/workflows/ci.yml .aider.conf.yml project.code-workspace ringfence.toml GNUmakefile
Jenkinsfile .Rprofile sub/dir/.envrc packages/a/.vscode/settings.json .CLAUDE/settings.json .Github/Workflows/x.yml
.claude. .claude/a/b/c
""".split()

ORDINARY = """
README.md src/main.py Makefile package.json .gitignore .gitattributes .github/CODEOWNERS .github/README.md .env
docs/claude/settings.json claude/settings.json .editorconfig pyproject.toml CLAUDE.md AGENTS.md github/workflows/x.yml
.config/other workflows/ci.yml tests/conftest.py .prettierrc lefthook src/envrc
""".split()


@pytest.mark.parametrize("path", PROTECTED)
def test_surface(path: str) -> None:
    surface = MATCHER.match(canonical_path(path))
    assert surface is not None
    assert surface.reason


@pytest.mark.parametrize("path", ORDINARY)
def test_ordinary_work_is_not_held(path: str) -> None:
    assert MATCHER.match(canonical_path(path)) is None


def test_a_link_in_the_place_of_a_parent_is_a_surface() -> None:
    assert MATCHER.match((".github",)) is None
    assert MATCHER.match((".github",), prefix=True) is not None
    assert MATCHER.match(("sub", ".config"), prefix=True) is not None
    assert MATCHER.match((".github", "docs"), prefix=True) is None


def test_anchored_surfaces_match_at_the_top_only() -> None:
    matcher = Matcher((Surface(pattern="tools/hooks", reason="hooks", anchored=True),))
    assert matcher.match(("tools", "hooks", "pre-commit")) is not None
    assert matcher.match(("sub", "tools", "hooks")) is None
    globbed = Matcher((Surface(pattern="tools/h*", reason="hooks", anchored=True),))
    assert globbed.match(("tools", "hooks", "pre-commit")) is not None
    assert globbed.match(("sub", "tools", "hooks")) is None


def test_the_list_is_fit_to_be_shown() -> None:
    patterns = [surface.pattern for surface in SURFACES]
    assert len(patterns) == len(set(patterns))
    for surface in SURFACES:
        assert surface.pattern == surface.pattern.lower()
        assert not surface.pattern.startswith("/")
        assert surface.reason[0].islower()
        assert surface.reason[-1] != "."
