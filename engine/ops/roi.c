/* roi_align: boxes of pictures as small pictures of one size. Weights of bilinear samples are
 * products of one for rows and one for columns, so that a box is a table of places and weights made
 * of two, and all boxes are one sampling. */
#include "ops/sample.h"

#include <math.h>
#include <stdlib.h>

typedef struct roi_options {
    int64_t size[2];     /* of a result */
    int64_t sampling[2]; /* samples of a bin, at most when adaptive */
    double scale;
    bool aligned, adaptive;
} roi_options;

/* One column of the boxes [K, 5] as [1, 1, K, 1]. */
static node *column(graph *g, node *boxes, int at) {
    shape s = shape_of(4, 1, 1, boxes->shape.dim[0], 1);
    return op_reshape(g, op_narrow(g, boxes, 1, at, 1), &s);
}

/* 0, 1, .. n-1 along axis d of four. */
static node *ruler(graph *g, int64_t n, int d) {
    shape s = shape_of(4, 1, 1, 1, 1);
    s.dim[d] = n;
    return op_reshape(g, op_arange(g, MARE_F32, 0, 1, n), &s);
}

/* The table of rows (axis 0) or columns (axis 1) on an axis of n elements: places and weights
 * [samples * 2, K, bins]. */
static void axis_table(graph *g, node *boxes, int axis, int64_t n, const roi_options *o,
                       node **index, node **w) {
    static const char *const names[] = {"lo", "size", "p", "s", "t", "bins", "last", "n", "at"};
    int from = axis ? 1 : 2; /* boxes are [picture, x1, y1, x2, y2] */
    int64_t samples = o->sampling[axis], bins = o->size[axis];
    node *edge[] = {column(g, boxes, from), column(g, boxes, from + 2),
                    node_const(g, MARE_F32, o->scale), node_const(g, MARE_F32, 1)};
    static const char *const edges[] = {"lo", "hi", "scale", "one"};
    node *size = op_expr(g, o->aligned ? "(hi - lo) * scale" : "maximum((hi - lo) * scale, one)",
                         edges, edge, 4);
    node *nodes[] = {op_expr(g, o->aligned ? "lo * scale - 0.5" : "lo * scale", edges, edge, 4),
                     size,
                     ruler(g, bins, 3),
                     ruler(g, samples, 0),
                     ruler(g, 2, 1),
                     node_const(g, MARE_F32, (double)bins),
                     node_const(g, MARE_F32, (double)(n - 1)),
                     node_const(g, MARE_F32, (double)samples),
                     NULL};
    if (o->adaptive) nodes[7] = op_expr(g, "minimum(ceil(size / bins), n)", names, nodes, 8);
    nodes[8] = op_expr(g, "lo + (p + (s + 0.5) / n) * (size / bins)", names, nodes, 8);
    shape flat = shape_of(3, samples * 2, boxes->shape.dim[0], bins);
    node *at = op_expr(g,
                       "c = minimum(maximum(at, 0), last); "
                       "where(and(and(at >= -1, at <= last + 1), s < n), "
                       "minimum(floor(c) + t, last), -1)",
                       names, nodes, 9);
    *index = op_reshape(g, op_cast(g, at, MARE_I32), &flat);
    node *weight = op_expr(g,
                           "c = minimum(maximum(at, 0), last); f = c - floor(c); "
                           "where(t == 0, 1 - f, f) / maximum(n, 1)",
                           names, nodes, 9);
    *w = op_reshape(g, weight, &flat);
}

/* A table of rows and one of columns laid across each other. */
static void cross(graph *g, node **rows, node **columns) {
    if (!*rows || !*columns) return;
    const int64_t *r = (*rows)->shape.dim, *c = (*columns)->shape.dim;
    shape a = shape_of(5, r[0], 1, r[1], r[2], 1), b = shape_of(5, 1, c[0], c[1], 1, c[2]);
    *rows = op_reshape(g, *rows, &a);
    *columns = op_reshape(g, *columns, &b);
}

