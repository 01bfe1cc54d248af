/* The recurrence over a sequence, for the cells of rnn, lstm and gru, and its gradient: see
 * recurrence.h for what the results hold. */
#include "ops/recurrence.h"
#include "ops/internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- Shapes ------------------------------------------------------------------------------- */

static recurrence_dims dims_of(const recurrence_attr *a, int64_t steps, int64_t rows,
                               const shape *w) {
    int gates = a->cell == CELL_LSTM ? 4 : a->cell == CELL_GRU ? 3 : 1;
    int64_t hidden = w->dim[0] / gates, out = w->dim[1];
    recurrence_dims d = {.steps = steps,
                         .rows = rows,
                         .hidden = hidden,
                         .out = out,
                         .gates = gates * hidden,
                         .all_gates = (gates + (a->cell == CELL_GRU)) * hidden,
                         .dirs = (int)a->dirs};
    d.width = out;
    d.grad_width = d.all_gates + out;
    if (a->cell == CELL_GRU) d.width += 4 * hidden;
    if (a->cell != CELL_LSTM) return d;
    d.c = 4 * hidden;
    d.m = a->projected ? 5 * hidden : d.c + hidden; /* where h is, if that is all there is */
    d.width = d.m + (a->projected ? hidden : 0) + out;
    d.grad_width += hidden;
    return d;
}

recurrence_dims recurrence_dims_of(const node *n) {
    const recurrence_attr *a = OP_ATTR(recurrence_attr, n);
    const shape *x = &n->in[IN_X]->shape;
    recurrence_dims d = dims_of(a, x->dim[0], x->dim[1], &n->in[IN_W]->shape);
    d.per_dir = 4 + (a->cell == CELL_LSTM) + (int)a->projected;
    return d;
}

recurrence_dims recurrence_grad_dims_of(const node *n) {
    const recurrence_attr *a = OP_ATTR(recurrence_attr, n);
    const shape *y = &n->in[0]->shape;
    recurrence_dims d = dims_of(a, y->dim[1] - 1, y->dim[2], &n->in[2]->shape);
    d.per_dir = 1 + (int)a->projected;
    return d;
}

static bool recurrence_infer(graph *g, node *n) {
    (void)g;
    recurrence_dims d = recurrence_dims_of(n);
    n->dtype = MARE_F32;
    n->shape = shape_of(4, d.dirs, d.steps + 1, d.rows, d.width);
    return true;
}

static bool recurrence_grad_infer(graph *g, node *n) {
    (void)g;
    recurrence_dims d = recurrence_grad_dims_of(n);
    n->dtype = MARE_F32;
    n->shape = shape_of(4, d.dirs, d.steps + 1, d.rows, d.grad_width);
    return true;
}

/* Columns of the rows from..from + rows of a direction: [rows, N, columns]. */
static node *part(graph *g, node *packed, int dir, int64_t from, int64_t rows, int64_t column,
                  int64_t columns) {
    node *a = op_narrow(g, op_narrow(g, packed, 0, dir, 1), 1, from, rows);
    return op_squeeze(g, op_narrow(g, a, 3, column, columns), 0);
}

/* Where the rows after all steps of a direction begin, and those before; where its initial and its
 * final state are. */
static int64_t rows_after(int dir) {
    return dir ? 0 : 1;
}
static int64_t rows_before(int dir) {
    return dir ? 1 : 0;
}
static int64_t row_first(const recurrence_dims *d, int dir) {
    return dir ? d->steps : 0;
}

/* ---- The gradient of the op --------------------------------------------------------------- */

/* a [..., m] and b [..., n] as the sum of their rows' outer products, [m, n]. */
static node *outer(graph *g, node *a, node *b) {
    if (!a || !b) return NULL;
    shape m = shape_of(2, shape_count(&a->shape) / a->shape.dim[2], a->shape.dim[2]);
    shape n = shape_of(2, m.dim[0], b->shape.dim[2]);
    return op_matmul(g, op_transpose(g, op_reshape(g, a, &m), 0, 1), op_reshape(g, b, &n));
}

