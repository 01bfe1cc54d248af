/* The host runs ahead of the device: with the queue held up, whole training steps with new batches
 * are uploaded, planned, and submitted, and nothing waits. A wait would last until the time-out. */
#define _POSIX_C_SOURCE 200809L
#include "api/api.h"
#include "device/internal.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static mare_context *ctx;

TestSuite(ahead, .timeout = 120);

#define OK(call) cr_assert_eq((call), MARE_OK, #call ": %s", mare_last_error(ctx))

/* A submission that waits until the gate is opened; all that comes later runs after it. */
typedef struct gate {
    VkSemaphore semaphore;
} gate;

static gate gate_close(dev_device *d) {
    gate g;
    VkSemaphoreTypeCreateInfo type = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
                                      .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE};
    VkSemaphoreCreateInfo info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &type};
    cr_assert_eq(d->fn.vkCreateSemaphore(d->handle, &info, NULL, &g.semaphore), VK_SUCCESS);
    uint64_t one = 1;
    VkPipelineStageFlags all = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
    VkTimelineSemaphoreSubmitInfo values = {.sType =
                                                VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
                                            .waitSemaphoreValueCount = 1,
                                            .pWaitSemaphoreValues = &one};
    VkSubmitInfo submit = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
                           .pNext = &values,
                           .waitSemaphoreCount = 1,
                           .pWaitSemaphores = &g.semaphore,
                           .pWaitDstStageMask = &all};
    cr_assert_eq(d->fn.vkQueueSubmit(d->queue, 1, &submit, VK_NULL_HANDLE), VK_SUCCESS);
    return g;
}

static void gate_open(dev_device *d, gate *g) {
    VkSemaphoreSignalInfo info = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO, .semaphore = g->semaphore, .value = 1};
    cr_assert_eq(d->fn.vkSignalSemaphore(d->handle, &info), VK_SUCCESS);
    OK(mare_wait(ctx));
    d->fn.vkDestroySemaphore(d->handle, g->semaphore, NULL);
}

enum { ROWS = 64, COLUMNS = 256 << 8, STEPS = 12, HELD = 9 };

static float data[ROWS * COLUMNS];

/* w = w / 2 + the sum of a batch of 16 MiB. Nothing but the batch differs from step to step. */
static void step(mare_tensor *w, int i) {
    for (int k = 0; k < ROWS * COLUMNS; k++)
        data[k] = (float)(k == i * 1000) * (float)(i + 1);
    mare_tensor *x, *sum, *half, *y;
    OK(mare_tensor_from(ctx, MARE_F32, 2, (int64_t[]){ROWS, COLUMNS}, data, &x));
    OK(mare_reduce("sum", x, 0, NULL, false, 0, &sum));
    OK(mare_map_scalar("mul", 1, &w, 0.5, &half));
    OK(mare_map("add", 2, (mare_tensor *[]){half, sum}, &y));
    OK(mare_assign(w, y));
    OK(mare_eval(ctx, 0, NULL));
    mare_tensor_release(x);
    mare_tensor_release(sum);
    mare_tensor_release(half);
    mare_tensor_release(y);
}

static void run(const char *caps) {
    OK(mare_context_create(&(mare_options){.caps = caps}, &ctx));
    mare_tensor *w;
    OK(mare_full(ctx, MARE_F32, 0, NULL, 0, &w));
    OK(mare_eval(ctx, 1, &w));
    double expected = 0, got;
    gate g;
    for (int i = 0; i < STEPS; i++) {
        if (i == HELD) g = gate_close(ctx->device);
        step(w, i);
        expected = expected / 2 + i + 1;
        if (i < HELD) OK(mare_wait(ctx));
        /* Two steps with their batches are on their way. */
        if (i != HELD + 1) continue;
        queue_poll(ctx->device);
        cr_expect(ctx->device->completed + 2 <= ctx->device->submitted, "the gate does not hold");
        gate_open(ctx->device, &g);
    }
    OK(mare_tensor_item(w, &got));
    cr_expect_float_eq(got, expected, 0, "%g, not %g", got, expected);
    mare_tensor_release(w);
    mare_stats s;
    mare_get_stats(ctx, &s);
    cr_expect(s.validation <= 0);
    mare_context_destroy(ctx);
}

Test(ahead, two_steps_with_their_batches_are_on_their_way) {
    run(NULL);
    run("-unified");
    run("baseline");
}
