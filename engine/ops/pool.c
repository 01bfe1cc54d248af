/* Pooling in windows over the last one, two or three axes. Gradients gather: an element of the
 * input looks at the windows that hold it, so that nothing is written twice and results do not
 * depend on order. Maxima are in max_pool.c. */
#include "ops/pool.h"

#include <stdio.h>
#include <string.h>

int64_t pool_volume(const int64_t size[AXES]) {
    return size[0] * size[1] * size[2];
}

/* x's leading axes with the last ones given. */
static shape planes(const shape *x, const pool_attr *a, const int64_t size[AXES]) {
    shape s = *x;
    for (int i = 0; i < (int)a->axes; i++)
        s.dim[s.rank - 1 - i] = size[AXES - 1 - i];
    return s;
}

bool pool_to_windows(graph *g, node *n) {
    (void)g;
    n->dtype = MARE_F32;
    n->shape = planes(&n->in[0]->shape, OP_ATTR(pool_attr, n), OP_ATTR(pool_attr, n)->windows);
    return true;
}

bool pool_to_image(graph *g, node *n) {
    (void)g;
    n->dtype = MARE_F32;
    n->shape = planes(&n->in[0]->shape, OP_ATTR(pool_attr, n), OP_ATTR(pool_attr, n)->image);
    return true;
}

int64_t pool_last(const pool_attr *a, int i) {
    if (a->adaptive) return a->image[i] - 1;
    return (a->windows[i] - 1) * a->stride[i] - a->padding[i] + (a->kernel[i] - 1) * a->dilation[i];
}

/* Does a window reach past the image? */
static bool padded(const pool_attr *a) {
    for (int i = 0; i < AXES; i++)
        if (a->padding[i] > 0 || pool_last(a, i) >= a->image[i]) return true;
    return false;
}

/* A launch of a kernel on window.glsl, an invocation an element of out; n_in inputs are bound. */
mare_status pool_lower(lowering *l, const char *shader, const char *defines, const node *n,
                       const operand *in, int n_in, const operand *out) {
    const pool_attr *a = OP_ATTR(pool_attr, n);
    uint64_t count = (uint64_t)shape_count(&n->shape);
    if (count == 0) return MARE_OK;
    operand src[2];
    mare_status s = MARE_OK;
    for (int i = 0; i < n_in && !s; i++)
        s = lower_contiguous(l, &in[i], &src[i]);
    if (s) return s;
    launch *k = lower_launch(l, shader,
                             lower_text(l, "ADAPTIVE %d\nDEEP %d\nPADDED %d\n%s", a->adaptive != 0,
                                        a->axes == 3, padded(a), defines));
    if (!k) return lower_error(l);
    uint32_t wg = lower_workgroup(l), first;
    launch_spec(k, wg);
    const int64_t *const sizes[] = {a->kernel, a->stride, a->padding, a->dilation};
    for (int i = 0; i < 4 * AXES; i++)
        launch_spec(k, (uint32_t)sizes[i / AXES][i % AXES]);
    launch_spec(k, (uint32_t)a->count_pad);
    launch_spec(k, (uint32_t)a->divisor);
    for (int i = 0; i < n_in && !s; i++)
        s = launch_bind(l, k, &src[i], READ, &first);
    if (!s) s = launch_bind(l, k, out, WRITE, &first);
    if (s) return s;
    launch_u32(k, (uint32_t)count);
    for (int i = 0; i < AXES; i++)
        launch_i32(k, (int32_t)a->image[i]);
    for (int i = 0; i < AXES; i++)
        launch_i32(k, (int32_t)a->windows[i]);
    launch_u32(k, 0);
    for (int i = 0; i < AXES; i++) {
        launch_divisor(k, (uint32_t)a->image[i]);
        launch_divisor(k, (uint32_t)a->windows[i]);
    }
    return launch_groups(l, k, (count + wg - 1) / wg);
}

