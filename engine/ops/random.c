/* Random numbers: Philox at counters that each call draws from the graph's stream. Key and counter
 * are dynamic words, so that a plan serves every step. */
#include "ops/internal.h"
#include "plan/lower.h"

#include <math.h>
#include <string.h>

typedef struct random_attr {
    uint32_t rank;
    uint32_t span; /* of randint; 0 stands for 2^32 */
    int64_t low;
    int64_t dim[MAX_DIMS];
} random_attr;

static bool random_infer(graph *g, node *n) {
    const random_attr *a = OP_ATTR(random_attr, n);
    (void)g;
    n->dtype = n->op == &op_desc_uniform || n->op == &op_desc_normal ? MARE_F32 : MARE_I32;
    n->shape.rank = (int)a->rank;
    memcpy(n->shape.dim, a->dim, sizeof a->dim);
    if (n->op == &op_desc_randint) {
        n->lo = a->low;
        n->hi = a->low + (int64_t)(a->span ? a->span : (uint64_t)1 << 32) - 1;
    }
    return true;
}

/* n takes `counters` numbers of the graph's stream. */
static node *take_stream(node *n, uint64_t counters) {
    if (!n) return NULL;
    rng *r = &n->g->random;
    n->n_dyn = 4;
    n->dyn[0] = (uint32_t)r->seed;
    n->dyn[1] = (uint32_t)(r->seed >> 32);
    n->dyn[2] = (uint32_t)r->next;
    n->dyn[3] = (uint32_t)(r->next >> 32);
    r->next += counters;
    return n;
}

/* Four elements take a counter. */
static uint64_t counters_of(const shape *s) {
    return ((uint64_t)shape_count(s) + 3) / 4;
}

static node *draw(graph *g, const op *o, const shape *s, random_attr a, uint64_t counters) {
    char name[SHAPE_TEXT];
    a.rank = (uint32_t)s->rank;
    for (int d = 0; d < s->rank; d++) {
        if (s->dim[d] < 0)
            return graph_fail(g, MARE_E_SHAPE, "%s: a negative dimension in %s", o->name,
                              shape_text(s, name));
        a.dim[d] = s->dim[d];
    }
    return take_stream(node_new(g, o, NULL, 0, &a), counters);
}

static void push_stream(launch *x, const node *n) {
    for (int i = 0; i < 4; i++)
        launch_dyn(x, n, i);
}

/* ---- Elements from their own words -------------------------------------------------------- */

/* One launch for as many elements, from `from` on, as a device can bind. */
static mare_status draw_part(lowering *l, const node *n, const char *defines, const operand *in,
                             const operand *out, int64_t from) {
    int64_t count = out->shape.dim[0];
    bool fours = count % 4 == 0 && out->view.offset % 4 == 0 && (!in || in->view.offset % 4 == 0);
    defines = lower_text(l, "%s%s", defines, fours ? "FOURS 1\n" : "");
    launch *x = defines ? lower_launch(l, "random/draw.comp", defines) : NULL;
    if (!x) return lower_error(l);
    bool whole = n->op == &op_desc_randint, drops = n->op == &op_desc_dropout;
    uint32_t first, x_first = 0, size = lower_workgroup(l);
    mare_status s = in ? launch_bind(l, x, in, READ, &x_first) : MARE_OK;
    if (s == MARE_OK) s = launch_bind(l, x, out, WRITE, &first);
    if (s != MARE_OK) return s;
    launch_spec(x, size);
    launch_u32(x, (uint32_t)count);
    launch_u32(x, first);
    launch_u32(x, x_first);
    launch_u32(x, (uint32_t)(from / 4));
    push_stream(x, n);
    launch_u32(x, whole ? (uint32_t)OP_ATTR(random_attr, n)->low : 0);
    launch_u32(x, whole ? OP_ATTR(random_attr, n)->span : 0);
    if (drops)
        launch_dyn(x, n, 4);
    else
        launch_u32(x, 0);
    launch_u32(x, 0);
    uint64_t quads = ((uint64_t)count + 3) / 4;
    return launch_groups(l, x, (quads + size - 1) / size);
}

