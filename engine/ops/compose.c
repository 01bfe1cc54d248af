/* Losses and normalisation, made of other ops. */
#include "ops/internal.h"

#include <string.h>

static node *reduce_loss(graph *g, node *loss, reduction r) {
    if (!loss || r == REDUCE_NONE) return loss;
    return r == REDUCE_SUM ? op_sum(g, loss, 0, false) : op_mean(g, loss, 0, false);
}

static bool same_shapes(graph *g, const char *call, const node *a, const node *b) {
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    if (!a || !b) return false;
    if (shape_equal(&a->shape, &b->shape)) return true;
    return graph_fail(g, MARE_E_SHAPE, "%s: the input has shape %s, the target %s", call,
                      shape_text(&a->shape, s), shape_text(&b->shape, t)) != NULL;
}

/* ---- Classification ----------------------------------------------------------------------- */

/* The axis of the classes: 1, or 0 of a vector; -1 after an error. */
static int class_axis(graph *g, const char *call, const node *scores) {
    char s[SHAPE_TEXT];
    if (scores->shape.rank > 0) return scores->shape.rank > 1;
    graph_fail(g, MARE_E_SHAPE, "%s: scores [N, C, ...] are needed, not %s", call,
               shape_text(&scores->shape, s));
    return -1;
}

/* Checks class indices against scores; what is known of their values, too. */
static bool check_classes(graph *g, const char *call, const node *scores, const node *target,
                          int axis) {
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    shape want = {0};
    for (int d = 0; d < scores->shape.rank; d++)
        if (d != axis) want.dim[want.rank++] = scores->shape.dim[d];
    int64_t classes = scores->shape.dim[axis];
    if (dtype_is_float(target->dtype) || target->dtype == MARE_BOOL)
        return graph_fail(g, MARE_E_DTYPE, "%s: class indices are i32 or u8, not %s", call,
                          mare_dtype_name(target->dtype)) != NULL;
    if (!shape_equal(&target->shape, &want))
        return graph_fail(g, MARE_E_SHAPE, "%s: scores %s take class indices %s, not %s", call,
                          shape_text(&scores->shape, s), shape_text(&want, t),
                          shape_text(&target->shape, (char[SHAPE_TEXT]){0})) != NULL;
    bool known = target->lo <= target->hi || shape_count(&target->shape) == 0;
    if (!known && !(target->dtype == MARE_U8 && classes > 255))
        return graph_fail(g, MARE_E_RANGE,
                          "%s: the range of the classes is not known: evaluate the target first",
                          call) != NULL;
    if (target->lo <= target->hi && (target->lo < 0 || target->hi >= classes))
        return graph_fail(g, MARE_E_RANGE,
                          "%s: class %lld in the target; scores %s have classes 0 to %lld", call,
                          (long long)(target->lo < 0 ? target->lo : target->hi),
                          shape_text(&scores->shape, s), (long long)classes - 1) != NULL;
    return true;
}

/* -log_probs at the target classes, unreduced. */
static node *pick(graph *g, node *log_probs, node *target, int axis) {
    int rank = log_probs->shape.rank, order[MAX_DIMS];
    node *hot = op_one_hot(g, target, log_probs->shape.dim[axis], MARE_BOOL);
    for (int d = 0; d < rank; d++) /* the classes come last; they belong at `axis` */
        order[d] = d < axis ? d : d == axis ? rank - 1 : d - 1;
    hot = op_permute(g, hot, order, rank);
    /* Chosen, not multiplied: a log of 0 elsewhere must not make NaN. */
    node *own = op_map3(g, "where", hot, log_probs, node_const(g, MARE_F32, 0));
    return op_map1(g, "neg", op_sum(g, own, 1u << axis, false));
}

node *op_nll_loss(graph *g, node *log_probs, node *target, reduction r) {
    if (!log_probs || !target) return NULL;
    int axis = class_axis(g, "nll_loss", log_probs);
    if (axis < 0 || !check_classes(g, "nll_loss", log_probs, target, axis)) return NULL;
    return reduce_loss(g, pick(g, log_probs, target, axis), r);
}

