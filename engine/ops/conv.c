/* Convolutions: shapes, gradients, references. See conv.h. */
#include "ops/conv.h"
#include "ops/gemm.h"
#include "ops/ops.h"

#include <string.h>

/* Sizes along the axes of a tensor [., ., ...], the last one last, 1 where there is none. */
static void axes_of(const int64_t *from, int axes, int64_t missing, int64_t to[CONV_AXES]) {
    for (int i = 0; i < CONV_AXES; i++)
        to[i] = i < CONV_AXES - axes ? missing : from[i - (CONV_AXES - axes)];
}

conv conv_of(const conv_attr *a, const shape *x, const shape *w, const shape *y) {
    conv v = {.n = x->dim[0], .c = w->dim[1], .o = w->dim[0] / a->groups, .groups = a->groups};
    int axes = x->rank - 2;
    axes_of(x->dim + 2, axes, 1, v.in);
    axes_of(y->dim + 2, axes, 1, v.out);
    axes_of(w->dim + 2, axes, 1, v.kernel);
    axes_of(a->stride, axes, 1, v.stride);
    axes_of(a->padding, axes, 0, v.padding);
    axes_of(a->dilation, axes, 1, v.dilation);
    return v;
}

/* ---- References --------------------------------------------------------------------------- */

/* Where tap `tap` of the kernel at pixel `pixel` of the result lies in the image; -1 outside. */
static int64_t pixel_under(const conv *v, int64_t pixel, int64_t tap) {
    int64_t at = 0, scale = 1;
    for (int i = CONV_AXES - 1; i >= 0; i--) {
        int64_t p =
            pixel % v->out[i] * v->stride[i] - v->padding[i] + tap % v->kernel[i] * v->dilation[i];
        if (p < 0 || p >= v->in[i]) return -1;
        at += p * scale;
        scale *= v->in[i];
        pixel /= v->out[i];
        tap /= v->kernel[i];
    }
    return at;
}

static int64_t volume(const int64_t size[CONV_AXES]) {
    return size[0] * size[1] * size[2];
}

/* Goes through every product of x, w and y's gradient; the one that is null is `to`, summed into.
 */
static void conv_sum(mare_dtype t, const conv *v, const double *x, const double *w, const double *y,
                     double *to) {
    int64_t taps = volume(v->kernel), pixels = volume(v->out), rows = v->n * v->groups * v->o;
    for (int64_t i = 0; i < rows * pixels * taps; i++) {
        int64_t tap = i % taps, pixel = i / taps % pixels, row = i / taps / pixels;
        int64_t filter = row % (v->groups * v->o), group = filter / v->o;
        int64_t under = pixel_under(v, pixel, tap);
        for (int64_t c = 0; c < v->c && under >= 0; c++) {
            int64_t channel = row / (v->groups * v->o) * v->groups * v->c + group * v->c + c;
            int64_t at_x = channel * volume(v->in) + under;
            int64_t at_w = (filter * v->c + c) * taps + tap, at_y = row * pixels + pixel;
            if (!y)
                to[at_y] = gemm_ref_add(t, to[at_y], x[at_x], w[at_w]);
            else if (!x)
                to[at_x] = gemm_ref_add(t, to[at_x], y[at_y], w[at_w]);
            else
                to[at_w] = gemm_ref_add(t, to[at_w], x[at_x], y[at_y]);
        }
    }
}

static void clear(const node *n, double *out) {
    memset(out, 0, (size_t)shape_count(&n->shape) * sizeof *out);
}

static void conv_ref(const node *n, const double *const *in, double *out) {
    conv v = conv_of(OP_ATTR(conv_attr, n), &n->in[0]->shape, &n->in[1]->shape, &n->shape);
    clear(n, out);
    conv_sum(n->dtype, &v, in[0], in[1], NULL, out);
}

static void conv_input_ref(const node *n, const double *const *in, double *out) {
    conv v = conv_of(OP_ATTR(conv_attr, n), &n->shape, &n->in[1]->shape, &n->in[0]->shape);
    clear(n, out);
    conv_sum(n->dtype, &v, NULL, in[1], in[0], out);
}

