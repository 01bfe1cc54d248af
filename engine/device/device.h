/* The device layer: everything Mare asks of Vulkan. No Vulkan type is seen above this header.
 *
 * One device, one queue, submissions in order. All functions are called from the thread that owns
 * the context, except dev_pipeline_create() and dev_pipeline_cache_save(), which worker threads may
 * call side by side. */
#ifndef MARE_DEVICE_DEVICE_H
#define MARE_DEVICE_DEVICE_H

#include "base/status.h"

typedef struct dev_device dev_device;
typedef struct dev_buffer dev_buffer;
typedef struct dev_pipeline dev_pipeline;
typedef struct dev_recorder dev_recorder;

typedef enum dev_type {
    DEV_DISCRETE,
    DEV_INTEGRATED,
    DEV_VIRTUAL,
    DEV_CPU,
    DEV_OTHER
} dev_type; /* in the order of preference */

/* Optional capabilities; the names in MARE_CAPS are those of dev_feature_name(). */
typedef enum dev_feature {
    DEV_STORAGE16,       /* 16-bit storage buffer access */
    DEV_STORAGE8,        /* 8-bit storage buffer access */
    DEV_FLOAT16,         /* f16 arithmetic */
    DEV_INT8,            /* 8-bit integer arithmetic */
    DEV_INT64,           /* 64-bit integer arithmetic */
    DEV_SUBGROUP,        /* basic, vote, ballot, arithmetic and shuffle subgroup operations */
    DEV_SUBGROUP_SIZE,   /* required subgroup size and full subgroups */
    DEV_PUSH_DESCRIPTOR, /* VK_KHR_push_descriptor */
    DEV_BUFFER_ADDRESS,  /* buffer device addresses */
    DEV_UNIFORM_LOADS,   /* a load by address that a subgroup shares is one plain load of the
                            processor: shaders/include/lanes.glsl */
    DEV_COOP_MATRIX,     /* VK_KHR_cooperative_matrix */
    DEV_MEMORY_BUDGET,   /* VK_EXT_memory_budget */
    DEV_TIMESTAMPS,      /* timestamp queries on the compute queue */
    DEV_UNIFIED,         /* device memory that the host can map: no staging */
    DEV_FEATURES
} dev_feature;

const char *dev_feature_name(dev_feature f);

typedef struct dev_caps {
    char name[256], driver[256];
    dev_type type;
    uint32_t vendor, device_id, driver_version, api_version;
    uint8_t cache_uuid[16];
    uint64_t memory; /* bytes of the largest device-local heap */
    bool has[DEV_FEATURES];
    uint32_t workgroup;                  /* invocations a workgroup */
    uint32_t workgroup_size[3];          /* and per axis */
    uint32_t shared;                     /* bytes of shared memory a workgroup */
    uint32_t push_constants;             /* bytes */
    uint32_t storage_buffers;            /* bindings a stage */
    uint64_t binding;                    /* bytes that one storage binding may cover */
    uint64_t allocation;                 /* bytes of the largest single allocation */
    uint32_t groups[3];                  /* workgroups an axis */
    uint32_t subgroup;                   /* default subgroup size */
    uint32_t subgroup_min, subgroup_max; /* with DEV_SUBGROUP_SIZE */
    uint32_t offset_alignment;           /* of storage and uniform bindings, at most 256 */
    double timestamp_ns;                 /* nanoseconds a timestamp tick */
} dev_caps;

/* Text for people: "cpu", "discrete", ... */
const char *dev_type_name(dev_type t);

/* Applies a MARE_CAPS text to caps: a comma-separated list of `baseline`, `phone`, `-feature`,
 * and `limit=value` with the limits workgroup, shared, push_constants, storage_buffers, binding,
 * groups, subgroup. Limits only go down. An unknown word is MARE_E_ARGUMENT and lists the known. */
mare_status dev_caps_apply(dev_caps *caps, const char *text, mare_error *e);

/* All devices of the machine, best first (discrete, integrated, virtual, CPU). With no Vulkan
 * loader or no driver: MARE_E_NO_DEVICE, and the text says which. The caller frees *out. */
mare_status dev_list(dev_caps **out, int *count, mare_error *e);

typedef struct dev_options {
    const char *device;  /* index in dev_list's order, part of a name, or a type; null: first */
    const char *caps;    /* dev_caps_apply() text; null: none */
    uint64_t memory_cap; /* bytes of device memory that may be taken; 0: no cap */
    bool validate;       /* turn the Khronos validation layer on, when installed */
} dev_options;

