#define _POSIX_C_SOURCE 200809L
/* A host with a Vulkan device of its own hands it to the engine, and goes on with it afterwards. */
#include "device_kit.h"

#include <mare/mare.h>

#include <stdio.h>

TestSuite(adopt, .timeout = 120);

/* The host's side: it uses volk's global functions, as a game may. */
typedef struct host {
    VkInstance instance;
    VkPhysicalDevice physical;
    VkDevice device;
    VkQueue queue;
    uint32_t family;
    VkDebugUtilsMessengerEXT messenger;
    int messages;
    char last[1024];
    int locked, locks;
} host;

static VKAPI_ATTR VkBool32 VKAPI_CALL on_host_message(
    VkDebugUtilsMessageSeverityFlagBitsEXT severity, VkDebugUtilsMessageTypeFlagsEXT types,
    const VkDebugUtilsMessengerCallbackDataEXT *data, void *user) {
    (void)severity, (void)types;
    host *h = user;
    h->messages++;
    snprintf(h->last, sizeof h->last, "%s", data->pMessage);
    return VK_FALSE;
}

static void host_instance(host *h) {
    static const char *const layer = "VK_LAYER_KHRONOS_validation";
    static const char *const names[] = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME,
                                        VK_EXT_VALIDATION_FEATURES_EXTENSION_NAME};
    memset(h, 0, sizeof *h);
    cr_assert(volkInitialize() == VK_SUCCESS);
    VkLayerProperties layers[64];
    uint32_t n = 64;
    bool there = false;
    vkEnumerateInstanceLayerProperties(&n, layers);
    for (uint32_t i = 0; i < n; i++)
        there |= !strcmp(layers[i].layerName, layer);
    VkApplicationInfo app = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                             .apiVersion = VK_API_VERSION_1_2};
    const VkValidationFeatureEnableEXT sync =
        VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT;
    VkValidationFeaturesEXT features = {.sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
                                        .enabledValidationFeatureCount = 1,
                                        .pEnabledValidationFeatures = &sync};
    VkDebugUtilsMessengerCreateInfoEXT debug = {
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
        .messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT |
                           VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
        .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
        .pfnUserCallback = on_host_message,
        .pUserData = h};
    VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                 .pNext = there ? &features : NULL,
                                 .pApplicationInfo = &app,
                                 .enabledLayerCount = there ? 1 : 0,
                                 .ppEnabledLayerNames = &layer,
                                 .enabledExtensionCount = there ? 2 : 0,
                                 .ppEnabledExtensionNames = names};
    cr_assert(vkCreateInstance(&info, NULL, &h->instance) == VK_SUCCESS);
    volkLoadInstance(h->instance);
    if (there)
        cr_assert(vkCreateDebugUtilsMessengerEXT(h->instance, &debug, NULL, &h->messenger) ==
                  VK_SUCCESS);
    VkPhysicalDevice all[16];
    n = 16;
    cr_assert(vkEnumeratePhysicalDevices(h->instance, &n, all) >= 0 && n > 0);
    h->physical = all[0];
    VkQueueFamilyProperties families[16];
    n = 16;
    vkGetPhysicalDeviceQueueFamilyProperties(h->physical, &n, families);
    while (h->family < n && !(families[h->family].queueFlags & VK_QUEUE_COMPUTE_BIT))
        h->family++;
    cr_assert(h->family < n);
}

static void host_device(host *h, const void *features, const char *const *names, uint32_t n) {
    float priority = 1;
    VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                     .queueFamilyIndex = h->family,
                                     .queueCount = 1,
                                     .pQueuePriorities = &priority};
    VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                               .pNext = features,
                               .queueCreateInfoCount = 1,
                               .pQueueCreateInfos = &queue,
                               .enabledExtensionCount = n,
                               .ppEnabledExtensionNames = names};
    cr_assert(vkCreateDevice(h->physical, &info, NULL, &h->device) == VK_SUCCESS);
    volkLoadDevice(h->device);
    vkGetDeviceQueue(h->device, h->family, 0, &h->queue);
}

/* The least that a host must turn on. */
static VkPhysicalDeviceTimelineSemaphoreFeatures timeline = {
    .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES,
    .timelineSemaphore = VK_TRUE};

static void on_lock(void *user) {
    host *h = user;
    cr_expect(!h->locked);
    h->locked = 1;
    h->locks++;
}

static void on_unlock(void *user) {
    host *h = user;
    cr_expect(h->locked);
    h->locked = 0;
}

