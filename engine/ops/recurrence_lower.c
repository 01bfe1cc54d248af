/* Launches of the recurrence. A small layer takes one for the whole sequence, in which a workgroup
 * keeps the states of its rows in shared memory and reads all weights in each step. Others take the
 * matrix product as it is and a launch for the rest of the work, step by step. */
#include "ops/gemm.h"
#include "ops/loop.h"
#include "ops/recurrence.h"

enum {
    SHARED_WORDS = 4096,   /* 16 KiB, which every device has */
    MOST_ROWS = 4,         /* that an invocation works on */
    LAUNCH_WORK = 1 << 29, /* multiplications of one workgroup in one launch */
    SMALL_LAYER = 1 << 14, /* weights */
    SMALL_STEP = 1 << 17,  /* multiplications, below which launches cost a CPU more than they do */
    CPU_GROUPS = 4,
    GPU_GROUPS = 64
};

typedef struct work {
    lowering *l;
    const recurrence_attr *a;
    recurrence_dims d;
    bool gradient, group;
    int rows;                          /* that an invocation works on */
    operand w[2], p[2];                /* of the directions, as they came */
    operand weights;                   /* of all directions, packed */
    int64_t per_dir;                   /* words of weights a direction */
    int64_t bias, projection, lengths; /* where they start in them */
    int64_t product, kept;             /* and step by step what a product gives and takes */
    operand y, other[2], grad;         /* other: the products, or the result's gradient */
    gemm ready[2][2];                  /* products with w and p, as the first step has them */
} work;

/* ---- Weights ------------------------------------------------------------------------------ */

/* Copies o to packed weights at `at`, transposed or as it is. */
static mare_status place(work *k, const operand *o, int64_t at, bool transposed) {
    operand from = *o, to = k->weights;
    if (transposed) {
        from.shape = shape_of(2, o->shape.dim[1], o->shape.dim[0]);
        from.view.stride[0] = o->view.stride[1];
        from.view.stride[1] = o->view.stride[0];
    }
    to.shape = from.shape;
    shape_strides(&to.shape, to.view.stride);
    to.view.offset = at;
    return lower_map(k->l, "a", MARE_F32, &from, 1, &to);
}

/* The next region of packed weights, of n words; aligned, so that launches that touch different
 * ones need not wait for each other. */
static int64_t region(int64_t *end, int64_t n) {
    int64_t at = *end;
    *end += (n + 63) / 64 * 64;
    return at;
}

