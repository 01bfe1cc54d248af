/* Memory of plans, without a device: results in the place of what is read last, the order that lets
 * memory go early, packing. */
#include "paper.h"

TestSuite(plan_memory, .init = paper_setup, .fini = paper_teardown);

/* Chains launched by themselves. */
enum { PLAIN = PASS_ALL & ~(PASS_ATTACH | PASS_MERGE) };

/* How many of all bindings are read and written at once. */
static int in_place(const plan *p) {
    int n = 0;
    for (int i = 0; i < p->n_steps; i++)
        for (int k = 0; k < p->steps[i].n_bindings; k++)
            n += p->steps[i].bindings[k].access == READ_WRITE;
    return n;
}

static void expect_with(uint32_t passes, node *const *roots, int n, int want) {
    plan *p = plan_of(&caps, passes, roots, n);
    cr_expect_eq(in_place(p), want, "%d results in place, not %d", in_place(p), want);
    plan_free(p);
    p = plan_of(&caps, passes & ~(uint32_t)PASS_INPLACE, roots, n);
    cr_expect_eq(in_place(p), 0);
    plan_free(p);
}

static void expect_in_place(node *const *roots, int n, int want) {
    expect_with(PLAIN, roots, n, want);
}

static node *map1(const char *name, node *a) {
    return op_map1(&g, name, a);
}

static node *map2(const char *name, node *a, node *b) {
    return op_map2(&g, name, a, b);
}

Test(plan_memory, a_result_takes_the_place_of_what_is_read_last) {
    node *x = leaf(16, 16), *h = op_matmul(&g, x, x), *y = map1("relu", h);
    expect_in_place(&y, 1, 1);
    node *z = op_matmul(&g, y, x);
    plan *p = plan_of(&caps, PLAIN, &z, 1);
    cr_expect_eq(p->info.bound, 1024, "one temporary, and the result");
    cr_expect_eq(p->steps[1].n_bindings, 1);
    plan_free(p);
}

Test(plan_memory, several_results_take_several_places) {
    node *x = leaf(16, 16), *a = op_matmul(&g, x, x), *b = op_matmul(&g, a, x);
    node *c = map2("add", a, b), *d = map2("mul", c, a);
    node *roots[] = {op_matmul(&g, c, d)};
    expect_in_place(roots, 1, 2);
}

/* What may not be overwritten. */
Test(plan_memory, values_that_are_needed_stay) {
    node *x = leaf(16, 16), *h = op_matmul(&g, x, x);
    expect_in_place((node *[]){map1("exp", x)}, 1, 0);    /* the caller's */
    expect_in_place((node *[]){map1("exp", h), h}, 2, 0); /* asked for */
    node *later =
        map2("add", op_matmul(&g, map1("exp", h), x), h); /* read later: the sum takes it */
    expect_in_place(&later, 1, 1);
    node *turned = op_transpose(&g, h, 0, 1), *product = op_matmul(&g, turned, x);
    expect_in_place((node *[]){map1("exp", h), product}, 2, 1); /* after the view's user */
    expect_in_place((node *[]){map1("exp", h), turned}, 2, 0);
}

/* Elements that are read where others are written. */
Test(plan_memory, other_places_are_not_the_same_place) {
    node *x = leaf(16, 16), *h = op_matmul(&g, x, x);
    expect_in_place((node *[]){map2("add", h, op_transpose(&g, h, 0, 1))}, 1, 0);
    expect_in_place((node *[]){map1("exp", op_transpose(&g, h, 0, 1))}, 1, 0);
    node *row = op_sum(&g, x, 1, true), *part = op_narrow(&g, h, 0, 0, 8);
    expect_in_place((node *[]){map2("add", row, x)}, 1, 0); /* stretched */
    expect_in_place((node *[]){map1("exp", part)}, 1, 0);
    expect_in_place((node *[]){op_cast(&g, h, MARE_F16)}, 1, 0);
    expect_in_place((node *[]){op_cast(&g, h, MARE_I32)}, 1, 0);
    shape s = shape_of(1, 256);
    expect_in_place((node *[]){map1("exp", op_reshape(&g, h, &s))}, 1, 1);
}

