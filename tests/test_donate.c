/* Donation: new values of parameters and state take the memory of those they replace, where nobody
 * else can see these any more, and nowhere else. */
#define _POSIX_C_SOURCE 200809L
#include "api/api.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static mare_context *ctx;

static void start(const char *passes) {
    unsetenv("MARE_PASSES"); /* donation is what this is about */
    unsetenv("MARE_CHECK");
    unsetenv("MARE_EAGER");
    cr_assert(mare_context_create(NULL, &ctx) == MARE_OK);
    cr_assert(mare_set_passes(ctx, passes) == MARE_OK);
}

static void end(void) {
    mare_stats s;
    mare_get_stats(ctx, &s);
    cr_expect(s.validation <= 0, "the validation layer spoke");
    mare_context_destroy(ctx);
}

TestSuite(donate, .timeout = 600);

#define OK(call) cr_assert((call) == MARE_OK, #call ": %s", mare_last_error(ctx))

enum { N = 24, COUNT = N * N, WARM = 4 };
typedef float values[COUNT];

static mare_tensor *numbers(float from) {
    values data;
    mare_tensor *t;
    for (int i = 0; i < COUNT; i++)
        data[i] = from + (float)(i * 37 % 19 - 9) / 64;
    OK(mare_tensor_from(ctx, MARE_F32, 2, (int64_t[]){N, N}, data, &t));
    return t;
}

static mare_tensor *map2(const char *name, mare_tensor *a, mare_tensor *b) {
    mare_tensor *y;
    OK(mare_map(name, 2, (mare_tensor *[]){a, b}, &y));
    return y;
}

static mare_tensor *scaled(mare_tensor *a, double by) {
    mare_tensor *y;
    OK(mare_map_scalar("mul", 1, &a, by, &y));
    return y;
}

static void release(int n, mare_tensor *const *list) {
    for (int i = 0; i < n; i++)
        mare_tensor_release(list[i]);
}

static const storage *place(const mare_tensor *t) {
    return t->node->store;
}

/* v = 0.9 v + g, w = w - rate v. */
static void update(mare_tensor *w, mare_tensor *v, mare_tensor *g, double rate) {
    mare_tensor *keep = scaled(v, 0.9), *velocity = map2("add", keep, g);
    mare_tensor *change = scaled(velocity, rate), *after = map2("sub", w, change);
    OK(mare_assign(v, velocity));
    OK(mare_assign(w, after));
    release(4, (mare_tensor *[]){keep, velocity, change, after});
}

/* Two layers whose weights are read by forward and backward passes: sum((x a b)^2) of state a, b
 * and their momentum. */
typedef struct net {
    mare_tensor *state[4];
} net;

static net make_net(void) {
    net n = {{numbers(0), numbers(0.1f), numbers(0), numbers(0)}};
    for (int i = 0; i < 2; i++)
        OK(mare_set_requires_grad(n.state[i], true));
    return n;
}

static mare_status train(const net *n, mare_tensor *x, double rate) {
    mare_tensor *h, *y, *loss;
    OK(mare_matmul(x, n->state[0], &h));
    OK(mare_matmul(h, n->state[1], &y));
    mare_tensor *square = map2("mul", y, y);
    OK(mare_reduce("mean", square, 0, NULL, false, 0, &loss));
    release(3, (mare_tensor *[]){h, y, square});
    OK(mare_backward(loss, NULL, false));
    for (int i = 0; i < 2; i++) {
        mare_tensor *g;
        OK(mare_grad(n->state[i], &g));
        update(n->state[i], n->state[2 + i], g, rate);
        mare_tensor_release(g);
        OK(mare_set_grad(n->state[i], NULL));
    }
    mare_status status = mare_eval(ctx, 0, NULL);
    mare_tensor_release(loss);
    return status;
}

static void read_net(const net *n, values out[4]) {
    for (int i = 0; i < 4; i++)
        OK(mare_tensor_read(n->state[i], out[i], sizeof out[i]));
}

/* ---- In place ----------------------------------------------------------------------------- */

/* 1,000 steps of a loop, or of a compiled step: values are those without donation to the bit, and
 * from the fourth step on everything stays where it is. Nothing waits for the device. */
