"""Compile the optional native programs into wheels and editable installations.

The first process (src/ringfence/inside/init.c), what stages files as root
(src/ringfence/sandbox/stage.c), what looks at many paths at once
(src/ringfence/session/look.c), and the command `ringfence` (src/ringfence/session/client.c), which
executes `ringfence-python` for all that the resident supervisor does not do. Without a C compiler, or on another system
than Linux, the package is built without them and stays pure: slower and otherwise the same.
"""

import os
import subprocess
import sys
import sysconfig
import tempfile
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# Where in the package, how scripts/native is asked for it, what it is called.
PROGRAMS = (
    ("ringfence/inside/native-init", (), "first process"),
    ("ringfence/sandbox/native-stage", ("--stage",), "stager"),
    ("ringfence/session/native-look.so", ("--look",), "look"),
)
COMMAND = "ringfence"


class NativeInit(BuildHookInterface[Any]):
    """The hook that pyproject.toml names; `version` is `standard` for a wheel, `editable` for one that points here."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; give a wheel that holds the program a platform tag."""
        if self.target_name != "wheel":
            return
        self.scratch = tempfile.mkdtemp(prefix="ringfence-native-")
        client = os.path.join(self.scratch, "client")
        has_client = self.compile(client, "command", "--client")
        command = client if has_client else os.path.join(self.root, "scripts", "ringfence")
        build_data["shared_scripts"][command] = COMMAND
        if version == "editable":
            for place, which, what in PROGRAMS:
                self.compile(os.path.join(self.root, "src", place), what, *which)
            return
        made = [has_client]
        for place, which, what in PROGRAMS:
            program = os.path.join(self.scratch, os.path.basename(place))
            made.append(self.compile(program, what, *which))
            if made[-1]:
                build_data["force_include"][program] = place
        if any(made):
            build_data["pure_python"] = False
            build_data["tag"] = "py3-none-" + sysconfig.get_platform().replace("-", "_").replace(".", "_")

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was compiled for the wheel."""
        if scratch := getattr(self, "scratch", ""):
            for name in os.listdir(scratch):
                os.unlink(os.path.join(scratch, name))
            os.rmdir(scratch)

    def compile(self, program: str, what: str, *which: str) -> bool:
        """Whether `program` was made; if not, say so and go on."""
        if not sys.platform.startswith("linux"):
            return False
        script = os.path.join(self.root, "scripts", "native")
        done = subprocess.run(
            [script, "--tolerant", *which, program], stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["it failed without a word"])[-1]
            self.app.display_warning(f"the native {what} was not built: {reason}")
        return done.returncode == 0
