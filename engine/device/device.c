#define _POSIX_C_SOURCE 200809L
#include "device/internal.h"

#include "base/text.h"

#include <ctype.h>
#include <string.h>

/* ---- the list ----------------------------------------------------------------------------- */

mare_status dev_list(dev_caps **out, int *count, mare_error *e) {
    *out = NULL;
    *count = 0;
    vk_instance vi = {0};
    candidates list = {0};
    mare_status s = vk_instance_create(&vi, NULL, NULL, e);
    if (s) return s;
    s = caps_probe(&vi, &list, e);
    if (!s) {
        *out = malloc(list.len * sizeof **out);
        if (!*out) s = error_no_memory(e, list.len * sizeof **out);
    }
    for (size_t i = 0; !s && i < list.len; i++)
        (*out)[i] = list.data[i].caps;
    if (!s) *count = (int)list.len;
    vec_free(&list);
    vi.vkDestroyInstance(vi.handle, NULL);
    return s;
}

static bool contains(const char *name, const char *part) {
    size_t n = strlen(part);
    for (; *name; name++) {
        size_t i = 0;
        while (i < n && tolower((unsigned char)name[i]) == tolower((unsigned char)part[i]))
            i++;
        if (i == n) return true;
    }
    return false;
}

static bool same_word(const char *a, const char *b) {
    return strlen(a) == strlen(b) && contains(a, b);
}

/* The device that `want` names: an index, a type, or a part of a name, in this order. */
static mare_status select_device(const candidates *list, const char *want, size_t *out,
                                 mare_error *e) {
    *out = 0;
    if (!want || !*want) return MARE_OK;
    if (strspn(want, "0123456789") == strlen(want)) {
        size_t i = 0;
        for (const char *p = want; *p && i < list->len; p++)
            i = i * 10 + (size_t)(*p - '0');
        if (i < list->len) {
            *out = i;
            return MARE_OK;
        }
    } else {
        for (size_t i = 0; i < list->len; i++)
            if (same_word(dev_type_name(list->data[i].caps.type), want)) {
                *out = i;
                return MARE_OK;
            }
        for (size_t i = 0; i < list->len; i++)
            if (contains(list->data[i].caps.name, want)) {
                *out = i;
                return MARE_OK;
            }
    }
    text t = {0};
    for (size_t i = 0; i < list->len; i++)
        text_add(&t, "%s%zu '%s' (%s)", i ? ", " : "", i, list->data[i].caps.name,
                 dev_type_name(list->data[i].caps.type));
    mare_status s = error_set(e, MARE_E_NO_DEVICE, "no device fits '%.100s'; there are: %s", want,
                              text_str(&t));
    text_free(&t);
    return s;
}

/* ---- making and adopting ------------------------------------------------------------------ */

/* All parts of d that stand on its Vulkan device, which is set already. */
static mare_status device_init(dev_device *d, const void *features, extensions ext,
                               const dev_options *o) {
    bool timeline = caps_fill(&d->vk, d->physical, d->family, features, ext, &d->caps);
    if (!timeline)
        return error_set(d->e, MARE_E_UNSUPPORTED,
                         "the device '%s' was made without the feature timelineSemaphore; turn it "
                         "on (VkPhysicalDeviceVulkan12Features or "
                         "VkPhysicalDeviceTimelineSemaphoreFeatures) and name that structure in "
                         "`features`",
                         d->caps.name);
    uint32_t bits = timestamp_bits(&d->vk, d->physical, d->family);
    d->profile.mask = bits < 64 ? (1ull << bits) - 1 : UINT64_MAX;
    if (o && o->caps) {
        mare_status s = dev_caps_apply(&d->caps, o->caps, d->e);
        if (s) return s;
    }
    if (o) d->mem.cap = o->memory_cap;
    mare_status s = vk_device_table(&d->vk, d->handle, &d->fn, d->e);
    if (s) return s;
    if (!d->fn.vkCmdPushDescriptorSetKHR) d->caps.has[DEV_PUSH_DESCRIPTOR] = false;
    d->ready = true;
    memory_init(d);
    s = pipelines_init(d);
    return s ? s : queue_init(d);
}

