/* Mare: a deep-learning engine on Vulkan. The public C API.
 *
 * Conventions
 *   - Handles are opaque. Every function that can fail returns a mare_status; MARE_OK is 0.
 *     mare_last_error() tells what went wrong, in which call, with which shapes.
 *   - The library never exits, aborts or prints.
 *   - A context, and every tensor made with it, is used from one thread at a time. Several
 *     contexts may live side by side, each on a thread of its own.
 *   - Tensors are lazy: an operation adds a node to the graph; mare_eval(), reading a value and
 *     saving evaluate. A tensor handle given through an out parameter belongs to the caller, who
 *     gives it back with mare_tensor_release().
 *   - Shapes are arrays of int64_t, outermost dimension first (row-major). Axes count from 0;
 *     negative ones from the end. A rank-0 tensor is a scalar.
 */
#ifndef MARE_MARE_H
#define MARE_MARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define MARE_API __attribute__((visibility("default")))
#else
#define MARE_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define MARE_MAX_DIMS 8

typedef enum mare_status {
    MARE_OK = 0,
    MARE_E_ARGUMENT,      /* an argument is out of its range, null, or contradicts another */
    MARE_E_SHAPE,         /* shapes do not fit each other or the operation */
    MARE_E_DTYPE,         /* the element type does not fit the operation */
    MARE_E_RANGE,         /* an index stored in a tensor is outside what it indexes */
    MARE_E_HOST_MEMORY,   /* the host has no memory left */
    MARE_E_DEVICE_MEMORY, /* the device, or the cap set on it, has no memory left */
    MARE_E_NO_DEVICE,     /* no Vulkan device fits */
    MARE_E_DEVICE_LOST,   /* the device stopped; make a new context */
    MARE_E_UNSUPPORTED,   /* the device lacks what the call needs */
    MARE_E_SHADER,        /* a shader did not compile */
    MARE_E_IO,            /* a file could not be read or written */
    MARE_E_FORMAT,        /* a file is not what it claims to be */
    MARE_E_VULKAN         /* any other failure that the driver reported */
} mare_status;

/* Element types. Booleans take one byte, 0 or 1. */
typedef enum mare_dtype { MARE_F32, MARE_F16, MARE_I32, MARE_U8, MARE_BOOL } mare_dtype;
#define MARE_DTYPES 5

typedef struct mare_context mare_context;
typedef struct mare_tensor mare_tensor;

/* Short name of a status, such as "shape"; never null. */
MARE_API const char *mare_status_name(mare_status status);
/* Name of an element type ("f32", "f16", "i32", "u8", "bool"), and its size in bytes. */
MARE_API const char *mare_dtype_name(mare_dtype dtype);
MARE_API size_t mare_dtype_size(mare_dtype dtype);
/* Version of the library, such as "0.1.0". */
MARE_API const char *mare_version(void);

/* ---- Devices and contexts ------------------------------------------------------------------ */

typedef struct mare_device_info {
    char name[256], driver[256];
    char type[16];            /* "discrete", "integrated", "virtual", "cpu" or "other" */
    uint64_t memory;          /* bytes of the largest device-local heap */
    uint32_t api_version;     /* as Vulkan packs it */
    char features[512];       /* names of the optional capabilities, separated by spaces */
    uint32_t workgroup;       /* invocations a workgroup */
    uint32_t shared;          /* bytes of shared memory a workgroup */
    uint32_t push_constants;  /* bytes */
    uint32_t storage_buffers; /* bindings a stage */
    uint64_t binding;         /* bytes one storage binding may cover */
    uint32_t groups;          /* workgroups along x */
    uint32_t subgroup;        /* default subgroup size */
} mare_device_info;

/* Lists the machine's Vulkan devices, discrete before integrated before virtual before CPU. At most
 * `capacity` are written; *count gets how many there are. error (null allowed) gets a text of at
 * most error_size bytes. MARE_E_NO_DEVICE when there is no Vulkan loader, driver or device. */
MARE_API mare_status mare_devices(mare_device_info *infos, int capacity, int *count, char *error,
                                  size_t error_size);

typedef struct mare_options {
    const char *device;  /* index, part of a name, or a type; null: $MARE_DEVICE, else the first */
    const char *caps;    /* capabilities to switch off and limits to clamp; null: $MARE_CAPS */
    uint64_t memory_cap; /* bytes of device memory the context may take; 0: no cap */
    uint64_t seed;       /* of the random stream */
    char *error;         /* gets the reason when creating fails; null allowed */
    size_t error_size;
    const struct mare_vulkan_device *vulkan; /* the host's own device, see <mare/vulkan.h> */
} mare_options;

