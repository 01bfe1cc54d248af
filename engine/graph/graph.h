/* The graph: lazy tensors as reference-counted nodes, the description of an op, gradients.
 * Nothing here knows a GPU. */
#ifndef MARE_GRAPH_GRAPH_H
#define MARE_GRAPH_GRAPH_H

#include "base/arena.h"
#include "base/map.h"
#include "base/rng.h"
#include "base/status.h"
#include "base/vec.h"

enum { MAX_DIMS = MARE_MAX_DIMS, MAX_DYN = 5 };
/* A node that draws random numbers, and no other, has so many words in dyn or more: the first are
 * the seed and its place in the stream, low words first. */
enum { RANDOM_WORDS = 4 };

/* ---- dtype and shape (graph/shape.c) ------------------------------------------------------ */

typedef struct shape {
    int rank;
    int64_t dim[MAX_DIMS];
} shape;

/* shape_of(3, 2, 3, 4) is [2, 3, 4]: the rank, then the dimensions, of any integer type. */
#define shape_of(...) shape_from((const int64_t[MAX_DIMS + 1]){__VA_ARGS__})
shape shape_from(const int64_t rank_and_dims[MAX_DIMS + 1]);
int64_t shape_count(const shape *s); /* elements; 1 for rank 0 */
bool shape_equal(const shape *a, const shape *b);
/* "[2, 3, 4]" into buf, which is returned. */
enum { SHAPE_TEXT = 192 };
const char *shape_text(const shape *s, char buf[SHAPE_TEXT]);
/* NumPy broadcasting; false when the shapes do not fit. */
bool shape_broadcast(const shape *a, const shape *b, shape *out);
/* Axis -rank..rank-1 as 0..rank-1; -1 when out of range. */
int shape_axis(const shape *s, int axis);
/* Row-major strides, in elements. */
void shape_strides(const shape *s, int64_t stride[MAX_DIMS]);

bool dtype_is_float(mare_dtype t);
/* Half the distance from 1 to the next number of a float dtype: what one rounding may change,
 * relative to the number. 0 of integers. */
double dtype_roundoff(mare_dtype t);
/* The least and the largest value of an integer dtype. */
void dtype_limits(mare_dtype t, double *lo, double *hi);
/* The dtype of an operation on a and b: bool < u8, i8 < i32 < f16, bf16 < f32; of two on one step
 * the next one, which holds both: i32 of u8 and i8, f32 of f16 and bf16. */
mare_dtype dtype_promote(mare_dtype a, mare_dtype b);
/* value as a 32-bit word holding dtype t: bits of an f32 (also for f16, bf16), else the integer. */
uint32_t dtype_word(mare_dtype t, double value);
double dtype_value(mare_dtype t, uint32_t word);
/* n elements of dtype t, packed in memory, to doubles and back (rounding to nearest even,
 * saturating integers; NaN becomes 0 in integers). */
void dtype_unpack(mare_dtype t, const void *data, double *out, int64_t n);
void dtype_pack(mare_dtype t, const double *in, void *data, int64_t n);

/* Where a tensor's elements lie in its storage, in elements. */
typedef struct view {
    int64_t offset;
    int64_t stride[MAX_DIMS];
} view;
bool view_contiguous(const shape *s, const view *v); /* row-major, any offset */

/* ---- Nodes -------------------------------------------------------------------------------- */

typedef struct graph graph;
typedef struct node node;
typedef struct op op;

/* Memory that holds evaluated values; made by the plan layer. */
typedef struct storage {
    int refs;
    void (*destroy)(struct storage *);
} storage;
void storage_release(storage *s); /* null is allowed */

/* A function of the host that takes part in differentiation; shared by reference count. */
typedef struct callback {
    int refs;
    /* As the backward pass of n: as op.vjp. As a hook on n's gradient: gx[0] takes gy's place. */
    bool (*run)(struct callback *c, node *n, node *gy, node **gx);
    void (*destroy)(struct callback *c);
} callback;
void callback_release(callback *c); /* null is allowed */

