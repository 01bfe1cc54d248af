/* Triangles and diagonals of matrices. A diagonal of [rows, cols] is every (cols + 1)-th element of
 * the flat matrix, so it is a slice. */
#include "ops/indexing.h"

static bool is_matrices(graph *g, const char *call, const node *x) {
    char s[SHAPE_TEXT];
    if (x->shape.rank >= 2) return true;
    return graph_fail(g, MARE_E_SHAPE, "%s: %s is no matrix", call, shape_text(&x->shape, s)) !=
           NULL;
}

/* Where a diagonal starts in [rows, cols], and how long it is. */
typedef struct line {
    int64_t row, col, count;
} line;

static line line_of(int64_t rows, int64_t cols, int64_t offset) {
    line d = {offset < 0 ? -offset : 0, offset > 0 ? offset : 0, 0};
    if (d.row < rows && d.col < cols)
        d.count = rows - d.row < cols - d.col ? rows - d.row : cols - d.col;
    return d;
}

/* The last two axes as one. */
static node *flat_matrices(graph *g, node *x) {
    if (!x) return NULL;
    shape s = x->shape;
    s.rank--;
    s.dim[s.rank - 1] *= x->shape.dim[s.rank];
    return op_reshape(g, x, &s);
}

/* ---- Triangles ---------------------------------------------------------------------------- */

/* Column minus row, i32 [rows, cols]. */
static node *steps_right(graph *g, int64_t rows, int64_t cols) {
    node *i = op_unsqueeze(g, op_arange(g, MARE_I32, 0, 1, rows), 1);
    return op_map2(g, "sub", op_arange(g, MARE_I32, 0, 1, cols), i);
}

static bool triangle(graph *g, const char *call, const call_value *v, const char *keep,
                     node **out) {
    node *x = v[0].tensor;
    if (!is_matrices(g, call, x)) return false;
    int rank = x->shape.rank;
    node *right = steps_right(g, x->shape.dim[rank - 2], x->shape.dim[rank - 1]);
    node *limit = node_const(g, MARE_I32, (double)v[1].integer);
    node *zero = node_const(g, x->dtype, 0);
    return (out[0] = op_map3(g, "where", op_map2(g, keep, right, limit), x, zero)) != NULL;
}

static bool call_tril(graph *g, const call_value *v, node **out) {
    return triangle(g, "tril", v, "le", out);
}

static bool call_triu(graph *g, const call_value *v, node **out) {
    return triangle(g, "triu", v, "ge", out);
}

/* Rows and columns of the elements of a triangle. */
static bool triangle_places(graph *g, const char *call, const call_value *v, bool lower,
                            node **out) {
    int64_t rows = v[0].integer, cols = v[1].integer, offset = v[2].integer, n = 0;
    if (rows < 0 || cols < 0 || rows > INT32_MAX || (cols && rows > INT32_MAX / cols))
        return graph_fail(g, MARE_E_ARGUMENT, "%s: a matrix of %lld rows and %lld columns", call,
                          (long long)rows, (long long)cols) != NULL;
    for (int64_t i = 0; i < rows; i++) {
        int64_t left = offset < -i ? 0 : offset > cols - i ? cols : i + offset + (lower ? 1 : 0);
        left = left > cols ? cols : left;
        n += lower ? left : cols - left;
    }
    shape s = shape_of(2, rows, cols), none = shape_of(2, 2, 0);
    if (n == 0) return (out[0] = op_full(g, MARE_I32, &none, 0)) != NULL;
    node *limit = node_const(g, MARE_I32, (double)offset);
    node *keep = op_map2(g, lower ? "le" : "ge", steps_right(g, rows, cols), limit);
    node *at = op_chosen(g, op_cast(g, keep, MARE_I32), n);
    return (out[0] = op_coordinates(g, at, &s, 0)) != NULL;
}

static bool call_tril_indices(graph *g, const call_value *v, node **out) {
    return triangle_places(g, "tril_indices", v, true, out);
}

static bool call_triu_indices(graph *g, const call_value *v, node **out) {
    return triangle_places(g, "triu_indices", v, false, out);
}

/* ---- Diagonals ---------------------------------------------------------------------------- */

