/* What the files of the recurrence share: the packed layout of its results.
 *
 * The op runs one layer of a recurrent net over a sequence, in one or both directions; the products
 * of the inputs with their weights come in ready. Its result [dirs, T + 1, N, width] holds, in the
 * order of time, every state with what led to it: the forward direction starts from row 0 and step
 * t makes row t + 1; the reverse direction starts from row T and step t makes row t. So the states
 * before all steps, and those after, are slices.
 *
 *     rnn   | h |
 *     gru   | r z n q | h |             q: hidden product of n
 *     lstm  | i f g o | c | m | h |     m = o tanh(c), only when h is a projection of it
 *
 * Its gradient [dirs, T + 1, N, grad_width] has rows like these:
 *
 *     | gates before their activation | dc (lstm) | dh |
 *
 * dc and dh are the whole gradients of that row's state, so the first row's are those of the
 * initial state. Past a sequence's end its state stays as it is, and everything else is 0. */
#ifndef MARE_OPS_RECURRENCE_H
#define MARE_OPS_RECURRENCE_H

#include "graph/graph.h"

enum { CELL_TANH, CELL_RELU, CELL_LSTM, CELL_GRU };

typedef struct recurrence_attr {
    uint32_t cell, dirs;
    uint32_t projected; /* lstm: h = w_hr m */
    uint32_t lengths;   /* the last input holds them */
} recurrence_attr;

/* Inputs of a direction:
 *   x [T, N, gates hidden], the inputs' products
 *   w [gates hidden, out], of the hidden state
 *   b [all gates hidden], added to the gates (to q last, for gru)
 *   h [N, out], c [N, hidden] (lstm): the initial state
 *   p [out, hidden]: the projection
 * The gradient's inputs are the result, its gradient, then w and p of each direction. */
enum { IN_X, IN_W, IN_B, IN_H, IN_C };

typedef struct recurrence_dims {
    int64_t steps, rows, hidden, out;
    int64_t gates;       /* columns of x and rows of w: 1, 3 or 4 times hidden */
    int64_t all_gates;   /* with q */
    int64_t width, c, m; /* of a row of the result; where c and m start in it */
    int64_t grad_width;
    int per_dir; /* inputs of a direction, without lengths */
    int dirs;
} recurrence_dims;

static inline int64_t recurrence_h(const recurrence_dims *d) {
    return d->width - d->out;
}
static inline int64_t recurrence_dc(const recurrence_dims *d) {
    return d->all_gates;
}
static inline int64_t recurrence_dh(const recurrence_dims *d) {
    return d->grad_width - d->out;
}

/* Of the op, and of its gradient. */
recurrence_dims recurrence_dims_of(const node *n);
recurrence_dims recurrence_grad_dims_of(const node *n);

/* A recurrence over n_in inputs of these attributes. */
node *op_recurrence(graph *g, node *const *in, int n_in, const recurrence_attr *a);
/* Of one: all h of a direction [T, N, out], and its last h [1, N, out] or c [1, N, hidden]. */
node *op_recurrence_output(graph *g, node *n, int dir);
node *op_recurrence_final(graph *g, node *n, int dir, bool cell);

/* recurrent.c: lengths [rows] of 0..longest as i32, or a refusal that calls them `what`. */
node *op_lengths(graph *g, const char *call, const char *what, node *lengths, int64_t rows,
                 int64_t longest);

struct lowering;
struct operand;

/* recurrence_lower.c */
mare_status recurrence_lower(struct lowering *l, const node *n, const struct operand *in,
                             const struct operand *out);
mare_status recurrence_grad_lower(struct lowering *l, const node *n, const struct operand *in,
                                  const struct operand *out);
/* recurrence_ref.c */
void recurrence_ref(const node *n, const double *const *in, double *out);
void recurrence_grad_ref(const node *n, const double *const *in, double *out);

#endif
