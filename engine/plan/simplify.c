/* Common subexpressions: nodes that compute the same of the same stand for each other. Nodes with
 * values that change from step to step (dyn) are each their own, literals aside. */
#include "base/hash.h"
#include "plan/fuse.h"

#include <string.h>

static bool may_merge(const node *x) {
    return !x->store && (x->n_dyn == 0 || (node_is_const(x) && x->literal));
}

static bool same(const fusion *f, const node *a, const node *b) {
    if (a->op != b->op || a->dtype != b->dtype || a->n_in != b->n_in ||
        !shape_equal(&a->shape, &b->shape))
        return false;
    if (a->n_dyn != b->n_dyn || memcmp(a->dyn, b->dyn, (size_t)a->n_dyn * sizeof *a->dyn) != 0)
        return false;
    if (a->op->attr_size && memcmp(a->attr, b->attr, a->op->attr_size) != 0) return false;
    for (int k = 0; k < a->n_in; k++)
        if (f->rep[a->in[k]->index] != f->rep[b->in[k]->index]) return false;
    return true;
}

static uint64_t key_of(const fusion *f, const node *x) {
    uint64_t h = hash_bytes(&x->op, sizeof x->op, (uint64_t)x->dtype);
    h = hash_bytes(x->shape.dim, (size_t)x->shape.rank * sizeof x->shape.dim[0], h);
    h = hash_bytes(x->dyn, (size_t)x->n_dyn * sizeof *x->dyn, h);
    if (x->op->attr_size) h = hash_bytes(x->attr, x->op->attr_size, h);
    for (int k = 0; k < x->n_in; k++)
        h = hash_bytes(&f->rep[x->in[k]->index], sizeof *f->rep, h);
    return h;
}

bool plan_simplify(fusion *f) {
    map seen = {0}; /* by key: the first node of that key, as its place + 1 */
    bool ok = true;
    for (int i = 0; i < f->n && ok; i++) {
        f->rep[i] = i;
        const node *x = f->order[i];
        if (!may_merge(x)) continue;
        uint64_t key = key_of(f, x);
        uintptr_t first = (uintptr_t)map_get(&seen, key);
        if (!first)
            ok = map_put(&seen, key, (void *)(uintptr_t)(i + 1));
        else if (same(f, f->order[first - 1], x))
            f->rep[i] = (int)first - 1;
    }
    map_free(&seen);
    return ok;
}
