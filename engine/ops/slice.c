/* Slices with steps, and their reverse: placing a tensor into a larger one, or into another. */
#include "ops/internal.h"
#include "ops/loop.h"
#include "ops/ops.h"
#include "plan/lower.h"

#include <string.h>

/* ---- slice -------------------------------------------------------------------------------- */

typedef struct slice_attr {
    int64_t start[MAX_DIMS], step[MAX_DIMS], count[MAX_DIMS];
} slice_attr;

static bool slice_infer(graph *g, node *n) {
    (void)g;
    op_same_value(n);
    n->shape = n->in[0]->shape;
    for (int i = 0; i < n->shape.rank; i++)
        n->shape.dim[i] = OP_ATTR(slice_attr, n)->count[i];
    return true;
}

static bool slice_vjp(graph *g, node *n, node *gy, node **gx) {
    const slice_attr *at = OP_ATTR(slice_attr, n);
    return (gx[0] = op_embed(g, gy, &n->in[0]->shape, at->start, at->step, 0)) != NULL;
}

static bool slice_view(const node *n, const view *in, view *out) {
    const slice_attr *at = OP_ATTR(slice_attr, n);
    out->offset = in->offset;
    for (int i = 0; i < n->shape.rank; i++) {
        out->offset += at->start[i] * in->stride[i];
        out->stride[i] = at->step[i] * in->stride[i];
    }
    return true;
}

static void slice_ref(const node *n, const double *const *in, double *out) {
    const slice_attr *a = OP_ATTR(slice_attr, n);
    const shape *s = &n->in[0]->shape;
    int64_t c[MAX_DIMS] = {0}, count = shape_count(&n->shape);
    for (int64_t i = 0; i < count; i++, op_next_coordinate(&n->shape, c)) {
        int64_t at = 0;
        for (int d = 0; d < s->rank; d++)
            at = at * s->dim[d] + a->start[d] + c[d] * a->step[d];
        out[i] = in[0][at];
    }
}

static node *slice_case(graph *g, node **in) {
    return op_slice(g, in[0], (const int64_t[]){1, -1, 0}, (const int64_t[]){5, -99, 99},
                    (const int64_t[]){2, -3, 1});
}

static node *slice_empty_case(graph *g, node **in) {
    return op_slice(g, in[0], (const int64_t[]){3, 0, 4}, (const int64_t[]){3, 9, 2},
                    (const int64_t[]){1, 1, 1});
}

static node *flip_case(graph *g, node **in) {
    return op_flip(g, in[0], 5);
}

static node *narrow_case(graph *g, node **in) {
    return op_narrow(g, in[0], -2, 3, 4);
}

static const op_case slice_cases[] = {
    {1, {{3, {5, 8, 3}}}, -2, 2, slice_case, {MARE_F32}, {0}, {0}},
    {1, {{3, {5, 8, 3}}}, -2, 2, slice_case, {MARE_F16}, {0}, {0}},
    {1, {{3, {5, 8, 3}}}, 0, 255, slice_case, {MARE_U8}, {0}, {0}},
    {1, {{3, {5, 8, 3}}}, -2, 2, slice_case, {MARE_BF16}, {0}, {0}},
    {1, {{3, {5, 8, 3}}}, -128, 127, slice_case, {MARE_I8}, {0}, {0}},
    {1, {{3, {5, 8, 3}}}, -2, 2, slice_empty_case, {MARE_F32}, {0}, {0}},
    {1, {{3, {2, 3, 7}}}, -2, 2, flip_case, {MARE_F32}, {0}, {0}},
    {1, {{3, {2, 7, 1}}}, -2, 2, narrow_case, {MARE_F32}, {0}, {0}},
    {0},
};

const op op_desc_slice = {
    .name = "slice",
    .at = OP_HERE,
    .doc = "a -> every step-th element from start on, along each axis; any dtype",
    .attr_size = sizeof(slice_attr),
    .infer = slice_infer,
    .vjp = slice_vjp,
    .view = slice_view,
    .lower = op_lower_view,
    .ref = slice_ref,
    .cases = slice_cases,
    .smooth = true,
};

/* Python's rule: negative positions count from the end, then both ends are cut to the axis. */
static int64_t slice_end(int64_t p, int64_t n, int64_t lowest) {
    if (p < 0) p += n;
    int64_t highest = n + lowest;
    return p < lowest ? lowest : p > highest ? highest : p;
}

