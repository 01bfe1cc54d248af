/* einsum: sums of products in Einstein's notation, as permutations and matrix products. */
#include "ops/internal.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Labels are the letters, and behind them the axes that an ellipsis stands for, the last one last.
 */
enum { LETTERS = 52, LABELS = LETTERS + MAX_DIMS };

typedef struct term {
    node *x;
    int label[MAX_DIMS]; /* of each axis of x */
} term;

typedef struct einsum {
    graph *g;
    const char *equation;
    char shapes[400]; /* of all operands, for messages */
    term *terms;
    int n;
    int64_t size[LABELS]; /* 0: not met yet */
    bool met[LABELS];
    int output[MAX_DIMS], n_output;
} einsum;

static bool refuse(const einsum *e, const char *what) {
    return graph_fail(e->g, MARE_E_ARGUMENT, "einsum: \"%s\" of %s: %s", e->equation, e->shapes,
                      what) != NULL;
}

static int letter(char c) {
    return c >= 'a' && c <= 'z' ? c - 'a' : c >= 'A' && c <= 'Z' ? c - 'A' + 26 : -1;
}

static int label_at(const term *t, int label) {
    for (int i = 0; i < t->x->shape.rank; i++)
        if (t->label[i] == label) return i;
    return -1;
}

/* ---- Reading the equation ----------------------------------------------------------------- */

/* The labels of one operand or of the output from *p up to an end; `rank` axes are named, -1: as
 * many as the ellipsis of the operands had. */
static bool read_labels(const einsum *e, const char **p, int rank, int ellipsis, int *label,
                        int *n) {
    int letters = 0, dots = 0;
    const char *end = *p;
    for (; *end && *end != ',' && strncmp(end, "->", 2) != 0; end++) {
        if (isspace((unsigned char)*end)) continue;
        if (strncmp(end, "...", 3) == 0) {
            dots++;
            end += 2;
        } else if (letter(*end) >= 0) {
            letters++;
        } else {
            return refuse(e, "letters, commas, \"...\" and one \"->\" are expected");
        }
    }
    int wild = rank < 0 ? (dots ? ellipsis : 0) : rank - letters;
    if (dots > 1) return refuse(e, "an operand has two ellipses");
    if (wild < 0 || (wild > 0 && !dots) || letters + wild > MAX_DIMS)
        return refuse(e, rank < 0 ? "the output has too many dims"
                                  : "an operand has another number of dims than labels");
    *n = 0;
    for (; *p < end; (*p)++) {
        if (isspace((unsigned char)**p)) continue;
        if (**p != '.') {
            label[(*n)++] = letter(**p);
            continue;
        }
        for (int i = 0; i < wild; i++)
            label[(*n)++] = LABELS - wild + i;
        *p += 2;
    }
    return true;
}

/* Every label has one size; an axis of 1 stretches. */
static bool note_sizes(einsum *e, const term *t) {
    for (int i = 0; i < t->x->shape.rank; i++) {
        int64_t n = t->x->shape.dim[i], *size = &e->size[t->label[i]];
        char what[96];
        if (e->met[t->label[i]] && *size != n && *size != 1 && n != 1) {
            snprintf(what, sizeof what, "sizes %lld and %lld under one label", (long long)*size,
                     (long long)n);
            return refuse(e, what);
        }
        if (!e->met[t->label[i]] || *size == 1) *size = n;
        e->met[t->label[i]] = true;
    }
    return true;
}

