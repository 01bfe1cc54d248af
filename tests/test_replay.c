/* Replay: a loop whose shape stays is recorded a few times and then only submitted, with the values
 * and buffers of each run; memory stays flat; submissions are cut to a bound. */
#define _POSIX_C_SOURCE 200809L
#include <criterion/criterion.h>
#include <mare/mare.h>
#include <stdlib.h>
#include <string.h>

static mare_context *ctx;

static void start(const char *caps) {
    unsetenv("MARE_PASSES"); /* replay is what this is about */
    char why[512];
    mare_status status = mare_context_create(
        &(mare_options){.seed = 1, .caps = caps, .error = why, .error_size = sizeof why}, &ctx);
    cr_assert_eq(status, MARE_OK, "%s", why);
}

static void end(void) {
    mare_stats s;
    mare_get_stats(ctx, &s);
    cr_expect(s.validation <= 0, "the validation layer spoke");
    mare_context_destroy(ctx);
}

TestSuite(replay, .timeout = 600);

#define OK(call) cr_assert_eq((call), MARE_OK, #call ": %s", mare_last_error(ctx))

enum { ROWS = 6, COLUMNS = 4, COUNT = ROWS * COLUMNS };

static mare_stats stats(void) {
    mare_stats s;
    mare_get_stats(ctx, &s);
    return s;
}

static mare_tensor *numbers(float from) {
    float data[COUNT];
    mare_tensor *t;
    for (int i = 0; i < COUNT; i++)
        data[i] = from + (float)(i % 7) / 8;
    OK(mare_tensor_from(ctx, MARE_F32, 2, (int64_t[]){ROWS, COLUMNS}, data, &t));
    return t;
}

/* Replaces *t by the result of an operation on it. */
static void step_map(mare_tensor **t, const char *name, mare_tensor *b) {
    mare_tensor *y;
    OK(mare_map(name, 2, (mare_tensor *[]){*t, b}, &y));
    mare_tensor_release(*t);
    *t = y;
}

static void step_scalar(mare_tensor **t, const char *name, double b) {
    mare_tensor *y;
    OK(mare_map_scalar(name, 1, t, b, &y));
    mare_tensor_release(*t);
    *t = y;
}

/* One step of a loop with a state: w = w * decay + sum over columns of (x * w), and noise; a rate
 * that changes with every step. Several launches, of which some depend on others. */
static void step(mare_tensor *w, mare_tensor *x, int i) {
    mare_tensor *y = mare_tensor_retain(w), *sum, *noise;
    step_map(&y, "mul", x);
    OK(mare_reduce("sum", y, 1, (int[]){1}, true, 0, &sum));
    OK(mare_uniform(ctx, 2, (int64_t[]){ROWS, COLUMNS}, 0, 1, &noise));
    step_map(&y, "add", sum);
    step_scalar(&y, "mul", 1.0 / (2 + i));
    step_map(&y, "add", noise);
    step_scalar(&y, "mul", 0.125);
    step_map(&y, "add", w);
    OK(mare_assign(w, y));
    OK(mare_eval(ctx, 0, NULL));
    mare_tensor_release(y);
    mare_tensor_release(sum);
    mare_tensor_release(noise);
}

typedef float values[COUNT];

/* w after n steps. Batches alternate between `batches` tensors; 0: each is uploaded anew. */
static void run(const char *caps, const char *passes, int n, int batches, values out) {
    start(caps);
    OK(mare_set_passes(ctx, passes));
    mare_tensor *w = numbers(1), *x[2] = {numbers(-1), numbers(2)};
    for (int i = 0; i < n; i++) {
        mare_tensor *fresh = batches ? NULL : numbers((float)(i % 5));
        step(w, batches ? x[i % batches] : fresh, i);
        mare_tensor_release(fresh);
    }
    OK(mare_tensor_read(w, out, sizeof(values)));
    mare_tensor_release(w);
    mare_tensor_release(x[0]);
    mare_tensor_release(x[1]);
    end();
}

static const char *const paths[] = {NULL, "-push_descriptor,-unified", "baseline"};

