#define _POSIX_C_SOURCE 200809L
/* What a physical device can do, and what of it was turned on. */
#include "device/internal.h"

#include <stdio.h>
#include <string.h>

bool extension_on(extensions on, const char *name) {
    for (uint32_t i = 0; i < on.n; i++)
        if (!strcmp(on.names[i], name)) return true;
    return false;
}

bool extensions_get(const vk_instance *vi, VkPhysicalDevice p, extension_list *out) {
    memset(out, 0, sizeof *out);
    uint32_t n = 0;
    if (vi->vkEnumerateDeviceExtensionProperties(p, NULL, &n, NULL)) return false;
    out->props = calloc(n + 1u, sizeof *out->props);
    out->names = calloc(n + 1u, sizeof *out->names);
    if (!out->props || !out->names ||
        vi->vkEnumerateDeviceExtensionProperties(p, NULL, &n, out->props) < 0) {
        extensions_free(out);
        return false;
    }
    out->n = n;
    for (uint32_t i = 0; i < n; i++)
        out->names[i] = out->props[i].extensionName;
    return true;
}

void extensions_free(extension_list *l) {
    free(l->props);
    free(l->names);
    memset(l, 0, sizeof *l);
}

uint32_t device_version(const vk_instance *vi, VkPhysicalDevice p) {
    VkPhysicalDeviceProperties2 props = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
    vi->vkGetPhysicalDeviceProperties2(p, &props);
    uint32_t v = props.properties.apiVersion;
    return v < vi->version ? v : vi->version;
}

static bool has_subgroup_size(extensions on, uint32_t version) {
    return version >= VK_API_VERSION_1_3 ||
           extension_on(on, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME);
}

void feature_chain_init(feature_chain *c, extensions have, uint32_t version) {
    memset(c, 0, sizeof *c);
    c->base.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
    c->v12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES;
    c->storage16.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES;
    c->subgroup_size.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES;
    c->coop_matrix.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR;
    c->base.pNext = &c->v12;
    c->v12.pNext = &c->storage16;
    void **tail = &c->storage16.pNext;
    if (has_subgroup_size(have, version)) {
        *tail = &c->subgroup_size;
        tail = &c->subgroup_size.pNext;
    }
    if (extension_on(have, VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME)) *tail = &c->coop_matrix;
}

/* What a chain of feature structures turns on. */
typedef struct enabled {
    bool timeline, memory_model, storage16, storage8, float16, int8, int64, address, coop_matrix;
    bool subgroup_size, full_subgroups;
} enabled;

/* The host may have used the structures of a core version or those of single extensions. */
static enabled features_read(const void *features) {
    enabled on = {0};
    for (const VkBaseInStructure *s = features; s; s = s->pNext) {
        switch ((int)s->sType) {
        case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2:
            on.int64 |= ((const VkPhysicalDeviceFeatures2 *)s)->features.shaderInt64;
            break;
        case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES:
            on.storage16 |= ((const VkPhysicalDeviceVulkan11Features *)s)->storageBuffer16BitAccess;
            break;
        case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES: {
            const VkPhysicalDeviceVulkan12Features *f = (const void *)s;
            on.timeline |= f->timelineSemaphore;
            on.memory_model |= f->vulkanMemoryModel;
            on.storage8 |= f->storageBuffer8BitAccess;
            on.float16 |= f->shaderFloat16;
            on.int8 |= f->shaderInt8;
            on.address |= f->bufferDeviceAddress;
            break;
        }
        case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES: {
            const VkPhysicalDeviceVulkan13Features *f = (const void *)s;
            on.subgroup_size |= f->subgroupSizeControl;
            on.full_subgroups |= f->computeFullSubgroups;
            break;
        }
        case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES:
            on.storage16 |=
                ((const VkPhysicalDevice16BitStorageFeatures *)s)->storageBuffer16BitAccess;
            break;
        case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_8BIT_STORAGE_FEATURES:
            on.storage8 |=
                ((const VkPhysicalDevice8BitStorageFeatures *)s)->storageBuffer8BitAccess;
            break;
        case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES: {
            const VkPhysicalDeviceShaderFloat16Int8Features *f = (const void *)s;
            on.float16 |= f->shaderFloat16;
            on.int8 |= f->shaderInt8;
            break;
        }
        case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES:
            on.timeline |=
                ((const VkPhysicalDeviceTimelineSemaphoreFeatures *)s)->timelineSemaphore;
            break;
        case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_BUFFER_DEVICE_ADDRESS_FEATURES:
            on.address |=
                ((const VkPhysicalDeviceBufferDeviceAddressFeatures *)s)->bufferDeviceAddress;
            break;
        case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES:
            on.memory_model |=
                ((const VkPhysicalDeviceVulkanMemoryModelFeatures *)s)->vulkanMemoryModel;
            break;
        case VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES: {
            const VkPhysicalDeviceSubgroupSizeControlFeatures *f = (const void *)s;
            on.subgroup_size |= f->subgroupSizeControl;
            on.full_subgroups |= f->computeFullSubgroups;
            break;
        }
        case 1000506000: /* VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR */
            on.coop_matrix |=
                ((const VkPhysicalDeviceCooperativeMatrixFeaturesKHR *)s)->cooperativeMatrix;
            break;
        default:
            break;
        }
    }
    return on;
}

