/* The calls that normalise: batch, layer, group, instance and RMS norm over the row kernels of
 * norm.c; local response norm, Lp norms, weight and spectral norm made of other ops. */
#include "ops/internal.h"
#include "ops/norm.h"

#include <math.h>

/* ---- Shared ------------------------------------------------------------------------------- */

static bool is_float_input(graph *g, const char *call, const node *x) {
    if (dtype_is_float(x->dtype)) return true;
    return graph_fail(g, MARE_E_DTYPE, "%s: a float input is needed, not %s", call,
                      mare_dtype_name(x->dtype)) != NULL;
}

static bool needs_channels(graph *g, const char *call, const node *x) {
    char s[SHAPE_TEXT];
    if (!is_float_input(g, call, x)) return false;
    if (x->shape.rank >= 2) return true;
    return graph_fail(g, MARE_E_SHAPE, "%s: an input [N, C, ...] is needed, not %s", call,
                      shape_text(&x->shape, s)) != NULL;
}

/* v, if given, must be [n]: one value a channel of x. */
static bool fits_channels(graph *g, const char *call, const char *what, const node *x,
                          const node *v, int64_t n) {
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    if (!v || (v->shape.rank == 1 && v->shape.dim[0] == n)) return true;
    return graph_fail(g, MARE_E_SHAPE, "%s: input %s takes a %s of shape [%lld], not %s", call,
                      shape_text(&x->shape, s), what, (long long)n,
                      shape_text(&v->shape, t)) != NULL;
}

static bool check_eps(graph *g, const char *call, double eps) {
    if (eps >= 0 && isfinite(eps)) return true;
    return graph_fail(g, MARE_E_ARGUMENT, "%s: eps is %g", call, eps) != NULL;
}

/* x in f32, seen as [a, b, c]. */
static node *as_rows(graph *g, node *x, int64_t a, int64_t b, int64_t c) {
    shape s = shape_of(3, a, b, c);
    return op_reshape(g, op_cast(g, x, MARE_F32), &s);
}

/* The result of rows in the shape and dtype of x. */
static node *like_input(graph *g, node *y, const node *x) {
    y = op_reshape(g, y, &x->shape);
    return y ? op_float_like(g, y, x) : NULL;
}

static int64_t product(const shape *s, int from, int to) {
    int64_t n = 1;
    for (int d = from; d < to; d++)
        n *= s->dim[d];
    return n;
}

/* A [C] vector, to be stretched along axis 1 of x. */
static node *channels(graph *g, const node *x, node *v) {
    shape wide = {.rank = x->shape.rank - 1};
    for (int d = 0; d < wide.rank; d++)
        wide.dim[d] = d ? 1 : v->shape.dim[0];
    return op_reshape(g, v, &wide);
}

/* running, moved by momentum toward the statistics of now; those alone when there is no running.
 * State has no gradient. */
static node *moved(graph *g, node *running, node *now, double momentum) {
    static const char *const names[] = {"old", "now", "share"};
    if (!running) return now;
    node *old = op_detach(g, op_cast(g, running, MARE_F32));
    node *nodes[] = {old, now, node_const(g, MARE_F32, momentum)};
    return op_float_like(g, op_expr(g, "old + share * (now - old)", names, nodes, 3), running);
}

/* Column `which` of moments [rows, 3], scaled, without a gradient. */
static node *statistic(graph *g, node *moments, int which, double scale) {
    node *column = op_squeeze(g, op_narrow(g, op_detach(g, moments), 1, which, 1), 1);
    return scale == 1 ? column : op_map_scalar(g, "mul", column, scale);
}

/* ---- Batch and instance norm -------------------------------------------------------------- */

node *op_batch_norm(graph *g, node *x, node *mean, node *var, node *weight, node *bias,
                    double eps) {
    static const char call[] = "batch_norm";
    if (!x || !mean || !var || !needs_channels(g, call, x)) return NULL;
    int64_t n = x->shape.dim[1];
    if (!fits_channels(g, call, "mean", x, mean, n) ||
        !fits_channels(g, call, "variance", x, var, n) ||
        !fits_channels(g, call, "weight", x, weight, n) ||
        !fits_channels(g, call, "bias", x, bias, n) || !check_eps(g, call, eps))
        return NULL;
    /* In f32: f16 has no number as small as eps. */
    node *wide = op_cast(g, var, MARE_F32);
    node *scale = op_map1(g, "rsqrt", op_map_scalar(g, "add", wide, eps));
    if (weight) scale = op_map2(g, "mul", scale, weight);
    if (!scale) return NULL;
    node *away = op_map2(g, "sub", x, channels(g, x, mean));
    scale = channels(g, x, scale);
    node *y = bias ? op_map3(g, "fma", away, scale, channels(g, x, bias))
                   : op_map2(g, "mul", away, scale);
    return y ? op_float_like(g, y, x) : NULL;
}

