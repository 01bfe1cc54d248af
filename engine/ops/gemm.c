#include "ops/gemm_internal.h"

#include <string.h>

int64_t gemm_product(const int64_t *size, int n) {
    int64_t p = 1;
    for (int i = 0; i < n; i++)
        p *= size[i];
    return p;
}

int64_t gemm_m(const gemm *g) {
    return gemm_product(g->m_size, GEMM_DIGITS);
}

int64_t gemm_k(const gemm *g) {
    return gemm_product(g->k_size, GEMM_K_DIGITS);
}

/* ---- Fewer digits ------------------------------------------------------------------------- */

/* Takes digit i out of n, whose arrays are `columns`. */
static void drop(int64_t *const *columns, int n_columns, int i, int n) {
    for (int c = 0; c < n_columns; c++)
        for (int j = i; j + 1 < n; j++)
            columns[c][j] = columns[c][j + 1];
}

/* Digits of size 1 go; two neighbours whose strides (columns 1 on) follow one another become one.
 * columns[0] holds the sizes. Returns how many are left; the rest have size 1 and stride 0. */
static int merge_digits(int64_t *const *columns, int n_columns, int n) {
    int left = n;
    for (int i = 0; i < left;) {
        bool joined = columns[0][i] == 1;
        if (!joined && i > 0) {
            joined = true;
            for (int c = 1; c < n_columns; c++)
                joined = joined && columns[c][i] == columns[c][i - 1] * columns[0][i - 1];
            if (joined) columns[0][i - 1] *= columns[0][i];
        }
        if (joined)
            drop(columns, n_columns, i, left--);
        else
            i++;
    }
    for (int i = left; i < n; i++)
        for (int c = 0; c < n_columns; c++)
            columns[c][i] = c == 0;
    return left;
}

/* The same product in fewer digits: a batch that b does not see is part of m, and a product with
 * few columns is better turned around. */
static void simplify(gemm *g, int64_t lanes) {
    int64_t *batch[] = {g->batch_size, g->batch_a, g->batch_b, g->batch_o};
    int64_t *m[] = {g->m_size, g->m_a, g->m_o}, *k[] = {g->k_size, g->k_a, g->k_b};
    g->batches = merge_digits(batch, 4, g->batches);
    int digits = merge_digits(m, 3, GEMM_DIGITS);
    for (int i = 0; i < g->batches && digits < GEMM_DIGITS;) {
        if (g->batch_b[i] != 0) {
            i++;
            continue;
        }
        g->m_size[digits] = g->batch_size[i];
        g->m_a[digits] = g->batch_a[i];
        g->m_o[digits] = g->batch_o[i];
        drop(batch, 4, i, g->batches--);
        digits = merge_digits(m, 3, GEMM_DIGITS);
    }
    merge_digits(k, 3, GEMM_K_DIGITS);
    if (!g->panel && g->n * 2 <= lanes && g->m_size[0] > g->n && digits <= 1) {
        gemm t = *g;
        g->a = t.b, g->b = t.a;
        g->a_at = t.b_at, g->b_at = t.a_at;
        g->m_size[0] = t.n, g->m_a[0] = t.n_b, g->m_o[0] = t.n_o;
        g->n = t.m_size[0], g->n_b = t.m_a[0], g->n_o = t.m_o[0];
        memcpy(g->k_a, t.k_b, sizeof g->k_a);
        memcpy(g->k_b, t.k_a, sizeof g->k_b);
        memcpy(g->batch_a, t.batch_b, sizeof g->batch_a);
        memcpy(g->batch_b, t.batch_a, sizeof g->batch_b);
    }
}

/* ---- Slices of k -------------------------------------------------------------------------- */

/* How many workgroups keep a device busy; the least of k that is worth a slice; as much of k as
 * leaves the columns of a tile in a CPU's cache; bytes that slices may take. */
enum { BUSY_CPU = 16, BUSY_GPU = 256, SLICE_K = 128, CACHED_K = 2048, SLICE_BYTES = 16 << 20 };

