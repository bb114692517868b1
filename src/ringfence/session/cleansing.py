"""Take values out of what the proxy says, before it is recorded, shown or looked up: the vault alone knows them.

Whatever stands in a request can stand in a record: in its path, the name of a header, a host below a wildcard. In runs
with a vault the texts of each record go there and come back without values. Whoever records waits for that, so records
keep their order, and a proxy that floods is held up. A vault that has ended, or does not answer in time, costs a record
those texts in which a value could be, and nothing else; one that is late is not waited for again until it answers.
A name that policy does not name in full is judged before anybody is asked for its addresses: whoever answers for a
domain reads every name below it.
"""

import threading
import time

from . import vault_messages
from .vault_messages import Cleanse, Cleansed, Judge, Judged

TYPE_CHECKING = False  # for type checkers only
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .vault import Vault
    from .vaults import Vaults

    Fields = Mapping[str, str | int | bool | None]

ANSWER_TIMEOUT_S = 1.5  # less than a run's end waits for its proxy's last records (egress.END_TIMEOUT_S)
FULL_PAUSE_S = 0.005
WITHHELD = "withheld"
UNJUDGED = "the vault does not say whether the name holds a secret"
SHORTEST = 8  # no value is shorter (secrets/placeholders.py)
FIXED = frozenset({"rule", "scheme", "address", "secret"})  # from policy, or of a form that nobody chooses


class Cleansing:
    """What is asked of the vaults of a run; methods may be called from any thread but those that listen to a vault."""

    def __init__(self, vaults: "Vaults") -> None:
        self.vaults = vaults
        self.turn = threading.Lock()  # held by whoever waits for an answer
        self.changed = threading.Condition()
        self.asked = 0
        self.late: Vault | None = None
        self.ended: set[Vault] = set()
        self.answer: Cleansed | Judged | None = None

    def cleansed(self, fields: "Fields") -> "dict[str, str | int | bool | None]":
        """The fields of a record without any value."""
        texts = {name: text for name, text in fields.items() if isinstance(text, str) and self.may_hold(name, text)}
        if not texts:
            return dict(fields)
        found = self.ask(lambda number: Cleanse(request=number, texts=texts))
        # SECURITY: the vault reads what hosts send; it answers for the texts it was sent, and adds none.
        fits = isinstance(found, Cleansed) and found.texts.keys() == texts.keys()
        return {**fields, **(found.texts if isinstance(found, Cleansed) and fits else dict.fromkeys(texts, WITHHELD))}

    def refusal(self, host: str, port: int) -> tuple[str, str]:
        """Why a name may not be looked up, a code and the reason; empty where it may."""
        if not self.may_hold("host", host):
            return "", ""
        found = self.ask(lambda number: Judge(request=number, host=host, port=port))
        return (found.code, found.reason) if isinstance(found, Judged) else ("unreachable", UNJUDGED)

    def may_hold(self, name: str, text: str) -> bool:
        """Whether a value could stand in a field: not in what is short, nor in a host that policy names in full."""
        if name in FIXED or len(text) < SHORTEST:
            return False
        host = text.rpartition(":")[0].strip("[]") if name == "target" else text
        named = name in ("host", "target") and any(
            rule.host in (host, text) for rule in self.vaults.answering.egress.rules
        )
        return not named

    def ask(self, question: "Callable[[int], Cleanse | Judge]") -> Cleansed | Judged | None:
        """What the vault answers to a question of that number; None where no answer can be had."""
        with self.turn:
            vault = self.vaults.current
            with self.changed:
                if vault in self.ended or vault is self.late:
                    return None
                self.asked += 1
                self.answer = None
            deadline = time.monotonic() + ANSWER_TIMEOUT_S
            sent = send(vault, vault_messages.encode(question(self.asked)), deadline)
            with self.changed:
                if sent:
                    self.changed.wait_for(lambda: self.answer or vault in self.ended, deadline - time.monotonic())
                found = self.answered()
                if found is None:
                    self.late = vault
            return found

    def answered(self) -> Cleansed | Judged | None:
        """What has been answered since the last question."""
        return self.answer

    def take(self, answer: Cleansed | Judged) -> None:
        """A vault has answered; on the thread that listens to it."""
        with self.changed:
            if answer.request == self.asked:
                self.answer = answer
                self.changed.notify_all()

    def heard(self, vault: "Vault") -> None:
        """A vault has said something, so it will answer again; no longer believed when the run ends."""
        if self.late is vault and not self.vaults.answering.way.closing:
            self.late = None

    def end(self, vault: "Vault") -> None:
        """A vault says nothing more; on the thread that has listened to it."""
        with self.changed:
            self.ended.add(vault)
            self.changed.notify_all()


def send(vault: "Vault", message: bytes, deadline: float) -> bool:
    """Send a message as soon as the vault has room for it; whether it had until `deadline`."""
    while True:
        try:
            vault.send(message, [])
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(FULL_PAUSE_S)
        except OSError:
            return False
        else:
            return True