/* The slice that start, stop and step name; false after an error. */
static bool slice_of(graph *g, const node *a, const int64_t *start, const int64_t *stop,
                     const int64_t *step, slice_attr *at) {
    char text[SHAPE_TEXT];
    memset(at, 0, sizeof *at);
    for (int i = 0; i < a->shape.rank; i++) {
        if (step[i] == 0)
            return graph_fail(g, MARE_E_ARGUMENT, "slice: axis %d of %s: the step is 0", i,
                              shape_text(&a->shape, text)) != NULL;
        int64_t n = a->shape.dim[i], down = step[i] < 0 ? -1 : 0;
        int64_t from = slice_end(start[i], n, down), to = slice_end(stop[i], n, down);
        int64_t length = down ? from - to : to - from;
        /* |step| past the axis is the axis: it takes one element all the same. */
        int64_t stride = step[i] < -n ? -n : step[i] > n ? n : step[i];
        at->count[i] = length > 0 ? (length - 1) / (down ? -stride : stride) + 1 : 0;
        at->start[i] = at->count[i] > 0 ? from : 0;
        at->step[i] = at->count[i] > 1 ? stride : 1;
    }
    return true;
}

node *op_slice(graph *g, node *a, const int64_t *start, const int64_t *stop, const int64_t *step) {
    slice_attr at;
    if (!a || !slice_of(g, a, start, stop, step, &at)) return NULL;
    bool whole = true;
    for (int i = 0; i < a->shape.rank; i++)
        whole = whole && at.count[i] == a->shape.dim[i] && at.step[i] == 1;
    return whole ? a : node_new(g, &op_desc_slice, &a, 1, &at);
}

node *op_narrow(graph *g, node *a, int axis, int64_t start, int64_t length) {
    if (!a) return NULL;
    char text[SHAPE_TEXT];
    int x = shape_axis(&a->shape, axis);
    if (x < 0)
        return graph_fail(g, MARE_E_ARGUMENT, "narrow: %s has no axis %d",
                          shape_text(&a->shape, text), axis);
    int64_t n = a->shape.dim[x], from = start < 0 ? start + n : start;
    if (length < 0 || from < 0 || from > n || length > n - from)
        return graph_fail(g, MARE_E_ARGUMENT,
                          "narrow: axis %d of %s has no %lld elements from %lld on", axis,
                          shape_text(&a->shape, text), (long long)length, (long long)start);
    int64_t starts[MAX_DIMS] = {0}, stops[MAX_DIMS] = {0}, steps[MAX_DIMS] = {0};
    for (int i = 0; i < a->shape.rank; i++) {
        stops[i] = a->shape.dim[i];
        steps[i] = 1;
    }
    starts[x] = from;
    stops[x] = from + length;
    return op_slice(g, a, starts, stops, steps);
}

node *op_flip(graph *g, node *a, uint32_t axes) {
    if (!a) return NULL;
    char text[SHAPE_TEXT];
    if (axes >> a->shape.rank)
        return graph_fail(g, MARE_E_ARGUMENT, "flip: %s has no axis past %d",
                          shape_text(&a->shape, text), a->shape.rank - 1);
    int64_t starts[MAX_DIMS] = {0}, stops[MAX_DIMS] = {0}, steps[MAX_DIMS] = {0};
    for (int i = 0; i < a->shape.rank; i++) {
        bool back = axes >> i & 1;
        starts[i] = back ? INT64_MAX : 0;
        stops[i] = back ? INT64_MIN : INT64_MAX;
        steps[i] = back ? -1 : 1;
    }
    return op_slice(g, a, starts, stops, steps);
}

/* ---- embed -------------------------------------------------------------------------------- */

/* Element c of the input stands at start + c * step of the result; dyn[0] everywhere else. */
typedef struct embed_attr {
    shape shape;
    int64_t start[MAX_DIMS], step[MAX_DIMS];
} embed_attr;

static bool embed_infer(graph *g, node *n) {
    n->dtype = n->in[0]->dtype;
    n->shape = OP_ATTR(embed_attr, n)->shape;
    if (n->dtype != MARE_F32 && n->dtype != MARE_I32)
        return graph_fail(g, MARE_E_DTYPE, "embed: works on f32 and i32, not %s",
                          mare_dtype_name(n->dtype)) != NULL;
    return true;
}

