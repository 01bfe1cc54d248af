/* Attention as matrix products, for software drivers whose products are quick (gemm_prepare()): the
 * scores of a block of rows, which a cache holds, then their weights, then what the weights add up.
 * The forward op and the gradient of the queries take blocks of queries, that of keys and values
 * blocks of keys, against all queries of their heads; so no sum runs over blocks. */
#include "ops/attention_part.h"
#include "ops/gemm.h"
#include "ops/internal.h"
#include "ops/loop.h"

/* Fewer rows than this read keys and values once, as the kernel in tiles does; and the scores of a
 * block, in elements. */
enum { LEAST_ROWS = 8, BLOCK_SCORES = 1 << 19 };

/* A matrix for each batch and head: where it starts, and the strides of batches, heads, rows and
 * columns. */
typedef struct matrices {
    operand o;
    int64_t step[4];
} matrices;

typedef struct work {
    lowering *l;
    attention_part *p;
    const operand *out;
    bool keys, forward;
    int64_t all, columns; /* own rows of a head, and columns of its scores */
    matrices scores, second;
    operand lse, delta; /* of the gradients, row-major */
    gemm ready[4];      /* the products as the first block has them */
} work;

static matrices matrices_of(const operand *o) {
    matrices m = {.o = *o};
    for (int d = 0; d < 4; d++)
        m.step[d] = o->view.stride[d];
    return m;
}

bool attention_in_blocks(const lowering *l, const attention_part *p) {
    const attention_form *f = &p->f;
    if (!l->caps->has[DEV_UNIFORM_LOADS] || attention_is(p, &op_desc_attention_grad_mask))
        return false;
    int64_t columns =
        attention_is(p, &op_desc_attention_grad_keys) ? f->queries * f->repeat : f->keys;
    bool fits = f->queries >= LEAST_ROWS && columns > 0 && f->keys > 0 &&
                columns * f->batches * f->heads < INT32_MAX / 4 && l->caps->storage_buffers >= 5;
    for (int i = 0; i < p->n->n_in && fits; i++)
        fits = i == f->offset || loop_fits(l, &p->in[i]);
    return fits;
}

/* Which product of a block, for its factor that all blocks share. */
typedef enum product { SCORES, SECOND, VALUES, VALUES2 } product;

/* a [m, k], b [k, n] and o [m, n] of each head; repeat: query heads a key head. Steps are of
 * matrices, rows and columns as a, b and o see them. */
typedef struct factors {
    const matrices *a, *b, *o;
    int64_t m, n, k;
    bool turned;       /* b's rows are columns in memory */
    bool rows_of_keys; /* a and o's heads are the keys', b's the queries' */
    int64_t a_row, o_at, o_repeat;
    bool sum_repeat; /* k goes over the repeats as well */
} factors;

static mare_status multiply(work *b, product which, const factors *x) {
    const attention_form *f = &b->p->f;
    const int64_t *sa = x->a->step, *sb = x->b->step, *so = x->o->step;
    int64_t r = f->repeat, a_heads = x->rows_of_keys ? 1 : r, b_heads = x->rows_of_keys ? r : 1;
    gemm g = {
        .family = "attention",
        .a = x->a->o,
        .b = x->b->o,
        .o = x->o->o,
        .part = true,
        .a_at = x->a_row * sa[2],
        .o_at = x->o_at,
        .m_size = {x->m, 1, 1},
        .m_a = {sa[2]},
        .m_o = {so[2]},
        .k_size = {x->k, x->sum_repeat ? r : 1, 1, 1},
        .k_a = {sa[3], x->k * sa[3]},
        .k_b = {x->turned ? sb[3] : sb[2], sb[1]},
        .n = x->n,
        .n_b = x->turned ? sb[2] : sb[3],
        .n_o = so[3],
        .batches = 3,
        .batch_size = {x->sum_repeat ? 1 : r, f->key_heads, f->batches},
        .batch_a = {x->rows_of_keys ? 0 : sa[1], sa[1] * a_heads, sa[0]},
        .batch_b = {x->rows_of_keys ? sb[1] : 0, sb[1] * b_heads, sb[0]},
        .batch_o = {x->rows_of_keys ? x->o_repeat : so[1], so[1] * a_heads, so[0]},
    };
    gemm *ready = &b->ready[which];
    if (!ready->family) {
        int64_t times = (b->all + b->p->rows - 1) / b->p->rows;
        mare_status status = gemm_prepare(b->l, &g, times);
        if (status) return status;
        *ready = g;
    }
    g.b = ready->b;
    g.b_at = ready->b_at;
    g.n_b = ready->n_b;
    g.panel = ready->panel;
    for (int i = 0; i < GEMM_K_DIGITS; i++)
        g.k_b[i] = ready->k_b[i];
    for (int i = 0; i < g.batches; i++)
        g.batch_b[i] = ready->batch_b[i];
    return gemm_lower(b->l, &g);
}

