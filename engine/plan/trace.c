#include "plan/trace.h"

#include "plan/run.h"

#include <string.h>

typedef enum value_kind {
    VALUE_FIXED,
    VALUE_NUMBER,  /* of a constant that has a number */
    VALUE_SEED,    /* a word of the random stream's seed, */
    VALUE_POSITION /* or of a position in it */
} value_kind;

typedef struct traced_value {
    value_kind kind;
    uint32_t word; /* VALUE_FIXED; else which word of two */
    int number;    /* VALUE_NUMBER */
    mare_dtype dtype;
    uint64_t offset; /* VALUE_POSITION: from the stream's place at the start */
} traced_value;

typedef struct traced_run {
    plan *x;
    int *in; /* of each input: an input of the trace, or -1 - a value made */
    traced_value *values;
    int made; /* the first of its roots among the values made */
} traced_run;

struct trace {
    planner *p;
    uint64_t serial; /* nodes up to it are older than the trace */
    rng start;
    uint64_t drawn; /* of the random stream, from start to end */
    arena mem;
    VEC(traced_run) runs;
    VEC(node *) inputs, made; /* retained until sealed */
    int n_made;
    mare_status failed; /* something cannot be done again */
    VEC(int) donors;
    storage **in; /* for a run: room for the most of a plan */
    bool *donated;
    uint32_t *words;
};

mare_status trace_begin(planner *p) {
    if (p->trace)
        return error_set(p->g->error, MARE_E_ARGUMENT, "step: one is being noted already");
    trace *t = calloc(1, sizeof *t);
    if (!t) return error_no_memory(p->g->error, sizeof *t);
    t->p = p;
    t->serial = p->g->made;
    t->start = p->g->random;
    p->trace = t;
    return MARE_OK;
}

bool trace_is_on(const planner *p) {
    return p->trace != NULL;
}

void trace_seal(trace *t) {
    for (size_t i = 0; i < t->inputs.len; i++)
        node_release(t->inputs.data[i]);
    for (size_t i = 0; i < t->made.len; i++)
        node_release(t->made.data[i]);
    t->n_made = (int)t->made.len;
    t->inputs.len = t->made.len = 0;
}

void trace_free(trace *t) {
    if (!t) return;
    trace_seal(t);
    for (size_t i = 0; i < t->runs.len; i++)
        plan_unpin(t->runs.data[i].x);
    vec_free(&t->runs);
    vec_free(&t->inputs);
    vec_free(&t->made);
    vec_free(&t->donors);
    arena_free(&t->mem);
    free(t->in);
    free(t->donated);
    free(t->words);
    free(t);
}

/* Of the last run alone: where a later one fails, what those before it read must still be there. */
static bool find_donors(trace *t) {
    if (!t->runs.len) return true;
    const traced_run *r = &t->runs.data[t->runs.len - 1];
    const plan *x = r->x;
    bool ok = true;
    for (int i = 0; i < x->n_roots && ok; i++) {
        const plan_buffer *b = &x->buffers[x->roots[i].buffer];
        if (b->kind != BUFFER_KEPT || b->donor < 0) continue;
        int in = r->in[x->buffers[b->donor].slot];
        if (in >= 0) ok = vec_push(&t->donors, in);
    }
    return ok;
}

static mare_status prepare_runs(trace *t) {
    size_t in = 1, words = 1;
    for (size_t i = 0; i < t->runs.len; i++) {
        const plan *x = t->runs.data[i].x;
        if ((size_t)x->n_inputs > in) in = (size_t)x->n_inputs;
        if ((size_t)x->n_values > words) words = (size_t)x->n_values;
    }
    t->in = calloc(in, sizeof *t->in);
    t->donated = calloc(in, sizeof *t->donated);
    t->words = calloc(words, sizeof *t->words);
    bool ok = t->in && t->donated && t->words && find_donors(t);
    return ok ? MARE_OK : error_no_memory(t->p->g->error, in * sizeof *t->in);
}

mare_status trace_end(planner *p, trace **out) {
    trace *t = p->trace;
    p->trace = NULL;
    if (out) *out = NULL;
    if (!t) return error_set(p->g->error, MARE_E_ARGUMENT, "step: none is being noted");
    mare_status status = t->failed;
    if (!out || status) {
        trace_free(t);
        return status;
    }
    t->drawn = p->g->random.next - t->start.next;
    status = prepare_runs(t);
    if (status)
        trace_free(t);
    else
        *out = t;
    return status;
}

int trace_inputs(const trace *t, node *const **nodes) {
    *nodes = t->inputs.data;
    return (int)t->inputs.len;
}

int trace_find(const trace *t, const node *n) {
    for (size_t i = t->made.len; i > 0; i--)
        if (t->made.data[i - 1] == n) return (int)i - 1;
    return -1;
}

int trace_donors(const trace *t, const int **inputs) {
    *inputs = t->donors.data;
    return (int)t->donors.len;
}

int trace_made(const trace *t) {
    return t->n_made;
}

/* ---- Noting ------------------------------------------------------------------------------- */

static bool is_older(const trace *t, const node *n) {
    return n->serial <= t->serial && !n->store && !node_is_const(n);
}

/* Nodes older than the trace that wait for their evaluation, and that roots or newer nodes ask for:
 * it is no part of the step. */
