#include "kernel/internal.h"

#include "base/file.h"
#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FORMAT = 1, ENTRY_LIMIT = 256 << 20 };

typedef struct header {
    char magic[8];
    uint32_t order; /* tells the byte order */
    uint32_t format;
    uint64_t len;      /* of what follows */
    uint64_t checksum; /* of what follows, seeded with the hash of kind and key */
} header;

static const char magic[8] = "mare-kc";

static bool entry_path(const char *dir, const char *kind, const char *key, char *path,
                       size_t size) {
    int n = snprintf(path, size, "%s/%s-%s", dir, kind, key);
    return dir[0] && n > 0 && (size_t)n < size;
}

static uint64_t checksum(const char *kind, const char *key, const void *data, size_t len) {
    return hash_bytes(data, len, hash_string(key, hash_string(kind, 0)));
}

bool cache_read(const char *dir, const char *kind, const char *key, void **data, size_t *len) {
    char path[4096];
    void *file;
    size_t size;
    if (!entry_path(dir, kind, key, path, sizeof path)) return false;
    if (file_read(path, ENTRY_LIMIT, &file, &size, NULL) != MARE_OK) return false;
    header h;
    bool ok = size >= sizeof h;
    if (ok) {
        memcpy(&h, file, sizeof h);
        ok = memcmp(h.magic, magic, sizeof magic) == 0 && h.order == 0x01020304 &&
             h.format == FORMAT && h.len == size - sizeof h &&
             h.checksum == checksum(kind, key, (char *)file + sizeof h, size - sizeof h);
    }
    if (!ok) {
        free(file);
        return false;
    }
    memmove(file, (char *)file + sizeof h, size - sizeof h);
    *data = file;
    *len = size - sizeof h;
    return true;
}

void cache_write(const char *dir, const char *kind, const char *key, const void *data, size_t len) {
    char path[4096];
    if (!entry_path(dir, kind, key, path, sizeof path) || len > ENTRY_LIMIT - sizeof(header))
        return;
    header h = {.order = 0x01020304, .format = FORMAT, .len = len};
    memcpy(h.magic, magic, sizeof magic);
    h.checksum = checksum(kind, key, data, len);
    char *file = malloc(sizeof h + len);
    if (!file) return;
    memcpy(file, &h, sizeof h);
    if (len) memcpy(file + sizeof h, data, len);
    if (file_make_dir(dir, NULL) == MARE_OK) file_write(path, file, sizeof h + len, NULL);
    free(file);
}
