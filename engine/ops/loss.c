/* Losses that compare element by element, and what all losses share. */
#include "ops/loss.h"

#include <math.h>

mare_dtype loss_dtype(const node *a, const node *b) {
    mare_dtype t = dtype_promote(a->dtype, b->dtype);
    return dtype_is_float(t) ? t : MARE_F32;
}

node *loss_reduce(graph *g, node *loss, reduction r, mare_dtype t) {
    if (!loss) return NULL;
    if (r == REDUCE_SUM) loss = op_sum(g, loss, 0, false);
    if (r == REDUCE_MEAN) loss = op_mean(g, loss, 0, false);
    return op_cast(g, loss, t);
}

node *loss_number(graph *g, double value) {
    return node_const(g, MARE_F32, value);
}

node *loss_wide(graph *g, node *a) {
    return op_cast(g, a, MARE_F32);
}

node *loss_expr(graph *g, const char *expr, const char *const *names, node *const *nodes, int n) {
    node *wide[8];
    for (int i = 0; i < n; i++)
        if (!(wide[i] = loss_wide(g, nodes[i]))) return NULL;
    return op_expr(g, expr, names, wide, n);
}

node *loss_weighted(graph *g, const char *call, node *loss, node *weight) {
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    shape both;
    if (!loss || !weight) return loss;
    if (!shape_broadcast(&loss->shape, &weight->shape, &both) || !shape_equal(&both, &loss->shape))
        return graph_fail(g, MARE_E_SHAPE, "%s: a weight of shape %s does not stretch to %s", call,
                          shape_text(&weight->shape, s), shape_text(&loss->shape, t));
    return op_map2(g, "mul", loss, loss_wide(g, weight));
}

bool loss_same_shapes(graph *g, const char *call, const node *a, const node *b) {
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    if (!a || !b) return false;
    if (shape_equal(&a->shape, &b->shape)) return true;
    return graph_fail(g, MARE_E_SHAPE, "%s: the input has shape %s, the target %s", call,
                      shape_text(&a->shape, s), shape_text(&b->shape, t)) != NULL;
}

bool loss_in_range(graph *g, const char *call, const char *name, double value, double lo,
                   double hi) {
    if (value >= lo && value <= hi) return true;
    if (hi < INFINITY)
        return graph_fail(g, MARE_E_ARGUMENT, "%s: %s %g is not in %g..%g", call, name, value, lo,
                          hi) != NULL;
    return graph_fail(g, MARE_E_ARGUMENT, "%s: %s %g is not %g or more", call, name, value, lo) !=
           NULL;
}

/* An expression of input a, target b, and a number c. */
static node *compared(graph *g, const char *call, const char *expr, node *a, node *b, double c) {
    static const char *const names[] = {"a", "b", "c"};
    if (!loss_same_shapes(g, call, a, b)) return NULL;
    node *nodes[] = {a, b, loss_number(g, c)};
    return loss_expr(g, expr, names, nodes, 3);
}

static node *pair_loss(graph *g, const char *call, const char *expr, node *a, node *b, double c,
                       reduction r) {
    node *loss = compared(g, call, expr, a, b, c);
    return loss ? loss_reduce(g, loss, r, loss_dtype(a, b)) : NULL;
}

/* ---- Regression --------------------------------------------------------------------------- */

node *op_mse_loss(graph *g, node *a, node *b, reduction r) {
    return pair_loss(g, "mse_loss", "square(a - b)", a, b, 0, r);
}

node *op_l1_loss(graph *g, node *a, node *b, reduction r) {
    return pair_loss(g, "l1_loss", "abs(a - b)", a, b, 0, r);
}

static bool call_mse(graph *g, const call_value *v, node **out) {
    return (out[0] = op_mse_loss(g, v[0].tensor, v[1].tensor, (reduction)v[2].integer)) != NULL;
}

static bool call_l1(graph *g, const call_value *v, node **out) {
    return (out[0] = op_l1_loss(g, v[0].tensor, v[1].tensor, (reduction)v[2].integer)) != NULL;
}

