/* What the files of the device layer share. Outside this folder only its own tests include it. */
#ifndef MARE_DEVICE_INTERNAL_H
#define MARE_DEVICE_INTERNAL_H

#include <volk.h>

#include "base/vec.h"
#include "device/device.h"
#include <mare/vulkan.h>

#include <pthread.h>
#include <stdatomic.h>

enum {
    BUFFER_ALIGN = 256,           /* padding and alignment of device buffers */
    PARAM_LIMIT = 1024,           /* bytes of one parameter block */
    PARAM_CHUNK = 64 << 10,       /* bytes of a chunk of parameter blocks */
    STAGING_CHUNK = 4 << 20,      /* bytes of a staging chunk */
    QUERIES = 256,                /* timestamps in a query pool; even */
    STAGING_MOST = 16,            /* staging chunks at the same time, or */
    STAGING_UPLOADS = 3,          /* as many as so many uploads of the largest size take, */
    STAGING_LIMIT = 64,           /* up to this */
    FLYING_MOST = 64,             /* submissions on their way before dev_record() waits */
    MAX_BUFFERS = 31,             /* of one kernel; every device can push them and the block */
    POOL_SETS = 128,              /* sets in a descriptor pool */
    POOL_BUFFERS = POOL_SETS * 8, /* and storage buffers */
    BINS = 192                    /* size classes of free memory */
};

/* ---- loader.c ----------------------------------------------------------------------------- */

/* Functions of the instance level. Those of an extension, the last two, may be null. */
#define INSTANCE_FUNCTIONS(X)                                                                      \
    X(vkDestroyInstance)                                                                           \
    X(vkEnumeratePhysicalDevices)                                                                  \
    X(vkGetPhysicalDeviceProperties2)                                                              \
    X(vkGetPhysicalDeviceFeatures2)                                                                \
    X(vkGetPhysicalDeviceMemoryProperties2)                                                        \
    X(vkGetPhysicalDeviceQueueFamilyProperties)                                                    \
    X(vkEnumerateDeviceExtensionProperties)                                                        \
    X(vkCreateDevice)                                                                              \
    X(vkGetDeviceProcAddr)                                                                         \
    X(vkCreateDebugUtilsMessengerEXT)                                                              \
    X(vkDestroyDebugUtilsMessengerEXT)

typedef struct vk_instance {
    VkInstance handle;
    uint32_t version; /* that it was made for */
#define X(name) PFN_##name name;
    INSTANCE_FUNCTIONS(X)
#undef X
} vk_instance;

/* Messages of the validation layer; its callback may come from any thread. */
typedef struct validation {
    pthread_mutex_t lock;
    int count;      /* -1: asked for, but the layer is not installed */
    uint32_t layer; /* the version of Vulkan that the layer knows */
    char last[2048];
    char shown[2048]; /* the copy that the caller reads */
} validation;

/* Makes an instance. With v, the validation layer is turned on when it is installed. */
mare_status vk_instance_create(vk_instance *vi, validation *v, VkDebugUtilsMessengerEXT *messenger,
                               mare_error *e);
/* Fills the table of an instance that the host made; gipa null: the system's loader. */
mare_status vk_instance_adopt(vk_instance *vi, VkInstance handle, uint32_t version,
                              PFN_vkGetInstanceProcAddr gipa, mare_error *e);
mare_status vk_device_table(const vk_instance *vi, VkDevice device, struct VolkDeviceTable *fn,
                            mare_error *e);

/* ---- caps.c ------------------------------------------------------------------------------- */

/* VK_KHR_cooperative_matrix is younger than some headers in use. */
#ifndef VK_KHR_cooperative_matrix
#define VK_KHR_cooperative_matrix 1
#define VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME "VK_KHR_cooperative_matrix"
#define VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR                          \
    ((VkStructureType)1000506000)
