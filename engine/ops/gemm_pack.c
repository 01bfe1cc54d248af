#include "ops/gemm_internal.h"

/* The least rows for which to lay out b: each of its elements is then used so often. And the least
 * multiplications: below, the launch costs more than it saves. */
enum { LEAST_ROWS = 8, LEAST_WORK = 32768 };
enum { STEPS = 32 }; /* of k that a workgroup lays out */

int gemm_panel(const lowering *l, const gemm *g, int64_t lanes) {
    int64_t m = gemm_m(g), work = m * g->n * gemm_k(g);
    if (!l->caps->has[DEV_UNIFORM_LOADS] || lanes != l->caps->subgroup) return 0;
    if (m < LEAST_ROWS || work < LEAST_WORK) return 0;
    return (int)(g->n <= lanes ? lanes : 2 * lanes);
}

static void push_four(launch *x, const int64_t *v) {
    for (int i = 0; i < GEMM_K_DIGITS; i++)
        launch_i32(x, (int32_t)v[i]);
}

/* The parameter block of shaders/matmul/pack.comp. */
static void push_params(launch *x, const gemm *g, uint32_t first, int digits, int64_t batches,
                        int64_t batch[GEMM_BATCH][2]) {
    launch_i32(x, (int32_t)g->n);
    launch_i32(x, (int32_t)gemm_k(g));
    launch_i32(x, (int32_t)(first + g->b_at));
    launch_i32(x, (int32_t)g->n_b);
    push_four(x, g->k_size);
    push_four(x, g->k_b);
    push_four(x, (const int64_t[]){batches, digits, 0, 0});
    for (int i = 0; i < GEMM_BATCH; i++)
        push_four(x, (const int64_t[]){batch[i][0], batch[i][1], 0, 0});
}

mare_status gemm_pack(lowering *l, gemm *g, int panel, int64_t lanes) {
    int64_t k = gemm_k(g), panels = (g->n + panel - 1) / panel, size = panels * k * panel;
    int64_t batch[GEMM_BATCH][2], batches = 1;
    int digits = 0, k_digits = GEMM_K_DIGITS;
    for (int i = 0; i < GEMM_BATCH; i++)
        batch[i][0] = 1, batch[i][1] = 0;
    gemm packed = *g;
    for (int i = 0; i < g->batches; i++) {
        if (g->batch_b[i] == 0) continue; /* the same matrix for all */
        packed.batch_b[i] = batches * size;
        batch[digits][0] = g->batch_size[i];
        batch[digits++][1] = g->batch_b[i];
        batches *= g->batch_size[i];
    }
    while (k_digits > 1 && g->k_size[k_digits - 1] == 1)
        k_digits--;
    shape s = shape_of(1, batches * size);
    packed.b = lower_scratch(l, g->b.dtype, &s);
    packed.b_at = 0;
    packed.n_b = k * panel;
    packed.k_b[0] = panel;
    for (int i = 1; i < GEMM_K_DIGITS; i++)
        packed.k_b[i] = packed.k_b[i - 1] * g->k_size[i - 1];
    launch *x = lower_launch(l, "matmul/pack.comp",
                             lower_text(l,
                                        "BUFFERS 2\nLANES %d\nW %d\nSTEPS %d\nK_DIGITS %d\n"
                                        "B_ALONG_N %d\n",
                                        (int)lanes, panel, STEPS, k_digits, g->n_b == 1));
    if (!x || !x->kernel.defines) return lower_error(l);
    uint32_t first, to;
    mare_status status = launch_bind(l, x, &g->b, READ, &first);
    if (!status) status = launch_bind(l, x, &packed.b, WRITE, &to);
    if (status) return status;
    launch_spec(x, (uint32_t)lanes);
    push_params(x, g, first, digits, batches, batch);
    *g = packed;
    return launch_groups(l, x, (uint64_t)((k + STEPS - 1) / STEPS * panels * batches));
}