static bool read_equation(einsum *e, node *const *in) {
    const char *p = e->equation;
    int ellipsis = 0, used[LABELS] = {0};
    for (int i = 0; i < e->n; i++) {
        int n;
        e->terms[i].x = in[i];
        if (i > 0 && *p++ != ',') return refuse(e, "there are more operands than terms");
        if (!read_labels(e, &p, in[i]->shape.rank, 0, e->terms[i].label, &n)) return false;
        if (!note_sizes(e, &e->terms[i])) return false;
        int wild = 0;
        for (int k = 0; k < n; k++) {
            used[e->terms[i].label[k]]++;
            wild += e->terms[i].label[k] >= LETTERS;
        }
        if (wild > ellipsis) ellipsis = wild;
    }
    if (*p == ',') return refuse(e, "there are more terms than operands");
    if (*p) {
        p += 2;
        if (!read_labels(e, &p, -1, ellipsis, e->output, &e->n_output)) return false;
        if (*p) return refuse(e, "something stands behind the output");
        for (int i = 0; i < e->n_output; i++) {
            for (int k = 0; k < i; k++)
                if (e->output[i] == e->output[k]) return refuse(e, "the output has a label twice");
            if (!e->met[e->output[i]]) return refuse(e, "a label of the output is no operand's");
        }
        return true;
    }
    /* Without an output: the ellipsis, then what stands once, in the order of the alphabet,
     * capitals first as in ASCII. */
    int room = ellipsis;
    for (int i = 0; i < LETTERS; i++)
        room += used[i] == 1;
    if (room > MAX_DIMS) return refuse(e, "the output has too many dims");
    for (int i = LABELS - ellipsis; i < LABELS; i++)
        e->output[e->n_output++] = i;
    for (int i = 0; i < LETTERS; i++) {
        int label = (i + 26) % LETTERS;
        if (used[label] == 1) e->output[e->n_output++] = label;
    }
    return true;
}

/* ---- One operand -------------------------------------------------------------------------- */

static bool wanted(const einsum *e, int label) {
    for (int i = 0; i < e->n_output; i++)
        if (e->output[i] == label) return true;
    return false;
}

/* Is a label of term i still needed by the output or by another term, j aside? */
static bool needed(const einsum *e, int label, int i, int j) {
    bool any = wanted(e, label);
    for (int k = 0; k < e->n && !any; k++)
        any = k != i && k != j && label_at(&e->terms[k], label) >= 0;
    return any;
}

static void drop_label(term *t, int axis, int rank) {
    for (int i = axis; i + 1 < rank; i++)
        t->label[i] = t->label[i + 1];
}

/* Axes of 1 that stretch are dropped, repeated labels become diagonals. */
static bool simplify(einsum *e, term *t) {
    for (int i = t->x->shape.rank - 1; i >= 0; i--) {
        if (t->x->shape.dim[i] != 1 || e->size[t->label[i]] == 1) continue;
        int rank = t->x->shape.rank;
        if (!(t->x = op_squeeze(e->g, t->x, i))) return false;
        drop_label(t, i, rank);
    }
    for (int i = 0; i < t->x->shape.rank; i++)
        for (int k = t->x->shape.rank - 1; k > i; k--) {
            if (t->label[i] != t->label[k]) continue;
            int rank = t->x->shape.rank, label = t->label[i];
            if (!(t->x = op_diagonal(e->g, t->x, 0, i, k))) return false;
            drop_label(t, k, rank);
            drop_label(t, i, rank - 1);
            t->label[rank - 2] = label; /* the diagonal is the last axis */
            i = -1;
            break;
        }
    return true;
}

/* Sums what term i alone has. */
static bool sum_own(einsum *e, int i) {
    term *t = &e->terms[i];
    uint32_t axes = 0;
    term kept = {0};
    int n = 0;
    for (int k = 0; k < t->x->shape.rank; k++) {
        if (needed(e, t->label[k], i, i))
            kept.label[n++] = t->label[k];
        else
            axes |= 1u << k;
    }
    kept.x = axes ? op_sum(e->g, t->x, axes, false) : t->x;
    *t = kept;
    return t->x != NULL;
}

/* ---- Two operands ------------------------------------------------------------------------- */

/* Labels by what a product does with them. */
typedef struct sorted {
    int both[MAX_DIMS], left[MAX_DIMS], right[MAX_DIMS], summed[MAX_DIMS];
    int n_both, n_left, n_right, n_summed;
} sorted;

