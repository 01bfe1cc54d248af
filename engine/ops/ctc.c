/* The loss of connectionist temporal classification (Graves, Fernandez, Gomez and Schmidhuber
 * 2006): minus the log-probability of all alignments of a sequence with its targets. */
#include "ops/internal.h"
#include "ops/loop.h"
#include "ops/recurrence.h"

#include <math.h>
#include <stdlib.h>

/* Inputs: scores [T, N, C], and numbers: the targets' places, then the lengths of the N inputs and
 * of the N targets. The result is [N]; the gradient, whose third input is the result's, like the
 * scores. */
typedef struct ctc_attr {
    int64_t targets; /* the most of a sequence */
    int64_t places;  /* N * targets, or all there are when they are joined */
    int64_t joined;  /* one sequence's after the other's, without padding */
    int64_t blank;
} ctc_attr;

enum { SHARED_WORDS = 4096 };

static bool ctc_infer(graph *g, node *n) {
    (void)g;
    n->dtype = MARE_F32;
    n->shape = shape_of(1, n->in[0]->shape.dim[1]);
    return true;
}

static bool ctc_grad_infer(graph *g, node *n) {
    (void)g;
    n->dtype = MARE_F32;
    n->shape = n->in[0]->shape;
    return true;
}

static node *ctc_grad(graph *g, node *scores, node *numbers, node *gy, const ctc_attr *a) {
    return node_new(g, &op_desc_ctc_grad, (node *[]){scores, numbers, gy}, 3, a);
}

static bool ctc_vjp(graph *g, node *n, node *gy, node **gx) {
    return (gx[0] = ctc_grad(g, n->in[0], n->in[1], gy, OP_ATTR(ctc_attr, n))) != NULL;
}

static bool ctc_grad_vjp(graph *g, node *n, node *gy, node **gx) {
    (void)n;
    (void)gy;
    (void)gx;
    return graph_fail(g, MARE_E_UNSUPPORTED, "ctc_loss: has no second derivative") != NULL;
}

/* ---- Lowering ----------------------------------------------------------------------------- */

/* A launch with its first three bindings' parameters in place. scores gives strides; it is bound
 * when `binds` says so. */
typedef struct tables {
    lowering *l;
    const ctc_attr *a;
    const operand *scores;
    operand numbers, table, other;
    bool room; /* two steps fit shared memory */
} tables;

static mare_status emit(tables *k, const char *shader, const char *defines, bool binds,
                        const operand *table, const operand *other, const operand *grad) {
    lowering *l = k->l;
    const shape *s = &k->scores->shape;
    const view *v = grad ? &grad->view : &k->scores->view;
    bool group = !grad;
    int64_t T = s->dim[0], N = s->dim[1], places = 2 * k->a->targets + 1;
    launch *x = lower_launch(l, shader, defines);
    if (!x) return lower_error(l);
    uint32_t numbers, scores = 0, table_at = 0, other_at = 0, grad_at = 0;
    mare_status status = launch_bind(l, x, &k->numbers, READ, &numbers);
    if (!status && binds) status = launch_bind(l, x, k->scores, READ, &scores);
    if (!status && table) status = launch_bind(l, x, table, grad ? READ : READ_WRITE, &table_at);
    if (!status && other) status = launch_bind(l, x, other, grad ? READ : READ_WRITE, &other_at);
    if (!status && grad) status = launch_bind(l, x, grad, WRITE, &grad_at);
    if (status) return status;
    uint32_t size = group ? loop_group(l, places) : lower_workgroup(l);
    launch_spec(x, size);
    if (group && k->room) launch_spec(x, (uint32_t)(2 * places));
    uint32_t words[] = {(uint32_t)T,
                        (uint32_t)N,
                        (uint32_t)s->dim[2],
                        (uint32_t)k->a->targets,
                        (uint32_t)k->a->blank,
                        (uint32_t)k->a->places,
                        (uint32_t)k->a->joined,
                        numbers,
                        scores,
                        (uint32_t)v->stride[0],
                        (uint32_t)v->stride[1],
                        (uint32_t)v->stride[2],
                        table_at,
                        other_at,
                        grad_at,
                        0};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        launch_u32(x, words[i]);
    uint64_t items = (uint64_t)(N * T * (k->a->targets + 1));
    return launch_groups(l, x, group ? (uint64_t)N : (items + size - 1) / size);
}