static void run(bool compiled, bool donates, values out[4]) {
    start(donates ? "all" : "-donate");
    net n = make_net();
    mare_tensor *x = numbers(0.2f);
    mare_step *step = NULL;
    const storage *at[4];
    for (int i = 0; i < 1000; i++) {
        bool ran = true;
        if (step) {
            OK(mare_step_run(step, 1, &x, 0, NULL, NULL, &ran));
        } else if (compiled && i == 1) {
            OK(mare_step_begin(ctx, 1, &x));
            OK(train(&n, x, 0.05));
            OK(mare_step_end(ctx, 0, NULL, NULL, &step));
        } else {
            OK(train(&n, x, 0.05));
        }
        cr_assert(ran);
        for (int k = 0; k < 4 && donates; k++) {
            if (i == WARM) at[k] = place(n.state[k]);
            if (i > WARM) cr_assert(place(n.state[k]) == at[k], "tensor %d, step %d", k, i);
        }
    }
    mare_plan made;
    mare_get_plan(ctx, &made);
    cr_expect(made.donated == (donates ? 4 * sizeof(values) : 0));
    read_net(&n, out);
    mare_step_release(step);
    mare_tensor_release(x);
    release(4, n.state);
    end();
}

Test(donate, steps_stay_in_place_and_give_the_same_numbers) {
    static values with[4], without[4], compiled[4];
    run(false, false, without);
    run(false, true, with);
    run(true, true, compiled);
    cr_expect(memcmp(with, without, sizeof with) == 0);
    cr_expect(memcmp(compiled, without, sizeof compiled) == 0);
    cr_expect(with[0][0] == with[0][0] && with[0][0] != with[1][0]);
}

Test(donate, a_compiled_step_records_nothing_after_its_third_run) {
    start("all");
    net n = make_net();
    mare_tensor *x[2] = {numbers(0.2f), numbers(0.3f)};
    mare_step *step;
    OK(train(&n, x[0], 0.05));
    OK(mare_step_begin(ctx, 1, x));
    OK(train(&n, x[0], 0.05));
    OK(mare_step_end(ctx, 0, NULL, NULL, &step));
    mare_stats before = {0}, after;
    for (int i = 0; i < 100; i++) {
        bool ran;
        if (i == 3) mare_get_stats(ctx, &before);
        OK(mare_step_run(step, 1, x, 0, NULL, NULL, &ran));
        OK(mare_wait(ctx)); /* else one more recording may be made, to be ahead */
        cr_assert(ran);
    }
    mare_get_stats(ctx, &after);
    cr_expect(after.recorded == before.recorded, "%d launches recorded",
              (int)(after.recorded - before.recorded));
    mare_step_release(step);
    release(4, n.state);
    release(2, x);
    end();
}

/* What steps take beyond what is there between them: the arena, and no second copy of the state. */
Test(donate, a_step_needs_its_arena_alone) {
    uint64_t most[2];
    for (int donates = 0; donates < 2; donates++) {
        start(donates ? "all" : "-donate");
        net n = make_net();
        mare_tensor *x = numbers(0.2f);
        for (int i = 0; i < WARM; i++)
            OK(train(&n, x, 0.05));
        OK(mare_wait(ctx));
        mare_memory_trim(ctx);
        mare_memory before, after;
        mare_memory_stats(ctx, &before);
        mare_memory_reset_peak(ctx);
        for (int i = 0; i < WARM; i++)
            OK(train(&n, x, 0.05));
        mare_memory_stats(ctx, &after);
        mare_plan made;
        mare_get_plan(ctx, &made);
        most[donates] = after.peak - before.used - made.arena;
        mare_tensor_release(x);
        release(4, n.state);
        end();
    }
    cr_expect(most[0] >= 4 * sizeof(values), "%d bytes", (int)most[0]);
    cr_expect(most[1] < sizeof(values), "%d bytes", (int)most[1]); /* the loss */
}

/* ---- Not in place ------------------------------------------------------------------------- */

/* w = w + x, and whatever else holds what w was. */
static void bump(mare_tensor *w, mare_tensor *x) {
    mare_tensor *y = map2("add", w, x);
    OK(mare_assign(w, y));
    mare_tensor_release(y);
    OK(mare_eval(ctx, 0, NULL));
}

static float first(mare_tensor *t) {
    values v;
    OK(mare_tensor_read(t, v, sizeof v));
    return v[0];
}

typedef mare_tensor *hold(mare_tensor *w);

static mare_tensor *detached(mare_tensor *w) {
    mare_tensor *t;
    OK(mare_detach(w, &t));
    OK(mare_eval(ctx, 1, &t));
    return t;
}

static mare_tensor *pending(mare_tensor *w) {
    return scaled(w, 1);
}

static mare_tensor *pending_view(mare_tensor *w) {
    mare_tensor *t;
    OK(mare_detach(w, &t));
    return t;
}

/* Another handle that names the very node. */
static mare_tensor *rebound(mare_tensor *w) {
    mare_tensor *t = numbers(0);
    OK(mare_rebind(t, w));
    return t;
}

