/* The public C API, as a program that embeds Mare uses it. */
#define _POSIX_C_SOURCE 200809L
#include <criterion/criterion.h>
#include <mare/mare.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static mare_context *ctx;

static void setup(void) {
    char why[512];
    mare_status status = mare_context_create(
        &(mare_options){.seed = 1, .error = why, .error_size = sizeof why}, &ctx);
    cr_assert_eq(status, MARE_OK, "%s", why);
}

static void teardown(void) {
    mare_stats s;
    mare_get_stats(ctx, &s);
    cr_expect_eq(s.validation, 0, "the validation layer spoke");
    mare_context_destroy(ctx);
}

TestSuite(api, .init = setup, .fini = teardown, .timeout = 300);

/* A call that must succeed. */
#define OK(call) cr_assert_eq((call), MARE_OK, #call ": %s", mare_last_error(ctx))
/* A call that must fail with a status, and a text that has a part. */
#define FAILS(expected, part, call)                                                                \
    do {                                                                                           \
        cr_expect_eq((call), expected, #call);                                                     \
        cr_expect_not_null(strstr(mare_last_error(ctx), part), "%s", mare_last_error(ctx));        \
    } while (0)

static mare_tensor *tensor(int64_t rows, int64_t columns, const float *data) {
    mare_tensor *t;
    OK(mare_tensor_from(ctx, MARE_F32, 2, (int64_t[]){rows, columns}, data, &t));
    return t;
}

static mare_tensor *map1(const char *name, mare_tensor *a) {
    mare_tensor *y;
    OK(mare_map(name, 1, &a, &y));
    return y;
}

static mare_tensor *map2(const char *name, mare_tensor *a, mare_tensor *b) {
    mare_tensor *y;
    OK(mare_map(name, 2, (mare_tensor *[]){a, b}, &y));
    return y;
}

static void expect_values(mare_tensor *t, const double *want, int n) {
    double got[64];
    OK(mare_tensor_doubles(t, got, n));
    for (int i = 0; i < n; i++)
        cr_expect_float_eq(got[i], want[i], 1e-6, "element %d: %g, not %g", i, got[i], want[i]);
}

static const float six[] = {1, 2, 3, 4, 5, 6};

Test(api, elementwise_and_reading) {
    mare_tensor *a = tensor(2, 3, six), *y = map2("mul", a, a);
    cr_expect_not(mare_tensor_evaluated(y), "tensors are lazy");
    expect_values(y, (double[]){1, 4, 9, 16, 25, 36}, 6);
    cr_expect(mare_tensor_evaluated(y));
    mare_tensor_release(y);
    mare_tensor_release(a);
}

Test(api, views_read_as_what_they_show) {
    mare_tensor *a = tensor(2, 3, six), *t, *f, *s, *e, *c;
    OK(mare_permute(a, 2, (int[]){1, 0}, &t));
    expect_values(t, (double[]){1, 4, 2, 5, 3, 6}, 6);
    OK(mare_flip(a, 2, (int[]){0, 1}, &f));
    expect_values(f, (double[]){6, 5, 4, 3, 2, 1}, 6);
    OK(mare_slice(a, (int64_t[]){0, 2}, (int64_t[]){2, -4}, (int64_t[]){1, -2}, &s));
    expect_values(s, (double[]){3, 1, 6, 4}, 4);
    OK(mare_reshape(s, 3, (int64_t[]){2, 2, 1}, &c));
    OK(mare_expand(c, 3, (int64_t[]){2, 2, 3}, &e));
    expect_values(e, (double[]){3, 3, 3, 1, 1, 1, 6, 6, 6, 4, 4, 4}, 12);
    mare_tensor *all[] = {a, t, f, s, e, c};
    for (int i = 0; i < 6; i++)
        mare_tensor_release(all[i]);
}

/* y = 2 x - 1, learned by gradient descent. */
Test(api, a_model_learns_and_its_plan_is_made_once) {
    float xs[64], ys[64];
    for (int i = 0; i < 64; i++) {
        xs[i] = (float)i / 32 - 1;
        ys[i] = 2 * xs[i] - 1;
    }
    mare_tensor *x = tensor(64, 1, xs), *y = tensor(64, 1, ys);
    mare_tensor *w = tensor(1, 1, (float[]){0}), *b = tensor(1, 1, (float[]){0});
    OK(mare_set_requires_grad(w, true));
    OK(mare_set_requires_grad(b, true));
    mare_stats settled = {0}, now;
    for (int step = 0; step < 60; step++) {
        mare_tensor *xw, *loss;
        OK(mare_matmul(x, w, &xw));
        mare_tensor *p = map2("add", xw, b);
        OK(mare_loss("mse", p, y, MARE_MEAN, &loss));
        OK(mare_backward(loss, NULL, false));
        mare_no_grad(ctx, true);
        mare_tensor *params[] = {w, b};
        for (int i = 0; i < 2; i++) {
            mare_tensor *g, *d, *next;
            OK(mare_grad(params[i], &g));
            /* a rate that changes at every step must not make a new plan */
            OK(mare_map_scalar("mul", 1, &g, 0.5 / (1 + 0.01 * step), &d));
            next = map2("sub", params[i], d);
            OK(mare_assign(params[i], next));
            OK(mare_set_grad(params[i], NULL));
            mare_tensor_release(g);
            mare_tensor_release(d);
            mare_tensor_release(next);
        }
        mare_no_grad(ctx, false);
        OK(mare_eval(ctx, 0, NULL));
        cr_expect(mare_tensor_evaluated(loss), "backward() asks for its loss");
        mare_tensor_release(xw);
        mare_tensor_release(p);
        mare_tensor_release(loss);
        if (step == 2) mare_get_stats(ctx, &settled);
    }
    mare_get_stats(ctx, &now);
    cr_expect_eq(now.plans, settled.plans, "plans: %llu, then %llu",
                 (unsigned long long)settled.plans, (unsigned long long)now.plans);
    cr_expect_eq(now.pipelines, settled.pipelines);
    cr_expect_eq(now.nodes, settled.nodes, "nodes: %llu, then %llu",
                 (unsigned long long)settled.nodes, (unsigned long long)now.nodes);
    double v;
    OK(mare_tensor_item(w, &v));
    cr_expect_float_eq(v, 2, 1e-3, "w = %g", v);
    OK(mare_tensor_item(b, &v));
    cr_expect_float_eq(v, -1, 1e-3, "b = %g", v);
    mare_tensor *all[] = {x, y, w, b};
    for (int i = 0; i < 4; i++)
        mare_tensor_release(all[i]);
}

Test(api, assignment_leaves_what_was_computed_before) {
    mare_tensor *a = tensor(1, 2, six), *two, *before = map1("neg", a);
    OK(mare_full(ctx, MARE_F32, 2, (int64_t[]){1, 2}, 7, &two));
    OK(mare_assign(a, two));
    expect_values(before, (double[]){-1, -2}, 2);
    expect_values(a, (double[]){7, 7}, 2);
    mare_tensor *wrong = tensor(2, 1, six);
    FAILS(MARE_E_SHAPE, "assign: f32 [2, 1] given for f32 [1, 2]", mare_assign(a, wrong));
    mare_tensor *all[] = {a, two, before, wrong};
    for (int i = 0; i < 4; i++)
        mare_tensor_release(all[i]);
}

Test(api, a_part_is_written_with_its_history) {
    int64_t start[] = {0, 1}, stop[] = {1, 2}, step[] = {1, 1};
    mare_tensor *a = tensor(1, 2, (float[]){3, 4}), *v = tensor(1, 1, (float[]){5});
    mare_tensor *ones = tensor(1, 2, (float[]){1, 1}), *x, *y, *g[2], *none;
    OK(mare_set_requires_grad(a, true));
    OK(mare_set_requires_grad(v, true));
    x = map2("mul", a, a);
    OK(mare_put_slice(x, start, stop, step, v, &y));
    OK(mare_rebind(x, y));
    expect_values(x, (double[]){9, 5}, 2);
    OK(mare_gradients(x, ones, 2, (mare_tensor *[]){a, v}, g));
    expect_values(g[0], (double[]){6, 0}, 2);
    expect_values(g[1], (double[]){1}, 1);
    FAILS(MARE_E_ARGUMENT, "under no_grad", mare_rebind(a, y));
    FAILS(MARE_E_SHAPE, "assignment: f32 [1, 1] given for f32 [1, 2]", mare_rebind(x, v));
    FAILS(MARE_E_SHAPE, "assignment: [1, 2] does not stretch to the part [1, 1]",
          mare_put_slice(x, start, stop, step, a, &none));
    mare_no_grad(ctx, true);
    OK(mare_rebind(a, y));
    mare_no_grad(ctx, false);
    cr_expect(mare_requires_grad(a));
    expect_values(a, (double[]){9, 5}, 2);
    mare_tensor *all[] = {a, v, ones, x, y, g[0], g[1]};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        mare_tensor_release(all[i]);
}

Test(api, requiring_a_gradient_concerns_one_handle) {
    mare_tensor *a = tensor(2, 3, six), *same, *y, *g;
    OK(mare_reshape(a, 2, (int64_t[]){2, 3}, &same));
    OK(mare_set_requires_grad(same, true));
    cr_expect(mare_requires_grad(same));
    cr_expect_not(mare_requires_grad(a));
    y = map2("mul", same, a);
    OK(mare_backward(y, a, false));
    OK(mare_grad(same, &g));
    expect_values(g, (double[]){1, 4, 9, 16, 25, 36}, 6);
    mare_tensor *all[] = {a, same, y, g};
    for (int i = 0; i < 4; i++)
        mare_tensor_release(all[i]);
}

Test(api, second_backward_needs_the_graph_retained) {
    mare_tensor *w = tensor(1, 1, (float[]){3}), *g, *y, *loss;
    OK(mare_set_requires_grad(w, true));
    y = map2("mul", w, w);
    loss = map2("mul", y, w);
    OK(mare_backward(loss, NULL, true));
    OK(mare_backward(loss, NULL, false));
    OK(mare_grad(w, &g));
    expect_values(g, (double[]){54}, 1); /* 3 w^2, twice */
    FAILS(MARE_E_ARGUMENT, "let go by an earlier backward", mare_backward(loss, NULL, false));
    mare_tensor *all[] = {w, g, y, loss};
    for (int i = 0; i < 4; i++)
        mare_tensor_release(all[i]);
}

Test(api, gradients_of_gradients) {
    mare_tensor *x = tensor(1, 1, (float[]){2}), *g1, *g2, *g3, *y = NULL;
    OK(mare_set_requires_grad(x, true));
    mare_tensor *x2 = map2("mul", x, x), *x4 = map2("mul", x2, x2);
    y = x4;
    OK(mare_gradients(y, NULL, 1, &x, &g1));
    OK(mare_gradients(g1, NULL, 1, &x, &g2));
    OK(mare_gradients(g2, NULL, 1, &x, &g3));
    expect_values(g1, (double[]){32}, 1);
    expect_values(g2, (double[]){48}, 1);
    expect_values(g3, (double[]){48}, 1);
    mare_tensor *all[] = {x, g1, g2, g3, x2, x4};
    for (int i = 0; i < 6; i++)
        mare_tensor_release(all[i]);
}

/* A gradient of the host's: the user's number times what comes in; a negative one fails. */
typedef struct scaler {
    double factor;
    int runs, ends;
} scaler;

static mare_status scale_gradient(void *user, mare_tensor *grad, int n, mare_tensor **out) {
    scaler *s = user;
    s->runs++;
    cr_expect_eq(n, 1);
    if (s->factor < 0) return mare_fail(ctx, MARE_E_RANGE, "scaler: a negative factor");
    return mare_map_scalar("mul", 1, &grad, s->factor, &out[0]);
}

static void end_scaler(void *user) {
    ((scaler *)user)->ends++;
}

static mare_tensor *parameter(const float *data) {
    mare_tensor *x = tensor(1, 3, data);
    OK(mare_set_requires_grad(x, true));
    return x;
}

Test(api, gradients_of_the_host) {
    scaler five = {.factor = 5}, two = {.factor = 2}, bad = {.factor = -1};
    mare_tensor *x = parameter((float[]){1, 2, 3}), *plain, *y, *z, *grad, *negative;
    mare_tensor *ones = tensor(1, 3, (float[]){1, 1, 1});
    mare_no_grad(ctx, true);
    plain = map1("square", x);
    mare_no_grad(ctx, false);
    OK(mare_custom(plain, 1, &x, &(mare_vjp){scale_gradient, end_scaler, &five}, &y));
    OK(mare_add_hook(x, &(mare_vjp){scale_gradient, end_scaler, &two}, NULL));
    z = map2("mul", y, y);
    OK(mare_backward(z, ones, false));
    OK(mare_grad(x, &grad));
    expect_values(grad, (double[]){2 * 1 * 5 * 2, 2 * 4 * 5 * 2, 2 * 9 * 5 * 2}, 3);
    cr_expect_eq(five.runs, 1);
    cr_expect_eq(two.runs, 1);
    cr_expect_eq(five.ends, 1, "the graph is spent, and what it called with it");
    cr_expect_eq(two.ends, 0);

    int id;
    OK(mare_add_hook(x, &(mare_vjp){scale_gradient, end_scaler, &bad}, &id));
    negative = map1("neg", x);
    FAILS(MARE_E_RANGE, "scaler: a negative factor", mare_backward(negative, ones, false));
    mare_remove_hook(x, id);
    cr_expect_eq(bad.ends, 1);
    OK(mare_set_requires_grad(plain, false));
    FAILS(MARE_E_ARGUMENT, "requires no gradient",
          mare_add_hook(plain, &(mare_vjp){scale_gradient, end_scaler, &bad}, &id));
    cr_expect_eq(bad.ends, 2);
    mare_tensor *all[] = {x, y, z, plain, grad, negative, ones};
    for (int i = 0; i < 7; i++)
        mare_tensor_release(all[i]);
}

Test(api, checkpoints_compute_again) {
    mare_tensor *x = parameter((float[]){0.1f, 0.2f, 0.3f}), *y, *grad;
    mare_tensor *ones = tensor(1, 3, (float[]){1, 1, 1});
    uint64_t start = mare_checkpoint_start(ctx);
    mare_tensor *sine = map1("sin", x), *inner = map1("exp", sine);
    OK(mare_checkpoint(inner, start, &y));
    OK(mare_backward(y, ones, false));
    OK(mare_grad(x, &grad));
    double want[3];
    for (int i = 0; i < 3; i++)
        want[i] = exp(sin(0.1 * (i + 1))) * cos(0.1 * (i + 1));
    expect_values(grad, want, 3);
    mare_tensor *all[] = {x, y, grad, ones, sine, inner};
    for (int i = 0; i < 6; i++)
        mare_tensor_release(all[i]);
}

Test(api, bad_calls_say_what_is_wrong) {
    mare_tensor *a = tensor(2, 3, six), *b = tensor(1, 6, six), *y = NULL, *i32;
    FAILS(MARE_E_SHAPE, "[2, 3]", mare_map("add", 2, (mare_tensor *[]){a, b}, &y));
    cr_expect_null(y);
    FAILS(MARE_E_SHAPE, "matmul", mare_matmul(a, a, &y));
    FAILS(MARE_E_ARGUMENT, "nonsense", mare_map("nonsense", 1, &a, &y));
    FAILS(MARE_E_ARGUMENT, "axis",
          mare_call(ctx, "softmax", 2,
                    (mare_arg[]){mare_arg_tensor("x", a), mare_arg_number("dim", 2)}, 1, &y));
    FAILS(MARE_E_SHAPE, "item", mare_tensor_item(a, &(double){0}));
    OK(mare_cast(a, MARE_I32, &i32));
    FAILS(MARE_E_DTYPE, "i32", mare_set_requires_grad(i32, true));
    FAILS(MARE_E_ARGUMENT, "backward: the result does not depend", mare_backward(a, NULL, false));
    FAILS(MARE_E_ARGUMENT, "dimensions",
          mare_tensor_from(ctx, MARE_F32, 9, (int64_t[9]){0}, six, &y));
    FAILS(MARE_E_SHAPE, "dimension 1", mare_full(ctx, MARE_F32, 1, (int64_t[]){-2}, 0, &y));
    mare_tensor *all[] = {a, b, i32};
    for (int i = 0; i < 3; i++)
        mare_tensor_release(all[i]);
}

Test(api, computed_indices_are_checked_too) {
    mare_tensor *table = tensor(2, 3, six), *x = tensor(1, 2, (float[]){0, 2}), *index, *y;
    OK(mare_cast(x, MARE_I32, &index));
    FAILS(MARE_E_RANGE, "2", mare_take(table, index, 0, &y));
    OK(mare_take(table, index, 1, &y));
    expect_values(y, (double[]){1, 3, 4, 6}, 4);
    mare_tensor *all[] = {table, x, index, y};
    for (int i = 0; i < 4; i++)
        mare_tensor_release(all[i]);
}

Test(api, memory_cap_is_a_status_and_nothing_is_lost) {
    mare_tensor *a = tensor(2, 3, six), *big, *y;
    OK(mare_eval(ctx, 1, &a));
    mare_memory m;
    mare_memory_stats(ctx, &m);
    mare_memory_set_cap(ctx, m.used + (8 << 20));
    OK(mare_full(ctx, MARE_F32, 2, (int64_t[]){4096, 4096}, 1, &big));
    FAILS(MARE_E_DEVICE_MEMORY, "cap", mare_eval(ctx, 1, &big));
    y = map2("add", a, a);
    expect_values(y, (double[]){2, 4, 6, 8, 10, 12}, 6);
    mare_memory_set_cap(ctx, 0);
    OK(mare_eval(ctx, 1, &big));
    mare_tensor *all[] = {a, big, y};
    for (int i = 0; i < 3; i++)
        mare_tensor_release(all[i]);
}

Test(api, contexts_live_side_by_side) {
    mare_context *other;
    cr_assert_eq(mare_context_create(&(mare_options){.seed = 2}, &other), MARE_OK);
    mare_tensor *a = tensor(2, 3, six), *b, *y;
    cr_assert_eq(mare_tensor_from(other, MARE_F32, 2, (int64_t[]){2, 3}, six, &b), MARE_OK);
    FAILS(MARE_E_ARGUMENT, "another context", mare_map("add", 2, (mare_tensor *[]){a, b}, &y));
    mare_tensor *c = map2("add", a, a);
    expect_values(c, (double[]){2, 4, 6, 8, 10, 12}, 6);
    mare_context_destroy(other);
    cr_expect_eq(mare_map("exp", 1, &b, &y), MARE_E_ARGUMENT, "its context is gone");
    mare_tensor_release(b);
    mare_tensor_release(a);
    mare_tensor_release(c);
}

Test(api, random_numbers_repeat_from_a_saved_position) {
    mare_tensor *a, *b;
    float x[32], y[32];
    uint64_t seed, at;
    mare_random_get(ctx, &seed, &at);
    OK(mare_normal(ctx, 1, (int64_t[]){32}, 0, 1, &a));
    OK(mare_tensor_read(a, x, sizeof x));
    mare_random_set(ctx, seed, at);
    OK(mare_normal(ctx, 1, (int64_t[]){32}, 0, 1, &b));
    OK(mare_tensor_read(b, y, sizeof y));
    cr_expect_eq(memcmp(x, y, sizeof x), 0);
    mare_tensor_release(b);
    OK(mare_normal(ctx, 1, (int64_t[]){32}, 0, 1, &b));
    OK(mare_tensor_read(b, y, sizeof y));
    cr_expect_neq(memcmp(x, y, sizeof x), 0, "the stream moves on");
    mare_tensor_release(a);
    mare_tensor_release(b);
}

Test(api, files_keep_names_values_and_notes) {
    char path[] = "/tmp/mare-api-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    mare_tensor *a = tensor(2, 3, six), *y = map2("add", a, a);
    OK(mare_save(ctx, path, 2, (const char *[]){"a", "y"}, (mare_tensor *[]){a, y}, 1,
                 (const char *[]){"epoch"}, (const char *[]){"3"}));
    mare_bundle *b;
    OK(mare_load(ctx, path, &b));
    cr_expect_eq(mare_bundle_count(b), 2);
    cr_expect_str_eq(mare_bundle_note(b, "epoch"), "3");
    cr_assert_not_null(mare_bundle_find(b, "y"));
    expect_values(mare_bundle_find(b, "y"), (double[]){2, 4, 6, 8, 10, 12}, 6);
    cr_expect_null(mare_bundle_find(b, "z"));
    mare_bundle_free(b);
    FILE *f = fopen(path, "wb");
    fputs("no such thing", f);
    fclose(f);
    FAILS(MARE_E_FORMAT, path, mare_load(ctx, path, &b));
    unlink(path);
    mare_tensor_release(a);
    mare_tensor_release(y);
}

Test(api, long_chains_do_not_run_away) {
    mare_tensor *x = tensor(1, 2, (float[]){0, 1});
    for (int i = 0; i < 25000; i++) {
        mare_tensor *y;
        OK(mare_map_scalar("add", 1, &x, 1, &y));
        mare_tensor_release(x);
        x = y;
    }
    expect_values(x, (double[]){25000, 25001}, 2);
    mare_tensor_release(x);
}

/* ---- What the environment switches on ------------------------------------------------------ */

static char shown[1 << 16];

static void show(void *user, const char *text) {
    (void)user;
    size_t n = strlen(shown);
    snprintf(shown + n, sizeof shown - n, "%s", text);
}

/* What MARE_DUMP=word shows while exp is evaluated, twice. */
static void dump_exp(const char *word) {
    setenv("MARE_DUMP", word, 1);
    setup();
    shown[0] = 0;
    mare_set_dump(ctx, show, NULL);
    mare_set_location(ctx, "net.lua", 7);
    mare_tensor *a = tensor(2, 3, six);
    for (int i = 0; i < 2; i++) {
        mare_tensor *y = map1("exp", a);
        OK(mare_eval(ctx, 1, &y));
        mare_tensor_release(y);
    }
    mare_tensor_release(a);
    teardown();
}

static int count(const char *part) {
    int n = 0;
    for (const char *at = shown; (at = strstr(at, part)); at++)
        n++;
    return n;
}

Test(api_environment, dump_shows_each_new_plan_with_the_scripts_lines) {
    dump_exp("plan");
    cr_expect_eq(count("exp (net.lua:7)"), 1, "%s", shown);
    cr_expect_eq(count("graph: ") + count("memory of plan ") + count("#version"), 0, "%s", shown);
}

Test(api_environment, dump_shows_graphs_before_their_plans) {
    dump_exp("graph,plan");
    const char *nodes = strstr(shown, "graph: 2 nodes, 1 wanted\n"), *plan = strstr(shown, "plan ");
    cr_assert(nodes && plan && nodes < plan, "%s", shown);
    cr_expect_eq(count("node 1: exp f32 [2, 3] of 0 (net.lua:7) <- wanted"), 1, "%s", shown);
}

Test(api_environment, dump_shows_memory_over_steps) {
    dump_exp("memory");
    cr_expect_eq(count("memory of plan "), 1, "%s", shown);
    cr_expect_eq(count("       0            0  exp (net.lua:7)\n"), 1, "%s", shown);
}

/* The text is what the compiler reads: includes in place, the expression in its defines. */
Test(api_environment, dump_shows_whole_kernels) {
    dump_exp("glsl");
    cr_expect_eq(count("// kernel elementwise/map.comp: 2 buffers, constants "), 1, "%s", shown);
    cr_expect_eq(count("#version 450\n"), 1, "%s", shown);
    cr_expect_eq(count("#define BODY "), 1, "%s", shown);
    cr_expect_geq(count("uint group_index() {"), 1, "%s", shown);
}

Test(api_environment, a_dump_that_is_not_known) {
    char why[512] = "";
    mare_context *none = NULL;
    setenv("MARE_DUMP", "plan,plams", 1);
    cr_expect_eq(
        mare_context_create(&(mare_options){.error = why, .error_size = sizeof why}, &none),
        MARE_E_ARGUMENT);
    cr_expect_null(none);
    cr_expect_not_null(strstr(why, "\"plams\" is none of graph, plan, memory, glsl"), "%s", why);
}

Test(api_environment, eager_stops_at_the_first_bad_value) {
    setenv("MARE_EAGER", "1", 1);
    setup();
    mare_set_location(ctx, "net.lua", 9);
    mare_tensor *a = tensor(1, 2, (float[]){1, -1}), *y = NULL;
    FAILS(MARE_E_RANGE, "log: element 1 is NaN", mare_map("log", 1, &a, &y));
    cr_expect_not_null(strstr(mare_last_error(ctx), "net.lua:9"));
    cr_expect_null(y);
    mare_tensor_release(a);
    teardown();
}

Test(api_environment, a_device_that_is_not_there) {
    char why[512] = "";
    mare_context *none = NULL;
    mare_options o = {.device = "no such device", .error = why, .error_size = sizeof why};
    cr_expect_eq(mare_context_create(&o, &none), MARE_E_NO_DEVICE);
    cr_expect_null(none);
    cr_expect_not_null(strstr(why, "no such device"), "%s", why);
    o = (mare_options){.caps = "-nonsense", .error = why, .error_size = sizeof why};
    cr_expect_eq(mare_context_create(&o, &none), MARE_E_ARGUMENT);
    cr_expect_not_null(strstr(why, "nonsense"), "%s", why);
}
