/* Evaluation: finds or makes the plan for a graph, binds it to memory, records and submits. */
#include "base/hash.h"
#include "plan/internal.h"

#include <stdint.h>
#include <string.h>

enum {
    MAX_PLANS = 256,    /* in the cache; beyond, the longest unused goes */
    STEPS_A_SUBMIT = 64 /* the device starts early, and no submission runs for long */
};

struct planner {
    graph *g;
    dev_device *device;
    kernels *kernels;
    map plans; /* by hash of the signature */
    uint64_t clock;
    planner_stats stats;
    void (*dump)(void *user, const char *text);
    void *dump_user;
};

mare_status planner_create(graph *g, dev_device *d, kernels *k, planner **out) {
    planner *p = calloc(1, sizeof *p);
    if (!p) return error_no_memory(g->error, sizeof *p);
    p->g = g;
    p->device = d;
    p->kernels = k;
    *out = p;
    return MARE_OK;
}

void planner_destroy(planner *p) {
    if (!p) return;
    for (size_t i = 0; i < p->plans.cap; i++)
        plan_free(p->plans.slots[i].value);
    map_free(&p->plans);
    free(p);
}

void planner_set_dump(planner *p, void (*dump)(void *user, const char *text), void *user) {
    p->dump = dump;
    p->dump_user = user;
}

void planner_get_stats(const planner *p, planner_stats *out) {
    *out = p->stats;
}

/* ---- Storage ------------------------------------------------------------------------------ */

typedef struct device_storage {
    storage base;
    dev_buffer *buffer;
} device_storage;

static void destroy_storage(storage *s) {
    dev_buffer_release(((device_storage *)s)->buffer);
    free(s);
}

/* Takes over the buffer's reference. */
static storage *storage_new(dev_buffer *b) {
    device_storage *s = malloc(sizeof *s);
    if (!s) {
        dev_buffer_release(b);
        return NULL;
    }
    *s = (device_storage){{1, destroy_storage}, b};
    return &s->base;
}

static dev_buffer *buffer_of(const node *n) {
    return ((device_storage *)n->store)->buffer;
}

/* ---- The structure of a graph, as bytes --------------------------------------------------- */

/* Everything a plan depends on and nothing else: values that may change (dyn) and addresses are
 * left out. */
static bool sign(node *const *order, int n, node *const *roots, int n_roots, text *out) {
    for (int i = 0; i < n; i++) {
        const node *x = order[i];
        uint8_t head[] = {x->store != NULL, (uint8_t)x->dtype, (uint8_t)x->shape.rank};
        text_bytes(out, head, sizeof head);
        text_bytes(out, x->shape.dim, (size_t)x->shape.rank * sizeof x->shape.dim[0]);
        if (x->store) {
            text_bytes(out, &x->view.offset, sizeof x->view.offset);
            text_bytes(out, x->view.stride, (size_t)x->shape.rank * sizeof x->view.stride[0]);
            continue;
        }
        text_bytes(out, &x->op, sizeof x->op);
        if (x->op->attr_size) text_bytes(out, x->attr, x->op->attr_size);
        text_bytes(out, &x->n_in, sizeof x->n_in);
        for (int k = 0; k < x->n_in; k++)
            text_bytes(out, &x->in[k]->index, sizeof x->in[k]->index);
    }
    for (int i = 0; i < n_roots; i++)
        text_bytes(out, &roots[i]->index, sizeof roots[i]->index);
    return !out->failed;
}

static void forget_oldest(planner *p) {
    plan *oldest = NULL;
    for (size_t i = 0; i < p->plans.cap; i++) {
        plan *x = p->plans.slots[i].value;
        if (x && (!oldest || x->used < oldest->used)) oldest = x;
    }
    if (oldest) plan_free(map_take(&p->plans, oldest->hash));
}

