"""Answers the hooks of an agent inside a boundary, from outside (session/ear.py).

inside/hook.py sends an event and gets exit status and output. INVARIANT: whatever goes wrong is a refusal.
"""

from functools import partial

from ringfence.model.errors import RingfenceError
from ringfence.model.guest_network import HOOKS
from ringfence.model.ports import Report
from ringfence.session.ear import Ear

from . import hook_events
from .hook_decisions import Decider

CLIENT_BYTES = 32


class HookService:
    """The companion (model/ports.py) of one agent's run."""

    def __init__(self, decider: Decider) -> None:
        self.decider = decider
        self.ear = Ear("hooks", partial(answer, decider), hook_events.EVENT_BYTES + CLIENT_BYTES)

    def attach(self, init: int, report: Report) -> None:
        """Listen inside the boundary whose first process is `init`; raise HostError where that fails."""
        self.decider.report = report
        self.ear.open(init, HOOKS)

    def close(self) -> None:
        """Stop listening."""
        self.ear.close()


def answer(decider: Decider, data: bytes) -> tuple[int, bytes]:
    """Exit status and output for one message: the client's name, a line feed, the event."""
    client, _, text = data.partition(b"\n")
    try:
        if client.decode("ascii", "replace") != decider.where.client:
            raise ValueError("another agent's hook")
        event = hook_events.read(text)
        return 0, hook_events.written(decider.where.client, event, decider.reply(event))
    except (ValueError, RingfenceError) as error:
        return hook_events.REFUSED, f"ringfence: {error}; so this is denied\n".encode(errors="replace")
    except Exception as error:  # a defect of ours must not let the call pass, nor end in silence
        return hook_events.REFUSED, f"ringfence: {type(error).__name__}; so this is denied\n".encode()