/* The arguments that batch and instance norm share. */
typedef struct channel_norm {
    const char *call;
    node *x, *mean, *var, *weight, *bias;
    bool from_input; /* the statistics */
    double momentum, eps;
} channel_norm;

static channel_norm channel_norm_of(const char *call, const call_value *v) {
    return (channel_norm){.call = call,
                          .x = v[0].tensor,
                          .mean = v[1].tensor,
                          .var = v[2].tensor,
                          .weight = v[3].tensor,
                          .bias = v[4].tensor,
                          .from_input = v[5].integer,
                          .momentum = v[6].number,
                          .eps = v[7].number};
}

static bool check_channel_norm(graph *g, const channel_norm *a, int64_t values) {
    char s[SHAPE_TEXT];
    int64_t n = a->x->shape.rank > 1 ? a->x->shape.dim[1] : 0;
    if (!needs_channels(g, a->call, a->x) || !check_eps(g, a->call, a->eps)) return false;
    if (!(a->momentum >= 0 && a->momentum <= 1))
        return graph_fail(g, MARE_E_ARGUMENT, "%s: momentum %g is not in 0..1", a->call,
                          a->momentum) != NULL;
    if (!a->mean != !a->var || (!a->from_input && !a->mean))
        return graph_fail(g, MARE_E_ARGUMENT, "%s: running_mean and running_var are needed%s",
                          a->call, a->from_input ? " both, or none" : "") != NULL;
    if (a->from_input && values < 2)
        return graph_fail(g, MARE_E_SHAPE,
                          "%s: the statistics need more than one value a channel, got %s", a->call,
                          shape_text(&a->x->shape, s)) != NULL;
    return fits_channels(g, a->call, "running_mean", a->x, a->mean, n) &&
           fits_channels(g, a->call, "running_var", a->x, a->var, n) &&
           fits_channels(g, a->call, "weight", a->x, a->weight, n) &&
           fits_channels(g, a->call, "bias", a->x, a->bias, n);
}

/* By the running statistics, which stay as they are. */
static bool by_running(graph *g, const channel_norm *a, node **out) {
    out[0] = op_batch_norm(g, a->x, a->mean, a->var, a->weight, a->bias, a->eps);
    out[1] = op_detach(g, a->mean);
    out[2] = op_detach(g, a->var);
    return out[0] && out[1] && out[2];
}

static bool build_batch_norm(graph *g, const call_value *v, node **out) {
    channel_norm a = channel_norm_of("batch_norm", v);
    const shape *s = &a.x->shape;
    int64_t count = s->rank > 1 ? product(s, 2, s->rank) * s->dim[0] : 0;
    if (!check_channel_norm(g, &a, count)) return false;
    if (!a.from_input) return by_running(g, &a, out);
    node *x = as_rows(g, a.x, s->dim[0], s->dim[1], product(s, 2, s->rank));
    norm_options o = {a.eps, s->dim[1], count, true};
    node *moments = op_norm_moments(g, x, true);
    out[0] = like_input(g, op_norm_rows_by(g, x, moments, &o, a.weight, a.bias), a.x);
    out[1] = moved(g, a.mean, statistic(g, moments, 0, 1), a.momentum);
    double unbiased = (double)count / (double)(count - 1);
    out[2] = moved(g, a.var, statistic(g, moments, 1, unbiased), a.momentum);
    return out[0] && out[1] && out[2];
}

