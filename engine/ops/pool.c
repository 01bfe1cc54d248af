/* Pooling in windows over the last two axes. Gradients gather: an element of the input looks at the
 * windows that hold it, so that nothing is written twice and results do not depend on order. */
#include "ops/internal.h"
#include "ops/ops.h"
#include "plan/lower.h"

#include <math.h>
#include <string.h>

typedef struct pool_attr {
    int64_t kernel[2], stride[2], padding[2], dilation[2];
    int64_t image[2], windows[2]; /* sizes of the input's and the result's last two axes */
    int64_t count_pad;
} pool_attr;

/* x's leading axes with the last two given. */
static shape planes(const shape *x, const int64_t last[2]) {
    shape s = *x;
    s.dim[2] = last[0];
    s.dim[3] = last[1];
    return s;
}

static bool to_windows_infer(graph *g, node *n) {
    (void)g;
    n->dtype = MARE_F32;
    n->shape = planes(&n->in[0]->shape, OP_ATTR(pool_attr, n)->windows);
    return true;
}

static bool to_image_infer(graph *g, node *n) {
    (void)g;
    n->dtype = MARE_F32;
    n->shape = planes(&n->in[0]->shape, OP_ATTR(pool_attr, n)->image);
    return true;
}

/* Does a window reach past the image? */
static bool padded(const pool_attr *a) {
    for (int i = 0; i < 2; i++) {
        int64_t last = (a->windows[i] - 1) * a->stride[i] + (a->kernel[i] - 1) * a->dilation[i];
        if (a->padding[i] > 0 || last >= a->image[i]) return true;
    }
    return false;
}

/* A launch of a kernel on window.glsl, an invocation an element of out; n_in inputs are bound. */
static mare_status pool_lower(lowering *l, const char *shader, const char *defines, const node *n,
                              const operand *in, int n_in, const operand *out) {
    const pool_attr *a = OP_ATTR(pool_attr, n);
    uint64_t count = (uint64_t)shape_count(&n->shape);
    if (count == 0) return MARE_OK;
    operand src[2];
    mare_status s = MARE_OK;
    for (int i = 0; i < n_in && !s; i++)
        s = lower_contiguous(l, &in[i], &src[i]);
    if (s) return s;
    launch *k = lower_launch(l, shader, lower_text(l, "PADDED %d\n%s", padded(a), defines));
    if (!k) return lower_error(l);
    uint32_t wg = lower_workgroup(l), first;
    launch_spec(k, wg);
    const int64_t *const pairs[] = {a->kernel, a->stride, a->padding, a->dilation};
    for (int i = 0; i < 8; i++)
        launch_spec(k, (uint32_t)pairs[i / 2][i % 2]);
    launch_spec(k, (uint32_t)a->count_pad);
    for (int i = 0; i < n_in && !s; i++)
        s = launch_bind(l, k, &src[i], READ, &first);
    if (!s) s = launch_bind(l, k, out, WRITE, &first);
    if (s) return s;
    launch_u32(k, (uint32_t)count);
    for (int i = 0; i < 2; i++)
        launch_i32(k, (int32_t)a->image[i]);
    for (int i = 0; i < 2; i++)
        launch_i32(k, (int32_t)a->windows[i]);
    return launch_groups(l, k, (count + wg - 1) / wg);
}

/* ---- max ---------------------------------------------------------------------------------- */

/* 2 x 2 windows side by side, which cover whole rows. */
static bool plain2(const pool_attr *a) {
    for (int i = 0; i < 2; i++)
        if (a->kernel[i] != 2 || a->stride[i] != 2 || a->padding[i] != 0 || a->dilation[i] != 1)
            return false;
    return a->image[1] == 2 * a->windows[1] && a->image[0] >= 2 * a->windows[0];
}

