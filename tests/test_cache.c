/* The cache folder, damaged in every way: what is not whole is made again, and results are right.
 */
#define _GNU_SOURCE
#include "base/file.h"
#include "device/internal.h"
#include "kernel/internal.h"
#include "kernel_kit.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(cache, .init = kit_open, .fini = kit_close, .timeout = 300);

/* ---- What is in the folder ---------------------------------------------------------------- */

static tune_candidate two[2] = {{.name = "a", .kernel = {.shader = "t/work.comp", .defines = ""}},
                                {.name = "b", .kernel = {.shader = "t/work.comp", .defines = ""}}};
static const tune_problem pinned = {.key = "pinned", .candidates = two, .n = 2};

/* Makes every kernel and a record, and checks them; all in memory afterwards, and on disk where it
 * can be written. */
static bool use_all(void) {
    prefetch_all();
    for (int i = 0; i < KERNELS; i++)
        if (!kit_right(i)) return false;
    return tune_known(k, &pinned) == 1 ||
           (tune_pin(k, "pinned", "b") == MARE_OK && tune_known(k, &pinned) == 1);
}

static void expect_start(uint64_t compiled, const char *what) {
    reopen();
    cr_assert(use_all(), "%s: %s", what, error.text);
    cr_expect(stats().compiled == compiled && stats().from_disk == TEXTS - compiled,
              "%s: compiled %d, not %d", what, (int)stats().compiled, (int)compiled);
}

static VkResult (*real_create)(VkDevice, const VkPipelineCacheCreateInfo *,
                               const VkAllocationCallbacks *, VkPipelineCache *);
static int loads; /* of old pipelines into the driver */

static VkResult counting_create(VkDevice d, const VkPipelineCacheCreateInfo *info,
                                const VkAllocationCallbacks *a, VkPipelineCache *out) {
    loads += info->initialDataSize > 0;
    return real_create(d, info, a, out);
}

static void count_loads(void) {
    real_create = device->fn.vkCreatePipelineCache;
    device->fn.vkCreatePipelineCache = counting_create;
}

/* A file's bytes, to be damaged and written back. */
typedef struct copy {
    char path[512];
    unsigned char *bytes;
    size_t len;
} copy;

static copy copy_of(const char *prefix) {
    copy c;
    void *data;
    cr_assert(tree_cached(prefix, c.path) >= 1);
    cr_assert(file_read(c.path, 0, &data, &c.len, NULL) == MARE_OK);
    c.bytes = data;
    return c;
}

static void put(const copy *c, size_t len) {
    cr_assert(file_write(c->path, c->bytes, len, NULL) == MARE_OK);
}

/* ---- Bytes -------------------------------------------------------------------------------- */

/* (What the same does to compiled shaders is in test_kernel.c.) */
Test(cache, pipelines_with_a_byte_wrong_never_reach_the_driver) {
    expect_start(TEXTS, "an empty folder");
    reopen();
    copy c = copy_of("pipelines-");
    count_loads();
    reopen();
    cr_assert(loads == 1, "whole ones do");
    size_t stride = 1 + c.len / 400;
    for (size_t i = 0; i < c.len; i += stride) {
        c.bytes[i] ^= (unsigned char)(1 << i % 8);
        put(&c, c.len);
        reopen();
        c.bytes[i] ^= (unsigned char)(1 << i % 8);
        put(&c, i);
        reopen();
        cr_assert(loads == 1, "byte %d", (int)i);
    }
    c.bytes = realloc(c.bytes, c.len + 1);
    c.bytes[c.len] = 0;
    put(&c, c.len + 1);
    reopen();
    cr_expect(loads == 1, "a byte too many");
    expect_start(0, "shaders are there still");
    reopen();
    cr_expect(loads == 2, "the file was written anew");
    put(&c, c.len);
    reopen();
    cr_expect(loads == 3);
    free(c.bytes);
}

/* The database has no checksums, so a wrong byte may be a wrong choice, but it is one of the list;
 * and a new record is kept again, by the next start at the latest. */
Test(cache, tuning_records_with_a_byte_wrong) {
    cr_assert(use_all());
    for (int i = 0; i < 40; i++) {
        char key[64];
        snprintf(key, sizeof key, "a rather long name of a problem/%d", i);
        cr_assert(tune_pin(k, key, i & 1 ? "a" : "b") == MARE_OK);
    }
    reopen();
    copy c = copy_of("tuning.db");
    for (size_t i = 0; i < c.len; i += i < 100 ? 1 : 131) {
        for (int cut = 0; cut < 2; cut++) {
            c.bytes[i] ^= (unsigned char)(1 << i % 8);
            put(&c, cut ? i : c.len);
            c.bytes[i] ^= (unsigned char)(1 << i % 8);
            reopen();
            int known = tune_known(k, &pinned);
            cr_assert(known >= -1 && known < 2);
            cr_assert(tune_pin(k, "pinned", "b") == MARE_OK && tune_known(k, &pinned) == 1);
            reopen();
            tune_known(k, &pinned);
            cr_assert(tune_pin(k, "pinned", "b") == MARE_OK);
            reopen();
            cr_assert(tune_known(k, &pinned) == 1, "byte %d, cut %d", (int)i, cut);
        }
    }
    free(c.bytes);
}

