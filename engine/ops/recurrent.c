/* Recurrent nets: rnn, lstm and gru over sequences, their cells for one step, and padding of
 * sequences to one length. Weights, gates and their order are PyTorch's. */
#include "ops/internal.h"
#include "ops/recurrence.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- Arguments ---------------------------------------------------------------------------- */

/* A net of several layers, as its call describes it. */
typedef struct net {
    const char *call;
    uint32_t cell;
    int layers, dirs;
    int per_dir; /* weights a layer and direction: w_ih, w_hh [, b_ih, b_hh] [, w_hr] */
    bool bias, projected;
    node **weights;
    node *input;    /* [T, N, features], f32 */
    node *state[2]; /* [layers dirs, N, size], or null */
    node *lengths;
    double dropout; /* 0 when not training */
    int64_t steps, rows;
} net;

static const char *const weight_names[] = {"weight_ih", "weight_hh", "bias_ih", "bias_hh",
                                           "weight_hr"};

static int gates_of(uint32_t cell) {
    return cell == CELL_LSTM ? 4 : cell == CELL_GRU ? 3 : 1;
}

/* Weight `what` of a layer and direction. */
static node *weight(const net *t, int layer, int dir, int what) {
    int i = what == 4 ? t->per_dir - 1 : what;
    return t->weights[(layer * t->dirs + dir) * t->per_dir + i];
}

static bool float_only(graph *g, const char *call, const char *what, const node *a) {
    if (dtype_is_float(a->dtype)) return true;
    return graph_fail(g, MARE_E_DTYPE, "%s: %s takes floats, not %s", call, what,
                      mare_dtype_name(a->dtype)) != NULL;
}

/* Is a [rows, columns], or [rows] for columns < 0? */
static bool has_shape(graph *g, const char *call, const char *what, const node *a, int64_t rows,
                      int64_t columns) {
    char got[SHAPE_TEXT], want[SHAPE_TEXT];
    shape s = columns < 0 ? shape_of(1, rows) : shape_of(2, rows, columns);
    if (!float_only(g, call, what, a)) return false;
    if (shape_equal(&a->shape, &s)) return true;
    return graph_fail(g, MARE_E_SHAPE, "%s: %s must be %s, not %s", call, what,
                      shape_text(&s, want), shape_text(&a->shape, got)) != NULL;
}

static bool check_weights(graph *g, const net *t) {
    int64_t in = t->input->shape.dim[2];
    char text[SHAPE_TEXT], name[48];
    int gates = gates_of(t->cell);
    const shape *hh = &weight(t, 0, 0, 1)->shape;
    if (hh->rank != 2 || hh->dim[0] < 1 || hh->dim[1] < 1 || hh->dim[0] % gates)
        return graph_fail(g, MARE_E_SHAPE, "%s: weight_hh must be [%d hidden, hidden], not %s",
                          t->call, gates, shape_text(hh, text)) != NULL;
    int64_t rows = hh->dim[0], hidden = rows / gates, out = t->projected ? hh->dim[1] : hidden;
    for (int i = 0; i < t->layers * t->dirs; i++) {
        int64_t width = i < t->dirs ? in : t->dirs * out;
        const int64_t want[5][2] = {
            {rows, width}, {rows, out}, {rows, -1}, {rows, -1}, {out, hidden}};
        for (int what = 0; what < 5; what++) {
            if ((what == 2 || what == 3) && !t->bias) continue;
            if (what == 4 && !t->projected) continue;
            snprintf(name, sizeof name, "%s_l%d%s", weight_names[what], i / t->dirs,
                     i % t->dirs ? "_reverse" : "");
            if (!has_shape(g, t->call, name, weight(t, i / t->dirs, i % t->dirs, what),
                           want[what][0], want[what][1]))
                return false;
        }
    }
    return true;
}