static mare_status open_tables(tables *k, lowering *l, const node *n, const operand *in,
                               operand *scores) {
    const ctc_attr *a = OP_ATTR(ctc_attr, n);
    const shape *s = &n->in[0]->shape;
    int64_t places = 2 * a->targets + 1;
    shape table = shape_of(1, s->dim[0] * s->dim[1] * places);
    *scores = in[0];
    *k = (tables){.l = l, .a = a, .scores = scores, .room = 2 * places <= SHARED_WORDS};
    mare_status status = MARE_OK;
    if (scores->buffer < 0) status = lower_contiguous(l, &in[0], scores);
    if (!status) status = lower_contiguous(l, &in[1], &k->numbers);
    if (!status && (!k->room || n->op == &op_desc_ctc_grad))
        k->table = lower_scratch(l, MARE_F32, &table);
    if (!status && !k->room && n->op == &op_desc_ctc_grad)
        k->other = lower_scratch(l, MARE_F32, &table);
    return status;
}

static mare_status ctc_lower(lowering *l, const node *n, const operand *in, const operand *out) {
    tables k;
    operand scores;
    mare_status s = open_tables(&k, l, n, in, &scores);
    if (s) return s;
    return emit(&k, "ctc/alpha.comp", k.room ? "ROOM 1\n" : "", true, k.room ? NULL : &k.table, out,
                NULL);
}

static mare_status ctc_grad_lower(lowering *l, const node *n, const operand *in,
                                  const operand *out) {
    tables k;
    operand scores, gy, any;
    mare_status s = open_tables(&k, l, n, in, &scores);
    if (!s) s = lower_contiguous(l, &in[2], &gy);
    if (s) return s;
    any = gy; /* of which the expression makes nothing */
    any.shape.rank = 0;
    s = lower_map(l, "0.0", MARE_F32, &any, 1, out);
    if (!s)
        s = emit(&k, "ctc/alpha.comp", k.room ? "STORE 1\nROOM 1\n" : "STORE 1\n", true, &k.table,
                 NULL, NULL);
    if (!s)
        s = emit(&k, "ctc/beta.comp", k.room ? "ROOM 1\n" : "", true, &k.table,
                 k.room ? NULL : &k.other, NULL);
    return s ? s : emit(&k, "ctc/scatter.comp", "", false, &k.table, &gy, out);
}

/* ---- Reference ---------------------------------------------------------------------------- */

static double log_add(double a, double b) {
    double top = fmax(a, b);
    return isinf(top) ? top : top + log(exp(a - top) + exp(b - top));
}

/* One sequence. */
typedef struct sequence {
    const double *scores;   /* [T][..N..][C] from this row on */
    int64_t step, steps, n; /* n: positions */
    const double *targets;
    double blank;
} sequence;

static int64_t label(const sequence *s, int64_t u) {
    return (int64_t)(u % 2 ? s->targets[u / 2] : s->blank);
}

static double score(const sequence *s, int64_t t, int64_t u) {
    return s->scores[t * s->step + label(s, u)];
}

static bool skips(const sequence *s, int64_t u) {
    return u % 2 && u >= 2 && label(s, u) != label(s, u - 2);
}

static sequence sequence_of(const node *n, const double *const *in, int64_t row) {
    const ctc_attr *a = OP_ATTR(ctc_attr, n);
    const shape *x = &n->in[0]->shape;
    const double *lengths = in[1] + a->places + x->dim[1];
    sequence s = {.scores = in[0] + row * x->dim[2],
                  .step = x->dim[1] * x->dim[2],
                  .steps = (int64_t)in[1][a->places + row],
                  .n = 2 * (int64_t)lengths[row] + 1,
                  .targets = in[1] + row * a->targets,
                  .blank = (double)a->blank};
    if (a->joined) s.targets = in[1];
    for (int64_t i = 0; a->joined && i < row; i++)
        s.targets += (int64_t)lengths[i];
    return s;
}

/* alpha [steps, n]: log-probabilities of the beginnings; returns that of all alignments. */
static double forward(const sequence *s, double *alpha) {
    if (s->steps == 0) return s->n == 1 ? 0 : -INFINITY;
    for (int64_t t = 0; t < s->steps; t++)
        for (int64_t u = 0; u < s->n; u++) {
            double sum = t ? alpha[(t - 1) * s->n + u] : u < 2 ? 0 : -INFINITY;
            if (t && u > 0) sum = log_add(sum, alpha[(t - 1) * s->n + u - 1]);
            if (t && skips(s, u)) sum = log_add(sum, alpha[(t - 1) * s->n + u - 2]);
            alpha[t * s->n + u] = sum + score(s, t, u);
        }
    const double *last = alpha + (s->steps - 1) * s->n;
    return s->n == 1 ? last[0] : log_add(last[s->n - 1], last[s->n - 2]);
}

