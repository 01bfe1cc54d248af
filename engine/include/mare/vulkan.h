/* Mare on a Vulkan device of the host's own: a game or an app hands over its device, and Mare
 * works on it. Include a Vulkan header before or let this file include <vulkan/vulkan.h>. */
#ifndef MARE_VULKAN_H
#define MARE_VULKAN_H

#include <mare/mare.h>
#include <vulkan/vulkan.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The host keeps all of this alive until the context is destroyed, and gets it back unchanged. */
typedef struct mare_vulkan_device {
    PFN_vkGetInstanceProcAddr get_instance_proc_addr; /* null: the system's Vulkan loader */
    VkInstance instance;
    VkPhysicalDevice physical_device;
    VkDevice device;
    uint32_t api_version;  /* what the instance was made with; at least VK_API_VERSION_1_2 */
    uint32_t queue_family; /* with compute */
    VkQueue queue;
    /* What the device was made with. `features` is the pNext chain given to vkCreateDevice (a
     * VkPhysicalDeviceFeatures2 or the structures behind it); null: nothing beyond the core.
     * timelineSemaphore must be on. */
    const void *features;
    const char *const *extensions;
    uint32_t extension_count;
    /* Called around each use of the queue, when not null: the host submits to it too. */
    void (*lock_queue)(void *user);
    void (*unlock_queue)(void *user);
    void *user;
} mare_vulkan_device;

#ifdef __cplusplus
}
#endif
#endif