node *op_diagonal(graph *g, node *x, int64_t offset, int axis1, int axis2) {
    char text[SHAPE_TEXT];
    if (!x) return NULL;
    int a = shape_axis(&x->shape, axis1), b = shape_axis(&x->shape, axis2), order[MAX_DIMS], n = 0;
    if (a < 0 || b < 0 || a == b)
        return graph_fail(g, MARE_E_ARGUMENT, "diagonal: two different axes of %s are needed",
                          shape_text(&x->shape, text));
    int64_t rows = x->shape.dim[a], cols = x->shape.dim[b];
    for (int i = 0; i < x->shape.rank; i++)
        if (i != a && i != b) order[n++] = i;
    order[n++] = a;
    order[n++] = b;
    line d = line_of(rows, cols, offset);
    node *flat = flat_matrices(g, op_permute(g, x, order, n));
    int64_t start[MAX_DIMS] = {0}, stop[MAX_DIMS], step[MAX_DIMS];
    for (int i = 0; i < n - 1; i++) {
        stop[i] = INT64_MAX;
        step[i] = 1;
    }
    start[n - 2] = d.row * cols + d.col;
    step[n - 2] = cols + 1;
    stop[n - 2] = d.count ? start[n - 2] + (d.count - 1) * (cols + 1) + 1 : start[n - 2];
    return op_slice(g, flat, start, stop, step);
}

/* Matrices [..., size, size] with x [..., n] on a diagonal. */
static node *diagonal_matrix(graph *g, node *x, int64_t offset) {
    char text[SHAPE_TEXT];
    if (!x) return NULL;
    int rank = x->shape.rank;
    if (rank == 0 || rank == MAX_DIMS)
        return graph_fail(g, MARE_E_SHAPE, "diag_embed: %s does not become matrices",
                          shape_text(&x->shape, text));
    int64_t count = x->shape.dim[rank - 1], size = count + (offset < 0 ? -offset : offset);
    if (size > INT32_MAX)
        return graph_fail(g, MARE_E_ARGUMENT, "diag_embed: an offset of %lld", (long long)offset);
    line d = line_of(size, size, offset);
    shape s = x->shape, y = x->shape;
    int64_t start[MAX_DIMS] = {0}, step[MAX_DIMS];
    for (int i = 0; i < rank; i++)
        step[i] = 1;
    start[rank - 1] = d.row * size + d.col;
    step[rank - 1] = size + 1;
    s.dim[rank - 1] = size * size;
    y.dim[rank - 1] = y.dim[rank] = size;
    y.rank++;
    return op_reshape(g, op_embed(g, x, &s, start, step, 0), &y);
}

static bool call_diagonal(graph *g, const call_value *v, node **out) {
    return (out[0] = op_diagonal(g, v[0].tensor, v[1].integer, (int)v[2].integer,
                                 (int)v[3].integer)) != NULL;
}

static bool call_diag_embed(graph *g, const call_value *v, node **out) {
    char text[SHAPE_TEXT];
    node *x = v[0].tensor, *y = diagonal_matrix(g, x, v[1].integer);
    int row = (int)v[2].integer, column = (int)v[3].integer, order[MAX_DIMS], n = x->shape.rank + 1;
    if (!y) return false;
    if (row == column)
        return graph_fail(g, MARE_E_ARGUMENT, "diag_embed: dim1 and dim2 are the same for %s",
                          shape_text(&x->shape, text)) != NULL;
    for (int i = 0, other = 0; i < n; i++)
        order[i] = i == row ? n - 2 : i == column ? n - 1 : other++;
    return (out[0] = op_permute(g, y, order, n)) != NULL;
}

static bool call_diag(graph *g, const call_value *v, node **out) {
    char s[SHAPE_TEXT];
    node *x = v[0].tensor;
    if (x->shape.rank != 1 && x->shape.rank != 2)
        return graph_fail(g, MARE_E_SHAPE, "diag: a vector or a matrix is needed, not %s",
                          shape_text(&x->shape, s)) != NULL;
    if (x->shape.rank == 1) return (out[0] = diagonal_matrix(g, x, v[1].integer)) != NULL;
    return (out[0] = op_diagonal(g, x, v[1].integer, 0, 1)) != NULL;
}

static bool call_diagflat(graph *g, const call_value *v, node **out) {
    shape flat = shape_of(1, shape_count(&v[0].tensor->shape));
    node *x = op_reshape(g, v[0].tensor, &flat);
    return (out[0] = diagonal_matrix(g, x, v[1].integer)) != NULL;
}

