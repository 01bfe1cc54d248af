#include "random_kinds.h"

#include "ops/norm.h"
#include "ops/ops.h"

#include <string.h>

enum { ANY_RANK = 8 };

static const wanted number = {.any_dtype = true, .max_rank = ANY_RANK};
static const wanted real = {.floats = true, .max_rank = ANY_RANK};
static const wanted single = {.single = true, .max_rank = ANY_RANK};

static wanted ranked(wanted w, int least) {
    w.min_rank = least;
    return w;
}

static bool one_input(maker *m, recipe_step *s, wanted w) {
    s->in[0] = maker_need(m, w);
    s->n_in = 1;
    return s->in[0] >= 0;
}

static const shape *shape_at(const maker *m, const recipe_step *s) {
    return &maker_value(m, s->in[0])->shape;
}

/* An axis of the first input. */
static int64_t some_axis(maker *m, const recipe_step *s) {
    return maker_below(m, (uint32_t)shape_at(m, s)->rank);
}

/* ---- Elementwise -------------------------------------------------------------------------- */

/* What nets are made of comes often; every row comes up. */
static const op *some_row(maker *m) {
    static const char *const often[] = {
        "add",     "sub", "mul", "div",   "relu", "sigmoid", "tanh", "exp",     "sqrt",    "square",
        "maximum", "abs", "neg", "where", "fma",  "gelu",    "lt",   "minimum", "softplus"};
    if (maker_chance(m, 75)) return op_find(often[maker_below(m, sizeof often / sizeof *often)]);
    int n = 0;
    for (int i = 0; op_table[i]; i++)
        n += op_map_arity(op_table[i]) > 0;
    n = (int)maker_below(m, (uint32_t)n);
    for (int i = 0;; i++)
        if (op_map_arity(op_table[i]) > 0 && n-- == 0) return op_table[i];
}

/* Where a row is to be asked: what its cases for the walk through all ops draw from. */
static void domain(const op *o, int i, double *lo, double *hi) {
    const op_case *k = o->cases;
    bool own = k->lo_in[i] < k->hi_in[i];
    *lo = own ? k->lo_in[i] : k->lo;
    *hi = own ? k->hi_in[i] : k->hi;
}

static bool choose_map(maker *m, recipe_step *s) {
    const op *o = some_row(m);
    wanted w = o->dtypes == INTEGER_DTYPES ? (wanted){.max_rank = ANY_RANK} : number;
    double lo, hi;
    s->word = o->name;
    s->n_in = op_map_arity(o);
    for (int i = 0; i < s->n_in; i++) {
        domain(o, i, &lo, &hi);
        int with = -1;
        if (i == 0) {
            with = maker_need(m, w);
        } else {
            shape both = *shape_at(m, s);
            int old = maker_chance(m, 60) ? maker_pick(m, w) : -1;
            mare_dtype t = maker_value(m, s->in[0])->dtype;
            double least = lo, most = hi;
            if (!dtype_is_float(t)) dtype_limits(t, &least, &most);
            if (old >= 0 && shape_broadcast(shape_at(m, s), &maker_value(m, old)->shape, &both))
                with = old;
            else
                with =
                    maker_partner(m, s->in[0], t, least > lo ? least : lo, most < hi ? most : hi);
        }
        s->in[i] = maker_fit(m, with, lo, hi);
        if (s->in[i] < 0) return false;
    }
    return true;
}

static node *build_map(graph *g, const recipe_step *s, node *const *in) {
    return op_map(g, s->word, in, s->n_in);
}

static bool choose_scalar(maker *m, recipe_step *s) {
    static const char *const rows[] = {"add", "sub",     "mul",     "mul",
                                       "div", "minimum", "maximum", "leaky_relu"};
    if (!one_input(m, s, number)) return false;
    s->word = rows[maker_below(m, sizeof rows / sizeof *rows)];
    s->x = maker_between(m, 0.5, 1.5);
    if (maker_chance(m, 30)) s->x = maker_chance(m, 50);
    if (!strcmp(s->word, "div") && s->x == 0) s->x = 1;
    s->varies = dtype_is_float(maker_value(m, s->in[0])->dtype);
    return true;
}

