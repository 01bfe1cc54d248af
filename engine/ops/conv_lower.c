/* The three convolutions as launches. All are matrix products over an image that is laid out with
 * its channels last and its border of zeros written out: a row of the product is a pixel (or a
 * tap), found by strides alone. What the device cannot bind at once is done in parts. */
#include "ops/conv_job.h"
#include "ops/gemm.h"
#include "ops/loop.h"

#include <string.h>

static operand with_all_axes(const operand *o) {
    operand r = *o;
    int missing = RANK - o->shape.rank;
    r.shape.rank = RANK;
    for (int i = 0; i < CONV_AXES; i++) {
        bool there = i >= missing;
        r.shape.dim[SPACE + i] = there ? o->shape.dim[SPACE + i - missing] : 1;
        r.view.stride[SPACE + i] = there ? o->view.stride[SPACE + i - missing] : 0;
    }
    return r;
}

static void narrow(operand *o, int axis, int64_t start, int64_t length) {
    if (length) o->view.offset += start * o->view.stride[axis];
    o->shape.dim[axis] = length;
}

/* Inputs that have no memory of their own get some. */
static mare_status job_of(lowering *l, const conv_attr *a, const operand *x, const operand *w,
                          const operand *y, conv_job *j) {
    const operand *given[] = {x, w, y};
    operand *own[] = {&j->x, &j->w, &j->y};
    for (int i = 0; i < 3; i++) {
        operand real = *given[i];
        mare_status status = real.buffer < 0 ? lower_contiguous(l, given[i], &real) : MARE_OK;
        if (status) return status;
        *own[i] = with_all_axes(&real);
    }
    const op *o = l->node->op;
    j->result = o == &op_desc_conv_input    ? RESULT_X
                : o == &op_desc_conv_weight ? RESULT_W
                                            : RESULT_Y;
    j->v = conv_of(a, &x->shape, &w->shape, &y->shape);
    return MARE_OK;
}

/* ---- Images with the channels last -------------------------------------------------------- */

/* An image and the strides of its axes. */
typedef struct image {
    operand o;
    int64_t n, c, at[CONV_AXES];
} image;

static image image_of(const operand *o) {
    const int64_t *s = o->view.stride;
    return (image){*o, s[0], s[1], {s[2], s[3], s[4]}};
}

/* How an image is placed: pixel p at start + p * step of the result, which has `size`. */
typedef struct placing {
    int64_t start[CONV_AXES], step[CONV_AXES], size[CONV_AXES];
} placing;

static double placed_elements(const operand *in, const placing *p) {
    return (double)in->shape.dim[0] * (double)in->shape.dim[1] * (double)p->size[0] *
           (double)p->size[1] * (double)p->size[2];
}

enum { BLOCK = 8 }; /* channels that one invocation lays out */

static void push_axes(launch *x, const int64_t v[CONV_AXES], int64_t fourth) {
    for (int i = CONV_AXES - 1; i >= 0; i--)
        launch_i32(x, (int32_t)v[i]);
    launch_i32(x, (int32_t)fourth);
}

/* The channels of `in` from `channel` on, as those of `to`. */
static mare_status lay_out_channels(lowering *l, const operand *in, const placing *p,
                                    const operand *to, int64_t channel) {
    const int64_t *dim = in->shape.dim, *stride = in->view.stride;
    int64_t row = to->shape.dim[RANK - 1];
    bool pair = dim[1] % 2 == 0 && channel % 2 == 0 && row % 2 == 0 && l->caps->has[DEV_INT64];
    bool step = p->step[0] != 1 || p->step[1] != 1 || p->step[2] != 1;
    launch *x =
        lower_launch(l, "conv/layout.comp",
                     lower_text(l, "BLOCK %d\n%s%s%s", BLOCK, pair ? "PAIR 1\n" : "",
                                p->size[0] > 1 ? "VOLUME 1\n" : "", step ? "STEP 1\n" : ""));
    if (!x || !x->kernel.defines) return lower_error(l);
    uint32_t from, first, workgroup = lower_workgroup(l);
    int64_t blocks = (dim[1] + BLOCK - 1) / BLOCK;
    int64_t count = dim[0] * p->size[0] * p->size[1] * p->size[2] * blocks;
    mare_status status = launch_bind(l, x, in, READ, &from);
    if (!status) status = launch_bind(l, x, to, WRITE, &first);
    if (status) return status;
    launch_spec(x, workgroup);
    const int64_t head[] = {count, dim[1], from, first + channel};
    for (int i = 0; i < 4; i++)
        launch_i32(x, (int32_t)head[i]);
    push_axes(x, p->size, row);
    push_axes(x, p->start, stride[0]);
    push_axes(x, p->step, stride[1]);
    push_axes(x, dim + SPACE, 0);
    push_axes(x, stride + SPACE, 0);
    return launch_groups(l, x, ((uint64_t)count + workgroup - 1) / workgroup);
}