Test(replay, numbers_are_those_of_commands_recorded_anew) {
    for (int c = 0; c < 3; c++)
        for (int batches = 0; batches <= 2; batches++) {
            values with, without;
            run(paths[c], "all", 60, batches, with);
            run(paths[c], "-replay", 60, batches, without);
            cr_expect(memcmp(with, without, sizeof with) == 0, "caps %d, %d batches", c, batches);
            cr_expect(with[0] != with[1] && with[0] == with[0]);
        }
}

Test(replay, a_steady_loop_records_nothing) {
    for (int batches = 1; batches <= 2; batches++) {
        start(NULL);
        mare_tensor *w = numbers(1), *x[2] = {numbers(-1), numbers(2)};
        for (int i = 0; i < 16; i++) {
            step(w, x[i % batches], i);
            OK(mare_wait(ctx));
        }
        mare_stats before = stats();
        for (int i = 16; i < 80; i++) {
            step(w, x[i % batches], i);
            OK(mare_wait(ctx)); /* else one more recording may be made, to be ahead */
        }
        mare_stats after = stats();
        uint64_t launches = (after.launches - before.launches) / 64;
        cr_expect_eq(after.recorded, before.recorded, "%d batches: %d launches recorded", batches,
                     (int)(after.recorded - before.recorded));
        cr_expect_eq(after.plans, before.plans);
        cr_expect_eq(after.pipelines, before.pipelines);
        cr_expect_eq(after.submits - before.submits, 64, "a submission a step");
        cr_expect(launches > 0);
        for (int i = 80; i < 200; i++)
            step(w, x[i % batches], i);
        cr_expect(stats().recorded - after.recorded <= 8 * launches, "at most 8 recordings");
        mare_tensor_release(w);
        mare_tensor_release(x[0]);
        mare_tensor_release(x[1]);
        end();
    }
}

/* A long chain of launches that read one small batch at its start and its end. */
static mare_tensor *chain(mare_tensor *x) {
    mare_tensor *y = mare_tensor_retain(x), *t;
    for (int i = 0; i < 60; i++) {
        OK(mare_reduce("sum", y, 1, (int[]){1}, true, 0, &t));
        mare_tensor *wide;
        OK(mare_expand(t, 2, (int64_t[]){ROWS, COLUMNS}, &wide));
        mare_tensor_release(t);
        mare_tensor_release(y);
        y = wide;
        step_scalar(&y, "mul", 0.25);
    }
    step_map(&y, "add", x);
    return y;
}

Test(replay, only_what_reads_new_buffers_is_recorded_anew) {
    start(NULL);
    mare_tensor *all[120], *y[120];
    for (int i = 0; i < 120; i++)
        all[i] = numbers((float)i); /* none lies where another did */
    uint64_t recorded = 0, launches = 0;
    for (int i = 0; i < 120; i++) {
        y[i] = chain(all[i]);
        OK(mare_eval(ctx, 1, &y[i]));
        mare_stats s = stats();
        if (i == 99) {
            recorded = s.recorded;
            launches = s.launches;
        }
    }
    mare_stats s = stats();
    cr_expect(s.recorded > recorded, "each batch lies elsewhere");
    cr_expect((s.recorded - recorded) * 4 < s.launches - launches, "%d of %d launches recorded",
              (int)(s.recorded - recorded), (int)(s.launches - launches));
    for (int i = 0; i < 120; i++) {
        values in, out;
        OK(mare_tensor_read(all[i], in, sizeof in));
        OK(mare_tensor_read(y[i], out, sizeof out));
        for (int r = 0; r < ROWS; r++) { /* sums of 4 equal numbers by 1/4 move nothing */
            float mean = (in[r * 4] + in[r * 4 + 1] + in[r * 4 + 2] + in[r * 4 + 3]) / 4;
            for (int k = 0; k < 4; k++)
                cr_expect_eq(out[r * 4 + k], mean + in[r * 4 + k], "%d", i);
        }
        mare_tensor_release(all[i]);
        mare_tensor_release(y[i]);
    }
    end();
}

