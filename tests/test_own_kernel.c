/* Kernels of the host's own, through the public C API. */
#define _POSIX_C_SOURCE 200809L
#include <criterion/criterion.h>
#include <mare/mare.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mare_context *ctx;

static void open_caps(const char *caps) {
    char why[512];
    mare_options o = {.seed = 1, .caps = caps, .error = why, .error_size = sizeof why};
    cr_assert_eq(mare_context_create(&o, &ctx), MARE_OK, "%s", why);
}

static void setup(void) {
    open_caps(NULL);
}

static void setup_phone(void) {
    open_caps("phone");
}

static void teardown(void) {
    mare_stats s;
    mare_get_stats(ctx, &s);
    cr_expect_eq(s.validation, 0, "the validation layer spoke");
    mare_context_destroy(ctx);
}

TestSuite(own_kernel, .init = setup, .fini = teardown, .timeout = 120);
TestSuite(own_kernel_phone, .init = setup_phone, .fini = teardown, .timeout = 120);

#define OK(call) cr_assert_eq((call), MARE_OK, #call ": %s", mare_last_error(ctx))
#define FAILS(expected, part, call)                                                                \
    do {                                                                                           \
        cr_expect_eq((call), expected, #call);                                                     \
        cr_expect_not_null(strstr(mare_last_error(ctx), part), "%s", mare_last_error(ctx));        \
    } while (0)

/* y = a x + b, and z, which has one element for each row of x: its sum. */
static const char *const in_names[] = {"x"}, *const out_names[] = {"y", "z"},
                         *const number_names[] = {"a", "b"};
static const char line_glsl[] = "y[i] = a * x[i] + b;\n"
                                "if (i < z_size) {\n"
                                "    z[i] = 0.0;\n"
                                "    for (uint k = 0; k < x_dim(1); k++)\n"
                                "        z[i] += x[i * x_dim(1) + k];\n"
                                "}\n";

static mare_kernel_options line_options(void) {
    return (mare_kernel_options){.name = "line",
                                 .glsl = line_glsl,
                                 .inputs = 1,
                                 .outputs = 2,
                                 .numbers = 2,
                                 .input_names = in_names,
                                 .output_names = out_names,
                                 .number_names = number_names};
}

static mare_tensor *matrix(mare_dtype t, const void *data) {
    mare_tensor *x;
    OK(mare_tensor_from(ctx, t, 2, (int64_t[]){2, 3}, data, &x));
    return x;
}

static void expect_values(mare_tensor *t, int n, const double *want) {
    double got[16];
    OK(mare_tensor_doubles(t, got, n));
    for (int i = 0; i < n; i++)
        cr_expect_eq(got[i], want[i], "element %d: %g, not %g", i, got[i], want[i]);
}

Test(own_kernel, has_results_of_several_shapes_and_numbers_that_change) {
    mare_kernel_options o = line_options();
    mare_kernel *k, *same;
    OK(mare_kernel_create(ctx, &o, &k));
    OK(mare_kernel_create(ctx, &o, &same));
    cr_expect_eq(k, same);
    mare_tensor *x = matrix(MARE_F32, (float[]){1, 2, 3, 4, 5, 6});
    mare_stats before = {0}, after;
    for (int step = 1; step <= 3; step++) {
        mare_tensor *out[2];
        OK(mare_kernel_run(k, &x, (double[]){step, 10}, (int[]){2, 1}, (int64_t[]){2, 3, 2}, 0,
                           out));
        OK(mare_eval(ctx, 2, out));
        double y[6];
        for (int i = 0; i < 6; i++)
            y[i] = step * (i + 1) + 10;
        expect_values(out[0], 6, y);
        expect_values(out[1], 2, (double[]){6, 15});
        mare_tensor_release(out[0]);
        mare_tensor_release(out[1]);
        if (step == 1) mare_get_stats(ctx, &before);
    }
    mare_get_stats(ctx, &after);
    cr_expect_eq(after.plans, before.plans);
    cr_expect_eq(after.pipelines, before.pipelines);
    mare_tensor_release(x);
}

/* Halves are seen as f32, bytes as i32. */
Test(own_kernel, sees_other_dtypes_converted) {
    const char *names[] = {"x", "n"}, *y_name[] = {"y"};
    mare_dtype kinds[] = {MARE_F32, MARE_I32};
    mare_kernel_options o = {.name = "mix",
                             .glsl = "y[i] = x[i] + float(n[i]);",
                             .inputs = 2,
                             .outputs = 1,
                             .input_names = names,
                             .output_names = y_name,
                             .input_dtypes = kinds};
    mare_kernel *k;
    OK(mare_kernel_create(ctx, &o, &k));
    mare_tensor *x = matrix(MARE_F32, (float[]){1, 2, 3, 4, 5, 6}), *half, *y;
    mare_tensor *n = matrix(MARE_U8, (uint8_t[]){200, 100, 50, 25, 12, 6});
    OK(mare_cast(x, MARE_F16, &half));
    OK(mare_kernel_run(k, (mare_tensor *[]){half, n}, NULL, (int[]){2}, (int64_t[]){2, 3}, 0, &y));
    expect_values(y, 6, (double[]){201, 102, 53, 29, 17, 12});
    mare_tensor *swapped[] = {n, half}, *none;
    FAILS(MARE_E_DTYPE, "mix: x is u8, where floats are expected",
          mare_kernel_run(k, swapped, NULL, (int[]){2}, (int64_t[]){2, 3}, 0, &none));
    mare_tensor *all[] = {x, half, n, y};
    for (int i = 0; i < 4; i++)
        mare_tensor_release(all[i]);
}

Test(own_kernel, refuses_what_makes_no_sense) {
    mare_kernel *k = NULL;
    mare_kernel_options o = line_options();
    cr_expect_eq(mare_kernel_create(NULL, &o, &k), MARE_E_ARGUMENT);
    cr_expect_eq(mare_kernel_create(ctx, NULL, &k), MARE_E_ARGUMENT);
    o.glsl = "float v = x[i];\ny[i] = v * nothing;";
    FAILS(MARE_E_SHADER, "shader line: line:2: 'nothing'", mare_kernel_create(ctx, &o, &k));
    cr_expect_null(k);
    o = line_options();
    o.glsl = NULL;
    FAILS(MARE_E_ARGUMENT, "kernel line: there is no GLSL", mare_kernel_create(ctx, &o, &k));
    o = line_options();
    o.name = "a line";
    FAILS(MARE_E_ARGUMENT, "\"a line\" is no name", mare_kernel_create(ctx, &o, &k));
    o = line_options();
    o.input_names = out_names;
    FAILS(MARE_E_ARGUMENT, "the name \"y\" is given twice", mare_kernel_create(ctx, &o, &k));
    o = line_options();
    o.input_names = NULL;
    FAILS(MARE_E_ARGUMENT, "\"\" cannot be a name", mare_kernel_create(ctx, &o, &k));
    int counts[][3] = {{-1, 1, 0}, {13, 1, 0}, {1, 0, 0}, {1, 5, 0}, {1, 1, -1}, {1, 1, 33}};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        o = line_options();
        o.inputs = counts[i][0], o.outputs = counts[i][1], o.numbers = counts[i][2];
        o.input_names = o.output_names = o.number_names = NULL;
        FAILS(MARE_E_ARGUMENT, "there can be 12, 1 to 4, and 32", mare_kernel_create(ctx, &o, &k));
    }
    o = line_options();
    o.output_dtypes = (mare_dtype[]){MARE_F32, MARE_I32};
    FAILS(MARE_E_DTYPE, "outputs share a dtype", mare_kernel_create(ctx, &o, &k));
    o.output_dtypes = (mare_dtype[]){MARE_F16, MARE_F16};
    FAILS(MARE_E_DTYPE, "y is f16; kernels see f32 and i32", mare_kernel_create(ctx, &o, &k));
    o = line_options();
    o.workgroup = 1 << 20;
    FAILS(MARE_E_UNSUPPORTED, "a workgroup of 1048576", mare_kernel_create(ctx, &o, &k));

    o = line_options();
    OK(mare_kernel_create(ctx, &o, &k));
    mare_tensor *x = matrix(MARE_F32, (float[6]){0}), *out[2];
    double numbers[] = {1, 2};
    int ranks[] = {2, 1}, deep[] = {2, 9};
    int64_t dims[12] = {2, 3, 2}, negative[] = {2, 3, -2};
    FAILS(MARE_E_ARGUMENT, "line: inputs or numbers are missing",
          mare_kernel_run(k, NULL, numbers, ranks, dims, 0, out));
    FAILS(MARE_E_ARGUMENT, "line: inputs or numbers are missing",
          mare_kernel_run(k, &x, NULL, ranks, dims, 0, out));
    FAILS(MARE_E_ARGUMENT, "line: x is not of this context",
          mare_kernel_run(k, (mare_tensor *[]){NULL}, numbers, ranks, dims, 0, out));
    cr_expect_neq(mare_kernel_run(k, &x, numbers, deep, dims, 0, out), MARE_OK);
    cr_expect_neq(mare_kernel_run(k, &x, numbers, ranks, negative, 0, out), MARE_OK);
    FAILS(MARE_E_ARGUMENT, "invocations are too many",
          mare_kernel_run(k, &x, numbers, ranks, dims, UINT64_MAX, out));
    mare_tensor_release(x);
}

