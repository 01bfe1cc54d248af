/* softmax and log_softmax along an axis as kernels; logsumexp made of reductions. */
#include "ops/internal.h"
#include "ops/loop.h"

#include <math.h>

typedef struct softmax_attr {
    uint32_t axis;
} softmax_attr;

static bool softmax_infer(graph *g, node *n) {
    (void)g;
    n->dtype = MARE_F32;
    n->shape = n->in[0]->shape;
    return true;
}

/* ---- Lowering ----------------------------------------------------------------------------- */

/* How the kernel walks the rows. */
typedef struct walk {
    loop kept; /* over what is done at once */
    bool group, four, peel, columns;
} walk;

/* Do the rows of the result begin as far from a multiple of 4 as those of the input? */
static bool in_step(const rows *r) {
    bool same = (r->in.view.offset - r->out.view.offset) % 4 == 0;
    for (int d = 0; d < r->kept.rank; d++)
        same = same && (r->kept.in[d] - r->kept.out[d]) % 4 == 0;
    return same;
}

static walk walk_of(const lowering *l, const rows *r, bool after) {
    walk w = {.kept = r->kept};
    loop *kept = &w.kept;
    int inner = kept->rank - 1;
    int64_t count = loop_count(kept);
    bool cpu = l->caps->type == DEV_CPU, row = r->in_step == 1 && r->out_step == 1;
    bool beside = inner >= 0 && kept->in[inner] == 1 && kept->out[inner] == 1;
    /* A CPU need not read rows side by side, and saves the barriers where it needs them. What a
     * group has to do for each row costs it as much as some 100 elements. */
    bool together = loop_group_free(l) ? row : !cpu && r->in_step == 1;
    int64_t least = cpu && count >= 64 ? 256 : 64;
    w.group = r->length >= least && (together || count < 256);
    /* A GPU reads neighbours at once anyhow, and needs many invocations more than wide ones. */
    if (!row && beside && !w.group && (cpu || count >= 65536) && kept->dim[inner] % 4 == 0 &&
        r->in_step % 4 == 0 && r->out_step % 4 == 0) {
        kept->dim[inner] /= 4;
        kept->in[inner] = kept->out[inner] = 4;
        w.columns = loop_fours(&r->in, kept, true) && loop_fours(&r->out, kept, false);
        if (!w.columns) *kept = r->kept;
    }
    w.four = row && r->length >= 4 && (after || in_step(r));
    w.peel = w.four && (r->length % 4 || !loop_fours(&r->in, kept, true));
    return w;
}

static mare_status emit(lowering *l, const rows *r) {
    bool whole = loop_count(&r->kept) * r->length == shape_count(&r->out.shape);
    walk w = walk_of(l, r, whole && r->out.after);
    const loop *kept = &w.kept;
    loop axis = {1, {r->length}, {r->in_step}, {r->out_step}};
    int64_t count = loop_count(kept);
    int words = (6 + 3 * kept->rank + 3) / 4 * 4;
    uint32_t in_first, out_first = 0, size = loop_alone(l, count);
    if (w.group) size = loop_group(l, w.four ? r->length / 4 : r->length);
    operand in = loop_operand(&r->in, &r->kept, &axis, true);
    operand out = loop_operand(&r->out, &r->kept, &axis, false);
    /* A program that is attached takes all rows at once. */
    if (!whole) out.after = NULL;
    bool log = l->node->op == &op_desc_log_softmax;
    bool keep = l->caps->type == DEV_CPU && !log && !out.after;
    const char *defines = lower_text(
        l, "%s%s%s%s%s%sKEPT %d\nWORDS %d\n", log ? "LOG 1\n" : "", keep ? "KEEP 1\n" : "",
        loop_group_defines(l, w.group ? size : 0), w.four ? "FOUR 1\n" : "",
        w.columns ? "COLUMNS 1\n" : "", w.peel ? "PEEL 1\n" : "", kept->rank, words / 4);
    launch *x = defines ? lower_launch(l, "softmax/softmax.comp", defines) : NULL;
    if (!x) return lower_error(l);
    mare_status s = launch_bind(l, x, &in, READ, &in_first);
    if (s == MARE_OK && !out.after)
        s = launch_bind(l, x, &out, keep ? READ_WRITE : WRITE, &out_first);
    if (s != MARE_OK) return s;
    launch_spec(x, size);
    launch_u32(x, (uint32_t)count);
    launch_u32(x, (uint32_t)r->length);
    launch_u32(x, in_first);
    launch_u32(x, out_first);
    launch_i32(x, (int32_t)r->in_step);
    launch_i32(x, (int32_t)r->out_step);
    loop_words(x, kept, true);
    while (x->n_params < words)
        launch_u32(x, 0);
    s = launch_attach(l, x, NULL, &out);
    if (s != MARE_OK) return s;
    return launch_groups(l, x, w.group ? (uint64_t)count : ((uint64_t)count + size - 1) / size);
}