/* Makes an instance and a device of its own, then adopts it. */
mare_status dev_create(const dev_options *o, mare_error *e, dev_device **out);
/* Adopts a device that the host made: a struct mare_vulkan_device of <mare/vulkan.h>. */
struct mare_vulkan_device;
mare_status dev_adopt(const struct mare_vulkan_device *host, const dev_options *o, mare_error *e,
                      dev_device **out);
/* Waits for the device, gives back all that was made on it. Null is allowed. */
void dev_destroy(dev_device *d);
const dev_caps *dev_get_caps(const dev_device *d);
/* Messages of the validation layer so far (errors and warnings); their last text in *last. -1 when
 * the layer was asked for and is not installed. A device of the host's own reports to the host. */
int dev_validation_messages(const dev_device *d, const char **last);

/* ---- Memory ------------------------------------------------------------------------------- */

/* Device buffers are padded to a multiple of 256 bytes, so that a kernel may read and write whole
 * 16-byte groups at the end. A zero-byte buffer is legal. New contents are undefined. On failure
 * cached memory is given back first, then MARE_E_DEVICE_MEMORY with the figures. */
mare_status dev_buffer_create(dev_device *d, uint64_t bytes, dev_buffer **out);
/* The same for data of the host's: where there is some, in memory that the device is not using, so
 * that the copy waits for nothing. */
mare_status dev_buffer_create_idle(dev_device *d, uint64_t bytes, dev_buffer **out);
/* Reference counts. The last release may come while the device still reads the buffer: its memory
 * is used again only by work submitted later. */
void dev_buffer_retain(dev_buffer *b);
void dev_buffer_release(dev_buffer *b);
uint64_t dev_buffer_bytes(const dev_buffer *b);
/* A buffer that its owner keeps for later counts as cached, not as used. */
void dev_buffer_set_cached(dev_buffer *b, bool cached);
/* Where it lies: two buffers at the same place, one after the other, are the same memory to a
 * recording. Never 0 while the device is there. */
uint64_t dev_buffer_place(const dev_buffer *b);

/* Copies host data in, in order with the work submitted before and after it. The data is taken
 * over before the call returns. Offsets and sizes need no alignment. */
mare_status dev_upload(dev_device *d, dev_buffer *b, uint64_t offset, const void *data,
                       uint64_t bytes);
/* Waits for the work submitted before, and copies out. */
mare_status dev_download(dev_device *d, dev_buffer *b, uint64_t offset, void *data, uint64_t bytes);

typedef struct dev_memory {
    uint64_t used;      /* bytes in buffers alive now */
    uint64_t cached;    /* bytes kept for reuse */
    uint64_t peak;      /* highest `used` since the last dev_memory_reset_peak() */
    uint64_t cap;       /* 0: none */
    uint64_t available; /* what the driver says is left, with DEV_MEMORY_BUDGET; else 0 */
} dev_memory;
void dev_memory_stats(dev_device *d, dev_memory *out);
void dev_memory_reset_peak(dev_device *d);
void dev_memory_set_cap(dev_device *d, uint64_t bytes);
/* Gives cached memory back to the driver. */
void dev_memory_trim(dev_device *d);
/* Called before that, and when there is no memory for a buffer: the owner of cached buffers
 * releases them. Null: nobody is called. */
void dev_set_reclaim(dev_device *d, void (*reclaim)(void *user), void *user);

/* ---- Pipelines ---------------------------------------------------------------------------- */

/* Every kernel has binding 0 = its parameter block, a uniform buffer, and bindings 1..buffers =
 * storage buffers. Specialisation constants have ids 0..n_spec-1. A kernel that declares physical
 * storage buffer addresses (DEV_BUFFER_ADDRESS) gets those of its buffers as push constants, 64
 * bits each, in the order of the bindings. The driver's pipeline cache stands behind this;
 * dev_pipeline_cache_* move it to and from a file. */
mare_status dev_pipeline_create(dev_device *d, const uint32_t *spirv, size_t words, int buffers,
                                const uint32_t *spec, int n_spec, dev_pipeline **out,
                                mare_error *e);
void dev_pipeline_destroy(dev_pipeline *p);
/* The driver's cache as bytes (malloc'ed), with what an earlier save holds (null: none) added. Safe
 * from any thread. Foreign or torn data is harmless, here and when it is loaded. */
mare_status dev_pipeline_cache_save(dev_device *d, const void *earlier, size_t earlier_len,
                                    void **data, size_t *len, mare_error *e);
void dev_pipeline_cache_load(dev_device *d, const void *data, size_t len);

/* ---- Recording and submission ------------------------------------------------------------- */

typedef struct dev_binding {
    dev_buffer *buffer;
    uint64_t offset, bytes; /* offset: a multiple of 256; bytes: at most caps.binding */
} dev_binding;

