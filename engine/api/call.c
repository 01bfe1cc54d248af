/* mare_call(): arguments by name become what the builder of a call takes. */
#include "ops/call.h"
#include "api/api.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What one call is made of while its arguments are read. */
typedef struct caller {
    mare_context *ctx;
    graph *g;
    const op_call *call;
    const node *first; /* the tensor whose axes are meant */
    node **lists;      /* room for the nodes of lists */
} caller;

static bool refuse(caller *c, const mare_arg *a, const char *what) {
    return graph_fail(c->g, MARE_E_ARGUMENT, "%s: %s must be %s", c->call->name, a->name, what) !=
           NULL;
}

static node *tensor_node(caller *c, const call_arg *row, mare_tensor *t) {
    if (t->ctx != c->ctx)
        return graph_fail(c->g, MARE_E_ARGUMENT, "%s: %s belongs to another context", c->call->name,
                          row->name);
    if (row->kind == ARG_INDEX && !api_know_range(c->ctx, t->node)) return NULL;
    return t->node;
}

static bool read_axis(caller *c, const call_arg *row, double number, int64_t *out) {
    char dims[SHAPE_TEXT];
    shape s = c->first ? c->first->shape : (shape){0};
    s.rank += row->more;
    int axis = number == floor(number) && fabs(number) <= MAX_DIMS && c->first
                   ? shape_axis(&s, (int)number)
                   : -1;
    if (axis < 0)
        return graph_fail(c->g, MARE_E_ARGUMENT, "%s: %s %g is no axis of %s%s", c->call->name,
                          row->name, number, row->more ? "the result for " : "",
                          c->first ? shape_text(&c->first->shape, dims) : "a tensor") != NULL;
    *out = axis;
    return true;
}

static bool read_integers(caller *c, const call_arg *row, const mare_arg *a, call_value *v) {
    char dims[SHAPE_TEXT];
    int most = (int)(sizeof v->integers / sizeof *v->integers);
    if (a->kind == MARE_ARG_NUMBER && a->number == floor(a->number) && fabs(a->number) < 1e15) {
        v->integers[0] = (int64_t)a->number;
        v->n = 1;
    } else if (a->kind == MARE_ARG_INTEGERS && a->n >= 0 && a->n <= most &&
               (a->n == 0 || a->integers)) {
        v->n = a->n;
        memcpy(v->integers, a->integers, (size_t)a->n * sizeof *v->integers);
    } else {
        return refuse(c, a, "an integer or a list of them");
    }
    for (int i = 0; i < v->n && row->kind == ARG_AXES; i++) {
        int64_t axis;
        if (!read_axis(c, row, (double)v->integers[i], &axis)) return false;
        if (v->axes >> axis & 1)
            return graph_fail(c->g, MARE_E_ARGUMENT, "%s: axis %d of %s is named twice",
                              c->call->name, (int)axis, shape_text(&c->first->shape, dims)) != NULL;
        v->axes |= 1u << axis;
        v->integers[i] = axis;
    }
    return true;
}

static bool read_choice(caller *c, const call_arg *row, const char *word, call_value *v) {
    size_t n = strlen(word);
    int place = 0;
    for (const char *p = row->words; *p; place++) {
        size_t len = strcspn(p, " ");
        if (len == n && strncmp(p, word, n) == 0) {
            v->integer = place;
            v->text = word;
            return true;
        }
        p += len;
        p += strspn(p, " ");
    }
    return graph_fail(c->g, MARE_E_ARGUMENT, "%s: %s \"%s\" is none of: %s", c->call->name,
                      row->name, word, row->words) != NULL;
}

/* A word where a number or integers may stand. */
static bool is_word(const call_arg *row, const mare_arg *a) {
    return row->words && a->kind == MARE_ARG_TEXT && a->text;
}

static bool read_value(caller *c, const call_arg *row, const mare_arg *a, call_value *v) {
    v->given = true;
    switch (row->kind) {
    case ARG_TENSOR:
    case ARG_INDEX:
        if (a->kind != MARE_ARG_TENSOR || !a->tensor) return refuse(c, a, "a tensor");
        return (v->tensor = tensor_node(c, row, a->tensor)) != NULL;
    case ARG_TENSORS:
        if (a->kind != MARE_ARG_TENSORS || a->n < 1 || !a->tensors)
            return refuse(c, a, "a list of one or more tensors");
        v->tensors = c->lists;
        v->n = a->n;
        for (int i = 0; i < a->n; i++) {
            if (!a->tensors[i]) return refuse(c, a, "a list of tensors without a gap");
            if (!(v->tensors[i] = tensor_node(c, row, a->tensors[i]))) return false;
        }
        c->lists += a->n;
        return true;
    case ARG_VALUE:
        if (a->kind == MARE_ARG_TENSOR && a->tensor)
            return (v->tensor = tensor_node(c, row, a->tensor)) != NULL;
        if (a->kind != MARE_ARG_NUMBER) return refuse(c, a, "a tensor or a number");
        v->number = a->number;
        return (v->tensor = op_constant(c->g, a->number)) != NULL;
    case ARG_NUMBER:
        if (is_word(row, a)) return read_choice(c, row, a->text, v);
        if (a->kind != MARE_ARG_NUMBER) return refuse(c, a, "a number");
        v->number = a->number;
        return true;
    case ARG_INTEGER:
    case ARG_BOOL:
    case ARG_DTYPE:
        if (a->kind != MARE_ARG_NUMBER || a->number != floor(a->number) || fabs(a->number) > 1e15)
            return refuse(c, a, "an integer");
        v->integer = (int64_t)a->number;
        if (row->kind == ARG_BOOL && v->integer != 0 && v->integer != 1)
            return refuse(c, a, "0 or 1");
        if (row->kind == ARG_DTYPE && (v->integer < 0 || v->integer >= MARE_DTYPES))
            return refuse(c, a, "an element type");
        return true;
    case ARG_AXIS:
        if (a->kind != MARE_ARG_NUMBER) return refuse(c, a, "an integer");
        return read_axis(c, row, a->number, &v->integer);
    case ARG_AXES:
    case ARG_INTEGERS:
        if (is_word(row, a)) return read_choice(c, row, a->text, v);
        return read_integers(c, row, a, v);
    case ARG_CHOICE:
    case ARG_TEXT:
        if (a->kind != MARE_ARG_TEXT || !a->text) return refuse(c, a, "a text");
        if (row->kind == ARG_CHOICE) return read_choice(c, row, a->text, v);
        v->text = a->text;
        return true;
    }
    return false;
}