/* ---- The bound ---------------------------------------------------------------------------- */

static struct stat stat_of(const char *path) {
    struct stat st;
    cr_assert(stat(path, &st) == 0);
    return st;
}

/* The longest unused go, and no other files; a use counts, a little late. */
Test(cache, compiled_shaders_take_no_more_than_their_bound) {
    cr_assert(use_all());
    reopen();
    char folder[512], pattern[520];
    cr_assert(tree_cached("spirv-", folder) == TEXTS);
    *strrchr(folder, '/') = 0;
    snprintf(pattern, sizeof pattern, "%s/spirv-*", folder);
    glob_t files;
    cr_assert(glob(pattern, 0, NULL, &files) == 0 && files.gl_pathc == TEXTS);
    uint64_t bytes = 0;
    for (int i = 0; i < TEXTS; i++) { /* the first is the oldest */
        const char *path = files.gl_pathv[i];
        struct timespec at[2] = {{.tv_nsec = UTIME_OMIT},
                                 {.tv_sec = time(NULL) - (20 - i) * 86400}};
        cr_assert(utimensat(AT_FDCWD, path, at, 0) == 0);
        bytes += (uint64_t)stat_of(path).st_size;
    }
    cache_sweep(folder, bytes);
    cr_expect(tree_cached("spirv-", NULL) == TEXTS, "that much may be there");
    cache_sweep(folder, bytes - 1);
    int gone = 0;
    uint64_t left = 0;
    for (int i = 0; i < TEXTS; i++) {
        bool there = file_exists(files.gl_pathv[i]);
        gone += !there;
        cr_expect(there == (i >= gone), "file %d", i);
        if (there) left += (uint64_t)stat_of(files.gl_pathv[i]).st_size;
    }
    cr_expect(gone > 0 && left <= bytes / 4 * 3, "%d gone", gone);
    cr_expect(tree_cached("pipelines-", NULL) == 1 && tree_cached("tuning.db", NULL) >= 1);
    expect_start((uint64_t)gone, "what went is made again");
    time_t now = time(NULL);
    for (int i = 0; i < TEXTS; i++)
        cr_expect(stat_of(files.gl_pathv[i]).st_mtime > now - 3600, "file %d was used", i);
    globfree(&files);
}

/* ---- Files that are none, or another's ---------------------------------------------------- */

static const char *const kinds[] = {"spirv-", "pipelines-", "tuning.db"};

typedef enum thing { FOLDER, DANGLING, LOOP, PIPE, ZEROES, EMPTY, FOREIGN, LINK, THINGS } thing;

/* Puts the thing where c's file is. */
static void place(const copy *c, thing t) {
    cr_assert(remove(c->path) == 0);
    switch (t) {
    case FOLDER:
        cr_assert(mkdir(c->path, 0755) == 0);
        break;
    case DANGLING:
        cr_assert(symlink("/nonexistent/file", c->path) == 0);
        break;
    case LOOP:
        cr_assert(symlink(c->path, c->path) == 0);
        break;
    case PIPE:
        cr_assert(mkfifo(c->path, 0644) == 0);
        break;
    case ZEROES:
        cr_assert(symlink("/dev/zero", c->path) == 0);
        break;
    case EMPTY:
        put(c, 0);
        break;
    case FOREIGN:
        cr_assert(file_write(c->path, "#!/bin/sh\n", 10, NULL) == MARE_OK);
        break;
    default:
        cr_assert(file_write(tree_path("elsewhere"), c->bytes, c->len, NULL) == MARE_OK);
        cr_assert(symlink(tree_path("elsewhere"), c->path) == 0);
    }
}

Test(cache, things_that_are_no_files) {
    cr_assert(use_all());
    for (int i = 0; i < 3; i++)
        for (thing t = 0; t < THINGS; t++) {
            reopen();
            char what[64];
            snprintf(what, sizeof what, "%s, thing %d", kinds[i], (int)t);
            copy c = copy_of(kinds[i]);
            place(&c, t);
            expect_start(i == 0 && t != LINK, what);
            expect_start(i == 0 && t == FOLDER, what); /* which cannot be replaced */
            reopen();
            cr_assert(remove(c.path) == 0);
            put(&c, c.len);
            free(c.bytes);
        }
}

/* Files exchanged for others of the same kind. */
Test(cache, exchanged_files) {
    cr_assert(use_all());
    reopen();
    char first[512], last[512], third[512];
    snprintf(third, sizeof third, "%s", tree_path("third"));
    cr_assert(tree_cached("spirv-", last) == TEXTS);
    cr_assert(rename(last, third) == 0 && tree_cached("spirv-", first) == TEXTS - 1);
    cr_assert(rename(first, last) == 0 && rename(third, first) == 0);
    expect_start(2, "two exchanged");
    expect_start(0, "and put right");
    copy spirv = copy_of("spirv-"), pipelines = copy_of("pipelines-");
    memcpy(first, spirv.path, sizeof first);
    memcpy(spirv.path, pipelines.path, sizeof spirv.path);
    memcpy(pipelines.path, first, sizeof first);
    reopen();
    put(&spirv, spirv.len);
    put(&pipelines, pipelines.len);
    expect_start(1, "kinds exchanged");
    expect_start(0, "and put right");
    free(spirv.bytes);
    free(pipelines.bytes);
}

