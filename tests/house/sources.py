"""Source files as the house rules see them: text, syntax tree, and which of their lines are code."""

import ast
import io
import tokenize
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SILENT = frozenset({tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT})
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One Python file; `name` is its path from the root of the repository, with slashes."""

    name: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """Parse the file."""
        return ast.parse(self.text, self.name)

    @cached_property
    def code_lines(self) -> frozenset[int]:
        """Number the lines that hold code: neither blank, nor comment, nor docstring."""
        lines: set[int] = set()
        for token in tokenize.generate_tokens(io.StringIO(self.text).readline):
            if token.type not in SILENT and token.type != tokenize.ENDMARKER:
                lines.update(range(token.start[0], token.end[0] + 1))
        return frozenset(lines - self._docstring_lines())

    def _docstring_lines(self) -> set[int]:
        lines: set[int] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, Documented) and ast.get_docstring(node, clean=False) is not None:
                literal = node.body[0]
                lines.update(range(literal.lineno, (literal.end_lineno or literal.lineno) + 1))
        return lines

    @property
    def package(self) -> str:
        """Name the room of src/ringfence that the file stands in; empty for the package's own top level."""
        parts = self.name.split("/")
        return parts[2] if parts[:2] == ["src", "ringfence"] and len(parts) > 3 else ""

    def at(self, node: ast.AST, message: str) -> str:
        """Word a violation at the place of `node`."""
        return f"{self.name}:{getattr(node, 'lineno', 1)}: {message}"


def python_files(root: Path, *folders: str) -> list[Source]:
    """Read every Python file below `folders` of `root`, in the order of their names."""
    found = [path for folder in folders for path in (root / folder).rglob("*.py") if "__pycache__" not in path.parts]
    return [Source(path.relative_to(root).as_posix(), path.read_text("utf-8")) for path in sorted(found)]


def functions(source: Source) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """List every function and method, nested ones too."""
    return [node for node in ast.walk(source.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def nothing(found: list[str]) -> None:
    """Require that a rule found nothing; show all that it found."""
    assert not found, "\n".join(["", *found])
