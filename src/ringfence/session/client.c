/* `ringfence`, natively: what resident.py does for a run that the resident supervisor carries out, and no interpreter.
 * Everything else, every doubt and every failure before the run has begun is left to the Python command beside this
 * program, `ringfence-python`. resident.py is the reference and gives the reasons: same conversation, same conditions.
 * It parses nothing of the command line but the two words that keep a supervisor from being asked. */
#include "bare.h"

static const char LATE_SITE[] = "\n# late-site\n";
static const char PROTOCOL[] = "3";
enum { NOBODY = -1, USAGE = 2, LOST = 125, CANNOT_EXECUTE = 126, GIVEN = 3, SHOWN = 9, TIMEOUT_S = 1, PARTS = 64 };
static const int FORWARDED[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH};
static int channel, server;

static int is_supervised(char **words) {
    char attributes[64]; /* <asm-generic/termbits.h>, struct termios */
    const char *wanted = variable("RINGFENCE_SUPERVISOR");
    if (!words[1] || !is_same(words[1], "run") || (wanted && is_same(wanted, "0"))) return 0;
    if (call(SYS_getuid) != call(SYS_geteuid)) return 0;
    for (char **word = words; *word; word++)
        if (is_same(*word, "--no-supervisor")) return 0;
    for (int i = 0; i < 3; i++)
        if (call(SYS_ioctl, i, TCGETS, attributes) == 0) return 0;
    return 1;
}

static int state_directory(char *place, size_t size) { /* session/places.py */
    const char *home = variable("HOME"), *state = variable("XDG_STATE_HOME");
    struct text text = in(place, size);
    struct stat found;
    if (state && *state == '/') put(&text, state);
    else if (home && *home == '/' && !call(SYS_newfstatat, AT_FDCWD, home, &found, 0) && S_ISDIR(found.st_mode))
        put(&text, home), put(&text, "/.local/state");
    else return 0;
    put(&text, "/ringfence/resident");
    return text.at != NULL;
}