static sorted sort_labels(const einsum *e, int i, int j) {
    const term *a = &e->terms[i], *b = &e->terms[j];
    sorted s = {0};
    for (int k = 0; k < a->x->shape.rank; k++) {
        int label = a->label[k];
        if (label_at(b, label) < 0)
            s.left[s.n_left++] = label;
        else if (needed(e, label, i, j))
            s.both[s.n_both++] = label;
        else
            s.summed[s.n_summed++] = label;
    }
    for (int k = 0; k < b->x->shape.rank; k++)
        if (label_at(a, b->label[k]) < 0) s.right[s.n_right++] = b->label[k];
    return s;
}

static double extent(const einsum *e, const int *label, int n) {
    double p = 1;
    for (int i = 0; i < n; i++)
        p *= (double)e->size[label[i]];
    return p;
}

static double cost(const einsum *e, int i, int j) {
    sorted s = sort_labels(e, i, j);
    return extent(e, s.both, s.n_both) * extent(e, s.left, s.n_left) *
           extent(e, s.right, s.n_right) * extent(e, s.summed, s.n_summed);
}

/* t's axes in the order of three lists of labels. */
static node *ordered(const einsum *e, const term *t, const int *a, int na, const int *b, int nb,
                     const int *c, int nc) {
    int axes[MAX_DIMS], n = 0;
    for (int i = 0; i < na; i++)
        axes[n++] = label_at(t, a[i]);
    for (int i = 0; i < nb; i++)
        axes[n++] = label_at(t, b[i]);
    for (int i = 0; i < nc; i++)
        axes[n++] = label_at(t, c[i]);
    return op_permute(e->g, t->x, axes, n);
}

/* As one matrix product [both, left, summed] x [both, summed, right]. */
static node *as_matmul(const einsum *e, const term *a, const term *b, const sorted *s) {
    int64_t batch = (int64_t)extent(e, s->both, s->n_both);
    int64_t rows = (int64_t)extent(e, s->left, s->n_left);
    int64_t cols = (int64_t)extent(e, s->right, s->n_right);
    int64_t depth = (int64_t)extent(e, s->summed, s->n_summed);
    node *x = ordered(e, a, s->both, s->n_both, s->left, s->n_left, s->summed, s->n_summed);
    node *y = ordered(e, b, s->both, s->n_both, s->summed, s->n_summed, s->right, s->n_right);
    shape sx = s->n_both ? shape_of(3, batch, rows, depth) : shape_of(2, rows, depth);
    shape sy = s->n_both ? shape_of(3, batch, depth, cols) : shape_of(2, depth, cols);
    return op_matmul(e->g, op_reshape(e->g, x, &sx), op_reshape(e->g, y, &sy));
}

/* As products of elements, and a sum: where nothing is shared but what is summed or kept. */
static node *as_product(const einsum *e, const term *a, const term *b, const sorted *s) {
    node *x = ordered(e, a, s->both, s->n_both, s->left, s->n_left, s->summed, s->n_summed);
    node *y = ordered(e, b, s->both, s->n_both, s->right, s->n_right, s->summed, s->n_summed);
    for (int i = 0; i < s->n_right; i++)
        x = op_unsqueeze(e->g, x, s->n_both + s->n_left);
    for (int i = 0; i < s->n_left; i++)
        y = op_unsqueeze(e->g, y, s->n_both);
    node *p = op_map2(e->g, "mul", x, y);
    if (!p || !s->n_summed) return p;
    uint32_t axes = 0;
    for (int i = 0; i < s->n_summed; i++)
        axes |= 1u << (p->shape.rank - 1 - i);
    return op_sum(e->g, p, axes, false);
}

