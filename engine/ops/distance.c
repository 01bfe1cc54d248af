/* Distances and angles between vectors. */
#include "ops/internal.h"

#include <math.h>

node *op_p_norm(graph *g, node *d, double p, bool keepdim) {
    static const char *const names[] = {"a"};
    if (!d) return NULL;
    uint32_t last = 1u << (d->shape.rank - 1);
    if (p == 0) return op_sum(g, op_cast(g, op_map_scalar(g, "ne", d, 0), MARE_F32), last, keepdim);
    node *size = op_map1(g, "abs", d);
    if (p == INFINITY) return op_max(g, size, last, keepdim);
    if (p == 1) return op_sum(g, size, last, keepdim);
    if (p == 2) {
        node *s = op_sum(g, op_map1(g, "square", d), last, keepdim);
        return op_expr(g, "where(a == 0, 0, sqrt(where(a == 0, 1, a)))", names, &s, 1);
    }
    node *power = node_const(g, MARE_F32, p), *root = node_const(g, MARE_F32, 1 / p);
    node *zero = op_map_scalar(g, "eq", size, 0), *one = node_const(g, MARE_F32, 1);
    node *nought = node_const(g, MARE_F32, 0);
    node *terms = op_map2(g, "pow", op_map3(g, "where", zero, one, size), power);
    node *s = op_sum(g, op_map3(g, "where", zero, nought, terms), last, keepdim);
    zero = op_map_scalar(g, "eq", s, 0);
    node *y = op_map2(g, "pow", op_map3(g, "where", zero, one, s), root);
    return op_map3(g, "where", zero, nought, y);
}

static bool check_power(graph *g, const char *call, double p) {
    if (p >= 0) return true;
    return graph_fail(g, MARE_E_ARGUMENT, "%s: p is %g", call, p) != NULL;
}

/* Both in f32; the dtype that the result takes. */
static mare_dtype widen(graph *g, node **a, node **b) {
    mare_dtype t = dtype_promote((*a)->dtype, (*b)->dtype);
    *a = op_cast(g, *a, MARE_F32);
    *b = op_cast(g, *b, MARE_F32);
    return dtype_is_float(t) ? t : MARE_F32;
}

/* ---- cdist -------------------------------------------------------------------------------- */

/* |a|^2 + |b|^2 - 2 a b, with two axes more a product: [a, |a|^2, 1] [-2 b, 1, |b|^2]. */
static node *squares_by_matmul(graph *g, node *a, node *b) {
    int last = a->shape.rank - 1;
    node *sa = op_sum(g, op_map1(g, "square", a), 1u << last, true);
    node *sb = op_sum(g, op_map1(g, "square", b), 1u << (b->shape.rank - 1), true);
    node *ab = op_matmul(g, op_map_scalar(g, "mul", a, -2), op_transpose(g, b, -2, -1));
    return op_map2(g, "add", op_map2(g, "add", ab, sa), op_transpose(g, sb, -2, -1));
}

static bool call_cdist(graph *g, const call_value *v, node **out) {
    static const char *const names[] = {"a"};
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    node *a = v[0].tensor, *b = v[1].tensor;
    int ra = a->shape.rank, rb = b->shape.rank;
    double p = v[2].number;
    if (!check_power(g, "cdist", p)) return false;
    shape lead_a = a->shape, lead_b = b->shape, both;
    lead_a.rank -= 2;
    lead_b.rank -= 2;
    if (ra < 2 || rb < 2 || a->shape.dim[ra - 1] != b->shape.dim[rb - 1] ||
        !shape_broadcast(&lead_a, &lead_b, &both) || both.rank + 3 > MAX_DIMS)
        return graph_fail(g, MARE_E_SHAPE, "cdist: %s and %s are no lists of like vectors",
                          shape_text(&a->shape, s), shape_text(&b->shape, t)) != NULL;
    mare_dtype type = widen(g, &a, &b);
    if (!a || !b) return false;
    bool many = a->shape.dim[ra - 2] > 25 || b->shape.dim[rb - 2] > 25;
    node *y;
    if (p == 2 && (v[3].integer == 1 || (v[3].integer == 0 && many)))
        y = op_expr(g, "where(a <= 0, 0, sqrt(where(a <= 0, 1, a)))", names,
                    (node *[]){squares_by_matmul(g, a, b)}, 1);
    else
        y = op_p_norm(g, op_map2(g, "sub", op_unsqueeze(g, a, -2), op_unsqueeze(g, b, -3)), p,
                      false);
    return (out[0] = op_cast(g, y, type)) != NULL;
}