static int connect_to(const char *installation) {
    char place[PATH_MAX];
    static struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct text path = in(address.sun_path, sizeof address.sun_path);
    struct timeval patience = {TIMEOUT_S, 0};
    struct { pid_t pid; uid_t uid; gid_t gid; } peer;
    socklen_t size = sizeof peer;
    uint64_t name = 0xcbf29ce484222325; /* FNV-1a */
    for (const char *at = PROTOCOL; at < PROTOCOL + sizeof PROTOCOL; at++) name = (name ^ (uint8_t)*at) * 0x100000001b3;
    for (const char *at = installation; *at; at++) name = (name ^ (uint8_t)*at) * 0x100000001b3;
    if (!state_directory(place, sizeof place)) return -1;
    int directory = call(SYS_openat, AT_FDCWD, place, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int connected = call(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (directory < 0 || connected < 0) return -1;
    put(&path, "/proc/self/fd/"), put_number(&path, directory, 10, 1), put(&path, "/"), put_number(&path, name, 16, 16);
    call(SYS_setsockopt, connected, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    call(SYS_setsockopt, connected, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (call(SYS_connect, connected, &address, sizeof address) < 0) return -1;
    call(SYS_close, directory);
    /* SECURITY: a root shell may have kept a user's HOME; what that user listens with there gets nothing of root's. */
    if (call(SYS_getsockopt, connected, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) return -1;
    if (peer.uid != (uid_t)call(SYS_getuid)) return -1;
    server = peer.pid;
    return connected;
}

static void put_content(struct text *text, const char *path) { /* one line, without its end */
    char line[32], *end;
    int file = call(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
    long got = file < 0 ? 0 : call(SYS_read, file, line, sizeof line - 1);
    line[got > 0 ? got : 0] = 0;
    if (file >= 0) call(SYS_close, file);
    if ((end = found_in(line, "\n"))) *end = 0;
    put(text, line);
}

static void own_state(char *place, size_t size) {
    struct text text = in(place, size);
    long code = call(SYS_mmap, NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    put_content(&text, "/proc/self/personality"), put(&text, " ");
    put_content(&text, "/proc/self/timerslack_ns"), put(&text, code < 0 && code > -4096 ? " 1" : " 0");
}

static int look(void) { /* likeness.py: what shows that no Landlock domain is around us */
    char place[64];
    struct text text = in(place, sizeof place);
    put(&text, "/proc/"), put_number(&text, server, 10, 1), put(&text, "/fd/"), put_number(&text, SHOWN, 10, 1);
    return call(SYS_openat, AT_FDCWD, place, O_RDONLY | O_CLOEXEC);
}

static int pass(const char *word, const int *given) { /* one packet with three descriptors */
    union { char space[CMSG_SPACE(GIVEN * sizeof(int))]; struct cmsghdr header; } rights = {{0}};
    struct iovec text = {(char *)word, length_of(word)};
    struct msghdr message = {NULL, 0, &text, 1, &rights, sizeof rights, 0};
    rights.header = (struct cmsghdr){CMSG_LEN(GIVEN * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    for (int i = 0; i < GIVEN; i++) ((int *)CMSG_DATA(&rights.header))[i] = given[i];
    return call(SYS_sendmsg, channel, &message, MSG_NOSIGNAL) == (long)text.iov_len;
}

static struct { struct iovec parts[PARTS]; long count, size; int file, is_cut; } told;

static void write_told(void) {
    if (told.count && call(SYS_writev, told.file, told.parts, told.count) != told.size) told.is_cut = 1;
    told.count = told.size = 0;
}

static void tell(const char *text) { /* with the NUL at its end */
    told.parts[told.count] = (struct iovec){(char *)text, length_of(text) + 1};
    told.size += told.parts[told.count++].iov_len;
    if (told.count == PARTS) write_told();
}

static int request(char **words) { /* a file with what is asked: words and environment, each ended by a NUL */
    char own[96], count[16];
    struct text number = in(count, sizeof count);
    int many = 0;
    if ((told.file = call(SYS_memfd_create, "request", MFD_CLOEXEC)) < 0) return -1;
    while (words[many + 1]) many++;
    own_state(own, sizeof own);
    put_number(&number, many, 10, 1);
    tell(PROTOCOL), tell(own), tell(count);
    for (char **word = words + 1; *word; word++) tell(*word);
    for (char **at = environment; *at; at++)
        if (**at != '=' && found_in(*at, "=")) tell(*at);
    write_told();
    return told.is_cut ? -1 : told.file;
}

static int send_request(char **words) {
    int given[GIVEN] = {request(words), call(SYS_openat, AT_FDCWD, ".", O_PATH | O_DIRECTORY | O_CLOEXEC), look()};
    int sent = given[0] >= 0 && given[1] >= 0 && given[2] >= 0 && pass("run", given);
    for (int i = 0; i < GIVEN; i++)
        if (given[i] >= 0) call(SYS_close, given[i]);
    return sent;
}

static void pass_on(int number) {
    char place[16];
    struct text text = in(place, sizeof place);
    put(&text, "signal "), put_number(&text, number, 10, 1);
    call(SYS_sendto, channel, place, length_of(place), MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int begin(void) { /* from here on nothing may be done by ourselves any more */
    struct timeval forever = {0, 0};
    uint64_t heard = 0;
    for (size_t i = 0; i < sizeof FORWARDED / sizeof *FORWARDED; i++) {
        handle(FORWARDED[i], pass_on);
        heard |= (uint64_t)1 << (FORWARDED[i] - 1);
    }
    call(SYS_setsockopt, channel, SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof forever);
    if (!pass("go", (const int[GIVEN]){0, 1, 2})) return 0;
    call(SYS_rt_sigprocmask, SIG_UNBLOCK, &heard, NULL, sizeof heard);
    return 1;
}

static int ask(const char *installation, char **words) {
    char answer[33] = ""; /* its end stays: what comes first is the shorter one */
    int status = 0;
    if ((channel = connect_to(installation)) < 0) return NOBODY;
    if (!send_request(words) || call(SYS_recvfrom, channel, answer, 32) != 5 || !is_same(answer, "ready") || !begin()) {
        call(SYS_close, channel);
        return NOBODY;
    }
    call(SYS_recvfrom, channel, answer, 32);
    if (starts_with(answer, "exit ")) {
        for (char *digit = answer + 5; *digit >= '0' && *digit <= '9'; digit++) status = status * 10 + *digit - '0';
        return status;
    }
    complain("ringfence: the run was lost: its supervisor has ended; `ringfence diff` shows what it changed\n", "", "");
    return LOST;
}

/* For `run`: the interpreter of a script that says that it can do without `site` at first (scripts/ringfence). What is
 * not understood is left to the kernel. */
static void execute_without_site(char *command, char **words, int count) {
    char text[PATH_MAX + 64], *with[count + 3], *end;
    int file = call(SYS_openat, AT_FDCWD, command, O_RDONLY | O_CLOEXEC);
    long got = file < 0 ? 0 : call(SYS_read, file, text, sizeof text - 1);
    if (file >= 0) call(SYS_close, file);
    text[got > 0 ? got : 0] = 0;
    if (!starts_with(text, "#!/") || !(end = found_in(text, "\n")) || !starts_with(end, LATE_SITE)) return;
    *end = 0;
    if (found_in(text, " \t\r") || !starts_with(last_part(text), "/python")) return;
    with[0] = text + 2;
    with[1] = "-S";
    for (int i = 0; i <= count; i++) with[i + 2] = words[i];
    call(SYS_execve, with[0], with, environment);
}

static int carry_out(int count, char **words) {
    char place[PATH_MAX], command[PATH_MAX + 32];
    struct text path = in(command, sizeof command);
    struct stat found;
    for (int i = 0; i < 3; i++) { /* SECURITY: as in cli/entry.py: nothing of ours may take a closed one's number */
        int is_there = call(SYS_fcntl, i, F_GETFD) >= 0;
        if (!is_there && call(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR) != i) return CANNOT_EXECUTE;
    }
    long length = call(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", place, sizeof place - 1);
    if (count < 1 || length <= 0) return CANNOT_EXECUTE;
    place[length] = 0;
    *last_part(place) = 0;
    if (is_supervised(words)) {
        int status = ask(place, words);
        if (status != NOBODY) return status;
    }
    for (int i = 0; i < 3; i++)
        if (!call(SYS_newfstatat, i, "", &found, AT_EMPTY_PATH) && S_ISDIR(found.st_mode)) { /* Python would abort */
            char number[2] = {(char)('0' + i), 0};
            complain("ringfence: descriptor ", number, " is a directory, which Python takes for none of its streams\n");
            return USAGE;
        }
    put(&path, place), put(&path, "/ringfence-python");
    words[0] = command;
    if (words[1] && is_same(words[1], "run")) execute_without_site(command, words, count);
    long failed = call(SYS_execve, command, words, environment);
    complain("ringfence: cannot execute `", command, failed == -ENOENT ? "`: it is not there\n" : "`: not permitted\n");
    return CANNOT_EXECUTE;
}
