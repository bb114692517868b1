/* The first process of a sandbox, natively: what init.py, privilege.py and landlock.py do, without Python's start-up.
 *
 * Those three are the reference and give the reasons: same descriptors, order, conversation, steps and exit statuses.
 * INVARIANT: nobody can tell the two apart (tests/contract/test_first_process.py runs one suite against both).
 * SECURITY: an order that is not understood to its last byte, and any call that the kernel refuses, ends the sandbox.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
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
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FAILED = 125, CANNOT_EXECUTE = 126, NOT_FOUND = 127, SUPERVISOR_GONE = 137, GRACE_MS = 5000 };
/* The same on every architecture; older headers lack some of them. */
enum { CLOSE_RANGE = 436, LANDLOCK_CREATE = 444, LANDLOCK_RESTRICT = 446, JOIN_SESSION_KEYRING = 1 };

struct content { char *data; size_t size; };
static struct {
    char **argv, **environment;
    const char *uid, *gid, *pid_max, *cwd, *group, *listen, *filter_bytes;
    struct { int which; rlim_t most; } limits[8];
    size_t words, variables, limited;
    uint64_t scopes;
} order;
static const char *task = "cannot prepare the sandbox";

static void say(const char *one, const char *two, const char *three, const char *four) {
    const char *parts[] = {"ringfence: ", one, two, three, four, "\n"};
    struct iovec pieces[6];
    for (int i = 0; i < 6; i++) pieces[i] = (struct iovec){(void *)parts[i], strlen(parts[i])};
    if (writev(2, pieces, 6) < 0) return; /* nobody listens; the exit status says it too */
}

static _Noreturn void refuse(const char *why) { say(task, ": ", why, ""); _exit(FAILED); }

static long check(long result, const char *what) {
    char why[256];
    if (result >= 0) return result;
    snprintf(why, sizeof why, "[Errno %d] %s: %s", errno, what, strerror(errno));
    refuse(why);
}

static void *memory(size_t count, size_t size) {
    void *place = calloc(count, size);
    if (!place) refuse("out of memory");
    return place;
}

static struct content read_all(int descriptor) {
    struct content all = {memory(1, 1 << 16), 0};
    for (size_t room = 1 << 16;;) {
        ssize_t got = check(read(descriptor, all.data + all.size, room - all.size), "read");
        if (got == 0) break;
        if ((all.size += got) == room && !(all.data = realloc(all.data, room *= 2))) refuse("out of memory");
    }
    check(close(descriptor), "close");
    return all;
}

static uint64_t number(const char *text) {
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 18 || text[digits]) refuse("a number is none");
    return strtoull(text, NULL, 10);
}

static void take_limit(const char *value) {
    static const struct { const char *name; int which; } known[] = {
        {"NPROC=", RLIMIT_NPROC}, {"CORE=", RLIMIT_CORE}, {"CPU=", RLIMIT_CPU}, {"FSIZE=", RLIMIT_FSIZE},
        {"NOFILE=", RLIMIT_NOFILE}, {"AS=", RLIMIT_AS}, {"DATA=", RLIMIT_DATA}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t length = strlen(known[i].name);
        if (strncmp(value, known[i].name, length) || order.limited == sizeof order.limits / sizeof *order.limits) continue;
        order.limits[order.limited].which = known[i].which;
        order.limits[order.limited++].most = number(value + length);
        return;
    }
    refuse("unknown limit");
}

static void take(const char *key, char *value) {
    static const struct { const char *key, **place; } single[] = {
        {"uid", &order.uid}, {"gid", &order.gid}, {"pid_max", &order.pid_max}, {"cwd", &order.cwd},
        {"group", &order.group}, {"listen", &order.listen}, {"filter_bytes", &order.filter_bytes}};
    if (!strcmp(key, "argv")) order.argv[order.words++] = value;
    else if (!strcmp(key, "limit")) take_limit(value);
    else if (!strcmp(key, "scope") && !strcmp(value, "abstract-sockets")) order.scopes |= 1; /* LANDLOCK_SCOPE_* */
    else if (!strcmp(key, "scope") && !strcmp(value, "signals")) order.scopes |= 2;
    else if (!strcmp(key, "env") && *value != '=' && strchr(value, '=')) order.environment[order.variables++] = value;
    else {
        for (size_t i = 0; i < sizeof single / sizeof *single; i++)
            if (!strcmp(key, single[i].key)) { *single[i].place = value; return; }
        refuse("the order is not understood");
    }
}

