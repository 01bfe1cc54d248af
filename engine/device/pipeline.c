#define _POSIX_C_SOURCE 200809L
#include "device/internal.h"

#include "base/hash.h"

#include <string.h>

enum { PHYSICAL_ADDRESSES = 5347 /* the SPIR-V capability PhysicalStorageBufferAddresses */ };

mare_status pipelines_init(dev_device *d) {
    pthread_mutex_init(&d->pipes.lock, NULL);
    pthread_rwlock_init(&d->pipes.cache_lock, NULL);
    VkPipelineCacheCreateInfo info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
    VkResult r = d->fn.vkCreatePipelineCache(d->handle, &info, NULL, &d->pipes.cache);
    return r ? vk_failed(d, r, "vkCreatePipelineCache") : MARE_OK;
}

void pipelines_free(dev_device *d) {
    for (dev_pipeline *p = d->pipes.all; p; p = p->next) {
        d->fn.vkDestroyPipeline(d->handle, p->handle, NULL);
        p->d = NULL; /* somebody still holds it */
    }
    for (int i = 0; i <= MAX_BUFFERS; i++) {
        d->fn.vkDestroyPipelineLayout(d->handle, d->pipes.layouts[i].pipeline, NULL);
        d->fn.vkDestroyDescriptorSetLayout(d->handle, d->pipes.layouts[i].set, NULL);
    }
    d->fn.vkDestroyPipelineCache(d->handle, d->pipes.cache, NULL);
    pthread_rwlock_destroy(&d->pipes.cache_lock);
    pthread_mutex_destroy(&d->pipes.lock);
}

/* Can a kernel with so many buffers be given their addresses, as push constants? */
static bool has_addresses(const dev_device *d, int buffers) {
    return d->caps.has[DEV_BUFFER_ADDRESS] && buffers > 0 &&
           8 * (uint32_t)buffers <= d->caps.push_constants;
}

/* Does the code declare the capability `want`? Capabilities stand before all else. */
static bool declares(const uint32_t *spirv, size_t words, uint32_t want) {
    enum { HEADER = 5, CAPABILITY = 17 };
    for (size_t i = HEADER; i + 1 < words && (spirv[i] & 0xffff) == CAPABILITY; i += spirv[i] >> 16)
        if (spirv[i + 1] == want) return true;
    return false;
}

/* The layout that all kernels with so many buffers share. */
static VkResult layout_get(dev_device *d, int buffers, kernel_layout *out) {
    kernel_layout *l = &d->pipes.layouts[buffers];
    VkResult r = VK_SUCCESS;
    pthread_mutex_lock(&d->pipes.lock);
    if (!l->set) {
        VkDescriptorSetLayoutBinding b[MAX_BUFFERS + 1];
        for (int i = 0; i <= buffers; i++)
            b[i] = (VkDescriptorSetLayoutBinding){.binding = (uint32_t)i,
                                                  .descriptorType =
                                                      i ? VK_DESCRIPTOR_TYPE_STORAGE_BUFFER
                                                        : VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER,
                                                  .descriptorCount = 1,
                                                  .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT};
        VkDescriptorSetLayoutCreateInfo info = {
            .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
            .bindingCount = (uint32_t)buffers + 1,
            .pBindings = b};
        if (d->caps.has[DEV_PUSH_DESCRIPTOR])
            info.flags = VK_DESCRIPTOR_SET_LAYOUT_CREATE_PUSH_DESCRIPTOR_BIT_KHR;
        r = d->fn.vkCreateDescriptorSetLayout(d->handle, &info, NULL, &l->set);
    }
    if (!r && !l->pipeline) {
        VkPushConstantRange addresses = {VK_SHADER_STAGE_COMPUTE_BIT, 0, 8 * (uint32_t)buffers};
        VkPipelineLayoutCreateInfo info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                           .setLayoutCount = 1,
                                           .pSetLayouts = &l->set,
                                           .pushConstantRangeCount = has_addresses(d, buffers),
                                           .pPushConstantRanges = &addresses};
        r = d->fn.vkCreatePipelineLayout(d->handle, &info, NULL, &l->pipeline);
    }
    *out = *l;
    pthread_mutex_unlock(&d->pipes.lock);
    return r;
}

