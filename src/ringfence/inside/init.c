/* The first process of a sandbox, natively: what init.py, privilege.py and landlock.py do, without Python's start-up.
 * Those three are the reference and give the reasons: same descriptors, order, conversation, steps and exit statuses.
 * INVARIANT: a command or supervisor cannot tell them apart (tests/contract/test_first_process.py runs against both).
 * SECURITY: an order not understood to its last byte, and any call that the kernel refuses, ends the sandbox. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FAILED = 125, CANNOT_EXECUTE = 126, NOT_FOUND = 127, SUPERVISOR_GONE = 137, GRACE_S = 5 };
/* Numbers that older headers lack; the system calls' are the same on every architecture. */
enum { CLOSE_RANGE = 436, LANDLOCK_CREATE = 444, LANDLOCK_ADD, LANDLOCK_RESTRICT };
enum { JOIN_SESSION_KEYRING = 1, REVOKE_KEYRING = 3, SESSION_KEYRING = -3 };
enum { WRITE_FILE = 1 << 1, READ_FILE = 1 << 2, READ_DIR = 1 << 3, REFER = 1 << 13, TRUNCATE = 1 << 14 };
enum { HANDLED = WRITE_FILE | READ_FILE | READ_DIR | REFER | TRUNCATE };
enum { UID, GID, CWD, GROUP, LISTEN, FILTER_BYTES, LANDLOCK_FILES, NEEDED };
enum { PID_MAX = NEEDED, SHMALL, SEAL, LATE, SERVE, ROOM, SINGLES, FRESH_PLACES = 8 };
enum { REST, STREAMS, LATE_DESCRIPTORS = STREAMS + 3 };
static const char *const SINGLE[SINGLES] = {
    "uid", "gid", "cwd", "group", "listen", "filter_bytes", "landlock_files", "pid_max", "shmall", "seal", "late", "serve",
    "room"};
static const char *const LIMIT[RLIM_NLIMITS] = {
    [RLIMIT_NPROC] = "NPROC=", [RLIMIT_CORE] = "CORE=", [RLIMIT_CPU] = "CPU=", [RLIMIT_FSIZE] = "FSIZE=",
    [RLIMIT_NOFILE] = "NOFILE=", [RLIMIT_AS] = "AS=", [RLIMIT_DATA] = "DATA="};

struct content { char *data; size_t size; };
static struct {
    char **argv, **environment, *single[SINGLES], *limit[RLIM_NLIMITS];
    char *fresh[FRESH_PLACES];
    size_t words, variables, fresh_places;
    uint64_t scopes; /* LANDLOCK_SCOPE_* */
} order;
static const char *task = "cannot prepare the sandbox";
static pid_t command;
static struct content filters; /* of the command, `filter_bytes` long, and of this process */
static size_t filter_bytes;
enum { PASSED_AT_MOST = 5 };
union passed { char space[CMSG_SPACE(PASSED_AT_MOST * sizeof(int))]; struct cmsghdr header; };
static int is_alone; /* in the namespaces: whoever is left ends before the end is told */
static volatile sig_atomic_t asked; /* to end */

static _Noreturn void refuse(const char *why) {
    dprintf(2, "ringfence: %s: %s\n", task, why);
    _exit(FAILED);
}

static long check(long result, const char *what) {
    char why[256];
    if (result >= 0) return result;
    if (errno == EPIPE || errno == ECONNRESET) _exit(FAILED); /* the supervisor has gone, and has said why */
    snprintf(why, sizeof why, "[Errno %d] %s: %s", errno, what, strerror(errno));
    refuse(why);
}

static struct content read_all(int descriptor) {
    struct content all = {NULL, 0};
    for (size_t room = 1 << 16;; room *= 2) {
        if (!(all.data = realloc(all.data, room))) refuse("out of memory");
        for (ssize_t got; all.size < room; all.size += got)
            if ((got = check(read(descriptor, all.data + all.size, room - all.size), "read")) == 0) {
                check(close(descriptor), "close");
                return all;
            }
    }
}

static uint64_t number(const char *text) {
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 18 || text[digits]) refuse("a number is none");
    return strtoull(text, NULL, 10);
}

static int is(int key, const char *value) { return order.single[key] && !strcmp(order.single[key], value); }

