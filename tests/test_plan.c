/* Plans as data, without a device: launches, barriers, memory, what the structure of a graph is. */
#include "base/rng.h"
#include "paper.h"

TestSuite(plan, .init = paper_setup, .fini = paper_teardown);

static plan *build(node *root) {
    plan *p = NULL;
    cr_assert_not_null(root, "%s", error.text);
    cr_assert_eq(plan_build(&g, &caps, 0, &(plan_wanted){.roots = &root, .n = 1}, &p), MARE_OK,
                 "%s", error.text);
    return p;
}

static plan_info info_of(plan *p) {
    plan_info info;
    plan_get_info(p, &info);
    return info;
}

Test(plan, chain_of_two_needs_one_barrier) {
    node *a = leaf(3, 5);
    plan *p = build(op_map1(&g, "exp", op_map2(&g, "mul", a, a)));
    cr_expect_eq(p->n_steps, 2);
    cr_expect_not(p->steps[0].barrier);
    cr_expect(p->steps[1].barrier);
    cr_expect_eq(info_of(p).barriers, 1);
    plan_free(p);
}

Test(plan, independent_branches_share_no_barrier) {
    node *a = leaf(3, 5);
    node *x = op_map1(&g, "exp", a), *y = op_map1(&g, "sin", a);
    plan *p = build(op_map2(&g, "add", x, y));
    cr_expect_eq(p->n_steps, 3);
    cr_expect_not(p->steps[1].barrier, "exp and sin only read a");
    cr_expect(p->steps[2].barrier);
    plan_free(p);
}

Test(plan, views_launch_nothing) {
    int axes[] = {1, 0};
    node *a = leaf(3, 5);
    node *t = op_permute(&g, a, axes, 2);
    plan *p = build(op_unsqueeze(&g, t, 0));
    cr_expect_eq(p->n_steps, 0);
    cr_expect_eq(p->roots[0].view.stride[1], 1);
    cr_expect_eq(p->roots[0].view.stride[2], 5);
    plan_free(p);
}

Test(plan, scalars_are_patched_words_and_not_structure) {
    node *a = leaf(3, 5);
    plan *p = build(op_map_scalar(&g, "mul", a, 0.5));
    cr_assert_eq(p->n_steps, 1);
    cr_assert_eq(p->steps[0].n_patches, 1);
    cr_expect_null(strstr(p->steps[0].kernel.defines, "0.5"));
    plan_free(p);
}

Test(plan, empty_work_launches_nothing) {
    plan *p = build(op_map1(&g, "exp", leaf(0, 5)));
    cr_expect_eq(p->n_steps, 0);
    plan_free(p);
}

Test(plan, common_inputs_are_computed_once) {
    node *x = op_map1(&g, "exp", leaf(4, 4));
    plan *p = build(op_map2(&g, "mul", op_map2(&g, "add", x, x), x));
    cr_expect_eq(p->n_steps, 3);
    plan_free(p);
}

/* ---- Random graphs ------------------------------------------------------------------------- */

static uint64_t place_of(const plan *p, const binding *b, int *space) {
    const plan_buffer *x = &p->buffers[b->buffer];
    *space = x->kind == BUFFER_TEMP ? -1 - x->arena : b->buffer;
    return b->offset + (x->kind == BUFFER_TEMP ? x->offset : 0);
}

static bool clash(const plan *p, const binding *a, const binding *b) {
    int sa, sb;
    uint64_t x = place_of(p, a, &sa), y = place_of(p, b, &sb);
    return sa == sb && x < y + b->bytes && y < x + a->bytes && ((a->access | b->access) & WRITE);
}

/* Every pair of steps that touch the same bytes, one of them writing, has a barrier between. */
static void check_barriers(const plan *p) {
    for (int i = 0; i < p->n_steps; i++) {
        bool barrier = false;
        for (int j = i + 1; j < p->n_steps; j++) {
            barrier |= p->steps[j].barrier;
            if (barrier) break; /* it orders all later steps too */
            for (int a = 0; a < p->steps[i].n_bindings; a++)
                for (int b = 0; b < p->steps[j].n_bindings; b++)
                    cr_assert_not(clash(p, &p->steps[i].bindings[a], &p->steps[j].bindings[b]),
                                  "steps %d and %d run side by side over the same bytes", i, j);
        }
    }
}

/* Bytes of the temporaries that a step finds alive, whole bindings' worth. */
static uint64_t alive_at(const plan *p, int at) {
    uint64_t alive = 0;
    for (int i = 0; i < p->n_buffers; i++) {
        const plan_buffer *b = &p->buffers[i];
        if (b->kind == BUFFER_TEMP && b->first <= at && at <= b->last)
            alive += (b->bytes + 255) / 256 * 256;
    }
    return alive;
}

