"""`ringfence explain`: whether a path, host or variable can be reached, or why something was denied, and the remedy."""

import ipaddress
import os
import re
from collections.abc import Callable, Mapping, Sequence

import msgspec

from ringfence.model.errors import UsageError
from ringfence.report.refusals import REFUSALS
from ringfence.session import options as options_module
from ringfence.session.prepare import Prepared

from . import help as help_text
from . import unmet
from .catalogue import find
from .explain_host import explain_host
from .explain_path import explain_path
from .explain_secret import explain_secret_variable
from .explanation import Answer, Explanation, Remedy
from .plan import prepared_for
from .terminal import paint, put, put_json, safe, table

_HOST = re.compile(r"(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.?", re.I)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CREDENTIAL = re.compile(r"TOKEN|KEY|SECRET|PASSWORD")  # nobody is advised to pass one
# What ends like this is a file, and no host: none of these is a top-level domain.
_FILES = frozenset(
    "bak c cfg cjs conf cpp crt css csv env gz h html ini ipynb java jpg js json jsx key lock log mjs pdf pem png rb"
    " sql sqlite svg tmp toml ts tsx txt whl xml yaml yml".split()
)
_FILES_OR_HOSTS = frozenset("cc md pl py rs sh so zip".split())
_STYLES = {"yes": "good", "no": "bad", "private": "warn", "ask": "warn"}


def main(name: str, words: Sequence[str]) -> int:
    """Explain one target under the policy in force here."""
    if list(words[:1]) in (["-h"], ["--help"]):
        return help_text.show([name])
    options, target = split(list(words))
    if not 1 <= len(target) <= 2:
        raise UsageError("name one path, host, variable or code of a denial", hint=find("explain").usage[0])
    kind, text = classify(target)
    prepared = prepared_for(options, [])
    found = EXPLAINERS[kind](prepared, text)
    said = (*other_reading(target, kind, os.environ), *unmet.wishes(options, unmet.view_of(prepared), os.environ))
    found = msgspec.structs.replace(found, notes=(*found.notes, *said))
    if options.json:
        put_json(found)
    else:
        put(*rendered(found))
    return 0


def split(words: list[str]) -> tuple[options_module.Options, list[str]]:
    """Options before and after the target; words behind `--` are never options."""
    ours: list[str] = []
    others: list[str] = []
    while words:
        _, rest = options_module.parse(words)
        used = words[: len(words) - len(rest)]
        if used[-1:] == ["--"]:
            return options_module.parse(ours + used[:-1])[0], others + rest
        ours += used
        others += rest[:1]
        words = rest[1:]
    return options_module.parse(ours)[0], others


def classify(target: Sequence[str]) -> tuple[str, str]:
    """The kind of thing `target` names and its name; the kind can be written before it."""
    if len(target) == 2 and "://" in target[1] and target[0].isupper() and target[0].lower() not in EXPLAINERS:
        return "host", " ".join(target)
    if len(target) == 2:
        kind = target[0].lower()
        if kind not in EXPLAINERS:
            raise UsageError(
                f"no kind `{safe(target[0])}`", hint="write `path`, `host`, `env` or `denial` before the name"
            )
        return kind, target[1].removeprefix("$") if kind == "env" else target[1]
    text = target[0]
    if text.startswith("$"):
        return "env", text[1:]
    if text in REFUSALS and not os.path.lexists(text):
        return "denial", text
    if "://" in text:
        return "host", text
    if re.fullmatch(r"[A-Z]+ [^ ]+", text) and not os.path.lexists(text):
        return "host", text
    if "/" in text or text.startswith((".", "~")) or os.path.lexists(text):
        return "path", text
    host, port = split_port(text)
    named = "." in host and _HOST.fullmatch(host) and ending(host) not in _FILES
    return ("host" if port or named or is_address(host) or host == "localhost" else "path"), text


def ending(text: str) -> str:
    """What stands behind the last dot."""
    return text.rpartition(".")[2].lower()