static bool call_huber(graph *g, const call_value *v, node **out) {
    if (!(v[3].number > 0) || !isfinite(v[3].number))
        return graph_fail(g, MARE_E_ARGUMENT, "huber_loss: delta %g is not above 0", v[3].number) !=
               NULL;
    out[0] =
        pair_loss(g, "huber_loss", "d = abs(a - b); where(d <= c, 0.5 * d * d, c * (d - 0.5 * c))",
                  v[0].tensor, v[1].tensor, v[3].number, (reduction)v[2].integer);
    return out[0] != NULL;
}

static bool call_smooth_l1(graph *g, const call_value *v, node **out) {
    static const char call[] = "smooth_l1_loss";
    if (!loss_in_range(g, call, "beta", v[3].number, 0, INFINITY)) return false;
    const char *expr = v[3].number == 0
                           ? "abs(a - b)"
                           : "d = abs(a - b); where(d < c, 0.5 * d * d / c, d - 0.5 * c)";
    out[0] =
        pair_loss(g, call, expr, v[0].tensor, v[1].tensor, v[3].number, (reduction)v[2].integer);
    return out[0] != NULL;
}

/* ---- Probabilities ------------------------------------------------------------------------ */

static const char bce_name[] = "binary_cross_entropy";
static const char logits_name[] = "binary_cross_entropy_with_logits";

/* The logs of 0 are -100, so that 0 and 1 give finite losses, and their arguments are kept off 0,
 * so that gradients are finite, too; what is no probability gives NaN. */
static node *bce(graph *g, node *p, node *target, node *weight, reduction r) {
    node *loss = compared(g, bce_name,
                          "yes = where(a < 1.1754944e-38, -100, log(maximum(a, 1.1754944e-38))); "
                          "no = where(a >= 1, -100, log1p(-minimum(a, 0.99999994))); "
                          "where(and(a >= 0, a <= 1), -(b * yes + (1 - b) * no), nan)",
                          p, target, 0);
    loss = loss_weighted(g, bce_name, loss, weight);
    return loss ? loss_reduce(g, loss, r, loss_dtype(p, target)) : NULL;
}

node *op_bce_loss(graph *g, node *p, node *target, reduction r) {
    return bce(g, p, target, NULL, r);
}

/* Neither term cancels, so that small losses of large logits are right. */
static node *bce_with_logits(graph *g, node *logits, node *target, node *weight, node *pos_weight,
                             reduction r) {
    static const char *const names[] = {"yes", "no"};
    node *yes = compared(g, logits_name, "b * softplus(-a)", logits, target, 0);
    node *no = compared(g, logits_name, "(1 - b) * softplus(a)", logits, target, 0);
    node *terms[] = {loss_weighted(g, logits_name, yes, pos_weight), no};
    node *loss = loss_weighted(g, logits_name, op_expr(g, "yes + no", names, terms, 2), weight);
    return loss ? loss_reduce(g, loss, r, loss_dtype(logits, target)) : NULL;
}

node *op_bce_with_logits(graph *g, node *logits, node *target, reduction r) {
    return bce_with_logits(g, logits, target, NULL, NULL, r);
}

static bool call_bce(graph *g, const call_value *v, node **out) {
    out[0] = bce(g, v[0].tensor, v[1].tensor, v[2].tensor, (reduction)v[3].integer);
    return out[0] != NULL;
}

static bool call_bce_with_logits(graph *g, const call_value *v, node **out) {
    out[0] = bce_with_logits(g, v[0].tensor, v[1].tensor, v[2].tensor, v[4].tensor,
                             (reduction)v[3].integer);
    return out[0] != NULL;
}