static bool recurrence_vjp(graph *g, node *n, node *gy, node **gx) {
    const recurrence_attr *a = OP_ATTR(recurrence_attr, n);
    recurrence_dims d = recurrence_dims_of(n);
    node *in[7] = {n, gy};
    int count = 2;
    for (int dir = 0; dir < d.dirs; dir++) {
        in[count++] = n->in[dir * d.per_dir + IN_W];
        if (a->projected) in[count++] = n->in[(dir + 1) * d.per_dir - 1];
    }
    if (a->lengths) in[count++] = n->in[n->n_in - 1];
    node *all = node_new(g, &op_desc_recurrence_grad, in, count, a);
    for (int dir = 0; all && dir < d.dirs; dir++, gx += d.per_dir) {
        int64_t first = row_first(&d, dir), after = rows_after(dir);
        node *da = part(g, all, dir, after, d.steps, 0, d.all_gates);
        node *h = part(g, n, dir, rows_before(dir), d.steps, recurrence_h(&d), d.out);
        gx[IN_X] = op_narrow(g, da, 2, 0, d.gates);
        gx[IN_W] = outer(g, gx[IN_X], h);
        if (a->cell == CELL_GRU) {
            node *rz = outer(g, op_narrow(g, da, 2, 0, 2 * d.hidden), h);
            node *q = outer(g, op_narrow(g, da, 2, 3 * d.hidden, d.hidden), h);
            gx[IN_W] = op_concat(g, (node *[]){rz, q}, 2, 0);
        }
        gx[IN_B] = op_sum(g, da, 3, false);
        gx[IN_H] = op_squeeze(g, part(g, all, dir, first, 1, recurrence_dh(&d), d.out), 0);
        if (a->cell == CELL_LSTM)
            gx[IN_C] = op_squeeze(g, part(g, all, dir, first, 1, recurrence_dc(&d), d.hidden), 0);
        if (a->projected)
            gx[d.per_dir - 1] =
                outer(g, part(g, all, dir, after, d.steps, recurrence_dh(&d), d.out),
                      part(g, n, dir, after, d.steps, d.m, d.hidden));
        for (int i = 0; i < d.per_dir; i++)
            if (!gx[i]) return false;
    }
    return all != NULL;
}

/* ---- The gradient's gradient --------------------------------------------------------------- */

/* Nodes by name for op_expr(). */
static node *expr(graph *g, const char *text, const char *const *names, node *const *nodes) {
    int n = 0;
    while (names[n])
        n++;
    return op_expr(g, text, names, nodes, n);
}

/* What a step of the gradient works on; each [N, columns]. */
typedef struct step_nodes {
    node *y, *gy, *before; /* rows */
    node *dh, *dc;         /* of this row, so far */
    node *da, *h_before, *c_before;
} step_nodes;

static node *columns(graph *g, node *row, int64_t from, int64_t n) {
    return op_narrow(g, row, 1, from, n);
}