/* The initial state as [layers dirs, N, size]. */
static bool take_state(graph *g, net *t, int which, node *state, bool batched, int64_t size) {
    char got[SHAPE_TEXT], want[SHAPE_TEXT];
    if (!state) return true;
    shape s = shape_of(3, t->layers * t->dirs, t->rows, size);
    if (!batched) s = shape_of(2, t->layers * t->dirs, size);
    if (!float_only(g, t->call, which ? "cx" : "hx", state)) return false;
    if (!shape_equal(&s, &state->shape))
        return graph_fail(g, MARE_E_SHAPE, "%s: %s must be %s, not %s", t->call,
                          which ? "cx" : "hx", shape_text(&s, want),
                          shape_text(&state->shape, got)) != NULL;
    if (!batched) state = op_unsqueeze(g, state, 1);
    return (t->state[which] = op_cast(g, state, MARE_F32)) != NULL;
}

node *op_lengths(graph *g, const char *call, const char *what, node *lengths, int64_t rows,
                 int64_t longest) {
    char text[SHAPE_TEXT];
    if (dtype_is_float(lengths->dtype))
        return graph_fail(g, MARE_E_DTYPE, "%s: %s are integers, not %s", call, what,
                          mare_dtype_name(lengths->dtype));
    if (lengths->shape.rank != 1 || lengths->shape.dim[0] != rows)
        return graph_fail(g, MARE_E_SHAPE, "%s: %s must be [%lld], not %s", call, what,
                          (long long)rows, shape_text(&lengths->shape, text));
    if (rows && (lengths->lo > lengths->hi || lengths->lo < 0 || lengths->hi > longest))
        return graph_fail(g, MARE_E_RANGE, "%s: %s lie in 0..%lld, not %lld..%lld", call, what,
                          (long long)longest, (long long)lengths->lo, (long long)lengths->hi);
    return op_cast(g, lengths, MARE_I32);
}

/* ---- Layers ------------------------------------------------------------------------------- */

/* What is added to the gates: both biases, but for q that of the hidden product alone. */
static node *gate_bias(graph *g, const net *t, int layer, int dir, int64_t hidden) {
    int gates = gates_of(t->cell);
    shape s = shape_of(1, (gates + (t->cell == CELL_GRU)) * hidden);
    if (!t->bias) return op_full(g, MARE_F32, &s, 0);
    node *ih = op_cast(g, weight(t, layer, dir, 2), MARE_F32);
    node *hh = op_cast(g, weight(t, layer, dir, 3), MARE_F32);
    if (t->cell != CELL_GRU) return op_map2(g, "add", ih, hh);
    node *rz =
        op_map2(g, "add", op_narrow(g, ih, 0, 0, 2 * hidden), op_narrow(g, hh, 0, 0, 2 * hidden));
    node *parts[] = {rz, op_narrow(g, ih, 0, 2 * hidden, hidden),
                     op_narrow(g, hh, 0, 2 * hidden, hidden)};
    return op_concat(g, parts, 3, 0);
}

/* x [T, N, I] times w [gates, I] transposed, as one product. */
static node *products(graph *g, const net *t, node *x, node *w) {
    if (!x || !w) return NULL;
    shape flat = shape_of(2, t->steps * t->rows, x->shape.dim[2]);
    shape whole = shape_of(3, t->steps, t->rows, w->shape.dim[0]);
    node *y = op_matmul(g, op_reshape(g, x, &flat), op_transpose(g, w, 0, 1));
    return op_reshape(g, y, &whole);
}

/* Layer and direction's initial state. */
static node *initial(graph *g, const net *t, int which, int i, int64_t size) {
    shape s = shape_of(2, t->rows, size);
    if (!t->state[which]) return op_full(g, MARE_F32, &s, 0);
    return op_squeeze(g, op_narrow(g, t->state[which], 0, i, 1), 0);
}