/* No two temporaries that are alive at once share a byte, and the bound is what it claims to be. */
static void check_memory(const plan *p) {
    uint64_t most = 0;
    for (int i = 0; i < p->n_steps; i++)
        if (alive_at(p, i) > most) most = alive_at(p, i);
    for (int i = 0; i < p->n_buffers; i++)
        for (int j = 0; j < i; j++) {
            const plan_buffer *a = &p->buffers[i], *b = &p->buffers[j];
            if (a->kind != BUFFER_TEMP || b->kind != BUFFER_TEMP) continue;
            if (a->first > a->last || b->first > b->last) continue;
            bool together = a->first <= b->last && b->first <= a->last;
            bool overlap = a->arena == b->arena && a->offset < b->offset + b->bytes &&
                           b->offset < a->offset + a->bytes;
            cr_assert_not(together && overlap, "buffers %d and %d share bytes", i, j);
        }
    plan_info info = info_of((plan *)(uintptr_t)p);
    cr_assert_eq(info.bound, most);
    cr_assert_geq(info.arena, info.bound);
    cr_assert_leq(info.arena, info.sum);
}

Test(plan, random_graphs_are_ordered_and_packed) {
    rng r = {7, 0};
    for (int round = 0; round < 100; round++) {
        node *pool[40];
        int n = 0;
        for (; n < 3; n++)
            pool[n] = leaf(1 + (int)rng_below(&r, 40), 64);
        for (; n < 40; n++) {
            node *a = pool[rng_below(&r, (uint32_t)n)], *b = pool[rng_below(&r, (uint32_t)n)];
            pool[n] = rng_below(&r, 2) ? op_map2(&g, "add", op_sum(&g, a, 1, true), b)
                                       : op_map1(&g, "exp", a);
        }
        for (int all = 0; all < 2; all++) {
            plan *p;
            cr_assert_eq(plan_build(&g, &caps, all ? PASS_ALL : 0,
                                    &(plan_wanted){.roots = &pool[n - 1], .n = 1}, &p),
                         MARE_OK);
            check_barriers(p);
            check_memory(p);
            plan_free(p);
        }
    }
}

Test(plan, packing_stays_near_the_bound) {
    node *x = leaf(64, 64);
    for (int i = 0; i < 50; i++)
        x = op_map1(&g, "exp", x);
    plan *p = build(x);
    /* of a chain, two buffers are alive at once */
    cr_expect_eq(info_of(p).arena, 2 * 64 * 64 * 4);
    plan_free(p);
}

Test(plan, small_arenas_are_many) {
    node *x = leaf(64, 64), *kept[6], *sum = NULL;
    for (int i = 0; i < 6; i++)
        kept[i] = x = op_map1(&g, "exp", x);
    for (int i = 5; i >= 0; i--) /* the last needs all others, which then wait for their turn */
        sum = sum ? op_map2(&g, "add", sum, kept[i]) : kept[i];
    dev_caps small = caps;
    small.allocation = 3 * 64 * 64 * 4;
    plan *p;
    cr_assert_eq(plan_build(&g, &small, 0, &(plan_wanted){.roots = &sum, .n = 1}, &p), MARE_OK);
    cr_expect_gt(p->n_arenas, 1);
    for (int i = 0; i < p->n_arenas; i++)
        cr_expect_leq(p->arenas[i], small.allocation);
    check_memory(p);
    check_barriers(p);
    plan_free(p);
}

Test(plan, binding_over_the_limit_is_refused_or_split) {
    dev_caps small = caps;
    small.binding = 4096;
    node *a = leaf(64, 64), *sum = op_map1(&g, "exp", a);
    plan *p = NULL;
    mare_status status = plan_build(&g, &small, 0, &(plan_wanted){.roots = &sum, .n = 1}, &p);
    if (status) {
        cr_expect_eq(status, MARE_E_UNSUPPORTED);
        cr_expect_not_null(strstr(error.text, "4096"));
        return;
    }
    for (int i = 0; i < p->n_steps; i++)
        for (int k = 0; k < p->steps[i].n_bindings; k++)
            cr_expect_leq(p->steps[i].bindings[k].bytes, 4096);
    plan_free(p);
}

Test(plan, dump_names_ops_lines_and_barriers) {
    graph_set_location(&g, "net.lua", 12);
    node *a = leaf(3, 5);
    plan *p = build(op_map1(&g, "exp", op_map2(&g, "mul", a, a)));
    text t = {0};
    cr_assert_eq(plan_dump(p, &t), MARE_OK);
    cr_expect_not_null(strstr(text_str(&t), "mul (net.lua:12)"));
    cr_expect_not_null(strstr(text_str(&t), "-- barrier\n  step 1: exp"));
    text_free(&t);
    plan_free(p);
}

