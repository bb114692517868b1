"""Run a command under sandbox-runtime settings: settings to plan, plan to launch.

Policy of ringfence's own still holds: what it denies stays denied, its limits and audit apply. Of the settings
only what concerns the network has no effect yet, because nothing can connect: no host is reachable.
"""

import os
import re
import secrets
from collections.abc import Mapping, Sequence

import msgspec

import ringfence.inside
from ringfence.model.decision import Source
from ringfence.model.paths import HostPath
from ringfence.model.plan import HostFacts, Variable
from ringfence.planner import open_root
from ringfence.planner.open_root import Access, below
from ringfence.planner.request import Request
from ringfence.policy.effective import Policy
from ringfence.policy.patterns import escape
from ringfence.sandbox import bubblewrap, facts
from ringfence.session import places, prepare, run
from ringfence.session.options import Options

from .srt_regions import Laid, Layout
from .srt_settings import CredentialFile, CredentialVariable, Settings, SettingsError

# They would send every client to a proxy that cannot be reached; /run/user is the host's.
DROPPED = frozenset(
    "HTTP_PROXY HTTPS_PROXY ALL_PROXY FTP_PROXY NO_PROXY XDG_RUNTIME_DIR".split()
    + "http_proxy https_proxy all_proxy ftp_proxy no_proxy".split()
)
SEARCH_DEPTH = 5


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is ready to start; `runs` is where its layers go, `notes` what was not granted."""

    prepared: prepare.Prepared
    runs: str
    notes: tuple[str, ...]


def shell_command(text: str) -> list[str]:
    """The argument vector for `-c`: bash where there is one, as sandbox-runtime has it."""
    shell = next((path for path in ("/bin/bash", "/usr/bin/bash") if os.access(path, os.X_OK)), "/bin/sh")
    return [shell, "-c", text]


def start(found: Settings, argv: Sequence[str], *, place: str) -> Prepared:
    """Plan `argv` under settings read from `place`; raise RingfenceError for what cannot be done."""
    cwd = run.working_directory(Options())
    home = facts.home_directory()
    policy = confined(prepare.effective_policy(Options(), cwd), found)
    os.makedirs(places.state(), mode=0o700, exist_ok=True)
    layout = Layout(cwd, home, place)
    layout.settings(found, max(SEARCH_DEPTH, found.mandatory_deny_search_depth))
    layout.policy(policy)
    credential_files(layout, found)
    runs = own_places(layout, place)
    laid = layout.done()
    request = Request(
        argv=tuple(argv),
        workspace=HostPath(primary(laid, cwd)),
        cwd=HostPath(cwd),
        inside=HostPath(os.path.dirname(ringfence.inside.__file__)),
    )
    known = gather(laid, request, home)
    plan = open_root.build(
        policy, known, request, regions=laid.regions, variables=variables(found, os.environ), held=laid.held
    )
    launch = bubblewrap.compile_plan(plan, known)
    prepared = prepare.Prepared(policy=policy, facts=known, plan=plan, launch=launch, request=request)
    return Prepared(prepared=prepared, runs=runs, notes=(*laid.notes, *remarks(found)))


def carry_out(ready: Prepared) -> run.Finished:
    """Run what `start` prepared and wait for its end."""
    plan, request = ready.prepared.plan, ready.prepared.request
    artefact = prepare.artefact(ready.prepared)
    artefact.cwd, artefact.visible = plan.cwd, [plan.cwd]
    contained = run.Run(artefact, list(request.argv), request.cwd)
    contained.runs = ready.runs
    return contained.carry_out()


def confined(policy: Policy, found: Settings) -> Policy:
    """The policy with the filter that sandbox-runtime has: no unix socket to the host, unless all are allowed."""
    if found.network.allow_all_unix_sockets:
        return policy
    return msgspec.structs.replace(policy, seccomp=open_root.NO_UNIX_SOCKETS)


def primary(laid: Laid, cwd: str) -> str:
    """The place whose owner the command becomes: the writable one around the working directory, or that itself."""
    roots = [region.path for region in laid.regions if region.access is Access.WRITE]
    return next((root for root in sorted(roots) if below(cwd, root) and os.path.isdir(root)), cwd)


def gather(laid: Laid, request: Request, home: str) -> HostFacts:
    """Look at every region and at what lies above the places that the command was given."""
    given = [home, request.cwd, *(region.path for region in laid.regions if region.access is Access.WRITE)]
    above = [path[: at + 1] for path in given for at in range(1, len(path)) if path[at + 1 : at + 2] in ("/", "")]
    return facts.gather([request.workspace, *above, *(region.path for region in laid.regions)], [], ())


def own_places(layout: Layout, settings: str) -> str:
    """Keep ringfence's own files out of the command's reach; return where this run's layers go.

    An overlay cannot keep its layers below what it covers, so where the state directory lies in a writable place
    they go to a private directory elsewhere.
    """
    roots = [region.path for region in layout.regions if region.access is Access.WRITE and os.path.isdir(region.path)]
    runs = places.runs()
    own = [places.state(), places.cache()]
    if any(below(os.path.realpath(runs), root) for root in roots):
        elsewhere = f"/var/tmp/ringfence-{os.getuid()}"
        if any(below(os.path.realpath(elsewhere), root) for root in roots):
            hint = "set XDG_STATE_HOME to a directory outside of every allowWrite path"
            raise SettingsError(f"no place for this run's layers: `{runs}` and `{elsewhere}` are writable", hint=hint)
        private_directory(elsewhere)
        runs = f"{elsewhere}/ringfence/runs"
        own.append(elsewhere)
        layout.notes.append(
            f"`XDG_STATE_HOME={elsewhere} ringfence runs` lists this run: the state directory is writable"
        )
    for path in own:
        if os.path.isdir(path):
            layout.add(os.path.realpath(path), Access.DENY, "ringfence's own files", firm=True)
    for path in (os.path.dirname(places.user_policy()), settings):
        layout.seal(path, "decides what the next run may do")
    return runs


def private_directory(path: str) -> None:
    """Make `path` ours alone; raise SettingsError where somebody else has made it first."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        status = os.lstat(path)
        if status.st_uid != os.getuid() or status.st_mode & 0o170077 != 0o040000:
            raise SettingsError(f"`{path}` is not a private directory of ours") from None