static mare_status lay_out(lowering *l, const operand *in, const placing *p, image *out) {
    const int64_t *dim = in->shape.dim;
    /* The border may make an image of any size out of a small one. */
    if (placed_elements(in, p) >= 2147483648.0)
        return error_set(l->error, MARE_E_UNSUPPORTED,
                         "%s: with its border the image is [%lld, %lld, %lld, %lld, %lld], which "
                         "is more than a device holds",
                         l->node->op->name, (long long)dim[0], (long long)dim[1],
                         (long long)p->size[0], (long long)p->size[1], (long long)p->size[2]);
    shape s = shape_of(RANK, dim[0], p->size[0], p->size[1], p->size[2], dim[1]);
    operand to = lower_scratch(l, in->dtype, &s);
    const int64_t *t = to.view.stride;
    *out = (image){to, t[0], 1, {t[1], t[2], t[3]}};
    /* As many channels at once as can be bound: they may lie far apart. */
    int64_t at = 0, most = dim[1];
    operand part = *in;
    while (most > 1 && shape_count(&in->shape) > 0 && !loop_fits(l, &part)) {
        most = most > 2 * BLOCK ? most / 2 / BLOCK * BLOCK : most / 2;
        part.shape.dim[1] = most;
    }
    for (; at < dim[1]; at += most) {
        part = *in;
        narrow(&part, 1, at, dim[1] - at < most ? dim[1] - at : most);
        mare_status status = lay_out_channels(l, &part, p, &to, at);
        if (status) return status;
    }
    return MARE_OK;
}

/* x with its padding written out, as far as the kernel reaches. */
static placing padded(const conv *v) {
    placing p;
    for (int i = 0; i < CONV_AXES; i++) {
        p.start[i] = v->padding[i];
        p.step[i] = 1;
        p.size[i] = (v->out[i] - 1) * v->stride[i] + v->dilation[i] * (v->kernel[i] - 1) + 1;
    }
    return p;
}

/* One tap on an image without padding finds its pixels where they are. */
static bool is_bare(const conv *v) {
    for (int i = 0; i < CONV_AXES; i++)
        if (v->kernel[i] != 1 || v->padding[i] != 0) return false;
    return true;
}

static mare_status pad_image(lowering *l, const conv *v, const operand *x, image *out) {
    placing p = padded(v);
    if (!is_bare(v) || !loop_fits(l, x)) return lay_out(l, x, &p, out);
    *out = image_of(x);
    return MARE_OK;
}

/* ---- Weights ------------------------------------------------------------------------------ */

/* w [O, C, taps] as [groups, taps, C, O of the group], which are the rows and columns of a matrix;
 * for conv_input with C and O changing places, and the taps backwards. */
static mare_status lay_out_weight(lowering *l, const conv *v, const operand *w, bool backwards,
                                  operand *out) {
    const int64_t *s = w->view.stride;
    operand p = *w;
    p.shape = shape_of(6, v->groups, v->kernel[0], v->kernel[1], v->kernel[2],
                       backwards ? v->o : v->c, backwards ? v->c : v->o);
    int64_t strides[6] = {
        v->o * s[0], s[2], s[3], s[4], backwards ? s[0] : s[1], backwards ? s[1] : s[0]};
    for (int i = 0; backwards && i < CONV_AXES; i++) {
        p.view.offset += (v->kernel[i] - 1) * strides[1 + i];
        strides[1 + i] = -strides[1 + i];
    }
    memcpy(p.view.stride, strides, sizeof strides);
    return lower_contiguous(l, &p, out);
}

/* ---- conv and conv_input ------------------------------------------------------------------ */

