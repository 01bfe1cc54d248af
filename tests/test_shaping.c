/* Movement, indexing and pooling: what is refused and in which words, what needs no work at all,
 * and values that the walk over the registry does not draw. */
#include "op_host.h"
#include "ops/indexing.h"
#include "ops/ops.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static checker c;
static graph *g;

static void setup(void) {
    cr_assert(checker_open(&c, NULL), "%s", c.error.text);
    g = &c.g;
    graph_scope_begin(g);
}

static void teardown(void) {
    graph_scope_end(g);
    cr_expect_eq(g->alive, 0, "%zu nodes are left over", g->alive);
    checker_forget(&c);
    cr_expect(checker_close(&c));
}

TestSuite(shaping, .init = setup, .fini = teardown);

static node *floats(int rank, int64_t a, int64_t b, int64_t d, int64_t e) {
    shape s = {rank, {a, b, d, e}};
    return checker_leaf(&c, MARE_F32, &s, checker_draw(&c, MARE_F32, shape_count(&s), -2, 2));
}

static node *ints(int64_t n, const double *x) {
    shape s = {1, {n}};
    return checker_leaf(&c, MARE_I32, &s, x);
}

/* n failed with this code, and the text holds `part`. */
#define REFUSED(n, status, part)                                                                   \
    do {                                                                                           \
        c.error = (mare_error){0};                                                                 \
        cr_expect_null(n);                                                                         \
        cr_expect_eq(c.error.code, status, "%s", c.error.text);                                    \
        cr_expect(strstr(c.error.text, part) != NULL, "\"%s\" lacks \"%s\"", c.error.text, part);  \
    } while (0)

static void expect_values(node *n, int64_t count, const double *want) {
    cr_assert_not_null(n, "%s", c.error.text);
    cr_assert_eq(shape_count(&n->shape), count);
    const double *x = checker_read(&c, n);
    cr_assert_not_null(x, "%s", c.error.text);
    for (int64_t i = 0; i < count; i++)
        cr_expect(x[i] == want[i] || (isnan(x[i]) && isnan(want[i])), "element %d is %g, not %g",
                  (int)i, x[i], want[i]);
}

Test(shaping, movement_refuses) {
    node *a = floats(2, 3, 4, 0, 0), *b = floats(2, 2, 5, 0, 0);
    shape s = {2, {5, -1}};
    REFUSED(op_reshape(g, a, &s), MARE_E_SHAPE, "[3, 4] does not fill [5, -1]");
    s = (shape){2, {-1, -1}};
    REFUSED(op_reshape(g, a, &s), MARE_E_SHAPE, "one dimension may be -1");
    s = (shape){2, {2, 5}};
    REFUSED(op_reshape(g, a, &s), MARE_E_SHAPE, "[3, 4] has 12 elements, [2, 5] has 10");
    s = (shape){2, {0, -1}};
    REFUSED(op_reshape(g, a, &s), MARE_E_SHAPE, "does not fill");
    s = (shape){3, {INT32_MAX, INT32_MAX, INT32_MAX}};
    REFUSED(op_reshape(g, a, &s), MARE_E_SHAPE, "too many elements");
    s = (shape){2, {3, 8}};
    REFUSED(op_expand(g, a, &s), MARE_E_SHAPE, "[3, 4] does not broadcast to [3, 8]");
    s = (shape){1, {4}};
    REFUSED(op_expand(g, a, &s), MARE_E_SHAPE, "does not broadcast");
    REFUSED(op_permute(g, a, (const int[]){0, 0}, 2), MARE_E_ARGUMENT, "given twice");
    REFUSED(op_permute(g, a, (const int[]){0, 2}, 2), MARE_E_ARGUMENT, "no axis 2");
    REFUSED(op_permute(g, a, (const int[]){0}, 1), MARE_E_ARGUMENT, "1 axes given for [3, 4]");
    REFUSED(op_transpose(g, a, 0, -3), MARE_E_ARGUMENT, "no axis -3");
    REFUSED(op_narrow(g, a, 1, 2, 3), MARE_E_ARGUMENT, "no 3 elements from 2 on");
    REFUSED(op_narrow(g, a, 1, INT64_MIN, 1), MARE_E_ARGUMENT, "axis 1 of [3, 4]");
    REFUSED(op_flip(g, a, 4), MARE_E_ARGUMENT, "no axis past 1");
    REFUSED(
        op_slice(g, a, (const int64_t[]){0, 0}, (const int64_t[]){3, 3}, (const int64_t[]){1, 0}),
        MARE_E_ARGUMENT, "the step is 0");
    REFUSED(op_pad(g, a, (const int64_t[]){0, -3}, (const int64_t[]){0, -2}, 0), MARE_E_ARGUMENT,
            "-3 before and -2 after do not fit axis 1 of [3, 4]");
    REFUSED(op_concat(g, (node *[]){a, b}, 2, 0), MARE_E_SHAPE, "[3, 4] and [2, 5] (tensor 2)");
    REFUSED(op_concat(g, (node *[]){a, b}, 2, 2), MARE_E_ARGUMENT, "no axis 2");
    REFUSED(op_concat(g, NULL, 0, 0), MARE_E_ARGUMENT, "no tensors");
    REFUSED(op_stack(g, (node *[]){a, b}, 2, 0), MARE_E_SHAPE, "[3, 4] and [2, 5]");
    REFUSED(op_stack(g, (node *[]){a, a}, 2, 4), MARE_E_ARGUMENT, "no place 4");
    REFUSED(op_squeeze(g, a, 0), MARE_E_SHAPE, "axis 0 of [3, 4] is not 1");
    REFUSED(op_unsqueeze(g, a, -4), MARE_E_ARGUMENT, "no place -4");
    s = (shape){8, {3, 1, 1, 1, 1, 1, 1, 4}};
    REFUSED(op_unsqueeze(g, op_reshape(g, a, &s), 0), MARE_E_SHAPE, "8 dimensions");
}