/* Makes a context on a device (options null: all defaults). $MARE_VALIDATE=1 turns the Khronos
 * validation layer on, $MARE_EAGER=1 evaluates every operation at once and stops at the first value
 * that is not finite, $MARE_DUMP=plan prints plans through the dump callback. */
MARE_API mare_status mare_context_create(const mare_options *options, mare_context **out);
/* Waits for the device and gives everything back. Tensors still held by the caller stay valid
 * handles, but every call with them answers MARE_E_ARGUMENT. Null is allowed. */
MARE_API void mare_context_destroy(mare_context *ctx);
/* Text of the last failed call on ctx, with the operation, the shapes and the script's line. */
MARE_API const char *mare_last_error(const mare_context *ctx);
MARE_API mare_status mare_context_device(const mare_context *ctx, mare_device_info *out);
/* Where the script is now: nodes made from here on carry it, and errors tell it. */
MARE_API void mare_set_location(mare_context *ctx, const char *file, int line);
/* Text that the library would show: plan dumps. */
MARE_API void mare_set_dump(mare_context *ctx, void (*dump)(void *user, const char *text),
                            void *user);

typedef struct mare_memory {
    uint64_t used, cached, peak, cap; /* device bytes */
} mare_memory;
MARE_API void mare_memory_stats(mare_context *ctx, mare_memory *out);
MARE_API void mare_memory_reset_peak(mare_context *ctx);
MARE_API void mare_memory_set_cap(mare_context *ctx, uint64_t bytes);
/* Gives cached device memory back to the driver. */
MARE_API void mare_memory_trim(mare_context *ctx);

typedef struct mare_stats {
    uint64_t evals, plans, hits, launches, submits; /* plans: built; hits: found in the cache */
    uint64_t shaders_compiled, shaders_from_disk, pipelines, tuned;
    uint64_t nodes; /* graph nodes alive */
    int validation; /* messages of the validation layer */
} mare_stats;
MARE_API void mare_get_stats(mare_context *ctx, mare_stats *out);

/* The random stream: seed and position. Restoring both repeats the numbers that followed. */
MARE_API void mare_random_get(mare_context *ctx, uint64_t *seed, uint64_t *position);
MARE_API void mare_random_set(mare_context *ctx, uint64_t seed, uint64_t position);

/* ---- Tensors ------------------------------------------------------------------------------- */

/* A tensor from host data: elements row by row, packed. */
MARE_API mare_status mare_tensor_from(mare_context *ctx, mare_dtype dtype, int rank,
                                      const int64_t *dims, const void *data, mare_tensor **out);
/* A scalar constant. Its value may change from step to step without a new plan. */
MARE_API mare_status mare_scalar(mare_context *ctx, mare_dtype dtype, double value,
                                 mare_tensor **out);
MARE_API mare_status mare_full(mare_context *ctx, mare_dtype dtype, int rank, const int64_t *dims,
                               double value, mare_tensor **out);
/* start, start + step, ... : n elements. */
MARE_API mare_status mare_arange(mare_context *ctx, mare_dtype dtype, double start, double step,
                                 int64_t n, mare_tensor **out);
MARE_API mare_status mare_uniform(mare_context *ctx, int rank, const int64_t *dims, double lo,
                                  double hi, mare_tensor **out);
MARE_API mare_status mare_normal(mare_context *ctx, int rank, const int64_t *dims, double mean,
                                 double std, mare_tensor **out);
/* 1 with probability p (a float tensor), else 0; bool. */
MARE_API mare_status mare_bernoulli(mare_tensor *p, mare_tensor **out);
/* A random order of 0..n-1; i32. */
MARE_API mare_status mare_randperm(mare_context *ctx, int64_t n, mare_tensor **out);

MARE_API mare_tensor *mare_tensor_retain(mare_tensor *t);
MARE_API void mare_tensor_release(mare_tensor *t); /* null is allowed */
MARE_API mare_context *mare_tensor_context(const mare_tensor *t);
MARE_API mare_dtype mare_tensor_dtype(const mare_tensor *t);
MARE_API int mare_tensor_rank(const mare_tensor *t);
MARE_API const int64_t *mare_tensor_dims(const mare_tensor *t);
MARE_API int64_t mare_tensor_count(const mare_tensor *t); /* elements */
MARE_API bool mare_tensor_evaluated(const mare_tensor *t);

/* Evaluates tensors (and assigned or backward()ed ones that wait), together, so that what they
 * share is computed once. Work is submitted; the device may still be busy when the call returns. */
