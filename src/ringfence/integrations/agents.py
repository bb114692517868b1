"""Runs an agent as it is: its own program, its state by copy, the hosts of its model, our hook where it has hooks."""

import os
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

import msgspec

from ringfence.approvals.terminal import TerminalApprover
from ringfence.model.decision import Verdict
from ringfence.model.errors import HostError, UsageError
from ringfence.planner import build
from ringfence.planner.view import within
from ringfence.policy.effective import Policy
from ringfence.policy.egress import rule_text
from ringfence.policy.secrets import presets as secrets
from ringfence.sandbox import facts
from ringfence.sandbox.bubblewrap import SYSTEM_ROOTS
from ringfence.session import deployments, prepare, trusting
from ringfence.session import run as session
from ringfence.session.options import Options, workspace_of

from . import managed_settings
from .agent_catalogue import Agent
from .agent_state import AgentState, KeyIntroduction
from .hook_decisions import Decider, Surroundings
from .hook_rules import rules_for
from .hook_service import HookService

Offer = Callable[[trusting.Standing], bool]
"""Shows what would take effect and says whether it may."""

ASK_TIMEOUT_S = 120.0
HOSTS_TOLD = 20
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def run(agent: Agent, options: Options, arguments: Sequence[str], *, state: str, offer: Offer) -> session.Finished:
    """Run `agent` with its own `arguments`; raise RingfenceError for what keeps it from starting.

    `offer` is asked about a checkout that nobody has trusted, where a person sits in front of the agent.
    """
    directory = session.working_directory(options)
    workspace = workspace_of(directory)
    program = find_program(agent, workspace)
    owned = os.stat(workspace)
    copy = AgentState(agent, state, workspace=workspace, owner=(owned.st_uid, owned.st_gid))
    try:
        equip(options, agent, copy, arguments, program=program)
        if is_interactive(agent, arguments):
            offer_trust(options, workspace, offer)
        if bypasses(agent, arguments):
            policy = prepare.judged_policy(options, workspace)[0]
            deployments.check_values("an agent that asks nothing", deployments.DEPLOYMENTS["pipeline"].floor, policy)
        started = session.prepared_run(options, [program, *arguments])
        started.companions.append(KeyIntroduction(copy, started))
        if agent.hooks:
            decider = decider_for(agent, options, arguments, workspace)
            started.companions.append(HookService(decider))
        return started.carry_out()
    finally:
        copy.finish()


def bypasses(agent: Agent, arguments: Sequence[str]) -> bool:
    """Whether the operator has chosen the mode that asks nothing, which takes the floor of a run nobody watches."""
    words = {part for word in arguments for part in (word, word.partition("=")[2])}
    return not words.isdisjoint(agent.bypassing)


def offer_trust(options: Options, workspace: str, offer: Offer) -> None:
    """Ask whether what waits for trust may take effect, if the user's word can settle that."""
    policy, standing = prepare.judged_policy(options, workspace)
    if standing.manifest is not None and standing.why == "unknown" and standing.mode != "off" and offer(standing):
        trusting.decide(policy, workspace, standing.manifest)


def find_program(agent: Agent, workspace: str) -> str:
    """The agent's program on PATH; raise HostError where there is none.

    SECURITY: one in the workspace does not count, nor does a directory of PATH that is relative: a checkout could bring
    it along, and what it is told is yours (docs/threats.md, A1).
    """
    for folder in os.environ.get("PATH", os.defpath).split(":"):
        path = f"{folder}/{agent.program}"
        if folder.startswith("/") and os.path.isfile(path) and os.access(path, os.X_OK):
            if not within(os.path.realpath(path), workspace) and not within(os.path.realpath(folder), workspace):
                return path
    raise HostError(
        f"no program `{agent.program}` on PATH outside of the workspace", hint=f"install it: {agent.install}"
    )


def equip(options: Options, agent: Agent, copy: AgentState, arguments: Sequence[str], *, program: str) -> None:
    """Add to `options` what the agent needs of the view and of the network."""
    options.presets.append(agent.name)
    named = [(name, found) for name in agent.addresses if (found := address(name))]
    options.allow += [found.entry for _, found in named]
    home = build.identity(facts.gather([], [], ())).home
    options.mounts += copy.prepare(home)
    options.mounts += installation(program)
    moved = [(one.variable, f"{home}/{one.path}") for one in agent.state if one.variable]
    options.fallback = fallback((*agent.variables, *moved)) + "".join(
        secrets.moved(agent.name, name, found.tls_host, found.port) for name, found in named
    )
    if agent.hooks:
        options.hooks = True
        bypass = bypasses(agent, arguments)
        for place, text in managed_settings.files(agent.hooks, facts.interpreter(), bypass=bypass):
            options.mounts.append(("file", text, place, "managed settings: ringfence's hook, and no other"))