/* Gradient by going back through forward(), not by endings: alpha becomes its own gradient. */
static void backward(const sequence *s, double *alpha, double all, double gy, double *gx) {
    double *g = calloc((size_t)(s->steps * s->n) + 1, sizeof *g);
    int64_t end = s->steps * s->n;
    for (int64_t u = s->n - 1; g && u >= 0 && u >= s->n - 2; u--)
        g[end - s->n + u] = exp(alpha[end - s->n + u] - all);
    for (int64_t t = s->steps - 1; g && t >= 0; t--)
        for (int64_t u = 0; u < s->n; u++) {
            double own = g[t * s->n + u], sum = alpha[t * s->n + u] - score(s, t, u);
            gx[t * s->step + label(s, u)] -= gy * own;
            for (int64_t d = 0; t && own != 0 && d < 3; d++)
                if (d == 0 || (d == 1 && u > 0) || (d == 2 && skips(s, u)))
                    g[(t - 1) * s->n + u - d] += own * exp(alpha[(t - 1) * s->n + u - d] - sum);
        }
    free(g);
}

static void sequence_ref(const node *n, const double *const *in, double *out, bool gradient) {
    const shape *x = &n->in[0]->shape;
    int64_t count = shape_count(&n->shape);
    for (int64_t i = 0; gradient && i < count; i++)
        out[i] = 0;
    for (int64_t row = 0; row < x->dim[1]; row++) {
        sequence s = sequence_of(n, in, row);
        double *alpha = malloc((size_t)(s.steps * s.n + 1) * sizeof *alpha);
        double all = alpha ? forward(&s, alpha) : NAN;
        if (!gradient)
            out[row] = -all;
        else if (s.steps && !isinf(all))
            backward(&s, alpha, all, in[2][row], out + row * x->dim[2]);
        free(alpha);
    }
}

static void ctc_ref(const node *n, const double *const *in, double *out) {
    sequence_ref(n, in, out, false);
}

static void ctc_grad_ref(const node *n, const double *const *in, double *out) {
    sequence_ref(n, in, out, true);
}

/* ---- Cases -------------------------------------------------------------------------------- */

static node *numbers_of(graph *g, node *targets, node *input_lengths, node *target_lengths) {
    if (!targets || !input_lengths || !target_lengths) return NULL;
    shape flat = shape_of(1, shape_count(&targets->shape));
    node *parts[] = {op_reshape(g, targets, &flat), input_lengths, target_lengths};
    return op_concat(g, parts, 3, 0);
}

/* in: scores, targets [N, S], lengths of inputs and of targets. */
static node *padded_case(graph *g, node **in) {
    int64_t targets = in[1]->shape.dim[1], batch = in[1]->shape.dim[0];
    ctc_attr a = {targets, batch * targets, 0, 1};
    node *x[] = {in[0], numbers_of(g, in[1], in[2], in[3])};
    return node_new(g, &op_desc_ctc, x, 2, &a);
}

/* Sequences of one target each. */
static node *joined_case(graph *g, node **in) {
    int64_t batch = in[0]->shape.dim[1];
    shape s = shape_of(1, batch);
    ctc_attr a = {1, batch, 1, 0};
    node *x[] = {in[0], numbers_of(g, in[1], in[2], op_full(g, MARE_I32, &s, 1))};
    return node_new(g, &op_desc_ctc, x, 2, &a);
}

/* Of whole numbers, since the gradient has none. */
static node *padded_grad_case(graph *g, node **in) {
    int64_t targets = in[1]->shape.dim[1], batch = in[1]->shape.dim[0];
    ctc_attr a = {targets, batch * targets, 0, 0};
    node *numbers = numbers_of(g, in[1], in[2], in[3]);
    return ctc_grad(g, op_cast(g, in[0], MARE_F32), numbers, op_cast(g, in[4], MARE_F32), &a);
}

