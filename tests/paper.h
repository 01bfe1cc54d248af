/* Plans on paper: a graph without a device, whose leaves claim to be evaluated. */
#ifndef TESTS_PAPER_H
#define TESTS_PAPER_H

#include "ops/ops.h"
#include "plan/internal.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static mare_error error;
static graph g;

static const dev_caps caps = {
    .name = "paper",
    .workgroup = 128,
    .workgroup_size = {128, 128, 64},
    .shared = 16384,
    .push_constants = 128,
    .storage_buffers = 8,
    .binding = 128 << 20,
    .allocation = 1u << 30,
    .groups = {65535, 65535, 65535},
    .subgroup = 8,
    .offset_alignment = 256,
};

static inline void paper_setup(void) {
    error = (mare_error){0};
    ops_graph_init(&g, &error);
    graph_scope_begin(&g);
}

static inline void paper_teardown(void) {
    graph_scope_end(&g);
    cr_expect_eq(g.alive, 0, "%zu nodes leaked", g.alive);
    graph_free(&g);
}

static inline void paper_destroy(storage *s) {
    free(s);
}

/* A leaf that claims to be evaluated; plans never look at its values. */
static inline node *leaf(int rows, int columns) {
    storage *s = malloc(sizeof *s);
    *s = (storage){1, paper_destroy};
    shape sh = shape_of(2, rows, columns);
    view v = {0};
    shape_strides(&sh, v.stride);
    return node_leaf(&g, s, MARE_F32, &sh, &v);
}

static inline plan *plan_of(const dev_caps *for_caps, uint32_t passes, node *const *roots, int n) {
    plan *p = NULL;
    for (int i = 0; i < n; i++)
        cr_assert_not_null(roots[i], "%s", error.text);
    cr_assert_eq(plan_build(&g, for_caps, passes, &(plan_wanted){.roots = roots, .n = n}, &p),
                 MARE_OK, "%s", error.text);
    return p;
}

#endif
