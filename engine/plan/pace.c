/* Where a plan is cut into submissions: each is to take no longer than the bound that was set.
 * Times are guessed low at first, of what a launch moves and computes; a plan's second run measures
 * them.
 */
#include "plan/run.h"

/* What every device reaches, with kernels that nobody tuned. */
static double guess(const dev_caps *caps, const step *s) {
    bool cpu = caps->type == DEV_CPU;
    double bytes = 0, speed = cpu ? 2e9 : 2e10, least = cpu ? 2e-5 : 1e-5;
    for (int i = 0; i < s->n_bindings; i++)
        bytes += (double)s->bindings[i].bytes;
    return least + (bytes + s->flops) / speed;
}

static mare_status begin(planner *p, plan *x) {
    x->pace.seconds = arena_alloc(&x->mem, ((size_t)x->n_steps + 1) * sizeof *x->pace.seconds);
    x->pace.cuts = arena_alloc(&x->mem, ((size_t)x->n_steps + 1) * sizeof *x->pace.cuts);
    if (!x->pace.seconds || !x->pace.cuts)
        return error_no_memory(p->g->error, (size_t)x->n_steps * sizeof *x->pace.seconds);
    for (int i = 0; i < x->n_steps; i++)
        x->pace.seconds[i] = guess(dev_get_caps(p->device), &x->steps[i]);
    return MARE_OK;
}

mare_status pace_cut(planner *p, plan *x) {
    pace *c = &x->pace;
    mare_status status = c->seconds ? MARE_OK : begin(p, x);
    if (status || c->bound == p->submit_seconds) return status;
    c->bound = p->submit_seconds;
    double sum = 0;
    c->n_cuts = 1;
    for (int i = 0; i < x->n_steps; i++) {
        sum += c->seconds[i];
        if (i == 0 || sum <= c->bound) continue;
        c->cuts[c->n_cuts++] = i;
        sum = c->seconds[i];
    }
    return MARE_OK;
}

void pace_note(plan *x, int first, int n, double seconds) {
    double sum = 0;
    for (int i = first; i < first + n; i++)
        sum += x->pace.seconds[i];
    for (int i = first; i < first + n && sum > 0; i++)
        x->pace.seconds[i] *= seconds / sum;
    x->pace.bound = 0; /* cut anew at the next run */
}
