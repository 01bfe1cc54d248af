#define _POSIX_C_SOURCE 200809L
/* Recordings: commands that are submitted many times.
 *
 * A recording is divided into parts, each a command buffer. Consecutive parts make a submission;
 * only its first starts with the barrier against what ran before, since the barriers inside hold
 * across command buffers. A binding that changes makes the commands of its part stale, and no
 * others: descriptors stand in the commands, or in sets that the commands name. */
#include "device/internal.h"

#include <string.h>

typedef struct recorded {
    dev_dispatch what;
    int part;
    uint32_t *params;
    VkDescriptorSet set;           /* null: descriptors are pushed */
    VkDescriptorBufferInfo *infos; /* of the parameter block, then of the buffers */
    bool moved;                    /* infos are newer than the set */
} recorded;

typedef struct part {
    int first, n;
    bool submits, stale;
    VkCommandBuffer cmd;
} part;

struct dev_recording {
    dev_device *d;
    int n, n_parts;
    recorded *list;
    part *parts;
    VkDescriptorBufferInfo *infos;
    VkCommandPool pool;
    VkDescriptorPool sets;
    chunk *params;
    VkCommandBuffer *cmds; /* of the parts, to be submitted */
    VkSubmitInfo *batches; /* each with its parts; room for one a part */
    uint64_t serial;       /* of the last submission */
};

static void free_parts(dev_recording *r) {
    for (int i = 0; i < r->n_parts; i++)
        if (r->parts[i].cmd)
            r->d->fn.vkFreeCommandBuffers(r->d->handle, r->pool, 1, &r->parts[i].cmd);
    free(r->parts);
    free(r->cmds);
    free(r->batches);
    r->parts = NULL;
    r->cmds = NULL;
    r->batches = NULL;
    r->n_parts = 0;
}

void dev_recording_destroy(dev_recording *r) {
    if (!r) return;
    dev_device *d = r->d;
    queue_wait(d, r->serial); /* of a lost device nothing is to be waited for */
    free_parts(r);
    d->fn.vkDestroyCommandPool(d->handle, r->pool, NULL);
    d->fn.vkDestroyDescriptorPool(d->handle, r->sets, NULL);
    chunks_return(&r->params, &d->free_params);
    for (int i = 0; i < r->n && r->list; i++)
        if (r->list[i].what.pipeline) pipeline_unref(r->list[i].what.pipeline);
    free(r->list);
    free(r->infos);
    free(r);
}

/* A set for every dispatch. */
static mare_status make_sets(dev_recording *r) {
    dev_device *d = r->d;
    uint32_t buffers = 1; /* a pool must have some of every kind that it names */
    for (int i = 0; i < r->n; i++)
        buffers += (uint32_t)r->list[i].what.n_bindings;
    VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, (uint32_t)r->n},
                                    {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, buffers}};
    VkDescriptorPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                       .maxSets = (uint32_t)r->n,
                                       .poolSizeCount = 2,
                                       .pPoolSizes = sizes};
    VkResult res = d->fn.vkCreateDescriptorPool(d->handle, &info, NULL, &r->sets);
    for (int i = 0; i < r->n && !res; i++) {
        VkDescriptorSetAllocateInfo one = {.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                           .descriptorPool = r->sets,
                                           .descriptorSetCount = 1,
                                           .pSetLayouts = &r->list[i].what.pipeline->set_layout};
        res = d->fn.vkAllocateDescriptorSets(d->handle, &one, &r->list[i].set);
    }
    return res ? vk_failed(d, res, "making descriptor sets") : MARE_OK;
}

/* A place in mapped memory for every dispatch's parameters. */
static mare_status make_params(dev_recording *r) {
    for (int i = 0; i < r->n; i++) {
        uint64_t bytes = dispatch_block(r->list[i].what.n_params), offset;
        mare_status s = params_get(r->d, &r->params, bytes, &offset);
        if (s) return s;
        r->list[i].params = (uint32_t *)(void *)(r->params->map + offset);
        r->list[i].infos[0] = (VkDescriptorBufferInfo){r->params->buffer, offset, bytes};
        r->list[i].moved = true;
    }
    return MARE_OK;
}

mare_status dev_recording_create(dev_device *d, const dev_dispatch *list, int n,
                                 dev_recording **out) {
    *out = NULL;
    mare_status s = check_lost(d, d->e);
    size_t infos = (size_t)n;
    for (int i = 0; i < n && !s; i++) {
        s = dispatch_check(d, &list[i]);
        infos += (size_t)list[i].n_bindings;
    }
    if (s) return s;
    dev_recording *r = calloc(1, sizeof *r);
    if (!r) return error_no_memory(d->e, sizeof *r);
    r->d = d;
    r->n = n;
    r->list = calloc((size_t)n + 1, sizeof *r->list);
    r->infos = calloc(infos + 1, sizeof *r->infos);
    if (!r->list || !r->infos) {
        dev_recording_destroy(r);
        return error_no_memory(d->e, infos * sizeof *r->infos);
    }
    VkDescriptorBufferInfo *next = r->infos;
    for (int i = 0; i < n; i++) {
        r->list[i].what = list[i];
        r->list[i].what.pipeline->refs++;
        r->list[i].infos = next;
        next += 1 + list[i].n_bindings;
    }
    VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                    .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                                    .queueFamilyIndex = d->family};
    VkResult res = d->fn.vkCreateCommandPool(d->handle, &pool, NULL, &r->pool);
    if (res) s = vk_failed(d, res, "vkCreateCommandPool");
    if (!s) s = make_params(r);
    if (!s && n && !d->caps.has[DEV_PUSH_DESCRIPTOR]) s = make_sets(r);
    if (!s) s = dev_recording_divide(r, &(dev_part){0, true}, 1);
    if (s) {
        dev_recording_destroy(r);
        return s;
    }
    *out = r;
    return MARE_OK;
}

