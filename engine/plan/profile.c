/* Recording profiles. */
#include "plan/profile.h"

#include "base/hash.h"
#include "plan/run.h"

#include <string.h>

void profile_destroy(profile *f) {
    arena_free(&f->mem);
    vec_free(&f->sites);
    vec_free(&f->launches);
    vec_free(&f->spans);
    vec_free(&f->used);
    map_free(&f->by_key);
}

/* ---- Sites --------------------------------------------------------------------------------- */

static void add_work(profile *f, profile_site *site, const step *s) {
    site->op = arena_string(&f->mem, site->op); /* the plan may go */
    site->kernel = arena_string(&f->mem, s->kernel.shader);
    if (!site->op || !site->kernel) f->failed = true;
    for (int i = 0; i < s->n_bindings; i++) {
        const binding *b = &s->bindings[i];
        bool again = false; /* an input that is bound twice is moved once */
        for (int k = 0; k < i; k++)
            again |= s->bindings[k].buffer == b->buffer && s->bindings[k].offset == b->offset &&
                     s->bindings[k].bytes == b->bytes && s->bindings[k].access == b->access;
        if (!again) site->bytes += (double)b->bytes * (b->access == READ_WRITE ? 2 : 1);
    }
    site->flops = s->flops;
}

/* Place of a site, made when there is none yet; 0 and f->failed without memory. */
static uint32_t site_of(profile *f, const profile_site *want, const step *s) {
    const struct {
        uint64_t plan, step, line;
        const char *file;
    } key = {want->plan, (uint64_t)want->step, (uint64_t)want->line, want->file};
    uint64_t hash = hash_bytes(&key, sizeof key, 0);
    uint32_t at = (uint32_t)(uintptr_t)map_get(&f->by_key, hash);
    if (at) {
        const profile_site *x = &f->sites.data[at - 1];
        if (x->plan == want->plan && x->step == want->step && x->line == want->line &&
            x->file == want->file && strcmp(x->op, want->op) == 0)
            return at - 1;
    }
    uint32_t place = (uint32_t)f->sites.len;
    if (!vec_push(&f->sites, *want) || !map_put(&f->by_key, hash, (void *)(uintptr_t)(place + 1))) {
        f->failed = true;
        return 0;
    }
    if (s) add_work(f, &f->sites.data[place], s);
    return place;
}

void profile_locate(const profile *f, plan *x, node *const *order) {
    for (int i = 0; i < x->n_steps && f->on; i++) {
        const node *n = order[x->steps[i].origin];
        x->steps[i].file = n->file;
        x->steps[i].line = n->line;
    }
}

/* ---- Launches ------------------------------------------------------------------------------ */

mare_status profile_begin(profile *f, dev_recorder *r, const plan *x, int i) {
    if (!f->on || f->failed) return MARE_OK;
    const step *s = &x->steps[i];
    profile_site want = {.plan = x->hash,
                         .step = i,
                         .op = s->label,
                         .file = s->file,
                         .line = s->line,
                         .dtype = s->dtype,
                         .shape = s->shape,
                         .groups = {s->groups[0], s->groups[1], s->groups[2]}};
    profile_launch l = {.site = site_of(f, &want, s), .eval = f->evals, .start = -1};
    if (!vec_push(&f->launches, l)) f->failed = true;
    return f->failed ? MARE_OK : dev_cmd_time(r, (uint32_t)f->launches.len - 1);
}

void profile_end(profile *f, dev_recorder *r) {
    if (f->on) dev_cmd_time_end(r);
}

bool profile_alone(const profile *f) {
    return f->on && !f->stamps;
}

/* ---- The host ------------------------------------------------------------------------------ */

double profile_now(const profile *f) {
    return f->on ? dev_clock() - f->start : 0;
}

void profile_did(profile *f, mare_work work, double start, const char *about) {
    if (!f->on) return;
    const char *copy = about ? arena_string(&f->mem, about) : NULL;
    profile_span span = {work, f->evals, start, profile_now(f), copy};
    if (!vec_push(&f->spans, span)) f->failed = true;
    if (work == MARE_WORK_RECORD) f->evals++;
}

/* ---- From start to stop -------------------------------------------------------------------- */

static mare_status start(profile *f, dev_device *d, mare_error *e) {
    if (f->on) return error_set(e, MARE_E_ARGUMENT, "profile: it is on already");
    mare_status status = dev_profile_start(d);
    if (status) return status;
    for (size_t i = 0; i < f->sites.len; i++) {
        f->sites.data[i].launches = 0;
        f->sites.data[i].seconds = 0;
    }
    f->launches.len = f->spans.len = f->used.len = 0;
    f->evals = 0;
    f->failed = false;
    f->on = true;
    f->stamps = dev_profile_stamps(d);
    f->start = dev_clock();
    return MARE_OK;
}

/* Into the time of the profile; the device's clock is known to some microseconds alone. */
static double inside(const profile *f, double time) {
    time -= f->start;
    return time < 0 ? 0 : time > f->wall ? f->wall : time;
}

/* Copies are launches without an operation. */
static void add_runs(profile *f, const dev_profile *times) {
    for (size_t i = 0; i < times->n_runs; i++) {
        const dev_timing *t = &times->runs[i];
        profile_launch l = {0};
        if (t->id == DEV_COPY)
            l.site = site_of(f, &(profile_site){.op = "copy", .kernel = ""}, NULL);
        else
            l = f->launches.data[t->id];
        l.start = inside(f, t->start);
        l.end = inside(f, t->end);
        if (t->id != DEV_COPY)
            f->launches.data[t->id] = l;
        else if (!vec_push(&f->launches, l))
            f->failed = true;
    }
    for (size_t i = 0; i < times->n_waits; i++) {
        profile_span s = {MARE_WORK_WAIT, 0, inside(f, times->waits[i].start),
                          inside(f, times->waits[i].end), NULL};
        if (!vec_push(&f->spans, s)) f->failed = true;
    }
}

