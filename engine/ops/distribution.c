/* Distributions that are made of uniform numbers. */
#include "ops/internal.h"

#include <math.h>

/* The shape in an argument; false after an error. */
static bool size_of(graph *g, const char *call, const call_value *v, shape *s) {
    if (v->n > MAX_DIMS)
        return graph_fail(g, MARE_E_SHAPE, "%s: %d dimensions; at most %d", call, v->n, MAX_DIMS) !=
               NULL;
    *s = (shape){.rank = v->n};
    for (int d = 0; d < v->n; d++)
        s->dim[d] = v->integers[d];
    return true;
}

static bool positive(graph *g, const char *call, const char *name, double value) {
    if (value > 0 && isfinite(value)) return true;
    return graph_fail(g, MARE_E_ARGUMENT, "%s: %s %g is not above 0", call, name, value) != NULL;
}

static node *number(graph *g, double value) {
    return node_const(g, MARE_F32, value);
}

/* ---- Plain -------------------------------------------------------------------------------- */

static bool call_bernoulli(graph *g, const call_value *v, node **out) {
    return (out[0] = op_bernoulli(g, v[0].tensor)) != NULL;
}

static bool call_randperm(graph *g, const call_value *v, node **out) {
    return (out[0] = op_randperm(g, v[0].integer)) != NULL;
}

static bool call_rand_like(graph *g, const call_value *v, node **out) {
    node *y = op_uniform(g, &v[0].tensor->shape, 0, 1);
    return (out[0] = op_float_like(g, y, v[0].tensor)) != NULL;
}

static bool call_randn_like(graph *g, const call_value *v, node **out) {
    node *y = op_normal(g, &v[0].tensor->shape, 0, 1);
    return (out[0] = op_float_like(g, y, v[0].tensor)) != NULL;
}

static bool call_randint_like(graph *g, const call_value *v, node **out) {
    return (out[0] = op_randint(g, &v[0].tensor->shape, v[1].integer, v[2].integer)) != NULL;
}

/* ---- By inversion ------------------------------------------------------------------------- */

static node *exponential(graph *g, const shape *s) {
    return op_map1(g, "neg", op_map1(g, "log1p", op_map1(g, "neg", op_uniform(g, s, 0, 1))));
}

/* An exponential number of 0 would make the log infinite; the next possible one is 2^-24. */
static node *gumbel(graph *g, const shape *s) {
    node *e = op_map_scalar(g, "maximum", exponential(g, s), 0x1p-25);
    return op_map1(g, "neg", op_map1(g, "log", e));
}

static bool call_randint(graph *g, const call_value *v, node **out) {
    shape s;
    return size_of(g, "randint", &v[2], &s) &&
           (out[0] = op_randint(g, &s, v[0].integer, v[1].integer)) != NULL;
}

static bool call_exponential(graph *g, const call_value *v, node **out) {
    shape s;
    if (!size_of(g, "exponential", &v[0], &s) || !positive(g, "exponential", "lambd", v[1].number))
        return false;
    node *e = exponential(g, &s);
    return (out[0] = v[1].number == 1 ? e : op_map2(g, "div", e, number(g, v[1].number))) != NULL;
}

static bool call_gumbel(graph *g, const call_value *v, node **out) {
    shape s;
    if (!size_of(g, "gumbel", &v[0], &s) || !positive(g, "gumbel", "scale", v[2].number))
        return false;
    return (out[0] = op_map3(g, "fma", gumbel(g, &s), number(g, v[2].number),
                             number(g, v[1].number))) != NULL;
}

/* Through the tail that is nearer: small probabilities are exact, those near 1 are not. */
static bool call_trunc_normal(graph *g, const call_value *v, node **out) {
    static const char call[] = "trunc_normal";
    static const char *const names[] = {"u", "low", "high", "scale", "mean", "a", "b"};
    double mean = v[1].number, std = v[2].number, a = v[3].number, b = v[4].number;
    shape s;
    if (!size_of(g, call, &v[0], &s) || !positive(g, call, "std", std)) return false;
    if (!(a < b) || !isfinite(mean))
        return graph_fail(g, MARE_E_ARGUMENT, "%s: %g to %g around %g is no range", call, a, b,
                          mean) != NULL;
    bool turned = a > mean;
    double from = (turned ? mean - b : a - mean) / std, to = (turned ? mean - a : b - mean) / std;
    double low = 0.5 * erfc(-from * 0.70710678118654752),
           high = 0.5 * erfc(-to * 0.70710678118654752);
    if (!(high > 1e-36))
        return graph_fail(g, MARE_E_ARGUMENT,
                          "%s: %g to %g is too far from the mean %g, with deviation %g", call, a, b,
                          mean, std) != NULL;
    node *nodes[] = {
        op_uniform(g, &s, 0, 1), number(g, low), number(g, high), number(g, turned ? -std : std),
        number(g, mean),         number(g, a),   number(g, b)};
    out[0] =
        op_expr(g, "clamp(mean + scale * ndtri(low + u * (high - low)), a, b)", names, nodes, 7);
    return out[0] != NULL;
}

