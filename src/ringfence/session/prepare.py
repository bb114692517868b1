"""Policy files, facts, plan and compiled artefact for one request. The slow path; `cache` remembers its result."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

import ringfence.inside
from ringfence.model import surfaces
from ringfence.model.egress import Egress
from ringfence.model.errors import HostError, UsageError
from ringfence.model.paths import GuestPath, HostPath
from ringfence.model.plan import HostFacts, Launch, Mount, MountKind, Plan
from ringfence.network import capture, messages
from ringfence.planner import build, git
from ringfence.planner.request import Request
from ringfence.planner.secrets import needed_if
from ringfence.policy import parse
from ringfence.policy.document import Layer
from ringfence.policy.effective import Policy, TrustRules
from ringfence.policy.egress import learning
from ringfence.policy.secrets.variables import withheld
from ringfence.sandbox import bubblewrap, facts, seccomp
from ringfence.sandbox.artefact import Artefact

from . import deployments, interpreters, option_layer, places, progress, trusting
from .options import Options, logical_directory

TREE_LIMIT = 500_000
WATCHED_DIRECTORIES = 4096  # searched for denied names and still stamped by the launch cache: 2 us each per run
# Surfaces that are listed in other letters, or as a pattern, as they are usually written: a directory that is bound as
# it is is not searched for those.
USUAL_NAMES = tuple(
    """GNUmakefile Jenkinsfile .Rprofile .Renviron NuGet.Config NuGet.config .aider.conf.yml .aider.model.settings.yml
    lefthook.yml lefthook.yaml .lefthook.yml .lefthook.yaml lefthook-local.yml .lefthook-local.yml
    jupyter_notebook_config.py jupyter_server_config.py jupyter_lab_config.py""".split()
)


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """Everything known before a launch, in the order it came to be."""

    policy: Policy
    facts: HostFacts
    plan: Plan
    launch: Launch
    request: Request
    trust: dict[str, str] = {}


def read_layer(path: str, scope: str, *, required: bool = False) -> list[Layer]:
    """The layer in `path`, or none; raise UsageError for a file that is there but cannot be read."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        if required:
            raise UsageError(f"no policy file `{path}`", hint="`ringfence init` writes one") from None
        return []
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        hint = "a policy must be readable UTF-8"
        if not os.access(folder := os.path.dirname(path) or ".", os.X_OK):
            hint = f"you may not enter `{folder}`: look with `ls -ld {folder}`"
        raise UsageError(f"cannot read policy: {why}", place=path, hint=hint) from error
    return [parse.parse(text, file=path, scope=scope)]


def policy_layers(options: Options, workspace: str) -> list[Layer]:
    """Every layer that applies, whatever its precedence."""
    return judged_layers(options, workspace)[0]


def judged_layers(options: Options, workspace: str) -> tuple[list[Layer], trusting.Standing]:
    """Every layer that applies, and what may take effect of the checkout: its own layer only where it is trusted."""
    found = operator_layers(options)
    asked = bool(options.trust_digest) or any(layer.document.trust.mode is not msgspec.UNSET for layer in found)
    rules = operator_policy(options, workspace).trust if asked else TrustRules()
    standing = trusting.standing(rules, workspace, options.trust_digest)
    project = read_layer(places.project_policy(workspace), "project") if standing.trusted else []
    return found + deployments.expanded(project), standing


def operator_policy(options: Options, workspace: str) -> Policy:
    """The policy as it is without a word from the checkout."""
    return deployments.merged(operator_layers(options), home=facts.home_directory(), workspace=workspace)


def operator_layers(options: Options) -> list[Layer]:
    """The layers that are the operator's own word."""
    found = read_layer(places.MANAGED_POLICY, "managed")
    found += read_layer(options.policy, "cli", required=True) if options.policy else []
    found += [parse.parse(options.policy_text, file="Policy", scope="cli")] if options.policy_text else []
    found += option_layer.layers(options)
    found += [] if options.no_user_policy else read_layer(places.user_policy(), "user")
    found += [parse.parse(options.fallback, file="agent", scope="default")] if options.fallback else []
    return deployments.expanded(found)


def effective_policy(options: Options, workspace: str) -> Policy:
    """The policy in force for `workspace`; raise UsageError with the place of what is wrong."""
    return judged_policy(options, workspace)[0]


def judged_policy(options: Options, workspace: str) -> tuple[Policy, trusting.Standing]:
    """The policy in force for `workspace`, and what may take effect of the checkout there."""
    found, standing = judged_layers(options, workspace)
    policy = deployments.merged(found, home=facts.home_directory(), workspace=workspace)
    return opened(policy) if options.learn else policy, standing