/* A recorder collects commands; submitting sends and recycles it. Buffers named in it are retained
 * until the device is done with them. Submissions run in order, each sees the writes of those
 * before it. */
mare_status dev_record(dev_device *d, dev_recorder **out);
/* One dispatch. params: n_params 32-bit words, copied (at most 1,024 bytes). */
mare_status dev_cmd_dispatch(dev_recorder *r, dev_pipeline *p, const uint32_t *params, int n_params,
                             const dev_binding *bindings, int n_bindings, const uint32_t groups[3]);
/* Writes of the dispatches before are seen by those after, and may overwrite what was read. */
void dev_cmd_barrier(dev_recorder *r);
/* Fills `bytes` (a multiple of 4) with a 32-bit value. */
void dev_cmd_fill(dev_recorder *r, dev_buffer *b, uint64_t offset, uint64_t bytes, uint32_t value);
mare_status dev_submit(dev_recorder *r);
/* Throws a recorder away unsent. */
void dev_discard(dev_recorder *r);

/* A recording: dispatches whose commands are made once and submitted many times. Between two
 * submissions the host may change parameters and bindings; commands are made again only for parts
 * that bind something new. */
typedef struct dev_recording dev_recording;

typedef struct dev_dispatch {
    dev_pipeline *pipeline;
    int n_params, n_bindings;
    uint32_t groups[3];
    bool barrier; /* as dev_cmd_barrier() before it */
} dev_dispatch;

/* A part starts at a dispatch, and goes to the start of the next one. */
typedef struct dev_part {
    int first;
    bool submits; /* a submission of its own starts here too */
} dev_part;

/* Pipelines are retained. The whole is one part at first. Nothing is bound. */
mare_status dev_recording_create(dev_device *d, const dev_dispatch *list, int n,
                                 dev_recording **out);
/* Waits until the device is done with it. Null is allowed. */
void dev_recording_destroy(dev_recording *r);
/* Is the device done with it? Parameters, bindings and parts may be changed then only. */
bool dev_recording_idle(dev_recording *r);
/* Waits until it is. */
mare_status dev_recording_wait(dev_recording *r);
/* The parameter words of dispatch i: memory to be written, not read. */
uint32_t *dev_recording_params(dev_recording *r, int i);
/* Binds buffer k of dispatch i. The buffer is not retained: it must be alive at the submission. */
mare_status dev_recording_bind(dev_recording *r, int i, int k, const dev_binding *b);
/* Divides it anew: ascending starts, the first 0. */
mare_status dev_recording_divide(dev_recording *r, const dev_part *parts, int n);
/* Makes what commands are missing and submits them all, in one call of the driver: all go out, or,
 * after a failure, none. touched: every buffer that is bound.
 * *recorded: how many dispatches were recorded for it; *submits: how many submissions it took. */
mare_status dev_recording_submit(dev_recording *r, dev_buffer *const *touched, int n, int *recorded,
                                 int *submits);
/* Blocks, without spinning, until all submitted work is done. */
mare_status dev_wait(dev_device *d);
/* Runs what r holds, alone, and measures: seconds by timestamps where the device has them, else by
 * the host's clock around a waited submission. For tuning and benchmarks. */
mare_status dev_submit_timed(dev_recorder *r, double *seconds);

/* ---- Profiling ------------------------------------------------------------------------------ */

/* Seconds of the host's clock, which never goes back. */
double dev_clock(void);

/* From when to when, in seconds of dev_clock(). */
typedef struct dev_timing {
    double start, end;
    uint32_t id; /* of a dispatch, as it was given; DEV_COPY: copies between host and device */
} dev_timing;
#define DEV_COPY UINT32_MAX

/* What ran since dev_profile_start(), in its order: no two overlap. And when the host waited. */
typedef struct dev_profile {
    dev_timing *runs, *waits;
    size_t n_runs, n_waits;
} dev_profile;

/* Waits for the device. From now on dispatches are timed where dev_cmd_time() says so. */
mare_status dev_profile_start(dev_device *d);
/* Does the device write timestamps? Without them a timed dispatch is alone in its recorder, whose
 * submission is waited for and timed by the host's clock. */
bool dev_profile_stamps(const dev_device *d);
/* The dispatches from here to dev_cmd_time_end() are timed under id; they run when everything
 * before is done. Only between dev_profile_start() and dev_profile_stop(). */
mare_status dev_cmd_time(dev_recorder *r, uint32_t id);
void dev_cmd_time_end(dev_recorder *r);
/* Waits for the device and ends timing; the caller frees what is in *out. */
mare_status dev_profile_stop(dev_device *d, dev_profile *out);

/* True once the device was lost; every later call answers MARE_E_DEVICE_LOST. */
bool dev_lost(const dev_device *d);

#endif
