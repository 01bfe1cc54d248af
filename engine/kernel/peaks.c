/* What the device can do at best, measured: a copy, and multiply-adds. */
#include "kernel/internal.h"

enum { RUNS = 5, COPIES = 4, FMA_GROUPS = 1024, FMA_A_ROUND = 128 };
static const uint64_t copy_bytes = 128 << 20; /* well past what caches hold */
static const double long_enough = 0.01;       /* seconds of a run that says something */

typedef struct trial {
    kernels *k;
    dev_pipeline *pipeline;
    uint32_t params[3];
    int n_params, n_bindings;
    dev_binding bindings[2];
    uint32_t groups[3];
    int times; /* dispatches in a run */
} trial;

static mare_status run_once(const trial *t, double *seconds) {
    dev_recorder *r;
    mare_status status = dev_record(t->k->d, &r);
    if (status) return status;
    for (int i = 0; i < t->times && !status; i++) {
        if (i) dev_cmd_barrier(r);
        status = dev_cmd_dispatch(r, t->pipeline, t->params, t->n_params, t->bindings,
                                  t->n_bindings, t->groups);
    }
    if (!status) return dev_submit_timed(r, seconds);
    dev_discard(r);
    return status;
}

/* The shortest of a few runs; the first one warms up. */
static mare_status run_best(const trial *t, double *seconds) {
    double one;
    mare_status status = run_once(t, seconds);
    for (int i = 0; i < RUNS && !status; i++) {
        status = run_once(t, &one);
        if (!status && (i == 0 || one < *seconds)) *seconds = one;
    }
    return status;
}

static void give_back(trial *t) {
    for (int i = 0; i < t->n_bindings; i++)
        if (t->bindings[i].buffer) dev_buffer_release(t->bindings[i].buffer);
}

/* A trial of a shader, with buffers of that many bytes. */
static mare_status prepare(trial *t, kernels *k, const char *shader, int buffers, uint64_t bytes) {
    uint32_t workgroup = dev_get_caps(k->d)->workgroup;
    kernel_id id = {.shader = shader, .defines = "", .buffers = buffers, .n_spec = 1};
    id.spec[0] = workgroup < 256 ? workgroup : 256;
    *t = (trial){.k = k, .n_bindings = buffers, .times = 1};
    mare_status status = kernel_get(k, &id, &t->pipeline);
    for (int i = 0; i < buffers && !status; i++) {
        t->bindings[i].bytes = bytes;
        status = dev_buffer_create(k->d, bytes, &t->bindings[i].buffer);
    }
    return status;
}

static mare_status measure_copy(kernels *k, double *bandwidth) {
    const dev_caps *caps = dev_get_caps(k->d);
    uint32_t size = caps->workgroup < 256 ? caps->workgroup : 256;
    uint64_t bytes = copy_bytes;
    while (bytes > caps->binding || bytes > caps->memory / 16 ||
           bytes / 16 / size > caps->groups[0])
        bytes /= 2;
    trial t;
    double seconds = 0;
    mare_status status = prepare(&t, k, "profile/copy.comp", 2, bytes);
    t.params[0] = (uint32_t)(bytes / 16);
    t.n_params = 1;
    t.groups[0] = (uint32_t)((bytes / 16 + size - 1) / size);
    t.groups[1] = t.groups[2] = 1;
    t.times = COPIES;
    if (!status) status = run_best(&t, &seconds);
    give_back(&t);
    if (!status) *bandwidth = 2 * (double)bytes * COPIES / seconds;
    return status;
}

static mare_status measure_fma(kernels *k, double *flops) {
    const dev_caps *caps = dev_get_caps(k->d);
    uint32_t size = caps->workgroup < 256 ? caps->workgroup : 256;
    trial t;
    double seconds = 0;
    mare_status status = prepare(&t, k, "profile/fma.comp", 1, (uint64_t)FMA_GROUPS * size * 4);
    /* Values that stay near 1: neither denormal nor infinite. */
    t.params[1] = 0x3f000000; /* 0.5 */
    t.params[2] = 0x3f000000;
    t.n_params = 3;
    t.groups[0] = FMA_GROUPS;
    t.groups[1] = t.groups[2] = 1;
    for (t.params[0] = 4; !status && seconds < long_enough && t.params[0] < 1 << 20;) {
        t.params[0] *= 2;
        status = run_once(&t, &seconds);
    }
    if (!status) status = run_best(&t, &seconds);
    give_back(&t);
    if (!status) *flops = 2.0 * FMA_A_ROUND * t.params[0] * FMA_GROUPS * size / seconds;
    return status;
}

mare_status kernels_peaks(kernels *k, kernel_peaks *out) {
    mare_status status = MARE_OK;
    if (k->peaks.bandwidth == 0) {
        status = measure_copy(k, &k->peaks.bandwidth);
        dev_memory_trim(k->d); /* of buffers larger than most programs' */
    }
    if (!status && k->peaks.flops == 0) status = measure_fma(k, &k->peaks.flops);
    *out = k->peaks;
    return status;
}