Test(shaping, extreme_slices_follow_python) {
    const double x[] = {0, 1, 2, 3, 4}, back[] = {4, 1}, one[] = {3}, all[] = {4, 3, 2, 1, 0};
    node *a = ints(5, x);
    const int64_t far = INT64_MAX, low = INT64_MIN;
    expect_values(op_slice(g, a, &far, &low, (const int64_t[]){-3}), 2, back);
    expect_values(op_slice(g, a, (const int64_t[]){3}, &far, &far), 1, one);
    expect_values(op_slice(g, a, (const int64_t[]){3}, &low, &low), 1, one);
    expect_values(op_slice(g, a, &low, &far, (const int64_t[]){1}), 5, x);
    expect_values(op_slice(g, a, &far, &far, (const int64_t[]){1}), 0, x);
    expect_values(op_flip(g, a, 1), 5, all);
}

Test(shaping, views_are_not_copied) {
    node *a = floats(3, 4, 6, 10, 0);
    shape s = {4, {2, 2, 6, 10}}, wide = {5, {3, 2, 2, 5, 6}};
    node *v = op_permute(g, op_reshape(g, a, &s), (const int[]){1, 0, 3, 2}, 4);
    v = op_slice(g, v, (const int64_t[]){0, 0, 9, 0}, (const int64_t[]){2, 2, INT64_MIN, 6},
                 (const int64_t[]){1, 1, -2, 1});
    v = op_detach(g, op_expand(g, v, &wide));
    cr_assert_not_null(v, "%s", c.error.text);
    planner_stats before, after;
    planner_get_stats(c.planner, &before);
    cr_assert_eq(plan_eval(c.planner, &v, 1), MARE_OK, "%s", c.error.text);
    planner_get_stats(c.planner, &after);
    cr_expect_eq(after.launches, before.launches);
    cr_expect_eq(op_contiguous(g, a), a);
    cr_expect_neq(op_contiguous(g, v), v);
}

Test(shaping, the_padding_value_is_not_part_of_the_plan) {
    const double x[] = {1, 2}, five[] = {5, 1, 2}, six[] = {6, 1, 2};
    node *a = ints(2, x);
    planner_stats before, after;
    const int64_t one = 1, none = 0;
    expect_values(op_pad(g, a, &one, &none, 5), 3, five);
    planner_get_stats(c.planner, &before);
    node *p = op_pad(g, a, &one, &none, 6);
    expect_values(p, 3, six);
    planner_get_stats(c.planner, &after);
    cr_expect_eq(after.plans, before.plans);
    cr_expect(p->lo <= 1 && p->hi >= 6);
}

