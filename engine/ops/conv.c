/* Convolutions over images. y = conv2d(x, w) is linear in each of x and w, so its two gradients are
 * ops of the same kind, and each of the three has the other two as its gradients:
 *
 *     conv2d         x, w  -> y
 *     conv2d_input   gy, w -> gx
 *     conv2d_weight  x, gy -> gw
 *
 * All are matrix products over an image that is laid out with its channels last and its border of
 * zeros written out: a row of the product is a pixel (or a tap), found by strides alone. */
#include "ops/gemm.h"
#include "ops/internal.h"
#include "ops/ops.h"

#include <string.h>

typedef struct conv_attr {
    int64_t stride[2], padding[2], dilation[2], groups;
    int64_t size[2]; /* of conv2d_input: the image; of conv2d_weight: the kernel */
} conv_attr;

/* The sizes of a convolution, whichever of its three tensors is the result. */
typedef struct conv {
    int64_t n, c, o; /* images, channels, filters: of one group */
    int64_t groups;
    int64_t in[2], out[2], kernel[2], stride[2], padding[2], dilation[2];
} conv;

static conv conv_of(const conv_attr *a, const shape *x, const shape *w, const shape *y) {
    conv v = {.n = x->dim[0], .c = w->dim[1], .o = w->dim[0] / a->groups, .groups = a->groups};
    for (int i = 0; i < 2; i++) {
        v.in[i] = x->dim[2 + i];
        v.out[i] = y->dim[2 + i];
        v.kernel[i] = w->dim[2 + i];
        v.stride[i] = a->stride[i];
        v.padding[i] = a->padding[i];
        v.dilation[i] = a->dilation[i];
    }
    return v;
}

/* ---- Images with the channels last -------------------------------------------------------- */

/* An image and the strides of its axes. */
typedef struct image {
    operand o;
    int64_t n, y, x, c;
} image;

static image image_of(const operand *o) {
    const int64_t *s = o->view.stride;
    return (image){*o, s[0], s[2], s[3], s[1]};
}

enum { BLOCK = 8 }; /* channels that one invocation lays out */

/* in [N, C, h, w] as [N, size[0], size[1], C]: in's pixel p stands at start + p * step, and there
 * are zeros elsewhere. */
static mare_status lay_out(lowering *l, const operand *in, const int64_t start[2],
                           const int64_t step[2], const int64_t size[2], image *out) {
    const int64_t *dim = in->shape.dim, *stride = in->view.stride;
    /* The border may make an image of any size out of a small one. */
    if ((double)dim[0] * (double)dim[1] * (double)size[0] * (double)size[1] >= 2147483648.0)
        return error_set(l->error, MARE_E_UNSUPPORTED,
                         "%s: with its border the image is [%lld, %lld, %lld, %lld], which is more "
                         "than a device holds",
                         l->node->op->name, (long long)dim[0], (long long)dim[1],
                         (long long)size[0], (long long)size[1]);
    shape s = shape_of(4, dim[0], size[0], size[1], dim[1]);
    operand to = lower_scratch(l, MARE_F32, &s);
    *out = (image){to, to.view.stride[0], to.view.stride[1], to.view.stride[2], 1};
    bool pair = dim[1] % 2 == 0 && l->caps->has[DEV_INT64];
    launch *x = lower_launch(l, "conv/layout.comp",
                             lower_text(l, "BLOCK %d\n%s", BLOCK, pair ? "PAIR 1\n" : ""));
    if (!x || !x->kernel.defines) return lower_error(l);
    uint32_t from, first, workgroup = lower_workgroup(l);
    int64_t count = dim[0] * size[0] * size[1] * ((dim[1] + BLOCK - 1) / BLOCK);
    mare_status status = launch_bind(l, x, in, READ, &from);
    if (!status) status = launch_bind(l, x, &to, WRITE, &first);
    if (status) return status;
    launch_spec(x, workgroup);
    const int64_t words[] = {count,     dim[1],    from,      first,    size[1], size[0],
                             start[1],  start[0],  step[1],   step[0],  dim[3],  dim[2],
                             stride[3], stride[2], stride[1], stride[0]};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        launch_i32(x, (int32_t)words[i]);
    return launch_groups(l, x, ((uint64_t)count + workgroup - 1) / workgroup);
}

