"""System calls that are refused, those that do not exist inside, and what each profile has beyond `default`.

Numbers as in `allowed_syscalls`. A refusal is recorded under its code; the errno is what the caller sees: EPERM,
or ENOSYS where callers then fall back to something that is allowed.
"""

EPERM = 1  # errno(3)
ENOSYS = 38

# (name, number on x86_64, number on aarch64, errno, code, reason)
REFUSED: tuple[tuple[str, int | None, int | None, int, str, str], ...] = (
    # namespaces and the view
    (
        "unshare",
        272,
        97,
        EPERM,
        "namespace-denied",
        "a new user namespace opens most privileged kernel surface (CVE-2022-0185)",
    ),
    ("setns", 308, 268, EPERM, "namespace-denied", "enters another namespace through a descriptor"),
    ("mount", 165, 40, EPERM, "mount-denied", "changes the view"),
    ("umount2", 166, 39, EPERM, "mount-denied", "uncovers what a mount hides"),
    ("pivot_root", 155, 41, EPERM, "mount-denied", "replaces the view"),
    ("chroot", 161, 51, EPERM, "mount-denied", "classic escape with a held directory descriptor, chroot(2)"),
    ("open_tree", 428, 428, EPERM, "mount-denied", "new mount API: detached copy of a mount"),
    ("open_tree_attr", 467, 467, EPERM, "mount-denied", "new mount API: detached copy with other attributes"),
    ("move_mount", 429, 429, EPERM, "mount-denied", "new mount API: changes the view"),
    ("fsopen", 430, 430, EPERM, "mount-denied", "new mount API: filesystem contexts (CVE-2022-0185)"),
    ("fsconfig", 431, 431, EPERM, "mount-denied", "new mount API: filesystem contexts (CVE-2022-0185)"),
    ("fsmount", 432, 432, EPERM, "mount-denied", "new mount API: filesystem contexts"),
    ("fspick", 433, 433, EPERM, "mount-denied", "new mount API: filesystem contexts"),
    ("mount_setattr", 442, 442, EPERM, "mount-denied", "makes a read-only mount writable"),
    ("sethostname", 170, 161, EPERM, "host-state", "identity of the UTS namespace"),
    ("setdomainname", 171, 162, EPERM, "host-state", "identity of the UTS namespace"),
    # files by another way than the view
    ("name_to_handle_at", 303, 264, EPERM, "file-handle", "first half of opening files by handle"),
    (
        "open_by_handle_at",
        304,
        265,
        EPERM,
        "file-handle",
        'opens any inode of a filesystem past the view (CAP_DAC_READ_SEARCH "shocker")',
    ),
    ("fanotify_init", 300, 262, EPERM, "kernel-surface", "watches whole mounts and filesystems"),
    ("fanotify_mark", 301, 263, EPERM, "kernel-surface", "watches whole mounts and filesystems"),
    ("quotactl", 179, 60, EPERM, "host-state", "quota of the host's filesystem"),
    ("quotactl_fd", 443, 443, EPERM, "host-state", "quota of the host's filesystem"),
    # other processes
    ("ptrace", 101, 117, EPERM, "process-access", "controls another process; profile `debug` has it"),
    ("process_vm_readv", 310, 270, EPERM, "process-access", "reads another process's memory"),
    ("process_vm_writev", 311, 271, EPERM, "process-access", "writes another process's memory"),
    ("process_madvise", 440, 440, EPERM, "process-access", "acts on another process's memory"),
    ("process_mrelease", 448, 448, EPERM, "process-access", "releases another process's memory"),
    ("pidfd_getfd", 438, 438, EPERM, "process-access", "takes another process's descriptor"),
    ("kcmp", 312, 272, EPERM, "process-access", "compares kernel objects of processes (address oracle)"),
    ("move_pages", 279, 239, EPERM, "process-access", "acts on another process's memory (CVE-2017-14140)"),
    ("migrate_pages", 256, 238, EPERM, "process-access", "acts on another process's memory"),
    # keyrings are not namespaced
    ("add_key", 248, 217, EPERM, "keyring-denied", "kernel keyrings outlive the sandbox and cross it"),
    ("request_key", 249, 218, EPERM, "keyring-denied", "searches the caller's keyrings, may start /sbin/request-key"),
    ("keyctl", 250, 219, EPERM, "keyring-denied", "kernel keyrings outlive the sandbox and cross it (CVE-2016-0728)"),
    # kernel surface with a record of exploits
    ("bpf", 321, 280, EPERM, "kernel-surface", "loads programs into the kernel (CVE-2021-3490)"),
    ("perf_event_open", 298, 241, EPERM, "kernel-surface", "hardware and kernel tracing (CVE-2013-2094)"),
    ("userfaultfd", 323, 282, EPERM, "kernel-surface", "stalls the kernel at will, the tool of race exploits"),
    (
        "io_uring_setup",
        425,
        425,
        ENOSYS,
        "io-uring",
        "performs calls past this filter (CVE-2022-29582); callers fall back to epoll",
    ),
    ("modify_ldt", 154, None, EPERM, "kernel-surface", "segment descriptors (CVE-2017-17053)"),
    ("iopl", 172, None, EPERM, "kernel-surface", "I/O ports"),
    ("ioperm", 173, None, EPERM, "kernel-surface", "I/O ports"),
    # the machine as a whole
    ("kexec_load", 246, 104, EPERM, "host-state", "replaces the kernel"),
    ("kexec_file_load", 320, 294, EPERM, "host-state", "replaces the kernel"),
    ("init_module", 175, 105, EPERM, "host-state", "kernel module"),
    ("finit_module", 313, 273, EPERM, "host-state", "kernel module"),
    ("delete_module", 176, 106, EPERM, "host-state", "kernel module"),
    ("reboot", 169, 142, EPERM, "host-state", "stops the machine"),
    ("swapon", 167, 224, EPERM, "host-state", "swap areas"),
    ("swapoff", 168, 225, EPERM, "host-state", "swap areas"),
    ("acct", 163, 89, EPERM, "host-state", "process accounting"),
    ("syslog", 103, 116, EPERM, "host-state", "kernel log: addresses and other tenants' events"),
    ("settimeofday", 164, 170, EPERM, "host-state", "system clock"),
    ("clock_settime", 227, 112, EPERM, "host-state", "system clock"),
    ("clock_adjtime", 305, 266, EPERM, "host-state", "system clock"),
    ("adjtimex", 159, 171, EPERM, "host-state", "system clock"),
    ("vhangup", 153, 58, EPERM, "terminal-injection", "hangs up the user's terminal"),
)