MARE_API mare_status mare_eval(mare_context *ctx, int n, mare_tensor *const *tensors);
/* Waits for the device. */
MARE_API mare_status mare_wait(mare_context *ctx);
/* Copies the elements out, row by row; bytes must be count * dtype size. Evaluates and waits. */
MARE_API mare_status mare_tensor_read(mare_tensor *t, void *data, size_t bytes);
/* The same as doubles; n must be the count. */
MARE_API mare_status mare_tensor_doubles(mare_tensor *t, double *out, int64_t n);
/* The only element of a tensor that has one. */
MARE_API mare_status mare_tensor_item(mare_tensor *t, double *out);

/* ---- Gradients ----------------------------------------------------------------------------- */

/* A parameter: backward() fills its gradient. Float leaves only; turning it off is always allowed.
 */
MARE_API mare_status mare_set_requires_grad(mare_tensor *t, bool on);
MARE_API bool mare_requires_grad(const mare_tensor *t);
/* Adds d y / d leaf to the gradient of every leaf that requires one. grad null: y has one element.
 * Without retain_graph the graph behind y is let go, and a second call is MARE_E_ARGUMENT. */
MARE_API mare_status mare_backward(mare_tensor *y, mare_tensor *grad, bool retain_graph);
/* The gradient that backward() left, as a new handle; *out is null when there is none. */
MARE_API mare_status mare_grad(mare_tensor *t, mare_tensor **out);
/* Replaces (grad null: clears) it. */
MARE_API mare_status mare_set_grad(mare_tensor *t, mare_tensor *grad);
/* out[i] = d y / d xs[i] as new tensors that can be differentiated again; zeros where y does not
 * depend on xs[i]. */
MARE_API mare_status mare_gradients(mare_tensor *y, mare_tensor *grad, int n,
                                    mare_tensor *const *xs, mare_tensor **out);
/* Between off and on, new tensors require no gradient. Calls nest. */
MARE_API void mare_no_grad(mare_context *ctx, bool off);
MARE_API mare_status mare_detach(mare_tensor *t, mare_tensor **out);
/* t takes the value of `value` (same shape and dtype); handles and gradients stay. Tensors computed
 * from t before keep what they saw. */
MARE_API mare_status mare_assign(mare_tensor *t, mare_tensor *value);

/* ---- Operations ---------------------------------------------------------------------------- */

/* An elementwise operation by name, with NumPy broadcasting. mare_op_info() lists them. */
MARE_API mare_status mare_map(const char *name, int n, mare_tensor *const *in, mare_tensor **out);
/* With a number as the last input: mare_map_scalar("mul", 1, &x, 0.5, &y). */
MARE_API mare_status mare_map_scalar(const char *name, int n, mare_tensor *const *in, double value,
                                     mare_tensor **out);
/* The i-th operation: name, one line of documentation, number of inputs if elementwise, else 0.
 * False past the last. */
MARE_API bool mare_op_info(int i, const char **name, const char **doc, int *elementwise);
MARE_API mare_status mare_cast(mare_tensor *a, mare_dtype dtype, mare_tensor **out);

/* Reductions: "sum", "prod", "max", "min", "mean", "var", "logsumexp", over n axes (0: all).
 * correction counts for "var" alone (1: Bessel's). */
MARE_API mare_status mare_reduce(const char *name, mare_tensor *a, int n, const int *axes,
                                 bool keepdim, double correction, mare_tensor **out);
/* "argmax" and "argmin": 0-based positions along an axis, i32; ties go to the first. */
MARE_API mare_status mare_arg_reduce(const char *name, mare_tensor *a, int axis, bool keepdim,
                                     mare_tensor **out);

/* Movement. Views where the layout allows; one dim of reshape may be -1. */
MARE_API mare_status mare_reshape(mare_tensor *a, int rank, const int64_t *dims, mare_tensor **out);
MARE_API mare_status mare_permute(mare_tensor *a, int n, const int *axes, mare_tensor **out);
MARE_API mare_status mare_expand(mare_tensor *a, int rank, const int64_t *dims, mare_tensor **out);
/* start:stop:step along every axis, as Python slices: one entry a dimension. */
MARE_API mare_status mare_slice(mare_tensor *a, const int64_t *start, const int64_t *stop,
                                const int64_t *step, mare_tensor **out);
MARE_API mare_status mare_flip(mare_tensor *a, int n, const int *axes, mare_tensor **out);
/* before[i] and after[i] elements of value around axis i; negative numbers crop. */
MARE_API mare_status mare_pad(mare_tensor *a, const int64_t *before, const int64_t *after,
                              double value, mare_tensor **out);