static node *build_scalar(graph *g, const recipe_step *s, node *const *in) {
    return op_map_scalar(g, s->word, in[0], s->x);
}

/* A number that is made of numbers. */
static bool choose_folded(maker *m, recipe_step *s) {
    static const char *const rows[] = {"add", "mul", "sub", "exp"};
    if (!one_input(m, s, real)) return false;
    s->word = rows[maker_below(m, 4)];
    s->x = maker_between(m, 0.5, 1);
    s->varies = true;
    return true;
}

static node *build_folded(graph *g, const recipe_step *s, node *const *in) {
    node *c = node_const(g, MARE_F32, s->x);
    c = op_map_arity(op_find(s->word)) == 1 ? op_map1(g, s->word, c)
                                            : op_map2(g, s->word, c, node_const(g, MARE_F32, 0.25));
    return op_map2(g, "mul", in[0], c);
}

static bool choose_cast(maker *m, recipe_step *s) {
    static const mare_dtype to[] = {MARE_F32, MARE_F32, MARE_F32, MARE_F16, MARE_BF16,
                                    MARE_I32, MARE_U8,  MARE_I8,  MARE_BOOL};
    s->n[0] = to[maker_below(m, 9)];
    return one_input(m, s, number);
}

static node *build_cast(graph *g, const recipe_step *s, node *const *in) {
    return op_cast(g, in[0], (mare_dtype)s->n[0]);
}

/* ---- Views -------------------------------------------------------------------------------- */

static bool choose_permute(maker *m, recipe_step *s) {
    uint32_t order[MAX_DIMS];
    if (!one_input(m, s, ranked(number, 2))) return false;
    rng_permutation(&m->random, order, (uint32_t)shape_at(m, s)->rank);
    for (int d = 0; d < shape_at(m, s)->rank; d++)
        s->n[d] = order[d];
    return shape_at(m, s)->rank <= 6;
}

static node *build_permute(graph *g, const recipe_step *s, node *const *in) {
    int axes[MAX_DIMS];
    for (int d = 0; d < in[0]->shape.rank; d++)
        axes[d] = (int)s->n[d];
    return op_permute(g, in[0], axes, in[0]->shape.rank);
}

/* Two neighbouring axes become one. */
static bool choose_merge(maker *m, recipe_step *s) {
    if (!one_input(m, s, ranked(number, 2))) return false;
    s->n[0] = maker_below(m, (uint32_t)shape_at(m, s)->rank - 1);
    return true;
}

static node *build_merge(graph *g, const recipe_step *s, node *const *in) {
    shape to = in[0]->shape;
    int at = (int)s->n[0];
    if (at + 1 >= to.rank) return NULL;
    to.dim[at] *= to.dim[at + 1];
    memmove(&to.dim[at + 1], &to.dim[at + 2], (size_t)(to.rank - at - 2) * sizeof *to.dim);
    to.rank--;
    return op_reshape(g, in[0], &to);
}

/* A new axis, with as many copies. */
static bool choose_expand(maker *m, recipe_step *s) {
    if (!one_input(m, s, number) || shape_at(m, s)->rank > 3) return false;
    s->n[0] = maker_below(m, (uint32_t)shape_at(m, s)->rank + 1);
    s->n[1] = 1 + maker_below(m, 4);
    return true;
}

static node *build_expand(graph *g, const recipe_step *s, node *const *in) {
    node *y = op_unsqueeze(g, in[0], (int)s->n[0]);
    if (!y || s->n[0] >= y->shape.rank) return NULL;
    shape to = y->shape;
    to.dim[s->n[0]] = s->n[1];
    return op_expand(g, y, &to);
}

/* A step of -2..2 along an axis, from some element on. */
static bool choose_slice(maker *m, recipe_step *s) {
    if (!one_input(m, s, ranked(number, 1))) return false;
    s->n[0] = some_axis(m, s);
    s->n[1] = (int64_t)maker_below(m, 4) - 2;
    s->n[1] += s->n[1] >= 0;
    s->n[2] = maker_below(m, 3);
    return true;
}