/* Fills da, and what goes to the state before. */
static bool step_composed(graph *g, const recurrence_attr *a, const recurrence_dims *d, node *w,
                          node *p, step_nodes *s) {
    int64_t H = d->hidden;
    node *y[4], *gy[4], *hidden, *extra = NULL;
    for (int i = 0; i < 4 && d->width >= 4 * H + d->out; i++) {
        y[i] = columns(g, s->y, i * H, H);
        gy[i] = columns(g, s->gy, i * H, H);
    }
    if (a->cell == CELL_TANH || a->cell == CELL_RELU) {
        static const char *const names[] = {"d", "h", NULL};
        const char *text = a->cell == CELL_TANH ? "d * (1 - h * h)" : "where(h > 0, d, 0)";
        s->da = hidden = expr(g, text, names, (node *[]){s->dh, s->y});
    } else if (a->cell == CELL_GRU) {
        static const char *const names[] = {"d",  "r",  "z",  "v",  "q", "h",
                                            "gr", "gz", "gv", "gq", NULL};
        static const char *const more[] = {"d", "r", "q", "gr", "gq", "dv", NULL};
        node *h = columns(g, s->before, recurrence_h(d), H);
        node *n[] = {s->dh, y[0], y[1], y[2], y[3], h, gy[0], gy[1], gy[2], gy[3]};
        node *dv = expr(g, "(d * (1 - z) + gv) * (1 - v * v)", names, n);
        node *dz = expr(g, "(d * (h - v) + gz) * z * (1 - z)", names, n);
        node *m[] = {s->dh, y[0], y[3], gy[0], gy[3], dv};
        node *dr = expr(g, "(dv * q + gr) * r * (1 - r)", more, m);
        node *dq = expr(g, "dv * r + gq", more, m);
        hidden = op_concat(g, (node *[]){dr, dz, dq}, 3, 1);
        s->da = op_concat(g, (node *[]){dr, dz, dv, dq}, 4, 1);
        extra = op_map2(g, "mul", s->dh, y[1]);
    } else {
        static const char *const names[] = {"dm", "dc", "i", "f", "v", "o", "c", "cb", NULL};
        static const char *const more[] = {"dm", "dc", "i",  "f",  "v",  "o", "c",
                                           "cb", "gi", "gf", "gv", "go", NULL};
        node *c = columns(g, s->y, d->c, H), *cb = columns(g, s->before, d->c, H), *dm = s->dh;
        if (a->projected) dm = op_map2(g, "add", op_matmul(g, dm, p), columns(g, s->gy, d->m, H));
        node *n[] = {dm, s->dc, y[0], y[1], y[2], y[3], c, cb, gy[0], gy[1], gy[2], gy[3]};
        node *dc = n[1] = expr(g, "t = tanh(c); dc + dm * o * (1 - t * t)", names, n);
        node *di = expr(g, "(dc * v + gi) * i * (1 - i)", more, n);
        node *df = expr(g, "(dc * cb + gf) * f * (1 - f)", more, n);
        node *dv = expr(g, "(dc * i + gv) * (1 - v * v)", more, n);
        node *dopen = expr(g, "(dm * tanh(c) + go) * o * (1 - o)", more, n);
        s->da = hidden = op_concat(g, (node *[]){di, df, dv, dopen}, 4, 1);
        s->dc = dc;
        s->c_before = op_map2(g, "mul", dc, y[1]);
    }
    s->h_before = op_matmul(g, hidden, w);
    if (extra) s->h_before = op_map2(g, "add", s->h_before, extra);
    return s->da && s->h_before && (a->cell != CELL_LSTM || (s->dc && s->c_before));
}

/* where(alive, a, b), or a without lengths. */
static node *choose(graph *g, node *alive, node *a, node *b) {
    return alive ? op_map3(g, "where", alive, a, b) : a;
}

/* Row `at` of a direction, [N, width]. */
static node *row_of(graph *g, node *packed, int dir, int64_t at) {
    return op_squeeze(g, part(g, packed, dir, at, 1, 0, packed->shape.dim[3]), 0);
}

/* All rows of the gradient in one direction, unrolled: [T + 1, N, grad_width]. */
static node *unrolled(graph *g, const node *n, node *const *in, int dir, node **rows) {
    const recurrence_attr *a = OP_ATTR(recurrence_attr, n);
    recurrence_dims d = recurrence_grad_dims_of(n);
    bool lstm = a->cell == CELL_LSTM;
    node *w = in[2 + dir * d.per_dir], *p = in[1 + (dir + 1) * d.per_dir];
    node *zero = node_const(g, MARE_F32, 0), *dh = NULL, *dc = NULL;
    shape none = shape_of(2, d.rows, d.all_gates);
    for (int64_t s = d.steps; s >= 0; s--) {
        int64_t at = dir ? d.steps - s : s, t = dir ? at : at - 1;
        step_nodes k = {.y = row_of(g, in[0], dir, at), .gy = row_of(g, in[1], dir, at)};
        node *gh = columns(g, k.gy, recurrence_h(&d), d.out);
        k.dh = dh = s == d.steps ? gh : op_map2(g, "add", dh, gh);
        if (lstm) {
            node *gc = columns(g, k.gy, d.c, d.hidden);
            k.dc = dc = s == d.steps ? gc : op_map2(g, "add", dc, gc);
        }
        if (s > 0) {
            node *alive = NULL;
            k.before = row_of(g, in[0], dir, dir ? at + 1 : at - 1);
            if (a->lengths)
                alive = op_unsqueeze(g, op_map_scalar(g, "gt", n->in[n->n_in - 1], (double)t), 1);
            if (!step_composed(g, a, &d, w, p, &k)) return NULL;
            k.da = choose(g, alive, k.da, zero);
            k.dc = lstm ? choose(g, alive, k.dc, dc) : NULL;
            dh = choose(g, alive, k.h_before, dh);
            dc = lstm ? choose(g, alive, k.c_before, dc) : NULL;
        } else {
            k.da = op_full(g, MARE_F32, &none, 0);
        }
        node *parts[] = {k.da, lstm ? k.dc : k.dh, k.dh};
        rows[at] = op_concat(g, parts, lstm ? 3 : 2, 1);
        if (!rows[at]) return NULL;
    }
    return op_stack(g, rows, (int)d.steps + 1, 0);
}