static mare_status check_host(const mare_vulkan_device *h, mare_error *e) {
    if (!h || !h->instance || !h->physical_device || !h->device || !h->queue)
        return error_set(e, MARE_E_ARGUMENT,
                         "adopting a device: instance, physical_device, device and queue must all "
                         "be given");
    if (h->api_version < VK_API_VERSION_1_2)
        return error_set(e, MARE_E_UNSUPPORTED,
                         "adopting a device: the instance was made for Vulkan %u.%u (api_version); "
                         "1.2 is needed",
                         VK_API_VERSION_MAJOR(h->api_version),
                         VK_API_VERSION_MINOR(h->api_version));
    if (!h->lock_queue != !h->unlock_queue)
        return error_set(e, MARE_E_ARGUMENT,
                         "adopting a device: lock_queue and unlock_queue go together");
    if (h->extension_count && !h->extensions)
        return error_set(e, MARE_E_ARGUMENT, "adopting a device: %u extensions, but no list",
                         h->extension_count);
    return MARE_OK;
}

static mare_status check_family(dev_device *d) {
    VkPhysicalDeviceProperties2 props = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
    d->vk.vkGetPhysicalDeviceProperties2(d->physical, &props);
    if (props.properties.apiVersion < VK_API_VERSION_1_2)
        return error_set(d->e, MARE_E_UNSUPPORTED,
                         "adopting a device: '%s' speaks Vulkan %u.%u only; 1.2 is needed",
                         props.properties.deviceName,
                         VK_API_VERSION_MAJOR(props.properties.apiVersion),
                         VK_API_VERSION_MINOR(props.properties.apiVersion));
    uint32_t n = 0;
    d->vk.vkGetPhysicalDeviceQueueFamilyProperties(d->physical, &n, NULL);
    VkQueueFamilyProperties *f = calloc(n + 1u, sizeof *f);
    if (!f) return error_no_memory(d->e, (n + 1u) * sizeof *f);
    d->vk.vkGetPhysicalDeviceQueueFamilyProperties(d->physical, &n, f);
    bool ok = d->family < n && f[d->family].queueFlags & VK_QUEUE_COMPUTE_BIT;
    free(f);
    if (ok) return MARE_OK;
    return error_set(d->e, MARE_E_UNSUPPORTED,
                     "adopting a device: queue family %u of %u cannot compute", d->family, n);
}

static dev_device *device_new(mare_error *e) {
    dev_device *d = calloc(1, sizeof *d);
    if (!d) {
        error_no_memory(e, sizeof *d);
        return NULL;
    }
    d->e = e;
    pthread_mutex_init(&d->messages.lock, NULL);
    return d;
}

mare_status dev_adopt(const struct mare_vulkan_device *host, const dev_options *o, mare_error *e,
                      dev_device **out) {
    *out = NULL;
    mare_status s = check_host(host, e);
    if (s) return s;
    dev_device *d = device_new(e);
    if (!d) return MARE_E_HOST_MEMORY;
    s = vk_instance_adopt(&d->vk, host->instance, host->api_version, host->get_instance_proc_addr,
                          e);
    d->physical = host->physical_device;
    d->handle = host->device;
    d->queue = host->queue;
    d->family = host->queue_family;
    d->lock_queue = host->lock_queue;
    d->unlock_queue = host->unlock_queue;
    d->lock_user = host->user;
    if (!s) s = check_family(d);
    if (!s)
        s = device_init(d, host->features, (extensions){host->extensions, host->extension_count},
                        o);
    if (s) {
        dev_destroy(d);
        return s;
    }
    *out = d;
    return MARE_OK;
}

/* Turns on what caps wants and no more. */
static void features_want(feature_chain *f, const dev_caps *caps) {
    f->base.features.shaderInt64 = caps->has[DEV_INT64];
    f->v12.timelineSemaphore = VK_TRUE;
    f->v12.storageBuffer8BitAccess = caps->has[DEV_STORAGE8];
    f->v12.shaderFloat16 = caps->has[DEV_FLOAT16];
    f->v12.shaderInt8 = caps->has[DEV_INT8];
    f->v12.bufferDeviceAddress = caps->has[DEV_BUFFER_ADDRESS];
    f->v12.vulkanMemoryModel = caps->has[DEV_COOP_MATRIX];
    f->storage16.storageBuffer16BitAccess = caps->has[DEV_STORAGE16];
    f->subgroup_size.subgroupSizeControl = caps->has[DEV_SUBGROUP_SIZE];
    f->subgroup_size.computeFullSubgroups = caps->has[DEV_SUBGROUP_SIZE];
    f->coop_matrix.cooperativeMatrix = caps->has[DEV_COOP_MATRIX];
}

