/* A graph as text. */
#include "graph/graph.h"

#include "base/text.h"

static void add_view(const node *n, text *out) {
    if (!n->store || view_contiguous(&n->shape, &n->view)) return;
    text_add(out, " strides");
    for (int d = 0; d < n->shape.rank; d++)
        text_add(out, "%c%lld", d ? ',' : ' ', (long long)n->view.stride[d]);
}

static void add_node(const node *n, bool root, text *out) {
    char dims[SHAPE_TEXT];
    text_add(out, "  node %llu: %s %s %s", (unsigned long long)n->index, n->op->name,
             mare_dtype_name(n->dtype), shape_text(&n->shape, dims));
    if (node_is_const(n)) text_add(out, " = %.9g", dtype_value(n->dtype, n->dyn[0]));
    add_view(n, out);
    for (int i = 0; i < n->n_in && !n->store; i++)
        text_add(out, "%s %llu", i ? "," : " of", (unsigned long long)n->in[i]->index);
    if (n->file) text_add(out, " (%s:%d)", n->file, n->line);
    text_add(out, "%s\n", root ? " <- wanted" : "");
}

void graph_dump(node *const *order, int n, node *const *roots, int n_roots, text *out) {
    text_add(out, "graph: %d nodes, %d wanted\n", n, n_roots);
    for (int i = 0; i < n; i++) {
        bool root = false;
        for (int r = 0; r < n_roots; r++)
            root |= roots[r] == order[i];
        add_node(order[i], root, out);
    }
}
