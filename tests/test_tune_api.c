/* Tuning through the public C API: policies, runs, pins, and files of records, hostile ones too. */
#define _POSIX_C_SOURCE 200809L
#include "base/file.h"
#include "base/rng.h"
#include "tree.h"

#include <criterion/criterion.h>
#include <mare/mare.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mare_context *ctx;

static void open_context(void) {
    char why[512];
    mare_status status =
        mare_context_create(&(mare_options){.error = why, .error_size = sizeof why}, &ctx);
    cr_assert_eq(status, MARE_OK, "%s", why);
}

static void setup(void) {
    tree_open();
    unsetenv("MARE_ROOT");
    unsetenv("MARE_TUNE");
    open_context();
}

static void teardown(void) {
    mare_stats s;
    mare_get_stats(ctx, &s);
    cr_expect(s.validation <= 0, "the validation layer spoke");
    mare_context_destroy(ctx);
    tree_close();
}

TestSuite(tune_api, .init = setup, .fini = teardown, .timeout = 300);

#define OK(call) cr_assert_eq((call), MARE_OK, #call ": %s", mare_last_error(ctx))
#define FAILS(expected, part, call)                                                                \
    do {                                                                                           \
        cr_expect_eq((call), expected, #call);                                                     \
        cr_expect_not_null(strstr(mare_last_error(ctx), part), "%s", mare_last_error(ctx));        \
    } while (0)

static uint64_t tuned(void) {
    mare_stats s;
    mare_get_stats(ctx, &s);
    return s.tuned;
}

/* A product that there is a choice of kernels for. */
static void multiply(int64_t n) {
    mare_tensor *a, *b, *y;
    OK(mare_full(ctx, MARE_F32, 2, (int64_t[]){n, 48}, 0.5, &a));
    OK(mare_full(ctx, MARE_F32, 2, (int64_t[]){48, n}, 2, &b));
    OK(mare_matmul(a, b, &y));
    double got[1];
    mare_tensor *sum;
    OK(mare_reduce("mean", y, 0, NULL, false, 0, &sum));
    OK(mare_tensor_doubles(sum, got, 1));
    cr_assert_float_eq(got[0], 48, 1e-4);
    mare_tensor_release(a);
    mare_tensor_release(b);
    mare_tensor_release(y);
    mare_tensor_release(sum);
}

static int records(void) {
    mare_tune_record r;
    int n = 0;
    while (mare_tune_record_at(ctx, n, &r))
        n++;
    return n;
}

static mare_tune_record only_result(void) {
    mare_tune_record r, more;
    cr_assert(mare_tune_result_at(ctx, 0, &r));
    cr_assert(!mare_tune_result_at(ctx, 1, &more));
    return r;
}

static mare_tune_record run(double budget, bool force) {
    OK(mare_tune_begin(ctx, &(mare_tune_options){.budget = budget, .force = force}));
    multiply(64);
    OK(mare_tune_end(ctx));
    return only_result();
}

Test(tune_api, policies) {
    double left;
    cr_expect(mare_get_tuning(ctx, &left) == MARE_TUNING_FIRST_USE && left == 60);
    OK(mare_set_tuning(ctx, MARE_TUNING_KNOWN, -1));
    multiply(64);
    cr_expect(tuned() == 0 && mare_get_tuning(ctx, NULL) == MARE_TUNING_KNOWN);
    OK(mare_set_tuning(ctx, MARE_TUNING_FIRST_USE, 0));
    multiply(64);
    cr_expect(tuned() == 0 && mare_get_tuning(ctx, &left) == MARE_TUNING_FIRST_USE && left == 0);
    OK(mare_set_tuning(ctx, MARE_TUNING_FIRST_USE, 30));
    multiply(64);
    cr_expect(tuned() == 1, "plans made before choose anew");
    FAILS(MARE_E_ARGUMENT, "set_tuning: no policy 3", mare_set_tuning(ctx, (mare_tuning)3, 0));
    setenv("MARE_TUNE", "sometimes", 1);
    char why[512];
    mare_context *none;
    cr_expect(mare_context_create(&(mare_options){.error = why, .error_size = sizeof why}, &none) ==
              MARE_E_ARGUMENT);
    cr_expect(strstr(why, "MARE_TUNE: tuning: \"sometimes\" is none of") == why, "%s", why);
}

Test(tune_api, a_run) {
    mare_tune_record r = run(0, false);
    cr_expect(r.state == MARE_TUNE_LEFT && tuned() == 0 && r.best);
    r = run(-1, false);
    cr_expect(r.state == MARE_TUNE_MEASURED && tuned() == 1 && r.n > 1);
    cr_expect(r.flops == 2.0 * 64 * 64 * 48 && r.bytes > 0);
    r = run(-1, false);
    cr_expect(r.state == MARE_TUNE_KNOWN && tuned() == 1 && r.n > 1);
    r = run(-1, true);
    cr_expect(r.state == MARE_TUNE_MEASURED && tuned() == 2);
    cr_expect(records() == 1);
    FAILS(MARE_E_ARGUMENT, "tune_end: no run is on", mare_tune_end(ctx));
    OK(mare_tune_begin(ctx, NULL));
    FAILS(MARE_E_ARGUMENT, "tune_begin: a run is on already", mare_tune_begin(ctx, NULL));
    OK(mare_tune_end(ctx));
}

Test(tune_api, not_within_a_step) {
    OK(mare_step_begin(ctx, 0, NULL));
    FAILS(MARE_E_ARGUMENT, "tune_begin: a step is being noted", mare_tune_begin(ctx, NULL));
    OK(mare_step_end(ctx, 0, NULL, NULL, NULL));
}

/* A compiled step has its kernels chosen in a run, as what is built anew has. */
Test(tune_api, compiled_steps_are_chosen_for) {
    OK(mare_set_tuning(ctx, MARE_TUNING_KNOWN, -1));
    mare_tensor *a, *y, *result;
    mare_step *step;
    OK(mare_full(ctx, MARE_F32, 2, (int64_t[]){64, 64}, 1, &a));
    OK(mare_step_begin(ctx, 1, &a));
    OK(mare_matmul(a, a, &y));
    OK(mare_step_end(ctx, 1, &y, &result, &step));
    mare_tensor_release(result);
    bool ran;
    OK(mare_step_run(step, 1, &a, 0, NULL, &result, &ran));
    cr_expect(ran);
    mare_tensor_release(result);
    OK(mare_tune_begin(ctx, NULL));
    OK(mare_step_run(step, 1, &a, 0, NULL, &result, &ran));
    cr_expect(!ran, "it is to be built anew");
    OK(mare_tune_end(ctx));
    mare_tensor_release(a);
    mare_tensor_release(y);
    mare_step_release(step);
}

Test(tune_api, pins) {
    mare_tune_record r = run(-1, false);
    const char *key = r.key, *other = r.candidates[strcmp(r.candidates[0].name, r.best) == 0].name;
    char expected[512];
    snprintf(expected, sizeof expected,
             "tune_pin: 'nonsense' is none of the candidates of %s: %s, ", key,
             r.candidates[0].name);
    FAILS(MARE_E_ARGUMENT, expected, mare_tune_pin(ctx, key, "nonsense"));
    FAILS(MARE_E_ARGUMENT, "tune_pin: no key", mare_tune_pin(ctx, "", "x"));
    OK(mare_tune_pin(ctx, key, other));
    OK(mare_tune_pin(ctx, "a key unheard of", "anything"));
    cr_expect(records() == 3);
    r = run(-1, false);
    cr_expect(r.state == MARE_TUNE_PINNED && strcmp(r.best, other) == 0);
    OK(mare_tune_pin(ctx, key, NULL));
    r = run(-1, false);
    cr_expect(r.state == MARE_TUNE_KNOWN && records() == 2);
    OK(mare_tune_clear(ctx));
    cr_expect(records() == 0);
    r = run(-1, false);
    cr_expect(r.state == MARE_TUNE_MEASURED && tuned() == 2);
}

/* ---- Files ---------------------------------------------------------------------------------- */

/* The text of an export, malloc'ed. */
static char *exported(void) {
    void *data;
    size_t len;
    OK(mare_tune_export(ctx, tree_path("tuning.json")));
    cr_assert(file_read(tree_path("tuning.json"), 0, &data, &len, NULL) == MARE_OK);
    return data;
}

static mare_status import(const char *chars, mare_tune_import_info *info) {
    cr_assert(file_write(tree_path("in.json"), chars, strlen(chars), NULL) == MARE_OK);
    return mare_tune_import(ctx, tree_path("in.json"), info);
}

/* chars with its first `old` replaced; malloc'ed. */
static char *replaced(const char *chars, const char *old, const char *new) {
    const char *at = strstr(chars, old);
    cr_assert(at, "no '%s' in %s", old, chars);
    char *out = malloc(strlen(chars) + strlen(new) + 1);
    size_t before = (size_t)(at - chars);
    memcpy(out, chars, before);
    strcpy(out + before, new);
    strcat(out, at + strlen(old));
    return out;
}

Test(tune_api, records_go_out_and_come_in) {
    mare_tune_record r = run(-1, false), again;
    char key[256], best[64];
    snprintf(key, sizeof key, "%s", r.key);
    snprintf(best, sizeof best, "%s", r.best);
    OK(mare_tune_pin(ctx, "pinned", "anything"));
    char *chars = exported();
    OK(mare_tune_clear(ctx));
    mare_tune_import_info info;
    OK(import(chars, &info));
    cr_expect(info.taken == 2 && info.refused == 0 && info.why[0] == 0, "%s", info.why);
    mare_context_destroy(ctx);
    open_context();
    cr_expect(records() == 2, "kept on disk");
    again = run(-1, false);
    cr_expect(again.state == MARE_TUNE_KNOWN && tuned() == 0);
    cr_expect_str_eq(again.key, key);
    cr_expect_str_eq(again.best, best);
    cr_expect(again.n > 1 && again.flops == 2.0 * 64 * 64 * 48);
    char *second = exported();
    cr_expect_str_eq(second, chars);
    free(second);
    free(chars);
    FAILS(MARE_E_IO, "tune_import", mare_tune_import(ctx, tree_path("absent.json"), NULL));
    FAILS(MARE_E_IO, "tune_export", mare_tune_export(ctx, tree_path("no/folder/x.json")));
}

Test(tune_api, what_does_not_fit_is_named) {
    mare_tune_record r = run(-1, false);
    char key[256], list[64];
    snprintf(key, sizeof key, "%s", r.key);
    snprintf(list, sizeof list, "%s", r.list);
    char *chars = exported();
    /* Another device. */
    const char *id = strstr(chars, "\"id\":");
    char own[64], device[256];
    cr_assert(id && sscanf(id, "\"id\": \"%63[0-9a-f]\"", own) == 1);
    char *other = replaced(chars, own, "0123456789abcdef0123456789abcdef");
    mare_device_info me;
    OK(mare_context_device(ctx, &me));
    snprintf(device, sizeof device, "%s", me.name);
    char *named = replaced(other, device, "Another One");
    mare_tune_import_info info;
    FAILS(MARE_E_ARGUMENT, "is of another device or driver, Another One (", import(named, &info));
    FAILS(MARE_E_ARGUMENT, device, import(named, &info));
    cr_expect(info.taken == 0);
    /* Another list of candidates than the one measured here. */
    char *stale = replaced(chars, list, "0123456789abcdef0123456789abcdef");
    OK(import(stale, &info));
    cr_expect(info.taken == 0 && info.refused == 1);
    cr_expect(strstr(info.why, key) == info.why, "%s", info.why);
    cr_expect(strstr(info.why, "was chosen from another list of candidates"), "%s", info.why);
    /* A candidate that this version does not have. */
    char *own_name = strdup(r.best);
    char quoted[80];
    snprintf(quoted, sizeof quoted, "\"%s\":", own_name);
    char *renamed = replaced(chars, quoted, "\"stranger\":");
    snprintf(quoted, sizeof quoted, "\"best\":\t\"%s\"", own_name);
    char *strange = replaced(renamed, quoted, "\"best\":\t\"stranger\"");
    OK(import(strange, &info));
    cr_expect(info.taken == 0 && info.refused == 1);
    cr_expect(strstr(info.why, "'stranger' is none of the candidates"), "%s", info.why);
    cr_expect(run(-1, false).state == MARE_TUNE_KNOWN, "nothing was lost");
    char *all[] = {chars, other, named, stale, renamed, strange, own_name};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

Test(tune_api, files_that_are_none) {
    static const char head[] = "{\"format\":\"mare tuning\",\"version\":1,\"device\":{\"id\":"
                               "\"0123456789abcdef0123456789abcdef\",\"name\":\"x\",\"driver\":"
                               "\"y\"},\"records\":[";
    static const struct {
        const char *chars, *why;
        bool record; /* it goes behind the head */
    } bad[] = {
        {"", "it is not a JSON object", false},
        {"[]", "it is not a JSON object", false},
        {"{} x", "it is not a JSON object", false},
        {"{", "it is not a JSON object", false},
        {"{}", "it is no file of tuning records", false},
        {"{\"format\":\"mare tuning\"}", "a version that this one does not read", false},
        {"{\"format\":\"mare tuning\",\"version\":2}", "a version that this one", false},
        {"{\"format\":\"mare tuning\",\"version\":1,\"device\":[\"id\"]}", "name its device",
         false},
        {"7", "record 1 is not an object", true},
        {"[\"key\"]", "record 1 is not an object", true},
        {"{}", "record 1 has no key of plain text", true},
        {"{\"key\":\"a b\",\"pin\":\"x\"}", "record 1 has no key of plain text", true},
        {"{\"key\":\"a\",\"key\":\"b\",\"pin\":\"x\"}", "has no key", true},
        {"{\"key\":\"a\",\"pin\":\"x\"},{\"key\":\"a\"}", "record 2 names no candidate", true},
        {"{\"key\":\"a\",\"pin\":7}", "names no candidate", true},
        {"{\"key\":\"a\",\"pin\":\"\\u00e4\"}", "names no candidate", true},
        {"{\"key\":\"a\",\"best\":\"x\"}", "has no list of 32", true},
        {"{\"key\":\"a\",\"best\":\"x\",\"list\":\"0123\"}", "has no list of 32", true},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char chars[1024];
        snprintf(chars, sizeof chars, "%s%s%s", bad[i].record ? head : "", bad[i].chars,
                 bad[i].record ? "]}" : "");
        FAILS(MARE_E_FORMAT, bad[i].why, import(chars, NULL));
    }
    static const struct {
        const char *fields, *why;
    } records_[] = {
        {"\"flops\":1", "no number of flops, or of bytes"},
        {"\"flops\":-1,\"bytes\":1", "no number of flops"},
        {"\"flops\":1e999,\"bytes\":1", "no number of flops"},
        {"\"flops\":1,\"bytes\":\"1\"", "no number of flops"},
        {"\"flops\":1,\"bytes\":1", "no seconds of 2 to 256 candidates"},
        {"\"flops\":1,\"bytes\":1,\"seconds\":{\"x\":1}", "no seconds of 2 to 256 candidates"},
        {"\"flops\":1,\"bytes\":1,\"seconds\":[1,2]", "no seconds of 2 to 256 candidates"},
        {"\"flops\":1,\"bytes\":1,\"seconds\":{\"x\":1,\"x\":2}", "without a name of its own"},
        {"\"flops\":1,\"bytes\":1,\"seconds\":{\"x\":1,\"\":2}", "without a name of its own"},
        {"\"flops\":1,\"bytes\":1,\"seconds\":{\"x\":1,\"y z\":2}", "without a name of its own"},
        {"\"flops\":1,\"bytes\":1,\"seconds\":{\"x\":1,\"y\":-2}", "seconds are no number"},
        {"\"flops\":1,\"bytes\":1,\"seconds\":{\"x\":1,\"y\":null}", "seconds are no number"},
        {"\"flops\":1,\"bytes\":1,\"seconds\":{\"z\":1,\"y\":2}", "a best that is none"},
        {"\"flops\":1,\"bytes\":1,\"seconds\":{\"x\":0,\"y\":2}", "a best that is none"},
    };
    for (size_t i = 0; i < sizeof records_ / sizeof *records_; i++) {
        char chars[1024];
        snprintf(chars, sizeof chars,
                 "%s{\"key\":\"a\",\"best\":\"x\",\"list\":\"0123456789abcdef0123456789abcdef\","
                 "%s}]}",
                 head, records_[i].fields);
        FAILS(MARE_E_FORMAT, records_[i].why, import(chars, NULL));
    }
    cr_expect(records() == 0);
}

/* Damaged at random a file is taken, in parts or as a whole, or refused; nothing breaks. */
Test(tune_api, files_that_are_damaged) {
    run(-1, false);
    OK(mare_tune_pin(ctx, "pinned", "anything"));
    char *chars = exported();
    size_t len = strlen(chars);
    rng r = {.seed = 7};
    for (int i = 0; i < 400; i++) {
        char *bad = strdup(chars);
        for (uint64_t n = 1 + rng_below(&r, 3); n; n--)
            bad[rng_below(&r, len)] = (char)(rng_below(&r, 255) + 1);
        if (i % 3 == 0) bad[rng_below(&r, len)] = 0;
        mare_tune_import_info info;
        mare_status status = import(bad, &info);
        cr_expect(status == MARE_OK || status == MARE_E_FORMAT || status == MARE_E_ARGUMENT);
        cr_expect(status == MARE_OK || info.taken == 0);
        free(bad);
    }
    free(chars);
    multiply(64);
}
