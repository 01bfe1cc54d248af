/* Movement: ops that only change where elements are looked for. All are views of their input where
 * strides can say it; the copy, when one is needed, is the elementwise kernel's. */
#include "ops/internal.h"
#include "ops/ops.h"
#include "plan/lower.h"

#include <string.h>

/* A shape whose unused dimensions are zero, so that attributes hash alike. */
static shape shape_clean(const shape *s) {
    shape c;
    memset(&c, 0, sizeof c);
    c.rank = s->rank;
    memcpy(c.dim, s->dim, (size_t)s->rank * sizeof c.dim[0]);
    return c;
}

void op_same_value(node *n) {
    n->dtype = n->in[0]->dtype;
    n->lo = n->in[0]->lo;
    n->hi = n->in[0]->hi;
}

/* Elements are moved as they are; small integers pass through i32, half floats through f32. */
static mare_dtype copy_dtype(mare_dtype t) {
    return dtype_is_float(t) ? MARE_F32 : MARE_I32;
}

mare_status op_lower_view(lowering *l, const node *n, const operand *in, const operand *out) {
    operand src = in[0];
    src.shape = n->shape;
    memset(&src.view, 0, sizeof src.view);
    if (!n->op->view(n, &in[0].view, &src.view)) src.view = in[0].view;
    return lower_map(l, "a", copy_dtype(n->dtype), &src, 1, out);
}

void op_next_coordinate(const shape *s, int64_t c[MAX_DIMS]) {
    for (int i = s->rank - 1; i >= 0; i--) {
        if (++c[i] < s->dim[i]) return;
        c[i] = 0;
    }
}

node *op_words(graph *g, node *a) {
    if (!a) return NULL;
    return op_cast(g, a, dtype_is_float(a->dtype) ? MARE_F32 : MARE_I32);
}

/* ---- reshape ------------------------------------------------------------------------------ */

typedef struct reshape_attr {
    shape shape;
} reshape_attr;

static bool reshape_infer(graph *g, node *n) {
    (void)g;
    op_same_value(n);
    n->shape = OP_ATTR(reshape_attr, n)->shape;
    return true;
}

static bool reshape_vjp(graph *g, node *n, node *gy, node **gx) {
    return (gx[0] = op_reshape(g, gy, &n->in[0]->shape)) != NULL;
}

/* The longest runs of axes that lie in memory as one axis, without axes of size 1. */
static int merge_axes(const shape *s, const view *v, int64_t size[MAX_DIMS],
                      int64_t stride[MAX_DIMS]) {
    int n = 0;
    for (int i = 0; i < s->rank; i++) {
        if (s->dim[i] == 1) continue;
        if (n > 0 && stride[n - 1] == v->stride[i] * s->dim[i]) {
            size[n - 1] *= s->dim[i];
            stride[n - 1] = v->stride[i];
        } else {
            size[n] = s->dim[i];
            stride[n++] = v->stride[i];
        }
    }
    return n;
}

/* A reshape is a view when every run is cut into whole new axes. */
static bool reshape_view(const node *n, const view *in, view *out) {
    const shape *to = &n->shape;
    out->offset = in->offset;
    if (shape_count(to) == 0) {
        shape_strides(to, out->stride);
        return true;
    }
    int64_t size[MAX_DIMS], stride[MAX_DIMS], left = 1, step = 1;
    int run = merge_axes(&n->in[0]->shape, in, size, stride);
    for (int i = to->rank - 1; i >= 0; i--) {
        if (to->dim[i] != 1 && left == 1) {
            run--;
            left = size[run];
            step = stride[run];
        }
        if (left % to->dim[i] != 0) return false;
        out->stride[i] = step;
        step *= to->dim[i];
        left /= to->dim[i];
    }
    return true;
}

/* The result lies row-major, so it is written as if it had the input's shape. */
static mare_status reshape_lower(lowering *l, const node *n, const operand *in,
                                 const operand *out) {
    operand dst = *out;
    dst.shape = in[0].shape;
    shape_strides(&dst.shape, dst.view.stride);
    return lower_map(l, "a", copy_dtype(n->dtype), in, 1, &dst);
}

static void copy_ref(const node *n, const double *const *in, double *out) {
    int64_t count = shape_count(&n->shape);
    for (int64_t i = 0; i < count; i++)
        out[i] = in[0][i];
}

