#define _POSIX_C_SOURCE 200809L
#include "device/internal.h"

/* volk's own text, compiled here and nowhere else. Of it, the engine uses the search for the
 * loader's library and the function that fills a table for one device; volk's global function
 * pointers for an instance and a device stay untouched, so that many live side by side. */
#include <volk.c>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static VkResult found = VK_ERROR_INITIALIZATION_FAILED;

static void find_loader(void) {
    found = volkInitialize();
}

static mare_status need_loader(mare_error *e) {
    pthread_once(&once, find_loader);
    if (found == VK_SUCCESS && vkGetInstanceProcAddr && vkCreateInstance) return MARE_OK;
    return error_set(e, MARE_E_NO_DEVICE,
                     "no Vulkan loader: libvulkan.so.1 could not be opened. Install it (Debian and "
                     "Ubuntu: libvulkan1, Fedora and Arch: vulkan-loader or vulkan-icd-loader) and "
                     "a driver (mesa-vulkan-drivers for AMD, Intel and software, or the maker's)");
}

static mare_status no_driver(mare_error *e) {
    const char *set = getenv("VK_DRIVER_FILES");
    const char *name = "VK_DRIVER_FILES";
    if (!set) {
        name = "VK_ICD_FILENAMES";
        set = getenv(name);
    }
    if (set)
        return error_set(e, MARE_E_NO_DEVICE,
                         "the Vulkan loader found no driver: %s is set to '%s', and no driver "
                         "there works",
                         name, set);
    return error_set(e, MARE_E_NO_DEVICE,
                     "the Vulkan loader found no driver. Install mesa-vulkan-drivers (AMD, Intel, "
                     "and software rendering on any CPU) or the driver of the GPU's maker; "
                     "`vulkaninfo --summary` shows what is found");
}

mare_status vk_instance_adopt(vk_instance *vi, VkInstance handle, uint32_t version,
                              PFN_vkGetInstanceProcAddr gipa, mare_error *e) {
    if (!gipa) {
        mare_status s = need_loader(e);
        if (s) return s;
        gipa = vkGetInstanceProcAddr;
    }
    vi->handle = handle;
    vi->version = version;
#define X(name) vi->name = (PFN_##name)gipa(handle, #name);
    INSTANCE_FUNCTIONS(X)
#undef X
    if (!vi->vkEnumeratePhysicalDevices || !vi->vkGetPhysicalDeviceProperties2 ||
        !vi->vkGetPhysicalDeviceFeatures2 || !vi->vkGetPhysicalDeviceMemoryProperties2 ||
        !vi->vkGetPhysicalDeviceQueueFamilyProperties ||
        !vi->vkEnumerateDeviceExtensionProperties || !vi->vkCreateDevice ||
        !vi->vkGetDeviceProcAddr)
        return error_set(e, MARE_E_UNSUPPORTED,
                         "the Vulkan instance lacks functions of Vulkan 1.1: was it made for "
                         "an older version, or is get_instance_proc_addr not its own?");
    return MARE_OK;
}

typedef struct table_source {
    PFN_vkGetDeviceProcAddr get;
    VkDevice device;
} table_source;

static PFN_vkVoidFunction table_load(void *context, const char *name) {
    const table_source *s = context;
    return s->get(s->device, name);
}

mare_status vk_device_table(const vk_instance *vi, VkDevice device, struct VolkDeviceTable *fn,
                            mare_error *e) {
    table_source s = {vi->vkGetDeviceProcAddr, device};
    volkGenLoadDeviceTable(fn, &s, table_load);
    if (!fn->vkQueueSubmit || !fn->vkWaitSemaphores || !fn->vkGetSemaphoreCounterValue)
        return error_set(e, MARE_E_UNSUPPORTED,
                         "the Vulkan device lacks functions of Vulkan 1.2 (timeline semaphores)");
    return MARE_OK;
}

static VKAPI_ATTR VkBool32 VKAPI_CALL on_message(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                                 VkDebugUtilsMessageTypeFlagsEXT types,
                                                 const VkDebugUtilsMessengerCallbackDataEXT *data,
                                                 void *user) {
    (void)severity, (void)types;
    validation *v = user;
    pthread_mutex_lock(&v->lock);
    v->count++;
    snprintf(v->last, sizeof v->last, "%s", data->pMessage ? data->pMessage : "");
    pthread_mutex_unlock(&v->lock);
    return VK_FALSE;
}

