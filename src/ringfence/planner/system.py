"""The part of the host's file system that every sandbox may read, as data with reasons.

An allow-list: the root is an empty tmpfs, and what is not named here, in a preset or in policy does not
exist inside. Nothing in /etc is bound as a whole; entries that "other" cannot read are skipped by `mounts`.
"""

SYSTEM_TREES: tuple[tuple[str, str], ...] = (
    ("/usr", "programs, libraries and their data"),
    ("/opt", "programs installed outside the package manager"),
    ("/nix/store", "programs installed by Nix"),
    ("/sys/devices/system/cpu", "number and topology of processors, read by language runtimes"),
)

# Symbolic links into /usr on merged systems, directories of their own on others.
MERGED_DIRECTORIES = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")

# Small text files, copied into the view: no mount is spent on them and later changes do not show.
ETC_TEXTS: tuple[tuple[str, str], ...] = (
    ("/etc/bash.bashrc", "interactive bash"),
    ("/etc/debian_version", "platform detection"),
    ("/etc/gai.conf", "address selection in the C library"),
    ("/etc/groff/man.local", "man complains about every page without it"),
    ("/etc/groff/mdoc.local", "man complains about every page without it"),
    ("/etc/host.conf", "resolver order in the C library"),
    ("/etc/inputrc", "key bindings of readline"),
    ("/etc/ld.so.conf", "named by ld.so.cache tools"),
    ("/etc/lsb-release", "platform detection"),
    ("/etc/manpath.config", "man finds no page without it"),
    # Not /etc/maven as a whole: settings.xml may hold passwords of repositories.
    ("/etc/maven/logging/simplelogger.properties", "how Maven writes its log"),
    ("/etc/maven/m2.conf", "Maven does not start without it"),
    ("/etc/mime.types", "file types"),
    ("/etc/os-release", "platform detection"),
    ("/etc/profile", "login shells"),
    ("/etc/protocols", "protocol names"),
    ("/etc/rpc", "service names"),
    ("/etc/services", "service names"),
    ("/etc/shells", "valid shells"),
    ("/etc/timezone", "local time"),
)

# Directories and binary files, bound read-only.
ETC_TREES: tuple[tuple[str, str], ...] = (
    ("/etc/alternatives", "links behind /usr/bin/editor, java, awk and others"),
    ("/etc/chromium.d", "start-up settings without which Debian's Chromium does not start"),
    ("/etc/crypto-policies", "TLS settings on Fedora"),
    ("/etc/fonts", "font selection"),
    ("/etc/java-*", "settings without which a JVM does not start"),
    ("/etc/ld.so.cache", "library lookup"),
    ("/etc/perl", "module paths"),
    ("/etc/pki/tls/certs", "certificate authorities on Fedora"),
    ("/etc/ssl/certs", "certificate authorities"),
    ("/etc/terminfo", "terminal descriptions"),
    ("/etc/vim", "editor defaults"),
)

ETC_GLOBS = tuple(path for path, _ in ETC_TREES if "*" in path)

GENERATED_NSSWITCH = "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n"
GENERATED_HOSTS = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n127.0.1.1 {hostname}\n"

# su(1) would say "Critical error" without any: pam.d(5), pam_echo(8).
GENERATED_PAM = (
    "auth requisite pam_echo.so ringfence: no program gains privileges inside; the operator runs it on the host\n"
    "auth requisite pam_deny.so\n"
    "account requisite pam_deny.so\n"
)

# apt's messages name the directories it misses, and say nothing else: so these say it (apt.conf(5)).
GENERATED_APT = """\
Dir::State "/ringfence: packages of the system are installed outside, by the operator";
Dir::State::status "/ringfence: packages of the system are installed outside, by the operator/status";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
"""

# With these Podman and Buildah start containers in profile `nested`, where there are no control groups of one's own, no
# keyrings, one user, and no file system but those of the view: containers.conf(5), containers-storage.conf(5).
GENERATED_CONTAINERS = {
    "containers.conf": "[containers]\ncgroups = 'disabled'\nkeyring = false\nnetns = 'host'\n",
    "storage.conf": "[storage]\ndriver = 'vfs'\n",
    "policy.json": '{"default": [{"type": "insecureAcceptAnything"}]}\n',
}

# Files of /proc that speak of the whole host, whatever the pid namespace (proc(5), keyrings(7)).
PROC_MASKS: tuple[tuple[str, str], ...] = (
    ("/proc/cmdline", "how the host was booted"),
    ("/proc/key-users", "who holds keys on the host"),
    ("/proc/keys", "descriptions of the user's keys on the host"),
    ("/proc/latency_stats", "what the host's kernel waits for"),
    ("/proc/sched_debug", "processes of the host"),
    ("/proc/timer_list", "processes of the host"),
)

# Host files whose opening is worth an alarm: an empty directory or a notice stands in their place.
DECOYS: tuple[tuple[str, str], ...] = (
    (".ssh/id_rsa", "private key"),
    (".ssh/id_ed25519", "private key"),
    (".ssh/id_ecdsa", "private key"),
    (".ssh/config", "hosts and keys"),
    (".ssh/known_hosts", "hosts"),
    (".ssh/authorized_keys", "login by key"),
    (".aws/credentials", "cloud credentials"),
    (".aws/config", "cloud credentials"),
    (".config/gcloud/credentials.db", "cloud credentials"),
    (".config/gh/hosts.yml", "forge token"),
    (".docker/config.json", "registry credentials"),
    (".gnupg/secring.gpg", "private keys"),
    (".kube/config", "cluster credentials"),
    (".netrc", "passwords"),
    (".git-credentials", "passwords"),
    (".npmrc", "registry token"),
    (".pypirc", "registry token"),
    (".cargo/credentials.toml", "registry token"),
    (".bash_history", "command history"),
    (".zsh_history", "command history"),
    (".config/google-chrome/Default/Cookies", "browser session"),
    (".mozilla/firefox/profiles.ini", "browser session"),
)

# Decoys that programs open unasked, each with one that does: opening one of these says nothing about intent, so it is
# recorded and does not taint a run (session/tainting.py).
OPENED_UNASKED: dict[str, str] = {
    ".ssh/config": "ssh, whatever it is called for",
    ".ssh/known_hosts": "ssh, whatever it is called for",
    ".aws/config": "the SDKs of AWS look for a region",
    ".docker/config.json": "docker, and libraries that start containers in tests",
    ".kube/config": "kubectl, whatever it is called for",
    ".netrc": "git, curl and requests look for a login before they ask a server",
    ".npmrc": "npm, whatever it is called for",
    ".cargo/credentials.toml": "cargo, whatever it is called for",
    ".bash_history": "an interactive bash",
    ".zsh_history": "an interactive zsh",
}

# Persistence surfaces of the home directory: a write stays in the private home and is recorded.
HOME_SURFACES = (
    ".bashrc",
    ".bash_profile",
    ".bash_login",
    ".bash_logout",
    ".bash_aliases",
    ".profile",
    ".zshrc",
    ".zshenv",
    ".zprofile",
    ".zlogin",
    ".xprofile",
    ".xinitrc",
    ".gitconfig",
    ".npmrc",
    ".pypirc",
    ".vimrc",
    ".tmux.conf",
    ".inputrc",
    ".claude.json",
    ".ssh",
    ".config",
    ".local",
    ".claude",
    ".codex",
)
