/* When the tuner measures, what it keeps of failures, and tuning runs. */
#define _POSIX_C_SOURCE 200809L
#include "kernel/internal.h"
#include "plan/internal.h"
#include "tune_kit.h"

TestSuite(tune_policy, .init = open_device, .fini = close_device, .timeout = 120);

/* A clock that goes by so much each time it is read. */
static double now, tick;

static double fake_clock(void) {
    return now += tick;
}

static void set_clock(double seconds_a_look) {
    tick = seconds_a_look;
    k->tune.clock = fake_clock;
}

static int choose_key(const char *key) {
    bench b;
    tune_problem *p = problem(&b, 2, (const char *[]){"slow", "fast"}, (uint32_t[]){MANY, FEW});
    p->key = key;
    return tune_choose(k, p);
}

/* ---- Policies ------------------------------------------------------------------------------- */

Test(tune_policy, off) {
    cr_assert(choose("slow", MANY, "fast", FEW) == 1);
    measure_when(MARE_TUNING_OFF);
    cr_expect(choose("slow", MANY, "fast", FEW) == 0, "what is known is not looked at");
    cr_expect(choose_key("new") == 0 && stats().tuned == 1);
    measure_when(MARE_TUNING_FIRST_USE);
    cr_expect(choose("slow", MANY, "fast", FEW) == 1 && stats().tuned == 1);
}

Test(tune_policy, off_compiles_nothing) {
    measure_when(MARE_TUNING_OFF);
    cr_expect(choose("slow", MANY, "fast", FEW) == 0);
    cr_expect(stats().pipelines == 0 && stats().compiled == 0);
}

Test(tune_policy, known_alone) {
    cr_assert(choose("slow", MANY, "fast", FEW) == 1);
    reopen();
    measure_when(MARE_TUNING_KNOWN);
    cr_expect(choose("slow", MANY, "fast", FEW) == 1, "from disk");
    cr_expect(choose_key("new") == 0 && stats().tuned == 0 && stats().pipelines == 0);
}

Test(tune_policy, from_the_environment) {
    static const struct {
        const char *words;
        mare_tuning when;
        double budget;
    } good[] = {{"0", MARE_TUNING_OFF, 60},
                {"off", MARE_TUNING_OFF, 60},
                {"known", MARE_TUNING_KNOWN, 60},
                {"1", MARE_TUNING_FIRST_USE, 60},
                {"", MARE_TUNING_FIRST_USE, 60},
                {"first use", MARE_TUNING_FIRST_USE, 60},
                {"0s", MARE_TUNING_FIRST_USE, 0},
                {"20s", MARE_TUNING_FIRST_USE, 20},
                {"999999s", MARE_TUNING_FIRST_USE, 999999}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        double left;
        setenv("MARE_TUNE", good[i].words, 1);
        reopen();
        cr_expect(tune_get_policy(k, &left) == good[i].when, "%s", good[i].words);
        cr_expect(left == good[i].budget, "%s: %g", good[i].words, left);
    }
    static const char *const bad[] = {"2", "on", "s", "-1s", "1e3s", "20 s", "1000000s", "known "};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kernels *none;
        setenv("MARE_TUNE", bad[i], 1);
        cr_expect(kernels_create(device, &error, &none) == MARE_E_ARGUMENT, "%s", bad[i]);
        cr_expect(strstr(error.text, "MARE_TUNE: ") == error.text, "%s", error.text);
        cr_expect(strstr(error.text, "off, known, first use") != NULL, "%s", error.text);
    }
    unsetenv("MARE_TUNE");
}

Test(tune_policy, a_budget_for_first_uses) {
    double left;
    set_clock(1);
    tune_set_policy(k, MARE_TUNING_FIRST_USE, 6);
    /* Each takes three looks at the clock: before, after its first candidate, and at the end. */
    cr_expect(choose_key("a") == 1 && choose_key("b") == 1 && choose_key("c") == 1);
    cr_expect(stats().tuned == 3);
    cr_expect(tune_get_policy(k, &left) == MARE_TUNING_FIRST_USE && left == 0, "%g", left);
    cr_expect(choose_key("d") == 0 && stats().tuned == 3, "it is used up");
    cr_expect(choose_key("a") == 1, "what is known stays so");
    reopen();
    cr_expect(choose_key("d") == 1 && stats().tuned == 1, "a later start goes on");
}

