#define _POSIX_C_SOURCE 200809L
/* Timed submissions: two small command buffers write timestamps around the measured one. */
#include "device/internal.h"

#include <time.h>

void profile_free(dev_device *d) {
    d->fn.vkDestroyCommandPool(d->handle, d->profile.pool, NULL);
    d->fn.vkDestroyQueryPool(d->handle, d->profile.queries, NULL);
}

static VkResult record_stamp(dev_device *d, uint32_t i) {
    VkCommandBuffer cmd = d->profile.cmds[i];
    VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    VkResult r = d->fn.vkBeginCommandBuffer(cmd, &begin);
    if (r) return r;
    if (!i) d->fn.vkCmdResetQueryPool(cmd, d->profile.queries, 0, 2);
    full_barrier(d, cmd);
    d->fn.vkCmdWriteTimestamp(cmd, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, d->profile.queries, i);
    return d->fn.vkEndCommandBuffer(cmd);
}

static VkResult profile_init(dev_device *d) {
    if (d->profile.cmds[1]) return VK_SUCCESS;
    VkQueryPoolCreateInfo queries = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                     .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                     .queryCount = 2};
    VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                    .queueFamilyIndex = d->family};
    VkResult r = VK_SUCCESS;
    if (!d->profile.queries)
        r = d->fn.vkCreateQueryPool(d->handle, &queries, NULL, &d->profile.queries);
    if (!r && !d->profile.pool)
        r = d->fn.vkCreateCommandPool(d->handle, &pool, NULL, &d->profile.pool);
    VkCommandBufferAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                        .commandPool = d->profile.pool,
                                        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                        .commandBufferCount = 2};
    VkCommandBuffer cmds[2] = {0};
    if (!r) r = d->fn.vkAllocateCommandBuffers(d->handle, &info, cmds);
    if (r) return r;
    d->profile.cmds[0] = cmds[0];
    d->profile.cmds[1] = cmds[1];
    for (uint32_t i = 0; i < 2 && !r; i++)
        r = record_stamp(d, i);
    if (!r) return r;
    d->fn.vkFreeCommandBuffers(d->handle, d->profile.pool, 2, cmds);
    d->profile.cmds[0] = d->profile.cmds[1] = VK_NULL_HANDLE;
    return r;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

mare_status dev_submit_timed(dev_recorder *r, double *seconds) {
    dev_device *d = r->d;
    *seconds = 0;
    mare_status s = dev_wait(d);
    if (s) {
        dev_discard(r);
        return s;
    }
    bool stamps = d->caps.has[DEV_TIMESTAMPS] && !profile_init(d);
    double start = now();
    s = recorder_submit(r, stamps ? d->profile.cmds[0] : VK_NULL_HANDLE,
                        stamps ? d->profile.cmds[1] : VK_NULL_HANDLE);
    if (!s) s = queue_wait(d, d->submitted);
    if (s) return s;
    *seconds = now() - start;
    if (!stamps) return MARE_OK;
    uint64_t t[2];
    VkResult res =
        d->fn.vkGetQueryPoolResults(d->handle, d->profile.queries, 0, 2, sizeof t, t, sizeof *t,
                                    VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT);
    if (res) return vk_failed(d, res, "vkGetQueryPoolResults");
    uint64_t ticks = (t[1] - t[0]) & d->profile.mask;
    double measured = (double)ticks * d->caps.timestamp_ns * 1e-9;
    /* A clock that stood still, or ran over, tells nothing; the host's does. */
    if (ticks && measured <= *seconds) *seconds = measured;
    return MARE_OK;
}