Test(shaping, indices_are_checked) {
    node *a = floats(2, 3, 4, 0, 0);
    REFUSED(op_take(g, a, ints(3, (const double[]){0, 3, 1}), 0), MARE_E_RANGE,
            "index 3 is outside 0..2");
    REFUSED(op_take(g, a, ints(3, (const double[]){0, -7, 9}), 0), MARE_E_RANGE,
            "index -7 is outside 0..2");
    REFUSED(op_take(g, a, floats(1, 2, 0, 0, 0), 0), MARE_E_DTYPE, "not f32");
    REFUSED(op_take(g, a, ints(1, (const double[]){0}), 2), MARE_E_ARGUMENT, "no axis 2");
    REFUSED(op_one_hot(g, ints(2, (const double[]){0, 5}), 5, MARE_F32), MARE_E_RANGE,
            "one_hot: index 5 is outside 0..4");
    REFUSED(op_one_hot(g, ints(2, (const double[]){0, 5}), 0, MARE_F32), MARE_E_ARGUMENT,
            "0 classes");
    node *unknown = ints(2, (const double[]){0, 1});
    unknown->lo = 1;
    unknown->hi = 0;
    REFUSED(op_take(g, a, unknown, 0), MARE_E_RANGE, "evaluate them first");
    /* views and joins keep what is known */
    node *i = ints(4, (const double[]){0, 9, 2, 1});
    REFUSED(op_take(g, a, op_flip(g, i, 1), 0), MARE_E_RANGE, "index 9");
    const double x[] = {1, 0, 0, 0, 1, 0};
    expect_values(op_one_hot(g, ints(2, (const double[]){0, 1}), 3, MARE_U8), 6, x);
}

Test(shaping, kernels_stay_in_memory_on_wrong_indices) {
    node *a = ints(3, (const double[]){10, 20, 30}), *i = ints(3, (const double[]){-5, 1, 99});
    i->lo = 0; /* a lie */
    i->hi = 2;
    expect_values(op_take(g, a, i, 0), 3, (const double[]){10, 20, 30});
    node *x = floats(1, 3, 0, 0, 0), *gx;
    x->requires_grad = true;
    node *y = op_take(g, x, i, 0);
    cr_assert_eq(graph_grad(g, y, op_full(g, MARE_F32, &y->shape, 1), &x, 1, &gx), MARE_OK);
    expect_values(gx, 3, (const double[]){0, 1, 0});
}

static node *indices(int64_t limit, shape s) {
    int64_t n = shape_count(&s);
    double *x = arena_alloc(&c.mem, (size_t)n * sizeof *x);
    cr_assert_not_null(x);
    for (int64_t i = 0; i < n; i++)
        x[i] = (double)(i * 7919 % limit);
    node *index = checker_leaf(&c, MARE_I32, &s, x);
    index->lo = 0;
    index->hi = limit - 1;
    return index;
}

/* Neither the tensor nor the result fits a binding, whichever axis it is long along. */
static node *in_parts(int i) {
    shape s = shape_of(3, 15, 10, 13), line = shape_of(1, 5000);
    node *a = floats(3, 7, 9, 11, 0), *b = op_transpose(g, floats(3, 11, 9, 7, 0), 0, 2);
    node *wide = floats(2, 2, 1500, 0, 0), *deep = floats(3, 3, 400, 4, 0);
    switch (i) {
    case 0:
        return op_embed(g, a, &s, (int64_t[]){14, 0, 1}, (int64_t[]){-2, 1, 1}, 0.5);
    case 1:
        return op_embed(g, b, &s, (int64_t[]){1, 9, 12}, (int64_t[]){1, -1, -1}, 0.5);
    case 2:
        return op_embed(g, floats(1, 3, 0, 0, 0), &line, (int64_t[]){900}, (int64_t[]){1800}, 2);
    case 3:
        return op_embed(g, op_full(g, MARE_F32, &s, 3), &(shape){3, {15, 11, 13}},
                        (int64_t[]){0, 1, 0}, (int64_t[]){1, 1, 1}, -1);
    case 4:
        return op_put_slice(g, a, floats(3, 3, 9, 6, 0), (int64_t[]){6, 0, 0},
                            (int64_t[]){0, 9, 11}, (int64_t[]){-2, 1, 2});
    case 5:
        return op_take(g, deep, indices(400, shape_of(2, 9, 20)), 1);
    case 6:
        return op_take(g, b, indices(9, shape_of(1, 4)), 1);
    case 7:
        return op_take(g, floats(1, 3000, 0, 0, 0), indices(3000, shape_of(1, 3001)), 0);
    case 8:
        return op_take(g, wide, indices(2, shape_of(1, 3)), 0);
    case 9:
        return op_gather(g, deep, indices(400, shape_of(3, 3, 450, 4)), 1);
    case 10:
        return op_gather(g, wide, indices(2, shape_of(2, 3, 1500)), 0);
    case 11:
        return op_gather(g, wide, indices(1500, shape_of(2, 2, 7)), 1);
    default:
        return NULL;
    }
}