static int64_t largest(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* w, b and p: of the first direction, those of the second `stride` operands on. */
static mare_status pack_weights(work *k, const operand *w, const operand *b, const operand *p,
                                int stride, const operand *lengths) {
    const recurrence_dims *d = &k->d;
    int64_t end = 0, wide = largest(k->gradient ? d->hidden : d->gates, d->out);
    region(&end, k->group ? d->gates * d->out : 0);
    k->bias = region(&end, b ? d->all_gates : 0);
    k->projection = region(&end, p && k->group ? d->hidden * d->out : 0);
    k->lengths = region(&end, lengths ? d->rows : 0);
    k->product = region(&end, k->group ? 0 : d->rows * wide);
    k->kept = region(&end, k->group || !k->gradient ? 0 : d->rows * d->gates);
    k->per_dir = end;
    shape s = shape_of(1, end * d->dirs);
    k->weights = lower_scratch(k->l, MARE_F32, &s);
    mare_status status = MARE_OK;
    for (int dir = 0; dir < d->dirs && !status; dir++) {
        int64_t first = dir * end;
        int i = dir * stride;
        if (k->group) {
            status = place(k, &w[i], first, !k->gradient);
            if (!status && p) status = place(k, &p[i], first + k->projection, !k->gradient);
        } else {
            status = lower_contiguous(k->l, &w[i], &k->w[dir]);
            if (!status && p) status = lower_contiguous(k->l, &p[i], &k->p[dir]);
        }
        if (!status && b) status = place(k, &b[i], first + k->bias, false);
        if (!status && lengths) status = place(k, lengths, first + k->lengths, false);
    }
    return status;
}

/* ---- Launches ----------------------------------------------------------------------------- */

/* The steps first..first + steps of `dirs` directions from dir on. */
typedef struct span {
    int dir, dirs;
    int64_t first, steps;
} span;

/* Part of a packed tensor [dirs, T + 1, N, width] that a span touches. */
static operand rows_of(const work *k, const operand *o, const span *s, int64_t *first_row) {
    operand part = *o;
    int64_t width = o->shape.dim[3], all = k->d.steps + 1;
    if (s->dirs > 1) {
        *first_row = 0;
        return part;
    }
    *first_row = s->dir ? k->d.steps - s->first - s->steps : s->first;
    part.shape = shape_of(1, (s->steps + 1) * k->d.rows * width);
    part.view.stride[0] = 1;
    part.view.offset += (s->dir * all + *first_row) * k->d.rows * width;
    return part;
}

/* Part of a direction's products [T, N, gates]. */
static operand products_of(const work *k, const operand *o, const span *s, int64_t *first_row) {
    operand part = *o;
    *first_row = s->dirs > 1 ? 0 : s->dir ? k->d.steps - s->first - s->steps : s->first;
    if (s->dirs > 1) return part;
    part.shape = shape_of(1, s->steps * k->d.rows * k->d.gates);
    part.view.stride[0] = 1;
    part.view.offset += *first_row * k->d.rows * k->d.gates;
    return part;
}

static operand weights_of(const work *k, const span *s) {
    operand part = k->weights;
    part.shape = shape_of(1, s->dirs * k->per_dir);
    part.view.offset = s->dir * k->per_dir;
    return part;
}

/* Binds part of a tensor whose rows of the sequence have `row` words, and gives the word at which
 * its row 0 would be (which may lie before the binding: words wrap around). */
static mare_status bind(work *k, launch *x, const operand *part, access a, int64_t first_row,
                        int64_t row, uint32_t *first) {
    mare_status s = launch_bind(k->l, x, part, a, first);
    *first -= (uint32_t)(first_row * row);
    return s;
}

static mare_status emit(work *k, const span *s, int stage) {
    static const char *const define[] = {"", "PROJECTED 1\n", "LENGTHS 1\n", "BOTH 1\n"};
    lowering *l = k->l;
    const recurrence_dims *d = &k->d;
    bool both = !k->gradient && s->dirs > 1;
    const char *text =
        lower_text(l, "CELL %u\n%s%s%sR %d\n%s%d\n", k->a->cell, define[k->a->projected ? 1 : 0],
                   define[k->a->lengths ? 2 : 0], define[both ? 3 : 0], k->rows,
                   k->group ? "GROUP " : "STAGE ", k->group ? 1 : stage);
    launch *x =
        text ? lower_launch(l, k->gradient ? "recurrence/backward.comp" : "recurrence/forward.comp",
                            text)
             : NULL;
    if (!x) return lower_error(l);
    int64_t row, tiles = (d->rows + k->rows - 1) / k->rows, N = d->rows;
    uint32_t size = k->group ? loop_group(l, d->hidden) : lower_workgroup(l);
    uint32_t weights, y, other[2] = {0}, grad = 0;
    operand o = weights_of(k, s);
    mare_status status = launch_bind(l, x, &o, k->group ? READ : READ_WRITE, &weights);
    o = rows_of(k, &k->y, s, &row);
    if (!status) status = bind(k, x, &o, k->gradient ? READ : READ_WRITE, row, N * d->width, &y);
    if (k->gradient) {
        o = rows_of(k, &k->other[0], s, &row);
        if (!status) status = bind(k, x, &o, READ, row, N * d->width, &other[0]);
        o = rows_of(k, &k->grad, s, &row);
        if (!status) status = bind(k, x, &o, READ_WRITE, row, N * d->grad_width, &grad);
    }
    for (int i = 0; i < s->dirs && !k->gradient && !status; i++) {
        o = products_of(k, &k->other[s->dir + i], s, &row);
        status = bind(k, x, &o, READ, row, N * d->gates, &other[i]);
    }
    if (status) return status;
    launch_spec(x, size);
    int64_t shared = k->gradient ? d->gates : 2 * d->out;
    if (k->a->projected) shared = d->out + (k->gradient ? d->gates : d->hidden);
    if (k->group) launch_spec(x, (uint32_t)(shared * k->rows));
    int64_t all = (d->steps + 1) * N;
    int64_t first = k->gradient ? s->first + s->steps - 1 : s->first;
    uint32_t words[] = {(uint32_t)s->steps,
                        (uint32_t)first,
                        (uint32_t)d->steps,
                        (uint32_t)N,
                        (uint32_t)s->dirs,
                        (uint32_t)s->dir,
                        (uint32_t)d->hidden,
                        (uint32_t)d->out,
                        (uint32_t)tiles,
                        weights,
                        (uint32_t)k->per_dir,
                        (uint32_t)k->bias,
                        (uint32_t)k->projection,
                        (uint32_t)k->lengths,
                        y,
                        (uint32_t)(all * d->width),
                        other[0],
                        k->gradient ? (uint32_t)(all * d->width) : other[1],
                        grad,
                        (uint32_t)(all * d->grad_width),
                        (uint32_t)k->product,
                        (uint32_t)k->kept,
                        0,
                        0};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        launch_u32(x, words[i]);
    int64_t units = stage ? d->out : d->hidden, groups = tiles * s->dirs;
    x->flops = 2.0 * (double)(d->gates * d->out * N * s->steps * s->dirs);
    return launch_groups(l, x, (uint64_t)(k->group ? groups : (groups * units + size - 1) / size));
}

/* Chooses between the two ways, and how many rows an invocation takes. */
static void choose(work *k) {
    const recurrence_dims *d = &k->d;
    bool cpu = k->l->caps->type == DEV_CPU;
    int64_t enough = cpu ? CPU_GROUPS : GPU_GROUPS, weights = d->gates * d->out;
    int64_t words = k->gradient ? d->gates : 2 * d->out;
    if (k->a->projected) words = d->out + (k->gradient ? d->gates : d->hidden);
    k->group = words <= SHARED_WORDS && weights <= SMALL_LAYER &&
               (!cpu || weights * d->rows <= SMALL_STEP);
    k->rows = k->group ? MOST_ROWS : 1;
    while (k->rows > 1 && (k->rows / 2 >= d->rows || k->rows * words > SHARED_WORDS ||
                           d->rows * d->dirs < enough * k->rows))
        k->rows /= 2;
}

/* ---- Matrix products of one step ---------------------------------------------------------- */

/* Columns of row `at` of a direction of a packed tensor: [N, n]. */
static operand columns_of(const work *k, const operand *packed, int dir, int64_t at, int64_t column,
                          int64_t n) {
    operand part = *packed;
    int64_t width = packed->shape.dim[3];
    part.shape = shape_of(2, k->d.rows, n);
    part.view.stride[0] = width;
    part.view.stride[1] = 1;
    part.view.offset += (dir * (k->d.steps + 1) + at) * k->d.rows * width + column;
    return part;
}

/* The packed weights' region at `at`, as [N, n]. */
static operand scratch_of(const work *k, int dir, int64_t at, int64_t n) {
    operand part = k->weights;
    part.shape = shape_of(2, k->d.rows, n);
    shape_strides(&part.shape, part.view.stride);
    part.view.offset = dir * k->per_dir + at;
    return part;
}

/* The factors of a step's products. */
typedef enum factor { FACTOR_W, FACTOR_P } factor;

/* The product's region = a times a factor, or times its transpose. All steps share the factor,
 * which the first of them lays out. */
static mare_status multiply(work *k, int dir, const operand *a, factor which, bool transposed) {
    const operand *b = which == FACTOR_W ? &k->w[dir] : &k->p[dir];
    gemm *ready = &k->ready[dir][which];
    gemm g = {.family = "recurrence/f32", .a = *a, .b = *b};
    int n = transposed ? 0 : 1;
    for (int i = 0; i < GEMM_DIGITS; i++)
        g.m_size[i] = 1;
    for (int i = 0; i < GEMM_K_DIGITS; i++)
        g.k_size[i] = 1;
    g.n = b->shape.dim[n];
    g.o = scratch_of(k, dir, k->product, g.n);
    g.m_size[0] = k->d.rows;
    g.m_a[0] = a->view.stride[0];
    g.m_o[0] = g.n;
    g.k_size[0] = a->shape.dim[1];
    g.k_a[0] = a->view.stride[1];
    g.k_b[0] = b->view.stride[1 - n];
    g.n_b = b->view.stride[n];
    g.n_o = 1;
    if (ready->family) {
        gemm step = g;
        g = *ready;
        g.a = step.a;
        g.m_a[0] = step.m_a[0];
        g.k_a[0] = step.k_a[0];
    } else {
        mare_status status = gemm_prepare(k->l, &g, k->d.steps);
        if (status) return status;
        *ready = g;
    }
    return gemm_lower(k->l, &g);
}

/* What stage `stage` of step s needs multiplied before. */
static mare_status multiply_step(work *k, const span *s, int stage) {
    const recurrence_dims *d = &k->d;
    mare_status status = MARE_OK;
    for (int dir = s->dir; dir < s->dir + s->dirs && !status; dir++) {
        int64_t t = dir ? d->steps - 1 - s->first : s->first;
        int64_t before = dir ? t + 1 : t, after = dir ? t : t + 1;
        operand a;
        if (!k->gradient && stage == 0) {
            a = columns_of(k, &k->y, dir, before, recurrence_h(d), d->out);
            status = multiply(k, dir, &a, FACTOR_W, true);
        } else if (!k->gradient) {
            a = columns_of(k, &k->y, dir, after, d->m, d->hidden);
            status = multiply(k, dir, &a, FACTOR_P, true);
        } else if (stage == 1) {
            /* gru's are not side by side in a row */
            a = k->a->cell == CELL_GRU ? scratch_of(k, dir, k->kept, d->gates)
                                       : columns_of(k, &k->grad, dir, after, 0, d->gates);
            status = multiply(k, dir, &a, FACTOR_W, false);
        } else if (k->a->projected) {
            a = columns_of(k, &k->grad, dir, after, recurrence_dh(d), d->out);
            status = multiply(k, dir, &a, FACTOR_P, false);
        }
    }
    return status;
}

/* Does a span fit the device's bindings? */
static bool fits(const work *k, const span *s) {
    int64_t row;
    operand y = rows_of(k, &k->y, s, &row), w = weights_of(k, s);
    bool ok = loop_fits(k->l, &y) && loop_fits(k->l, &w);
    for (int i = 0; i < s->dirs && !k->gradient; i++) {
        operand x = products_of(k, &k->other[s->dir + i], s, &row);
        ok = ok && loop_fits(k->l, &x);
    }
    if (!k->gradient) return ok;
    operand gy = rows_of(k, &k->other[0], s, &row), o = rows_of(k, &k->grad, s, &row);
    return ok && loop_fits(k->l, &gy) && loop_fits(k->l, &o);
}

/* All steps of a span, in the order of the op. */
static mare_status emit_steps(work *k, span s) {
    const recurrence_dims *d = &k->d;
    int64_t most = LAUNCH_WORK / (k->rows * d->gates * d->out) + 1;
    int stages = k->group ? 1 : 1 + (k->gradient || k->a->projected);
    mare_status status = MARE_OK;
    for (int64_t done = 0; done < d->steps && !status; done += s.steps) {
        int64_t left = d->steps - done;
        s.steps = !k->group ? 1 : left < most ? left : most;
        s.first = k->gradient ? left - s.steps : done;
        while (s.dirs == 1 && s.steps > 1 && !fits(k, &s)) {
            s.steps = (s.steps + 1) / 2;
            s.first = k->gradient ? left - s.steps : done;
        }
        for (int stage = 0; stage < stages && !status; stage++) {
            if (!k->group) status = multiply_step(k, &s, stage);
            if (!status) status = emit(k, &s, stage);
        }
    }
    return status;
}

static mare_status emit_all(work *k) {
    span all = {0, k->d.dirs, 0, k->d.steps};
    if (k->d.dirs == 1 || fits(k, &all)) return emit_steps(k, all);
    mare_status status = emit_steps(k, (span){.dir = 0, .dirs = 1});
    return status ? status : emit_steps(k, (span){.dir = 1, .dirs = 1});
}

mare_status recurrence_lower(lowering *l, const node *n, const operand *in, const operand *out) {
    work k = {.l = l, .a = OP_ATTR(recurrence_attr, n), .d = recurrence_dims_of(n), .y = *out};
    const recurrence_dims *d = &k.d;
    choose(&k);
    mare_status s =
        pack_weights(&k, &in[IN_W], &in[IN_B], k.a->projected ? &in[d->per_dir - 1] : NULL,
                     d->per_dir, k.a->lengths ? &in[n->n_in - 1] : NULL);
    for (int dir = 0; dir < d->dirs && !s; dir++) {
        const operand *own = in + dir * d->per_dir;
        int64_t row = dir ? d->steps : 0;
        s = lower_contiguous(l, &own[IN_X], &k.other[dir]);
        operand state = columns_of(&k, out, dir, row, recurrence_h(d), d->out);
        if (!s) s = lower_map(l, "a", MARE_F32, &own[IN_H], 1, &state);
        if (s || k.a->cell != CELL_LSTM) continue;
        state = columns_of(&k, out, dir, row, d->c, d->hidden);
        s = lower_map(l, "a", MARE_F32, &own[IN_C], 1, &state);
    }
    return s ? s : emit_all(&k);
}

/* What comes in for a direction's last state, h or c, is the first of its gradient. */
static mare_status last_state(work *k, int dir, int64_t from, int64_t to, int64_t n) {
    int64_t at = dir ? 0 : k->d.steps;
    operand gy = columns_of(k, &k->other[0], dir, at, from, n);
    operand grad = columns_of(k, &k->grad, dir, at, to, n);
    return lower_map(k->l, "a", MARE_F32, &gy, 1, &grad);
}

mare_status recurrence_grad_lower(lowering *l, const node *n, const operand *in,
                                  const operand *out) {
    work k = {.l = l,
              .a = OP_ATTR(recurrence_attr, n),
              .d = recurrence_grad_dims_of(n),
              .gradient = true,
              .grad = *out};
    const recurrence_dims *d = &k.d;
    choose(&k);
    mare_status s = lower_contiguous(l, &in[0], &k.y);
    if (!s) s = lower_contiguous(l, &in[1], &k.other[0]);
    if (!s)
        s = pack_weights(&k, &in[2], NULL, k.a->projected ? &in[3] : NULL, d->per_dir,
                         k.a->lengths ? &in[n->n_in - 1] : NULL);
    for (int dir = 0; dir < d->dirs && !s; dir++) {
        s = last_state(&k, dir, recurrence_h(d), recurrence_dh(d), d->out);
        if (!s && k.a->cell == CELL_LSTM)
            s = last_state(&k, dir, d->c, recurrence_dc(d), d->hidden);
    }
    return s ? s : emit_all(&k);
}