/* Where a window begins along an axis, and how many elements it has there. */
static int64_t begin_ref(const pool_attr *a, int axis, int64_t o) {
    if (a->adaptive) return o * a->image[axis] / a->windows[axis];
    return o * a->stride[axis] - a->padding[axis];
}

static int64_t span_ref(const pool_attr *a, int axis, int64_t o) {
    if (!a->adaptive) return a->kernel[axis];
    int64_t n = a->windows[axis], end = ((o + 1) * a->image[axis] + n - 1) / n;
    return end - begin_ref(a, axis, o);
}

/* In a window, depth first, then height, then width. */
int64_t pool_each(const pool_attr *a, int64_t o, void (*visit)(void *, int64_t), void *arg) {
    int64_t at[AXES] = {o / a->windows[2] / a->windows[1], o / a->windows[2] % a->windows[1],
                        o % a->windows[2]};
    int64_t span[AXES], counted = 0;
    for (int i = 0; i < AXES; i++)
        span[i] = span_ref(a, i, at[i]);
    for (int64_t k = 0; k < pool_volume(span); k++) {
        int64_t c[AXES] = {k / span[2] / span[1], k / span[2] % span[1], k % span[2]}, place = 0;
        bool in = true, counts = true;
        for (int i = 0; i < AXES; i++) {
            int64_t p = begin_ref(a, i, at[i]) + c[i] * a->dilation[i];
            in = in && p >= 0 && p < a->image[i];
            counts = counts && p < a->image[i] + a->padding[i];
            place = place * a->image[i] + p;
        }
        counted += in || (a->count_pad && counts);
        if (in) visit(arg, place);
    }
    return a->divisor ? a->divisor : counted;
}

/* ---- average ------------------------------------------------------------------------------ */

static mare_status avg_pool_lower(lowering *l, const node *n, const operand *in,
                                  const operand *out) {
    return pool_lower(l, "pool/avg.comp", "", n, in, 1, out);
}

static mare_status avg_pool_grad_lower(lowering *l, const node *n, const operand *in,
                                       const operand *out) {
    return pool_lower(l, "pool/avg_grad.comp", "", n, in, 1, out);
}

static bool avg_pool_vjp(graph *g, node *n, node *gy, node **gx) {
    return (gx[0] = node_new(g, &op_desc_avg_pool_grad, &gy, 1, n->attr)) != NULL;
}

static bool avg_pool_grad_vjp(graph *g, node *n, node *gy, node **gx) {
    return (gx[0] = node_new(g, &op_desc_avg_pool, &gy, 1, n->attr)) != NULL;
}

typedef struct share {
    const double *x; /* an image whose elements are added to sum; null: */
    double *image;   /* one whose elements sum is added to */
    double sum;
} share;

static void share_visit(void *arg, int64_t place) {
    share *s = arg;
    if (s->x)
        s->sum += s->x[place];
    else if (s->image)
        s->image[place] += s->sum;
}

static void avg_pool_ref(const node *n, const double *const *in, double *out) {
    const pool_attr *a = OP_ATTR(pool_attr, n);
    int64_t size = pool_volume(a->image), windows = pool_volume(a->windows);
    for (int64_t i = 0; i < shape_count(&n->shape); i++) {
        share s = {.x = in[0] + i / windows * size};
        int64_t divisor = pool_each(a, i % windows, share_visit, &s);
        out[i] = s.sum / (double)divisor;
    }
}

static void avg_pool_grad_ref(const node *n, const double *const *in, double *out) {
    const pool_attr *a = OP_ATTR(pool_attr, n);
    int64_t size = pool_volume(a->image), windows = pool_volume(a->windows);
    memset(out, 0, (size_t)shape_count(&n->shape) * sizeof *out);
    for (int64_t i = 0; i < shape_count(&n->in[0]->shape); i++) {
        share s = {0};
        s.sum = in[0][i] / (double)pool_each(a, i % windows, share_visit, &s);
        s.image = out + i / windows * size;
        pool_each(a, i % windows, share_visit, &s);
    }
}

