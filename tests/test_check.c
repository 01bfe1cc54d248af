/* MARE_CHECK: wrong shaders are found, right ones pass, also where functions are steep or jump. */
#define _XOPEN_SOURCE 700
#include "kernel/kernel.h"
#include "op_check.h"
#include "ops/ops.h"
#include "tree.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static checker c;

/* All shaders of the library, with `from` replaced by `to` in one of them. */
static void plant(const char *shader, const char *from, const char *to) {
    static char copy[1 << 16];
    bool planted = false;
    for (int i = 0; source_name(i); i++) {
        const char *name = source_name(i);
        char *owned;
        size_t len;
        if (strncmp(name, "shaders/", 8) != 0) continue;
        unsetenv("MARE_ROOT");
        const char *s = source_text(name, &len, &owned);
        const char *at = strcmp(name + 8, shader) == 0 ? strstr(s, from) : NULL;
        if (at) {
            snprintf(copy, sizeof copy, "%.*s%s%.*s", (int)(at - s), s, to,
                     (int)(len - (size_t)(at - s) - strlen(from)), at + strlen(from));
            planted = true;
        } else {
            cr_assert_lt(len, sizeof copy);
            snprintf(copy, sizeof copy, "%.*s", (int)len, s);
        }
        free(owned);
        tree_shader(name + 8, copy);
    }
    cr_assert(planted, "%s has no \"%s\"", shader, from);
    setenv("MARE_ROOT", tree_path(""), 1);
}

static void begin(void) {
    cr_assert(checker_open(&c, NULL), "%s", c.error.text);
    planner_set_check(c.planner, true);
    graph_scope_begin(&c.g);
}

static void end(void) {
    graph_scope_end(&c.g);
    checker_forget(&c);
    cr_expect(checker_close(&c));
}

static node *drawn(int rows, int columns, double lo, double hi) {
    shape s = shape_of(2, rows, columns);
    return checker_leaf(&c, MARE_F32, &s, checker_draw(&c, MARE_F32, rows * columns, lo, hi));
}

static void setup(void) {
    tree_open();
    unsetenv("MARE_ROOT");
}

TestSuite(check, .init = setup, .fini = tree_close);

/* Evaluates y, which must be refused with the op's name, and has no value afterwards. */
static void caught(node *y, const char *name) {
    char words[64];
    snprintf(words, sizeof words, "check: %s: element", name);
    cr_assert_not_null(y, "%s", c.error.text);
    cr_expect_eq(plan_eval(c.planner, &y, 1), MARE_E_SHADER);
    cr_expect(strstr(c.error.text, words) != NULL, "\"%s\" lacks \"%s\"", c.error.text, words);
    cr_expect_null(y->store);
}

Test(check, a_wrong_sum_in_softmax_is_caught) {
    plant("softmax/softmax.comp", "sum = ROW_TOTAL(sum);", "sum = ROW_TOTAL(sum) * 1.0001;");
    begin();
    /* In the middle of a graph, whose other ops are right. */
    node *x = op_map_scalar(&c.g, "mul", drawn(5, 7, -3, 3), 2);
    caught(op_sum(&c.g, op_softmax(&c.g, x, 1), 0, false), "softmax");
    end();
}

Test(check, a_wrong_index_in_take_is_caught) {
    plant("index/take.comp", "int(limit) - 1)", "int(limit) - 2)");
    begin();
    shape s = shape_of(1, 3);
    node *index = checker_leaf(&c, MARE_I32, &s, (double[]){0, 4, 2});
    caught(op_take(&c.g, drawn(5, 7, -3, 3), index, 0), "take");
    end();
}

Test(check, a_wrong_function_is_caught) {
    plant("include/math_exp.glsl", "float m_log1p(float x) {",
          "float m_log1p(float x) { x *= 1.00001;");
    begin();
    caught(op_map1(&c.g, "log1p", drawn(5, 7, 0.5, 3)), "log1p");
    end();
}

static void passes(node *y) {
    cr_assert_not_null(y, "%s", c.error.text);
    cr_expect_eq(plan_eval(c.planner, &y, 1), MARE_OK, "%s", c.error.text);
}

Test(check, steep_functions_and_jumps_pass) {
    begin();
    node *x = drawn(40, 50, -9, 9), *big = drawn(40, 50, 1e4, 1e5);
    passes(op_map1(&c.g, "sin", big));
    passes(op_map1(&c.g, "exp", op_map_scalar(&c.g, "mul", x, 9)));
    passes(op_map2(&c.g, "floordiv", op_map1(&c.g, "round", big),
                   op_full(&c.g, MARE_F32, &x->shape, 0.1)));
    passes(op_map2(&c.g, "mod", big, x));
    passes(op_map2(&c.g, "pow", op_map1(&c.g, "abs", x), x));
    end();
}

Test(check, sums_that_cancel_pass) {
    begin();
    node *x = drawn(300, 200, -1e3, 1e3);
    passes(op_sum(&c.g, x, 0, false));
    passes(op_matmul(&c.g, x, op_transpose(&c.g, x, 0, 1)));
    passes(op_var(&c.g, op_map_scalar(&c.g, "add", x, 1e6), 0, false, 1));
    end();
}

Test(check, half_precision_and_non_finite_values_pass) {
    begin();
    shape s = shape_of(1, 6);
    node *x = checker_leaf(&c, MARE_F32, &s, (double[]){NAN, INFINITY, -INFINITY, 0, 1e38, -1e-40});
    passes(op_map1(&c.g, "exp", x));
    passes(op_map2(&c.g, "mul", x, x));
    passes(op_softmax(&c.g, x, 0));
    passes(op_softmax(&c.g, op_cast(&c.g, x, MARE_F16), 0));
    passes(op_max(&c.g, x, 0, false));
    end();
}