static bool embed_vjp(graph *g, node *n, node *gy, node **gx) {
    const embed_attr *at = OP_ATTR(embed_attr, n);
    int64_t stop[MAX_DIMS] = {0};
    const shape *s = &n->in[0]->shape;
    for (int i = 0; i < s->rank; i++) {
        stop[i] = at->start[i] + s->dim[i] * at->step[i];
        if (stop[i] < 0) stop[i] = INT64_MIN; /* before the first element, not from the end */
    }
    return (gx[0] = op_slice(g, gy, at->start, stop, at->step)) != NULL;
}

/* One axis as the kernel sees it: result size, start, step (positive), input size and stride. */
typedef struct embed_axis {
    int64_t out, start, step, in, stride;
} embed_axis;

/* A row-major result, or a part of one, and what of the input stands in it. */
typedef struct embed_job {
    operand in, out; /* where they begin; the axes tell their shapes */
    int rank;
    embed_axis axis[MAX_DIMS];
} embed_job;

/* Axes that are filled whole, and follow one another in the input's memory, count as one; an axis
 * that is cut absorbs whole ones behind it too, since they only scale it. */
static void embed_axes(const node *n, embed_job *j) {
    const embed_attr *at = OP_ATTR(embed_attr, n);
    for (int i = 0; i < n->shape.rank; i++) {
        embed_axis a = {n->shape.dim[i], at->start[i], at->step[i], j->in.shape.dim[i],
                        j->in.view.stride[i]};
        if (a.step < 0) { /* the same, read from the other end */
            a.start += (a.in - 1) * a.step;
            j->in.view.offset += (a.in - 1) * a.stride;
            a.step = -a.step;
            a.stride = -a.stride;
        }
        bool whole = a.in == a.out && a.step == 1;
        embed_axis *last = j->rank ? &j->axis[j->rank - 1] : NULL;
        if (whole && a.out == 1 && j->rank) continue;
        if (last && whole && last->step == 1 && last->stride == a.stride * a.in) {
            last->out *= a.out;
            last->in *= a.in;
            last->start *= a.out;
            last->stride = a.stride;
        } else {
            j->axis[j->rank++] = a;
        }
    }
}

/* The operands as the axes tell them. */
static void embed_operands(const embed_job *j, operand *in, operand *out) {
    *in = j->in;
    *out = j->out;
    in->shape.rank = out->shape.rank = j->rank;
    int64_t stride = 1;
    for (int i = j->rank - 1; i >= 0; i--) {
        const embed_axis *a = &j->axis[i];
        in->shape.dim[i] = a->in;
        in->view.stride[i] = a->stride;
        out->shape.dim[i] = a->out;
        out->view.stride[i] = stride;
        stride *= a->out;
    }
}

static mare_status embed_emit(lowering *l, const node *n, const embed_job *j) {
    operand in, out;
    embed_operands(j, &in, &out);
    bool empty = shape_count(&in.shape) == 0;
    int rank = empty ? 0 : j->rank;
    int64_t elements = shape_count(&out.shape);
    bool whole = elements % 4 == 0 && out.view.offset % 4 == 0, steps = false;
    for (int i = 0; i < rank; i++)
        steps = steps || j->axis[i].step != 1;
    launch *k = lower_launch(l, "movement/embed.comp",
                             lower_text(l, "RANK %d\n%s%s%s", rank, empty ? "EMPTY 1\n" : "",
                                        whole ? "WHOLE 1\n" : "", steps ? "STEPS 1\n" : ""));
    if (!k) return lower_error(l);
    uint32_t first = 0, to = 0, wg = lower_workgroup(l);
    launch_spec(k, wg);
    mare_status s = empty ? MARE_OK : launch_bind(l, k, &in, READ, &first);
    if (!s) s = launch_bind(l, k, &out, WRITE, &to);
    if (s) return s;
    launch_u32(k, (uint32_t)elements);
    launch_u32(k, to);
    launch_u32(k, first);
    launch_dyn(k, n, 0);
    for (int i = 0; i < rank; i++) {
        launch_u32(k, (uint32_t)j->axis[i].out);
        launch_i32(k, (int32_t)j->axis[i].start);
        launch_u32(k, (uint32_t)j->axis[i].step);
        launch_u32(k, (uint32_t)j->axis[i].in);
    }
    for (int i = 0; i < rank; i++) {
        launch_i32(k, (int32_t)j->axis[i].stride);
        launch_divisor(k, (uint32_t)j->axis[i].out);
        launch_u32(k, 0);
    }
    uint64_t fours = ((uint64_t)elements + 3) / 4;
    return launch_groups(l, k, (fours + wg - 1) / wg);
}