static mare_vulkan_device hand_over(host *h, const void *features) {
    return (mare_vulkan_device){.instance = h->instance,
                                .physical_device = h->physical,
                                .device = h->device,
                                .api_version = VK_API_VERSION_1_2,
                                .queue_family = h->family,
                                .queue = h->queue,
                                .features = features,
                                .lock_queue = on_lock,
                                .unlock_queue = on_unlock,
                                .user = h};
}

/* The host works with its own device: a fence and a command buffer, through its queue. */
static void host_works(host *h) {
    VkCommandPool pool;
    VkCommandBuffer cmd;
    VkFence fence;
    VkEvent event;
    VkCommandPoolCreateInfo pi = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                  .queueFamilyIndex = h->family};
    VkFenceCreateInfo fi = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    VkEventCreateInfo ei = {.sType = VK_STRUCTURE_TYPE_EVENT_CREATE_INFO};
    cr_assert(!vkCreateCommandPool(h->device, &pi, NULL, &pool));
    cr_assert(!vkCreateFence(h->device, &fi, NULL, &fence));
    cr_assert(!vkCreateEvent(h->device, &ei, NULL, &event));
    VkCommandBufferAllocateInfo ai = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                      .commandPool = pool,
                                      .commandBufferCount = 1};
    cr_assert(!vkAllocateCommandBuffers(h->device, &ai, &cmd));
    VkCommandBufferBeginInfo bi = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    cr_assert(!vkBeginCommandBuffer(cmd, &bi));
    vkCmdSetEvent(cmd, event, VK_PIPELINE_STAGE_TRANSFER_BIT);
    cr_assert(!vkEndCommandBuffer(cmd));
    VkSubmitInfo si = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1, .pCommandBuffers = &cmd};
    cr_assert(!vkQueueSubmit(h->queue, 1, &si, fence));
    cr_assert(!vkWaitForFences(h->device, 1, &fence, VK_TRUE, UINT64_MAX));
    cr_expect(vkGetEventStatus(h->device, event) == VK_EVENT_SET);
    vkDestroyEvent(h->device, event, NULL);
    vkDestroyFence(h->device, fence, NULL);
    vkDestroyCommandPool(h->device, pool, NULL);
}

/* At the destruction of its device the validation layer names every object left on it. */
static void host_close(host *h) {
    vkDestroyDevice(h->device, NULL);
    cr_expect(h->messages == 0, "%d messages, the last: %s", h->messages, h->last);
    if (h->messenger) vkDestroyDebugUtilsMessengerEXT(h->instance, h->messenger, NULL);
    vkDestroyInstance(h->instance, NULL);
}

static void engine_works(dev_device *d) {
    dev_pipeline *p = kernel_make(d, 32, 2);
    uint32_t x[50], y[50], got[50];
    for (uint32_t i = 0; i < 50; i++) {
        x[i] = i;
        y[i] = 1000 + i;
    }
    dev_buffer *bx = buffer_of(d, sizeof x, x), *by = buffer_of(d, sizeof y, y);
    dev_recorder *r;
    OK(dev_record(d, &r));
    OK(mad(r, p, bx, by, 50, 3, 1));
    OK(dev_submit(r));
    OK(dev_download(d, by, 0, got, sizeof got));
    for (uint32_t i = 0; i < 50; i++)
        cr_expect(got[i] == (1000 + i) * 3 + i + 2);
    double seconds;
    OK(dev_record(d, &r));
    for (int i = 0; i < 300; i++) { /* more than one pool of descriptors and parameters */
        OK(mad(r, p, bx, by, 50, 3, 1));
        dev_cmd_barrier(r);
    }
    OK(dev_submit_timed(r, &seconds));
    cr_expect(seconds > 0);
    dev_buffer_release(bx);
    dev_buffer_release(by);
    dev_pipeline_destroy(p);
}

