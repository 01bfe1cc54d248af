/* Pipelines and the autotuner, on the device at hand. */
#define _POSIX_C_SOURCE 200809L
#include "base/file.h"
#include "tune_kit.h"

#include <sqlite3.h>

TestSuite(tune, .init = open_device, .fini = close_device, .timeout = 120);

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
    enum { COUNT = 100 };
    float x[COUNT], y[COUNT];
    for (int i = 0; i < COUNT; i++)
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
    uint32_t params[2] = {COUNT}, groups[3] = {(COUNT + 31) / 32, 1, 1};
    float add = 7;
    memcpy(&params[1], &add, sizeof add);
    dev_binding b[2] = {{in, 0, sizeof x}, {out, 0, sizeof y}};
    cr_assert(dev_cmd_dispatch(r, p, params, 2, b, 2, groups) == MARE_OK, "%s", error.text);
    cr_assert(dev_submit(r) == MARE_OK);
    cr_assert(dev_download(device, out, 0, y, sizeof y) == MARE_OK);
    for (int i = 0; i < COUNT; i++)
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
    mare_tune_record *list;
    int n;
    cr_assert(tune_list(k, &list, &n) == MARE_OK && n == 1);
    cr_expect(strcmp(list[0].key, "work/4096") == 0 && strcmp(list[0].best, "fast") == 0);
    cr_expect(list[0].state == MARE_TUNE_KNOWN && list[0].flops == 3.0 * N);
    cr_expect(list[0].bytes == 2.0 * N * 4 && list[0].n == 2);
    const mare_tune_candidate *c = list[0].candidates;
    cr_expect(strcmp(c[0].name, "slow") == 0 && strcmp(c[1].name, "fast") == 0);
    cr_expect(c[1].seconds > 0 && c[0].seconds > c[1].seconds);
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
    measure_when(MARE_TUNING_OFF);
    cr_expect(choose("fast", FEW, "slow", MANY) == 1 && stats().tuned == 0, "kept on disk");
    mare_tune_record *list;
    int n, pinned = 0;
    cr_assert(tune_list(k, &list, &n) == MARE_OK && n == 2);
    for (int i = 0; i < n; i++)
        pinned += list[i].state == MARE_TUNE_PINNED && strcmp(list[i].best, "slow") == 0;
    cr_expect(pinned == 1);
    free(list);
    measure_when(MARE_TUNING_FIRST_USE);
    cr_assert(tune_pin(k, "work/4096", "fast") == MARE_OK);
    cr_expect(choose("slow", MANY, "fast", FEW) == 1 && stats().tuned == 0, "pinned anew");
    cr_assert(tune_pin(k, "work/4096", NULL) == MARE_OK);
    cr_assert(tune_pin(k, "none", NULL) == MARE_OK);
    cr_expect(choose("slow", MANY, "fast", FEW) == 1 && stats().tuned == 1, "measured again");
    reopen();
    cr_assert(tune_list(k, &list, &n) == MARE_OK && n == 2);
    cr_expect(list[0].state == MARE_TUNE_KNOWN && list[1].state == MARE_TUNE_KNOWN);
    free(list);
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
    mare_tune_record *list;
    int n, pinned = 0;
    cr_assert(tune_list(k, &list, &n) == MARE_OK && n == 2);
    for (int i = 0; i < n; i++)
        pinned +=
            list[i].state == MARE_TUNE_PINNED && strcmp(list[i].key, "made while locked") == 0;
    cr_expect(pinned == 1);
    free(list);
}
