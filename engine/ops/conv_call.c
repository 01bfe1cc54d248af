/* Convolutions as a person asks for them: conv1d to conv3d and their transposes, arguments as in
 * PyTorch, checked. */
#include "ops/conv.h"
#include "ops/ops.h"

#include <string.h>

/* What is asked for, while it is checked. */
typedef struct request {
    graph *g;
    const char *name;
    int axes;
    bool transposed; /* w is [C, O / groups, ...], not [O, C / groups, ...] */
    node *x, *w, *bias;
    const conv_options *o;
} request;

/* Far beyond any use, and small enough that no size computed from them overflows. */
enum { MAX_OPTION = 1 << 24 };
static const double max_elements = 1e12;

static bool check_option(const request *r, const char *what, const int64_t *v, int64_t least) {
    for (int i = 0; i < r->axes; i++)
        if (v[i] < least || v[i] > MAX_OPTION)
            return graph_fail(r->g, MARE_E_ARGUMENT, "%s: %s is %lld, must be %lld to %d", r->name,
                              what, (long long)v[i], (long long)least, MAX_OPTION) != NULL;
    return true;
}

static bool check_options(const request *r) {
    const conv_options *o = r->o;
    return check_option(r, "stride", o->stride, 1) && check_option(r, "padding", o->padding, 0) &&
           check_option(r, "dilation", o->dilation, 1) &&
           check_option(r, r->transposed ? "output_padding" : "padding", o->more, 0);
}

static bool check_dtypes(const request *r) {
    bool floats = dtype_is_float(r->x->dtype);
    if (dtype_is_float(r->w->dtype) == floats &&
        (!r->bias || dtype_is_float(r->bias->dtype) == floats))
        return true;
    return graph_fail(
               r->g, MARE_E_DTYPE, "%s: takes floats or integers, not %s, %s%s%s: cast first",
               r->name, mare_dtype_name(r->x->dtype), mare_dtype_name(r->w->dtype),
               r->bias ? " and " : "", r->bias ? mare_dtype_name(r->bias->dtype) : "") != NULL;
}

static bool check_shapes(const request *r) {
    static const char *const letters[] = {"L", "H, W", "D, H, W"};
    char xt[SHAPE_TEXT], wt[SHAPE_TEXT], bt[SHAPE_TEXT];
    const shape *x = &r->x->shape, *w = &r->w->shape;
    int64_t groups = r->o->groups;
    shape_text(x, xt);
    shape_text(w, wt);
    if ((x->rank != r->axes + 2 && x->rank != r->axes + 1) || w->rank != r->axes + 2) {
        const char *s = letters[r->axes - 1];
        return graph_fail(r->g, MARE_E_SHAPE,
                          "%s: %s and %s: needs an input [N, C, %s] or [C, %s], and weights "
                          "[%s / groups, kernel]",
                          r->name, xt, wt, s, s, r->transposed ? "C, O" : "O, C") != NULL;
    }
    int64_t channels = x->dim[x->rank - r->axes - 1], first = w->dim[0];
    int64_t filters = r->transposed ? w->dim[1] * groups : first;
    int64_t wanted = r->transposed ? first : w->dim[1] * groups;
    if (groups < 1 || channels % groups != 0 || first % groups != 0)
        graph_fail(r->g, MARE_E_SHAPE,
                   "%s: %s and %s: %lld groups do not divide %lld channels and %lld filters",
                   r->name, xt, wt, (long long)groups, (long long)channels, (long long)filters);
    else if (wanted != channels)
        graph_fail(r->g, MARE_E_SHAPE,
                   "%s: %s and %s: the weights are for %lld channels, the input has %lld", r->name,
                   xt, wt, (long long)wanted, (long long)channels);
    else if (shape_count(w) == 0)
        graph_fail(r->g, MARE_E_SHAPE, "%s: the weights %s are empty", r->name, wt);
    else if (r->bias && (r->bias->shape.rank != 1 || r->bias->shape.dim[0] != filters))
        graph_fail(r->g, MARE_E_SHAPE, "%s: the bias is %s, for %lld filters it must be [%lld]",
                   r->name, shape_text(&r->bias->shape, bt), (long long)filters,
                   (long long)filters);
    else
        return true;
    return false;
}

