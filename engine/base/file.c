#define _DEFAULT_SOURCE
#define _POSIX_C_SOURCE 200809L
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

mare_status file_read(const char *path, size_t limit, void **data, size_t *len, mare_error *e) {
    *data = NULL;
    *len = 0;
    /* A pipe that nobody writes to must not hold the open. */
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "rb");
    if (!f && fd >= 0) close(fd);
    if (!f) return error_set(e, MARE_E_IO, "cannot open %s: %s", path, strerror(errno));
    struct stat st;
    mare_status status = MARE_OK;
    unsigned char *p = NULL;
    if (fstat(fileno(f), &st) != 0 || !S_ISREG(st.st_mode))
        status = error_set(e, MARE_E_IO, "%s is not a regular file", path);
    else if (limit && (uintmax_t)st.st_size > limit)
        status = error_set(e, MARE_E_IO, "%s has %jd bytes, more than the %zu allowed", path,
                           (intmax_t)st.st_size, limit);
    else if (!(p = malloc((size_t)st.st_size + 1)))
        status = error_no_memory(e, (size_t)st.st_size + 1);
    else if (fread(p, 1, (size_t)st.st_size, f) != (size_t)st.st_size)
        status = error_set(e, MARE_E_IO, "cannot read %s: %s", path, strerror(errno));
    fclose(f);
    if (status) {
        free(p);
        return status;
    }
    p[st.st_size] = 0;
    *data = p;
    *len = (size_t)st.st_size;
    return MARE_OK;
}

mare_status file_write(const char *path, const void *data, size_t len, mare_error *e) {
    size_t n = strlen(path) + 16;
    char *temp = malloc(n);
    if (!temp) return error_no_memory(e, n);
    snprintf(temp, n, "%s.XXXXXX", path);
    mare_status status = MARE_OK;
    int fd = mkstemp(temp);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "wb");
    if (!f) {
        status = error_set(e, MARE_E_IO, "cannot write %s: %s", path, strerror(errno));
        if (fd >= 0) close(fd), unlink(temp);
        free(temp);
        return status;
    }
    bool ok = fwrite(data, 1, len, f) == len && fflush(f) == 0 && fsync(fd) == 0;
    ok = fchmod(fd, 0644) == 0 && ok;
    ok = fclose(f) == 0 && ok;
    if (!ok || rename(temp, path) != 0) {
        status = error_set(e, MARE_E_IO, "cannot write %s: %s", path, strerror(errno));
        unlink(temp);
    }
    free(temp);
    return status;
}

int file_lock(const char *path, int wait_ms) {
    enum { STEP_MS = 5 };
    int fd = open(path, O_RDWR | O_CREAT | O_NONBLOCK | O_CLOEXEC, 0644);
    for (int ms = 0; fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0; ms += STEP_MS) {
        if (errno != EWOULDBLOCK || ms >= wait_ms) {
            close(fd);
            return -1;
        }
        nanosleep(&(struct timespec){.tv_nsec = STEP_MS * 1000000}, NULL);
    }
    return fd;
}

void file_unlock(int lock) {
    if (lock >= 0) close(lock);
}

bool file_exists(const char *path) {
    return access(path, F_OK) == 0;
}

mare_status file_make_dir(const char *path, mare_error *e) {
    char part[4096];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof part)
        return error_set(e, MARE_E_IO, "folder name of %zu characters is not usable", n);
    memcpy(part, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (part[i] != '/' && part[i] != 0) continue;
        char saved = part[i];
        part[i] = 0;
        if (mkdir(part, 0755) != 0 && errno != EEXIST)
            return error_set(e, MARE_E_IO, "cannot make folder %s: %s", part, strerror(errno));
        part[i] = saved;
    }
    return MARE_OK;
}

void file_cache_dir(char *out, size_t size) {
    const char *own = getenv("MARE_CACHE"), *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    out[0] = 0;
    if (own && *own)
        snprintf(out, size, "%s", own);
    else if (xdg && *xdg)
        snprintf(out, size, "%s/mare", xdg);
    else if (home && *home)
        snprintf(out, size, "%s/.cache/mare", home);
}
