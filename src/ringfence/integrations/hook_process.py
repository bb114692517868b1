"""`ringfence hook CLIENT`: answers one event of an agent that runs outside of any boundary.

What is to be asked, the agent asks itself; one that cannot (Codex) is refused, with the rule that would allow the call.
With `contain`, commands that may run are run by `ringfence run`.
"""

import time
from collections.abc import Mapping

from ringfence.audit.writer import AuditWriter
from ringfence.model.approval import Answer, Question
from ringfence.model.errors import RingfenceError
from ringfence.session import places
from ringfence.session.options import Options

from .hook_decisions import Decider, Surroundings
from .hook_events import REFUSED
from .hook_rules import rules_for
from .hook_service import answer

RUN = "hook"
"""What stands in the audit for a run: there is none."""
WRAPPER = ("run", "--apply", "live", "--")


class Nobody:
    """The approver (model/ports.py) where no person can be reached."""

    def ask(self, question: Question) -> Answer:
        """Deny."""
        return Answer(allowed=False, reason="there is nobody to ask")


def respond(client: str, data: bytes, *, directory: str, contain: str) -> tuple[int, bytes]:
    """Exit status and output for the event in `data`, of an agent that was started in `directory`.

    `contain` is the program that is to run commands in a boundary; empty where none is.
    """
    writer = AuditWriter(places.audit(), fsync="never", rotate_bytes=64 << 20)

    def report(kind: str, code: str, fields: Mapping[str, str | int | bool | list[str] | None], /) -> None:
        writer.record_fields(kind, RUN, time.time_ns(), code, fields=fields)

    where = Surroundings(
        client=client,
        workspace=directory,
        home=places.home(),
        contained=False,
        interactive=True,
        wrapper=(contain, *WRAPPER) if contain else (),
    )
    try:
        decider = Decider(where, rules_for(client, Options(), directory), approver=Nobody(), report=report)
        return answer(decider, f"{client}\n".encode() + data)
    except RingfenceError as error:
        return REFUSED, f"ringfence: {error}; so this is denied\n".encode(errors="replace")
    finally:
        writer.close()
