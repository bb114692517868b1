"""Whether runs work on this machine, and what they rest on: the kernel, our own files, policy, and one real run."""

import os
import shutil
import stat
import tempfile
import time

import msgspec

from ringfence.model.errors import RingfenceError
from ringfence.sandbox import doctor
from ringfence.sandbox.doctor import Finding, Status
from ringfence.session import elsewhere, network_check, places, prepare, resident, shell_proxy, titles
from ringfence.session import options as options_module
from ringfence.session import run as session

from . import leftovers, mending
from .mending import Mend

REPORT = "please report this, with the output of `ringfence doctor --json`"


class Assessment(msgspec.Struct, frozen=True, kw_only=True):
    """Everything found. `limits` maps each limit to what enforces it here; `works` tells whether runs start.

    `mends`: what of our own can be put right, by `mending.carry_out`.
    """

    findings: tuple[Finding, ...]
    limits: dict[str, str]
    works: bool
    mends: tuple[Mend, ...] = ()


def assess(directory: str) -> Assessment:
    """Look at this machine as a run started in `directory` would meet it. Takes well under ten seconds."""
    mends = tuple(mending.find())  # before a real run, which looks after what killed ones have left
    found = [*own_directories(directory)]
    try:
        os.makedirs(places.state(), mode=0o700, exist_ok=True)
        found = [*elsewhere.weighed(doctor.diagnose(places.state())), *found]
    except OSError as error:
        detail = f"{places.state()}: {error.strerror or error}"
        remedy = "set XDG_STATE_HOME to a directory that you may write to"
        name = "state directory"
        found = [finding for finding in found if finding.name != name]  # "not there yet" would say the contrary
        found.insert(0, Finding(name=name, status=Status.MISSING, detail=detail, remedy=remedy))
    found += [*policy_files(directory), *parent_proxy(directory), *residents()]
    if doctor.cause(found) is None:
        found += [network_check.check(), real_run()]
    works = doctor.cause(found) is None
    return Assessment(findings=tuple(found), limits=doctor.mechanisms(), works=works, mends=mends)


def own_directories(directory: str) -> list[Finding]:
    """State, cache and configuration: closed to others, and outside of the workspace."""
    config = os.path.dirname(places.user_policy())
    listed = (("state directory", places.state()), ("cache directory", places.cache()), ("configuration", config))
    found = [private_directory(name, path) for name, path in listed]
    try:
        prepare.check_places(options_module.workspace_of(os.path.realpath(directory)))
    except RingfenceError as error:
        # Only runs from here are refused, so it says nothing of the machine.
        found.append(Finding(name="workspace", status=Status.DEGRADED, detail=str(error), remedy=error.hint))
    return found


def private_directory(name: str, path: str) -> Finding:
    """Whether nobody else can write to `path`, or read it where that matters."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return Finding(name=name, status=Status.OK, detail=f"{path} (not there yet)")
    except OSError as error:
        return Finding(name=name, status=Status.MISSING, detail=f"{path}: {error.strerror}", remedy=f"ls -ld {path}")
    mode = stat.S_IMODE(status.st_mode)
    detail = f"{path} (mode {mode:04o})"
    if status.st_uid != os.getuid():
        detail = f"{path} belongs to uid {status.st_uid}"
        return Finding(name=name, status=Status.MISSING, detail=detail, remedy=f"sudo chown -R {os.getuid()} {path}")
    if mode & 0o022:
        return Finding(
            name=name, status=Status.DEGRADED, detail=f"{detail}: others may write", remedy=f"chmod 700 {path}"
        )
    return Finding(name=name, status=Status.OK, detail=detail)


def policy_files(directory: str) -> list[Finding]:
    """Each policy file that applies in `directory`, and whether all of them together are sound."""
    workspace = options_module.workspace_of(os.path.realpath(directory))
    listed = (places.MANAGED_POLICY, places.user_policy(), places.project_policy(workspace))
    there = [path for path in listed if os.path.lexists(path)]
    try:
        prepare.effective_policy(options_module.Options(), workspace)
    except RingfenceError as error:
        remedy = error.hint or "correct the file; `ringfence policy check` checks it"
        return [Finding(name="policy", status=Status.MISSING, detail=str(error), remedy=remedy)]
    detail = ", ".join(there) or "no policy file: the built-in default applies"
    return [Finding(name="policy", status=Status.OK, detail=detail)]


def parent_proxy(directory: str) -> list[Finding]:
    """How connections leave where this shell, or policy, names a proxy; nothing where neither does."""
    try:
        workspace = options_module.workspace_of(os.path.realpath(directory))
        chosen = prepare.effective_policy(options_module.Options(), workspace).network_values.parent_proxy
    except RingfenceError:
        return []  # said of the policy
    name = "parent proxy"
    if chosen:
        return [Finding(name=name, status=Status.OK, detail=f"connections leave by {chosen}, as policy says")]
    variable = shell_proxy.variable()
    if not variable:
        return []
    detail = f"{variable} of this shell is not used: runs connect directly"
    remedy = f"if this network wants it, `{shell_proxy.setting(variable)}` under `[network]` of {places.user_policy()}"
    return [Finding(name=name, status=Status.DEGRADED, detail=detail, remedy=remedy)]


def residents() -> list[Finding]:
    """Each resident supervisor of this user, how long nothing has been asked of it, and how to end it."""
    name, place, found = "resident supervisor", resident.directory(), []
    for listed in leftovers.listed(place):
        socket, suffix = os.path.splitext(f"{place}/{listed}")
        try:
            if suffix != ".lock" or not resident.is_there(f"{place}/{listed}"):
                continue
            with open(f"{place}/{listed}", encoding="ascii") as file:
                pid = int(file.read())
            with open(f"/proc/{pid}/comm", encoding="ascii") as file:
                if file.read().strip() != titles.RESIDENT:
                    continue  # it counts processes otherwise: another container's, with the same home
            idle_s = max(0, int(time.time() - os.stat(socket).st_mtime))
        except (OSError, ValueError):
            continue  # it has just begun, or just ended
        detail = f"process {pid}, last asked {idle_s} s ago; `kill {pid}` ends it, and no run"
        found.append(Finding(name=name, status=Status.OK, detail=detail))
    return found or [Finding(name=name, status=Status.OK, detail="none is waiting")]


def real_run() -> Finding:
    """Contain `true` the way `ringfence run` does, under the policy in force and with a record in the audit."""
    name = "a contained command"
    directory = os.path.realpath(tempfile.mkdtemp(prefix="ringfence-doctor-"))
    options = options_module.Options()
    options.directory = directory
    options.timeout = "60"
    problem = remedy = ""
    with tempfile.TemporaryFile() as output, open(os.devnull, "rb") as quiet:
        try:
            run = session.prepared_run(options, ["true"])
            run.stdio = (quiet.fileno(), output.fileno(), output.fileno())
            finished = run.carry_out()
            if finished.status == 0:
                return Finding(name=name, status=Status.OK, detail=f"`true` was run and recorded as {finished.run}")
            problem = f"`true` ended with status {finished.status} inside"
            remedy = f"ringfence log --run {finished.run}"
        except RingfenceError as error:
            problem, remedy = str(error), error.hint or REPORT
        except OSError as error:
            problem, remedy = str(error), REPORT
        finally:
            shutil.rmtree(directory, ignore_errors=True)
        said = " ".join(os.pread(output.fileno(), 1000, 0).decode("utf-8", "replace").split())
    detail = f"{problem}: {said}" if said else problem
    return Finding(name=name, status=Status.MISSING, detail=detail, remedy=remedy)
