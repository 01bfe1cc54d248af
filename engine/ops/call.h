/* Calls: the operations as a person writes them, with named arguments and defaults. A file of ops/
 * lists its calls in one table; the C API (mare_call), the functions and methods in Lua, the help
 * and the table of `mare ops` all come from there.
 *
 * Arguments are given by place, or by name in what Lua calls the table of options; those with a
 * default may be left out. */
#ifndef MARE_OPS_CALL_H
#define MARE_OPS_CALL_H

#include "graph/graph.h"

typedef enum call_kind {
    ARG_TENSOR,
    ARG_INDEX,   /* a tensor (in Lua also a table of integers); where it holds integers, their range
                    is known to the builder */
    ARG_TENSORS, /* a list of one or more tensors */
    ARG_VALUE,   /* a tensor or a number, which arrives as a constant */
    ARG_NUMBER,  /* with words, also one of them */
    ARG_INTEGER,
    ARG_BOOL,
    ARG_AXIS,     /* of the first tensor: arrives as 0..rank-1 */
    ARG_AXES,     /* one or several axes of the first tensor: a bit mask */
    ARG_INTEGERS, /* one integer or a list; with words, also one of them */
    ARG_CHOICE,   /* one of some words */
    ARG_TEXT,
    ARG_DTYPE,
} call_kind;

typedef struct call_arg {
    const char *name;
    call_kind kind;
    bool optional;
    double fallback;   /* what it is when left out: a number, integer, bool, axis or dtype */
    const char *words; /* separated by spaces; of an ARG_CHOICE the first is the default */
    const char *also;  /* another name that is understood, or null */
    int more;          /* ARG_AXIS: an axis of a result that has so many more than the tensor */
} call_arg;

/* An argument as the builder gets it. */
typedef struct call_value {
    bool given;
    node *tensor;                   /* ARG_TENSOR, ARG_INDEX, ARG_VALUE; null when left out */
    node **tensors;                 /* ARG_TENSORS: n of them */
    int n;                          /* entries of tensors or integers; 0 when left out */
    double number;                  /* ARG_NUMBER; ARG_VALUE: the number, if it was one */
    int64_t integer;                /* ARG_INTEGER, ARG_BOOL, ARG_AXIS, ARG_DTYPE;
                                       ARG_CHOICE or a word: which, from 0 */
    uint32_t axes;                  /* ARG_AXES: bit i is axis i; 0 when left out */
    int64_t integers[2 * MAX_DIMS]; /* ARG_INTEGERS */
    const char *text;               /* ARG_TEXT; the word, if one was given */
} call_value;

enum { MAX_CALL_ARGS = 16, MAX_CALL_RESULTS = 4 };

typedef struct op_call {
    const char *name;
    const char *doc;      /* a line or two: shapes, dtypes, what it computes, its source */
    const call_arg *args; /* ends with a null name */
    const char *results;  /* names of several results, separated by spaces; null: there is one */
    /* v[i] belongs to args[i]. Fills a node for each result; false after graph_fail(). A builder
     * that makes one node may `return (out[0] = ...) != NULL`. */
    bool (*build)(graph *g, const call_value *v, node **out);
    const char *file; /* where the row is: OP_AT */
    int line;
} op_call;

/* Ends a row of calls: its place, for the table of operations. */
#define OP_AT __FILE__, __LINE__

/* Rows of argument tables: NEED_ has no default, _OPT may be left out. */
// clang-format off
#define NEED_TENSOR(n)       {.name = n, .kind = ARG_TENSOR}
#define TENSOR_OPT(n)        {.name = n, .kind = ARG_TENSOR, .optional = true}
#define NEED_INDEX(n)        {.name = n, .kind = ARG_INDEX}
#define INDEX_OPT(n)         {.name = n, .kind = ARG_INDEX, .optional = true}
#define NEED_TENSORS(n)      {.name = n, .kind = ARG_TENSORS}
#define NEED_VALUE(n)        {.name = n, .kind = ARG_VALUE}
#define VALUE_OPT(n)         {.name = n, .kind = ARG_VALUE, .optional = true}
#define NEED_NUMBER(n)       {.name = n, .kind = ARG_NUMBER}
#define NUMBER_OPT(n, value) {.name = n, .kind = ARG_NUMBER, .optional = true, .fallback = value}
#define NUMBER_OR_WORD(n, value, w) {.name = n, .kind = ARG_NUMBER, .optional = true, .fallback = value, .words = w}
#define NEED_INTEGER(n)      {.name = n, .kind = ARG_INTEGER}
#define INTEGER_OPT(n, value) {.name = n, .kind = ARG_INTEGER, .optional = true, .fallback = value}
#define FLAG_OPT(n, value)   {.name = n, .kind = ARG_BOOL, .optional = true, .fallback = value}
#define NEED_AXIS(n)         {.name = n, .kind = ARG_AXIS}
#define AXIS_OPT(n, value)   {.name = n, .kind = ARG_AXIS, .optional = true, .fallback = value}
#define NEW_AXIS_OPT(n, value) {.name = n, .kind = ARG_AXIS, .optional = true, .fallback = value, .more = 1}
#define NEED_AXES(n)         {.name = n, .kind = ARG_AXES}
#define AXES_OPT(n)          {.name = n, .kind = ARG_AXES, .optional = true}
#define NEED_INTEGERS(n)     {.name = n, .kind = ARG_INTEGERS}
#define INTEGERS_OPT(n)      {.name = n, .kind = ARG_INTEGERS, .optional = true}
#define INTEGERS_OR_WORD(n, w) {.name = n, .kind = ARG_INTEGERS, .optional = true, .words = w}
#define CHOICE_OPT(n, w)     {.name = n, .kind = ARG_CHOICE, .optional = true, .words = w}
#define NEED_TEXT(n)         {.name = n, .kind = ARG_TEXT}
#define TEXT_OPT(n)          {.name = n, .kind = ARG_TEXT, .optional = true}
#define DTYPE_OPT(n, value)  {.name = n, .kind = ARG_DTYPE, .optional = true, .fallback = value}
#define END_ARGS             {.name = NULL}
/* reduction= of losses: arrives as the enum `reduction` of ops/ops.h. */
#define REDUCTION_OPT        CHOICE_OPT("reduction", "mean sum none")
// clang-format on

/* The i-th call of all files, or null past the last; by name, or null. */
const op_call *op_call_at(int i);
const op_call *op_call_find(const char *name);
int op_call_results(const op_call *call); /* how many */

/* An argument of one integer for all of n axes, or one for each, as out[n]; left out: `otherwise`
 * for all. Refuses another number of entries, and values below `least` or above INT32_MAX. */
bool call_spread(graph *g, const char *call, const char *name, const call_value *v, int n,
                 int64_t least, int64_t otherwise, int64_t *out);

/* An ARG_VALUE as a tensor of dtype t. A number that t cannot hold (a fraction in integers) is
 * refused; tensors are converted. */
node *call_value_as(graph *g, const char *call, const call_value *v, mare_dtype t);

#endif