/* The plan for this order: from the cache, or made and put there. */
static mare_status find_plan(planner *p, node **order, int n, node *const *roots, int n_roots,
                             plan **out) {
    mare_error *e = p->g->error;
    text signature = {0};
    if (!sign(order, n, roots, n_roots, &signature)) {
        text_free(&signature);
        return error_no_memory(e, signature.len);
    }
    uint64_t hash = hash_bytes(signature.data, signature.len, (uint64_t)n_roots);
    plan *x = map_get(&p->plans, hash);
    if (x && x->signature_len == signature.len &&
        memcmp(x->signature, signature.data, signature.len) == 0) {
        text_free(&signature);
        p->stats.hits++;
        *out = x;
        return MARE_OK;
    }
    const dev_caps *caps = dev_get_caps(p->device);
    mare_status status = plan_lower(p->g, caps, order, n, roots, n_roots, &x);
    if (!status) status = plan_pack(x, caps->allocation, e);
    if (!status) status = plan_barriers(x, e);
    if (status) {
        plan_free(x);
        text_free(&signature);
        return status;
    }
    x->hash = hash;
    x->signature = signature.data;
    x->signature_len = signature.len;
    p->stats.plans++;
    if (p->plans.len >= MAX_PLANS) forget_oldest(p);
    plan_free(map_take(&p->plans, hash)); /* one of another structure with the same hash */
    if (!map_put(&p->plans, hash, x)) {
        plan_free(x);
        return error_no_memory(e, sizeof(map_slot));
    }
    if (p->dump) {
        text t = {0};
        if (plan_dump(x, &t) == MARE_OK) p->dump(p->dump_user, text_str(&t));
        text_free(&t);
    }
    *out = x;
    return MARE_OK;
}

/* ---- Running ------------------------------------------------------------------------------ */

/* The step's parameter words for this run. */
static void fill_words(const step *s, node *const *order, uint32_t *words) {
    memcpy(words, s->words, (size_t)s->n_words * sizeof *words);
    for (int i = 0; i < s->n_patches; i++)
        words[s->patches[i].word] = order[s->patches[i].node]->dyn[s->patches[i].dyn];
}

/* Lets the tuner pick among the step's kernels. */
static mare_status choose(planner *p, step *s, const uint32_t *words) {
    int n = 1;
    for (const variant *v = s->variants; v; v = v->next)
        n++;
    tune_candidate *c = calloc((size_t)n, sizeof *c);
    if (!c) return error_no_memory(p->g->error, (size_t)n * sizeof *c);
    uint64_t bytes[MAX_BINDINGS];
    for (int i = 0; i < s->n_bindings; i++)
        bytes[i] = s->bindings[i].bytes;
    c[0] = (tune_candidate){
        "plain", s->kernel, {s->groups[0], s->groups[1], s->groups[2]}, words, s->n_words};
    int i = 1;
    for (const variant *v = s->variants; v; v = v->next, i++)
        c[i] = (tune_candidate){
            v->name, v->kernel, {v->groups[0], v->groups[1], v->groups[2]}, words, s->n_words};
    tune_problem problem = {s->tune_key, c, n, bytes, s->n_bindings, s->flops};
    int best = tune_choose(p->kernels, &problem);
    s->kernel = c[best].kernel;
    memcpy(s->groups, c[best].groups, sizeof s->groups);
    s->variants = NULL;
    free(c);
    return MARE_OK;
}

static mare_status prepare(planner *p, step *s, const uint32_t *words) {
    mare_status status = MARE_OK;
    if (s->variants) status = choose(p, s, words);
    if (!status) status = kernel_get(p->kernels, &s->kernel, &s->pipeline);
    return status;
}

typedef struct run {
    planner *p;
    plan *x;
    node **order;
    dev_buffer **arenas; /* of the plan */
    dev_buffer **kept;   /* by buffer number */
    dev_recorder *recorder;
} run;

static dev_binding resolve(const run *r, const binding *b) {
    const plan_buffer *buffer = &r->x->buffers[b->buffer];
    dev_binding out = {NULL, b->offset, b->bytes};
    switch (buffer->kind) {
    case BUFFER_TEMP:
        out.buffer = r->arenas[buffer->arena];
        out.offset += buffer->offset;
        break;
    case BUFFER_INPUT:
        out.buffer = buffer_of(r->order[buffer->input]);
        break;
    case BUFFER_KEPT:
        out.buffer = r->kept[b->buffer];
        break;
    }
    return out;
}

