/* Training steps that fail in the middle: each call of the driver in turn answers that there is no
 * memory left or that the device is lost, and parameters must be as they were before the step. */
#define _POSIX_C_SOURCE 200809L
#include "api/api.h"
#include "device/internal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static mare_context *ctx;

static void open_context(void) {
    setenv("MARE_TUNE", "0", 1); /* the same kernels every time: the same numbers to the bit */
    cr_assert(mare_context_create(NULL, &ctx) == MARE_OK);
}

static void close_context(void) {
    mare_stats s;
    mare_get_stats(ctx, &s);
    cr_expect(s.validation <= 0, "%d messages of the validation layer", s.validation);
    mare_context_destroy(ctx);
}

TestSuite(failure, .init = open_context, .fini = close_context, .timeout = 300);

#define OK(call) cr_assert((call) == MARE_OK, "%s", mare_last_error(ctx))

/* ---- A training step ---------------------------------------------------------------------- */

enum { N = 8, LAYERS = 40, WEIGHTS = 3, STATE = 2 * WEIGHTS };

/* Weights, then momentum. */
static mare_tensor *state[STATE];

static mare_tensor *matrix(int rows, double scale) {
    float data[64 * N];
    for (int i = 0; i < rows * N; i++)
        data[i] = (float)(scale * ((i * 37 + rows) % 19 - 9) / 9);
    mare_tensor *t;
    OK(mare_tensor_from(ctx, MARE_F32, 2, (int64_t[]){rows, N}, data, &t));
    return t;
}

static void make_state(void) {
    for (int i = 0; i < STATE; i++) {
        state[i] = matrix(N, i < WEIGHTS ? 0.9 - 0.1 * i : 0);
        if (i < WEIGHTS) OK(mare_set_requires_grad(state[i], true));
    }
}

static void free_state(void) {
    for (int i = 0; i < STATE; i++)
        mare_tensor_release(state[i]);
}

/* Steps of building do not fail, but for uploads: status, and *out takes the place of *x. */
static void next(mare_tensor **x, mare_tensor *out) {
    mare_tensor_release(*x);
    *x = out;
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

/* v = 0.9 v + g, w = w - 0.1 v. */
static void update(mare_tensor *w, mare_tensor *v) {
    mare_tensor *g, *keep = scaled(v, 0.9), *velocity, *change, *after;
    OK(mare_grad(w, &g));
    velocity = map2("add", keep, g);
    change = scaled(velocity, 0.1);
    after = map2("sub", w, change);
    OK(mare_assign(v, velocity));
    OK(mare_assign(w, after));
    OK(mare_set_grad(w, NULL));
    mare_tensor *all[] = {g, keep, velocity, change, after};
    for (int i = 0; i < 5; i++)
        mare_tensor_release(all[i]);
}

/* One step on the batch x: many launches, in a chain. */
static mare_status step(mare_tensor *x) {
    mare_tensor *h = mare_tensor_retain(x), *out, *loss;
    for (int i = 0; i < LAYERS; i++) {
        OK(mare_matmul(h, state[i % WEIGHTS], &out));
        next(&h, out);
        OK(mare_map("tanh", 1, &h, &out));
        next(&h, out);
    }
    next(&h, map2("mul", h, h));
    OK(mare_reduce("sum", h, 0, NULL, false, 0, &loss));
    mare_tensor_release(h); /* who could ask for it needs the weights as they are */
    OK(mare_backward(loss, NULL, false));
    for (int i = 0; i < WEIGHTS; i++)
        update(state[i], state[WEIGHTS + i]);
    mare_status status = mare_eval(ctx, STATE, state);
    mare_tensor_release(loss);
    return status;
}

typedef struct numbers {
    float value[STATE][N * N];
} numbers;

static mare_status read_state(numbers *out) {
    mare_status status = MARE_OK;
    for (int i = 0; i < STATE && !status; i++)
        status = mare_tensor_read(state[i], out->value[i], sizeof out->value[i]);
    return status;
}

static void expect_state(const numbers *want, const char *what, int n) {
    numbers got;
    OK(read_state(&got));
    cr_assert(memcmp(&got, want, sizeof got) == 0, "%s %d", what, n);
}

/* ---- A driver that fails ------------------------------------------------------------------ */

static atomic_int calls_left; /* until one fails; negative: none does */
static VkResult answer;
static struct VolkDeviceTable real;

static bool failing(void) {
    return atomic_fetch_sub(&calls_left, 1) == 0;
}

/* What a driver may have no memory for while a step is planned, recorded and submitted. */
#define MEMORY_CALLS(X)                                                                            \
    X(vkAllocateMemory,                                                                            \
      (VkDevice a, const VkMemoryAllocateInfo *b, const VkAllocationCallbacks *c,                  \
       VkDeviceMemory *d),                                                                         \
      (a, b, c, d))                                                                                \
    X(vkCreateBuffer,                                                                              \
      (VkDevice a, const VkBufferCreateInfo *b, const VkAllocationCallbacks *c, VkBuffer *d),      \
      (a, b, c, d))                                                                                \
    X(vkBindBufferMemory, (VkDevice a, VkBuffer b, VkDeviceMemory c, VkDeviceSize d),              \
      (a, b, c, d))                                                                                \
    X(vkCreateCommandPool,                                                                         \
      (VkDevice a, const VkCommandPoolCreateInfo *b, const VkAllocationCallbacks *c,               \
       VkCommandPool *d),                                                                          \
      (a, b, c, d))                                                                                \
    X(vkAllocateCommandBuffers,                                                                    \
      (VkDevice a, const VkCommandBufferAllocateInfo *b, VkCommandBuffer *c), (a, b, c))           \
    X(vkBeginCommandBuffer, (VkCommandBuffer a, const VkCommandBufferBeginInfo *b), (a, b))        \
    X(vkEndCommandBuffer, (VkCommandBuffer a), (a))                                                \
    X(vkCreateDescriptorPool,                                                                      \
      (VkDevice a, const VkDescriptorPoolCreateInfo *b, const VkAllocationCallbacks *c,            \
       VkDescriptorPool *d),                                                                       \
      (a, b, c, d))                                                                                \
    X(vkAllocateDescriptorSets,                                                                    \
      (VkDevice a, const VkDescriptorSetAllocateInfo *b, VkDescriptorSet *c), (a, b, c))           \
    X(vkCreateShaderModule,                                                                        \
      (VkDevice a, const VkShaderModuleCreateInfo *b, const VkAllocationCallbacks *c,              \
       VkShaderModule *d),                                                                         \
      (a, b, c, d))                                                                                \
    X(vkCreateComputePipelines,                                                                    \
      (VkDevice a, VkPipelineCache b, uint32_t c, const VkComputePipelineCreateInfo *d,            \
       const VkAllocationCallbacks *e, VkPipeline *f),                                             \
      (a, b, c, d, e, f))

/* What may tell that the device is lost; or that there is no memory. */
#define QUEUE_CALLS(X)                                                                             \
    X(vkQueueSubmit, (VkQueue a, uint32_t b, const VkSubmitInfo *c, VkFence d), (a, b, c, d))      \
    X(vkWaitSemaphores, (VkDevice a, const VkSemaphoreWaitInfo *b, uint64_t c), (a, b, c))         \
    X(vkGetSemaphoreCounterValue, (VkDevice a, VkSemaphore b, uint64_t * c), (a, b, c))

#define X(name, parameters, arguments)                                                             \
    static VkResult name##_or_not parameters {                                                     \
        return failing() ? answer : real.name arguments;                                           \
    }
