#define _POSIX_C_SOURCE 200809L
#include "kernel/internal.h"

#include "base/file.h"
#include "base/hash.h"
#include "base/vec.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

enum { FORMAT = 2, ENTRY_LIMIT = 256 << 20, KEY_DIGITS = 32, LEFT_AFTER_S = 3600 };

typedef struct header {
    char magic[8];
    uint32_t order; /* tells the byte order */
    uint32_t format;
    uint64_t id_len, len; /* of what follows: the id, the contents */
    uint64_t checksum;    /* of what follows */
} header;

static const char magic[8] = "mare-kc";

static bool entry_path(const char *dir, const char *kind, const text *id, char *path, size_t size) {
    char key[KEY_DIGITS + 1];
    if (!dir[0] || id->failed) return false;
    hash_hex(id->data, id->len, key);
    int n = snprintf(path, size, "%s/%s-%s", dir, kind, key);
    return n > 0 && (size_t)n < size;
}

/* Is the file the whole entry of this id? Then *len bytes of contents are its last. */
static bool whole(const char *file, size_t size, const text *id, size_t *len) {
    header h;
    if (size < sizeof h) return false;
    memcpy(&h, file, sizeof h);
    size_t rest = size - sizeof h;
    if (memcmp(h.magic, magic, sizeof magic) != 0 || h.order != 0x01020304 || h.format != FORMAT ||
        h.id_len != id->len || h.id_len > rest || h.len != rest - h.id_len ||
        memcmp(file + sizeof h, id->data, id->len) != 0)
        return false;
    *len = h.len;
    return h.checksum == hash_bytes(file + sizeof h, rest, 0);
}

/* The time of an entry is that of its last use, but for some hours: a start need not write. */
static void note_use(const char *path) {
    enum { HOURS = 12 };
    struct stat st;
    if (stat(path, &st) == 0 && st.st_mtime < time(NULL) - HOURS * 3600)
        utimensat(AT_FDCWD, path, NULL, 0);
}

bool cache_read(const char *dir, const char *kind, const text *id, void **data, size_t *len) {
    char path[4096];
    void *file;
    size_t size;
    if (!entry_path(dir, kind, id, path, sizeof path)) return false;
    if (file_read(path, ENTRY_LIMIT, &file, &size, NULL) != MARE_OK) return false;
    bool ok = whole(file, size, id, len);
    if (ok) {
        note_use(path);
        memmove(file, (char *)file + size - *len, *len);
        *data = file;
    } else {
        free(file);
    }
    return ok;
}

void cache_write(const char *dir, const char *kind, const text *id, const void *data, size_t len) {
    char path[4096];
    header h = {.order = 0x01020304, .format = FORMAT, .id_len = id->len, .len = len};
    if (!entry_path(dir, kind, id, path, sizeof path) || id->len > ENTRY_LIMIT - sizeof h ||
        len > ENTRY_LIMIT - sizeof h - id->len)
        return;
    memcpy(h.magic, magic, sizeof magic);
    text file = {0};
    text_bytes(&file, &h, sizeof h);
    text_bytes(&file, id->data, id->len);
    text_bytes(&file, data, len);
    if (!file.failed && file_make_dir(dir, NULL) == MARE_OK) {
        h.checksum = hash_bytes(file.data + sizeof h, file.len - sizeof h, 0);
        memcpy(file.data, &h, sizeof h);
        file_write(path, file.data, file.len, NULL);
    }
    text_free(&file);
}

/* "spirv-<key>.x1y2z3": what file_write() names a file that is not whole yet. */
static bool temporary(const char *name) {
    const char *dash = strchr(name, '-');
    return dash && strlen(dash) > KEY_DIGITS + 1 && dash[KEY_DIGITS + 1] == '.' &&
           (strncmp(name, "spirv-", 6) == 0 || strncmp(name, "pipelines-", 10) == 0);
}

/* A compiled shader: "spirv-<key>". */
static bool is_spirv(const char *name) {
    return strncmp(name, "spirv-", 6) == 0 && strlen(name) == 6 + KEY_DIGITS;
}

typedef struct entry {
    struct timespec used;
    uint64_t bytes;
    char name[6 + KEY_DIGITS + 1];
} entry;

static int older_first(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->used.tv_sec != y->used.tv_sec) return x->used.tv_sec < y->used.tv_sec ? -1 : 1;
    if (x->used.tv_nsec != y->used.tv_nsec) return x->used.tv_nsec < y->used.tv_nsec ? -1 : 1;
    return strcmp(x->name, y->name);
}

static bool file_in(const char *dir, const char *name, char *path, size_t size, struct stat *st) {
    int n = snprintf(path, size, "%s/%s", dir, name);
    return n > 0 && (size_t)n < size && lstat(path, st) == 0 && S_ISREG(st->st_mode);
}

void cache_sweep(const char *dir, uint64_t most) {
    char path[4096];
    struct stat st;
    VEC(entry) list = {0};
    uint64_t bytes = 0;
    DIR *d = opendir(dir);
    for (struct dirent *f; d && (f = readdir(d));) {
        bool left = temporary(f->d_name);
        if ((!left && !is_spirv(f->d_name)) || !file_in(dir, f->d_name, path, sizeof path, &st))
            continue;
        if (left) {
            if (st.st_mtime < time(NULL) - LEFT_AFTER_S) remove(path);
            continue;
        }
        entry e = {st.st_mtim, (uint64_t)st.st_size, ""};
        memcpy(e.name, f->d_name, strlen(f->d_name) + 1);
        bytes += e.bytes;
        if (!vec_push(&list, e)) break;
    }
    if (d) closedir(d);
    uint64_t left = bytes > most ? most - most / 4 : bytes; /* room for what comes next */
    if (bytes > left) qsort(list.data, list.len, sizeof *list.data, older_first);
    for (size_t i = 0; bytes > left && i < list.len; i++) {
        /* Another process may have been here. */
        if (file_in(dir, list.data[i].name, path, sizeof path, &st)) remove(path);
        bytes -= list.data[i].bytes;
    }
    vec_free(&list);
}
