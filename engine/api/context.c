#include "api/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef MARE_VERSION
#error "MARE_VERSION comes from the build"
#endif

const char *mare_version(void) {
    return MARE_VERSION;
}

static void copy_text(char *out, size_t size, const char *from) {
    if (out && size) snprintf(out, size, "%s", from);
}

static void fill_info(const dev_caps *c, mare_device_info *out) {
    *out = (mare_device_info){
        .memory = c->memory,
        .api_version = c->api_version,
        .workgroup = c->workgroup,
        .shared = c->shared,
        .push_constants = c->push_constants,
        .storage_buffers = c->storage_buffers,
        .binding = c->binding,
        .groups = c->groups[0],
        .subgroup = c->subgroup,
    };
    copy_text(out->name, sizeof out->name, c->name);
    copy_text(out->driver, sizeof out->driver, c->driver);
    copy_text(out->type, sizeof out->type, dev_type_name(c->type));
    size_t n = 0;
    for (int f = 0; f < DEV_FEATURES; f++)
        if (c->has[f])
            n += (size_t)snprintf(out->features + n, sizeof out->features - n, "%s%s", n ? " " : "",
                                  dev_feature_name((dev_feature)f));
}

mare_status mare_devices(mare_device_info *infos, int capacity, int *count, char *error,
                         size_t error_size) {
    mare_error e = {0};
    dev_caps *caps = NULL;
    int n = 0;
    mare_status status = dev_list(&caps, &n, &e);
    if (status) copy_text(error, error_size, e.text);
    for (int i = 0; i < n && i < capacity; i++)
        fill_info(&caps[i], &infos[i]);
    free(caps);
    if (count) *count = n;
    return status;
}

static bool env_on(const char *name) {
    const char *v = getenv(name);
    return v && *v && strcmp(v, "0") != 0;
}

static const char *or_env(const char *value, const char *name) {
    const char *v = value ? value : getenv(name);
    return v && *v ? v : NULL;
}

static void show_dump(void *user, const char *shown) {
    mare_context *ctx = user;
    if (ctx->dump) ctx->dump(ctx->dump_user, shown);
}

static mare_status open_device(mare_context *ctx, const mare_options *o) {
    dev_options d = {
        .device = or_env(o->device, "MARE_DEVICE"),
        .caps = or_env(o->caps, "MARE_CAPS"),
        .memory_cap = o->memory_cap,
        .validate = env_on("MARE_VALIDATE"),
    };
    if (o->vulkan) return dev_adopt(o->vulkan, &d, &ctx->error, &ctx->device);
    return dev_create(&d, &ctx->error, &ctx->device);
}

mare_status mare_context_create(const mare_options *options, mare_context **out) {
    mare_options none = {0};
    const mare_options *o = options ? options : &none;
    copy_text(o->error, o->error_size, "");
    if (!out) return MARE_E_ARGUMENT;
    *out = NULL;
    mare_context *ctx = calloc(1, sizeof *ctx);
    if (!ctx) return MARE_E_HOST_MEMORY;
    ops_graph_init(&ctx->graph, &ctx->error);
    ctx->graph.random.seed = o->seed;
    ctx->eager = env_on("MARE_EAGER");
    mare_status status = open_device(ctx, o);
    if (!status) status = kernels_create(ctx->device, &ctx->error, &ctx->kernels);
    const char *tuning = getenv("MARE_TUNE");
    if (!status && o->vulkan && !(tuning && *tuning))
        tune_set_policy(ctx->kernels, MARE_TUNING_KNOWN, -1);
    if (!status) status = planner_create(&ctx->graph, ctx->device, ctx->kernels, &ctx->planner);
    uint32_t passes = PASS_ALL, dumps = 0;
    const char *passes_text = getenv("MARE_PASSES"), *dumps_text = getenv("MARE_DUMP");
    if (!status && passes_text) status = plan_passes_apply(&passes, passes_text, &ctx->error);
    if (!status && dumps_text) status = plan_dumps_parse(&dumps, dumps_text, &ctx->error);
    if (status) {
        copy_text(o->error, o->error_size, ctx->error.text);
        mare_context_destroy(ctx);
        return status;
    }
    planner_set_passes(ctx->planner, passes);
    planner_set_submit(ctx->planner, o->submit_ms * 1e-3);
    ctx->checks = env_on("MARE_CHECK");
    planner_set_check(ctx->planner, ctx->checks);
    planner_set_dump(ctx->planner, dumps, show_dump, ctx);
    *out = ctx;
    return MARE_OK;
}

