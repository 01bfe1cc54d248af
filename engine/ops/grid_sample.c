/* Pictures and volumes looked at in places that a grid says: a sampling by a table, whose places
 * and weights are computed axis by axis. */
#include "ops/sample.h"

typedef enum mode { BILINEAR, NEAREST, BICUBIC } mode;
typedef enum padding { ZEROS, BORDER, REFLECTION } padding;

typedef struct looks {
    mode mode;
    padding padding;
    bool align_corners;
} looks;

/* Places s on an axis of n elements, led back onto it as the padding says. */
static node *lead_back(graph *g, node *s, int64_t n, const looks *o) {
    static const char *const names[] = {"s", "low", "span", "last"};
    double span = (double)(o->align_corners ? n - 1 : n);
    if (!s || o->padding == ZEROS) return s;
    node *nodes[] = {s, node_const(g, MARE_F32, o->align_corners ? 0 : -0.5),
                     node_const(g, MARE_F32, span), node_const(g, MARE_F32, (double)(n - 1))};
    if (o->padding == REFLECTION) {
        if (span == 0) return op_full(g, MARE_F32, &s->shape, 0);
        nodes[0] = op_expr(g,
                           "a = abs(s - low); f = floor(a / span); e = a - f * span; "
                           "where(mod(f, 2) == 0, e, span - e) + low",
                           names, nodes, 4);
    }
    /* No gradient comes from beyond the ends; NaN goes to the first. */
    return op_expr(g, "where(s > 0, where(s < last, s, last), 0)", names, nodes, 4);
}

/* Table of one axis from the grid's numbers for it [N, 1, K]: places [N, T, K] (i32, -1: none) and
 * weights. */
static void axis_table(graph *g, node *c, int64_t n, const looks *o, node **index, node **w) {
    static const char *const names[] = {"c", "n", "t", "s"};
    *index = *w = NULL;
    if (!c) return;
    int64_t taps = o->mode == NEAREST ? 1 : o->mode == BILINEAR ? 2 : 4;
    shape row = shape_of(3, 1, taps, 1);
    node *t = op_reshape(g, op_arange(g, MARE_F32, 0, 1, taps), &row);
    node *nodes[] = {c, node_const(g, MARE_F32, (double)n), t, NULL};
    const char *at = o->align_corners ? "(c + 1) * 0.5 * (n - 1)" : "((c + 1) * n - 1) * 0.5";
    nodes[3] = op_expr(g, at, names, nodes, 3);
    node *p;
    if (o->mode == BICUBIC) {
        node *s = op_expr(g, "floor(s) - 1 + t", names, nodes, 4);
        p = op_map1(g, "round", lead_back(g, s, n, o));
        *w = op_expr(g, "d = abs(s - floor(s) + 1 - t); " CUBIC, names, nodes, 4);
    } else {
        nodes[3] = lead_back(g, nodes[3], n, o);
        bool nearest = o->mode == NEAREST;
        p = nearest ? op_map1(g, "round", nodes[3]) : op_expr(g, "floor(s) + t", names, nodes, 4);
        *w = nearest ? op_full(g, MARE_F32, &c->shape, 1)
                     : op_expr(g, "f = s - floor(s); where(t == 0, 1 - f, f)", names, nodes, 4);
    }
    nodes[0] = p;
    *index =
        op_cast(g, op_expr(g, "where(and(c >= 0, c <= n - 1), c, -1)", names, nodes, 2), MARE_I32);
}

/* a over the taps of a table [N, S, K] and b over those of [N, T, K] as [N, S T, K]. */
static void cross(graph *g, node **a, node **b, shape *joint) {
    if (!*a || !*b) return;
    const int64_t *s = (*a)->shape.dim, *t = (*b)->shape.dim;
    shape rows = shape_of(4, s[0], s[1], 1, s[2]), columns = shape_of(4, t[0], 1, t[1], t[2]);
    *joint = shape_of(3, s[0], s[1] * t[1], s[2]);
    *a = op_reshape(g, *a, &rows);
    *b = op_reshape(g, *b, &columns);
}

