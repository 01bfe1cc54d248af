/* Runs a plan: binds it to memory, records and submits. */
#include "plan/run.h"

#include <string.h>

enum {
    STEPS_A_SUBMIT = 64, /* at most, when commands are recorded anew: the device starts early */
    LATELY = 256         /* runs after which arenas that grew too large go */
};

/* The step's parameter words for this run. */
static void fill_words(const step *s, const uint32_t *values, uint32_t *words) {
    memcpy(words, s->words, (size_t)s->n_words * sizeof *words);
    for (int i = 0; i < s->n_patches; i++)
        words[s->patches[i].word] = values[s->patches[i].value];
}

dev_buffer *run_buffer(const run *r, int buffer) {
    const plan_buffer *b = &r->x->buffers[buffer];
    return b->kind == BUFFER_TEMP    ? r->p->arenas.data[b->arena]
           : b->kind == BUFFER_INPUT ? storage_buffer(r->in[b->slot])
                                     : storage_buffer(r->kept[buffer]);
}

dev_binding run_binding(const run *r, const binding *b) {
    const plan_buffer *buffer = &r->x->buffers[b->buffer];
    uint64_t offset = buffer->kind == BUFFER_TEMP ? buffer->offset : 0;
    return (dev_binding){run_buffer(r, b->buffer), b->offset + offset, b->bytes};
}

static mare_status prepare(run *r, step *s, const uint32_t *words) {
    double start = profile_now(&r->p->profile);
    mare_status status = step_prepare(r->p->kernels, s, words, r->p->g->error);
    profile_did(&r->p->profile, MARE_WORK_COMPILE, start, s->kernel.shader);
    return status;
}

static mare_status record(run *r, step *s) {
    uint32_t words[MAX_PARAMS];
    dev_binding bindings[MAX_BINDINGS];
    fill_words(s, r->values, words);
    mare_status status = s->pipeline ? MARE_OK : prepare(r, s, words);
    if (status) return status;
    for (int k = 0; k < s->n_bindings; k++)
        bindings[k] = run_binding(r, &s->bindings[k]);
    if (s->barrier) dev_cmd_barrier(r->recorder);
    status = profile_begin(&r->p->profile, r->recorder, r->x, (int)(s - r->x->steps));
    if (!status)
        status = dev_cmd_dispatch(r->recorder, s->pipeline, words, s->n_words, bindings,
                                  s->n_bindings, s->groups);
    profile_end(&r->p->profile, r->recorder);
    return status;
}

/* A plan's second run is timed, for which it waits. */
static bool measures(const run *r) {
    return r->x->runs > 0 && !r->x->pace.measured && !r->p->profile.on;
}

/* Sends what was recorded: the steps before `end`. */
static mare_status submit(run *r, int end) {
    plan *x = r->x;
    bool timed = measures(r);
    double start = profile_now(&r->p->profile), seconds;
    mare_status status = timed ? dev_submit_timed(r->recorder, &seconds) : dev_submit(r->recorder);
    profile_did(&r->p->profile, MARE_WORK_SUBMIT, start, NULL);
    if (timed && !status) pace_note(x, r->first, end - r->first, seconds);
    r->recorder = NULL;
    r->first = end;
    r->p->stats.submits++;
    return status;
}

/* Records and sends step by step. */
static mare_status run_steps(run *r, int *at) {
    mare_status status = MARE_OK;
    const pace *c = &r->x->pace;
    int cut = 1, n = r->x->n_steps;
    for (int i = 0; i < n && !status; i++) {
        step *s = &r->x->steps[i];
        if (!r->recorder) status = dev_record(r->p->device, &r->recorder);
        if (!status) status = record(r, s);
        if (status) *at = i;
        bool cuts = cut < c->n_cuts && c->cuts[cut] == i + 1;
        cut += cuts;
        if (!status && (cuts || i + 1 == n || i + 1 - r->first == STEPS_A_SUBMIT ||
                        profile_alone(&r->p->profile)))
            status = submit(r, i + 1);
    }
    if (r->recorder) dev_discard(r->recorder);
    r->x->pace.measured |= !status && measures(r);
    r->p->stats.recorded += (uint64_t)n;
    return status;
}

/* ---- Arenas ------------------------------------------------------------------------------- */

/* One set of arenas serves all plans: runs follow one another on the device. It stays where it is
 * from run to run, so that recordings stay right. */