static mare_status max2_lower(lowering *l, const char *defines, const node *n, const operand *in,
                              int n_in, const operand *out) {
    const pool_attr *a = OP_ATTR(pool_attr, n);
    operand src[2];
    mare_status s = MARE_OK;
    for (int i = 0; i < n_in && !s; i++)
        s = lower_contiguous(l, &in[i], &src[i]);
    if (s) return s;
    int per = a->windows[1] % 2 == 0 ? 2 : 1;
    launch *k = lower_launch(l, "pool/max2.comp", lower_text(l, "PER %d\n%s", per, defines));
    if (!k) return lower_error(l);
    uint32_t wg = lower_workgroup(l), first;
    launch_spec(k, wg);
    for (int i = 0; i < n_in && !s; i++)
        s = launch_bind(l, k, &src[i], READ, &first);
    if (!s) s = launch_bind(l, k, out, WRITE, &first);
    if (s) return s;
    int64_t across = a->windows[1] / per;
    int64_t count = n->shape.dim[0] * n->shape.dim[1] * a->windows[0] * across;
    launch_u32(k, (uint32_t)count);
    launch_u32(k, (uint32_t)across);
    launch_u32(k, (uint32_t)a->windows[0]);
    launch_u32(k, (uint32_t)a->image[0]);
    return launch_groups(l, k, ((uint64_t)count + wg - 1) / wg);
}

static mare_status max_pool2d_lower(lowering *l, const node *n, const operand *in,
                                    const operand *out) {
    if (plain2(OP_ATTR(pool_attr, n)) && shape_count(&n->shape) > 0)
        return max2_lower(l, "", n, in, 1, out);
    return pool_lower(l, "pool/max.comp", "", n, in, 1, out);
}

static mare_status max_pool2d_take_lower(lowering *l, const node *n, const operand *in,
                                         const operand *out) {
    return pool_lower(l, "pool/max.comp", "TAKE 1\n", n, in, 2, out);
}

static mare_status max_pool2d_grad_lower(lowering *l, const node *n, const operand *in,
                                         const operand *out) {
    const pool_attr *a = OP_ATTR(pool_attr, n);
    /* The fast kernel writes what windows cover, so they must cover all. */
    if (plain2(a) && a->image[0] == 2 * a->windows[0] && shape_count(&n->shape) > 0)
        return max2_lower(l, "GRAD 1\n", n, in, 2, out);
    return pool_lower(l, "pool/max_grad.comp", "", n, in, 2, out);
}

static bool max_pool2d_vjp(graph *g, node *n, node *gy, node **gx) {
    node *in[2] = {n->in[0], gy};
    return (gx[0] = node_new(g, &op_desc_max_pool2d_grad, in, 2, n->attr)) != NULL;
}

/* Both are linear in their second input, and do not change with small changes of the first. */
static bool max_pool2d_grad_vjp(graph *g, node *n, node *gy, node **gx) {
    node *in[2] = {n->in[0], gy};
    return (gx[1] = node_new(g, &op_desc_max_pool2d_take, in, 2, n->attr)) != NULL;
}

static bool max_pool2d_take_vjp(graph *g, node *n, node *gy, node **gx) {
    node *in[2] = {n->in[0], gy};
    return (gx[1] = node_new(g, &op_desc_max_pool2d_grad, in, 2, n->attr)) != NULL;
}

/* Place of the first largest element of a window in an image, -1 when it has none. */
static int64_t largest_ref(const pool_attr *a, const double *x, int64_t oy, int64_t ox) {
    int64_t best = -1;
    for (int64_t k = 0; k < a->kernel[0] * a->kernel[1]; k++) {
        int64_t h = oy * a->stride[0] + k / a->kernel[1] * a->dilation[0] - a->padding[0];
        int64_t w = ox * a->stride[1] + k % a->kernel[1] * a->dilation[1] - a->padding[1];
        if (h < 0 || w < 0 || h >= a->image[0] || w >= a->image[1]) continue;
        int64_t at = h * a->image[1] + w;
        if (best < 0 || (!isnan(x[best]) && !(x[at] <= x[best]))) best = at;
    }
    return best;
}

typedef enum max_mode { MAX_VALUE, MAX_GRAD, MAX_TAKE } max_mode;