static mare_status draw_lower(lowering *l, const node *n, const operand *in, const operand *out) {
    int64_t count = shape_count(&n->shape),
            most = (int64_t)(l->caps->binding / 4) / 256 * 256 - 256;
    const char *defines = n->op == &op_desc_normal    ? "NORMAL 1\n"
                          : n->op == &op_desc_randint ? "WHOLE 1\n"
                          : n->op == &op_desc_dropout ? "DROPOUT 1\n"
                                                      : "";
    operand flat, x = {0};
    mare_status s = n->n_in ? lower_contiguous(l, &in[0], &x) : MARE_OK;
    /* The plan's results are row-major; a strided one would be filled through scratch memory. */
    if (view_contiguous(&out->shape, &out->view))
        flat = *out;
    else
        flat = lower_scratch(l, n->dtype, &n->shape);
    flat.shape = x.shape = shape_of(1, count);
    flat.view.stride[0] = x.view.stride[0] = 1;
    for (int64_t from = 0; from < count && s == MARE_OK; from += most) {
        operand part = flat, x_part = x;
        part.shape.dim[0] = x_part.shape.dim[0] = count - from < most ? count - from : most;
        part.view.offset += from;
        x_part.view.offset += from;
        s = draw_part(l, n, defines, n->n_in ? &x_part : NULL, &part, from);
    }
    if (s != MARE_OK || flat.buffer == out->buffer) return s;
    flat.shape = n->shape;
    shape_strides(&n->shape, flat.view.stride);
    return lower_map(l, "a", n->dtype, &flat, 1, out);
}

/* The word that element i comes from, or with three more those of its group. */
static void words_of(const node *n, int64_t i, uint32_t out[4]) {
    uint64_t counter = (n->dyn[2] | (uint64_t)n->dyn[3] << 32) + (uint64_t)i / 4;
    uint32_t c[4] = {(uint32_t)counter, (uint32_t)(counter >> 32), 0, 0};
    philox4x32(c, n->dyn, out);
}

static void uniform_ref(const node *n, const double *const *in, double *out) {
    (void)in;
    int64_t count = shape_count(&n->shape);
    uint32_t w[4];
    for (int64_t i = 0; i < count; i++) {
        words_of(n, i, w);
        out[i] = (w[i % 4] >> 8) / 16777216.0;
    }
}

static void normal_ref(const node *n, const double *const *in, double *out) {
    (void)in;
    int64_t count = shape_count(&n->shape);
    uint32_t w[4];
    for (int64_t i = 0; i < count; i++) {
        words_of(n, i, w);
        const uint32_t *pair = w + (i % 4 & 2);
        double r = sqrt(-2 * log(((pair[0] >> 8) + 1.0) / 16777216.0));
        double angle = (pair[1] >> 8) * (6.283185307179586 / 16777216.0);
        out[i] = r * (i % 2 ? sin(angle) : cos(angle));
    }
}

static void randint_ref(const node *n, const double *const *in, double *out) {
    const random_attr *a = OP_ATTR(random_attr, n);
    (void)in;
    int64_t count = shape_count(&n->shape);
    uint64_t span = a->span ? a->span : (uint64_t)1 << 32;
    uint32_t w[4];
    for (int64_t i = 0; i < count; i++) {
        words_of(n, i, w);
        out[i] = (double)(a->low + (int64_t)(w[i % 4] * span >> 32));
    }
}

static node *scaled(graph *g, node *n, double scale, double shift) {
    if (scale != 1) n = op_map_scalar(g, "mul", n, scale);
    return shift != 0 ? op_map_scalar(g, "add", n, shift) : n;
}

node *op_uniform(graph *g, const shape *s, double lo, double hi) {
    if (!(lo <= hi) || !isfinite(hi - lo))
        return graph_fail(g, MARE_E_ARGUMENT, "uniform: %g to %g is no range", lo, hi);
    node *n = draw(g, &op_desc_uniform, s, (random_attr){0}, counters_of(s));
    return scaled(g, n, hi - lo, lo);
}

node *op_normal(graph *g, const shape *s, double mean, double std) {
    if (!(std >= 0) || !isfinite(std) || !isfinite(mean))
        return graph_fail(g, MARE_E_ARGUMENT, "normal: mean %g, standard deviation %g", mean, std);
    node *n = draw(g, &op_desc_normal, s, (random_attr){0}, counters_of(s));
    return scaled(g, n, std, mean);
}

node *op_randint(graph *g, const shape *s, int64_t low, int64_t high) {
    if (low < INT32_MIN || high > (int64_t)INT32_MAX + 1 || low >= high)
        return graph_fail(g, MARE_E_ARGUMENT, "randint: there is no i32 from %lld to below %lld",
                          (long long)low, (long long)high);
    random_attr a = {.low = low, .span = (uint32_t)(high - low)};
    return draw(g, &op_desc_randint, s, a, counters_of(s));
}

node *op_bernoulli(graph *g, node *p) {
    return p ? op_map2(g, "lt", op_uniform(g, &p->shape, 0, 1), p) : NULL;
}

/* ---- dropout: the mask is drawn again for the gradient ------------------------------------ */

static bool dropout_infer(graph *g, node *n) {
    (void)g;
    n->dtype = MARE_F32;
    n->shape = n->in[0]->shape;
    return true;
}

static bool dropout_vjp(graph *g, node *n, node *gy, node **gx) {
    node *y = node_new(g, &op_desc_dropout, &gy, 1, NULL);
    if (!y) return false;
    y->n_dyn = n->n_dyn;
    memcpy(y->dyn, n->dyn, sizeof y->dyn);
    gx[0] = y;
    return true;
}