static void add_variable(char *text) { /* instead of another of that name */
    size_t at = 0, length = strcspn(text, "=") + 1;
    while (at < order.variables && strncmp(order.environment[at], text, length)) at++;
    order.environment[at] = text;
    order.variables += at == order.variables;
}

static void take(const char *key, char *value, int is_rest) { /* of the rest, only what belongs to one command */
    size_t length;
    int is_own = !is_rest || is(ROOM, "1");
    for (int i = 0; i < SINGLES; i++)
        if (!strcmp(key, SINGLE[i]) && (!is_rest || (i == CWD && is_own))) { order.single[i] = value; return; }
    for (int i = 0; i < RLIM_NLIMITS && is_own && !strcmp(key, "limit"); i++)
        if (LIMIT[i] && !strncmp(value, LIMIT[i], length = strlen(LIMIT[i]))) {
            number(order.limit[i] = value + length);
            return;
        }
    if (!strcmp(key, "argv")) order.argv[order.words++] = value;
    else if (!strcmp(key, "env") && *value != '=' && strchr(value, '=')) add_variable(value);
    else if (!is_rest && !strcmp(key, "scope") && !strcmp(value, "abstract-sockets")) order.scopes |= 1;
    else if (!is_rest && !strcmp(key, "scope") && !strcmp(value, "signals")) order.scopes |= 2;
    else if (!is_rest && !strcmp(key, "fresh") && *value == '/' && order.fresh_places < FRESH_PLACES)
        order.fresh[order.fresh_places++] = value;
    else refuse("the order is not understood");
}

static void parse(struct content text, int is_rest) {
    size_t ends = 0, known = order.variables;
    for (size_t i = 0; i < text.size; i++) ends += !text.data[i];
    if (ends == 0 || ends % 2 || text.data[text.size - 1]) refuse("the order is cut off");
    order.argv = calloc(ends, sizeof *order.argv); /* `ends` / 2 pairs, so a NULL stays at the end */
    order.environment = reallocarray(order.environment, known + ends, sizeof *order.environment);
    if (!order.argv || !order.environment) refuse("out of memory");
    memset(order.environment + known, 0, ends * sizeof *order.environment);
    for (char *key = text.data, *value; key < text.data + text.size; key = value + strlen(value) + 1)
        take(key, value = key + strlen(key) + 1, is_rest);
    int is_open = (is(LATE, "1") || is(SERVE, "1")) && !is_rest, is_room = is(ROOM, "1") && !is_rest;
    if (is(LATE, "1") && (is(SERVE, "1") || !is(GROUP, "own"))) refuse("the order is not understood");
    if (is_open ? order.words || order.variables : !order.words == !is_room) refuse("the order is incomplete");
    for (int i = 0; i < NEEDED; i++)
        if (!order.single[i]) refuse("the order is incomplete");
}

static int write_file(const char *path, const char *text) {
    int file = open(path, O_WRONLY | O_CLOEXEC), size = strlen(text);
    return file < 0 || write(file, text, size) != size || close(file) < 0 ? -1 : 0;
}

static void prepare(void) {
    check(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "not dumpable");
    check(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "die with parent");
    if (order.single[PID_MAX]) write_file("/proc/sys/kernel/pid_max", order.single[PID_MAX]); /* best effort, as */
    if (order.single[SHMALL]) write_file("/proc/sys/kernel/shmall", order.single[SHMALL]);    /* in init.py */
    if (!is(SEAL, "0")) {
        check(mount("/proc/sys", "/proc/sys", NULL, MS_BIND, NULL), "bind /proc/sys");
        unsigned long sealed = MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
        check(mount(NULL, "/proc/sys", NULL, sealed, NULL), "seal /proc/sys");
    }
}

static void leave_session_keyring(void) { /* as in privilege.py */
    long own;
    for (int left = 200; (own = syscall(SYS_keyctl, JOIN_SESSION_KEYRING, NULL)) < 0; left--) {
        if (errno == ENOSYS || errno == EPERM) return;
        if (errno != EDQUOT || !left) check(own, "keyring");
        poll(NULL, 0, 10);
    }
    if (is(SERVE, "1")) check(syscall(SYS_keyctl, REVOKE_KEYRING, SESSION_KEYRING), "keyring");
}

static void drop_capabilities(void) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};
    for (int capability = 0; prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0;) capability++;
    if (errno != EINVAL) check(-1, "bounding set"); /* EINVAL: past the last one that the kernel knows */
    check(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "ambient set");
    check(syscall(SYS_capset, &header, none), "capset");
    check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges");
}

