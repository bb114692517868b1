"""K3: settings of the running kernel and devices: what root of a container could turn against the host."""

import os
from collections.abc import Callable

from tests.attacks.arena import Arena, Ran
from tests.attacks.attack import Attack, cases
from tests.attacks.kernel import links

SEALED = "the mount is sealed or the file belongs to nobody here: EROFS or EACCES, of which there is no event"
ABSENT = "the device does not exist in the view: ENOENT"
# Only the positive control could do harm, so it opens for writing and does not write; the descriptor is the evidence.
OPEN = (
    "import os, sys\nMARK = '@mark@'\n"
    "try: os.open('{path}', os.{mode})\nexcept OSError as error: print(error)\n"
    "print('ready', flush=True)\nsys.stdin.read()\n"
)


def opened(path: str) -> Callable[[Arena, Ran], bool]:
    return lambda arena, ran: path in links(ran.pids, "fd")


def cannot_open(path: str, mode: int) -> bool:
    """Tell whether this machine has no such file, or refuses it even to root outside."""
    try:
        os.close(os.open(path, mode))
    except OSError:
        return True
    return False


def setting(name: str, path: str, unseen: str = SEALED, mode: str = "O_WRONLY") -> Attack:
    return Attack(
        name=name,
        script=OPEN.format(path=path, mode=mode),
        evidence=opened(path),
        hold=True,
        refused="only root may write there",
        refused_here=lambda: cannot_open(path, getattr(os, mode)),
        unseen=unseen,
    )


@cases(
    setting("core-pattern", "/proc/sys/kernel/core_pattern"),
    setting("modprobe", "/proc/sys/kernel/modprobe"),
    setting("ip-forward", "/proc/sys/net/ipv4/ip_forward"),
    setting("panic-on-oops", "/proc/sys/kernel/panic_on_oops"),
    setting("overcommit", "/proc/sys/vm/overcommit_memory"),
    setting("sysrq", "/proc/sysrq-trigger"),
    setting("kernel-log", "/dev/kmsg", ABSENT),
    setting("disk", "/dev/vda", ABSENT, "O_RDONLY"),
    setting("control-groups", "/sys/fs/cgroup/cgroup.procs", ABSENT),
    setting("user-helper", "/sys/kernel/uevent_helper", ABSENT),
    setting("interrupts", "/proc/irq/default_smp_affinity"),
)
def test_setting(attack: Attack, carry_out: Callable[[Attack], None]) -> None:
    carry_out(attack)