/* How a product goes along one axis of its image, its weights and its result; all distances are in
 * pixels and taps. Phases are interleaved parts of the result that differ only by where they start.
 */
typedef struct axis_walk {
    int64_t count, a_step, o_step; /* pixels of the result */
    int64_t taps, a_tap, w_tap;
    int64_t phases, a_phase, o_phase, w_phase;
    int64_t a, o, w; /* where the first is */
} axis_walk;

/* y [N, columns of all groups, pixels]: each pixel is the sum over taps and `channels` of a's
 * pixels under the kernel, times b. part: other products write the rest of y. */
static mare_status correlate(lowering *l, const char *family, const conv *v, const image *a,
                             int64_t channels, const operand *b, int64_t columns, const operand *y,
                             const axis_walk *const walk[CONV_AXES], bool part) {
    const int64_t *o = y->view.stride;
    const axis_walk *z = walk[0], *r = walk[1], *x = walk[2];
    int64_t tap[CONV_AXES] = {v->kernel[1] * v->kernel[2] * channels * columns,
                              v->kernel[2] * channels * columns, channels * columns};
    gemm g = {
        .family = family,
        .a = a->o,
        .b = *b,
        .o = *y,
        .part = part,
        .m_size = {x->count, r->count, z->count},
        .m_a = {x->a_step * a->at[2], r->a_step * a->at[1], z->a_step * a->at[0]},
        .m_o = {x->o_step * o[4], r->o_step * o[3], z->o_step * o[2]},
        .k_size = {channels, x->taps, r->taps, z->taps},
        .k_a = {a->c, x->a_tap * a->at[2], r->a_tap * a->at[1], z->a_tap * a->at[0]},
        .k_b = {columns, x->w_tap * tap[2], r->w_tap * tap[1], z->w_tap * tap[0]},
        .n = columns,
        .n_b = 1,
        .n_o = o[1],
        .batches = 2 + CONV_AXES,
        .batch_size = {v->n, v->groups},
        .batch_a = {a->n, channels * a->c},
        .batch_b = {0, v->kernel[0] * tap[0]},
        .batch_o = {o[0], columns * o[1]},
    };
    for (int i = 0; i < CONV_AXES; i++) {
        const axis_walk *w = walk[i];
        g.a_at += w->a * a->at[i];
        g.b_at += w->w * tap[i];
        g.o_at += w->o * o[SPACE + i];
        g.batch_size[2 + i] = w->phases;
        g.batch_a[2 + i] = w->a_phase * a->at[i];
        g.batch_b[2 + i] = w->w_phase * tap[i];
        g.batch_o[2 + i] = w->o_phase * o[SPACE + i];
    }
    return gemm_lower(l, &g);
}

static mare_status conv_emit(lowering *l, const conv_job *j) {
    const conv *v = &j->v;
    operand weight;
    image x;
    axis_walk walks[CONV_AXES];
    const axis_walk *walk[CONV_AXES];
    for (int i = 0; i < CONV_AXES; i++) {
        walks[i] = (axis_walk){.count = v->out[i],
                               .a_step = v->stride[i],
                               .o_step = 1,
                               .taps = v->kernel[i],
                               .a_tap = v->dilation[i],
                               .w_tap = 1,
                               .phases = 1};
        walk[i] = &walks[i];
    }
    mare_status status = pad_image(l, v, &j->x, &x);
    if (!status) status = lay_out_weight(l, v, &j->w, false, &weight);
    if (status) return status;
    return correlate(l, "conv", v, &x, v->c, &weight, v->o, &j->y, walk, false);
}

/* ---- Phases of conv_input ----------------------------------------------------------------- */

static int64_t divisor(int64_t a, int64_t b) {
    return b == 0 ? a : divisor(b, a % b);
}

static int64_t floor_div(int64_t a, int64_t b) {
    return a / b - (a % b < 0);
}

/* Pixel p of x meets pixel q of y and tap k where p + padding = q * stride + k * dilation. So the
 * pixels p, p + stride, ... meet the same taps, every (stride / d)-th of the kernel, where d is the
 * greatest divisor that stride and dilation share: each of these phases is a convolution of stride
 * 1. As a walk over y laid out from pixel `low` on and the weights with their taps backwards. */