static int install_filter(char *program, size_t size, unsigned flags) {
    struct sock_fprog header = {size / sizeof(struct sock_filter), (struct sock_filter *)program};
    return check(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &header), "seccomp");
}

static void allow(int ruleset, const char *path, uint64_t rights) {
    struct __attribute__((packed)) { uint64_t rights; int32_t place; } rule = {rights, open(path, O_PATH | O_CLOEXEC)};
    check(rule.place, path);
    check(syscall(LANDLOCK_ADD, ruleset, 1, &rule, 0), "landlock_add_rule");
}

static void restrict_access(void) {
    int files = is(LANDLOCK_FILES, "1");
    uint64_t attributes[] = {files ? HANDLED : 0, 0, order.scopes}; /* the last two are absent before ABI 6 */
    if (!files && !order.scopes) return;
    int ruleset = check(syscall(LANDLOCK_CREATE, attributes, order.scopes ? 24 : 8, 0), "landlock_create_ruleset");
    if (files) allow(ruleset, "/", HANDLED);
    if (files) allow(ruleset, "/dev/mqueue", HANDLED);
    for (int i = 0; files && i < 3; i++) {
        char path[] = {"/proc/self/fd/0"};
        struct stat kind;
        check(fstat(i, &kind), "fstat");
        int flags = check(fcntl(i, F_GETFL), "F_GETFL"), mode = flags & O_ACCMODE;
        path[sizeof path - 2] += i;
        uint64_t rights = mode == O_WRONLY ? 0 : READ_FILE;
        if (mode != O_RDONLY) rights |= WRITE_FILE | (flags & O_APPEND ? 0 : TRUNCATE);
        if (S_ISREG(kind.st_mode) || S_ISCHR(kind.st_mode)) allow(ruleset, path, rights);
    }
    check(syscall(LANDLOCK_RESTRICT, ruleset, 0), "landlock_restrict_self");
}

