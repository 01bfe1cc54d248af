/* Boxes (x1, y1, x2, y2): how much they overlap, and which stay when overlapping ones go. */
#include "ops/internal.h"
#include "ops/loop.h"

#include <math.h>
#include <stdlib.h>

/* ---- overlap ------------------------------------------------------------------------------ */

static bool boxes_fit(graph *g, const char *call, const node *boxes) {
    char s[SHAPE_TEXT];
    if (boxes->shape.rank == 2 && boxes->shape.dim[1] == 4) return true;
    return graph_fail(g, MARE_E_SHAPE, "%s: takes boxes [N, 4], not %s", call,
                      shape_text(&boxes->shape, s)) != NULL;
}

/* Of every box of a with every one of b. */
static bool overlap(graph *g, const char *call, const char *expr, const call_value *v, node **out) {
    static const char *const names[] = {"ax", "ay", "aX", "aY", "bx", "by", "bX", "bY"};
    node *nodes[8];
    if (!boxes_fit(g, call, v[0].tensor) || !boxes_fit(g, call, v[1].tensor)) return false;
    for (int i = 0; i < 8; i++) {
        node *boxes = v[i / 4].tensor;
        int64_t n = boxes->shape.dim[0];
        shape s = i < 4 ? shape_of(2, n, 1) : shape_of(2, 1, n);
        nodes[i] = op_reshape(g, op_narrow(g, op_cast(g, boxes, MARE_F32), 1, i % 4, 1), &s);
    }
    mare_dtype t = dtype_promote(v[0].tensor->dtype, v[1].tensor->dtype);
    out[0] = op_cast(g, op_expr(g, expr, names, nodes, 8), dtype_is_float(t) ? t : MARE_F32);
    return out[0] != NULL;
}

#define OVERLAP                                                                                    \
    "inter = maximum(minimum(aX, bX) - maximum(ax, bx), 0) "                                       \
    "* maximum(minimum(aY, bY) - maximum(ay, by), 0); "                                            \
    "joint = (aX - ax) * (aY - ay) + (bX - bx) * (bY - by) - inter; "

static bool call_box_iou(graph *g, const call_value *v, node **out) {
    return overlap(g, "box_iou", OVERLAP "inter / joint", v, out);
}

static bool call_generalized_box_iou(graph *g, const call_value *v, node **out) {
    return overlap(g, "generalized_box_iou",
                   OVERLAP "hull = (maximum(aX, bX) - minimum(ax, bx)) "
                           "* (maximum(aY, bY) - minimum(ay, by)); "
                           "inter / joint - (hull - joint) / hull",
                   v, out);
}

/* ---- nms ---------------------------------------------------------------------------------- */

typedef struct nms_attr {
    double threshold;
} nms_attr;

static bool nms_infer(graph *g, node *n) {
    if (n->in[0]->dtype != MARE_F32)
        return graph_fail(g, MARE_E_DTYPE, "nms: works on f32, not %s",
                          mare_dtype_name(n->in[0]->dtype)) != NULL;
    n->dtype = MARE_I32;
    n->shape = n->in[1]->shape;
    n->lo = 0;
    n->hi = n->shape.dim[0] - 1;
    return true;
}

static mare_status nms_lower(lowering *l, const node *n, const operand *in, const operand *out) {
    int64_t count = n->shape.dim[0];
    if (count == 0) return MARE_OK;
    operand src[2];
    mare_status s = lower_contiguous(l, &in[0], &src[0]);
    if (!s) s = lower_contiguous(l, &in[1], &src[1]);
    if (s) return s;
    launch *k = lower_launch(l, "boxes/nms.comp", "");
    if (!k) return lower_error(l);
    uint32_t first;
    launch_spec(k, loop_group(l, count));
    for (int i = 0; i < 2 && !s; i++)
        s = launch_bind(l, k, &src[i], READ, &first);
    if (!s) s = launch_bind(l, k, out, READ_WRITE, &first);
    if (s) return s;
    launch_u32(k, (uint32_t)count);
    launch_f32(k, (float)OP_ATTR(nms_attr, n)->threshold);
    return launch_groups(l, k, 1);
}

static double iou_ref(const double *a, const double *b) {
    double w = fmax(fmin(a[2], b[2]) - fmax(a[0], b[0]), 0);
    double h = fmax(fmin(a[3], b[3]) - fmax(a[1], b[1]), 0);
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h);
}

