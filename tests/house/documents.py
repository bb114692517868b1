"""What the repository's texts must say and must not: machines and registries, promises, threats, the reference."""

import ast
import os
import re
import subprocess
import tomllib
from collections.abc import Iterable
from pathlib import Path

from tests.house.sources import Source

# Places of a developer's machine; /home/NAME is what examples use. The pattern does not match itself.
MACHINE_PATHS = re.compile(r"(?<![\w.}~/-])/(?:work|root|opt/rf|Users)/[\w.-]")
REGISTRY_HOSTS = re.compile(
    r"(?i)\b(?:pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|yarnpkg\.com|crates\.io|rubygems\.org|proxy\.golang\.org"
    r"|deb\.debian\.org|archive\.ubuntu\.com|repo\d?\.maven\.(?:apache\.)?org|packagist\.org|anaconda\.org)\b"
)
INDEX_OPTIONS = re.compile(
    r"^\s*(?:-i|--(?:extra-)?index-url|-f|--find-links|--trusted-host)\b|https?://|\bfile:", re.M
)
FRAGMENT_LENGTH = 600
SKIPPED = frozenset({".git", ".hypothesis", ".venv", "__pycache__", "build", "dist"})


def repository_files(root: Path) -> list[str]:
    """List what belongs to the repository: tracked, or new and not ignored; without git, what no tool made."""
    listed = (
        subprocess.run(
            ["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            capture_output=True,
            text=True,
        )
        if (root / ".git").exists()
        else None
    )
    if listed is not None and listed.returncode == 0:
        return sorted(name for name in set(listed.stdout.split("\0")) if name and os.path.lexists(root / name))
    files = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name not in SKIPPED and not name.endswith(("_cache", ".egg-info"))]
        files += [(Path(folder) / name).relative_to(root).as_posix() for name in names if not name.endswith(".pyc")]
    return sorted(files)


def mentions(root: Path, files: Iterable[str], pattern: re.Pattern[str], allowed: dict[str, str]) -> list[str]:
    """List places in `files` that match `pattern`; `allowed` maps a file to the reason why it may."""
    found = []
    for name in files:
        path = root / name
        if name in allowed or path.is_symlink() or not path.is_file():
            continue
        text = path.read_bytes().decode("utf-8", "replace")
        for number, line in enumerate(text.splitlines(), 1):
            if match := pattern.search(line):
                found.append(f"{name}:{number}: `{match[0]}`")
    return found


def bad_fragments(root: Path) -> list[str]:
    """List changelog fragments that are not `NUMBER.KIND.md` or `+NAME.KIND.md` holding a short paragraph."""
    settings = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]["towncrier"]
    kinds = "|".join(kind["directory"] for kind in settings["type"])
    found = []
    for path in sorted((root / settings["directory"]).iterdir()):
        text = path.read_text("utf-8")
        if not re.fullmatch(rf"(\d+|\+[a-z0-9-]+)\.({kinds})(\.\d+)?\.md", path.name):
            found.append(f"{path.name}: not NUMBER.KIND.md or +NAME.KIND.md with a KIND of {kinds}")
        elif not text.endswith(".\n") or "\n\n" in text or not 20 <= len(text) <= FRAGMENT_LENGTH:
            found.append(f"{path.name}: not one paragraph of sentences, at most {FRAGMENT_LENGTH} characters")
    return found


def unpinned(text: str) -> list[str]:
    """List requirements without an exact version and a hash."""
    entries = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"(?m)^\s*#.*\n?", "", text).strip())
    return [
        entry.partition(" ")[0]
        for entry in entries
        if not re.match(r"[\w.\[\]-]+==\S+", entry) or "--hash=sha256:" not in entry
    ]


def _unknown_test(root: Path, reference: str) -> str:
    """Say what is wrong with `tests/FILE.py` or `tests/FILE.py::NAME`; empty if it exists."""
    name, _, test = reference.partition("::")
    path = root / name
    if not path.is_file():
        return f"no file `{name}`"
    if test and not re.search(
        rf"^\s*(async )?def {re.escape(test.partition('[')[0])}\(", path.read_text("utf-8"), re.M
    ):
        return f"no test `{test}` in `{name}`"
    return ""


TEST_REFERENCE = re.compile(r"tests/[\w./-]+\.py(?:::\w+)?")


def _items(text: str) -> Iterable[tuple[int, str]]:
    """Yield each top-level list item with its line number and its continuation lines; code blocks are left out."""
    text = re.sub(r"(?ms)^```.*?^```", lambda block: "\n" * block[0].count("\n"), text)
    for match in re.finditer(r"(?m)^(?:[-*]|\d+\.) .*(?:\n[ \t]+\S.*)*", text):
        yield text.count("\n", 0, match.start()) + 1, match[0]