static bool build_instance_norm(graph *g, const call_value *v, node **out) {
    channel_norm a = channel_norm_of("instance_norm", v);
    const shape *s = &a.x->shape;
    int64_t count = s->rank > 1 ? product(s, 2, s->rank) : 0;
    if (!check_channel_norm(g, &a, count)) return false;
    if (!a.from_input) return by_running(g, &a, out);
    node *x = as_rows(g, a.x, 1, s->dim[0] * s->dim[1], count);
    norm_options o = {a.eps, s->dim[1], count, true};
    node *moments = op_norm_moments(g, x, true);
    out[0] = like_input(g, op_norm_rows_by(g, x, moments, &o, a.weight, a.bias), a.x);
    /* The running statistics take the mean over the samples. */
    shape samples = shape_of(3, s->dim[0], s->dim[1], 3);
    moments = op_mean(g, op_reshape(g, moments, &samples), 1, false);
    out[1] = moved(g, a.mean, statistic(g, moments, 0, 1), a.momentum);
    double unbiased = (double)count / (double)(count - 1);
    out[2] = moved(g, a.var, statistic(g, moments, 1, unbiased), a.momentum);
    return out[0] && out[1] && out[2];
}

/* ---- Layer, RMS and group norm ------------------------------------------------------------ */

/* Over the last axes, which `normalized` must name. */
static bool over_last(graph *g, const char *call, const call_value *v, node *weight, node *bias,
                      double eps, bool centred, node **out) {
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    node *x = v[0].tensor;
    shape last = {.rank = v[1].n};
    for (int d = 0; d < v[1].n && d < MAX_DIMS; d++)
        last.dim[d] = v[1].integers[d];
    bool fits = v[1].n > 0 && v[1].n <= x->shape.rank;
    for (int d = 0; fits && d < last.rank; d++)
        fits = last.dim[d] == x->shape.dim[x->shape.rank - last.rank + d];
    if (!is_float_input(g, call, x) || !check_eps(g, call, eps)) return false;
    if (v[1].n > MAX_DIMS) last.rank = 0;
    if (!fits)
        return graph_fail(g, MARE_E_SHAPE,
                          "%s: the last dimensions of %s are not the normalized_shape %s", call,
                          shape_text(&x->shape, s), shape_text(&last, t)) != NULL;
    for (int i = 0; i < 2; i++) {
        const node *p = i ? bias : weight;
        if (p && !shape_equal(&p->shape, &last))
            return graph_fail(g, MARE_E_SHAPE, "%s: a %s of shape %s is needed, not %s", call,
                              i ? "bias" : "weight", shape_text(&last, s),
                              shape_text(&p->shape, t)) != NULL;
    }
    shape flat = shape_of(1, shape_count(&last));
    norm_options o = {eps, 1, 1, centred};
    node *y = op_norm_rows(
        g, as_rows(g, x, 1, product(&x->shape, 0, x->shape.rank - last.rank), flat.dim[0]), &o,
        op_reshape(g, weight, &flat), op_reshape(g, bias, &flat));
    return (out[0] = like_input(g, y, x)) != NULL;
}

static bool build_layer_norm(graph *g, const call_value *v, node **out) {
    return over_last(g, "layer_norm", v, v[2].tensor, v[3].tensor, v[4].number, true, out);
}

static bool build_rms_norm(graph *g, const call_value *v, node **out) {
    return over_last(g, "rms_norm", v, v[2].tensor, NULL, v[3].number, false, out);
}

static bool build_group_norm(graph *g, const call_value *v, node **out) {
    static const char call[] = "group_norm";
    char s[SHAPE_TEXT];
    node *x = v[0].tensor;
    int64_t groups = v[1].integer;
    if (!needs_channels(g, call, x) || !check_eps(g, call, v[4].number)) return false;
    int64_t n = x->shape.dim[1], inner = product(&x->shape, 2, x->shape.rank);
    if (groups < 1 || n % groups)
        return graph_fail(g, MARE_E_ARGUMENT, "%s: %lld groups do not divide the channels of %s",
                          call, (long long)groups, shape_text(&x->shape, s)) != NULL;
    if (!fits_channels(g, call, "weight", x, v[2].tensor, n) ||
        !fits_channels(g, call, "bias", x, v[3].tensor, n))
        return false;
    if (shape_count(&x->shape) == 0) return (out[0] = x) != NULL;
    norm_options o = {v[4].number, groups, inner, true};
    node *rows = as_rows(g, x, 1, x->shape.dim[0] * groups, n / groups * inner);
    out[0] = like_input(g, op_norm_rows(g, rows, &o, v[2].tensor, v[3].tensor), x);
    return out[0] != NULL;
}

/* ---- Local response norm ------------------------------------------------------------------ */

