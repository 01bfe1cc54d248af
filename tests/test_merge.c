/* Launches of one form become parts of one: counted on plans without a device, values on one. */
#include "op_check.h"
#include "paper.h"

TestSuite(merge, .init = paper_setup, .fini = paper_teardown);

static dev_caps wide(void) {
    dev_caps c = caps;
    c.storage_buffers = 64;
    return c;
}

/* w - g * 0.5, of n weights. */
static void updates(node **roots, int n, int rows) {
    for (int i = 0; i < n; i++)
        roots[i] =
            op_map2(&g, "sub", leaf(rows + i, 8), op_map_scalar(&g, "mul", leaf(rows + i, 8), 0.5));
}

static int launches(const dev_caps *c, uint32_t passes, node *const *roots, int n) {
    plan *p = plan_of(c, passes, roots, n);
    int steps = p->n_steps;
    for (int i = 0; i < steps; i++)
        cr_expect_leq(p->steps[i].n_bindings, (int)c->storage_buffers);
    plan_free(p);
    return steps;
}

Test(merge, as_few_launches_as_bindings_and_parts_allow) {
    enum { N = 20 };
    node *roots[N];
    updates(roots, N, 4);
    dev_caps c = wide();
    cr_expect_eq(launches(&c, PASS_ALL & ~(uint32_t)PASS_MERGE, roots, N), N);
    cr_expect_eq(launches(&c, PASS_ALL, roots, N), 3); /* 8 parts of 3 bindings each */
    c.storage_buffers = 16;
    cr_expect_eq(launches(&c, PASS_ALL, roots, N), 4);
    c.storage_buffers = 4;
    cr_expect_eq(launches(&c, PASS_ALL, roots, N), N);
    plan *p = plan_of(&caps, PASS_ALL, roots, 2);
    cr_expect_str_eq(p->steps[0].label, "2 of mul+sub");
    plan_free(p);
}

/* What comes between does not matter, unless it is waited for. */
Test(merge, only_what_is_independent) {
    node *x = leaf(8, 8), *a = op_map1(&g, "exp", x);
    node *b = op_map1(&g, "exp", op_matmul(&g, a, x)); /* waits for a */
    cr_expect_eq(launches(&caps, PASS_MERGE, &b, 1), 3);
    node *c = op_map1(&g, "exp", leaf(8, 8)), *d = op_matmul(&g, b, c);
    cr_expect_eq(launches(&caps, PASS_MERGE, &d, 1),
                 4); /* exp, matmul, two exp, matmul: c goes with a */
    node *two[] = {op_map1(&g, "exp", leaf(4, 8)), op_map1(&g, "sin", leaf(4, 8))};
    cr_expect_eq(launches(&caps, PASS_ALL, two, 2), 2); /* not the same form */
}

/* Large ones stay where their memory is soon free. */
Test(merge, large_launches_do_not_move) {
    node *x = leaf(1024, 2048), *y = leaf(1024, 2048);
    node *a = op_map1(&g, "exp", x), *sum = op_sum(&g, a, 0, false), *b = op_map1(&g, "exp", y);
    node *roots[] = {sum, op_sum(&g, b, 0, false)};
    uint32_t passes = PASS_MERGE;
    plan *p = plan_of(&caps, passes, roots, 2);
    plan *without = plan_of(&caps, 0, roots, 2);
    cr_expect_eq(p->n_steps, without->n_steps);
    cr_expect_eq(p->info.arena, without->info.arena);
    plan_free(p);
    plan_free(without);
}

/* Parts of other sizes than the rest, some of them no multiple of four, strided and narrow ones. */
Test(merge, parts_compute_what_they_did_alone) {
    checker c;
    enum { N = 9, MOST = 900 };
    cr_assert(checker_open(&c, NULL), "%s", c.error.text);
    graph_scope_begin(&c.g);
    static double x[2 * MOST], kept[N][MOST];
    for (int i = 0; i < 2 * MOST; i++)
        x[i] = (float)(0.37 * i + 0.011);
    for (int kind = 0; kind < 3; kind++) {
        for (int run = 0; run < 2; run++) {
            planner_set_passes(c.planner, run ? PASS_ALL : PASS_ALL & ~(uint32_t)PASS_MERGE);
            node *roots[N];
            for (int i = 0; i < N; i++) {
                shape s = shape_of(2, 3 + i % 4, 1 + 17 * i);
                node *a = checker_leaf(&c, kind == 2 ? MARE_F16 : MARE_F32, &s, x);
                if (kind == 1) a = op_transpose(&c.g, a, 0, 1);
                roots[i] = op_map2(&c.g, "mul", a, node_const(&c.g, a->dtype, i + 0.5));
            }
            cr_assert_eq(plan_eval(c.planner, roots, N), MARE_OK, "%s", c.error.text);
            for (int i = 0; i < N; i++) {
                size_t bytes = (size_t)shape_count(&roots[i]->shape) * sizeof(double);
                const double *got = checker_read(&c, roots[i]);
                cr_assert_not_null(got, "%s", c.error.text);
                if (run)
                    cr_expect_arr_eq(got, kept[i], bytes, "kind %d, part %d", kind, i);
                else
                    memcpy(kept[i], got, bytes);
            }
        }
    }
    graph_scope_end(&c.g);
    cr_expect(checker_close(&c));
}
