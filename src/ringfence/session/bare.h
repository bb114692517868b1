/* What client.c needs of a system. With BARE there is no C library: its start asks the processor for features, and a
 * virtual machine traps each question, which takes as long as all that the client does (docs/decisions/021). On
 * architectures that are not known here the C library's entry and system calls are used, and nothing else of it.
 * `call` gives a negative error number where the kernel refuses. */
#define _GNU_SOURCE
#include <asm/ioctls.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#define call(...) SEVEN(__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define SEVEN(n, a, b, c, d, e, f, ...) ask_kernel(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

static char **environment;
static int carry_out(int count, char **words); /* the program */

#ifdef BARE

struct action { void (*handler)(int); unsigned long flags; void (*restorer)(void); uint64_t mask; };

#ifndef __x86_64__
#error "its system calls are not known here; compile it without BARE"
#endif
enum { OWN_RETURN = 0x04000000 }; /* SA_RESTORER: this kernel has no return from a handler of its own */
void return_from_handler(void);
__asm__(".text\n.global return_from_handler\nreturn_from_handler: mov $15, %eax\n syscall\n"
        ".global _start\n_start: xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call begin_at\n");

static long ask_kernel(long number, long a, long b, long c, long d, long e, long f) {
    register long fourth __asm__("r10") = d, fifth __asm__("r8") = e, sixth __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "+a"(number)
                     : "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth), "r"(sixth)
                     : "rcx", "r11", "memory");
    return number;
}
__attribute__((used)) _Noreturn void begin_at(long *stack) {
    char **words = (char **)(stack + 1);
    environment = words + *stack + 1;
    int status = carry_out((int)*stack, words);
    for (;;) call(SYS_exit_group, status);
}

static void handle(int number, void (*handler)(int)) { /* unless it is ignored: nohup(1), a shell's background */
    struct action found, action = {handler, SA_RESTART | OWN_RETURN, return_from_handler, ~(uint64_t)0};
    call(SYS_rt_sigaction, number, NULL, &found, sizeof found.mask);
    if (found.handler != SIG_IGN) call(SYS_rt_sigaction, number, &action, NULL, sizeof action.mask);
}

#else

#include <unistd.h>

static long ask_kernel(long number, long a, long b, long c, long d, long e, long f) {
    long result = syscall(number, a, b, c, d, e, f);
    return result < 0 ? -errno : result;
}

int main(int count, char **words) {
    environment = environ;
    return carry_out(count, words);
}

static void handle(int number, void (*handler)(int)) {
    if (signal(number, handler) == SIG_IGN) signal(number, SIG_IGN);
}

#endif

static size_t length_of(const char *text) {
    const char *at = text;
    while (*at) at++;
    return at - text;
}

static int starts_with(const char *text, const char *with) {
    while (*with && *text == *with) text++, with++;
    return !*with;
}

static int is_same(const char *one, const char *other) {
    return starts_with(one, other) && length_of(one) == length_of(other);
}

static char *found_in(char *text, const char *wanted) { /* the first of these characters; NULL: none */
    for (; *text; text++)
        for (const char *at = wanted; *at; at++)
            if (*text == *at) return text;
    return NULL;
}

static char *last_part(char *path) { /* from its last slash on */
    char *found = path;
    for (; *path; path++) found = *path == '/' ? path : found;
    return found;
}

static const char *variable(const char *name) {
    for (char **at = environment; *at; at++)
        if (starts_with(*at, name) && (*at)[length_of(name)] == '=') return *at + length_of(name) + 1;
    return NULL;
}

/* A text in a place of limited size; what does not fit makes it empty, for good. */
struct text { char *begin, *at, *end; };

static struct text in(char *place, size_t size) {
    *place = 0;
    return (struct text){place, place, place + size};
}

static void put(struct text *text, const char *more) {
    for (; text->at && *more; more++)
        if (text->at + 1 < text->end) *text->at++ = *more;
        else text->at = NULL;
    *(text->at ? text->at : text->begin) = 0;
}

static void put_number(struct text *text, uint64_t value, unsigned base, int digits) {
    char place[24], *at = place + sizeof place;
    *--at = 0;
    for (; value || digits > 0; value /= base, digits--) *--at = "0123456789abcdef"[value % base];
    put(text, at);
}

static void complain(const char *text, const char *name, const char *rest) {
    const char *parts[] = {text, name, rest};
    for (int i = 0; i < 3; i++) call(SYS_write, 2, parts[i], length_of(parts[i]));
}
