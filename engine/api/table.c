/* What there is to know of each operation, for the table of `mare ops`. */
#include "api/api.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

bool mare_op_at(int i, mare_op *out) {
    if (i < 0 || !out) return false;
    for (int k = 0; k <= i; k++)
        if (!op_table[k]) return false;
    const op *o = op_table[i];
    *out = (mare_op){.name = o->name,
                     .doc = o->doc,
                     .file = o->at.file,
                     .line = o->at.line,
                     .elementwise = op_map_arity(o),
                     .derivatives = !op_has_gradient(o) ? 0
                                    : o->smooth         ? 2
                                                        : 1};
    for (int t = 0; t < MARE_DTYPES; t++)
        if (op_takes(o, (mare_dtype)t)) out->dtypes |= 1u << t;
    return true;
}

/* ---- Kernels ------------------------------------------------------------------------------ */

/* A device as most are, on paper: nothing runs on it. */
static const dev_caps paper = {
    .name = "paper",
    .type = DEV_DISCRETE,
    .workgroup = 256,
    .workgroup_size = {256, 256, 64},
    .shared = 32 << 10,
    .push_constants = 128,
    .storage_buffers = 16,
    .binding = 1u << 30,
    .allocation = 1u << 30,
    .groups = {65535, 65535, 65535},
    .subgroup = 32,
    .offset_alignment = 256,
};

static void free_storage(storage *s) {
    free(s);
}

/* An input of a case, whose values nobody will look at. */
static node *paper_leaf(graph *g, const op_case *k, int i) {
    storage *s = malloc(sizeof *s);
    if (!s) return NULL;
    *s = (storage){1, free_storage};
    view v = {0};
    shape_strides(&k->in[i], v.stride);
    node *n = node_leaf(g, s, k->dtype[i], &k->in[i], &v);
    if (!n || dtype_is_float(n->dtype)) return n;
    bool own = k->lo_in[i] < k->hi_in[i];
    n->lo = (int64_t)(own ? k->lo_in[i] : k->lo);
    n->hi = (int64_t)(own ? k->hi_in[i] : k->hi);
    return n;
}

/* Adds a name that is not there yet. */
static void add_name(text *t, const char *name) {
    size_t n = strlen(name);
    for (const char *at = t->data; at && (at = strstr(at, name)); at += n)
        if ((at == t->data || at[-1] == ' ') && (!at[n] || at[n] == ' ')) return;
    text_add(t, "%s%s", t->len ? " " : "", name);
}

/* The kernels that the node of op o in a plan would be computed by. */
static void add_kernels(graph *g, const op *o, node *y, text *out) {
    node **order = NULL;
    int n = 0;
    arena mem = {0};
    mare_error error = {0};
    lowering l = {.caps = &paper, .mem = &mem, .error = &error};
    if (graph_order(g, &y, 1, &order, &n) != MARE_OK) return;
    for (int i = 0; i < n; i++) {
        node *x = order[i];
        operand in[16];
        if (x->op != o || x->store || x->n_in > 16 || shape_count(&x->shape) == 0) continue;
        for (int k = 0; k < x->n_in; k++) {
            const node *from = x->in[k];
            in[k] = node_is_const(from)
                        ? (operand){.buffer = -1, .dtype = from->dtype, .constant = from}
                        : lower_scratch(&l, from->dtype, &from->shape);
        }
        operand result = lower_scratch(&l, x->dtype, &x->shape);
        size_t before = l.launches.len;
        l.node = x;
        if (lower_node(&l, x, in, &result) != MARE_OK) break;
        for (size_t k = before; k < l.launches.len; k++) {
            add_name(out, l.launches.data[k]->kernel.shader);
            for (const variant *v = l.launches.data[k]->variants; v; v = v->next)
                add_name(out, v->kernel.shader);
        }
    }
    vec_free(&l.launches);
    vec_free(&l.buffers);
    arena_free(&mem);
    free(order);
}

mare_status mare_op_kernels(int i, char *out, size_t size) {
    mare_op found;
    if (!mare_op_at(i, &found) || !out || !size) return MARE_E_ARGUMENT;
    const op *o = op_table[i];
    mare_error error = {0};
    graph g;
    text t = {0};
    ops_graph_init(&g, &error);
    for (const op_case *k = o->cases; k && k->build; k++) {
        node *in[MAX_CASE_IN] = {0};
        graph_scope_begin(&g);
        for (int j = 0; j < k->n_in; j++)
            in[j] = paper_leaf(&g, k, j);
        node *y = k->build(&g, in);
        if (y) add_kernels(&g, o, y, &t);
        graph_scope_end(&g);
    }
    graph_free(&g);
    const char *names = text_str(&t);
    bool fits = strlen(names) < size;
    if (fits) strcpy(out, names);
    text_free(&t);
    return fits ? MARE_OK : MARE_E_ARGUMENT;
}
