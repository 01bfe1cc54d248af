#include "graph/graph.h"

#include "base/hash.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void graph_init(graph *g, mare_error *e) {
    *g = (graph){.error = e};
}

void graph_free(graph *g) {
    vec_free(&g->fresh);
    map_free(&g->files);
    arena_free(&g->strings);
}

void graph_set_location(graph *g, const char *file, int line) {
    g->line = line;
    if (!file) {
        g->file = NULL;
        return;
    }
    if (g->file && strcmp(g->file, file) == 0) return;
    uint64_t key = hash_string(file, 0);
    char *known = map_get(&g->files, key);
    if (!known || strcmp(known, file) != 0) { /* another name may have the same hash */
        known = arena_string(&g->strings, file);
        if (known) map_put(&g->files, key, known); /* a miss costs one more copy, nothing else */
    }
    g->file = known;
}

void graph_scope_begin(graph *g) {
    g->scopes++;
}

void graph_scope_end(graph *g) {
    if (--g->scopes > 0) return;
    for (size_t i = 0; i < g->fresh.len; i++)
        node_release(g->fresh.data[i]);
    g->fresh.len = 0;
}

void storage_release(storage *s) {
    if (s && --s->refs == 0) s->destroy(s);
}

void callback_release(callback *c) {
    if (c && --c->refs == 0) c->destroy(c);
}

node *node_retain(node *n) {
    if (n) n->refs++;
    return n;
}

/* Graphs are deep, so freeing walks a list instead of calling itself. */
void node_release(node *n) {
    if (!n || --n->refs > 0) return;
    n->next = NULL;
    node *dead = n;
    while (dead) {
        node *d = dead;
        dead = d->next;
        for (int i = 0; i <= d->n_in; i++) {
            node *in = i < d->n_in ? d->in[i] : d->grad;
            if (in && --in->refs == 0) {
                in->next = dead;
                dead = in;
            }
        }
        storage_release(d->store);
        callback_release(d->backward);
        for (size_t i = 0; i < d->hooks.len; i++)
            callback_release(d->hooks.data[i]);
        vec_free(&d->hooks);
        d->g->alive--;
        free(d);
    }
}

node *graph_fail(graph *g, mare_status code, const char *fmt, ...) {
    char message[sizeof g->error->text];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    error_set(g->error, code, "%s", message);
    return NULL;
}

/* A node with room for its inputs and attributes behind it, owned by the scope. */
static node *node_alloc(graph *g, const op *o, int n_in, const void *attr) {
    size_t inputs = (sizeof(node) + 15) / 16 * 16;
    size_t attrs = inputs + ((size_t)n_in * sizeof(node *) + 15) / 16 * 16;
    size_t bytes = attrs + o->attr_size;
    unsigned char *p = calloc(1, bytes);
    if (!p || !vec_push(&g->fresh, (node *)(void *)p)) {
        free(p);
        error_no_memory(g->error, bytes);
        return NULL;
    }
    node *n = (node *)(void *)p;
    n->refs = 1;
    n->g = g;
    n->op = o;
    n->in = (node **)(void *)(p + inputs);
    n->lo = 1; /* an empty range: unknown */
    n->hi = 0;
    n->file = g->file;
    n->line = g->line;
    if (o->attr_size) {
        memcpy(p + attrs, attr, o->attr_size);
        n->attr = p + attrs;
    }
    n->serial = ++g->made;
    g->alive++;
    return n;
}