typedef struct VkPhysicalDeviceCooperativeMatrixFeaturesKHR {
    VkStructureType sType;
    void *pNext;
    VkBool32 cooperativeMatrix;
    VkBool32 cooperativeMatrixRobustBufferAccess;
} VkPhysicalDeviceCooperativeMatrixFeaturesKHR;
#endif

typedef struct extensions {
    const char *const *names;
    uint32_t n;
} extensions;

/* The feature structures that matter here, chained when the device knows them. */
typedef struct feature_chain {
    VkPhysicalDeviceFeatures2 base;
    VkPhysicalDeviceVulkan12Features v12;
    VkPhysicalDevice16BitStorageFeatures storage16;
    VkPhysicalDeviceSubgroupSizeControlFeatures subgroup_size;
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR coop_matrix;
} feature_chain;

void feature_chain_init(feature_chain *c, extensions have, uint32_t version);
/* The version that both the instance and the physical device speak. */
uint32_t device_version(const vk_instance *vi, VkPhysicalDevice p);
/* The queue family to compute on, or UINT32_MAX. */
uint32_t pick_family(const vk_instance *vi, VkPhysicalDevice p);
uint32_t timestamp_bits(const vk_instance *vi, VkPhysicalDevice p, uint32_t family);
/* What a device made with this features chain and these extensions offers. False when timeline
 * semaphores are not among it. */
bool caps_fill(const vk_instance *vi, VkPhysicalDevice p, uint32_t family, const void *features,
               extensions on, dev_caps *out);
bool extension_on(extensions on, const char *name);

/* A physical device with what it could offer. */
typedef struct candidate {
    VkPhysicalDevice physical;
    dev_caps caps;
} candidate;
typedef VEC(candidate) candidates;
/* All usable devices, best first. */
mare_status caps_probe(const vk_instance *vi, candidates *out, mare_error *e);
/* The names of a physical device's extensions; freed by extensions_free(). */
typedef struct extension_list {
    VkExtensionProperties *props;
    const char **names;
    uint32_t n;
} extension_list;
bool extensions_get(const vk_instance *vi, VkPhysicalDevice p, extension_list *out);
void extensions_free(extension_list *l);

/* ---- memory.c ----------------------------------------------------------------------------- */

typedef struct range range;
typedef struct block block;

/* A part of a block: a buffer's memory, or free. */
struct range {
    block *in;
    range *before, *after;      /* neighbours by address */
    range *bin_prev, *bin_next; /* when free */
    uint64_t offset, bytes;
    uint64_t last_use; /* the last submission that touches it */
    dev_buffer *owner; /* null: free */
};

typedef struct bin_pool {
    range *bins[BINS];
    uint64_t filled[BINS / 64];
} bin_pool;

/* One VkBuffer on one piece of device memory. */
struct block {
    dev_device *d;
    block *prev, *next;
    bin_pool *pool;
    VkBuffer buffer;
    VkDeviceMemory memory;
    uint8_t *map; /* with unified memory */
    uint64_t bytes;
    uint64_t number; /* of all blocks ever made; the first is 1 */
    range *first;
};

struct dev_buffer {
    dev_device *d; /* null once the device is gone */
    range *at;
    uint64_t bytes; /* as asked for */
    uint64_t stamp; /* of the recorder that retained it last */
    uint32_t refs;
    bool cached; /* kept for later by its owner */
};

/* Host-visible memory: parameter blocks and staging. */
typedef struct chunk {
    struct chunk *next;
    VkBuffer buffer;
    VkDeviceMemory memory;
    uint8_t *map;
    uint64_t bytes, used;
} chunk;

typedef struct memory_state {
    VkPhysicalDeviceMemoryProperties types;
    bin_pool small, large;
    block *blocks;
    uint64_t taken; /* bytes of all blocks */
    uint64_t blocks_made;
    uint64_t used, peak, cap;
    void (*reclaim)(void *user);
    void *reclaim_user;
    uint64_t next_block;  /* size of the next block for small buffers */
    bool unified, cached; /* blocks are mapped; and quick to read by the host */
} memory_state;

