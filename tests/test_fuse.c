/* Fusion: what becomes one launch, counted on plans without a device; rounding on a device. */
#include "op_check.h"
#include "ops/norm.h"
#include "paper.h"

TestSuite(fuse, .init = paper_setup, .fini = paper_teardown);

/* The labels of the steps, with a space between them. */
static const char *labels(const plan *p) {
    static char all[512];
    all[0] = 0;
    for (int i = 0; i < p->n_steps; i++) {
        if (i) strcat(all, " ");
        strcat(all, p->steps[i].label);
    }
    return all;
}

static void expect_with(const dev_caps *c, node *const *roots, int n, const char *want) {
    plan *p = plan_of(c, PASS_ALL, roots, n);
    cr_expect_str_eq(labels(p), want, "%s instead of %s", labels(p), want);
    plan_free(p);
}

static void expect_steps(node *root, const char *want) {
    expect_with(&caps, &root, 1, want);
}

static node *map1(const char *name, node *a) {
    return op_map1(&g, name, a);
}

static node *map2(const char *name, node *a, node *b) {
    return op_map2(&g, name, a, b);
}

Test(fuse, a_chain_with_broadcasting_is_one_launch) {
    node *x = leaf(6, 5), *bias = leaf(1, 5), *rows = leaf(6, 1);
    node *y = map2("mul", map1("tanh", map2("add", x, bias)), rows);
    expect_steps(y, "add+tanh+mul");
    plan *p = plan_of(&caps, PASS_ALL & ~(uint32_t)PASS_FUSE, &y, 1);
    cr_expect_str_eq(labels(p), "add tanh mul");
    plan_free(p);
}

Test(fuse, a_value_that_is_needed_outside_is_written_on_the_way) {
    node *x = leaf(4, 4), *a = map1("exp", x), *b = map2("mul", a, x);
    node *product = op_matmul(&g, a, b);
    expect_steps(product, "exp+mul matmul");
    node *roots[] = {a, map1("sqrt", b)};
    expect_with(&caps, roots, 2, "exp+mul+sqrt");
}

/* a is read by the product and beside it: one launch for both would wait for itself. */
Test(fuse, a_product_on_the_way_parts_a_chain) {
    node *x = leaf(4, 4), *a = map1("exp", x), *y = map2("add", a, op_matmul(&g, a, x));
    expect_steps(y, "exp matmul+add");
}

Test(fuse, what_is_read_later_alone_is_computed_there) {
    node *x = leaf(4, 4), *w = leaf(4, 4);
    node *early = map1("exp", x), *late = op_matmul(&g, op_matmul(&g, w, w), w);
    expect_steps(map2("add", early, late), "matmul exp+matmul+add");
}

Test(fuse, a_reshape_that_keeps_the_loop_is_no_obstacle) {
    node *x = leaf(6, 5), *y = map1("exp", x);
    shape s = shape_of(3, 6, 1, 5);
    expect_steps(map1("tanh", op_reshape(&g, y, &s)), "exp+tanh");
    s = shape_of(2, 5, 6); /* another loop */
    expect_steps(map1("tanh", op_reshape(&g, map1("sqrt", x), &s)), "sqrt tanh");
    expect_steps(map1("tanh", op_transpose(&g, map1("exp", leaf(5, 5)), 0, 1)), "exp tanh");
}

/* Both a value and a view of it are read: the view outside, the value inside the unit. */
Test(fuse, a_view_of_a_member_is_read_outside) {
    node *x = leaf(6, 5), *a = map1("exp", x);
    shape s = shape_of(3, 6, 1, 5), flat = shape_of(2, 6, 5);
    node *v = op_reshape(&g, a, &s), *b = map2("mul", op_reshape(&g, v, &flat), x);
    node *roots[] = {b, op_sum(&g, v, 0, false)};
    expect_with(&caps, roots, 2, "exp+mul sum");
}

/* A linear layer reads its weight transposed. The gradient lies as the weight does, so that the
 * update goes along both: with the product, where chains join it. */
