/* `ringfence`, natively: what resident.py does for a run that the resident supervisor carries out, and no interpreter.
 * Everything else, every doubt and every failure before the run has begun is left to the Python command beside this
 * program, `ringfence-python`. resident.py is the reference and gives the reasons: same conversation, same conditions.
 * It parses nothing of the command line but the two words that keep a supervisor from being asked. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static const char LATE_SITE[] = "\n# late-site\n";
static const char PROTOCOL[] = "3";
enum { NOBODY = -1, USAGE = 2, LOST = 125, CANNOT_EXECUTE = 126, GIVEN = 3, SHOWN = 9, ANSWER_TIMEOUT_S = 1 };
static const int FORWARDED[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH};
extern char **environ;
static int channel;
static pid_t server;

static int is_supervised(char **words) {
    const char *wanted = getenv("RINGFENCE_SUPERVISOR");
    if (!words[1] || strcmp(words[1], "run") || (wanted && !strcmp(wanted, "0")) || getuid() != geteuid()) return 0;
    for (char **word = words; *word; word++)
        if (!strcmp(*word, "--no-supervisor")) return 0;
    for (int i = 0; i < 3; i++)
        if (isatty(i)) return 0;
    return 1;
}

static int state_directory(char *place, size_t size) { /* session/places.py */
    const char *home = getenv("HOME"), *state = getenv("XDG_STATE_HOME");
    struct stat found;
    int length;
    if (state && *state == '/') length = snprintf(place, size, "%s/ringfence/resident", state);
    else if (home && *home == '/' && stat(home, &found) == 0 && S_ISDIR(found.st_mode))
        length = snprintf(place, size, "%s/.local/state/ringfence/resident", home);
    else return 0;
    return length > 0 && (size_t)length < size;
}