void memory_init(dev_device *d);
/* Frees all blocks; buffers still held by somebody lose their device. */
void memory_free(dev_device *d);
mare_status chunk_create(dev_device *d, uint64_t bytes, VkBufferUsageFlags usage, chunk **out);
void chunk_destroy(dev_device *d, chunk *c);

/* ---- queue.c, record.c -------------------------------------------------------------------- */

typedef struct set_pool {
    struct set_pool *next;
    VkDescriptorPool handle;
    int sets, buffers; /* still free */
} set_pool;

/* Timestamps of one recorder, two for each timed part. */
typedef struct query_pool {
    struct query_pool *next;
    VkQueryPool handle;
    uint32_t used;
} query_pool;

typedef struct timed {
    uint32_t id, first; /* query; the other one follows */
    VkQueryPool pool;   /* null: the host's clock times it */
} timed;

struct dev_recorder {
    dev_device *d;
    dev_recorder *next;
    VkCommandPool pool;
    VkCommandBuffer cmd;
    uint64_t stamp;  /* of this recording */
    uint64_t serial; /* of its submission */
    VEC(dev_buffer *) buffers;
    VEC(dev_pipeline *) pipelines;
    chunk *params, *staging; /* the first is the one in use */
    set_pool *sets;
    query_pool *queries;
    VEC(timed) timed; /* what is timed in it */
    bool timing;      /* the last of it is open */
    dev_pipeline *bound;
    mare_error error; /* the first failure of a call that cannot return one */
};

typedef struct recorder_list {
    dev_recorder *first, *last;
    int n;
} recorder_list;

/* Stores what went wrong in the device's error; a lost device stays lost. */
mare_status vk_failed(dev_device *d, VkResult r, const char *call);
mare_status vk_error(dev_device *d, mare_error *e, VkResult r, const char *call);
/* MARE_E_DEVICE_LOST when it is lost. */
mare_status check_lost(dev_device *d, mare_error *e);
mare_status queue_init(dev_device *d);
void queue_free(dev_device *d);
/* Submits n batches under the next serial number, with one call: after a failure that is not the
 * loss of the device, Vulkan promises that nothing of it was done. Of each batch the command
 * buffers are given. */
mare_status queue_submit(dev_device *d, VkSubmitInfo *batch, uint32_t n);
/* Blocks until the submission with this number is done. */
mare_status queue_wait(dev_device *d, uint64_t serial);
/* Asks the device how far it is, and recycles what it is done with. */
void queue_poll(dev_device *d);
/* Submits r between the command buffers `before` and `after` (may be null), consuming it. */
mare_status recorder_submit(dev_recorder *r, VkCommandBuffer before, VkCommandBuffer after);
void recorder_recycle(dev_recorder *r);
void recorder_destroy(dev_recorder *r);
bool recorder_hold(dev_recorder *r, dev_buffer *b);
/* Room for a parameter block in the chunk at the head of a list, or in a new one. */
mare_status params_get(dev_device *d, chunk **list, uint64_t bytes, uint64_t *offset);
/* Moves all of a list to another. */
void chunks_return(chunk **from, chunk **to);
/* A full barrier between compute and transfer work. */
void full_barrier(dev_device *d, VkCommandBuffer cmd);
/* What the device wrote becomes readable by the host, through staging or unified memory. */
void host_barrier(dev_device *d, VkCommandBuffer cmd);

/* ---- dispatch.c --------------------------------------------------------------------------- */

/* Refuses what the device cannot do. */
mare_status dispatch_check(dev_device *d, const dev_dispatch *x);
mare_status bindings_check(dev_device *d, const dev_binding *bindings, int n);
/* Bytes of a parameter block. */
uint64_t dispatch_block(int n_params);
VkDescriptorBufferInfo binding_info(const dev_binding *b);
/* infos: of the parameter block, then of the buffers. */
void set_write(dev_device *d, VkDescriptorSet set, const VkDescriptorBufferInfo *infos,
               int buffers);
