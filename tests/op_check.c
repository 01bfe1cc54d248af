#include "op_check.h"

#include "base/hash.h"
#include "ops/ops.h"
#include "plan/check.h"
#include "spirv_check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool checker_open(checker *c, const char *more_caps) {
    const char *set = getenv("MARE_CAPS"), *more = more_caps ? more_caps : "";
    char caps[512];
    memset(c, 0, sizeof *c);
    c->random.seed = 20;
    snprintf(caps, sizeof caps, "%s%s%s", set ? set : "", set && *set && *more ? "," : "", more);
    const char *validate = getenv("MARE_VALIDATE");
    dev_options options = {.device = getenv("MARE_DEVICE"),
                           .caps = *caps ? caps : NULL,
                           .validate = validate && *validate && *validate != '0'};
    uint32_t passes = PASS_ALL;
    const char *list = getenv("MARE_PASSES");
    ops_graph_init(&c->g, &c->error);
    if (dev_create(&options, &c->error, &c->device) != MARE_OK ||
        kernels_create(c->device, &c->error, &c->kernels) != MARE_OK ||
        planner_create(&c->g, c->device, c->kernels, &c->planner) != MARE_OK ||
        plan_passes_apply(&passes, list ? list : "", &c->error) != MARE_OK)
        return false;
    planner_set_passes(c->planner, passes);
    return true;
}

bool checker_close(checker *c) {
    const char *last = NULL;
    int messages = c->device ? dev_validation_messages(c->device, &last) : 0;
    if (messages > 0) fprintf(stderr, "%d validation messages, the last: %s\n", messages, last);
    planner_destroy(c->planner);
    graph_free(&c->g);
    kernels_destroy(c->kernels);
    dev_destroy(c->device);
    map_free(&c->values);
    map_free(&c->compiled);
    arena_free(&c->mem);
    return messages <= 0;
}

void checker_forget(checker *c) {
    map_free(&c->values);
    arena_free(&c->mem);
}

static void *need(void *p) {
    if (!p) {
        fprintf(stderr, "the test has no memory left\n");
        abort();
    }
    return p;
}

/* ---- Values ------------------------------------------------------------------------------- */

/* To the nearest value that t holds. */
static void round_to(mare_dtype t, double *x, int64_t n) {
    for (int64_t i = 0; i < n && t == MARE_F32; i++)
        x[i] = (double)(float)x[i];
    if (t == MARE_F32 || n == 0) return;
    void *packed = need(malloc((size_t)n * mare_dtype_size(t)));
    dtype_pack(t, x, packed, n);
    dtype_unpack(t, packed, x, n);
    free(packed);
}

double *checker_draw(checker *c, mare_dtype t, int64_t n, double lo, double hi) {
    double *x = need(arena_alloc(&c->mem, (size_t)(n + 1) * sizeof *x));
    uint32_t *order = need(malloc((size_t)(n + 1) * sizeof *order));
    rng_permutation(&c->random, order, (uint32_t)n);
    for (int64_t i = 0; i < n; i++) {
        double u = rng_u32(&c->random) / 4294967296.0;
        if (dtype_is_float(t))
            x[i] = lo + (hi - lo) * (order[i] + 0.25 + 0.5 * u) / (double)n;
        else
            x[i] = lo + floor(u * (floor(hi) - lo + 1));
    }
    free(order);
    round_to(t, x, n);
    return x;
}

static node *remember(checker *c, node *n, const double *values) {
    union {
        const double *from;
        void *to;
    } p = {values};
    if (n && !map_put(&c->values, (uint64_t)(uintptr_t)n, p.to)) need(NULL);
    return n;
}

node *checker_leaf(checker *c, mare_dtype t, const shape *s, const double *values) {
    int64_t n = shape_count(s);
    void *data = need(malloc((size_t)n * mare_dtype_size(t) + 1));
    dtype_pack(t, values, data, n);
    node *leaf = remember(c, plan_upload(c->planner, t, s, data), values);
    free(data);
    return leaf;
}