static bool default_value(caller *c, const call_arg *row, call_value *v) {
    if (!row->optional)
        return graph_fail(c->g, MARE_E_ARGUMENT, "%s: %s is not given", c->call->name, row->name) !=
               NULL;
    v->number = row->fallback;
    v->integer = (int64_t)row->fallback;
    if (row->kind == ARG_AXIS) return read_axis(c, row, row->fallback, &v->integer);
    return true;
}

static bool is_named(const call_arg *row, const char *name) {
    return name && (strcmp(row->name, name) == 0 || (row->also && strcmp(row->also, name) == 0));
}

static const mare_arg *find_arg(const call_arg *row, int n, const mare_arg *args) {
    for (int i = 0; i < n; i++)
        if (is_named(row, args[i].name)) {
            bool left_out = args[i].kind == MARE_ARG_TENSOR && !args[i].tensor;
            return left_out ? NULL : &args[i];
        }
    return NULL;
}

static bool names_known(caller *c, int n, const mare_arg *args) {
    for (int i = 0; i < n; i++) {
        const call_arg *row = c->call->args;
        while (row->name && !is_named(row, args[i].name))
            row++;
        if (!row->name)
            return graph_fail(c->g, MARE_E_ARGUMENT, "%s: there is no argument \"%s\"",
                              c->call->name, args[i].name ? args[i].name : "") != NULL;
    }
    return true;
}

static bool read_args(caller *c, int n, const mare_arg *args, call_value *values) {
    const call_arg *rows = c->call->args;
    if (!names_known(c, n, args)) return false;
    /* Tensors first: axes are those of the first one. */
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; rows[i].name; i++) {
            bool tensor = rows[i].kind <= ARG_TENSORS;
            if (tensor != (pass == 0)) continue;
            const mare_arg *a = find_arg(&rows[i], n, args);
            if (a ? !read_value(c, &rows[i], a, &values[i])
                  : !default_value(c, &rows[i], &values[i]))
                return false;
            if (tensor && !c->first)
                c->first = values[i].tensors ? values[i].tensors[0] : values[i].tensor;
        }
    return true;
}

mare_status mare_call(mare_context *ctx, const char *name, int n, const mare_arg *args, int n_out,
                      mare_tensor **out) {
    if (!ctx) return MARE_E_ARGUMENT;
    ctx->error = (mare_error){0};
    const op_call *call = name ? op_call_find(name) : NULL;
    if (!call)
        return error_set(&ctx->error, MARE_E_ARGUMENT, "call: there is no \"%s\"",
                         name ? name : "");
    for (int i = 0; out && i < n_out; i++)
        out[i] = NULL;
    int results = op_call_results(call);
    if (!out || n_out != results || n < 0 || (n && !args))
        return error_set(&ctx->error, MARE_E_ARGUMENT, "%s: has %d results, not %d", name, results,
                         n_out);
    size_t links = 0;
    for (int i = 0; i < n; i++)
        if (args[i].kind == MARE_ARG_TENSORS && args[i].n > 0) links += (size_t)args[i].n;
    call_value *values = calloc(MAX_CALL_ARGS, sizeof *values);
    node **lists = malloc((links + 1) * sizeof *lists), *made[MAX_CALL_RESULTS] = {0};
    graph_scope_begin(&ctx->graph);
    caller c = {.ctx = ctx, .g = &ctx->graph, .call = call, .lists = lists};
    mare_status status = MARE_OK;
    if (!values || !lists) status = error_no_memory(&ctx->error, links * sizeof *lists);
    if (!status && (!read_args(&c, n, args, values) || !call->build(c.g, values, made)))
        status = ctx->error.code ? ctx->error.code : error_no_memory(&ctx->error, 0);
    if (!status) status = api_results(ctx, made, results, out);
    graph_scope_end(&ctx->graph);
    free(values);
    free(lists);
    return status;
}