static node *layer_of(graph *g, const net *t, int layer, node *x) {
    const shape *hh = &weight(t, layer, 0, 1)->shape;
    int64_t hidden = hh->dim[0] / gates_of(t->cell), out = hh->dim[1];
    node *in[13];
    int n = 0;
    for (int dir = 0; dir < t->dirs; dir++) {
        int i = layer * t->dirs + dir;
        in[n++] = products(g, t, x, op_cast(g, weight(t, layer, dir, 0), MARE_F32));
        in[n++] = op_cast(g, weight(t, layer, dir, 1), MARE_F32);
        in[n++] = gate_bias(g, t, layer, dir, hidden);
        in[n++] = initial(g, t, 0, i, out);
        if (t->cell == CELL_LSTM) in[n++] = initial(g, t, 1, i, hidden);
        if (t->projected) in[n++] = op_cast(g, weight(t, layer, dir, 4), MARE_F32);
    }
    if (t->lengths) in[n++] = t->lengths;
    for (int i = 0; i < n; i++)
        if (!in[i]) return NULL;
    recurrence_attr a = {t->cell, (uint32_t)t->dirs, t->projected, t->lengths != NULL};
    return op_recurrence(g, in, n, &a);
}

/* Elements are 0 with probability p, the others grow by 1 / (1 - p). */
static node *drop(graph *g, node *x, double p) {
    if (!x || p == 0) return x;
    node *kept = op_bernoulli(g, op_full(g, MARE_F32, &x->shape, 1 - p));
    node *grown = op_map_scalar(g, "mul", x, p < 1 ? 1 / (1 - p) : 0);
    return op_map3(g, "where", kept, grown, node_const(g, MARE_F32, 0));
}

/* 0 past the end of each sequence. */
static node *cut(graph *g, const net *t, node *y) {
    if (!t->lengths) return y;
    shape column = shape_of(3, t->steps, 1, 1);
    node *time = op_reshape(g, op_arange(g, MARE_I32, 0, 1, t->steps), &column);
    node *alive = op_map2(g, "lt", time, op_unsqueeze(g, t->lengths, 1));
    return op_map3(g, "where", alive, y, node_const(g, MARE_F32, 0));
}

/* out: output, h_n and, of an lstm, c_n. */
static bool run(graph *g, const net *t, node **out) {
    node *x = t->input, **finals[2] = {0};
    int n = t->layers * t->dirs, states = 1 + (t->cell == CELL_LSTM);
    node **list = malloc((size_t)(2 * n) * sizeof *list);
    if (!list) return error_no_memory(g->error, (size_t)n * sizeof *list) == MARE_OK;
    finals[0] = list;
    finals[1] = list + n;
    for (int layer = 0; layer < t->layers && x; layer++) {
        node *all = layer_of(g, t, layer, layer ? drop(g, x, t->dropout) : x);
        node *ways[2];
        for (int dir = 0; dir < t->dirs; dir++) {
            ways[dir] = op_recurrence_output(g, all, dir);
            for (int s = 0; s < states; s++)
                finals[s][layer * t->dirs + dir] = op_recurrence_final(g, all, dir, s == 1);
        }
        x = !ways[0] ? NULL : t->dirs == 1 ? ways[0] : op_concat(g, ways, 2, 2);
    }
    out[0] = cut(g, t, x);
    for (int s = 0; s < states && out[0]; s++)
        out[1 + s] = op_concat(g, finals[s], n, 0);
    free(list);
    return out[0] && out[1] && (states == 1 || out[2]);
}

/* Places of the arguments that all nets have; those of an lstm come one later from cx on. */
enum { ARG_INPUT, ARG_HX, ARG_WEIGHTS };