static mare_status softmax_lower(lowering *l, const node *n, const operand *in,
                                 const operand *out) {
    if (shape_count(&n->shape) == 0) return MARE_OK;
    rows r = rows_along(&in[0], out, (int)OP_ATTR(softmax_attr, n)->axis);
    return rows_lower(l, &r, 0, emit);
}

/* ---- Reference ---------------------------------------------------------------------------- */

static void rows_ref(const node *n, const double *in, double *out, bool take_log) {
    int axis = (int)OP_ATTR(softmax_attr, n)->axis;
    int64_t inner = 1, length = n->shape.dim[axis], count = shape_count(&n->shape);
    for (int d = axis + 1; d < n->shape.rank; d++)
        inner *= n->shape.dim[d];
    for (int64_t i = 0; i < count; i++) {
        if (i / inner % length) continue; /* only where a row starts */
        double top = -INFINITY, sum = 0;
        for (int64_t k = 0; k < length; k++) {
            double v = in[i + k * inner];
            if (isnan(v) || v > top) top = v;
        }
        for (int64_t k = 0; k < length; k++)
            sum += exp(in[i + k * inner] - top);
        for (int64_t k = 0; k < length; k++) {
            double v = in[i + k * inner] - top;
            out[i + k * inner] = take_log ? v - log(sum) : exp(v) / sum;
        }
    }
}

static void softmax_ref(const node *n, const double *const *in, double *out) {
    rows_ref(n, in[0], out, false);
}

static void log_softmax_ref(const node *n, const double *const *in, double *out) {
    rows_ref(n, in[0], out, true);
}

/* ---- Gradients ---------------------------------------------------------------------------- */

static const char *const names[] = {"y", "g", "s"};

static bool softmax_vjp(graph *g, node *n, node *gy, node **gx) {
    uint32_t mask = 1u << OP_ATTR(softmax_attr, n)->axis;
    node *nodes[] = {n, gy, op_sum(g, op_map2(g, "mul", n, gy), mask, true)};
    gx[0] = op_expr(g, "y * (g - s)", names, nodes, 3);
    return gx[0] != NULL;
}

static bool log_softmax_vjp(graph *g, node *n, node *gy, node **gx) {
    uint32_t mask = 1u << OP_ATTR(softmax_attr, n)->axis;
    node *nodes[] = {n, gy, op_sum(g, gy, mask, true)};
    gx[0] = op_expr(g, "g - exp(y) * s", names, nodes, 3);
    return gx[0] != NULL;
}

/* ---- Builders ----------------------------------------------------------------------------- */

static node *softmax(graph *g, const op *o, node *a, int axis) {
    char s[SHAPE_TEXT];
    if (!a) return NULL;
    int d = shape_axis(&a->shape, axis);
    if (d < 0)
        return graph_fail(g, MARE_E_ARGUMENT, "%s: axis %d is out of range for %s", o->name, axis,
                          shape_text(&a->shape, s));
    node *wide = op_cast(g, a, MARE_F32);
    node *y = node_new(g, o, &wide, 1, &(softmax_attr){(uint32_t)d});
    return op_float_like(g, y, a);
}

node *op_softmax(graph *g, node *a, int axis) {
    return softmax(g, &op_desc_softmax, a, axis);
}

node *op_log_softmax(graph *g, node *a, int axis) {
    return softmax(g, &op_desc_log_softmax, a, axis);
}

#define BUILDERS(id)                                                                               \
    static node *id##_last(graph *g, node **in) {                                                  \
        return op_##id(g, in[0], -1);                                                              \
    }                                                                                              \
    static node *id##_first(graph *g, node **in) {                                                 \
        return op_##id(g, in[0], 0);                                                               \
    }                                                                                              \
    static node *id##_twisted(graph *g, node **in) {                                               \
        return op_##id(g, op_flip(g, op_transpose(g, in[0], 0, 2), 1), 1);                         \
    }
