/* Storage on the device, and host data into it and back. */
#include "plan/run.h"

#include <stdint.h>
#include <string.h>

struct home {
    int refs, n;
    bool closed;
    dev_buffer *spare[2];
};

typedef struct device_storage {
    storage base;
    dev_buffer *buffer;
    home *home; /* where the buffer goes when it is let go; may be null */
} device_storage;

home *home_new(void) {
    home *h = calloc(1, sizeof *h);
    if (h) h->refs = 1;
    return h;
}

static void home_release(home *h) {
    if (h && --h->refs == 0) free(h);
}

dev_buffer *home_take(home *h) {
    if (!h->n) return NULL;
    dev_buffer *b = h->spare[--h->n];
    dev_buffer_set_cached(b, false);
    return b;
}

void home_empty(home *h) {
    while (h->n)
        dev_buffer_release(h->spare[--h->n]);
}

void home_close(home *h) {
    if (!h) return;
    home_empty(h);
    h->closed = true;
    home_release(h);
}

static void destroy_storage(storage *base) {
    device_storage *s = (device_storage *)base;
    home *h = s->home;
    if (h && !h->closed && h->n < (int)(sizeof h->spare / sizeof *h->spare)) {
        dev_buffer_set_cached(s->buffer, true);
        h->spare[h->n++] = s->buffer;
    } else {
        dev_buffer_release(s->buffer);
    }
    home_release(h);
    free(s);
}

storage *storage_new(dev_buffer *b, home *h) {
    device_storage *s = malloc(sizeof *s);
    if (!s) {
        dev_buffer_release(b);
        return NULL;
    }
    *s = (device_storage){{1, destroy_storage}, b, h};
    if (h) h->refs++;
    return &s->base;
}

dev_buffer *storage_buffer(const storage *s) {
    return ((const device_storage *)s)->buffer;
}

/* Range of n integers, for the checks of indices. */
static void note_range(node *n, const void *data) {
    int64_t count = shape_count(&n->shape);
    if (dtype_is_float(n->dtype) || !count) return;
    int64_t lo = INT64_MAX, hi = INT64_MIN;
    for (int64_t i = 0; i < count; i++) {
        int64_t v = n->dtype == MARE_I32  ? ((const int32_t *)data)[i]
                    : n->dtype == MARE_I8 ? ((const int8_t *)data)[i]
                                          : ((const uint8_t *)data)[i];
        if (v < lo) lo = v;
        if (v > hi) hi = v;
    }
    n->lo = lo;
    n->hi = hi;
}

node *plan_upload(planner *p, mare_dtype t, const shape *s, const void *data) {
    uint64_t bytes = (uint64_t)shape_count(s) * mare_dtype_size(t);
    dev_buffer *b;
    if (dev_buffer_create_idle(p->device, bytes, &b)) return NULL;
    double start = profile_now(&p->profile);
    if (bytes && dev_upload(p->device, b, 0, data, bytes)) {
        dev_buffer_release(b);
        return NULL;
    }
    profile_did(&p->profile, MARE_WORK_COPY, start, NULL);
    storage *store = storage_new(b, NULL);
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
    mare_status status = trace_refuse_read(p, n);
    if (!status) status = plan_eval(p, (node *[]){n}, 1);
    if (status || !count) return status;
    double start = profile_now(&p->profile);
    if (view_contiguous(&n->shape, &n->view)) {
        status = dev_download(p->device, storage_buffer(n->store), (uint64_t)n->view.offset * size,
                              data, bytes);
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
        status =
            dev_download(p->device, storage_buffer(n->store), (uint64_t)low * size, host, span);
        if (!status) gather(&n->shape, &n->view, low, size, host, data);
        free(host);
    }
    if (!status) note_range(n, data);
    profile_did(&p->profile, MARE_WORK_COPY, start, NULL);
    return status;
}