MEMORY_CALLS(X)
QUEUE_CALLS(X)
#undef X

#define X(name, parameters, arguments) ctx->device->fn.name = name##_or_not;
static void take_over(VkResult result) {
    calls_left = -1;
    answer = result;
    real = ctx->device->fn;
    if (result != VK_ERROR_DEVICE_LOST) {
        MEMORY_CALLS(X)
    }
    QUEUE_CALLS(X)
}
#undef X

/* ---- No memory left ----------------------------------------------------------------------- */

/* The state before, between and after two steps that nothing disturbs. */
static void undisturbed(mare_tensor *x, numbers at[3]) {
    make_state();
    for (int i = 0; i < 3; i++) {
        mare_stats before, after;
        OK(read_state(&at[i]));
        mare_get_stats(ctx, &before);
        if (i < 2) OK(step(x));
        mare_get_stats(ctx, &after);
        cr_assert(i == 2 || after.submits > before.submits + 1, "a step is several submissions");
    }
    free_state();
}

/* Fails call after call of a step until one is left alone; a step of the usual kind comes between
 * and must be what it is undisturbed. */
static void fail_each_call(mare_tensor *(*batch)(int), const numbers *at, mare_tensor *x) {
    int n = 0, failed = 0;
    for (bool all = false; !all; n++) {
        mare_tensor *b = batch(n);
        make_state();
        const storage *was = state[0]->node->store;
        OK(step(x));
        cr_expect(state[0]->node->store == was || getenv("MARE_PASSES"), "new weights in place");
        mare_memory_trim(ctx); /* so that the step asks for memory */
        calls_left = n;
        mare_status status = step(b);
        all = calls_left >= 0; /* no call was left to fail */
        calls_left = -1;
        cr_assert(!all || status == MARE_OK);
        if (status) {
            failed++;
            cr_assert(status == MARE_E_DEVICE_MEMORY, "%d: %s", n, mare_last_error(ctx));
            expect_state(&at[1], "after failure", n);
            OK(step(x));
            expect_state(&at[2], "the step after failure", n);
        }
        free_state();
        mare_tensor_release(b);
    }
    cr_expect(failed > 3, "%d calls, %d failures", n, failed);
}

static mare_tensor *usual_batch(int n) {
    (void)n;
    return matrix(5, 1);
}

/* Of another shape each time, so that its plan is new. */
static mare_tensor *new_batch(int n) {
    return matrix(6 + n % 50, 1);
}