/* x with its padding written out, as far as the kernel reaches. One tap on an image without padding
 * finds its pixels where they are. */
static mare_status pad_image(lowering *l, const conv *v, const operand *x, image *out) {
    int64_t size[2];
    bool bare = true;
    for (int i = 0; i < 2; i++) {
        size[i] = (v->out[i] - 1) * v->stride[i] + v->dilation[i] * (v->kernel[i] - 1) + 1;
        bare = bare && v->kernel[i] == 1 && v->padding[i] == 0;
    }
    if (!bare) return lay_out(l, x, v->padding, (const int64_t[]){1, 1}, size, out);
    *out = image_of(x);
    return MARE_OK;
}

/* ---- Weights ------------------------------------------------------------------------------ */

/* w [O, C, kh, kw] as [groups, kh, kw, C, O of the group], which are the rows and columns of a
 * matrix; for the gradient of the input with C and O changing places, and the taps backwards. */
static mare_status lay_out_weight(lowering *l, const conv *v, const operand *w, bool backwards,
                                  operand *out) {
    const int64_t *s = w->view.stride;
    operand p = *w;
    p.shape = shape_of(5, v->groups, v->kernel[0], v->kernel[1], backwards ? v->o : v->c,
                       backwards ? v->c : v->o);
    int64_t strides[5] = {v->o * s[0], s[2], s[3], backwards ? s[0] : s[1],
                          backwards ? s[1] : s[0]};
    if (backwards)
        for (int i = 0; i < 2; i++) {
            p.view.offset += (v->kernel[i] - 1) * strides[1 + i];
            strides[1 + i] = -strides[1 + i];
        }
    memcpy(p.view.stride, strides, sizeof strides);
    return lower_contiguous(l, &p, out);
}

/* ---- Products ----------------------------------------------------------------------------- */

/* out [N, columns of all groups, h, w]: each pixel is the sum over taps and `channels` of a's
 * pixels under the kernel, times b. */
static mare_status correlate(lowering *l, const char *family, const conv *v, const image *a,
                             int64_t channels, const int64_t stride[2], const operand *b,
                             int64_t columns, const operand *out) {
    const int64_t *o = out->view.stride, *dim = out->shape.dim;
    int64_t k = v->kernel[0] * v->kernel[1] * channels;
    gemm g = {
        .family = family,
        .a = a->o,
        .b = *b,
        .o = *out,
        .m_size = {dim[3], dim[2], dim[0]},
        .m_a = {stride[1] * a->x, stride[0] * a->y, a->n},
        .m_o = {o[3], o[2], o[0]},
        .k_size = {channels, v->kernel[1], v->kernel[0]},
        .k_a = {a->c, v->dilation[1] * a->x, v->dilation[0] * a->y},
        .k_b = {columns, channels * columns, v->kernel[1] * channels * columns},
        .n = columns,
        .n_b = 1,
        .n_o = o[1],
        .batches = 1,
        .batch_size = {v->groups},
        .batch_a = {channels * a->c},
        .batch_b = {k * columns},
        .batch_o = {columns * o[1]},
    };
    return gemm_lower(l, &g);
}

/* Inputs that have no memory of their own get some. */
static mare_status real_inputs(lowering *l, const operand *in, operand real[2]) {
    mare_status status = MARE_OK;
    for (int i = 0; i < 2 && !status; i++) {
        real[i] = in[i];
        if (in[i].buffer < 0) status = lower_contiguous(l, &in[i], &real[i]);
    }
    return status;
}

