#include "kernel/kernel.h"

#include "base/file.h"
#include "kernel/embedded.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SOURCE_LIMIT = 16 << 20 };

/* Names come from scripts too (require), so they must not lead out of the tree. */
static bool name_ok(const char *name) {
    if (strncmp(name, "shaders/", 8) != 0 && strncmp(name, "lua/", 4) != 0) return false;
    const char *part = name;
    for (const char *p = name;; p++) {
        if (*p && *p != '/') {
            if ((unsigned char)*p < ' ' || *p == '\\') return false;
            continue;
        }
        size_t n = (size_t)(p - part);
        if (n == 0 || (n == 1 && part[0] == '.') || (n == 2 && memcmp(part, "..", 2) == 0))
            return false;
        if (!*p) return true;
        part = p + 1;
    }
}

const char *source_text(const char *name, size_t *len, char **owned) {
    *owned = NULL;
    *len = 0;
    if (!name_ok(name)) return NULL;
    const char *root = getenv("MARE_ROOT");
    if (root && *root) {
        char path[4096];
        int n = snprintf(path, sizeof path, "%s/%s", root, name);
        void *data;
        if (n < 0 || (size_t)n >= sizeof path ||
            file_read(path, SOURCE_LIMIT, &data, len, NULL) != MARE_OK)
            return NULL;
        return *owned = data;
    }
    for (const embedded_file *f = embedded_files; f->name; f++)
        if (strcmp(f->name, name) == 0) {
            *len = f->len;
            return (const char *)f->data;
        }
    return NULL;
}

const char *source_name(int i) {
    if (i < 0) return NULL;
    for (const embedded_file *f = embedded_files; f->name; f++)
        if (i-- == 0) return f->name;
    return NULL;
}