Test(fuse, a_transposed_weight_is_updated_in_its_own_order) {
    node *x = leaf(6, 5), *w = leaf(4, 5), *g_w;
    w->requires_grad = true;
    node *y = op_sum(&g, map1("tanh", op_matmul(&g, x, op_transpose(&g, w, 0, 1))), 0, false);
    cr_assert_eq(graph_grad(&g, y, NULL, &w, 1, &g_w), MARE_OK, "%s", error.text);
    node *next = map2("sub", w, op_map_scalar(&g, "mul", g_w, 0.1));
    plan *p = plan_of(&caps, PASS_ALL, &next, 1);
    cr_expect_str_eq(p->steps[p->n_steps - 1].label, "matmul+mul+sub");
    plan_free(p);
    p = plan_of(&caps, PASS_ALL & ~(uint32_t)PASS_ATTACH, &next, 1);
    cr_expect_str_eq(p->steps[p->n_steps - 1].label, "mul+sub");
    cr_expect_not_null(strstr(p->steps[p->n_steps - 1].kernel.defines, "RANK 0\n"));
    plan_free(p);
}

Test(fuse, numbers_take_no_launch) {
    shape s = shape_of(2, 4, 4);
    node *ones = op_full(&g, MARE_F32, &s, 1), *half = node_const(&g, MARE_F32, 0.5);
    node *n = map2("mul", ones, map2("div", half, node_const(&g, MARE_F32, 3)));
    expect_steps(map2("mul", leaf(4, 4), n), "mul");
    expect_steps(op_matmul(&g, leaf(4, 4), n), "mul matmul");
    expect_steps(n, "mul");
    expect_steps(ones, "full");
}

Test(fuse, common_subexpressions_are_computed_once) {
    node *x = leaf(4, 4), *w = leaf(4, 4);
    node *a = op_matmul(&g, map1("exp", x), w), *b = op_matmul(&g, map1("exp", x), w);
    node *y = map2("mul", a, b);
    expect_steps(y, "exp matmul+mul");
    node *roots[] = {a, b};
    plan *p = plan_of(&caps, PASS_ALL, roots, 2);
    cr_expect_eq(p->n_steps, 2);
    cr_expect_eq(p->roots[0].buffer, p->roots[1].buffer);
    plan_free(p);
    /* Draws are not the same draw. */
    shape s = shape_of(1, 8);
    expect_steps(map2("add", op_uniform(&g, &s, 0, 1), op_uniform(&g, &s, 0, 1)),
                 "uniform uniform add");
}

/* Numbers of a script may come to differ; those of a gradient's text never do. */
Test(fuse, only_literals_are_merged) {
    node *x = leaf(4, 4);
    expect_steps(map2("add", op_map_scalar(&g, "mul", x, 2), op_map_scalar(&g, "mul", x, 2)),
                 "mul+mul+add");
    const char *names[] = {"x"};
    node *twice[2];
    for (int i = 0; i < 2; i++)
        twice[i] = op_expr(&g, "x * 2", names, &x, 1);
    expect_steps(map2("add", twice[0], twice[1]), "mul+add");
}

/* A unit binds no more than the device lets it; what is cut off follows. */
Test(fuse, few_bindings_cut_a_chain) {
    dev_caps few = caps;
    few.storage_buffers = 4;
    node *y = leaf(4, 4);
    for (int i = 0; i < 9; i++)
        y = map2("add", y, leaf(4, 4));
    plan *p = plan_of(&few, PASS_ALL, &y, 1);
    cr_expect_str_eq(labels(p), "add+add add+add add+add add+add add");
    for (int i = 0; i < p->n_steps; i++)
        cr_expect_leq(p->steps[i].n_bindings, 4);
    plan_free(p);
}

/* A chain longer than a unit may be, with every value kept. */
Test(fuse, long_chains_are_cut) {
    enum { N = 150 };
    node *roots[N], *y = leaf(3, 3);
    for (int i = 0; i < N; i++)
        roots[i] = y = map1(i % 2 ? "exp" : "neg", y);
    plan *p = plan_of(&caps, PASS_ALL, &y, 1);
    cr_expect_eq(p->n_steps, 3);
    plan_free(p);
    p = plan_of(&caps, PASS_ALL, roots, N);
    for (int i = 0; i < p->n_steps; i++)
        cr_expect_leq(p->steps[i].n_bindings, 8);
    plan_free(p);
}

/* A chain joins the launch whose result it reads, or, where a reduction alone reads it, that one.
 */
