/* Losses of distances between vectors, and of vectors against each other. */
#include "ops/loss.h"

#include <math.h>

/* Refuses vectors of different shapes, or none. */
static bool same_vectors(graph *g, const char *call, const node *a, const node *b) {
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    if (!shape_equal(&a->shape, &b->shape))
        return graph_fail(g, MARE_E_SHAPE, "%s: the inputs have shapes %s and %s", call,
                          shape_text(&a->shape, s), shape_text(&b->shape, t)) != NULL;
    if (a->shape.rank == 0)
        return graph_fail(g, MARE_E_SHAPE, "%s: vectors [..., D] are needed, not []", call) != NULL;
    return true;
}

/* The shape of what is said of each vector, or a single number for all. */
static bool target_fits(graph *g, const char *call, const node *a, const node *target) {
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    shape rows = a->shape;
    rows.rank--;
    if (shape_equal(&target->shape, &rows)) return true;
    return graph_fail(g, MARE_E_SHAPE, "%s: vectors %s take a target %s, not %s", call,
                      shape_text(&a->shape, s), shape_text(&rows, t),
                      shape_text(&target->shape, (char[SHAPE_TEXT]){0})) != NULL;
}

/* The p-norm of a - b + eps over the last axis. */
static node *distance(graph *g, node *a, node *b, double p, double eps) {
    static const char *const names[] = {"a", "b", "eps"};
    node *nodes[] = {a, b, loss_number(g, eps)};
    return op_p_norm(g, loss_expr(g, "a - b + eps", names, nodes, 3), p, false);
}

static bool good_norm(graph *g, const char *call, double p) {
    if (p > 0) return true;
    return graph_fail(g, MARE_E_ARGUMENT, "%s: p %g is not above 0", call, p) != NULL;
}

/* ---- Distances ---------------------------------------------------------------------------- */

static bool call_margin_ranking(graph *g, const call_value *v, node **out) {
    static const char call[] = "margin_ranking_loss";
    static const char *const names[] = {"a", "b", "t", "margin"};
    node *a = v[0].tensor, *b = v[1].tensor, *target = v[2].tensor;
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    if (!shape_equal(&a->shape, &b->shape) ||
        (target->shape.rank > 0 && !shape_equal(&a->shape, &target->shape)))
        return graph_fail(g, MARE_E_SHAPE, "%s: inputs %s and %s, target %s: all have one shape",
                          call, shape_text(&a->shape, s), shape_text(&b->shape, t),
                          shape_text(&target->shape, (char[SHAPE_TEXT]){0})) != NULL;
    node *nodes[] = {a, b, target, loss_number(g, v[3].number)};
    node *loss = loss_expr(g, "relu(margin - t * (a - b))", names, nodes, 4);
    return loss && (out[0] = loss_reduce(g, loss, (reduction)v[4].integer, loss_dtype(a, b)));
}

static bool call_triplet_margin(graph *g, const call_value *v, node **out) {
    static const char call[] = "triplet_margin_loss";
    static const char *const names[] = {"near", "far", "margin"};
    node *a = v[0].tensor, *p = v[1].tensor, *n = v[2].tensor;
    double norm = v[4].number, eps = v[5].number;
    if (!same_vectors(g, call, a, p) || !same_vectors(g, call, a, n) || !good_norm(g, call, norm))
        return false;
    node *far = distance(g, a, n, norm, eps);
    if (v[6].integer) far = op_map2(g, "minimum", far, distance(g, p, n, norm, eps));
    node *nodes[] = {distance(g, a, p, norm, eps), far, loss_number(g, v[3].number)};
    node *loss = op_expr(g, "relu(margin + near - far)", names, nodes, 3);
    return loss && (out[0] = loss_reduce(g, loss, (reduction)v[7].integer, loss_dtype(a, p)));
}

static bool call_contrastive(graph *g, const call_value *v, node **out) {
    static const char call[] = "contrastive_loss";
    static const char *const names[] = {"d", "apart", "margin"};
    node *a = v[0].tensor, *b = v[1].tensor, *target = v[2].tensor;
    if (!same_vectors(g, call, a, b) || !target_fits(g, call, a, target)) return false;
    node *nodes[] = {distance(g, a, b, 2, 0), target, loss_number(g, v[3].number)};
    node *loss = loss_expr(g, "0.5 * ((1 - apart) * square(d) + apart * square(relu(margin - d)))",
                           names, nodes, 3);
    return loss && (out[0] = loss_reduce(g, loss, (reduction)v[4].integer, loss_dtype(a, b)));
}

