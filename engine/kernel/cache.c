#define _POSIX_C_SOURCE 200809L
#include "kernel/internal.h"

#include "base/file.h"
#include "base/hash.h"

#include <dirent.h>
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

bool cache_read(const char *dir, const char *kind, const text *id, void **data, size_t *len) {
    char path[4096];
    void *file;
    size_t size;
    if (!entry_path(dir, kind, id, path, sizeof path)) return false;
    if (file_read(path, ENTRY_LIMIT, &file, &size, NULL) != MARE_OK) return false;
    bool ok = whole(file, size, id, len);
    if (ok) {
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

void cache_sweep(const char *dir) {
    char path[4096];
    struct stat st;
    DIR *d = opendir(dir);
    for (struct dirent *f; d && (f = readdir(d));) {
        int n = snprintf(path, sizeof path, "%s/%s", dir, f->d_name);
        if (temporary(f->d_name) && (size_t)n < sizeof path && lstat(path, &st) == 0 &&
            S_ISREG(st.st_mode) && st.st_mtime < time(NULL) - LEFT_AFTER_S)
            remove(path);
    }
    if (d) closedir(d);
}
