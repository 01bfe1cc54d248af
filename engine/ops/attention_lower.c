/* Attention as launches. What a kernel reads is first laid side by side in one scratch buffer, so
 * that few bindings do: what its lanes go through by rows is turned, so that they read neighbours.
 * Where that would cost as much as the work itself (few queries: decoding with a cache), the
 * forward kernel reads the inputs where they lie. */
#include "ops/attention_part.h"
#include "ops/internal.h"
#include "ops/loop.h"

#include <string.h>

enum { UNTURNED_QUERIES = 16 };

bool attention_is(const attention_part *p, const op *o) {
    return p->n->op == o;
}

operand attention_cut(const operand *o, const attention_part *p, int64_t repeat) {
    operand r = *o;
    r.view.offset += p->batch * o->view.stride[0] + p->head * repeat * o->view.stride[1];
    r.shape.dim[0] = p->batches;
    r.shape.dim[1] = p->heads * repeat;
    return r;
}

static attention_place place_of(const operand *o, bool turned, int64_t first) {
    attention_place y = {.first = first};
    for (int d = 0; d < 4 && d < o->shape.rank; d++)
        y.step[d] = o->view.stride[turned && d >= 2 ? 5 - d : d];
    return y;
}

/* Copies an input into p->data, rows and columns exchanged in memory when turned. */
static mare_status put(lowering *l, attention_part *p, int input, bool turned,
                       attention_place *out) {
    const operand *o = &p->in[input];
    bool of_keys = input == 1 || input == 2;
    operand from = attention_cut(o, p, of_keys ? 1 : p->f.repeat), to = p->data;
    if (turned) {
        for (int i = 0; i < 2; i++) {
            from.shape.dim[2 + i] = o->shape.dim[3 - i];
            from.view.stride[2 + i] = o->view.stride[3 - i];
        }
    }
    to.shape = from.shape;
    shape_strides(&to.shape, to.view.stride);
    to.view.offset = p->used;
    *out = place_of(&to, turned, p->used);
    p->used += (shape_count(&to.shape) + 63) / 64 * 64;
    return lower_map(l, "a", MARE_F32, &from, 1, &to);
}

static void push_place(launch *x, const attention_place *p) {
    for (int d = 0; d < 4; d++)
        launch_i32(x, (int32_t)p->step[d]);
}

void attention_params(launch *x, const attention_part *p, int64_t own_heads,
                      const uint32_t first[3]) {
    const attention_attr *a = OP_ATTR(attention_attr, p->n);
    const attention_form *f = &p->f;
    bool keys = attention_is(p, &op_desc_attention_grad_keys);
    attention_place mask = {0};
    int64_t mask_size[4] = {1, 1, 1, 1};
    if (f->mask >= 0) {
        const operand *o = &p->in[f->mask];
        for (int d = 0; d < 4; d++) {
            mask_size[d] = o->shape.dim[d];
            mask.step[d] = o->shape.dim[d] == 1 ? 0 : o->view.stride[d];
        }
    }
    int64_t own_rows = keys ? f->keys : f->queries, all = keys ? f->key_heads : f->heads;
    int64_t width = attention_is(p, &op_desc_attention) ? f->value_width + 1
                    : keys                              ? f->width + f->value_width
                                                        : f->width;
    launch_i32(x, (int32_t)p->batches);
    launch_i32(x, (int32_t)own_heads);
    launch_i32(x, (int32_t)own_rows);
    launch_i32(x, (int32_t)(keys ? f->queries : f->keys));
    launch_i32(x, (int32_t)f->repeat);
    launch_i32(x, (int32_t)(p->head * f->repeat));
    launch_i32(x, (int32_t)p->batch);
    launch_i32(x, (int32_t)f->heads);
    launch_i32(x, (int32_t)f->queries);
    launch_i32(x, (int32_t)((f->keys + 3) / 4));
    if (f->offset >= 0 && p->in[f->offset].constant)
        launch_dyn(x, p->in[f->offset].constant, 0);
    else
        launch_i32(x, 0);
    launch_i32(x, (int32_t)first[1]);
    launch_i32(x, (int32_t)(all * own_rows * width));
    launch_i32(x, (int32_t)(own_rows * width));
    launch_i32(x, (int32_t)p->lse);
    launch_i32(x, (int32_t)p->delta);
    const attention_place *places[] = {&p->own,    &p->other, &p->own2,
                                       &p->other2, &p->value, &p->value2};
    for (int i = 0; i < 6; i++)
        launch_i32(x, (int32_t)places[i]->first);
    launch_i32(x, (int32_t)first[2]);
    launch_f32(x, (float)a->scale);
    for (int i = 0; i < 6; i++)
        push_place(x, places[i]);
    push_place(x, &mask);
    for (int d = 0; d < 4; d++)
        launch_i32(x, (int32_t)mask_size[d]);
    for (int i = 0; i < 4; i++) {
        if (a->dropout > 0)
            launch_dyn(x, p->n, i);
        else
            launch_u32(x, 0);
    }
    launch_u32(x, (uint32_t)(a->dropout * 16777216.0));
    launch_f32(x, (float)(1 / (1 - a->dropout)));
    const int64_t last[] = {f->keys, p->row, p->rows, 0, 0, 0};
    for (int i = 0; i < 6; i++)
        launch_i32(x, (int32_t)last[i]);
}