static bool call_cosine_embedding(graph *g, const call_value *v, node **out) {
    static const char call[] = "cosine_embedding_loss";
    static const char *const names[] = {"dot", "aa", "bb", "t", "margin"};
    node *a = v[0].tensor, *b = v[1].tensor, *target = v[2].tensor;
    if (!same_vectors(g, call, a, b) || !target_fits(g, call, a, target)) return false;
    uint32_t last = 1u << (a->shape.rank - 1);
    node *x = loss_wide(g, a), *y = loss_wide(g, b);
    node *nodes[] = {op_sum(g, op_map2(g, "mul", x, y), last, false),
                     op_sum(g, op_map1(g, "square", x), last, false),
                     op_sum(g, op_map1(g, "square", y), last, false), target,
                     loss_number(g, v[3].number)};
    node *loss = loss_expr(g,
                           "c = dot * rsqrt(aa + 1e-12) * rsqrt(bb + 1e-12); "
                           "where(t == 1, 1 - c, 0) + where(t == -1, relu(c - margin), 0)",
                           names, nodes, 5);
    return loss && (out[0] = loss_reduce(g, loss, (reduction)v[4].integer, loss_dtype(a, b)));
}

/* ---- One against many --------------------------------------------------------------------- */

/* Each vector over its length. */
static node *unit(graph *g, node *a) {
    return op_direction(g, loss_wide(g, a), a->shape.rank - 1, 1e-12);
}

static bool matrices(graph *g, const char *call, const node *a, const node *b, double temperature) {
    char s[SHAPE_TEXT];
    if (!same_vectors(g, call, a, b)) return false;
    if (a->shape.rank != 2)
        return graph_fail(g, MARE_E_SHAPE, "%s: the inputs are [N, D], not %s", call,
                          shape_text(&a->shape, s)) != NULL;
    if (temperature > 0) return true;
    return graph_fail(g, MARE_E_ARGUMENT, "%s: temperature %g is not above 0", call, temperature) !=
           NULL;
}

/* Cross entropy of scores [N, M] and the class (i + first) mod M for row i. */
static node *row_entropy(graph *g, node *scores, int64_t first, reduction r, mare_dtype t) {
    if (!scores) return NULL;
    int64_t rows = scores->shape.dim[0], columns = scores->shape.dim[1];
    node *target = op_arange(g, MARE_I32, (double)first, 1, rows);
    if (first) /* wraps around once */
        target = op_map_scalar(g, "mod", target, (double)columns);
    if (target && rows) {
        target->lo = 0;
        target->hi = columns - 1;
    }
    node *loss = op_cross_entropy(g, scores, target, &(class_loss){NULL, NO_CLASS, 0, r});
    return op_cast(g, loss, t);
}

static bool call_info_nce(graph *g, const call_value *v, node **out) {
    static const char call[] = "info_nce_loss";
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    node *query = v[0].tensor, *key = v[1].tensor, *others = v[2].tensor;
    if (!matrices(g, call, query, key, v[3].number)) return false;
    node *q = op_map2(g, "div", unit(g, query), loss_number(g, v[3].number)), *k = unit(g, key);
    reduction r = (reduction)v[4].integer;
    mare_dtype type = loss_dtype(query, key);
    if (!others) {
        node *scores = op_matmul(g, q, op_transpose(g, k, 0, 1));
        return (out[0] = row_entropy(g, scores, 0, r, type)) != NULL;
    }
    int64_t n = query->shape.dim[0], d = query->shape.dim[1];
    int rank = others->shape.rank;
    if (rank < 2 || rank > 3 || others->shape.dim[rank - 1] != d ||
        (rank == 3 && others->shape.dim[0] != n))
        return graph_fail(g, MARE_E_SHAPE,
                          "%s: queries %s take negatives [M, D] or [N, M, D], "
                          "not %s",
                          call, shape_text(&query->shape, s),
                          shape_text(&others->shape, t)) != NULL;
    node *own = op_sum(g, op_map2(g, "mul", q, k), 2, true);
    node *turned = op_transpose(g, unit(g, others), rank - 2, rank - 1);
    node *wrong = rank == 2 ? op_matmul(g, q, turned)
                            : op_squeeze(g, op_matmul(g, op_unsqueeze(g, q, 1), turned), 1);
    node *parts[] = {own, wrong}, *scores = op_concat(g, parts, 2, 1);
    node *classes = op_full(g, MARE_I32, &(shape){1, {n}}, 0);
    if (classes) classes->lo = classes->hi = 0;
    node *loss = op_cross_entropy(g, scores, classes, &(class_loss){NULL, NO_CLASS, 0, r});
    return (out[0] = op_cast(g, loss, type)) != NULL;
}

