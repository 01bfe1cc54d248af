/* Rearranging: calls made of slices, reshapes and joins. */
#include "ops/internal.h"

#include <string.h>

/* ---- Turning and moving axes -------------------------------------------------------------- */

static int64_t modulo(int64_t a, int64_t n) {
    int64_t r = a % n;
    return r < 0 ? r + n : r;
}

node *op_roll(graph *g, node *x, int axis, int64_t shift) {
    int64_t n = x ? x->shape.dim[axis] : 0;
    int64_t k = n ? modulo(shift, n) : 0;
    if (k == 0) return x;
    node *parts[2] = {op_narrow(g, x, axis, n - k, k), op_narrow(g, x, axis, 0, n - k)};
    return op_concat(g, parts, 2, axis);
}

static node *flattened(graph *g, node *x) {
    shape s = shape_of(1, -1);
    if (!x || shape_count(&x->shape) == 0) s.dim[0] = 0;
    return op_reshape(g, x, &s);
}

static bool call_roll(graph *g, const call_value *v, node **out) {
    node *x = v[0].tensor;
    if (v[2].n == 0) {
        if (v[1].n != 1)
            return graph_fail(g, MARE_E_ARGUMENT, "roll: %d shifts need as many dims", v[1].n) !=
                   NULL;
        shape s = x->shape;
        x = op_roll(g, flattened(g, x), 0, v[1].integers[0]);
        return (out[0] = op_reshape(g, x, &s)) != NULL;
    }
    if (v[1].n != v[2].n)
        return graph_fail(g, MARE_E_ARGUMENT, "roll: %d shifts for %d dims", v[1].n, v[2].n) !=
               NULL;
    for (int i = 0; i < v[2].n; i++)
        x = op_roll(g, x, (int)v[2].integers[i], v[1].integers[i]);
    return (out[0] = x) != NULL;
}

/* The axes named first, in that order, at the places named second. */
static bool call_movedim(graph *g, const call_value *v, node **out) {
    int rank = v[0].tensor->shape.rank, axes[MAX_DIMS], next = 0;
    if (v[1].n != v[2].n)
        return graph_fail(g, MARE_E_ARGUMENT, "movedim: %d dims go to %d places", v[1].n, v[2].n) !=
               NULL;
    for (int i = 0; i < rank; i++)
        axes[i] = -1;
    for (int i = 0; i < v[1].n; i++)
        axes[v[2].integers[i]] = (int)v[1].integers[i];
    for (int i = 0; i < rank; i++) {
        if (axes[i] >= 0) continue;
        while (v[1].axes >> next & 1)
            next++;
        axes[i] = next++;
    }
    return (out[0] = op_permute(g, v[0].tensor, axes, rank)) != NULL;
}

static bool call_swapaxes(graph *g, const call_value *v, node **out) {
    return (out[0] = op_transpose(g, v[0].tensor, (int)v[1].integer, (int)v[2].integer)) != NULL;
}

static bool call_rot90(graph *g, const call_value *v, node **out) {
    char s[SHAPE_TEXT];
    node *x = v[0].tensor;
    int a = 0, b = 1;
    if (v[2].given && v[2].n == 2) {
        a = (int)v[2].integers[0];
        b = (int)v[2].integers[1];
    } else if (v[2].given || x->shape.rank < 2) {
        return graph_fail(g, MARE_E_ARGUMENT, "rot90: turns two dims; %d are named of %s", v[2].n,
                          shape_text(&x->shape, s)) != NULL;
    }
    int64_t k = modulo(v[1].integer, 4);
    uint32_t flips = (k == 1 || k == 2 ? 1u << b : 0) | (k == 2 || k == 3 ? 1u << a : 0);
    x = op_flip(g, x, flips);
    return (out[0] = k % 2 ? op_transpose(g, x, a, b) : x) != NULL;
}