static void max_ref(const node *n, const double *const *in, double *out, max_mode mode) {
    const pool_attr *a = OP_ATTR(pool_attr, n);
    int64_t images = n->shape.dim[0] * n->shape.dim[1];
    int64_t size = a->image[0] * a->image[1], windows = a->windows[0] * a->windows[1];
    if (mode == MAX_GRAD) memset(out, 0, (size_t)(images * size) * sizeof *out);
    for (int64_t i = 0; i < images; i++) {
        for (int64_t o = 0; o < windows; o++) {
            int64_t p = largest_ref(a, in[0] + i * size, o / a->windows[1], o % a->windows[1]);
            int64_t at = i * windows + o;
            if (mode == MAX_GRAD && p >= 0) out[i * size + p] += in[1][at];
            if (mode == MAX_TAKE) out[at] = p >= 0 ? in[1][i * size + p] : 0;
            if (mode == MAX_VALUE) out[at] = p >= 0 ? in[0][i * size + p] : -INFINITY;
        }
    }
}

static void max_pool2d_ref(const node *n, const double *const *in, double *out) {
    max_ref(n, in, out, MAX_VALUE);
}

static void max_pool2d_grad_ref(const node *n, const double *const *in, double *out) {
    max_ref(n, in, out, MAX_GRAD);
}

static void max_pool2d_take_ref(const node *n, const double *const *in, double *out) {
    max_ref(n, in, out, MAX_TAKE);
}

/* ---- average ------------------------------------------------------------------------------ */

static mare_status avg_pool2d_lower(lowering *l, const node *n, const operand *in,
                                    const operand *out) {
    return pool_lower(l, "pool/avg.comp", "", n, in, 1, out);
}

static mare_status avg_pool2d_grad_lower(lowering *l, const node *n, const operand *in,
                                         const operand *out) {
    return pool_lower(l, "pool/avg_grad.comp", "", n, in, 1, out);
}

static bool avg_pool2d_vjp(graph *g, node *n, node *gy, node **gx) {
    return (gx[0] = node_new(g, &op_desc_avg_pool2d_grad, &gy, 1, n->attr)) != NULL;
}

static bool avg_pool2d_grad_vjp(graph *g, node *n, node *gy, node **gx) {
    return (gx[0] = node_new(g, &op_desc_avg_pool2d, &gy, 1, n->attr)) != NULL;
}

/* Adds up windows of an image, or with `back` spreads windows over it. */
static void avg_ref(const node *n, const double *in, double *out, bool back) {
    const pool_attr *a = OP_ATTR(pool_attr, n);
    int64_t images = n->shape.dim[0] * n->shape.dim[1];
    int64_t size = a->image[0] * a->image[1], windows = a->windows[0] * a->windows[1];
    memset(out, 0, (size_t)shape_count(&n->shape) * sizeof *out);
    for (int64_t i = 0; i < images * windows; i++) {
        int64_t o = i % windows, image = i / windows * size, divisor = 0;
        int64_t top = o / a->windows[1] * a->stride[0] - a->padding[0];
        int64_t left = o % a->windows[1] * a->stride[1] - a->padding[1];
        for (int pass = 0; pass < 2; pass++) {
            for (int64_t k = 0; k < a->kernel[0] * a->kernel[1]; k++) {
                int64_t h = top + k / a->kernel[1], w = left + k % a->kernel[1];
                bool inside = h >= 0 && w >= 0 && h < a->image[0] && w < a->image[1];
                bool counts = inside || (a->count_pad && h < a->image[0] + a->padding[0] &&
                                         w < a->image[1] + a->padding[1]);
                if (pass == 0) divisor += counts;
                if (pass == 0 || !inside) continue;
                int64_t at = image + h * a->image[1] + w;
                if (back)
                    out[at] += in[i] / (double)divisor;
                else
                    out[i] += in[at] / (double)divisor;
            }
        }
    }
}

static void avg_pool2d_ref(const node *n, const double *const *in, double *out) {
    avg_ref(n, in[0], out, false);
}