static bool build_local_response_norm(graph *g, const call_value *v, node **out) {
    static const char call[] = "local_response_norm";
    static const char *const names[] = {"x", "mean", "alpha", "beta", "k"};
    node *x = v[0].tensor;
    int64_t size = v[1].integer, before[4] = {0}, after[4] = {0};
    if (!needs_channels(g, call, x)) return false;
    if (size < 1 || size > 4096)
        return graph_fail(g, MARE_E_ARGUMENT, "%s: size is %lld", call, (long long)size) != NULL;
    node *wide = op_cast(g, x, MARE_F32);
    shape s =
        shape_of(4, x->shape.dim[0], 1, x->shape.dim[1], product(&x->shape, 2, x->shape.rank));
    before[2] = size / 2;
    after[2] = (size - 1) / 2;
    node *square = op_reshape(g, op_map1(g, "square", wide), &s);
    node *mean = op_avg_pool(
        g, op_pad(g, square, before, after, 0), 2,
        &(pool_options){
            .kernel = {size, 1}, .stride = {1, 1}, .dilation = {1, 1}, .count_include_pad = true});
    node *nodes[] = {wide, op_reshape(g, mean, &x->shape), node_const(g, MARE_F32, v[2].number),
                     node_const(g, MARE_F32, v[3].number), node_const(g, MARE_F32, v[4].number)};
    node *y = op_expr(g, "x / pow(k + alpha * mean, beta)", names, nodes, 5);
    return y && (out[0] = op_float_like(g, y, x)) != NULL;
}

/* ---- Lp norms ----------------------------------------------------------------------------- */

/* The p-norm of f32 x over axes, which stay as 1. A norm of 0 has the gradient 0. */
static node *p_norm(graph *g, node *x, double p, uint32_t axes) {
    if (!x) return NULL;
    node *size = op_map1(g, "abs", x), *least = node_const(g, MARE_F32, 1e-37);
    if (isinf(p)) return op_max(g, size, axes, true);
    if (p == 1) return op_sum(g, size, axes, true);
    if (p == 2) {
        node *sum = op_sum(g, op_map1(g, "square", x), axes, true);
        return op_map1(g, "sqrt", op_map2(g, "maximum", sum, least));
    }
    node *sum = op_sum(g, op_map_scalar(g, "pow", size, p), axes, true);
    return op_map_scalar(g, "pow", op_map2(g, "maximum", sum, least), 1 / p);
}

static node *unit(graph *g, node *x, double p, uint32_t axes, double eps) {
    node *norm = op_map_scalar(g, "maximum", p_norm(g, x, p, axes), eps);
    return op_map2(g, "div", x, norm);
}

static bool build_normalize(graph *g, const call_value *v, node **out) {
    static const char call[] = "normalize";
    char s[SHAPE_TEXT];
    node *x = v[0].tensor;
    if (!is_float_input(g, call, x)) return false;
    if (!(v[1].number > 0))
        return graph_fail(g, MARE_E_ARGUMENT, "%s: p is %g; a number above 0 is needed", call,
                          v[1].number) != NULL;
    if (x->shape.rank == 0)
        return graph_fail(g, MARE_E_SHAPE, "%s: %s has no dimension", call,
                          shape_text(&x->shape, s)) != NULL;
    node *y = unit(g, op_cast(g, x, MARE_F32), v[1].number, 1u << v[2].integer, v[3].number);
    return y && (out[0] = op_float_like(g, y, x)) != NULL;
}

/* ---- Weight norm and spectral norm -------------------------------------------------------- */

/* Every axis but one. */
static uint32_t other_axes(const node *x, int axis) {
    return ((1u << x->shape.rank) - 1u) & ~(1u << axis);
}

