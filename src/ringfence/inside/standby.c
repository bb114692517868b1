/* The room that commands share, natively: what standby.py does, with the same conversation. Part of init.c's program. */

enum { COMMANDS = 256, SPARES = 2, TEXT = 1 << 15, TRIES = 40 };
enum { LATER_MS = 5, PAUSE_MS = 50, MUCH_LATER_MS = 100, PROBE_MS = 1000 };
/* Numbers of <linux/pidfd.h> and <linux/sched.h> that older headers lack. */
enum { SEND_SIGNAL = 424, FORK_WITH_HANDLE = 0x1000, TO_GROUP = 1 << 2, GET_INFO = 0xC040FF0B, EXITED = 8 };
static struct member { /* a process that stands by, or is a command already */
    pid_t pid;
    int handle, channel, is_taken; /* the first is a pidfd, or -1 */
    int64_t deadline_ms; /* 0: it was not asked to end */
} members[COMMANDS];
static size_t count, spares; /* of `members`, and how many of these stand by */
static int64_t due_ms; /* when another is made, asked for or not: a fork beside an exec slows that down */
static int is_asked;   /* somebody waits for one */
static int is_reaping; /* the kernel collects who has ended, so that nobody waits for us, and its handle says how */

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void announce(int requests, int channel) { /* with the host's ends, which nobody has here from then on */
    int given[] = {channel, -1, -1, -1}, ends[2];
    for (int i = 0; i < 3; i++) {
        check(pipe2(ends, O_CLOEXEC), "pipe");
        check(dup2(ends[i > 0], i), "dup2");
        given[1 + i] = ends[i == 0];
    }
    for (int left = TRIES; pass(requests, "spare", given, 4) < 0; left--) { /* too many may be on the way already */
        if (errno != ETOOMANYREFS || !left) check(-1, "send");
        poll(NULL, 0, PAUSE_MS);
    }
}

static _Noreturn void stand_by(int requests, const int *pair, int back) {
    static char text[TEXT];
    int given[4], streams = 0;
    task = "cannot prepare the command";
    check(setpgid(0, 0), "process group"); /* before anybody can signal it */
    reset_signals();
    announce(requests, pair[1]);
    check(dup2(pair[0], 3) | dup2(back, 4), "dup2");
    set_limits();
    restrict_access(); /* a stream that is no pipe is not to be opened again by name */
    check(syscall(CLOSE_RANGE, 5, ~0U, 0), "close_range"); /* other commands' conversations among them */
    check(chdir(order.single[CWD]), order.single[CWD]);
    memset(text, 1, sizeof text); /* now, and not when every page of it is waited for */
    char own[16];
    int length = snprintf(own, sizeof own, "%d", getpid());
    char *known[RLIM_NLIMITS];
    memcpy(known, order.limit, sizeof known);
    int size = hear(3, text, sizeof text, given, 4);
    if (size <= 0) _exit(SUPERVISOR_GONE);
    check(write(4, own, length), "taken");
    struct content rest = {text, size};
    if (!*text) rest = read_all(given[streams++]);
    for (int i = 0; i < 3 && given[streams + i] >= 0; i++) check(dup2(given[streams + i], i), "dup2");
    const char *place = order.single[CWD];
    parse(rest, 1);
    if (memcmp(known, order.limit, sizeof known)) set_limits();
    if (order.single[CWD] != place) check(chdir(order.single[CWD]), order.single[CWD]);
    execute_order();
}

static pid_t fork_with_handle(int *handle) { /* fork(2) would leave a moment in which it may have ended, uncollected */
    *handle = -1;
    return is_reaping ? syscall(SYS_clone, FORK_WITH_HANDLE | SIGCHLD, 0, handle, 0, 0) : fork();
}

static int has_ended(int handle, int *status) {
    struct { uint64_t mask; uint32_t other[13]; int32_t status; } info = {EXITED, {0}, 0};
    int is_known = ioctl(handle, GET_INFO, &info) == 0 && info.mask & EXITED;
    if (is_known) *status = info.status;
    return is_known;
}

static void collect_by_handle(void) { /* from now on, where the kernel can: not before Linux 6.15 */
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_NOCLDWAIT};
    struct pollfd ended = {-1, 0, 0};
    int status = 0;
    is_reaping = 1;
    check(sigaction(SIGCHLD, &action, NULL), "SIGCHLD");
    pid_t child = fork_with_handle(&ended.fd);
    if (child == 0) _exit(FAILED);
    int is_over = child > 0 && poll(&ended, 1, PROBE_MS) > 0 && has_ended(ended.fd, &status);
    close(ended.fd);
    if (is_over && WEXITSTATUS(status) == FAILED) return;
    is_reaping = action.sa_flags = 0;
    check(sigaction(SIGCHLD, &action, NULL), "SIGCHLD");
}

static int add_spare(int requests, int back) { /* an error number if none could be had */
    int pair[2], handle;
    if (count == COMMANDS) return EAGAIN;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) return errno;
    pid_t child = fork_with_handle(&handle);
    if (child == 0) stand_by(requests, pair, back);
    int why = child < 0 ? errno : 0;
    close(pair[1]);
    if (why) close(pair[0]);
    else members[count++] = (struct member){child, handle, pair[0], 0, 0}, spares++;
    return why;
}

static void send_to(const struct member *one, int value, int to) { /* by number it could be another's, once collected */
    if (one->handle >= 0) syscall(SEND_SIGNAL, one->handle, value, NULL, to);
    else kill(to ? -one->pid : one->pid, value);
}