static void avg_pool2d_grad_ref(const node *n, const double *const *in, double *out) {
    avg_ref(n, in[0], out, true);
}

/* ---- building ----------------------------------------------------------------------------- */

/* Checks the call and fills *a; the sizes follow PyTorch's rules. */
static bool pool_fill(graph *g, const char *call, const node *x, const pool_options *o,
                      bool dilates, pool_attr *a) {
    char text[SHAPE_TEXT];
    memset(a, 0, sizeof *a);
    if (!dtype_is_float(x->dtype))
        return graph_fail(g, MARE_E_DTYPE, "%s: takes floats, not %s", call,
                          mare_dtype_name(x->dtype)) != NULL;
    if (x->shape.rank != 4)
        return graph_fail(g, MARE_E_SHAPE, "%s: takes [N, C, H, W], not %s", call,
                          shape_text(&x->shape, text)) != NULL;
    for (int i = 0; i < 2; i++) {
        int64_t n = x->shape.dim[2 + i], k = o->kernel[i], s = o->stride[i], p = o->padding[i];
        int64_t d = dilates ? o->dilation[i] : 1;
        if (k < 1 || s < 1 || d < 1 || p < 0 || k > INT32_MAX || s > INT32_MAX || d > INT32_MAX ||
            (k - 1) * d >= INT32_MAX / 4 || s > INT32_MAX / 4)
            return graph_fail(g, MARE_E_ARGUMENT,
                              "%s: kernel %lld, stride %lld, padding %lld, dilation %lld: out of "
                              "range",
                              call, (long long)k, (long long)s, (long long)p, (long long)d) != NULL;
        if (!dilates && o->dilation[i] > 1)
            return graph_fail(g, MARE_E_ARGUMENT, "%s: has no dilation", call) != NULL;
        int64_t reach = (k - 1) * d + 1;
        if (p > reach / 2)
            return graph_fail(g, MARE_E_ARGUMENT,
                              "%s: padding %lld is more than half of a window of %lld", call,
                              (long long)p, (long long)reach) != NULL;
        int64_t room = n + 2 * p - reach;
        if (n < 1 || room < 0)
            return graph_fail(g, MARE_E_SHAPE,
                              "%s: a window of %lld does not fit axis %d of %s with padding %lld",
                              call, (long long)reach, 2 + i, shape_text(&x->shape, text),
                              (long long)p) != NULL;
        int64_t out = (room + (o->ceil_mode ? s - 1 : 0)) / s + 1;
        if (o->ceil_mode && (out - 1) * s >= n + p) out--; /* it would begin in the padding */
        a->kernel[i] = k;
        a->stride[i] = s;
        a->padding[i] = p;
        a->dilation[i] = d;
        a->image[i] = n;
        a->windows[i] = out;
    }
    return true;
}

node *op_max_pool2d(graph *g, node *x, const pool_options *o) {
    pool_attr a;
    if (!x || !pool_fill(g, "max_pool2d", x, o, true, &a)) return NULL;
    node *in = op_words(g, x);
    return op_cast(g, node_new(g, &op_desc_max_pool2d, &in, 1, &a), x->dtype);
}

node *op_avg_pool2d(graph *g, node *x, const pool_options *o) {
    pool_attr a;
    if (!x || !pool_fill(g, "avg_pool2d", x, o, false, &a)) return NULL;
    a.count_pad = o->count_include_pad;
    node *in = op_words(g, x);
    return op_cast(g, node_new(g, &op_desc_avg_pool2d, &in, 1, &a), x->dtype);
}

/* ---- cases and descriptors ---------------------------------------------------------------- */

static const pool_options plain = {{2, 2}, {2, 2}, {0, 0}, {1, 1}, false, true};
static const pool_options overlap = {{3, 3}, {2, 2}, {1, 1}, {1, 1}, false, false};
static const pool_options uneven = {{3, 2}, {2, 3}, {1, 0}, {1, 1}, true, true};
static const pool_options uncounted = {{3, 2}, {2, 3}, {1, 0}, {1, 1}, true, false};
static const pool_options dilated = {{2, 3}, {1, 2}, {1, 2}, {3, 2}, false, true};
static const pool_options sparse = {{1, 2}, {3, 3}, {0, 0}, {1, 1}, false, true};