Test(adopt, runs_on_a_device_of_the_host_and_gives_it_back) {
    host h;
    host_instance(&h);
    VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                          .pNext = &timeline};
    host_device(&h, &features, NULL, 0);
    host_works(&h);
    mare_vulkan_device v = hand_over(&h, &features);
    dev_device *d;
    OK(dev_adopt(&v, NULL, &err, &d));
    cr_expect(h.locks == 0);
    static const dev_feature optional[] = {
        DEV_STORAGE16,      DEV_STORAGE8,      DEV_FLOAT16,
        DEV_INT8,           DEV_COOP_MATRIX,   DEV_SUBGROUP_SIZE,
        DEV_BUFFER_ADDRESS, DEV_MEMORY_BUDGET, DEV_PUSH_DESCRIPTOR};
    for (int i = 0; i < 9; i++)
        cr_expect(!dev_get_caps(d)->has[optional[i]], "%s was never turned on",
                  dev_feature_name(optional[i]));
    engine_works(d);
    cr_expect(h.locks >= 2 && !h.locked);
    host_works(&h);
    engine_works(d);
    dev_destroy(d);
    host_works(&h);
    /* And once more, twice at the same time. */
    dev_device *d2;
    OK(dev_adopt(&v, NULL, &err, &d));
    OK(dev_adopt(&v, &(dev_options){.caps = "baseline", .memory_cap = 1 << 20}, &err, &d2));
    engine_works(d);
    engine_works(d2);
    dev_buffer *b;
    FAILS(MARE_E_DEVICE_MEMORY, "cap", dev_buffer_create(d2, 2 << 20, &b));
    dev_destroy(d);
    engine_works(d2);
    dev_destroy(d2);
    host_works(&h);
    host_close(&h);
}

/* Through the public API alone: a net of the game's trains on the game's device, which goes on. */
Test(adopt, trains_on_a_device_of_the_host) {
    host h;
    host_instance(&h);
    host_device(&h, &timeline, NULL, 0);
    mare_vulkan_device v = hand_over(&h, &timeline);
    mare_context *ctx;
    mare_tensor *x, *y, *w, *p, *loss, *g, *d, *next;
    unsetenv("MARE_TUNE");
    cr_assert(mare_context_create(&(mare_options){.vulkan = &v}, &ctx) == MARE_OK);
    cr_expect(mare_get_tuning(ctx, NULL) == MARE_TUNING_KNOWN, "never in the host's frames");
#define CALL(call) cr_assert((call) == MARE_OK, "%s", mare_last_error(ctx))
    int64_t many[] = {16, 1}, one[] = {1, 1};
    float xs[16], ys[16], zero = 0;
    for (int i = 0; i < 16; i++) {
        xs[i] = (float)i / 16;
        ys[i] = 3 * xs[i];
    }
    CALL(mare_tensor_from(ctx, MARE_F32, 2, many, xs, &x));
    CALL(mare_tensor_from(ctx, MARE_F32, 2, many, ys, &y));
    CALL(mare_tensor_from(ctx, MARE_F32, 2, one, &zero, &w));
    CALL(mare_set_requires_grad(w, true));
    double first = 0, last = 0;
    for (int step = 0; step < 20; step++) {
        CALL(mare_matmul(x, w, &p));
        CALL(mare_loss("mse", p, y, MARE_MEAN, &loss));
        CALL(mare_backward(loss, NULL, false));
        mare_no_grad(ctx, true);
        CALL(mare_grad(w, &g));
        CALL(mare_map_scalar("mul", 1, &g, 0.8, &d));
        CALL(mare_map("sub", 2, (mare_tensor *[]){w, d}, &next));
        CALL(mare_assign(w, next));
        CALL(mare_set_grad(w, NULL));
        mare_no_grad(ctx, false);
        CALL(mare_tensor_item(loss, step ? &last : &first));
        mare_tensor *made[] = {p, loss, g, d, next};
        for (int i = 0; i < 5; i++)
            mare_tensor_release(made[i]);
        host_works(&h); /* a frame of the game, between two steps */
    }
    cr_expect(first > 1 && last < 1e-3 * first, "loss %g, then %g", first, last);
    mare_tensor_release(x);
    mare_tensor_release(y);
    mare_tensor_release(w);
    mare_context_destroy(ctx);
    cr_expect(h.locks >= 20 && !h.locked);
    host_works(&h);
    host_close(&h);
}

static int looked_up;
static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL host_proc_addr(VkInstance i, const char *name) {
    looked_up++;
    return vkGetInstanceProcAddr(i, name);
}

