#include "ops/gemm_internal.h"

/* The least rows for which to lay out b, each of whose elements is then used so often; where b has
 * panels of its own, which are read at half the speed; and the least multiplications: below, the
 * launch costs more than it saves. */
enum { LEAST_ROWS = 8, LEAST_ROWS_OWN = 32, LEAST_WORK = 32768 };
enum { STEPS = 32 }; /* of k that a workgroup lays out */

/* Can the kernels of panels run, and are they worth their while? */
static bool has_panels(const lowering *l, const gemm *g) {
    return l->caps->has[DEV_UNIFORM_LOADS] && gemm_lanes(l) == l->caps->subgroup &&
           gemm_m(g) * g->n * gemm_k(g) >= LEAST_WORK;
}

/* Columns of b's own panels for few rows, where whole ones lie along n, else 0. */
static int own_panel(const gemm *g, int64_t lanes) {
    int64_t m = gemm_m(g);
    for (int columns = m <= 3 ? 8 : 4; columns > 0 && g->n_b == 1; columns /= 2)
        if (g->n % (columns * lanes) == 0) return (int)(columns * lanes);
    return 0;
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

mare_status gemm_prepare(lowering *l, gemm *g, int64_t times) {
    if (g->panel || !has_panels(l, g)) return MARE_OK;
    int64_t lanes = gemm_lanes(l), rows = gemm_m(g) * times;
    int own = own_panel(g, lanes);
    if (own && rows < LEAST_ROWS_OWN) {
        g->panel = own;
        g->n_b = own;
        return MARE_OK;
    }
    if (rows < LEAST_ROWS) return MARE_OK;
    int panel = (int)(g->n <= lanes ? lanes : 2 * lanes);
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
    packed.panel = panel;
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
