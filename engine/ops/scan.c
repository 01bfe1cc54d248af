/* Scans: running sums, products, largest and smallest along an axis. A view that walks an axis
 * backwards makes the reverse scans. */
#include "ops/internal.h"
#include "ops/loop.h"

#include <math.h>
#include <stdlib.h>

typedef struct scan_attr {
    uint32_t axis;
} scan_attr;

static bool scan_infer(graph *g, node *n) {
    (void)g;
    n->dtype = n->in[0]->dtype;
    n->shape = n->in[0]->shape;
    return true;
}

static bool place_infer(graph *g, node *n) {
    scan_infer(g, n);
    n->dtype = MARE_I32;
    n->lo = 0;
    n->hi = n->shape.dim[OP_ATTR(scan_attr, n)->axis] - 1;
    return true;
}

/* ---- Lowering ----------------------------------------------------------------------------- */

enum { SUM_WORDS = 2 };

/* What the kernel calls the operation. */
static const char *kind_of(const node *n) {
    return n->op == &op_desc_cumsum    ? "sum"
           : n->op == &op_desc_cumprod ? "prod"
           : n->op == &op_desc_cummax  ? "argmax"
           : n->op == &op_desc_cummin  ? "argmin"
                                       : "logsumexp";
}

/* How one level cuts its rows. */
typedef struct cut {
    bool group;     /* a workgroup takes a block, else an invocation does */
    uint32_t size;  /* of a workgroup */
    int64_t own;    /* elements of an invocation */
    int64_t blocks; /* of a row */
} cut;

static cut make_cut(const lowering *l, const rows *r) {
    int64_t count = loop_count(&r->kept), length = r->length;
    bool columns = llabs(r->in_step) != 1 && count >= 16;
    cut c = {.group = l->caps->type != DEV_CPU && length >= 64 && !columns};
    if (c.group) {
        c.size = loop_group(l, length);
        c.own = 4;
    } else {
        /* Enough to do at once; blocks not so short that their sums are most of the work. */
        int64_t wanted = ((l->caps->type == DEV_CPU ? 256 : 8192) + count - 1) / count;
        int64_t least = l->caps->type == DEV_CPU ? 256 : 64, most = (length + least - 1) / least;
        int64_t blocks = wanted < most ? wanted : most;
        c.size = lower_workgroup(l);
        c.own = (length + blocks - 1) / blocks;
    }
    int64_t block = c.own * (c.group ? c.size : 1);
    c.blocks = (length + block - 1) / block;
    return c;
}

/* One launch over rows of elements, or of sums: `sums` says that the rows' input and output are
 * contiguous scratch memory. totals: the sum of each block goes there. */
static mare_status emit(lowering *l, const rows *r, const cut *c, bool sums, const operand *totals,
                        const operand *carry) {
    int64_t count = loop_count(&r->kept);
    bool ints = r->in.dtype == MARE_I32;
    int words = (8 + 3 * r->kept.rank + 3) / 4 * 4;
    const char *defines =
        lower_text(l, "KIND_%s 1\nT %s\n%s 1\nLAST 1\n%s%s%s%sKEPT %d\nWORDS %d\n",
                   kind_of(l->node), ints ? "int" : "float", ints ? "INTS" : "FLOATS",
                   c->group ? "GROUP 1\n" : "", sums ? "SUMS 1\n" : "", totals ? "TOTALS 1\n" : "",
                   carry ? "CARRY 1\n" : "", r->kept.rank, words / 4);
    launch *x = defines ? lower_launch(l, "scan/scan.comp", defines) : NULL;
    if (!x) return lower_error(l);
    uint32_t in_first, out_first, unused;
    loop axis = {1, {r->length}, {r->in_step}, {r->out_step}};
    operand in = sums ? r->in : loop_operand(&r->in, &r->kept, &axis, true);
    operand out = totals ? *totals : sums ? r->out : loop_operand(&r->out, &r->kept, &axis, false);
    mare_status s = launch_bind(l, x, &in, READ, &in_first);
    if (s == MARE_OK) s = launch_bind(l, x, &out, WRITE, &out_first);
    if (s == MARE_OK && carry) s = launch_bind(l, x, carry, READ, &unused);
    if (s != MARE_OK) return s;
    launch_spec(x, c->size);
    launch_u32(x, (uint32_t)count);
    launch_u32(x, (uint32_t)r->length);
    launch_u32(x, (uint32_t)c->blocks);
    launch_u32(x, (uint32_t)c->own);
    launch_u32(x, in_first);
    launch_i32(x, (int32_t)r->in_step);
    launch_u32(x, out_first);
    launch_i32(x, (int32_t)r->out_step);
    loop_words(x, &r->kept, true);
    while (x->n_params < words)
        launch_u32(x, 0);
    uint64_t jobs = (uint64_t)(count * c->blocks);
    return launch_groups(l, x, c->group ? jobs : (jobs + c->size - 1) / c->size);
}

