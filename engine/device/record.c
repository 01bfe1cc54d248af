#define _POSIX_C_SOURCE 200809L
/* Recording: dispatches, fills, barriers; and the recycling of all that a recording needs. */
#include "device/internal.h"

#include <string.h>

void full_barrier(dev_device *d, VkCommandBuffer cmd) {
    const VkPipelineStageFlags stages =
        VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
    VkMemoryBarrier b = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                         .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
                         .dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT |
                                          VK_ACCESS_TRANSFER_READ_BIT |
                                          VK_ACCESS_TRANSFER_WRITE_BIT};
    d->fn.vkCmdPipelineBarrier(cmd, stages, stages, 0, 1, &b, 0, NULL, 0, NULL);
}

/* What the device wrote becomes readable by the host, through staging or unified memory. */
void host_barrier(dev_device *d, VkCommandBuffer cmd) {
    VkMemoryBarrier b = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                         .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
                         .dstAccessMask = VK_ACCESS_HOST_READ_BIT};
    d->fn.vkCmdPipelineBarrier(
        cmd, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
        VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &b, 0, NULL, 0, NULL);
}

static mare_status recorder_new(dev_device *d, dev_recorder **out) {
    dev_recorder *r = calloc(1, sizeof *r);
    if (!r) return error_no_memory(d->e, sizeof *r);
    r->d = d;
    VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                    .flags = VK_COMMAND_POOL_CREATE_TRANSIENT_BIT,
                                    .queueFamilyIndex = d->family};
    VkResult res = d->fn.vkCreateCommandPool(d->handle, &pool, NULL, &r->pool);
    VkCommandBufferAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                        .commandPool = r->pool,
                                        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                        .commandBufferCount = 1};
    if (!res) res = d->fn.vkAllocateCommandBuffers(d->handle, &info, &r->cmd);
    if (res) {
        recorder_destroy(r);
        return vk_failed(d, res, "making a command buffer");
    }
    *out = r;
    return MARE_OK;
}

void recorder_destroy(dev_recorder *r) {
    r->d->fn.vkDestroyCommandPool(r->d->handle, r->pool, NULL);
    vec_free(&r->buffers);
    vec_free(&r->pipelines);
    vec_free(&r->timed);
    free(r);
}

void chunks_return(chunk **from, chunk **to) {
    for (chunk *c; (c = *from);) {
        *from = c->next;
        c->used = 0;
        c->next = *to;
        *to = c;
    }
}

/* Takes everything back from a recorder that was never sent, or that the device is done with. */
void recorder_recycle(dev_recorder *r) {
    dev_device *d = r->d;
    for (size_t i = 0; i < r->buffers.len; i++)
        dev_buffer_release(r->buffers.data[i]);
    r->buffers.len = 0;
    for (size_t i = 0; i < r->pipelines.len; i++)
        pipeline_unref(r->pipelines.data[i]);
    r->pipelines.len = 0;
    chunks_return(&r->params, &d->free_params);
    chunks_return(&r->staging, &d->free_staging);
    for (set_pool *p; (p = r->sets);) {
        r->sets = p->next;
        d->fn.vkResetDescriptorPool(d->handle, p->handle, 0);
        p->sets = POOL_SETS;
        p->buffers = POOL_BUFFERS;
        p->next = d->free_sets;
        d->free_sets = p;
    }
    if (r->timed.len) profile_recycle(r);
    d->fn.vkResetCommandPool(d->handle, r->pool, 0);
    r->next = d->idle;
    d->idle = r;
}

mare_status dev_record(dev_device *d, dev_recorder **out) {
    *out = NULL;
    mare_status s = check_lost(d, d->e);
    if (s) return s;
    queue_poll(d);
    if (d->flying.n >= FLYING_MOST) s = queue_wait(d, d->flying.first->serial);
    if (s) return s;
    if (!d->idle) {
        s = recorder_new(d, &d->idle);
        if (s) return s;
    }
    dev_recorder *r = d->idle;
    VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                      .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT};
    VkResult res = d->fn.vkBeginCommandBuffer(r->cmd, &begin);
    if (res) return vk_failed(d, res, "vkBeginCommandBuffer");
    d->idle = r->next;
    r->next = NULL;
    r->bound = NULL;
    r->stamp = ++d->stamps;
    r->error.code = MARE_OK;
    full_barrier(d, r->cmd);
    *out = r;
    return MARE_OK;
}