static void dropout_ref(const node *n, const double *const *in, double *out) {
    int64_t count = shape_count(&n->shape);
    double p = dtype_value(MARE_F32, n->dyn[4]);
    uint32_t w[4];
    for (int64_t i = 0; i < count; i++) {
        words_of(n, i, w);
        out[i] = (w[i % 4] >> 8) / 16777216.0 < p ? 0 : in[0][i] / (1 - p);
    }
}

node *op_dropout(graph *g, node *a, double p) {
    if (!a) return NULL;
    if (!(p >= 0 && p <= 1))
        return graph_fail(g, MARE_E_ARGUMENT, "dropout: p %g is not in 0..1", p);
    node *wide = op_cast(g, a, MARE_F32), *n = node_new(g, &op_desc_dropout, &wide, 1, NULL);
    if (!take_stream(n, counters_of(&a->shape))) return NULL;
    n->dyn[n->n_dyn++] = dtype_word(MARE_F32, p);
    return op_float_like(g, n, a);
}

/* ---- randperm ----------------------------------------------------------------------------- */

enum { MIN_HALF = 5 };

/* Half the bits of the network: 2 half_bits(n) bits hold n, and are enough to mix few numbers. */
static uint32_t half_bits(int64_t n) {
    uint32_t h = MIN_HALF;
    while ((int64_t)1 << 2 * h < n)
        h++;
    return h;
}

static mare_status randperm_lower(lowering *l, const node *n, const operand *in,
                                  const operand *out) {
    (void)in;
    int64_t count = n->shape.dim[0], most = (int64_t)(l->caps->binding / 4) - 64;
    for (int64_t from = 0; from < count; from += most) {
        operand part = *out;
        part.shape.dim[0] = count - from < most ? count - from : most;
        part.view.offset += from * out->view.stride[0];
        launch *x = lower_launch(l, "random/permute.comp", "");
        if (!x) return lower_error(l);
        uint32_t first, size = lower_workgroup(l);
        mare_status s = launch_bind(l, x, &part, WRITE, &first);
        if (s != MARE_OK) return s;
        launch_spec(x, size);
        launch_u32(x, (uint32_t)count);
        launch_u32(x, first);
        launch_i32(x, (int32_t)out->view.stride[0]);
        launch_u32(x, half_bits(count));
        push_stream(x, n);
        launch_u32(x, (uint32_t)from);
        launch_u32(x, (uint32_t)part.shape.dim[0]);
        launch_u32(x, 0);
        launch_u32(x, 0);
        s = launch_groups(l, x, ((uint64_t)part.shape.dim[0] + size - 1) / size);
        if (s != MARE_OK) return s;
    }
    return MARE_OK;
}

/* The finaliser of MurmurHash3. */
static uint32_t mixed(uint32_t x) {
    x ^= x >> 16;
    x *= 0x85EBCA6Bu;
    x ^= x >> 13;
    x *= 0xC2B2AE35u;
    return x ^ x >> 16;
}

static void randperm_ref(const node *n, const double *const *in, double *out) {
    (void)in;
    uint32_t count = (uint32_t)n->shape.dim[0], h = half_bits(n->shape.dim[0]), key[8];
    uint32_t mask = (1u << h) - 1;
    for (uint32_t k = 0; k < 2; k++)
        philox4x32((uint32_t[4]){n->dyn[2], n->dyn[3], 0, k + 1}, n->dyn, key + 4 * k);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t x = i;
        do {
            uint32_t left = x >> h, right = x & mask;
            for (int round = 0; round < 8; round++) {
                uint32_t next = left ^ (mixed(right ^ key[round]) & mask);
                left = right;
                right = next;
            }
            x = left << h | right;
        } while (x >= count);
        out[i] = x;
    }
}

node *op_randperm(graph *g, int64_t n) {
    if (n < 0 || n > (int64_t)1 << 30)
        return graph_fail(g, MARE_E_ARGUMENT, "randperm: 0 to 2^30 numbers, not %lld",
                          (long long)n);
    shape s = shape_of(1, n);
    node *y = draw(g, &op_desc_randperm, &s, (random_attr){0}, 1);
    if (y && n) {
        y->lo = 0;
        y->hi = n - 1;
    }
    return y;
}

/* ---- Descriptors -------------------------------------------------------------------------- */