static node *reshape_case(graph *g, node **in) {
    shape s = shape_of(3, 4, -1, 3);
    return op_reshape(g, in[0], &s);
}

static node *reshape_copy_case(graph *g, node **in) {
    shape s = shape_of(2, 5, 12);
    return op_reshape(g, op_transpose(g, in[0], 0, 1), &s);
}

static node *reshape_empty_case(graph *g, node **in) {
    shape s = shape_of(3, 3, 0, 7);
    return op_reshape(g, in[0], &s);
}

static node *reshape_scalar_case(graph *g, node **in) {
    shape s = shape_of(0);
    return op_reshape(g, in[0], &s);
}

static const op_case reshape_cases[] = {
    {1, {{2, {6, 10}}}, -2, 2, reshape_case, {MARE_F32}, {0}, {0}},
    {1, {{2, {6, 10}}}, -2, 2, reshape_copy_case, {MARE_F32}, {0}, {0}},
    {1, {{2, {6, 10}}}, -2, 2, reshape_copy_case, {MARE_F16}, {0}, {0}},
    {1, {{2, {6, 10}}}, 0, 255, reshape_copy_case, {MARE_U8}, {0}, {0}},
    {1, {{2, {6, 10}}}, -9, 9, reshape_copy_case, {MARE_I32}, {0}, {0}},
    {1, {{2, {0, 4}}}, -2, 2, reshape_empty_case, {MARE_F32}, {0}, {0}},
    {1, {{3, {1, 1, 1}}}, -2, 2, reshape_scalar_case, {MARE_F32}, {0}, {0}},
    {0},
};

const op op_desc_reshape = {
    .name = "reshape",
    .at = OP_HERE,
    .doc = "a [any shape] -> the same elements in another shape; any dtype",
    .attr_size = sizeof(reshape_attr),
    .infer = reshape_infer,
    .vjp = reshape_vjp,
    .view = reshape_view,
    .lower = reshape_lower,
    .ref = copy_ref,
    .cases = reshape_cases,
    .smooth = true,
};

node *op_reshape(graph *g, node *a, const shape *s) {
    if (!a) return NULL;
    char from[SHAPE_TEXT], to[SHAPE_TEXT];
    int64_t known = 1, count = shape_count(&a->shape);
    int open = -1;
    for (int i = 0; i < s->rank; i++) {
        if (s->dim[i] == -1 && open < 0) {
            open = i;
        } else if (s->dim[i] < 0) {
            return graph_fail(g, MARE_E_SHAPE,
                              "reshape: %s: one dimension may be -1, others not negative",
                              shape_text(s, to));
        } else if (s->dim[i] > 0 && known > INT64_MAX / s->dim[i]) {
            return graph_fail(g, MARE_E_SHAPE, "reshape: %s has too many elements",
                              shape_text(s, to));
        } else {
            known *= s->dim[i];
        }
    }
    reshape_attr at = {shape_clean(s)};
    if (open >= 0) {
        if (known == 0 || count % known != 0)
            return graph_fail(g, MARE_E_SHAPE, "reshape: %s does not fill %s",
                              shape_text(&a->shape, from), shape_text(s, to));
        at.shape.dim[open] = count / known;
    } else if (known != count) {
        return graph_fail(g, MARE_E_SHAPE, "reshape: %s has %lld elements, %s has %lld",
                          shape_text(&a->shape, from), (long long)count, shape_text(s, to),
                          (long long)known);
    }
    if (shape_equal(&at.shape, &a->shape)) return a;
    return node_new(g, &op_desc_reshape, &a, 1, &at);
}

node *op_squeeze(graph *g, node *a, int axis) {
    if (!a) return NULL;
    char text[SHAPE_TEXT];
    int x = shape_axis(&a->shape, axis);
    if (x < 0)
        return graph_fail(g, MARE_E_ARGUMENT, "squeeze: %s has no axis %d",
                          shape_text(&a->shape, text), axis);
    if (a->shape.dim[x] != 1)
        return graph_fail(g, MARE_E_SHAPE, "squeeze: axis %d of %s is not 1", axis,
                          shape_text(&a->shape, text));
    shape s = a->shape;
    for (int i = x; i + 1 < s.rank; i++)
        s.dim[i] = s.dim[i + 1];
    s.rank--;
    return op_reshape(g, a, &s);
}