static mare_status conv2d_lower(lowering *l, const node *n, const operand *in, const operand *out) {
    if (shape_count(&out->shape) == 0) return MARE_OK;
    conv v = conv_of(OP_ATTR(conv_attr, n), &in[0].shape, &in[1].shape, &out->shape);
    operand real[2], weight;
    image x;
    mare_status status = real_inputs(l, in, real);
    if (!status) status = pad_image(l, &v, &real[0], &x);
    if (!status) status = lay_out_weight(l, &v, &real[1], false, &weight);
    if (status) return status;
    return correlate(l, "conv2d/f32", &v, &x, v.c, v.stride, &weight, v.o, out);
}

static mare_status conv2d_input_lower(lowering *l, const node *n, const operand *in,
                                      const operand *out) {
    if (shape_count(&out->shape) == 0) return MARE_OK;
    conv v = conv_of(OP_ATTR(conv_attr, n), &out->shape, &in[1].shape, &in[0].shape);
    operand real[2], weight;
    image gy;
    int64_t start[2], size[2];
    for (int i = 0; i < 2; i++) {
        int64_t reach = v.dilation[i] * (v.kernel[i] - 1);
        start[i] = reach - v.padding[i];
        size[i] = v.in[i] + reach;
    }
    mare_status status = real_inputs(l, in, real);
    if (!status) status = lay_out(l, &real[0], start, v.stride, size, &gy);
    if (!status) status = lay_out_weight(l, &v, &real[1], true, &weight);
    if (status) return status;
    return correlate(l, "conv2d_input/f32", &v, &gy, v.o, (const int64_t[]){1, 1}, &weight, v.c,
                     out);
}

static mare_status conv2d_weight_lower(lowering *l, const node *n, const operand *in,
                                       const operand *out) {
    conv v = conv_of(OP_ATTR(conv_attr, n), &in[0].shape, &out->shape, &in[1].shape);
    operand real[2];
    mare_status status = real_inputs(l, in, real);
    if (status) return status;
    image x = image_of(&real[0]), gy = image_of(&real[1]);
    /* Without a pixel the sums are empty, and there is nothing to lay out. */
    if (shape_count(&in[1].shape) > 0) status = pad_image(l, &v, &real[0], &x);
    if (status) return status;
    const int64_t *o = out->view.stride;
    gemm g = {
        .family = "conv2d_weight/f32",
        .a = x.o,
        .b = gy.o,
        .o = *out,
        .m_size = {v.c, v.kernel[1], v.kernel[0]},
        .m_a = {x.c, v.dilation[1] * x.x, v.dilation[0] * x.y},
        .m_o = {o[1], o[3], o[2]},
        .k_size = {v.out[1], v.out[0], v.n},
        .k_a = {v.stride[1] * x.x, v.stride[0] * x.y, x.n},
        .k_b = {gy.x, gy.y, gy.n},
        .n = v.o,
        .n_b = gy.c,
        .n_o = o[0],
        .batches = 1,
        .batch_size = {v.groups},
        .batch_a = {v.c * x.c},
        .batch_b = {v.o * gy.c},
        .batch_o = {v.o * o[0]},
    };
    return gemm_lower(l, &g);
}

/* ---- References --------------------------------------------------------------------------- */

/* Goes through every product of x, w and y's gradient; the one that is null is `to`, summed into.
 */
static void conv_sum(const conv *v, const double *x, const double *w, const double *y, double *to) {
    int64_t taps = v->kernel[0] * v->kernel[1], pixels = v->out[0] * v->out[1];
    int64_t rows = v->n * v->groups * v->o;
    for (int64_t i = 0; i < rows * pixels * v->c * taps; i++) {
        int64_t tap = i % taps, c = i / taps % v->c, pixel = i / taps / v->c % pixels;
        int64_t row = i / taps / v->c / pixels, filter = row % (v->groups * v->o);
        int64_t image_index = row / (v->groups * v->o), group = filter / v->o;
        int64_t py =
            pixel / v->out[1] * v->stride[0] - v->padding[0] + tap / v->kernel[1] * v->dilation[0];
        int64_t px =
            pixel % v->out[1] * v->stride[1] - v->padding[1] + tap % v->kernel[1] * v->dilation[1];
        if (py < 0 || py >= v->in[0] || px < 0 || px >= v->in[1]) continue;
        int64_t channel = group * v->c + c;
        int64_t at_x = ((image_index * v->groups * v->c + channel) * v->in[0] + py) * v->in[1] + px;
        int64_t at_w = (filter * v->c + c) * taps + tap, at_y = row * pixels + pixel;
        if (!y)
            to[at_y] += x[at_x] * w[at_w];
        else if (!x)
            to[at_x] += y[at_y] * w[at_w];
        else
            to[at_w] += x[at_x] * y[at_y];
    }
}