const char *attention_defines(lowering *l, const attention_part *p) {
    const attention_attr *a = OP_ATTR(attention_attr, p->n);
    return lower_text(l, "E %d\nEV %d\n%s%s%s", (int)p->f.width, (int)p->f.value_width,
                      a->has_mask ? "MASK 1\n" : "", a->causal ? "CAUSAL 1\n" : "",
                      a->dropout > 0 ? "DROPOUT 1\n" : "");
}

static mare_status emit_mask_grad(lowering *l, attention_part *p) {
    const char *defines = attention_defines(l, p);
    launch *x = defines ? lower_launch(l, "attention/mask_grad.comp", defines) : NULL;
    if (!x) return lower_error(l);
    uint32_t first[5] = {0}, size = lower_workgroup(l);
    mare_status s = launch_bind(l, x, &p->data, READ, &first[0]);
    if (!s) s = launch_bind(l, x, &p->out, WRITE, &first[1]);
    if (!s) s = launch_bind(l, x, &p->in[p->f.mask], READ, &first[2]);
    if (s) return s;
    launch_spec(x, size);
    attention_params(x, p, p->f.heads, first);
    uint64_t count = (uint64_t)shape_count(&p->n->shape);
    return launch_groups(l, x, (count + size - 1) / size);
}

static mare_status emit(lowering *l, attention_part *p, bool direct) {
    if (attention_is(p, &op_desc_attention_grad_mask)) return emit_mask_grad(l, p);
    bool keys = attention_is(p, &op_desc_attention_grad_keys);
    bool mask = p->f.mask >= 0, forward = attention_is(p, &op_desc_attention);
    bool cpu = l->caps->type == DEV_CPU;
    uint32_t lanes = cpu ? loop_group(l, 64) : lower_workgroup(l);
    lanes = lanes < 64 ? lanes : 64;
    int64_t rows_here = keys ? p->f.keys : p->f.queries;
    int64_t widest = p->f.width > p->f.value_width ? p->f.width : p->f.value_width;
    int columns = (int)((widest + lanes - 1) / lanes), most = cpu ? 8 : 4;
    /* A CPU pays for loads more than for spilled registers. */
    int fours = rows_here > 4 ? 2 : 1, others = cpu ? 8 : 4;
    int chunk = columns < most ? columns : most;
    const char *defines = attention_defines(l, p);
    if (defines)
        defines = lower_text(l, "%sLANES %u\nU %d\nV %d\nCHUNK %d\nKIND_%s 1\n", defines, lanes,
                             others, fours, chunk,
                             forward ? "forward"
                             : keys  ? "keys"
                                     : "queries");
    if (defines && direct)
        defines =
            lower_text(l, "%sKEYS_AT %d\nVALUES_AT %d\n", defines, mask ? 4 : 3, mask ? 5 : 4);
    launch *x = defines ? lower_launch(l, "attention/flash.comp", defines) : NULL;
    if (!x) return lower_error(l);
    uint32_t first[5] = {0};
    operand query = direct ? attention_cut(&p->in[0], p, p->f.repeat) : p->data;
    mare_status s = launch_bind(l, x, &query, READ, &first[0]);
    if (!s) s = launch_bind(l, x, &p->out, WRITE, &first[1]);
    if (!s && mask) s = launch_bind(l, x, &p->in[p->f.mask], READ, &first[2]);
    for (int i = 1; i < 3 && direct && !s; i++) {
        operand o = attention_cut(&p->in[i], p, 1);
        s = launch_bind(l, x, &o, READ, &first[2 + i]);
    }
    if (s) return s;
    if (direct) {
        p->own = place_of(&p->in[0], false, first[0]);
        p->other = place_of(&p->in[1], false, first[3]);
        p->value = place_of(&p->in[2], false, first[4]);
    }
    launch_spec(x, lanes);
    int64_t heads = p->heads * (keys ? 1 : p->f.repeat);
    int64_t blocks = (rows_here + 4 * fours - 1) / (4 * fours);
    attention_params(x, p, heads, first);
    return launch_groups(l, x, (uint64_t)(p->batches * heads * blocks));
}

