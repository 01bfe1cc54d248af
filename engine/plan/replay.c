/* Replay: a plan that runs again submits commands that were recorded before. What differs from run
 * to run is written in: parameter words, and bindings of buffers that lie elsewhere than when the
 * commands were made.
 *
 * A plan has a few recordings, so that one can be made ready while the device is at another, and so
 * that a loop whose buffers change places, A and B and A again, finds one that fits. Steps that
 * bind something new again and again (a batch, which comes from anywhere) get parts of their own,
 * and only those are recorded anew. */
#include "plan/run.h"

#include <string.h>

enum {
    SMALL = 32,   /* steps of a plan that is small: */
    OF_SMALL = 8, /* it may have so many recordings, */
    OF_LARGE = 3, /* and another so many: two runs are under way while one is made ready */
    ALL = 256,    /* recordings of all plans */
    WINDOW = 16,  /* runs after which parts are looked at */
    HOT = 4,      /* new bindings in a window that give a step a part of its own */
    GAP = 8       /* fewer steps between two such ones go with them */
};

typedef struct recording {
    dev_recording *commands;
    uint64_t *places; /* of each slot, when it was bound; 0: never */
    uint64_t run;     /* the last that used it */
    int division;     /* which one it has */
} recording;

/* A slot is a buffer of the plan that is not in an arena, or an arena. */
typedef struct use {
    int step, binding;
} use;

struct replay {
    planner *p;
    int n, most;
    recording list[OF_SMALL];
    int n_slots;
    int *first; /* of each slot's uses; one more at the end */
    use *uses;
    dev_buffer **buffers; /* of each slot in this run; null: of none */
    uint64_t *places;
    home **homes;     /* of each buffer; null: it is no result */
    uint8_t *changes; /* of each step in this window */
    bool *hot;        /* has a part of its own */
    int window;       /* runs in it */
    dev_part *parts;
    int n_parts, division;
    double bound; /* that the parts' submissions were cut for */
};

void replay_free(replay *y) {
    if (!y) return;
    for (int i = 0; i < y->n; i++) {
        dev_recording_destroy(y->list[i].commands);
        free(y->list[i].places);
    }
    y->p->recordings -= y->n;
    for (int i = 0; i < y->n_slots && y->homes; i++)
        home_close(y->homes[i]);
    free(y->homes);
    free(y->first);
    free(y->uses);
    free(y->buffers);
    free(y->places);
    free(y->changes);
    free(y->hot);
    free(y->parts);
    free(y);
}

home *replay_home(const replay *y, int buffer) {
    return y ? y->homes[buffer] : NULL;
}

void replay_empty(replay *y) {
    for (int i = 0; i < y->n_slots; i++)
        if (y->homes[i]) home_empty(y->homes[i]);
}

static int slot_of(const plan *x, int buffer) {
    const plan_buffer *b = &x->buffers[buffer];
    return b->kind == BUFFER_TEMP ? x->n_buffers + b->arena : buffer;
}

/* Lists the uses of each slot. */
static void index_uses(replay *y, const plan *x) {
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < x->n_steps; i++)
            for (int k = 0; k < x->steps[i].n_bindings; k++) {
                int slot = slot_of(x, x->steps[i].bindings[k].buffer);
                if (pass == 0)
                    y->first[slot + 1]++;
                else
                    y->uses[y->first[slot]++] = (use){i, k};
            }
        if (pass == 0)
            for (int s = 0; s < y->n_slots; s++)
                y->first[s + 1] += y->first[s];
    }
    /* Filling moved each start to the next one's. */
    memmove(y->first + 1, y->first, (size_t)y->n_slots * sizeof *y->first);
    y->first[0] = 0;
}