static bool flip_one(graph *g, const char *call, const call_value *v, int axis, node **out) {
    char s[SHAPE_TEXT];
    node *x = v[0].tensor;
    if (x->shape.rank <= axis)
        return graph_fail(g, MARE_E_SHAPE, "%s: %s has fewer than %d dims", call,
                          shape_text(&x->shape, s), axis + 1) != NULL;
    return (out[0] = op_flip(g, x, 1u << axis)) != NULL;
}

static bool call_fliplr(graph *g, const call_value *v, node **out) {
    return flip_one(g, "fliplr", v, 1, out);
}

static bool call_flipud(graph *g, const call_value *v, node **out) {
    return flip_one(g, "flipud", v, 0, out);
}

/* ---- Repeating ---------------------------------------------------------------------------- */

/* Along an axis: each element, or all of them, so many times. */
node *op_repeat(graph *g, node *x, int axis, int64_t times, bool each) {
    if (!x || times == 1) return x;
    int64_t outer = 1, inner = 1, n = x->shape.dim[axis];
    for (int i = 0; i < axis; i++)
        outer *= x->shape.dim[i];
    for (int i = axis + 1; i < x->shape.rank; i++)
        inner *= x->shape.dim[i];
    shape apart = each ? shape_of(4, outer, n, 1, inner) : shape_of(4, outer, 1, n, inner);
    shape wide = each ? shape_of(4, outer, n, times, inner) : shape_of(4, outer, times, n, inner);
    shape s = x->shape;
    s.dim[axis] *= times;
    return op_reshape(g, op_expand(g, op_reshape(g, x, &apart), &wide), &s);
}

/* One expanded view and one copy where the axes suffice. */
static bool call_tile(graph *g, const call_value *v, node **out) {
    node *x = v[0].tensor;
    char text[SHAPE_TEXT];
    int64_t times[MAX_DIMS];
    shape s = x->shape, apart = {0}, wide = {0};
    if (v[1].n > MAX_DIMS)
        return graph_fail(g, MARE_E_SHAPE, "tile: %d dims, at most %d are possible", v[1].n,
                          MAX_DIMS) != NULL;
    while (s.rank < v[1].n) { /* dims of 1 in front */
        memmove(&s.dim[1], &s.dim[0], (size_t)s.rank * sizeof s.dim[0]);
        s.dim[0] = 1;
        s.rank++;
    }
    x = op_reshape(g, x, &s);
    int axes = s.rank;
    for (int i = 0; i < s.rank; i++) {
        int k = i - (s.rank - v[1].n);
        times[i] = k < 0 ? 1 : v[1].integers[k];
        if (times[i] < 0 || (s.dim[i] && times[i] > INT32_MAX / s.dim[i]))
            return graph_fail(g, MARE_E_ARGUMENT, "tile: %lld times dim %d of %s",
                              (long long)times[i], i + 1, shape_text(&s, text)) != NULL;
        axes += times[i] != 1 && s.dim[i] != 1;
    }
    if (axes > MAX_DIMS) {
        for (int i = s.rank - 1; i >= 0; i--)
            x = op_repeat(g, x, i, times[i], false);
        return (out[0] = x) != NULL;
    }
    for (int i = 0; i < s.rank; i++) {
        if (times[i] != 1 && s.dim[i] != 1) {
            apart.dim[apart.rank++] = 1;
            wide.dim[wide.rank++] = times[i];
        }
        apart.dim[apart.rank++] = s.dim[i];
        wide.dim[wide.rank++] = s.dim[i] == 1 ? times[i] : s.dim[i];
        s.dim[i] *= times[i];
    }
    x = op_expand(g, op_reshape(g, x, &apart), &wide);
    return (out[0] = op_reshape(g, x, &s)) != NULL;
}

/* ---- Shapes ------------------------------------------------------------------------------- */

static bool call_ravel(graph *g, const call_value *v, node **out) {
    return (out[0] = flattened(g, v[0].tensor)) != NULL;
}