/* The same gradient out of other ops, step after step, and its gradient. Only second derivatives
 * need it. Stand-ins take the inputs' place for the inner differentiation to end at them; later on
 * they are views like others, so that the result can be differentiated again. */
static bool recurrence_grad_vjp(graph *g, node *n, node *gy, node **gx) {
    recurrence_dims d = recurrence_grad_dims_of(n);
    int count = 2 + d.dirs * d.per_dir, wanted = 0, which[6], no_grad = g->no_grad;
    node *in[6], *xs[6], *got[6] = {0}, *dirs[2] = {0};
    node **rows = malloc((size_t)(d.steps + 1) * sizeof *rows);
    if (!rows) return error_no_memory(g->error, (size_t)d.steps * sizeof *rows) == MARE_OK;
    g->no_grad = 0;
    bool ok = true;
    for (int i = 0; i < count; i++) {
        in[i] = n->in[i];
        if (!in[i]->requires_grad) continue;
        in[i] = op_squeeze(g, op_unsqueeze(g, in[i], 0), 0);
        if (!in[i]) {
            ok = false;
            break;
        }
        in[i]->leaf = true;
        which[wanted] = i;
        xs[wanted++] = in[i];
    }
    for (int i = 0; ok && i < d.dirs; i++)
        ok = (dirs[i] = unrolled(g, n, in, i, rows)) != NULL;
    node *y = ok ? op_stack(g, dirs, d.dirs, 0) : NULL;
    g->no_grad = no_grad;
    ok = y && graph_grad(g, y, gy, xs, wanted, got) == MARE_OK;
    for (int i = 0; i < wanted; i++) {
        xs[i]->leaf = false;
        gx[which[i]] = got[i];
    }
    free(rows);
    return ok;
}

/* ---- Cases -------------------------------------------------------------------------------- */

static node *build(graph *g, uint32_t cell, node **in, int n_in, int dirs, bool projected,
                   node *lengths) {
    recurrence_attr a = {cell, (uint32_t)dirs, projected, lengths != NULL};
    node *all[16];
    memcpy(all, in, (size_t)n_in * sizeof *in);
    if (lengths) all[n_in++] = lengths;
    return op_recurrence(g, all, n_in, &a);
}

static node *tanh_case(graph *g, node **in) {
    return build(g, CELL_TANH, in, 4, 1, false, NULL);
}
static node *relu_case(graph *g, node **in) {
    return build(g, CELL_RELU, in, 4, 1, false, in[4]);
}
static node *lstm_case(graph *g, node **in) {
    return build(g, CELL_LSTM, in, 5, 1, false, NULL);
}
static node *lstm_lengths_case(graph *g, node **in) {
    return build(g, CELL_LSTM, in, 5, 1, false, in[5]);
}
static node *lstm_projected_case(graph *g, node **in) {
    return build(g, CELL_LSTM, in, 6, 1, true, in[6]);
}
static node *gru_case(graph *g, node **in) {
    return build(g, CELL_GRU, in, 4, 1, false, NULL);
}
static node *both(graph *g, uint32_t cell, node **in) {
    return build(g, cell, in, 8, 2, false, NULL);
}
static node *tanh_both_case(graph *g, node **in) {
    return both(g, CELL_TANH, in);
}
static node *gru_both_case(graph *g, node **in) {
    return both(g, CELL_GRU, in);
}