/* As many tensors as a weak device binds are taken, and one more is refused. */
Test(own_kernel_phone, binds_what_the_device_does) {
    mare_device_info info;
    OK(mare_context_device(ctx, &info));
    const char *names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "j", "k", "l", "m"},
               *y[] = {"y"};
    int most = (int)info.storage_buffers;
    cr_assert(most >= 2 && most <= 12, "%d", most);
    mare_kernel_options o = {.name = "many",
                             .glsl = "y[i] = a[i];",
                             .inputs = most - 1,
                             .outputs = 1,
                             .input_names = names,
                             .output_names = y};
    mare_kernel *k;
    OK(mare_kernel_create(ctx, &o, &k));
    mare_tensor *in[12], *out;
    in[0] = matrix(MARE_F32, (float[]){1, 2, 3, 4, 5, 6});
    for (int i = 1; i < 12; i++)
        in[i] = in[0];
    OK(mare_kernel_run(k, in, NULL, (int[]){2}, (int64_t[]){2, 3}, 0, &out));
    expect_values(out, 6, (double[]){1, 2, 3, 4, 5, 6});
    o.inputs = most;
    FAILS(MARE_E_UNSUPPORTED, "inputs and outputs; this device binds",
          mare_kernel_create(ctx, &o, &k));
    mare_tensor_release(in[0]);
    mare_tensor_release(out);
}