static mare_status record(run *r, step *s) {
    uint32_t words[MAX_PARAMS];
    dev_binding bindings[MAX_BINDINGS];
    fill_words(s, r->order, words);
    mare_status status = s->pipeline ? MARE_OK : prepare(r->p, s, words);
    if (status) return status;
    for (int k = 0; k < s->n_bindings; k++)
        bindings[k] = resolve(r, &s->bindings[k]);
    if (s->barrier) dev_cmd_barrier(r->recorder);
    return dev_cmd_dispatch(r->recorder, s->pipeline, words, s->n_words, bindings, s->n_bindings,
                            s->groups);
}

static mare_status submit(run *r) {
    if (!r->recorder) return MARE_OK;
    mare_status status = dev_submit(r->recorder);
    r->recorder = NULL;
    r->p->stats.submits++;
    return status;
}

static mare_status run_steps(run *r) {
    mare_status status = MARE_OK;
    for (int i = 0; i < r->x->n_arenas && !status; i++)
        status = dev_buffer_create(r->p->device, r->x->arenas[i], &r->arenas[i]);
    for (int i = 0; i < r->x->n_buffers && !status; i++)
        if (r->x->buffers[i].kind == BUFFER_KEPT)
            status = dev_buffer_create(r->p->device, r->x->buffers[i].bytes, &r->kept[i]);
    for (int i = 0; i < r->x->n_steps && !status; i++) {
        step *s = &r->x->steps[i];
        if (!r->recorder) status = dev_record(r->p->device, &r->recorder);
        if (!status) status = record(r, s);
        if (status) {
            const node *n = r->order[s->origin];
            if (n->file)
                error_prefix(r->p->g->error, "%s (from %s:%d)", s->op->name, n->file, n->line);
            else
                error_prefix(r->p->g->error, "%s", s->op->name);
        } else if (i % STEPS_A_SUBMIT == STEPS_A_SUBMIT - 1) {
            status = submit(r);
        }
    }
    if (!status) status = submit(r);
    if (r->recorder) dev_discard(r->recorder);
    if (!status) r->p->stats.launches += (uint64_t)r->x->n_steps;
    return status;
}

/* The roots' values become storage; graphs that no gradient will ask for are let go. Storage of a
 * buffer that several roots share is made once. */
static mare_status keep_roots(run *r, storage **stores) {
    for (int i = 0; i < r->x->n_buffers; i++) {
        if (!r->kept[i]) continue;
        stores[i] = storage_new(r->kept[i]);
        r->kept[i] = NULL;
        if (!stores[i]) return error_no_memory(r->p->g->error, sizeof(device_storage));
    }
    for (int i = 0; i < r->x->n_roots; i++) {
        const plan_root *root = &r->x->roots[i];
        const plan_buffer *b = &r->x->buffers[root->buffer];
        node *n = r->order[root->node];
        if (n->store) continue;
        n->store = b->kind == BUFFER_INPUT ? r->order[b->input]->store : stores[root->buffer];
        n->store->refs++;
        n->view = root->view;
    }
    return MARE_OK;
}

static void let_go(node *n) {
    if (n->requires_grad && !n->leaf && !n->spent) return;
    for (int i = 0; i < n->n_in; i++)
        node_release(n->in[i]);
    n->n_in = 0;
}

mare_status plan_eval(planner *p, node *const *roots, int n_roots) {
    node **order = NULL;
    int n = 0;
    bool pending = false;
    for (int i = 0; i < n_roots; i++)
        pending |= !roots[i]->store;
    if (!pending) return MARE_OK;
    mare_status status = graph_order(p->g, roots, n_roots, &order, &n);
    if (status) return status;
    p->stats.evals++;
    run r = {.p = p, .order = order};
    status = find_plan(p, order, n, roots, n_roots, &r.x);
    void *memory = NULL;
    if (!status) {
        size_t buffers = (size_t)r.x->n_buffers, arenas = (size_t)r.x->n_arenas;
        memory = calloc(2 * buffers + arenas + 1, sizeof(void *));
        if (!memory) status = error_no_memory(p->g->error, (2 * buffers + arenas) * sizeof(void *));
    }
    if (!status) {
        r.x->used = ++p->clock;
        storage **stores = memory;
        r.kept = (dev_buffer **)memory + r.x->n_buffers;
        r.arenas = r.kept + r.x->n_buffers;
        status = run_steps(&r);
        if (!status) status = keep_roots(&r, stores);
        for (int i = 0; i < r.x->n_buffers; i++) {
            storage_release(stores[i]);
            if (r.kept[i]) dev_buffer_release(r.kept[i]);
        }
        for (int i = 0; i < r.x->n_arenas; i++)
            if (r.arenas[i]) dev_buffer_release(r.arenas[i]);
        for (int i = 0; !status && i < n_roots; i++)
            let_go(roots[i]);
    }
    free(memory);
    free(order);
    return status;
}

