/* Plans are found under the structure of a graph, or made and put there. */
#include "base/hash.h"
#include "plan/run.h"

#include <string.h>

enum { MAX_PLANS = 256 /* in the cache; beyond, the longest unused goes */ };

/* Everything a plan depends on and nothing else: values that may change (dyn) and addresses are
 * left out. */
static bool sign(node *const *order, int n, const plan_wanted *w, text *out) {
    for (int i = 0; i < n; i++) {
        const node *x = order[i];
        uint8_t head[] = {x->store != NULL, x->literal, (uint8_t)x->dtype, (uint8_t)x->shape.rank};
        text_bytes(out, head, sizeof head);
        text_bytes(out, x->shape.dim, (size_t)x->shape.rank * sizeof x->shape.dim[0]);
        if (x->store) {
            text_bytes(out, &x->view.offset, sizeof x->view.offset);
            text_bytes(out, x->view.stride, (size_t)x->shape.rank * sizeof x->view.stride[0]);
            continue;
        }
        text_bytes(out, &x->op, sizeof x->op);
        if (x->op->attr_size) text_bytes(out, x->attr, x->op->attr_size);
        if (x->literal) text_bytes(out, x->dyn, sizeof x->dyn[0]);
        text_bytes(out, &x->n_in, sizeof x->n_in);
        for (int k = 0; k < x->n_in; k++)
            text_bytes(out, &x->in[k]->index, sizeof x->in[k]->index);
    }
    for (int i = 0; i < w->n; i++) {
        const node *old = w->old ? w->old[i] : NULL;
        uint64_t place = old && graph_listed(old) ? old->index : UINT64_MAX;
        text_bytes(out, &w->roots[i]->index, sizeof w->roots[i]->index);
        text_bytes(out, &place, sizeof place);
    }
    return !out->failed;
}

/* What a run is given, numbered: the inputs' storage, and each word of a node that is read anew,
 * once however many launches ask for it. */
static mare_status number_slots(plan *p, mare_error *e) {
    size_t words = (size_t)p->n_nodes * MAX_DYN;
    int *slot = calloc(words + 1, sizeof *slot), most = 0;
    for (int i = 0; i < p->n_steps; i++)
        most += p->steps[i].n_patches;
    p->inputs = arena_alloc(&p->mem, ((size_t)p->n_buffers + 1) * sizeof *p->inputs);
    p->values = arena_alloc(&p->mem, ((size_t)most + 1) * sizeof *p->values);
    if (!slot || !p->inputs || !p->values) {
        free(slot);
        return error_no_memory(e, words * sizeof *slot);
    }
    for (int i = 0; i < p->n_buffers; i++)
        if (p->buffers[i].kind == BUFFER_INPUT) {
            p->buffers[i].slot = p->n_inputs;
            p->inputs[p->n_inputs++] = p->buffers[i].input;
        }
    for (int i = 0; i < p->n_steps; i++)
        for (int k = 0; k < p->steps[i].n_patches; k++) {
            patch *x = &p->steps[i].patches[k];
            int *known = &slot[x->node * MAX_DYN + x->dyn];
            if (!*known) {
                p->values[p->n_values] = (plan_value){x->node, x->dyn};
                *known = ++p->n_values;
            }
            x->value = *known - 1;
        }
    free(slot);
    return MARE_OK;
}

void plan_pin(plan *p) {
    p->pins++;
}

void plan_unpin(plan *p) {
    if (--p->pins == 0 && p->forgotten) plan_free(p);
}

/* Null is allowed. */
static void forget(plan *p) {
    if (!p) return;
    p->forgotten = true;
    if (!p->pins) plan_free(p);
}

static void forget_oldest(planner *p) {
    plan *oldest = NULL;
    for (size_t i = 0; i < p->plans.cap; i++) {
        plan *x = p->plans.slots[i].value;
        if (x && (!oldest || x->used < oldest->used)) oldest = x;
    }
    if (oldest) forget(map_take(&p->plans, oldest->hash));
}

mare_status plan_find(planner *p, node **order, int n, const plan_wanted *w, plan **out) {
    mare_error *e = p->g->error;
    text signature = {0};
    if (!sign(order, n, w, &signature)) {
        text_free(&signature);
        return error_no_memory(e, signature.len);
    }
    uint64_t hash = hash_bytes(signature.data, signature.len, (uint64_t)w->n);
    plan *x = map_get(&p->plans, hash);
    if (x && x->signature_len == signature.len &&
        memcmp(x->signature, signature.data, signature.len) == 0) {
        text_free(&signature);
        p->stats.hits++;
        *out = x;
        return MARE_OK;
    }
    double start = profile_now(&p->profile);
    dump_new_graph(&p->dump, order, n, w);
    const dev_caps *caps = dev_get_caps(p->device);
    mare_status status = plan_lower(p->g, caps, p->passes, order, n, w, &x);
    if (!status) status = plan_pack(x, caps->allocation, e);
    if (!status) status = plan_barriers(x, e);
    if (!status) status = number_slots(x, e);
    if (status) {
        plan_free(x);
        text_free(&signature);
        return status;
    }
    plan_prefetch(p->kernels, x);
    x->hash = hash;
    x->signature = signature.data;
    x->signature_len = signature.len;
    p->stats.plans++;
    if (p->plans.len >= MAX_PLANS) forget_oldest(p);
    forget(map_take(&p->plans, hash)); /* one of another structure with the same hash */
    if (!map_put(&p->plans, hash, x)) {
        plan_free(x);
        return error_no_memory(e, sizeof(map_slot));
    }
    dump_new_plan(&p->dump, x);
    profile_did(&p->profile, MARE_WORK_PLAN, start, NULL);
    *out = x;
    return MARE_OK;
}

void plan_forget_all(planner *p) {
    for (size_t i = 0; i < p->plans.cap; i++)
        forget(p->plans.slots[i].value);
    map_free(&p->plans);
}

bool plan_forget_recording(planner *p, const plan *but) {
    plan *oldest = NULL;
    for (size_t i = 0; i < p->plans.cap; i++) {
        plan *x = p->plans.slots[i].value;
        if (x && x != but && x->replay && (!oldest || x->used < oldest->used)) oldest = x;
    }
    if (!oldest) return false;
    replay_free(oldest->replay);
    oldest->replay = NULL;
    return true;
}