static node *slice_of(graph *g, const recipe_step *s, node *a, node *value) {
    int64_t start[MAX_DIMS], stop[MAX_DIMS], step[MAX_DIMS];
    int at = (int)s->n[0];
    if (at >= a->shape.rank) return NULL;
    for (int d = 0; d < a->shape.rank; d++) {
        start[d] = 0;
        stop[d] = INT64_MAX;
        step[d] = 1;
    }
    step[at] = s->n[1];
    start[at] = step[at] > 0 ? s->n[2] : -1 - s->n[2];
    if (step[at] < 0) stop[at] = INT64_MIN;
    return value ? op_put_slice(g, a, value, start, stop, step) : op_slice(g, a, start, stop, step);
}

static node *build_slice(graph *g, const recipe_step *s, node *const *in) {
    return slice_of(g, s, in[0], NULL);
}

static bool choose_alias(maker *m, recipe_step *s) {
    return choose_slice(m, s) && !m->r->step[s->in[0]].kind;
}

static bool choose_put(maker *m, recipe_step *s) {
    if (!choose_slice(m, s)) return false;
    s->in[1] = maker_leaf(m, maker_value(m, s->in[0])->dtype, 0, NULL, 0, 1);
    s->n_in = 2;
    return s->in[1] >= 0;
}

static node *build_put(graph *g, const recipe_step *s, node *const *in) {
    return slice_of(g, s, in[0], in[1]);
}

static bool choose_flip(maker *m, recipe_step *s) {
    if (!one_input(m, s, ranked(number, 1))) return false;
    s->n[0] = 1 + maker_below(m, (1u << shape_at(m, s)->rank) - 1);
    return true;
}

static node *build_flip(graph *g, const recipe_step *s, node *const *in) {
    return op_flip(g, in[0], (uint32_t)s->n[0]);
}

static bool choose_pad(maker *m, recipe_step *s) {
    if (!one_input(m, s, ranked(number, 1))) return false;
    s->n[0] = some_axis(m, s);
    s->n[1] = maker_below(m, 3);
    s->n[2] = maker_below(m, 3);
    return true;
}

static node *build_pad(graph *g, const recipe_step *s, node *const *in) {
    int64_t before[MAX_DIMS] = {0}, after[MAX_DIMS] = {0};
    before[s->n[0]] = s->n[1];
    after[s->n[0]] = s->n[2];
    return op_pad(g, in[0], before, after, 1);
}

static bool choose_any(maker *m, recipe_step *s) {
    return one_input(m, s, number);
}

static node *build_contiguous(graph *g, const recipe_step *s, node *const *in) {
    (void)s;
    return op_contiguous(g, in[0]);
}

static node *build_detach(graph *g, const recipe_step *s, node *const *in) {
    (void)s;
    return op_detach(g, in[0]);
}

/* ---- Along axes --------------------------------------------------------------------------- */

static bool choose_reduce(maker *m, recipe_step *s) {
    static const char *const words[] = {"sum", "sum", "mean", "max", "min", "var", "logsumexp"};
    if (!one_input(m, s, ranked(real, 1))) return false;
    s->word = words[maker_below(m, sizeof words / sizeof *words)];
    s->n[0] = maker_below(m, 1u << shape_at(m, s)->rank); /* 0: all axes */
    if (maker_chance(m, 40)) s->n[0] = 1 << (shape_at(m, s)->rank - 1);
    s->n[1] = maker_chance(m, 60);
    return true;
}

static node *build_reduce(graph *g, const recipe_step *s, node *const *in) {
    uint32_t axes = (uint32_t)s->n[0];
    if (!strcmp(s->word, "var")) return op_var(g, in[0], axes, s->n[1], 0);
    node *(*const reduce)(graph *, node *, uint32_t, bool) = !strcmp(s->word, "sum")    ? op_sum
                                                             : !strcmp(s->word, "mean") ? op_mean
                                                             : !strcmp(s->word, "max")  ? op_max
                                                             : !strcmp(s->word, "min")
                                                                 ? op_min
                                                                 : op_logsumexp;
    return reduce(g, in[0], axes, s->n[1]);
}