/* How many parts the sum over k is cut into. */
static int64_t slices_wanted(const gemm *g, const dev_caps *caps) {
    bool cpu = caps->type == DEV_CPU;
    int64_t m = gemm_m(g), k = gemm_k(g), batches = gemm_product(g->batch_size, g->batches);
    int64_t rows = cpu ? 12 : 64, columns = 64; /* of a usual tile */
    int64_t tiles = ((m + rows - 1) / rows) * ((g->n + columns - 1) / columns) * batches;
    int64_t slices = (cpu ? BUSY_CPU : BUSY_GPU) / tiles;
    if (slices > k / SLICE_K) slices = k / SLICE_K;
    if (cpu && slices < k / CACHED_K) slices = k / CACHED_K;
    int64_t most = SLICE_BYTES / 4 / (m * g->n * batches);
    if (slices > most) slices = most;
    return !g->part && operand_contiguous(&g->o) ? slices : 1;
}

/* Steps of k's outer digits, the third and the fourth. */
static int64_t outer_steps(const gemm *g) {
    return g->k_size[2] * g->k_size[3];
}

/* Outer steps of k a slice. With few tiles and a long k the sum is cut into slices, which another
 * launch adds up. */
static int64_t cut_k(gemm *g, const dev_caps *caps) {
    int64_t k = gemm_k(g), slices = slices_wanted(g, caps);
    int outer = GEMM_K_DIGITS - 1;
    while (outer > 0 && g->k_size[outer] == 1)
        outer--;
    if (slices < 2) {
        slices = 1;
    } else if (outer == 0) { /* a digit of its own; a multiple of 8 keeps pairs and fours whole */
        int64_t part = ((k + slices - 1) / slices + 7) / 8 * 8;
        g->k_size[2] = (k + part - 1) / part;
        g->k_a[2] = part * g->k_a[0];
        g->k_b[2] = part * g->k_b[0];
        g->k_size[0] = part;
        return 1;
    }
    /* The middle digit moves outward, so that there is an outer one. */
    if (outer == 1) {
        g->k_size[2] = g->k_size[1];
        g->k_a[2] = g->k_a[1];
        g->k_b[2] = g->k_b[1];
        g->k_size[1] = 1;
        g->k_a[1] = g->k_b[1] = 0;
    }
    int64_t steps = outer_steps(g);
    return slices > steps ? 1 : (steps + slices - 1) / slices;
}

/* ---- The launches ------------------------------------------------------------------------- */

static void push(launch *x, int64_t v) {
    launch_i32(x, (int32_t)v);
}

static void push_three(launch *x, const int64_t *v, int64_t fourth) {
    for (int i = 0; i < GEMM_DIGITS; i++)
        push(x, v[i]);
    push(x, fourth);
}

/* The parameter block of shaders/matmul/gemm.glsl. */
static void push_params(launch *x, const gemm *g, const gemm_form *f, int64_t k_part,
                        int64_t slices, const uint32_t first[3]) {
    int64_t count = shape_count(&g->o.shape);
    int64_t head[] = {f->m,   g->n,       f->k,     slices,   g->k_size[0], g->k_size[1],
                      k_part, g->batches, first[0], first[1], first[2],     slices > 1 ? count : 0};
    for (size_t i = 0; i < sizeof head / sizeof *head; i++)
        push(x, head[i]);
    push_three(x, g->k_a, g->n_b);
    push_three(x, g->k_b, g->n_o);
    push_three(x, g->m_a, g->m_size[0]);
    push_three(x, g->m_o, g->m_size[1]);
    push(x, gemm_product(g->batch_size, g->batches));
    push(x, g->k_size[2]);
    push(x, g->k_a[3]);
    push(x, g->k_b[3]);
    for (int i = 0; i < GEMM_BATCH; i++) {
        bool used = i < g->batches;
        push(x, used ? g->batch_size[i] : 1);
        push(x, used ? g->batch_a[i] : 0);
        push(x, used ? g->batch_b[i] : 0);
        push(x, used ? g->batch_o[i] : 0);
    }
}

/* Each element of the result is written, once, as a program that is attached to it asks for. */
static bool writes_all(const gemm *g) {
    return !g->part && operand_contiguous(&g->o) &&
           gemm_m(g) * g->n * gemm_product(g->batch_size, g->batches) == shape_count(&g->o.shape);
}