/* The version of Vulkan that a layer was written for; 0: it is not installed. */
static uint32_t layer_version(const char *name) {
    uint32_t n = 0, version = 0;
    if (vkEnumerateInstanceLayerProperties(&n, NULL) || !n) return 0;
    VkLayerProperties *p = calloc(n, sizeof *p);
    if (p && vkEnumerateInstanceLayerProperties(&n, p) >= 0)
        for (uint32_t i = 0; i < n; i++)
            if (!strcmp(p[i].layerName, name)) version = p[i].specVersion;
    free(p);
    return version;
}

static bool layer_extension(const char *layer, const char *name) {
    uint32_t n = 0;
    if (vkEnumerateInstanceExtensionProperties(layer, &n, NULL) || !n) return false;
    VkExtensionProperties *p = calloc(n, sizeof *p);
    bool there = false;
    if (p && vkEnumerateInstanceExtensionProperties(layer, &n, p) >= 0)
        for (uint32_t i = 0; i < n && !there; i++)
            there = !strcmp(p[i].extensionName, name);
    free(p);
    return there;
}

mare_status vk_instance_create(vk_instance *vi, validation *v, VkDebugUtilsMessengerEXT *messenger,
                               mare_error *e) {
    static const char *const layer = "VK_LAYER_KHRONOS_validation";
    mare_status s = need_loader(e);
    if (s) return s;
    uint32_t version = volkGetInstanceVersion();
    if (version < VK_API_VERSION_1_2)
        return error_set(e, MARE_E_NO_DEVICE,
                         "the Vulkan loader speaks version %u.%u only; 1.2 is needed: install a "
                         "newer one",
                         VK_API_VERSION_MAJOR(version), VK_API_VERSION_MINOR(version));
    version = version < VK_API_VERSION_1_3 ? VK_API_VERSION_1_2 : VK_API_VERSION_1_3;

    VkApplicationInfo app = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                             .pApplicationName = "mare",
                             .pEngineName = "mare",
                             .apiVersion = version};
    VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                 .pApplicationInfo = &app};
    VkDebugUtilsMessengerCreateInfoEXT debug = {
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
        .messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT |
                           VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
        .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
        .pfnUserCallback = on_message,
        .pUserData = v};
    const VkValidationFeatureEnableEXT enables[] = {
        VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT};
    VkValidationFeaturesEXT features = {.sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
                                        .enabledValidationFeatureCount = 1,
                                        .pEnabledValidationFeatures = enables};
    const char *names[2] = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME};
    if (v) v->layer = layer_version(layer);
    bool on = v && v->layer && layer_extension(layer, names[0]);
    if (v && !on) v->count = -1;
    if (on) {
        info.enabledLayerCount = 1;
        info.ppEnabledLayerNames = &layer;
        info.ppEnabledExtensionNames = names;
        info.enabledExtensionCount = 1;
        info.pNext = &debug;
        if (layer_extension(layer, VK_EXT_VALIDATION_FEATURES_EXTENSION_NAME)) {
            names[info.enabledExtensionCount++] = VK_EXT_VALIDATION_FEATURES_EXTENSION_NAME;
            debug.pNext = &features;
        }
    }
    VkInstance handle = VK_NULL_HANDLE;
    VkResult r = vkCreateInstance(&info, NULL, &handle);
    if (r == VK_ERROR_INCOMPATIBLE_DRIVER) return no_driver(e);
    if (r) return error_set(e, MARE_E_NO_DEVICE, "vkCreateInstance failed (VkResult %d)", r);
    s = vk_instance_adopt(vi, handle, version, vkGetInstanceProcAddr, e);
    uint32_t n = 0;
    if (!s && (vi->vkEnumeratePhysicalDevices(handle, &n, NULL) || !n)) s = no_driver(e);
    debug.pNext = NULL;
    if (!s && on &&
        (!vi->vkCreateDebugUtilsMessengerEXT ||
         vi->vkCreateDebugUtilsMessengerEXT(handle, &debug, NULL, messenger)))
        v->count = -1;
    if (s && vi->vkDestroyInstance) {
        vi->vkDestroyInstance(handle, NULL);
        vi->handle = VK_NULL_HANDLE;
    }
    return s;
}