/* ---- Choices ------------------------------------------------------------------------------ */

static bool has_classes(graph *g, const char *call, const node *a) {
    char s[SHAPE_TEXT];
    if (a->shape.rank > 0 && a->shape.dim[a->shape.rank - 1] > 0) return true;
    return graph_fail(g, MARE_E_SHAPE, "%s: [..., C] with one class or more is needed, not %s",
                      call, shape_text(&a->shape, s)) != NULL;
}

/* The largest of scores with Gumbel noise has the probability of its softmax: Gumbel 1954. */
static bool call_categorical(graph *g, const call_value *v, node **out) {
    node *a = v[0].tensor;
    if (!has_classes(g, "categorical", a)) return false;
    node *noisy = op_map2(g, "add", op_cast(g, a, MARE_F32), gumbel(g, &a->shape));
    return (out[0] = op_argmax(g, noisy, -1, false)) != NULL;
}

/* The first class of weight above 0 at which the running sum passes a uniform share of the total.
 */
static node *with_replacement(graph *g, node *weight, int64_t samples) {
    static const char *const names[] = {"w", "run"};
    int last = weight->shape.rank - 1;
    node *pair[] = {weight, op_cumsum(g, weight, last)};
    node *run = op_expr(g, "where(w > 0, run, 0)", names, pair, 2);
    node *total = op_max(g, run, 1u << last, true);
    shape s = weight->shape;
    s.dim[last] = samples;
    /* A share that rounded to the whole total would pass no class. */
    static const char *const more[] = {"u", "total", "less"};
    node *nodes[] = {op_uniform(g, &s, 0, 1), total, number(g, 1 - 0x1p-23)};
    node *at = op_expr(g, "minimum(u * total, less * total)", more, nodes, 3);
    node *passed = op_map2(g, "gt", op_unsqueeze(g, run, last), op_unsqueeze(g, at, last + 1));
    return op_argmax(g, op_cast(g, passed, MARE_I32), last + 1, false);
}

/* A race: class i comes in after an exponential time over its weight. */
static node *without_replacement(graph *g, node *weight, int64_t samples) {
    int last = weight->shape.rank - 1;
    node *e = op_map_scalar(g, "maximum", exponential(g, &weight->shape), 0x1p-25);
    node *order = op_argsort(g, op_map2(g, "div", weight, e), last, true);
    return op_narrow(g, order, last, 0, samples);
}

static bool call_multinomial(graph *g, const call_value *v, node **out) {
    static const char call[] = "multinomial";
    char s[SHAPE_TEXT];
    node *a = v[0].tensor;
    if (!has_classes(g, call, a)) return false;
    int64_t classes = a->shape.dim[a->shape.rank - 1], samples = v[1].integer;
    bool again = v[2].integer;
    if (samples < 1 || (!again && samples > classes))
        return graph_fail(g, MARE_E_ARGUMENT, "%s: %lld samples %s of weights %s", call,
                          (long long)samples, again ? "with replacement" : "without replacement",
                          shape_text(&a->shape, s)) != NULL;
    node *weight = op_cast(g, a, MARE_F32);
    out[0] = again ? with_replacement(g, weight, samples) : without_replacement(g, weight, samples);
    return out[0] != NULL;
}

