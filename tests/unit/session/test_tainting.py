"""What taints a run, how often that is recorded, and which rules are left."""

import threading
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from ringfence.model.decision import Source, Verdict
from ringfence.model.egress import Egress, EgressRule
from ringfence.model.secrets import TaintResponse
from ringfence.network.messages import Record
from ringfence.policy.egress import decide_connection
from ringfence.session.answering import Answering
from ringfence.session.tainting import CAUSES_AT_MOST, CODES, MARK, WATCHED_AT_MOST, WORDS, Tainting, find
from ringfence.session.vault_telling import TAINTING

HOME = "/home/agent"
USER = Source(scope="user")
RULES = tuple(EgressRule(host=host, verdict=Verdict.ALLOW, source=USER) for host in ("named.example", "*.wild.example"))


class Answers:
    """Stands in for `answering.Answering`."""

    def __init__(self, *contacted: tuple[str, int]) -> None:
        self.egress = Egress(rules=RULES)
        self.contacted = set(contacted)
        self.changing = threading.Lock()
        self.replaced = 0

    def replace(self, egress: Egress) -> None:
        assert self.changing.locked()
        self.egress = egress
        self.replaced += 1

    def allows(self, host: str) -> bool:
        return decide_connection(self.egress, host, 443).verdict is Verdict.ALLOW

    def allow(self, host: str) -> None:
        own = EgressRule(host=host, verdict=Verdict.ALLOW, source=Source(scope="cli"))
        self.egress = msgspec.structs.replace(self.egress, rules=(own, *self.egress.rules))


class Tainted(Tainting):
    """One whose records and notices can be read."""

    def __init__(
        self, directory: Path, response: TaintResponse = TaintResponse.NO_NEW_HOSTS, workspace: str = ""
    ) -> None:
        mode = ("overlay", "exit") if workspace else ("direct", "exit")
        artefact = SimpleNamespace(
            egress=b"{}", on_taint=response.value, cwd=HOME, workspace=(workspace, *mode), watches=[]
        )
        self.records: list[tuple[str, str, dict[str, object]]] = []
        super().__init__(artefact, str(directory), lambda *said: self.records.append(said))  # type: ignore[arg-type] # stand-ins
        self.notices: list[str] = []
        self.notice = self.notices.append


def joined(found: Tainting, answers: Answers) -> None:
    found.join(answers)  # type: ignore[arg-type] # all that is used of it


def test_a_decoy_narrows_to_hosts_spoken_with(tmp_path: Path) -> None:
    found, answers = Tainted(tmp_path), Answers(("a.wild.example", 443))
    joined(found, answers)
    assert answers.allows("named.example") and answers.allows("b.wild.example")
    found.tripped("path-protected", f"{HOME}/.ssh/id_ed25519")
    assert answers.allows("a.wild.example")
    assert not answers.allows("named.example") and not answers.allows("b.wild.example")
    ((kind, code, fields),) = found.records
    assert (kind, code, fields["response"], fields["what"]) == ("taint", "decoy-opened", "no-new-hosts", "private key")
    assert "ringfence allow --run" in found.notices[0] and "id_ed25519" in found.notices[0]
    assert (tmp_path / MARK).read_text() == f"decoy-opened {HOME}/.ssh/id_ed25519\n"


def test_a_workspace_secret_leaves_hosts_that_are_named(tmp_path: Path) -> None:
    found, answers = Tainted(tmp_path), Answers()
    joined(found, answers)
    found.tripped("secret-read", "/w/.env")
    assert answers.allows("named.example") and not answers.allows("b.wild.example")


@pytest.mark.parametrize("name", [".npmrc", ".netrc", ".bash_history", ".ssh/known_hosts"])
def test_decoys_that_programs_open_unasked_do_not_taint(tmp_path: Path, name: str) -> None:
    found = Tainted(tmp_path)
    found.tripped("path-protected", f"{HOME}/{name}")
    found.tripped("path-protected", "/w/denied-by-policy")
    assert not found.records and not found.notices


def test_what_came_before_the_network_narrows_it_from_its_first_answer(tmp_path: Path) -> None:
    found, answers = Tainted(tmp_path), Answers()
    found.taint("decoy-opened", {"target": "x"})
    joined(found, answers)
    assert not answers.allows("named.example")


def test_the_same_cause_is_recorded_once_and_a_flood_ends(tmp_path: Path) -> None:
    found, answers = Tainted(tmp_path), Answers()
    joined(found, answers)
    for number in range(CAUSES_AT_MOST + 50):
        for _ in range(2):
            found.taint("secret-misuse", {"target": f"host{number}:443"})
    assert len(found.records) == CAUSES_AT_MOST and len(found.notices) == 1 and answers.replaced == 1


def test_what_the_operator_names_afterwards_holds(tmp_path: Path) -> None:
    found, answers = Tainted(tmp_path), Answers()
    joined(found, answers)
    found.tripped("secret-read", "/w/.env")
    answers.allow("b.wild.example")
    found.tripped("secret-read", "/w/other/.env")
    assert answers.allows("b.wild.example") and answers.allows("named.example")
    found.taint("decoy-opened", {"target": "x"})  # weighs more
    assert answers.allows("b.wild.example") and not answers.allows("named.example")