#define POOL_BUILD(options)                                                                        \
    static node *max_##options(graph *g, node **in) {                                              \
        return op_max_pool2d(g, in[0], &options);                                                  \
    }                                                                                              \
    static node *max_grad_##options(graph *g, node **in) {                                         \
        return pooled_pair(g, &op_desc_max_pool2d_grad, in, &options);                             \
    }                                                                                              \
    static node *max_take_##options(graph *g, node **in) {                                         \
        return pooled_pair(g, &op_desc_max_pool2d_take, in, &options);                             \
    }
#define AVG_BUILD(options)                                                                         \
    static node *avg_##options(graph *g, node **in) {                                              \
        return op_avg_pool2d(g, in[0], &options);                                                  \
    }                                                                                              \
    static node *avg_grad_##options(graph *g, node **in) {                                         \
        return averaged_back(g, in, &options);                                                     \
    }

/* x may come as integers, for equal values in a window. */
static node *pooled_pair(graph *g, const op *o, node **in, const pool_options *options) {
    node *pair[2] = {op_cast(g, in[0], MARE_F32), in[1]};
    pool_attr a;
    if (!pair[0] || !pool_fill(g, o->name, pair[0], options, true, &a)) return NULL;
    return node_new(g, o, pair, 2, &a);
}

/* in[0] has the shape of the windows, in[1] that of the image. */
static node *averaged_back(graph *g, node **in, const pool_options *options) {
    pool_attr a;
    if (!pool_fill(g, "avg_pool2d_grad", in[1], options, false, &a)) return NULL;
    a.count_pad = options->count_include_pad;
    return node_new(g, &op_desc_avg_pool2d_grad, in, 1, &a);
}

POOL_BUILD(plain)
POOL_BUILD(overlap)
POOL_BUILD(uneven)
POOL_BUILD(dilated)
POOL_BUILD(sparse)
AVG_BUILD(plain)
AVG_BUILD(overlap)
AVG_BUILD(uneven)
AVG_BUILD(uncounted)
AVG_BUILD(sparse)

#define ONE(make, n, c, h, w, t)                                                                   \
    {                                                                                              \
        .n_in = 1, .in = {{4, {n, c, h, w}}}, .lo = -2, .hi = 2, .build = make, .dtype = { t }     \
    }
#define TWO(make, n, c, h, w, h2, w2, t)                                                           \
    {                                                                                              \
        .n_in = 2, .in = {{4, {n, c, h, w}}, {4, {n, c, h2, w2}}}, .lo = -2, .hi = 2,              \
        .build = make, .dtype = {                                                                  \
            t                                                                                      \
        }                                                                                          \
    }

static const op_case max_cases[] = {
    ONE(max_plain, 2, 3, 8, 12, MARE_F32),  ONE(max_plain, 2, 3, 14, 14, MARE_F32),
    ONE(max_plain, 2, 3, 7, 6, MARE_F32),   ONE(max_plain, 2, 3, 6, 7, MARE_F32),
    ONE(max_plain, 2, 2, 6, 6, MARE_F16),   ONE(max_plain, 0, 2, 6, 6, MARE_F32),
    ONE(max_overlap, 2, 3, 9, 8, MARE_F32), ONE(max_uneven, 1, 3, 8, 9, MARE_F32),
    ONE(max_dilated, 2, 2, 8, 9, MARE_F32), ONE(max_sparse, 2, 2, 8, 9, MARE_F32),
    ONE(max_overlap, 1, 1, 1, 1, MARE_F32), {0},
};