/* The first element of the input that stands at `place` or behind. */
static int64_t embed_from(const embed_axis *a, int64_t place) {
    int64_t c = place <= a->start ? 0 : (place - a->start + a->step - 1) / a->step;
    return c < a->in ? c : a->in;
}

/* Halves the result along its outermost axis until the device can bind both tensors. */
static mare_status embed_run(lowering *l, const node *n, const embed_job *j) {
    operand in, out;
    embed_operands(j, &in, &out);
    int x = 0;
    while (x < j->rank && j->axis[x].out == 1)
        x++;
    if (x == j->rank || ((shape_count(&in.shape) == 0 || loop_fits(l, &in)) && loop_fits(l, &out)))
        return embed_emit(l, n, j);
    const embed_axis *whole = &j->axis[x];
    int64_t half = whole->out / 2, cut = embed_from(whole, half);
    embed_job part[2] = {*j, *j};
    part[0].axis[x].out = half;
    part[0].axis[x].in = cut;
    part[1].axis[x].out = whole->out - half;
    part[1].axis[x].in = whole->in - cut;
    part[1].axis[x].start = whole->start + cut * whole->step - half;
    part[1].in.view.offset += cut * whole->stride;
    part[1].out.view.offset += half * out.view.stride[x];
    mare_status s = embed_run(l, n, &part[0]);
    return s ? s : embed_run(l, n, &part[1]);
}

static mare_status embed_lower(lowering *l, const node *n, const operand *in, const operand *out) {
    if (shape_count(&n->shape) == 0) return MARE_OK;
    embed_job j = {.in = in[0], .out = *out};
    /* A constant has no memory; of an input that lies in another order, a part of the rows may
     * reach as far as all. */
    bool far = shape_count(&j.in.shape) > 0 && !loop_fits(l, &j.in);
    if (shape_count(&j.in.shape) > 0 && (j.in.buffer < 0 || far)) {
        mare_status s = lower_contiguous(l, &in[0], &j.in);
        if (s) return s;
    }
    embed_axes(n, &j);
    return embed_run(l, n, &j);
}

static void embed_ref(const node *n, const double *const *in, double *out) {
    const embed_attr *a = OP_ATTR(embed_attr, n);
    const shape *s = &n->in[0]->shape;
    int64_t count = shape_count(&n->shape), parts = shape_count(s), c[MAX_DIMS];
    for (int64_t i = 0; i < count; i++)
        out[i] = dtype_value(n->dtype, n->dyn[0]);
    for (int64_t i = 0; i < parts; i++) {
        int64_t rest = i, at = 0;
        for (int d = s->rank - 1; d >= 0; d--) {
            c[d] = rest % s->dim[d];
            rest /= s->dim[d];
        }
        for (int d = 0; d < s->rank; d++)
            at = at * n->shape.dim[d] + a->start[d] + c[d] * a->step[d];
        out[at] = in[0][i];
    }
}

static node *pad_case(graph *g, node **in) {
    return op_pad(g, in[0], (const int64_t[]){1, 0, 2}, (const int64_t[]){0, 3, 1}, 0.5);
}

static node *pad_crop_case(graph *g, node **in) {
    return op_pad(g, in[0], (const int64_t[]){-1, 2, 0}, (const int64_t[]){1, -2, 0}, 3);
}

static node *pad_image_case(graph *g, node **in) {
    return op_pad(g, in[0], (const int64_t[]){0, 0, 2, 2}, (const int64_t[]){0, 0, 2, 2}, 0);
}

static node *embed_case(graph *g, node **in) {
    shape s = shape_of(3, 7, 9, 4);
    return op_embed(g, in[0], &s, (const int64_t[]){0, 8, 1}, (const int64_t[]){3, -2, 1}, 0.25);
}

static const op_case embed_cases[] = {
    {1, {{3, {2, 3, 4}}}, -2, 2, pad_case, {MARE_F32}, {0}, {0}},
    {1, {{3, {2, 3, 4}}}, -2, 2, pad_case, {MARE_F16}, {0}, {0}},
    {1, {{3, {2, 3, 4}}}, -2, 2, pad_case, {MARE_BF16}, {0}, {0}},
    {1, {{3, {2, 3, 4}}}, 0, 255, pad_crop_case, {MARE_U8}, {0}, {0}},
    {1, {{3, {2, 3, 4}}}, -128, 127, pad_crop_case, {MARE_I8}, {0}, {0}},
    {1, {{3, {2, 3, 4}}}, -9, 9, pad_crop_case, {MARE_I32}, {0}, {0}},
    {1, {{3, {2, 3, 4}}}, -2, 2, pad_crop_case, {MARE_F32}, {0}, {0}},
    {1, {{3, {0, 2, 4}}}, -2, 2, pad_case, {MARE_F32}, {0}, {0}},
    {1, {{4, {2, 3, 5, 5}}}, -2, 2, pad_image_case, {MARE_F32}, {0}, {0}},
    {1, {{3, {3, 4, 2}}}, -2, 2, embed_case, {MARE_F32}, {0}, {0}},
    {0},
};