@pytest.mark.parametrize("response", [TaintResponse.OFF, TaintResponse.RECORD])
def test_policy_says_what_is_lost(tmp_path: Path, response: TaintResponse) -> None:
    found, answers = Tainted(tmp_path, response), Answers(("named.example", 443))
    joined(found, answers)
    found.tripped("secret-read", "/w/.env")
    assert answers.allows("named.example") is (response is TaintResponse.RECORD)
    assert found.records[0][2]["response"] == response.value
    assert bool(found.notices) is (response is TaintResponse.OFF)


def test_rules_that_do_not_fit_into_a_message_are_not_sent(tmp_path: Path) -> None:
    hosts = [(f"{'x' * 60}{number}.wild.example", 443) for number in range(1000)]
    found, answers = Tainted(tmp_path), Answers(*hosts)
    joined(found, answers)
    found.taint("decoy-opened", {"target": "x"})
    assert answers.egress.rules == () and not answers.allows(hosts[0][0])


def test_secrets_of_a_workspace_are_found_without_following_links(tmp_path: Path) -> None:
    work = tmp_path / "work"
    for name, text in {
        ".env": "A=1",
        "ca.pem": "CERTIFICATE",
        "app/.env.local": "A=1",
        "app/deep/id_rsa": "PRIVATE KEY",
        "app/deep/deeper/.env": "A=1",  # too deep
        "node_modules/x/.env": "A=1",
    }.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(text)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/.env").write_text("A=1")
    (work / "link").symlink_to(tmp_path / "outside")
    (work / "id_link").symlink_to(tmp_path / "outside/.env")
    assert sorted(path for path, _ in find(str(work))) == [
        f"{work}/{name}" for name in (".env", "app/.env.local", "app/deep/id_rsa")
    ]
    found = Tainted(tmp_path, workspace=str(work))
    assert [code for _, code in found.tripwires()] == ["secret-read"] * 3
    assert [path for path, _ in find(str(work), [f"{work}/.env", f"{work}/app/deep/id_rsa"])] == [
        f"{work}/app/.env.local"
    ]
    found.tripped("secret-read", f"{work}/.env")
    assert found.records[0][2]["what"] == "environment of a program, with its keys"


def test_a_workspace_that_is_bound_directly_is_not_watched(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=1")
    assert Tainted(tmp_path).tripwires() == []


def test_only_so_many_are_watched(tmp_path: Path) -> None:
    for number in range(WATCHED_AT_MOST + 5):
        (tmp_path / f".env.{number}").write_text("A=1")
    assert len(list(find(str(tmp_path)))) == WATCHED_AT_MOST


def test_every_cause_is_told_in_words() -> None:
    assert WORDS.keys() >= {*TAINTING, *CODES, "decoy-opened", "events-lost"}


def test_what_only_the_taint_refuses_says_so(tmp_path: Path) -> None:
    found, answers = Tainted(tmp_path), Answers(("a.wild.example", 443))
    joined(found, answers)
    assert found.lost({"target": "named.example:443"}) == ""
    found.tripped("path-protected", f"{HOME}/.ssh/id_ed25519")
    said = "lost when the run was tainted (decoy-opened)"
    assert found.lost({"target": "named.example:443"}) == said
    assert found.lost({"target": "named.example"}) == said  # a name that was asked for
    assert found.lost({"target": "named.example:443", "method": "GET", "path": "/x"}) == said
    for other in ("other.example:443", "a.wild.example:443", "named.example:22", "x y", ""):
        assert found.lost({"target": other}) == "", other


def test_a_method_that_the_taint_took_away_says_so(tmp_path: Path) -> None:
    found, answers = Tainted(tmp_path, TaintResponse.NO_WRITES), Answers(("named.example", 443))
    joined(found, answers)
    found.taint("secret-misuse", {"target": "x"})
    asked = {"target": "named.example:443", "path": "/"}
    assert found.lost(asked | {"method": "POST"}) == "lost when the run was tainted (secret-misuse)"
    assert found.lost(asked | {"method": "GET"}) == ""


def test_the_record_of_a_refusal_has_the_taint_for_its_reason(tmp_path: Path) -> None:
    tainting, records = Tainted(tmp_path), []
    answers = Answers()
    joined(tainting, answers)
    tainting.taint("decoy-opened", {"target": "x"})
    made = Answering.__new__(Answering)
    made.way = SimpleNamespace(tainting=tainting)  # type: ignore[assignment] # all that is asked of it
    made.report = lambda *said: records.append(said)
    made.callers, made.vaults = {}, None
    told: dict[str, str | int | bool | None] = {"target": "named.example:443", "reason": "no rule allows it"}
    made.record(Record(kind="denial", code="egress-denied", connection=0, fields=told))
    made.record(Record(kind="denial", code="egress-denied", connection=0, fields=told | {"target": "b.example:443"}))
    assert [fields["reason"] for _, _, fields in records] == [
        "lost when the run was tainted (decoy-opened)",
        "no rule allows it",
    ]