static bool choose_count(maker *m, recipe_step *s) {
    wanted integers = {.max_rank = ANY_RANK};
    return one_input(m, s, ranked(integers, 1));
}

static node *build_count(graph *g, const recipe_step *s, node *const *in) {
    (void)s;
    return op_sum(g, in[0], 1, true);
}

static bool choose_axis(maker *m, recipe_step *s) {
    static const char *const words[] = {"softmax", "softmax", "log_softmax", "cumsum", "argmax"};
    if (!one_input(m, s, ranked(real, 1))) return false;
    s->word = words[maker_below(m, 5)];
    s->n[0] = maker_chance(m, 50) ? shape_at(m, s)->rank - 1 : some_axis(m, s);
    return true;
}

static node *build_axis(graph *g, const recipe_step *s, node *const *in) {
    int axis = (int)s->n[0];
    return !strcmp(s->word, "softmax")       ? op_softmax(g, in[0], axis)
           : !strcmp(s->word, "log_softmax") ? op_log_softmax(g, in[0], axis)
           : !strcmp(s->word, "cumsum")      ? op_cumsum(g, in[0], axis)
                                             : op_argmax(g, in[0], axis, true);
}

/* Layer or RMS norm over the last axis, with weight and perhaps bias. */
static bool choose_norm(maker *m, recipe_step *s) {
    if (!one_input(m, s, ranked(single, 1))) return false;
    axis_size last = maker_axis(s->in[0], -1);
    s->n[0] = maker_chance(m, 70);
    s->n_in = maker_chance(m, 50) ? 3 : 2;
    for (int i = 1; i < s->n_in; i++)
        if ((s->in[i] = maker_leaf(m, MARE_F32, 1, &last, 0.5, 1.5)) < 0) return false;
    return true;
}

static node *build_norm(graph *g, const recipe_step *s, node *const *in) {
    const shape *sh = &in[0]->shape;
    if (!sh->rank || !sh->dim[sh->rank - 1]) return NULL;
    int64_t last = sh->dim[sh->rank - 1];
    shape rows = shape_of(3, 1, shape_count(sh) / last, last);
    norm_options o = {.eps = 0.1, .groups = 1, .per = 1, .centred = s->n[0]};
    node *x = op_norm_rows(g, op_reshape(g, in[0], &rows), &o, in[1], s->n_in > 2 ? in[2] : NULL);
    return op_reshape(g, x, sh);
}

/* Of channels, by their mean and variance. */
static bool choose_batch_norm(maker *m, recipe_step *s) {
    if (!one_input(m, s, ranked(single, 2))) return false;
    axis_size channels = maker_axis(s->in[0], 1);
    s->n_in = 3;
    for (int i = 1; i < 3; i++)
        if ((s->in[i] = maker_leaf(m, MARE_F32, 1, &channels, 0.5, 1.5)) < 0) return false;
    return true;
}

static node *build_batch_norm(graph *g, const recipe_step *s, node *const *in) {
    (void)s;
    if (in[0]->shape.rank < 2) return NULL;
    uint32_t axes = ((1u << in[0]->shape.rank) - 1) & ~2u;
    return op_batch_norm(g, in[0], op_mean(g, in[0], axes, false), op_var(g, in[0], axes, false, 0),
                         in[1], in[2], 0.1);
}

/* ---- Products ----------------------------------------------------------------------------- */

/* With a matrix, or with a batch of them, and perhaps a bias. */
static bool choose_matmul(maker *m, recipe_step *s) {
    wanted w = maker_chance(m, 80) ? single : real;
    if (!one_input(m, s, ranked(w, 1))) return false;
    mare_dtype t = maker_value(m, s->in[0])->dtype;
    int a = s->in[0], batch = maker_chance(m, 25) && shape_at(m, s)->rank > 2;
    axis_size columns = maker_size(m);
    axis_size size[] = {maker_axis(a, -3), maker_axis(a, -1), columns};
    s->in[1] = maker_leaf(m, t, 2 + batch, size + !batch, -1, 1);
    s->n_in = 2;
    if (s->in[1] >= 0 && maker_chance(m, 50))
        s->in[s->n_in++] = maker_leaf(m, t, 1, &columns, -1, 1);
    return s->in[s->n_in - 1] >= 0;
}

