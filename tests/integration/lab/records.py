"""The lab's log: one JSON object a line for every query, flow, connection and request that the remote side saw."""

import json
import os
from pathlib import Path


class Log:
    """An append-only file; an entry is on it before its answer leaves."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def add(self, kind: str, **fields: object) -> None:
        """Add one entry."""
        os.write(self._fd, json.dumps({"kind": kind, **fields}).encode() + b"\n")