/* q is the probability of the wrong answer; kept off 0, where a power of it may have no slope. */
static bool call_sigmoid_focal(graph *g, const call_value *v, node **out) {
    static const char call[] = "sigmoid_focal_loss";
    static const char *const names[] = {"loss", "b", "alpha"};
    double alpha = v[2].number, gamma = v[3].number;
    if (!loss_in_range(g, call, "gamma", gamma, 0, INFINITY) ||
        (alpha >= 0 && !loss_in_range(g, call, "alpha", alpha, 0, 1)))
        return false;
    node *x = v[0].tensor, *target = v[1].tensor;
    node *loss = compared(g, call,
                          "q = maximum(b * sigmoid(-a) + (1 - b) * sigmoid(a), 1e-37); "
                          "pow(q, c) * (b * softplus(-a) + (1 - b) * softplus(a))",
                          x, target, gamma);
    if (!loss) return false;
    if (alpha >= 0) {
        node *nodes[] = {loss, target, loss_number(g, alpha)};
        loss = loss_expr(g, "loss * (alpha * b + (1 - alpha) * (1 - b))", names, nodes, 3);
    }
    return (out[0] = loss_reduce(g, loss, (reduction)v[4].integer, loss_dtype(x, target))) != NULL;
}

enum { KL_BATCHMEAN = REDUCE_NONE + 1 }; /* the place of its word */

static bool call_kl_div(graph *g, const call_value *v, node **out) {
    node *x = v[0].tensor, *target = v[1].tensor;
    const char *expr = v[3].integer ? "exp(b) * (b - a)"
                                    : "b * log(where(b == 0, 1, b)) - where(b == 0, 0, b * a)";
    node *loss = compared(g, "kl_div", expr, x, target, 0);
    if (!loss) return false;
    bool batch = v[2].integer == KL_BATCHMEAN;
    if (batch && x->shape.rank == 0)
        return graph_fail(g, MARE_E_SHAPE, "kl_div: \"batchmean\" needs a batch, not []") != NULL;
    mare_dtype t = loss_dtype(x, target);
    if (batch) {
        node *sum = loss_reduce(g, loss, REDUCE_SUM, MARE_F32);
        node *count = loss_number(g, (double)x->shape.dim[0]);
        out[0] = op_cast(g, op_map2(g, "div", sum, count), t);
    } else {
        out[0] = loss_reduce(g, loss, (reduction)v[2].integer, t);
    }
    return out[0] != NULL;
}

static bool call_poisson_nll(graph *g, const call_value *v, node **out) {
    static const char call[] = "poisson_nll_loss";
    bool log_input = v[2].integer, full = v[3].integer;
    node *x = v[0].tensor, *target = v[1].tensor;
    node *loss = compared(g, call, log_input ? "exp(a) - b * a" : "a - b * log(a + c)", x, target,
                          v[4].number);
    if (loss && full) {
        /* Stirling's formula for the log of the target's factorial. */
        node *more = compared(g, call,
                              "t = where(b > 1, b, 1); where(b > 1, "
                              "t * log(t) - t + 0.5 * log(6.2831853071795865 * t), 0)",
                              x, target, 0);
        loss = op_map2(g, "add", loss, more);
    }
    return loss && (out[0] = loss_reduce(g, loss, (reduction)v[5].integer, loss_dtype(x, target)));
}

/* The variance as it stands, or one for each row, with or without a last axis of 1. */
static node *variance_for(graph *g, const char *call, const node *x, node *var) {
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    shape rows = x->shape, kept = x->shape;
    if (x->shape.rank > 0) {
        rows.rank--;
        kept.dim[kept.rank - 1] = 1;
    }
    if (shape_equal(&var->shape, &x->shape) || shape_equal(&var->shape, &kept) ||
        var->shape.rank == 0)
        return var;
    if (shape_equal(&var->shape, &rows)) return op_unsqueeze(g, var, -1);
    return graph_fail(g, MARE_E_SHAPE, "%s: the input has shape %s, the variance %s", call,
                      shape_text(&x->shape, s), shape_text(&var->shape, t));
}

