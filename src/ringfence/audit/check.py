"""Judge a sequence of lines: is it the chain that was written, and if not, what was done to it?

Theory of operation. Lines are fed in the order in which they stand. `last` is the newest record accepted; a sound
record with the next number and the right `prev` moves it on. Everything else is a finding:

- a line whose hash is wrong, or that is no record at all, waits until the next sound record shows by its number
  whether something is missing there: then it was `edited`, else it is `foreign`. Right before a `torn` record that
  vouches for it, it is `torn`;
- the right number with the wrong `prev`: the record before it was replaced by another, sound one: `edited`;
- a number that is too high leaves a gap, `dropped` unless the missing records turn up later: `reordered`;
- a number that was had already and fills no gap: `foreign`.

Constant memory for a sound chain. Pure, like `chain`.
"""

from enum import Enum

import msgspec

from .chain import BROKEN, GENESIS, ROTATION, TORN, Link, Seal, read_seal, vouches


class ProblemKind(Enum):
    """What was done to the audit. Only `torn` happens without anybody's ill will (a killed process)."""

    EDITED = "edited"
    DROPPED = "dropped"
    REORDERED = "reordered"
    TRUNCATED = "truncated"
    TORN = "torn"
    FOREIGN = "foreign"
    MISSING_FILE = "missing-file"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One finding; `line` is 0 where it is about a whole file."""

    kind: ProblemKind
    file: str
    line: int
    message: str

    @property
    def warning(self) -> bool:
        """Whether the chain is as good as before: nothing but the record being written was lost."""
        return self.kind is ProblemKind.TORN

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.kind.value}: {self.message}"


class Gap(msgspec.Struct, kw_only=True):
    """`missing` of the records `first` to `last` did not stand before `file`:`line`.

    `rotation`: a rotation record stands there, so they belong to an earlier file.
    """

    first: int
    last: int
    missing: int
    file: str
    line: int
    rotation: bool


class _Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """A line that is no sound record; `shaped` if it looks like one."""

    file: str
    line: int
    shaped: bool


class Checker:
    """Fed line by line; `problems`, `gaps`, `last`, `records` and `seen` tell what was found so far."""

    def __init__(self, wanted: frozenset[int] = frozenset()) -> None:
        """`wanted`: numbers of the records whose hash is to be kept in `seen`."""
        self.problems: list[Problem] = []
        self.gaps: list[Gap] = []
        self.last: Link = GENESIS
        self.records = 0
        self.seen: dict[int, str] = {}
        self._wanted = wanted
        self._place = ("", 0)
        self._suspects: list[_Suspect] = []
        self._suspect_line = b""

    def feed(self, file: str, number: int, line: bytes) -> None:
        """Judge `line` (without its newline), which stands at `file`:`number`."""
        seal = read_seal(line)
        if seal is None or not seal.sound:
            self._suspects.append(_Suspect(file=file, line=number, shaped=seal is not None))
            self._suspect_line = line
            return
        self.records += 1
        if seal.kind == TORN:
            self._settle_torn(file, number, line)
        if seal.link[0] <= self.last[0]:
            self._place_late(seal, file, number)
            return
        missing = self._settle_suspects(seal.link[0] - self.last[0] - 1)
        if missing:
            first, last = self.last[0] + 1, seal.link[0] - 1
            rotation = seal.kind == ROTATION
            self.gaps.append(Gap(first=first, last=last, missing=missing, file=file, line=number, rotation=rotation))
        elif seal.link[0] == self.last[0] + 1 and seal.prev != self.last[1]:
            at_file, at_line = self._place if self.last != GENESIS else (file, number)
            self._report(
                ProblemKind.EDITED, at_file, at_line, "another record stood here when the next one was written"
            )
        if seal.kind == BROKEN:
            self._report_broken(seal, file, number)
        self._accept(seal.link, file, number)

    def finish(self, *, noted: int, open_end: bool) -> int:
        """Settle what waits. `noted`: number of the newest record known from elsewhere; give how many are missing.

        `open_end`: the last line has no newline.
        """
        if open_end and self._suspects:
            torn = self._suspects.pop()
            self._report(ProblemKind.TORN, torn.file, torn.line, "a write was cut short here")
        return self._settle_suspects(max(0, noted - self.last[0]))

    def _accept(self, link: Link, file: str, number: int) -> None:
        self.last = link
        self._place = (file, number)
        if link[0] in self._wanted:
            self.seen[link[0]] = link[1]

    def _settle_torn(self, file: str, number: int, line: bytes) -> None:
        if self._suspects and vouches(line, self._suspect_line):
            torn = self._suspects.pop()
            self._report(ProblemKind.TORN, torn.file, torn.line, "a write was cut short here; the next one went on")
        else:
            self._report(
                ProblemKind.EDITED, file, number, "the torn line that this record vouches for is not the one above"
            )

    def _settle_suspects(self, missing: int) -> int:
        """Report the lines that wait; give how many of the `missing` records they do not account for."""
        for suspect in self._suspects:
            if missing or suspect.shaped:
                missing = max(0, missing - 1)
                self._report(ProblemKind.EDITED, suspect.file, suspect.line, "the content does not match the hash")
            else:
                self._report(ProblemKind.FOREIGN, suspect.file, suspect.line, "ringfence did not write this line")
        self._suspects = []
        return missing

    def _place_late(self, seal: Seal, file: str, number: int) -> None:
        sequence = seal.link[0]
        for gap in self.gaps:
            if gap.first <= sequence <= gap.last and gap.missing:
                gap.missing -= 1
                self._report(ProblemKind.REORDERED, file, number, f"record {sequence} stands behind a later one")
                if sequence in self._wanted:
                    self.seen[sequence] = seal.link[1]
                return
        self._report(ProblemKind.FOREIGN, file, number, f"there is another record {sequence}")

    def _report_broken(self, seal: Seal, file: str, number: int) -> None:
        try:
            kind = ProblemKind(seal.code)
        except ValueError:
            kind = ProblemKind.FOREIGN
        self._report(kind, file, number, "found when this record was written; it holds the evidence")

    def _report(self, kind: ProblemKind, file: str, line: int, message: str) -> None:
        self.problems.append(Problem(kind=kind, file=file, line=line, message=message))