node *op_unsqueeze(graph *g, node *a, int axis) {
    if (!a) return NULL;
    char text[SHAPE_TEXT];
    shape s = a->shape;
    if (s.rank == MAX_DIMS)
        return graph_fail(g, MARE_E_SHAPE, "unsqueeze: %s has %d dimensions, the most there can be",
                          shape_text(&s, text), MAX_DIMS);
    int x = axis < 0 ? axis + s.rank + 1 : axis;
    if (x < 0 || x > s.rank)
        return graph_fail(g, MARE_E_ARGUMENT, "unsqueeze: %s has no place %d for a new axis",
                          shape_text(&s, text), axis);
    for (int i = s.rank; i > x; i--)
        s.dim[i] = s.dim[i - 1];
    s.dim[x] = 1;
    s.rank++;
    return op_reshape(g, a, &s);
}

/* ---- permute ------------------------------------------------------------------------------ */

typedef struct permute_attr {
    int axis[MAX_DIMS]; /* of the input, for each axis of the result */
} permute_attr;

static bool permute_infer(graph *g, node *n) {
    (void)g;
    op_same_value(n);
    const shape *s = &n->in[0]->shape;
    n->shape = *s;
    for (int i = 0; i < s->rank; i++)
        n->shape.dim[i] = s->dim[OP_ATTR(permute_attr, n)->axis[i]];
    return true;
}

static bool permute_vjp(graph *g, node *n, node *gy, node **gx) {
    int back[MAX_DIMS] = {0};
    for (int i = 0; i < n->shape.rank; i++)
        back[OP_ATTR(permute_attr, n)->axis[i]] = i;
    return (gx[0] = op_permute(g, gy, back, n->shape.rank)) != NULL;
}

static bool permute_view(const node *n, const view *in, view *out) {
    out->offset = in->offset;
    for (int i = 0; i < n->shape.rank; i++)
        out->stride[i] = in->stride[OP_ATTR(permute_attr, n)->axis[i]];
    return true;
}

static void permute_ref(const node *n, const double *const *in, double *out) {
    const shape *s = &n->in[0]->shape;
    int64_t c[MAX_DIMS] = {0}, count = shape_count(&n->shape);
    for (int64_t i = 0; i < count; i++, op_next_coordinate(&n->shape, c)) {
        int64_t from[MAX_DIMS] = {0}, at = 0;
        for (int d = 0; d < s->rank; d++)
            from[OP_ATTR(permute_attr, n)->axis[d]] = c[d];
        for (int d = 0; d < s->rank; d++)
            at = at * s->dim[d] + from[d];
        out[i] = in[0][at];
    }
}

static node *permute_case(graph *g, node **in) {
    return op_permute(g, in[0], (const int[]){2, 0, -2}, 3);
}

static node *transpose_case(graph *g, node **in) {
    return op_transpose(g, in[0], 0, -1);
}

static const op_case permute_cases[] = {
    {1, {{3, {2, 3, 5}}}, -2, 2, permute_case, {MARE_F32}, {0}, {0}},
    {1, {{3, {2, 0, 5}}}, -2, 2, permute_case, {MARE_F32}, {0}, {0}},
    {1, {{2, {33, 65}}}, -2, 2, transpose_case, {MARE_F32}, {0}, {0}},
    {1, {{2, {7, 3}}}, -2, 2, transpose_case, {MARE_F16}, {0}, {0}},
    {1, {{2, {7, 3}}}, -2, 2, transpose_case, {MARE_BF16}, {0}, {0}},
    {1, {{2, {7, 3}}}, -128, 127, transpose_case, {MARE_I8}, {0}, {0}},
    {1, {{2, {7, 3}}}, 0, 1, transpose_case, {MARE_BOOL}, {0}, {0}},
    {0},
};

const op op_desc_permute = {
    .name = "permute",
    .at = OP_HERE,
    .doc = "a -> a with its axes in another order; any dtype",
    .attr_size = sizeof(permute_attr),
    .infer = permute_infer,
    .vjp = permute_vjp,
    .view = permute_view,
    .lower = op_lower_view,
    .ref = permute_ref,
    .cases = permute_cases,
    .smooth = true,
};