static bool call_unflatten(graph *g, const call_value *v, node **out) {
    const shape *s = &v[0].tensor->shape;
    char from[SHAPE_TEXT], to[SHAPE_TEXT];
    int axis = (int)v[1].integer, open = -1;
    shape parts = {0}, y = {0};
    int64_t known = 1;
    if (v[2].n < 1 || s->rank - 1 + v[2].n > MAX_DIMS)
        return graph_fail(g, MARE_E_SHAPE, "unflatten: %d sizes for dim %d of %s", v[2].n, axis + 1,
                          shape_text(s, from)) != NULL;
    for (int i = 0; i < v[2].n; i++) {
        parts.dim[parts.rank++] = v[2].integers[i];
        if (v[2].integers[i] == -1 && open < 0)
            open = i;
        else
            known *= v[2].integers[i] < 0 || v[2].integers[i] > INT32_MAX ? 0 : v[2].integers[i];
    }
    bool fits = open < 0 ? known == s->dim[axis] : known > 0 && s->dim[axis] % known == 0;
    if (!fits)
        return graph_fail(g, MARE_E_SHAPE, "unflatten: dim %d of %s is not %s", axis + 1,
                          shape_text(s, from), shape_text(&parts, to)) != NULL;
    if (open >= 0) parts.dim[open] = s->dim[axis] / known;
    for (int i = 0; i < s->rank; i++)
        for (int k = 0; k < (i == axis ? parts.rank : 1); k++)
            y.dim[y.rank++] = i == axis ? parts.dim[k] : s->dim[i];
    return (out[0] = op_reshape(g, v[0].tensor, &y)) != NULL;
}

static bool call_broadcast_to(graph *g, const call_value *v, node **out) {
    shape s = {0};
    if (v[1].n > MAX_DIMS)
        return graph_fail(g, MARE_E_SHAPE, "broadcast_to: %d dims, at most %d are possible", v[1].n,
                          MAX_DIMS) != NULL;
    for (int i = 0; i < v[1].n; i++)
        s.dim[s.rank++] = v[1].integers[i];
    return (out[0] = op_expand(g, v[0].tensor, &s)) != NULL;
}

/* At least `rank` dims. Of three, a vector is the middle one and a matrix the first two. */
static node *at_least(graph *g, node *x, int rank) {
    if (!x || x->shape.rank >= rank) return x;
    int64_t a = x->shape.dim[0], b = x->shape.dim[1];
    shape s = rank == 1            ? shape_of(1, 1)
              : rank == 2          ? shape_of(2, 1, x->shape.rank ? a : 1)
              : x->shape.rank == 0 ? shape_of(3, 1, 1, 1)
              : x->shape.rank == 1 ? shape_of(3, 1, a, 1)
                                   : shape_of(3, a, b, 1);
    return op_reshape(g, x, &s);
}

#define AT_LEAST(rank)                                                                             \
    static bool call_atleast_##rank##d(graph *g, const call_value *v, node **out) {                \
        return (out[0] = at_least(g, v[0].tensor, rank)) != NULL;                                  \
    }
AT_LEAST(1)
AT_LEAST(2)
AT_LEAST(3)

/* v->tensors are the call's own and may be changed. */
static bool join(graph *g, const call_value *v, int rank, int axis, node **out) {
    for (int i = 0; i < v->n; i++)
        if (!(v->tensors[i] = at_least(g, v->tensors[i], rank))) return false;
    return (out[0] = op_concat(g, v->tensors, v->n, axis)) != NULL;
}

static bool call_hstack(graph *g, const call_value *v, node **out) {
    return join(g, v, 1, v->tensors[0]->shape.rank > 1, out);
}

static bool call_vstack(graph *g, const call_value *v, node **out) {
    return join(g, v, 2, 0, out);
}

static bool call_dstack(graph *g, const call_value *v, node **out) {
    return join(g, v, 3, 2, out);
}

static bool call_column_stack(graph *g, const call_value *v, node **out) {
    for (int i = 0; i < v->n; i++) {
        node *x = v->tensors[i];
        if (x->shape.rank > 1) continue;
        shape s = shape_of(2, shape_count(&x->shape), 1);
        if (!(v->tensors[i] = op_reshape(g, x, &s))) return false;
    }
    return join(g, v, 2, 1, out);
}