static mare_status scan_level(lowering *l, const rows *r, bool sums) {
    cut c = make_cut(l, r);
    if (c.blocks == 1) return emit(l, r, &c, sums, NULL, NULL);
    int64_t count = loop_count(&r->kept);
    shape s = shape_of(1, count * c.blocks * SUM_WORDS);
    operand totals = lower_scratch(l, r->in.dtype, &s), scanned = lower_scratch(l, r->in.dtype, &s);
    rows up = {.in = totals,
               .out = scanned,
               .length = c.blocks,
               .in_step = 1,
               .out_length = c.blocks,
               .out_step = 1};
    loop_add(&up.kept, count, c.blocks, c.blocks);
    mare_status status = emit(l, r, &c, sums, &totals, NULL);
    if (status == MARE_OK) status = scan_level(l, &up, true);
    return status == MARE_OK ? emit(l, r, &c, sums, NULL, &scanned) : status;
}

static mare_status scan_rows(lowering *l, const rows *r) {
    return scan_level(l, r, false);
}

static mare_status scan_lower(lowering *l, const node *n, const operand *in, const operand *out) {
    if (shape_count(&n->shape) == 0) return MARE_OK;
    rows r = rows_along(&in[0], out, (int)OP_ATTR(scan_attr, n)->axis);
    return rows_lower(l, &r, 0, scan_rows);
}

/* ---- Reference ---------------------------------------------------------------------------- */

typedef enum kind { SUM, PROD, MAX, MIN, LOGSUMEXP } kind;

static double wrapped(double x) {
    double y = fmod(x, 4294967296.0);
    return y >= 2147483648.0 ? y - 4294967296.0 : y < -2147483648.0 ? y + 4294967296.0 : y;
}

static void scan_ref(const node *n, const double *in, double *out, kind k) {
    int axis = (int)OP_ATTR(scan_attr, n)->axis;
    int64_t inner = 1, length = n->shape.dim[axis], count = shape_count(&n->shape);
    bool ints = n->dtype == MARE_I32;
    for (int d = axis + 1; d < n->shape.rank; d++)
        inner *= n->shape.dim[d];
    for (int64_t i = 0; i < count; i++) {
        int64_t p = i / inner % length;
        double x = in[i], *y = &out[i], last = p ? out[i - inner] : 0;
        if (k == SUM) {
            *y = ints ? wrapped(last + x) : last + x;
        } else if (k == PROD) {
            /* exact modulo 2^32, in halves of 16 bits */
            double high = floor(x / 65536), low = x - high * 65536;
            *y = !p ? x : ints ? wrapped(wrapped(last * high) * 65536 + last * low) : last * x;
        } else if (k == LOGSUMEXP) {
            double top = p && last > x ? last : x, rest = p && last > x ? x : last;
            *y = !p || isinf(top) ? top : top + log1p(exp(rest - top));
            if (p && isnan(last)) *y = last;
        } else {
            double best = in[i - (p - (int64_t)last) * inner];
            bool wins = isnan(x) || (!isnan(best) && (k == MAX ? x >= best : x <= best));
            *y = p && !wins ? last : (double)p;
        }
    }
}

