/* unfold and fold: the patches of images as the columns of matrices (im2col), and the sum of
 * patches back into images (col2im), each the gradient of the other. */
#include "ops/indexing.h"
#include "ops/ops.h"

/* The four options of both. */
typedef struct patches {
    int64_t kernel[2], dilation[2], padding[2], stride[2];
    int64_t reach[2]; /* of a patch over the image */
} patches;

static bool read_patches(graph *g, const char *call, const call_value *v, patches *p) {
    if (!call_spread(g, call, "kernel_size", &v[0], 2, 1, 1, p->kernel) ||
        !call_spread(g, call, "dilation", &v[1], 2, 1, 1, p->dilation) ||
        !call_spread(g, call, "padding", &v[2], 2, 0, 0, p->padding) ||
        !call_spread(g, call, "stride", &v[3], 2, 1, 1, p->stride))
        return false;
    for (int i = 0; i < 2; i++)
        p->reach[i] = p->dilation[i] * (p->kernel[i] - 1) + 1;
    return true;
}

/* How many patches there are along each axis of an image; false when there is none. */
static bool count_patches(graph *g, const char *call, const patches *p, const int64_t size[2],
                          int64_t count[2]) {
    for (int i = 0; i < 2; i++) {
        int64_t all = size[i] + 2 * p->padding[i];
        if (p->reach[i] > all)
            return graph_fail(g, MARE_E_SHAPE,
                              "%s: a patch reaches over %lld elements, the padded image [%lld, "
                              "%lld] has %lld",
                              call, (long long)p->reach[i], (long long)size[0], (long long)size[1],
                              (long long)all) != NULL;
        count[i] = (all - p->reach[i]) / p->stride[i] + 1;
    }
    return true;
}

/* Windows of the taps alone along an axis, as a new last axis. */
static node *taps(graph *g, node *x, int axis, const patches *p, int i) {
    node *y = op_windows(g, x, axis, p->reach[i], p->stride[i]);
    if (!y) return NULL;
    int64_t start[MAX_DIMS] = {0}, stop[MAX_DIMS], step[MAX_DIMS];
    for (int d = 0; d < y->shape.rank; d++) {
        stop[d] = INT64_MAX;
        step[d] = d == y->shape.rank - 1 ? p->dilation[i] : 1;
    }
    return op_slice(g, y, start, stop, step);
}

static bool call_unfold(graph *g, const call_value *v, node **out) {
    node *x = v[0].tensor;
    char text[SHAPE_TEXT];
    patches p;
    int64_t count[2] = {0};
    if (x->shape.rank != 3 && x->shape.rank != 4)
        return graph_fail(g, MARE_E_SHAPE, "unfold: %s: needs [N, C, H, W] or [C, H, W]",
                          shape_text(&x->shape, text)) != NULL;
    if (!read_patches(g, "unfold", &v[1], &p) ||
        !count_patches(g, "unfold", &p, x->shape.dim + x->shape.rank - 2, count))
        return false;
    bool single = x->shape.rank == 3;
    if (single && !(x = op_unsqueeze(g, x, 0))) return false;
    const int64_t around[4] = {0, 0, p.padding[0], p.padding[1]};
    node *y = taps(g, taps(g, op_pad(g, x, around, around, 0), 2, &p, 0), 3, &p, 1);
    shape s = shape_of(3, x->shape.dim[0], x->shape.dim[1] * p.kernel[0] * p.kernel[1],
                       count[0] * count[1]);
    y = op_reshape(g, op_permute(g, y, (const int[]){0, 1, 4, 5, 2, 3}, 6), &s);
    return (out[0] = single ? op_squeeze(g, y, 0) : y) != NULL;
}

/* x [N, C, h, w] with an axis of (patches, taps) summed into one of `size` elements. */
static node *sum_patches(graph *g, node *x, int axis, const patches *p, int i, int64_t count,
                         int64_t size) {
    node *place = op_window_places(g, count, p->stride[i], p->kernel[i], p->dilation[i]);
    return op_scatter_into(g, FOLD_SUM, x, place, axis, size);
}

static bool call_fold(graph *g, const call_value *v, node **out) {
    node *x = v[0].tensor;
    char text[SHAPE_TEXT];
    patches p;
    int64_t size[2], count[2] = {0};
    if (!call_spread(g, "fold", "output_size", &v[1], 2, 1, 1, size) ||
        !read_patches(g, "fold", &v[2], &p) || !count_patches(g, "fold", &p, size, count))
        return false;
    const int64_t *dim = x->shape.dim + x->shape.rank - 2;
    int64_t of_patch = p.kernel[0] * p.kernel[1];
    if ((x->shape.rank != 2 && x->shape.rank != 3) || dim[0] % of_patch != 0 ||
        dim[1] != count[0] * count[1])
        return graph_fail(g, MARE_E_SHAPE,
                          "fold: %s: needs [N, C * %lld, %lld] or [C * %lld, %lld]: elements of a "
                          "patch, patches of an image",
                          shape_text(&x->shape, text), (long long)of_patch,
                          (long long)(count[0] * count[1]), (long long)of_patch,
                          (long long)(count[0] * count[1])) != NULL;
    bool single = x->shape.rank == 2;
    int64_t n = single ? 1 : x->shape.dim[0], c = dim[0] / of_patch;
    shape apart = shape_of(6, n, c, p.kernel[0], p.kernel[1], count[0], count[1]);
    shape lists = shape_of(4, n, c, count[0] * p.kernel[0], count[1] * p.kernel[1]);
    node *y = op_reshape(g, op_words(g, x), &apart);
    y = op_reshape(g, op_permute(g, y, (const int[]){0, 1, 4, 2, 5, 3}, 6), &lists);
    int64_t high = size[0] + 2 * p.padding[0], wide = size[1] + 2 * p.padding[1];
    y = sum_patches(g, sum_patches(g, y, 2, &p, 0, count[0], high), 3, &p, 1, count[1], wide);
    const int64_t crop[4] = {0, 0, -p.padding[0], -p.padding[1]};
    y = op_pad(g, y, crop, crop, 0);
    if (single) y = op_squeeze(g, y, 0);
    return (out[0] = op_cast(g, y, x->dtype)) != NULL;
}

static const call_arg unfold_args[] = {
    NEED_TENSOR("input"),    NEED_INTEGERS("kernel_size"), INTEGERS_OPT("dilation"),
    INTEGERS_OPT("padding"), INTEGERS_OPT("stride"),       END_ARGS,
};
static const call_arg fold_args[] = {
    NEED_TENSOR("input"),
    NEED_INTEGERS("output_size"),
    NEED_INTEGERS("kernel_size"),
    INTEGERS_OPT("dilation"),
    INTEGERS_OPT("padding"),
    INTEGERS_OPT("stride"),
    END_ARGS,
};

const op_call op_calls_fold[] = {
    {"unfold",
     "The patches of images (im2col): input [N, C, H, W] or [C, H, W] -> [N, C * kh * kw, L], a "
     "column for each place of the kernel. Options are a number or {height, width}. Any dtype.",
     unfold_args, NULL, call_unfold, OP_AT},
    {"fold",
     "Patches summed into images (col2im): input [N, C * kh * kw, L] or [C * kh * kw, L] -> "
     "[N, C, H, W] of output_size {H, W}; what unfold gives, where patches overlap summed.",
     fold_args, NULL, call_fold, OP_AT},
    {0},
};