mare_status replay_make(planner *p, plan *x) {
    if (x->replay) return MARE_OK;
    size_t steps = (size_t)x->n_steps + 1, slots = (size_t)(x->n_buffers + x->n_arenas), uses = 1;
    for (int i = 0; i < x->n_steps; i++)
        uses += (size_t)x->steps[i].n_bindings;
    replay *y = calloc(1, sizeof *y);
    if (!y) return error_no_memory(p->g->error, sizeof *y);
    y->p = p;
    y->most = x->n_steps <= SMALL ? OF_SMALL : OF_LARGE;
    y->n_slots = (int)slots;
    y->first = calloc(slots + 2, sizeof *y->first);
    y->uses = calloc(uses, sizeof *y->uses);
    y->buffers = calloc(slots + 1, sizeof *y->buffers);
    y->places = calloc(slots + 1, sizeof *y->places);
    y->homes = calloc(slots + 1, sizeof *y->homes);
    y->changes = calloc(steps, sizeof *y->changes);
    y->hot = calloc(steps, sizeof *y->hot);
    y->parts = calloc(steps, sizeof *y->parts);
    bool ok = y->first && y->uses && y->buffers && y->places && y->homes && y->changes && y->hot &&
              y->parts;
    for (int i = 0; i < x->n_buffers && ok; i++)
        if (x->buffers[i].kind == BUFFER_KEPT) ok = (y->homes[i] = home_new()) != NULL;
    if (!ok) {
        replay_free(y);
        return error_no_memory(p->g->error, uses * sizeof *y->uses);
    }
    index_uses(y, x);
    x->replay = y;
    return MARE_OK;
}

/* ---- Parts -------------------------------------------------------------------------------- */

/* A step becomes hot by many new bindings, and stays so until there are none. Short gaps close. */
static bool find_hot(replay *y, int n) {
    bool changed = false;
    for (int i = 0; i < n; i++) {
        bool hot = y->changes[i] >= HOT || (y->hot[i] && y->changes[i]);
        changed |= hot != y->hot[i];
        y->hot[i] = hot;
    }
    memset(y->changes, 0, (size_t)n);
    return changed;
}

static void divide(replay *y, const plan *x) {
    const pace *c = &x->pace;
    int last = -1, cut = 0; /* the last hot step */
    bool was = false;
    y->n_parts = 0;
    for (int i = 0; i < x->n_steps; i++) {
        if (y->hot[i]) last = i;
        bool hot = last == i;
        for (int k = i + 1; !hot && last >= 0 && k < x->n_steps && k - last <= GAP; k++)
            hot = y->hot[k];
        bool submits = cut < c->n_cuts && c->cuts[cut] == i;
        if (submits || hot != was) y->parts[y->n_parts++] = (dev_part){i, submits};
        cut += submits;
        was = hot;
    }
    y->bound = c->bound;
    y->division++;
}

/* ---- Recordings --------------------------------------------------------------------------- */

static mare_status recording_new(replay *y, const plan *x, recording **out) {
    planner *p = y->p;
    dev_dispatch *list = calloc((size_t)x->n_steps, sizeof *list);
    recording r = {.places = calloc((size_t)y->n_slots + 1, sizeof *r.places)};
    mare_status status = MARE_OK;
    if (!list || !r.places)
        status = error_no_memory(p->g->error, (size_t)x->n_steps * sizeof *list);
    for (int i = 0; i < x->n_steps && !status; i++) {
        const step *s = &x->steps[i];
        list[i] = (dev_dispatch){.pipeline = s->pipeline,
                                 .n_params = s->n_words,
                                 .n_bindings = s->n_bindings,
                                 .groups = {s->groups[0], s->groups[1], s->groups[2]},
                                 .barrier = s->barrier};
    }
    if (!status) status = dev_recording_create(p->device, list, x->n_steps, &r.commands);
    free(list);
    if (status) {
        free(r.places);
        return status;
    }
    for (int i = 0; i < x->n_steps; i++)
        memcpy(dev_recording_params(r.commands, i), x->steps[i].words,
               (size_t)x->steps[i].n_words * sizeof(uint32_t));
    p->recordings++;
    *out = &y->list[y->n++];
    **out = r;
    return MARE_OK;
}

static int differences(const replay *y, const recording *r) {
    int n = 0;
    for (int i = 0; i < y->n_slots; i++)
        n += y->places[i] && y->places[i] != r->places[i];
    return n;
}

/* The idle recording that needs least, or a new one where none fits as it is and there may be more.
 * When all are under way, the one that is done first is waited for. */