#define REF(name, kind)                                                                            \
    static void name##_ref(const node *n, const double *const *in, double *out) {                  \
        scan_ref(n, in[0], out, kind);                                                             \
    }
REF(cumsum, SUM)
REF(cumprod, PROD)
REF(cummax, MAX)
REF(cummin, MIN)
REF(logcumsumexp, LOGSUMEXP)

/* ---- Builders ----------------------------------------------------------------------------- */

static node *scan(graph *g, const op *o, node *a, int axis) {
    char s[SHAPE_TEXT];
    if (!a) return NULL;
    int d = shape_axis(&a->shape, axis);
    if (d < 0)
        return graph_fail(g, MARE_E_ARGUMENT, "%s: axis %d is out of range for %s", o->name, axis,
                          shape_text(&a->shape, s));
    node *words = o == &op_desc_logcumsumexp ? op_cast(g, a, MARE_F32) : op_words(g, a);
    return node_new(g, o, &words, 1, &(scan_attr){(uint32_t)d});
}

node *op_cumsum(graph *g, node *a, int axis) {
    node *y = scan(g, &op_desc_cumsum, a, axis);
    return op_float_like(g, y, a);
}

node *op_cumprod(graph *g, node *a, int axis) {
    node *y = scan(g, &op_desc_cumprod, a, axis);
    return op_float_like(g, y, a);
}

node *op_logcumsumexp(graph *g, node *a, int axis) {
    node *y = scan(g, &op_desc_logcumsumexp, a, axis);
    return op_float_like(g, y, a);
}

node *op_cummax(graph *g, node *a, int axis) {
    return scan(g, &op_desc_cummax, a, axis);
}

node *op_cummin(graph *g, node *a, int axis) {
    return scan(g, &op_desc_cummin, a, axis);
}

/* From the end of an axis to its beginning. */
static node *backwards(graph *g, const op *o, node *a, int axis) {
    node *y = scan(g, o, op_flip(g, a, 1u << axis), axis);
    return y ? op_flip(g, y, 1u << axis) : NULL;
}

/* ---- Gradients ---------------------------------------------------------------------------- */

static bool cumsum_vjp(graph *g, node *n, node *gy, node **gx) {
    gx[0] = backwards(g, &op_desc_cumsum, gy, (int)OP_ATTR(scan_attr, n)->axis);
    return gx[0] != NULL;
}

/* A gradient whose own gradient is not that of the nodes which compute it. */
typedef struct own_slope {
    callback base;
    int axis;
    bool back; /* of exp_sums() */
} own_slope;

static void slope_destroy(callback *c) {
    free(c);
}

/* value as a function of a scan's input, what was summed, and the scan's result, which is not
 * differentiated by. */
static node *sloped(graph *g, node *value, node *const in[3], own_slope slope) {
    node *y = op_detach(g, value);
    own_slope *c = y ? malloc(sizeof *c) : NULL;
    if (y && !c) error_no_memory(g->error, sizeof *c);
    if (!c) return NULL;
    *c = slope;
    return op_custom(g, y, in, 3, &c->base);
}

/* a moved on by n along an axis, `value` coming in. */
static node *moved(graph *g, node *a, int axis, int64_t n, double value) {
    int64_t before[MAX_DIMS] = {0}, after[MAX_DIMS] = {0};
    before[axis] = n;
    after[axis] = -n;
    if (a && a->shape.dim[axis] == 0) return a;
    return a ? op_pad(g, a, before, after, value) : NULL;
}

/* y[i] = b[i] + a[i] y[i - 1], in doubling steps (Hillis and Steele, 1986). */
static node *recurrence(graph *g, node *a, node *b, int axis) {
    for (int64_t n = 1; a && b && n < b->shape.dim[axis]; n *= 2) {
        b = op_map2(g, "add", b, op_map2(g, "mul", a, moved(g, b, axis, n, 0)));
        a = op_map2(g, "mul", a, moved(g, a, axis, n, 1));
    }
    return b;
}

/* The gradient of cumprod as values: the sum of g y from an element on, over the element. The first
 * zero of a row has what would be there if it were 1; behind it nothing has a gradient. */
