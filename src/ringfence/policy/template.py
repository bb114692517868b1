"""The commented policy file that `ringfence init` writes for a project."""

from collections.abc import Sequence

from .document import PresetName
from .presets import PRESETS

_HEAD = """\
# ringfence policy of this project. Reference: docs/policy.md, or `ringfence policy schema`.
#
# This file can only tighten: it can deny more paths, lower limits and choose stricter modes. What it would
# loosen belongs in the user policy, ~/.config/ringfence/policy.toml.

version = 1

# The toolchains of all presets may be read without being named; naming one documents the need. Hosts of a preset
# can be reached only where your own policy names it.
"""

_BODY = """
# What a project may say of secrets: that requests which carry one out are refused, where that is tighter.
# leaks = { known = "deny", found = "deny", on-taint = "off" }

[filesystem]
# Hidden from the command, in gitignore's notation: a name without a slash is meant at any depth.
deny-read = [
    { path = ".env", reason = "credentials of the development environment" },
    { path = ".env.local", reason = "credentials of the development environment" },
    # "*.pem",
    # "secrets/",
]
# Readable, but not to be changed.
# deny-write = ["migrations/", "./LICENSE"]

[workspace]
# overlay: changes are kept apart and applied at the end, filtered. readonly: nothing can be changed.
mode = "overlay"
# exit: apply at the end. ask: show the changes first.
# apply = "ask"

[limits]
# Sizes such as "512MiB", times such as "30s", "5m" or "2h". A project can lower them.
# memory = "2GiB"
# processes = 512
# wall-time = "1h"

[network]
# What a project may say of the network: hosts that are out of reach, or that you are asked about, whatever else allows
# them. What may be reached is said in the user policy or on the command line, and so is the environment.
# deny = ["metrics.example.com"]
# ask = ["example.org"]
# mode = "off"
"""


def render(detected: Sequence[PresetName]) -> str:
    """Render the file for a project in which the ecosystems `detected` were found; it parses as it is."""
    names = [name for name in PRESETS if name in detected]
    listed = ", ".join(f'"{name}"' for name in names)
    line = f"extends = [{listed}]\n" if names else '# extends = ["python"]\n'
    return _HEAD + line + _BODY