uint32_t pick_family(const vk_instance *vi, VkPhysicalDevice p) {
    uint32_t n = 0, best = UINT32_MAX;
    vi->vkGetPhysicalDeviceQueueFamilyProperties(p, &n, NULL);
    VkQueueFamilyProperties *f = calloc(n + 1u, sizeof *f);
    if (!f) return UINT32_MAX;
    vi->vkGetPhysicalDeviceQueueFamilyProperties(p, &n, f);
    /* A family for compute alone leaves the screen's queue free; timestamps are worth more. */
    for (uint32_t i = 0, score = 0; i < n; i++) {
        if (!(f[i].queueFlags & VK_QUEUE_COMPUTE_BIT) || !f[i].queueCount) continue;
        uint32_t s = 1u + (f[i].timestampValidBits ? 2u : 0u) +
                     (f[i].queueFlags & VK_QUEUE_GRAPHICS_BIT ? 0u : 1u);
        if (s > score) {
            score = s;
            best = i;
        }
    }
    free(f);
    return best;
}

uint32_t timestamp_bits(const vk_instance *vi, VkPhysicalDevice p, uint32_t family) {
    uint32_t n = 0, bits = 0;
    vi->vkGetPhysicalDeviceQueueFamilyProperties(p, &n, NULL);
    VkQueueFamilyProperties *f = calloc(n + 1u, sizeof *f);
    if (!f) return 0;
    vi->vkGetPhysicalDeviceQueueFamilyProperties(p, &n, f);
    if (family < n) bits = f[family].timestampValidBits;
    free(f);
    return bits;
}

static dev_type type_of(VkPhysicalDeviceType t) {
    switch (t) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
        return DEV_DISCRETE;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
        return DEV_INTEGRATED;
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
        return DEV_VIRTUAL;
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
        return DEV_CPU;
    default:
        return DEV_OTHER;
    }
}

/* The largest device-local heap, and whether the host can map it. */
static void memory_of(const vk_instance *vi, VkPhysicalDevice p, dev_caps *c) {
    VkPhysicalDeviceMemoryProperties2 m = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
    vi->vkGetPhysicalDeviceMemoryProperties2(p, &m);
    const VkPhysicalDeviceMemoryProperties *mp = &m.memoryProperties;
    uint32_t heap = 0;
    c->memory = 0;
    for (uint32_t i = 0; i < mp->memoryHeapCount; i++)
        if (mp->memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT &&
            mp->memoryHeaps[i].size > c->memory) {
            heap = i;
            c->memory = mp->memoryHeaps[i].size;
        }
    /* A discrete card may show its memory to the host, but over a slow bus. */
    const VkMemoryPropertyFlags want = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT |
                                       VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                       VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    for (uint32_t i = 0; i < mp->memoryTypeCount && c->type != DEV_DISCRETE; i++)
        if (mp->memoryTypes[i].heapIndex == heap &&
            (mp->memoryTypes[i].propertyFlags & want) == want)
            c->has[DEV_UNIFIED] = true;
}

/* Mesa's software driver compiles a value that a subgroup shares to a scalar since 25.1; before, it
 * takes lane after lane out of a vector. */