static int pass(int channel, const char *word, const int *given, size_t count) { /* one message with descriptors */
    union passed rights = {{0}};
    struct iovec text = {(char *)word, strlen(word)};
    struct msghdr message = {NULL, 0, &text, 1, &rights, CMSG_SPACE(count * sizeof(int)), 0};
    if (!count) message.msg_control = NULL, message.msg_controllen = 0;
    rights.header = (struct cmsghdr){CMSG_LEN(count * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(&rights.header), given, count * sizeof(int));
    return sendmsg(channel, &message, MSG_NOSIGNAL);
}

/* One message, at most `most` descriptors, -1 for each that is missing; its size. */
static int hear(int channel, char *text, size_t room, int *given, size_t most) {
    union passed rights = {{0}};
    struct iovec word = {text, room - 1};
    struct msghdr message = {NULL, 0, &word, 1, &rights, CMSG_SPACE(most * sizeof(int)), 0};
    int size = check(recvmsg(channel, &message, MSG_CMSG_CLOEXEC), "recv");
    size_t count = message.msg_controllen ? (rights.header.cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;
    if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) refuse("a message is cut off");
    text[size] = 0;
    for (size_t i = 0; i < most; i++) given[i] = -1;
    if (count && most) memcpy(given, CMSG_DATA(&rights.header), count * sizeof(int));
    return size;
}

static _Noreturn void execute(const char *name) { /* execvp(3) in the command's own PATH */
    const char *places = "", *why = "command not found";
    char path[2 * PATH_MAX]; /* what does not fit is too long for the kernel as well */
    int status = NOT_FOUND, exact = strchr(name, '/') != NULL;
    for (size_t i = 0; i < order.variables && !exact; i++)
        if (!strncmp(order.environment[i], "PATH=", 5)) places = order.environment[i] + 5;
    for (int length; places; places = places[length] ? places + length + 1 : NULL) {
        length = strcspn(places, ":");
        const char *slash = exact || (length && places[length - 1] == '/') ? "" : "/";
        snprintf(path, sizeof path, "%.*s%s%s", length, places, slash, name);
        if (!length && !exact) snprintf(path, sizeof path, "./%s", name);
        execve(path, order.argv, order.environment);
        if (errno == ENOENT && exact) why = "no such file or directory";
        else if (errno != ENOENT && errno != ENOTDIR) status = CANNOT_EXECUTE, why = strerror(errno);
    }
    dprintf(2, "ringfence: `%s`: %c%s\n", name, *why | ' ', why + 1); /* in lower case */
    _exit(status);
}

static void enter_user_namespace(void) {
    char uid_map[32], gid_map[32];
    snprintf(uid_map, sizeof uid_map, "%u 0 1", (unsigned)number(order.single[UID]));
    snprintf(gid_map, sizeof gid_map, "%u 0 1", (unsigned)number(order.single[GID]));
    check(unshare(CLONE_NEWUSER), "unshare user namespace");
    check(write_file("/proc/self/setgroups", "deny"), "setgroups");
    check(write_file("/proc/self/gid_map", gid_map), "gid_map");
    check(write_file("/proc/self/uid_map", uid_map), "uid_map");
}

static int load_filter(void) { /* its listener; 0: there is none */
    return install_filter(filters.data, filter_bytes, is(LISTEN, "1") ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0);
}

static void reset_signals(void) {
    sigset_t none;
    static const char plain[32]; /* the kernel's struct sigaction, whose first member is SIG_DFL */
    for (int i = 1; i <= 64; i++) /* 32 and 33 too, which the C library keeps to itself and posix_spawn(3) ignores */
        if (i != SIGKILL && i != SIGSTOP) check(syscall(SYS_rt_sigaction, i, plain, NULL, 8), "signal");
    check(sigemptyset(&none) | sigprocmask(SIG_SETMASK, &none, NULL), "signal mask");
}

static void set_limits(void) {
    for (int i = 0; i < RLIM_NLIMITS; i++) {
        struct rlimit now;
        if (!order.limit[i]) continue;
        check(getrlimit(i, &now), "getrlimit");
        if (number(order.limit[i]) < now.rlim_max) now.rlim_max = number(order.limit[i]);
        now.rlim_cur = now.rlim_max;
        check(setrlimit(i, &now), "setrlimit");
    }
}

static _Noreturn void execute_order(void) {
    check(syscall(CLOSE_RANGE, 3, ~0U, 0), "close_range");
    if (!*order.argv[0]) refuse("the command's name is empty");
    execute(order.argv[0]);
}

static void take_rest(int control), wait_for_go(int control);

static void send_filter(int control) {
    int listener = load_filter();
    check(pass(control, "filter", &listener, listener > 0), "send filter");
}

static _Noreturn void become_command(int control, int gate) { /* through `gate`, where the command is told later */
    task = "cannot start the command";
    reset_signals();
    if (!is(GROUP, "shared")) check(setpgid(0, 0), "process group");
    if (is(GROUP, "foreground")) { /* SIGTTOU is what a background group gets for asking */
        check(-(signal(SIGTTOU, SIG_IGN) == SIG_ERR) | tcsetpgrp(0, getpid()), "foreground");
        signal(SIGTTOU, SIG_DFL);
    }
    enter_user_namespace();
    drop_capabilities();
    if (gate >= 0) {
        send_filter(control);
        check(write(gate, "", 1), "gate");
        take_rest(control);
    }
    set_limits();
    restrict_access();
    check(chdir(order.single[CWD]), order.single[CWD]);
    if (gate >= 0) wait_for_go(control); /* `gate` closes in what follows, or with us */
    else send_filter(control);
    execute_order();
}

static int tell(int control, const char *format, int value) {
    char text[32];
    check(send(control, text, snprintf(text, sizeof text, format, value), MSG_NOSIGNAL), "send");
    return value;
}

static void on_signal(int number) { /* SIGCHLD only interrupts the wait; nothing that is busy postpones SIGALRM */
    if (number == SIGALRM && asked) kill(command, SIGKILL);
}

static void forward(const char *message) {
    const char *last = strrchr(message, ' ');
    int value = number(last ? last + 1 : message), ending = value == SIGTERM || value == SIGHUP;
    pid_t target = !is(GROUP, "shared") ? -command : command;
    check(-(kill(target, value) < 0 && errno != ESRCH), "kill");
    check(-(ending && kill(target, SIGCONT) < 0 && errno != ESRCH), "kill");
    if (ending && !asked++) alarm(GRACE_S); /* the first one counts */
}

static void end_everybody(void);

static int supervise(int control, const sigset_t *waiting) {
    for (;;) {
        struct pollfd messages = {control, POLLIN, 0};
        int pid, status, ready = ppoll(&messages, 1, NULL, waiting);
        char text[65] = "";
        check(ready < 0 && errno == EINTR ? 0 : ready, "ppoll");
        if (ready > 0 && check(recv(control, text, sizeof text - 1, 0), "recv") == 0) return SUPERVISOR_GONE;
        if (ready > 0 && strcmp(text, "go")) forward(text); /* `go`: for a command that has failed before it came */
        while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
            if (pid != command) continue;
            if (is_alone && !WIFSTOPPED(status)) end_everybody();
            if (WIFSIGNALED(status)) return 128 + tell(control, "killed %d", WTERMSIG(status));
            if (WIFEXITED(status)) return tell(control, "exit %d", WEXITSTATUS(status));
            tell(control, "stopped %d", WSTOPSIG(status));
        }
        check(pid, "waitpid");
    }
}