Test(fuse, chains_join_products_and_reductions) {
    node *x = leaf(6, 5), *w = leaf(5, 7), *bias = leaf(1, 7);
    node *product = op_matmul(&g, x, w), *y = map1("tanh", map2("add", product, bias));
    expect_steps(y, "matmul+add+tanh");
    plan *p = plan_of(&caps, PASS_ALL & ~(uint32_t)PASS_ATTACH, &y, 1);
    cr_expect_str_eq(labels(p), "matmul add+tanh");
    plan_free(p);
    /* The result as it is may be asked for too. */
    node *roots[] = {product, y};
    expect_with(&caps, roots, 2, "matmul+add+tanh");
    /* Through a view that keeps the loop. */
    shape s = shape_of(3, 6, 1, 7);
    expect_steps(map1("tanh", op_reshape(&g, product, &s)), "matmul+tanh");
    node *d = map2("sub", leaf(6, 5), leaf(6, 5));
    expect_steps(op_mean(&g, map2("mul", d, d), 0, false), "sub+mul+sum+div");
    expect_steps(op_sum(&g, map1("exp", x), 2, false), "exp+sum");
    expect_steps(map1("sqrt", op_max(&g, x, 1, true)), "max+sqrt");
    expect_steps(map2("mul", op_softmax(&g, x, 1), leaf(6, 5)), "softmax+mul");
    /* What others read too is written once, and read from there. */
    node *e = map1("exp", x);
    expect_steps(map2("div", e, op_sum(&g, e, 2, true)), "exp sum div");
}

/* Both products lie before the chain: it joins the later one. Each chain reads what the other's
 * product makes: one joins, the other cannot. */
Test(fuse, a_chain_joins_one_launch) {
    node *a = op_matmul(&g, leaf(4, 4), leaf(4, 4)), *b = op_matmul(&g, leaf(4, 4), leaf(4, 4));
    expect_steps(map2("mul", map1("sigmoid", a), b), "matmul sigmoid+matmul+mul");
    node *roots[] = {map2("sub", a, b), op_sum(&g, map2("div", a, b), 1, false)};
    expect_with(&caps, roots, 2, "matmul matmul+sub div+sum");
    /* What the chain reads depends on its product. */
    node *late = map2("div", a, op_sum(&g, a, 2, true));
    expect_steps(late, "matmul sum div");
}

/* A kernel that has no room left, or a result of less than 4 bytes, is left alone. */
Test(fuse, what_does_not_fit_joins_nothing) {
    dev_caps few = caps;
    few.storage_buffers = 4;
    node *product = op_matmul(&g, leaf(4, 4), leaf(4, 4));
    node *one = map2("add", product, leaf(4, 4)), *two = map2("mul", one, leaf(4, 4));
    expect_with(&few, &one, 1, "matmul+add");
    expect_with(&few, &two, 1, "matmul add+mul");
    /* In front and behind: one of the two has room. */
    node *sides = map2("add", op_sum(&g, map2("mul", leaf(4, 4), leaf(4, 4)), 1, true), leaf(1, 4));
    expect_with(&few, &sides, 1, "mul sum+add");
    expect_steps(sides, "mul+sum+add");
    node *half = op_cast(&g, map1("exp", product), MARE_F16);
    expect_steps(half, "matmul exp+cast");
}

/* Values of narrow dtypes are rounded within a chain as they are in memory. */
Test(fuse, halves_round_within_a_chain) {
    checker c;
    cr_assert(checker_open(&c, NULL), "%s", c.error.text);
    graph_scope_begin(&c.g);
    static const mare_dtype narrow[] = {MARE_F16, MARE_BF16};
    double x[64], *one[2];
    for (int i = 0; i < 64; i++)
        x[i] = (float)(0.37 * i + 0.011);
    shape s = shape_of(1, 64);
    for (int t = 0; t < 2; t++) {
        for (int run = 0; run < 2; run++) {
            planner_set_passes(c.planner, run ? PASS_ALL : 0);
            node *a = checker_leaf(&c, MARE_F32, &s, x);
            node *h = op_map1(&c.g, "sqrt", op_cast(&c.g, a, narrow[t]));
            node *y = op_map2(&c.g, "mul", op_cast(&c.g, h, MARE_F32), a);
            const double *got = checker_read(&c, y);
            cr_assert_not_null(got, "%s", c.error.text);
            one[run] = memcpy(malloc(sizeof x), got, sizeof x);
        }
        cr_expect_arr_eq(one[0], one[1], sizeof x, "%s", mare_dtype_name(narrow[t]));
        free(one[0]);
        free(one[1]);
    }
    graph_scope_end(&c.g);
    checker_close(&c);
}

