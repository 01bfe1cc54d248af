#define _POSIX_C_SOURCE 200809L
/* A dispatch: what may be asked for, and the commands that it becomes. */
#include "device/internal.h"

mare_status dispatch_check(dev_device *d, const dev_dispatch *x) {
    mare_error *e = d->e;
    const dev_pipeline *p = x->pipeline;
    if (!p || p->d != d)
        return error_set(e, MARE_E_ARGUMENT, "dispatch: the pipeline is %s",
                         p ? "of another device" : "null");
    if (x->n_params < 0 || x->n_params * 4 > PARAM_LIMIT)
        return error_set(e, MARE_E_ARGUMENT, "dispatch: %d parameter words; at most %d",
                         x->n_params, PARAM_LIMIT / 4);
    if (x->n_bindings != p->buffers)
        return error_set(e, MARE_E_ARGUMENT, "dispatch: %d buffers bound, the kernel has %d",
                         x->n_bindings, p->buffers);
    for (int i = 0; i < 3; i++)
        if (x->groups[i] > d->caps.groups[i])
            return error_set(e, MARE_E_ARGUMENT,
                             "dispatch: %u groups on axis %d; the device allows %u", x->groups[i],
                             i, d->caps.groups[i]);
    return MARE_OK;
}

mare_status bindings_check(dev_device *d, const dev_binding *bindings, int n) {
    mare_error *e = d->e;
    for (int i = 0; i < n; i++) {
        const dev_binding *b = &bindings[i];
        if (!b->buffer || b->buffer->d != d)
            return error_set(e, MARE_E_ARGUMENT, "dispatch: buffer %d is %s", i + 1,
                             b->buffer ? "of another device" : "null");
        uint64_t size = b->buffer->at->bytes;
        if (b->offset % BUFFER_ALIGN || b->offset >= size || b->bytes > size - b->offset)
            return error_set(e, MARE_E_ARGUMENT,
                             "dispatch: buffer %d: offset %llu and size %llu do not fit its %llu "
                             "bytes (offsets are multiples of %d)",
                             i + 1, (unsigned long long)b->offset, (unsigned long long)b->bytes,
                             (unsigned long long)size, BUFFER_ALIGN);
        if (b->bytes > d->caps.binding)
            return error_set(e, MARE_E_ARGUMENT,
                             "dispatch: buffer %d: %llu bytes; the device binds at most %llu at "
                             "a time",
                             i + 1, (unsigned long long)b->bytes,
                             (unsigned long long)d->caps.binding);
    }
    return MARE_OK;
}

/* Bound in multiples of 256 bytes, so that the end of a uvec4 is inside. */
uint64_t dispatch_block(int n_params) {
    uint64_t bytes = ((uint64_t)n_params * 4 + BUFFER_ALIGN - 1) / BUFFER_ALIGN * BUFFER_ALIGN;
    return bytes ? bytes : BUFFER_ALIGN;
}

VkDescriptorBufferInfo binding_info(const dev_binding *b) {
    const range *at = b->buffer->at;
    uint64_t size = (b->bytes + 15) / 16 * 16;
    return (VkDescriptorBufferInfo){at->in->buffer, at->offset + b->offset, size ? size : 16};
}

/* The writes of a parameter block and `buffers` buffers; returns how many there are. Bindings 1..
 * are alike, so one write runs over all of them. */
static uint32_t fill_writes(VkWriteDescriptorSet writes[2], VkDescriptorSet set,
                            const VkDescriptorBufferInfo *infos, int buffers) {
    writes[0] = (VkWriteDescriptorSet){.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                       .dstSet = set,
                                       .descriptorCount = 1,
                                       .descriptorType = VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER,
                                       .pBufferInfo = infos};
    writes[1] = (VkWriteDescriptorSet){.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                       .dstSet = set,
                                       .dstBinding = 1,
                                       .descriptorCount = (uint32_t)buffers,
                                       .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                       .pBufferInfo = infos + 1};
    return buffers ? 2 : 1;
}

void set_write(dev_device *d, VkDescriptorSet set, const VkDescriptorBufferInfo *infos,
               int buffers) {
    VkWriteDescriptorSet writes[2];
    d->fn.vkUpdateDescriptorSets(d->handle, fill_writes(writes, set, infos, buffers), writes, 0,
                                 NULL);
}

/* The address of each buffer, as the kernel finds them: one after the other. */
static void push_addresses(dev_device *d, VkCommandBuffer cmd, const dev_pipeline *p,
                           const VkDescriptorBufferInfo *buffers) {
    uint64_t address[MAX_BUFFERS];
    for (int i = 0; i < p->buffers; i++) {
        VkBufferDeviceAddressInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO,
                                          .buffer = buffers[i].buffer};
        address[i] = d->fn.vkGetBufferDeviceAddress(d->handle, &info) + buffers[i].offset;
    }
    d->fn.vkCmdPushConstants(cmd, p->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                             8 * (uint32_t)p->buffers, address);
}

void dispatch_record(dev_device *d, VkCommandBuffer cmd, const dev_dispatch *x,
                     const dev_pipeline *bound, VkDescriptorSet set,
                     const VkDescriptorBufferInfo *infos) {
    const dev_pipeline *p = x->pipeline;
    if (bound != p) d->fn.vkCmdBindPipeline(cmd, VK_PIPELINE_BIND_POINT_COMPUTE, p->handle);
    if (set) {
        d->fn.vkCmdBindDescriptorSets(cmd, VK_PIPELINE_BIND_POINT_COMPUTE, p->layout, 0, 1, &set, 0,
                                      NULL);
    } else {
        VkWriteDescriptorSet writes[2];
        uint32_t n = fill_writes(writes, VK_NULL_HANDLE, infos, p->buffers);
        d->fn.vkCmdPushDescriptorSetKHR(cmd, VK_PIPELINE_BIND_POINT_COMPUTE, p->layout, 0, n,
                                        writes);
    }
    if (p->addresses) push_addresses(d, cmd, p, infos + 1);
    d->fn.vkCmdDispatch(cmd, x->groups[0], x->groups[1], x->groups[2]);
}
