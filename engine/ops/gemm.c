#include "ops/gemm.h"

#include <string.h>

static int64_t product(const int64_t *size, int n) {
    int64_t p = 1;
    for (int i = 0; i < n; i++)
        p *= size[i];
    return p;
}

static int64_t gemm_m(const gemm *g) {
    return product(g->m_size, GEMM_DIGITS);
}

static int64_t gemm_k(const gemm *g) {
    return product(g->k_size, GEMM_K_DIGITS);
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
    if (g->n * 2 <= lanes && g->m_size[0] > g->n && digits <= 1) {
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
    int64_t m = gemm_m(g), k = gemm_k(g), batches = product(g->batch_size, g->batches);
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

/* ---- Which neighbours can be loaded at once ----------------------------------------------- */

/* How a product's operands lie, which is what its kernels are made for. */
typedef struct form {
    int64_t m, k;
    int a_pair, b_pair;  /* two at once: 0 no, 1 along k, 2 along m or n */
    bool a_four, b_four; /* four at once along m or n */
    int k_digits;        /* 0: one digit of k; 1: up to three; 2: four */
} form;

static bool all_divide(const int64_t *size, const int64_t *stride, int from, int n, int64_t by) {
    for (int i = from; i < n; i++)
        if (size[i] > 1 && stride[i] % by != 0) return false;
    return true;
}

/* Can `by` neighbours of a be loaded at once along its inner digit of m (or of k)? */
static bool a_groups(const gemm *g, const form *f, uint32_t first, bool along_m, int64_t by) {
    const int64_t *size = along_m ? g->m_size : g->k_size, *stride = along_m ? g->m_a : g->k_a;
    return first % by == 0 && stride[0] == 1 && size[0] % by == 0 &&
           (along_m ? f->m : f->k) % by == 0 &&
           all_divide(g->m_size, g->m_a, along_m ? 1 : 0, GEMM_DIGITS, by) &&
           all_divide(g->k_size, g->k_a, along_m ? 0 : 1, GEMM_K_DIGITS, by) &&
           all_divide(g->batch_size, g->batch_a, 0, g->batches, by);
}

static bool b_groups(const gemm *g, const form *f, uint32_t first, bool along_n, int64_t by) {
    bool aligned = first % by == 0 && all_divide(g->batch_size, g->batch_b, 0, g->batches, by) &&
                   all_divide(g->k_size, g->k_b, along_n ? 0 : 1, GEMM_K_DIGITS, by);
    if (along_n) return aligned && g->n_b == 1 && g->n % by == 0;
    return aligned && g->k_b[0] == 1 && g->k_size[0] % by == 0 && f->k % by == 0 &&
           (g->n == 1 || g->n_b % by == 0);
}

static form form_of(const gemm *g, uint32_t a_first, uint32_t b_first, int64_t k) {
    form f = {.m = gemm_m(g), .k = k};
    f.a_pair = a_groups(g, &f, a_first, false, 2) ? 1 : a_groups(g, &f, a_first, true, 2) ? 2 : 0;
    f.b_pair = b_groups(g, &f, b_first, true, 2) ? 2 : b_groups(g, &f, b_first, false, 2) ? 1 : 0;
    f.a_four = a_groups(g, &f, a_first, true, 4);
    f.b_four = b_groups(g, &f, b_first, true, 4);
    f.k_digits = g->k_size[3] > 1 ? 2 : g->k_size[1] > 1 || g->k_size[2] > 1;
    return f;
}

/* ---- Kernels to choose among -------------------------------------------------------------- */

/* Below this many multiplications the plain kernel alone is offered: nothing to be gained would pay
 * for compiling and measuring. */
enum { SMALL = 32768 };

typedef struct choice {
    lowering *l;
    const gemm *g;
    const form *f;
    launch *x;
    int64_t outer;     /* batches and slices */
    int64_t lanes;     /* of the register kernel */
    const char *first; /* name of the launch's own kernel */
    variant **end;
} choice;

/* Adds a kernel that makes tiles of m by n: the first is the launch's own. */
static mare_status offer(choice *c, const char *name, const char *shader, const char *defines,
                         int64_t threads, int64_t m, int64_t n) {
    if (!name || !defines) return lower_error(c->l);
    if (c->first && strcmp(c->first, name) == 0) return MARE_OK;
    for (const variant *v = c->x->variants; v; v = v->next)
        if (strcmp(v->name, name) == 0) return MARE_OK;
    uint64_t groups =
        (uint64_t)((c->f->m + m - 1) / m) * (uint64_t)((c->g->n + n - 1) / n) * (uint64_t)c->outer;
    launch own = {.kernel = {shader, defines, c->x->n_bindings, 0, {0}}};
    own.groups[0] = own.groups[1] = own.groups[2] = 1;
    launch_spec(&own, (uint32_t)threads);
    mare_status status = launch_groups(c->l, &own, groups);
    if (status) return status;
    if (!c->first) {
        c->first = name;
        c->x->kernel = own.kernel;
        memcpy(c->x->groups, own.groups, sizeof own.groups);
        return MARE_OK;
    }
    variant *v = arena_alloc(c->l->mem, sizeof *v);
    if (!v) return error_no_memory(c->l->error, sizeof *v);
    v->name = name;
    v->kernel = own.kernel;
    memcpy(v->groups, own.groups, sizeof v->groups);
    *c->end = v;
    c->end = &v->next;
    return MARE_OK;
}

/* What the kernels are told about the elements. */
static const char *type_define(const gemm *g) {
    return g->o.dtype == MARE_I32 ? "INTS 1\n" : "";
}

static mare_status offer_rows(choice *c, int rows, int columns, bool pairs) {
    bool wide = pairs && c->l->caps->has[DEV_INT64];
    return offer(c, lower_text(c->l, "rows%dx%d", rows, columns), "matmul/rows.comp",
                 lower_text(c->l, "R %d\nC %d\nA_PAIR %d\nB_PAIR %d\n%s%s", rows, columns,
                            pairs ? c->f->a_pair : 0, pairs ? c->f->b_pair : 0,
                            wide ? "INT64 1\n" : "", type_define(c->g)),
                 c->lanes, rows, columns * c->lanes);
}

static int at_most(int64_t limit, int v) {
    return limit < v ? (int)limit : v;
}

/* For CPUs: one SIMD vector a workgroup, as many sums in registers as pay. */
static mare_status offer_vectors(choice *c) {
    static const int sizes[][2] = {{12, 8}, {16, 4}, {8, 4}};
    const form *f = c->f;
    int64_t rows = (f->m + 3) / 4 * 4, columns = (c->g->n + c->lanes - 1) / c->lanes;
    columns = columns <= 2 ? 2 : columns <= 4 ? 4 : 8;
    mare_status status = MARE_OK;
    for (int i = 0; i < 3 && !status; i++)
        status = offer_rows(c, at_most(rows, sizes[i][0]), at_most(columns, sizes[i][1]), true);
    return status;
}

/* For GPUs: tiles through shared memory. */
static mare_status offer_tiles(choice *c) {
    static const struct {
        int m, n, k, rows, columns;
    } tiles[] = {
        {64, 64, 16, 4, 4}, {64, 64, 16, 8, 8}, {128, 128, 8, 8, 8},
        {128, 64, 8, 8, 8}, {32, 32, 16, 4, 4},
    };
    const dev_caps *caps = c->l->caps;
    mare_status status = MARE_OK;
    for (size_t i = 0; i < sizeof tiles / sizeof *tiles && !status; i++) {
        int m = tiles[i].m, n = tiles[i].n, k = tiles[i].k;
        int threads = (m / tiles[i].rows) * (n / tiles[i].columns);
        uint32_t shared = 16u * (uint32_t)(k * (m / 4 + 1 + n / 4 + 1));
        bool fits = shared <= caps->shared && (uint32_t)threads <= lower_workgroup(c->l);
        /* A tile that is mostly outside is never the best one. */
        if (!fits || (m > 32 && m >= 2 * c->f->m) || (n > 32 && n >= 2 * c->g->n)) continue;
        status =
            offer(c, lower_text(c->l, "tile%dx%d.%dx%d", m, n, tiles[i].rows, tiles[i].columns),
                  "matmul/tile.comp",
                  lower_text(c->l,
                             "BM %d\nBN %d\nBK %d\nTM %d\nTN %d\nK_DIGITS %d\nA_VEC %d\n"
                             "B_VEC %d\n%s",
                             m, n, k, tiles[i].rows, tiles[i].columns, c->f->k_digits, c->f->a_four,
                             c->f->b_four, type_define(c->g)),
                  threads, m, n);
    }
    return status;
}

static int64_t power_of_two(int64_t v) {
    int64_t p = 1;
    while (p < v)
        p *= 2;
    return p;
}

static mare_status offer_all(choice *c) {
    const dev_caps *caps = c->l->caps;
    int64_t batches = product(c->g->batch_size, c->g->batches);
    bool cpu = caps->type == DEV_CPU;
    c->x->flops = 2.0 * (double)c->f->m * (double)c->g->n * (double)c->f->k * (double)batches;
    if (c->x->flops < 2.0 * SMALL) return offer_rows(c, 2, 2, false);
    mare_status status = cpu ? offer_vectors(c) : offer_rows(c, 4, 2, false);
    if (!status && !cpu) status = offer_tiles(c);
    c->x->tune_key = lower_text(c->l, "%s/%s/%lldx%lldx%lld/b%lld/a%d%d%d/b%d%d", c->g->family,
                                mare_dtype_name(c->g->o.dtype), (long long)power_of_two(c->f->m),
                                (long long)power_of_two(c->g->n), (long long)power_of_two(c->f->k),
                                (long long)power_of_two(c->outer), c->f->a_pair, c->f->a_four,
                                c->f->k_digits, c->f->b_pair, c->f->b_four);
    return c->x->tune_key ? status : lower_error(c->l);
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
static void push_params(launch *x, const gemm *g, const form *f, int64_t k_part, int64_t slices,
                        const uint32_t first[3]) {
    int64_t count = shape_count(&g->o.shape);
    int64_t head[] = {f->m,   g->n,       f->k,     slices,   g->k_size[0], g->k_size[1],
                      k_part, g->batches, first[0], first[1], first[2],     slices > 1 ? count : 0};
    for (size_t i = 0; i < sizeof head / sizeof *head; i++)
        push(x, head[i]);
    push_three(x, g->k_a, g->n_b);
    push_three(x, g->k_b, g->n_o);
    push_three(x, g->m_a, g->m_size[0]);
    push_three(x, g->m_o, g->m_size[1]);
    push(x, product(g->batch_size, g->batches));
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
           gemm_m(g) * g->n * product(g->batch_size, g->batches) == shape_count(&g->o.shape);
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

/* Lanes of the register kernel: one SIMD vector of a CPU, or enough to fill a GPU's. */
static int64_t lanes_of(const lowering *l) {
    int64_t most = lower_workgroup(l), lanes = 64;
    if (l->caps->type == DEV_CPU) lanes = l->caps->subgroup >= 4 ? l->caps->subgroup : 8;
    return lanes < most ? lanes : most;
}

mare_status gemm_lower(lowering *l, const gemm *given) {
    gemm g = *given;
    int64_t lanes = lanes_of(l), m = gemm_m(&g), k = gemm_k(&g);
    if (m == 0 || g.n == 0 || product(g.batch_size, g.batches) == 0) return MARE_OK;
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
    mare_status status = launch_bind(l, x, &g.a, READ, &first[0]);
    if (!status) status = launch_bind(l, x, &g.b, READ, &first[1]);
    if (!status && !target.after) status = launch_bind(l, x, &target, WRITE, &first[2]);
    if (status) return status;
    first[0] += (uint32_t)g.a_at;
    first[1] += (uint32_t)g.b_at;
    first[2] += (uint32_t)g.o_at;
    form f = form_of(&g, first[0], first[1], k);
    push_params(x, &g, &f, k_part, slices, first);
    choice c = {.l = l,
                .g = &g,
                .f = &f,
                .x = x,
                .outer = slices * product(g.batch_size, g.batches),
                .lanes = lanes,
                .end = &x->variants};
    status = offer_all(&c);
    if (!status) status = launch_attach(l, x, NULL, &target);
    if (!status && slices > 1) status = add_slices(l, &target, slices, &g.o);
    return status;
}

double gemm_ref_add(mare_dtype t, double sum, double x, double y) {
    if (t != MARE_I32) return sum + x * y;
    uint32_t product = (uint32_t)(int32_t)x * (uint32_t)(int32_t)y;
    return (double)(int32_t)((uint32_t)(int32_t)sum + product);
}
