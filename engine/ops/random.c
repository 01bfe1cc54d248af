/* Random numbers: Philox at counters that each call draws from the graph's stream. Key and counter
 * are dynamic words, so that a plan serves every step. */
#include "ops/internal.h"
#include "plan/lower.h"

#include <math.h>
#include <string.h>

typedef struct random_attr {
    uint32_t rank;
    int64_t dim[MAX_DIMS];
} random_attr;

static bool random_infer(graph *g, node *n) {
    const random_attr *a = OP_ATTR(random_attr, n);
    (void)g;
    n->dtype = n->op == &op_desc_randperm ? MARE_I32 : MARE_F32;
    n->shape.rank = (int)a->rank;
    memcpy(n->shape.dim, a->dim, sizeof a->dim);
    return true;
}

/* A node that takes `counters` numbers of the graph's stream. */
static node *draw(graph *g, const op *o, const shape *s, uint64_t counters) {
    char name[SHAPE_TEXT];
    random_attr a = {.rank = (uint32_t)s->rank};
    for (int d = 0; d < s->rank; d++) {
        if (s->dim[d] < 0)
            return graph_fail(g, MARE_E_SHAPE, "%s: a negative dimension in %s", o->name,
                              shape_text(s, name));
        a.dim[d] = s->dim[d];
    }
    node *n = node_new(g, o, NULL, 0, &a);
    if (!n) return NULL;
    n->n_dyn = 4;
    n->dyn[0] = (uint32_t)g->random.seed;
    n->dyn[1] = (uint32_t)(g->random.seed >> 32);
    n->dyn[2] = (uint32_t)g->random.next;
    n->dyn[3] = (uint32_t)(g->random.next >> 32);
    g->random.next += counters;
    return n;
}

static void push_stream(launch *x, const node *n) {
    for (int i = 0; i < 4; i++)
        launch_dyn(x, n, i);
}

/* ---- uniform, normal ---------------------------------------------------------------------- */

static mare_status draw_lower(lowering *l, const node *n, const operand *in, const operand *out) {
    (void)in;
    int64_t count = shape_count(&n->shape),
            most = (int64_t)(l->caps->binding / 4) / 256 * 256 - 256;
    operand flat;
    mare_status s = MARE_OK;
    /* The plan's results are row-major; a strided one would be filled through scratch memory. */
    if (view_contiguous(&out->shape, &out->view))
        flat = *out;
    else
        flat = lower_scratch(l, MARE_F32, &n->shape);
    flat.shape = shape_of(1, count);
    flat.view.stride[0] = 1;
    for (int64_t from = 0; from < count && s == MARE_OK; from += most) {
        operand part = flat;
        part.shape.dim[0] = count - from < most ? count - from : most;
        part.view.offset += from;
        launch *x =
            lower_launch(l, "random/draw.comp", n->op == &op_desc_normal ? "NORMAL 1\n" : "");
        if (!x) return lower_error(l);
        uint32_t first, size = lower_workgroup(l);
        s = launch_bind(l, x, &part, WRITE, &first);
        if (s != MARE_OK) return s;
        launch_spec(x, size);
        launch_u32(x, (uint32_t)part.shape.dim[0]);
        launch_u32(x, first);
        launch_i32(x, 1);
        launch_u32(x, (uint32_t)(from / 4));
        push_stream(x, n);
        uint64_t quads = ((uint64_t)part.shape.dim[0] + 3) / 4;
        s = launch_groups(l, x, (quads + size - 1) / size);
    }
    if (s != MARE_OK || flat.buffer == out->buffer) return s;
    flat.shape = n->shape;
    shape_strides(&n->shape, flat.view.stride);
    return lower_map(l, "a", MARE_F32, &flat, 1, out);
}

/* The four words that element i comes from. */
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

static node *scaled(graph *g, node *n, double scale, double shift) {
    if (scale != 1) n = op_map_scalar(g, "mul", n, scale);
    return shift != 0 ? op_map_scalar(g, "add", n, shift) : n;
}

node *op_uniform(graph *g, const shape *s, double lo, double hi) {
    if (!(lo <= hi) || !isfinite(hi - lo))
        return graph_fail(g, MARE_E_ARGUMENT, "uniform: %g to %g is no range", lo, hi);
    node *n = draw(g, &op_desc_uniform, s, (uint64_t)(shape_count(s) + 3) / 4);
    return scaled(g, n, hi - lo, lo);
}

node *op_normal(graph *g, const shape *s, double mean, double std) {
    if (!(std >= 0) || !isfinite(std) || !isfinite(mean))
        return graph_fail(g, MARE_E_ARGUMENT, "normal: mean %g, standard deviation %g", mean, std);
    node *n = draw(g, &op_desc_normal, s, (uint64_t)(shape_count(s) + 3) / 4);
    return scaled(g, n, std, mean);
}

node *op_bernoulli(graph *g, node *p) {
    return p ? op_map2(g, "lt", op_uniform(g, &p->shape, 0, 1), p) : NULL;
}

/* ---- randperm ----------------------------------------------------------------------------- */

enum { ROUNDS = 8, MIN_HALF = 5 };

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

static void randperm_ref(const node *n, const double *const *in, double *out) {
    (void)in;
    uint32_t count = (uint32_t)n->shape.dim[0], h = half_bits(n->shape.dim[0]);
    uint32_t mask = (1u << h) - 1;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t x = i;
        do {
            uint32_t left = x >> h, right = x & mask;
            for (uint32_t round = 1; round <= ROUNDS; round++) {
                uint32_t c[4] = {n->dyn[2], n->dyn[3], right, round}, w[4];
                philox4x32(c, n->dyn, w);
                uint32_t next = left ^ (w[0] & mask);
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
    node *y = draw(g, &op_desc_randperm, &s, 1);
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
static const op_case randperm_cases[] = {
    {.build = randperm_small}, {.build = randperm_large}, {.build = randperm_empty}, {0}};

const op op_desc_uniform = {.name = "uniform",
                            .doc = "Uniform random numbers in [0, 1).",
                            .attr_size = sizeof(random_attr),
                            .infer = random_infer,
                            .lower = draw_lower,
                            .ref = uniform_ref,
                            .cases = uniform_cases};
const op op_desc_normal = {.name = "normal",
                           .doc = "Random numbers of the standard normal distribution.",
                           .attr_size = sizeof(random_attr),
                           .infer = random_infer,
                           .lower = draw_lower,
                           .ref = normal_ref,
                           .cases = normal_cases};
const op op_desc_randperm = {.name = "randperm",
                             .doc = "A random order of 0..n-1.",
                             .attr_size = sizeof(random_attr),
                             .infer = random_infer,
                             .lower = randperm_lower,
                             .ref = randperm_ref,
                             .cases = randperm_cases};
