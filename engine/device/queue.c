#define _POSIX_C_SOURCE 200809L
/* The queue: one timeline semaphore counts the submissions, in order. */
#include "device/internal.h"

mare_status vk_error(dev_device *d, mare_error *e, VkResult r, const char *call) {
    switch ((int)r) {
    case VK_ERROR_OUT_OF_HOST_MEMORY:
        return error_set(e, MARE_E_HOST_MEMORY, "%s: the driver has no host memory left", call);
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
    case VK_ERROR_TOO_MANY_OBJECTS:
        return error_set(e, MARE_E_DEVICE_MEMORY, "%s: the driver has no device memory left", call);
    case VK_ERROR_DEVICE_LOST:
        atomic_store(&d->lost, true);
        return check_lost(d, e);
    default:
        return error_set(e, MARE_E_VULKAN, "%s failed on '%s' (VkResult %d)", call, d->caps.name,
                         (int)r);
    }
}

mare_status vk_failed(dev_device *d, VkResult r, const char *call) {
    return vk_error(d, d->e, r, call);
}

mare_status check_lost(dev_device *d, mare_error *e) {
    if (!atomic_load(&d->lost)) return MARE_OK;
    return error_set(e, MARE_E_DEVICE_LOST,
                     "the device '%s' was lost: its driver stopped (a time-out, a fault or an "
                     "unplugged card); its data is gone, make a new context",
                     d->caps.name);
}

bool dev_lost(const dev_device *d) {
    return atomic_load(&d->lost);
}

mare_status queue_init(dev_device *d) {
    VkSemaphoreTypeCreateInfo type = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
                                      .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE};
    VkSemaphoreCreateInfo info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &type};
    VkResult r = d->fn.vkCreateSemaphore(d->handle, &info, NULL, &d->timeline);
    return r ? vk_failed(d, r, "vkCreateSemaphore") : MARE_OK;
}

mare_status queue_submit(dev_device *d, VkSubmitInfo *batch, uint32_t n) {
    uint64_t value = d->submitted + 1;
    VkTimelineSemaphoreSubmitInfo timeline = {.sType =
                                                  VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
                                              .signalSemaphoreValueCount = 1,
                                              .pSignalSemaphoreValues = &value};
    for (uint32_t i = 0; i < n; i++)
        batch[i].sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
    /* A signal waits for all that was submitted before it. */
    batch[n - 1].pNext = &timeline;
    batch[n - 1].signalSemaphoreCount = 1;
    batch[n - 1].pSignalSemaphores = &d->timeline;
    if (d->lock_queue) d->lock_queue(d->lock_user);
    VkResult r = d->fn.vkQueueSubmit(d->queue, n, batch, VK_NULL_HANDLE);
    if (d->unlock_queue) d->unlock_queue(d->lock_user);
    if (r) return vk_failed(d, r, "vkQueueSubmit");
    d->submitted = value;
    return MARE_OK;
}

/* Recycles the recorders that the device is done with. */
static void retire(dev_device *d) {
    while (d->flying.first && d->flying.first->serial <= d->completed) {
        dev_recorder *r = d->flying.first;
        d->flying.first = r->next;
        if (!r->next) d->flying.last = NULL;
        d->flying.n--;
        if (r->timed.len) profile_collect(r);
        recorder_recycle(r);
    }
}

void queue_poll(dev_device *d) {
    if (d->completed == d->submitted || atomic_load(&d->lost)) return;
    uint64_t value = 0;
    VkResult r = d->fn.vkGetSemaphoreCounterValue(d->handle, d->timeline, &value);
    if (r) {
        vk_failed(d, r, "vkGetSemaphoreCounterValue");
        return;
    }
    /* A device being lost may report any value. */
    if (value > d->completed && value <= d->submitted) d->completed = value;
    retire(d);
}

mare_status queue_wait(dev_device *d, uint64_t serial) {
    mare_status s = check_lost(d, d->e);
    if (s || serial <= d->completed) return s;
    VkSemaphoreWaitInfo info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
                                .semaphoreCount = 1,
                                .pSemaphores = &d->timeline,
                                .pValues = &serial};
    double start = d->profile.on ? dev_clock() : 0;
    VkResult r = d->fn.vkWaitSemaphores(d->handle, &info, UINT64_MAX);
    if (d->profile.on) profile_waited(d, start);
    if (r) return vk_failed(d, r, "vkWaitSemaphores");
    d->completed = serial;
    retire(d);
    return MARE_OK;
}

mare_status dev_wait(dev_device *d) {
    mare_status s = check_lost(d, d->e);
    if (!s) s = transfer_flush(d);
    return s ? s : queue_wait(d, d->submitted);
}

/* The device is idle, or lost: what flew can be destroyed. */
void queue_free(dev_device *d) {
    if (d->uploads) recorder_recycle(d->uploads);
    d->uploads = NULL;
    d->completed = d->submitted;
    retire(d);
    while (d->idle) {
        dev_recorder *r = d->idle;
        d->idle = r->next;
        recorder_destroy(r);
    }
    for (chunk *c; (c = d->free_params);) {
        d->free_params = c->next;
        chunk_destroy(d, c);
    }
    for (chunk *c; (c = d->free_staging);) {
        d->free_staging = c->next;
        chunk_destroy(d, c);
    }
    for (set_pool *p; (p = d->free_sets);) {
        d->free_sets = p->next;
        d->fn.vkDestroyDescriptorPool(d->handle, p->handle, NULL);
        free(p);
    }
    d->fn.vkDestroySemaphore(d->handle, d->timeline, NULL);
}