static node *build_matmul(graph *g, const recipe_step *s, node *const *in) {
    node *y = op_matmul(g, in[0], in[1]);
    return s->n_in > 2 ? op_map2(g, "add", y, in[2]) : y;
}

/* Scores of a value with itself: a a' over the last axis. */
static bool choose_scores(maker *m, recipe_step *s) {
    return one_input(m, s, ranked(single, 2));
}

static node *build_scores(graph *g, const recipe_step *s, node *const *in) {
    (void)s;
    node *y = op_matmul(g, in[0], op_transpose(g, in[0], -1, -2));
    return op_map_scalar(g, "mul", y, 0.25);
}

static bool choose_conv(maker *m, recipe_step *s) {
    int axes = 1 + (int)maker_chance(m, 70);
    wanted w = {.single = true, .min_rank = axes + 2, .max_rank = axes + 2};
    if (!one_input(m, s, w)) return false;
    axis_size outputs = maker_size(m), size[4] = {outputs, maker_axis(s->in[0], 1)};
    for (int d = 0; d < axes; d++)
        size[2 + d] = (axis_size){SIZE_FIXED, 1 + (int64_t)maker_below(m, 3)};
    s->in[1] = maker_leaf(m, MARE_F32, axes + 2, size, -0.5, 0.5);
    s->n_in = 2;
    if (s->in[1] >= 0 && maker_chance(m, 60))
        s->in[s->n_in++] = maker_leaf(m, MARE_F32, 1, &outputs, -0.5, 0.5);
    s->n[0] = axes;
    s->n[1] = 1 + maker_chance(m, 30);
    s->n[2] = maker_below(m, 2);
    return s->in[s->n_in - 1] >= 0;
}

static node *build_conv(graph *g, const recipe_step *s, node *const *in) {
    int64_t stride = s->n[1], pad = s->n[2];
    conv_options o = {{stride, stride}, {pad, pad}, {1, 1}, 1, {0}};
    return op_conv(g, (int)s->n[0], in[0], in[1], s->n_in > 2 ? in[2] : NULL, &o);
}

static bool choose_pool(maker *m, recipe_step *s) {
    int axes = 1 + (int)maker_chance(m, 70);
    wanted w = {.single = true, .min_rank = axes + 2, .max_rank = axes + 2};
    if (!one_input(m, s, w)) return false;
    s->n[0] = axes;
    s->n[1] = 1 + maker_chance(m, 60);
    s->n[2] = maker_chance(m, 50);
    return true;
}

static node *build_pool(graph *g, const recipe_step *s, node *const *in) {
    int64_t stride = s->n[1];
    pool_options o = {.kernel = {2, 2}, .stride = {stride, stride}, .dilation = {1, 1}};
    return (s->n[2] ? op_max_pool : op_avg_pool)(g, in[0], (int)s->n[0], &o);
}

/* ---- Indices, parts, random numbers ------------------------------------------------------- */

static bool choose_take(maker *m, recipe_step *s) {
    if (!one_input(m, s, ranked(number, 1)) || shape_at(m, s)->rank > 3) return false;
    s->n[0] = some_axis(m, s);
    recipe_step index = {.dtype = maker_chance(m, 70) ? MARE_I32 : MARE_U8,
                         .rank = 1 + (int)maker_below(m, 2),
                         .size = {maker_size(m), maker_size(m)},
                         .limit = maker_axis(s->in[0], (int)s->n[0])};
    s->in[1] = maker_add(m, &index);
    s->n_in = 2;
    return s->in[1] >= 0;
}

static node *build_take(graph *g, const recipe_step *s, node *const *in) {
    return op_take(g, in[0], in[1], (int)s->n[0]);
}