Test(passes, text) {
    uint32_t passes = PASS_ALL;
    cr_assert_eq(plan_passes_apply(&passes, "-fuse,-merge", &error), MARE_OK);
    cr_assert_eq(passes, PASS_ALL & ~(uint32_t)(PASS_FUSE | PASS_MERGE));
    cr_assert_eq(plan_passes_apply(&passes, "none,replay", &error), MARE_OK);
    cr_assert_eq(passes, PASS_REPLAY);
    cr_assert_eq(plan_passes_apply(&passes, "all,,-simplify", &error), MARE_OK);
    cr_assert_eq(passes, PASS_ALL & ~(uint32_t)PASS_SIMPLIFY);
    static const char *const wrong[] = {"fus", "-none", "fuse -merge", "-", "ALL"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cr_assert_eq(plan_passes_apply(&passes, wrong[i], &error), MARE_E_ARGUMENT, "%s", wrong[i]);
        cr_assert(strstr(error.text, wrong[i]) && strstr(error.text, "inplace"), "%s", error.text);
        cr_assert_eq(passes, PASS_ALL & ~(uint32_t)PASS_SIMPLIFY);
    }
}

Test(plan, graph_dump_tells_a_line_a_node) {
    graph_set_location(&g, "net.lua", 3);
    node *y = op_map_scalar(&g, "mul", op_map1(&g, "exp", leaf(3, 5)), 0.5);
    node **order;
    int n;
    cr_assert_eq(graph_order(&g, &y, 1, &order, &n), MARE_OK);
    text t = {0};
    graph_dump(order, n, &y, 1, &t);
    cr_expect_str_eq(text_str(&t), "graph: 4 nodes, 1 wanted\n"
                                   "  node 0: data f32 [3, 5] (net.lua:3)\n"
                                   "  node 1: exp f32 [3, 5] of 0 (net.lua:3)\n"
                                   "  node 2: const f32 [] = 0.5 (net.lua:3)\n"
                                   "  node 3: mul f32 [3, 5] of 1, 2 (net.lua:3) <- wanted\n");
    text_free(&t);
    free(order);
}

/* Without passes. */
static plan *plain_build(node *root) {
    plan *p = NULL;
    cr_assert_not_null(root, "%s", error.text);
    cr_assert_eq(plan_build(&g, &caps, 0, &(plan_wanted){.roots = &root, .n = 1}, &p), MARE_OK,
                 "%s", error.text);
    return p;
}

/* exp and sin are both alive at the second step, and the result is no temporary. */
Test(plan, memory_dump_tells_places_and_lives) {
    node *a = leaf(16, 16), *b = op_map1(&g, "exp", a), *c = op_map1(&g, "sin", a);
    plan *p = plain_build(op_map2(&g, "add", b, c));
    text t = {0};
    cr_assert_eq(plan_dump_memory(p, &t), MARE_OK);
    const char *const parts[] = {
        ": peak 3072 bytes = arena 2048 + results 1024; temporaries: sum 2048, lower bound 2048\n",
        " 1024      0            0      0..2     ###\n",
        " 1024      0         1024      1..2     .##\n",
        "\n       0         1024  exp\n       1         2048  sin\n       2         2048  add\n",
    };
    for (int i = 0; i < 4; i++)
        cr_expect_not_null(strstr(text_str(&t), parts[i]), "%s", text_str(&t));
    text_free(&t);
    plan_free(p);
}

Test(plan, dump_words) {
    uint32_t dumps = 0;
    cr_expect_eq(plan_dumps_parse(&dumps, "graph,glsl", &error), MARE_OK);
    cr_expect_eq(dumps, DUMP_GRAPH | DUMP_GLSL);
    cr_expect_eq(plan_dumps_parse(&dumps, "memory,,plan,", &error), MARE_OK);
    cr_expect_eq(dumps, DUMP_MEMORY | DUMP_PLAN);
    cr_expect_eq(plan_dumps_parse(&dumps, "plan,plans", &error), MARE_E_ARGUMENT);
    cr_expect_not_null(strstr(error.text, "\"plans\" is none of graph, plan, memory, glsl"));
    cr_expect_eq(dumps, DUMP_MEMORY | DUMP_PLAN);
    cr_expect_eq(plan_dumps_parse(&dumps, "", &error), MARE_OK);
    cr_expect_eq(dumps, 0);
}