static bool build_weight_norm(graph *g, const call_value *v, node **out) {
    static const char *const names[] = {"v", "g", "norm"};
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    node *x = v[0].tensor, *size = v[1].tensor;
    if (!is_float_input(g, "weight_norm", x)) return false;
    int axis = (int)v[2].integer;
    shape want = {.rank = x->shape.rank};
    for (int d = 0; d < want.rank; d++)
        want.dim[d] = d == axis ? x->shape.dim[d] : 1;
    bool whole = size->shape.rank == 0; /* one length for all of v */
    if (!whole && !shape_equal(&size->shape, &want))
        return graph_fail(g, MARE_E_SHAPE, "weight_norm: v %s takes a g of shape %s or [], not %s",
                          shape_text(&x->shape, s), shape_text(&want, t),
                          shape_text(&size->shape, (char[SHAPE_TEXT]){0})) != NULL;
    node *wide = op_cast(g, x, MARE_F32);
    uint32_t axes = whole ? other_axes(x, MAX_DIMS) : other_axes(x, axis);
    node *norm = axes ? p_norm(g, wide, 2, axes) : op_map1(g, "abs", wide);
    node *nodes[] = {wide, op_cast(g, size, MARE_F32), norm};
    node *y = op_expr(g, "v * (g / norm)", names, nodes, 3);
    return y && (out[0] = op_float_like(g, y, x)) != NULL;
}

static bool build_spectral_norm(graph *g, const call_value *v, node **out) {
    static const char call[] = "spectral_norm";
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    node *x = v[0].tensor, *u = v[1].tensor, *w = v[2].tensor;
    int64_t steps = v[3].integer;
    double eps = v[5].number;
    if (!is_float_input(g, call, x) || !check_eps(g, call, eps)) return false;
    if (x->shape.rank < 2)
        return graph_fail(g, MARE_E_SHAPE,
                          "%s: a weight of two or more dimensions is needed, "
                          "not %s",
                          call, shape_text(&x->shape, s)) != NULL;
    if (steps < 0 || steps > 1000)
        return graph_fail(g, MARE_E_ARGUMENT, "%s: n_power_iterations is %lld", call,
                          (long long)steps) != NULL;
    int axis = (int)v[4].integer, order[MAX_DIMS];
    for (int d = 0; d < x->shape.rank; d++)
        order[d] = d == 0 ? axis : d <= axis ? d - 1 : d;
    int64_t height = x->shape.dim[axis];
    shape flat = shape_of(2, height, height ? shape_count(&x->shape) / height : 0);
    node *matrix = op_cast(g, op_permute(g, x, order, x->shape.rank), MARE_F32);
    matrix = op_reshape(g, matrix, &flat);
    for (int i = 0; i < 2; i++) {
        shape want = shape_of(1, flat.dim[i]);
        const node *p = i ? w : u;
        if (!shape_equal(&p->shape, &want))
            return graph_fail(g, MARE_E_SHAPE, "%s: weight %s takes a %s of shape %s, not %s", call,
                              shape_text(&x->shape, s), i ? "v" : "u", shape_text(&want, t),
                              shape_text(&p->shape, (char[SHAPE_TEXT]){0})) != NULL;
    }
    /* Power iteration: no gradient goes through it. */
    node *still = op_detach(g, matrix);
    u = op_detach(g, op_cast(g, u, MARE_F32));
    w = op_detach(g, op_cast(g, w, MARE_F32));
    for (int64_t i = 0; i < steps && u && w; i++) {
        w = unit(g, op_matmul(g, op_transpose(g, still, 0, 1), u), 2, 1, eps);
        u = unit(g, op_matmul(g, still, w), 2, 1, eps);
    }
    node *sigma = op_sum(g, op_map2(g, "mul", u, op_matmul(g, matrix, w)), 0, false);
    node *y = op_map2(g, "div", op_cast(g, x, MARE_F32), sigma);
    if (!y) return false;
    out[0] = op_float_like(g, y, x);
    out[1] = u;
    out[2] = w;
    return out[0] != NULL;
}

/* ---- Calls -------------------------------------------------------------------------------- */

static const call_arg batch_args[] = {NEED_TENSOR("x"),
                                      TENSOR_OPT("running_mean"),
                                      TENSOR_OPT("running_var"),
                                      TENSOR_OPT("weight"),
                                      TENSOR_OPT("bias"),
                                      FLAG_OPT("training", false),
                                      NUMBER_OPT("momentum", 0.1),
                                      NUMBER_OPT("eps", 1e-5),
                                      END_ARGS};
static const call_arg instance_args[] = {NEED_TENSOR("x"),
                                         TENSOR_OPT("running_mean"),
                                         TENSOR_OPT("running_var"),
                                         TENSOR_OPT("weight"),
                                         TENSOR_OPT("bias"),
                                         FLAG_OPT("use_input_stats", true),
                                         NUMBER_OPT("momentum", 0.1),
                                         NUMBER_OPT("eps", 1e-5),
                                         END_ARGS};
