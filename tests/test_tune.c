/* Pipelines and the autotuner, on the device at hand. */
#define _POSIX_C_SOURCE 200809L
#include "base/file.h"
#include "kernel/kernel.h"
#include "tree.h"

#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static dev_device *device;
static kernels *k;
static mare_error error;

/* The work of a run is in constant 1, so that one shader serves as a fast and a slow candidate.
 * LIFT, a define, makes another shader of it. */
static const char work[] =
    "layout(local_size_x_id = 0) in;\n"
    "layout(constant_id = 1) const uint LOOPS = 1;\n"
    "layout(std140, binding = 0) uniform Params { uint n; float add; };\n"
    "layout(std430, binding = 1) readonly buffer In { float x[]; };\n"
    "layout(std430, binding = 2) writeonly buffer Out { float y[]; };\n"
    "void main() {\n"
    "    uint i = gl_GlobalInvocationID.x;\n"
    "    if (i >= n) return;\n"
    "    float v = x[i];\n"
    "    for (uint j = 0; j < LOOPS; j++) v = v * 0.75 + 0.25 * x[(i + j) % n];\n"
    "    y[i] = v + add + LIFT;\n"
    "}\n";

static void reopen(void) {
    kernels_destroy(k);
    cr_assert(kernels_create(device, &error, &k) == MARE_OK, "%s", error.text);
}

static void open_device(void) {
    tree_open();
    unsetenv("MARE_TUNE");
    tree_shader("t/work.comp", work);
    dev_options o = {
        .device = getenv("MARE_DEVICE"), .caps = getenv("MARE_CAPS"), .validate = true};
    cr_assert(dev_create(&o, &error, &device) == MARE_OK, "%s", error.text);
    reopen();
}

static void close_device(void) {
    kernels_destroy(k);
    const char *last = NULL;
    int n = dev_validation_messages(device, &last);
    cr_expect(n <= 0, "%d messages of the validation layer, the last: %s", n, last);
    dev_destroy(device);
    tree_close();
}

TestSuite(tune, .init = open_device, .fini = close_device, .timeout = 120);

static kernel_stats stats(void) {
    kernel_stats s;
    kernels_get_stats(k, &s);
    return s;
}

/* ---- Pipelines ---------------------------------------------------------------------------- */

Test(tune, pipelines_are_made_once) {
    kernel_id id = {"t/work.comp", "LIFT 0.0\n", 2, 2, {32, 1}, NULL};
    char shader[] = "t/work.comp", defines[] = "LIFT 0.0\n"; /* equal texts elsewhere */
    dev_pipeline *a, *b;
    cr_assert(kernel_get(k, &id, &a) == MARE_OK, "%s", error.text);
    id.shader = shader;
    id.defines = defines;
    cr_assert(kernel_get(k, &id, &b) == MARE_OK && a == b);
    memcpy(shader, "x/xxxx.xxxx", sizeof shader - 1); /* the callers' texts may go away */
    id.shader = "t/work.comp";
    cr_assert(kernel_get(k, &id, &b) == MARE_OK && a == b);
    cr_expect(stats().pipelines == 1 && stats().compiled == 1);
    id.spec[1] = 2;
    cr_assert(kernel_get(k, &id, &b) == MARE_OK && a != b);
    cr_expect(stats().pipelines == 2 && stats().compiled == 1, "other constants, same SPIR-V");
    id.spec[1] = 1;
    id.buffers = 3;
    cr_assert(kernel_get(k, &id, &b) == MARE_OK && a != b);
    id.buffers = 2;
    id.defines = "LIFT 1.0\n";
    cr_assert(kernel_get(k, &id, &b) == MARE_OK && a != b);
    cr_expect(stats().pipelines == 4 && stats().compiled == 2);
    reopen();
    cr_assert(kernel_get(k, &id, &b) == MARE_OK);
    cr_expect(stats().compiled == 0 && stats().from_disk == 1 && stats().pipelines == 1);
}

