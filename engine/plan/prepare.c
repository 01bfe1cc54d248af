/* From a step's kernels to its pipeline: made ahead by worker threads, chosen by the tuner. */
#include "plan/internal.h"

#include <stdlib.h>
#include <string.h>

/* The kernels that the tuner may pick for a step, without what is attached to it: what is best for
 * a product is best for it with a bias too, and is measured once. */
typedef struct choice {
    tune_candidate *candidates; /* the first is the plain one; malloc'ed */
    uint64_t bytes[MAX_BINDINGS];
    tune_problem problem;
} choice;

static kernel_id plain_of(const step *s, const kernel_id *k, const char *defines) {
    kernel_id id = *k;
    id.defines = defines;
    id.buffers = s->plain_bindings;
    return id;
}

static bool choice_of(const step *s, const uint32_t *words, choice *c) {
    int n = 1;
    for (const variant *v = s->variants; v; v = v->next)
        n++;
    tune_candidate *t = c->candidates = calloc((size_t)n, sizeof *t);
    if (!t) return false;
    for (int i = 0; i < s->plain_bindings; i++)
        c->bytes[i] =
            s->plain_out && i == s->plain_bindings - 1 ? s->plain_out : s->bindings[i].bytes;
    *t++ = (tune_candidate){"plain",
                            plain_of(s, &s->kernel, s->plain),
                            {s->groups[0], s->groups[1], s->groups[2]},
                            words,
                            s->plain_words};
    for (const variant *v = s->variants; v; v = v->next)
        *t++ = (tune_candidate){v->name,
                                plain_of(s, &v->kernel, v->plain),
                                {v->groups[0], v->groups[1], v->groups[2]},
                                words,
                                s->plain_words};
    c->problem =
        (tune_problem){s->tune_key, c->candidates, n, c->bytes, s->plain_bindings, s->flops};
    return true;
}

/* The step keeps the candidate of that number, and the plain one for when that cannot be had. */
static void settle(step *s, int best) {
    variant *v = s->variants;
    for (int i = 1; v && i < best; i++)
        v = v->next;
    if (best > 0 && v) {
        variant plain = {.name = "plain", .kernel = s->kernel};
        memcpy(plain.groups, s->groups, sizeof s->groups);
        s->kernel = v->kernel;
        memcpy(s->groups, v->groups, sizeof s->groups);
        *v = plain;
        s->instead = v;
    }
    s->variants = NULL;
}

/* What is left to the first dispatch is the driver's: Mesa's software driver (22.3, and 26.2 still)
 * makes machine code there, on the thread of its queue, and only the rest in advance. */
void plan_prefetch(kernels *k, plan *p) {
    for (int i = 0; i < p->n_steps; i++) {
        step *s = &p->steps[i];
        choice c;
        if (s->variants && choice_of(s, NULL, &c)) {
            int known = tune_known(k, &c.problem);
            if (known >= 0) settle(s, known);
            free(c.candidates);
        }
        kernel_prefetch(k, &s->kernel);
        for (const variant *v = s->variants; v; v = v->next)
            kernel_prefetch(k, &v->kernel);
    }
}

mare_status step_prepare(kernels *k, step *s, const uint32_t *words, mare_error *e) {
    if (s->variants) {
        choice c;
        if (!choice_of(s, words, &c)) return error_no_memory(e, sizeof *c.candidates);
        settle(s, tune_choose(k, &c.problem));
        free(c.candidates);
    }
    mare_error saved = *e;
    mare_status status = kernel_get(k, &s->kernel, &s->pipeline);
    /* The choice may come from a table, from another machine or from a record of the kernel
     * without what is attached to it here. */
    if (!s->instead || (status != MARE_E_SHADER && status != MARE_E_VULKAN)) return status;
    *e = saved;
    s->kernel = s->instead->kernel;
    memcpy(s->groups, s->instead->groups, sizeof s->groups);
    return kernel_get(k, &s->kernel, &s->pipeline);
}