static VkResult pipeline_make(dev_device *d, const uint32_t *spirv, size_t words,
                              const uint32_t *spec, uint32_t n_spec, dev_pipeline *p) {
    VkSpecializationMapEntry *entries = calloc(n_spec + 1u, sizeof *entries);
    if (!entries) return VK_ERROR_OUT_OF_HOST_MEMORY;
    for (uint32_t i = 0; i < n_spec; i++)
        entries[i] = (VkSpecializationMapEntry){i, i * 4, 4};
    VkSpecializationInfo special = {n_spec, entries, (size_t)n_spec * 4, spec};
    VkShaderModuleCreateInfo code = {.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                     .codeSize = words * 4,
                                     .pCode = spirv};
    VkShaderModule module = VK_NULL_HANDLE;
    VkResult r = d->fn.vkCreateShaderModule(d->handle, &code, NULL, &module);
    if (!r) {
        VkComputePipelineCreateInfo info = {
            .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
            .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                      .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                      .module = module,
                      .pName = "main",
                      .pSpecializationInfo = n_spec ? &special : NULL},
            .layout = p->layout};
        pthread_rwlock_rdlock(&d->pipes.cache_lock);
        r = d->fn.vkCreateComputePipelines(d->handle, d->pipes.cache, 1, &info, NULL, &p->handle);
        pthread_rwlock_unlock(&d->pipes.cache_lock);
        d->fn.vkDestroyShaderModule(d->handle, module, NULL);
    }
    free(entries);
    return r;
}

mare_status dev_pipeline_create(dev_device *d, const uint32_t *spirv, size_t words, int buffers,
                                const uint32_t *spec, int n_spec, dev_pipeline **out,
                                mare_error *e) {
    *out = NULL;
    mare_status s = check_lost(d, e);
    if (s) return s;
    if (buffers < 0 || (uint32_t)buffers > d->caps.storage_buffers)
        return error_set(e, MARE_E_UNSUPPORTED,
                         "the kernel binds %d storage buffers; the device '%s' allows %u", buffers,
                         d->caps.name, d->caps.storage_buffers);
    if (n_spec < 0 || (n_spec && !spec))
        return error_set(e, MARE_E_ARGUMENT, "pipeline: %d specialisation constants at %p", n_spec,
                         (const void *)spec);
    if (!spirv || words < 5 || spirv[0] != 0x07230203u)
        return error_set(e, MARE_E_SHADER, "pipeline: the %zu words given are not SPIR-V", words);
    bool addresses = declares(spirv, words, PHYSICAL_ADDRESSES);
    if (addresses && !has_addresses(d, buffers))
        return error_set(e, MARE_E_UNSUPPORTED,
                         "the kernel takes the addresses of its %d buffers; the device '%s' %s",
                         buffers, d->caps.name,
                         d->caps.has[DEV_BUFFER_ADDRESS] ? "has no room for them" : "has none");
    dev_pipeline *p = calloc(1, sizeof *p);
    if (!p) return error_no_memory(e, sizeof *p);
    p->d = d;
    p->buffers = buffers;
    p->addresses = addresses;
    p->refs = 1;
    kernel_layout l;
    VkResult r = layout_get(d, buffers, &l);
    p->set_layout = l.set;
    p->layout = l.pipeline;
    if (!r) r = pipeline_make(d, spirv, words, spec, (uint32_t)n_spec, p);
    if (r) {
        free(p);
        return vk_error(d, e, r, "making a compute pipeline");
    }
    pthread_mutex_lock(&d->pipes.lock);
    p->next = d->pipes.all;
    if (p->next) p->next->prev = p;
    d->pipes.all = p;
    pthread_mutex_unlock(&d->pipes.lock);
    *out = p;
    return MARE_OK;
}

/* The last reference goes when the device is done with it: recorders hold pipelines until then. */
void pipeline_unref(dev_pipeline *p) {
    if (--p->refs) return;
    dev_device *d = p->d;
    if (d) {
        pthread_mutex_lock(&d->pipes.lock);
        if (p->prev)
            p->prev->next = p->next;
        else
            d->pipes.all = p->next;
        if (p->next) p->next->prev = p->prev;
        pthread_mutex_unlock(&d->pipes.lock);
        d->fn.vkDestroyPipeline(d->handle, p->handle, NULL);
    }
    free(p);
}

