/* A graph whose results on the device must be those of the references. */
#ifndef TESTS_OP_HOST_H
#define TESTS_OP_HOST_H

#include "op_check.h"

#include <criterion/criterion.h>
#include <math.h>

static inline void expect_as_host(checker *c, node *const *roots, int n) {
    host_graph h;
    cr_assert(host_graph_make(c, roots, n, &h), "%s", c->error.text);
    host_graph_run(c, &h, true);
    for (int i = 0; i < n; i++) {
        double *got = checker_read(c, roots[i]);
        int64_t count = shape_count(&roots[i]->shape);
        cr_assert_not_null(got, "%s", c->error.text);
        for (int64_t k = 0; k < count; k++)
            cr_assert_float_eq(got[k], h.root[i][k], check_tolerance(&h, h.root[i][k]),
                               "root %d, element %lld", i, (long long)k);
    }
    host_graph_free(&h);
}

#endif
