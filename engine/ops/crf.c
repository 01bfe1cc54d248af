/* Linear-chain conditional random fields (Lafferty, McCallum and Pereira 2001): the log-likelihood
 * of tags, and the best tags by Viterbi's algorithm. Both are other ops, step after step. */
#include "ops/internal.h"
#include "ops/recurrence.h"

#include <stdlib.h>

typedef struct chain {
    const char *call;
    node *scores;               /* emissions [T, N, C], f32 */
    node *moves, *first, *last; /* transitions [C, C], from row to column; start, end [C] */
    node *lengths;              /* [N], or null */
    int64_t steps, rows, tags;
    bool batched, batch_first;
} chain;

static node *vector(graph *g, const chain *c, const char *what, node *a) {
    char text[SHAPE_TEXT];
    shape s = shape_of(1, c->tags);
    if (!a) return op_full(g, MARE_F32, &s, 0);
    if (!dtype_is_float(a->dtype) || !shape_equal(&a->shape, &s))
        return graph_fail(g, MARE_E_SHAPE, "%s: %s must be floats [%lld], not %s %s", c->call, what,
                          (long long)c->tags, mare_dtype_name(a->dtype),
                          shape_text(&a->shape, text));
    return op_cast(g, a, MARE_F32);
}

/* v: emissions; m: transitions, start, end, lengths, batch_first. */
static bool open_chain(graph *g, chain *c, const call_value *v, const call_value *m) {
    char text[SHAPE_TEXT], more[SHAPE_TEXT];
    node *x = v->tensor, *moves = m[0].tensor;
    c->batched = x->shape.rank == 3;
    c->batch_first = m[4].integer;
    if (!dtype_is_float(x->dtype) || (x->shape.rank != 2 && x->shape.rank != 3))
        return graph_fail(g, MARE_E_SHAPE,
                          "%s: emissions must be floats %s or [T, tags], not %s %s", c->call,
                          c->batch_first ? "[N, T, tags]" : "[T, N, tags]",
                          mare_dtype_name(x->dtype), shape_text(&x->shape, text)) != NULL;
    if (!c->batched && m[3].given)
        return graph_fail(g, MARE_E_ARGUMENT, "%s: lengths are those of a batch; emissions are %s",
                          c->call, shape_text(&x->shape, text)) != NULL;
    c->scores = op_cast(g, c->batched ? x : op_unsqueeze(g, x, 1), MARE_F32);
    if (c->batched && c->batch_first) c->scores = op_transpose(g, c->scores, 0, 1);
    if (!c->scores) return false;
    c->steps = c->scores->shape.dim[0];
    c->rows = c->scores->shape.dim[1];
    c->tags = c->scores->shape.dim[2];
    shape square = shape_of(2, c->tags, c->tags);
    if (c->steps < 1 || c->tags < 1)
        return graph_fail(g, MARE_E_SHAPE, "%s: emissions %s have no step or no tag", c->call,
                          shape_text(&x->shape, text)) != NULL;
    if (!dtype_is_float(moves->dtype) || !shape_equal(&moves->shape, &square))
        return graph_fail(g, MARE_E_SHAPE, "%s: transitions must be floats %s, not %s %s", c->call,
                          shape_text(&square, text), mare_dtype_name(moves->dtype),
                          shape_text(&moves->shape, more)) != NULL;
    c->moves = op_cast(g, moves, MARE_F32);
    c->first = vector(g, c, "start", m[1].tensor);
    c->last = c->first ? vector(g, c, "end", m[2].tensor) : NULL;
    if (!c->last) return false;
    if (!m[3].given) return true;
    node *lengths = m[3].tensor;
    if (c->rows && lengths->lo <= lengths->hi && lengths->lo < 1)
        return graph_fail(g, MARE_E_RANGE, "%s: a length is %lld, and must be 1 or more", c->call,
                          (long long)lengths->lo) != NULL;
    c->lengths = op_lengths(g, c->call, "lengths", lengths, c->rows, c->steps);
    return c->lengths != NULL;
}

/* [T, N, 1]: is step t within the sequence? Null without lengths. */
static node *alive_of(graph *g, const chain *c) {
    shape column = shape_of(3, c->steps, 1, 1);
    if (!c->lengths) return NULL;
    node *time = op_reshape(g, op_arange(g, MARE_I32, 0, 1, c->steps), &column);
    return op_map2(g, "lt", time, op_unsqueeze(g, c->lengths, 1));
}