void dev_pipeline_destroy(dev_pipeline *p) {
    if (p) pipeline_unref(p);
}

/* ---- the driver's cache ------------------------------------------------------------------- */

/* Before the driver's bytes: what they belong to, and their hash. Drivers trust their own bytes,
 * so torn ones must not reach them. */
typedef struct cache_head {
    char magic[8];
    uint32_t vendor, device_id, driver_version, api_version;
    uint8_t uuid[16];
    uint64_t len, hash;
} cache_head;

static cache_head head_for(const dev_device *d, const void *bytes, size_t len) {
    cache_head h;
    memset(&h, 0, sizeof h);
    memcpy(h.magic, "MAREPC1", 8);
    h.vendor = d->caps.vendor;
    h.device_id = d->caps.device_id;
    h.driver_version = d->caps.driver_version;
    h.api_version = d->caps.api_version;
    memcpy(h.uuid, d->caps.cache_uuid, sizeof h.uuid);
    h.len = len;
    h.hash = hash_bytes(bytes, len, 0);
    return h;
}

/* A cache of the driver's from bytes that dev_pipeline_cache_save() gave; VK_NULL_HANDLE when they
 * are not whole, or not this driver's. */
static VkPipelineCache cache_from(dev_device *d, const void *data, size_t len) {
    if (!data || len <= sizeof(cache_head)) return VK_NULL_HANDLE;
    const uint8_t *bytes = (const uint8_t *)data + sizeof(cache_head);
    cache_head want = head_for(d, bytes, len - sizeof want);
    if (memcmp(data, &want, sizeof want)) return VK_NULL_HANDLE;
    VkPipelineCacheCreateInfo info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO,
                                      .initialDataSize = len - sizeof want,
                                      .pInitialData = bytes};
    VkPipelineCache made = VK_NULL_HANDLE;
    return d->fn.vkCreatePipelineCache(d->handle, &info, NULL, &made) ? VK_NULL_HANDLE : made;
}

static mare_status cache_bytes(dev_device *d, VkPipelineCache cache, void **data, size_t *len,
                               mare_error *e) {
    size_t n = 0;
    VkResult r = d->fn.vkGetPipelineCacheData(d->handle, cache, &n, NULL);
    if (r) return vk_error(d, e, r, "vkGetPipelineCacheData");
    uint8_t *p = malloc(sizeof(cache_head) + n + 1);
    if (!p) return error_no_memory(e, sizeof(cache_head) + n + 1);
    /* Another thread may have added to it since: then the driver gives as much as fits. */
    r = d->fn.vkGetPipelineCacheData(d->handle, cache, &n, p + sizeof(cache_head));
    if (r < 0) {
        free(p);
        return vk_error(d, e, r, "vkGetPipelineCacheData");
    }
    cache_head h = head_for(d, p + sizeof h, n);
    memcpy(p, &h, sizeof h);
    *data = p;
    *len = sizeof h + n;
    return MARE_OK;
}

mare_status dev_pipeline_cache_save(dev_device *d, const void *earlier, size_t earlier_len,
                                    void **data, size_t *len, mare_error *e) {
    *data = NULL;
    *len = 0;
    mare_status s = check_lost(d, e);
    if (s) return s;
    /* Joined in a cache of its own: the one in use stays free for those who make pipelines. */
    VkPipelineCache both = cache_from(d, earlier, earlier_len);
    if (both && d->fn.vkMergePipelineCaches(d->handle, both, 1, &d->pipes.cache)) {
        d->fn.vkDestroyPipelineCache(d->handle, both, NULL);
        both = VK_NULL_HANDLE;
    }
    s = cache_bytes(d, both ? both : d->pipes.cache, data, len, e);
    d->fn.vkDestroyPipelineCache(d->handle, both, NULL);
    return s;
}

void dev_pipeline_cache_load(dev_device *d, const void *data, size_t len) {
    if (check_lost(d, NULL)) return;
    VkPipelineCache loaded = cache_from(d, data, len);
    if (!loaded) return;
    pthread_rwlock_wrlock(&d->pipes.cache_lock);
    d->fn.vkMergePipelineCaches(d->handle, d->pipes.cache, 1, &loaded);
    pthread_rwlock_unlock(&d->pipes.cache_lock);
    d->fn.vkDestroyPipelineCache(d->handle, loaded, NULL);
}
