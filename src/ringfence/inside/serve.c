/* A first process that serves many commands, natively: what serve.py and rooms.py do. They are the reference and give
 * the reasons: same messages, rooms, power and exit statuses (tests/contract/test_serving.py). Part of init.c's program. */

enum { OPEN_TREE_CALL = 428, MOVE_MOUNT_CALL, CLONE_TREE = 1, RECURSIVE = 0x8000, FROM_EMPTY_PATH = 4 };
enum { ORDER, CHANNEL, STREAM, GIVEN = STREAM + 3, MOUNTS = 128, PLACES = 8 };
static const unsigned long QUIET = MS_NOSUID | MS_NODEV | MS_NOEXEC;
static const char QUEUES[] = "/dev/mqueue", TERMINALS[] = "/dev/pts", OWN_TERMINALS[] = "newinstance,ptmxmode=0666,mode=620";

static struct place {
    const char *path;
    char options[64], *mounted[MOUNTS];
    struct made { char *path, *text; mode_t mode; size_t size; } *made;
    size_t mounts, makes;
} places[PLACES + 1], *looking_at;
static int has_queues, has_terminals, room = -1;

static char *copy(const char *text, size_t size) {
    char *made = malloc(size + 1);
    if (!made) refuse("out of memory");
    memcpy(made, text, size);
    made[size] = 0;
    return made;
}

static int is_below(const char *path, const char *place) {
    size_t length = strlen(place);
    return !strncmp(path, place, length) && path[length] == '/';
}

static void add_mounted(struct place *place, char *path) { /* the topmost ones take along what is mounted on them */
    for (size_t i = 0; i < place->mounts; i++)
        if (!strcmp(path, place->mounted[i]) || is_below(path, place->mounted[i])) return;
    size_t kept = 0;
    for (size_t i = 0; i < place->mounts; i++)
        if (!is_below(place->mounted[i], path)) place->mounted[kept++] = place->mounted[i];
    if (kept == MOUNTS) refuse("too much is mounted in a private place");
    place->mounted[kept++] = path;
    place->mounts = kept;
}

static int remember(const char *path, const struct stat *found, int kind, struct FTW *level) {
    (void)kind;
    if (level->level == 0) return 0;
    struct made made = {copy(path, strlen(path)), NULL, found->st_mode, found->st_size};
    if (S_ISREG(made.mode)) {
        struct content text = read_all(check(open(path, O_RDONLY | O_CLOEXEC), path));
        made.text = text.data, made.size = text.size;
    } else if (S_ISLNK(made.mode)) {
        char target[PATH_MAX];
        made.text = copy(target, check(readlink(path, target, sizeof target - 1), path));
    }
    looking_at->made = realloc(looking_at->made, (looking_at->makes + 1) * sizeof made);
    if (!looking_at->made) refuse("out of memory");
    looking_at->made[looking_at->makes++] = made;
    return 0;
}

static void look_up(void) { /* all that rooms are furnished with, before the first command */
    struct content table = read_all(check(open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC), "mountinfo"));
    char *paths[1024], *rest = copy(table.data, table.size), *line;
    size_t count = 0, used = 0;
    struct stat found;
    places[used++].path = "/proc";
    while ((line = strsep(&rest, "\n")) && *line) {
        char *path = NULL;
        for (int i = 0; i < 5; i++) path = strsep(&line, " ");
        char *to = path;
        for (char *from = path; *from; to++) {
            unsigned code;
            if (*from == '\\' && sscanf(from + 1, "%3o", &code) == 1) *to = code, from += 4;
            else *to = *from++;
        }
        *to = 0;
        if (lstat(path, &found) < 0) continue;
        if (count == sizeof paths / sizeof *paths) refuse("too many mounts");
        paths[count++] = path;
        has_queues |= !strcmp(path, QUEUES);
        has_terminals |= !strcmp(path, TERMINALS);
    }
    for (size_t i = 0; i < order.fresh_places; i++)
        for (size_t j = 0; j < count; j++)
            if (!strcmp(order.fresh[i], paths[j])) { places[used++].path = order.fresh[i]; break; }
    for (struct place *place = places; place < places + used; place++) {
        for (size_t j = 0; j < count; j++) /* /proc/sys is sealed anew in each /proc */
            if (is_below(paths[j], place->path) && (is(SEAL, "0") || strcmp(paths[j], "/proc/sys")))
                add_mounted(place, paths[j]);
        if (place == places) continue;
        struct statvfs size;
        check(statvfs(place->path, &size) | stat(place->path, &found), place->path);
        snprintf(place->options, sizeof place->options, "size=%llu,mode=%o",
                 (unsigned long long)size.f_blocks * size.f_frsize, found.st_mode & 07777);
        looking_at = place;
        check(nftw(place->path, remember, 16, FTW_PHYS | FTW_MOUNT), place->path);
    }
}

static void make(const struct made *made) {
    if (S_ISLNK(made->mode)) {
        check(symlink(made->text, made->path), made->path);
        return;
    }
    if (S_ISDIR(made->mode)) check(mkdir(made->path, 0700), made->path);
    else {
        int file = check(open(made->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600), made->path);
        if (made->text && write(file, made->text, made->size) != (ssize_t)made->size) refuse("cannot write a file anew");
        close(file);
    }
    check(chmod(made->path, made->mode & 07777), made->path);
}