# Answered with ENOSYS and never recorded: libraries probe for them in the ordinary course of things, as they do
# for any number that stands in no table. (name, number on x86_64, number on aarch64, reason)
ABSENT: tuple[tuple[str, int | None, int | None, str], ...] = (
    ("clone3", 435, 435, "flags are in memory, out of the filter's sight; libc falls back to clone"),
    ("io_uring_enter", 426, 426, "no ring can exist"),
    ("io_uring_register", 427, 427, "no ring can exist"),
    ("memfd_secret", 447, 447, "no known need; callers probe for it"),
    ("statmount", 457, 457, "reads the mount table; callers fall back to /proc"),
    ("listmount", 458, 458, "reads the mount table; callers fall back to /proc"),
    ("lsm_get_self_attr", 459, 459, "callers fall back to /proc/self/attr"),
    ("lsm_set_self_attr", 460, 460, "callers fall back to /proc/self/attr"),
    ("lsm_list_modules", 461, 461, "no known need"),
    ("file_getattr", 468, 468, "callers fall back to ioctl"),
    ("file_setattr", 469, 469, "callers fall back to ioctl"),
    ("uselib", 134, None, "removed from the kernel"),
    ("ustat", 136, None, "obsolete, statfs serves"),
    ("sysfs", 139, None, "obsolete, /proc/filesystems serves"),
    ("_sysctl", 156, None, "removed from the kernel"),
    ("create_module", 174, None, "removed from the kernel"),
    ("get_kernel_syms", 177, None, "removed from the kernel"),
    ("query_module", 178, None, "removed from the kernel"),
    ("nfsservctl", 180, 42, "removed from the kernel"),
    ("lookup_dcookie", 212, 18, "removed from the kernel"),
    ("getpmsg", 181, None, "never implemented"),
    ("putpmsg", 182, None, "never implemented"),
    ("afs_syscall", 183, None, "never implemented"),
    ("tuxcall", 184, None, "never implemented"),
    ("security", 185, None, "never implemented"),
    ("vserver", 236, None, "never implemented"),
    ("set_thread_area", 205, None, "not for this machine"),
    ("get_thread_area", 211, None, "not for this machine"),
    ("epoll_ctl_old", 214, None, "never implemented"),
    ("epoll_wait_old", 215, None, "never implemented"),
)

# What a profile allows beyond `default`, without looking at arguments: name -> reason.
GRANTS: dict[str, dict[str, str]] = {
    "default": {},
    "debug": {
        "ptrace": "strace and gdb; reaches only the sandbox's own processes: pid and user namespace, Landlock domain",
        "process_vm_readv": "strace and gdb read the tracee; same reach as ptrace",
        "process_vm_writev": "gdb writes the tracee; same reach as ptrace",
    },
    "nested": {
        "clone": "the inner sandbox's namespaces",
        "unshare": "the inner sandbox's namespaces",
        "setns": "the inner sandbox's supervisor enters it",
        "mount": "the inner view",
        "umount2": "the inner view",
        "pivot_root": "the inner view",
        "chroot": "the inner view",
        "open_tree": "the inner view, new mount API",
        "open_tree_attr": "the inner view, new mount API",
        "move_mount": "the inner view, new mount API",
        "fsopen": "the inner view, new mount API",
        "fsconfig": "the inner view, new mount API",
        "fsmount": "the inner view, new mount API",
        "fspick": "the inner view, new mount API",
        "mount_setattr": "the inner view, read-only and id-mapped mounts",
        "sethostname": "the inner UTS namespace",
        "setdomainname": "the inner UTS namespace",
    },
}