Test(tune, bad_kernels_are_errors) {
    dev_pipeline *p;
    kernel_id id = {"t/work.comp", "", 2, 2, {32, 1}, NULL};
    for (int i = 0; i < 2; i++) {
        cr_expect(kernel_get(k, &id, &p) == MARE_E_SHADER && error.code == MARE_E_SHADER);
        cr_expect(strstr(error.text, "t/work.comp:11: 'LIFT'") != NULL, "%s", error.text);
    }
    id.defines = "LIFT 0.0\n";
    id.n_spec = KERNEL_MAX_SPEC + 1;
    cr_expect(kernel_get(k, &id, &p) == MARE_E_ARGUMENT);
    id.n_spec = 2;
    cr_expect(kernel_get(k, &id, &p) == MARE_OK, "and good ones work afterwards");
}

/* What a kernel writes is what its text says. */
Test(tune, pipelines_compute) {
    enum { N = 100 };
    float x[N], y[N];
    for (int i = 0; i < N; i++)
        x[i] = (float)i;
    kernel_id id = {"t/work.comp", "LIFT 0.5\n", 2, 2, {32, 0}, NULL};
    dev_pipeline *p;
    dev_buffer *in, *out;
    dev_recorder *r;
    cr_assert(kernel_get(k, &id, &p) == MARE_OK, "%s", error.text);
    cr_assert(dev_buffer_create(device, sizeof x, &in) == MARE_OK);
    cr_assert(dev_buffer_create(device, sizeof y, &out) == MARE_OK);
    cr_assert(dev_upload(device, in, 0, x, sizeof x) == MARE_OK);
    cr_assert(dev_record(device, &r) == MARE_OK);
    uint32_t params[2] = {N}, groups[3] = {(N + 31) / 32, 1, 1};
    float add = 7;
    memcpy(&params[1], &add, sizeof add);
    dev_binding b[2] = {{in, 0, sizeof x}, {out, 0, sizeof y}};
    cr_assert(dev_cmd_dispatch(r, p, params, 2, b, 2, groups) == MARE_OK, "%s", error.text);
    cr_assert(dev_submit(r) == MARE_OK);
    cr_assert(dev_download(device, out, 0, y, sizeof y) == MARE_OK);
    for (int i = 0; i < N; i++)
        cr_assert(y[i] == x[i] + 7.5f, "%d: %g", i, (double)y[i]);
    dev_buffer_release(in);
    dev_buffer_release(out);
}

Test(tune, pipeline_cache_survives_torn_files) {
    kernel_id id = {"t/work.comp", "LIFT 0.0\n", 2, 2, {32, 1}, NULL};
    dev_pipeline *p;
    cr_assert(kernel_get(k, &id, &p) == MARE_OK);
    reopen();
    char path[512];
    cr_assert(tree_cached("pipelines-", path) == 1);
    void *data;
    size_t len;
    cr_assert(file_read(path, 0, &data, &len, NULL) == MARE_OK);
    for (int i = 0; i < 5; i++) {
        unsigned char *bytes = data;
        bytes[(size_t)i * (len - 1) / 4] ^= 1;
        cr_assert(file_write(path, data, i & 1 ? len : len / 2, NULL) == MARE_OK);
        reopen();
        cr_assert(kernel_get(k, &id, &p) == MARE_OK);
    }
    free(data);
}

/* ---- Choosing ----------------------------------------------------------------------------- */

enum { N = 4096, FEW = 1, MANY = 3000 };

/* A problem with `n` candidates of LOOPS = loops[i], called names[i]. */
typedef struct bench {
    tune_candidate all[4];
    tune_problem p;
    uint32_t params[2];
    uint64_t bytes[2];
} bench;

static tune_problem *problem(bench *b, int n, const char *const *names, const uint32_t *loops) {
    *b = (bench){.params = {N}, .bytes = {N * 4, N * 4}};
    for (int i = 0; i < n; i++)
        b->all[i] = (tune_candidate){names[i],
                                     {"t/work.comp", "LIFT 0.0\n", 2, 2, {32, loops[i]}, NULL},
                                     {N / 32, 1, 1},
                                     b->params,
                                     2};
    b->p = (tune_problem){"work/4096", b->all, n, b->bytes, 2, 3.0 * N};
    return &b->p;
}

/* The choice between names[0] with first loops and names[1] with second. */
static int choose(const char *name0, uint32_t first, const char *name1, uint32_t second) {
    bench b;
    return tune_choose(k,
                       problem(&b, 2, (const char *[]){name0, name1}, (uint32_t[]){first, second}));
}