static void renew(const struct place *place, const char *kind, unsigned long flags) {
    int trees[MOUNTS];
    struct stat found[MOUNTS];
    for (size_t i = 0; i < place->mounts; i++) {
        check(stat(place->mounted[i], &found[i]), place->mounted[i]);
        trees[i] = syscall(OPEN_TREE_CALL, AT_FDCWD, place->mounted[i], CLONE_TREE | RECURSIVE);
        check(trees[i], place->mounted[i]);
    }
    check(mount(kind, place->path, kind, flags, place->options), place->path);
    for (size_t i = 0; i < place->makes; i++) make(&place->made[i]);
    for (size_t i = 0; i < place->mounts; i++) {
        struct made point = {place->mounted[i], NULL, found[i].st_mode, 0};
        if (place != places) make(&point);
        check(syscall(MOVE_MOUNT_CALL, trees[i], "", AT_FDCWD, point.path, FROM_EMPTY_PATH), point.path);
        close(trees[i]);
    }
}

static void furnish(void) {
    renew(places, "proc", QUIET);
    if (has_queues) check(mount("mqueue", QUEUES, "mqueue", QUIET, NULL), QUEUES);
    if (has_terminals) check(mount("devpts", TERMINALS, "devpts", MS_NOSUID | MS_NOEXEC, OWN_TERMINALS), TERMINALS);
    for (struct place *place = places + 1; place < places + PLACES + 1 && place->path; place++)
        renew(place, "tmpfs", MS_NOSUID | MS_NODEV);
}

static int enter(void) {
    return syscall(SYS_clone, CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
}

static void end_everybody(void) { /* as pid 1 we are the only one that a signal to all does not reach */
    do check(-(kill(-1, SIGKILL) < 0 && errno != ESRCH), "kill");
    while (waitpid(-1, NULL, 0) > 0 || errno != ECHILD);
}

static void take_order(int descriptor) {
    memset(&order, 0, sizeof order);
    parse(read_all(descriptor), 0);
    if (number(order.single[FILTER_BYTES]) != filter_bytes) refuse("the filters are cut off");
}

static _Noreturn void keep(const int *given, int within) {
    task = "cannot prepare the command";
    for (int i = 0; i < 3; i++) check(dup2(given[STREAM + i], i) | close(given[STREAM + i]), "dup2");
    take_order(given[ORDER]);
    if (within) check(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0), "die with parent");
    else furnish(), prepare();
    is_alone = !within;
    check(send(given[CHANNEL], "ready", 5, MSG_NOSIGNAL), "send");
    carry_out(given[CHANNEL], 0);
}

static _Noreturn void serve(int control, int within);

static int open_room(const int *given) { /* -1 if it cannot be made */
    int pair[2], told, child;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) return -1;
    if ((child = enter()) != 0) {
        int why = errno;
        close(pair[1]);
        if (child > 0) return pair[0];
        close(pair[0]);
        errno = why;
        return -1;
    }
    told = check(dup(given[ORDER]), "dup");
    take_order(told);
    check(lseek(given[ORDER], 0, SEEK_SET), "lseek"); /* its keeper reads it again */
    for (int i = STREAM; i < GIVEN; i++) close(given[i]); /* they would stay open beyond the command's end */
    furnish();
    prepare();
    enter_user_namespace();
    drop_capabilities();
    load_filter(given[CHANNEL], "room");
    is_confined = 1;
    if (pair[1] > 3) check(syscall(CLOSE_RANGE, 3, pair[1] - 1, 0), "close_range");
    check(syscall(CLOSE_RANGE, pair[1] + 1, ~0U, 0), "close_range"); /* the listener among them */
    room = -1;
    serve(pair[1], 1);
}

static int pass_descriptors(int channel, const char *text, const int *given) {
    union { char space[CMSG_SPACE(GIVEN * sizeof(int))]; struct cmsghdr header; } rights = {{0}};
    struct iovec word = {(char *)text, strlen(text)};
    struct msghdr message = {NULL, 0, &word, 1, &rights, sizeof rights, 0};
    rights.header = (struct cmsghdr){CMSG_LEN(GIVEN * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(&rights.header), given, GIVEN * sizeof(int));
    return sendmsg(channel, &message, MSG_NOSIGNAL);
}

static int begin(int control, const char *text, const int *given, int within) { /* -1 if it cannot be begun */
    if (!within && !strcmp(text, "shared")) {
        if (room < 0 && (room = open_room(given)) < 0) return -1;
        if (pass_descriptors(room, text, given) >= 0) return 0;
        int why = errno; /* it was killed for its memory, say; the next command gets another one */
        close(room);
        room = -1;
        errno = why;
        return -1;
    }
    int child = within ? fork() : enter();
    if (child != 0) return child;
    close(control);
    if (room >= 0) close(room);
    keep(given, within);
}

static _Noreturn void serve(int control, int within) {
    quieten();
    check(-(signal(SIGCHLD, SIG_IGN) == SIG_ERR), "SIGCHLD"); /* keepers, and what outlives a shared command, vanish */
    for (;;) {
        union { char space[CMSG_SPACE(GIVEN * sizeof(int))]; struct cmsghdr header; } rights = {{0}};
        char text[17] = "", answer[32];
        int given[GIVEN];
        struct iovec word = {text, sizeof text - 1};
        struct msghdr message = {NULL, 0, &word, 1, &rights, sizeof rights, 0};
        if (check(recvmsg(control, &message, MSG_CMSG_CLOEXEC), "recv") == 0) _exit(SUPERVISOR_GONE);
        if (!message.msg_controllen || rights.header.cmsg_len != CMSG_LEN(sizeof given)) refuse("a command is incomplete");
        memcpy(given, CMSG_DATA(&rights.header), sizeof given);
        if (begin(control, text, given, within) < 0)
            send(given[CHANNEL], answer, snprintf(answer, sizeof answer, "refused %d", errno), MSG_NOSIGNAL);
        for (int i = 0; i < GIVEN; i++) close(given[i]);
    }
}