Test(tune_policy, a_limit_for_a_problem) {
    set_clock(30); /* each look at it is half a minute later */
    cr_expect(choose_key("a") == 0, "the second candidate is not tried any more");
    mare_tune_record *list;
    int n;
    cr_assert(tune_list(k, &list, &n) == MARE_OK && n == 1);
    cr_expect(list[0].candidates[0].seconds > 0 && list[0].candidates[1].seconds == 0);
    free(list);
}

/* ---- Failures ------------------------------------------------------------------------------- */

static tune_problem *broken(bench *b, int n) {
    tune_problem *p =
        problem(b, 3, (const char *[]){"slow", "broken", "fast"}, (uint32_t[]){MANY, FEW, FEW});
    for (int i = 0; i < n; i++)
        b->all[(i + 1) % 3].kernel.defines = "";
    return p;
}

Test(tune_policy, candidates_that_fail_lose) {
    bench b;
    tune_problem *p = broken(&b, 1);
    error = (mare_error){0};
    cr_expect(tune_choose(k, p) == 2);
    cr_expect(error.code == MARE_OK && error.text[0] == 0, "no error is left behind");
    mare_tune_record *list;
    int n;
    cr_assert(tune_list(k, &list, &n) == MARE_OK && n == 1);
    cr_expect(list[0].candidates[1].seconds == 0 && list[0].candidates[2].seconds > 0);
    free(list);
}

Test(tune_policy, that_all_fail_is_kept) {
    bench b;
    cr_expect(tune_choose(k, broken(&b, 3)) == 0 && stats().tuned == 1);
    cr_expect(tune_choose(k, broken(&b, 3)) == 0 && stats().tuned == 1, "nor tried again");
    reopen();
    cr_expect(tune_known(k, broken(&b, 3)) == 0, "nor at the next start");
    mare_tune_record *list;
    int n;
    cr_assert(tune_list(k, &list, &n) == MARE_OK && n == 1);
    cr_expect(list[0].state == MARE_TUNE_FAILED && !list[0].best);
    free(list);
}

Test(tune_policy, scratch_that_does_not_fit) {
    dev_memory_set_cap(device, 1 << 20);
    bench b;
    tune_problem *p = problem(&b, 2, (const char *[]){"slow", "fast"}, (uint32_t[]){MANY, FEW});
    b.bytes[0] = 8 << 20;
    error = (mare_error){0};
    cr_expect(tune_choose(k, p) == 0 && error.code == MARE_OK);
    dev_memory m;
    dev_memory_stats(device, &m);
    cr_expect(m.used == 0, "scratch buffers are given back");
    cr_expect(tune_choose(k, p) == 0 && stats().tuned == 1, "not tried again");
    reopen();
    dev_memory_set_cap(device, 0);
    cr_expect(tune_choose(k, p) == 1 && stats().tuned == 1, "but by the next start");
}

/* ---- Runs ----------------------------------------------------------------------------------- */

static int told, running, most_told = 100;

static bool listen(void *user, const mare_tune_record *r) {
    cr_assert(user == &told);
    if (r->state == MARE_TUNE_RUNNING)
        running++;
    else
        told++;
    return told < most_told;
}

static void begin(double budget, bool force) {
    told = running = 0;
    mare_tune_options o = {.budget = budget, .force = force, .told = listen, .user = &told};
    cr_assert(tune_begin(k, &o) == MARE_OK, "%s", error.text);
}

static void end(int results) {
    int n;
    cr_assert(tune_end(k) == MARE_OK);
    tune_results(k, &n);
    cr_expect(n == results && told == results, "%d, %d", n, told);
}

static mare_tune_state state_of(const char *key) {
    int n;
    const mare_tune_record *r = tune_results(k, &n);
    for (int i = 0; i < n; i++)
        if (strcmp(r[i].key, key) == 0) return r[i].state;
    cr_assert_fail("no result of %s", key);
    return MARE_TUNE_RUNNING;
}

Test(tune_policy, a_run_measures_whatever_the_policy) {
    measure_when(MARE_TUNING_OFF);
    begin(-1, false);
    cr_expect(choose_key("a") == 1 && choose_key("a") == 1 && choose_key("b") == 1);
    end(2);
    cr_expect(running == 4, "once a candidate");
    cr_expect(state_of("a") == MARE_TUNE_MEASURED && stats().tuned == 2);
    cr_expect(choose_key("a") == 0, "off again");
    measure_when(MARE_TUNING_KNOWN);
    cr_expect(choose_key("a") == 1);
    int n;
    const mare_tune_record *r = tune_results(k, &n);
    cr_expect(r[0].n == 2 && strcmp(r[0].best, "fast") == 0 && r[0].candidates[0].seconds > 0);
}

