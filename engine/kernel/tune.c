/* The choice between the kernels that can do a piece of work. */
#include "kernel/tune.h"

#include "base/hash.h"
#include "kernel/internal.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Past this, at first use, no further candidate of a problem is tried. */
static const double most_a_problem = 10;

mare_status tune_pin(kernels *k, const char *key, const char *candidate) {
    if (!k->d) return error_set(k->e, MARE_E_ARGUMENT, "tune_pin: no device");
    tune_choice pin = {.r = {.key = key, .list = "", .best = candidate}, .gone = !candidate};
    return records_put(k, &pin, 1) ? MARE_OK : error_no_memory(k->e, sizeof pin);
}

mare_status tune_put(kernels *k, const mare_tune_record *list, int n) {
    if (!k->d) return error_set(k->e, MARE_E_ARGUMENT, "tune_put: no device");
    tune_choice *all = calloc((size_t)n + 1, sizeof *all);
    for (int i = 0; all && i < n; i++)
        all[i].r = list[i];
    bool ok = all && records_put(k, all, n);
    free(all);
    return ok ? MARE_OK : error_no_memory(k->e, (size_t)n * sizeof *all);
}

static int by_name(const tune_problem *p, const char *name) {
    for (int i = 0; i < p->n; i++)
        if (strcmp(p->candidates[i].name, name) == 0) return i;
    return -1;
}

/* Hash of the candidates: their names, and the shaders behind the names, so that an edited shader
 * is measured again. */
static bool hash_list(const tune_problem *p, char out[33]) {
    text t = {0};
    for (int i = 0; i < p->n; i++) {
        const tune_candidate *c = &p->candidates[i];
        char path[512], *owned;
        size_t len;
        snprintf(path, sizeof path, "shaders/%s", c->kernel.shader);
        const char *source = source_text(path, &len, &owned);
        text_add(&t, "%s %s %016llx\n", c->name, c->kernel.shader,
                 source ? (unsigned long long)hash_bytes(source, len, 0) : 0ull);
        free(owned);
    }
    if (!t.failed) hash_hex(t.data, t.len, out);
    bool ok = !t.failed;
    text_free(&t);
    return ok;
}

static double bytes_of(const tune_problem *p) {
    double bytes = 0;
    for (int i = 0; i < p->buffers; i++)
        bytes += (double)p->buffer_bytes[i];
    return bytes;
}

/* ---- Runs ---------------------------------------------------------------------------------- */

mare_status tune_begin(kernels *k, const mare_tune_options *o) {
    tune_run *run = &k->tune.run;
    if (!k->d) return error_set(k->e, MARE_E_ARGUMENT, "tune_begin: no device");
    if (run->on) return error_set(k->e, MARE_E_ARGUMENT, "tune_begin: a run is on already");
    vec_free(&run->results);
    *run = (tune_run){.on = true, .number = run->number + 1, .options = *o};
    if (o->budget < 0) run->options.budget = INFINITY;
    return MARE_OK;
}

mare_status tune_end(kernels *k) {
    if (!k->tune.run.on) return error_set(k->e, MARE_E_ARGUMENT, "tune_end: no run is on");
    k->tune.run.on = false;
    return MARE_OK;
}

const mare_tune_record *tune_results(const kernels *k, int *n) {
    *n = (int)k->tune.run.results.len;
    return k->tune.run.results.data;
}

static void tell(tune_run *run, const mare_tune_record *r) {
    mare_tune_options *o = &run->options;
    if (o->told && !o->told(o->user, r)) o->budget = 0;
}

/* Puts a problem among the results of the run, once. Its texts are the run's own from then on. */
static void note(kernels *k, const mare_tune_record *r, mare_tune_state state) {
    tune_run *run = &k->tune.run;
    if (!run->on) return;
    for (size_t i = 0; i < run->results.len; i++) {
        const mare_tune_record *old = &run->results.data[i];
        if (strcmp(old->key, r->key) == 0 && strcmp(old->list, r->list) == 0) return;
    }
    mare_tune_record now = *r;
    now.state = state;
    if (records_own(k, &now) && vec_push(&run->results, now)) tell(run, &now);
}

/* ---- Answers ------------------------------------------------------------------------------- */

static void note_problem(kernels *k, const tune_problem *p, const char *list, mare_tune_state state,
                         const char *best) {
    mare_tune_record r = {
        .key = p->key, .list = list, .best = best, .flops = p->flops, .bytes = bytes_of(p)};
    note(k, &r, state);
}

static int default_of(const kernels *k, const tune_problem *p) {
    int *order = malloc((size_t)p->n * sizeof *order), first = 0;
    if (order) {
        tune_order(dev_get_caps(k->d), p, order);
        first = order[0];
    }
    free(order);
    return first;
}