void mare_context_destroy(mare_context *ctx) {
    if (!ctx) return;
    if (ctx->noting) mare_step_end(ctx, 0, NULL, NULL, NULL);
    while (ctx->steps)
        api_forget_step(ctx->steps);
    for (mare_tensor *t = ctx->tensors; t; t = t->next)
        api_forget(t);
    vec_free(&ctx->waiting);
    planner_destroy(ctx->planner);
    graph_free(&ctx->graph);
    api_free_kernels(ctx);
    kernels_destroy(ctx->kernels);
    dev_destroy(ctx->device);
    free(ctx);
}

const char *mare_last_error(const mare_context *ctx) {
    return ctx ? ctx->error.text : "no context";
}

mare_status mare_fail(mare_context *ctx, mare_status status, const char *why) {
    if (!ctx || !why) return MARE_E_ARGUMENT;
    return error_set(&ctx->error, status, "%s", why);
}

mare_status mare_context_device(const mare_context *ctx, mare_device_info *out) {
    if (!ctx || !out) return MARE_E_ARGUMENT;
    fill_info(dev_get_caps(ctx->device), out);
    return MARE_OK;
}

void mare_set_location(mare_context *ctx, const char *file, int line) {
    if (ctx) graph_set_location(&ctx->graph, file, line);
}

void mare_set_dump(mare_context *ctx, void (*dump)(void *user, const char *text), void *user) {
    if (!ctx) return;
    ctx->dump = dump;
    ctx->dump_user = user;
}

void mare_memory_stats(mare_context *ctx, mare_memory *out) {
    dev_memory m;
    dev_memory_stats(ctx->device, &m);
    *out = (mare_memory){m.used, m.cached, m.peak, m.cap};
}

void mare_memory_reset_peak(mare_context *ctx) {
    dev_memory_reset_peak(ctx->device);
}

void mare_memory_set_cap(mare_context *ctx, uint64_t bytes) {
    dev_memory_set_cap(ctx->device, bytes);
}

void mare_memory_trim(mare_context *ctx) {
    dev_memory_trim(ctx->device);
}

void mare_set_submit_ms(mare_context *ctx, double ms) {
    if (ctx) planner_set_submit(ctx->planner, ms * 1e-3);
}

void mare_get_stats(mare_context *ctx, mare_stats *out) {
    planner_stats p;
    kernel_stats k;
    planner_get_stats(ctx->planner, &p);
    kernels_get_stats(ctx->kernels, &k);
    *out = (mare_stats){
        .evals = p.evals,
        .plans = p.plans,
        .hits = p.hits,
        .launches = p.launches,
        .submits = p.submits,
        .recorded = p.recorded,
        .shaders_compiled = k.compiled,
        .shaders_from_disk = k.from_disk,
        .pipelines = k.pipelines,
        .tuned = k.tuned,
        .nodes = ctx->graph.alive,
        .validation = dev_validation_messages(ctx->device, NULL),
    };
}

void mare_get_plan(mare_context *ctx, mare_plan *out) {
    plan_info p;
    planner_get_info(ctx->planner, &p);
    *out =
        (mare_plan){(uint64_t)p.launches, (uint64_t)p.barriers, p.arena, p.sum, p.bound, p.donated};
}

mare_status mare_set_passes(mare_context *ctx, const char *list) {
    if (!ctx || !list) return MARE_E_ARGUMENT;
    uint32_t passes = PASS_ALL;
    mare_status status = plan_passes_apply(&passes, list, &ctx->error);
    if (!status) planner_set_passes(ctx->planner, passes);
    return status;
}

void mare_random_get(mare_context *ctx, uint64_t *seed, uint64_t *position) {
    *seed = ctx->graph.random.seed;
    *position = ctx->graph.random.next;
}

void mare_random_set(mare_context *ctx, uint64_t seed, uint64_t position) {
    ctx->graph.random = (rng){seed, position};
    api_reseeded(ctx);
}