#define CTC_CASE(T, N, C, S, least, f)                                                             \
    {                                                                                              \
        .n_in = 4, .in = {SHAPE3(T, N, C), SHAPE2(N, S), SHAPE1(N), SHAPE1(N)}, .lo = -3, .hi = 0, \
        .build = f, .dtype = {MARE_F32, MARE_I32, MARE_I32, MARE_I32}, .lo_in = {-3, 0, least, 0}, \
        .hi_in = {0, (C)-1, T, S},                                                                 \
    }

static const op_case ctc_cases[] = {
    CTC_CASE(7, 3, 4, 3, 6, padded_case),
    CTC_CASE(9, 5, 2, 4, 8, padded_case),
    CTC_CASE(12, 2, 6, 1, 2, padded_case),
    CTC_CASE(23, 2, 5, 10, 20, padded_case),
    CTC_CASE(3, 0, 5, 2, 2, padded_case),
    /* more than shared memory holds */
    {.n_in = 4,
     .in = {SHAPE3(3, 2, 3), SHAPE2(2, 1030), SHAPE1(2), SHAPE1(2)},
     .build = padded_case,
     .dtype = {MARE_F32, MARE_I32, MARE_I32, MARE_I32},
     .lo_in = {-3, 0, 2, 0},
     .hi_in = {0, 2, 3, 1}},
    {.n_in = 3,
     .in = {SHAPE3(5, 3, 4), SHAPE1(3), SHAPE1(3)},
     .build = joined_case,
     .dtype = {MARE_F32, MARE_I32, MARE_I32},
     .lo_in = {-3, 0, 2},
     .hi_in = {0, 3, 5}},
    {0},
};

static const op_case ctc_grad_cases[] = {
    {.n_in = 5,
     .in = {SHAPE3(8, 5, 4), SHAPE2(5, 3), SHAPE1(5), SHAPE1(5), SHAPE1(5)},
     .build = padded_grad_case,
     .dtype = {MARE_I32, MARE_I32, MARE_I32, MARE_I32, MARE_I32},
     .lo_in = {-3, 0, 0, 0, -2},
     .hi_in = {0, 3, 8, 3, 2}},
    {0},
};

const op op_desc_ctc = {
    .name = "ctc",
    .at = OP_HERE,
    .dtypes = OWN_DTYPES,
    .doc = "scores [T, N, C] (log-probabilities), numbers (targets, lengths) -> minus the "
           "log-probability of the targets [N]; f32",
    .attr_size = sizeof(ctc_attr),
    .infer = ctc_infer,
    .vjp = ctc_vjp,
    .lower = ctc_lower,
    .ref = ctc_ref,
    .cases = ctc_cases,
};

const op op_desc_ctc_grad = {
    .name = "ctc_grad",
    .at = OP_HERE,
    .dtypes = OWN_DTYPES,
    .doc = "scores, numbers, gy [N] -> the gradient of ctc by the scores, which cannot be "
           "differentiated; f32",
    .attr_size = sizeof(ctc_attr),
    .infer = ctc_grad_infer,
    .vjp = ctc_grad_vjp,
    .lower = ctc_grad_lower,
    .ref = ctc_grad_ref,
    .cases = ctc_grad_cases,
};

/* ---- The call ----------------------------------------------------------------------------- */

static const call_arg ctc_args[] = {NEED_TENSOR("log_probs"),     NEED_INDEX("targets"),
                                    NEED_INDEX("input_lengths"),  NEED_INDEX("target_lengths"),
                                    INTEGER_OPT("blank", 0),      REDUCTION_OPT,
                                    FLAG_OPT("zero_infinity", 0), END_ARGS};

/* Lengths [N], or of one sequence alone also a scalar. */
static node *lengths_of(graph *g, const char *what, node *lengths, int64_t batch, int64_t most) {
    if (batch == 1 && lengths->shape.rank == 0) {
        lengths = op_unsqueeze(g, lengths, 0);
        if (!lengths) return NULL;
    }
    return op_lengths(g, "ctc_loss", what, lengths, batch, most);
}

/* Do joined targets number what the lengths say? */
static bool check_joined(graph *g, node *lengths, int64_t targets) {
    int64_t batch = lengths->shape.dim[0], sum = 0;
    double *values = malloc((size_t)(batch + 1) * sizeof *values);
    if (!values) return error_no_memory(g->error, (size_t)batch * sizeof *values) == MARE_OK;
    bool ok = graph_read(g, lengths, values);
    for (int64_t i = 0; ok && i < batch; i++)
        sum += (int64_t)values[i];
    free(values);
    if (ok && sum != targets)
        return graph_fail(g, MARE_E_SHAPE,
                          "ctc_loss: target_lengths add up to %lld, but there are %lld targets",
                          (long long)sum, (long long)targets) != NULL;
    return ok;
}