static bool call_net(graph *g, const char *call, uint32_t cell, const call_value *v, node **out) {
    char text[SHAPE_TEXT];
    bool lstm = cell == CELL_LSTM;
    const call_value *w = &v[ARG_WEIGHTS + lstm], *lengths = w + 1, *layers = w + 2;
    bool both = w[3].integer, batch_first = w[4].integer, training = w[6].integer;
    double p = w[5].number;
    node *x = v[ARG_INPUT].tensor;
    net t = {.call = call, .cell = cell, .layers = (int)layers->integer, .dirs = 1 + both};
    if (layers->integer < 1 || layers->integer > 4096)
        return graph_fail(g, MARE_E_ARGUMENT, "%s: %lld layers", call,
                          (long long)layers->integer) != NULL;
    if (!(p >= 0 && p <= 1))
        return graph_fail(g, MARE_E_ARGUMENT, "%s: dropout %g is not in 0..1", call, p) != NULL;
    t.weights = w->tensors;
    t.per_dir = w->n / (t.layers * t.dirs);
    t.bias = t.per_dir >= 4;
    t.projected = t.per_dir % 2;
    t.dropout = training ? p : 0;
    if (w->n % (t.layers * t.dirs) || t.per_dir < 2 || t.per_dir > (lstm ? 5 : 4) ||
        (t.projected && !lstm))
        return graph_fail(g, MARE_E_ARGUMENT,
                          "%s: %d weights for %d layers in %d directions; each takes 2, or 4 with "
                          "biases%s",
                          call, w->n, t.layers, t.dirs,
                          lstm ? ", and one more with a projection" : "") != NULL;
    if (!float_only(g, call, "input", x)) return false;
    bool batched = x->shape.rank == 3;
    if (!batched && x->shape.rank != 2)
        return graph_fail(g, MARE_E_SHAPE, "%s: input must be %s or [T, features], not %s", call,
                          batch_first ? "[N, T, features]" : "[T, N, features]",
                          shape_text(&x->shape, text)) != NULL;
    if (!batched && lengths->given)
        return graph_fail(g, MARE_E_ARGUMENT, "%s: lengths are those of a batch; the input is %s",
                          call, shape_text(&x->shape, text)) != NULL;
    node *y = op_cast(g, x, MARE_F32);
    if (!batched) y = op_unsqueeze(g, y, 1);
    if (batched && batch_first) y = op_transpose(g, y, 0, 1);
    if (!(t.input = y)) return false;
    t.steps = y->shape.dim[0];
    t.rows = y->shape.dim[1];
    if (t.steps < 1)
        return graph_fail(g, MARE_E_SHAPE, "%s: input %s has no step", call,
                          shape_text(&x->shape, text)) != NULL;
    if (!check_weights(g, &t)) return false;
    const shape *hh = &weight(&t, 0, 0, 1)->shape;
    if (!take_state(g, &t, 0, v[ARG_HX].tensor, batched, hh->dim[1])) return false;
    if (lstm && !take_state(g, &t, 1, v[ARG_HX + 1].tensor, batched, hh->dim[0] / 4)) return false;
    if (lengths->given &&
        !(t.lengths = op_lengths(g, call, "lengths", lengths->tensor, t.rows, t.steps)))
        return false;
    if (!run(g, &t, out)) return false;
    if (!batched) {
        for (int i = 0; i < 2 + lstm; i++)
            out[i] = op_squeeze(g, out[i], 1);
    } else if (batch_first) {
        out[0] = op_transpose(g, out[0], 0, 1);
    }
    for (int i = 0; i < 2 + lstm; i++)
        if (!(out[i] = op_float_like(g, out[i], x))) return false;
    return true;
}

#define NET_ARGS                                                                                   \
    NEED_TENSORS("weights"), INDEX_OPT("lengths"), INTEGER_OPT("num_layers", 1),                   \
        FLAG_OPT("bidirectional", 0), FLAG_OPT("batch_first", 0), NUMBER_OPT("dropout", 0),        \
        FLAG_OPT("training", 0)
static const call_arg rnn_args[] = {NEED_TENSOR("input"), TENSOR_OPT("hx"), NET_ARGS,
                                    CHOICE_OPT("nonlinearity", "tanh relu"), END_ARGS};