static node *uniform_odd(graph *g, node **in) {
    shape s = shape_of(2, 7, 149);
    (void)in;
    return op_uniform(g, &s, -1, 3);
}
static node *uniform_one(graph *g, node **in) {
    shape s = shape_of(0);
    (void)in;
    g->random.next = 0xffffffffu; /* the counter's high word is used */
    return op_uniform(g, &s, 0, 1);
}
static node *uniform_carry(graph *g, node **in) {
    shape s = shape_of(1, 99);
    (void)in;
    g->random.next = 0x7fffffff5u;
    return op_uniform(g, &s, 0, 1);
}
static node *uniform_empty(graph *g, node **in) {
    shape s = shape_of(2, 3, 0);
    (void)in;
    return op_uniform(g, &s, 0, 1);
}
static node *bernoulli(graph *g, node **in) {
    return op_bernoulli(g, in[0]);
}
static node *normal_odd(graph *g, node **in) {
    shape s = shape_of(2, 7, 149);
    (void)in;
    return op_normal(g, &s, 1, 2);
}
static node *randint_odd(graph *g, node **in) {
    shape s = shape_of(2, 7, 149);
    (void)in;
    return op_randint(g, &s, -5, 1000);
}
static node *randint_all(graph *g, node **in) {
    shape s = shape_of(1, 99);
    (void)in;
    return op_randint(g, &s, INT32_MIN, (int64_t)INT32_MAX + 1);
}
static node *dropout_half(graph *g, node **in) {
    return op_dropout(g, in[0], 0.5);
}
static node *dropout_some(graph *g, node **in) {
    return op_dropout(g, in[0], 0.1);
}
static node *dropout_all(graph *g, node **in) {
    return op_dropout(g, in[0], 1);
}
static node *randperm_small(graph *g, node **in) {
    (void)in;
    return op_randperm(g, 7);
}
static node *randperm_large(graph *g, node **in) {
    (void)in;
    return op_randperm(g, 5000);
}
static node *randperm_empty(graph *g, node **in) {
    (void)in;
    return op_randperm(g, 0);
}

static const op_case uniform_cases[] = {
    {.build = uniform_odd},
    {.build = uniform_one},
    {.build = uniform_carry},
    {.build = uniform_empty},
    {.n_in = 1, .in = {{2, {5, 7}}}, .lo = 0, .hi = 1, .build = bernoulli},
    {0}};
static const op_case normal_cases[] = {{.build = normal_odd}, {0}};
static const op_case randint_cases[] = {{.build = randint_odd}, {.build = randint_all}, {0}};
#define DROPOUT(f, t, ...)                                                                         \
    {                                                                                              \
        .n_in = 1, .in = {__VA_ARGS__}, .lo = -2, .hi = 2, .build = f, .dtype = { t }              \
    }
static const op_case dropout_cases[] = {DROPOUT(dropout_half, MARE_F32, SHAPE2(7, 149)),
                                        DROPOUT(dropout_some, MARE_F32, SHAPE3(3, 5, 7)),
                                        DROPOUT(dropout_all, MARE_F32, SHAPE1(9)),
                                        DROPOUT(dropout_half, MARE_F32, SHAPE0),
                                        DROPOUT(dropout_half, MARE_F32, SHAPE2(3, 0)),
                                        DROPOUT(dropout_some, MARE_F16, SHAPE2(5, 7)),
                                        {0}};
static const op_case randperm_cases[] = {
    {.build = randperm_small}, {.build = randperm_large}, {.build = randperm_empty}, {0}};

const op op_desc_uniform = {.name = "uniform",
                            .at = OP_HERE,
                            .doc = "Uniform random numbers in [0, 1).",
                            .attr_size = sizeof(random_attr),
                            .infer = random_infer,
                            .lower = draw_lower,
                            .ref = uniform_ref,
                            .cases = uniform_cases};
const op op_desc_normal = {.name = "normal",
                           .at = OP_HERE,
                           .doc = "Random numbers of the standard normal distribution.",
                           .attr_size = sizeof(random_attr),
                           .infer = random_infer,
                           .lower = draw_lower,
                           .ref = normal_ref,
                           .cases = normal_cases};
const op op_desc_randint = {.name = "randint",
                            .at = OP_HERE,
                            .doc = "Whole random numbers of a range; i32.",
                            .attr_size = sizeof(random_attr),
                            .infer = random_infer,
                            .lower = draw_lower,
                            .ref = randint_ref,
                            .cases = randint_cases};
const op op_desc_dropout = {.name = "dropout",
                            .at = OP_HERE,
                            .doc = "a / (1 - p), or 0 with probability p; f32.",
                            .infer = dropout_infer,
                            .vjp = dropout_vjp,
                            .lower = draw_lower,
                            .ref = dropout_ref,
                            .cases = dropout_cases,
                            .smooth = true};
const op op_desc_randperm = {.name = "randperm",
                             .at = OP_HERE,
                             .doc = "A random order of 0..n-1.",
                             .attr_size = sizeof(random_attr),
                             .infer = random_infer,
                             .lower = randperm_lower,
                             .ref = randperm_ref,
                             .cases = randperm_cases};