/* ---- building ----------------------------------------------------------------------------- */

/* One axis of a pooling with windows of a size, by PyTorch's rules; axis is x's. */
static bool fill_axis(graph *g, const char *call, const node *x, int axis, const pool_options *o,
                      int i, pool_attr *a, int to) {
    char text[SHAPE_TEXT];
    int64_t n = x->shape.dim[axis], k = o->kernel[i], s = o->stride[i], p = o->padding[i];
    int64_t d = o->dilation[i];
    if (k < 1 || s < 1 || d < 1 || p < 0 || k > INT32_MAX || s > INT32_MAX || d > INT32_MAX ||
        (k - 1) * d >= INT32_MAX / 4 || s > INT32_MAX / 4)
        return graph_fail(g, MARE_E_ARGUMENT,
                          "%s: kernel %lld, stride %lld, padding %lld, dilation %lld: out of range",
                          call, (long long)k, (long long)s, (long long)p, (long long)d) != NULL;
    int64_t reach = (k - 1) * d + 1;
    if (p > reach / 2)
        return graph_fail(g, MARE_E_ARGUMENT,
                          "%s: padding %lld is more than half of a window of %lld", call,
                          (long long)p, (long long)reach) != NULL;
    int64_t room = n + 2 * p - reach;
    if (n < 1 || room < 0)
        return graph_fail(g, MARE_E_SHAPE,
                          "%s: a window of %lld does not fit axis %d of %s with padding %lld", call,
                          (long long)reach, axis, shape_text(&x->shape, text),
                          (long long)p) != NULL;
    int64_t out = (room + (o->ceil_mode ? s - 1 : 0)) / s + 1;
    if (o->ceil_mode && (out - 1) * s >= n + p) out--; /* it would begin in the padding */
    a->kernel[to] = k;
    a->stride[to] = s;
    a->padding[to] = p;
    a->dilation[to] = d;
    a->windows[to] = out;
    return true;
}

/* One axis of a pooling with a number of windows. */
static bool fill_adaptive(graph *g, const char *call, const node *x, int axis, int64_t windows,
                          pool_attr *a, int to) {
    char text[SHAPE_TEXT];
    int64_t n = x->shape.dim[axis];
    if (windows == -1) windows = n;
    if (n < 1)
        return graph_fail(g, MARE_E_SHAPE, "%s: axis %d of %s is empty", call, axis,
                          shape_text(&x->shape, text)) != NULL;
    if (windows < 1 || windows > INT32_MAX || (n + 1) * (windows + 1) > INT32_MAX)
        return graph_fail(g, MARE_E_ARGUMENT, "%s: %lld windows on axis %d of %s", call,
                          (long long)windows, axis, shape_text(&x->shape, text)) != NULL;
    a->windows[to] = windows;
    return true;
}

/* Checks the call and fills *a. */
bool pool_fill(graph *g, const char *call, const node *x, int axes, const pool_options *o,
               pool_attr *a) {
    static const char *const takes[] = {"[N, C, L] or [C, L]", "[N, C, H, W] or [C, H, W]",
                                        "[N, C, D, H, W] or [C, D, H, W]"};
    char text[SHAPE_TEXT];
    memset(a, 0, sizeof *a);
    if (!dtype_is_float(x->dtype))
        return graph_fail(g, MARE_E_DTYPE, "%s: takes floats, not %s", call,
                          mare_dtype_name(x->dtype)) != NULL;
    if (x->shape.rank != axes + 1 && x->shape.rank != axes + 2)
        return graph_fail(g, MARE_E_SHAPE, "%s: takes %s, not %s", call, takes[axes - 1],
                          shape_text(&x->shape, text)) != NULL;
    a->axes = axes;
    a->adaptive = o->adaptive[0] != 0;
    a->count_pad = o->count_include_pad;
    a->divisor = o->divisor;
    for (int to = 0; to < AXES; to++) {
        int i = to - (AXES - axes), axis = x->shape.rank - AXES + to;
        a->kernel[to] = a->stride[to] = a->dilation[to] = a->windows[to] = a->image[to] = 1;
        if (i < 0) continue;
        a->image[to] = x->shape.dim[axis];
        if (a->adaptive ? !fill_adaptive(g, call, x, axis, o->adaptive[i], a, to)
                        : !fill_axis(g, call, x, axis, o, i, a, to))
            return false;
    }
    int64_t size = 1;
    for (int i = 0; i < AXES; i++)
        if ((size *= a->image[i]) > INT32_MAX)
            return graph_fail(g, MARE_E_UNSUPPORTED, "%s: an image of %s is too large", call,
                              shape_text(&x->shape, text)) != NULL;
    return true;
}