static axis_walk phase_of(const conv *v, int i, int64_t p, int64_t low) {
    int64_t s = v->stride[i], d = divisor(s, v->dilation[i]);
    axis_walk w = {.count = (v->in[i] - p + s - 1) / s,
                   .a_step = 1,
                   .o_step = s,
                   .a_tap = v->dilation[i] / d,
                   .w_tap = s / d,
                   .phases = 1,
                   .o = p};
    int64_t k = 0;
    while (k < v->kernel[i] && k < w.w_tap && (p + v->padding[i] - k * v->dilation[i]) % s != 0)
        k++;
    if (k == v->kernel[i] || k == w.w_tap) return w; /* no tap: zeros */
    w.taps = (v->kernel[i] - k + w.w_tap - 1) / w.w_tap;
    w.a = (p + v->padding[i] - k * v->dilation[i]) / s - w.a_tap * (w.taps - 1) - low;
    w.w = v->kernel[i] - 1 - k - w.w_tap * (w.taps - 1);
    return w;
}

/* Joins the phase b to the walk a, if it goes on as a does. */
static bool join_phase(axis_walk *a, const axis_walk *b) {
    if (a->count != b->count || a->taps != b->taps) return false;
    int64_t at = b->a - a->a, w = b->w - a->w, n = a->phases;
    if (n == 1) {
        a->a_phase = at;
        a->w_phase = w;
        a->o_phase = b->o - a->o;
    } else if (at != n * a->a_phase || w != n * a->w_phase || b->o - a->o != n * a->o_phase) {
        return false;
    }
    a->phases++;
    return true;
}

enum { MAX_WALKS = 16 }; /* products along an axis */

/* The phases along axis i as few walks; 0 when they are more than MAX_WALKS. */
static int find_walks(const conv *v, int i, int64_t low, axis_walk out[MAX_WALKS]) {
    int n = 0;
    for (int64_t p = 0; p < v->stride[i] && p < v->in[i]; p++) {
        axis_walk w = phase_of(v, i, p, low);
        if (n && join_phase(&out[n - 1], &w)) continue;
        if (n == MAX_WALKS) return 0;
        out[n++] = w;
    }
    return n;
}

/* Where y lies: all that some pixel of x meets, from pixel `low` on. */
static placing met(const conv *v, int64_t low[CONV_AXES]) {
    placing p;
    for (int i = 0; i < CONV_AXES; i++) {
        low[i] = floor_div(v->padding[i] - v->dilation[i] * (v->kernel[i] - 1) + v->stride[i] - 1,
                           v->stride[i]);
        int64_t high = floor_div(v->in[i] - 1 + v->padding[i], v->stride[i]);
        p.start[i] = -low[i];
        p.step[i] = 1;
        p.size[i] = high < low[i] ? 1 : high - low[i] + 1;
    }
    return p;
}

static mare_status conv_input_emit(lowering *l, const conv_job *j) {
    conv v = j->v;
    axis_walk walks[CONV_AXES][MAX_WALKS];
    int n[CONV_AXES];
    int64_t low[CONV_AXES];
    placing p = met(&v, low);
    for (int i = 0; i < CONV_AXES; i++) {
        n[i] = find_walks(&v, i, low[i], walks[i]);
        if (n[i]) continue;
        /* An odd mixture of stride and dilation: zeros between the pixels of y make the stride 1.
         */
        int64_t stride = v.stride[i];
        v.out[i] = (v.out[i] - 1) * stride + 1;
        v.stride[i] = 1;
        placing all = met(&v, low);
        p.size[i] = all.size[i];
        p.start[i] = all.start[i];
        p.step[i] = stride;
        n[i] = find_walks(&v, i, low[i], walks[i]);
    }
    operand weight;
    image y;
    mare_status status = lay_out(l, &j->y, &p, &y);
    if (!status) status = lay_out_weight(l, &v, &j->w, true, &weight);
    bool part = n[0] * n[1] * n[2] > 1;
    for (int i = 0; i < n[0] * n[1] * n[2] && !status; i++) {
        const axis_walk *walk[CONV_AXES] = {&walks[0][i / n[2] / n[1]], &walks[1][i / n[2] % n[1]],
                                            &walks[2][i % n[2]]};
        status = correlate(l, "conv_input", &v, &y, v.o, &weight, v.c, &j->x, walk, part);
    }
    return status;
}

/* ---- conv_weight -------------------------------------------------------------------------- */