static void clear(const node *n, double *out) {
    memset(out, 0, (size_t)shape_count(&n->shape) * sizeof *out);
}

static void conv2d_ref(const node *n, const double *const *in, double *out) {
    conv v = conv_of(OP_ATTR(conv_attr, n), &n->in[0]->shape, &n->in[1]->shape, &n->shape);
    clear(n, out);
    conv_sum(&v, in[0], in[1], NULL, out);
}

static void conv2d_input_ref(const node *n, const double *const *in, double *out) {
    conv v = conv_of(OP_ATTR(conv_attr, n), &n->shape, &n->in[1]->shape, &n->in[0]->shape);
    clear(n, out);
    conv_sum(&v, NULL, in[1], in[0], out);
}

static void conv2d_weight_ref(const node *n, const double *const *in, double *out) {
    conv v = conv_of(OP_ATTR(conv_attr, n), &n->in[0]->shape, &n->shape, &n->in[1]->shape);
    clear(n, out);
    conv_sum(&v, in[0], NULL, in[1], out);
}

/* ---- Shapes and gradients ----------------------------------------------------------------- */

static bool conv2d_infer(graph *g, node *n) {
    const conv_attr *a = OP_ATTR(conv_attr, n);
    const shape *x = &n->in[0]->shape, *w = &n->in[1]->shape;
    char xt[SHAPE_TEXT], wt[SHAPE_TEXT];
    int64_t out[2];
    for (int i = 0; i < 2; i++) {
        int64_t reach = a->dilation[i] * (w->dim[2 + i] - 1) + 1;
        int64_t size = x->dim[2 + i] + 2 * a->padding[i];
        if (reach > size)
            return graph_fail(
                       g, MARE_E_SHAPE,
                       "conv2d: %s and %s: the kernel reaches over %lld elements of axis %d, "
                       "the padded image has %lld",
                       shape_text(x, xt), shape_text(w, wt), (long long)reach, 2 + i,
                       (long long)size) != NULL;
        out[i] = (size - reach) / a->stride[i] + 1;
    }
    n->dtype = MARE_F32;
    n->shape = shape_of(4, x->dim[0], w->dim[0], out[0], out[1]);
    return true;
}

static bool conv2d_input_infer(graph *g, node *n) {
    (void)g;
    const conv_attr *a = OP_ATTR(conv_attr, n);
    n->dtype = MARE_F32;
    n->shape = shape_of(4, n->in[0]->shape.dim[0], n->in[1]->shape.dim[1] * a->groups, a->size[0],
                        a->size[1]);
    return true;
}

static bool conv2d_weight_infer(graph *g, node *n) {
    (void)g;
    const conv_attr *a = OP_ATTR(conv_attr, n);
    n->dtype = MARE_F32;
    n->shape = shape_of(4, n->in[1]->shape.dim[1], n->in[0]->shape.dim[1] / a->groups, a->size[0],
                        a->size[1]);
    return true;
}

/* The three, with the attributes of n: `like` is a tensor of the result's image or kernel size. */
static node *conv_node(graph *g, const op *o, const node *n, node *a, node *b, const node *like) {
    conv_attr at = *OP_ATTR(conv_attr, n);
    for (int i = 0; i < 2; i++)
        at.size[i] = like ? like->shape.dim[2 + i] : 0;
    return node_new(g, o, (node *[]){a, b}, 2, &at);
}