Test(tune, picks_the_faster) {
    cr_expect(choose("slow", MANY, "fast", FEW) == 1);
    cr_expect(stats().tuned == 1);
    cr_expect(choose("slow", MANY, "fast", FEW) == 1);
    cr_expect(stats().tuned == 1, "known by now");
    cr_expect(choose("fast", FEW, "slow", MANY) == 0, "in the other order");
    cr_expect(stats().tuned == 2);
    bench b;
    const char *names[] = {"a", "b", "c", "d"};
    uint32_t loops[] = {MANY, 2 * MANY, FEW, MANY};
    cr_expect(tune_choose(k, problem(&b, 4, names, loops)) == 2);
    cr_expect(tune_choose(k, problem(&b, 1, names, loops)) == 0, "no choice");
    cr_expect(stats().tuned == 3);
}

Test(tune, records_outlive_the_run) {
    cr_assert(choose("slow", MANY, "fast", FEW) == 1);
    reopen();
    /* Were it measured, the answer would be 0 now. */
    cr_expect(choose("slow", FEW, "fast", MANY) == 1);
    cr_expect(stats().tuned == 0 && stats().pipelines == 0);
    tune_record *list;
    int n;
    cr_assert(tune_list(k, &list, &n) == MARE_OK && n == 1);
    cr_expect(strcmp(list[0].key, "work/4096") == 0 && strcmp(list[0].candidate, "fast") == 0);
    cr_expect(!list[0].pinned && list[0].seconds > 0 && list[0].flops == 3.0 * N);
    free(list);
    /* Another list, or another shader behind the names, is measured. */
    cr_expect(choose("slow", FEW, "faster", MANY) == 0 && stats().tuned == 1);
    tree_shader("t/work.comp", "// edited\n");
    FILE *f = fopen(tree_path("shaders/t/work.comp"), "a");
    cr_assert(f && fputs(work, f) >= 0 && fclose(f) == 0);
    cr_expect(choose("slow", FEW, "fast", MANY) == 0 && stats().tuned == 2);
}

Test(tune, another_key_is_another_record) {
    cr_assert(choose("slow", MANY, "fast", FEW) == 1);
    bench b;
    tune_problem *p = problem(&b, 2, (const char *[]){"slow", "fast"}, (uint32_t[]){FEW, MANY});
    p->key = "work/8192";
    cr_expect(tune_choose(k, p) == 0 && stats().tuned == 2);
}

Test(tune, pins) {
    cr_assert(tune_pin(k, "work/4096", "slow") == MARE_OK);
    cr_expect(choose("slow", MANY, "fast", FEW) == 0 && choose("fast", FEW, "slow", MANY) == 1);
    cr_expect(stats().tuned == 0);
    cr_expect(choose("fast", FEW, "slower", MANY) == 0 && stats().tuned == 1,
              "a list without it is measured");
    reopen();
    setenv("MARE_TUNE", "0", 1);
    cr_expect(choose("fast", FEW, "slow", MANY) == 1 && stats().tuned == 0, "kept on disk");
    tune_record *list;
    int n, pinned = 0;
    cr_assert(tune_list(k, &list, &n) == MARE_OK && n == 2);
    for (int i = 0; i < n; i++)
        pinned += list[i].pinned && strcmp(list[i].candidate, "slow") == 0;
    cr_expect(pinned == 1);
    free(list);
    unsetenv("MARE_TUNE");
    cr_assert(tune_pin(k, "work/4096", "fast") == MARE_OK);
    cr_expect(choose("slow", MANY, "fast", FEW) == 1 && stats().tuned == 0, "pinned anew");
    cr_assert(tune_pin(k, "work/4096", NULL) == MARE_OK);
    cr_assert(tune_pin(k, "none", NULL) == MARE_OK);
    cr_expect(choose("slow", MANY, "fast", FEW) == 1 && stats().tuned == 1, "measured again");
    reopen();
    cr_assert(tune_list(k, &list, &n) == MARE_OK && n == 2 && !list[0].pinned && !list[1].pinned);
    free(list);
}

Test(tune, off) {
    setenv("MARE_TUNE", "0", 1);
    cr_expect(choose("slow", MANY, "fast", FEW) == 0 && stats().tuned == 0);
    cr_expect(stats().pipelines == 0, "nothing was even compiled");
    unsetenv("MARE_TUNE");
    cr_expect(choose("slow", MANY, "fast", FEW) == 1);
}