def credential_files(layout: Layout, found: Settings) -> None:
    """Deny each credential file, or show masked text in its place."""
    for item in found.credentials.files:
        rule = layout.rule(item.path, "credentials")
        path = os.path.realpath(rule.pattern)
        layout.held += [escape(rule.pattern), escape(path)]
        if not os.path.lexists(path):
            continue
        text = masked_file(item, path) if item.mode == "mask" and os.path.isfile(path) else ""
        layout.add(path, Access.DENY, "credentials.files", firm=True, text=text)


def masked_file(item: CredentialFile, path: str) -> str:
    """What is shown in place of a file; empty, which denies it, where nothing in it could be masked."""
    try:
        with open(path, encoding="utf-8") as file:
            return masked(item, file.read(), item.path)
    except (OSError, UnicodeDecodeError):
        return ""


def masked(item: CredentialFile | CredentialVariable, value: str, name: str) -> str:
    """Put stand-ins for secrets into `value`; empty where its pattern finds none, which is then denied.

    sandbox-runtime shows the value as it is in that case, by default; a secret that was declared is not shown here.
    """
    if item.extract is None or item.decode:
        return stand_in()
    text, count = re.subn(item.extract, _replaced, value)
    if not count and item.on_extract_no_match == "error":
        raise SettingsError(f"credentials: the pattern for `{name}` finds nothing")
    return text if count else ""


def _replaced(match: re.Match[str]) -> str:
    start, end = (place - match.start() for place in match.span(1))
    return match[0][:start] + stand_in() + match[0][end:] if start >= 0 else match[0]


def stand_in() -> str:
    """A value that looks like none of the host's and differs in every run."""
    return f"fake_value_{secrets.token_hex(16)}"


def variables(found: Settings, environ: Mapping[str, str]) -> tuple[Variable, ...]:
    """The whole environment, as sandbox-runtime passes it, but for declared credentials and what cannot work."""
    origin = Source(scope="default")
    declared = {item.name: item for item in found.credentials.env_vars}
    passed = [name for name in environ if name not in DROPPED and name not in declared]
    result = [Variable(name=name, reason="sandbox-runtime passes the environment", origin=origin) for name in passed]
    values = {"SANDBOX_RUNTIME": "1", "RINGFENCE": "1", "TMPDIR": str(open_root.TEMPORARY)}
    values |= git_variables(found)
    for name, item in declared.items():
        if item.mode == "mask" and name in environ and (text := masked(item, environ[name], name)):
            values[name] = text
    result = [variable for variable in result if variable.name not in values]
    result += [Variable(name=name, value=text, reason="set for it", origin=origin) for name, text in values.items()]
    return tuple(sorted(result, key=lambda variable: variable.name))


def git_variables(found: Settings) -> dict[str, str]:
    """`git.safeDirectories`, through the environment (git-config(1), GIT_CONFIG_COUNT)."""
    listed = (found.git or {}).get("safeDirectories", [])
    directories = [str(path) for path in listed] if isinstance(listed, list) else []
    if not directories:
        return {}
    values = {"GIT_CONFIG_COUNT": str(len(directories))}
    for number, path in enumerate(directories):
        values |= {f"GIT_CONFIG_KEY_{number}": "safe.directory", f"GIT_CONFIG_VALUE_{number}": path}
    return values


def remarks(found: Settings) -> list[str]:
    """What settings ask for and the run does not have; every one of these is stricter than asked."""
    network = found.network
    asked = network.allowed_domains or network.http_proxy_port or network.socks_proxy_port
    said = []
    if asked:
        said.append("the network is off: allowedDomains was read, but nothing can connect")
    if found.filesystem.allow_git_config:
        said.append("allowGitConfig is not granted: .git/config stays sealed")
    if found.enable_weaker_nested_sandbox:
        said.append("enableWeakerNestedSandbox changes nothing: the boundary is not weakened")
    return said