static mare_status conv_weight_emit(lowering *l, const conv_job *j) {
    const conv *v = &j->v;
    image x = image_of(&j->x), y = image_of(&j->y);
    /* Without a pixel the sums are empty, and there is nothing to lay out. */
    mare_status status = MARE_OK;
    if (shape_count(&j->y.shape) > 0) status = pad_image(l, v, &j->x, &x);
    if (status) return status;
    const int64_t *o = j->w.view.stride;
    gemm g = {
        .family = "conv_weight",
        .a = x.o,
        .b = y.o,
        .o = j->w,
        .m_size = {v->c, v->kernel[2], v->kernel[1]},
        .m_a = {x.c, v->dilation[2] * x.at[2], v->dilation[1] * x.at[1]},
        .m_o = {o[1], o[4], o[3]},
        .k_size = {v->out[2], v->out[1], v->out[0], v->n},
        .k_a = {v->stride[2] * x.at[2], v->stride[1] * x.at[1], v->stride[0] * x.at[0], x.n},
        .k_b = {y.at[2], y.at[1], y.at[0], y.n},
        .n = v->o,
        .n_b = y.c,
        .n_o = o[0],
        .batches = 2,
        .batch_size = {v->kernel[0], v->groups},
        .batch_a = {v->dilation[0] * x.at[0], v->c * x.c},
        .batch_b = {0, v->o * y.c},
        .batch_o = {o[2], v->o * o[0]},
    };
    return gemm_lower(l, &g);
}

/* ---- Parts -------------------------------------------------------------------------------- */

static int64_t clamp(int64_t v, int64_t lo, int64_t hi) {
    return v < lo ? lo : v > hi ? hi : v;
}

static void take_images(conv_job *j, int64_t start, int64_t length) {
    narrow(&j->x, 0, start, length);
    narrow(&j->y, 0, start, length);
    j->v.n = length;
}

static void take_groups(conv_job *j, int64_t start, int64_t length) {
    narrow(&j->x, 1, start * j->v.c, length * j->v.c);
    narrow(&j->y, 1, start * j->v.o, length * j->v.o);
    narrow(&j->w, 0, start * j->v.o, length * j->v.o);
    j->v.groups = length;
}

/* Of the only group. */
static void take_filters(conv_job *j, int64_t start, int64_t length) {
    narrow(&j->y, 1, start, length);
    narrow(&j->w, 0, start, length);
    j->v.o = length;
}

static void take_channels(conv_job *j, int64_t start, int64_t length) {
    narrow(&j->x, 1, start, length);
    narrow(&j->w, 1, start, length);
    j->v.c = length;
}

/* Pixels of y along axis i, and those of x that meet them. */
static void take_y(conv_job *j, int i, int64_t start, int64_t length) {
    conv *v = &j->v;
    int64_t first = start * v->stride[i] - v->padding[i];
    int64_t last = first + (length - 1) * v->stride[i] + v->dilation[i] * (v->kernel[i] - 1);
    int64_t lo = clamp(first, 0, v->in[i]), hi = clamp(last + 1, lo, v->in[i]);
    narrow(&j->y, SPACE + i, start, length);
    narrow(&j->x, SPACE + i, lo, hi - lo);
    v->out[i] = length;
    v->in[i] = hi - lo;
    v->padding[i] = lo - first;
}

/* Pixels of x along axis i, and those of y that meet them. */
static void take_x(conv_job *j, int i, int64_t start, int64_t length) {
    conv *v = &j->v;
    int64_t s = v->stride[i], reach = v->dilation[i] * (v->kernel[i] - 1);
    int64_t first = v->padding[i] + start;
    int64_t lo = clamp(floor_div(first - reach + s - 1, s), 0, v->out[i]);
    int64_t hi = clamp(floor_div(first + length - 1, s) + 1, lo, v->out[i]);
    narrow(&j->x, SPACE + i, start, length);
    narrow(&j->y, SPACE + i, lo, hi - lo);
    v->in[i] = length;
    v->out[i] = hi - lo;
    v->padding[i] = first - lo * s;
}

/* Does an image fit one binding once it is laid out? */
static bool laid_fits(const lowering *l, const operand *in, const placing *p) {
    return placed_elements(in, p) * 4 + 512 <= (double)l->caps->binding;
}