static mare_status add_slices(lowering *l, const operand *parts, int64_t slices,
                              const operand *out) {
    launch *x =
        lower_launch(l, "matmul/slices.comp", out->dtype == MARE_I32 ? "T int\n" : "T float\n");
    if (!x) return lower_error(l);
    uint32_t from, to = 0, workgroup = lower_workgroup(l);
    int64_t count = shape_count(&out->shape);
    mare_status status = launch_bind(l, x, parts, READ, &from);
    if (!status && !out->after) status = launch_bind(l, x, out, WRITE, &to);
    if (status) return status;
    launch_spec(x, workgroup);
    launch_u32(x, (uint32_t)count);
    launch_u32(x, (uint32_t)slices);
    launch_u32(x, from);
    launch_u32(x, to);
    status = launch_attach(l, x, NULL, out);
    return status ? status : launch_groups(l, x, ((uint64_t)count + workgroup - 1) / workgroup);
}

int64_t gemm_lanes(const lowering *l) {
    int64_t most = lower_workgroup(l), lanes = 64;
    if (l->caps->type == DEV_CPU) lanes = l->caps->subgroup >= 4 ? l->caps->subgroup : 8;
    return lanes < most ? lanes : most;
}

mare_status gemm_lower(lowering *l, const gemm *given) {
    gemm g = *given;
    int64_t lanes = gemm_lanes(l), m = gemm_m(&g), k = gemm_k(&g);
    if (m == 0 || g.n == 0 || gemm_product(g.batch_size, g.batches) == 0) return MARE_OK;
    if (k == 0) { /* no digit may be empty in the kernel's eyes */
        for (int i = 0; i < GEMM_K_DIGITS; i++)
            g.k_size[i] = 1;
    }
    simplify(&g, lanes);
    m = gemm_m(&g);
    if (m > INT32_MAX || g.n > INT32_MAX || k > INT32_MAX)
        return error_set(l->error, MARE_E_UNSUPPORTED,
                         "%s: a product of %lld x %lld x %lld is more than 2147483647 along one "
                         "side",
                         l->node->op->name, (long long)m, (long long)g.n, (long long)k);
    mare_status status = gemm_prepare(l, &g, 1);
    if (!status) status = gemm_pack_rows(l, &g);
    if (status) return status;
    int64_t k_part = cut_k(&g, l->caps), slices = (outer_steps(&g) + k_part - 1) / k_part;
    if (!writes_all(&g)) g.o.after = NULL;
    operand target = g.o;
    if (slices > 1) {
        shape s = shape_of(2, slices, shape_count(&g.o.shape));
        target = lower_scratch(l, g.o.dtype, &s);
    }
    uint32_t first[3] = {0};
    launch *x = lower_launch(l, NULL, NULL);
    if (!x) return lower_error(l);
    status = launch_bind(l, x, &g.a, READ, &first[0]);
    if (!status) status = launch_bind(l, x, &g.b, READ, &first[1]);
    if (!status && !target.after) status = launch_bind(l, x, &target, WRITE, &first[2]);
    if (status) return status;
    first[0] += (uint32_t)g.a_at;
    first[1] += (uint32_t)g.b_at;
    first[2] += (uint32_t)g.o_at;
    gemm_form f = {
        .m = m, .k = k, .outer = slices * gemm_product(g.batch_size, g.batches), .lanes = lanes};
    gemm_form_operands(&f, &g, first);
    push_params(x, &g, &f, k_part, slices, first);
    status = gemm_offer(l, x, &g, &f);
    if (!status) status = launch_attach(l, x, NULL, &target);
    if (!status && slices > 1) status = add_slices(l, &target, slices, &g.o);
    return status;
}

double gemm_ref_add(mare_dtype t, double sum, double x, double y) {
    if (t != MARE_I32) return sum + x * y;
    uint32_t product = (uint32_t)(int32_t)x * (uint32_t)(int32_t)y;
    return (double)(int32_t)((uint32_t)(int32_t)sum + product);
}