/* "max_pool2d" and the like, for messages. */
static const char *pool_name(const char *kind, int axes, const pool_options *o, char text[32]) {
    snprintf(text, 32, "%s%s_pool%dd", o->adaptive[0] ? "adaptive_" : "", kind, axes);
    return text;
}

node *pool_node(graph *g, const op *d, const char *kind, node *x, int axes, const pool_options *o) {
    pool_attr a;
    char name[32];
    if (!x || !pool_fill(g, pool_name(kind, axes, o, name), x, axes, o, &a)) return NULL;
    node *in = op_words(g, x);
    return node_new(g, d, &in, 1, &a);
}

node *op_avg_pool(graph *g, node *x, int axes, const pool_options *o) {
    for (int i = 0; i < axes && !o->adaptive[0]; i++)
        if (o->dilation[i] > 1)
            return graph_fail(g, MARE_E_ARGUMENT, "avg_pool%dd: has no dilation", axes);
    node *y = pool_node(g, &op_desc_avg_pool, "avg", x, axes, o);
    return op_float_like(g, y, x);
}

/* ---- cases and descriptors ---------------------------------------------------------------- */

const pool_options pool_try[TRIES] = {
    [TRY_PLAIN] = {.kernel = {2, 2, 2},
                   .stride = {2, 2, 2},
                   .dilation = {1, 1, 1},
                   .count_include_pad = true},
    [TRY_OVERLAP] = {.kernel = {3, 3, 2},
                     .stride = {2, 2, 1},
                     .padding = {1, 1, 1},
                     .dilation = {1, 1, 1}},
    [TRY_UNEVEN] = {.kernel = {3, 2, 3},
                    .stride = {2, 3, 2},
                    .padding = {1, 0, 1},
                    .dilation = {1, 1, 1},
                    .ceil_mode = true,
                    .count_include_pad = true},
    [TRY_UNCOUNTED] = {.kernel = {3, 2, 3},
                       .stride = {2, 3, 2},
                       .padding = {1, 0, 1},
                       .dilation = {1, 1, 1},
                       .ceil_mode = true},
    [TRY_DIVIDED] = {.kernel = {3, 2, 3},
                     .stride = {2, 3, 2},
                     .padding = {1, 0, 1},
                     .dilation = {1, 1, 1},
                     .divisor = 5},
    [TRY_DILATED] = {.kernel = {2, 3, 2},
                     .stride = {1, 2, 2},
                     .padding = {1, 2, 1},
                     .dilation = {3, 2, 2}},
    [TRY_SPARSE] = {.kernel = {1, 2, 1},
                    .stride = {3, 3, 3},
                    .dilation = {1, 1, 1},
                    .count_include_pad = true},
    [TRY_ADAPTIVE] = {.adaptive = {3, 2, 4}},

};