Test(adopt, takes_what_the_host_turned_on) {
    host h;
    host_instance(&h);
    VkPhysicalDeviceVulkan11Features f11 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES};
    VkPhysicalDeviceVulkan12Features f12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES, .pNext = &f11};
    VkPhysicalDeviceFeatures2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                     .pNext = &f12};
    vkGetPhysicalDeviceFeatures2(h.physical, &all);
    VkExtensionProperties props[512];
    uint32_t n = 512, names_n = 0;
    const char *names[2];
    bool push = false, budget = false;
    vkEnumerateDeviceExtensionProperties(h.physical, NULL, &n, props);
    for (uint32_t i = 0; i < n; i++) {
        push |= !strcmp(props[i].extensionName, VK_KHR_PUSH_DESCRIPTOR_EXTENSION_NAME);
        budget |= !strcmp(props[i].extensionName, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
    }
    if (push) names[names_n++] = VK_KHR_PUSH_DESCRIPTOR_EXTENSION_NAME;
    if (budget) names[names_n++] = VK_EXT_MEMORY_BUDGET_EXTENSION_NAME;
    f12.bufferDeviceAddressCaptureReplay = f12.bufferDeviceAddressMultiDevice = VK_FALSE;
    all.features.robustBufferAccess = VK_FALSE;
    host_device(&h, &all, names, names_n);
    mare_vulkan_device v = hand_over(&h, &all);
    v.extensions = names;
    v.extension_count = names_n;
    v.get_instance_proc_addr = host_proc_addr;
    v.lock_queue = NULL;
    v.unlock_queue = NULL;
    dev_device *d;
    OK(dev_adopt(&v, &(dev_options){.caps = "-int8"}, &err, &d));
    cr_expect(looked_up > 0);
    const dev_caps *c = dev_get_caps(d);
    cr_expect(c->has[DEV_STORAGE16] == (bool)f11.storageBuffer16BitAccess);
    cr_expect(c->has[DEV_STORAGE8] == (bool)f12.storageBuffer8BitAccess);
    cr_expect(c->has[DEV_FLOAT16] == (bool)f12.shaderFloat16);
    cr_expect(!c->has[DEV_INT8]);
    cr_expect(c->has[DEV_PUSH_DESCRIPTOR] == push && c->has[DEV_MEMORY_BUDGET] == budget);
    cr_expect(c->api_version <= VK_API_VERSION_1_2 + 0xfff);
    engine_works(d);
    dev_destroy(d);
    host_works(&h);
    host_close(&h);
}

Test(adopt, needs_timeline_semaphores) {
    host h;
    host_instance(&h);
    VkPhysicalDeviceVulkan12Features f12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES};
    host_device(&h, &f12, NULL, 0);
    const void *chains[] = {NULL, &f12};
    for (int i = 0; i < 2; i++) {
        mare_vulkan_device v = hand_over(&h, chains[i]);
        dev_device *d = (dev_device *)1;
        FAILS(MARE_E_UNSUPPORTED, "timelineSemaphore", dev_adopt(&v, NULL, &err, &d));
        cr_expect(d == NULL && h.locks == 0);
    }
    host_works(&h);
    host_close(&h);
}

Test(adopt, arguments_are_checked) {
    host h;
    host_instance(&h);
    host_device(&h, &timeline, NULL, 0);
    const mare_vulkan_device good = hand_over(&h, &timeline);
    mare_vulkan_device v;
    dev_device *d;
    FAILS(MARE_E_ARGUMENT, "must all be given", dev_adopt(NULL, NULL, &err, &d));
#define BAD(code, word, field, value)                                                              \
    v = good;                                                                                      \
    v.field = value;                                                                               \
    FAILS(code, word, dev_adopt(&v, NULL, &err, &d))
    BAD(MARE_E_ARGUMENT, "must all be given", instance, VK_NULL_HANDLE);
    BAD(MARE_E_ARGUMENT, "must all be given", physical_device, VK_NULL_HANDLE);
    BAD(MARE_E_ARGUMENT, "must all be given", device, VK_NULL_HANDLE);
    BAD(MARE_E_ARGUMENT, "must all be given", queue, VK_NULL_HANDLE);
    BAD(MARE_E_UNSUPPORTED, "1.1", api_version, VK_API_VERSION_1_1);
    BAD(MARE_E_UNSUPPORTED, "queue family 77", queue_family, 77);
    BAD(MARE_E_ARGUMENT, "go together", lock_queue, NULL);
    BAD(MARE_E_ARGUMENT, "go together", unlock_queue, NULL);
    BAD(MARE_E_ARGUMENT, "no list", extension_count, 3);
    FAILS(MARE_E_ARGUMENT, "quick", dev_adopt(&good, &(dev_options){.caps = "quick"}, &err, &d));
    host_works(&h);
    host_close(&h);
}