/* x, w, b, h of a direction of these sizes; gates, all gates. */
#define CELL(T, N, H, G, A)                                                                        \
    SHAPE3(T, N, (G) * (H)), SHAPE2((G) * (H), H), SHAPE1((A) * (H)), SHAPE2(N, H)

static const op_case recurrence_cases[] = {
    {.n_in = 4, .in = {CELL(4, 3, 5, 1, 1)}, .lo = -1, .hi = 1, .build = tanh_case},
    {.n_in = 4, .in = {CELL(1, 1, 1, 1, 1)}, .lo = -1, .hi = 1, .build = tanh_case},
    {.n_in = 4, .in = {CELL(2, 0, 3, 1, 1)}, .lo = -1, .hi = 1, .build = tanh_case},
    {.n_in = 8,
     .in = {CELL(3, 2, 4, 1, 1), CELL(3, 2, 4, 1, 1)},
     .lo = -1,
     .hi = 1,
     .build = tanh_both_case},
    {.n_in = 5,
     .in = {CELL(3, 4, 5, 1, 1), SHAPE1(4)},
     .lo = -1,
     .hi = 1,
     .build = relu_case,
     .dtype = {[4] = MARE_I32},
     .lo_in = {[4] = 0},
     .hi_in = {[4] = 3}},
    {.n_in = 5, .in = {CELL(3, 2, 5, 4, 4), SHAPE2(2, 5)}, .lo = -1, .hi = 1, .build = lstm_case},
    {.n_in = 6,
     .in = {CELL(4, 5, 3, 4, 4), SHAPE2(5, 3), SHAPE1(5)},
     .lo = -1,
     .hi = 1,
     .build = lstm_lengths_case,
     .dtype = {[5] = MARE_I32},
     .lo_in = {[5] = 0},
     .hi_in = {[5] = 4}},
    {.n_in = 7,
     .in = {SHAPE3(3, 3, 16), SHAPE2(16, 2), SHAPE1(16), SHAPE2(3, 2), SHAPE2(3, 4), SHAPE2(2, 4),
            SHAPE1(3)},
     .lo = -1,
     .hi = 1,
     .build = lstm_projected_case,
     .dtype = {[6] = MARE_I32},
     .lo_in = {[6] = 0},
     .hi_in = {[6] = 3}},
    {.n_in = 4, .in = {CELL(3, 3, 4, 3, 4)}, .lo = -1, .hi = 1, .build = gru_case},
    {.n_in = 8,
     .in = {CELL(3, 2, 3, 3, 4), CELL(3, 2, 3, 3, 4)},
     .lo = -1,
     .hi = 1,
     .build = gru_both_case},
    /* many sequences */
    {.n_in = 6,
     .in = {CELL(3, 19, 9, 4, 4), SHAPE2(19, 9), SHAPE1(19)},
     .lo = -1,
     .hi = 1,
     .build = lstm_lengths_case,
     .dtype = {[5] = MARE_I32},
     .lo_in = {[5] = 0},
     .hi_in = {[5] = 3}},
    /* one sequence through a wide layer: a launch a step */
    {.n_in = 5,
     .in = {CELL(2, 1, 67, 4, 4), SHAPE2(1, 67)},
     .lo = -0.3,
     .hi = 0.3,
     .build = lstm_case},
    {.n_in = 4, .in = {CELL(2, 1, 75, 3, 4)}, .lo = -0.3, .hi = 0.3, .build = gru_case},
    {.n_in = 7,
     .in = {SHAPE3(3, 1, 480), SHAPE2(480, 35), SHAPE1(480), SHAPE2(1, 35), SHAPE2(1, 120),
            SHAPE2(35, 120), SHAPE1(1)},
     .lo = -0.3,
     .hi = 0.3,
     .build = lstm_projected_case,
     .dtype = {[6] = MARE_I32},
     .lo_in = {[6] = 2},
     .hi_in = {[6] = 3}},
    {0},
};