static mare_tensor *gradient(mare_tensor *w) {
    mare_tensor *t = numbers(0);
    OK(mare_set_grad(t, w));
    return t;
}

Test(donate, what_somebody_holds_stays_as_it_is) {
    start("all");
    hold *const holders[] = {detached, pending, pending_view, rebound, gradient};
    for (int h = 0; h < 5; h++) {
        mare_tensor *w = numbers(0), *x = numbers(1);
        for (int i = 0; i < WARM; i++)
            bump(w, x);
        const storage *at = place(w);
        bump(w, x);
        cr_expect(place(w) == at, "in place, with nobody there");
        float was = first(w);
        mare_tensor *held = holders[h](w), *seen = held;
        bump(w, x);
        cr_expect(place(w) != at, "holder %d", h);
        cr_expect(first(w) == was + first(x));
        if (holders[h] == gradient) OK(mare_grad(held, &seen));
        cr_expect(first(seen) == was, "holder %d: %g, not %g", h, (double)first(seen), (double)was);
        if (seen != held) mare_tensor_release(seen);
        mare_tensor_release(held);
        at = place(w);
        bump(w, x);
        cr_expect(place(w) == at, "in place again");
        release(2, (mare_tensor *[]){w, x});
    }
    end();
}

/* Steps that read what they replace in another order than they write it, or hand it out. */
Test(donate, only_what_is_read_where_it_is_written) {
    values want[2], got[2];
    for (int kind = 0; kind < 4; kind++)
        for (int donates = 0; donates < 2; donates++) {
            start(donates ? "all" : "-donate");
            mare_tensor *a = numbers(0), *b = numbers(0.5f);
            for (int i = 0; i < 8; i++) {
                mare_tensor *t[2], *old = NULL;
                OK(mare_permute(a, 2, (int[]){1, 0}, &t[0]));
                t[1] = scaled(a, 0.5);
                if (kind == 0) { /* a = a^T + b, b = b + a */
                    mare_tensor *x = map2("add", t[0], b), *y = map2("add", b, a);
                    OK(mare_assign(a, x));
                    OK(mare_assign(b, y));
                    release(2, (mare_tensor *[]){x, y});
                } else if (kind == 1) { /* they change places, scaled */
                    mare_tensor *x = scaled(b, 0.5);
                    OK(mare_assign(b, t[1]));
                    OK(mare_assign(a, x));
                    mare_tensor_release(x);
                } else if (kind == 2) { /* a = a b */
                    mare_tensor *x;
                    OK(mare_matmul(a, b, &x));
                    OK(mare_assign(a, x));
                    mare_tensor_release(x);
                } else { /* b = a, as it was; a = a / 2 */
                    OK(mare_detach(a, &old));
                    OK(mare_assign(b, old));
                    OK(mare_assign(a, t[1]));
                }
                release(3, (mare_tensor *[]){t[0], t[1], old});
                OK(mare_eval(ctx, 0, NULL));
            }
            OK(mare_tensor_read(a, donates ? got[0] : want[0], sizeof got[0]));
            OK(mare_tensor_read(b, donates ? got[1] : want[1], sizeof got[1]));
            release(2, (mare_tensor *[]){a, b});
            end();
            if (donates) cr_expect(memcmp(got, want, sizeof got) == 0, "kind %d", kind);
        }
}

/* A compiled step may be given a tensor that it knows, or that another input is. */
Test(donate, a_compiled_step_looks_at_what_it_is_given) {
    start("all");
    mare_tensor *w = numbers(0), *x = numbers(1), *y;
    mare_step *step;
    for (int i = 0; i < WARM; i++)
        bump(w, x);
    OK(mare_step_begin(ctx, 1, &x));
    bump(w, x);
    OK(mare_step_end(ctx, 0, NULL, NULL, &step));
    bool ran;
    const storage *at = place(w);
    OK(mare_step_run(step, 1, &x, 0, NULL, NULL, &ran));
    cr_expect(ran && place(w) == at);
    float was = first(w);
    OK(mare_step_run(step, 1, &w, 0, NULL, NULL, &ran)); /* w = w + w */
    cr_expect(ran && place(w) != at);
    cr_expect(first(w) == 2 * was);
    y = detached(w);
    was = first(y);
    OK(mare_step_run(step, 1, &x, 0, NULL, NULL, &ran));
    cr_expect(ran && first(y) == was && first(w) == was + first(x));
    mare_step_release(step);
    release(3, (mare_tensor *[]){w, x, y});
    end();
}
