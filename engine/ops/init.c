#include "ops/ops.h"

static node *add(graph *g, node *a, node *b) {
    return op_map2(g, "add", a, b);
}

void ops_graph_init(graph *g, mare_error *e) {
    graph_init(g, e);
    g->add = add;
    g->full = op_full;
}