static bool uniform_loads(const VkPhysicalDeviceDriverProperties *driver, const dev_caps *c) {
    int major = 0, minor = 0;
    return driver->driverID == VK_DRIVER_ID_MESA_LLVMPIPE && c->has[DEV_BUFFER_ADDRESS] &&
           c->has[DEV_INT64] && c->has[DEV_SUBGROUP] &&
           sscanf(driver->driverInfo, "Mesa %d.%d", &major, &minor) == 2 &&
           (major > 25 || (major == 25 && minor >= 1));
}

bool caps_fill(const vk_instance *vi, VkPhysicalDevice p, uint32_t family, const void *features,
               extensions ext, dev_caps *c) {
    memset(c, 0, sizeof *c);
    uint32_t version = device_version(vi, p);
    VkPhysicalDeviceMaintenance4Properties m4 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_PROPERTIES};
    VkPhysicalDeviceSubgroupSizeControlProperties ssc = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES};
    VkPhysicalDeviceDriverProperties driver = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES};
    VkPhysicalDeviceSubgroupProperties sub = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES, .pNext = &driver};
    VkPhysicalDeviceMaintenance3Properties m3 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES, .pNext = &sub};
    VkPhysicalDeviceProperties2 props = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
                                         .pNext = &m3};
    void **tail = &driver.pNext;
    bool sized = has_subgroup_size(ext, version);
    if (sized) {
        *tail = &ssc;
        tail = &ssc.pNext;
    }
    if (version >= VK_API_VERSION_1_3) *tail = &m4;
    vi->vkGetPhysicalDeviceProperties2(p, &props);

    const VkPhysicalDeviceLimits *l = &props.properties.limits;
    snprintf(c->name, sizeof c->name, "%s", props.properties.deviceName);
    snprintf(c->driver, sizeof c->driver, "%.100s%s%.150s", driver.driverName,
             driver.driverInfo[0] ? " " : "", driver.driverInfo);
    c->type = type_of(props.properties.deviceType);
    c->vendor = props.properties.vendorID;
    c->device_id = props.properties.deviceID;
    c->driver_version = props.properties.driverVersion;
    c->api_version = version;
    memcpy(c->cache_uuid, props.properties.pipelineCacheUUID, sizeof c->cache_uuid);
    c->workgroup = l->maxComputeWorkGroupInvocations;
    memcpy(c->workgroup_size, l->maxComputeWorkGroupSize, sizeof c->workgroup_size);
    c->shared = l->maxComputeSharedMemorySize;
    c->push_constants = l->maxPushConstantsSize;
    c->storage_buffers = l->maxPerStageDescriptorStorageBuffers;
    if (c->storage_buffers > l->maxDescriptorSetStorageBuffers)
        c->storage_buffers = l->maxDescriptorSetStorageBuffers;
    if (c->storage_buffers > l->maxPerStageResources - 1)
        c->storage_buffers = l->maxPerStageResources - 1;
    if (c->storage_buffers > MAX_BUFFERS) c->storage_buffers = MAX_BUFFERS;
    c->binding = l->maxStorageBufferRange / BUFFER_ALIGN * BUFFER_ALIGN;
    c->allocation = m3.maxMemoryAllocationSize;
    if (m4.maxBufferSize && c->allocation > m4.maxBufferSize) c->allocation = m4.maxBufferSize;
    memcpy(c->groups, l->maxComputeWorkGroupCount, sizeof c->groups);
    c->subgroup = c->subgroup_min = c->subgroup_max = sub.subgroupSize;
    c->offset_alignment =
        (uint32_t)(l->minStorageBufferOffsetAlignment > l->minUniformBufferOffsetAlignment
                       ? l->minStorageBufferOffsetAlignment
                       : l->minUniformBufferOffsetAlignment);
    c->timestamp_ns = (double)l->timestampPeriod;
    memory_of(vi, p, c);
    if (c->allocation > c->memory) c->allocation = c->memory;

    enabled on = features_read(features);
    const VkSubgroupFeatureFlags ops =
        VK_SUBGROUP_FEATURE_BASIC_BIT | VK_SUBGROUP_FEATURE_VOTE_BIT |
        VK_SUBGROUP_FEATURE_BALLOT_BIT | VK_SUBGROUP_FEATURE_ARITHMETIC_BIT |
        VK_SUBGROUP_FEATURE_SHUFFLE_BIT;
    c->has[DEV_STORAGE16] = on.storage16;
    c->has[DEV_STORAGE8] = on.storage8;
    c->has[DEV_FLOAT16] = on.float16;
    c->has[DEV_INT8] = on.int8;
    c->has[DEV_INT64] = on.int64;
    c->has[DEV_SUBGROUP] =
        (sub.supportedOperations & ops) == ops && sub.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT;
    c->has[DEV_SUBGROUP_SIZE] = sized && on.subgroup_size && on.full_subgroups &&
                                ssc.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT;
    if (c->has[DEV_SUBGROUP_SIZE]) {
        c->subgroup_min = ssc.minSubgroupSize;
        c->subgroup_max = ssc.maxSubgroupSize;
    }
    c->has[DEV_PUSH_DESCRIPTOR] = extension_on(ext, VK_KHR_PUSH_DESCRIPTOR_EXTENSION_NAME);
    c->has[DEV_BUFFER_ADDRESS] = on.address;
    c->has[DEV_UNIFORM_LOADS] = uniform_loads(&driver, c);
    c->has[DEV_COOP_MATRIX] = on.coop_matrix && on.memory_model &&
                              extension_on(ext, VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME);
    c->has[DEV_MEMORY_BUDGET] = extension_on(ext, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
    c->has[DEV_TIMESTAMPS] = c->timestamp_ns > 0 && timestamp_bits(vi, p, family) > 0;
    return on.timeline;
}