Test(failure, no_memory_for_any_call_of_a_known_plan) {
    numbers at[3];
    mare_tensor *x = usual_batch(0);
    undisturbed(x, at);
    take_over(VK_ERROR_OUT_OF_DEVICE_MEMORY);
    fail_each_call(usual_batch, at, x);
    mare_tensor_release(x);
}

Test(failure, no_memory_for_any_call_of_a_new_plan) {
    numbers at[3];
    mare_tensor *x = usual_batch(0);
    undisturbed(x, at);
    take_over(VK_ERROR_OUT_OF_DEVICE_MEMORY);
    fail_each_call(new_batch, at, x);
    mare_tensor_release(x);
}

/* Room for some of a step's buffers, for more and more of them. */
Test(failure, a_cap_on_memory_in_the_middle_of_a_plan) {
    numbers at[3];
    mare_tensor *x = usual_batch(0), *wide;
    OK(mare_full(ctx, MARE_F32, 2, (int64_t[]){1 << 16, N}, 0.5, &wide));
    undisturbed(x, at);
    make_state();
    OK(step(x));
    OK(mare_wait(ctx));
    mare_memory before, after;
    mare_status status;
    int failed = -1;
    uint64_t room = 0;
    do {
        failed++;
        mare_memory_trim(ctx);
        mare_memory_stats(ctx, &before);
        mare_memory_set_cap(ctx, before.used + before.cached + room);
        room += 4 << 20;
        status = step(wide);
        if (status) {
            cr_assert(status == MARE_E_DEVICE_MEMORY);
            expect_state(&at[1], "after failure", failed);
            mare_memory_stats(ctx, &after);
            cr_expect(after.used == before.used, "what the step took is given back");
        }
        mare_memory_set_cap(ctx, 0);
    } while (status);
    cr_expect(failed > 3, "%d", failed);
    free_state();
    mare_tensor_release(x);
    mare_tensor_release(wide);
}

/* An assignment waits for whatever is evaluated next; when that fails, it is undone too, and does
 * not come back with the evaluation after. */
Test(failure, assignments_that_wait_are_undone) {
    mare_tensor *p = matrix(N, 1), *one, *big, *y, *q = map2("add", p, p);
    double before[N * N], got[N * N];
    OK(mare_set_requires_grad(p, true));
    OK(mare_tensor_doubles(p, before, N * N));
    one = map2("mul", p, p);
    OK(mare_set_grad(p, one));
    OK(mare_assign(p, q));
    OK(mare_assign(p, one)); /* a second one before the first was evaluated */
    cr_expect(!mare_tensor_evaluated(p));
    OK(mare_full(ctx, MARE_F32, 2, (int64_t[]){4096, 4096}, 1, &big));
    y = map2("add", big, big);
    mare_memory_set_cap(ctx, 8 << 20);
    double few;
    mare_tensor *row;
    OK(mare_reduce("sum", y, 0, NULL, false, 0, &row));
    cr_assert(mare_tensor_item(row, &few) == MARE_E_DEVICE_MEMORY || mare_eval(ctx, 1, &y));
    cr_expect(mare_tensor_evaluated(p) && mare_requires_grad(p));
    OK(mare_tensor_doubles(p, got, N * N));
    cr_expect(memcmp(before, got, sizeof got) == 0);
    mare_tensor *grad;
    OK(mare_grad(p, &grad));
    cr_assert(grad, "its gradient stays");
    OK(mare_assign(p, q)); /* and what comes next is not disturbed */
    OK(mare_tensor_doubles(p, got, N * N));
    for (int i = 0; i < N * N; i++)
        cr_expect(got[i] == 2 * before[i]);
    mare_memory_set_cap(ctx, 0);
    mare_tensor *all[] = {p, one, big, y, q, row, grad};
    for (int i = 0; i < 7; i++)
        mare_tensor_release(all[i]);
}

/* ---- The device is lost ------------------------------------------------------------------- */

/* Where a call says that the device is lost, the step or the next read says so, and every call from
 * then on; all can be taken down, and a new context works. */
Test(failure, a_device_lost_at_any_call) {
    bool all = false;
    for (int n = 0; !all; n++) {
        mare_tensor *x = usual_batch(0);
        make_state();
        OK(step(x));
        mare_memory_trim(ctx);
        take_over(VK_ERROR_DEVICE_LOST);
        calls_left = n;
        mare_status status = step(x);
        numbers got;
        if (!status) status = read_state(&got);
        all = calls_left >= 0;
        calls_left = -1;
        if (!all) {
            cr_assert(status == MARE_E_DEVICE_LOST, "%d: %s", n, mare_last_error(ctx));
            cr_expect(strstr(mare_last_error(ctx), "was lost"));
            for (int i = 0; i < STATE; i++)
                cr_expect(mare_tensor_evaluated(state[i]), "the values before the step");
            cr_expect(read_state(&got) == MARE_E_DEVICE_LOST);
            cr_expect(mare_wait(ctx) == MARE_E_DEVICE_LOST);
            cr_expect(step(x) == MARE_E_DEVICE_LOST);
        }
        real.vkDeviceWaitIdle(ctx->device->handle); /* a device that is lost does no more work */
        free_state();
        mare_tensor_release(x);
        close_context();
        open_context();
    }
}