node *node_new(graph *g, const op *o, node *const *in, int n_in, const void *attr) {
    for (int i = 0; i < n_in; i++)
        if (!in[i]) return NULL;
    node *n = node_alloc(g, o, n_in, attr);
    if (!n) return NULL;
    for (int i = 0; i < n_in; i++) {
        n->in[i] = node_retain(in[i]);
        if (!in[i]->store && in[i]->depth > n->depth) n->depth = in[i]->depth;
        if (in[i]->requires_grad) n->requires_grad = true;
    }
    n->n_in = n_in;
    n->depth++;
    for (int i = 0; i < n_in && o->dtypes == OWN_DTYPES; i++)
        if (mare_dtype_size(in[i]->dtype) != 4)
            return graph_fail(g, MARE_E_DTYPE, "%s: works on f32 and i32, not %s", o->name,
                              mare_dtype_name(in[i]->dtype));
    if (!o->infer(g, n)) return NULL;
    if (g->no_grad || !o->vjp || !dtype_is_float(n->dtype)) n->requires_grad = false;
    for (int i = 0; i < n->shape.rank; i++)
        if (n->shape.dim[i] < 0 || n->shape.dim[i] > INT32_MAX)
            return graph_fail(g, MARE_E_SHAPE, "%s: a dimension of %lld elements is out of range",
                              o->name, (long long)n->shape.dim[i]);
    return n;
}

/* ---- Leaves ------------------------------------------------------------------------------- */

static const op op_data = {.name = "data", .doc = "Values in memory."};
static const op op_const = {.name = "const", .doc = "A scalar constant."};

node *node_leaf(graph *g, storage *s, mare_dtype t, const shape *sh, const view *v) {
    node *n = node_alloc(g, &op_data, 0, NULL);
    if (!n) {
        storage_release(s);
        return NULL;
    }
    n->store = s;
    n->dtype = t;
    n->shape = *sh;
    n->view = *v;
    n->leaf = true;
    return n;
}

node *node_const(graph *g, mare_dtype t, double value) {
    node *n = node_alloc(g, &op_const, 0, NULL);
    if (!n) return NULL;
    n->dtype = t;
    n->leaf = true;
    n->n_dyn = 1;
    n->dyn[0] = dtype_word(t, value);
    if (!dtype_is_float(t)) n->lo = n->hi = (int32_t)n->dyn[0];
    return n;
}

bool node_is_const(const node *n) {
    return n->op == &op_const;
}

/* ---- Walks -------------------------------------------------------------------------------- */

typedef struct visit {
    node *n;
    int next; /* input to look at next */
} visit;

mare_status graph_order(graph *g, node *const *roots, int n_roots, node ***order, int *count) {
    VEC(node *) out = {0};
    VEC(visit) stack = {0};
    uint64_t walk = ++g->walks;
    bool ok = true;
    for (int r = 0; r < n_roots && ok; r++) {
        if (roots[r]->mark == walk) continue;
        roots[r]->mark = walk;
        ok = vec_push(&stack, (visit){roots[r], 0});
        while (ok && stack.len) {
            visit *v = &stack.data[stack.len - 1];
            if (v->n->store || v->next == v->n->n_in) {
                v->n->index = out.len;
                ok = vec_push(&out, v->n);
                stack.len--;
                continue;
            }
            node *in = v->n->in[v->next++];
            if (in->mark == walk) continue;
            in->mark = walk;
            ok = vec_push(&stack, (visit){in, 0});
        }
    }
    vec_free(&stack);
    if (!ok) {
        vec_free(&out);
        return error_no_memory(g->error, sizeof(node *));
    }
    *order = out.data;
    *count = (int)out.len;
    return MARE_OK;
}

bool graph_listed(const node *n) {
    return n->mark == n->g->walks;
}

bool graph_read(graph *g, node *n, double *out) {
    if (!n) return false;
    int64_t count = shape_count(&n->shape);
    size_t bytes = (size_t)count * mare_dtype_size(n->dtype);
    if (!g->read)
        return graph_fail(g, MARE_E_ARGUMENT, "%s: there is no device to evaluate it",
                          n->op->name) != NULL;
    void *data = malloc(bytes + 1);
    if (!data) return error_no_memory(g->error, bytes) == MARE_OK;
    mare_status status = g->read(g->reader, n, data, bytes);
    if (!status) dtype_unpack(n->dtype, data, out, count);
    free(data);
    return status == MARE_OK;
}
