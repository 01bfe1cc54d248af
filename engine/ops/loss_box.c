/* Losses of overlap: regions of pixels, and boxes. */
#include "ops/loss.h"

#include <math.h>

/* ---- Dice --------------------------------------------------------------------------------- */

static bool call_dice(graph *g, const call_value *v, node **out) {
    static const char call[] = "dice_loss";
    static const char *const names[] = {"both", "all", "smooth"};
    char s[SHAPE_TEXT];
    node *x = v[0].tensor, *target = v[1].tensor;
    if (!loss_same_shapes(g, call, x, target)) return false;
    if (x->shape.rank < 2)
        return graph_fail(g, MARE_E_SHAPE, "%s: regions [N, C, ...] are needed, not %s", call,
                          shape_text(&x->shape, s)) != NULL;
    node *p = loss_wide(g, x), *t = loss_wide(g, target);
    node *both = op_map2(g, "mul", p, t), *all;
    if (v[3].integer)
        all = op_map2(g, "add", op_map1(g, "square", p), op_map1(g, "square", t));
    else
        all = op_map2(g, "add", p, t);
    uint32_t pixels = ((1u << x->shape.rank) - 1) & ~3u;
    if (pixels) { /* a mask of no axes would mean all */
        both = op_sum(g, both, pixels, false);
        all = op_sum(g, all, pixels, false);
    }
    node *nodes[] = {both, all, loss_number(g, v[2].number)};
    node *loss = op_expr(g, "1 - (2 * both + smooth) / (all + smooth)", names, nodes, 3);
    return loss && (out[0] = loss_reduce(g, loss, (reduction)v[4].integer, loss_dtype(x, target)));
}

/* ---- Boxes -------------------------------------------------------------------------------- */

/* Corners of both boxes: x1, y1, x2, y2 of the input, then of the target; eps. */
static const char *const corner[] = {"a", "b", "c", "d", "p", "q", "r", "s", "eps"};

#define OVERLAP                                                                                    \
    "both = relu(minimum(c, r) - maximum(a, p)) * relu(minimum(d, s) - maximum(b, q)); "           \
    "either = (c - a) * (d - b) + (r - p) * (s - q) - both; "                                      \
    "share = both / (either + eps); "
#define HULL "width = maximum(c, r) - minimum(a, p); height = maximum(d, s) - minimum(b, q); "
#define CENTRES                                                                                    \
    "away = 0.25 * (square(a + c - p - r) + square(b + d - q - s)) / "                             \
    "(square(width) + square(height) + eps); "

static bool box_loss(graph *g, const char *call, const char *expr, const call_value *v,
                     node **corners, node **out) {
    char s[SHAPE_TEXT];
    node *x = v[0].tensor, *target = v[1].tensor;
    if (!loss_same_shapes(g, call, x, target)) return false;
    int last = x->shape.rank - 1;
    if (last < 0 || x->shape.dim[last] != 4)
        return graph_fail(g, MARE_E_SHAPE, "%s: boxes [..., 4] are needed, not %s", call,
                          shape_text(&x->shape, s)) != NULL;
    for (int i = 0; i < 8; i++)
        corners[i] =
            op_squeeze(g, op_narrow(g, loss_wide(g, i < 4 ? x : target), last, i % 4, 1), last);
    corners[8] = loss_number(g, v[2].number);
    return (*out = op_expr(g, expr, corner, corners, 9)) != NULL;
}

static bool finish(graph *g, node *loss, const call_value *v, node **out) {
    mare_dtype t = loss_dtype(v[0].tensor, v[1].tensor);
    return (*out = loss_reduce(g, loss, (reduction)v[3].integer, t)) != NULL;
}

static bool call_iou(graph *g, const call_value *v, node **out) {
    node *corners[9], *loss;
    return box_loss(g, "iou_loss", OVERLAP "1 - share", v, corners, &loss) &&
           finish(g, loss, v, out);
}

static bool call_giou(graph *g, const call_value *v, node **out) {
    node *corners[9], *loss;
    return box_loss(g, "giou_loss",
                    OVERLAP HULL "1 - share + (width * height - either) / (width * height + eps)",
                    v, corners, &loss) &&
           finish(g, loss, v, out);
}

static bool call_diou(graph *g, const call_value *v, node **out) {
    node *corners[9], *loss;
    return box_loss(g, "diou_loss", OVERLAP HULL CENTRES "1 - share + away", v, corners, &loss) &&
           finish(g, loss, v, out);
}

/* The factor of the difference in form is no part of the gradient, as the paper has it. */
static bool call_ciou(graph *g, const call_value *v, node **out) {
    static const char call[] = "ciou_loss";
    static const char *const names[] = {"loss", "share", "form", "factor", "eps"};
    node *corners[9], *loss, *share;
    if (!box_loss(g, call, OVERLAP HULL CENTRES "1 - share + away", v, corners, &loss) ||
        !box_loss(g, call, OVERLAP "share", v, corners, &share))
        return false;
    node *form =
        op_expr(g, "0.40528473456935109 * square(atan2(r - p, s - q) - atan2(c - a, d - b))",
                corner, corners, 9);
    node *nodes[] = {loss, share, form, form, corners[8]};
    nodes[3] = op_detach(g, op_expr(g, "form / (1 - share + form + eps)", names, nodes, 5));
    return finish(g, op_expr(g, "loss + factor * form", names, nodes, 5), v, out);
}

/* ---- Calls -------------------------------------------------------------------------------- */

static const call_arg dice_args[] = {NEED_TENSOR("input"),    NEED_TENSOR("target"),
                                     NUMBER_OPT("smooth", 1), FLAG_OPT("squared", false),
                                     REDUCTION_OPT,           END_ARGS};
static const call_arg box_args[] = {NEED_TENSOR("input"), NEED_TENSOR("target"),
                                    NUMBER_OPT("eps", 1e-7), REDUCTION_OPT, END_ARGS};

const op_call op_calls_loss_box[] = {
    {"dice_loss",
     "1 - (2 sum(p t) + smooth) / (sum(p) + sum(t) + smooth) for each sample and channel of "
     "probabilities and targets [N, C, ...]; squared: sums of squares below. Milletari et al. "
     "2016.",
     dice_args, NULL, call_dice, OP_AT},
    {"iou_loss",
     "1 - intersection / union of boxes [..., 4] (x1, y1, x2, y2 with x1 < x2, y1 < y2).", box_args,
     NULL, call_iou, OP_AT},
    {"giou_loss",
     "iou_loss, plus the share of the smallest box around both that neither covers. Rezatofighi et "
     "al. 2019.",
     box_args, NULL, call_giou, OP_AT},
    {"diou_loss",
     "iou_loss, plus the squared distance of the centres over that of the corners around both "
     "boxes. Zheng et al. 2020.",
     box_args, NULL, call_diou, OP_AT},
    {"ciou_loss",
     "diou_loss, plus a term for the difference of width over height. Zheng et al. 2020.", box_args,
     NULL, call_ciou, OP_AT},
    {0},
};