/* A chain that joined a product, or a sum, has the places of the result's elements alone. */
Test(plan_memory, chains_that_joined_write_in_place) {
    node *x = leaf(16, 16), *w = leaf(16, 16), *h = op_matmul(&g, x, x);
    node *y = map2("add", op_matmul(&g, w, w), h);
    expect_with(PASS_ALL, &y, 1, 1);
    y = map2("add", op_matmul(&g, h, w), h); /* the product reads it too */
    expect_with(PASS_ALL, &y, 1, 0);
    node *v = op_matmul(&g, x, leaf(16, 1));
    y = map2("add", op_sum(&g, map1("exp", w), 2, true), v);
    expect_with(PASS_ALL, &y, 1, 1);
    y = map2("add", op_sum(&g, map2("mul", w, v), 2, true), v); /* what is summed is made of it */
    expect_with(PASS_ALL, &y, 1, 0);
}

/* A training step of a chain of linear layers, written as scripts do: all gradients, then all
 * updates. Each gradient is used up before the next one is computed. */
Test(plan_memory, gradients_are_used_up_at_once) {
    enum { N = 6 };
    node *x = leaf(16, 16), *w[N], *y = x, *roots[N];
    for (int i = 0; i < N; i++) {
        w[i] = leaf(16, 16);
        w[i]->requires_grad = true;
        w[i]->handles = 1;
        y = map1("tanh", op_matmul(&g, y, w[i]));
    }
    cr_assert_eq(graph_backward(&g, op_sum(&g, y, 3, false), NULL, false), MARE_OK, "%s",
                 error.text);
    for (int i = 0; i < N; i++)
        roots[i] = map2("sub", w[i], op_map_scalar(&g, "mul", w[i]->grad, 0.1));
    plan *p = plan_of(&caps, PLAIN, roots, N);
    int updates = 0;
    for (int i = 0; i < p->n_steps; i++) {
        if (strcmp(p->steps[i].label, "mul+sub") != 0) continue;
        updates++;
        for (int k = 0; k < p->steps[i].n_bindings; k++) {
            const plan_buffer *b = &p->buffers[p->steps[i].bindings[k].buffer];
            if (b->kind == BUFFER_TEMP) cr_expect_eq(b->first, b->last - 1);
        }
    }
    cr_expect_eq(updates, N);
    /* Values of N - 1 layers, and at most three more: the value's gradient, through tanh, and that
     * of a weight. */
    cr_expect_leq(p->info.arena, (N - 1 + 3) * 1024);
    plan_free(p);
    for (int i = 0; i < N; i++) {
        node_release(w[i]->grad);
        w[i]->grad = NULL;
    }
}

/* The bytes that the temporaries of a step of N segments take, each of which makes four values. */
static uint64_t arena_of_segments(bool checkpoints, uint32_t passes) {
    enum { N = 8 };
    node *x = leaf(64, 64), *w[N], *roots[N];
    for (int i = 0; i < N; i++) {
        uint64_t start = g.made;
        w[i] = leaf(64, 64);
        w[i]->requires_grad = true;
        node *h = op_matmul(&g, x, w[i]);
        h = op_softmax(&g, op_matmul(&g, map1("tanh", h), w[i]), 1);
        x = op_matmul(&g, h, w[i]);
        if (checkpoints) x = op_checkpoint(&g, x, start);
    }
    node *loss = op_sum(&g, map2("mul", x, x), 0, false);
    cr_assert_eq(graph_grad(&g, loss, NULL, w, N, roots), MARE_OK, "%s", error.text);
    plan *p = plan_of(&caps, passes, roots, N);
    uint64_t bytes = p->info.arena;
    plan_free(p);
    return bytes;
}

/* Values within a segment are not kept for the backward pass, whatever the passes do. */
Test(plan_memory, checkpoints_lower_the_arena) {
    static const uint32_t sets[] = {PASS_ALL, PLAIN, 0};
    for (int i = 0; i < 3; i++) {
        uint64_t kept = arena_of_segments(false, sets[i]);
        uint64_t again = arena_of_segments(true, sets[i]);
        /* Of three values a segment, one is left; and one segment at a time has all. */
        cr_expect_leq(again, kept * 3 / 5, "%d bytes, without checkpoints %d", (int)again,
                      (int)kept);
    }
}
