"""Carry out the words of `ringfence run` as the command line does, on a busy machine as well, and note on which path.

The resident supervisor is asked again where it did not answer within a second: nothing was begun then. The first word
is a file to which a line is added: `cold`, `supervised`, or `pooled` where a boundary that waited is gone; what only
makes ready (`true`) is not counted.
"""

import os
import sys
from pathlib import Path

from ringfence.cli import entry
from ringfence.session import places, resident

sys.path.insert(1, str(Path(__file__).parent.parent))
from tests import paths

TRIES = 30


def main(notes: str, words: list[str]) -> None:
    """Be `ringfence WORDS`; it never returns."""
    entry.open_standard_descriptors()
    if entry.is_supervised(words):
        state = Path(places.state())
        stood = paths.waiting(state, built=False).keys()
        for _ in range(TRIES):
            if (status := resident.ask(words)) is not None:
                note(notes, words, "pooled" if stood - paths.waiting(state, built=False).keys() else "supervised")
                os._exit(status)
    note(notes, words, "cold")
    entry.main()


def note(notes: str, words: list[str], text: str) -> None:
    """Add a line for a run that counts."""
    if notes and words[-2:] != ["--", "true"]:
        file = os.open(notes, os.O_WRONLY | os.O_APPEND)
        os.write(file, f"{text}\n".encode())
        os.close(file)


if __name__ == "__main__":
    found, sys.argv[1:] = sys.argv[1], sys.argv[2:]
    main(found, sys.argv[1:])