static void nms_ref(const node *n, const double *const *in, double *out) {
    int64_t count = n->shape.dim[0], kept = 0;
    for (int64_t i = 0; i < count; i++) {
        bool stays = true;
        const double *box = in[0] + 4 * (int64_t)in[1][i];
        for (int64_t k = 0; k < kept; k++)
            stays = stays &&
                    !(iou_ref(in[0] + 4 * (int64_t)out[k], box) > OP_ATTR(nms_attr, n)->threshold);
        if (stays) out[kept++] = in[1][i];
    }
    for (int64_t i = kept; i < count; i++)
        out[i] = out[0];
}

static node *nms(graph *g, node *boxes, node *order, double threshold) {
    node *in[2] = {boxes, order};
    return node_new(g, &op_desc_nms, in, 2, &(nms_attr){threshold});
}

/* Corners, sizes and scores. */
static node *nms_case(graph *g, node **in) {
    node *far = op_map2(g, "add", in[0], in[1]);
    node *boxes = op_concat(g, (node *[]){in[0], far}, 2, 1);
    return nms(g, boxes, op_argsort(g, in[2], 0, true), 0.3);
}

#define NMS(n)                                                                                     \
    {                                                                                              \
        .n_in = 3, .in = {SHAPE2(n, 2), SHAPE2(n, 2), SHAPE1(n)}, .lo_in = {0, 1, 0},              \
        .hi_in = {9, 6, 1}, .build = nms_case                                                      \
    }
static const op_case nms_cases[] = {NMS(1), NMS(20), NMS(300), NMS(0), {0}};

const op op_desc_nms = {
    .name = "nms",
    .at = OP_HERE,
    .dtypes = OWN_DTYPES,
    .doc = "boxes [K, 4], their order (i32) -> those that stay, then the first again; i32",
    .attr_size = sizeof(nms_attr),
    .infer = nms_infer,
    .lower = nms_lower,
    .ref = nms_ref,
    .cases = nms_cases,
};

static bool call_nms(graph *g, const call_value *v, node **out) {
    node *boxes = v[0].tensor, *scores = v[1].tensor;
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    if (!boxes_fit(g, "nms", boxes)) return false;
    int64_t n = boxes->shape.dim[0], kept = 0;
    if (scores->shape.rank != 1 || scores->shape.dim[0] != n)
        return graph_fail(g, MARE_E_SHAPE, "nms: boxes %s and scores %s do not fit",
                          shape_text(&boxes->shape, s), shape_text(&scores->shape, t)) != NULL;
    node *order = op_argsort(g, op_detach(g, scores), 0, true);
    node *all = nms(g, op_detach(g, op_cast(g, boxes, MARE_F32)), order, v[2].number);
    double *places = malloc((size_t)(n + 1) * sizeof *places);
    if (!places) return graph_fail(g, MARE_E_HOST_MEMORY, "nms: out of host memory") != NULL;
    bool ok = all && graph_read(g, all, places);
    for (kept = n > 0; ok && kept < n && places[kept] != places[0];)
        kept++;
    free(places);
    return ok && (out[0] = op_narrow(g, all, 0, 0, kept)) != NULL;
}

/* ---- the table ---------------------------------------------------------------------------- */

static const call_arg pair_args[] = {NEED_TENSOR("boxes1"), NEED_TENSOR("boxes2"), END_ARGS};
static const call_arg nms_args[] = {NEED_TENSOR("boxes"), NEED_TENSOR("scores"),
                                    NEED_NUMBER("iou_threshold"), END_ARGS};

const op_call op_calls_boxes[] = {
    {"box_iou",
     "The area that boxes share over the area that they cover, of each of boxes1 [N, 4] (x1, y1, "
     "x2, y2) with each of boxes2 [M, 4]: [N, M].",
     pair_args, NULL, call_box_iou, OP_AT},
    {"generalized_box_iou",
     "box_iou less the part of the box around both that neither covers (Rezatofighi and others, "
     "2019).",
     pair_args, NULL, call_generalized_box_iou, OP_AT},
    {"nms",
     "Places (i32) of the boxes [N, 4] that stay, from the highest of scores [N] on, when each "
     "takes away those after it that it overlaps by a box_iou over iou_threshold; equal scores in "
     "their order. Evaluates: the number of results depends on values.",
     nms_args, NULL, call_nms, OP_AT},
    {0},
};