node *op_cross_entropy(graph *g, node *logits, node *target, double label_smoothing, reduction r) {
    static const char call[] = "cross_entropy";
    if (!logits || !target) return NULL;
    int axis = class_axis(g, call, logits);
    if (axis < 0) return NULL;
    if (!(label_smoothing >= 0 && label_smoothing <= 1))
        return graph_fail(g, MARE_E_ARGUMENT, "%s: label smoothing %g is not in 0..1", call,
                          label_smoothing);
    bool probabilities = dtype_is_float(target->dtype);
    if (probabilities ? !same_shapes(g, call, logits, target)
                      : !check_classes(g, call, logits, target, axis))
        return NULL;
    /* In f32 up to the loss. */
    node *log_probs = op_log_softmax(g, op_cast(g, logits, MARE_F32), axis);
    if (!log_probs) return NULL;
    node *loss;
    if (probabilities) {
        node *product = op_map2(g, "mul", target, log_probs);
        loss = op_map1(g, "neg", op_sum(g, product, 1u << axis, false));
    } else {
        loss = pick(g, log_probs, target, axis);
    }
    if (label_smoothing > 0) {
        /* That part of every target is spread over all classes. */
        static const char *const names[] = {"own", "all", "part"};
        node *nodes[] = {loss, op_mean(g, log_probs, 1u << axis, false),
                         node_const(g, MARE_F32, label_smoothing)};
        loss = op_expr(g, "own * (1 - part) - all * part", names, nodes, 3);
    }
    loss = reduce_loss(g, loss, r);
    return loss && logits->dtype == MARE_F16 ? op_cast(g, loss, MARE_F16) : loss;
}

/* ---- Elementwise losses ------------------------------------------------------------------- */

static node *pair_loss(graph *g, const char *call, const char *expr, node *a, node *b,
                       reduction r) {
    static const char *const names[] = {"a", "b"};
    node *nodes[] = {a, b};
    if (!same_shapes(g, call, a, b)) return NULL;
    return reduce_loss(g, op_expr(g, expr, names, nodes, 2), r);
}

node *op_mse_loss(graph *g, node *a, node *b, reduction r) {
    return pair_loss(g, "mse_loss", "square(a - b)", a, b, r);
}

node *op_l1_loss(graph *g, node *a, node *b, reduction r) {
    return pair_loss(g, "l1_loss", "abs(a - b)", a, b, r);
}

/* The logs of 0 are -100, so that 0 and 1 give finite losses, and their arguments are kept off 0,
 * so that gradients are finite, too; what is no probability gives NaN. */
node *op_bce_loss(graph *g, node *p, node *target, reduction r) {
    if (!p || !target) return NULL;
    mare_dtype t = dtype_promote(p->dtype, target->dtype);
    /* f16 cannot hold the bounds. */
    node *loss = pair_loss(g, "bce_loss",
                           "yes = where(a < 1.1754944e-38, -100, log(maximum(a, 1.1754944e-38))); "
                           "no = where(a >= 1, -100, log1p(-minimum(a, 0.99999994))); "
                           "where(and(a >= 0, a <= 1), -(b * yes + (1 - b) * no), nan)",
                           op_cast(g, p, MARE_F32), op_cast(g, target, MARE_F32), r);
    return loss && t == MARE_F16 ? op_cast(g, loss, t) : loss;
}

/* Neither term cancels, so that small losses of large logits are right. */
node *op_bce_with_logits(graph *g, node *logits, node *target, reduction r) {
    return pair_loss(g, "bce_with_logits", "b * softplus(-a) + (1 - b) * softplus(a)", logits,
                     target, r);
}

/* ---- Normalisation ------------------------------------------------------------------------ */

/* A [C] vector, to be stretched along axis 1 of x. */
static node *channels(graph *g, const char *what, const node *x, node *v) {
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    if (!v) return NULL;
    if (v->shape.rank != 1 || v->shape.dim[0] != x->shape.dim[1])
        return graph_fail(
            g, MARE_E_SHAPE, "batch_norm: input %s takes a %s of shape [%lld], not %s",
            shape_text(&x->shape, s), what, (long long)x->shape.dim[1], shape_text(&v->shape, t));
    shape wide = {.rank = x->shape.rank - 1};
    for (int d = 0; d < wide.rank; d++)
        wide.dim[d] = d ? 1 : v->shape.dim[0];
    return op_reshape(g, v, &wide);
}

node *op_batch_norm(graph *g, node *x, node *mean, node *var, node *gamma, node *beta, double eps) {
    char s[SHAPE_TEXT];
    if (!x || !mean || !var) return NULL;
    if (x->shape.rank < 2)
        return graph_fail(g, MARE_E_SHAPE, "batch_norm: an input [N, C, ...] is needed, not %s",
                          shape_text(&x->shape, s));
    /* In f32: f16 has no number as small as eps. */
    node *wide = op_cast(g, var, MARE_F32);
    node *scale = op_map1(g, "rsqrt", op_map_scalar(g, "add", wide, eps));
    if (!channels(g, "mean", x, mean) || !channels(g, "variance", x, var)) return NULL;
    if (gamma) {
        if (!channels(g, "weight", x, gamma)) return NULL;
        scale = op_map2(g, "mul", scale, gamma);
    }
    node *away = op_map2(g, "sub", x, channels(g, "mean", x, mean));
    scale = channels(g, "scale", x, scale);
    node *y = beta ? op_map3(g, "fma", away, scale, channels(g, "bias", x, beta))
                   : op_map2(g, "mul", away, scale);
    return y && x->dtype == MARE_F16 ? op_cast(g, y, MARE_F16) : y;
}