static node *cumprod_slope(graph *g, node *a, node *y, node *gy, int axis) {
    static const char *const names[] = {"a", "z", "g", "y", "s", "t"};
    node *zeros = op_cast(g, op_map_scalar(g, "eq", a, 0), MARE_F32);
    node *seen = op_cumsum(g, zeros, axis);
    node *nodes[6] = {a, seen, gy, y};
    node *rest = op_expr(g, "where(and(a == 0, z == 1), 1, a)", names, nodes, 2);
    nodes[4] = backwards(g, &op_desc_cumsum, op_map2(g, "mul", gy, y), axis);
    nodes[3] = op_cumprod(g, rest, axis);
    nodes[5] =
        backwards(g, &op_desc_cumsum, op_expr(g, "where(z >= 1, g * y, 0)", names, nodes, 4), axis);
    return op_expr(g, "where(z == 0, s / where(a == 0, 1, a), where(and(z == 1, a == 0), t, 0))",
                   names, nodes, 6);
}

static node *cumprod_grad(graph *g, node *a, node *y, node *gy, int axis);

/* Those values are right also where a row has zeros, but what they are made of has other
 * derivatives there. The gradient is p[i] s[i] with the product of what is before an element, and
 * s[i] = g[i] + a[i + 1] s[i + 1]; of these the derivatives are right everywhere. */
static bool slope_run(callback *c, node *n, node *v, node **gx) {
    graph *g = n->g;
    node *a = n->in[1], *gy = n->in[2], *y = n->in[3];
    int axis = ((own_slope *)c)->axis;
    uint32_t bit = 1u << axis;
    node *before = moved(g, y, axis, 1, 1);
    node *next = moved(g, op_flip(g, a, bit), axis, 1, 0);
    node *s = recurrence(g, next, op_flip(g, gy, bit), axis);
    node *t = recurrence(g, a, op_map2(g, "mul", v, before), axis);
    if (!s || !t || !(s = op_flip(g, s, bit))) return false;
    node *by_before = cumprod_grad(g, a, y, moved(g, op_map2(g, "mul", v, s), axis, -1, 0), axis);
    gx[0] = op_map2(g, "add", by_before, op_map2(g, "mul", moved(g, t, axis, 1, 0), s));
    gx[1] = t;
    return gx[0] != NULL;
}

static node *cumprod_grad(graph *g, node *a, node *y, node *gy, int axis) {
    if (!y || !gy) return NULL;
    node *slope = cumprod_slope(g, a, y, gy, axis);
    return sloped(g, slope, (node *[]){a, gy, y},
                  (own_slope){{1, slope_run, slope_destroy}, axis, 0});
}

static bool cumprod_vjp(graph *g, node *n, node *gy, node **gx) {
    gx[0] = cumprod_grad(g, n->in[0], n, gy, (int)OP_ATTR(scan_attr, n)->axis);
    return gx[0] != NULL;
}

/* The softmax of each beginning of a row is p[i][j] = exp(a[j] - y[i]): the sums of v[j] p[i][j]
 * over j, or backwards those of v[i] p[i][j] over i. Positive and negative v apart, in logarithms.
 */
static node *exp_sum_values(graph *g, node *a, node *v, node *y, int axis, bool back) {
    static const char *const names[] = {"v", "in", "out"};
    static const char *const inside[] = {"where(v > 0, log(where(v > 0, v, 1)) + in, -1 / 0)",
                                         "where(v < 0, log(where(v < 0, -v, 1)) + in, -1 / 0)"};
    node *less = op_map1(g, "neg", y), *part[2];
    for (int i = 0; i < 2; i++) {
        node *with[] = {v, back ? less : a, back ? a : less};
        with[0] = op_expr(g, inside[i], names, with, 3);
        with[0] = back ? backwards(g, &op_desc_logcumsumexp, with[0], axis)
                       : op_logcumsumexp(g, with[0], axis);
        part[i] = op_expr(g, "where(v == -1 / 0, 0, exp(out + where(v == -1 / 0, 0, v)))", names,
                          with, 3);
    }
    return op_map2(g, "sub", part[0], part[1]);
}