struct node {
    int refs;
    graph *g;
    const op *op;
    mare_dtype dtype;
    shape shape;
    int n_in;
    node **in;
    const void *attr; /* op->attr_size bytes; part of the structural hash */
    int n_dyn;
    uint32_t dyn[MAX_DYN]; /* values that may change from step to step: in no hash */
    storage *store;        /* null until evaluated */
    view view;             /* into store */
    bool requires_grad;
    bool leaf;             /* differentiation ends here: a parameter or plain data */
    bool literal;          /* a constant whose value never changes: a part of the structure */
    int number;            /* a constant that a compiled step gets anew: which, from 1; else 0 */
    bool spent;            /* backward() went through: the graph behind may be let go */
    node *grad;            /* of a leaf that requires it, after backward() */
    callback *backward;    /* of a custom function's result; else null */
    VEC(callback *) hooks; /* on its gradient, in their order */
    uint64_t serial;       /* nodes are numbered as they are made */
    int handles;           /* how many tensors name this node; its gradient goes with the last */
    int64_t lo, hi;        /* known range of an integer tensor, when lo <= hi */
    const char *file;      /* the script's line that made it; null when unknown */
    int line;
    int depth;            /* longest chain of nodes not evaluated that ends here */
    uint64_t mark, index; /* scratch for walks: see graph_order */
    node *next;           /* scratch: list of nodes being freed */
};

struct graph {
    mare_error *error;
    VEC(node *) fresh; /* nodes made since the scope opened, each with one reference */
    int scopes;
    int no_grad;      /* > 0: new nodes require no gradient */
    uint64_t walks;   /* number of the newest walk, for node.mark */
    size_t alive;     /* nodes alive */
    uint64_t made;    /* nodes ever made: the newest one's serial */
    rng random;       /* stream that random ops draw their counters from */
    const char *file; /* where the script is now, for new nodes; an interned string */
    int line;
    map files; /* interned file names, by hash */
    arena strings;
    /* The ops that gradients need; set by ops_graph_init() of ops/ops.h. */
    node *(*add)(graph *g, node *a, node *b);
    node *(*full)(graph *g, mare_dtype t, const shape *s, double value);
    /* Evaluates n and copies its elements out; set by the planner. See graph_read(). */
    mare_status (*read)(void *reader, node *n, void *data, size_t bytes);
    void *reader;
};

/* A graph without a vocabulary; ops_graph_init() makes one with it. */
void graph_init(graph *g, mare_error *e);
void graph_free(graph *g);
/* The script's position for nodes made from here on; file is copied (once a name). */
void graph_set_location(graph *g, const char *file, int line);

/* Building is done inside a scope. Every function below that returns a node returns a borrowed
 * one, alive until the outermost scope ends (or longer, if it was retained); null means that it
 * failed, with the reason in g->error. Null inputs give null, so that calls nest without checks. */
void graph_scope_begin(graph *g);
void graph_scope_end(graph *g);
node *node_retain(node *n);
void node_release(node *n); /* null is allowed */

/* A node of op o over inputs; attr (o->attr_size bytes, zero-filled padding) is copied. Runs
 * o->infer, which sets dtype and shape or refuses. */
node *node_new(graph *g, const op *o, node *const *in, int n_in, const void *attr);
/* An evaluated leaf over storage (takes over one reference of it, also on failure). */
node *node_leaf(graph *g, storage *s, mare_dtype t, const shape *sh, const view *v);
/* A rank-0 constant. Its value is in no hash. */
node *node_const(graph *g, mare_dtype t, double value);
/* Is this node a constant of node_const()? */
bool node_is_const(const node *n);

/* Stores an error such as "matmul: [2, 3] and [4, 5]: inner dimensions 3 and 4 differ": the call
 * first, then the shapes. Returns null, so that an infer function can
 * `return graph_fail(...) != NULL`. */
node *graph_fail(graph *g, mare_status code, const char *fmt, ...) MARE_PRINTF(3, 4);

/* The elements of n as doubles (shape_count() of them), for builders whose result's shape depends
 * on values. Evaluates and waits; false after an error. */
bool graph_read(graph *g, node *n, double *out);

/* Every node that `roots` need and that is not evaluated, inputs before users; evaluated inputs
 * are listed too, as leaves. *order is malloc'ed; node.index is a node's place in it until the next
 * walk, and node.mark == g->walks tells that it is listed. */
mare_status graph_order(graph *g, node *const *roots, int n_roots, node ***order, int *count);

/* Is n listed in the order that was made last? */
bool graph_listed(const node *n);

/* What graph_order() gave, as text: a line a node with op, dtype, shape, inputs and script line. */
struct text;
void graph_dump(node *const *order, int n, node *const *roots, int n_roots, struct text *out);

/* ---- Gradients (graph/grad.c) ------------------------------------------------------------- */