node *op_permute(graph *g, node *a, const int *axes, int n) {
    if (!a) return NULL;
    char text[SHAPE_TEXT];
    if (n != a->shape.rank)
        return graph_fail(g, MARE_E_ARGUMENT, "permute: %d axes given for %s", n,
                          shape_text(&a->shape, text));
    permute_attr at;
    memset(&at, 0, sizeof at);
    uint32_t seen = 0;
    bool same = true;
    for (int i = 0; i < n; i++) {
        int x = shape_axis(&a->shape, axes[i]);
        if (x < 0)
            return graph_fail(g, MARE_E_ARGUMENT, "permute: %s has no axis %d",
                              shape_text(&a->shape, text), axes[i]);
        if (seen >> x & 1)
            return graph_fail(g, MARE_E_ARGUMENT, "permute: axis %d of %s is given twice", axes[i],
                              shape_text(&a->shape, text));
        seen |= 1u << x;
        same = same && x == i;
        at.axis[i] = x;
    }
    return same ? a : node_new(g, &op_desc_permute, &a, 1, &at);
}

node *op_transpose(graph *g, node *a, int axis0, int axis1) {
    if (!a) return NULL;
    char text[SHAPE_TEXT];
    int x = shape_axis(&a->shape, axis0), y = shape_axis(&a->shape, axis1);
    if (x < 0 || y < 0)
        return graph_fail(g, MARE_E_ARGUMENT, "transpose: %s has no axis %d",
                          shape_text(&a->shape, text), x < 0 ? axis0 : axis1);
    int axes[MAX_DIMS];
    for (int i = 0; i < a->shape.rank; i++)
        axes[i] = i == x ? y : i == y ? x : i;
    return op_permute(g, a, axes, a->shape.rank);
}

/* ---- expand ------------------------------------------------------------------------------- */

typedef struct expand_attr {
    shape shape;
} expand_attr;

static bool expand_infer(graph *g, node *n) {
    (void)g;
    op_same_value(n);
    n->shape = OP_ATTR(expand_attr, n)->shape;
    return true;
}

static bool expand_vjp(graph *g, node *n, node *gy, node **gx) {
    return (gx[0] = op_sum_to(g, gy, &n->in[0]->shape)) != NULL;
}

static bool expand_view(const node *n, const view *in, view *out) {
    const shape *s = &n->in[0]->shape;
    int more = n->shape.rank - s->rank;
    out->offset = in->offset;
    for (int i = 0; i < n->shape.rank; i++)
        out->stride[i] = i < more || s->dim[i - more] != n->shape.dim[i] ? 0 : in->stride[i - more];
    return true;
}

static void expand_ref(const node *n, const double *const *in, double *out) {
    const shape *s = &n->in[0]->shape;
    int more = n->shape.rank - s->rank;
    int64_t c[MAX_DIMS] = {0}, count = shape_count(&n->shape);
    for (int64_t i = 0; i < count; i++, op_next_coordinate(&n->shape, c)) {
        int64_t at = 0;
        for (int d = 0; d < s->rank; d++)
            at = at * s->dim[d] + c[d + more] % s->dim[d];
        out[i] = in[0][at];
    }
}

static node *expand_case(graph *g, node **in) {
    shape s = shape_of(4, 2, 3, -1, 5);
    return op_expand(g, in[0], &s);
}

static node *expand_empty_case(graph *g, node **in) {
    shape s = shape_of(2, 0, 3);
    return op_expand(g, in[0], &s);
}

static const op_case expand_cases[] = {
    {1, {{3, {3, 4, 1}}}, -2, 2, expand_case, {MARE_F32}, {0}, {0}},
    {1, {{2, {1, 5}}}, -2, 2, expand_case, {MARE_F16}, {0}, {0}},
    {1, {{2, {1, 5}}}, -2, 2, expand_case, {MARE_BF16}, {0}, {0}},
    {1, {{2, {1, 3}}}, -2, 2, expand_empty_case, {MARE_F32}, {0}, {0}},
    {1, {{2, {1, 1}}}, 0, 255, expand_case, {MARE_U8}, {0}, {0}},
    {1, {{2, {1, 1}}}, -128, 127, expand_case, {MARE_I8}, {0}, {0}},
    {0},
};

const op op_desc_expand = {
    .name = "expand",
    .at = OP_HERE,
    .doc = "a -> a repeated along axes of size 1 and along new leading axes; any dtype",
    .attr_size = sizeof(expand_attr),
    .infer = expand_infer,
    .vjp = expand_vjp,
    .view = expand_view,
    .lower = op_lower_view,
    .ref = expand_ref,
    .cases = expand_cases,
    .smooth = true,
};