bool recorder_hold(dev_recorder *r, dev_buffer *b) {
    if (b->stamp == r->stamp) return true;
    if (!vec_push(&r->buffers, b)) return false;
    b->stamp = r->stamp;
    dev_buffer_retain(b);
    return true;
}

static bool hold_pipeline(dev_recorder *r, dev_pipeline *p) {
    if (p->stamp == r->stamp) return true;
    if (!vec_push(&r->pipelines, p)) return false;
    p->stamp = r->stamp;
    p->refs++;
    return true;
}

mare_status params_get(dev_device *d, chunk **list, uint64_t bytes, uint64_t *offset) {
    if (!*list || (*list)->used + bytes > (*list)->bytes) {
        chunk *c = d->free_params;
        if (c) {
            d->free_params = c->next;
        } else {
            mare_status s = chunk_create(d, PARAM_CHUNK, VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT, &c);
            if (s) return s;
        }
        c->next = *list;
        *list = c;
    }
    *offset = (*list)->used;
    (*list)->used += bytes;
    return MARE_OK;
}

static mare_status set_get(dev_recorder *r, const dev_pipeline *p, VkDescriptorSet *out) {
    dev_device *d = r->d;
    if (!r->sets || !r->sets->sets || r->sets->buffers < p->buffers) {
        set_pool *pool = d->free_sets;
        if (pool) {
            d->free_sets = pool->next;
        } else {
            pool = calloc(1, sizeof *pool);
            if (!pool) return error_no_memory(d->e, sizeof *pool);
            VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, POOL_SETS},
                                            {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, POOL_BUFFERS}};
            VkDescriptorPoolCreateInfo info = {.sType =
                                                   VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                               .maxSets = POOL_SETS,
                                               .poolSizeCount = 2,
                                               .pPoolSizes = sizes};
            VkResult res = d->fn.vkCreateDescriptorPool(d->handle, &info, NULL, &pool->handle);
            if (res) {
                free(pool);
                return vk_failed(d, res, "vkCreateDescriptorPool");
            }
            pool->sets = POOL_SETS;
            pool->buffers = POOL_BUFFERS;
        }
        pool->next = r->sets;
        r->sets = pool;
    }
    VkDescriptorSetAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                        .descriptorPool = r->sets->handle,
                                        .descriptorSetCount = 1,
                                        .pSetLayouts = &p->set_layout};
    VkResult res = d->fn.vkAllocateDescriptorSets(d->handle, &info, out);
    if (res) return vk_failed(d, res, "vkAllocateDescriptorSets");
    r->sets->sets--;
    r->sets->buffers -= p->buffers;
    return MARE_OK;
}

