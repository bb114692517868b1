"""Whether runs with egress work on this machine, found out by trying each part: for `ringfence doctor`."""

import os
import tempfile

from ringfence.model.errors import RingfenceError
from ringfence.network import capture
from ringfence.sandbox import facts, launch
from ringfence.sandbox.artefact import Artefact
from ringfence.sandbox.doctor import Finding, Status

from . import egress

NAME = "network"
WITHOUT = 'runs work with `network.mode = "off"`; '


def check() -> Finding:
    """Capture a network namespace of our own, and start a proxy that nobody uses."""
    if facts.landlock_abi() < 1:
        remedy = "a kernel >= 5.13, booted with `landlock` in lsm="
        return degraded("the egress proxy cannot be confined: no Landlock", remedy)
    try:
        for _, descriptor in launch.borrow(lambda: capture.rehearse([80, 443])):
            os.close(descriptor)
    except OSError as error:
        return degraded(f"a network namespace cannot be captured: {error.strerror}", "see `user namespaces`")
    try:
        start_proxy()
    except (RingfenceError, OSError) as error:
        return degraded(f"the egress proxy does not start: {error}", "reinstall ringfence with its dependencies")
    detail = "a network namespace was captured, and a confined proxy started"
    return Finding(name=NAME, status=Status.OK, detail=detail)


def degraded(detail: str, remedy: str) -> Finding:
    """Runs without egress work all the same."""
    return Finding(name=NAME, status=Status.DEGRADED, detail=detail, remedy=WITHOUT + remedy)


def start_proxy() -> None:
    """Start a proxy and end it; raise SandboxError where it does not introduce itself."""
    artefact = Artefact.__new__(Artefact)
    artefact.idmap, artefact.run_files = os.getuid() == 0, []
    with tempfile.TemporaryDirectory() as directory:
        way = egress.Way(artefact, directory, lambda *_: None, installed="")
        try:
            way.take_authority()
        finally:
            way.close()