static bool conv2d_vjp(graph *g, node *n, node *gy, node **gx) {
    node *x = n->in[0], *w = n->in[1];
    if (x->requires_grad && !(gx[0] = conv_node(g, &op_desc_conv2d_input, n, gy, w, x)))
        return false;
    return !w->requires_grad || (gx[1] = conv_node(g, &op_desc_conv2d_weight, n, x, gy, w));
}

static bool conv2d_input_vjp(graph *g, node *n, node *gu, node **gx) {
    node *gy = n->in[0], *w = n->in[1];
    if (gy->requires_grad && !(gx[0] = conv_node(g, &op_desc_conv2d, n, gu, w, NULL))) return false;
    return !w->requires_grad || (gx[1] = conv_node(g, &op_desc_conv2d_weight, n, gu, gy, w));
}

static bool conv2d_weight_vjp(graph *g, node *n, node *gv, node **gx) {
    node *x = n->in[0], *gy = n->in[1];
    if (x->requires_grad && !(gx[0] = conv_node(g, &op_desc_conv2d_input, n, gy, gv, x)))
        return false;
    return !gy->requires_grad || (gx[1] = conv_node(g, &op_desc_conv2d, n, x, gv, NULL));
}

/* ---- Cases -------------------------------------------------------------------------------- */

static node *conv_case(graph *g, node **in) {
    return op_conv2d(g, in[0], in[1], NULL, &(conv_options){{1, 1}, {1, 1}, {1, 1}, 1});
}

static node *conv_bias_case(graph *g, node **in) {
    return op_conv2d(g, in[0], in[1], in[2], &(conv_options){{2, 1}, {0, 2}, {1, 2}, 1});
}

static node *conv_groups_case(graph *g, node **in) {
    return op_conv2d(g, in[0], in[1], NULL, &(conv_options){{1, 2}, {2, 1}, {2, 1}, 2});
}

static node *conv_plain_case(graph *g, node **in) {
    return op_conv2d(g, in[0], in[1], NULL, &(conv_options){{1, 1}, {0, 0}, {1, 1}, 1});
}

static node *conv_strided_case(graph *g, node **in) {
    return op_conv2d(g, in[0], in[1], NULL, &(conv_options){{3, 2}, {0, 0}, {1, 1}, 1});
}

static node *conv_permuted_case(graph *g, node **in) {
    node *x = op_permute(g, in[0], (const int[]){0, 3, 1, 2}, 4);
    return conv_case(g, (node *[]){x, op_flip(g, in[1], 12)});
}

/* conv2d_input of gy [N, O, h, w] and w, for an image of a size that no forward pass fills. */
static node *conv_input_case(graph *g, node **in) {
    return node_new(g, &op_desc_conv2d_input, in, 2,
                    &(conv_attr){{2, 3}, {1, 0}, {1, 2}, 2, {7, 10}});
}

static node *conv_input_far_case(graph *g, node **in) { /* padding beyond the kernel */
    return node_new(g, &op_desc_conv2d_input, in, 2,
                    &(conv_attr){{1, 1}, {3, 2}, {1, 1}, 1, {1, 2}});
}

static node *conv_weight_case(graph *g, node **in) {
    return node_new(g, &op_desc_conv2d_weight, in, 2,
                    &(conv_attr){{2, 1}, {1, 1}, {1, 2}, 2, {3, 2}});
}

static node *conv_weight_plain_case(graph *g, node **in) {
    return node_new(g, &op_desc_conv2d_weight, in, 2,
                    &(conv_attr){{1, 1}, {0, 0}, {1, 1}, 1, {1, 1}});
}