node *checker_alias(checker *c, node *v, const double *values) {
    v->store->refs++;
    node *n = node_leaf(&c->g, v->store, v->dtype, &v->shape, &v->view);
    if (n) {
        n->lo = v->lo;
        n->hi = v->hi;
    }
    return remember(c, n, values);
}

double *checker_read(checker *c, node *n) {
    int64_t count = shape_count(&n->shape);
    size_t bytes = (size_t)count * mare_dtype_size(n->dtype);
    void *data = need(malloc(bytes + 1));
    double *x = NULL;
    if (plan_read(c->planner, n, data, bytes) == MARE_OK) {
        x = need(arena_alloc(&c->mem, (size_t)(count + 1) * sizeof *x));
        dtype_unpack(n->dtype, data, x, count);
    }
    free(data);
    return x;
}

/* ---- Graphs on the host ------------------------------------------------------------------- */

bool host_graph_make(checker *c, node *const *roots, int n, host_graph *h) {
    memset(h, 0, sizeof *h);
    if (graph_order(&c->g, roots, n, &h->order, &h->n) != MARE_OK) return false;
    size_t links = 0, next = 0;
    for (int i = 0; i < h->n; i++)
        links += (size_t)h->order[i]->n_in;
    h->in = need(malloc((links + 1) * sizeof *h->in));
    h->value = need(calloc((size_t)h->n, sizeof *h->value));
    h->root = need(calloc((size_t)n, sizeof *h->root));
    h->n_roots = n;
    h->sums = 1;
    h->unit = dtype_roundoff(MARE_F32);
    for (int i = 0; i < h->n; i++) {
        node *x = node_retain(h->order[i]);
        size_t count = (size_t)shape_count(&x->shape);
        h->value[i] = need(malloc((count + 1) * sizeof(double)));
        h->unit = fmax(h->unit, dtype_roundoff(x->dtype));
        if (x->store) continue;
        for (int k = 0; k < x->n_in; k++)
            h->in[next++] = (int)x->in[k]->index;
        if (x->op->view || x->leaf) continue;
        h->nodes++;
        h->sums = fmax(h->sums, check_terms(x));
    }
    for (int i = 0; i < n; i++)
        h->root[i] = h->value[roots[i]->index];
    return true;
}

void host_graph_free(host_graph *h) {
    for (int i = 0; i < h->n; i++) {
        free(h->value[i]);
        node_release(h->order[i]);
    }
    free(h->value);
    free(h->root);
    free(h->in);
    free(h->order);
    memset(h, 0, sizeof *h);
}

/* What a rounding may change is relative to an element, or in a sum to the largest. */
static void shake(checker *c, const host_graph *h, const node *n, double *x, int64_t count) {
    double terms = check_terms(n), unit = h->shake * dtype_roundoff(n->dtype), most = 0;
    for (int64_t i = 0; i < count && terms > 1; i++)
        if (isfinite(x[i])) most = fmax(most, fabs(x[i]));
    for (int64_t i = 0; i < count; i++) {
        double u = rng_u32(&c->random) / 2147483648.0 - 1;
        x[i] += u * (unit * fabs(x[i]) + h->shake * terms * dtype_roundoff(MARE_F32) * most);
    }
    round_to(n->dtype, x, count);
}

void host_graph_run(checker *c, host_graph *h, bool rounded) {
    size_t next = 0;
    h->peak = 0;
    for (int i = 0; i < h->n; i++) {
        const node *x = h->order[i];
        int64_t count = shape_count(&x->shape);
        const double *leaf = map_get(&c->values, (uint64_t)(uintptr_t)x);
        if (leaf) {
            memcpy(h->value[i], leaf, (size_t)count * sizeof(double));
        } else if (node_is_const(x)) {
            h->value[i][0] = dtype_value(x->dtype, x->dyn[0]);
        } else {
            const double **in = need(malloc((size_t)(x->n_in + 1) * sizeof *in));
            for (int k = 0; k < x->n_in; k++)
                in[k] = h->value[h->in[next++]];
            if (count > 0) x->op->ref(x, in, h->value[i]);
            free(in);
            if (rounded) round_to(x->dtype, h->value[i], count);
            if (h->shake > 0 && dtype_is_float(x->dtype) && !x->op->view && !x->leaf)
                shake(c, h, x, h->value[i], count);
        }
        for (int64_t k = 0; k < count; k++)
            if (isfinite(h->value[i][k])) h->peak = fmax(h->peak, fabs(h->value[i][k]));
    }
}

