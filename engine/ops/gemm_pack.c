#include "ops/gemm_internal.h"

/* The least rows for which to lay out b, each of whose elements is then used so often; where b has
 * panels of its own, which are read at half the speed; and the least multiplications: below, the
 * launch costs more than it saves. */
enum { LEAST_ROWS = 8, LEAST_ROWS_OWN = 32, LEAST_WORK = 32768 };
enum { LEAST_COLUMNS = 64 /* to lay out a, in the same sense */ };
enum { STEPS = 32, PANELS = 8 }; /* of k that a workgroup lays out, and panels where they pay */

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

/* A factor of a product: its matrices' rows, of k, and n columns. */
typedef struct factor {
    operand *o;
    int64_t *at, n, *n_step, *k_step, *batch_step;
} factor;

/* Lays a factor out in panels of `width` columns; n_step becomes the distance between two. */
static mare_status pack(lowering *l, const gemm *g, const factor *f, int width) {
    int64_t k = gemm_k(g), panels = (f->n + width - 1) / width, batches = 1;
    int64_t batch[GEMM_BATCH][2], lanes = gemm_lanes(l);
    int64_t strip = *f->n_step == 1 ? PANELS : 1, strips = (panels + strip - 1) / strip;
    int digits = 0, k_digits = GEMM_K_DIGITS;
    for (int i = 0; i < GEMM_BATCH; i++)
        batch[i][0] = 1, batch[i][1] = 0;
    for (int i = 0; i < g->batches; i++) {
        if (f->batch_step[i] == 0) continue; /* the same matrix for all */
        batch[digits][0] = g->batch_size[i];
        batch[digits++][1] = f->batch_step[i];
        f->batch_step[i] = batches * panels * k * width;
        batches *= g->batch_size[i];
    }
    while (k_digits > 1 && g->k_size[k_digits - 1] == 1)
        k_digits--;
    shape s = shape_of(1, batches * panels * k * width);
    operand to = lower_scratch(l, f->o->dtype, &s);
    launch *x =
        lower_launch(l, "matmul/pack.comp",
                     lower_text(l,
                                "BUFFERS 2\nLANES %d\nW %d\nSTEPS %d\nPANELS %d\nK_DIGITS %d\n"
                                "B_ALONG_N %d\n",
                                (int)lanes, width, STEPS, (int)strip, k_digits, strip > 1));
    if (!x || !x->kernel.defines) return lower_error(l);
    uint32_t first, ignored;
    mare_status status = launch_bind(l, x, f->o, READ, &first);
    if (!status) status = launch_bind(l, x, &to, WRITE, &ignored);
    if (status) return status;
    launch_spec(x, (uint32_t)lanes);
    /* The parameter block of the shader. */
    launch_i32(x, (int32_t)f->n);
    launch_i32(x, (int32_t)k);
    launch_i32(x, (int32_t)(first + *f->at));
    launch_i32(x, (int32_t)*f->n_step);
    push_four(x, g->k_size);
    push_four(x, f->k_step);
    push_four(x, (const int64_t[]){batches, digits, 0, 0});
    for (int i = 0; i < GEMM_BATCH; i++)
        push_four(x, (const int64_t[]){batch[i][0], batch[i][1], 0, 0});
    *f->o = to;
    *f->at = 0;
    *f->n_step = k * width;
    f->k_step[0] = width;
    for (int i = 1; i < GEMM_K_DIGITS; i++)
        f->k_step[i] = f->k_step[i - 1] * g->k_size[i - 1];
    return launch_groups(l, x, (uint64_t)((k + STEPS - 1) / STEPS * strips * batches));
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
    g->panel = (int)(g->n <= lanes ? lanes : 2 * lanes);
    return pack(l, g, &(factor){&g->b, &g->b_at, g->n, &g->n_b, g->k_b, g->batch_b}, g->panel);
}

mare_status gemm_pack_rows(lowering *l, gemm *g) {
    int64_t m = g->m_size[0], lanes = gemm_lanes(l), width = 3 * lanes;
    while (width > lanes && m % width != 0)
        width -= lanes;
    if (!g->panel || g->m_size[1] != 1 || g->m_size[2] != 1 || m % width != 0 || g->m_a[0] != 1 ||
        g->k_a[0] == 1 || g->n < LEAST_COLUMNS)
        return MARE_OK;
    int64_t step = 1;
    mare_status status =
        pack(l, g, &(factor){&g->a, &g->a_at, m, &step, g->k_a, g->batch_a}, (int)width);
    g->m_size[0] = width;
    g->m_size[1] = m / width;
    g->m_a[1] = step;
    g->m_o[1] = width * g->m_o[0];
    return status;
}
