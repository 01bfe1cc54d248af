/* What the kinds of pooling share: the geometry of windows, its checks, and what tests try. */
#ifndef MARE_OPS_POOL_H
#define MARE_OPS_POOL_H

#include "ops/internal.h"
#include "plan/lower.h"

/* Depth, height, width; an axis that is not pooled over counts as one of size 1. */
enum { AXES = 3 };

typedef struct pool_attr {
    int64_t axes;
    int64_t kernel[AXES], stride[AXES], padding[AXES], dilation[AXES];
    int64_t image[AXES], windows[AXES]; /* sizes of the input's and the result's last axes */
    int64_t adaptive, count_pad, divisor;
} pool_attr;

int64_t pool_volume(const int64_t size[AXES]);
/* The last element along an axis that a window reaches, in the image or beyond. */
int64_t pool_last(const pool_attr *a, int axis);
/* Shape rules: f32, the first input's leading axes with the windows' or the image's last ones. */
bool pool_to_windows(graph *g, node *n);
bool pool_to_image(graph *g, node *n);
/* A launch of a kernel on window.glsl, an invocation an element of out; n_in inputs are bound. */
mare_status pool_lower(lowering *l, const char *shader, const char *defines, const node *n,
                       const operand *in, int n_in, const operand *out);
/* Calls visit(arg, place) for the elements of window o in the image, in order. Returns what an
 * average divides by. */
int64_t pool_each(const pool_attr *a, int64_t o, void (*visit)(void *, int64_t), void *arg);
/* Checks a call on x and fills *a. */
bool pool_fill(graph *g, const char *call, const node *x, int axes, const pool_options *o,
               pool_attr *a);
/* A node of d over x; kind is the call's name up to "_pool". */
node *pool_node(graph *g, const op *d, const char *kind, node *x, int axes, const pool_options *o);

/* ---- Cases -------------------------------------------------------------------------------- */

enum {
    TRY_PLAIN,
    TRY_OVERLAP,
    TRY_UNEVEN,
    TRY_UNCOUNTED,
    TRY_DIVIDED,
    TRY_DILATED,
    TRY_SPARSE,
    TRY_ADAPTIVE,
    TRIES
};
extern const pool_options pool_try[TRIES];

// clang-format off
#define S3(c, w) {3, {2, c, w}}
#define S4(n, c, h, w) {4, {n, c, h, w}}
#define S5(d, h, w) {5, {1, 2, d, h, w}}
#define ONE(make, x, t) {.n_in = 1, .in = {x}, .lo = -2, .hi = 2, .build = make, .dtype = {t}}
#define TWO(make, x, y, t) \
    {.n_in = 2, .in = {x, y}, .lo = -2, .hi = 2, .build = make, .dtype = {t}}
// clang-format on

#define POOL_OP(n, takes, text, to, grad, made_of)                                                 \
    const op op_desc_##n = {                                                                       \
        .name = #n,                                                                                \
        .at = OP_HERE,                                                                             \
        .dtypes = takes,                                                                           \
        .doc = text,                                                                               \
        .attr_size = sizeof(pool_attr),                                                            \
        .infer = to,                                                                               \
        .vjp = grad,                                                                               \
        .lower = n##_lower,                                                                        \
        .ref = n##_ref,                                                                            \
        .cases = made_of,                                                                          \
        .smooth = true,                                                                            \
    }

#endif