static node *grad_case(graph *g, uint32_t cell, node **in, int n_in, bool projected, bool lengths) {
    recurrence_attr a = {cell, (uint32_t)in[0]->shape.dim[0], projected, lengths};
    return node_new(g, &op_desc_recurrence_grad, in, n_in, &a);
}
static node *tanh_grad_case(graph *g, node **in) {
    return grad_case(g, CELL_TANH, in, 3, false, false);
}
static node *lstm_grad_case(graph *g, node **in) {
    return grad_case(g, CELL_LSTM, in, 4, false, true);
}
static node *lstm_projected_grad_case(graph *g, node **in) {
    return grad_case(g, CELL_LSTM, in, 4, true, false);
}
static node *gru_grad_case(graph *g, node **in) {
    return grad_case(g, CELL_GRU, in, 4, false, false);
}

static const op_case recurrence_grad_cases[] = {
    {.n_in = 3,
     .in = {SHAPE4(1, 3, 2, 3), SHAPE4(1, 3, 2, 3), SHAPE2(3, 3)},
     .lo = -1,
     .hi = 1,
     .build = tanh_grad_case},
    {.n_in = 4,
     .in = {SHAPE4(1, 4, 3, 12), SHAPE4(1, 4, 3, 12), SHAPE2(8, 2), SHAPE1(3)},
     .lo = -1,
     .hi = 1,
     .build = lstm_grad_case,
     .dtype = {[3] = MARE_I32},
     .lo_in = {[3] = 0},
     .hi_in = {[3] = 3}},
    {.n_in = 4,
     .in = {SHAPE4(1, 3, 2, 20), SHAPE4(1, 3, 2, 20), SHAPE2(12, 2), SHAPE2(2, 3)},
     .lo = -1,
     .hi = 1,
     .build = lstm_projected_grad_case},
    {.n_in = 4,
     .in = {SHAPE4(2, 3, 2, 15), SHAPE4(2, 3, 2, 15), SHAPE2(9, 3), SHAPE2(9, 3)},
     .lo = -1,
     .hi = 1,
     .build = gru_grad_case},
    {0},
};

/* ---- Descriptors -------------------------------------------------------------------------- */

const op op_desc_recurrence = {
    .name = "recurrence",
    .at = OP_HERE,
    .dtypes = OWN_DTYPES,
    .doc =
        "x [T, N, gates], w, b, h [, c] [, p] a direction [, lengths] -> the states and gates of "
        "a recurrent layer, [dirs, T + 1, N, width]; f32",
    .attr_size = sizeof(recurrence_attr),
    .infer = recurrence_infer,
    .vjp = recurrence_vjp,
    .lower = recurrence_lower,
    .ref = recurrence_ref,
    .cases = recurrence_cases,
    .smooth = true,
};

const op op_desc_recurrence_grad = {
    .name = "recurrence_grad",
    .at = OP_HERE,
    .dtypes = OWN_DTYPES,
    .doc = "y, gy, w [, p] a direction [, lengths] -> the gradients of a recurrence's gates and "
           "states, [dirs, T + 1, N, width]; f32",
    .attr_size = sizeof(recurrence_attr),
    .infer = recurrence_grad_infer,
    .vjp = recurrence_grad_vjp,
    .lower = recurrence_grad_lower,
    .ref = recurrence_grad_ref,
    .cases = recurrence_grad_cases,
    .smooth = true,
};

node *op_recurrence(graph *g, node *const *in, int n_in, const recurrence_attr *a) {
    return node_new(g, &op_desc_recurrence, in, n_in, a);
}

node *op_recurrence_output(graph *g, node *n, int dir) {
    if (!n) return NULL;
    recurrence_dims d = recurrence_dims_of(n);
    return part(g, n, dir, rows_after(dir), d.steps, recurrence_h(&d), d.out);
}

node *op_recurrence_final(graph *g, node *n, int dir, bool cell) {
    if (!n) return NULL;
    recurrence_dims d = recurrence_dims_of(n);
    return part(g, n, dir, dir ? 0 : d.steps, 1, cell ? d.c : recurrence_h(&d),
                cell ? d.hidden : d.out);
}