static void hear_word(int control, const char *word, int *given) {
    char answer[17];
    hear(control, answer, sizeof answer, given, LATE_DESCRIPTORS);
    if (strcmp(answer, word)) _exit(FAILED);
}

static void wait_for_go(int control) {
    int given[LATE_DESCRIPTORS]; /* of no use here: closed before anything is executed */
    hear_word(control, "go", given);
}

static void take_rest(int control) { /* what a late order lacks */
    int given[LATE_DESCRIPTORS];
    hear_word(control, "rest", given);
    if (given[LATE_DESCRIPTORS - 1] < 0) refuse("the rest of the order is missing");
    parse(read_all(given[REST]), 1);
    for (int i = 0; i < 3; i++) check(dup2(given[STREAMS + i], i) | close(given[STREAMS + i]), "dup2");
}

static void quieten(void) { /* a terminal and pipes are the command's: ours would hold a pipe open after its end */
    int null = check(open("/dev/null", O_RDWR | O_CLOEXEC), "/dev/null");
    for (int i = 0; i < 3; i++) check(dup2(null, i), "dup2");
    close(null);
}

static _Noreturn void carry_out(int control, int is_ahead) {
    sigset_t all, waiting;
    int gate[] = {-1, -1};
    char word;
    if (is_ahead) check(pipe2(gate, O_CLOEXEC), "pipe");
    check(sigfillset(&all) | sigprocmask(SIG_SETMASK, &all, &waiting), "signal mask"); /* the command opens its own */
    check(sigdelset(&waiting, SIGCHLD) | -(signal(SIGCHLD, on_signal) == SIG_ERR), "SIGCHLD");
    check(sigdelset(&waiting, SIGALRM) | -(signal(SIGALRM, on_signal) == SIG_ERR), "SIGALRM");
    command = check(fork(), "fork");
    if (command == 0) close(gate[0]), become_command(control, gate[1]);
    close(gate[1]);
    if (!is(GROUP, "shared")) setpgid(command, command); /* or it has done so, or it is gone */
    drop_capabilities();
    install_filter(filters.data + filter_bytes, filters.size - filter_bytes, 0);
    quieten();
    if (is_ahead && check(read(gate[0], &word, 1), "gate") == 0) _exit(FAILED); /* the command's process has ended */
    if (is_ahead) check(send(control, "ready", 5, MSG_NOSIGNAL), "send");
    if (is_ahead) check(read(gate[0], &word, 1), "gate"); /* until it has been told, or has ended */
    _exit(supervise(control, &waiting));
}

#include "serve.c"

int main(int count, char **words) {
    if (count != 4) refuse("three descriptors are wanted");
    int control = number(words[2]);
    size_t most = BPF_MAXINSNS * sizeof(struct sock_filter);
    parse(read_all(number(words[1])), 0);
    filters = read_all(number(words[3]));
    size_t size = filter_bytes = number(order.single[FILTER_BYTES]);
    if (!size || size > most || size >= filters.size || filters.size - size > most) refuse("the filters are cut off");
    if (control > 3) check(syscall(CLOSE_RANGE, 3, control - 1, 0), "close_range");
    check(syscall(CLOSE_RANGE, control + 1, ~0U, 0), "close_range");
    prepare();
    leave_session_keyring();
    is_alone = 1;
    if (is(LATE, "1")) carry_out(control, 1);
    check(send(control, "ready", 5, MSG_NOSIGNAL), "send");
    wait_for_go(control);
    if (!is(SERVE, "1")) carry_out(control, 0);
    look_up();
    serve(control);
}