/* A dimension of -1 keeps the input's. */
node *op_expand(graph *g, node *a, const shape *s) {
    if (!a) return NULL;
    char from[SHAPE_TEXT], to[SHAPE_TEXT];
    expand_attr at = {shape_clean(s)};
    int more = s->rank - a->shape.rank;
    bool fits = more >= 0;
    for (int i = 0; fits && i < s->rank; i++) {
        int64_t have = i < more ? 1 : a->shape.dim[i - more];
        if (s->dim[i] == -1 && i >= more) at.shape.dim[i] = have;
        fits = at.shape.dim[i] >= 0 && (have == 1 || have == at.shape.dim[i]);
    }
    if (!fits)
        return graph_fail(g, MARE_E_SHAPE, "expand: %s does not broadcast to %s",
                          shape_text(&a->shape, from), shape_text(s, to));
    if (shape_equal(&at.shape, &a->shape)) return a;
    return node_new(g, &op_desc_expand, &a, 1, &at);
}

/* ---- contiguous and detach ---------------------------------------------------------------- */

static bool same_infer(graph *g, node *n) {
    (void)g;
    op_same_value(n);
    n->shape = n->in[0]->shape;
    return true;
}

static bool contiguous_vjp(graph *g, node *n, node *gy, node **gx) {
    (void)g;
    (void)n;
    gx[0] = gy;
    return true;
}

static bool contiguous_view(const node *n, const view *in, view *out) {
    *out = *in;
    return view_contiguous(&n->shape, in);
}

static node *contiguous_case(graph *g, node **in) {
    return op_contiguous(g, op_transpose(g, in[0], 0, 1));
}

static node *contiguous_ends_case(graph *g, node **in) {
    return op_contiguous(g, op_transpose(g, in[0], 1, 2));
}

static const op_case contiguous_cases[] = {
    {1, {{2, {13, 9}}}, -2, 2, contiguous_case, {MARE_F32}, {0}, {0}},
    {1, {{3, {3, 9, 5}}}, -2, 2, contiguous_case, {MARE_F16}, {0}, {0}},
    {1, {{3, {3, 9, 5}}}, 0, 255, contiguous_case, {MARE_U8}, {0}, {0}},
    {1, {{3, {3, 9, 5}}}, -2, 2, contiguous_case, {MARE_BF16}, {0}, {0}},
    {1, {{3, {3, 9, 5}}}, -128, 127, contiguous_case, {MARE_I8}, {0}, {0}},
    {1, {{2, {0, 9}}}, -2, 2, contiguous_case, {MARE_F32}, {0}, {0}},
    {1, {{2, {36, 68}}}, -2, 2, contiguous_case, {MARE_F32}, {0}, {0}},
    {1, {{3, {3, 8, 40}}}, -9, 9, contiguous_ends_case, {MARE_I32}, {0}, {0}},
    {0},
};

const op op_desc_contiguous = {
    .name = "contiguous",
    .at = OP_HERE,
    .doc = "a -> the same elements in row-major order in memory; any dtype",
    .infer = same_infer,
    .vjp = contiguous_vjp,
    .view = contiguous_view,
    .lower = op_lower_view,
    .ref = copy_ref,
    .cases = contiguous_cases,
    .smooth = true,
};

node *op_contiguous(graph *g, node *a) {
    if (!a) return NULL;
    bool already = a->store ? view_contiguous(&a->shape, &a->view) : !a->op->view;
    return already ? a : node_new(g, &op_desc_contiguous, &a, 1, NULL);
}

static bool detach_view(const node *n, const view *in, view *out) {
    (void)n;
    *out = *in;
    return true;
}

static node *detach_case(graph *g, node **in) {
    return op_detach(g, in[0]);
}

static const op_case detach_cases[] = {
    {1, {{2, {3, 5}}}, -2, 2, detach_case, {MARE_F32}, {0}, {0}},
    {0},
};

const op op_desc_detach = {
    .name = "detach",
    .no_gradient = "to have none is its purpose",
    .at = OP_HERE,
    .doc = "a -> a, through which no gradient flows; any dtype",
    .infer = same_infer,
    .view = detach_view,
    .lower = op_lower_view,
    .ref = copy_ref,
    .cases = detach_cases,
};

node *op_detach(graph *g, node *a) {
    return a && a->requires_grad ? node_new(g, &op_desc_detach, &a, 1, NULL) : a;
}