/* How often the launches bind a tensor of so many bytes. */
static int passes_over(const plan *p, uint64_t bytes) {
    int n = 0;
    for (int i = 0; i < p->n_steps; i++)
        for (int k = 0; k < p->steps[i].n_bindings; k++)
            n += p->steps[i].bindings[k].bytes >= bytes;
    return n;
}

/* Batch norm with what stands before and behind it. Forward: statistics, then the result. Backward:
 * the slope of the activation, the sums, the gradient. */
Test(fuse, batch_norm_goes_over_its_input_twice_each_way) {
    enum { SAMPLES = 8, CHANNELS = 32, PLACES = 12 * 12 };
    dev_caps many = caps;
    many.storage_buffers = 16;
    shape s = shape_of(3, SAMPLES, CHANNELS, PLACES), per_channel = shape_of(1, CHANNELS);
    node *x = op_reshape(&g, leaf(SAMPLES, CHANNELS * PLACES), &s);
    node *w = op_reshape(&g, leaf(1, CHANNELS), &per_channel);
    node *b = op_reshape(&g, leaf(1, CHANNELS), &per_channel);
    node *gy = op_reshape(&g, leaf(SAMPLES, CHANNELS * PLACES), &s);
    node *in[] = {x, w, b}, *grad[3];
    for (int i = 0; i < 3; i++)
        in[i]->requires_grad = in[i]->leaf = true;
    norm_options o = {1e-5, CHANNELS, SAMPLES * PLACES, true};
    node *y = map1("relu", op_norm_rows_by(&g, x, op_norm_moments(&g, x, true), &o, w, b));
    cr_assert_eq(graph_grad(&g, y, gy, in, 3, grad), MARE_OK, "%s", error.text);
    uint64_t bytes = sizeof(float) * SAMPLES * CHANNELS * PLACES;
    node *roots[] = {y, grad[0], grad[1], grad[2]};
    plan *p = plan_of(&many, PASS_ALL, roots, 1);
    cr_expect_eq(p->n_steps, 2, "%s", labels(p));
    cr_expect_eq(passes_over(p, bytes), 3, "x, x, y: %d", passes_over(p, bytes));
    plan_free(p);
    p = plan_of(&many, PASS_ALL, roots, 4);
    cr_expect_eq(p->n_steps, 5, "%s", labels(p));
    /* x; x, its norm, y; the norm, whose memory the slope takes, and gy; x and it; and gx */
    cr_expect_eq(passes_over(p, bytes), 11, "%s: %d", labels(p), passes_over(p, bytes));
    plan_free(p);
}

/* The gradients of parts that follow one another are joined; where a part was not used, the rest
 * stands amid zeros. */
Test(fuse, the_gradient_of_a_split_is_a_concatenation) {
    enum { PARTS = 3, WIDTH = 4 };
    for (int missing = -1; missing < PARTS; missing += 3) {
        node *x = leaf(6, PARTS * WIDTH), *y = NULL, *gx;
        x->requires_grad = true;
        for (int i = 0; i < PARTS; i++) {
            if (i == missing) continue;
            static const char *const how[] = {"exp", "tanh", "sin"};
            node *part = map1(how[i], op_narrow(&g, x, 1, i * WIDTH, WIDTH));
            y = y ? map2("mul", y, part) : part;
        }
        y = op_sum(&g, y, 0, false);
        cr_assert_eq(graph_grad(&g, y, NULL, &x, 1, &gx), MARE_OK, "%s", error.text);
        plan *p = plan_of(&caps, PASS_ALL, &gx, 1);
        bool embeds = strstr(labels(p), "embed"), joins = strstr(labels(p), "concat");
        cr_expect(embeds == (missing >= 0), "%s", labels(p));
        cr_expect(joins, "%s", labels(p));
        uint64_t bytes = sizeof(float) * 6 * PARTS * WIDTH;
        cr_expect_lt(passes_over(p, bytes), PARTS + 4, "%s", labels(p));
        plan_free(p);
    }
}