const op op_desc_embed = {
    .name = "embed",
    .at = OP_HERE,
    .doc = "a -> a placed into a larger shape at start and step along each axis, a value elsewhere",
    .attr_size = sizeof(embed_attr),
    .infer = embed_infer,
    .vjp = embed_vjp,
    .lower = embed_lower,
    .ref = embed_ref,
    .cases = embed_cases,
    .smooth = true,
};

bool op_embedded(const node *n, int *axis, int64_t *start) {
    if (n->op != &op_desc_embed || n->dyn[0]) return false;
    const embed_attr *at = OP_ATTR(embed_attr, n);
    *axis = -1;
    for (int i = 0; i < n->shape.rank; i++) {
        if (at->step[i] != 1) return false;
        if (n->in[0]->shape.dim[i] == n->shape.dim[i]) continue;
        if (*axis >= 0) return false;
        *axis = i;
        *start = at->start[i];
    }
    return *axis >= 0;
}

node *op_embed(graph *g, node *a, const shape *s, const int64_t *start, const int64_t *step,
               double value) {
    if (!a) return NULL;
    node *w = op_words(g, a);
    if (!w) return NULL;
    embed_attr at;
    memset(&at, 0, sizeof at);
    at.shape.rank = s->rank;
    for (int i = 0; i < s->rank; i++) {
        at.shape.dim[i] = s->dim[i];
        at.start[i] = start[i];
        at.step[i] = step[i];
    }
    node *n = node_new(g, &op_desc_embed, &w, 1, &at);
    if (!n) return NULL;
    n->n_dyn = 1;
    n->dyn[0] = dtype_word(n->dtype, value);
    if (n->dtype == MARE_I32 && (w->lo <= w->hi || shape_count(&w->shape) == 0)) {
        int64_t v = (int32_t)n->dyn[0];
        bool none = shape_count(&w->shape) == 0;
        n->lo = none || v < w->lo ? v : w->lo;
        n->hi = none || v > w->hi ? v : w->hi;
    }
    return op_cast(g, n, a->dtype);
}

/* ---- put_slice ---------------------------------------------------------------------------- */

static bool put_infer(graph *g, node *n) {
    (void)g;
    const node *x = n->in[0], *value = n->in[1];
    n->dtype = x->dtype;
    n->shape = x->shape;
    if (x->lo <= x->hi && value->lo <= value->hi) {
        n->lo = x->lo < value->lo ? x->lo : value->lo;
        n->hi = x->hi > value->hi ? x->hi : value->hi;
    }
    return true;
}

static bool put_vjp(graph *g, node *n, node *gy, node **gx) {
    const slice_attr *at = OP_ATTR(slice_attr, n);
    node *none = op_full(g, gy->dtype, &n->in[1]->shape, 0);
    if (n->in[0]->requires_grad) {
        gx[0] = node_new(g, &op_desc_put_slice, (node *[]){gy, none}, 2, at);
        if (!gx[0]) return false;
    }
    return (gx[1] = node_new(g, &op_desc_slice, &gy, 1, at)) != NULL;
}

static mare_status put_lower(lowering *l, const node *n, const operand *in, const operand *out) {
    const slice_attr *at = OP_ATTR(slice_attr, n);
    mare_status s = lower_map(l, "a", n->dtype, &in[0], 1, out);
    if (s) return s;
    operand part = *out;
    part.shape = n->in[1]->shape;
    for (int i = 0; i < n->shape.rank; i++) {
        part.view.offset += at->start[i] * out->view.stride[i];
        part.view.stride[i] = at->step[i] * out->view.stride[i];
    }
    return lower_map(l, "a", n->dtype, &in[1], 1, &part);
}