/* hard: the value of the choice, with the gradient of the softmax. */
static bool call_gumbel_softmax(graph *g, const call_value *v, node **out) {
    static const char call[] = "gumbel_softmax";
    static const char *const names[] = {"hot", "soft", "still"};
    node *a = v[0].tensor;
    int axis = (int)v[3].integer, rank = a->shape.rank, order[MAX_DIMS];
    if (!positive(g, call, "tau", v[1].number) || !has_classes(g, call, a)) return false;
    node *noisy = op_map2(g, "add", op_cast(g, a, MARE_F32), gumbel(g, &a->shape));
    node *soft = op_softmax(g, op_map2(g, "div", noisy, number(g, v[1].number)), axis);
    if (v[2].integer && soft) {
        node *hot = op_one_hot(g, op_argmax(g, soft, axis, false), a->shape.dim[axis], MARE_F32);
        for (int d = 0; d < rank; d++) /* the classes come last; they belong at the axis */
            order[d] = d < axis ? d : d == axis ? rank - 1 : d - 1;
        node *nodes[] = {op_permute(g, hot, order, rank), soft, op_detach(g, soft)};
        soft = op_expr(g, "hot + (soft - still)", names, nodes, 3);
    }
    return soft && (out[0] = op_float_like(g, soft, a)) != NULL;
}

/* ---- Calls -------------------------------------------------------------------------------- */

static const call_arg input_args[] = {NEED_TENSOR("input"), END_ARGS};
static const call_arg randperm_args[] = {NEED_INTEGER("n"), END_ARGS};
static const call_arg randint_like_args[] = {NEED_TENSOR("input"), NEED_INTEGER("low"),
                                             NEED_INTEGER("high"), END_ARGS};
static const call_arg randint_args[] = {NEED_INTEGER("low"), NEED_INTEGER("high"),
                                        NEED_INTEGERS("size"), END_ARGS};
static const call_arg exponential_args[] = {NEED_INTEGERS("size"), NUMBER_OPT("lambd", 1),
                                            END_ARGS};
static const call_arg gumbel_args[] = {NEED_INTEGERS("size"), NUMBER_OPT("loc", 0),
                                       NUMBER_OPT("scale", 1), END_ARGS};
static const call_arg trunc_args[] = {NEED_INTEGERS("size"), NUMBER_OPT("mean", 0),
                                      NUMBER_OPT("std", 1),  NUMBER_OPT("a", -2),
                                      NUMBER_OPT("b", 2),    END_ARGS};
static const call_arg multinomial_args[] = {NEED_TENSOR("input"), NEED_INTEGER("num_samples"),
                                            FLAG_OPT("replacement", false), END_ARGS};
static const call_arg softmax_args[] = {NEED_TENSOR("input"), NUMBER_OPT("tau", 1),
                                        FLAG_OPT("hard", false), AXIS_OPT("dim", -1), END_ARGS};

const op_call op_calls_distribution[] = {
    {"bernoulli", "True with the probability that stands in the input; bool.", input_args, NULL,
     call_bernoulli, OP_AT},
    {"randperm", "A random order of 0..n-1; i32.", randperm_args, NULL, call_randperm, OP_AT},
    {"rand_like", "Uniform from 0 to 1, shaped like the input; in its dtype if a float.",
     input_args, NULL, call_rand_like, OP_AT},
    {"randn_like", "Normal, mean 0, deviation 1, shaped like the input; in its dtype if a float.",
     input_args, NULL, call_randn_like, OP_AT},
    {"randint_like", "randint in the shape of the input.", randint_like_args, NULL,
     call_randint_like, OP_AT},
    {"randint",
     "Whole random numbers from low to below high, i32; none is more likely than another by more "
     "than (high - low) / 2^32.",
     randint_args, NULL, call_randint, OP_AT},
    {"exponential", "Random numbers of the exponential distribution with rate lambd; f32.",
     exponential_args, NULL, call_exponential, OP_AT},
    {"gumbel", "Random numbers of the Gumbel distribution at loc, stretched by scale; f32.",
     gumbel_args, NULL, call_gumbel, OP_AT},
    {"trunc_normal",
     "Random numbers of the normal distribution that lie in a..b, by its inverse; f32.", trunc_args,
     NULL, call_trunc_normal, OP_AT},
    {"categorical",
     "For each row of scores [..., C], a class with the probability of its softmax: i32 [...].",
     input_args, NULL, call_categorical, OP_AT},
    {"multinomial",
     "num_samples classes for each row of weights [..., C] (at least 0, of any sum), i32 [..., "
     "num_samples]. Without replacement no class comes twice, and those of weight 0 come last.",
     multinomial_args, NULL, call_multinomial, OP_AT},
    {"gumbel_softmax",
     "softmax((input + Gumbel noise) / tau) along a dimension; hard: 1 for the largest and 0 for "
     "the others, with the gradient of the softmax. Jang et al. 2017, Maddison et al. 2017.",
     softmax_args, NULL, call_gumbel_softmax, OP_AT},
    {0},
};