static node *align(graph *g, node *x, node *boxes, const roi_options *o) {
    const int64_t *d = x->shape.dim;
    int64_t count = boxes->shape.dim[0], h = o->size[0], w = o->size[1];
    node *place[2], *weight[2];
    for (int i = 0; i < 2; i++)
        axis_table(g, boxes, i, d[2 + i], o, &place[i], &weight[i]);
    cross(g, &place[0], &place[1]);
    cross(g, &weight[0], &weight[1]);
    shape one = shape_of(5, 1, 1, count, 1, 1);
    shape table = shape_of(3, 1, 4 * o->sampling[0] * o->sampling[1], count * h * w);
    node *picture = op_reshape(g, op_narrow(g, boxes, 1, 0, 1), &one);
    static const char *const names[] = {"b", "n"};
    node *nodes[] = {picture, node_const(g, MARE_F32, (double)d[0])};
    picture = op_cast(g, op_expr(g, "where(and(b > -1, b < n), b, -1)", names, nodes, 2), MARE_I32);
    node *index = op_places(g, picture, op_places(g, place[0], place[1], d[3]), d[2] * d[3]);
    node *v = op_map2(g, "mul", weight[0], weight[1]);
    shape all = shape_of(4, 1, d[1], d[0] * d[2] * d[3], 1), y = shape_of(4, d[1], count, h, w);
    node *in = op_reshape(g, op_transpose(g, x, 0, 1), &all);
    in = op_sample(g, in, op_reshape(g, index, &table), op_reshape(g, v, &table));
    return op_transpose(g, op_reshape(g, in, &y), 0, 1);
}

/* As many samples as the largest box takes: one for each element of a bin, rounded up. */
static bool count_samples(graph *g, node *boxes, roi_options *o) {
    int64_t n = boxes->shape.dim[0];
    double *v = malloc((size_t)(5 * n + 1) * sizeof *v);
    if (!v) return graph_fail(g, MARE_E_HOST_MEMORY, "roi_align: out of host memory") != NULL;
    bool ok = graph_read(g, boxes, v);
    o->sampling[0] = o->sampling[1] = 1;
    for (int64_t i = 0; i < n && ok; i++)
        for (int a = 0; a < 2; a++) {
            const double *lo = v + 5 * i + (a ? 1 : 2);
            double s = ceil((lo[2] - lo[0]) * o->scale / (double)o->size[a]);
            if (!(s < 1 << 12))
                ok = graph_fail(g, MARE_E_RANGE, "roi_align: box %lld takes %g samples a bin",
                                (long long)i, s) != NULL;
            else if (s > (double)o->sampling[a])
                o->sampling[a] = (int64_t)s;
        }
    free(v);
    return ok;
}

static const call_arg roi_align_args[] = {NEED_TENSOR("x"),
                                          NEED_TENSOR("boxes"),
                                          NEED_INTEGERS("output_size"),
                                          NUMBER_OPT("spatial_scale", 1),
                                          INTEGER_OPT("sampling_ratio", -1),
                                          FLAG_OPT("aligned", 0),
                                          END_ARGS};

static bool call_roi_align(graph *g, const call_value *v, node **out) {
    node *x = v[0].tensor, *boxes = v[1].tensor;
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    int64_t ratio = v[4].integer;
    roi_options o = {.sampling = {ratio, ratio},
                     .scale = v[3].number,
                     .aligned = v[5].integer,
                     .adaptive = ratio <= 0};
    if (!dtype_is_float(x->dtype) || !dtype_is_float(boxes->dtype))
        return graph_fail(g, MARE_E_DTYPE, "roi_align: takes floats, not %s and %s",
                          mare_dtype_name(x->dtype), mare_dtype_name(boxes->dtype)) != NULL;
    if (x->shape.rank != 4 || boxes->shape.rank != 2 || boxes->shape.dim[1] != 5 ||
        x->shape.dim[2] < 1 || x->shape.dim[3] < 1 || shape_count(&x->shape) > INT32_MAX)
        return graph_fail(g, MARE_E_SHAPE,
                          "roi_align: takes x [N, C, H, W] and boxes [K, 5], not %s and %s",
                          shape_text(&x->shape, s), shape_text(&boxes->shape, t)) != NULL;
    if (!call_spread(g, "roi_align", "output_size", &v[2], 2, 1, 0, o.size)) return false;
    if (o.size[0] == 0 || ratio > 1 << 12)
        return graph_fail(g, MARE_E_ARGUMENT,
                          "roi_align: output_size must be given, sampling_ratio %lld at most 4096",
                          (long long)ratio) != NULL;
    boxes = op_detach(g, op_words(g, boxes));
    if (!boxes || (o.adaptive && !count_samples(g, boxes, &o))) return false;
    return (out[0] = op_float_like(g, align(g, op_words(g, x), boxes, &o), x)) != NULL;
}

const op_call op_calls_roi[] = {
    {"roi_align",
     "x [N, C, H, W] and boxes [K, 5] of (picture, x1, y1, x2, y2), which times spatial_scale are "
     "places in x: each box in output_size bins as [K, C, h, w]. A bin is the mean of "
     "sampling_ratio^2 bilinear samples (0 or less: one for each element, for which the boxes are "
     "read); aligned: pixels have their centres at halves. Pictures that there are not give zeros; "
     "no gradient goes to the boxes (He and others, 2017).",
     roi_align_args, NULL, call_roi_align, OP_AT},
    {0},
};