static mare_status twice(void *user, mare_tensor *grad, int n, mare_tensor **out) {
    (void)n;
    return mare_map_scalar("mul", 1, &grad, *(double *)user, &out[0]);
}

Test(own_kernel, has_the_gradient_that_it_is_given) {
    const char *x_name[] = {"x"}, *y_name[] = {"y"};
    mare_kernel_options o = {.name = "double_it",
                             .glsl = "y[i] = 2.0 * x[i];",
                             .inputs = 1,
                             .outputs = 1,
                             .input_names = x_name,
                             .output_names = y_name};
    mare_kernel *k;
    double two = 2;
    OK(mare_kernel_create(ctx, &o, &k));
    mare_tensor *x = matrix(MARE_F32, (float[]){1, 2, 3, 4, 5, 6}), *plain, *y, *sum, *grad;
    OK(mare_set_requires_grad(x, true));
    OK(mare_kernel_run(k, &x, NULL, (int[]){2}, (int64_t[]){2, 3}, 0, &plain));
    OK(mare_custom(plain, 1, &x, &(mare_vjp){twice, NULL, &two}, &y));
    OK(mare_reduce("sum", y, 0, NULL, false, 0, &sum));
    OK(mare_backward(sum, NULL, false));
    OK(mare_grad(x, &grad));
    expect_values(grad, 6, (double[]){2, 2, 2, 2, 2, 2});
    mare_tensor *all[] = {x, plain, y, sum, grad};
    for (int i = 0; i < 5; i++)
        mare_tensor_release(all[i]);
}
