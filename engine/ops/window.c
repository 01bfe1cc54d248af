/* Sliding windows along an axis, as a view: neighbours overlap in memory. */
#include "ops/indexing.h"
#include "plan/lower.h"

typedef struct window_attr {
    int64_t axis, size, step;
} window_attr;

static bool window_infer(graph *g, node *n) {
    (void)g;
    const window_attr *at = OP_ATTR(window_attr, n);
    op_same_value(n);
    n->shape = n->in[0]->shape;
    n->shape.dim[at->axis] = (n->shape.dim[at->axis] - at->size) / at->step + 1;
    n->shape.dim[n->shape.rank++] = at->size;
    return true;
}

static bool window_view(const node *n, const view *in, view *out) {
    const window_attr *at = OP_ATTR(window_attr, n);
    *out = *in;
    out->stride[n->shape.rank - 1] = in->stride[at->axis];
    out->stride[at->axis] = in->stride[at->axis] * at->step;
    return true;
}

node *op_window_places(graph *g, int64_t count, int64_t step, int64_t size, int64_t gap) {
    shape list = shape_of(1, count * size);
    node *first = op_arange(g, MARE_I32, 0, (double)step, count);
    node *more = op_arange(g, MARE_I32, 0, (double)gap, size);
    node *place = op_reshape(g, op_map2(g, "add", op_unsqueeze(g, first, 1), more), &list);
    if (!place) return NULL;
    place->lo = 0;
    place->hi = (count - 1) * step + (size - 1) * gap;
    return place;
}

/* Every element of a window goes back to its place: the windows' axis and the elements' become one
 * list of places. */
static bool window_vjp(graph *g, node *n, node *gy, node **gx) {
    const window_attr *at = OP_ATTR(window_attr, n);
    int axis = (int)at->axis, rank = n->shape.rank, order[MAX_DIMS], k = 0;
    int64_t count = n->shape.dim[axis];
    for (int i = 0; i < rank - 1; i++) {
        order[k++] = i;
        if (i == axis) order[k++] = rank - 1;
    }
    shape s = n->in[0]->shape;
    s.dim[axis] = count * at->size;
    node *place = op_window_places(g, count, at->step, at->size, 1);
    if (!place) return false;
    node *flat = op_reshape(g, op_permute(g, op_words(g, gy), order, rank), &s);
    gx[0] = op_scatter_into(g, FOLD_SUM, flat, place, axis, n->in[0]->shape.dim[axis]);
    gx[0] = op_cast(g, gx[0], gy->dtype);
    return gx[0] != NULL;
}

static void window_ref(const node *n, const double *const *in, double *out) {
    const window_attr *at = OP_ATTR(window_attr, n);
    const shape *s = &n->in[0]->shape;
    int64_t c[MAX_DIMS] = {0}, count = shape_count(&n->shape);
    for (int64_t i = 0; i < count; i++, op_next_coordinate(&n->shape, c)) {
        int64_t from = 0;
        for (int d = 0; d < s->rank; d++)
            from =
                from * s->dim[d] + (d == at->axis ? c[d] * at->step + c[n->shape.rank - 1] : c[d]);
        out[i] = in[0][from];
    }
}

node *op_windows(graph *g, node *a, int axis, int64_t size, int64_t step) {
    char s[SHAPE_TEXT];
    if (!a) return NULL;
    if (size < 1 || step < 1 || size > a->shape.dim[axis] || a->shape.rank == MAX_DIMS)
        return graph_fail(g, MARE_E_ARGUMENT,
                          "windows: size %lld and step %lld do not fit axis %d of %s",
                          (long long)size, (long long)step, axis, shape_text(&a->shape, s));
    node *y = node_new(g, &op_desc_windows, &a, 1, &(window_attr){axis, size, step});
    return y;
}

static node *windows_case(graph *g, node **in) {
    return op_windows(g, in[0], 1, 3, 2);
}

static node *windows_close(graph *g, node **in) {
    return op_windows(g, in[0], 0, 4, 1);
}

static node *windows_far(graph *g, node **in) {
    return op_windows(g, in[0], 0, 2, 3);
}

static const op_case windows_cases[] = {
    {1, {{3, {2, 8, 3}}}, -2, 2, windows_case, {MARE_F32}, {0}, {0}},
    {1, {{2, {9, 3}}}, -2, 2, windows_close, {MARE_F32}, {0}, {0}},
    {1, {{2, {9, 3}}}, 0, 200, windows_close, {MARE_U8}, {0}, {0}},
    {1, {{1, {9}}}, -2, 2, windows_far, {MARE_F16}, {0}, {0}},
    {1, {{2, {5, 0}}}, -2, 2, windows_close, {MARE_F32}, {0}, {0}},
    {0},
};

const op op_desc_windows = {
    .name = "windows",
    .at = OP_HERE,
    .doc = "a -> windows of a size, a step apart along an axis, as a new last axis; any dtype",
    .attr_size = sizeof(window_attr),
    .infer = window_infer,
    .vjp = window_vjp,
    .view = window_view,
    .lower = op_lower_view,
    .ref = window_ref,
    .cases = windows_cases,
    .smooth = true,
};

static bool call_windows(graph *g, const call_value *v, node **out) {
    return (out[0] = op_windows(g, v[0].tensor, (int)v[1].integer, v[2].integer, v[3].integer)) !=
           NULL;
}

static const call_arg windows_args[] = {NEED_TENSOR("x"), NEED_AXIS("dim"), NEED_INTEGER("size"),
                                        INTEGER_OPT("step", 1), END_ARGS};

const op_call op_calls_window[] = {
    {"windows",
     "Windows of a size, a step apart along a dim, as a new last dim: [..., (n - size) / step + 1, "
     "..., size]. A view. PyTorch's Tensor.unfold.",
     windows_args, NULL, call_windows, OP_AT},
    {0},
};
