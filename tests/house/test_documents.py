"""Positive controls: each rule for the repository's texts must object to a sample that breaks it."""

import subprocess
from pathlib import Path

import pytest

from tests.house import documents
from tests.house.sources import ROOT, Source

TREE = {
    "tests/attacks/test_keys.py": "def test_read() -> None: ...\n",
    "tests/unit/test_a.py": "    async def test_b() -> None: ...\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)
    return tmp_path


# The samples are put together from parts, so that this file does not break the rules itself.
@pytest.mark.parametrize("text", ["/wo" + "rk/main/a", "at `/ro" + "ot/x`", "=/Us" + "ers/jane"])
def test_places_of_a_developers_machine_are_listed(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.md").write_text(f"fine\n{text}\n")
    assert len(documents.mentions(tmp_path, ["a.md"], documents.MACHINE_PATHS, {})) == 1
    assert documents.mentions(tmp_path, ["a.md"], documents.MACHINE_PATHS, {"a.md": "a reason"}) == []


@pytest.mark.parametrize("text", ["docs/work/a", "/home/alice/project", "~/work/x", "/root", "${HOME}/work/x"])
def test_other_places_are_not(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.md").write_text(text)
    assert documents.mentions(tmp_path, ["a.md"], documents.MACHINE_PATHS, {}) == []


def test_registry_hosts_and_index_options_are_listed() -> None:
    for host in ("pypi" + ".org", "registry.npmjs" + ".org", "files.pythonhosted" + ".org"):
        assert documents.REGISTRY_HOSTS.search(f"see https://{host}/simple")
    assert not documents.REGISTRY_HOSTS.search("https://example.org")
    for line in ("--index-url x", "--extra-index-url x", "-f wheels", "a @ https://x", "--find-links=/opt"):
        assert documents.INDEX_OPTIONS.search(f"a==1\n{line}\n")
    assert not documents.INDEX_OPTIONS.search("a-file==1 \\\n    --hash=sha256:00\n    # via b\n")


def test_changelog_fragments(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    folder = tmp_path / "changes.d"
    folder.mkdir()
    good = "A sandbox that holds what it promises.\n"
    for name in ("2.added.md", "+clean-up.fixed.md", "12.fixed.2.md"):
        (folder / name).write_text(good)
    assert documents.bad_fragments(tmp_path) == []
    for name, text in {"2.feature.md": good, "new.added.md": good, "3.added.md": "short", "4.added.txt": good}.items():
        (folder / name).write_text(text)
    assert len(documents.bad_fragments(tmp_path)) == 4


def test_requirements_without_version_or_hash_are_listed() -> None:
    pinned = (
        "# note\na==1.0 ; sys_platform == 'x' \\\n    --hash=sha256:00\n    # via b\nb==2 \\\n    --hash=sha256:11\n"
    )
    assert documents.unpinned(pinned) == []
    assert documents.unpinned(pinned + "c>=3 \\\n    --hash=sha256:22\nd==4 ; extra\n") == ["c>=3", "d==4"]


def test_promises_name_a_test_or_are_pending(tree: Path) -> None:
    kept = "# A\n\n- Keys.\n  `tests/attacks/test_keys.py::test_read`\n- B. `tests/unit/test_a.py`\n- C [pending]\n"
    assert documents.unkept_promises(tree, kept) == []
    broken = "- no test\n- `tests/attacks/test_gone.py`\n1. `tests/attacks/test_keys.py::test_write`\n"
    assert documents.unkept_promises(tree, broken) == [
        "SPECIFICATION.md:1: names no test and is not `[pending]`",
        "SPECIFICATION.md:2: no file `tests/attacks/test_gone.py`",
        "SPECIFICATION.md:3: no test `test_write` in `tests/attacks/test_keys.py`",
    ]
    assert documents.unkept_promises(tree, "Nothing but prose.\n") != []


HEADER = "| id | threat | boundary | attack test |\n|---|---|---|---|\n"


def test_threats_name_their_boundary_and_attack(tree: Path) -> None:
    row = "| T1 | keys are read | mounts | `tests/attacks/test_keys.py` |\n"
    assert documents.unanswered_threats(tree, HEADER + row) == []
    pending = "| T2 | pipes \\| and bars | egress | [pending] |\n"
    assert documents.unanswered_threats(tree, HEADER + row + pending + "\n| a | b |\n|---|---|\n| c | |\n") == []
    broken = "| T2 | x | | `tests/attacks/test_gone.py` |\n| T3 | x | mounts | soon |\n"
    assert documents.unanswered_threats(tree, HEADER + broken) == [
        "docs/threats.md:3: names no boundary",
        "docs/threats.md:3: no file `tests/attacks/test_gone.py`",
        "docs/threats.md:4: names no attack test",
        "docs/threats.md: no row names `tests/attacks/test_keys.py`",
    ]


def test_broken_links_are_listed(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("[b](b.md) [c](a.md#c) [d](https://example.org) `[e](e.md)` [f](#f)")
    assert documents.broken_links(tmp_path, ["a.md"]) == ["a.md: link to `b.md`"]


def test_options_are_found_in_modules_and_looked_for_in_code() -> None:
    source = Source(
        "src/ringfence/cli/a.py", 'p.add_argument("--json", "-j", help="as JSON -- see docs")\nx = ["--dry-run"]'
    )
    assert sorted(documents.flags([source])) == ["--dry-run", "--json", "-j"]
    text = "Use `--json` or `-j`.\n\n```sh\nringfence run --verbose\n```\n--dry-run in prose does not count\n"
    assert documents.unmentioned(["--json", "-j", "--verbose"], text) == []
    assert documents.unmentioned(["--dry-run", "--js", "--verb"], text) == ["--dry-run", "--js", "--verb"]


def test_commands_are_found_in_parsers_and_in_tables() -> None:
    text = "COMMANDS: dict[str, str] = {'run': 'a', 'shell': 'b'}\nsub.add_parser('log', help='x')\nadd_parser(name)\n"
    assert documents.commands([Source("src/ringfence/cli/entry.py", text)]) == ["log", "run", "shell"]


def test_files_are_listed_with_git_and_without(tmp_path: Path) -> None:
    (tmp_path / "a.py").touch()
    for name in (".venv", ".hypothesis"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "b.py").touch()
    assert documents.repository_files(tmp_path) == ["a.py"]
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("/.venv/\n.hypothesis/\n")
    assert documents.repository_files(tmp_path) == [".gitignore", "a.py"]