static bool call_ctc(graph *g, const call_value *v, node **out) {
    static const char call[] = "ctc_loss";
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    node *x = v[0].tensor, *targets = v[1].tensor;
    bool batched = x->shape.rank == 3, joined = batched && targets->shape.rank == 1;
    if (!dtype_is_float(x->dtype) || dtype_is_float(targets->dtype))
        return graph_fail(g, MARE_E_DTYPE,
                          "%s: log_probs are floats and targets integers, not %s and %s", call,
                          mare_dtype_name(x->dtype), mare_dtype_name(targets->dtype)) != NULL;
    if (!batched && x->shape.rank != 2)
        return graph_fail(g, MARE_E_SHAPE, "%s: log_probs must be [T, N, C] or [T, C], not %s",
                          call, shape_text(&x->shape, a)) != NULL;
    node *scores = op_cast(g, batched ? x : op_unsqueeze(g, x, 1), MARE_F32);
    if (!batched && targets->shape.rank == 1) targets = op_unsqueeze(g, targets, 0);
    if (!scores || !targets) return false;
    int64_t T = scores->shape.dim[0], N = scores->shape.dim[1], C = scores->shape.dim[2];
    if (!joined && (targets->shape.rank != 2 || targets->shape.dim[0] != N))
        return graph_fail(g, MARE_E_SHAPE,
                          "%s: log_probs %s take targets [N, S] or all in a row, not %s", call,
                          shape_text(&x->shape, a), shape_text(&targets->shape, b)) != NULL;
    if (v[4].integer < 0 || v[4].integer >= C)
        return graph_fail(g, MARE_E_RANGE, "%s: blank %lld is none of the classes 0..%lld", call,
                          (long long)v[4].integer, (long long)C - 1) != NULL;
    int64_t places = shape_count(&targets->shape);
    if (places && (targets->lo > targets->hi || targets->lo < 0 || targets->hi >= C))
        return graph_fail(g, MARE_E_RANGE,
                          "%s: targets, padding too, lie in 0..%lld, not %lld..%lld", call,
                          (long long)C - 1, (long long)targets->lo, (long long)targets->hi) != NULL;
    int64_t longest = joined ? places : targets->shape.dim[1];
    node *inputs = lengths_of(g, "input_lengths", v[2].tensor, N, T);
    node *lengths = inputs ? lengths_of(g, "target_lengths", v[3].tensor, N, longest) : NULL;
    if (!lengths || (joined && !check_joined(g, lengths, places))) return false;
    if (joined && N) longest = v[3].tensor->hi;
    ctc_attr at = {longest, places, joined, v[4].integer};
    node *in[] = {scores, numbers_of(g, op_cast(g, targets, MARE_I32), inputs, lengths)};
    node *loss = node_new(g, &op_desc_ctc, in, 2, &at);
    if (v[6].integer && loss)
        loss = op_map3(g, "where", op_map1(g, "isinf", loss), node_const(g, MARE_F32, 0), loss);
    reduction r = (reduction)v[5].integer;
    if (r == REDUCE_MEAN) {
        node *most = op_map_scalar(g, "maximum", op_cast(g, lengths, MARE_F32), 1);
        loss = op_mean(g, op_map2(g, "div", loss, most), 0, false);
    } else if (r == REDUCE_SUM) {
        loss = op_sum(g, loss, 0, false);
    } else if (!batched) {
        loss = op_squeeze(g, loss, 0);
    }
    return (out[0] = op_float_like(g, loss, x)) != NULL;
}

const op_call op_calls_ctc[] = {
    {"ctc_loss",
     "Connectionist temporal classification (Graves et al. 2006). log_probs [T, N, C] or [T, C]; "
     "targets [N, S], or those of all sequences in a row; lengths [N]. mean divides by the target "
     "lengths first. Where the input is too short for the targets the loss is inf, or 0 with "
     "zero_infinity, and the gradient 0. There is no second derivative.",
     ctc_args, NULL, call_ctc, OP_AT},
    {0},
};