static void conv_weight_ref(const node *n, const double *const *in, double *out) {
    conv v = conv_of(OP_ATTR(conv_attr, n), &n->in[0]->shape, &n->shape, &n->in[1]->shape);
    clear(n, out);
    conv_sum(n->dtype, &v, in[0], NULL, in[1], out);
}

/* ---- Shapes and gradients ----------------------------------------------------------------- */

/* The builders have checked the shapes; the sizes of the result's axes are attributes. */
static bool conv_shape(node *n, int64_t first, int64_t second) {
    n->dtype = n->in[0]->dtype;
    n->shape = n->in[0]->shape;
    n->shape.dim[0] = first;
    n->shape.dim[1] = second;
    for (int i = 2; i < n->shape.rank; i++)
        n->shape.dim[i] = OP_ATTR(conv_attr, n)->size[i - 2];
    return true;
}

static bool conv_infer(graph *g, node *n) {
    (void)g;
    return conv_shape(n, n->in[0]->shape.dim[0], n->in[1]->shape.dim[0]);
}

static bool conv_input_infer(graph *g, node *n) {
    (void)g;
    return conv_shape(n, n->in[0]->shape.dim[0],
                      n->in[1]->shape.dim[1] * OP_ATTR(conv_attr, n)->groups);
}

static bool conv_weight_infer(graph *g, node *n) {
    (void)g;
    return conv_shape(n, n->in[1]->shape.dim[1],
                      n->in[0]->shape.dim[1] / OP_ATTR(conv_attr, n)->groups);
}

/* The three, with the attributes of n: the result's axes are those of `like`. */
static node *conv_node(graph *g, const op *o, const node *n, node *a, node *b, const node *like) {
    conv_attr at = *OP_ATTR(conv_attr, n);
    memcpy(at.size, like->shape.dim + 2, (size_t)(like->shape.rank - 2) * sizeof *at.size);
    return node_new(g, o, (node *[]){a, b}, 2, &at);
}

static bool conv_vjp(graph *g, node *n, node *gy, node **gx) {
    node *x = n->in[0], *w = n->in[1];
    if (x->requires_grad && !(gx[0] = conv_node(g, &op_desc_conv_input, n, gy, w, x))) return false;
    return !w->requires_grad || (gx[1] = conv_node(g, &op_desc_conv_weight, n, x, gy, w));
}

static bool conv_input_vjp(graph *g, node *n, node *gu, node **gx) {
    node *gy = n->in[0], *w = n->in[1];
    if (gy->requires_grad && !(gx[0] = conv_node(g, &op_desc_conv, n, gu, w, gy))) return false;
    return !w->requires_grad || (gx[1] = conv_node(g, &op_desc_conv_weight, n, gu, gy, w));
}

static bool conv_weight_vjp(graph *g, node *n, node *gv, node **gx) {
    node *x = n->in[0], *gy = n->in[1];
    if (x->requires_grad && !(gx[0] = conv_node(g, &op_desc_conv_input, n, gy, gv, x)))
        return false;
    return !gy->requires_grad || (gx[1] = conv_node(g, &op_desc_conv, n, x, gv, gy));
}

/* ---- Cases -------------------------------------------------------------------------------- */

#define BUILD(name, ...)                                                                           \
    static node *name(graph *g, node **in) {                                                       \
        return op_conv(g, in[0]->shape.rank - 2, in[0], in[1], NULL,                               \
                       &(conv_options){__VA_ARGS__});                                              \
    }

BUILD(padded_case, {1, 1}, {1, 1}, {1, 1}, 1, {0})
BUILD(groups_case, {1, 2}, {2, 1}, {2, 1}, 2, {0})
BUILD(plain_case, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}, 1, {0})
BUILD(strided_case, {3, 2}, {0, 0}, {1, 1}, 1, {0})
BUILD(uneven_case, {1, 1}, {1, 0}, {1, 1}, 1, {1, 3}) /* more behind than before */
BUILD(line_case, {2}, {3}, {2}, 1, {0})
BUILD(volume_case, {1, 2, 1}, {1, 0, 2}, {1, 1, 2}, 1, {0})
BUILD(volume_groups_case, {2, 1, 2}, {1, 1, 0}, {2, 1, 1}, 2, {0})

