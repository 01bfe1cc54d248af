/* Compiled steps through the C API: what is noted, what a run takes and leaves, what is refused. */
#define _POSIX_C_SOURCE 200809L
#include <criterion/criterion.h>
#include <mare/mare.h>
#include <stdlib.h>
#include <string.h>

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
    cr_expect(s.validation <= 0, "the validation layer spoke");
    mare_context_destroy(ctx);
}

TestSuite(step, .init = setup, .fini = teardown, .timeout = 300);

#define OK(call) cr_assert_eq((call), MARE_OK, #call ": %s", mare_last_error(ctx))
#define FAILS(expected, part, call)                                                                \
    do {                                                                                           \
        cr_expect_eq((call), expected, #call);                                                     \
        cr_expect_not_null(strstr(mare_last_error(ctx), part), "%s", mare_last_error(ctx));        \
    } while (0)

static mare_tensor *vector(int64_t n, const float *data) {
    mare_tensor *t;
    OK(mare_tensor_from(ctx, MARE_F32, 1, &n, data, &t));
    return t;
}

static void expect_values(mare_tensor *t, int n, const double *want) {
    double got[8];
    OK(mare_tensor_doubles(t, got, n));
    for (int i = 0; i < n; i++)
        cr_expect_eq(got[i], want[i], "element %d: %g, not %g", i, got[i], want[i]);
}

/* w = w + x * number 0; its result: the sum of w before. */
static mare_status body(mare_tensor *w, mare_tensor *x, double number, mare_tensor **sum) {
    mare_tensor *n = NULL, *xn = NULL, *y = NULL;
    mare_status status = mare_reduce("sum", w, 0, NULL, false, 0, sum);
    if (!status) status = mare_step_number(ctx, MARE_F32, number, 0, &n);
    if (!status) status = mare_map("mul", 2, (mare_tensor *[]){x, n}, &xn);
    if (!status) status = mare_map("add", 2, (mare_tensor *[]){w, xn}, &y);
    if (!status) status = mare_assign(w, y);
    if (!status) status = mare_eval(ctx, 0, NULL);
    mare_tensor_release(n);
    mare_tensor_release(xn);
    mare_tensor_release(y);
    return status;
}

static mare_step *note(mare_tensor *w, mare_tensor *x, double number, mare_tensor **result) {
    mare_step *step;
    mare_tensor *sum;
    OK(mare_step_begin(ctx, 1, &x));
    OK(body(w, x, number, &sum));
    OK(mare_step_end(ctx, 1, &sum, result, &step));
    mare_tensor_release(sum);
    return step;
}

Test(step, is_done_again_with_other_inputs_and_numbers) {
    mare_tensor *w = vector(2, (float[]){1, 2}), *x = vector(2, (float[]){1, 0}), *sum;
    mare_step *step = note(w, x, 3, &sum);
    expect_values(sum, 1, (double[]){3});
    expect_values(w, 2, (double[]){4, 2});
    mare_tensor_release(sum);
    mare_stats before, after;
    mare_get_stats(ctx, &before);
    for (int i = 1; i <= 3; i++) {
        bool ran = false;
        double number = i;
        mare_tensor *other = vector(2, (float[]){0, (float)i});
        OK(mare_step_run(step, 1, &other, 1, &number, &sum, &ran));
        cr_assert(ran);
        expect_values(sum, 1, (double[]){i == 1 ? 6 : i == 2 ? 7 : 11});
        expect_values(w, 2, (double[]){4, i == 1 ? 3 : i == 2 ? 7 : 16});
        mare_tensor_release(sum);
        mare_tensor_release(other);
    }
    mare_get_stats(ctx, &after);
    cr_expect_eq(after.plans, before.plans);
    mare_step_release(step);
    mare_step_release(NULL);
    mare_tensor_release(w);
    mare_tensor_release(x);
}

Test(step, says_when_it_must_be_built_anew) {
    mare_tensor *w = vector(2, (float[]){1, 2}), *x = vector(2, (float[]){1, 0}), *sum;
    mare_step *step = note(w, x, 3, &sum);
    mare_tensor_release(sum);
    mare_tensor *longer = vector(3, (float[]){1, 0, 0}), *ints, *part;
    OK(mare_tensor_from(ctx, MARE_I32, 1, (int64_t[]){2}, (int32_t[]){1, 2}, &ints));
    OK(mare_slice(longer, (int64_t[]){1}, (int64_t[]){3}, (int64_t[]){1}, &part));
    double number = 1;
    bool ran = true;
    mare_tensor *bad[] = {longer, ints, part};
    for (int i = 0; i < 3; i++) {
        OK(mare_step_run(step, 1, &bad[i], 1, &number, &sum, &ran));
        cr_expect_not(ran, "input %d", i);
    }
    OK(mare_step_run(step, 0, NULL, 1, &number, &sum, &ran));
    cr_expect_not(ran, "no input");
    OK(mare_step_run(step, 1, &x, 0, NULL, &sum, &ran));
    cr_expect_not(ran, "no number");
    OK(mare_set_requires_grad(x, true));
    OK(mare_step_run(step, 1, &x, 1, &number, &sum, &ran));
    cr_expect_not(ran, "it requires a gradient");
    OK(mare_set_requires_grad(x, false));
    mare_no_grad(ctx, true);
    OK(mare_step_run(step, 1, &x, 1, &number, &sum, &ran));
    cr_expect_not(ran, "no gradients are recorded");
    mare_no_grad(ctx, false);
    expect_values(w, 2, (double[]){4, 2});
    OK(mare_step_run(step, 1, &x, 1, &number, &sum, &ran));
    cr_expect(ran);
    mare_tensor_release(sum);
    OK(mare_set_passes(ctx, "none"));
    OK(mare_step_run(step, 1, &x, 1, &number, &sum, &ran));
    cr_expect_not(ran, "other passes");
    expect_values(w, 2, (double[]){5, 2});
    mare_step_release(step);
    mare_tensor *all[] = {w, x, longer, ints, part};
    for (int i = 0; i < 5; i++)
        mare_tensor_release(all[i]);
}

Test(step, refuses_what_cannot_be) {
    mare_tensor *w = vector(2, (float[]){1, 2}), *x = vector(2, (float[]){1, 0}), *sum, *n;
    mare_step *step = note(w, x, 3, &sum), *none;
    mare_tensor_release(sum);
    FAILS(MARE_E_ARGUMENT, "none is being noted", mare_step_end(ctx, 0, NULL, NULL, &none));
    FAILS(MARE_E_ARGUMENT, "outside", mare_step_number(ctx, MARE_F32, 1, 0, &n));
    OK(mare_step_begin(ctx, 0, NULL));
    FAILS(MARE_E_ARGUMENT, "already", mare_step_begin(ctx, 0, NULL));
    bool ran;
    double number = 1, value;
    FAILS(MARE_E_ARGUMENT, "inside", mare_step_run(step, 1, &x, 1, &number, &sum, &ran));
    OK(mare_reduce("sum", w, 0, NULL, false, 0, &sum));
    FAILS(MARE_E_ARGUMENT, "a value of sum", mare_tensor_item(sum, &value));
    mare_random_set(ctx, 5, 0);
    FAILS(MARE_E_ARGUMENT, "random stream", mare_step_end(ctx, 0, NULL, NULL, &none));
    cr_expect_null(none);
    OK(mare_step_begin(ctx, 0, NULL));
    OK(mare_step_end(ctx, 0, NULL, NULL, NULL)); /* thrown away */
    OK(mare_tensor_item(sum, &value));
    cr_expect_eq(value, 6);
    mare_tensor_release(sum);
    cr_expect_eq(mare_step_begin(NULL, 0, NULL), MARE_E_ARGUMENT);
    cr_expect_eq(mare_step_begin(ctx, 1, NULL), MARE_E_ARGUMENT);
    cr_expect_eq(mare_step_run(NULL, 0, NULL, 0, NULL, NULL, &ran), MARE_E_ARGUMENT);
    mare_step_release(step);
    mare_tensor_release(w);
    mare_tensor_release(x);
}

/* A step keeps what it knows; the context takes it back. */
Test(step, outlives_handles_and_not_the_context) {
    mare_context *own = ctx;
    setup();
    mare_tensor *w = vector(2, (float[]){1, 2}), *x = vector(2, (float[]){1, 0}), *sum;
    mare_step *step = note(w, x, 3, &sum);
    mare_tensor_release(sum);
    mare_step *other = note(w, x, 3, &sum);
    mare_tensor_release(w);
    bool ran;
    double number = 1;
    for (int i = 0; i < 3; i++) {
        mare_tensor_release(sum);
        OK(mare_step_run(step, 1, &x, 1, &number, &sum, &ran));
        cr_assert(ran);
        expect_values(sum, 1, (double[]){9 + i});
    }
    OK(mare_step_begin(ctx, 1, &x)); /* left open */
    teardown();
    ctx = own;
    cr_expect_eq(mare_step_run(step, 1, &x, 1, &number, &sum, &ran), MARE_E_ARGUMENT);
    mare_step_release(step);
    mare_step_release(other);
    mare_tensor_release(x);
    mare_tensor_release(sum);
}

/* After a failure in a run all is as before, and the step can be done again. */
Test(step, that_fails_changes_nothing) {
    enum { N = 6 << 20 };
    float *data = calloc(N, sizeof *data);
    mare_tensor *w = vector(N, data), *x = vector(N, data), *sum, *most;
    free(data);
    mare_step *step = note(w, x, 3, &sum);
    mare_tensor_release(sum);
    double number = 1, value;
    bool ran;
    mare_tensor *held = mare_tensor_retain(w), *old;
    OK(mare_map_scalar("add", 1, &x, 1, &old));
    OK(mare_eval(ctx, 1, &old));
    mare_memory_trim(ctx);
    mare_memory_set_cap(ctx, 1 << 20); /* no memory beyond what there is */
    FAILS(MARE_E_DEVICE_MEMORY, "no device memory",
          mare_step_run(step, 1, &old, 1, &number, &sum, &ran));
    cr_expect_not(ran);
    mare_memory_set_cap(ctx, 0);
    OK(mare_reduce("max", w, 0, NULL, false, 0, &most));
    OK(mare_tensor_item(most, &value));
    cr_expect_eq(value, 0);
    mare_tensor_release(most);
    OK(mare_step_run(step, 1, &old, 1, &number, &sum, &ran));
    cr_expect(ran);
    OK(mare_reduce("max", w, 0, NULL, false, 0, &most));
    OK(mare_tensor_item(most, &value));
    cr_expect_eq(value, 1);
    mare_step_release(step);
    mare_tensor *all[] = {w, x, held, old, sum, most};
    for (int i = 0; i < 6; i++)
        mare_tensor_release(all[i]);
}