/* Everything that the kernel reads, for the part, in one buffer. */
static mare_status gather(lowering *l, attention_part *p) {
    const attention_form *f = &p->f;
    bool forward = attention_is(p, &op_desc_attention),
         keys = attention_is(p, &op_desc_attention_grad_keys);
    bool mask = attention_is(p, &op_desc_attention_grad_mask);
    attention_place stat = {0};
    mare_status s;
    if (keys) {
        s = put(l, p, 1, false, &p->own);
        if (!s) s = put(l, p, 2, false, &p->own2);
        if (!s) s = put(l, p, 0, true, &p->other);
        if (!s) s = put(l, p, 0, false, &p->value);
        if (!s) s = put(l, p, f->grad, true, &p->other2);
        if (!s) s = put(l, p, f->grad, false, &p->value2);
    } else {
        s = put(l, p, 0, false, &p->own);
        if (!s) s = put(l, p, 1, true, &p->other);
        if (!s && !mask) s = put(l, p, forward ? 2 : 1, false, &p->value);
        if (!s && !forward) s = put(l, p, f->grad, false, &p->own2);
        if (!s && !forward) s = put(l, p, 2, true, &p->other2);
    }
    if (!s && !forward) s = put(l, p, f->lse, false, &stat);
    p->lse = stat.first;
    if (!s && !forward) s = put(l, p, f->delta, false, &stat);
    p->delta = stat.first;
    return s;
}

/* Elements that gather() takes for one key head of one batch. */
static int64_t head_words(const attention_part *p) {
    const attention_form *f = &p->f;
    int64_t queries = f->queries * f->repeat, both = f->width + f->value_width;
    if (attention_is(p, &op_desc_attention)) return queries * f->width + f->keys * both;
    if (attention_is(p, &op_desc_attention_grad_keys))
        return 2 * queries * both + f->keys * both + 2 * queries;
    return queries * (both + 2) + f->keys * (both + f->width);
}

mare_status attention_lower(lowering *l, const node *n, const operand *in, const operand *out) {
    attention_part p = {.n = n, .f = attention_form_of(n), .in = in};
    const attention_form *f = &p.f;
    operand given[8];
    if (shape_count(&n->shape) == 0) return MARE_OK;
    memcpy(given, in, (size_t)n->n_in * sizeof *in);
    p.in = given;
    for (int i = 0; i < n->n_in; i++) {
        if (i == f->offset || in[i].buffer >= 0) continue;
        mare_status s = lower_contiguous(l, &in[i], &given[i]); /* a number, stretched */
        if (s) return s;
    }
    for (int i = f->lse; i >= 0 && i <= f->delta; i++) { /* [B, Hq, L]: a column each */
        given[i].shape = shape_of(4, f->batches, f->heads, f->queries, 1);
        given[i].view.stride[3] = 1;
    }
    bool mask = n->op == &op_desc_attention_grad_mask;
    if (attention_in_blocks(l, &p)) return attention_blocks_lower(l, &p, out);
    bool direct = n->op == &op_desc_attention && f->queries < UNTURNED_QUERIES &&
                  l->caps->storage_buffers >= 5;
    int64_t most = (int64_t)(l->caps->binding / 4) - 1024, one = head_words(&p) + 64 * 8;
    int64_t heads = most / one;
    if (heads < 1 || mask) heads = f->key_heads; /* binding says what is too large */
    if (heads > f->key_heads) heads = f->key_heads;
    int64_t batches = most / (one * f->key_heads);
    if (heads < f->key_heads || batches < 1) batches = 1;
    if (mask || batches > f->batches) batches = f->batches;
    for (p.batch = 0; p.batch < f->batches; p.batch += batches) {
        for (p.head = 0; p.head < f->key_heads; p.head += heads) {
            p.batches = f->batches - p.batch < batches ? f->batches - p.batch : batches;
            p.heads = f->key_heads - p.head < heads ? f->key_heads - p.head : heads;
            p.out = mask ? *out
                         : attention_cut(out, &p,
                                         n->op == &op_desc_attention_grad_keys ? 1 : f->repeat);
            p.used = 0;
            mare_status s = MARE_OK;
            if (!direct) {
                shape room = shape_of(1, p.batches * p.heads * head_words(&p) + 64 * 8);
                p.data = lower_scratch(l, MARE_F32, &room);
                s = gather(l, &p);
            }
            if (!s) s = emit(l, &p, direct);
            if (s) return s;
        }
    }
    return MARE_OK;
}