Test(tune, candidates_that_fail_lose) {
    bench b;
    const char *names[] = {"slow", "broken", "fast"};
    uint32_t loops[] = {MANY, FEW, FEW};
    tune_problem *p = problem(&b, 3, names, loops);
    b.all[1].kernel.defines = "";
    error = (mare_error){0};
    cr_expect(tune_choose(k, p) == 2);
    cr_expect(error.code == MARE_OK && error.text[0] == 0, "no error is left behind");
    b.all[0].kernel.defines = b.all[2].kernel.defines = "";
    p->key = "all broken";
    cr_expect(tune_choose(k, p) == 0);
    tune_record *list;
    int n;
    cr_assert(tune_list(k, &list, &n) == MARE_OK);
    cr_expect(n == 1, "a failure is no record");
    free(list);
}

Test(tune, scratch_that_does_not_fit) {
    dev_memory_set_cap(device, 1 << 20);
    bench b;
    tune_problem *p = problem(&b, 2, (const char *[]){"slow", "fast"}, (uint32_t[]){MANY, FEW});
    b.bytes[0] = 8 << 20;
    error = (mare_error){0};
    cr_expect(tune_choose(k, p) == 0 && error.code == MARE_OK);
    dev_memory m;
    dev_memory_stats(device, &m);
    cr_expect(m.used == 0, "scratch buffers are given back");
}

/* ---- The database ------------------------------------------------------------------------- */

static void expect_works_without(const char *what) {
    reopen();
    cr_expect(choose("slow", MANY, "fast", FEW) == 1 && stats().tuned == 1, "%s", what);
    cr_expect(choose("slow", FEW, "fast", MANY) == 1 && stats().tuned == 1, "%s: in memory", what);
}

Test(tune, database_corrupt_or_missing) {
    char text[9000];
    memset(text, 'x', sizeof text);
    const char *path = tree_path("cache/tuning.db");
    cr_assert(file_make_dir(tree_path("cache"), NULL) == MARE_OK);
    cr_assert(file_write(path, text, sizeof text, NULL) == MARE_OK);
    expect_works_without("no database at all");

    remove(path);
    sqlite3 *db;
    cr_assert(sqlite3_open(path, &db) == SQLITE_OK);
    cr_assert(sqlite3_exec(db, "CREATE TABLE choice(x)", NULL, NULL, NULL) == SQLITE_OK);
    sqlite3_close(db);
    expect_works_without("another table of that name");

    remove(path);
    cr_assert(file_make_dir(path, NULL) == MARE_OK);
    expect_works_without("a folder");
    setenv("MARE_CACHE", "", 1);
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    expect_works_without("no cache folder");
}

Test(tune, database_torn) {
    cr_assert(choose("slow", MANY, "fast", FEW) == 1);
    reopen();
    void *data;
    size_t len;
    const char *path = tree_path("cache/tuning.db");
    cr_assert(file_read(path, 0, &data, &len, NULL) == MARE_OK && len > 4096);
    memset((char *)data + 4096, 0xa5, len - 4096);
    cr_assert(file_write(path, data, len, NULL) == MARE_OK);
    expect_works_without("pages overwritten");
    cr_assert(file_write(path, data, 5000, NULL) == MARE_OK);
    expect_works_without("cut");
    free(data);
}

Test(tune, database_locked) {
    cr_assert(choose("slow", MANY, "fast", FEW) == 1);
    sqlite3 *db;
    cr_assert(sqlite3_open(tree_path("cache/tuning.db"), &db) == SQLITE_OK);
    cr_assert(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL) == SQLITE_OK);
    expect_works_without("locked");
    cr_assert(tune_pin(k, "made while locked", "slow") == MARE_OK);
    cr_assert(tune_pin(k, "made and taken away", "slow") == MARE_OK);
    cr_assert(tune_pin(k, "made and taken away", NULL) == MARE_OK);
    sqlite3_close(db);
    reopen();
    cr_expect(choose("slow", MANY, "fast", FEW) == 1 && stats().tuned == 0, "there afterwards");
    tune_record *list;
    int n, pinned = 0;
    cr_assert(tune_list(k, &list, &n) == MARE_OK && n == 2);
    for (int i = 0; i < n; i++)
        pinned += list[i].pinned && strcmp(list[i].key, "made while locked") == 0;
    cr_expect(pinned == 1);
    free(list);
}
