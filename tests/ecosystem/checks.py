"""The catalogue of what people do with their tools, each entry with its verdict: data that tests carry out."""

from pathlib import Path
from typing import Literal

import msgspec

from tests.utility.confined import Item

CATALOGUE = Path(__file__).parent / "catalogue"
Verdict = Literal["works", "refused", "limited"]


class Check(Item, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that is done with a tool inside, and what becomes of it.

    `tool` is a row of docs/compatibility.md, `does` what stands there, beside `why` for what is refused or limited;
    `version` is a shell command that prints the tool's version. `says` stands in what the confined side prints.
    `presets` and `hosts` are allowed, `sites` are the registries it meets (see sites.py): with any of these it runs
    in the network lab. `changes` are the paths below the root that may change; everything else on the host must not.
    With `control` the same commands are run without ringfence first, and must end with `control_status`. A `hand`
    check has no commands: a test beside the catalogue does it.
    """

    file: str = ""
    tool: str
    does: str
    version: str = ""
    verdict: Verdict = "works"
    why: str = ""
    says: str = ""
    presets: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    control: bool = True
    control_status: int = 0
    timeout_s: float = 300
    hand: bool = False

    def __str__(self) -> str:
        return f"{self.file}-{self.name}"

    @property
    def in_lab(self) -> bool:
        """Whether there is a network around it."""
        return bool(self.presets or self.hosts or self.sites)

    @property
    def ringfence_options(self) -> list[str]:
        """The options of `ringfence run`; where a message is awaited, ringfence says its last line too."""
        words = ["-v"] if self.says else []
        words += [word for preset in self.presets for word in ("--preset", preset)]
        return [*words, *(word for host in self.hosts for word in ("--allow", host)), *self.options]


class Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of checks."""

    check: tuple[Check, ...]
    shared: dict[str, str] = {}


def checks(file: str) -> list[Check]:
    """Read the checks of one file of the catalogue."""
    found = msgspec.toml.decode((CATALOGUE / f"{file}.toml").read_bytes(), type=Catalogue)

    def whole(text: str) -> str:
        first, _, rest = text.partition("\n")
        return found.shared[first[1:]] + rest if first.startswith("@") else text

    replace = msgspec.structs.replace
    return [
        replace(check, file=file, before=whole(check.before), script=whole(check.script), after=whole(check.after))
        for check in found.check
    ]


def all_checks() -> list[Check]:
    """Read all of them."""
    return [check for path in sorted(CATALOGUE.glob("*.toml")) for check in checks(path.stem)]


def one(file: str, name: str) -> Check:
    """Find a check by its name, for the test that does it by hand."""
    return next(check for check in checks(file) if check.name == name)
