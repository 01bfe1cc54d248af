/* The family of dropout: elements, channels, samples; and what keeps the moments of selu. */
#include "ops/internal.h"

#include <math.h>

/* Does anything happen? *ok: the arguments are good. */
static bool acts(graph *g, const char *call, double p, const call_value *training, bool *ok) {
    *ok = p >= 0 && p <= 1;
    if (!*ok) graph_fail(g, MARE_E_ARGUMENT, "%s: p %g is not in 0..1", call, p);
    return *ok && training->integer && p > 0;
}

/* One element for all that share their first `axes` coordinates. */
static shape shared(const shape *s, int axes) {
    shape m = *s;
    for (int d = axes; d < m.rank; d++)
        m.dim[d] = 1;
    return m;
}

/* Drops all elements that share their first `axes` coordinates together. */
static node *drop_shared(graph *g, node *a, int axes, double p) {
    shape s = shared(&a->shape, axes);
    node *mask = op_dropout(g, op_full(g, MARE_F32, &s, 1), p);
    return op_float_like(g, op_map2(g, "mul", op_cast(g, a, MARE_F32), mask), a);
}

/* Axes of a sample's channels in an input of `spatial` more dimensions: [N, C, ...] or [C, ...]. */
static int channel_axes(graph *g, const char *call, const node *a, int spatial) {
    char s[SHAPE_TEXT];
    int axes = a->shape.rank - spatial;
    if (axes == 1 || axes == 2) return axes;
    graph_fail(g, MARE_E_SHAPE,
               "%s: %d dimensions, or one less without a batch, are needed, not %s", call,
               spatial + 2, shape_text(&a->shape, s));
    return -1;
}

/* What is dropped becomes selu's least value; a scale and a shift keep mean 0 and variance 1. */
static node *alpha_drop(graph *g, node *a, int axes, double p) {
    static const char *const names[] = {"x", "u", "p", "least", "scale", "shift"};
    const double least = -1.7580993408473766;
    double scale = p < 1 ? 1 / sqrt((1 - p) * (1 + p * least * least)) : 0;
    shape s = shared(&a->shape, axes);
    node *nodes[] = {op_cast(g, a, MARE_F32),        op_uniform(g, &s, 0, 1),
                     node_const(g, MARE_F32, p),     node_const(g, MARE_F32, least),
                     node_const(g, MARE_F32, scale), node_const(g, MARE_F32, -scale * least * p)};
    node *y = op_expr(g, "where(u < p, least, x) * scale + shift", names, nodes, 6);
    return y ? op_float_like(g, y, a) : NULL;
}

/* ---- Calls -------------------------------------------------------------------------------- */

static bool drop_elements(graph *g, const char *call, const call_value *v, node **out) {
    bool ok, some = acts(g, call, v[1].number, &v[2], &ok);
    return ok && (out[0] = some ? op_dropout(g, v[0].tensor, v[1].number) : v[0].tensor) != NULL;
}

static bool call_dropout(graph *g, const call_value *v, node **out) {
    return drop_elements(g, "dropout", v, out);
}

static bool call_drop_connect(graph *g, const call_value *v, node **out) {
    return drop_elements(g, "drop_connect", v, out);
}

static bool drop_channels(graph *g, const char *call, int spatial, const call_value *v,
                          node **out) {
    bool ok, some = acts(g, call, v[1].number, &v[2], &ok);
    int axes = channel_axes(g, call, v[0].tensor, spatial);
    if (!ok || axes < 0) return false;
    out[0] = some ? drop_shared(g, v[0].tensor, axes, v[1].number) : v[0].tensor;
    return out[0] != NULL;
}

static bool call_dropout1d(graph *g, const call_value *v, node **out) {
    return drop_channels(g, "dropout1d", 1, v, out);
}

static bool call_dropout2d(graph *g, const call_value *v, node **out) {
    return drop_channels(g, "dropout2d", 2, v, out);
}

static bool call_dropout3d(graph *g, const call_value *v, node **out) {
    return drop_channels(g, "dropout3d", 3, v, out);
}

static bool call_drop_path(graph *g, const call_value *v, node **out) {
    bool ok, some = acts(g, "drop_path", v[1].number, &v[2], &ok);
    if (ok && v[0].tensor->shape.rank == 0)
        return graph_fail(g, MARE_E_SHAPE, "drop_path: samples [N, ...] are needed, not []") !=
               NULL;
    return ok &&
           (out[0] = some ? drop_shared(g, v[0].tensor, 1, v[1].number) : v[0].tensor) != NULL;
}

static bool call_alpha_dropout(graph *g, const call_value *v, node **out) {
    bool ok, some = acts(g, "alpha_dropout", v[1].number, &v[2], &ok);
    node *a = v[0].tensor;
    return ok && (out[0] = some ? alpha_drop(g, a, a->shape.rank, v[1].number) : a) != NULL;
}

static bool call_feature_alpha_dropout(graph *g, const call_value *v, node **out) {
    static const char call[] = "feature_alpha_dropout";
    bool ok, some = acts(g, call, v[1].number, &v[2], &ok);
    char s[SHAPE_TEXT];
    node *a = v[0].tensor;
    if (ok && a->shape.rank < 2)
        return graph_fail(g, MARE_E_SHAPE, "%s: features [N, C, ...] are needed, not %s", call,
                          shape_text(&a->shape, s)) != NULL;
    return ok && (out[0] = some ? alpha_drop(g, a, 2, v[1].number) : a) != NULL;
}

static const call_arg drop_args[] = {NEED_TENSOR("input"), NUMBER_OPT("p", 0.5),
                                     FLAG_OPT("training", true), END_ARGS};

const op_call op_calls_dropout[] = {
    {"dropout",
     "In training, 0 with probability p and input / (1 - p) otherwise. The mask is no tensor: the "
     "gradient draws it again. Srivastava et al. 2014.",
     drop_args, NULL, call_dropout, OP_AT},
    {"dropout1d", "dropout of whole channels of [N, C, L] or [C, L]. Tompson et al. 2015.",
     drop_args, NULL, call_dropout1d, OP_AT},
    {"dropout2d", "dropout of whole channels of [N, C, H, W] or [C, H, W].", drop_args, NULL,
     call_dropout2d, OP_AT},
    {"dropout3d", "dropout of whole channels of [N, C, D, H, W] or [C, D, H, W].", drop_args, NULL,
     call_dropout3d, OP_AT},
    {"drop_connect", "dropout of a layer's weights. Wan et al. 2013.", drop_args, NULL,
     call_drop_connect, OP_AT},
    {"drop_path",
     "dropout of whole samples [N, ...], for the branch beside a residual one. Huang et al. 2016.",
     drop_args, NULL, call_drop_path, OP_AT},
    {"alpha_dropout",
     "dropout that keeps mean 0 and variance 1: what is dropped takes selu's least value. "
     "Klambauer et al. 2017.",
     drop_args, NULL, call_alpha_dropout, OP_AT},
    {"feature_alpha_dropout", "alpha_dropout of whole channels of [N, C, ...].", drop_args, NULL,
     call_feature_alpha_dropout, OP_AT},
    {0},
};