/* ---- Host data ---------------------------------------------------------------------------- */

/* Range of n integers, for the checks of indices. */
static void note_range(node *n, const void *data) {
    int64_t count = shape_count(&n->shape);
    if (dtype_is_float(n->dtype) || !count) return;
    int64_t lo = INT64_MAX, hi = INT64_MIN;
    for (int64_t i = 0; i < count; i++) {
        int64_t v = n->dtype == MARE_I32 ? ((const int32_t *)data)[i] : ((const uint8_t *)data)[i];
        if (v < lo) lo = v;
        if (v > hi) hi = v;
    }
    n->lo = lo;
    n->hi = hi;
}

node *plan_upload(planner *p, mare_dtype t, const shape *s, const void *data) {
    uint64_t bytes = (uint64_t)shape_count(s) * mare_dtype_size(t);
    dev_buffer *b;
    if (dev_buffer_create(p->device, bytes, &b)) return NULL;
    if (bytes && dev_upload(p->device, b, 0, data, bytes)) {
        dev_buffer_release(b);
        return NULL;
    }
    storage *store = storage_new(b);
    if (!store) {
        error_no_memory(p->g->error, sizeof(device_storage));
        return NULL;
    }
    view v = {0};
    shape_strides(s, v.stride);
    node *n = node_leaf(p->g, store, t, s, &v);
    if (n) note_range(n, data);
    return n;
}

/* Copies elements that lie by strides into row-major order. `base` holds element `low` first. */
static void gather(const shape *s, const view *v, int64_t low, size_t size, const char *base,
                   char *out) {
    int64_t at[MAX_DIMS] = {0}, from = v->offset - low;
    for (int64_t i = 0, n = shape_count(s); i < n; i++) {
        memcpy(out + (size_t)i * size, base + (size_t)from * size, size);
        for (int d = s->rank - 1; d >= 0; d--) {
            from += v->stride[d];
            if (++at[d] < s->dim[d]) break;
            from -= at[d] * v->stride[d];
            at[d] = 0;
        }
    }
}

mare_status plan_read(planner *p, node *n, void *data, size_t bytes) {
    size_t size = mare_dtype_size(n->dtype);
    int64_t count = shape_count(&n->shape);
    if (bytes != (size_t)count * size)
        return error_set(p->g->error, MARE_E_ARGUMENT,
                         "read: %zu bytes given for %lld elements of %s", bytes, (long long)count,
                         mare_dtype_name(n->dtype));
    mare_status status = plan_eval(p, (node *[]){n}, 1);
    if (status || !count) return status;
    if (view_contiguous(&n->shape, &n->view)) {
        status =
            dev_download(p->device, buffer_of(n), (uint64_t)n->view.offset * size, data, bytes);
    } else {
        int64_t low = n->view.offset, high = low;
        for (int d = 0; d < n->shape.rank; d++) {
            int64_t reach = (n->shape.dim[d] - 1) * n->view.stride[d];
            if (reach < 0)
                low += reach;
            else
                high += reach;
        }
        size_t span = (size_t)(high - low + 1) * size;
        char *host = malloc(span);
        if (!host) return error_no_memory(p->g->error, span);
        status = dev_download(p->device, buffer_of(n), (uint64_t)low * size, host, span);
        if (!status) gather(&n->shape, &n->view, low, size, host, data);
        free(host);
    }
    if (!status) note_range(n, data);
    return status;
}