BUILDERS(softmax)
BUILDERS(log_softmax)

#define CASE(f, l, h, t, ...)                                                                      \
    {                                                                                              \
        .n_in = 1, .in = {{__VA_ARGS__}}, .lo = l, .hi = h, .build = f, .dtype = { t }             \
    }
#define CASES(id)                                                                                  \
    CASE(id##_last, -4, 4, MARE_F32, 2, {5, 7}), CASE(id##_first, -4, 4, MARE_F32, 2, {5, 7}),     \
        CASE(id##_last, -4, 4, MARE_F32, 1, {1}), CASE(id##_last, -4, 4, MARE_F32, 2, {0, 3}),     \
        CASE(id##_last, -4, 4, MARE_F32, 2, {3, 0}),                                               \
        CASE(id##_last, 80, 99, MARE_F32, 2, {3, 300}),                                            \
        CASE(id##_first, -4, 4, MARE_F32, 2, {300, 3}),                                            \
        CASE(id##_twisted, -4, 4, MARE_F32, 3, {4, 5, 3}),                                         \
        CASE(id##_last, -4, 4, MARE_F16, 2, {5, 7}), CASE(id##_last, -4, 4, MARE_BF16, 2, {5, 7}), \
        CASE(id##_last, -3, 3, MARE_I32, 2, {5, 7}),                                               \
        CASE(id##_last, -4, 4, MARE_F32, 2, {300, 10}),                                            \
        CASE(id##_last, -4, 4, MARE_F32, 2, {3, 301}),                                             \
        CASE(id##_first, -4, 4, MARE_F32, 2, {5, 8}), {                                            \
        0                                                                                          \
    }

static const op_case softmax_cases[] = {CASES(softmax)};
static const op_case log_softmax_cases[] = {CASES(log_softmax)};

#define DESCRIPTOR(id, about)                                                                      \
    const op op_desc_##id = {.name = #id,                                                          \
                             .at = OP_HERE,                                                        \
                             .doc = about,                                                         \
                             .attr_size = sizeof(softmax_attr),                                    \
                             .infer = softmax_infer,                                               \
                             .vjp = id##_vjp,                                                      \
                             .lower = softmax_lower,                                               \
                             .attach = ATTACH_AFTER,                                               \
                             .ref = id##_ref,                                                      \
                             .cases = id##_cases,                                                  \
                             .smooth = true};
DESCRIPTOR(softmax, "exp(a) over its sum along an axis.")
DESCRIPTOR(log_softmax, "a minus the log of the sum of exp(a) along an axis.")

node *op_logsumexp(graph *g, node *a, uint32_t axes, bool keepdim) {
    if (!a || !op_all_axes(g, "logsumexp", a, &axes)) return NULL;
    node *wide = op_cast(g, a, MARE_F32);
    if (shape_count(&a->shape) == 0) /* the log of empty sums */
        return op_map1(g, "log", op_sum(g, wide, axes, keepdim));
    /* The largest is only a shift: no gradient goes through it, and an infinite one is left out. */
    node *top = op_detach(g, op_max(g, wide, axes, true));
    top = op_map3(g, "where", op_map1(g, "isfinite", top), top, node_const(g, MARE_F32, 0));
    node *sum = op_sum(g, op_map1(g, "exp", op_map2(g, "sub", wide, top)), axes, keepdim);
    if (!sum) return NULL;
    node *y = op_map2(g, "add", op_map1(g, "log", sum), op_reshape(g, top, &sum->shape));
    return op_float_like(g, y, a);
}

/* ---- calls -------------------------------------------------------------------------------- */

static const call_arg softmax_args[] = {NEED_TENSOR("x"), AXIS_OPT("dim", -1), END_ARGS};

static bool call_softmax(graph *g, const call_value *v, node **out) {
    return (out[0] = op_softmax(g, v[0].tensor, (int)v[1].integer)) != NULL;
}

static bool call_log_softmax(graph *g, const call_value *v, node **out) {
    return (out[0] = op_log_softmax(g, v[0].tensor, (int)v[1].integer)) != NULL;
}

const op_call op_calls_softmax[] = {
    {"softmax", "exp(x) over its sum along a dimension; stable.", softmax_args, NULL, call_softmax,
     OP_AT},
    {"log_softmax", "The logarithm of softmax along a dimension; stable.", softmax_args, NULL,
     call_log_softmax, OP_AT},
    {0},
};
