#include "ops/internal.h"

void ops_graph_init(graph *g, mare_error *e) {
    graph_init(g, e);
    g->add = op_add_parts;
    g->full = op_full;
}
