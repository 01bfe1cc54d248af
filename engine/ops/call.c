/* The table of calls, made of the tables of all files. */
#include "ops/call.h"
#include "ops/internal.h"

#include <string.h>

#define CALL_TABLE(family) op_calls_##family,
static const op_call *const families[] = {OP_CALL_FAMILIES(CALL_TABLE) NULL};

const op_call *op_call_at(int i) {
    for (int f = 0; families[f]; f++)
        for (const op_call *c = families[f]; c->name; c++)
            if (i-- == 0) return c;
    return NULL;
}

const op_call *op_call_find(const char *name) {
    for (int f = 0; families[f]; f++)
        for (const op_call *c = families[f]; c->name; c++)
            if (strcmp(c->name, name) == 0) return c;
    return NULL;
}

int op_call_results(const op_call *call) {
    int n = 1;
    for (const char *p = call->results; p && *p; p++)
        n += *p == ' ';
    return n;
}

node *call_value_as(graph *g, const char *call, const call_value *v, mare_dtype t) {
    if (!node_is_const(v->tensor)) return op_cast(g, v->tensor, t);
    double number = v->number;
    if (!dtype_is_float(t) && t != MARE_BOOL && dtype_value(t, dtype_word(t, number)) != number)
        return graph_fail(g, MARE_E_DTYPE, "%s: %g does not fit %s", call, number,
                          mare_dtype_name(t));
    return node_const(g, t, number);
}

bool call_spread(graph *g, const char *call, const char *name, const call_value *v, int n,
                 int64_t least, int64_t otherwise, int64_t *out) {
    if (v->n > 1 && v->n != n)
        return graph_fail(g, MARE_E_ARGUMENT, "%s: %s takes one integer or %d, not %d", call, name,
                          n, v->n) != NULL;
    for (int i = 0; i < n; i++) {
        out[i] = v->n == 0 ? otherwise : v->integers[v->n == 1 ? 0 : i];
        if (v->n && (out[i] < least || out[i] > INT32_MAX))
            return graph_fail(g, MARE_E_ARGUMENT, "%s: %s is %lld, which must be %lld or more",
                              call, name, (long long)out[i], (long long)least) != NULL;
    }
    return true;
}