/* The tables of all axes as one of their product. */
static void whole_table(graph *g, const node *x, node *grid, const looks *o, node **index,
                        node **w) {
    int axes = x->shape.rank - 2;
    shape flat = shape_of(3, grid->shape.dim[0], 1, shape_count(&grid->shape));
    if (flat.dim[0] > 0) flat.dim[2] /= flat.dim[0] * axes;
    *index = *w = NULL;
    for (int i = 0; i < axes; i++) {
        int64_t n = x->shape.dim[2 + i];
        node *c = op_reshape(g, op_narrow(g, grid, axes + 1, axes - 1 - i, 1), &flat), *p, *v;
        axis_table(g, c, n, o, &p, &v);
        shape joint;
        if (i == 0) {
            *index = p;
            *w = v;
            continue;
        }
        cross(g, index, &p, &joint);
        *index = op_reshape(g, op_places(g, *index, p, n), &joint);
        cross(g, w, &v, &joint);
        *w = op_reshape(g, op_map2(g, "mul", *w, v), &joint);
    }
}

static const char name[] = "grid_sample";

static bool check(graph *g, const node *x, const node *grid, mode m) {
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    int rank = x->shape.rank;
    if (!dtype_is_float(x->dtype) || !dtype_is_float(grid->dtype))
        return graph_fail(g, MARE_E_DTYPE, "%s: takes floats, not %s and %s", name,
                          mare_dtype_name(x->dtype), mare_dtype_name(grid->dtype)) != NULL;
    bool fits = (rank == 4 || rank == 5) && grid->shape.rank == rank &&
                grid->shape.dim[0] == x->shape.dim[0] && grid->shape.dim[rank - 1] == rank - 2;
    int64_t size = 1;
    for (int i = 2; i < rank && fits; i++)
        fits = x->shape.dim[i] > 0 && (size *= x->shape.dim[i]) <= INT32_MAX;
    if (!fits)
        return graph_fail(
                   g, MARE_E_SHAPE,
                   "%s: takes x [N, C, H, W] and a grid [N, h, w, 2], or [N, C, D, H, W] and "
                   "[N, d, h, w, 3], not %s and %s",
                   name, shape_text(&x->shape, s), shape_text(&grid->shape, t)) != NULL;
    if (m == BICUBIC && rank != 4)
        return graph_fail(g, MARE_E_SHAPE, "%s: bicubic takes x [N, C, H, W], not %s", name,
                          shape_text(&x->shape, s)) != NULL;
    return true;
}

static const call_arg grid_sample_args[] = {NEED_TENSOR("x"),
                                            NEED_TENSOR("grid"),
                                            CHOICE_OPT("mode", "bilinear nearest bicubic"),
                                            CHOICE_OPT("padding_mode", "zeros border reflection"),
                                            FLAG_OPT("align_corners", 0),
                                            END_ARGS};

static bool call_grid_sample(graph *g, const call_value *v, node **out) {
    node *x = v[0].tensor, *grid = op_words(g, v[1].tensor), *index, *w;
    looks o = {(mode)v[2].integer, (padding)v[3].integer, v[4].integer};
    if (!grid || !check(g, x, v[1].tensor, o.mode)) return false;
    int rank = x->shape.rank;
    shape planes = shape_of(4, x->shape.dim[0], x->shape.dim[1], 1, 1), y = x->shape;
    for (int i = 2; i < rank; i++) {
        planes.dim[2] *= x->shape.dim[i];
        y.dim[i] = grid->shape.dim[i - 1];
    }
    whole_table(g, x, grid, &o, &index, &w);
    node *n = op_sample(g, op_reshape(g, op_words(g, x), &planes), index, w);
    return (out[0] = op_float_like(g, op_reshape(g, n, &y), x)) != NULL;
}

const op_call op_calls_grid_sample[] = {
    {name,
     "x [N, C, H, W] at the places (x, y) of grid [N, h, w, 2], -1 to 1 from edge to edge "
     "(align_corners: from centre to centre of the outermost elements), as [N, C, h, w]; or "
     "[N, C, D, H, W] and [N, d, h, w, 3]. Gradients to both, always in the same order of adding "
     "up; nearest has none to the grid (Jaderberg and others, 2015).",
     grid_sample_args, NULL, call_grid_sample, OP_AT},
    {0},
};