def other_reading(target: Sequence[str], kind: str, present: Mapping[str, str]) -> tuple[str, ...]:
    """How to ask about what else one word may have meant."""
    text = target[0]
    if len(target) > 1 or "/" in text or os.path.lexists(text):
        return ()
    if kind == "host" and ending(text) in _FILES_OR_HOSTS:
        return (f"for a file of that name: `ringfence explain ./{text}`",)
    if kind == "path" and text in present:
        return (f"for the variable: `ringfence explain env {text}`",)
    return ()


def split_port(text: str) -> tuple[str, str]:
    """Host and port of `host:port` or `[address]:port`; the port is empty where there is none."""
    host, _, port = text.rpartition(":")
    if host and port.isascii() and port.isdigit() and (":" not in host or host.startswith("[")):
        return host.strip("[]"), port
    return text.strip("[]"), ""


def is_address(text: str) -> bool:
    """Whether `text` is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def explain_variable(prepared: Prepared, name: str) -> Explanation:
    """Whether the variable `name` is seen inside."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"`{safe(name)}` is not the name of a variable", hint="letters, digits and `_`, as in `env HOME`"
        )
    if about := explain_secret_variable(prepared.policy.secrets, name):
        return about
    found = next((item for item in prepared.plan.environment if item.name == name), None) or next(
        (i for i in prepared.plan.environment if i.name.endswith("*") and name.startswith(i.name[:-1])), None
    )
    if found is None:
        answer = Answer(status="no", reason="no rule passes or sets this variable", origin="default")
        lines = ("[env]", f'pass = ["{name}"]')
        remedy = Remedy(why="to pass it", lines=lines, once=f"ringfence run --env {name}")
        if _CREDENTIAL.search(name):
            why = f"to let it be used without being seen, `ringfence run --secret {name}@HOST` puts it in at that host"
            remedy = Remedy(why=f"{why}; `ringfence claude` brings the agent's own key so")
        return Explanation(kind="env", target=name, answers={"seen": answer}, remedies=(remedy,))
    if found.value is not None:
        answer = Answer(status="yes", reason=f"set to `{found.value}`: {found.reason}", origin=str(found.origin))
    else:
        here = "" if name in os.environ else ", but it is not set here"
        answer = Answer(
            status="yes",
            reason=f"passed{here}: {found.reason}",
            rule=f'env.pass = "{found.name}"',
            origin=str(found.origin),
        )
    return Explanation(kind="env", target=name, answers={"seen": answer})


def explain_denial(_: Prepared, code: str) -> Explanation:
    """Why what `ringfence log` shows under `code` was denied, and what would allow it."""
    found = REFUSALS.get(code)
    if found is None:
        raise UsageError(
            f"no denial has the code `{safe(code)}`", hint="`ringfence log --denied` shows those of your runs"
        )
    answer = Answer(status="no", reason=found.why, origin="default")
    return Explanation(kind="denial", target=code, answers={"allowed": answer}, notes=(found.how,))


EXPLAINERS: dict[str, Callable[[Prepared, str], Explanation]] = {
    "path": explain_path,
    "host": explain_host,
    "env": explain_variable,
    "denial": explain_denial,
}


def rendered(found: Explanation) -> list[str]:
    """An explanation for people."""
    lines = [f"{found.kind} {paint(safe(found.target), 'bold')}"]
    rows = [(what, a.status, a.reason, said(a)) for what, a in found.answers.items()]
    for line, row in zip(table(rows, styles=("",)), rows, strict=True):
        status = row[1]
        lines.append(line.replace(f"  {status} ", f"  {paint(status, _STYLES[status])} ", 1))
    lines += [f"  {safe(note)}" for note in found.notes]
    for remedy in found.remedies:
        lines += ["", f"{safe(remedy.why)}" + (f", add to {safe(remedy.file)}:" if remedy.lines else "")]
        lines += [f"    {safe(line)}" for line in remedy.lines]
        lines += [f"  or once: {safe(remedy.once)}"] if remedy.once else []
    return lines


def said(answer: Answer) -> str:
    """Who says so: the place, and the rule there."""
    return answer.origin + (f": {answer.rule}" if answer.rule else "")