mare_status dev_cmd_dispatch(dev_recorder *r, dev_pipeline *p, const uint32_t *params, int n_params,
                             const dev_binding *bindings, int n_bindings,
                             const uint32_t groups[3]) {
    dev_device *d = r->d;
    const dev_dispatch x = {p, n_params, n_bindings, {groups[0], groups[1], groups[2]}, false};
    mare_status s = check_lost(d, d->e);
    if (!s) s = dispatch_check(d, &x);
    if (!s && n_params && !params)
        s = error_set(d->e, MARE_E_ARGUMENT, "dispatch: %d parameter words, and null", n_params);
    if (!s && n_bindings && !bindings)
        s = error_set(d->e, MARE_E_ARGUMENT, "dispatch: %d buffers bound, and null", n_bindings);
    if (!s) s = bindings_check(d, bindings, n_bindings);
    if (s || !groups[0] || !groups[1] || !groups[2]) return s;
    if (!hold_pipeline(r, p)) return error_no_memory(d->e, sizeof p);
    for (int i = 0; i < n_bindings; i++)
        if (!recorder_hold(r, bindings[i].buffer)) return error_no_memory(d->e, sizeof p);

    uint64_t bytes = dispatch_block(n_params), offset = 0;
    s = params_get(d, &r->params, bytes, &offset);
    if (s) return s;
    if (n_params) memcpy(r->params->map + offset, params, (size_t)n_params * 4);
    VkDescriptorBufferInfo infos[MAX_BUFFERS + 1] = {{r->params->buffer, offset, bytes}};
    for (int i = 0; i < n_bindings; i++)
        infos[i + 1] = binding_info(&bindings[i]);
    VkDescriptorSet set = VK_NULL_HANDLE;
    if (!d->caps.has[DEV_PUSH_DESCRIPTOR]) {
        s = set_get(r, p, &set);
        if (s) return s;
        set_write(d, set, infos, n_bindings);
    }
    dispatch_record(d, r->cmd, &x, r->bound, set, infos);
    r->bound = p;
    return MARE_OK;
}

void dev_cmd_barrier(dev_recorder *r) {
    full_barrier(r->d, r->cmd);
}

void dev_cmd_fill(dev_recorder *r, dev_buffer *b, uint64_t offset, uint64_t bytes, uint32_t value) {
    if (r->error.code) return;
    if (!b || b->d != r->d) {
        error_set(&r->error, MARE_E_ARGUMENT, "fill: the buffer is %s",
                  b ? "of another device" : "null");
        return;
    }
    uint64_t size = b->at->bytes;
    if (offset % 4 || bytes % 4 || offset > size || bytes > size - offset) {
        error_set(&r->error, MARE_E_ARGUMENT,
                  "fill: offset %llu and size %llu do not fit a buffer of %llu bytes (both are "
                  "multiples of 4)",
                  (unsigned long long)offset, (unsigned long long)bytes, (unsigned long long)size);
        return;
    }
    if (!bytes) return;
    if (!recorder_hold(r, b)) {
        error_no_memory(&r->error, sizeof b);
        return;
    }
    r->d->fn.vkCmdFillBuffer(r->cmd, b->at->in->buffer, b->at->offset + offset, bytes, value);
}

mare_status recorder_submit(dev_recorder *r, VkCommandBuffer before, VkCommandBuffer after) {
    dev_device *d = r->d;
    mare_status s = check_lost(d, d->e);
    if (!s && r->error.code) s = error_set(d->e, r->error.code, "%s", r->error.text);
    if (!s) {
        host_barrier(d, r->cmd);
        VkResult res = d->fn.vkEndCommandBuffer(r->cmd);
        if (res) s = vk_failed(d, res, "vkEndCommandBuffer");
    }
    VkCommandBuffer cmds[3];
    uint32_t n = 0;
    if (before) cmds[n++] = before;
    cmds[n++] = r->cmd;
    if (after) cmds[n++] = after;
    VkSubmitInfo batch = {.commandBufferCount = n, .pCommandBuffers = cmds};
    if (!s) s = queue_submit(d, &batch, 1);
    if (s) {
        recorder_recycle(r);
        return s;
    }
    r->serial = d->submitted;
    for (size_t i = 0; i < r->buffers.len; i++) {
        r->buffers.data[i]->at->last_use = r->serial;
        dev_buffer_release(r->buffers.data[i]);
    }
    r->buffers.len = 0;
    r->next = NULL;
    if (d->flying.last)
        d->flying.last->next = r;
    else
        d->flying.first = r;
    d->flying.last = r;
    d->flying.n++;
    return MARE_OK;
}

mare_status dev_submit(dev_recorder *r) {
    mare_status s = transfer_flush(r->d);
    if (s) {
        recorder_recycle(r);
        return s;
    }
    if (r->timed.len && !r->d->profile.stamps) return profile_submit(r);
    return recorder_submit(r, VK_NULL_HANDLE, VK_NULL_HANDLE);
}

void dev_discard(dev_recorder *r) {
    if (r) recorder_recycle(r);
}
