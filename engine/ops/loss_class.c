/* Losses of scores [N, C, d1, ...] (or [C]) and the classes that are right. */
#include "ops/indexing.h"
#include "ops/loss.h"

#include <math.h>
#include <stdlib.h>

/* ---- Targets ------------------------------------------------------------------------------ */

/* The axis of the classes: 1, or 0 of a vector; -1 after an error. */
static int class_axis(graph *g, const char *call, const node *scores) {
    if (scores->shape.rank > 0) return scores->shape.rank > 1;
    graph_fail(g, MARE_E_SHAPE, "%s: scores [N, C, ...] are needed, not []", call);
    return -1;
}

static bool fits(const node *n, int64_t classes) {
    return n->lo > n->hi || (n->lo >= 0 && n->hi < classes);
}

/* What is left of the target when labels that are no class are taken out; evaluated, so that the
 * range of the others is known. */
static node *without(graph *g, node *target, node *ignored) {
    node *index = op_map3(g, "where", ignored, node_const(g, target->dtype, 0), target);
    int64_t count = index ? shape_count(&index->shape) : 0;
    double *values = malloc(((size_t)count + 1) * sizeof *values);
    bool ok = values && index && graph_read(g, index, values);
    if (!values) error_no_memory(g->error, (size_t)count * sizeof *values);
    free(values);
    return ok ? index : NULL;
}