static node *step_of(graph *g, node *a, int64_t t) {
    return op_squeeze(g, op_narrow(g, a, 0, t, 1), 0);
}

static node *choose(graph *g, node *alive, node *a, node *b) {
    return alive ? op_map3(g, "where", alive, a, b) : a;
}

/* What all tags before and their moves come to: [N, from, to]. */
static node *moved(graph *g, const chain *c, node *state) {
    return op_map2(g, "add", op_unsqueeze(g, state, 2), c->moves);
}

/* log of the sum over all tag sequences, [N]. */
static node *partition(graph *g, const chain *c, node *alive) {
    node *state = op_map2(g, "add", c->first, step_of(g, c->scores, 0));
    for (int64_t t = 1; t < c->steps && state; t++) {
        node *next = op_logsumexp(g, moved(g, c, state), 1u << 1, false);
        next = op_map2(g, "add", next, step_of(g, c->scores, t));
        state = choose(g, alive ? step_of(g, alive, t) : NULL, next, state);
    }
    return op_logsumexp(g, op_map2(g, "add", state, c->last), 1u << 1, false);
}

/* The score of the given tags, [N]; hot [T, N, C] holds 1 at each, and 0 past a sequence's end. */
static node *score_of(graph *g, const chain *c, node *hot) {
    if (!hot) return NULL;
    shape column = shape_of(2, c->tags, 1);
    node *own = op_map2(g, "mul", hot, c->scores);
    if (c->steps > 1) {
        node *before = op_narrow(g, hot, 0, 0, c->steps - 1);
        node *after = op_narrow(g, hot, 0, 1, c->steps - 1);
        node *moves = op_map2(g, "mul", op_matmul(g, before, c->moves), after);
        own = op_map2(g, "add", op_sum(g, own, 1u << 0 | 1u << 2, false),
                      op_sum(g, moves, 1u << 0 | 1u << 2, false));
    } else {
        own = op_sum(g, own, 1u << 0 | 1u << 2, false);
    }
    /* The last step of each: alive, and the next is not. */
    node *tail = step_of(g, hot, c->steps - 1);
    if (c->steps > 1 && c->lengths) {
        node *now = op_narrow(g, hot, 0, 0, c->steps - 1);
        node *next = op_sum(g, op_narrow(g, hot, 0, 1, c->steps - 1), 1u << 2, true);
        node *ends = op_map2(g, "mul", now, op_map2(g, "sub", node_const(g, MARE_F32, 1), next));
        tail = op_map2(g, "add", tail, op_sum(g, ends, 1u << 0, false));
    }
    node *edge =
        op_map2(g, "add", op_matmul(g, step_of(g, hot, 0), op_reshape(g, c->first, &column)),
                op_matmul(g, tail, op_reshape(g, c->last, &column)));
    return op_map2(g, "add", own, op_squeeze(g, edge, 1));
}

#define CHAIN_ARGS                                                                                 \
    NEED_TENSOR("transitions"), TENSOR_OPT("start"), TENSOR_OPT("end"), INDEX_OPT("lengths"),      \
        FLAG_OPT("batch_first", 0), END_ARGS
static const call_arg likelihood_args[] = {NEED_TENSOR("emissions"), NEED_INDEX("tags"),
                                           CHAIN_ARGS};
static const call_arg viterbi_args[] = {NEED_TENSOR("emissions"), CHAIN_ARGS};