/* in[0] has the input's shape; the number of axes pooled over is its rank without two. */
#define AVG_BUILD(id, which)                                                                       \
    static node *avg_##id(graph *g, node **in) {                                                   \
        return op_avg_pool(g, in[0], in[0]->shape.rank - 2, &pool_try[TRY_##which]);               \
    }                                                                                              \
    static node *avg_grad_##id(graph *g, node **in) {                                              \
        return averaged_back(g, in, &pool_try[TRY_##which]);                                       \
    }

/* in[0] has the shape of the windows, in[1] that of the image. */
static node *averaged_back(graph *g, node **in, const pool_options *o) {
    pool_attr a;
    if (!pool_fill(g, "avg_pool_grad", in[1], in[1]->shape.rank - 2, o, &a)) return NULL;
    return node_new(g, &op_desc_avg_pool_grad, in, 1, &a);
}

AVG_BUILD(plain, PLAIN)
AVG_BUILD(overlap, OVERLAP)
AVG_BUILD(uneven, UNEVEN)
AVG_BUILD(uncounted, UNCOUNTED)
AVG_BUILD(divided, DIVIDED)
AVG_BUILD(sparse, SPARSE)
AVG_BUILD(adaptive, ADAPTIVE)

static const op_case avg_cases[] = {
    ONE(avg_plain, S4(2, 3, 8, 12), MARE_F32),
    ONE(avg_plain, S4(2, 3, 7, 7), MARE_F16),
    ONE(avg_plain, S4(2, 3, 7, 7), MARE_BF16),
    ONE(avg_plain, S4(2, 0, 8, 8), MARE_F32),
    ONE(avg_overlap, S4(2, 3, 9, 8), MARE_F32),
    ONE(avg_uneven, S4(1, 3, 8, 9), MARE_F32),
    ONE(avg_uncounted, S4(1, 3, 8, 9), MARE_F32),
    ONE(avg_divided, S4(1, 3, 8, 9), MARE_F32),
    ONE(avg_sparse, S4(2, 2, 8, 9), MARE_F32),
    ONE(avg_overlap, S4(1, 1, 1, 1), MARE_F32),
    ONE(avg_adaptive, S4(2, 2, 5, 7), MARE_F32),
    ONE(avg_plain, S3(3, 7), MARE_F32),
    ONE(avg_overlap, S3(3, 300), MARE_F32),
    ONE(avg_adaptive, S3(3, 10), MARE_F16),
    ONE(avg_uneven, S5(5, 4, 6), MARE_F32),
    ONE(avg_uncounted, S5(5, 4, 6), MARE_F32),
    ONE(avg_divided, S5(5, 4, 6), MARE_F32),
    ONE(avg_adaptive, S5(5, 4, 6), MARE_F32),
    {0},
};

static const op_case avg_grad_cases[] = {
    TWO(avg_grad_plain, S4(2, 3, 4, 6), S4(2, 3, 8, 12), MARE_F32),
    TWO(avg_grad_overlap, S4(2, 3, 5, 4), S4(2, 3, 9, 8), MARE_F32),
    TWO(avg_grad_uneven, S4(1, 3, 5, 3), S4(1, 3, 8, 9), MARE_F32),
    TWO(avg_grad_uncounted, S4(1, 3, 5, 3), S4(1, 3, 8, 9), MARE_F32),
    TWO(avg_grad_divided, S4(1, 3, 4, 3), S4(1, 3, 8, 9), MARE_F32),
    TWO(avg_grad_sparse, S4(2, 2, 3, 3), S4(2, 2, 8, 9), MARE_F32),
    TWO(avg_grad_adaptive, S4(2, 2, 3, 2), S4(2, 2, 5, 7), MARE_F32),
    TWO(avg_grad_adaptive, S3(3, 3), S3(3, 10), MARE_F32),
    TWO(avg_grad_uneven, S5(3, 2, 4), S5(5, 4, 6), MARE_F32),
    TWO(avg_grad_adaptive, S5(3, 2, 4), S5(5, 4, 6), MARE_F32),
    {0},
};

POOL_OP(avg_pool, FLOAT_DTYPES, "x [..., D, H, W] or fewer axes -> the mean of each window; f32",
        pool_to_windows, avg_pool_vjp, avg_cases);
POOL_OP(avg_pool_grad, OWN_DTYPES, "gy of the windows -> gy / size of the window, added up; f32",
        pool_to_image, avg_pool_grad_vjp, avg_grad_cases);