/* ---- calls -------------------------------------------------------------------------------- */

static const call_arg one_args[] = {NEED_TENSOR("x"), END_ARGS};
static const call_arg list_args[] = {NEED_TENSORS("tensors"), END_ARGS};
static const call_arg roll_args[] = {NEED_TENSOR("x"), NEED_INTEGERS("shifts"), AXES_OPT("dims"),
                                     END_ARGS};
static const call_arg movedim_args[] = {NEED_TENSOR("x"), NEED_AXES("source"),
                                        NEED_AXES("destination"), END_ARGS};
static const call_arg swap_args[] = {NEED_TENSOR("x"), NEED_AXIS("dim0"), NEED_AXIS("dim1"),
                                     END_ARGS};
static const call_arg rot90_args[] = {NEED_TENSOR("x"), INTEGER_OPT("k", 1), AXES_OPT("dims"),
                                      END_ARGS};
static const call_arg tile_args[] = {NEED_TENSOR("x"), NEED_INTEGERS("dims"), END_ARGS};
static const call_arg unflatten_args[] = {NEED_TENSOR("x"), NEED_AXIS("dim"),
                                          NEED_INTEGERS("sizes"), END_ARGS};
static const call_arg broadcast_args[] = {NEED_TENSOR("x"), NEED_INTEGERS("size"), END_ARGS};

const op_call op_calls_arrange[] = {
    {"roll",
     "x with its elements moved on by shifts[i] along dims[i], those that fall off coming in at "
     "the other end; without dims, x is rolled as if it were flat. Any dtype.",
     roll_args, NULL, call_roll, OP_AT},
    {"movedim",
     "x with the dims of source at the places of destination, the others in their order. A view.",
     movedim_args, NULL, call_movedim, OP_AT},
    {"swapaxes", "x with two dims exchanged. A view.", swap_args, NULL, call_swapaxes, OP_AT},
    {"rot90",
     "x turned by k quarter turns in the plane of two dims, from the first towards the second. A "
     "view.",
     rot90_args, NULL, call_rot90, OP_AT},
    {"fliplr", "x [N, M, ...] with its columns in reverse order. A view.", one_args, NULL,
     call_fliplr, OP_AT},
    {"flipud", "x [N, ...] with its rows in reverse order. A view.", one_args, NULL, call_flipud,
     OP_AT},
    {"tile",
     "x repeated dims[i] times along each dim, counted from the last; more numbers than x has dims "
     "add dims in front. This is PyTorch's repeat, too, whose name is a word of Lua. Any dtype.",
     tile_args, NULL, call_tile, OP_AT},
    {"ravel", "x as one dim.", one_args, NULL, call_ravel, OP_AT},
    {"unflatten", "x with a dim cut into several sizes, one of which may be -1.", unflatten_args,
     NULL, call_unflatten, OP_AT},
    {"broadcast_to", "x stretched to a shape, as broadcasting does. A view.", broadcast_args, NULL,
     call_broadcast_to, OP_AT},
    {"atleast_1d", "x, or a scalar as [1].", one_args, NULL, call_atleast_1d, OP_AT},
    {"atleast_2d", "x, or a scalar as [1, 1], a vector as [1, N].", one_args, NULL, call_atleast_2d,
     OP_AT},
    {"atleast_3d", "x, or a scalar as [1, 1, 1], a vector as [1, N, 1], a matrix as [N, M, 1].",
     one_args, NULL, call_atleast_3d, OP_AT},
    {"hstack", "Tensors side by side: along dim 2, vectors along dim 1.", list_args, NULL,
     call_hstack, OP_AT},
    {"vstack", "Tensors one below another: along dim 1, vectors as rows.", list_args, NULL,
     call_vstack, OP_AT},
    {"dstack", "Tensors behind one another, along dim 3.", list_args, NULL, call_dstack, OP_AT},
    {"column_stack", "Vectors as columns, and matrices, side by side.", list_args, NULL,
     call_column_stack, OP_AT},
    {0},
};
