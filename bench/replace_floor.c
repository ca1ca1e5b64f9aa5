/*
 * replace_floor.c - the system calls of one replace(), in a bare loop.
 *
 *     replace_floor DIRECTORY COUNT BYTES
 *
 * Replaces one file COUNT times and prints the nanoseconds that took.  What pydurable adds to
 * these calls (checks, error paths, the way from Python into C) is what the comparison shows.
 */
#define _GNU_SOURCE

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MUST(call)                                                                                 \
    do {                                                                                           \
        if ((call) < 0) {                                                                          \
            perror(#call);                                                                         \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static void replace_once(const char *directory, const void *data, size_t size)
{
    struct stat target, parent;
    uint64_t token[2];
    char temp[64];
    int dir, fd, guard;
    MUST(dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    MUST(fstatat(dir, "target", &target, AT_SYMLINK_NOFOLLOW));
    MUST(faccessat(dir, "target", W_OK, AT_EACCESS));
    MUST(fstat(dir, &parent));
    MUST(getentropy(token, sizeof token));
    snprintf(temp, sizeof temp, ".floor-%016llx%016llx.tmp", (unsigned long long)token[0],
             (unsigned long long)token[1]);
    MUST(fd = openat(dir, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    MUST(flock(fd, LOCK_EX | LOCK_NB));
    if (pwrite(fd, data, size, 0) != (ssize_t)size) {
        perror("pwrite");
        exit(1);
    }
    MUST(fchmod(fd, target.st_mode & 0777));
    MUST(fsync(fd));
    MUST(guard = fcntl(fd, F_DUPFD_CLOEXEC, 0));
    MUST(close(fd));
    MUST(renameat(dir, temp, dir, "target"));
    MUST(fsync(dir));
    MUST(close(guard));
    MUST(close(dir));
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    long count = atol(argv[2]);
    size_t size = (size_t)atol(argv[3]);
    void *data = calloc(1, size);
    if (!data)
        return 1;
    memset(data, 'x', size);
    uint64_t begin = now_ns();
    for (long i = 0; i < count; i++)
        replace_once(argv[1], data, size);
    printf("%llu\n", (unsigned long long)(now_ns() - begin));
    free(data);
    return 0;
}