static void put_ref(const node *n, const double *const *in, double *out) {
    const slice_attr *a = OP_ATTR(slice_attr, n);
    const shape *s = &n->in[1]->shape;
    int64_t c[MAX_DIMS] = {0}, all = shape_count(&n->shape), count = shape_count(s);
    for (int64_t i = 0; i < all; i++)
        out[i] = in[0][i];
    for (int64_t i = 0; i < count; i++, op_next_coordinate(s, c)) {
        int64_t at = 0;
        for (int d = 0; d < s->rank; d++)
            at = at * n->shape.dim[d] + a->start[d] + c[d] * a->step[d];
        out[at] = in[1][i];
    }
}

static node *put_case(graph *g, node **in) {
    return op_put_slice(g, in[0], in[1], (const int64_t[]){1, -1, 0}, (const int64_t[]){5, -99, 99},
                        (const int64_t[]){2, -3, 1});
}

static node *put_stretched_case(graph *g, node **in) {
    return op_put_slice(g, in[0], in[1], (const int64_t[]){1, 2}, (const int64_t[]){3, 99},
                        (const int64_t[]){1, 2});
}

static const op_case put_cases[] = {
    {2, {{3, {5, 8, 3}}, {3, {2, 3, 3}}}, -2, 2, put_case, {MARE_F32}, {0}, {0}},
    {2, {{3, {5, 8, 3}}, {3, {2, 3, 3}}}, -2, 2, put_case, {MARE_F16, MARE_F32}, {0}, {0}},
    {2, {{3, {5, 8, 3}}, {3, {2, 3, 3}}}, 0, 99, put_case, {MARE_U8, MARE_I32}, {0}, {0}},
    {2, {{2, {5, 80}}, {2, {2, 1}}}, -2, 2, put_stretched_case, {MARE_F32}, {0}, {0}},
    {2, {{2, {5, 7}}, {0}}, -2, 2, put_stretched_case, {MARE_F32}, {0}, {0}},
    {2, {{2, {5, 2}}, {0}}, -2, 2, put_stretched_case, {MARE_F32}, {0}, {0}},
    {0},
};

const op op_desc_put_slice = {
    .name = "put_slice",
    .at = OP_HERE,
    .doc = "x, value -> x with value in place of every step-th element from start on, along each "
           "axis; f32, i32",
    .attr_size = sizeof(slice_attr),
    .infer = put_infer,
    .vjp = put_vjp,
    .lower = put_lower,
    .ref = put_ref,
    .cases = put_cases,
    .smooth = true,
};

node *op_put_slice(graph *g, node *x, node *value, const int64_t *start, const int64_t *stop,
                   const int64_t *step) {
    if (!x || !value) return NULL;
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    slice_attr at;
    shape s, both;
    if (!slice_of(g, x, start, stop, step, &at)) return NULL;
    s.rank = x->shape.rank;
    memcpy(s.dim, at.count, sizeof s.dim);
    if (!shape_broadcast(&value->shape, &s, &both) || !shape_equal(&both, &s))
        return graph_fail(g, MARE_E_SHAPE, "assignment: %s does not stretch to the part %s",
                          shape_text(&value->shape, a), shape_text(&s, b));
    node *in[2] = {op_words(g, x), op_words(g, op_cast(g, value, x->dtype))};
    in[1] = op_expand(g, in[1], &s);
    return op_cast(g, node_new(g, &op_desc_put_slice, in, 2, &at), x->dtype);
}

/* ---- pad ---------------------------------------------------------------------------------- */

node *op_pad(graph *g, node *a, const int64_t *before, const int64_t *after, double value) {
    if (!a) return NULL;
    char text[SHAPE_TEXT];
    shape s = a->shape;
    int64_t from[MAX_DIMS] = {0}, to[MAX_DIMS] = {0}, start[MAX_DIMS] = {0}, step[MAX_DIMS] = {0};
    bool grows = false;
    for (int i = 0; i < s.rank; i++) {
        int64_t n = s.dim[i], b = before[i], e = after[i];
        if (b > INT32_MAX || e > INT32_MAX || b < -n || e < -n || n + b + e < 0)
            return graph_fail(g, MARE_E_ARGUMENT,
                              "pad: %lld before and %lld after do not fit axis %d of %s",
                              (long long)b, (long long)e, i, shape_text(&a->shape, text));
        s.dim[i] = n + b + e;
        from[i] = b < 0 ? -b : 0;
        to[i] = e < 0 ? n + e : n;
        start[i] = b > 0 ? b : 0;
        step[i] = 1;
        grows = grows || b > 0 || e > 0;
    }
    node *cut = op_slice(g, a, from, to, step);
    return grows ? op_embed(g, cut, &s, start, step, value) : cut;
}