static void parse(struct content text) {
    size_t ends = 0;
    for (size_t i = 0; i < text.size; i++) ends += !text.data[i];
    if (ends % 2 || ends == 0 || text.data[text.size - 1]) refuse("the order is cut off");
    order.argv = memory(ends, sizeof *order.argv);
    order.environment = memory(ends, sizeof *order.environment);
    for (char *key = text.data, *value; key < text.data + text.size; key = value + strlen(value) + 1)
        take(key, value = key + strlen(key) + 1);
    if (!order.words || !order.uid || !order.gid || !order.cwd || !order.group || !order.listen || !order.filter_bytes)
        refuse("the order is incomplete");
}

static int write_file(const char *path, const char *text) {
    int descriptor = open(path, O_WRONLY | O_CLOEXEC);
    if (descriptor < 0) return -1;
    int result = write(descriptor, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
    return close(descriptor) < 0 ? -1 : result;
}

static void prepare(void) {
    check(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), "not dumpable");
    check(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "die with parent");
    if (order.pid_max && write_file("/proc/sys/kernel/pid_max", order.pid_max) < 0) errno = 0; /* best effort */
    check(mount("/proc/sys", "/proc/sys", NULL, MS_BIND, NULL), "bind /proc/sys");
    unsigned long sealed = MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
    check(mount(NULL, "/proc/sys", NULL, sealed, NULL), "seal /proc/sys");
    if (syscall(SYS_keyctl, JOIN_SESSION_KEYRING, NULL) < 0 && errno != ENOSYS && errno != EPERM) check(-1, "keyring");
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

static int install_filter(const char *program, size_t size, unsigned flags) {
    struct sock_fprog header = {.len = size / sizeof(struct sock_filter), .filter = (struct sock_filter *)program};
    return check(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &header), "seccomp");
}

static void enter_user_namespace(void) {
    char map[2][32];
    snprintf(map[0], sizeof map[0], "%u 0 1", (unsigned)number(order.gid));
    snprintf(map[1], sizeof map[1], "%u 0 1", (unsigned)number(order.uid));
    check(unshare(CLONE_NEWUSER), "unshare user namespace");
    check(write_file("/proc/self/setgroups", "deny"), "/proc/self/setgroups");
    check(write_file("/proc/self/gid_map", map[0]), "/proc/self/gid_map");
    check(write_file("/proc/self/uid_map", map[1]), "/proc/self/uid_map");
}

static void limit_resources(void) {
    for (size_t i = 0; i < order.limited; i++) {
        struct rlimit now;
        check(getrlimit(order.limits[i].which, &now), "getrlimit");
        rlim_t most = order.limits[i].most < now.rlim_max ? order.limits[i].most : now.rlim_max;
        check(setrlimit(order.limits[i].which, &(struct rlimit){most, most}), "setrlimit");
    }
}

static void restrict_scopes(void) {
    uint64_t attributes[3] = {0, 0, order.scopes}; /* struct landlock_ruleset_attr */
    int ruleset = check(syscall(LANDLOCK_CREATE, attributes, sizeof attributes, 0), "landlock_create_ruleset");
    check(syscall(LANDLOCK_RESTRICT, ruleset, 0), "landlock_restrict_self");
}

static void send_filter(int control, int listener) { /* -1: there is no listener */
    union { char space[CMSG_SPACE(sizeof(int))]; struct cmsghdr align; } rights = {{0}};
    struct iovec text = {"filter", 6};
    struct msghdr message = {.msg_iov = &text, .msg_iovlen = 1};
    if (listener >= 0) {
        message.msg_control = rights.space, message.msg_controllen = sizeof rights.space;
        *CMSG_FIRSTHDR(&message) = (struct cmsghdr){CMSG_LEN(sizeof listener), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), &listener, sizeof listener);
    }
    check(sendmsg(control, &message, MSG_NOSIGNAL), "send filter");
}

static _Noreturn void execute(void) { /* execvp(3) in the command's own PATH */
    const char *name = order.argv[0], *places = strchr(name, '/') ? "" : ".", *why = "command not found";
    int status = NOT_FOUND, exact = !*places;
    for (size_t i = 0; !exact && i < order.variables; i++)
        if (!strncmp(order.environment[i], "PATH=", 5)) places = order.environment[i] + 5;
    char *path = memory(strlen(places) + strlen(name) + 3, 1);
    for (const char *end;; places = end + 1) {
        end = strchrnul(places, ':');
        int length = end - places;
        const char *place = length || exact ? places : (length = 1, ".");
        sprintf(path, "%.*s%s%s", length, place, exact || place[length - 1] == '/' ? "" : "/", name);
        execve(path, order.argv, order.environment);
        if (errno == ENOENT && exact) why = "no such file or directory";
        else if (errno != ENOENT && errno != ENOTDIR) status = CANNOT_EXECUTE, why = strerror(errno);
        if (!*end) break;
    }
    char *text = strdup(why);
    for (char *letter = text; text && *letter; letter++) *letter = tolower((unsigned char)*letter);
    say("`", name, "`: ", text ? text : why);
    _exit(status);
}