static bool may_measure(const tuner *t) {
    if (t->run.on) return t->run.spent < t->run.options.budget;
    return t->when == MARE_TUNING_FIRST_USE && t->spent < t->budget;
}

/* What is on record of the list; -1 for nothing that holds. */
static int find_recorded(kernels *k, const tune_problem *p, const char *list) {
    const tune_run *run = &k->tune.run;
    const tune_choice *c = records_find(k, p->key, list);
    if (!c || (run->on && run->options.force && c->tuning != run->number)) return -1;
    int best = c->r.best ? by_name(p, c->r.best) : default_of(k, p);
    if (best >= 0) note(k, &c->r, c->r.best ? MARE_TUNE_KNOWN : MARE_TUNE_FAILED);
    return best;
}

/* The answer where nothing is to be measured for it; else -1, and the hash of the list in `list`.
 */
static int find_answer(kernels *k, const tune_problem *p, char list[33]) {
    const tuner *t = &k->tune;
    if (p->n < 2 || !k->d) return 0;
    const tune_choice *pin = records_find(k, p->key, "");
    int best = pin ? by_name(p, pin->r.best) : -1;
    if (best >= 0) {
        note_problem(k, p, "", MARE_TUNE_PINNED, pin->r.best);
        return best;
    }
    if (t->when == MARE_TUNING_OFF && !t->run.on) return default_of(k, p);
    if (!hash_list(p, list)) return 0;
    best = find_recorded(k, p, list);
    if (best >= 0 || may_measure(t)) return best;
    best = default_of(k, p);
    note_problem(k, p, list, MARE_TUNE_LEFT, p->candidates[best].name);
    return best;
}

int tune_known(kernels *k, const tune_problem *p) {
    char list[33];
    return find_answer(k, p, list);
}

/* ---- Measuring ----------------------------------------------------------------------------- */

/* The problem as it stands, with candidates in `all`. */
static mare_tune_record record_of(const tune_measurement *m, const char *list,
                                  mare_tune_candidate *all) {
    const tune_problem *p = m->p;
    for (int i = 0; i < p->n; i++)
        all[i] = (mare_tune_candidate){p->candidates[i].name, m->seconds[i]};
    return (mare_tune_record){.key = p->key,
                              .list = list,
                              .best = m->best < 0 ? NULL : p->candidates[m->best].name,
                              .flops = p->flops,
                              .bytes = bytes_of(p),
                              .n = p->n,
                              .candidates = all};
}

static void tell_running(kernels *k, const tune_measurement *m) {
    tune_run *run = &k->tune.run;
    mare_tune_candidate *all = malloc((size_t)m->p->n * sizeof *all);
    if (run->on && all) {
        mare_tune_record r = record_of(m, "", all);
        r.state = MARE_TUNE_RUNNING;
        tell(run, &r);
    }
    free(all);
}

/* Would the same be no failure at another time, or on this device when it is less full? */
static bool is_passing(mare_status status) {
    return status == MARE_E_DEVICE_MEMORY || status == MARE_E_HOST_MEMORY ||
           status == MARE_E_DEVICE_LOST;
}

/* Measures, and keeps what came out; that all candidates failed, too, or it would be tried at every
 * start. */
static int measure(kernels *k, tune_measurement *m, const char *list, mare_tune_candidate *all) {
    tuner *t = &k->tune;
    /* What fails here fails in the plan as well, and is reported there; a failure of measuring
     * alone is no failure of the call. */
    mare_error saved = *k->e;
    mare_status status = tune_measure(k, m);
    *k->e = saved;
    k->tuned++;
    tune_choice c = {.r = record_of(m, list, all),
                     .passing = is_passing(status),
                     .tuning = t->run.on ? t->run.number : 0};
    records_put(k, &c, 1);
    note(k, &c.r, status ? MARE_TUNE_FAILED : MARE_TUNE_MEASURED);
    return m->best < 0 ? m->order[0] : m->best;
}

int tune_choose(kernels *k, const tune_problem *p) {
    char list[33];
    int best = find_answer(k, p, list);
    if (best >= 0) return best;
    tuner *t = &k->tune;
    size_t n = (size_t)p->n;
    int *order = malloc(n * sizeof *order);
    double *seconds = calloc(n, sizeof *seconds), start = t->clock();
    mare_tune_candidate *all = malloc(n * sizeof *all);
    if (order && seconds && all) {
        kernels_settle(k); /* threads that compile would disturb the clock */
        tune_order(dev_get_caps(k->d), p, order);
        tune_measurement m = {.p = p,
                              .order = order,
                              .until = t->run.on ? INFINITY : start + most_a_problem,
                              .seconds = seconds,
                              .tell = tell_running};
        best = measure(k, &m, list, all);
    }
    *(t->run.on ? &t->run.spent : &t->spent) += t->clock() - start;
    free(order);
    free(seconds);
    free(all);
    return best < 0 ? 0 : best;
}