/* Ways to cut a job in two; PIXELS + i is along axis i of the result (of conv_weight: of y). */
enum { IMAGES, GROUPS, FILTERS, CHANNELS, PIXELS };

static int64_t extent(const conv_job *j, int cut) {
    const conv *v = &j->v;
    const int64_t first[] = {v->n, v->groups, v->o, v->c};
    if (cut < PIXELS) return first[cut];
    return j->result == RESULT_X ? v->in[cut - PIXELS] : v->out[cut - PIXELS];
}

static conv_job part_of(const conv_job *whole, int cut, int64_t start, int64_t length) {
    conv_job j = *whole;
    if (cut == IMAGES)
        take_images(&j, start, length);
    else if (cut == GROUPS)
        take_groups(&j, start, length);
    else if (cut == FILTERS)
        take_filters(&j, start, length);
    else if (cut == CHANNELS)
        take_channels(&j, start, length);
    else if (j.result == RESULT_X)
        take_x(&j, cut - PIXELS, start, length);
    else
        take_y(&j, cut - PIXELS, start, length);
    return j;
}

/* How to cut what cannot be bound at once; -1 when it can, or when there is nothing left to cut. */
static int find_cut(const lowering *l, const conv_job *j) {
    bool x = j->result == RESULT_X;
    int64_t low[CONV_AXES];
    placing p = x ? met(&j->v, low) : padded(&j->v);
    if (shape_count(&j->y.shape) == 0 && !x) return -1;
    operand source = x ? j->y : j->x;
    bool fits = loop_fits(l, x ? &j->x : &j->y), laid = laid_fits(l, &source, &p);
    if (source.shape.dim[1] > 1) source.shape.dim[1] = 1; /* what is laid out at once, at least */
    bool bound = shape_count(&source.shape) == 0 || loop_fits(l, &source);
    if (fits && laid && bound) return -1;
    const int order[] = {IMAGES, GROUPS, x ? CHANNELS : FILTERS, PIXELS, PIXELS + 1, PIXELS + 2};
    for (int i = 0; i < 6; i++)
        if (extent(j, order[i]) > 1 && !(i == 2 && fits)) return order[i];
    return -1;
}

static mare_status emit(lowering *l, const conv_job *j) {
    if (j->v.c == 1 && j->v.groups > 1) return conv_depthwise_lower(l, j);
    return j->result == RESULT_X   ? conv_input_emit(l, j)
           : j->result == RESULT_W ? conv_weight_emit(l, j)
                                   : conv_emit(l, j);
}

static mare_status divide(lowering *l, const conv_job *j) {
    int cut = find_cut(l, j);
    if (cut < 0) return emit(l, j);
    /* Images and pixels are what the gradient of the weights sums over. */
    bool sum = j->result == RESULT_W && (cut == IMAGES || cut >= PIXELS);
    int64_t n = extent(j, cut), half = n / 2;
    operand halves[2];
    mare_status status = MARE_OK;
    for (int i = 0; i < 2 && !status; i++) {
        conv_job part = part_of(j, cut, i * half, i ? n - half : half);
        if (sum) part.w = halves[i] = lower_scratch(l, j->w.dtype, &j->w.shape);
        status = divide(l, &part);
    }
    if (sum && !status) status = lower_map(l, "a + b", j->w.dtype, halves, 2, &j->w);
    return status;
}

/* ---- Ops ---------------------------------------------------------------------------------- */

mare_status conv_lower(lowering *l, const node *n, const operand *in, const operand *out) {
    if (shape_count(&out->shape) == 0) return MARE_OK;
    conv_job j;
    mare_status status = job_of(l, OP_ATTR(conv_attr, n), &in[0], &in[1], out, &j);
    return status ? status : divide(l, &j);
}

mare_status conv_input_lower(lowering *l, const node *n, const operand *in, const operand *out) {
    if (shape_count(&out->shape) == 0) return MARE_OK;
    conv_job j;
    mare_status status = job_of(l, OP_ATTR(conv_attr, n), out, &in[1], &in[0], &j);
    return status ? status : divide(l, &j);
}

mare_status conv_weight_lower(lowering *l, const node *n, const operand *in, const operand *out) {
    conv_job j;
    mare_status status = job_of(l, OP_ATTR(conv_attr, n), &in[0], out, &in[1], &j);
    return status ? status : divide(l, &j);
}