/* Makes the VkDevice for a chosen candidate, and adopts it. */
static mare_status device_make(dev_device *d, const candidate *c, const dev_options *o) {
    dev_caps caps = c->caps;
    mare_status s = dev_caps_apply(&caps, o->caps, d->e);
    if (s) return s;
    /* A layer older than an extension can only warn of it, so the extension stays off. */
    if (d->messenger && d->messages.layer < VK_MAKE_API_VERSION(0, 1, 3, 255))
        caps.has[DEV_COOP_MATRIX] = false;
    d->physical = c->physical;
    d->family = pick_family(&d->vk, d->physical);
    uint32_t version = device_version(&d->vk, d->physical);
    const char *names[5];
    extensions on = {names, 0};
    if (caps.has[DEV_SUBGROUP_SIZE] && version < VK_API_VERSION_1_3)
        names[on.n++] = VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME;
    if (caps.has[DEV_PUSH_DESCRIPTOR]) names[on.n++] = VK_KHR_PUSH_DESCRIPTOR_EXTENSION_NAME;
    if (caps.has[DEV_COOP_MATRIX]) names[on.n++] = VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME;
    if (caps.has[DEV_MEMORY_BUDGET]) names[on.n++] = VK_EXT_MEMORY_BUDGET_EXTENSION_NAME;
    feature_chain f;
    feature_chain_init(&f, on, version);
    features_want(&f, &caps);

    float priority = 1;
    VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                     .queueFamilyIndex = d->family,
                                     .queueCount = 1,
                                     .pQueuePriorities = &priority};
    VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                               .pNext = &f.base,
                               .queueCreateInfoCount = 1,
                               .pQueueCreateInfos = &queue,
                               .enabledExtensionCount = on.n,
                               .ppEnabledExtensionNames = names};
    VkResult r = d->vk.vkCreateDevice(d->physical, &info, NULL, &d->handle);
    if (r) {
        d->handle = VK_NULL_HANDLE;
        return error_set(d->e, MARE_E_NO_DEVICE, "vkCreateDevice failed on '%s' (VkResult %d)",
                         caps.name, (int)r);
    }
    PFN_vkGetDeviceQueue get =
        (PFN_vkGetDeviceQueue)d->vk.vkGetDeviceProcAddr(d->handle, "vkGetDeviceQueue");
    get(d->handle, d->family, 0, &d->queue);
    return device_init(d, &f.base, on, o);
}

mare_status dev_create(const dev_options *o, mare_error *e, dev_device **out) {
    static const dev_options none = {0};
    *out = NULL;
    if (!o) o = &none;
    dev_device *d = device_new(e);
    if (!d) return MARE_E_HOST_MEMORY;
    d->owns = true;
    mare_status s = vk_instance_create(&d->vk, o->validate ? &d->messages : NULL, &d->messenger, e);
    candidates list = {0};
    size_t i = 0;
    if (!s) s = caps_probe(&d->vk, &list, e);
    if (!s) s = select_device(&list, o->device, &i, e);
    if (!s) s = device_make(d, &list.data[i], o);
    vec_free(&list);
    if (s) {
        dev_destroy(d);
        return s;
    }
    *out = d;
    return MARE_OK;
}

void dev_destroy(dev_device *d) {
    if (!d) return;
    if (d->ready) {
        mare_error *e = d->e; /* what went wrong before is worth more than what does now */
        d->e = NULL;
        if (d->timeline) queue_wait(d, d->submitted);
        queue_free(d);
        profile_free(d);
        pipelines_free(d);
        memory_free(d);
        d->e = e;
    }
    if (d->owns && d->handle) {
        PFN_vkDestroyDevice destroy =
            (PFN_vkDestroyDevice)d->vk.vkGetDeviceProcAddr(d->handle, "vkDestroyDevice");
        destroy(d->handle, NULL);
    }
    if (d->messenger) d->vk.vkDestroyDebugUtilsMessengerEXT(d->vk.handle, d->messenger, NULL);
    if (d->owns && d->vk.handle) d->vk.vkDestroyInstance(d->vk.handle, NULL);
    pthread_mutex_destroy(&d->messages.lock);
    free(d);
}

const dev_caps *dev_get_caps(const dev_device *d) {
    return &d->caps;
}

int dev_validation_messages(const dev_device *d, const char **last) {
    validation *v = (validation *)&d->messages;
    pthread_mutex_lock(&v->lock);
    int n = v->count;
    memcpy(v->shown, v->last, sizeof v->shown);
    pthread_mutex_unlock(&v->lock);
    if (last) *last = v->shown;
    return n;
}
