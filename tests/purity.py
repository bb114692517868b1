"""An audit hook under which the pure packages can neither touch the machine nor load a module that could.

Theory of operation: CPython raises an audit event (sys.addaudithook, PEP 578) before it opens a file, makes a socket,
starts a process or loads a module. An event counts against a pure package if one of its functions is on the stack, so
that I/O by way of pathlib or tempfile is caught too. The import system's own reading of `.py` and `.pyc` files is not
I/O of ours; which module is imported, and by whom, is judged by the `import` event.

A hook cannot be removed again; one process installs one `Guard`, and it raises at the call that offends. It is a test's
tool for finding mistakes, not a boundary: the boundary is drawn by the kernel.
"""

import sys
from types import FrameType

PURE = ("ringfence.model", "ringfence.policy", "ringfence.planner", "ringfence.monitor", "ringfence.audit.chain")

# Modules by which code reaches the machine, the clock or another thread (for paths there is posixpath).
IMPURE_MODULES = frozenset(
    "asyncio concurrent ctypes fcntl glob http importlib logging mmap multiprocessing os pathlib pkgutil posix pty "
    "resource runpy select selectors shutil signal socket sqlite3 ssl subprocess tempfile termios threading time "
    "urllib.request".split()
)
EFFECTS = ("open", "socket.", "subprocess.", "os.", "shutil.", "tempfile.", "ctypes.", "sqlite3.", "urllib.")


class PurityError(Exception):
    """A pure package did something that reaches outside the interpreter."""


def impure(name: str) -> bool:
    """Tell whether the module or dotted name belongs to a module that reaches outside the interpreter."""
    return any(f"{name}.".startswith(f"{module}.") for module in IMPURE_MODULES)


def is_pure(module: str) -> bool:
    """Tell whether `module` belongs to a pure package."""
    return any(module == name or module.startswith(f"{name}.") for name in PURE)


def _pure_caller(frame: FrameType | None) -> str:
    """Name the pure module that did it, empty if none did or the import system is at work.

    The innermost module of ours decides: a pure one may be handed a function that has effects, which are then those of
    whoever wrote that function.
    """
    if frame is not None and frame.f_code.co_filename.startswith("<frozen importlib"):
        return ""
    while frame is not None:
        name = frame.f_globals.get("__name__")
        if isinstance(name, str) and name.startswith("ringfence."):
            return name if is_pure(name) else ""
        frame = frame.f_back
    return ""


def _importer(frame: FrameType | None) -> str:
    """Name the module whose import statement is being carried out."""
    while frame is not None and (
        frame.f_code.co_filename.startswith("<frozen importlib") or frame.f_globals.get("__name__") == "importlib"
    ):
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", "")) if frame is not None else ""


class Guard:
    """Raise `PurityError` at any effect of a pure package, from `install()` on."""

    def install(self) -> None:
        """Start watching this process; there is no way back."""
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "import":
            imported = str(arguments[0])
            if impure(imported) and imported != "pathlib":  # its pure classes are allowed; what the others do is seen
                importer = _importer(sys._getframe(1))
                if is_pure(importer):
                    raise PurityError(f"{importer} imports {imported}")
        elif event.startswith(EFFECTS):
            caller = _pure_caller(sys._getframe(1))
            if caller:
                raise PurityError(f"{caller} causes {event} {arguments!r:.200}")