Test(shaping, little_is_bound_at_once) {
    teardown();
    cr_assert(checker_open(&c, "binding=2048"), "%s", c.error.text);
    graph_scope_begin(g);
    for (int i = 0; i < 12; i++) {
        node *n = in_parts(i);
        cr_assert_not_null(n, "%d: %s", i, c.error.text);
        expect_as_host(&c, &n, 1);
    }
}

static pool_options square(int64_t kernel, int64_t stride, int64_t padding) {
    return (pool_options){.kernel = {kernel, kernel},
                          .stride = {stride, stride},
                          .padding = {padding, padding},
                          .dilation = {1, 1},
                          .count_include_pad = true};
}

Test(shaping, pooling_refuses) {
    node *x = floats(4, 1, 1, 5, 6);
    pool_options o = square(2, 2, 2);
    REFUSED(op_max_pool(g, x, 2, &o), MARE_E_ARGUMENT, "padding 2 is more than half");
    o = square(7, 1, 0);
    REFUSED(op_avg_pool(g, x, 2, &o), MARE_E_SHAPE, "a window of 7 does not fit axis 2");
    o = square(0, 1, 0);
    REFUSED(op_avg_pool(g, x, 2, &o), MARE_E_ARGUMENT, "kernel 0");
    o = square(INT64_MAX, 1, 0);
    REFUSED(op_max_pool(g, x, 2, &o), MARE_E_ARGUMENT, "out of range");
    o = square(2, 2, 0);
    REFUSED(op_max_pool(g, floats(2, 4, 4, 0, 0), 2, &o), MARE_E_SHAPE, "not [4, 4]");
    REFUSED(op_max_pool(g, op_cast(g, x, MARE_I32), 2, &o), MARE_E_DTYPE, "not i32");
    o.dilation[0] = 2;
    REFUSED(op_avg_pool(g, x, 2, &o), MARE_E_ARGUMENT, "no dilation");
}

/* NaN is the maximum of its window, the first of equals gets the gradient, windows of -inf work. */
Test(shaping, max_pooling_of_special_values) {
    const double n = NAN, f = INFINITY;
    const double x[] = {1, n, 3, 3, -f, -f, /**/ 2, 0, 3, 3, -f, -f};
    const double y[] = {n, 3, -f}, gx[] = {0, 1, 1, 0, 1, 0, /**/ 0, 0, 0, 0, 0, 0};
    shape s = {4, {1, 1, 2, 6}};
    for (int fast = 0; fast < 2; fast++) {
        node *a = checker_leaf(&c, MARE_F32, &s, x), *ga;
        a->requires_grad = true;
        pool_options o = square(2, 2, 0);
        if (!fast) { /* the same windows by the general kernel: a stride past the end is free */
            o.stride[0] = 3;
        }
        node *p = op_max_pool(g, a, 2, &o);
        cr_assert_not_null(p, "%s", c.error.text);
        cr_assert_eq(graph_grad(g, p, op_full(g, MARE_F32, &p->shape, 1), &a, 1, &ga), MARE_OK);
        expect_values(p, 3, y);
        expect_values(ga, 12, gx);
    }
}

/* Sizes that PyTorch 2 gives for one axis of a pooling. */
Test(shaping, pooling_sizes) {
    static const int64_t sizes[][6] = {
        /* size, kernel, stride, padding, rounded down, rounded up */
        {7, 2, 2, 0, 3, 4}, {7, 3, 2, 1, 4, 4}, {5, 1, 3, 0, 2, 2},
        {6, 3, 2, 0, 2, 3}, {1, 3, 2, 1, 1, 1}, {4, 2, 3, 1, 2, 2},
        {6, 2, 4, 1, 2, 2}, {3, 2, 5, 1, 1, 1}, {10, 3, 4, 0, 2, 3},
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const int64_t *t = sizes[i];
        node *x = floats(4, 1, 1, t[0], t[0]);
        pool_options o = square(t[1], t[2], t[3]);
        for (int up = 0; up < 2; up++) {
            o.ceil_mode = up;
            node *y = op_max_pool(g, x, 2, &o);
            cr_assert_not_null(y, "%s", c.error.text);
            cr_expect_eq(y->shape.dim[2], t[4 + up], "row %d: %d", (int)i, (int)y->shape.dim[2]);
        }
    }
}