/* ---- Folders ------------------------------------------------------------------------------ */

enum { FAILED = 1, CANNOT = 77 };

/* Runs f in a process of its own, in which the folder may be changed at will; f returns the exit
 * code. False, and a word why, where the system does not let it. */
static bool apart(int (*f)(int), int arg, const char *need) {
    close_device();
    fflush(NULL);
    pid_t child = fork();
    cr_assert(child >= 0);
    if (!child) _exit(f(arg));
    int status;
    cr_assert(waitpid(child, &status, 0) == child);
    open_device();
    if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT) {
        printf("skipped: this needs %s\n", need);
        return false;
    }
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "case %d: status %x", arg, status);
    return true;
}

/* What a user meets who may not write (0), may not read (1), may do neither (2). */
static int forbidden(int kind) {
    if (geteuid() == 0 && (setgid(65534) || setuid(65534))) return CANNOT;
    dev_options o = {.device = getenv("MARE_DEVICE"), .caps = getenv("MARE_CAPS")};
    if (dev_create(&o, &error, &device)) return CANNOT; /* others may not use this one */
    if (kernels_create(device, &error, &k)) return FAILED;
    bool known = tune_known(k, &pinned) == 1, ok = use_all();
    uint64_t compiled = stats().compiled;
    kernels_destroy(k);
    dev_destroy(device);
    return !(ok && known == (kind == 0) && compiled == (kind ? TEXTS : 0));
}

Test(cache, folders_that_forbid) {
    cr_assert(use_all());
    reopen();
    cr_assert(chmod(tree_path("."), 0755) == 0);
    static const char *const modes[] = {"555 '%s'", "755 '%s'; chmod 000 '%s'/*", "000 '%s'"};
    for (int i = 0; i < 3; i++) {
        char command[2048], arguments[1024];
        snprintf(arguments, sizeof arguments, modes[i], tree_path("cache"), tree_path("cache"));
        snprintf(command, sizeof command, "chmod %s", arguments);
        cr_assert(system(command) == 0);
        bool done = apart(forbidden, i, "a device for every user");
        snprintf(command, sizeof command, "chmod 755 '%s'; chmod 644 '%s'/*", tree_path("cache"),
                 tree_path("cache"));
        cr_assert(system(command) == 0);
        if (!done) break;
    }
    expect_start(0, "afterwards");
}

/* A disk with room for so many KiB. */
static int full(int kib) {
    char options[32];
    snprintf(options, sizeof options, "size=%dk", kib);
    const char *cache = tree_path("cache");
    if (file_make_dir(cache, NULL) || unshare(CLONE_NEWNS) ||
        mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("none", cache, "tmpfs", 0, options))
        return CANNOT;
    open_device();
    for (int i = 0; i < 2; i++) {
        if (!use_all()) return FAILED;
        reopen();
    }
    bool left = system("ls \"$MARE_CACHE\" | grep -q '[.]......$'") == 0; /* of a file not whole */
    close_device();
    return left;
}

Test(cache, disks_that_are_full) {
    static const int sizes[] = {4, 8, 20, 36};
    for (int i = 0; i < 4; i++)
        if (!apart(full, sizes[i], "root, to mount a small disk")) break;
}

Test(cache, files_of_killed_writers_are_swept_away) {
    cr_assert(use_all());
    reopen();
    char whole[512], left[600], other[600], fresh[600];
    cr_assert(tree_cached("spirv-", whole) == TEXTS);
    snprintf(left, sizeof left, "%s.Ab12Cd", whole);
    snprintf(fresh, sizeof fresh, "%s.Xy34Zw", whole);
    snprintf(other, sizeof other, "%s.notes", tree_path("cache/my"));
    const char *const all[] = {left, fresh, other};
    for (int i = 0; i < 3; i++)
        cr_assert(file_write(all[i], "half", 4, NULL) == MARE_OK);
    const struct timespec long_ago[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    cr_assert(utimensat(AT_FDCWD, left, long_ago, 0) == 0);
    cr_assert(utimensat(AT_FDCWD, other, long_ago, 0) == 0);
    cr_assert(utimensat(AT_FDCWD, whole, long_ago, 0) == 0);
    expect_start(0, "nothing new");
    reopen();
    cr_expect(file_exists(left), "a start that writes nothing looks for nothing");
    tree_shader("t/work.comp", "// edited\n");
    FILE *f = fopen(tree_path("shaders/t/work.comp"), "a");
    cr_assert(f && fputs(kit_shader, f) >= 0 && fclose(f) == 0);
    expect_start(TEXTS, "an edited shader");
    reopen();
    cr_expect(!file_exists(left), "an old one goes");
    cr_expect(file_exists(fresh) && file_exists(other) && file_exists(whole));
}
