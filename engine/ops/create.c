/* Tensors from numbers: full, arange, linspace. */
#include "ops/internal.h"
#include "plan/lower.h"

#include <math.h>
#include <string.h>

typedef struct create_attr {
    uint32_t dtype, rank;
    int64_t dim[MAX_DIMS];
} create_attr;

static create_attr attributes(mare_dtype t, const shape *s) {
    create_attr a = {t, (uint32_t)s->rank, {0}};
    memcpy(a.dim, s->dim, (size_t)s->rank * sizeof *a.dim);
    return a;
}

static bool create_infer(graph *g, node *n) {
    const create_attr *a = OP_ATTR(create_attr, n);
    (void)g;
    n->dtype = (mare_dtype)a->dtype;
    n->shape.rank = (int)a->rank;
    memcpy(n->shape.dim, a->dim, sizeof a->dim);
    return true;
}

static bool shape_valid(graph *g, const char *call, const shape *s) {
    char text[SHAPE_TEXT];
    for (int d = 0; d < s->rank; d++)
        if (s->dim[d] < 0)
            return graph_fail(g, MARE_E_SHAPE, "%s: a negative dimension in %s", call,
                              shape_text(s, text)) != NULL;
    return true;
}

/* ---- full --------------------------------------------------------------------------------- */

static mare_status full_lower(lowering *l, const node *n, const operand *in, const operand *out) {
    (void)in;
    operand value = {.buffer = -1, .dtype = n->dtype, .constant = n};
    return lower_map(l, "a", dtype_is_float(n->dtype) ? MARE_F32 : MARE_I32, &value, 1, out);
}

static void full_ref(const node *n, const double *const *in, double *out) {
    (void)in;
    int64_t count = shape_count(&n->shape);
    for (int64_t i = 0; i < count; i++)
        out[i] = dtype_value(n->dtype, n->dyn[0]);
}

node *op_full(graph *g, mare_dtype t, const shape *s, double value) {
    if (!shape_valid(g, "full", s)) return NULL;
    create_attr a = attributes(t, s);
    node *n = node_new(g, &op_desc_full, NULL, 0, &a);
    if (!n) return NULL;
    n->n_dyn = 1;
    n->dyn[0] = dtype_word(t, value);
    if (!dtype_is_float(t)) n->lo = n->hi = (int32_t)n->dyn[0];
    return n;
}

/* ---- arange ------------------------------------------------------------------------------- */

static mare_status arange_lower(lowering *l, const node *n, const operand *in, const operand *out) {
    (void)in;
    int64_t count = shape_count(&n->shape), most = (int64_t)(l->caps->binding / 4) - 64;
    for (int64_t from = 0; from < count; from += most) {
        operand part = *out;
        part.shape.dim[0] = count - from < most ? count - from : most;
        part.view.offset += from * out->view.stride[0];
        launch *x = lower_launch(l, "elementwise/arange.comp",
                                 n->dtype == MARE_I32 ? "T int\nINTS 1\n" : "T float\n");
        if (!x) return lower_error(l);
        uint32_t first, size = lower_workgroup(l);
        mare_status s = launch_bind(l, x, &part, WRITE, &first);
        if (s != MARE_OK) return s;
        launch_spec(x, size);
        launch_u32(x, (uint32_t)part.shape.dim[0]);
        launch_u32(x, first);
        launch_i32(x, (int32_t)out->view.stride[0]);
        launch_u32(x, (uint32_t)from);
        launch_dyn(x, n, 0);
        launch_dyn(x, n, 1);
        s = launch_groups(l, x, ((uint64_t)part.shape.dim[0] + size - 1) / size);
        if (s != MARE_OK) return s;
    }
    return MARE_OK;
}

static void arange_ref(const node *n, const double *const *in, double *out) {
    (void)in;
    double start = dtype_value(n->dtype, n->dyn[0]), step = dtype_value(n->dtype, n->dyn[1]);
    for (int64_t i = 0; i < n->shape.dim[0]; i++)
        out[i] = start + (double)i * step;
}

node *op_arange(graph *g, mare_dtype t, double start, double step, int64_t n) {
    if (n < 0) return graph_fail(g, MARE_E_SHAPE, "arange: %lld elements", (long long)n);
    mare_dtype wide = dtype_is_float(t) ? MARE_F32 : MARE_I32;
    double last = n ? start + (double)(n - 1) * step : start;
    if (wide == MARE_I32) {
        if (start != rint(start) || step != rint(step))
            return graph_fail(g, MARE_E_ARGUMENT, "arange: %s steps from %g by %g are fractions",
                              mare_dtype_name(t), start, step);
        double least, most;
        dtype_limits(t, &least, &most);
        if (!(fmin(start, last) >= least && fmax(start, last) <= most))
            return graph_fail(g, MARE_E_RANGE, "arange: %g..%g does not fit %s", start, last,
                              mare_dtype_name(t));
    }
    shape s = shape_of(1, n);
    create_attr a = attributes(wide, &s);
    node *y = node_new(g, &op_desc_arange, NULL, 0, &a);
    if (!y) return NULL;
    y->n_dyn = 2;
    y->dyn[0] = dtype_word(wide, start);
    y->dyn[1] = dtype_word(wide, step);
    if (wide == MARE_I32 && n) {
        y->lo = (int64_t)fmin(start, last);
        y->hi = (int64_t)fmax(start, last);
    }
    return op_cast(g, y, t);
}

/* ---- linspace ----------------------------------------------------------------------------- */