double check_tolerance(const host_graph *h, double ref) {
    double scale = h->sums > 1 ? h->peak : fmin(h->peak, 1);
    return h->unit * (8 * h->nodes + h->sums) * (fabs(ref) + scale);
}

/* ---- Launches ----------------------------------------------------------------------------- */

static bool check_kernel(checker *c, const kernel_id *id, const uint32_t groups[3],
                         const dev_caps *caps, char *message, size_t size) {
    if (id->n_spec < 1 || id->spec[0] < 1 || id->spec[0] > caps->workgroup ||
        id->spec[0] > caps->workgroup_size[0]) {
        snprintf(message, size, "%s: a workgroup of %u, at most %u", id->shader,
                 id->n_spec ? id->spec[0] : 0, caps->workgroup);
        return false;
    }
    for (int i = 0; i < 3; i++) {
        if (groups[i] < 1 || groups[i] > caps->groups[i]) {
            snprintf(message, size, "%s: %u groups on axis %d, at most %u", id->shader, groups[i],
                     i, caps->groups[i]);
            return false;
        }
    }
    uint64_t key = hash_string(id->defines, hash_string(id->shader, (uint64_t)id->buffers));
    if (map_get(&c->compiled, key)) return true;
    if (!map_put(&c->compiled, key, c)) need(NULL);
    return spirv_check_with(c->kernels, id, message, size);
}

static bool check_launch(checker *c, const launch *x, const dev_caps *caps, char *message,
                         size_t size) {
    if (x->n_params > MAX_PARAMS || x->n_bindings > (int)caps->storage_buffers) {
        snprintf(message, size, "%s: %d parameters, %d bindings", x->kernel.shader, x->n_params,
                 x->n_bindings);
        return false;
    }
    if (!check_kernel(c, &x->kernel, x->groups, caps, message, size)) return false;
    for (const variant *v = x->variants; v; v = v->next) {
        kernel_id id = v->kernel;
        id.buffers = x->n_bindings;
        if (!check_kernel(c, &id, v->groups, caps, message, size)) return false;
    }
    return true;
}

bool check_launches(checker *c, const host_graph *h, const dev_caps *caps, char *message,
                    size_t size) {
    arena mem = {0};
    mare_error error = {0};
    lowering l = {.caps = caps, .mem = &mem, .error = &error};
    operand *at = need(arena_alloc(&mem, (size_t)h->n * sizeof *at));
    size_t next = 0;
    bool ok = true;
    for (int i = 0; i < h->n && ok; i++) {
        node *x = h->order[i];
        l.node = x;
        if (node_is_const(x)) {
            at[i] = (operand){.buffer = -1, .dtype = x->dtype, .constant = x};
            continue;
        }
        at[i] = lower_scratch(&l, x->dtype, &x->shape);
        if (map_get(&c->values, (uint64_t)(uintptr_t)x)) continue;
        operand *in = need(arena_alloc(&mem, (size_t)(x->n_in + 1) * sizeof *in));
        for (int k = 0; k < x->n_in; k++)
            in[k] = at[h->in[next++]];
        if (shape_count(&x->shape) > 0 && lower_node(&l, x, in, &at[i]) != MARE_OK) {
            snprintf(message, size, "lowering %s: %s", x->op->name, error.text);
            ok = false;
        }
    }
    for (size_t i = 0; i < l.launches.len && ok; i++)
        ok = check_launch(c, l.launches.data[i], caps, message, size);
    vec_free(&l.launches);
    vec_free(&l.buffers);
    arena_free(&mem);
    return ok;
}