/* A variance that was raised to eps still gets its gradient, and so can grow. */
static bool call_gaussian_nll(graph *g, const call_value *v, node **out) {
    static const char call[] = "gaussian_nll_loss";
    static const char *const names[] = {"a", "b", "v", "still", "eps", "more"};
    node *x = v[0].tensor, *target = v[1].tensor;
    if (!loss_same_shapes(g, call, x, target)) return false;
    if (!(v[4].number > 0))
        return graph_fail(g, MARE_E_ARGUMENT, "%s: eps %g is not above 0", call, v[4].number) !=
               NULL;
    node *var = variance_for(g, call, x, v[2].tensor);
    if (!var) return false;
    node *nodes[] = {x,
                     target,
                     var,
                     op_detach(g, var),
                     loss_number(g, v[4].number),
                     loss_number(g, v[3].integer ? log(6.2831853071795865) : 0)};
    node *loss = loss_expr(g,
                           "s = where(v < eps, eps + (v - still), v); "
                           "0.5 * (log(s) + square(a - b) / s + more)",
                           names, nodes, 6);
    return loss && (out[0] = loss_reduce(g, loss, (reduction)v[5].integer, loss_dtype(x, target)));
}

static bool call_soft_margin(graph *g, const call_value *v, node **out) {
    out[0] = pair_loss(g, "soft_margin_loss", "softplus(-a * b)", v[0].tensor, v[1].tensor, 0,
                       (reduction)v[2].integer);
    return out[0] != NULL;
}

static bool call_hinge_embedding(graph *g, const call_value *v, node **out) {
    out[0] =
        pair_loss(g, "hinge_embedding_loss", "where(b == 1, a, 0) + where(b == -1, relu(c - a), 0)",
                  v[0].tensor, v[1].tensor, v[2].number, (reduction)v[3].integer);
    return out[0] != NULL;
}

static bool call_multilabel_soft_margin(graph *g, const call_value *v, node **out) {
    static const char call[] = "multilabel_soft_margin_loss";
    node *x = v[0].tensor, *target = v[1].tensor;
    node *loss = compared(g, call, "b * softplus(-a) + (1 - b) * softplus(a)", x, target, 0);
    if (!(loss = loss_weighted(g, call, loss, v[2].tensor))) return false;
    if (x->shape.rank == 0)
        return graph_fail(g, MARE_E_SHAPE, "%s: scores [..., C] are needed, not []", call) != NULL;
    loss = op_mean(g, loss, 1u << (x->shape.rank - 1), false);
    return (out[0] = loss_reduce(g, loss, (reduction)v[3].integer, loss_dtype(x, target))) != NULL;
}

/* ---- Calls -------------------------------------------------------------------------------- */

static const call_arg pair_args[] = {NEED_TENSOR("input"), NEED_TENSOR("target"), REDUCTION_OPT,
                                     END_ARGS};
static const call_arg huber_args[] = {NEED_TENSOR("input"), NEED_TENSOR("target"), REDUCTION_OPT,
                                      NUMBER_OPT("delta", 1), END_ARGS};
static const call_arg smooth_args[] = {NEED_TENSOR("input"), NEED_TENSOR("target"), REDUCTION_OPT,
                                       NUMBER_OPT("beta", 1), END_ARGS};
static const call_arg weighted_args[] = {NEED_TENSOR("input"), NEED_TENSOR("target"),
                                         TENSOR_OPT("weight"), REDUCTION_OPT, END_ARGS};
static const call_arg logits_args[] = {NEED_TENSOR("input"),     NEED_TENSOR("target"),
                                       TENSOR_OPT("weight"),     REDUCTION_OPT,
                                       TENSOR_OPT("pos_weight"), END_ARGS};
static const call_arg focal_args[] = {
    NEED_TENSOR("input"),   NEED_TENSOR("target"), NUMBER_OPT("alpha", 0.25),
    NUMBER_OPT("gamma", 2), REDUCTION_OPT,         END_ARGS};
static const call_arg kl_args[] = {NEED_TENSOR("input"), NEED_TENSOR("target"),
                                   CHOICE_OPT("reduction", "mean sum none batchmean"),
                                   FLAG_OPT("log_target", false), END_ARGS};
static const call_arg poisson_args[] = {NEED_TENSOR("input"),
                                        NEED_TENSOR("target"),
                                        FLAG_OPT("log_input", true),
                                        FLAG_OPT("full", false),
                                        NUMBER_OPT("eps", 1e-8),
                                        REDUCTION_OPT,
                                        END_ARGS};