static node *bias_case(graph *g, node **in) {
    return op_conv(g, 2, in[0], in[1], in[2], &(conv_options){{2, 1}, {0, 2}, {1, 2}, 1, {0}});
}

static node *permuted_case(graph *g, node **in) {
    node *x = op_permute(g, in[0], (const int[]){0, 3, 1, 2}, 4);
    return padded_case(g, (node *[]){x, op_flip(g, in[1], 12)});
}

/* Of sizes that no forward pass fills. */
#define BUILD_RAW(name, o, ...)                                                                    \
    static node *name(graph *g, node **in) {                                                       \
        return node_new(g, &op_desc_##o, in, 2, &(conv_attr){__VA_ARGS__});                        \
    }

BUILD_RAW(input_case, conv_input, {2, 3}, {1, 0}, {1, 2}, {7, 10}, 2)
BUILD_RAW(input_far_case, conv_input, {1, 1}, {3, 2}, {1, 1}, {1, 2}, 1) /* beyond the kernel */
BUILD_RAW(input_even_case, conv_input, {2, 2}, {1, 1}, {1, 1}, {8, 6}, 1)
BUILD_RAW(input_sparse_case, conv_input, {4, 3}, {2, 0}, {1, 1}, {13, 7}, 1) /* stride > kernel */
BUILD_RAW(input_mixed_case, conv_input, {6}, {5}, {4}, {29}, 1)
BUILD_RAW(input_odd_case, conv_input, {20}, {1}, {3}, {45}, 1) /* too many phases to walk */
BUILD_RAW(input_volume_case, conv_input, {2, 1, 2}, {1, 1, 0}, {1, 1, 1}, {5, 3, 6}, 1)
BUILD_RAW(weight_case, conv_weight, {2, 1}, {1, 1}, {1, 2}, {3, 2}, 2)
BUILD_RAW(weight_plain_case, conv_weight, {1, 1}, {0, 0}, {1, 1}, {1, 1}, 1)
BUILD_RAW(weight_volume_case, conv_weight, {1, 2, 1}, {0, 1, 1}, {1, 1, 2}, {2, 3, 2}, 2)

#define CASE(make, x, w)                                                                           \
    { .n_in = 2, .in = {x, w}, .lo = -2, .hi = 2, .build = make }
#define SHAPE5(a, b, c, d, e)                                                                      \
    {                                                                                              \
        5, {                                                                                       \
            a, b, c, d, e                                                                          \
        }                                                                                          \
    }
#define INTEGER_CASE(make, x, w, t, l, h)                                                          \
    {                                                                                              \
        .n_in = 2, .in = {x, w}, .lo = l, .hi = h, .build = make, .dtype = { t, t }                \
    }
#define BIAS_CASE(n, t)                                                                            \
    {                                                                                              \
        .n_in = 3, .in = {SHAPE4(n, 2, 7, 5), SHAPE4(3, 2, 3, 3), SHAPE1(3)}, .lo = -2, .hi = 2,   \
        .build = bias_case, .dtype = {                                                             \
            t,                                                                                     \
            t,                                                                                     \
            t                                                                                      \
        }                                                                                          \
    }

static const op_case conv_cases[] = {
    CASE(padded_case, SHAPE4(2, 3, 5, 4), SHAPE4(4, 3, 3, 3)),
    CASE(plain_case, SHAPE4(1, 1, 1, 1), SHAPE4(1, 1, 1, 1)),
    CASE(plain_case, SHAPE4(2, 3, 4, 5), SHAPE4(2, 3, 1, 1)),
    CASE(strided_case, SHAPE4(1, 2, 8, 7), SHAPE4(3, 2, 2, 3)),
    CASE(groups_case, SHAPE4(2, 4, 5, 6), SHAPE4(6, 2, 3, 2)),
    CASE(groups_case, SHAPE4(2, 2, 5, 5), SHAPE4(2, 1, 2, 3)),
    CASE(permuted_case, SHAPE4(2, 5, 4, 3), SHAPE4(2, 3, 3, 3)),
    CASE(uneven_case, SHAPE4(1, 2, 3, 4), SHAPE4(2, 2, 2, 4)),
    CASE(padded_case, SHAPE4(0, 3, 5, 4), SHAPE4(4, 3, 3, 3)),
    CASE(line_case, SHAPE3(2, 3, 9), SHAPE3(4, 3, 4)),
    CASE(plain_case, SHAPE3(1, 2, 3), SHAPE3(2, 2, 3)),
    CASE(volume_case, SHAPE5(2, 2, 3, 4, 3), SHAPE5(3, 2, 2, 3, 2)),
    CASE(volume_groups_case, SHAPE5(1, 4, 5, 3, 4), SHAPE5(2, 2, 2, 3, 2)),
    CASE(plain_case, SHAPE5(1, 2, 3, 2, 2), SHAPE5(2, 2, 1, 1, 1)),
    BIAS_CASE(2, MARE_F32),
    BIAS_CASE(1, MARE_F16),
    INTEGER_CASE(groups_case, SHAPE4(2, 4, 5, 6), SHAPE4(6, 2, 3, 2), MARE_I8, -128, 127),
    INTEGER_CASE(padded_case, SHAPE4(1, 3, 5, 4), SHAPE4(2, 3, 3, 3), MARE_U8, 0, 255),
    INTEGER_CASE(line_case, SHAPE3(2, 3, 9), SHAPE3(4, 3, 4), MARE_I32, -1e6, 1e6),
    {0},
};

static const op_case conv_input_cases[] = {
    CASE(input_case, SHAPE4(2, 4, 4, 3), SHAPE4(4, 3, 3, 2)),
    CASE(input_far_case, SHAPE4(1, 2, 5, 4), SHAPE4(2, 3, 3, 3)),
    CASE(input_even_case, SHAPE4(2, 3, 4, 3), SHAPE4(3, 2, 4, 2)),
    CASE(input_sparse_case, SHAPE4(1, 2, 3, 2), SHAPE4(2, 3, 2, 2)),
    CASE(input_mixed_case, SHAPE3(2, 2, 4), SHAPE3(2, 3, 4)),
    CASE(input_odd_case, SHAPE3(1, 2, 3), SHAPE3(2, 2, 2)),
    CASE(input_volume_case, SHAPE5(1, 2, 2, 3, 3), SHAPE5(2, 2, 3, 3, 2)),
    {0},
};

static const op_case conv_weight_cases[] = {
    CASE(weight_case, SHAPE4(2, 4, 6, 5), SHAPE4(2, 6, 3, 5)),
    CASE(weight_plain_case, SHAPE4(3, 2, 4, 5), SHAPE4(3, 3, 4, 5)),
    CASE(weight_plain_case, SHAPE4(0, 2, 4, 5), SHAPE4(0, 3, 4, 5)),
    CASE(weight_volume_case, SHAPE5(2, 2, 3, 5, 4), SHAPE5(2, 4, 2, 3, 4)),
    {0},
};

#define DESCRIPTOR(id, takes, about)                                                               \
    const op op_desc_##id = {.name = #id,                                                          \
                             .at = OP_HERE,                                                        \
                             .dtypes = takes,                                                      \
                             .doc = about,                                                         \
                             .attr_size = sizeof(conv_attr),                                       \
                             .infer = id##_infer,                                                  \
                             .vjp = id##_vjp,                                                      \
                             .lower = id##_lower,                                                  \
                             .attach = ATTACH_AFTER,                                               \
                             .ref = id##_ref,                                                      \
                             .cases = id##_cases,                                                  \
                             .smooth = true};
DESCRIPTOR(conv, ANY_DTYPE,
           "x [N, C, ...], w [O, C / groups, ...] -> y [N, O, ...] over 1 to 3 axes; f32, or i32 "
           "of integers, which wraps around")
DESCRIPTOR(conv_input, OWN_DTYPES,
           "y [N, O, ...], w [O, C / groups, ...] -> conv's gradient of x; f32")
DESCRIPTOR(conv_weight, OWN_DTYPES, "x [N, C, ...], y [N, O, ...] -> conv's gradient of w; f32")