static const op_case conv2d_cases[] = {
    {2, {{4, {2, 3, 5, 4}}, {4, {4, 3, 3, 3}}}, -2, 2, conv_case, {MARE_F32}, {0}, {0}},
    {2, {{4, {1, 1, 1, 1}}, {4, {1, 1, 1, 1}}}, -2, 2, conv_plain_case, {MARE_F32}, {0}, {0}},
    {2, {{4, {2, 3, 4, 5}}, {4, {2, 3, 1, 1}}}, -2, 2, conv_plain_case, {MARE_F32}, {0}, {0}},
    {2, {{4, {1, 2, 8, 7}}, {4, {3, 2, 2, 3}}}, -2, 2, conv_strided_case, {MARE_F32}, {0}, {0}},
    {2, {{4, {2, 4, 5, 6}}, {4, {6, 2, 3, 2}}}, -2, 2, conv_groups_case, {MARE_F32}, {0}, {0}},
    {2, {{4, {2, 2, 5, 5}}, {4, {2, 1, 2, 3}}}, -2, 2, conv_groups_case, {MARE_F32}, {0}, {0}},
    {2, {{4, {2, 5, 4, 3}}, {4, {2, 3, 3, 3}}}, -2, 2, conv_permuted_case, {MARE_F32}, {0}, {0}},
    {3,
     {{4, {2, 2, 7, 5}}, {4, {3, 2, 3, 3}}, {1, {3}}},
     -2,
     2,
     conv_bias_case,
     {MARE_F32},
     {0},
     {0}},
    {3,
     {{4, {1, 2, 7, 5}}, {4, {3, 2, 3, 3}}, {1, {3}}},
     -2,
     2,
     conv_bias_case,
     {MARE_F16, MARE_F16, MARE_F16},
     {0},
     {0}},
    {2, {{4, {0, 3, 5, 4}}, {4, {4, 3, 3, 3}}}, -2, 2, conv_case, {MARE_F32}, {0}, {0}},
    {0},
};

static const op_case conv2d_input_cases[] = {
    {2, {{4, {2, 4, 4, 3}}, {4, {4, 3, 3, 2}}}, -2, 2, conv_input_case, {MARE_F32}, {0}, {0}},
    {2, {{4, {1, 2, 5, 4}}, {4, {2, 3, 3, 3}}}, -2, 2, conv_input_far_case, {MARE_F32}, {0}, {0}},
    {0},
};

static const op_case conv2d_weight_cases[] = {
    {2, {{4, {2, 4, 6, 5}}, {4, {2, 6, 3, 5}}}, -2, 2, conv_weight_case, {MARE_F32}, {0}, {0}},
    {2,
     {{4, {3, 2, 4, 5}}, {4, {3, 3, 4, 5}}},
     -2,
     2,
     conv_weight_plain_case,
     {MARE_F32},
     {0},
     {0}},
    {2,
     {{4, {0, 2, 4, 5}}, {4, {0, 3, 4, 5}}},
     -2,
     2,
     conv_weight_plain_case,
     {MARE_F32},
     {0},
     {0}},
    {0},
};

const op op_desc_conv2d = {
    .name = "conv2d",
    .doc = "x [N, C, H, W], w [O, C / groups, kh, kw] -> y [N, O, oh, ow]; f32",
    .attr_size = sizeof(conv_attr),
    .infer = conv2d_infer,
    .vjp = conv2d_vjp,
    .lower = conv2d_lower,
    .ref = conv2d_ref,
    .cases = conv2d_cases,
    .smooth = true,
};

const op op_desc_conv2d_input = {
    .name = "conv2d_input",
    .doc = "gy [N, O, oh, ow], w [O, C / groups, kh, kw] -> conv2d's gradient of x; f32",
    .attr_size = sizeof(conv_attr),
    .infer = conv2d_input_infer,
    .vjp = conv2d_input_vjp,
    .lower = conv2d_input_lower,
    .ref = conv2d_input_ref,
    .cases = conv2d_input_cases,
    .smooth = true,
};

const op op_desc_conv2d_weight = {
    .name = "conv2d_weight",
    .doc = "x [N, C, H, W], gy [N, O, oh, ow] -> conv2d's gradient of w; f32",
    .attr_size = sizeof(conv_attr),
    .infer = conv2d_weight_infer,
    .vjp = conv2d_weight_vjp,
    .lower = conv2d_weight_lower,
    .ref = conv2d_weight_ref,
    .cases = conv2d_weight_cases,
    .smooth = true,
};

/* ---- The builder -------------------------------------------------------------------------- */

