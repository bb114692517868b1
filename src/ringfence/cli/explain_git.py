"""Whether a request of git is let through at a host with `git.remotes`: they decide it, besides the rules of hosts."""

from ringfence.model.decision import Verdict
from ringfence.model.egress import Egress
from ringfence.model.git import GitRemote
from ringfence.network.git_endpoints import Endpoint, Service, endpoint
from ringfence.network.malformed import Malformed
from ringfence.policy import git
from ringfence.policy.connect import Asked

from .explanation import Answer, Remedy


def explain_git(egress: Egress | None, what: Asked, text: str) -> Answer | None:
    """The answer of the remotes for the request `what`, asked as `text`; None where they have nothing to say."""
    remotes = git.governed(egress, what.host) if egress and what.method else ()
    if not remotes:
        return None
    query = text.partition("#")[0].partition("?")[2]
    try:
        found = endpoint(what.method, what.path, query)
    except Malformed as error:
        return refused(remotes, "", error.reason)
    return by_remotes(remotes, found) if found else None


def by_remotes(remotes: tuple[GitRemote, ...], found: Endpoint) -> Answer:
    """The answer for one request of git, decided as the proxy does."""
    repository = found.repository
    if found.service in (Service.PUSH, Service.PUSH_REFS):
        rules = git.pushing(remotes, repository)
        if not rules:
            return refused(remotes, repository, "no rule allows pushing to it")
        remote, pushes = rules[0]
        reason = f"each push is judged by its refs: {' '.join(pushes.refs)}"
        return Answer(status="yes", reason=reason, rule="git.remotes", origin=str(remote.source))
    if found.service in (Service.LFS_BATCH, Service.LFS_DOWNLOAD, Service.LFS_UPLOAD):
        upload = found.service is Service.LFS_UPLOAD
        decision = git.decide_large_files(remotes, repository, upload=upload)
    else:
        decision = git.decide_fetch(remotes, repository)
    if decision.verdict is Verdict.ALLOW:
        return Answer(status="yes", reason=decision.reason, rule="git.remotes", origin=str(decision.source))
    return refused(remotes, repository, decision.reason)


def refused(remotes: tuple[GitRemote, ...], repository: str, reason: str) -> Answer:
    """A refusal, with the remote that would have to say otherwise: the one about the repository, or about its host."""
    nearest = [*git.speaking(remotes, repository), *remotes][0]
    said = f"{repository}: {reason}" if repository else reason
    return Answer(status="no", reason=said, rule="git.remotes", origin=str(nearest.source))


def remedy(answer: Answer) -> Remedy:
    """What would change a refusal: no rule about the host, the remote alone."""
    return Remedy(why=f"to let git do it, say so in `git.remotes` at {answer.origin}; an allowance does not do it")