static int connect_to(const char *installation) {
    char place[PATH_MAX];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {ANSWER_TIMEOUT_S, 0};
    struct ucred peer;
    socklen_t size = sizeof peer;
    uint64_t name = 0xcbf29ce484222325; /* FNV-1a */
    for (const char *at = PROTOCOL; at < PROTOCOL + sizeof PROTOCOL; at++) name = (name ^ (uint8_t)*at) * 0x100000001b3;
    for (const char *at = installation; *at; at++) name = (name ^ (uint8_t)*at) * 0x100000001b3;
    if (!state_directory(place, sizeof place)) return -1;
    int directory = open(place, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int connected = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (directory < 0 || connected < 0) return -1;
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%016" PRIx64, directory, name);
    setsockopt(connected, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    setsockopt(connected, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (connect(connected, (struct sockaddr *)&address, sizeof address) < 0) return -1;
    close(directory);
    /* SECURITY: a root shell may have kept a user's HOME; what that user listens with there gets nothing of root's. */
    if (getsockopt(connected, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.uid != getuid()) return -1;
    server = peer.pid;
    return connected;
}

static size_t content_of(const char *path, char *text, size_t size) { /* one line, without its end */
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = file < 0 ? 0 : read(file, text, size - 1);
    text[got > 0 ? got : 0] = 0;
    if (file >= 0) close(file);
    text[strcspn(text, "\n")] = 0;
    return strlen(text);
}

static void own_state(char *text, size_t size) { /* at most 40 characters */
    void *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    text += content_of("/proc/self/personality", text, size / 3);
    *text++ = ' ';
    text += content_of("/proc/self/timerslack_ns", text, size / 3);
    strcpy(text, code == MAP_FAILED ? " 1" : " 0");
}

static int look(void) { /* likeness.py: what shows that no Landlock domain is around us */
    char place[64];
    snprintf(place, sizeof place, "/proc/%d/fd/%d", server, SHOWN);
    return open(place, O_RDONLY | O_CLOEXEC);
}

static int pass(const char *word, const int *given) { /* one packet with three descriptors */
    union { char space[CMSG_SPACE(GIVEN * sizeof(int))]; struct cmsghdr header; } rights = {{0}};
    struct iovec text = {(char *)word, strlen(word)};
    struct msghdr message = {NULL, 0, &text, 1, &rights, sizeof rights, 0};
    rights.header = (struct cmsghdr){CMSG_LEN(GIVEN * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(&rights.header), given, GIVEN * sizeof(int));
    return sendmsg(channel, &message, MSG_NOSIGNAL) == (ssize_t)text.iov_len;
}

static int request(char **words) { /* a file with what is asked: words and environment, each ended by a NUL */
    char own[96], count[16];
    int file = memfd_create("request", MFD_CLOEXEC), many = 0;
    FILE *told = file < 0 ? NULL : fdopen(dup(file), "w");
    if (!told) return -1;
    while (words[many + 1]) many++;
    own_state(own, sizeof own);
    snprintf(count, sizeof count, "%d", many);
    const char *first[] = {PROTOCOL, own, count};
    for (int i = 0; i < 3; i++) fwrite(first[i], 1, strlen(first[i]) + 1, told);
    for (char **word = words + 1; *word; word++) fwrite(*word, 1, strlen(*word) + 1, told);
    for (char **variable = environ; *variable; variable++)
        if (**variable != '=' && strchr(*variable, '=')) fwrite(*variable, 1, strlen(*variable) + 1, told);
    return fclose(told) == 0 ? file : -1;
}

static int send_request(char **words) {
    int given[GIVEN] = {request(words), open(".", O_PATH | O_DIRECTORY | O_CLOEXEC), look()};
    int sent = given[0] >= 0 && given[1] >= 0 && given[2] >= 0 && pass("run", given);
    for (int i = 0; i < GIVEN; i++)
        if (given[i] >= 0) close(given[i]);
    return sent;
}

static void pass_on(int number) {
    char text[16] = "signal ";
    int before = errno, length = 7;
    if (number > 9) text[length++] = '0' + number / 10; /* no printf(3) in a handler */
    text[length++] = '0' + number % 10;
    send(channel, text, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    errno = before;
}

static int begin(void) { /* from here on nothing may be done by ourselves any more */
    struct sigaction action = {.sa_handler = pass_on, .sa_flags = SA_RESTART}, before;
    struct timeval forever = {0, 0};
    sigset_t heard;
    sigemptyset(&heard);
    sigfillset(&action.sa_mask);
    for (size_t i = 0; i < sizeof FORWARDED / sizeof *FORWARDED; i++) {
        sigaction(FORWARDED[i], NULL, &before);
        if (before.sa_handler != SIG_IGN) sigaction(FORWARDED[i], &action, NULL); /* nohup(1), a shell's background */
        sigaddset(&heard, FORWARDED[i]);
    }
    setsockopt(channel, SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof forever);
    if (!pass("go", (const int[GIVEN]){0, 1, 2})) return 0;
    sigprocmask(SIG_UNBLOCK, &heard, NULL);
    return 1;
}

static int ask(const char *installation, char **words) {
    char answer[33] = "";
    if ((channel = connect_to(installation)) < 0) return NOBODY;
    if (!send_request(words) || recv(channel, answer, 32, 0) != 5 || strcmp(answer, "ready") || !begin()) {
        close(channel);
        return NOBODY;
    }
    ssize_t got = recv(channel, answer, 32, 0);
    answer[got > 0 ? got : 0] = 0;
    if (!strncmp(answer, "exit ", 5)) return atoi(answer + 5);
    dprintf(2, "ringfence: the run was lost: its supervisor has ended\n");
    return LOST;
}

/* For `run`: the interpreter of a script that says that it can do without `site` at first (scripts/ringfence). What is
 * not understood is left to the kernel. */
static void execute_without_site(char *command, char **words, int count) {
    char text[PATH_MAX + 64], *with[count + 3], *end;
    int file = open(command, O_RDONLY | O_CLOEXEC);
    ssize_t got = file < 0 ? 0 : read(file, text, sizeof text - 1);
    if (file >= 0) close(file);
    text[got > 0 ? got : 0] = 0;
    if (strncmp(text, "#!/", 3) || !(end = strchr(text, '\n')) || strncmp(end, LATE_SITE, sizeof LATE_SITE - 1)) return;
    *end = 0;
    if (strpbrk(text, " \t\r") || strncmp(strrchr(text, '/'), "/python", 7)) return;
    with[0] = text + 2;
    with[1] = "-S";
    memcpy(with + 2, words, (count + 1) * sizeof *words);
    execv(with[0], with);
}

int main(int count, char **words) {
    char place[PATH_MAX], command[PATH_MAX + 32];
    struct stat found;
    for (int i = 0; i < 3; i++) /* SECURITY: as in cli/entry.py: nothing of ours may take the number of a closed one */
        if (fcntl(i, F_GETFD) < 0 && open("/dev/null", O_RDWR) != i) return CANNOT_EXECUTE;
    ssize_t length = readlink("/proc/self/exe", place, sizeof place - 1);
    if (count < 1 || length <= 0) return CANNOT_EXECUTE;
    place[length] = 0;
    *strrchr(place, '/') = 0;
    if (is_supervised(words)) {
        int status = ask(place, words);
        if (status != NOBODY) return status;
    }
    for (int i = 0; i < 3; i++)
        if (fstat(i, &found) == 0 && S_ISDIR(found.st_mode)) { /* the interpreter would abort */
            dprintf(2, "ringfence: descriptor %d is a directory, which Python takes for none of its streams\n", i);
            return USAGE;
        }
    snprintf(command, sizeof command, "%s/ringfence-python", place);
    words[0] = command;
    if (words[1] && !strcmp(words[1], "run")) execute_without_site(command, words, count);
    execv(command, words);
    dprintf(2, "ringfence: cannot execute `%s`: %s\n", command, strerror(errno));
    return CANNOT_EXECUTE;
}