static int by_start(const void *a, const void *b) {
    const profile_launch *x = a, *y = b;
    if (x->start != y->start) return x->start < y->start ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* What encloses others comes before them. */
static int outer_first(const void *a, const void *b) {
    const profile_span *x = a, *y = b;
    if (x->start != y->start) return x->start < y->start ? -1 : 1;
    return x->end > y->end ? -1 : x->end < y->end;
}

/* Launches that never ran, as in an evaluation that failed, are left out; the sites of the others
 * are counted. */
static void settle(profile *f) {
    size_t n = 0;
    for (size_t i = 0; i < f->launches.len; i++)
        if (f->launches.data[i].start >= 0) f->launches.data[n++] = f->launches.data[i];
    f->launches.len = n;
    if (n) qsort(f->launches.data, n, sizeof *f->launches.data, by_start);
    if (f->spans.len) qsort(f->spans.data, f->spans.len, sizeof *f->spans.data, outer_first);
    VEC(uint32_t) place = {0}; /* of each site in `used`, and one more */
    for (size_t i = 0; i < f->sites.len && !f->failed; i++)
        f->failed = !vec_push(&place, 0);
    for (size_t i = 0; i < n && !f->failed; i++) {
        profile_launch *l = &f->launches.data[i];
        profile_site *site = &f->sites.data[l->site];
        site->launches++;
        site->seconds += l->end - l->start;
        if (!place.data[l->site]) {
            f->failed = !vec_push(&f->used, l->site);
            place.data[l->site] = (uint32_t)f->used.len;
        }
        l->site = place.data[l->site] - 1;
    }
    vec_free(&place);
}

static mare_status stop(profile *f, dev_device *d, mare_error *e) {
    if (!f->on) return error_set(e, MARE_E_ARGUMENT, "profile: it is not on");
    mare_status status = dev_wait(d);
    f->wall = profile_now(f);
    f->on = false;
    dev_profile times;
    mare_status stopped = dev_profile_stop(d, &times);
    if (!status) status = stopped;
    if (!status) {
        add_runs(f, &times);
        settle(f);
        if (f->failed) status = error_no_memory(e, f->launches.len * sizeof *f->launches.data);
    }
    free(times.runs);
    free(times.waits);
    if (!status) return MARE_OK;
    f->launches.len = f->spans.len = f->used.len = 0;
    f->wall = 0;
    return status;
}

mare_status planner_profile_start(planner *p) {
    return start(&p->profile, p->device, p->g->error);
}

mare_status planner_profile_stop(planner *p) {
    return stop(&p->profile, p->device, p->g->error);
}

const profile *planner_profile(const planner *p) {
    return &p->profile;
}

/* ---- Sums ---------------------------------------------------------------------------------- */

/* Where the device stands in a walk along the time. */
typedef struct walk {
    const profile *f;
    profile_sums *sums;
    size_t next; /* launch that may lie ahead of `at`, or around it */
    double at;
} walk;

/* The host is at `work` until `to`. */
static void advance(walk *w, mare_work work, double to) {
    if (to <= w->at) return;
    double busy = 0;
    for (; w->next < w->f->launches.len; w->next++) {
        const profile_launch *l = &w->f->launches.data[w->next];
        double from = l->start > w->at ? l->start : w->at, until = l->end < to ? l->end : to;
        if (until > from) busy += until - from;
        if (l->end > to) break;
    }
    w->sums->host[work] += to - w->at;
    w->sums->idle[work] += to - w->at - busy;
    w->at = to;
}

/* The tuner waits for what it measures: that is part of its work. */
static mare_work kind_of(const profile_span *s, const profile_span *const *open, size_t n) {
    for (size_t i = 0; i < n && s->work == MARE_WORK_WAIT; i++)
        if (open[i]->work == MARE_WORK_COMPILE) return MARE_WORK_COMPILE;
    return s->work;
}

mare_status profile_sum(const profile *f, mare_error *e, profile_sums *out) {
    *out = (profile_sums){0};
    for (size_t i = 0; i < f->launches.len; i++) {
        const profile_launch *l = &f->launches.data[i];
        bool copy = profile_is_copy(&f->sites.data[f->used.data[l->site]]);
        *(copy ? &out->copying : &out->busy) += l->end - l->start;
        double gap = i ? l->start - f->launches.data[i - 1].end : 0;
        if (gap > out->longest_gap) out->longest_gap = gap;
    }
    VEC(const profile_span *) open = {0};
    walk w = {.f = f, .sums = out};
    for (size_t i = 0; i <= f->spans.len; i++) {
        const profile_span *s = i < f->spans.len ? &f->spans.data[i] : NULL;
        double start = s ? s->start : f->wall;
        while (open.len && open.data[open.len - 1]->end <= start) {
            const profile_span *last = open.data[--open.len];
            advance(&w, kind_of(last, open.data, open.len), last->end);
        }
        const profile_span *around = open.len ? open.data[open.len - 1] : NULL;
        advance(&w, around ? kind_of(around, open.data, open.len - 1) : MARE_WORK_SCRIPT, start);
        if (s && !vec_push(&open, s)) {
            vec_free(&open);
            return error_no_memory(e, f->spans.len * sizeof s);
        }
    }
    vec_free(&open);
    return MARE_OK;
}