static bool call_nt_xent(graph *g, const call_value *v, node **out) {
    node *a = v[0].tensor, *b = v[1].tensor;
    if (!matrices(g, "nt_xent_loss", a, b, v[2].number)) return false;
    int64_t n = a->shape.dim[0];
    node *parts[] = {unit(g, a), unit(g, b)}, *all = op_concat(g, parts, 2, 0);
    node *heated = op_map2(g, "div", all, loss_number(g, v[2].number));
    node *scores = op_matmul(g, heated, op_transpose(g, all, 0, 1));
    /* No vector is its own neighbour. */
    node *count = op_arange(g, MARE_I32, 0, 1, 2 * n);
    node *self = op_map2(g, "eq", count, op_unsqueeze(g, count, 1));
    scores = op_map3(g, "where", self, loss_number(g, -INFINITY), scores);
    out[0] = row_entropy(g, scores, n, (reduction)v[3].integer, loss_dtype(a, b));
    return out[0] != NULL;
}

/* ---- Calls -------------------------------------------------------------------------------- */

static const call_arg ranking_args[] = {NEED_TENSOR("input1"), NEED_TENSOR("input2"),
                                        NEED_TENSOR("target"), NUMBER_OPT("margin", 0),
                                        REDUCTION_OPT,         END_ARGS};
static const call_arg triplet_args[] = {
    NEED_TENSOR("anchor"),   NEED_TENSOR("positive"), NEED_TENSOR("negative"),
    NUMBER_OPT("margin", 1), NUMBER_OPT("p", 2),      NUMBER_OPT("eps", 1e-6),
    FLAG_OPT("swap", false), REDUCTION_OPT,           END_ARGS};
static const call_arg contrastive_args[] = {NEED_TENSOR("input1"), NEED_TENSOR("input2"),
                                            NEED_TENSOR("target"), NUMBER_OPT("margin", 1),
                                            REDUCTION_OPT,         END_ARGS};
static const call_arg nce_args[] = {NEED_TENSOR("query"),    NEED_TENSOR("positive"),
                                    TENSOR_OPT("negatives"), NUMBER_OPT("temperature", 0.1),
                                    REDUCTION_OPT,           END_ARGS};
static const call_arg xent_args[] = {NEED_TENSOR("input1"), NEED_TENSOR("input2"),
                                     NUMBER_OPT("temperature", 0.5), REDUCTION_OPT, END_ARGS};

const op_call op_calls_loss_metric[] = {
    {"margin_ranking_loss",
     "max(0, margin - target (input1 - input2)): target 1 wants the first input larger, -1 the "
     "second.",
     ranking_args, NULL, call_margin_ranking, OP_AT},
    {"triplet_margin_loss",
     "max(0, margin + d(anchor, positive) - d(anchor, negative)) of vectors [..., D]; d is the "
     "p-norm of the difference + eps; swap takes d(positive, negative) where that is smaller. "
     "Balntas et al. 2016.",
     triplet_args, NULL, call_triplet_margin, OP_AT},
    {"contrastive_loss",
     "d d / 2 for pairs of vectors [..., D] that belong together (target 0), max(0, margin - d)^2 "
     "/ 2 for others (target 1). Hadsell et al. 2006.",
     contrastive_args, NULL, call_contrastive, OP_AT},
    {"cosine_embedding_loss",
     "1 - cos of the angle between vectors [..., D] where the target is 1, max(0, cos - margin) "
     "where it is -1.",
     ranking_args, NULL, call_cosine_embedding, OP_AT},
    {"info_nce_loss",
     "Cross entropy of the cosines between queries [N, D] and keys, over the temperature: the "
     "query's own positive [N, D] is right, the negatives [M, D] or [N, M, D] (the other "
     "positives when left out) are wrong. van den Oord et al. 2018.",
     nce_args, NULL, call_info_nce, OP_AT},
    {"nt_xent_loss",
     "Two views [N, D] of the same N things: each vector's cosine with its other view against "
     "those with all others, over the temperature; 2 N losses. Chen et al. 2020.",
     xent_args, NULL, call_nt_xent, OP_AT},
    {0},
};
