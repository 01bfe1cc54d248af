/* The autotuner for those outside. */
#include "api/api.h"
#include "io/tuning.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

mare_status mare_set_tuning(mare_context *ctx, mare_tuning when, double budget) {
    if (!ctx) return MARE_E_ARGUMENT;
    if (when < MARE_TUNING_FIRST_USE || when > MARE_TUNING_OFF || isnan(budget))
        return error_set(&ctx->error, MARE_E_ARGUMENT,
                         "set_tuning: no policy %d with a budget of %g", (int)when, budget);
    tune_set_policy(ctx->kernels, when, budget);
    planner_choose_anew(ctx->planner);
    return MARE_OK;
}

mare_tuning mare_get_tuning(const mare_context *ctx, double *left) {
    if (left) *left = 0;
    return ctx ? tune_get_policy(ctx->kernels, left) : MARE_TUNING_OFF;
}

const char *mare_tune_state_name(mare_tune_state state) {
    static const char *const names[MARE_TUNE_STATES] = {"measured", "known", "pinned",
                                                        "failed",   "left",  "running"};
    return (unsigned)state < MARE_TUNE_STATES ? names[state] : "unknown";
}

/* ---- Records -------------------------------------------------------------------------------- */

bool mare_tune_record_at(mare_context *ctx, int i, mare_tune_record *out) {
    mare_tune_record *all;
    int n;
    if (!ctx || !out || i < 0 || tune_list(ctx->kernels, &all, &n)) return false;
    if (i < n) *out = all[i];
    free(all);
    return i < n;
}

/* Is a candidate of that name among those that are known of key? With no list known any may be. */
static bool may_be(const mare_tune_record *all, int n, const char *key, const char *name) {
    bool any = false;
    for (int i = 0; i < n; i++) {
        if (!all[i].n || strcmp(all[i].key, key) != 0) continue;
        any = true;
        for (int j = 0; j < all[i].n; j++)
            if (strcmp(all[i].candidates[j].name, name) == 0) return true;
    }
    return !any;
}

static mare_status unknown_candidate(mare_context *ctx, const mare_tune_record *all, int n,
                                     const char *key, const char *name) {
    text names = {0};
    for (int i = 0; i < n; i++)
        for (int j = 0; j < all[i].n && strcmp(all[i].key, key) == 0; j++)
            text_add(&names, "%s%s", names.len ? ", " : "", all[i].candidates[j].name);
    mare_status status = error_set(&ctx->error, MARE_E_ARGUMENT,
                                   "tune_pin: '%s' is none of the candidates of %s: %s", name, key,
                                   text_str(&names));
    text_free(&names);
    return status;
}

mare_status mare_tune_pin(mare_context *ctx, const char *key, const char *candidate) {
    if (!ctx) return MARE_E_ARGUMENT;
    if (!key || !*key || (candidate && !*candidate))
        return error_set(&ctx->error, MARE_E_ARGUMENT, "tune_pin: no key, or no candidate");
    mare_tune_record *all;
    int n;
    mare_status status = tune_list(ctx->kernels, &all, &n);
    if (status) return status;
    if (candidate && !may_be(all, n, key, candidate))
        status = unknown_candidate(ctx, all, n, key, candidate);
    if (!status) status = tune_pin(ctx->kernels, key, candidate);
    if (!status) planner_choose_anew(ctx->planner);
    free(all);
    return status;
}

mare_status mare_tune_clear(mare_context *ctx) {
    if (!ctx) return MARE_E_ARGUMENT;
    mare_status status = tune_clear(ctx->kernels);
    if (!status) planner_choose_anew(ctx->planner);
    return status;
}

/* ---- Runs ----------------------------------------------------------------------------------- */

mare_status mare_tune_begin(mare_context *ctx, const mare_tune_options *options) {
    if (!ctx) return MARE_E_ARGUMENT;
    static const mare_tune_options all = {.budget = -1};
    const mare_tune_options *o = options ? options : &all;
    if (isnan(o->budget))
        return error_set(&ctx->error, MARE_E_ARGUMENT, "tune_begin: the budget is not a number");
    if (trace_is_on(ctx->planner))
        return error_set(&ctx->error, MARE_E_ARGUMENT, "tune_begin: a step is being noted");
    mare_status status = tune_begin(ctx->kernels, o);
    if (!status) planner_choose_anew(ctx->planner);
    return status;
}