static node *exp_sums(graph *g, node *a, node *v, node *y, int axis, bool back);

/* Both are linear in v, also at 0, where their logarithms have no slope. Of the sum of
 * b[i] f[j] p[i][j] over i and j the gradient by a is made of these sums again. */
static bool exp_sums_run(callback *c, node *n, node *w, node **gx) {
    graph *g = n->g;
    const own_slope *slope = (const own_slope *)c;
    int axis = slope->axis;
    node *a = n->in[1], *v = n->in[2], *y = n->in[3];
    node *f = slope->back ? w : v, *b = slope->back ? v : w;
    node *before = exp_sums(g, a, f, y, axis, false), *behind = exp_sums(g, a, b, y, axis, true);
    node *rest = exp_sums(g, a, op_map2(g, "mul", b, before), y, axis, true);
    gx[0] = op_map2(g, "sub", op_map2(g, "mul", f, behind), rest);
    gx[1] = slope->back ? before : behind;
    return gx[0] != NULL;
}

static node *exp_sums(graph *g, node *a, node *v, node *y, int axis, bool back) {
    if (!a || !v || !y) return NULL;
    node *sums = exp_sum_values(g, a, v, y, axis, back);
    return sloped(g, sums, (node *[]){a, v, y},
                  (own_slope){{1, exp_sums_run, slope_destroy}, axis, back});
}

static bool logcumsumexp_vjp(graph *g, node *n, node *gy, node **gx) {
    gx[0] = exp_sums(g, n->in[0], gy, n, (int)OP_ATTR(scan_attr, n)->axis, true);
    return gx[0] != NULL;
}

/* ---- Descriptors -------------------------------------------------------------------------- */

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
BUILDERS(cumsum)
BUILDERS(cumprod)
BUILDERS(logcumsumexp)
BUILDERS(cummax)
BUILDERS(cummin)

/* Zeros and a few others, so that rows have none, one or several zeros. */
static node *cumprod_zeros(graph *g, node **in) {
    node *product = op_map2(g, "mul", in[0], op_cast(g, in[1], MARE_F32));
    return op_cumprod(g, product, -1);
}

#define CASE(f, l, h, t, ...)                                                                      \
    {                                                                                              \
        .n_in = 1, .in = {{__VA_ARGS__}}, .lo = l, .hi = h, .build = f, .dtype = { t }             \
    }
