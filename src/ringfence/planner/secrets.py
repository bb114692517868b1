"""The inside's share of secrets: files with placeholders in the private home, and when there is anything to keep."""

from collections.abc import Iterable

from ringfence.model.errors import UsageError
from ringfence.model.paths import GuestPath
from ringfence.model.plan import Identity, Mount, MountKind
from ringfence.model.secrets import Origin, Secrets
from ringfence.policy.effective import Policy

from .mounts import DECOY_JSON, DECOY_TEXT
from .view import deciding, within


def kept(policy: Policy) -> Secrets | None:
    """Return what a vault keeps for the run; None where there is nothing to keep, and nothing that could leak."""
    found = policy.secrets
    wanted = found.secrets or found.files or (found.leaks and policy.egress)
    return found if wanted else None


def needed_if(secrets: Secrets | None) -> tuple[str, ...]:
    """Return the variables of which one must be set for there to be anything to keep; none where there always is."""
    if secrets is None or secrets.leaks is not None:
        return ()
    if not all(one.optional and one.source.origin is Origin.ENVIRONMENT for one in secrets.secrets):
        return ()
    return tuple(sorted({one.source.locator for one in secrets.secrets}))


def with_files(view: Iterable[Mount], secrets: Secrets, identity: Identity) -> list[Mount]:
    """Add the secret files to the part of the view that every run has; a notice gives way, nothing else does.

    They are copies of the run's own, which tools may rewrite. Raises UsageError for a place that is taken.
    """
    files = {_target(file.path, identity): file for file in secrets.files}
    found = []
    for mount in view:
        notice = mount.kind is MountKind.FILE and mount.text in (DECOY_TEXT, DECOY_JSON)
        file = next((file for target, file in files.items() if within(mount.target, target)), None)
        if file is None:
            found.append(mount)
        elif not notice:
            message = f"a secret file cannot stand at `{file.path}`: it is the sandbox's own, for {mount.reason}"
            raise UsageError(message, place=str(file.declared), hint="choose another place, such as one below `~/`")
    for target, file in files.items():
        reason = file.reason or "placeholders of secrets, where a tool looks for them"
        found.append(
            Mount(
                kind=MountKind.SECRET_FILE,
                target=target,
                text=file.text,
                mode=0o600,
                reason=reason,
                origin=file.declared,
            )
        )
    return found


def check_files(view: list[Mount]) -> None:
    """Refuse a secret file that would not be seen, or be written to the host; raise UsageError."""
    for number, mount in enumerate(view):
        if mount.kind is MountKind.SECRET_FILE:
            under = deciding(view, mount.target)
            if under.kind is not MountKind.TMPFS or deciding(view[:number], mount.target) is not under:
                message = f"a secret file cannot stand at `{mount.target}`: the host shows there ({under.reason})"
                raise UsageError(message, place=str(mount.origin), hint="choose another place below `~/`")


def _target(path: str, identity: Identity) -> GuestPath:
    return GuestPath(f"{identity.home}{path[1:]}" if path.startswith("~/") else path)
