#include "variant_check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BUFFERS = 32 };

typedef struct bench {
    checker *c;
    node *n;
    const dev_caps *caps;
    arena mem;
    mare_error error;
    lowering l;
    operand in[2], out;
    dev_buffer *buffer[MAX_BUFFERS];
    const double *value[2]; /* in the order of the shape */
    char *message;
    size_t size;
} bench;

static void *need(void *p) {
    if (!p) abort();
    return p;
}

/* Where the elements of a tensor of shape s lie in a buffer of *count elements. */
static view lay(const shape *s, input_layout layout, int64_t *count) {
    view v = {0};
    int64_t step = 1;
    if (layout == LAID_SWAPPED && s->rank > 1) {
        v.stride[s->rank - 1] = shape_count(s) / (s->dim[s->rank - 1] ? s->dim[s->rank - 1] : 1);
        for (int i = s->rank - 2; i >= 0; i--) {
            v.stride[i] = step;
            step *= s->dim[i];
        }
        *count = shape_count(s);
    } else if (layout == LAID_SPARSE) {
        v.offset = 3;
        for (int i = s->rank - 1; i >= 0; i--) {
            v.stride[i] = 2 * step;
            step *= 2 * s->dim[i] + 1;
        }
        if (s->rank && s->dim[0] > 0) {
            v.offset += (s->dim[0] - 1) * v.stride[0];
            v.stride[0] = -v.stride[0];
        }
        *count = step + 3;
    } else {
        shape_strides(s, v.stride);
        *count = shape_count(s);
    }
    return v;
}

static bool upload(bench *b, int i, input_layout layout) {
    const shape *s = &b->n->in[i]->shape;
    b->value[i] = map_get(&b->c->values, (uint64_t)(uintptr_t)b->n->in[i]);
    int64_t count, n = shape_count(s);
    view v = lay(s, layout, &count);
    mare_dtype t = b->n->in[i]->dtype;
    b->in[i] = lower_scratch(&b->l, t, &(shape){1, {count}});
    b->in[i].shape = *s;
    b->in[i].view = v;
    uint32_t *data = need(malloc((size_t)(count + 1) * sizeof *data));
    for (int64_t k = 0; k < count; k++)
        data[k] = 0x7fc00000; /* NaN, or a large integer */
    for (int64_t k = 0; k < n; k++) {
        int64_t rest = k, at = v.offset;
        for (int d = s->rank - 1; d >= 0; d--) {
            at += rest % s->dim[d] * v.stride[d];
            rest /= s->dim[d];
        }
        data[at] = dtype_word(t, b->value[i][k]);
    }
    bool ok = dev_buffer_create(b->c->device, (uint64_t)count * 4, &b->buffer[i]) == MARE_OK &&
              dev_upload(b->c->device, b->buffer[i], 0, data, (uint64_t)count * 4) == MARE_OK;
    free(data);
    return ok;
}

static bool run(bench *b, int choice, const char **name) {
    dev_recorder *r;
    if (dev_record(b->c->device, &r)) return false;
    for (size_t i = 0; i < b->l.launches.len; i++) {
        const launch *x = b->l.launches.data[i];
        kernel_id id = x->kernel;
        uint32_t groups[3] = {x->groups[0], x->groups[1], x->groups[2]};
        const variant *v = x->variants;
        for (int k = 1; k < choice && v; k++)
            v = v->next;
        if (x->variants) *name = x->kernel.defines;
        if (choice > 0 && v) {
            id = v->kernel;
            memcpy(groups, v->groups, sizeof groups);
            *name = v->name;
        }
        id.buffers = x->n_bindings;
        uint32_t words[MAX_PARAMS];
        dev_binding bindings[MAX_BINDINGS];
        for (int k = 0; k < x->n_params; k++)
            words[k] =
                x->params[k].from ? x->params[k].from->dyn[x->params[k].dyn] : x->params[k].value;
        for (int k = 0; k < x->n_bindings; k++)
            bindings[k] = (dev_binding){b->buffer[x->bindings[k].buffer], x->bindings[k].offset,
                                        x->bindings[k].bytes};
        dev_pipeline *p;
        dev_cmd_barrier(r);
        if (kernel_get(b->c->kernels, &id, &p) ||
            dev_cmd_dispatch(r, p, words, x->n_params, bindings, x->n_bindings, groups)) {
            dev_discard(r);
            return false;
        }
    }
    return dev_submit(r) == MARE_OK;
}

/* What is wrong with the result, in b->message; true when nothing is. */
static bool compare(bench *b, const char *name, const double *ref, const double *bound,
                    int64_t terms) {
    int64_t count = shape_count(&b->out.shape);
    uint32_t *data = need(malloc((size_t)(count + 1) * sizeof *data));
    bool ok = dev_download(b->c->device, b->buffer[2], 0, data, (uint64_t)count * 4) == MARE_OK;
    if (!ok) snprintf(b->message, b->size, "%s", b->c->error.text);
    for (int64_t i = 0; i < count && ok; i++) {
        double tolerance = dtype_roundoff(b->out.dtype) * (double)(terms + 2) * bound[i];
        double got = dtype_value(b->out.dtype, data[i]);
        ok = fabs(got - ref[i]) <= tolerance;
        if (!ok)
            snprintf(b->message, b->size, "%s: element %lld is %.9g, must be %.9g +- %.2g", name,
                     (long long)i, got, ref[i], tolerance);
    }
    free(data);
    return ok;
}