Test(tune_policy, a_run_goes_on_where_one_ended) {
    set_clock(1);
    begin(2, false);
    cr_expect(choose_key("a") == 1 && choose_key("b") == 0 && choose_key("c") == 0);
    end(3);
    cr_expect(state_of("a") == MARE_TUNE_MEASURED && state_of("b") == MARE_TUNE_LEFT);
    reopen();
    set_clock(1);
    begin(2, false);
    cr_expect(choose_key("a") == 1 && choose_key("b") == 1 && choose_key("c") == 0);
    end(3);
    cr_expect(state_of("a") == MARE_TUNE_KNOWN && state_of("b") == MARE_TUNE_MEASURED);
    begin(0, false);
    cr_expect(choose_key("c") == 0);
    end(1);
    cr_expect(stats().tuned == 1);
}

Test(tune_policy, force_measures_what_is_known_once) {
    cr_assert(choose_key("a") == 1);
    cr_assert(tune_pin(k, "b", "slow") == MARE_OK);
    for (int i = 0; i < 2; i++) {
        begin(-1, true);
        cr_expect(choose_key("a") == 1 && choose_key("a") == 1 && choose_key("b") == 0);
        end(2);
        cr_expect(state_of("a") == MARE_TUNE_MEASURED && state_of("b") == MARE_TUNE_PINNED);
        cr_expect(stats().tuned == (uint64_t)i + 2);
    }
}

Test(tune_policy, a_run_tells_of_failures) {
    bench b;
    begin(-1, false);
    tune_choose(k, broken(&b, 3));
    end(1);
    cr_expect(state_of("work/4096") == MARE_TUNE_FAILED);
}

Test(tune_policy, who_is_told_may_stop_it) {
    most_told = 2;
    begin(-1, false);
    cr_expect(choose_key("a") == 1 && choose_key("b") == 1 && choose_key("c") == 0);
    end(3);
    cr_expect(state_of("c") == MARE_TUNE_LEFT && stats().tuned == 2);
}

Test(tune_policy, runs_do_not_nest) {
    cr_expect(tune_end(k) == MARE_E_ARGUMENT);
    begin(-1, false);
    mare_tune_options o = {.budget = -1};
    cr_expect(tune_begin(k, &o) == MARE_E_ARGUMENT);
    end(0);
}

Test(tune_policy, clear) {
    cr_assert(choose_key("a") == 1 && tune_pin(k, "b", "slow") == MARE_OK);
    cr_assert(tune_clear(k) == MARE_OK);
    mare_tune_record *list;
    int n;
    cr_assert(tune_list(k, &list, &n) == MARE_OK && n == 0);
    free(list);
    cr_expect(choose_key("b") == 1 && stats().tuned == 2);
    cr_assert(tune_clear(k) == MARE_OK);
    reopen();
    cr_expect(choose_key("a") == 1 && stats().tuned == 1, "on disk, too");
}

/* ---- A choice that cannot be had ------------------------------------------------------------ */

/* A choice may come from a table, or from a record of the kernel without what is attached to it in
 * this plan: the plain kernel takes its place. */
Test(tune_policy, the_plain_kernel_stands_in) {
    uint32_t words[2] = {N};
    binding bindings[2] = {{.bytes = N * 4}, {.bytes = N * 4}};
    variant broken_one = {.name = "broken", .plain = "LIFT 0.0\n", .groups = {2, 1, 1}};
    step s = {.bindings = bindings,
              .plain = "LIFT 0.0\n",
              .plain_words = 2,
              .plain_bindings = 2,
              .tune_key = "stands in",
              .groups = {1, 1, 1},
              .variants = &broken_one};
    s.kernel = (kernel_id){"t/work.comp", "LIFT 0.0\n", 2, 2, {32, 1}, NULL};
    broken_one.kernel = (kernel_id){"t/work.comp", "LIFT\n", 2, 2, {32, 1}, NULL};
    cr_assert(tune_pin(k, "stands in", "broken") == MARE_OK);
    error = (mare_error){0};
    cr_assert(step_prepare(k, &s, words, &error) == MARE_OK, "%s", error.text);
    cr_expect(s.pipeline && s.groups[0] == 1 && error.code == MARE_OK);
    cr_expect_str_eq(s.kernel.defines, "LIFT 0.0\n");
}
