"""Run a command under sandbox-runtime settings: settings to plan, plan to launch.

Policy of ringfence's own still holds: what it denies stays denied, its limits and audit apply.
"""

import os
import re
import secrets
from collections.abc import Mapping, Sequence

import msgspec

import ringfence.inside
from ringfence.model.decision import Source
from ringfence.model.egress import Egress
from ringfence.model.paths import HostPath
from ringfence.model.plan import HostFacts, Variable
from ringfence.network import messages
from ringfence.planner import open_root
from ringfence.planner.open_root import Access, below
from ringfence.planner.request import Request
from ringfence.policy.effective import Policy
from ringfence.policy.patterns import escape
from ringfence.sandbox import bubblewrap, facts
from ringfence.session import deployments, places, prepare, run, trusting
from ringfence.session.options import Options

from .srt_network import USER, in_force, trusted_upstream
from .srt_network import variables as network_variables
from .srt_regions import Laid, Layout
from .srt_settings import CredentialFile, CredentialVariable, Settings, SettingsError

# They would send every client to a proxy that cannot be reached; /run/user is the host's.
DROPPED = frozenset(
    "HTTP_PROXY HTTPS_PROXY ALL_PROXY FTP_PROXY GRPC_PROXY NO_PROXY XDG_RUNTIME_DIR".split()
    + "http_proxy https_proxy all_proxy ftp_proxy grpc_proxy no_proxy".split()
)
SEARCH_DEPTH = 5
# Without a host that is allowed the network is off by default, and denials of ringfence's own policy are not asked for.
NO_HOST = "ringfence.invalid"


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is ready to start.

    `runs` is where its layers go, `notes` what was not granted, `password` what its proxy asks for, `authorities` a
    file with those that upstream servers are verified by, empty for the host's.
    """

    prepared: prepare.Prepared
    runs: str
    notes: tuple[str, ...]
    password: str
    authorities: str


def shell_command(text: str) -> list[str]:
    """The argument vector for `-c`: bash where there is one, as sandbox-runtime has it."""
    shell = next((path for path in ("/bin/bash", "/usr/bin/bash") if os.access(path, os.X_OK)), "/bin/sh")
    return [shell, "-c", text]


def start(found: Settings, argv: Sequence[str], *, place: str) -> Prepared:
    """Plan `argv` under settings read from `place`; raise RingfenceError for what cannot be done."""
    cwd = run.working_directory(Options())
    home = facts.home_directory()
    options = Options()
    options.allow = [NO_HOST]
    general, standing = prepare.judged_policy(options, cwd)
    deployments.refuse_foreign(general.presets)
    trusting.refuse(standing, hides=False)
    policy = confined(in_force(general, found, place), found)
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
    known = gather(laid, request, policy)
    password = secrets.token_hex(16)
    given = variables(found, os.environ, more=network_variables(policy.egress, password))
    plan = open_root.build(policy, known, request, regions=laid.regions, variables=given, held=laid.held)
    launch = bubblewrap.compile_plan(plan, known)
    prepared = prepare.Prepared(policy=policy, facts=known, plan=plan, launch=launch, request=request)
    return Prepared(
        prepared=prepared,
        runs=runs,
        notes=(*laid.notes, *remarks(found, policy.egress)),
        password=password,
        authorities=trusted_upstream(found.network, policy.egress, places.state()),
    )


def carry_out(ready: Prepared) -> run.Finished:
    """Run what `start` prepared and wait for its end."""
    plan, request = ready.prepared.plan, ready.prepared.request
    artefact = prepare.artefact(ready.prepared)
    artefact.cwd, artefact.visible = plan.cwd, [plan.cwd]
    artefact.serve = with_password(artefact.serve, ready.password)
    contained = run.Run(artefact, list(request.argv), request.cwd)
    contained.runs = ready.runs
    if ready.authorities:
        os.environ["SSL_CERT_FILE"] = ready.authorities  # the proxy's, when it is started
    return contained.carry_out()


def with_password(serve: bytes, password: str) -> bytes:
    """The first message to the proxy, which is to ask its clients for `password`, as sandbox-runtime's does."""
    if not serve:
        return b""
    message = msgspec.json.decode(serve, type=messages.Serve)
    return messages.encode(msgspec.structs.replace(message, password=f"{USER}:{password}"))


def confined(policy: Policy, found: Settings) -> Policy:
    """The policy with the filter that sandbox-runtime has: no unix socket to the host, unless all are allowed."""
    if found.network.allow_all_unix_sockets:
        return policy
    return msgspec.structs.replace(policy, seccomp=open_root.NO_UNIX_SOCKETS)


def primary(laid: Laid, cwd: str) -> str:
    """The place whose owner the command becomes: the writable one around the working directory, or that itself."""
    roots = [region.path for region in laid.regions if region.access is Access.WRITE]
    return next((root for root in sorted(roots) if below(cwd, root) and os.path.isdir(root)), cwd)


def gather(laid: Laid, request: Request, policy: Policy) -> HostFacts:
    """Look at every region, at what lies above the places that the command was given, at what egress covers."""
    paths, globs = open_root.covered(policy)
    given = [
        facts.home_directory(),
        request.cwd,
        *(region.path for region in laid.regions if region.access is Access.WRITE),
    ]
    above = [path[: at + 1] for path in given for at in range(1, len(path)) if path[at + 1 : at + 2] in ("/", "")]
    return facts.gather([request.workspace, *above, *paths, *(region.path for region in laid.regions)], globs, ())


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


def variables(found: Settings, environ: Mapping[str, str], *, more: Mapping[str, str] = {}) -> tuple[Variable, ...]:
    """The whole environment, as sandbox-runtime passes it, but for declared credentials and what cannot work."""
    origin = Source(scope="default")
    declared = {item.name: item for item in found.credentials.env_vars}
    passed = [name for name in environ if name not in DROPPED and name not in declared]
    result = [Variable(name=name, reason="sandbox-runtime passes the environment", origin=origin) for name in passed]
    values = {"SANDBOX_RUNTIME": "1", "RINGFENCE": "1", "TMPDIR": str(open_root.TEMPORARY)}
    values |= git_variables(found) | dict(more)
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


def remarks(found: Settings, egress: Egress | None) -> list[str]:
    """What settings ask for and the run does not have; every one of these is stricter than asked."""
    said = []
    if egress is None and found.network.allowed_domains:
        said.append("the network is off: ringfence's own policy says so")
    if any(item.mode == "mask" for item in (*found.credentials.files, *found.credentials.env_vars)):
        said.append("masked credentials stay stand-ins: no host is sent the value")
    if found.network.tls_terminate and found.network.tls_terminate.ca_cert_path:
        said.append("caCertPath is not used: each run has an authority of its own, which programs inside trust")
    if found.filesystem.allow_git_config:
        said.append("allowGitConfig is not granted: .git/config stays sealed")
    if found.enable_weaker_nested_sandbox:
        said.append("enableWeakerNestedSandbox changes nothing: the boundary is not weakened")
    return said
