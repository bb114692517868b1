"""The native programs, compiled as the developers' script does it, warnings being errors."""

import subprocess
import sys
from pathlib import Path

from tests import requirements
from tests.house.sources import ROOT

BUILD_TIMEOUT_S = 60


def built(program: Path, *options: str) -> Path:
    """Compile what `options` of scripts/native name, by default the first process; skip without a compiler."""
    requirements.require("cc")
    words = [str(ROOT / "scripts/native"), *options, str(program)]
    subprocess.run(words, check=True, stdout=sys.stderr, timeout=BUILD_TIMEOUT_S)
    return program
