/* Whether paths look as they did: what session/look.py does, in one step instead of a hundred.
 * That module is the reference: same records, same answer (tests/contract/test_look.py holds both to it).
 * INVARIANT: 1 is said only if every record is the same; whatever cannot be looked at is not. */
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

enum how { STAMP = 0, LISTING = 1, PLACE = 2, MARK = 3, SAME_FILE = 4, ABSENT = 5 };
enum { FIELDS = 10 };

struct record {
    uint64_t how, was[FIELDS];
};

static uint64_t nanoseconds(struct timespec time) {
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* cache.identity: of a directory not what changes with its entries. */
static void identity(const struct stat *found, uint64_t *is) {
    is[0] = found->st_mode;
    is[1] = found->st_ino;
    is[2] = found->st_uid;
    if (S_ISDIR(found->st_mode)) return;
    is[3] = (uint64_t)found->st_size;
    is[4] = nanoseconds(found->st_mtim);
}

static int see(const char *path, uint64_t how, uint64_t *is) {
    struct stat found;
    int there = (how == PLACE || how == MARK ? stat(path, &found) : lstat(path, &found)) == 0;
    if (how == ABSENT || !there) return how == ABSENT && !there;
    const uint64_t changed = nanoseconds(found.st_ctim), size = (uint64_t)found.st_size;
    const uint64_t place[] = {found.st_dev, found.st_ino}, mark[] = {found.st_dev, found.st_ino, changed};
    const uint64_t listing[] = {found.st_mode, found.st_ino, changed};
    const uint64_t file[] = {found.st_dev, found.st_ino, found.st_mode, found.st_uid, size,
                             nanoseconds(found.st_mtim), changed};
    switch (how) {
    case STAMP:
        identity(&found, is);
        if (S_ISLNK(found.st_mode) && stat(path, &found) == 0) identity(&found, is + FIELDS / 2);
        return 1;
    case LISTING: memcpy(is, listing, sizeof listing); return 1;
    case PLACE: memcpy(is, place, sizeof place); return 1;
    case MARK: memcpy(is, mark, sizeof mark); return 1;
    case SAME_FILE: memcpy(is, file, sizeof file); return 1;
    default: return 0;
    }
}

/* `paths`: `count` strings, one after another. */
int ringfence_look(const char *paths, const struct record *records, long count) {
    for (long at = 0; at < count; at++, paths += strlen(paths) + 1) {
        uint64_t is[FIELDS] = {0};
        if (!see(paths, records[at].how, is)) return 0;
        if (memcmp(is, records[at].was, sizeof is)) return 0;
    }
    return 1;
}
