/* As root, between the supervisor and bubblewrap: what staging.py does, without a copy of an interpreter.
 * That module is the reference and gives the reasons: same words, order and result. Its theory of operation is ours.
 * INVARIANT: what is executed cannot tell them apart (tests/contract/test_staging.py runs against both).
 * SECURITY: any call that the kernel refuses ends it with status 125, before anything was executed. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FAILED = 125, SANDBOX_UID_BASE = 0x70000000, PIPES = 0x50495045 /* PIPEFS_MAGIC */ };
/* Numbers that older headers lack; the system calls' are the same on every architecture. */
enum { TREE_OPEN = 428, TREE_MOVE = 429, TREE_SET = 442, TREE_CLONE = 1, IDMAP = 0x100000, FROM_EMPTY_PATH = 4 };
static const char STAGE[] = "/tmp";

static _Noreturn void refuse(const char *what, const char *path, const char *why) {
    const char *quote = *path ? " `" : "", *end = *path ? "`" : "";
    dprintf(2, "ringfence: cannot build the boundary: %s%s%s%s: %s\n", what, quote, path, end, why);
    _exit(FAILED);
}

static long check(long result, const char *what, const char *path) {
    if (result < 0) refuse(what, path, strerror(errno));
    return result;
}

static unsigned number(const char *text) {
    size_t digits = strspn(text, "0123456789");
    unsigned long value = strtoul(text, NULL, 10);
    if (digits == 0 || digits > 10 || text[digits] || value >= UINT32_MAX) refuse("an owner is none", text, "not a number");
    return value;
}

static void join(const char *tasks) { /* what fails here fails again, and is reported, in cgroup.Joining.finish */
    int file = open(tasks, O_WRONLY | O_CLOEXEC);
    if (file < 0) return;
    if (write(file, "0", 1) == 1) errno = 0;
    close(file);
}

static void map(pid_t owner, const char *which, unsigned inside, unsigned outside) {
    char place[64], text[64];
    int length = snprintf(text, sizeof text, "%u %u 1", inside, outside);
    snprintf(place, sizeof place, "/proc/%d/%s", owner, which);
    int file = check(open(place, O_WRONLY | O_CLOEXEC), "open", place);
    check(write(file, text, length) == length ? 0 : -1, "write", place);
    close(file);
}

static int done[2]; /* whoever owns the namespace waits for the end of this pipe, and so ends with us in any case */

static int be_there(void *nothing) {
    char word;
    close(done[1]); /* else our own copy would keep the read from ending */
    return nothing || read(done[0], &word, 1);
}

/* A process that executes nothing: the namespace is its from birth, so nobody waits for it to get one. */
static pid_t own_namespace(void) {
    static _Alignas(16) char stack[16384];
    check(pipe2(done, O_CLOEXEC), "pipe", "");
    return check(clone(be_there, stack + sizeof stack, CLONE_NEWUSER | CLONE_VM | SIGCHLD, NULL), "user namespace", "");
}

static int mapping_namespace(pid_t owner, unsigned uid, unsigned gid, unsigned outside) {
    char place[64];
    map(owner, "uid_map", uid, outside);
    map(owner, "gid_map", gid, outside);
    snprintf(place, sizeof place, "/proc/%d/ns/user", owner);
    return check(open(place, O_RDONLY | O_CLOEXEC), "open", place);
}

static void end(pid_t owner) { /* bubblewrap must find no child that it does not know */
    int status;
    close(done[1]);
    close(done[0]);
    check(waitpid(owner, &status, 0), "wait", "");
}

static int clone_tree(const char *path, int namespace) {
    uint64_t attributes[] = {IDMAP, 0, 0, namespace};
    int tree = check(syscall(TREE_OPEN, AT_FDCWD, path, TREE_CLONE | O_CLOEXEC), "open_tree", path);
    check(syscall(TREE_SET, tree, "", AT_EMPTY_PATH, attributes, sizeof attributes), "id-mapped mount of", path);
    return tree;
}

static void attach(int tree, unsigned which, const char *path) {
    char place[64];
    struct stat found;
    snprintf(place, sizeof place, "%s/%u", STAGE, which);
    check(fstat(tree, &found), "stat", path);
    if (S_ISDIR(found.st_mode)) check(mkdir(place, 0777), "mkdir", place);
    else close(check(open(place, O_CREAT | O_WRONLY | O_CLOEXEC, 0644), "open", place));
    check(syscall(TREE_MOVE, tree, "", AT_FDCWD, place, FROM_EMPTY_PATH), "attach", path);
    close(tree);
}

static void stage(char **paths, unsigned many, int namespace) {
    int *trees = calloc(many + 1, sizeof *trees);
    if (!trees) refuse("out of memory", "", "no room");
    check(unshare(CLONE_NEWNS), "unshare mount namespace", "");
    check(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "make mounts private", "");
    for (unsigned i = 0; i < many; i++) trees[i] = clone_tree(paths[i], namespace);
    check(mount("tmpfs", STAGE, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=1m"), "stage", "");
    for (unsigned i = 0; i < many; i++) attach(trees[i], i, paths[i]);
    close(namespace);
    free(trees);
}

static void hand_over_pipes(unsigned identifier) {
    struct statfs found;
    for (int i = 0; i < 3; i++)
        if (check(fstatfs(i, &found), "fstatfs", "") == 0 && found.f_type == PIPES)
            check(fchown(i, identifier, -1), "fchown", "");
}

static void become(unsigned identifier) {
    check(setgroups(0, NULL), "setgroups", "");
    check(setresgid(identifier, identifier, identifier), "setresgid", "");
    check(setresuid(identifier, identifier, identifier), "setresuid", "");
}

int main(int count, char **words) { /* UID GID TASKS... "" PATH... "" PROGRAM ARGV... */
    char *nothing[] = {NULL}, **at = words + 3, **paths;
    if (count < 7) refuse("the words are cut off", "", "too few");
    unsigned uid = number(words[1]), gid = number(words[2]), identifier = SANDBOX_UID_BASE + getpid();
    pid_t owner = own_namespace();
    char **tasks = at; /* nothing is written to before all is understood: what is cut off may name any file there */
    for (; *at && **at; at++) continue;
    for (paths = *at ? ++at : at; *at && **at; at++) continue;
    if (!*at || !at[1] || !at[2]) refuse("the words are cut off", "", "too few");
    for (; **tasks; tasks++) join(*tasks);
    int namespace = mapping_namespace(owner, uid, gid, identifier);
    stage(paths, at - paths, namespace);
    end(owner);
    hand_over_pipes(identifier);
    become(identifier);
    execve(at[1], at + 2, nothing);
    check(-1, "execute", at[1]);
}
