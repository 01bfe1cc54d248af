/* The choice between the kernels that can do a piece of work. */
#include "kernel/tune.h"

#include "base/hash.h"
#include "kernel/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

mare_status tune_pin(kernels *k, const char *key, const char *candidate) {
    if (!k->d) return error_set(k->e, MARE_E_ARGUMENT, "tune_pin(\"%s\"): no device", key);
    tune_choice pin = {.key = key, .list = "", .best = candidate};
    return records_put(k, &pin) ? MARE_OK : error_no_memory(k->e, sizeof pin);
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

/* The pinned or recorded choice, or candidate 0 where there is no choice; else -1, and the hash of
 * the list in `list`. */
static int find_answer(kernels *k, const tune_problem *p, char list[33]) {
    if (p->n < 2 || !k->d) return 0;
    const tune_choice *c = records_find(k, p->key, "");
    int best = c ? by_name(p, c->best) : -1;
    const char *env = getenv("MARE_TUNE");
    if (best >= 0) return best;
    if (env && strcmp(env, "0") == 0) return 0;
    if (!hash_list(p, list)) return 0;
    c = records_find(k, p->key, list);
    return c ? by_name(p, c->best) : -1;
}

int tune_known(kernels *k, const tune_problem *p) {
    char list[33];
    return find_answer(k, p, list);
}

int tune_choose(kernels *k, const tune_problem *p) {
    char list[33];
    int best = find_answer(k, p, list);
    if (best >= 0) return best;
    kernels_settle(k); /* threads that compile would disturb the clock */
    double seconds;
    /* What fails here fails for candidate 0 in the plan as well, and is reported there; a failure
     * of measuring alone is no failure of the call. */
    mare_error saved = *k->e;
    best = tune_measure(k, p, &seconds);
    *k->e = saved;
    k->tuned++;
    if (best < 0) return 0;
    records_put(k, &(tune_choice){.key = p->key,
                                  .list = list,
                                  .best = p->candidates[best].name,
                                  .seconds = seconds,
                                  .flops = p->flops});
    return best;
}