static const call_arg lstm_args[] = {NEED_TENSOR("input"), TENSOR_OPT("hx"), TENSOR_OPT("cx"),
                                     NET_ARGS, END_ARGS};
static const call_arg gru_args[] = {NEED_TENSOR("input"), TENSOR_OPT("hx"), NET_ARGS, END_ARGS};

static bool call_rnn(graph *g, const call_value *v, node **out) {
    return call_net(g, "rnn", v[9].integer ? CELL_RELU : CELL_TANH, v, out);
}

static bool call_lstm(graph *g, const call_value *v, node **out) {
    return call_net(g, "lstm", CELL_LSTM, v, out);
}

static bool call_gru(graph *g, const call_value *v, node **out) {
    return call_net(g, "gru", CELL_GRU, v, out);
}

/* ---- Cells -------------------------------------------------------------------------------- */

/* A step of one cell, as its call gives it. */
typedef struct cell_call {
    const char *call;
    node *x, *h, *c;      /* [N, size], f32 */
    node *gates, *hidden; /* products with their biases, [N, gates hidden] */
    int64_t size;
    bool batched;
} cell_call;

static node *affine(graph *g, node *x, node *w, node *b) {
    node *y = op_matmul(g, x, op_transpose(g, op_cast(g, w, MARE_F32), 0, 1));
    return b ? op_map2(g, "add", y, b) : y;
}

/* A state of the cell as [N, size]; zeros when it is left out. */
static node *cell_state(graph *g, const cell_call *t, const char *what, node *a) {
    char got[SHAPE_TEXT], want[SHAPE_TEXT];
    shape s = shape_of(2, t->x->shape.dim[0], t->size);
    if (!a) return op_full(g, MARE_F32, &s, 0);
    shape given = s;
    if (!t->batched) given = shape_of(1, t->size);
    if (!float_only(g, t->call, what, a)) return NULL;
    if (!shape_equal(&a->shape, &given))
        return graph_fail(g, MARE_E_SHAPE, "%s: %s must be %s, not %s", t->call, what,
                          shape_text(&given, want), shape_text(&a->shape, got));
    return op_reshape(g, op_cast(g, a, MARE_F32), &s);
}

/* v: input, hx, [cx,] w_ih, w_hh, b_ih, b_hh. */
static bool open_cell(graph *g, cell_call *t, int gates, const call_value *v) {
    char text[SHAPE_TEXT];
    bool lstm = gates == 4;
    node *x = v[0].tensor, *const w[] = {v[2 + lstm].tensor, v[3 + lstm].tensor},
         *const b[] = {v[4 + lstm].tensor, v[5 + lstm].tensor};
    t->batched = x->shape.rank == 2;
    if (!float_only(g, t->call, "input", x)) return false;
    if (!t->batched && x->shape.rank != 1)
        return graph_fail(g, MARE_E_SHAPE, "%s: input must be [N, features] or [features], not %s",
                          t->call, shape_text(&x->shape, text)) != NULL;
    t->x = op_cast(g, t->batched ? x : op_unsqueeze(g, x, 0), MARE_F32);
    if (w[1]->shape.rank != 2 || w[1]->shape.dim[1] < 1)
        return graph_fail(g, MARE_E_SHAPE, "%s: w_hh must be [%d hidden, hidden], not %s", t->call,
                          gates, shape_text(&w[1]->shape, text)) != NULL;
    t->size = w[1]->shape.dim[1];
    int64_t rows = gates * t->size;
    if (!t->x || !has_shape(g, t->call, "w_ih", w[0], rows, t->x->shape.dim[1]) ||
        !has_shape(g, t->call, "w_hh", w[1], rows, t->size) ||
        (b[0] && !has_shape(g, t->call, "b_ih", b[0], rows, -1)) ||
        (b[1] && !has_shape(g, t->call, "b_hh", b[1], rows, -1)))
        return false;
    t->h = cell_state(g, t, "hx", v[1].tensor);
    t->c = lstm && t->h ? cell_state(g, t, "cx", v[2].tensor) : NULL;
    if (!t->h || (lstm && !t->c)) return false;
    t->gates = affine(g, t->x, w[0], b[0]);
    t->hidden = affine(g, t->h, w[1], b[1]);
    return t->gates && t->hidden;
}