static mare_status get_arenas(planner *p, const plan *x) {
    uint64_t bytes = 0;
    mare_status status = MARE_OK;
    p->in_use = x->n_arenas;
    for (int i = 0; i < x->n_arenas && !status; i++) {
        bytes += x->arenas[i];
        if ((size_t)i == p->arenas.len && !vec_push(&p->arenas, NULL))
            return error_no_memory(p->g->error, sizeof(dev_buffer *));
        dev_buffer **a = &p->arenas.data[i];
        if (*a && dev_buffer_bytes(*a) < x->arenas[i]) {
            dev_buffer_release(*a);
            *a = NULL;
        }
        if (!*a) status = dev_buffer_create(p->device, x->arenas[i], a);
        if (!status) dev_buffer_set_cached(*a, false);
    }
    if (bytes > p->needed) p->needed = bytes;
    return status;
}

/* Those of a run on its way stay. */
static void drop_arenas(planner *p) {
    while (p->arenas.len > (size_t)p->in_use)
        dev_buffer_release(p->arenas.data[--p->arenas.len]);
}

/* They wait for the next run. Those that are twice what runs have asked for lately go. */
static void put_arenas(planner *p) {
    uint64_t held = 0;
    p->in_use = 0;
    for (size_t i = 0; i < p->arenas.len; i++)
        if (p->arenas.data[i]) {
            held += dev_buffer_bytes(p->arenas.data[i]);
            dev_buffer_set_cached(p->arenas.data[i], true);
        }
    if (p->clock % LATELY) return;
    if (held / 2 > p->needed) drop_arenas(p);
    p->needed = 0;
}

void run_reclaim(void *planner_) {
    planner *p = planner_;
    drop_arenas(p);
    for (size_t i = 0; i < p->plans.cap; i++) {
        const plan *x = p->plans.slots[i].value;
        if (x && x->replay) replay_empty(x->replay);
    }
}

/* ---- A run -------------------------------------------------------------------------------- */

/* May the commands of this run be those of another one? The first two runs make kernels, and
 * measure. */
static bool replays(const run *r) {
    const plan *x = r->x;
    return r->p->passes & PASS_REPLAY && x->pace.measured && x->n_steps && !r->p->profile.on;
}

/* Storage for buffer i, a result. Where it can be, that of what it takes the place of: recorded
 * commands go out all or none, so nothing is overwritten by a run that fails. */
static mare_status keep(run *r, const bool *donated, int i) {
    const plan *x = r->x;
    const plan_buffer *b = &x->buffers[i];
    int slot = b->donor < 0 ? -1 : x->buffers[b->donor].slot;
    if (slot >= 0 && donated && donated[slot] && replays(r) &&
        dev_buffer_bytes(storage_buffer(r->in[slot])) >= b->bytes) {
        r->kept[i] = r->in[slot];
        r->kept[i]->refs++;
        return MARE_OK;
    }
    home *h = replay_home(x->replay, i);
    dev_buffer *buffer = h ? home_take(h) : NULL;
    mare_status status = buffer ? MARE_OK : dev_buffer_create(r->p->device, b->bytes, &buffer);
    if (status) return status;
    r->kept[i] = storage_new(buffer, h);
    return r->kept[i] ? MARE_OK : error_no_memory(r->p->g->error, sizeof *r->kept[i]);
}

static mare_status run_bound(run *r, const bool *donated, int *at) {
    planner *p = r->p;
    plan *x = r->x;
    mare_status status = pace_cut(p, x);
    if (!status && replays(r)) status = replay_make(p, x);
    if (!status) status = get_arenas(p, x);
    for (int i = 0; i < x->n_buffers && !status; i++)
        if (x->buffers[i].kind == BUFFER_KEPT) status = keep(r, donated, i);
    if (!status) status = replays(r) ? replay_run(r) : run_steps(r, at);
    if (status) return status;
    p->stats.launches += (uint64_t)x->n_steps;
    x->runs++;
    return MARE_OK;
}

mare_status plan_run(planner *p, plan *x, const given *y, storage **out, int *at) {
    run r = {.p = p, .x = x, .in = y->in, .values = y->values};
    *at = -1;
    if (p->running)
        return error_set(p->g->error, MARE_E_ARGUMENT, "an evaluation within another one");
    r.kept = calloc((size_t)x->n_buffers + 1, sizeof *r.kept);
    if (!r.kept) return error_no_memory(p->g->error, (size_t)x->n_buffers * sizeof *r.kept);
    p->running = true;
    x->used = ++p->clock;
    p->last = x->info;
    mare_status status = run_bound(&r, y->donated, at);
    for (int i = 0; i < x->n_roots && !status; i++) {
        const plan_buffer *b = &x->buffers[x->roots[i].buffer];
        out[i] = b->kind == BUFFER_INPUT ? y->in[b->slot] : r.kept[x->roots[i].buffer];
        out[i]->refs++;
    }
    for (int i = 0; i < x->n_buffers; i++)
        storage_release(r.kept[i]);
    put_arenas(p);
    free(r.kept);
    p->running = false;
    return status;
}