/* From both ends to the middle, so that both are exact; f32. */
static node *linspace(graph *g, const char *call, double start, double end, int64_t n) {
    static const char *const names[] = {"i", "start", "step", "end", "last"};
    if (n < 0 || n > INT32_MAX)
        return graph_fail(g, MARE_E_ARGUMENT, "%s: %lld steps", call, (long long)n);
    double step = n > 1 ? (end - start) / (double)(n - 1) : 0;
    node *nodes[] = {op_arange(g, MARE_F32, 0, 1, n), node_const(g, MARE_F32, start),
                     node_const(g, MARE_F32, step), node_const(g, MARE_F32, n > 1 ? end : start),
                     node_const(g, MARE_F32, (double)(n - 1))};
    return op_expr(g, "where(i < 0.5 * last, start + i * step, end - (last - i) * step)", names,
                   nodes, 5);
}

static bool call_linspace(graph *g, const call_value *v, node **out) {
    node *x = linspace(g, "linspace", v[0].number, v[1].number, v[2].integer);
    return (out[0] = op_cast(g, x, (mare_dtype)v[3].integer)) != NULL;
}

static bool call_logspace(graph *g, const call_value *v, node **out) {
    node *x = linspace(g, "logspace", v[0].number, v[1].number, v[2].integer);
    x = op_map2(g, "pow", node_const(g, MARE_F32, v[3].number), x);
    return (out[0] = op_cast(g, x, (mare_dtype)v[4].integer)) != NULL;
}

static const call_arg linspace_args[] = {NEED_NUMBER("start"), NEED_NUMBER("stop"),
                                         NEED_INTEGER("steps"), DTYPE_OPT("dtype", MARE_F32),
                                         END_ARGS};
static const call_arg logspace_args[] = {NEED_NUMBER("start"),         NEED_NUMBER("stop"),
                                         NEED_INTEGER("steps"),        NUMBER_OPT("base", 10),
                                         DTYPE_OPT("dtype", MARE_F32), END_ARGS};

const op_call op_calls_create[] = {
    {"linspace", "A number of steps from start to stop, both among them, evenly.", linspace_args,
     NULL, call_linspace, OP_AT},
    {"logspace", "base to the power of each number of linspace.", logspace_args, NULL,
     call_logspace, OP_AT},
    {0},
};

/* ---- Descriptors -------------------------------------------------------------------------- */

static node *full_float(graph *g, node **in) {
    shape s = shape_of(3, 3, 5, 7);
    (void)in;
    return op_full(g, MARE_F32, &s, 1.25);
}
static node *full_half(graph *g, node **in) {
    shape s = shape_of(1, 7);
    (void)in;
    return op_full(g, MARE_F16, &s, -0.5);
}
static node *full_int(graph *g, node **in) {
    shape s = shape_of(0);
    (void)in;
    return op_full(g, MARE_I32, &s, -7);
}
static node *full_bytes(graph *g, node **in) {
    shape s = shape_of(2, 3, 3);
    (void)in;
    return op_full(g, MARE_U8, &s, 200);
}
static node *full_bfloat(graph *g, node **in) {
    shape s = shape_of(1, 7);
    (void)in;
    return op_full(g, MARE_BF16, &s, 1.0 / 3);
}
static node *full_signed(graph *g, node **in) {
    shape s = shape_of(2, 3, 3);
    (void)in;
    return op_full(g, MARE_I8, &s, -100);
}
static node *full_bool(graph *g, node **in) {
    shape s = shape_of(1, 5);
    (void)in;
    return op_full(g, MARE_BOOL, &s, 1);
}
static node *full_empty(graph *g, node **in) {
    shape s = shape_of(2, 0, 4);
    (void)in;
    return op_full(g, MARE_F32, &s, 1);
}
static node *arange_float(graph *g, node **in) {
    (void)in;
    return op_arange(g, MARE_F32, -1.5, 0.25, 1031);
}
static node *arange_half(graph *g, node **in) {
    (void)in;
    return op_arange(g, MARE_F16, 3, -0.5, 9);
}
static node *arange_int(graph *g, node **in) {
    (void)in;
    return op_arange(g, MARE_I32, 2000000000, -3, 77);
}
static node *arange_bytes(graph *g, node **in) {
    (void)in;
    return op_arange(g, MARE_U8, 0, 1, 256);
}
static node *arange_signed(graph *g, node **in) {
    (void)in;
    return op_arange(g, MARE_I8, 127, -1, 256);
}
static node *arange_empty(graph *g, node **in) {
    (void)in;
    return op_arange(g, MARE_I32, 0, 1, 0);
}

static const op_case full_cases[] = {
    {.build = full_float},  {.build = full_half},  {.build = full_int},
    {.build = full_bytes},  {.build = full_bool},  {.build = full_bfloat},
    {.build = full_signed}, {.build = full_empty}, {0}};
static const op_case arange_cases[] = {{.build = arange_float},
                                       {.build = arange_half},
                                       {.build = arange_int},
                                       {.build = arange_bytes},
                                       {.build = arange_signed},
                                       {.build = arange_empty},
                                       {0}};

const op op_desc_full = {.name = "full",
                         .at = OP_HERE,
                         .doc = "One value everywhere.",
                         .attr_size = sizeof(create_attr),
                         .infer = create_infer,
                         .lower = full_lower,
                         .constant = true,
                         .ref = full_ref,
                         .cases = full_cases};
const op op_desc_arange = {.name = "arange",
                           .at = OP_HERE,
                           .doc = "start + i step for i in 0..n-1.",
                           .attr_size = sizeof(create_attr),
                           .infer = create_infer,
                           .lower = arange_lower,
                           .ref = arange_ref,
                           .cases = arange_cases};
