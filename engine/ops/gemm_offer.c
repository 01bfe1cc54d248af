#include "ops/gemm_internal.h"

#include <string.h>

/* ---- Which neighbours can be loaded at once ----------------------------------------------- */

static bool all_divide(const int64_t *size, const int64_t *stride, int from, int n, int64_t by) {
    for (int i = from; i < n; i++)
        if (size[i] > 1 && stride[i] % by != 0) return false;
    return true;
}

/* Can `by` neighbours of a be loaded at once along its inner digit of m (or of k)? */
static bool a_groups(const gemm *g, const gemm_form *f, uint32_t first, bool along_m, int64_t by) {
    const int64_t *size = along_m ? g->m_size : g->k_size, *stride = along_m ? g->m_a : g->k_a;
    return first % by == 0 && stride[0] == 1 && size[0] % by == 0 &&
           (along_m ? f->m : f->k) % by == 0 &&
           all_divide(g->m_size, g->m_a, along_m ? 1 : 0, GEMM_DIGITS, by) &&
           all_divide(g->k_size, g->k_a, along_m ? 0 : 1, GEMM_K_DIGITS, by) &&
           all_divide(g->batch_size, g->batch_a, 0, g->batches, by);
}

static bool b_groups(const gemm *g, const gemm_form *f, uint32_t first, bool along_n, int64_t by) {
    bool aligned = first % by == 0 && all_divide(g->batch_size, g->batch_b, 0, g->batches, by) &&
                   all_divide(g->k_size, g->k_b, along_n ? 0 : 1, GEMM_K_DIGITS, by);
    if (along_n) return aligned && g->n_b == 1 && g->n % by == 0;
    return aligned && g->k_b[0] == 1 && g->k_size[0] % by == 0 && f->k % by == 0 &&
           (g->n == 1 || g->n_b % by == 0);
}

void gemm_form_operands(gemm_form *f, const gemm *g, const uint32_t first[2]) {
    f->a_pair = a_groups(g, f, first[0], false, 2) ? 1 : a_groups(g, f, first[0], true, 2) ? 2 : 0;
    f->b_pair = b_groups(g, f, first[1], true, 2) ? 2 : b_groups(g, f, first[1], false, 2) ? 1 : 0;
    f->a_four = a_groups(g, f, first[0], true, 4);
    f->b_four = b_groups(g, f, first[1], true, 4);
    f->k_digits = g->k_size[3] > 1 ? 2 : g->k_size[1] > 1 || g->k_size[2] > 1;
}

/* ---- Kernels to choose among -------------------------------------------------------------- */

/* Below this many multiplications the plain kernel alone is offered: nothing to be gained would pay
 * for compiling and measuring. */
enum { SMALL = 32768 };

typedef struct choice {
    lowering *l;
    const gemm *g;
    const gemm_form *f;
    launch *x;
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
    uint64_t groups = (uint64_t)((c->f->m + m - 1) / m) * (uint64_t)((c->g->n + n - 1) / n) *
                      (uint64_t)c->f->outer;
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
                 c->f->lanes, rows, columns * c->f->lanes);
}

static int at_most(int64_t limit, int v) {
    return limit < v ? (int)limit : v;
}

/* For CPUs: one SIMD vector a workgroup, as many sums in registers as pay. */
static mare_status offer_vectors(choice *c) {
    static const int sizes[][2] = {{12, 8}, {16, 4}, {8, 4}};
    const gemm_form *f = c->f;
    int64_t rows = (f->m + 3) / 4 * 4, columns = (c->g->n + c->f->lanes - 1) / c->f->lanes;
    columns = columns <= 2 ? 2 : columns <= 4 ? 4 : 8;
    mare_status status = MARE_OK;
    for (int i = 0; i < 3 && !status; i++)
        status = offer_rows(c, at_most(rows, sizes[i][0]), at_most(columns, sizes[i][1]), true);
    return status;
}

/* Do the rows of every tile of r lie side by side in a? */
static bool rows_lie(const choice *c, int r) {
    return c->g->m_a[0] == 1 && c->g->m_size[0] % r == 0 && c->f->m % r == 0;
}

/* For CPUs whose driver loads whole vectors: b lies in panels. The steps of k that a turn of the
 * loop takes are shaders/matmul/vectors.comp's. */
