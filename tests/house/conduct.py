"""What code may not do: start processes outside the launcher, swallow errors, assert, reach out of a pure package."""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterable

from tests.house.sources import Source
from tests.purity import impure, is_pure

# The one module that starts processes is sandbox/launch.py. Each other one stands here with its reason; an entry that
# is no longer needed fails the tests too.
LAUNCHER = "src/ringfence/sandbox/launch.py"
PROCESS_MODULES = frozenset({"subprocess", "multiprocessing", "_posixsubprocess", "concurrent.futures.process"})
PROCESS_CALLS = re.compile(
    r"(v?fork|forkpty|clone3?|exec(l|le|lp|lpe|v|ve|vp|vpe)|execveat|fexecve|spawn(l|le|lp|lpe|v|ve|vp|vpe)?|posix_spawnp?"
    r"|system|popen|startfile|create_subprocess_(exec|shell)|subprocess_(exec|shell)|ProcessPoolExecutor)"
)
# Everyday words: they mean the system call only on a receiver that has them.
EVERYDAY = frozenset({"clone", "popen", "spawn", "startfile", "system"})
SYSTEM_RECEIVERS = re.compile(r"os|posix|pty|_?libc|c_library")

# What a pure package may take from a module that also does I/O.
PURE_NAMES = frozenset({"pathlib.PurePath", "pathlib.PurePosixPath"})
OPEN_CALLS = frozenset({"open", "print", "input", "breakpoint", "exec", "eval", "__import__", "compile"})

# Below session/ an error that nobody foresaw must stop the run, not be wrapped by whoever met it first.
BELOW_SESSION = frozenset(
    "model policy planner monitor approvals audit network sandbox secrets trust workspace inside".split()
)

SUPPRESSION = re.compile(r"#\s*(type:\s*ignore|noqa|pragma:|nosec|pyright:|mypy:)(?P<rest>.*)")
SHORTEST_REASON = 6  # letters: room for `built in`, none for `why`
CODES = re.compile(r"^\s*(\[[\w\-, ]*\]|:\s*[A-Z]+\d+(\s*,\s*[A-Z]+\d+)*|no (cover|branch))?")


def _imports(tree: ast.AST) -> Iterable[tuple[ast.stmt, str]]:
    """Yield every imported name with its statement: `from a import b` gives `a.b`; relative imports give nothing."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from ((node, f"{node.module}.{alias.name}") for alias in node.names)


def _module_name(source: Source) -> str:
    return source.name.removeprefix("src/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def impurities(sources: Iterable[Source]) -> list[str]:
    """List imports and calls by which a pure package would reach outside the interpreter."""
    found = []
    for source in sources:
        if not is_pure(_module_name(source)):
            continue
        for statement, module in _imports(source.tree):
            if impure(module) and module not in PURE_NAMES:
                found.append(source.at(statement, f"a pure package imports `{module}`"))
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in OPEN_CALLS:
                found.append(source.at(node, f"a pure package calls `{node.func.id}`"))
    return found


def _starts_processes(source: Source) -> list[str]:
    found = []
    for statement, module in _imports(source.tree):
        if any(f"{module}.".startswith(f"{name}.") for name in PROCESS_MODULES):
            found.append(source.at(statement, f"imports `{module}`"))
        elif module.startswith(("os.", "posix.", "pty.")) and PROCESS_CALLS.fullmatch(module.partition(".")[2]):
            found.append(source.at(statement, f"imports `{module}`"))
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute) and PROCESS_CALLS.fullmatch(node.attr):
            receiver = node.value.id if isinstance(node.value, ast.Name) else ""
            if node.attr not in EVERYDAY or SYSTEM_RECEIVERS.fullmatch(receiver):
                found.append(source.at(node, f"uses `.{node.attr}`"))
    return found


def process_starters(sources: Iterable[Source], exceptions: dict[str, str]) -> list[str]:
    """List places outside the launcher where a process is started, and exceptions that are not needed."""
    found = []
    needed = set()
    for source in sources:
        starts = _starts_processes(source)
        if source.name in exceptions:
            needed.add(source.name) if starts else None
        elif source.name != LAUNCHER:
            found += starts
    return found + [f"{name}: starts no process, yet is excepted" for name in sorted(exceptions.keys() - needed)]


def swallowed_errors(sources: Iterable[Source]) -> list[str]:
    """List handlers below session/ that catch everything and go on; one that re-raises or ends the process may."""
    found = []
    for source in sources:
        if source.package not in BELOW_SESSION:
            continue
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ExceptHandler) and _catches_all(node) and not _ends(source, node):
                found.append(source.at(node, "catches everything"))
    return found


def _catches_all(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(
        kind is None or (isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException")) for kind in kinds
    )


def _ends(source: Source, handler: ast.ExceptHandler) -> bool:
    """Tell whether the handler re-raises, or the statement after its `try` is `os._exit` (a forked child's end)."""
    if any(isinstance(node, ast.Raise) and node.exc is None for node in ast.walk(handler)):
        return True
    exits = [node.lineno for node in ast.walk(source.tree) if isinstance(node, ast.Attribute) and node.attr == "_exit"]
    last = handler.end_lineno or handler.lineno
    return any(handler.lineno <= line <= last + 1 for line in exits)


def asserts(sources: Iterable[Source]) -> list[str]:
    """List `assert` statements: `python -O` strips them, and with them the check."""
    return [
        source.at(node, "`assert` in src")
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Assert)
    ]


def bare_suppressions(sources: Iterable[Source]) -> list[str]:
    """List `# type: ignore`, `# noqa` and their kind without codes or without a reason in words."""
    found = []
    for source in sources:
        for token in tokenize.generate_tokens(io.StringIO(source.text).readline):
            match = SUPPRESSION.search(token.string) if token.type == tokenize.COMMENT else None
            if match and len(re.findall(r"[A-Za-z]", CODES.sub("", match["rest"]))) < SHORTEST_REASON:
                found.append(f"{source.name}:{token.start[0]}: `{token.string}` gives no reason")
    return found


def left_out_on_a_path(sources: Iterable[Source]) -> list[str]:
    """List what says that a test has no meaning on some path of a run (tests/paths.py `not_on`)."""
    found = []
    for source in sources:
        for node in ast.walk(source.tree):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name == "not_on" or any(keyword.arg == "not_on" for keyword in node.keywords):
                found.append(source.at(node, "is left out on a path"))
    return found


def strangers_inside(sources: Iterable[Source]) -> list[str]:
    """List imports of inside/ from anywhere but the standard library and its own folder."""
    listed = [source for source in sources if source.package == "inside"]
    own = {source.name.rpartition("/")[2].removesuffix(".py") for source in listed}
    found = []
    for source in listed:
        for statement, module in _imports(source.tree):
            if module.partition(".")[0] not in sys.stdlib_module_names | own:
                found.append(source.at(statement, f"inside/ imports `{module}`"))
    return found