/* Terms i and j (i < j) become one, in the place of i. */
static bool meet(einsum *e, int i, int j) {
    term *a = &e->terms[i], *b = &e->terms[j];
    sorted s = sort_labels(e, i, j);
    term y = {0};
    shape full = {0};
    const int *lists[3] = {s.both, s.left, s.right};
    const int counts[3] = {s.n_both, s.n_left, s.n_right};
    if (s.n_both + s.n_left + s.n_right > MAX_DIMS)
        return refuse(e, "a product on the way has more than 8 dims");
    for (int k = 0; k < 3; k++)
        for (int l = 0; l < counts[k]; l++) {
            y.label[full.rank] = lists[k][l];
            full.dim[full.rank++] = e->size[lists[k][l]];
        }
    bool floats = dtype_is_float(a->x->dtype) && dtype_is_float(b->x->dtype);
    bool outer = s.n_summed == 0 || (s.n_left == 0 && s.n_right == 0);
    bool fits = full.rank + s.n_summed <= MAX_DIMS;
    if (!floats && !fits) return refuse(e, "a product of integers on the way has too many dims");
    y.x = floats && (!outer || !fits) ? as_matmul(e, a, b, &s) : as_product(e, a, b, &s);
    y.x = op_reshape(e->g, y.x, &full);
    if (!y.x) return false;
    *a = y;
    for (int k = j; k + 1 < e->n; k++)
        e->terms[k] = e->terms[k + 1];
    e->n--;
    return true;
}

/* The cheapest pair first; of equals the first. */
static bool contract(einsum *e) {
    for (int i = 0; i < e->n; i++)
        if (!simplify(e, &e->terms[i])) return false;
    for (int i = 0; i < e->n; i++)
        if (!sum_own(e, i)) return false;
    while (e->n > 1) {
        int a = 0, b = 1;
        double least = INFINITY;
        for (int i = 0; i < e->n; i++)
            for (int j = i + 1; j < e->n; j++) {
                double c = cost(e, i, j);
                if (c < least) least = c, a = i, b = j;
            }
        if (!meet(e, a, b)) return false;
    }
    return true;
}

/* ---- Builder and call --------------------------------------------------------------------- */

static void note_shapes(einsum *e, node *const *in) {
    size_t used = 0;
    char s[SHAPE_TEXT];
    for (int i = 0; i < e->n && used < sizeof e->shapes - SHAPE_TEXT; i++)
        used += (size_t)snprintf(e->shapes + used, sizeof e->shapes - used, "%s%s", i ? ", " : "",
                                 shape_text(&in[i]->shape, s));
}

node *op_einsum(graph *g, const char *equation, node *const *in, int n) {
    for (int i = 0; i < n; i++)
        if (!in[i]) return NULL;
    einsum e = {.g = g, .equation = equation, .n = n};
    mare_dtype t = in[0]->dtype;
    for (int i = 1; i < n; i++)
        t = dtype_promote(t, in[i]->dtype);
    e.terms = calloc((size_t)n, sizeof *e.terms);
    if (!e.terms) {
        error_no_memory(g->error, (size_t)n * sizeof *e.terms);
        return NULL;
    }
    note_shapes(&e, in);
    bool ok = read_equation(&e, in);
    for (int i = 0; i < n && ok; i++) {
        term *x = &e.terms[i];
        ok = (x->x = op_cast(g, x->x, dtype_is_float(t) ? MARE_F32 : MARE_I32)) != NULL;
    }
    node *y = NULL;
    if (ok && contract(&e)) y = ordered(&e, &e.terms[0], e.output, e.n_output, NULL, 0, NULL, 0);
    free(e.terms);
    return dtype_is_float(t) && y ? op_cast(g, y, t) : y;
}

static bool call_einsum(graph *g, const call_value *v, node **out) {
    return (out[0] = op_einsum(g, v[0].text, v[1].tensors, v[1].n)) != NULL;
}

static const call_arg einsum_args[] = {NEED_TEXT("equation"), NEED_TENSORS("operands"), END_ARGS};

const op_call op_calls_einsum[] = {
    {"einsum",
     "Sums of products: einsum(\"bij,bjk->bik\", {a, b}). A letter names a dim; those that the "
     "output lacks are summed; a letter twice in one operand means its diagonal; \"...\" stands "
     "for dims that broadcast. Without \"->\" the output has the letters that stand once, in "
     "order. The cheapest pair of operands is multiplied first, as a matrix product where it is "
     "one. Integers give i32.",
     einsum_args, NULL, call_einsum, OP_AT},
    {0},
};