static mare_status offer_panels(choice *c) {
    enum { TURN = 8, TURNS = 16 /* steps of the inner digit, and of two digits together */ };
    enum { MOST_ROWS = 14 };
    static const int sums[] = {24, 16, 8}; /* vectors of them; as many rows for each column */
    const int64_t *k = c->g->k_size;
    int64_t inner = k[0] < TURN ? k[0] : TURN, middle = 1;
    if (inner == k[0])
        for (int64_t d = 2; d <= k[1] && d * inner <= TURNS; d++)
            if (k[1] % d == 0) middle = d;
    bool rest = k[0] % inner != 0 || c->f->k % inner != 0;
    mare_status status = MARE_OK;
    for (int i = 0; i < 3 && !status; i++) {
        int columns = c->g->panel / (int)c->f->lanes, rows = sums[i] / columns;
        int r = at_most(c->f->m, rows < MOST_ROWS ? rows : MOST_ROWS);
        status = offer(c, lower_text(c->l, "vectors%dx%d", r, columns), "matmul/vectors.comp",
                       lower_text(c->l,
                                  "BUFFERS 2\nLANES %d\nR %d\nC %d\nU0 %d\nU1 %d\nREST %d\n"
                                  "A_ALONG_K %d\nA_ALONG_M %d\n%s",
                                  (int)c->f->lanes, r, columns, (int)inner, (int)middle, rest,
                                  c->g->k_a[0] == 1, rows_lie(c, r), type_define(c->g)),
                       c->f->lanes, r, c->g->panel);
    }
    if (!c->x->tune_key) return lower_error(c->l);
    c->x->tune_key =
        lower_text(c->l, "%s/u%d.%d%s", c->x->tune_key, (int)inner, (int)middle, rest ? "r" : "");
    return status;
}

/* For the same CPUs: few rows, and both factors along k, whose outer digits go on where the inner
 * one ends. */
static bool are_dots(const choice *c) {
    const gemm *g = c->g;
    return c->l->caps->has[DEV_UNIFORM_LOADS] && c->f->lanes == c->l->caps->subgroup &&
           c->f->m <= 8 && g->k_a[0] == 1 && g->k_b[0] == 1 && g->k_size[1] == 1 &&
           g->k_size[3] == 1 &&
           (g->k_size[2] == 1 || (g->k_a[2] == g->k_size[0] && g->k_b[2] == g->k_size[0]));
}

static mare_status offer_dots(choice *c) {
    int rows = at_most(c->f->m, 4), columns = at_most(c->g->n, 8 / rows * 2 < 8 ? 4 : 8);
    return offer(c, lower_text(c->l, "dots%dx%d", rows, columns), "matmul/dots.comp",
                 lower_text(c->l, "BUFFERS 2\nLANES %d\nR %d\nC %d\n%s", (int)c->f->lanes, rows,
                            columns, type_define(c->g)),
                 c->f->lanes, rows, columns);
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

/* Sizes to the next power of two, and how the operands lie. */
static const char *key_of(const choice *c) {
    const gemm_form *f = c->f;
    return lower_text(c->l, "%s/%s/%lldx%lldx%lld/b%lld/a%d%d%d/%s%d%d", c->g->family,
                      mare_dtype_name(c->g->o.dtype), (long long)power_of_two(f->m),
                      (long long)power_of_two(c->g->n), (long long)power_of_two(f->k),
                      (long long)power_of_two(f->outer), f->a_pair, f->a_four, f->k_digits,
                      c->g->panel ? "p" : "b", f->b_pair, f->b_four);
}

mare_status gemm_offer(lowering *l, launch *x, const gemm *g, const gemm_form *f) {
    choice c = {.l = l, .g = g, .f = f, .x = x, .end = &x->variants};
    int64_t batches = gemm_product(g->batch_size, g->batches);
    bool cpu = l->caps->type == DEV_CPU;
    x->flops = 2.0 * (double)f->m * (double)g->n * (double)f->k * (double)batches;
    if (!g->panel && x->flops < 2.0 * SMALL) return offer_rows(&c, 2, 2, false);
    x->tune_key = key_of(&c);
    if (!x->tune_key) return lower_error(l);
    if (g->panel) return offer_panels(&c);
    mare_status status = are_dots(&c) ? offer_dots(&c) : MARE_OK;
    if (status) return status;
    if (cpu) return offer_vectors(&c);
    status = offer_rows(&c, 4, 2, false);
    return status ? status : offer_tiles(&c);
}