/* Far beyond any use, and small enough that no size computed from them overflows. */
enum { MAX_OPTION = 1 << 24 };

static bool check_option(graph *g, const char *name, const int64_t v[2], int64_t least) {
    for (int i = 0; i < 2; i++)
        if (v[i] < least || v[i] > MAX_OPTION) {
            graph_fail(g, MARE_E_ARGUMENT, "conv2d: %s is %lld, must be %lld to %d", name,
                       (long long)v[i], (long long)least, MAX_OPTION);
            return false;
        }
    return true;
}

static bool check_inputs(graph *g, const node *x, const node *w, const node *bias, int64_t groups) {
    char xt[SHAPE_TEXT], wt[SHAPE_TEXT], bt[SHAPE_TEXT];
    const shape *xs = &x->shape, *ws = &w->shape;
    shape_text(xs, xt);
    shape_text(ws, wt);
    if (!dtype_is_float(x->dtype) || !dtype_is_float(w->dtype) ||
        (bias && !dtype_is_float(bias->dtype)))
        graph_fail(g, MARE_E_DTYPE, "conv2d: works on f32 and f16, not %s, %s%s%s: cast first",
                   mare_dtype_name(x->dtype), mare_dtype_name(w->dtype), bias ? " and " : "",
                   bias ? mare_dtype_name(bias->dtype) : "");
    else if (xs->rank != 4 || ws->rank != 4)
        graph_fail(g, MARE_E_SHAPE,
                   "conv2d: %s and %s: needs an image [N, C, H, W] and weights "
                   "[O, C / groups, kh, kw]",
                   xt, wt);
    else if (groups < 1 || xs->dim[1] % groups != 0 || ws->dim[0] % groups != 0)
        graph_fail(g, MARE_E_SHAPE,
                   "conv2d: %s and %s: %lld groups do not divide %lld channels and %lld filters",
                   xt, wt, (long long)groups, (long long)xs->dim[1], (long long)ws->dim[0]);
    else if (ws->dim[1] * groups != xs->dim[1])
        graph_fail(g, MARE_E_SHAPE,
                   "conv2d: %s and %s: the weights are for %lld channels, the image has %lld", xt,
                   wt, (long long)(ws->dim[1] * groups), (long long)xs->dim[1]);
    else if (shape_count(ws) == 0)
        graph_fail(g, MARE_E_SHAPE, "conv2d: the weights %s are empty", wt);
    else if (bias && (bias->shape.rank != 1 || bias->shape.dim[0] != ws->dim[0]))
        graph_fail(g, MARE_E_SHAPE, "conv2d: the bias is %s, for %lld filters it must be [%lld]",
                   shape_text(&bias->shape, bt), (long long)ws->dim[0], (long long)ws->dim[0]);
    else
        return true;
    return false;
}

node *op_conv2d(graph *g, node *x, node *w, node *bias, const conv_options *o) {
    if (!x || !w) return NULL;
    if (!check_option(g, "stride", o->stride, 1) || !check_option(g, "padding", o->padding, 0) ||
        !check_option(g, "dilation", o->dilation, 1) || !check_inputs(g, x, w, bias, o->groups))
        return NULL;
    conv_attr at;
    memset(&at, 0, sizeof at);
    for (int i = 0; i < 2; i++) {
        at.stride[i] = o->stride[i];
        at.padding[i] = o->padding[i];
        at.dilation[i] = o->dilation[i];
    }
    at.groups = o->groups;
    mare_dtype t = dtype_promote(x->dtype, w->dtype);
    node *in[] = {op_cast(g, x, MARE_F32), op_cast(g, w, MARE_F32)};
    if (!in[0] || !in[1]) return NULL;
    node *y = node_new(g, &op_desc_conv2d, in, 2, &at);
    if (bias) {
        shape s = shape_of(3, bias->shape.dim[0], 1, 1);
        y = op_map2(g, "add", y, op_cast(g, op_reshape(g, bias, &s), MARE_F32));
        t = dtype_promote(t, bias->dtype);
    }
    return op_cast(g, y, t);
}
