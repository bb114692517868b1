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
static int has_queues, has_terminals;

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

static _Noreturn void keep(const int *given) {
    task = "cannot prepare the command";
    for (int i = 0; i < 3; i++) check(dup2(given[STREAM + i], i) | close(given[STREAM + i]), "dup2");
    take_order(given[ORDER]);
    furnish();
    prepare();
    is_alone = 1;
    check(send(given[CHANNEL], "ready", 5, MSG_NOSIGNAL), "send");
    carry_out(given[CHANNEL], 0);
}

static void say_refused(int channel, int why) {
    char answer[32];
    send(channel, answer, snprintf(answer, sizeof answer, "refused %d", why), MSG_NOSIGNAL);
}

#include "standby.c"

static int begin(int control, const char *text, const int *given) { /* -1 if it cannot be begun */
    if (!strcmp(text, "room")) return open_room(given);
    int child = enter();
    if (child != 0) return child;
    close(control);
    keep(given);
}

static _Noreturn void serve(int control) {
    quieten();
    check(-(signal(SIGCHLD, SIG_IGN) == SIG_ERR), "SIGCHLD"); /* keepers vanish */
    for (;;) {
        char text[17];
        int given[GIVEN];
        if (hear(control, text, sizeof text, given, GIVEN) == 0) _exit(SUPERVISOR_GONE);
        if (given[strcmp(text, "room") ? GIVEN - 1 : CHANNEL] < 0) refuse("a command is incomplete");
        if (begin(control, text, given) < 0) say_refused(given[CHANNEL], errno);
        for (int i = 0; i < GIVEN && given[i] >= 0; i++) close(given[i]);
    }
}