/* Scores to weights, or with their gradients (b->second) to those of the scores. */
static mare_status weigh(work *b) {
    lowering *l = b->l;
    attention_part *p = b->p;
    const attention_form *f = &p->f;
    uint32_t first[3] = {0}, ignored;
    const char *defines = attention_defines(l, p);
    launch *x =
        defines ? lower_launch(l, "attention/weights.comp",
                               lower_text(l, "%sLANES %u\nKIND_%s 1\n", defines, l->caps->subgroup,
                                          b->forward ? "forward"
                                          : b->keys  ? "keys"
                                                     : "queries"))
                : NULL;
    if (!x || !x->kernel.defines) return lower_error(l);
    mare_status s = launch_bind(l, x, &b->scores.o, READ_WRITE, &first[0]);
    if (!s && b->forward) s = launch_bind(l, x, b->out, WRITE, &first[1]);
    if (!s && !b->forward) s = launch_bind(l, x, &b->second.o, READ_WRITE, &ignored);
    if (!s && !b->forward) {
        uint32_t lse, delta;
        s = launch_bind(l, x, &b->lse, READ, &lse);
        if (!s) s = launch_bind(l, x, &b->delta, READ, &delta);
        p->lse = s ? 0 : lse;
        p->delta = s ? 0 : delta;
    }
    if (!s && f->mask >= 0) s = launch_bind(l, x, &p->in[f->mask], READ, &first[2]);
    if (s) return s;
    int64_t heads = b->keys ? f->key_heads : f->heads;
    launch_spec(x, l->caps->subgroup);
    attention_params(x, p, heads, first);
    return launch_groups(l, x, (uint64_t)(f->batches * heads * p->rows));
}

/* Room for the scores of a block. */
static matrices room(const work *b) {
    const attention_form *f = &b->p->f;
    shape s = shape_of(4, f->batches, b->keys ? f->key_heads : f->heads, b->p->rows, b->columns);
    operand o = lower_scratch(b->l, MARE_F32, &s);
    return matrices_of(&o);
}

static mare_status forward_block(work *b, int64_t row) {
    const attention_form *f = &b->p->f;
    const matrices q = matrices_of(&b->p->in[0]), k = matrices_of(&b->p->in[1]),
                   v = matrices_of(&b->p->in[2]), out = matrices_of(b->out);
    int64_t m = b->p->rows;
    mare_status s = multiply(
        b, SCORES,
        &(factors){&q, &k, &b->scores, m, f->keys, f->width, .turned = true, .a_row = row});
    if (!s) s = weigh(b);
    if (s) return s;
    return multiply(
        b, VALUES,
        &(factors){&b->scores, &v, &out, m, f->value_width, f->keys, .o_at = row * out.step[2]});
}

static mare_status queries_block(work *b, int64_t row) {
    const attention_form *f = &b->p->f;
    const matrices q = matrices_of(&b->p->in[0]), k = matrices_of(&b->p->in[1]),
                   v = matrices_of(&b->p->in[2]), g = matrices_of(&b->p->in[f->grad]),
                   out = matrices_of(b->out);
    int64_t m = b->p->rows;
    mare_status s = multiply(
        b, SCORES,
        &(factors){&q, &k, &b->scores, m, f->keys, f->width, .turned = true, .a_row = row});
    if (!s)
        s = multiply(b, SECOND,
                     &(factors){&g, &v, &b->second, m, f->keys, f->value_width, .turned = true,
                                .a_row = row});
    if (!s) s = weigh(b);
    if (s) return s;
    return multiply(
        b, VALUES,
        &(factors){&b->scores, &k, &out, m, f->width, f->keys, .o_at = row * out.step[2]});
}

/* The scores' rows are keys; a row has the queries of each head that sees them one after the other.
 */
static mare_status keys_block(work *b, int64_t row) {
    const attention_form *f = &b->p->f;
    const matrices q = matrices_of(&b->p->in[0]), k = matrices_of(&b->p->in[1]),
                   v = matrices_of(&b->p->in[2]), g = matrices_of(&b->p->in[f->grad]),
                   out = matrices_of(b->out);
    int64_t m = b->p->rows, queries = f->queries, at = row * out.step[2];
    mare_status s = multiply(b, SCORES,
                             &(factors){&k, &q, &b->scores, m, queries, f->width, .turned = true,
                                        .rows_of_keys = true, .a_row = row, .o_repeat = queries});
    if (!s)
        s = multiply(b, SECOND,
                     &(factors){&v, &g, &b->second, m, queries, f->value_width, .turned = true,
                                .rows_of_keys = true, .a_row = row, .o_repeat = queries});
    if (!s) s = weigh(b);
    if (!s)
        s = multiply(b, VALUES,
                     &(factors){&b->scores, &q, &out, m, f->width, queries, .rows_of_keys = true,
                                .o_at = at, .sum_repeat = true});
    if (s) return s;
    return multiply(b, VALUES2,
                    &(factors){&b->second, &g, &out, m, f->value_width, queries,
                               .rows_of_keys = true, .o_at = at + f->width * out.step[3],
                               .sum_repeat = true});
}

mare_status attention_blocks_lower(lowering *l, attention_part *p, const operand *out) {
    const attention_form *f = &p->f;
    work b = {.l = l, .p = p, .out = out};
    b.forward = attention_is(p, &op_desc_attention);
    b.keys = attention_is(p, &op_desc_attention_grad_keys);
    b.all = b.keys ? f->keys : f->queries;
    b.columns = b.keys ? f->queries * f->repeat : f->keys;
    p->batches = f->batches;
    p->heads = f->key_heads;
    int64_t heads = f->batches * (b.keys ? f->key_heads : f->heads);
    int64_t most = BLOCK_SCORES / (heads * b.columns);
    if (most < LEAST_ROWS) most = LEAST_ROWS;
    if (most > b.all) most = b.all;
    if (!b.forward) {
        mare_status s = lower_contiguous(l, &p->in[f->lse], &b.lse);
        if (!s) s = lower_contiguous(l, &p->in[f->delta], &b.delta);
        if (s) return s;
    }
    for (int64_t row = 0; row < b.all; row += p->rows) {
        p->row = row;
        p->rows = b.all - row < most ? b.all - row : most;
        b.scores = room(&b);
        if (!b.forward) b.second = room(&b);
        mare_status s = b.forward ? forward_block(&b, row)
                        : b.keys  ? keys_block(&b, row)
                                  : queries_block(&b, row);
        if (s) return s;
    }
    return MARE_OK;
}
