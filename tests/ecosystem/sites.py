"""The registries that checks name in `sites`, each a function that lays down files for the lab to serve."""

from collections.abc import Callable
from pathlib import Path

from tests.ecosystem import crates, gems, gomodules, maven, npm, pypi

SITES: dict[str, Callable[[Path], None]] = {
    "pypi": pypi.build,
    "npm": npm.build,
    "crates": crates.build,
    "go": gomodules.build,
    "gems": gems.build,
    "maven": maven.build,
}