/* d(sum of y * gy) / d(xs[i]) as new graph nodes in gx[i]; null where y does not depend on xs[i].
 * gy null: y must have one element, and ones are used. Only what leads to one of xs is computed. */
mare_status graph_grad(graph *g, node *y, node *gy, node *const *xs, int n, node **gx);
/* The same for every leaf that requires a gradient behind y: adds to leaf->grad. These gradients
 * are not differentiable again. */
mare_status graph_backward(graph *g, node *y, node *gy, bool retain_graph);

/* ---- Ops ---------------------------------------------------------------------------------- */

/* What an op's kernels can do beside their own work, where all dtypes have 4 bytes. */
typedef enum op_attach {
    ATTACH_AFTER = 1, /* elementwise work on the result */
    ATTACH_BEFORE = 2 /* on its only input */
} op_attach;

struct lowering;
struct operand;
struct text;

/* Initialisers of shapes, for tables of cases. */
// clang-format off
#define SHAPE0 {0, {0}}
#define SHAPE1(a) {1, {a}}
#define SHAPE2(a, b) {2, {a, b}}
#define SHAPE3(a, b, c) {3, {a, b, c}}
#define SHAPE4(a, b, c, d) {4, {a, b, c, d}}
// clang-format on

enum { MAX_CASE_IN = 8 };

/* A case for the tests that walk the registry: inputs of these shapes, with values drawn from
 * lo..hi (integers too), go into build. */
typedef struct op_case {
    int n_in;
    shape in[MAX_CASE_IN];
    double lo, hi;
    node *(*build)(graph *g, node **in);
    mare_dtype dtype[MAX_CASE_IN]; /* of each input; f32 by default */
    /* Per input, when they differ from lo..hi (lo_in < hi_in). */
    double lo_in[MAX_CASE_IN], hi_in[MAX_CASE_IN];
} op_case;

/* Which dtypes the tensors of an op may have, as its builder takes them (it may convert). */
typedef enum op_dtypes {
    ANY_DTYPE,
    FLOAT_DTYPES, /* integers are refused */
    INTEGER_DTYPES,
    OWN_DTYPES /* no tensors, or f32 and i32 as other builders make them for it; bytes and
                  halves are refused */
} op_dtypes;

/* Where an op stands in the source. */
typedef struct op_place {
    const char *file;
    int line;
} op_place;
#define OP_HERE                                                                                    \
    { __FILE__, __LINE__ }

/* The whole truth about an op. */
struct op {
    const char *name;
    op_place at; /* OP_HERE */
    op_dtypes dtypes;
    const char *doc; /* one line: shapes, dtypes, what it computes */
    size_t attr_size;
    bool (*infer)(graph *g,
                  node *n); /* sets n->dtype, n->shape, n->lo/hi; false after graph_fail */
    /* gx[i] = gradient of in[i] given gy, or null when there is none; false on failure. It may
     * skip inputs with in[i]->requires_grad false. Null: the op has no gradient (integer results).
     */
    bool (*vjp)(graph *g, node *n, node *gy, node **gx);
    /* For a view: where the result lies, given where input 0 lies; false when a copy is needed. */
    bool (*view)(const node *n, const view *in, view *out);
    /* Launches that compute out from in. Of a view op: the copy, when view() said false. */
    mare_status (*lower)(struct lowering *l, const node *n, const struct operand *in,
                         const struct operand *out);
    /* In place of lower, where each element of the result comes of the inputs' elements at the same
     * place (stretched to the result's shape) alone: its GLSL over in[i], which are in the
     * arithmetic of *compute (MARE_F32 or MARE_I32). With glsl null only *compute is told. */
    mare_status (*element)(const node *n, const char *const *in, mare_dtype *compute,
                           struct text *glsl, mare_error *e);
    bool constant;   /* every element is dyn[0] */
    uint32_t attach; /* of op_attach: what its lower takes over (operand.before, operand.after) */
    /* The same in double precision on the host, written apart from the shader: contiguous arrays,
     * values of integer dtypes as doubles. */
    void (*ref)(const node *n, const double *const *in, double *out);
    const op_case *cases; /* ends with build == NULL */
    bool smooth;          /* second derivatives are checked too */
    /* Of an op without a gradient that gives floats of floats: why there is none. */
    const char *no_gradient;
};

#define OP_ATTR(type, n) ((const type *)(n)->attr)

#endif
