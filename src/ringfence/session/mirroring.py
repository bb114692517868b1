"""`workspace.apply = "live"`: a thread that carries files over to the host while the run goes on.

It imports what it needs by itself, while the command is already running. Where it fails the run goes on, and everything
arrives at the end as with `exit`; the audit says so.
"""

import os
import threading

from ringfence.model.errors import RingfenceError
from ringfence.sandbox.artefact import Artefact
from ringfence.workspace.layout import Created


class Mirroring:
    """One run's thread. After `finish`, `applied` has the paths the host got, `failure` what ended it early."""

    def __init__(self, artefact: Artefact, created: Created) -> None:
        self._artefact = artefact
        self._directory = created.directory
        self._stop = os.pipe()
        self.applied: frozenset[str] = frozenset()
        self.failure = ""
        self._thread = threading.Thread(target=self._work, name="ringfence-live", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        from ringfence.model.paths import HostPath
        from ringfence.workspace import live, runs

        from . import applying

        try:
            run = runs.load(HostPath(self._directory))
            rules = applying.rules_of(run, self._artefact.deny_write, max_bytes=self._artefact.workspace_bytes)
            with live.Mirror(run, rules) as mirror:
                try:
                    mirror.serve(self._stop[0])
                finally:
                    self.applied = frozenset(mirror.applied)
        except (OSError, RingfenceError) as error:
            self.failure = str(error)

    def finish(self) -> None:
        """Stop, once what is being carried over has arrived."""
        os.close(self._stop[1])
        self._thread.join()
        os.close(self._stop[0])