#define COMMON(id, l, h)                                                                           \
    CASE(id##_last, l, h, MARE_F32, 2, {5, 7}), CASE(id##_first, l, h, MARE_F32, 2, {5, 7}),       \
        CASE(id##_last, l, h, MARE_F32, 1, {1}), CASE(id##_last, l, h, MARE_F32, 2, {0, 3}),       \
        CASE(id##_last, l, h, MARE_F32, 2, {3, 0}), CASE(id##_last, l, h, MARE_F16, 2, {3, 4}),    \
        CASE(id##_twisted, l, h, MARE_F32, 3, {4, 5, 3})
#define INTEGERS(id, l, h)                                                                         \
    CASE(id##_last, l, h, MARE_I32, 2, {3, 70}), CASE(id##_first, l, h, MARE_I32, 2, {700, 3}),    \
        CASE(id##_last, l, h, MARE_I32, 2, {2, 3000}), CASE(id##_first, 0, 3, MARE_U8, 2, {5, 7}), \
        CASE(id##_last, 0, 1, MARE_BOOL, 2, {5, 7})

static const op_case cumsum_cases[] = {
    COMMON(cumsum, -2, 2),
    INTEGERS(cumsum, -2147483648.0, 2147483647.0),
    CASE(cumsum_last, -1, 2, MARE_F32, 2, {2, 3000}),
    CASE(cumsum_first, -1, 2, MARE_F32, 2, {700, 20}),
    CASE(cumsum_last, -1, 2, MARE_F32, 1, {70001}),
    {0},
};
static const op_case cumprod_cases[] = {
    COMMON(cumprod, 0.5, 1.5),
    INTEGERS(cumprod, -9, 9),
    {.n_in = 2,
     .in = {SHAPE2(4, 7), SHAPE2(4, 7)},
     .lo = 0.5,
     .hi = 1.5,
     .build = cumprod_zeros,
     .dtype = {MARE_F32, MARE_BOOL},
     .lo_in = {0.5, 0},
     .hi_in = {1.5, 1}},
    {0},
};
static const op_case logcumsumexp_cases[] = {
    COMMON(logcumsumexp, -3, 3),
    CASE(logcumsumexp_last, 80, 99, MARE_F32, 2, {3, 300}),
    CASE(logcumsumexp_last, -3, 3, MARE_I32, 2, {3, 30}),
    CASE(logcumsumexp_first, -4, 4, MARE_F32, 2, {700, 3}),
    {0},
};
static const op_case cummax_cases[] = {COMMON(cummax, -2, 2),
                                       INTEGERS(cummax, -9, 9),
                                       CASE(cummax_last, -2, 2, MARE_F32, 1, {9001}),
                                       {0}};
static const op_case cummin_cases[] = {COMMON(cummin, -2, 2),
                                       INTEGERS(cummin, -9, 9),
                                       CASE(cummin_last, -2, 2, MARE_F32, 1, {9001}),
                                       {0}};

#define DESCRIPTOR(id, about, shapes, grad, is_smooth)                                             \
    const op op_desc_##id = {.name = #id,                                                          \
                             .at = OP_HERE,                                                        \
                             .doc = about,                                                         \
                             .attr_size = sizeof(scan_attr),                                       \
                             .infer = shapes,                                                      \
                             .vjp = grad,                                                          \
                             .lower = scan_lower,                                                  \
                             .ref = id##_ref,                                                      \
                             .cases = id##_cases,                                                  \
                             .smooth = is_smooth};
DESCRIPTOR(cumsum, "Sums of the elements up to each along an axis; integers wrap around.",
           scan_infer, cumsum_vjp, true)
DESCRIPTOR(cumprod, "Products of the elements up to each along an axis; integers wrap around.",
           scan_infer, cumprod_vjp, true)
DESCRIPTOR(logcumsumexp, "log of the sums of exp up to each element along an axis; f32.",
           scan_infer, logcumsumexp_vjp, true)
DESCRIPTOR(
    cummax,
    "Place (i32) of the largest element up to each along an axis, the last of equal ones; NaN "
    "counts as largest.",
    place_infer, NULL, false)
DESCRIPTOR(cummin,
           "Place (i32) of the smallest element up to each along an axis, the last of equal ones; "
           "NaN counts as smallest.",
           place_infer, NULL, false)

/* ---- calls -------------------------------------------------------------------------------- */

static const call_arg scan_args[] = {NEED_TENSOR("x"), NEED_AXIS("dim"), END_ARGS};

static bool call_cumsum(graph *g, const call_value *v, node **out) {
    return (out[0] = op_cumsum(g, v[0].tensor, (int)v[1].integer)) != NULL;
}

static bool call_cumprod(graph *g, const call_value *v, node **out) {
    return (out[0] = op_cumprod(g, v[0].tensor, (int)v[1].integer)) != NULL;
}

static bool call_logcumsumexp(graph *g, const call_value *v, node **out) {
    return (out[0] = op_logcumsumexp(g, v[0].tensor, (int)v[1].integer)) != NULL;
}

const op_call op_calls_scan[] = {
    {"cumsum",
     "Running sums along a dimension; compensated in floats, i32 of integers, which wrap around.",
     scan_args, NULL, call_cumsum, OP_AT},
    {"cumprod",
     "Running products along a dimension; i32 of integers, which wrap around. Derivatives of any "
     "order are right where zeros stand; those from the second on take n log n steps for n "
     "elements.",
     scan_args, NULL, call_cumprod, OP_AT},
    {"logcumsumexp", "The logarithm of the running sums of exp(x) along a dimension; stable.",
     scan_args, NULL, call_logcumsumexp, OP_AT},
    {0},
};