static void register_taken(int back) { /* what stood by is a command now */
    char text[17];
    struct pollfd taken = {back, POLLIN, 0};
    while (poll(&taken, 1, 0) > 0 && hear(back, text, sizeof text, NULL, 0) > 0)
        for (size_t i = 0; i < count; i++)
            if (members[i].pid == (pid_t)number(text) && !members[i].is_taken)
                members[i].is_taken = 1, spares--, is_asked = 0, due_ms = now_ms() + LATER_MS;
}

static void obey(struct member *one) {
    char text[65] = "";
    if (recv(one->channel, text, sizeof text - 1, MSG_DONTWAIT) <= 0) { /* nobody waits for it any more */
        close(one->channel);
        one->channel = -1;
        send_to(one, SIGKILL, TO_GROUP);
        return;
    }
    const char *last = strrchr(text, ' ');
    int value = number(last ? last + 1 : text), ending = value == SIGTERM || value == SIGHUP;
    send_to(one, value, TO_GROUP);
    if (ending) send_to(one, SIGCONT, TO_GROUP);
    if (ending && !one->deadline_ms) one->deadline_ms = now_ms() + GRACE_S * 1000; /* the first one counts */
}

static void conclude(struct member *one, int status) {
    const char *format = WIFSTOPPED(status) ? "stopped %d" : WIFSIGNALED(status) ? "killed %d" : "exit %d";
    int value = WIFSTOPPED(status) ? WSTOPSIG(status) : WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
    char text[32];
    if (one->is_taken) send(one->channel, text, snprintf(text, sizeof text, format, value), MSG_NOSIGNAL);
    if (WIFSTOPPED(status)) return;
    close(one->channel);
    close(one->handle);
    spares -= !one->is_taken;
    due_ms = !one->is_taken ? now_ms() + MUCH_LATER_MS : spares + 1 == count ? 0 : due_ms; /* it failed; all is quiet */
    *one = members[--count];
}

static void reap(int back) { /* commands, and what outlived one */
    int pid, status;
    while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
        size_t i = 0;
        while (i < count && members[i].pid != pid) i++;
        if (i < count && !members[i].is_taken) register_taken(back);
        if (i < count) conclude(&members[i], status);
    }
    for (size_t i = count; is_reaping && i-- > 0;) /* from the last on: the last one takes the place of one that goes */
        if (has_ended(members[i].handle, &status)) {
            if (!members[i].is_taken) register_taken(back);
            conclude(&members[i], status);
        }
}

static int64_t end_late_ones(void) { /* of those that were asked to end; milliseconds until something is due, or -1 */
    int64_t now = now_ms(), first = spares < SPARES && due_ms > now ? due_ms - now : -1;
    for (struct member *one = members; one < members + count; one++) {
        if (one->deadline_ms && one->deadline_ms <= now) send_to(one, SIGKILL, 0);
        else if (one->deadline_ms && (first < 0 || one->deadline_ms - now < first)) first = one->deadline_ms - now;
    }
    return first;
}

static void replenish(int requests, int back) {
    char text[32];
    int why = is_asked && !spares ? now_ms() < due_ms - LATER_MS ? EAGAIN : add_spare(requests, back) : 0;
    if (why) send(requests, text, snprintf(text, sizeof text, "refused %d", why), MSG_NOSIGNAL);
    if (why) is_asked = 0;
    while (spares < SPARES && now_ms() >= due_ms && !add_spare(requests, back));
}

static _Noreturn void share(int requests) {
    int back[2];
    char text[17];
    sigset_t all, waiting;
    check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, back), "socketpair");
    check(sigfillset(&all) | sigprocmask(SIG_SETMASK, &all, &waiting) | sigdelset(&waiting, SIGCHLD), "signal mask");
    collect_by_handle();
    for (;;) {
        struct pollfd polled[2 + COMMANDS] = {{back[0], POLLIN, 0}, {requests, POLLIN, 0}};
        replenish(requests, back[1]);
        for (size_t i = 0; i < count; i++)
            polled[2 + i] = (struct pollfd){members[i].is_taken ? members[i].channel : -1, POLLIN, 0};
        int64_t left = end_late_ones();
        struct timespec timeout = {left / 1000, left % 1000 * 1000000};
        int ready = ppoll(polled, 2 + count, left < 0 ? NULL : &timeout, &waiting);
        check(ready < 0 && errno == EINTR ? 0 : ready, "ppoll");
        size_t polled_count = count;
        reap(back[0]); /* first: whoever has seen a command's end asks for nothing any more, and what it left runs on */
        for (size_t i = 0; i < polled_count; i++)
            for (size_t j = 0; polled[2 + i].revents && j < count; j++)
                if (members[j].channel == polled[2 + i].fd) obey(&members[j]);
        if (polled[1].revents && hear(requests, text, sizeof text, NULL, 0) == 0) _exit(SUPERVISOR_GONE);
        is_asked |= polled[1].revents;
        if (polled[0].revents) register_taken(back[0]);
    }
}

static int open_room(const int *given) { /* -1 if it cannot be made */
    int pair[2], child, yes = 1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) return -1;
    if ((child = enter()) != 0) {
        int why = errno;
        close(pair[0]);
        close(pair[1]);
        errno = why;
        return child;
    }
    take_order(given[ORDER]);
    furnish();
    prepare();
    enter_user_namespace();
    drop_capabilities();
    check(setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes), "SO_PASSCRED");
    int passed[] = {pair[0], load_filter()};
    check(pass(given[CHANNEL], "room", passed, passed[1] ? 2 : 1), "send room");
    check(dup2(pair[1], 3), "dup2");
    check(syscall(CLOSE_RANGE, 4, ~0U, 0), "close_range"); /* the listener and the other end among them */
    share(3);
}