def unkept_promises(root: Path, text: str) -> list[str]:
    """List promises (list items) of SPECIFICATION.md that name neither an existing test nor `[pending]`."""
    found = []
    promises = list(_items(text))
    for line, promise in promises:
        references = TEST_REFERENCE.findall(promise)
        if not references and "[pending]" not in promise:
            found.append(f"SPECIFICATION.md:{line}: names no test and is not `[pending]`")
        found += [f"SPECIFICATION.md:{line}: {wrong}" for name in references if (wrong := _unknown_test(root, name))]
    return found or ([] if promises else ["SPECIFICATION.md: promises nothing"])


def _tables(text: str) -> Iterable[tuple[list[str], list[tuple[int, list[str]]]]]:
    """Yield each table of a document: its header in lower case, then its rows with line numbers."""
    lines = text.splitlines()
    for index in range(len(lines) - 1):
        if lines[index].startswith("|") and re.fullmatch(r"\|[\s:|-]+\|?\s*", lines[index + 1]):
            rows = []
            for number in range(index + 2, len(lines)):
                if not lines[number].startswith("|"):
                    break
                rows.append((number + 1, _cells(lines[number])))
            yield [cell.lower() for cell in _cells(lines[index])], rows


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def unanswered_threats(root: Path, text: str) -> list[str]:
    """List rows of docs/threats.md without a boundary or an existing attack test, and attack tests without a row.

    A row is one of a table whose header names a `boundary` and a `test` column. A threat that nothing answers yet says
    `[pending]` in place of its test; what is not defended at all belongs in a text or table of its own.
    """
    found = []
    answered: set[str] = set()
    rows = 0
    for header, table in _tables(text):
        tests = [index for index, name in enumerate(header) if "test" in name]
        boundaries = [index for index, name in enumerate(header) if "boundary" in name]
        if not tests or not boundaries:
            continue
        for line, cells in table:
            rows += 1
            boundary, test = ("".join(cells[index : index + 1]) for index in (boundaries[0], tests[0]))
            references = TEST_REFERENCE.findall(test)
            if not re.search(r"\w", boundary):
                found.append(f"docs/threats.md:{line}: names no boundary")
            if not references and "[pending]" not in test:
                found.append(f"docs/threats.md:{line}: names no attack test")
            found += [f"docs/threats.md:{line}: {wrong}" for name in references if (wrong := _unknown_test(root, name))]
            answered.update(name.partition("::")[0] for name in references)
    attacks = {path.relative_to(root).as_posix() for path in (root / "tests/attacks").glob("test_*.py")}
    found += [f"docs/threats.md: no row names `{name}`" for name in sorted(attacks - answered)]
    return found or ([] if rows else ["docs/threats.md: no table with a boundary and a test column"])


def broken_links(root: Path, files: Iterable[str]) -> list[str]:
    """List relative links of Markdown documents that lead nowhere."""
    found = []
    for name in files:
        if name.endswith(".md") and not name.startswith("tests/"):
            text = re.sub(r"(?ms)^```.*?^```|`[^`\n]*`", "", (root / name).read_text("utf-8"))
            for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
                if (
                    "://" not in target
                    and not target.startswith("mailto:")
                    and not (root / name).parent.joinpath(target).exists()
                ):
                    found.append(f"{name}: link to `{target}`")
    return found


def flags(sources: Iterable[Source]) -> dict[str, str]:
    """Map each option that the command line's modules spell out (`--name`, `-n`) to the place that does."""
    found: dict[str, str] = {}
    for source in sources:
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                if re.fullmatch(r"--[a-z][a-z0-9-]+|-[a-zA-Z]", node.value):
                    found.setdefault(node.value, source.at(node, f"option `{node.value}`"))
    return found


def commands(sources: Iterable[Source]) -> list[str]:
    """List the commands: what `add_parser("NAME")` calls name, and the keys of a table called `COMMANDS`."""
    found: set[str] = set()
    for source in sources:
        for node in ast.walk(source.tree):
            keys: list[ast.expr | None] = []
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_parser":
                keys = list(node.args[:1])
            elif isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                if any(isinstance(target, ast.Name) and target.id == "COMMANDS" for target in targets):
                    keys = node.value.keys
            found.update(key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str))
    return sorted(found)


def unmentioned(names: Iterable[str], documents: str) -> list[str]:
    """List names that the documents do not have as a word in code: in backticks or in a code block."""
    blocks = re.findall(r"(?ms)^```.*?^```", documents)
    spans = re.findall(r"`[^`\n]+`", re.sub(r"(?ms)^```.*?^```", "", documents))
    code = "\n".join(blocks + spans)
    return [name for name in names if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", code)]