static const call_arg layer_args[] = {NEED_TENSOR("x"),        NEED_INTEGERS("normalized_shape"),
                                      TENSOR_OPT("weight"),    TENSOR_OPT("bias"),
                                      NUMBER_OPT("eps", 1e-5), END_ARGS};
static const call_arg rms_args[] = {NEED_TENSOR("x"), NEED_INTEGERS("normalized_shape"),
                                    TENSOR_OPT("weight"), NUMBER_OPT("eps", 1.1920929e-7),
                                    END_ARGS};
static const call_arg group_args[] = {NEED_TENSOR("x"),        NEED_INTEGER("num_groups"),
                                      TENSOR_OPT("weight"),    TENSOR_OPT("bias"),
                                      NUMBER_OPT("eps", 1e-5), END_ARGS};
static const call_arg response_args[] = {NEED_TENSOR("x"),          NEED_INTEGER("size"),
                                         NUMBER_OPT("alpha", 1e-4), NUMBER_OPT("beta", 0.75),
                                         NUMBER_OPT("k", 1),        END_ARGS};
static const call_arg normalize_args[] = {NEED_TENSOR("x"), NUMBER_OPT("p", 2), AXIS_OPT("dim", 1),
                                          NUMBER_OPT("eps", 1e-12), END_ARGS};
static const call_arg weight_args[] = {NEED_TENSOR("v"), NEED_TENSOR("g"), AXIS_OPT("dim", 0),
                                       END_ARGS};
static const call_arg spectral_args[] = {NEED_TENSOR("weight"),
                                         NEED_TENSOR("u"),
                                         NEED_TENSOR("v"),
                                         INTEGER_OPT("n_power_iterations", 1),
                                         AXIS_OPT("dim", 0),
                                         NUMBER_OPT("eps", 1e-12),
                                         END_ARGS};

const op_call op_calls_normalize[] = {
    {"batch_norm",
     "x [N, C, ...] normalised by channel (Ioffe and Szegedy 2015); the others are [C]. Training: "
     "by the batch's mean and biased variance, and the running ones move by momentum toward the "
     "batch's mean and unbiased variance (without them those come back). Else: by the running "
     "ones, which come back as they are.",
     batch_args, "y running_mean running_var", build_batch_norm, OP_AT},
    {"instance_norm",
     "x [N, C, ...] normalised by sample and channel (Ulyanov et al. 2016); the others are [C]. "
     "The running statistics move by momentum toward the mean over the samples, as in batch_norm; "
     "without use_input_stats they are used.",
     instance_args, "y running_mean running_var", build_instance_norm, OP_AT},
    {"layer_norm",
     "x [..., normalized_shape] normalised over those last dimensions (Ba et al. 2016); weight and "
     "bias have the normalized_shape.",
     layer_args, NULL, build_layer_norm, OP_AT},
    {"rms_norm",
     "x [..., normalized_shape] over the root of its mean square in those last dimensions (Zhang "
     "and Sennrich 2019); weight has the normalized_shape.",
     rms_args, NULL, build_rms_norm, OP_AT},
    {"group_norm",
     "x [N, C, ...] normalised by sample and group of channels (Wu and He 2018); weight and bias "
     "are [C].",
     group_args, NULL, build_group_norm, OP_AT},
    {"local_response_norm",
     "x [N, C, ...] / (k + alpha mean)^beta, with the mean of the squares in a window of `size` "
     "channels, zeros outside (Krizhevsky et al. 2012).",
     response_args, NULL, build_local_response_norm, OP_AT},
    {"normalize",
     "x over the larger of eps and its p-norm along a dimension (p = math.huge: the largest "
     "magnitude). What is all 0 stays so, with the gradient of x / eps.",
     normalize_args, NULL, build_normalize, OP_AT},
    {"weight_norm",
     "v scaled to the lengths g (Salimans and Kingma 2016): the norm is taken over all dimensions "
     "but dim, g has the size of that one and 1 elsewhere; over all of v when g has no dimension.",
     weight_args, NULL, build_weight_norm, OP_AT},
    {"spectral_norm",
     "A weight over its largest singular value, as a matrix [dim, all others] (Miyato et al. "
     "2018), by power iteration from u [height] and v [width]; these come back as they became.",
     spectral_args, "weight u v", build_spectral_norm, OP_AT},
    {0},
};