def fallback(variables: Sequence[tuple[str, str]]) -> str:
    """What holds unless somebody says otherwise.

    Files are applied as they are written; what would take effect by itself in an untrusted checkout is not shown.
    """
    listed = ", ".join(f"{name} = {msgspec.json.encode(value).decode()}" for name, value in variables)
    return f'version = 1\n[workspace]\napply = "live"\n[trust]\nmode = "hide"\n[env]\nset = {{ {listed} }}\n'


class Address(msgspec.Struct, frozen=True):
    """Where a variable leads: as an entry of `--allow`; `tls_host` is empty where no key can be put into requests.

    That is so without TLS, and for addresses and this machine itself, whose bytes nobody looks into.
    """

    entry: str
    tls_host: str
    port: int


def address(variable: str) -> Address | None:
    """What a variable of the operator's that names a model API leads to; raise UsageError for what is none."""
    value = os.environ.get(variable, "")
    if not value:
        return None
    try:
        url = urlsplit(value)
        host, port = url.hostname or "", url.port or {"https": 443, "http": 80}[url.scheme]
    except (ValueError, KeyError):
        raise UsageError(f"`{variable}` is not an address", hint="such as `https://gateway.example.com`") from None
    if host in LOOPBACK:
        return Address(f"host-loopback:{port}", "", port)
    opaque = url.scheme == "http" or ":" in host or host.rpartition(".")[2].isdigit()
    return Address(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", "" if opaque else host, port)


def installation(program: str) -> list[tuple[str, str, str, str]]:
    """Where the program lies, if that is not a part of every view: npm's tree, Python's environment, its directory.

    Raises HostError where that would show the home directory.
    """
    home = facts.home_directory()
    mounts = []
    for place in dict.fromkeys((*trees(os.path.realpath(program)), os.path.dirname(program))):
        if within(home, place):
            raise HostError(
                f"`{program}` lies in the home directory itself", hint="install it in a directory of its own"
            )
        if not any(within(place, top) for top in SYSTEM_ROOTS):
            mounts.append(("ro-bind", os.path.realpath(place), place, "the agent's program"))
    return mounts


def trees(real: str) -> list[str]:
    """What has to be there for the program at `real`, as npm, pip, pipx and uv lay programs down."""
    head, found, _ = real.partition("/node_modules/")
    if found:
        return [f"{head}/node_modules"]
    place = os.path.dirname(real)
    environment = os.path.dirname(place)
    try:
        with open(f"{environment}/pyvenv.cfg", encoding="utf-8") as file:
            settings = dict(line.split("=", 1) for line in file if "=" in line)
    except (OSError, UnicodeDecodeError):
        return [place]
    interpreter = next((value.strip() for key, value in settings.items() if key.strip() == "home"), "")
    return [environment, *([os.path.dirname(os.path.realpath(interpreter))] if interpreter.startswith("/") else [])]


def decider_for(agent: Agent, options: Options, arguments: Sequence[str], workspace: str) -> Decider:
    """What answers the agent's hooks; raise UsageError for rules of the operator's that cannot be read."""
    policy, standing = prepare.judged_policy(options, workspace)
    rules = rules_for(agent.hooks, options, workspace)
    where = Surroundings(
        client=agent.hooks,
        workspace=workspace,
        home=str(build.identity(facts.gather([], [], ())).home),
        contained=policy.workspace_mode != "direct",
        interactive=is_interactive(agent, arguments),
        context=context(policy, workspace, len(standing.hidden)),
    )
    # One that works without a person reads no keys: the terminal's foreground, which it was given, can be taken back.
    approver = TerminalApprover(ASK_TIMEOUT_S, takes=any(word in agent.headless for word in arguments))
    return Decider(where, rules, approver=approver, report=unreported)


def unreported(kind: str, code: str, fields: object) -> None:
    """Stand in for the run's audit until the run has one."""
    raise HostError(f"nothing records `{kind}`, `{code}` and {fields!r} yet")


def is_interactive(agent: Agent, arguments: Sequence[str]) -> bool:
    """Whether somebody sits in front of the agent itself, who can answer its prompts."""
    return not any(word in agent.headless for word in arguments) and all(os.isatty(number) for number in (0, 1, 2))


def context(policy: Policy, workspace: str, hidden: int) -> str:
    """What the model is told of where it is, so that it does not try in vain."""
    # SECURITY: names are the checkout's words, and nobody has trusted it.
    unseen = f" {hidden} settings of the checkout are not shown, because nobody has trusted them." if hidden else ""
    rules = policy.egress.rules if policy.egress else ()
    hosts = dict.fromkeys(rule_text(rule) for rule in rules if rule.verdict is Verdict.ALLOW)
    listed = ", ".join(list(hosts)[:HOSTS_TOLD]) or "none"
    return (
        f"You run inside ringfence, a boundary around this machine. You can write in {workspace} and in temporary "
        f"directories; the home directory is private and empty. Hosts that can be reached: {listed}. What answers "
        "`path-protected` or `egress-denied` is refused by the operator's policy: do not retry or work around it, say "
        "what you would need. Changes to files that run by themselves later (hooks, settings, CI) are held for review."
        + unseen
    )