/* The size of the result along each axis, into at->size. */
static bool find_size(const request *r, conv_attr *at) {
    const conv_options *o = r->o;
    const shape *x = &r->x->shape, *w = &r->w->shape;
    char xt[SHAPE_TEXT], wt[SHAPE_TEXT];
    double elements = (double)w->dim[r->transposed ? 1 : 0] * (double)x->dim[0];
    for (int i = 0; i < r->axes; i++) {
        int64_t in = x->dim[x->rank - r->axes + i];
        int64_t reach = o->dilation[i] * (w->dim[2 + i] - 1) + 1;
        if (r->transposed) {
            int64_t most = o->stride[i] > o->dilation[i] ? o->stride[i] : o->dilation[i];
            if (o->more[i] >= most)
                return graph_fail(r->g, MARE_E_ARGUMENT,
                                  "%s: output_padding is %lld, must be less than the stride or the "
                                  "dilation, %lld",
                                  r->name, (long long)o->more[i], (long long)most) != NULL;
            at->size[i] = (in - 1) * o->stride[i] - 2 * o->padding[i] + reach + o->more[i];
            if (in < 1 || at->size[i] < 1)
                return graph_fail(r->g, MARE_E_SHAPE,
                                  "%s: %s and %s: axis %d of the result would have %lld elements",
                                  r->name, shape_text(x, xt), shape_text(w, wt),
                                  x->rank - r->axes + i, (long long)at->size[i]) != NULL;
        } else {
            int64_t size = in + 2 * o->padding[i] + o->more[i];
            if (reach > size)
                return graph_fail(r->g, MARE_E_SHAPE,
                                  "%s: %s and %s: the kernel reaches over %lld elements of axis "
                                  "%d, the padded input has %lld",
                                  r->name, shape_text(x, xt), shape_text(w, wt), (long long)reach,
                                  x->rank - r->axes + i, (long long)size) != NULL;
            at->size[i] = (size - reach) / o->stride[i] + 1;
        }
        elements *= (double)at->size[i];
    }
    if (elements <= max_elements) return true;
    return graph_fail(r->g, MARE_E_SHAPE, "%s: %s and %s: the result would have %.3g elements",
                      r->name, shape_text(x, xt), shape_text(w, wt), elements) != NULL;
}

static node *convolve(const request *r) {
    graph *g = r->g;
    if (!r->x || !r->w || !check_options(r) || !check_dtypes(r) || !check_shapes(r)) return NULL;
    conv_attr at;
    memset(&at, 0, sizeof at);
    for (int i = 0; i < r->axes; i++) {
        at.stride[i] = r->o->stride[i];
        at.padding[i] = r->o->padding[i];
        at.dilation[i] = r->o->dilation[i];
    }
    at.groups = r->o->groups;
    if (!find_size(r, &at)) return NULL;
    bool single = r->x->shape.rank == r->axes + 1;
    node *x = single ? op_unsqueeze(g, r->x, 0) : r->x;
    node *in[] = {op_words(g, x), op_words(g, r->w)};
    if (!in[0] || !in[1]) return NULL;
    node *y = node_new(g, r->transposed ? &op_desc_conv_input : &op_desc_conv, in, 2, &at);
    bool floats = dtype_is_float(r->x->dtype);
    mare_dtype t = floats ? dtype_promote(r->x->dtype, r->w->dtype) : MARE_I32;
    if (r->bias) {
        shape s = shape_of(4, r->bias->shape.dim[0], 1, 1, 1);
        s.rank = 1 + r->axes;
        y = op_map2(g, "add", y, op_words(g, op_reshape(g, r->bias, &s)));
        t = floats ? dtype_promote(t, r->bias->dtype) : t;
    }
    return op_cast(g, single ? op_squeeze(g, y, 0) : y, t);
}

static const char *const names[2][3] = {
    {"conv1d", "conv2d", "conv3d"},
    {"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"},
};

node *op_conv(graph *g, int axes, node *x, node *w, node *bias, const conv_options *o) {
    return convolve(&(request){g, names[0][axes - 1], axes, false, x, w, bias, o});
}

node *op_conv_transpose(graph *g, int axes, node *x, node *w, node *bias, const conv_options *o) {
    return convolve(&(request){g, names[1][axes - 1], axes, true, x, w, bias, o});
}

/* ---- Calls -------------------------------------------------------------------------------- */

/* padding as integers or a word. */
static bool read_padding(graph *g, const char *name, int axes, const call_value *v, const node *w,
                         conv_options *o) {
    if (!v->text) return call_spread(g, name, "padding", v, axes, 0, 0, o->padding);
    bool same = strcmp(v->text, "same") == 0 && w->shape.rank == axes + 2;
    for (int i = 0; i < axes && same; i++) {
        if (o->stride[i] != 1)
            return graph_fail(g, MARE_E_ARGUMENT, "%s: padding \"same\" needs stride 1, not %lld",
                              name, (long long)o->stride[i]) != NULL;
        int64_t total = o->dilation[i] * (w->shape.dim[2 + i] - 1);
        o->padding[i] = total / 2;
        o->more[i] = total % 2;
    }
    return true;
}