static bool call_trace(graph *g, const call_value *v, node **out) {
    char s[SHAPE_TEXT];
    if (v[0].tensor->shape.rank != 2)
        return graph_fail(g, MARE_E_SHAPE, "trace: a matrix is needed, not %s",
                          shape_text(&v[0].tensor->shape, s)) != NULL;
    return (out[0] = op_sum(g, op_diagonal(g, v[0].tensor, 0, 0, 1), 0, false)) != NULL;
}

static bool call_vander(graph *g, const call_value *v, node **out) {
    char s[SHAPE_TEXT];
    node *x = v[0].tensor;
    if (x->shape.rank != 1)
        return graph_fail(g, MARE_E_SHAPE, "vander: a vector is needed, not %s",
                          shape_text(&x->shape, s)) != NULL;
    int64_t n = v[1].given ? v[1].integer : x->shape.dim[0];
    if (n < 0) return graph_fail(g, MARE_E_ARGUMENT, "vander: %lld columns", (long long)n) != NULL;
    bool up = v[2].integer;
    node *power = op_arange(g, MARE_I32, up || n == 0 ? 0 : (double)(n - 1), up ? 1 : -1, n);
    return (out[0] = op_map2(g, "pow", op_unsqueeze(g, x, 1), power)) != NULL;
}

/* ---- calls -------------------------------------------------------------------------------- */

static const call_arg one_args[] = {NEED_TENSOR("x"), END_ARGS};
static const call_arg triangle_args[] = {NEED_TENSOR("x"), INTEGER_OPT("diagonal", 0), END_ARGS};
static const call_arg offset_args[] = {NEED_TENSOR("x"), INTEGER_OPT("offset", 0), END_ARGS};
static const call_arg embed_args[] = {NEED_TENSOR("x"), INTEGER_OPT("offset", 0),
                                      NEW_AXIS_OPT("dim1", -2), NEW_AXIS_OPT("dim2", -1), END_ARGS};
static const call_arg diagonal_args[] = {NEED_TENSOR("x"), INTEGER_OPT("offset", 0),
                                         AXIS_OPT("dim1", 0), AXIS_OPT("dim2", 1), END_ARGS};
static const call_arg places_args[] = {NEED_INTEGER("row"), NEED_INTEGER("col"),
                                       INTEGER_OPT("offset", 0), END_ARGS};
static const call_arg vander_args[] = {NEED_TENSOR("x"),
                                       {.name = "N", .kind = ARG_INTEGER, .optional = true},
                                       FLAG_OPT("increasing", false),
                                       END_ARGS};

const op_call op_calls_diagonal[] = {
    {"tril", "x [..., N, M] with zeros above a diagonal: 0 the main one, 1 the next above it.",
     triangle_args, NULL, call_tril, OP_AT},
    {"triu", "x [..., N, M] with zeros below a diagonal: 0 the main one, 1 the next above it.",
     triangle_args, NULL, call_triu, OP_AT},
    {"tril_indices",
     "Rows and columns (from 0) of the elements of the lower triangle of a matrix: i32 [2, n].",
     places_args, NULL, call_tril_indices, OP_AT},
    {"triu_indices",
     "Rows and columns (from 0) of the elements of the upper triangle of a matrix: i32 [2, n].",
     places_args, NULL, call_triu_indices, OP_AT},
    {"diagonal",
     "The diagonal of x in two of its dims, offset steps above the main one, as the last dim. A "
     "view where x lies row by row.",
     diagonal_args, NULL, call_diagonal, OP_AT},
    {"diag", "A matrix with the vector x on a diagonal, or the diagonal of the matrix x.",
     triangle_args, NULL, call_diag, OP_AT},
    {"diag_embed",
     "Matrices [..., M, M] with x [..., N] on the diagonal offset steps above the main one; dim1 "
     "and "
     "dim2 of the result are their rows and columns.",
     embed_args, NULL, call_diag_embed, OP_AT},
    {"diagflat", "A matrix with all elements of x on a diagonal.", offset_args, NULL, call_diagflat,
     OP_AT},
    {"trace", "The sum of the main diagonal of a matrix.", one_args, NULL, call_trace, OP_AT},
    {"vander",
     "The Vandermonde matrix of a vector: its powers N-1, ..., 0 as columns, or 0, ..., N-1 with "
     "increasing; N is the vector's length by default.",
     vander_args, NULL, call_vander, OP_AT},
    {0},
};
