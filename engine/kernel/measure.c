#define _POSIX_C_SOURCE 200809L
#include "kernel/internal.h"

#include <stdlib.h>
#include <time.h>

/* Candidates are timed in rounds. A device fast enough to finish them gets all; on a slow one the
 * budget ends them early, after each candidate had one run. */
enum { ROUNDS = 4, MAX_REPEAT = 64 };
static const double budget = 0.3;      /* seconds of measured runs a problem */
static const double slow_budget = 1.2; /* past this the first round ends as well */
static const double sample = 0.002;    /* shorter runs are repeated to about this */
/* On a CPU a long run is measured by its first workgroups alone, about so many flops of it. All
 * rounds then fit the budget, and one disturbed run decides nothing. */
static const double part = 0.25e9;
static const double margin = 0.97; /* a later candidate must be this much better than an earlier */
static const double hopeless[ROUNDS] = {1.5, 1.2, 1.1, 1.05}; /* times the best: out of the race */

typedef struct contestant {
    dev_pipeline *pipeline;
    double best; /* seconds a run, of all groups */
    uint32_t groups[3];
    double share; /* of the candidate's groups that are measured */
    int repeat;
    bool out;
} contestant;

typedef struct contest {
    kernels *k;
    tune_measurement *m;
    const tune_problem *p;
    dev_binding *bindings;
    contestant *all;
} contest;

static const uint32_t one_group[3] = {1, 1, 1};

/* `repeat` runs of candidate i in one submission. */
static mare_status run(const contest *c, int i, const uint32_t groups[3], int repeat,
                       double *seconds) {
    const tune_candidate *t = &c->p->candidates[i];
    dev_recorder *r;
    mare_status status = dev_record(c->k->d, &r);
    if (status) return status;
    for (int n = 0; n < repeat && !status; n++) {
        if (n) dev_cmd_barrier(r);
        status = dev_cmd_dispatch(r, c->all[i].pipeline, t->params, t->n_params, c->bindings,
                                  c->p->buffers, groups);
    }
    if (status) {
        dev_discard(r);
        return status;
    }
    return dev_submit_timed(r, seconds);
}

/* Scratch buffers with 0x3c003c00 in each word: 0.0078 as f32, 1.0 twice as f16. Zeroes and
 * denormals run at other speeds than data does, and so does memory that was never touched. */
static mare_status make_buffers(const contest *c) {
    dev_recorder *r;
    mare_status status = dev_record(c->k->d, &r);
    if (status) return status;
    for (int i = 0; i < c->p->buffers && !status; i++) {
        dev_binding *b = &c->bindings[i];
        uint64_t bytes = c->p->buffer_bytes[i];
        status = dev_buffer_create(c->k->d, bytes, &b->buffer);
        b->bytes = bytes;
        if (!status && bytes) dev_cmd_fill(r, b->buffer, 0, (bytes + 3) / 4 * 4, 0x3c003c00);
    }
    if (!status) return dev_submit(r);
    dev_discard(r);
    return status;
}

/* Compiles candidate i. Drivers may put compilation off to the first dispatch; a single group has
 * that done and over before the clock counts. */
static mare_status prepare(const contest *c, int i) {
    double ignored;
    mare_status status = kernel_get(c->k, &c->p->candidates[i].kernel, &c->all[i].pipeline);
    return status ? status : run(c, i, one_group, 1, &ignored);
}

/* How much of candidate i is run: fewer rows of groups, or fewer groups when there is one row. */
static void choose_groups(const contest *c, int i) {
    contestant *x = &c->all[i];
    const uint32_t *all = c->p->candidates[i].groups;
    x->share = 1;
    for (int d = 0; d < 3; d++)
        x->groups[d] = all[d];
    if (dev_get_caps(c->k->d)->type != DEV_CPU || c->p->flops <= part) return;
    int axis = all[2] > 1 ? 2 : all[1] > 1 ? 1 : 0;
    double want = all[axis] * part / c->p->flops;
    x->groups[axis] = want < 1 ? 1 : (uint32_t)want;
    x->share = (double)x->groups[axis] / all[axis];
}

/* One sample of candidate i. */
static mare_status time_one(const contest *c, int i, double *spent) {
    contestant *x = &c->all[i];
    double seconds;
    mare_status status = run(c, i, x->groups, x->repeat, &seconds);
    if (status) return status;
    *spent += seconds;
    seconds /= x->repeat * x->share;
    if (x->best == 0 || seconds < x->best) x->best = seconds;
    return MARE_OK;
}

/* The first round: each candidate is compiled, and has a run. */
static mare_status enter(const contest *c, double *spent) {
    mare_status status = MARE_OK;
    bool any = false;
    for (int j = 0; j < c->p->n; j++) {
        int i = c->m->order[j];
        contestant *x = &c->all[i];
        x->out = any && (*spent > slow_budget || c->k->tune.clock() > c->m->until);
        if (x->out) continue;
        mare_status own = prepare(c, i);
        if (!own) own = time_one(c, i, spent);
        x->out = own != MARE_OK;
        if (own) status = own;
        any |= !own;
        double n = x->best > 0 ? sample / (x->best * x->share) : MAX_REPEAT;
        x->repeat = n > MAX_REPEAT ? MAX_REPEAT : n < 1 ? 1 : (int)n;
        c->m->seconds[i] = x->best;
        c->m->tell(c->k, c->m);
    }
    return any ? MARE_OK : status;
}

/* Those that are still in the race have another run. */
static void run_round(const contest *c, double *spent) {
    for (int i = 0; i < c->p->n; i++) {
        contestant *x = &c->all[i];
        if (x->out || time_one(c, i, spent) == MARE_OK) continue;
        x->out = true;
        x->best = 0;
    }
}

/* Who leads, and who is out. Returns how many are left. */
static int judge(const contest *c, int round) {
    int best = -1, left = 0;
    for (int j = 0; j < c->p->n; j++) {
        int i = c->m->order[j];
        if (c->all[i].best > 0 && (best < 0 || c->all[i].best < margin * c->all[best].best))
            best = i;
    }
    for (int i = 0; i < c->p->n; i++) {
        contestant *x = &c->all[i];
        if (!x->out && x->best > hopeless[round] * c->all[best].best) x->out = true;
        left += !x->out;
    }
    c->m->best = best;
    return left;
}

static mare_status race(const contest *c) {
    double spent = 0;
    mare_status status = enter(c, &spent);
    for (int round = 0; !status && judge(c, round) > 1 && spent <= budget && ++round < ROUNDS;)
        run_round(c, &spent);
    for (int i = 0; i < c->p->n; i++)
        c->m->seconds[i] = c->all[i].best;
    return status || c->m->best >= 0 ? status : MARE_E_VULKAN;
}

mare_status tune_measure(kernels *k, tune_measurement *m) {
    const tune_problem *p = m->p;
    contest c = {.k = k, .m = m, .p = p};
    mare_status status = MARE_E_HOST_MEMORY;
    m->best = -1;
    c.bindings = calloc((size_t)p->buffers + 1, sizeof *c.bindings);
    c.all = calloc((size_t)p->n, sizeof *c.all);
    if (c.bindings && c.all) {
        for (int i = 0; i < p->n; i++) {
            c.all[i].repeat = 1;
            choose_groups(&c, i);
        }
        status = make_buffers(&c);
        if (!status) status = race(&c);
        for (int i = 0; i < p->buffers; i++)
            if (c.bindings[i].buffer) dev_buffer_release(c.bindings[i].buffer);
    }
    free(c.bindings);
    free(c.all);
    return status;
}
