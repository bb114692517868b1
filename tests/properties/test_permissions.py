"""Permission rules: tightening never loosens, denials win, order within a scope and repeated readings do not matter."""

import json

from hypothesis import assume, given
from hypothesis import strategies as st

from ringfence.policy.permissions import claude_settings, hosts, launched, scopes, shell_parse
from ringfence.policy.permissions.command import Command, Script
from ringfence.policy.permissions.engine import decide
from ringfence.policy.permissions.paths import Unresolved, absolute
from ringfence.policy.permissions.second_reading import disagreement
from ringfence.policy.permissions.settings import Mode, Settings
from ringfence.policy.permissions.words import PLAIN_COMMAND, RESERVED
from tests.permission_cases import CWD, HOME, call, settings

ORDER = {"allow": 0, "ask": 1, "deny": 2}
WORDS = (
    "ls",
    "pfs",
    "dny",
    "git",
    "status",
    "cat",
    ".env",
    "a.txt",
    "-n",
    "rm",
    "cd",
    "sub",
    "x=1",
    "*",
    "$X",
    "'a b'",
)
PIECES = (
    *WORDS,
    "&&",
    "|",
    ";",
    "(",
    ")",
    "$(",
    "`",
    '"',
    "'",
    "\\",
    ">",
    "<",
    "<<EOF\n",
    "\n",
    "{",
    "}",
    "if",
    "then",
    "fi",
    "&",
)
RULES = (
    "Bash",
    "Bash(ls *)",
    "Bash(pfs:*)",
    "Bash(dny *)",
    "Bash(git status)",
    "Bash(* -n)",
    "Read(.env)",
    "Read(~/**)",
)
MORE_RULES = (*RULES, "Edit(sub/**)", "Edit", "Read", "WebFetch(domain:a.example)", "mcp__s", "mcp__s__get_*", "*")

commands = st.lists(st.sampled_from(PIECES), max_size=8).map(" ".join)
rules = st.lists(st.sampled_from(MORE_RULES), max_size=3)
modes = st.sampled_from([mode.value for mode in Mode])
calls = st.one_of(
    commands.map(lambda text: call("Bash", text)),
    st.sampled_from(["/w/proj/.env", "/w/proj/sub/a", "/etc/x", "~/y", "/w/proj/.git/x"]).flatmap(
        lambda path: st.sampled_from([call("Read", path), call("Write", path)])
    ),
    st.sampled_from([call("mcp__s__get_a", {}), call("WebFetch", "https://a.example/")]),
)


def answer(rules: Settings, asked: object) -> int:
    return decide(rules, asked).verdict  # type: ignore[arg-type]  # a strategy of mixed calls has no narrower type


@given(asked=calls, allow=rules, ask=rules, deny=rules, more=st.sampled_from(MORE_RULES), mode=modes)
def test_one_more_denial_never_loosens(
    asked: object, allow: list[str], ask: list[str], deny: list[str], more: str, mode: str
) -> None:
    before = answer(settings(allow=allow, ask=ask, deny=deny, mode=mode), asked)
    assert answer(settings(allow=allow, ask=ask, deny=[*deny, more], mode=mode), asked) >= before


@given(asked=calls, allow=rules, ask=rules, deny=rules, mode=modes)
def test_no_allowance_beats_a_denial(
    asked: object, allow: list[str], ask: list[str], deny: list[str], mode: str
) -> None:
    denied = answer(settings(deny=deny), asked) == ORDER["deny"]
    assert not denied or answer(settings(allow=[*allow, *MORE_RULES], ask=ask, deny=deny, mode=mode), asked) == 2


@given(asked=calls, allow=rules, ask=rules, deny=rules, seed=st.randoms(use_true_random=False))
def test_the_order_of_rules_and_scopes_does_not_matter(
    asked: object, allow: list[str], ask: list[str], deny: list[str], seed: st.DataObject
) -> None:
    lists = {"allow": allow, "ask": ask, "deny": deny}
    mixed = {key: seed.sample(found, len(found)) for key, found in lists.items()}  # type: ignore[attr-defined]  # a Random
    texts = [json.dumps({"permissions": found}) for found in (lists, mixed)]
    read = [
        [claude_settings.read_settings(text, scope=scope, file="/s", cwd=CWD) for scope in order]
        for text, order in zip(texts, (("user", "project"), ("project", "user")), strict=True)
    ]
    request = scopes.Request(cwd=CWD, home=HOME)
    one, other = (scopes.merge(found, request, Unresolved()) for found in read)
    assert one.rules == other.rules
    assert answer(one, asked) == answer(other, asked)


@given(text=commands)
def test_reading_a_command_never_fails_and_sees_every_command_once_more(text: str) -> None:
    script = shell_parse.parse(text)
    assert script.text == text
    assert len(list(launched.runs(script))) >= sum(bool(command.words) for command in script.commands)


@given(text=st.from_regex(PLAIN_COMMAND, fullmatch=True).filter(lambda text: text.split(" ")[0] not in RESERVED))
def test_plain_words_are_what_both_parsers_make_of_them(text: str) -> None:
    fast = shell_parse.parse(text)
    reader = shell_parse._Reader(text.encode())
    root = shell_parse._parser().parse(text.encode()).root_node
    reader.read(root)
    assume(not root.has_error)  # words such as `1@` are nothing to that grammar
    slow = Script(text=text, commands=tuple(reader.commands))
    assert [command.argv for command in slow.commands] == [command.argv for command in fast.commands]
    assert disagreement(Script(text=text, commands=(Command(raw=text, words=fast.commands[0].words),)))[1] in (
        "",
        "two parsers read it differently",  # names such as `-` or `1:` are words to one of them only
    )


@given(path=st.text("ab/.~$HOME", max_size=12))
def test_making_a_path_absolute_twice_changes_nothing(path: str) -> None:
    places = settings().places
    once = absolute(path, places)
    assert once.startswith("/")
    assert absolute(once, places) == once


@given(host=st.from_regex(r"[a-zA-Z0-9.:@/\\-]{0,20}", fullmatch=True))
def test_the_host_of_a_host_is_itself(host: str) -> None:
    found = hosts.host_of(f"https://{host}")
    assert not found or hosts.host_of(f"https://{found}/") == found
