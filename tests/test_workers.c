/* Worker threads that make pipelines ahead, on the device at hand. */
#define _POSIX_C_SOURCE 200809L
#include "kernel/internal.h"
#include "kernel_kit.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

TestSuite(workers, .init = kit_open, .fini = kit_close, .timeout = 120);

Test(workers, make_each_once_in_any_order) {
    for (int pass = 0; pass < 3; pass++) {
        prefetch_all();
        prefetch_all();
        for (int i = 0; i < KERNELS; i++)
            expect_right(pass == 0 ? i : pass == 1 ? KERNELS - 1 - i : (i * 7) % KERNELS);
        kernels_settle(k);
        kernel_stats s = stats();
        cr_expect(s.pipelines == KERNELS && s.compiled + s.from_disk == TEXTS);
        cr_expect(s.compiled == (pass ? 0 : TEXTS), "all is on disk after the first pass");
        reopen();
    }
}

Test(workers, do_all_without_being_waited_for) {
    prefetch_all();
    kernels_settle(k);
    cr_expect(stats().pipelines == KERNELS);
    for (int i = 0; i < KERNELS; i++)
        expect_right(i);
    cr_expect(stats().pipelines == KERNELS && stats().compiled == TEXTS);
}

Test(workers, leave_errors_to_who_asks) {
    kernel_id bad = {"t/work.comp", "", 1, 2, {32, 0}, NULL},
              odd = {"t/work.comp", "", 1, -1, {0}, NULL},
              none = {"t/none.comp", "", 1, 0, {0}, NULL};
    error = (mare_error){0};
    kernel_prefetch(k, &bad);
    kernel_prefetch(k, &odd);
    kernel_prefetch(k, &none);
    kernels_settle(k);
    cr_expect(error.code == MARE_OK && error.text[0] == 0);
    dev_pipeline *p;
    cr_expect(kernel_get(k, &bad, &p) == MARE_E_SHADER &&
                  strstr(error.text, "t/work.comp:7: 'BASE'"),
              "%s", error.text);
    cr_expect(kernel_get(k, &none, &p) == MARE_E_SHADER && strstr(error.text, "t/none.comp"));
    cr_expect(kernel_get(k, &odd, &p) == MARE_E_ARGUMENT);
    tree_shader("t/none.comp", "layout(local_size_x = 1) in;\nvoid main() {}\n");
    cr_expect(kernel_get(k, &none, &p) == MARE_OK, "a shader put right works: %s", error.text);
    prefetch_all();
    expect_right(3);
}

Test(workers, may_be_at_work_when_all_ends) {
    for (int i = 0; i < 10; i++) {
        setenv("MARE_CACHE", tree_path(i & 1 ? "cache" : "other"), 1);
        reopen();
        prefetch_all();
        if (i % 3 == 0) expect_right(KERNELS - 1);
    }
    reopen();
    expect_right(0);
}

/* A process that is killed, as most training runs are, leaves its pipelines behind. */
Test(workers, save_pipelines_while_the_process_runs) {
    close_device();
    pid_t child = fork();
    cr_assert(child >= 0);
    if (!child) {
        open_device();
        prefetch_all();
        for (;;)
            pause();
    }
    while (!tree_cached("pipelines-", NULL) && waitpid(child, NULL, WNOHANG) == 0)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    cr_expect(tree_cached("pipelines-", NULL) >= 1);
    open_device();
    expect_right(5);
}
