#define _XOPEN_SOURCE 700
#include "tree.h"

#include "base/file.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static char folder[64];

const char *tree_path(const char *name) {
    static char path[4][512];
    static int next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

void tree_open(void) {
    strcpy(folder, "/tmp/mare-test-XXXXXX");
    cr_assert(mkdtemp(folder) != NULL);
    setenv("MARE_ROOT", folder, 1);
    setenv("MARE_CACHE", tree_path("cache"), 1);
}

static int take(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void tree_close(void) {
    nftw(folder, take, 16, FTW_DEPTH | FTW_PHYS);
}

void tree_shader(const char *name, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s/shaders/%s", folder, name);
    char *slash = strrchr(path, '/');
    *slash = 0;
    cr_assert(file_make_dir(path, NULL) == MARE_OK);
    *slash = '/';
    cr_assert(file_write(path, text, strlen(text), NULL) == MARE_OK);
}

int tree_cached(const char *prefix, char path[512]) {
    DIR *d = opendir(tree_path("cache"));
    int n = 0;
    for (struct dirent *f; d && (f = readdir(d));)
        if (strncmp(f->d_name, prefix, strlen(prefix)) == 0) {
            n++;
            if (path) snprintf(path, 512, "%s/%s", tree_path("cache"), f->d_name);
        }
    if (d) closedir(d);
    return n;
}
