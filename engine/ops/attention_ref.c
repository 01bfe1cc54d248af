/* Attention and its gradients in double precision, by whole rows of weights. */
#include "base/rng.h"
#include "ops/attention.h"
#include "ops/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A row of weights: of query i in head h of batch b. */
typedef struct row {
    const node *n;
    attention_form f;
    const double *const *in;
    int64_t b, h, i;
    double *p, *keep; /* weights; what dropout makes of each */
    double lse;
} row;

static const double *query_of(const row *r) {
    return r->in[0] + ((r->b * r->f.heads + r->h) * r->f.queries + r->i) * r->f.width;
}

/* Key j (input 1) or value j (2). */
static const double *key_of(const row *r, int input, int64_t j) {
    int64_t width = input == 1 ? r->f.width : r->f.value_width;
    return r->in[input] + ((r->b * r->f.key_heads + r->h / r->f.repeat) * r->f.keys + j) * width;
}

/* Where the mask has its element for key j. */
static int64_t mask_at(const row *r, int64_t j) {
    const shape *s = &r->n->in[r->f.mask]->shape;
    int64_t c[4] = {r->b, r->h, r->i, j}, at = 0;
    for (int d = 0; d < 4; d++)
        at = at * s->dim[d] + (s->dim[d] == 1 ? 0 : c[d]);
    return at;
}

static double dot(const double *a, const double *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static double kept(const row *r, int64_t j) {
    const attention_attr *a = OP_ATTR(attention_attr, r->n);
    if (!(a->dropout > 0)) return 1;
    uint64_t line = (uint64_t)((r->b * r->f.heads + r->h) * r->f.queries + r->i);
    uint64_t counter = (r->n->dyn[2] | (uint64_t)r->n->dyn[3] << 32) +
                       line * (uint64_t)((r->f.keys + 3) / 4) + (uint64_t)j / 4;
    uint32_t c[4] = {(uint32_t)counter, (uint32_t)(counter >> 32), 0, 0}, w[4];
    philox4x32(c, r->n->dyn, w);
    return w[j % 4] >> 8 >= (uint32_t)(a->dropout * 16777216.0) ? 1 / (1 - a->dropout) : 0;
}

static void fill(row *r) {
    const attention_attr *a = OP_ATTR(attention_attr, r->n);
    double top = -INFINITY, sum = 0;
    for (int64_t j = 0; j < r->f.keys; j++) {
        double x = a->scale * dot(query_of(r), key_of(r, 1, j), r->f.width);
        if (a->has_mask) x += r->in[r->f.mask][mask_at(r, j)];
        if (a->causal && (double)j > (double)r->i + r->in[r->f.offset][0]) x = -INFINITY;
        r->p[j] = x;
        r->keep[j] = kept(r, j);
        top = isnan(x) || x > top ? x : top;
    }
    for (int64_t j = 0; j < r->f.keys; j++)
        sum += exp(r->p[j] - (top == -INFINITY ? 0 : top));
    r->lse = top == -INFINITY ? top : top + log(sum);
    for (int64_t j = 0; j < r->f.keys; j++)
        r->p[j] = top == -INFINITY ? 0 : exp(r->p[j] - r->lse);
}

static void add(double *to, double k, const double *from, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        to[i] += k * from[i];
}

/* The row's share of the result. */
static void spread(const row *r, double *out) {
    const op *o = r->n->op;
    int64_t line = (r->b * r->f.heads + r->h) * r->f.queries + r->i, ev = r->f.value_width;
    double scale = OP_ATTR(attention_attr, r->n)->scale;
    if (o == &op_desc_attention) {
        out += line * (ev + 1);
        for (int64_t j = 0; j < r->f.keys; j++)
            add(out, r->p[j] * r->keep[j], key_of(r, 2, j), ev);
        out[ev] = r->lse;
        return;
    }
    const double *g = r->in[r->f.grad] + line * ev;
    double mean = 0;
    for (int64_t j = 0; j < r->f.keys; j++)
        mean += r->p[j] * r->keep[j] * dot(g, key_of(r, 2, j), ev);
    for (int64_t j = 0; j < r->f.keys; j++) {
        double slope = r->p[j] * (r->keep[j] * dot(g, key_of(r, 2, j), ev) - mean);
        int64_t e = r->f.width;
        if (o == &op_desc_attention_grad_queries) {
            add(out + line * e, scale * slope, key_of(r, 1, j), e);
        } else if (o == &op_desc_attention_grad_keys) {
            double *to =
                out + ((r->b * r->f.key_heads + r->h / r->f.repeat) * r->f.keys + j) * (e + ev);
            add(to, scale * slope, query_of(r), e);
            add(to + e, r->p[j] * r->keep[j], g, ev);
        } else {
            out[mask_at(r, j)] += slope;
        }
    }
}

void attention_ref(const node *n, const double *const *in, double *out) {
    row r = {.n = n, .f = attention_form_of(n), .in = in};
    size_t room = (size_t)(r.f.keys + 1) * sizeof(double);
    memset(out, 0, (size_t)shape_count(&n->shape) * sizeof *out);
    r.p = malloc(room);
    r.keep = malloc(room);
    for (r.b = 0; r.b < r.f.batches && r.p && r.keep; r.b++)
        for (r.h = 0; r.h < r.f.heads; r.h++)
            for (r.i = 0; r.i < r.f.queries; r.i++) {
                fill(&r);
                spread(&r, out);
            }
    free(r.p);
    free(r.keep);
}