static node *close_cell(graph *g, const cell_call *t, node *state, const node *input) {
    if (!t->batched) state = op_squeeze(g, state, 0);
    return op_float_like(g, state, input);
}

static node *gate(graph *g, const cell_call *t, node *a, int i) {
    return op_narrow(g, a, 1, i * t->size, t->size);
}

static bool call_rnn_cell(graph *g, const call_value *v, node **out) {
    cell_call t = {.call = "rnn_cell"};
    if (!open_cell(g, &t, 1, v)) return false;
    node *a = op_map2(g, "add", t.gates, t.hidden);
    node *h = op_map1(g, v[6].integer ? "relu" : "tanh", a);
    return (out[0] = close_cell(g, &t, h, v[0].tensor)) != NULL;
}

static bool call_lstm_cell(graph *g, const call_value *v, node **out) {
    static const char *const names[] = {"i", "f", "v", "c"};
    static const char *const more[] = {"o", "c"};
    cell_call t = {.call = "lstm_cell"};
    if (!open_cell(g, &t, 4, v)) return false;
    node *a = op_map2(g, "add", t.gates, t.hidden);
    node *nodes[] = {gate(g, &t, a, 0), gate(g, &t, a, 1), gate(g, &t, a, 2), t.c};
    node *c = op_expr(g, "sigmoid(f) * c + sigmoid(i) * tanh(v)", names, nodes, 4);
    node *h = op_expr(g, "sigmoid(o) * tanh(c)", more, (node *[]){gate(g, &t, a, 3), c}, 2);
    out[0] = close_cell(g, &t, h, v[0].tensor);
    out[1] = close_cell(g, &t, c, v[0].tensor);
    return out[0] && out[1];
}

static bool call_gru_cell(graph *g, const call_value *v, node **out) {
    static const char *const names[] = {"xr", "hr", "xz", "hz", "xn", "hn", "h"};
    cell_call t = {.call = "gru_cell"};
    if (!open_cell(g, &t, 3, v)) return false;
    node *n[7];
    for (int i = 0; i < 3; i++) {
        n[2 * i] = gate(g, &t, t.gates, i);
        n[2 * i + 1] = gate(g, &t, t.hidden, i);
    }
    n[6] = t.h;
    node *h = op_expr(g,
                      "z = sigmoid(xz + hz); n = tanh(xn + sigmoid(xr + hr) * hn); "
                      "(1 - z) * n + z * h",
                      names, n, 7);
    return (out[0] = close_cell(g, &t, h, v[0].tensor)) != NULL;
}

#define CELL_ARGS NEED_TENSOR("w_ih"), NEED_TENSOR("w_hh"), TENSOR_OPT("b_ih"), TENSOR_OPT("b_hh")
static const call_arg rnn_cell_args[] = {NEED_TENSOR("input"), TENSOR_OPT("hx"), CELL_ARGS,
                                         CHOICE_OPT("nonlinearity", "tanh relu"), END_ARGS};
static const call_arg lstm_cell_args[] = {NEED_TENSOR("input"), TENSOR_OPT("hx"), TENSOR_OPT("cx"),
                                          CELL_ARGS, END_ARGS};
static const call_arg gru_cell_args[] = {NEED_TENSOR("input"), TENSOR_OPT("hx"), CELL_ARGS,
                                         END_ARGS};

/* ---- Sequences of several lengths ---------------------------------------------------------- */

static const call_arg pad_sequence_args[] = {NEED_TENSORS("sequences"), FLAG_OPT("batch_first", 0),
                                             NUMBER_OPT("padding_value", 0), END_ARGS};