mare_status mare_tune_end(mare_context *ctx) {
    return ctx ? tune_end(ctx->kernels) : MARE_E_ARGUMENT;
}

bool mare_tune_result_at(mare_context *ctx, int i, mare_tune_record *out) {
    if (!ctx || !out) return false;
    int n;
    const mare_tune_record *all = tune_results(ctx->kernels, &n);
    if (i < 0 || i >= n) return false;
    *out = all[i];
    return true;
}

/* ---- Files ---------------------------------------------------------------------------------- */

mare_status mare_tune_export(mare_context *ctx, const char *path) {
    if (!ctx) return MARE_E_ARGUMENT;
    if (!path) return error_set(&ctx->error, MARE_E_ARGUMENT, "tune_export: no path");
    mare_tune_record *all;
    int n;
    mare_status status = tune_list(ctx->kernels, &all, &n);
    if (status) return status;
    const dev_caps *caps = dev_get_caps(ctx->device);
    tuning_file f = {.id = tune_device(ctx->kernels), .device = caps->name, .driver = caps->driver};
    f.records.data = all;
    f.records.len = (size_t)n;
    status = tuning_write(path, &f, &ctx->error);
    free(all);
    return status ? error_prefix(&ctx->error, "tune_export") : MARE_OK;
}

/* Why a record cannot be taken beside those that are there; null when it can. */
static const char *misfit(const mare_tune_record *all, int n, const mare_tune_record *r) {
    if (!r->list[0])
        return may_be(all, n, r->key, r->best) ? NULL : "is none of the candidates of this version";
    bool any = false;
    for (int i = 0; i < n; i++) {
        if (strcmp(all[i].key, r->key) != 0 || !all[i].list[0]) continue;
        any = true;
        if (strcmp(all[i].list, r->list) != 0) continue;
        return may_be(&all[i], 1, r->key, r->best) ? NULL
                                                   : "is none of the candidates of this version";
    }
    return any ? "was chosen from another list of candidates than this version's" : NULL;
}

static void add_why(mare_tune_import_info *out, const mare_tune_record *r, const char *why) {
    size_t n = strlen(out->why), room = sizeof out->why - n;
    int more = snprintf(out->why + n, room, "%s%s: '%s' %s", n ? "; " : "", r->key, r->best, why);
    if (more < 0 || (size_t)more >= room) out->why[n] = 0; /* no half sentences */
    out->refused++;
}

static mare_status take_all(mare_context *ctx, tuning_file *f, mare_tune_import_info *out) {
    mare_tune_record *all, *records = f->records.data;
    int n;
    mare_status status = tune_list(ctx->kernels, &all, &n);
    if (status) return status;
    for (size_t i = 0; i < f->records.len; i++) {
        const char *why = misfit(all, n, &records[i]);
        if (why)
            add_why(out, &records[i], why);
        else
            records[out->taken++] = records[i];
    }
    free(all);
    status = tune_put(ctx->kernels, records, out->taken);
    if (status) out->taken = 0;
    return status;
}

mare_status mare_tune_import(mare_context *ctx, const char *path, mare_tune_import_info *out) {
    mare_tune_import_info own;
    if (!out) out = &own;
    memset(out, 0, sizeof *out);
    if (!ctx) return MARE_E_ARGUMENT;
    if (!path) return error_set(&ctx->error, MARE_E_ARGUMENT, "tune_import: no path");
    const dev_caps *caps = dev_get_caps(ctx->device);
    tuning_file f;
    mare_status status = tuning_read(path, &f, &ctx->error);
    if (!status && strcmp(f.id, tune_device(ctx->kernels)) != 0)
        status = error_set(&ctx->error, MARE_E_ARGUMENT,
                           "%s is of another device or driver, %s (%s); this is %s (%s)", path,
                           f.device, f.driver, caps->name, caps->driver);
    if (status)
        error_prefix(&ctx->error, "tune_import");
    else
        status = take_all(ctx, &f, out);
    if (out->taken) planner_choose_anew(ctx->planner);
    tuning_free(&f);
    return status;
}