bool loss_classes(graph *g, const char *call, node *scores, node *target, const int64_t *ignore,
                  class_index *out) {
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    int axis = class_axis(g, call, scores), rank = scores->shape.rank;
    if (axis < 0) return false;
    shape want = {0};
    for (int d = 0; d < rank; d++)
        if (d != axis) want.dim[want.rank++] = scores->shape.dim[d];
    int64_t classes = scores->shape.dim[axis];
    if (dtype_is_float(target->dtype) || target->dtype == MARE_BOOL)
        return graph_fail(g, MARE_E_DTYPE, "%s: class indices are integers, not %s", call,
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
    bool ignores = ignore && known && target->lo <= *ignore && *ignore <= target->hi;
    *out = (class_index){.axis = axis, .index = target};
    if (ignores) {
        node *label = node_const(g, target->dtype, (double)*ignore);
        if (!(out->ignored = op_map2(g, "eq", target, label))) return false;
        if (!fits(target, classes) && !(out->index = without(g, target, out->ignored)))
            return false;
    }
    if (!fits(out->index, classes))
        return graph_fail(g, MARE_E_RANGE,
                          "%s: class %lld in the target; scores %s have classes 0 to %lld", call,
                          (long long)(out->index->lo < 0 ? out->index->lo : out->index->hi),
                          shape_text(&scores->shape, s), (long long)classes - 1) != NULL;
    return (out->index = op_cast(g, out->index, MARE_I32)) != NULL;
}

bool loss_class_weight(graph *g, const char *call, const node *scores, int axis,
                       const node *weight) {
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    int64_t classes = scores->shape.dim[axis];
    if (!weight || (weight->shape.rank == 1 && weight->shape.dim[0] == classes)) return true;
    return graph_fail(g, MARE_E_SHAPE, "%s: scores %s take weights [%lld], not %s", call,
                      shape_text(&scores->shape, s), (long long)classes,
                      shape_text(&weight->shape, t)) != NULL;
}

/* A [C] vector, to be stretched along the axis of the classes. */
static node *along_classes(graph *g, node *weight, const node *scores, int axis) {
    shape s = {.rank = scores->shape.rank - axis};
    for (int d = 0; d < s.rank; d++)
        s.dim[d] = d ? 1 : weight->shape.dim[0];
    return op_reshape(g, loss_wide(g, weight), &s);
}

/* a at the target classes, with 1 in place of the classes. */
static node *pick_kept(graph *g, node *a, const class_index *k) {
    return op_gather(g, a, op_unsqueeze(g, k->index, k->axis), k->axis);
}

static node *pick(graph *g, node *a, const class_index *k) {
    return op_squeeze(g, pick_kept(g, a, k), k->axis);
}

/* Sums divided by the weight (or number) of the labels that are not ignored: the mean. weight, of
 * each label, may be null. */
static node *reduce_labels(graph *g, node *loss, const class_index *k, node *weight, reduction r,
                           mare_dtype t) {
    if (k->ignored) loss = op_map3(g, "where", k->ignored, loss_number(g, 0), loss);
    if (r != REDUCE_MEAN || (!weight && !k->ignored)) return loss_reduce(g, loss, r, t);
    node *one = loss_number(g, 1), *none = loss_number(g, 0);
    node *counted =
        k->ignored ? op_map3(g, "where", k->ignored, none, weight ? weight : one) : weight;
    node *sum = op_sum(g, loss, 0, false), *all = op_sum(g, counted, 0, false);
    return op_cast(g, op_map2(g, "div", sum, all), t);
}

/* ---- Entropies ---------------------------------------------------------------------------- */

static mare_dtype float_dtype(const node *a) {
    return dtype_is_float(a->dtype) ? a->dtype : MARE_F32;
}

/* Minus the log of the target's probability, weighted and smoothed. */
static node *nll(graph *g, const char *call, node *log_probs, node *target, const class_loss *o,
                 mare_dtype t) {
    class_index k;
    if (!loss_classes(g, call, log_probs, target, &o->ignore_index, &k) ||
        !loss_class_weight(g, call, log_probs, k.axis, o->weight))
        return NULL;
    node *weight = o->weight ? op_take(g, loss_wide(g, o->weight), k.index, 0) : NULL;
    node *loss = op_map1(g, "neg", pick(g, log_probs, &k));
    if (weight) loss = op_map2(g, "mul", loss, weight);
    if (o->label_smoothing > 0) {
        /* That part of every target is spread over all classes. */
        static const char *const names[] = {"own", "all", "part"};
        node *each = log_probs;
        if (o->weight)
            each = op_map2(g, "mul", each, along_classes(g, o->weight, log_probs, k.axis));
        node *nodes[] = {loss, op_mean(g, each, 1u << k.axis, false),
                         loss_number(g, o->label_smoothing)};
        loss = op_expr(g, "own * (1 - part) - all * part", names, nodes, 3);
    }
    return reduce_labels(g, loss, &k, weight, o->reduction, t);
}

node *op_nll_loss(graph *g, node *log_probs, node *target, const class_loss *o) {
    if (!log_probs || !target) return NULL;
    class_loss plain = *o;
    plain.label_smoothing = 0;
    return nll(g, "nll_loss", loss_wide(g, log_probs), target, &plain, float_dtype(log_probs));
}

/* Against a distribution for each row. */
static node *soft_entropy(graph *g, const char *call, node *log_probs, node *target, int axis,
                          const class_loss *o, mare_dtype t) {
    static const char *const names[] = {"target", "part", "classes"};
    if (!loss_same_shapes(g, call, log_probs, target) ||
        !loss_class_weight(g, call, log_probs, axis, o->weight))
        return NULL;
    if (o->ignore_index >= 0)
        return graph_fail(g, MARE_E_ARGUMENT,
                          "%s: ignore_index %lld is for class indices, not for probabilities", call,
                          (long long)o->ignore_index);
    node *share = loss_wide(g, target);
    if (o->label_smoothing > 0) {
        node *nodes[] = {share, loss_number(g, o->label_smoothing),
                         loss_number(g, (double)log_probs->shape.dim[axis])};
        share = op_expr(g, "target * (1 - part) + part / classes", names, nodes, 3);
    }
    node *product = op_map2(g, "mul", share, log_probs);
    if (o->weight)
        product = op_map2(g, "mul", product, along_classes(g, o->weight, log_probs, axis));
    node *loss = op_map1(g, "neg", op_sum(g, product, 1u << axis, false));
    return loss_reduce(g, loss, o->reduction, t);
}

node *op_cross_entropy(graph *g, node *logits, node *target, const class_loss *o) {
    static const char call[] = "cross_entropy";
    if (!logits || !target) return NULL;
    int axis = class_axis(g, call, logits);
    if (axis < 0) return NULL;
    if (!loss_in_range(g, call, "label smoothing", o->label_smoothing, 0, 1)) return NULL;
    node *log_probs = op_log_softmax(g, loss_wide(g, logits), axis);
    if (!log_probs) return NULL;
    mare_dtype t = float_dtype(logits);
    return dtype_is_float(target->dtype) ? soft_entropy(g, call, log_probs, target, axis, o, t)
                                         : nll(g, call, log_probs, target, o, t);
}

/* ---- Focal loss --------------------------------------------------------------------------- */

/* The probability of all other classes is kept off 0, where a power of it may have no slope. */
static node *focal(graph *g, node *logits, node *target, const class_loss *o, double gamma) {
    static const char call[] = "focal_loss";
    static const char *const names[] = {"log_p", "gamma"};
    class_index k;
    if (!loss_in_range(g, call, "gamma", gamma, 0, INFINITY) ||
        !loss_classes(g, call, logits, target, &o->ignore_index, &k) ||
        !loss_class_weight(g, call, logits, k.axis, o->weight))
        return NULL;
    node *log_probs = op_log_softmax(g, loss_wide(g, logits), k.axis);
    node *nodes[] = {pick(g, log_probs, &k), loss_number(g, gamma)};
    node *loss = op_expr(g, "-log_p * pow(maximum(-expm1(log_p), 1e-37), gamma)", names, nodes, 2);
    node *weight = o->weight ? op_take(g, loss_wide(g, o->weight), k.index, 0) : NULL;
    if (weight) loss = op_map2(g, "mul", loss, weight);
    return reduce_labels(g, loss, &k, weight, o->reduction, float_dtype(logits));
}

/* ---- Margins ------------------------------------------------------------------------------ */

static bool call_multi_margin(graph *g, const call_value *v, node **out) {
    static const char call[] = "multi_margin_loss";
    static const char *const names[] = {"x", "own", "margin"};
    node *x = v[0].tensor, *weight = v[4].tensor;
    class_index k;
    if (v[2].integer != 1 && v[2].integer != 2)
        return graph_fail(g, MARE_E_ARGUMENT, "%s: p is 1 or 2, not %lld", call,
                          (long long)v[2].integer) != NULL;
    if (x->shape.rank > 2)
        return graph_fail(g, MARE_E_SHAPE, "%s: scores are [N, C] or [C], not %s", call,
                          shape_text(&x->shape, (char[SHAPE_TEXT]){0})) != NULL;
    if (!loss_classes(g, call, x, v[1].tensor, NULL, &k) ||
        !loss_class_weight(g, call, x, k.axis, weight))
        return false;
    node *wide = loss_wide(g, x);
    node *nodes[] = {wide, pick_kept(g, wide, &k), loss_number(g, v[3].number)};
    node *over = op_expr(g, "relu(margin - own + x)", names, nodes, 3);
    if (v[2].integer == 2) over = op_map1(g, "square", over);
    node *count = op_arange(g, MARE_I32, 0, 1, x->shape.dim[k.axis]);
    node *hot = op_map2(g, "eq", op_unsqueeze(g, k.index, -1), count);
    over = op_map3(g, "where", hot, loss_number(g, 0), over);
    node *loss = op_mean(g, over, 1u << k.axis, false);
    if (weight) loss = op_map2(g, "mul", loss, op_take(g, loss_wide(g, weight), k.index, 0));
    return (out[0] = loss_reduce(g, loss, (reduction)v[5].integer, float_dtype(x))) != NULL;
}

/* For each row, every class that is listed before the first -1 against every class that is not. */
static bool call_multilabel_margin(graph *g, const call_value *v, node **out) {
    static const char call[] = "multilabel_margin_loss";
    static const char *const names[] = {"x", "own", "is_own", "listed"};
    char s[SHAPE_TEXT];
    node *x = v[0].tensor, *target = v[1].tensor;
    int rank = x->shape.rank;
    if (!loss_same_shapes(g, call, x, target)) return false;
    if (rank < 1 || rank > 2)
        return graph_fail(g, MARE_E_SHAPE, "%s: scores are [N, C] or [C], not %s", call,
                          shape_text(&x->shape, s)) != NULL;
    if (dtype_is_float(target->dtype) || target->dtype == MARE_BOOL)
        return graph_fail(g, MARE_E_DTYPE, "%s: class indices are integers, not %s", call,
                          mare_dtype_name(target->dtype)) != NULL;
    int64_t classes = x->shape.dim[rank - 1];
    if (shape_count(&target->shape) &&
        (target->lo > target->hi || target->lo < -1 || target->hi >= classes))
        return graph_fail(
                   g, MARE_E_RANGE,
                   "%s: the target holds %lld to %lld; scores %s have classes 0 to %lld, and "
                   "-1 ends a list",
                   call, (long long)target->lo, (long long)target->hi, shape_text(&x->shape, s),
                   (long long)classes - 1) != NULL;
    /* Axes: ..., place in the list, class. */
    node *wide = loss_wide(g, x), *list = op_cast(g, target, MARE_I32);
    node *count = op_arange(g, MARE_I32, 0, 1, classes);
    node *earlier = op_map2(g, "le", count, op_unsqueeze(g, count, 1));
    node *ended = op_map2(g, "and", op_unsqueeze(g, op_map_scalar(g, "lt", list, 0), -2), earlier);
    node *listed = op_map1(g, "not", op_max(g, ended, 1u << rank, true));
    node *hot = op_map2(g, "eq", op_unsqueeze(g, list, -1), count);
    hot = op_map2(g, "and", hot, listed);
    node *is_own = op_max(g, hot, 1u << (rank - 1), true), *each = op_unsqueeze(g, wide, -2);
    node *own = op_sum(g, op_map3(g, "where", hot, each, loss_number(g, 0)), 1u << rank, true);
    node *nodes[] = {each, own, is_own, listed};
    node *over =
        op_expr(g, "where(and(listed, not(is_own)), relu(1 - own + x), 0)", names, nodes, 4);
    over = op_sum(g, over, 1u << rank | 1u << (rank - 1), false);
    node *loss = op_map2(g, "div", over, loss_number(g, (double)classes));
    return (out[0] = loss_reduce(g, loss, (reduction)v[2].integer, float_dtype(x))) != NULL;
}

/* ---- Calls -------------------------------------------------------------------------------- */

static bool call_cross_entropy(graph *g, const call_value *v, node **out) {
    class_loss o = {v[2].tensor, v[3].integer, v[5].number, (reduction)v[4].integer};
    return (out[0] = op_cross_entropy(g, v[0].tensor, v[1].tensor, &o)) != NULL;
}

static bool call_nll(graph *g, const call_value *v, node **out) {
    class_loss o = {v[2].tensor, v[3].integer, 0, (reduction)v[4].integer};
    return (out[0] = op_nll_loss(g, v[0].tensor, v[1].tensor, &o)) != NULL;
}

static bool call_focal(graph *g, const call_value *v, node **out) {
    class_loss o = {v[2].tensor, v[3].integer, 0, (reduction)v[4].integer};
    return (out[0] = focal(g, v[0].tensor, v[1].tensor, &o, v[5].number)) != NULL;
}

static const call_arg entropy_args[] = {NEED_TENSOR("input"),
                                        NEED_INDEX("target"),
                                        TENSOR_OPT("weight"),
                                        INTEGER_OPT("ignore_index", NO_CLASS),
                                        REDUCTION_OPT,
                                        NUMBER_OPT("label_smoothing", 0),
                                        END_ARGS};
static const call_arg nll_args[] = {NEED_TENSOR("input"), NEED_INDEX("target"),
                                    TENSOR_OPT("weight"), INTEGER_OPT("ignore_index", NO_CLASS),
                                    REDUCTION_OPT,        END_ARGS};
static const call_arg focal_args[] = {NEED_TENSOR("input"),
                                      NEED_INDEX("target"),
                                      TENSOR_OPT("weight"),
                                      INTEGER_OPT("ignore_index", NO_CLASS),
                                      REDUCTION_OPT,
                                      NUMBER_OPT("gamma", 2),
                                      END_ARGS};
static const call_arg margin_args[] = {NEED_TENSOR("input"),
                                       NEED_INDEX("target"),
                                       INTEGER_OPT("p", 1),
                                       NUMBER_OPT("margin", 1),
                                       TENSOR_OPT("weight"),
                                       REDUCTION_OPT,
                                       END_ARGS};
static const call_arg list_args[] = {NEED_TENSOR("input"), NEED_INDEX("target"), REDUCTION_OPT,
                                     END_ARGS};

const op_call op_calls_loss_class[] = {
    {"cross_entropy",
     "Cross entropy of scores [N, C, ...] or [C] and classes from 0, [N, ...], or probabilities "
     "shaped like the scores. weight [C] counts in the mean, too; labels equal to ignore_index "
     "count nowhere; label_smoothing spreads that part of each target over all classes.",
     entropy_args, NULL, call_cross_entropy, OP_AT},
    {"nll_loss",
     "Minus the log-probability [N, C, ...] or [C] of the target classes (from 0, [N, ...]); "
     "weight and ignore_index as in cross_entropy.",
     nll_args, NULL, call_nll, OP_AT},
    {"focal_loss",
     "cross_entropy of scores [N, C, ...] and classes, each times (1 - p)^gamma for the "
     "probability p of the target. Lin et al. 2017.",
     focal_args, NULL, call_focal, OP_AT},
    {"multi_margin_loss",
     "The mean over classes of max(0, margin - x[target] + x[i])^p for i other than the target; x "
     "[N, C] or [C], weight [C] of the targets. Crammer and Singer 2001.",
     margin_args, NULL, call_multi_margin, OP_AT},
    {"multilabel_margin_loss",
     "The sum over classes i that are not in the list of max(0, 1 - x[listed] + x[i]), for each "
     "listed, over C; the target, shaped like the scores [N, C] or [C], lists classes up to the "
     "first -1.",
     list_args, NULL, call_multilabel_margin, OP_AT},
    {0},
};