/* set null: the descriptors are pushed. `bound` is the pipeline that cmd has bound, or null. */
void dispatch_record(dev_device *d, VkCommandBuffer cmd, const dev_dispatch *x,
                     const dev_pipeline *bound, VkDescriptorSet set,
                     const VkDescriptorBufferInfo *infos);

/* ---- transfer.c --------------------------------------------------------------------------- */

/* Submits the uploads collected so far. */
mare_status transfer_flush(dev_device *d);

/* ---- pipeline.c --------------------------------------------------------------------------- */

struct dev_pipeline {
    dev_device *d;
    dev_pipeline *prev, *next;
    VkPipeline handle;
    VkDescriptorSetLayout set_layout;
    VkPipelineLayout layout;
    int buffers;
    bool addresses; /* the kernel takes the addresses of its buffers as push constants */
    uint32_t refs;
    uint64_t stamp;
};

typedef struct kernel_layout {
    VkDescriptorSetLayout set;
    VkPipelineLayout pipeline;
} kernel_layout;

typedef struct pipeline_state {
    pthread_mutex_t lock;        /* over layouts and all */
    pthread_rwlock_t cache_lock; /* merging into the cache excludes use of it */
    kernel_layout layouts[MAX_BUFFERS + 1];
    dev_pipeline *all;
    VkPipelineCache cache;
} pipeline_state;

mare_status pipelines_init(dev_device *d);
void pipelines_free(dev_device *d);
void pipeline_unref(dev_pipeline *p);

/* ---- profile.c ---------------------------------------------------------------------------- */

/* A moment by both clocks. */
typedef struct anchor {
    uint64_t ticks;
    double host;
} anchor;

typedef struct stamped {
    uint64_t begin, end;
    uint32_t id;
} stamped;

typedef struct profile_state {
    VkQueryPool queries;
    VkCommandPool pool;
    VkCommandBuffer cmds[2]; /* before and after the measured work */
    uint64_t mask;           /* of the bits that count in a timestamp */

    bool on, stamps;     /* profiling; by timestamps */
    bool seen;           /* a timestamp was read */
    query_pool *free;    /* query pools to use again */
    query_pool *written; /* and those that the device is done with */
    int n_written;
    VEC(timed) unread;    /* what was timed in them */
    uint64_t last;        /* the newest timestamp, without its overflows */
    VEC(stamped) stamped; /* what was timed by timestamps */
    VEC(dev_timing) runs, waits;
    anchor begin;
    mare_status failed; /* a timing was lost */
} profile_state;

void profile_free(dev_device *d);
/* The device is done with r: its timestamps can be read. */
void profile_collect(dev_recorder *r);
void profile_recycle(dev_recorder *r);
/* Submits r, in which one part is to be timed by the host's clock. */
mare_status profile_submit(dev_recorder *r);
/* The host waited from `start` to now. */
void profile_waited(dev_device *d, double start);

/* ---- the device --------------------------------------------------------------------------- */

struct dev_device {
    mare_error *e;
    vk_instance vk;
    struct VolkDeviceTable fn;
    VkPhysicalDevice physical;
    VkDevice handle;
    VkQueue queue;
    uint32_t family;
    void (*lock_queue)(void *user);
    void (*unlock_queue)(void *user);
    void *lock_user;
    bool owns;  /* the instance and the device are its own */
    bool ready; /* its parts below are set up, or null */
    VkDebugUtilsMessengerEXT messenger;
    validation messages;

    dev_caps caps;
    atomic_bool lost;

    VkSemaphore timeline;
    uint64_t submitted, completed; /* serial numbers */
    uint64_t stamps;
    recorder_list flying;
    dev_recorder *idle, *uploads; /* recorders to use again; the open batch of uploads */
    chunk *free_params, *free_staging;
    int staging; /* chunks there are */
    int staging_most;
    set_pool *free_sets;

    memory_state mem;
    pipeline_state pipes;
    profile_state profile;
};

#endif