/* ---- Pairs -------------------------------------------------------------------------------- */

static bool fits(graph *g, const char *call, const node *a, const node *b) {
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    shape both;
    if (shape_broadcast(&a->shape, &b->shape, &both) && both.rank > 0) return true;
    return graph_fail(g, MARE_E_SHAPE, "%s: %s and %s do not broadcast", call,
                      shape_text(&a->shape, s), shape_text(&b->shape, t)) != NULL;
}

static bool call_pairwise_distance(graph *g, const call_value *v, node **out) {
    node *a = v[0].tensor, *b = v[1].tensor;
    if (!check_power(g, "pairwise_distance", v[2].number) || !fits(g, "pairwise_distance", a, b))
        return false;
    mare_dtype type = widen(g, &a, &b);
    node *d = op_map_scalar(g, "add", op_map2(g, "sub", a, b), v[3].number);
    return (out[0] = op_cast(g, op_p_norm(g, d, v[2].number, v[4].integer), type)) != NULL;
}

node *op_direction(graph *g, node *x, int axis, double eps) {
    node *s = op_sum(g, op_map1(g, "square", x), 1u << axis, true);
    node *least = node_const(g, MARE_F32, eps * eps);
    return op_map2(g, "mul", x, op_map1(g, "rsqrt", op_map2(g, "maximum", s, least)));
}

static bool call_cosine_similarity(graph *g, const call_value *v, node **out) {
    char s[SHAPE_TEXT];
    shape both;
    node *a = v[0].tensor, *b = v[1].tensor;
    if (!fits(g, "cosine_similarity", a, b)) return false;
    shape_broadcast(&a->shape, &b->shape, &both);
    int axis = (int)v[2].integer + both.rank - a->shape.rank;
    if (v[3].number <= 0)
        return graph_fail(g, MARE_E_ARGUMENT, "cosine_similarity: eps is %g for %s", v[3].number,
                          shape_text(&both, s)) != NULL;
    mare_dtype type = widen(g, &a, &b);
    a = op_expand(g, a, &both);
    b = op_expand(g, b, &both);
    node *p = op_map2(g, "mul", op_direction(g, a, axis, v[3].number),
                      op_direction(g, b, axis, v[3].number));
    return (out[0] = op_cast(g, op_sum(g, p, 1u << axis, false), type)) != NULL;
}

/* ---- calls -------------------------------------------------------------------------------- */

static const call_arg cdist_args[] = {
    NEED_TENSOR("x1"), NEED_TENSOR("x2"), NUMBER_OPT("p", 2),
    CHOICE_OPT("compute_mode", "use_mm_for_euclid_dist_if_necessary use_mm_for_euclid_dist "
                               "donot_use_mm_for_euclid_dist"),
    END_ARGS};
static const call_arg pairwise_args[] = {NEED_TENSOR("x1"),          NEED_TENSOR("x2"),
                                         NUMBER_OPT("p", 2),         NUMBER_OPT("eps", 1e-6),
                                         FLAG_OPT("keepdim", false), END_ARGS};
static const call_arg cosine_args[] = {NEED_TENSOR("x1"), NEED_TENSOR("x2"), AXIS_OPT("dim", 1),
                                       NUMBER_OPT("eps", 1e-8), END_ARGS};

const op_call op_calls_distance[] = {
    {"cdist",
     "Distances in the p-norm between all vectors of x1 [..., P, M] and x2 [..., R, M]: "
     "[..., P, R]. By differences, which take memory for P R M numbers, or for p = 2, by default "
     "where P or R is above 25, by a matrix product, which loses digits of small distances "
     "between long vectors. Gradient 0 at distance 0.",
     cdist_args, NULL, call_cdist, OP_AT},
    {"pairwise_distance", "The p-norm of x1 - x2 + eps along the last dim; leading dims broadcast.",
     pairwise_args, NULL, call_pairwise_distance, OP_AT},
    {"cosine_similarity",
     "The cosine of the angle between x1 and x2 along a dim; others broadcast, and lengths count "
     "as eps at least.",
     cosine_args, NULL, call_cosine_similarity, OP_AT},
    {0},
};