static bool call_pad_sequence(graph *g, const call_value *v, node **out) {
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    int n = v[0].n;
    node *const *in = v[0].tensors;
    int64_t longest = 0;
    for (int i = 0; i < n; i++) {
        const shape *s = &in[i]->shape, *first = &in[0]->shape;
        bool same = s->rank > 0 && s->rank == first->rank && in[i]->dtype == in[0]->dtype;
        for (int d = 1; same && d < s->rank; d++)
            same = s->dim[d] == first->dim[d];
        if (!same)
            return graph_fail(g, MARE_E_SHAPE,
                              "pad_sequence: %s %s and %s %s may differ in the first dimension "
                              "alone",
                              mare_dtype_name(in[0]->dtype), shape_text(first, a),
                              mare_dtype_name(in[i]->dtype), shape_text(s, b)) != NULL;
        if (s->dim[0] > longest) longest = s->dim[0];
    }
    node **list = malloc((size_t)n * sizeof *list);
    if (!list) return error_no_memory(g->error, (size_t)n * sizeof *list) == MARE_OK;
    bool ok = true;
    for (int i = 0; i < n && ok; i++) {
        int64_t before[MAX_DIMS] = {0}, after[MAX_DIMS] = {longest - in[i]->shape.dim[0]};
        ok = (list[i] = op_pad(g, in[i], before, after, v[2].number)) != NULL;
    }
    out[0] = ok ? op_stack(g, list, n, v[1].integer ? 0 : 1) : NULL;
    free(list);
    return out[0] != NULL;
}

/* ---- The table ---------------------------------------------------------------------------- */

#define NET_DOC                                                                                    \
    "input [T, N, features], [N, T, features] with batch_first, or [T, features]; weights: for "   \
    "each layer and direction w_ih, w_hh and, unless there is no bias, b_ih, b_hh"
#define STATE_DOC                                                                                  \
    "hx [num_layers directions, N, hidden]. lengths [N]: outputs past a sequence's end are 0, "    \
    "its "                                                                                         \
    "final state is that of its last step, and the reverse direction begins there. dropout acts "  \
    "between layers, when training."

const op_call op_calls_recurrent[] = {
    {"rnn", "Elman's recurrent net, h' = tanh(W x + b + U h + d), or relu. " NET_DOC "; " STATE_DOC,
     rnn_args, "output h_n", call_rnn, OP_AT},
    {"lstm",
     "Long short-term memory (Hochreiter and Schmidhuber 1997; forget gates of Gers et al. 2000), "
     "gates in the order i f g o. " NET_DOC ", then w_hr of a projection (Sak et al. 2014); cx "
     "like hx, which has the projection's size if there is one. " STATE_DOC,
     lstm_args, "output h_n c_n", call_lstm, OP_AT},
    {"gru",
     "Gated recurrent unit (Cho et al. 2014), gates in the order r z n; r acts on the hidden "
     "product with its bias. " NET_DOC "; " STATE_DOC,
     gru_args, "output h_n", call_gru, OP_AT},
    {"rnn_cell", "One step of rnn: input [N, features] or [features], hx [N, hidden] or zeros.",
     rnn_cell_args, NULL, call_rnn_cell, OP_AT},
    {"lstm_cell", "One step of lstm: input [N, features] or [features], hx and cx or zeros.",
     lstm_cell_args, "h c", call_lstm_cell, OP_AT},
    {"gru_cell", "One step of gru: input [N, features] or [features], hx or zeros.", gru_cell_args,
     NULL, call_gru_cell, OP_AT},
    {"pad_sequence",
     "Tensors [L, ...] of several lengths filled up with padding_value to the longest and stacked: "
     "[T, N, ...], or [N, T, ...] with batch_first.",
     pad_sequence_args, NULL, call_pad_sequence, OP_AT},
    {0},
};