def opened(policy: Policy) -> Policy:
    """The policy of a run that learns; raise UsageError where somebody has turned the network off."""
    deployments.refuse_learning(policy.presets)
    origin = policy.origins.get("network.mode")
    if policy.egress is None and origin and origin.scope != "default":
        raise UsageError("the network is off by policy, so nothing can be learnt", place=str(origin))
    return msgspec.structs.replace(policy, egress=learning(policy.egress or Egress()), network="allow-list")


class Names:
    """Lists directories for the planner, which looks for what policy's patterns match."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, directory: str) -> list[tuple[str, bool]]:
        """The names in `directory`, each with whether it is a directory; raise HostError for one kept from us."""
        try:
            with os.scandir(directory) as entries:
                found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        except PermissionError as error:
            if os.access(directory, os.X_OK):  # what is in it could be reached by whoever knows its name
                raise HostError(f"cannot search `{directory}` for denied names: {error.strerror}") from error
            return []
        except OSError:
            return []
        self.count += len(found)
        if self.count > TREE_LIMIT:
            hint = "name paths exactly instead of by pattern, or choose a smaller workspace"
            raise HostError(f"more than {TREE_LIMIT} names to search for what policy's patterns match", hint=hint)
        return found


def gather(policy: Policy, request: Request) -> HostFacts:
    """Look at the host: at what policy names, at what that leads to, and for what its patterns match."""
    home = facts.home_directory()
    paths, globs = build.wanted(policy, request, home)
    found = facts.gather(paths, globs, (), texts=build.texts(policy, request, home))
    allowed, denied = Names(), Names()
    with progress.shown("searching for what policy names", lambda: f"{allowed.count + denied.count} names,"):
        found = complete(policy, request, facts.look(found, (), build.allowances(policy, found, allowed)))
        found = facts.look(found, (), build.denials(policy, found, request, denied))
    searched = [directory for directory in found.matches if directory.endswith("/")]
    if len(searched) > WATCHED_DIRECTORIES or any("*" in directory for directory in searched):
        found = msgspec.structs.replace(found, tree=tuple(searched))
    return complete(policy, request, found)


def complete(policy: Policy, request: Request, found: HostFacts) -> HostFacts:
    """Add what earlier facts lead to until nothing is missing."""
    known: set[str] = set()
    while named := [path for path in git.references(found, request) if path not in known]:
        found = facts.look(found, named, {}, read=True)
        known.update(named)
    while more := build.missing(policy, found, request):
        found = facts.look(found, more, {})
    return found


def check_places(workspace: str) -> None:
    """Refuse a workspace that contains ringfence's own state, cache or user policy; raise UsageError."""
    runs, policy = os.path.dirname(places.runs()), os.path.dirname(places.user_policy())
    for place in (places.state(), runs, places.cache(), policy, places.trust()):
        real = os.path.realpath(place)
        if real == workspace or real.startswith(workspace + "/") or workspace.startswith(real + "/"):
            raise UsageError(
                f"the workspace `{workspace}` and ringfence's own files in `{place}` overlap",
                hint="choose another directory, or set XDG_{STATE,CACHE,CONFIG,DATA}_HOME",
            )


def prepare(options: Options, argv: Sequence[str], directory: str, workspace: str) -> Prepared:
    """Go from a request to what will be launched, without launching it."""
    home = facts.home_directory()
    if workspace != home and not home.startswith(workspace.rstrip("/") + "/"):
        check_places(workspace)  # else the planner refuses, in clearer words
    policy, standing = judged_policy(options, workspace)
    hidden = trusting.hidden(standing, directory)
    if policy.workspace_mode != "overlay":
        policy = msgspec.structs.replace(policy, deny_read=(*policy.deny_read, *trusting.covered(hidden)))
        hidden = ()
    request = Request(
        argv=tuple(argv),
        workspace=HostPath(workspace),
        cwd=HostPath(directory),
        logical_cwd=logical_directory(options, directory),
        surfaces=surface_names() if live(policy) else (),
        inside=HostPath(os.path.dirname(ringfence.inside.__file__)),
        mounts=tuple(extra_mounts(options)),
        python=options.hooks,
        hidden=hidden,
    )
    found = gather(policy, request)
    plan = build.build(policy, found, request)
    plan = msgspec.structs.replace(plan, notes=(*plan.notes, *trusting.remarks(standing)))
    launch = bubblewrap.compile_plan(plan, found)
    return Prepared(policy=policy, facts=found, plan=plan, launch=launch, request=request, trust=standing.recorded)


def extra_mounts(options: Options) -> Iterator[Mount]:
    """What an agent's view has besides: pieces of its own state, and files with a given text."""
    for kind, source, target, reason in options.mounts:
        if kind == "file":
            yield Mount(kind=MountKind.FILE, target=GuestPath(target), text=source, mode=0o444, reason=reason)
        else:
            yield Mount(kind=MountKind(kind), target=GuestPath(target), source=HostPath(source), reason=reason)


def live(policy: Policy) -> bool:
    """Whether something of the host's is written to directly."""
    return policy.workspace_mode == "direct" or bool(policy.write) or any(item.writable for item in policy.mounts)


