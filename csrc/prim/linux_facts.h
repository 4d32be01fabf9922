/* Facts for a report: which policies and limits of Linux concern executable memory. A part of linux.c.
 *
 * Nothing here allocates, or tries what a policy could refuse and write to an audit log. Each question may
 * remain open: a process may have no descriptors left, or see no /proc. */
#ifndef EXECBUF_LINUX_FACTS_H
#define EXECBUF_LINUX_FACTS_H

#include <sys/utsname.h>

#include "facts.h"

/* Long enough for the lines of interest; others are cut. */
#define LINE_SIZE 128

typedef struct reader {
    int fd;
    size_t at;
    size_t end;
    char bytes[512];
} reader;

/* The next byte of a text; 0 at its end. */
static char next_byte(reader *from) {
    if (from->at == from->end) {
        ssize_t got;
        do {
            got = read(from->fd, from->bytes, sizeof from->bytes);
        } while (got < 0 && errno == EINTR);
        if (got <= 0) {
            return '\0';
        }
        from->at = 0;
        from->end = (size_t)got;
    }
    return from->bytes[from->at++];
}

/* The next line of a text; false at its end. */
static bool next_line(reader *from, char line[LINE_SIZE]) {
    char byte = next_byte(from);
    bool is_line = byte != '\0';
    size_t length = 0;
    for (; byte != '\n' && byte != '\0'; byte = next_byte(from)) {
        if (length < LINE_SIZE - 1) {
            line[length++] = byte;
        }
    }
    line[length] = '\0';
    return is_line;
}

/* What the first line of a file that begins with key says: the text behind key, which is kept in line;
 * "absent" if there is no such line or file, or "unknown" if that can't be found out. */
static const char *ask_file(const char *path, const char *key, char line[LINE_SIZE]) {
    reader from = {.fd = open(path, O_RDONLY | O_CLOEXEC)};
    if (from.fd < 0) {
        /* A missing file means nothing where the file system is not mounted. */
        const char *mounted = strncmp(path, "/proc/", 6) == 0 ? "/proc/self" : "/sys/fs";
        return errno == ENOENT && access(mounted, F_OK) == 0 ? "absent" : "unknown";
    }
    const char *answer = "absent";
    while (next_line(&from, line)) {
        if (strncmp(line, key, strlen(key)) == 0) {
            answer = line + strlen(key);
            answer += strspn(answer, " \t");
            break;
        }
    }
    (void)close(from.fd);
    return answer;
}

static void add_file(fact_list *to, const char *name, const char *path, const char *key) {
    char line[LINE_SIZE];
    add_fact(to, name, ask_file(path, key, line));
}

static void add_mdwe(fact_list *to) {
    int bits = prctl(PR_GET_MDWE, 0L, 0L, 0L, 0L);
    if (bits < 0) {
        add_fact(to, "MDWE", errno == EINVAL ? "unknown to this kernel" : "unknown");
    } else {
        add_fact(to, "MDWE", (bits & PR_MDWE_REFUSE_EXEC_GAIN) != 0 ? "on" : "off");
    }
}

static void add_seccomp(fact_list *to) {
    static const char *const modes[] = {"none", "strict", "filter"};
    char line[LINE_SIZE];
    const char *mode = ask_file("/proc/self/status", "Seccomp:", line);
    bool is_number = mode[0] >= '0' && mode[0] <= '2' && mode[1] == '\0';
    add_fact(to, "seccomp", is_number ? modes[mode[0] - '0'] : mode);
}

/* Two facts: the mode of SELinux, and whose rules hold for this process, which may also be AppArmor's. */
static void add_security(fact_list *to) {
    char mode_line[LINE_SIZE];
    char label_line[LINE_SIZE];
    const char *mode = ask_file("/sys/fs/selinux/enforce", "", mode_line);
    const char *label = ask_file("/proc/self/attr/current", "", label_line);
    if (strcmp(mode, "1") == 0) {
        mode = "enforcing";
    } else if (strcmp(mode, "0") == 0) {
        mode = "permissive";
    } else if (strchr(label, ':') != NULL) {
        mode = "unknown"; /* a container may see its label, but not the file */
    }
    add_fact(to, "SELinux", mode);
    add_fact(to, "security label", label);
}

/* What getrlimit returned, and said. */
static void add_limit(fact_list *to, const char *name, int got, const struct rlimit *limit) {
    char number[24];
    if (got != 0) {
        add_fact(to, name, "unknown");
    } else if (limit->rlim_cur == RLIM_INFINITY) {
        add_fact(to, name, "unlimited");
    } else {
        (void)snprintf(number, sizeof number, "%llu", (unsigned long long)limit->rlim_cur);
        add_fact(to, name, number);
    }
}

static void add_membarrier(fact_list *to) {
    long commands = syscall(SYS_membarrier, 0, 0, 0); /* MEMBARRIER_CMD_QUERY */
    if (commands < 0) {
        add_fact(to, "membarrier", errno == ENOSYS ? "absent" : "refused");
    } else {
        add_fact(to, "membarrier", (commands & SYNC_CORE) != 0 ? "core sync" : "no core sync");
    }
}

size_t execbuf_prim_facts(execbuf_fact *facts) {
    fact_list list = {facts, 0};
    struct utsname kernel;
    struct rlimit limit;
    add_number(&list, "page size", (unsigned long)posix_page_size());
    add_fact(&list, "kernel", uname(&kernel) == 0 ? kernel.release : "unknown");
    add_mdwe(&list);
    add_seccomp(&list);
    add_security(&list);
    add_file(&list, "PaX", "/proc/self/status", "PaX:");
    add_file(&list, "vm.memfd_noexec", "/proc/sys/vm/memfd_noexec", "");
    add_file(&list, "vm.max_map_count", "/proc/sys/vm/max_map_count", "");
    add_limit(&list, "RLIMIT_AS", getrlimit(RLIMIT_AS, &limit), &limit);
    add_limit(&list, "RLIMIT_DATA", getrlimit(RLIMIT_DATA, &limit), &limit);
    add_limit(&list, "RLIMIT_FSIZE", getrlimit(RLIMIT_FSIZE, &limit), &limit);
    add_limit(&list, "RLIMIT_NOFILE", getrlimit(RLIMIT_NOFILE, &limit), &limit);
    add_membarrier(&list);
    return list.count;
}

#endif