static const op_case max_grad_cases[] = {
    TWO(max_grad_plain, 2, 3, 8, 12, 4, 6, MARE_F32),
    TWO(max_grad_plain, 2, 3, 14, 14, 7, 7, MARE_F32),
    TWO(max_grad_plain, 2, 3, 8, 8, 4, 4, MARE_I32),
    TWO(max_grad_plain, 2, 3, 14, 14, 7, 7, MARE_I32),
    TWO(max_grad_plain, 1, 2, 7, 6, 3, 3, MARE_F32),
    TWO(max_grad_overlap, 2, 3, 9, 8, 5, 4, MARE_F32),
    TWO(max_grad_overlap, 2, 3, 9, 8, 5, 4, MARE_I32),
    TWO(max_grad_uneven, 1, 3, 8, 9, 5, 3, MARE_F32),
    TWO(max_grad_dilated, 2, 2, 8, 9, 7, 5, MARE_F32),
    TWO(max_grad_sparse, 2, 2, 8, 9, 3, 3, MARE_F32),
    {0},
};

static const op_case max_take_cases[] = {
    TWO(max_take_plain, 2, 3, 8, 12, 8, 12, MARE_F32),
    TWO(max_take_overlap, 2, 3, 9, 8, 9, 8, MARE_F32),
    TWO(max_take_overlap, 2, 3, 9, 8, 9, 8, MARE_I32),
    TWO(max_take_uneven, 1, 3, 8, 9, 8, 9, MARE_F32),
    TWO(max_take_dilated, 2, 2, 8, 9, 8, 9, MARE_F32),
    TWO(max_take_sparse, 2, 2, 8, 9, 8, 9, MARE_F32),
    {0},
};

static const op_case avg_cases[] = {
    ONE(avg_plain, 2, 3, 8, 12, MARE_F32),
    ONE(avg_plain, 2, 3, 7, 7, MARE_F16),
    ONE(avg_plain, 2, 0, 8, 8, MARE_F32),
    ONE(avg_overlap, 2, 3, 9, 8, MARE_F32),
    ONE(avg_uneven, 1, 3, 8, 9, MARE_F32),
    ONE(avg_uncounted, 1, 3, 8, 9, MARE_F32),
    ONE(avg_sparse, 2, 2, 8, 9, MARE_F32),
    ONE(avg_overlap, 1, 1, 1, 1, MARE_F32),
    {0},
};

static const op_case avg_grad_cases[] = {
    TWO(avg_grad_plain, 2, 3, 4, 6, 8, 12, MARE_F32),
    TWO(avg_grad_overlap, 2, 3, 5, 4, 9, 8, MARE_F32),
    TWO(avg_grad_uneven, 1, 3, 5, 3, 8, 9, MARE_F32),
    TWO(avg_grad_uncounted, 1, 3, 5, 3, 8, 9, MARE_F32),
    TWO(avg_grad_sparse, 2, 2, 3, 3, 8, 9, MARE_F32),
    {0},
};

#define POOL_OP(n, text, to, made_of)                                                              \
    const op op_desc_##n = {                                                                       \
        .name = #n,                                                                                \
        .doc = text,                                                                               \
        .attr_size = sizeof(pool_attr),                                                            \
        .infer = to,                                                                               \
        .vjp = n##_vjp,                                                                            \
        .lower = n##_lower,                                                                        \
        .ref = n##_ref,                                                                            \
        .cases = made_of,                                                                          \
        .smooth = true,                                                                            \
    }

POOL_OP(max_pool2d, "x [N, C, H, W] -> the largest of each window; f32", to_windows_infer,
        max_cases);
POOL_OP(max_pool2d_grad, "x, gy of the windows -> gy at the largest of each window, added up; f32",
        to_image_infer, max_grad_cases);
POOL_OP(max_pool2d_take, "x, v like x -> v where x is the largest of each window; f32",
        to_windows_infer, max_take_cases);
POOL_OP(avg_pool2d, "x [N, C, H, W] -> the mean of each window; f32", to_windows_infer, avg_cases);
POOL_OP(avg_pool2d_grad, "gy of the windows -> gy / size of the window, added up; f32",
        to_image_infer, avg_grad_cases);