static mare_status pick(replay *y, const plan *x, recording **out) {
    recording *best = NULL, *oldest = NULL;
    int least = 0;
    for (int i = 0; i < y->n; i++) {
        recording *r = &y->list[i];
        if (!oldest || r->run < oldest->run) oldest = r;
        if (!dev_recording_idle(r->commands)) continue;
        int n = differences(y, r);
        if (best && (n > least || (n == least && r->run > best->run))) continue;
        best = r;
        least = n;
    }
    if ((!best || least) && y->n < y->most) return recording_new(y, x, out);
    *out = best ? best : oldest;
    return best ? MARE_OK : dev_recording_wait(oldest->commands);
}

/* ---- A run -------------------------------------------------------------------------------- */

/* Where everything lies this time. Returns how many buffers are in use, put together in front. */
static void find_places(replay *y, const run *r) {
    const plan *x = r->x;
    for (int i = 0; i < y->n_slots; i++) {
        bool used = y->first[i] < y->first[i + 1];
        y->buffers[i] = !used              ? NULL
                        : i < x->n_buffers ? run_buffer(r, i)
                                           : r->p->arenas.data[i - x->n_buffers];
        y->places[i] = used ? dev_buffer_place(y->buffers[i]) : 0;
    }
}

static mare_status bind_changes(replay *y, const run *r, recording *c, bool count) {
    mare_status status = MARE_OK;
    for (int i = 0; i < y->n_slots; i++) {
        if (y->places[i] == c->places[i] || !y->places[i]) continue;
        for (int k = y->first[i]; k < y->first[i + 1] && !status; k++) {
            use u = y->uses[k];
            dev_binding b = run_binding(r, &r->x->steps[u.step].bindings[u.binding]);
            status = dev_recording_bind(c->commands, u.step, u.binding, &b);
            if (count && y->changes[u.step] < UINT8_MAX) y->changes[u.step]++;
        }
        if (status) return status;
        c->places[i] = y->places[i];
    }
    return status;
}

static void write_words(const run *r, const recording *c) {
    for (int i = 0; i < r->x->n_steps; i++) {
        const step *s = &r->x->steps[i];
        if (!s->n_patches) continue;
        uint32_t *words = dev_recording_params(c->commands, i);
        for (int k = 0; k < s->n_patches; k++)
            words[s->patches[k].word] = r->values[s->patches[k].value];
    }
}

/* Parts follow the cuts, and after a while what changes. */
static mare_status divide_anew(replay *y, const plan *x, recording *c) {
    bool stale = y->bound != x->pace.bound;
    if (++y->window == WINDOW) {
        y->window = 0;
        stale |= find_hot(y, x->n_steps);
    }
    if (stale) divide(y, x);
    if (c->division == y->division) return MARE_OK;
    mare_status status = dev_recording_divide(c->commands, y->parts, y->n_parts);
    if (!status) c->division = y->division;
    return status;
}

static mare_status send(replay *y, const run *r, recording *c) {
    planner *p = r->p;
    int n = 0, recorded, submits;
    for (int i = 0; i < y->n_slots; i++)
        if (y->buffers[i]) y->buffers[n++] = y->buffers[i];
    mare_status status = dev_recording_submit(c->commands, y->buffers, n, &recorded, &submits);
    p->stats.recorded += (uint64_t)recorded;
    p->stats.submits += (uint64_t)submits;
    return status;
}

mare_status replay_run(run *r) {
    planner *p = r->p;
    plan *x = r->x;
    replay *y = x->replay;
    recording *c = NULL;
    while (p->recordings >= ALL && plan_forget_recording(p, x))
        continue;
    find_places(y, r);
    mare_status status = pick(y, x, &c);
    if (!status) {
        bool fresh = !c->division;
        status = divide_anew(y, x, c);
        if (!status) status = bind_changes(y, r, c, !fresh);
    }
    if (!status) {
        write_words(r, c);
        c->run = p->clock;
        status = send(y, r, c);
    }
    if (!status) return MARE_OK;
    /* What is half done is made anew next time. */
    replay_free(y);
    x->replay = NULL;
    return status;
}