static bool call_likelihood(graph *g, const call_value *v, node **out) {
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    chain c = {.call = "crf_log_likelihood"};
    if (!open_chain(g, &c, &v[0], &v[2])) return false;
    node *tags = v[1].tensor;
    shape want = v[0].tensor->shape;
    want.rank--;
    if (dtype_is_float(tags->dtype) || !shape_equal(&tags->shape, &want))
        return graph_fail(g, MARE_E_SHAPE, "%s: tags must be integers %s, not %s %s", c.call,
                          shape_text(&want, a), mare_dtype_name(tags->dtype),
                          shape_text(&tags->shape, b)) != NULL;
    if (shape_count(&tags->shape) && (tags->lo > tags->hi || tags->lo < 0 || tags->hi >= c.tags))
        return graph_fail(g, MARE_E_RANGE, "%s: tags, padding too, lie in 0..%lld, not %lld..%lld",
                          c.call, (long long)c.tags - 1, (long long)tags->lo,
                          (long long)tags->hi) != NULL;
    if (!c.batched) tags = op_unsqueeze(g, tags, 1);
    if (c.batched && c.batch_first) tags = op_transpose(g, tags, 0, 1);
    node *alive = alive_of(g, &c), *hot = op_one_hot(g, tags, c.tags, MARE_F32);
    if (c.lengths) hot = op_map2(g, "mul", hot, op_cast(g, alive, MARE_F32));
    node *y = op_map2(g, "sub", score_of(g, &c, hot), partition(g, &c, alive));
    if (!c.batched) y = op_squeeze(g, y, 0);
    return (out[0] = op_float_like(g, y, v[0].tensor)) != NULL;
}

/* Where the best way to each tag came from: pointers[t] [N, C] for steps t > 0. Returns the scores
 * of the best ways, [N, C], with their ends. */
static node *best_ways(graph *g, const chain *c, node **pointers) {
    node *alive = alive_of(g, c), *state = op_map2(g, "add", c->first, step_of(g, c->scores, 0));
    node *stay = op_arange(g, MARE_I32, 0, 1, c->tags);
    for (int64_t t = 1; t < c->steps && state; t++) {
        node *ways = moved(g, c, state), *now = alive ? step_of(g, alive, t) : NULL;
        node *next = op_map2(g, "add", op_max(g, ways, 1u << 1, false), step_of(g, c->scores, t));
        pointers[t] = choose(g, now, op_argmax(g, ways, 1, false), stay);
        state = choose(g, now, next, state);
    }
    return op_map2(g, "add", state, c->last);
}

static bool call_viterbi(graph *g, const call_value *v, node **out) {
    chain c = {.call = "viterbi_decode"};
    if (!open_chain(g, &c, &v[0], &v[1])) return false;
    node **steps = calloc((size_t)c.steps, sizeof *steps);
    if (!steps) return error_no_memory(g->error, (size_t)c.steps * sizeof *steps) == MARE_OK;
    node *ends = best_ways(g, &c, steps), *tag = op_argmax(g, ends, 1, false);
    node *all = op_arange(g, MARE_I32, 0, 1, c.tags), *none = node_const(g, MARE_I32, 0);
    for (int64_t t = c.steps - 1; t >= 0 && tag; t--) {
        node *pointers = steps[t], *own = op_map2(g, "eq", op_unsqueeze(g, tag, 1), all);
        steps[t] = tag;
        if (t) tag = op_sum(g, op_map3(g, "where", own, pointers, none), 1u << 1, false);
    }
    node *paths = tag ? op_stack(g, steps, (int)c.steps, 0) : NULL, *alive = alive_of(g, &c);
    free(steps);
    if (alive) paths = op_map3(g, "where", op_squeeze(g, alive, 2), paths, none);
    node *scores = op_max(g, ends, 1u << 1, false);
    if (!c.batched) {
        paths = op_squeeze(g, paths, 1);
        scores = op_squeeze(g, scores, 0);
    } else if (c.batch_first) {
        paths = op_transpose(g, paths, 0, 1);
    }
    out[0] = paths;
    out[1] = op_float_like(g, scores, v[0].tensor);
    return out[0] && out[1];
}

#define CHAIN_DOC                                                                                  \
    "emissions [T, N, tags], [N, T, tags] with batch_first, or [T, tags]; transitions "            \
    "[tags, tags] from row to column, start and end [tags]; lengths [N] of 1 to T"

const op_call op_calls_crf[] = {
    {"crf_log_likelihood",
     "Logarithm of the probability of tags [T, N] (from 0) in a linear-chain conditional random "
     "field (Lafferty et al. 2001), [N]. " CHAIN_DOC ".",
     likelihood_args, NULL, call_likelihood, OP_AT},
    {"viterbi_decode",
     "The best tags of a linear-chain conditional random field (Viterbi 1967), [T, N], 0 past a "
     "sequence's end, and their scores [N]. " CHAIN_DOC ".",
     viterbi_args, "paths scores", call_viterbi, OP_AT},
    {0},
};