static const call_arg gaussian_args[] = {NEED_TENSOR("input"),
                                         NEED_TENSOR("target"),
                                         NEED_TENSOR("var"),
                                         FLAG_OPT("full", false),
                                         NUMBER_OPT("eps", 1e-6),
                                         REDUCTION_OPT,
                                         END_ARGS};
static const call_arg hinge_args[] = {NEED_TENSOR("input"), NEED_TENSOR("target"),
                                      NUMBER_OPT("margin", 1), REDUCTION_OPT, END_ARGS};

#define BCE_DOC                                                                                    \
    "Binary cross entropy of probabilities and targets in 0..1 of the same shape; the logs of 0 "  \
    "count as -100. weight stretches to the input."
#define LOGITS_DOC                                                                                 \
    "Binary cross entropy of sigmoid(input) and targets in 0..1 of the same shape, without "       \
    "overflow. weight and pos_weight (of the targets' share) stretch to the input."

const op_call op_calls_loss[] = {
    {"mse_loss", "Mean of the squared differences of two tensors of the same shape.", pair_args,
     NULL, call_mse, OP_AT},
    {"l1_loss", "Mean of the absolute differences of two tensors of the same shape.", pair_args,
     NULL, call_l1, OP_AT},
    {"huber_loss",
     "Half the squared difference up to delta, then delta (|d| - delta / 2). Huber 1964.",
     huber_args, NULL, call_huber, OP_AT},
    {"smooth_l1_loss",
     "d d / (2 beta) for differences below beta, else |d| - beta / 2. Girshick 2015.", smooth_args,
     NULL, call_smooth_l1, OP_AT},
    {"binary_cross_entropy", BCE_DOC, weighted_args, NULL, call_bce, OP_AT},
    {"bce_loss", "binary_cross_entropy by its short name.", weighted_args, NULL, call_bce, OP_AT},
    {"binary_cross_entropy_with_logits", LOGITS_DOC, logits_args, NULL, call_bce_with_logits,
     OP_AT},
    {"bce_with_logits", "binary_cross_entropy_with_logits by its short name.", logits_args, NULL,
     call_bce_with_logits, OP_AT},
    {"sigmoid_focal_loss",
     "Binary cross entropy of sigmoid(input), times (1 - p)^gamma for the probability p of the "
     "target, and alpha for targets of 1, 1 - alpha for 0 (alpha below 0: neither). Lin et al. "
     "2017.",
     focal_args, NULL, call_sigmoid_focal, OP_AT},
    {"kl_div",
     "Kullback-Leibler divergence target (log target - input), where the input is the log of "
     "probabilities, and the target is with log_target. \"batchmean\": the sum over the first "
     "dimension's size, as the definition has it.",
     kl_args, NULL, call_kl_div, OP_AT},
    {"poisson_nll_loss",
     "exp(input) - target input, or with log_input=false input - target log(input + eps); full "
     "adds Stirling's formula for targets above 1.",
     poisson_args, NULL, call_poisson_nll, OP_AT},
    {"gaussian_nll_loss",
     "(log var + (input - target)^2 / var) / 2, var raised to eps; full adds log(2 pi) / 2. var is "
     "shaped like the input, or has one for each row. Nix and Weigend 1994.",
     gaussian_args, NULL, call_gaussian_nll, OP_AT},
    {"soft_margin_loss", "log(1 + exp(-target input)); targets are -1 or 1.", pair_args, NULL,
     call_soft_margin, OP_AT},
    {"hinge_embedding_loss",
     "The input where the target is 1, max(0, margin - input) where it is -1.", hinge_args, NULL,
     call_hinge_embedding, OP_AT},
    {"multilabel_soft_margin_loss",
     "Binary cross entropy of sigmoid(input) [..., C] and targets, the mean of the classes.",
     weighted_args, NULL, call_multilabel_soft_margin, OP_AT},
    {0},
};