Test(replay, submissions_keep_to_the_bound) {
    start(NULL);
    mare_tensor *w = numbers(1), *x = numbers(2);
    for (int i = 0; i < 8; i++)
        step(w, x, i);
    mare_stats before = stats();
    mare_set_submit_ms(ctx, 1e-9);
    for (int i = 0; i < 8; i++)
        step(w, x, i);
    mare_stats cut = stats();
    cr_expect_eq(cut.submits - before.submits, cut.launches - before.launches, "one a launch");
    mare_set_submit_ms(ctx, 1e9);
    for (int i = 0; i < 8; i++)
        step(w, x, i);
    mare_stats whole = stats();
    cr_expect_eq(whole.submits - cut.submits, 8, "one a step");
    cr_expect(whole.launches - cut.launches > 8);
    mare_tensor_release(w);
    mare_tensor_release(x);
    end();
}

Test(replay, memory_stays_flat) {
    start(NULL);
    mare_tensor *w = numbers(1), *x = numbers(2);
    mare_memory first, last;
    uint64_t nodes = 0;
    for (int i = 0; i < 10000; i++) {
        step(w, x, i);
        if (i != 40) continue;
        mare_memory_stats(ctx, &first);
        nodes = stats().nodes;
    }
    mare_memory_stats(ctx, &last);
    cr_expect_eq(last.used, first.used);
    cr_expect_eq(last.used + last.cached, first.used + first.cached);
    cr_expect_eq(last.peak, first.peak);
    cr_expect_eq(stats().nodes, nodes);
    mare_tensor_release(w);
    mare_tensor_release(x);
    mare_memory_stats(ctx, &last);
    cr_expect_eq(last.used, 0, "%d bytes are held", (int)last.used);
    mare_memory_trim(ctx);
    mare_memory_stats(ctx, &last);
    cr_expect_eq(last.cached, 0, "%d bytes are cached", (int)last.cached);
    end();
}

/* What is kept for replay goes when there is no other memory. */
Test(replay, kept_buffers_give_way) {
    enum { MB = 1 << 20, N = 4 * MB };
    start(NULL);
    OK(mare_set_passes(ctx, "-inplace")); /* the result would take the temporary's memory */
    mare_tensor *x, *big = NULL;
    OK(mare_full(ctx, MARE_F32, 2, (int64_t[]){N, 1}, 1, &x));
    OK(mare_eval(ctx, 1, &x));
    for (int i = 0; i < 5; i++) { /* 16 MB of a result, and as much of temporaries */
        mare_tensor *sum, *y = mare_tensor_retain(x);
        OK(mare_reduce("sum", x, 1, (int[]){0}, true, 0, &sum));
        step_map(&y, "div", sum);
        OK(mare_reduce("max", y, 1, (int[]){0}, true, 0, &big));
        step_map(&y, "sub", big);
        OK(mare_eval(ctx, 1, &y));
        mare_tensor_release(sum);
        mare_tensor_release(big);
        mare_tensor_release(y);
    }
    mare_memory m;
    mare_memory_stats(ctx, &m);
    cr_expect(m.cached >= 32 * MB);
    uint64_t taken = m.used + m.cached;
    mare_memory_set_cap(ctx, taken);
    OK(mare_full(ctx, MARE_F32, 2, (int64_t[]){N, 1}, 1, &big));
    OK(mare_eval(ctx, 1, &big));
    mare_memory_stats(ctx, &m);
    cr_expect_eq(m.used + m.cached, taken, "it took the place of what was kept");
    mare_tensor_release(x);
    mare_tensor_release(big);
    end();
}

/* More plans than may have recordings. */
Test(replay, many_plans_take_turns) {
    start(NULL);
    for (int round = 0; round < 4; round++)
        for (int n = 1; n <= 40; n++) {
            mare_tensor *x, *y;
            OK(mare_full(ctx, MARE_F32, 1, (int64_t[]){n}, round, &x));
            OK(mare_map_scalar("add", 1, &x, n, &y));
            for (int i = 0; i < 9; i++) {
                mare_tensor *z;
                OK(mare_map_scalar("mul", 1, &y, i, &z));
                OK(mare_eval(ctx, 1, &z));
                double got[40];
                OK(mare_tensor_doubles(z, got, n));
                cr_expect_eq(got[n - 1], (round + n) * i);
                mare_tensor_release(z);
            }
            mare_tensor_release(x);
            mare_tensor_release(y);
        }
    end();
}