/* A result that was not written is seen. */
static bool spoil(bench *b, int i) {
    uint64_t bytes = dev_buffer_bytes(b->buffer[i]);
    void *nan = need(malloc(bytes + 1));
    memset(nan, 0xff, bytes);
    bool ok = dev_upload(b->c->device, b->buffer[i], 0, nan, bytes) == MARE_OK;
    free(nan);
    return ok;
}

/* The reference, and the same over magnitudes. */
static void references(bench *b, double *ref, double *bound) {
    const double *in[2];
    b->n->op->ref(b->n, b->value, ref);
    for (int i = 0; i < 2; i++) {
        int64_t n = shape_count(&b->n->in[i]->shape);
        double *x = need(arena_alloc(&b->mem, (size_t)(n + 1) * sizeof *x));
        for (int64_t k = 0; k < n; k++)
            x[k] = fabs(b->value[i][k]);
        in[i] = x;
    }
    b->n->op->ref(b->n, in, bound);
}

static int run_all(bench *b, const input_layout layout[2], int64_t terms) {
    for (int i = 0; i < 2; i++)
        if (!upload(b, i, layout[i])) {
            snprintf(b->message, b->size, "%s", b->c->error.text);
            return -1;
        }
    b->out = lower_scratch(&b->l, b->n->dtype, &b->n->shape);
    if (lower_node(&b->l, b->n, b->in, &b->out) != MARE_OK) {
        snprintf(b->message, b->size, "%s", b->error.text);
        return -1;
    }
    for (size_t i = 2; i < b->l.buffers.len; i++)
        if (i >= MAX_BUFFERS ||
            dev_buffer_create(b->c->device, b->l.buffers.data[i], &b->buffer[i])) {
            snprintf(b->message, b->size, "%s", b->c->error.text);
            return -1;
        }
    int choices = 1;
    for (size_t i = 0; i < b->l.launches.len; i++)
        for (const variant *v = b->l.launches.data[i]->variants; v; v = v->next)
            choices++;
    int64_t count = shape_count(&b->n->shape);
    double *ref = need(arena_alloc(&b->mem, (size_t)(count + 1) * sizeof *ref));
    double *bound = need(arena_alloc(&b->mem, (size_t)(count + 1) * sizeof *bound));
    references(b, ref, bound);
    for (int k = 0; k < choices; k++) {
        const char *name = "the first kernel";
        bool ok = true;
        for (size_t i = 2; i < b->l.buffers.len && ok; i++)
            ok = spoil(b, (int)i);
        if (!ok || !run(b, k, &name)) {
            snprintf(b->message, b->size, "%s: %s", name, b->c->error.text);
            return -1;
        }
        if (!compare(b, name, ref, bound, terms)) return -1;
    }
    return b->l.launches.len ? choices : 0;
}

int check_variants(checker *c, const dev_caps *caps, const input_layout layout[2], make_node make,
                   const void *what, int64_t terms, char *message, size_t size) {
    graph_scope_begin(&c->g);
    node *n = make(c, what);
    int ran = -1;
    if (!n) {
        snprintf(message, size, "%s", c->error.text);
    } else {
        bench b = {.c = c, .n = n, .caps = caps, .message = message, .size = size};
        b.l = (lowering){.caps = caps, .mem = &b.mem, .error = &b.error, .node = n};
        ran = run_all(&b, layout, terms);
        for (int i = 0; i < MAX_BUFFERS; i++)
            if (b.buffer[i]) dev_buffer_release(b.buffer[i]);
        vec_free(&b.l.launches);
        vec_free(&b.l.buffers);
        arena_free(&b.mem);
    }
    graph_scope_end(&c->g);
    checker_forget(c);
    return ran;
}

/* What is lowered for; what runs it is the device at hand. */
static const struct {
    const char *name, *caps;
    bool gpu, known; /* known: all layouts are worth it */
} devices[] = {
    {"the device", "", false, true},
    {"a GPU", "", true, true},
    {"a CPU without 64-bit integers", "-int64", false, false},
    {"a baseline CPU", "baseline", false, false},
    {"a baseline GPU", "baseline", true, false},
    {"a phone", "phone", true, false},
    {"a device of few groups", "groups=37", true, false},
};

int check_everywhere(checker *c, make_node make, const void *what, int64_t terms, bool all_layouts,
                     char *message, size_t size) {
    int ran = 0;
    for (size_t d = 0; d < sizeof devices / sizeof *devices; d++) {
        dev_caps caps = *dev_get_caps(c->device);
        mare_error e = {0};
        if (dev_caps_apply(&caps, devices[d].caps, &e) != MARE_OK) {
            snprintf(message, size, "%s", e.text);
            return -1;
        }
        if (devices[d].gpu) caps.type = DEV_DISCRETE;
        for (int i = 0; i < INPUT_LAYOUTS * INPUT_LAYOUTS; i++) {
            input_layout layout[2] = {(input_layout)(i / INPUT_LAYOUTS),
                                      (input_layout)(i % INPUT_LAYOUTS)};
            bool usual = layout[0] == LAID_PLAIN && layout[1] == LAID_PLAIN;
            bool unusual = layout[0] == LAID_SWAPPED && layout[1] == LAID_SPARSE;
            if (!(all_layouts && devices[d].known) && !usual && !unusual) continue;
            char why[512];
            int k = check_variants(c, &caps, layout, make, what, terms, why, sizeof why);
            if (k < 0) {
                snprintf(message, size, "layouts %d and %d, lowered for %s: %s", layout[0],
                         layout[1], devices[d].name, why);
                return -1;
            }
            ran += k;
        }
    }
    return ran;
}