mare_status trace_settle(planner *p, node *const *order, int n, const plan_wanted *w) {
    trace *t = p->trace;
    VEC(node *) old = {0};
    bool ok = true;
    for (int i = 0; i < w->n && ok; i++)
        if (is_older(t, w->roots[i])) ok = vec_push(&old, w->roots[i]);
    for (int i = 0; i < n && ok; i++)
        for (int k = 0; order[i]->serial > t->serial && k < order[i]->n_in && ok; k++)
            if (is_older(t, order[i]->in[k])) ok = vec_push(&old, order[i]->in[k]);
    mare_status status = ok ? MARE_OK : error_no_memory(p->g->error, sizeof(node *));
    p->trace = NULL;
    if (!status && old.len) status = plan_eval(p, old.data, (int)old.len);
    p->trace = t;
    vec_free(&old);
    return status;
}

/* Which input n is, listed when it is new; below 0 a value that an earlier run made. */
static bool find_input(trace *t, node *n, int *out) {
    *out = -1 - trace_find(t, n);
    if (*out < 0) return true;
    for (size_t i = 0; i < t->inputs.len; i++)
        if (t->inputs.data[i] == n) {
            *out = (int)i;
            return true;
        }
    *out = (int)t->inputs.len;
    return vec_push(&t->inputs, n) && node_retain(n);
}

static traced_value value_of(const trace *t, const node *n, int dyn) {
    traced_value v = {.kind = VALUE_FIXED, .word = n->dyn[dyn], .dtype = n->dtype};
    if (node_is_const(n) && n->number) {
        v.kind = VALUE_NUMBER;
        v.number = n->number - 1;
    } else if (n->n_dyn >= RANDOM_WORDS && dyn < RANDOM_WORDS && n->serial > t->serial) {
        v.kind = dyn < 2 ? VALUE_SEED : VALUE_POSITION;
        v.word = (uint32_t)dyn % 2;
        v.offset = ((uint64_t)n->dyn[3] << 32 | n->dyn[2]) - t->start.next;
    }
    return v;
}

static bool note(trace *t, plan *x, node **order) {
    traced_run made = {.x = x, .made = (int)t->made.len};
    made.in = arena_alloc(&t->mem, ((size_t)x->n_inputs + 1) * sizeof *made.in);
    made.values = arena_alloc(&t->mem, ((size_t)x->n_values + 1) * sizeof *made.values);
    bool ok = made.in && made.values;
    for (int i = 0; i < x->n_inputs && ok; i++)
        ok = find_input(t, order[x->inputs[i]], &made.in[i]);
    for (int i = 0; i < x->n_values && ok; i++)
        made.values[i] = value_of(t, order[x->values[i].node], x->values[i].dyn);
    for (int i = 0; i < x->n_roots && ok; i++)
        ok = vec_push(&t->made, order[x->roots[i].node]) && node_retain(order[x->roots[i].node]);
    if (!ok || !vec_push(&t->runs, made)) return false;
    plan_pin(x);
    return true;
}

void trace_note(planner *p, plan *x, node **order) {
    trace *t = p->trace;
    if (!t->failed && !note(t, x, order)) t->failed = error_no_memory(p->g->error, sizeof *t);
}

mare_status trace_refuse_read(const planner *p, const node *n) {
    if (!p->trace) return MARE_OK;
    return error_set(p->g->error, MARE_E_ARGUMENT,
                     "step: a value of %s is asked for inside of it; a compiled step runs without "
                     "its values being looked at: return the tensor and read it outside",
                     n->op->name);
}

/* ---- Running ------------------------------------------------------------------------------ */

bool trace_fits(const trace *t) {
    for (size_t r = 0; r < t->runs.len; r++)
        if (t->runs.data[r].x->forgotten) return false;
    return true;
}

static uint32_t word_of(const trace *t, const traced_value *v, const double *numbers) {
    const rng *now = &t->p->g->random;
    switch (v->kind) {
    case VALUE_NUMBER:
        return dtype_word(v->dtype, numbers[v->number]);
    case VALUE_SEED:
        return (uint32_t)(now->seed >> 32 * v->word);
    case VALUE_POSITION:
        return (uint32_t)((now->next + v->offset) >> 32 * v->word);
    default:
        return v->word;
    }
}

mare_status trace_run(trace *t, storage *const *in, const bool *donated, const double *numbers,
                      storage **made) {
    planner *p = t->p;
    mare_status status = MARE_OK;
    size_t r = 0;
    for (; r < t->runs.len && !status; r++) {
        const traced_run *done = &t->runs.data[r];
        for (int i = 0; i < done->x->n_inputs; i++) {
            int from = done->in[i];
            t->in[i] = from < 0 ? made[-1 - from] : in[from];
            t->donated[i] = r + 1 == t->runs.len && from >= 0 && donated[from];
        }
        for (int i = 0; i < done->x->n_values; i++)
            t->words[i] = word_of(t, &done->values[i], numbers);
        int at;
        p->stats.evals++;
        p->stats.hits++;
        status =
            plan_run(p, done->x, &(given){t->in, t->donated, t->words}, made + done->made, &at);
        const step *s = !status || at < 0 ? NULL : &done->x->steps[at];
        if (s && s->file)
            error_prefix(p->g->error, "%s (from %s:%d)", s->op->name, s->file, s->line);
        else if (s)
            error_prefix(p->g->error, "%s", s->op->name);
    }
    if (!status) {
        p->g->random.next += t->drawn;
        return MARE_OK;
    }
    /* What the runs before it made goes. */
    for (int i = 0; i < t->runs.data[r - 1].made; i++)
        storage_release(made[i]);
    return status;
}