MARE_API mare_status mare_concat(int n, mare_tensor *const *in, int axis, mare_tensor **out);
MARE_API mare_status mare_stack(int n, mare_tensor *const *in, int axis, mare_tensor **out);
MARE_API mare_status mare_contiguous(mare_tensor *a, mare_tensor **out);

/* a's slices along axis at index (i32 or u8, 0-based, any shape). Out of range: MARE_E_RANGE. */
MARE_API mare_status mare_take(mare_tensor *a, mare_tensor *index, int axis, mare_tensor **out);
MARE_API mare_status mare_one_hot(mare_tensor *index, int64_t classes, mare_dtype dtype,
                                  mare_tensor **out);

/* [..., M, K] x [..., K, N], leading dimensions broadcast; vectors as in NumPy. */
MARE_API mare_status mare_matmul(mare_tensor *a, mare_tensor *b, mare_tensor **out);

typedef struct mare_conv2d_options {
    int64_t stride[2], padding[2], dilation[2], groups; /* height, width; 0 means 1 (padding: 0) */
} mare_conv2d_options;
/* x [N, C, H, W], w [O, C / groups, kh, kw], bias [O] or null; options null: all defaults. */
MARE_API mare_status mare_conv2d(mare_tensor *x, mare_tensor *w, mare_tensor *bias,
                                 const mare_conv2d_options *options, mare_tensor **out);

typedef struct mare_pool2d_options {
    int64_t kernel[2], stride[2], padding[2], dilation[2]; /* stride 0: the kernel's size */
    bool ceil_mode, exclude_pad; /* exclude_pad: average over real elements only */
} mare_pool2d_options;
/* "max" or "avg" over x [N, C, H, W]. */
MARE_API mare_status mare_pool2d(const char *kind, mare_tensor *x,
                                 const mare_pool2d_options *options, mare_tensor **out);

MARE_API mare_status mare_softmax(mare_tensor *a, int axis, mare_tensor **out);
MARE_API mare_status mare_log_softmax(mare_tensor *a, int axis, mare_tensor **out);

typedef enum mare_reduction { MARE_MEAN, MARE_SUM, MARE_NONE } mare_reduction;
/* logits [N, C, ...]; target: classes [N, ...] (i32 or u8) or probabilities shaped like logits. */
MARE_API mare_status mare_cross_entropy(mare_tensor *logits, mare_tensor *target,
                                        double label_smoothing, mare_reduction reduction,
                                        mare_tensor **out);
/* "nll", "mse", "l1", "bce", "bce_with_logits". */
MARE_API mare_status mare_loss(const char *name, mare_tensor *a, mare_tensor *target,
                               mare_reduction reduction, mare_tensor **out);
/* x [N, C, ...]; mean, var, gamma, beta [C] (gamma and beta may be null). */
MARE_API mare_status mare_batch_norm(mare_tensor *x, mare_tensor *mean, mare_tensor *var,
                                     mare_tensor *gamma, mare_tensor *beta, double eps,
                                     mare_tensor **out);

/* ---- Files --------------------------------------------------------------------------------- */

/* Saves n named tensors, evaluating them, as a safetensors file; keys and values are n_notes texts
 * of its metadata. The file appears whole or not at all. */
MARE_API mare_status mare_save(mare_context *ctx, const char *path, int n, const char *const *names,
                               mare_tensor *const *tensors, int n_notes, const char *const *keys,
                               const char *const *values);

/* What a safetensors file holds. */
typedef struct mare_bundle mare_bundle;
/* Dtypes that Mare lacks become f32 or i32; values that do not fit are MARE_E_FORMAT, as is any
 * file that is not well-formed. */
MARE_API mare_status mare_load(mare_context *ctx, const char *path, mare_bundle **out);
MARE_API int mare_bundle_count(const mare_bundle *b);
/* Name and tensor number i, alive as long as the bundle; null out of range. */
MARE_API const char *mare_bundle_name(const mare_bundle *b, int i);
MARE_API mare_tensor *mare_bundle_tensor(const mare_bundle *b, int i);
/* The tensor of a name, or the metadata under a key; null when there is none. */
MARE_API mare_tensor *mare_bundle_find(const mare_bundle *b, const char *name);
MARE_API const char *mare_bundle_note(const mare_bundle *b, const char *key);
MARE_API void mare_bundle_free(mare_bundle *b); /* null is allowed */

#ifdef __cplusplus
}
#endif
#endif
