#include "api/api.h"
#include "io/trace.h"

#include <string.h>

static const char *const work_names[MARE_WORKS] = {"script", "record", "plan", "compile",
                                                   "submit", "copy",   "wait"};

const char *mare_work_name(mare_work work) {
    return (unsigned)work < MARE_WORKS ? work_names[work] : "unknown";
}

mare_status mare_profile_start(mare_context *ctx) {
    if (!ctx) return MARE_E_ARGUMENT;
    mare_status status = planner_profile_start(ctx->planner);
    if (!status) mare_get_stats(ctx, &ctx->profiled_from);
    return status;
}

mare_status mare_profile_stop(mare_context *ctx, mare_profile *out) {
    if (out) *out = (mare_profile){0};
    if (!ctx) return MARE_E_ARGUMENT;
    mare_status status = planner_profile_stop(ctx->planner);
    const profile *f = planner_profile(ctx->planner);
    profile_sums sums;
    if (!status) status = profile_sum(f, &ctx->error, &sums);
    if (status || !out) return status;
    mare_stats s;
    const mare_stats *from = &ctx->profiled_from;
    mare_get_stats(ctx, &s);
    *out = (mare_profile){
        .timestamps = f->stamps,
        .wall = f->wall,
        .busy = sums.busy,
        .copying = sums.copying,
        .longest_gap = sums.longest_gap,
        .evals = s.evals - from->evals,
        .plans = s.plans - from->plans,
        .hits = s.hits - from->hits,
        .submits = s.submits - from->submits,
        .pipelines = s.pipelines - from->pipelines,
        .shaders_compiled = s.shaders_compiled - from->shaders_compiled,
        .tuned = s.tuned - from->tuned,
        .sites = f->used.len,
        .launches = f->launches.len,
        .spans = f->spans.len,
    };
    memcpy(out->host, sums.host, sizeof out->host);
    memcpy(out->idle, sums.idle, sizeof out->idle);
    return MARE_OK;
}

bool mare_profile_site_at(mare_context *ctx, size_t i, mare_profile_site *out) {
    const profile *f = ctx ? planner_profile(ctx->planner) : NULL;
    if (!f || !out || f->on || i >= f->used.len) return false;
    const profile_site *s = &f->sites.data[f->used.data[i]];
    *out = (mare_profile_site){
        .op = s->op,
        .kernel = s->kernel,
        .file = s->file,
        .line = s->line,
        .dtype = s->dtype,
        .rank = s->shape.rank,
        .groups = {s->groups[0], s->groups[1], s->groups[2]},
        .bytes = s->bytes,
        .flops = s->flops,
        .launches = s->launches,
        .seconds = s->seconds,
    };
    memcpy(out->dims, s->shape.dim, sizeof out->dims);
    return true;
}

bool mare_profile_launch_at(mare_context *ctx, size_t i, mare_profile_launch *out) {
    const profile *f = ctx ? planner_profile(ctx->planner) : NULL;
    if (!f || !out || f->on || i >= f->launches.len) return false;
    const profile_launch *l = &f->launches.data[i];
    *out = (mare_profile_launch){l->site, l->eval, l->start, l->end};
    return true;
}

bool mare_profile_span_at(mare_context *ctx, size_t i, mare_profile_span *out) {
    const profile *f = ctx ? planner_profile(ctx->planner) : NULL;
    if (!f || !out || f->on || i >= f->spans.len) return false;
    const profile_span *s = &f->spans.data[i];
    *out = (mare_profile_span){s->work, s->start, s->end, s->about};
    return true;
}

mare_status mare_profile_trace(mare_context *ctx, const char *path) {
    if (!ctx) return MARE_E_ARGUMENT;
    if (!path) return error_set(&ctx->error, MARE_E_ARGUMENT, "profile_trace: no path");
    const profile *f = planner_profile(ctx->planner);
    if (f->on || f->wall == 0)
        return error_set(&ctx->error, MARE_E_ARGUMENT, "profile_trace: %s",
                         f->on ? "the profile is still on" : "there is no profile");
    return trace_write(path, f, dev_get_caps(ctx->device)->name, &ctx->error);
}

mare_status mare_device_peaks(mare_context *ctx, double *bandwidth, double *flops) {
    if (!ctx || !bandwidth || !flops) return MARE_E_ARGUMENT;
    *bandwidth = *flops = 0;
    if (planner_profile(ctx->planner)->on)
        return error_set(&ctx->error, MARE_E_ARGUMENT, "device_peaks: a profile is on");
    kernel_peaks peaks;
    mare_status status = kernels_peaks(ctx->kernels, &peaks);
    *bandwidth = peaks.bandwidth;
    *flops = peaks.flops;
    return status;
}