def artefact(prepared: Prepared) -> Artefact:
    """The flat form of `prepared` for the hot path."""
    plan, launch = prepared.plan, prepared.launch
    kinds = ("bind", "ro-bind", "overlay")
    machine = os.uname().machine
    return Artefact(
        program=launch.program,
        stager=facts.native_stage() if plan.identity.idmap else "",
        arguments=list(launch.arguments),
        files=list(launch.files),
        sources=list(launch.sources),
        lowers=list(launch.lowers),
        covers=list(launch.covers),
        order=list(launch.init),
        environment=[(item.name, item.value) for item in plan.environment],
        filter=seccomp.build(plan.seccomp, notify=plan.seccomp in ("default", "no-unix"), machine=machine),
        init_filter=seccomp.build("default", notify=False, machine=machine),
        profile=plan.seccomp,
        idmap=plan.identity.idmap,
        owner=(plan.identity.owner_uid, plan.identity.owner_gid),
        cwd=plan.identity.home,
        visible=[mount.target for mount in plan.mounts if mount.kind.value in kinds],
        watches=[(item.target, item.on, item.code, list(item.names)) for item in plan.watches],
        memory_bytes=plan.limits.memory_bytes,
        processes=plan.limits.processes,
        tmpfs=private_mounts(plan),
        wall_time_s=plan.limits.wall_time_s,
        workspace_bytes=plan.limits.workspace_bytes,
        workspace=(plan.workspace.path, plan.workspace.mode, plan.workspace.apply),
        deny_write=list(plan.workspace.deny_write),
        interpreters=interpreters.places(plan.mounts),
        scoped=bool(plan.landlock_scopes),
        audit=(prepared.policy.audit_fsync, prepared.policy.audit_rotate_bytes),
        plan_digest=digest(plan),
        **network(plan.egress),
        whiteouts=list(launch.whiteouts),
        trust=dict(prepared.trust),
        run_files=sorted({mount.text for mount in plan.mounts if mount.kind is MountKind.RUN_FILE}),
        secrets=messages.encode(plan.secrets) if plan.secrets else b"",
        vault_if=list(needed_if(plan.secrets)),
        withheld=list(withheld(plan.secrets)) if plan.secrets else [],
        on_taint=plan.on_taint.value,
        secret_files=list(launch.secret_files),
        signing=messages.encode(plan.signing) if plan.signing else b"",
    )


def network(egress: Egress | None) -> dict[str, Any]:
    """The fields of an artefact that are about the network."""
    if egress is None:
        return {"egress": b"", "serve": b"", "ports": [], "literals": [], "publish": [], "gateways": []}
    sockets = capture.kinds(len(egress.listen)) + ("gateway",) * len(egress.gateways)
    serve = messages.Serve(egress=egress, sockets=sockets)
    return {
        "egress": messages.encode(egress),
        "serve": messages.encode(serve),
        "ports": list(egress.listen),
        "literals": list(egress.literals),
        "publish": list(egress.publish),
        "gateways": [gateway.name for gateway in egress.gateways],
    }


def private_mounts(plan: Plan) -> list[str]:
    """The tmpfs mounts that are still private in the end: one of the host's may have been mounted over one."""
    last = {mount.target: mount.kind for mount in plan.mounts if mount.kind is not MountKind.READ_ONLY}
    return [target for target, kind in last.items() if kind is MountKind.TMPFS]


def digest(plan: Plan) -> str:
    """A short fingerprint of the plan without the command, for the audit."""
    import hashlib

    neutral = msgspec.structs.replace(plan, argv=())
    return hashlib.sha256(msgspec.json.encode(neutral, order="sorted")).hexdigest()[:32]


def examined(prepared: Prepared, options: Options) -> list[str]:
    """Host paths whose change makes the artefact stale."""
    fixed = [places.MANAGED_POLICY, places.user_policy(), places.project_policy(prepared.request.workspace)]
    parents = [os.path.dirname(pattern.partition("*")[0]) for pattern in prepared.facts.matches]
    fixed += [os.path.abspath(options.policy)] if options.policy else []
    fixed += [f"{prepared.facts.home}/{name}" for name in facts.GIT_CONFIGURATIONS]
    own = [prepared.facts.bubblewrap, *facts.native_init_places(), *facts.native_stage_places()]
    return sorted({*fixed, *parents, *own, prepared.facts.python, *prepared.facts.paths})


def surface_names() -> tuple[str, ...]:
    """What must be covered one by one in a live workspace: auto-load names and git's own configuration."""
    names = [surface.pattern for surface in surfaces.SURFACES if "*" not in surface.pattern]
    git = [f".git/{name}" for name in ("config", "hooks", "info", "modules", "worktrees", "commondir")]
    return (*names, *USUAL_NAMES, *git)