/* Best first; equals keep the loader's order. */
static void insert_sorted(candidates *list) {
    for (size_t i = list->len - 1; i > 0; i--) {
        if (list->data[i - 1].caps.type <= list->data[i].caps.type) break;
        candidate t = list->data[i];
        list->data[i] = list->data[i - 1];
        list->data[i - 1] = t;
    }
}

static mare_status probe_one(const vk_instance *vi, VkPhysicalDevice p, candidates *out, char *why,
                             size_t why_size, mare_error *e) {
    candidate c = {.physical = p};
    VkPhysicalDeviceProperties2 props = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
    vi->vkGetPhysicalDeviceProperties2(p, &props);
    uint32_t version = props.properties.apiVersion;
    uint32_t family = pick_family(vi, p);
    if (version < VK_API_VERSION_1_2 || family == UINT32_MAX) {
        snprintf(why, why_size, "'%s' speaks Vulkan %u.%u%s", props.properties.deviceName,
                 VK_API_VERSION_MAJOR(version), VK_API_VERSION_MINOR(version),
                 family == UINT32_MAX ? " and has no compute queue" : "");
        return MARE_OK;
    }
    extension_list have;
    if (!extensions_get(vi, p, &have))
        return error_set(e, MARE_E_HOST_MEMORY, "the extensions of '%s' could not be listed",
                         props.properties.deviceName);
    extensions on = {have.names, have.n};
    feature_chain f;
    feature_chain_init(&f, on, device_version(vi, p));
    vi->vkGetPhysicalDeviceFeatures2(p, &f.base);
    bool timeline = caps_fill(vi, p, family, &f.base, on, &c.caps);
    extensions_free(&have);
    if (!timeline) {
        snprintf(why, why_size, "'%s' has no timeline semaphores", c.caps.name);
        return MARE_OK;
    }
    if (!vec_push(out, c)) return error_no_memory(e, sizeof c);
    insert_sorted(out);
    return MARE_OK;
}

mare_status caps_probe(const vk_instance *vi, candidates *out, mare_error *e) {
    uint32_t n = 0;
    VkPhysicalDevice all[64];
    char why[400] = "there is none";
    VkResult r = vi->vkEnumeratePhysicalDevices(vi->handle, &n, NULL);
    if (n > 64) n = 64;
    if (!r) r = vi->vkEnumeratePhysicalDevices(vi->handle, &n, all);
    if (r < 0)
        return error_set(e, MARE_E_NO_DEVICE, "vkEnumeratePhysicalDevices failed (VkResult %d)", r);
    for (uint32_t i = 0; i < n; i++) {
        mare_status s = probe_one(vi, all[i], out, why, sizeof why, e);
        if (s) return s;
    }
    if (!out->len)
        return error_set(e, MARE_E_NO_DEVICE,
                         "no device with Vulkan 1.2, compute and timeline semaphores: %s. A newer "
                         "driver may help; mesa-vulkan-drivers has a software device",
                         why);
    return MARE_OK;
}