static bool choose_one_hot(maker *m, recipe_step *s) {
    recipe_step index = {.dtype = MARE_I32,
                         .rank = 1 + (int)maker_below(m, 2),
                         .size = {maker_size(m), maker_size(m)},
                         .limit = {SIZE_FIXED, 5}};
    s->in[0] = maker_add(m, &index);
    s->n_in = 1;
    return s->in[0] >= 0;
}

static node *build_one_hot(graph *g, const recipe_step *s, node *const *in) {
    (void)s;
    return op_one_hot(g, in[0], 5, MARE_F32);
}

/* With a leaf of another length, and perhaps with itself. */
static bool choose_concat(maker *m, recipe_step *s) {
    if (!one_input(m, s, ranked(number, 1))) return false;
    s->n[0] = some_axis(m, s);
    int rank = shape_at(m, s)->rank;
    axis_size size[MAX_DIMS];
    for (int d = 0; d < rank; d++)
        size[d] = d == s->n[0] ? maker_size(m) : maker_axis(s->in[0], d);
    double lo, hi;
    mare_dtype t = maker_value(m, s->in[0])->dtype;
    if (dtype_is_float(t)) {
        lo = -2;
        hi = 2;
    } else {
        dtype_limits(t, &lo, &hi);
        lo = 0;
        hi = hi < 9 ? hi : 9;
    }
    s->in[1] = maker_leaf(m, t, rank, size, lo, hi);
    s->in[2] = s->in[0];
    s->n_in = maker_chance(m, 30) ? 3 : 2;
    return s->in[1] >= 0;
}

static node *build_concat(graph *g, const recipe_step *s, node *const *in) {
    return op_concat(g, in, s->n_in, (int)s->n[0]);
}

static bool choose_random(maker *m, recipe_step *s) {
    s->n[0] = maker_below(m, 3);
    return one_input(m, s, real);
}

static node *build_random(graph *g, const recipe_step *s, node *const *in) {
    if (s->n[0] == 0) return op_dropout(g, in[0], 0.25);
    node *u = op_uniform(g, &in[0]->shape, -1, 1);
    if (s->n[0] == 1) return op_map2(g, "add", in[0], u);
    node *p = op_map_scalar(g, "mul", op_map_scalar(g, "add", u, 1), 0.5);
    return op_map3(g, "where", op_bernoulli(g, p), in[0], u);
}

/* ---- The table ---------------------------------------------------------------------------- */

const random_kind random_kinds[] = {
    {{"map", build_map, false}, 40, choose_map},
    {{"scalar", build_scalar, false}, 10, choose_scalar},
    {{"folded", build_folded, false}, 3, choose_folded},
    {{"cast", build_cast, false}, 5, choose_cast},
    {{"permute", build_permute, false}, 3, choose_permute},
    {{"merge", build_merge, false}, 3, choose_merge},
    {{"expand", build_expand, false}, 3, choose_expand},
    {{"slice", build_slice, false}, 4, choose_slice},
    {{"alias", build_slice, true}, 3, choose_alias},
    {{"put_slice", build_put, false}, 1, choose_put},
    {{"flip", build_flip, false}, 2, choose_flip},
    {{"pad", build_pad, false}, 2, choose_pad},
    {{"contiguous", build_contiguous, false}, 1, choose_any},
    {{"detach", build_detach, false}, 1, choose_any},
    {{"reduce", build_reduce, false}, 10, choose_reduce},
    {{"count", build_count, false}, 1, choose_count},
    {{"along", build_axis, false}, 5, choose_axis},
    {{"norm", build_norm, false}, 4, choose_norm},
    {{"batch_norm", build_batch_norm, false}, 2, choose_batch_norm},
    {{"matmul", build_matmul, false}, 8, choose_matmul},
    {{"scores", build_scores, false}, 2, choose_scores},
    {{"conv", build_conv, false}, 4, choose_conv},
    {{"pool", build_pool, false}, 2, choose_pool},
    {{"take", build_take, false}, 2, choose_take},
    {{"one_hot", build_one_hot, false}, 1, choose_one_hot},
    {{"concat", build_concat, false}, 3, choose_concat},
    {{"random", build_random, false}, 3, choose_random},
    {{NULL, NULL, false}, 0, NULL},
};