/* x with the padding of o written out in a mode other than zeros; o has none then. */
static node *write_padding(graph *g, const char *name, int axes, node *x, pad_mode mode,
                           conv_options *o) {
    int64_t before[MAX_DIMS] = {0}, after[MAX_DIMS] = {0};
    int rank = x->shape.rank;
    if (mode == PAD_CONSTANT || rank < axes) return x;
    for (int i = 0; i < axes; i++) {
        before[rank - axes + i] = o->padding[i];
        after[rank - axes + i] = o->padding[i] + o->more[i];
        o->padding[i] = o->more[i] = 0;
    }
    return op_pad_mode(g, name, x, before, after, mode, 0);
}

static bool call_conv(graph *g, int axes, const call_value *v, node **out) {
    const char *name = names[0][axes - 1];
    conv_options o = {.groups = v[6].integer};
    if (!call_spread(g, name, "stride", &v[3], axes, 1, 1, o.stride) ||
        !call_spread(g, name, "dilation", &v[5], axes, 1, 1, o.dilation) ||
        !read_padding(g, name, axes, &v[4], v[1].tensor, &o))
        return false;
    node *x = write_padding(g, name, axes, v[0].tensor, (pad_mode)v[7].integer, &o);
    return (out[0] = op_conv(g, axes, x, v[1].tensor, v[2].tensor, &o)) != NULL;
}

static bool call_conv_transpose(graph *g, int axes, const call_value *v, node **out) {
    const char *name = names[1][axes - 1];
    conv_options o = {.groups = v[6].integer};
    if (!call_spread(g, name, "stride", &v[3], axes, 1, 1, o.stride) ||
        !call_spread(g, name, "padding", &v[4], axes, 0, 0, o.padding) ||
        !call_spread(g, name, "output_padding", &v[5], axes, 0, 0, o.more) ||
        !call_spread(g, name, "dilation", &v[7], axes, 1, 1, o.dilation))
        return false;
    return (out[0] = op_conv_transpose(g, axes, v[0].tensor, v[1].tensor, v[2].tensor, &o)) != NULL;
}

static const call_arg conv_args[] = {
    NEED_TENSOR("input"),
    NEED_TENSOR("weight"),
    TENSOR_OPT("bias"),
    INTEGERS_OPT("stride"),
    INTEGERS_OR_WORD("padding", "valid same"),
    INTEGERS_OPT("dilation"),
    INTEGER_OPT("groups", 1),
    CHOICE_OPT("padding_mode", "zeros reflect replicate circular"), /* the order of pad_mode */
    END_ARGS,
};
static const call_arg transpose_args[] = {
    NEED_TENSOR("input"),     NEED_TENSOR("weight"),    TENSOR_OPT("bias"),
    INTEGERS_OPT("stride"),   INTEGERS_OPT("padding"),  INTEGERS_OPT("output_padding"),
    INTEGER_OPT("groups", 1), INTEGERS_OPT("dilation"), END_ARGS,
};

#define CALLS(n)                                                                                   \
    static bool call_conv##n(graph *g, const call_value *v, node **out) {                          \
        return call_conv(g, n, v, out);                                                            \
    }                                                                                              \
    static bool call_transpose##n(graph *g, const call_value *v, node **out) {                     \
        return call_conv_transpose(g, n, v, out);                                                  \
    }
CALLS(1)
CALLS(2)
CALLS(3)

#define CONV_DOC(x, w)                                                                             \
    "input [N, C, " x "] or [C, " x "], weight [O, C / groups, " w "], bias [O]: the sum over "    \
    "channels and taps, i32 of integers. stride (1), padding (0) and dilation (1) are a number "   \
    "or one for each axis; padding may be \"valid\" (none) or \"same\" (the result has the "       \
    "input's size; stride 1). padding_mode: what stands there, see pad."
#define TRANSPOSE_DOC(n, x, w)                                                                     \
    "input [N, C, " x "] or [C, " x "], weight [C, O / groups, " w "], bias [O]: the gradient of " \
    "conv" #n "d by its input. An axis of the result has (size - 1) * stride - 2 * padding + "     \
    "dilation * (kernel - 1) + output_padding + 1 elements."

const op_call op_calls_conv[] = {
    {"conv1d", CONV_DOC("L", "k"), conv_args, NULL, call_conv1, OP_AT},
    {"conv2d", CONV_DOC("H, W", "kh, kw"), conv_args, NULL, call_conv2, OP_AT},
    {"conv3d", CONV_DOC("D, H, W", "kd, kh, kw"), conv_args, NULL, call_conv3, OP_AT},
    {"conv_transpose1d", TRANSPOSE_DOC(1, "L", "k"), transpose_args, NULL, call_transpose1, OP_AT},
    {"conv_transpose2d", TRANSPOSE_DOC(2, "H, W", "kh, kw"), transpose_args, NULL, call_transpose2,
     OP_AT},
    {"conv_transpose3d", TRANSPOSE_DOC(3, "D, H, W", "kd, kh, kw"), transpose_args, NULL,
     call_transpose3, OP_AT},
    {0},
};