bool dev_recording_idle(dev_recording *r) {
    if (r->serial > r->d->completed) queue_poll(r->d);
    return r->serial <= r->d->completed;
}

mare_status dev_recording_wait(dev_recording *r) {
    return queue_wait(r->d, r->serial);
}

uint32_t *dev_recording_params(dev_recording *r, int i) {
    return r->list[i].params;
}

mare_status dev_recording_bind(dev_recording *r, int i, int k, const dev_binding *b) {
    mare_status s = bindings_check(r->d, b, 1);
    if (s) return s;
    recorded *x = &r->list[i];
    VkDescriptorBufferInfo info = binding_info(b), *old = &x->infos[k + 1];
    if (old->buffer == info.buffer && old->offset == info.offset && old->range == info.range)
        return MARE_OK;
    *old = info;
    x->moved = true;
    r->parts[x->part].stale = true;
    return MARE_OK;
}

mare_status dev_recording_divide(dev_recording *r, const dev_part *parts, int n) {
    dev_device *d = r->d;
    free_parts(r);
    r->parts = calloc((size_t)n + 1, sizeof *r->parts);
    r->cmds = calloc((size_t)n + 1, sizeof *r->cmds);
    r->batches = calloc((size_t)n + 1, sizeof *r->batches);
    if (!r->parts || !r->cmds || !r->batches)
        return error_no_memory(d->e, (size_t)n * sizeof *r->parts);
    VkCommandBufferAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                        .commandPool = r->pool,
                                        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                        .commandBufferCount = (uint32_t)n};
    VkResult res = d->fn.vkAllocateCommandBuffers(d->handle, &info, r->cmds);
    if (res) return vk_failed(d, res, "vkAllocateCommandBuffers");
    r->n_parts = n;
    for (int i = 0; i < n; i++) {
        int end = i + 1 < n ? parts[i + 1].first : r->n;
        r->parts[i] = (part){parts[i].first, end - parts[i].first, parts[i].submits || i == 0, true,
                             r->cmds[i]};
        for (int k = parts[i].first; k < end; k++)
            r->list[k].part = i;
    }
    return MARE_OK;
}

static mare_status record_part(dev_recording *r, int i) {
    dev_device *d = r->d;
    part *p = &r->parts[i];
    VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    VkResult res = d->fn.vkBeginCommandBuffer(p->cmd, &begin);
    if (res) return vk_failed(d, res, "vkBeginCommandBuffer");
    if (p->submits) full_barrier(d, p->cmd);
    const dev_pipeline *bound = NULL;
    for (int k = p->first; k < p->first + p->n; k++) {
        recorded *x = &r->list[k];
        if (x->what.barrier && !(p->submits && k == p->first)) full_barrier(d, p->cmd);
        if (!x->what.groups[0] || !x->what.groups[1] || !x->what.groups[2]) continue;
        if (x->set && x->moved) set_write(d, x->set, x->infos, x->what.n_bindings);
        x->moved = false;
        dispatch_record(d, p->cmd, &x->what, bound, x->set, x->infos);
        bound = x->what.pipeline;
    }
    if (i + 1 == r->n_parts || r->parts[i + 1].submits) host_barrier(d, p->cmd);
    res = d->fn.vkEndCommandBuffer(p->cmd);
    if (res) return vk_failed(d, res, "vkEndCommandBuffer");
    p->stale = false;
    return MARE_OK;
}

mare_status dev_recording_submit(dev_recording *r, dev_buffer *const *touched, int n,
                                 int *recorded_now, int *submits) {
    dev_device *d = r->d;
    *recorded_now = *submits = 0;
    mare_status s = check_lost(d, d->e);
    for (int i = 0; i < r->n_parts && !s; i++) {
        if (!r->parts[i].stale) continue;
        s = record_part(r, i);
        *recorded_now += r->parts[i].n;
    }
    if (!s) s = transfer_flush(d);
    int n_batches = 0;
    for (int i = 0; i < r->n_parts; i++) {
        if (r->parts[i].submits)
            r->batches[n_batches++] = (VkSubmitInfo){.pCommandBuffers = r->cmds + i};
        r->batches[n_batches - 1].commandBufferCount++;
    }
    if (!s) s = queue_submit(d, r->batches, (uint32_t)n_batches);
    if (s) return s;
    r->serial = d->submitted;
    *submits = n_batches;
    for (int i = 0; i < n; i++)
        touched[i]->at->last_use = r->serial;
    return MARE_OK;
}
