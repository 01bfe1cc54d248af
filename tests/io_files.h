/* Files for the tests of engine/io: scratch files, and the real data sets. */
#ifndef TESTS_IO_FILES_H
#define TESTS_IO_FILES_H

#include "io/io.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct file_name {
    char s[1024];
} file_name;

/* A name of this test's own in the folder for temporary files. */
static inline file_name scratch(const char *name) {
    const char *dir = getenv("TMPDIR");
    file_name f;
    snprintf(f.s, sizeof f.s, "%s/mare-test-%d-%s", dir && *dir ? dir : "/tmp", (int)getpid(),
             name);
    return f;
}

static inline void put(const char *path, const void *data, size_t len) {
    FILE *f = fopen(path, "wb");
    cr_assert(f && fwrite(data, 1, len, f) == len && fclose(f) == 0, "cannot write %s", path);
}

/* A file of the real data sets; the test is skipped when they are not there. */
static inline file_name real_data(const char *name) {
    const char *dir = getenv("MARE_DATA");
    file_name f;
    snprintf(f.s, sizeof f.s, "%s/%s", dir && *dir ? dir : TEST_ROOT "/../shared/data", name);
    if (access(f.s, R_OK) != 0) {
        fprintf(stderr, "skipped: %s is not there (set MARE_DATA)\n", f.s);
        cr_skip_test("%s is not there", f.s);
    }
    return f;
}

#endif
