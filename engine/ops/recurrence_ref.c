/* The recurrence and its gradient in double precision. */
#include "ops/recurrence.h"

#include <math.h>
#include <string.h>

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

static double dot(const double *a, const double *b, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* The weights of one direction. */
typedef struct weights {
    const double *w, *b, *p;
} weights;

/* y from the row before, for one sequence at one step. */
static void step(const recurrence_attr *a, const recurrence_dims *d, const weights *k,
                 const double *x, const double *before, double *y) {
    int64_t H = d->hidden;
    const double *h = before + recurrence_h(d);
    double *next = y + recurrence_h(d);
    for (int64_t j = 0; j < H; j++) {
        double pre[4], hidden[4];
        for (int64_t i = 0; i < d->gates / H; i++) {
            hidden[i] = dot(k->w + (i * H + j) * d->out, h, d->out);
            pre[i] = x[i * H + j] + k->b[i * H + j];
        }
        if (a->cell == CELL_TANH || a->cell == CELL_RELU) {
            double s = pre[0] + hidden[0];
            next[j] = a->cell == CELL_TANH ? tanh(s) : fmax(s, 0);
        } else if (a->cell == CELL_GRU) {
            double r = sigmoid(pre[0] + hidden[0]), z = sigmoid(pre[1] + hidden[1]);
            double q = hidden[2] + k->b[3 * H + j], v = tanh(pre[2] + r * q);
            y[j] = r;
            y[H + j] = z;
            y[2 * H + j] = v;
            y[3 * H + j] = q;
            next[j] = (1 - z) * v + z * h[j];
        } else {
            double in = sigmoid(pre[0] + hidden[0]), forget = sigmoid(pre[1] + hidden[1]);
            double cell = tanh(pre[2] + hidden[2]), open = sigmoid(pre[3] + hidden[3]);
            y[j] = in;
            y[H + j] = forget;
            y[2 * H + j] = cell;
            y[3 * H + j] = open;
            y[d->c + j] = forget * before[d->c + j] + in * cell;
            y[d->m + j] = open * tanh(y[d->c + j]); /* h, unless projected */
        }
    }
    for (int64_t j = 0; a->projected && j < d->out; j++)
        next[j] = dot(k->p + j * H, y + d->m, H);
}

void recurrence_ref(const node *n, const double *const *in, double *out) {
    const recurrence_attr *a = OP_ATTR(recurrence_attr, n);
    recurrence_dims d = recurrence_dims_of(n);
    const double *lengths = a->lengths ? in[n->n_in - 1] : NULL;
    memset(out, 0, (size_t)shape_count(&n->shape) * sizeof *out);
    for (int dir = 0; dir < d.dirs; dir++) {
        const double *const *own = in + dir * d.per_dir;
        weights k = {own[IN_W], own[IN_B], a->projected ? own[d.per_dir - 1] : NULL};
        for (int64_t s = 0; s <= d.steps; s++)
            for (int64_t row = 0; row < d.rows; row++) {
                int64_t at = dir ? d.steps - s : s, from = s == 0 ? at : dir ? at + 1 : at - 1;
                int64_t t = dir ? at : at - 1;
                double *y = out + ((dir * (d.steps + 1) + at) * d.rows + row) * d.width;
                double *before = out + ((dir * (d.steps + 1) + from) * d.rows + row) * d.width;
                bool ended = s > 0 && lengths && (double)t >= lengths[row];
                if (s == 0 || ended) {
                    const double *h = s ? before + recurrence_h(&d) : own[IN_H] + row * d.out;
                    memcpy(y + recurrence_h(&d), h, (size_t)d.out * sizeof *y);
                    if (a->cell != CELL_LSTM) continue;
                    const double *c = s ? before + d.c : own[IN_C] + row * d.hidden;
                    memcpy(y + d.c, c, (size_t)d.hidden * sizeof *y);
                } else {
                    step(a, &d, &k, own[IN_X] + (t * d.rows + row) * d.gates, before, y);
                }
            }
    }
}

/* Gradients of one step: da from dh and dc of its row; adds to dh and dc of the row before. */
static void step_grad(const recurrence_attr *a, const recurrence_dims *d, const weights *k,
                      const double *y, const double *gy, const double *before, double *out,
                      double *out_before) {
    int64_t H = d->hidden;
    const double *h = y + recurrence_h(d), *dh = out + recurrence_dh(d);
    double *dh_before = out_before + recurrence_dh(d);
    for (int64_t j = 0; j < H; j++) {
        double *da = out + j;
        if (a->cell == CELL_TANH || a->cell == CELL_RELU) {
            da[0] = dh[j] * (a->cell == CELL_TANH ? 1 - h[j] * h[j] : h[j] > 0);
        } else if (a->cell == CELL_GRU) {
            double r = y[j], z = y[H + j], v = y[2 * H + j], q = y[3 * H + j];
            double dv = dh[j] * (1 - z) + gy[2 * H + j];
            double dz = dh[j] * (before[recurrence_h(d) + j] - v) + gy[H + j];
            da[2 * H] = dv * (1 - v * v);
            da[3 * H] = da[2 * H] * r + gy[3 * H + j];
            da[0] = (da[2 * H] * q + gy[j]) * r * (1 - r);
            da[H] = dz * z * (1 - z);
            dh_before[j] += dh[j] * z;
        } else {
            double in = y[j], forget = y[H + j], cell = y[2 * H + j], open = y[3 * H + j];
            double t = tanh(y[d->c + j]), dm = a->projected ? gy[d->m + j] : dh[j];
            for (int64_t i = 0; a->projected && i < d->out; i++)
                dm += k->p[i * H + j] * dh[i];
            double dc = out[recurrence_dc(d) + j] += dm * open * (1 - t * t);
            da[0] = (dc * cell + gy[j]) * in * (1 - in);
            da[H] = (dc * before[d->c + j] + gy[H + j]) * forget * (1 - forget);
            da[2 * H] = (dc * in + gy[2 * H + j]) * (1 - cell * cell);
            da[3 * H] = (dm * t + gy[3 * H + j]) * open * (1 - open);
            out_before[recurrence_dc(d) + j] += dc * forget;
        }
    }
    for (int64_t i = 0; i < d->gates; i++) {
        /* n's hidden product is q */
        double da = out[a->cell == CELL_GRU && i >= 2 * H ? i + H : i];
        for (int64_t j = 0; j < d->out; j++)
            dh_before[j] += da * k->w[i * d->out + j];
    }
}

void recurrence_grad_ref(const node *n, const double *const *in, double *out) {
    const recurrence_attr *a = OP_ATTR(recurrence_attr, n);
    recurrence_dims d = recurrence_grad_dims_of(n);
    const double *lengths = a->lengths ? in[n->n_in - 1] : NULL;
    bool lstm = a->cell == CELL_LSTM;
    memset(out, 0, (size_t)shape_count(&n->shape) * sizeof *out);
    for (int dir = 0; dir < d.dirs; dir++) {
        weights k = {in[2 + dir * d.per_dir], NULL, in[1 + (dir + 1) * d.per_dir]};
        for (int64_t s = d.steps; s >= 0; s--)
            for (int64_t row = 0; row < d.rows; row++) {
                int64_t at = dir ? d.steps - s : s, from = s == 0 ? at : dir ? at + 1 : at - 1;
                int64_t t = dir ? at : at - 1;
                int64_t i = (dir * (d.steps + 1) + at) * d.rows + row;
                int64_t i0 = (dir * (d.steps + 1) + from) * d.rows + row;
                const double *y = in[0] + i * d.width, *gy = in[1] + i * d.width;
                double *o = out + i * d.grad_width, *o0 = out + i0 * d.grad_width;
                for (int64_t j = 0; j < d.out; j++)
                    o[recurrence_dh(&d) + j] += gy[recurrence_h(&d) + j];
                for (int64_t j = 0; lstm && j < d.hidden; j++)
                    o[recurrence_dc(&d) + j] += gy[d.c + j];
                if (s == 0) continue;
                if (!lengths || (double)t < lengths[row]) {
                    step_grad(a, &d, &k, y, gy, in[0] + i0 * d.width, o, o0);
                    continue;
                }
                for (int64_t j = d.all_gates; j < d.grad_width; j++)
                    o0[j] += o[j]; /* the state stayed */
            }
    }
}
