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
    MARE_E_SHADER,        /* a shader did not compile, or, under MARE_CHECK, computed wrongly */
    MARE_E_IO,            /* a file could not be read or written */
    MARE_E_FORMAT,        /* a file is not what it claims to be */
    MARE_E_VULKAN         /* any other failure that the driver reported */
} mare_status;

/* Element types. Booleans take one byte, 0 or 1; bf16 is the upper half of an f32. */
typedef enum mare_dtype {
    MARE_F32,
    MARE_F16,
    MARE_I32,
    MARE_U8,
    MARE_BOOL,
    MARE_BF16,
    MARE_I8
} mare_dtype;
#define MARE_DTYPES 7

typedef struct mare_context mare_context;
typedef struct mare_tensor mare_tensor;

/* Short name of a status, such as "shape"; never null. */
MARE_API const char *mare_status_name(mare_status status);
/* Name of an element type ("f32", "f16", "bf16", "i32", "i8", "u8", "bool"), and its size in bytes.
 */
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
    double submit_ms;    /* mare_set_submit_ms(); 0: its default */
    uint64_t seed;       /* of the random stream */
    char *error;         /* gets the reason when creating fails; null allowed */
    size_t error_size;
    const struct mare_vulkan_device *vulkan; /* the host's own device, see <mare/vulkan.h> */
} mare_options;

/* Makes a context on a device (options null: all defaults). $MARE_VALIDATE=1 turns the Khronos
 * validation layer on, $MARE_EAGER=1 evaluates every operation at once and stops at the first value
 * that is not finite, $MARE_CHECK=1 compares every node with its reference on the host,
 * $MARE_PASSES leaves out passes (`-fuse,-merge`; an unknown name is MARE_E_ARGUMENT),
 * $MARE_DUMP (any of `graph,plan,memory,glsl`) shows them through the dump callback. */
MARE_API mare_status mare_context_create(const mare_options *options, mare_context **out);
/* Waits for the device and gives everything back. Tensors still held by the caller stay valid
 * handles, but every call with them answers MARE_E_ARGUMENT. Null is allowed. */
MARE_API void mare_context_destroy(mare_context *ctx);
/* Text of the last failed call on ctx, with the operation, the shapes and the script's line. */
MARE_API const char *mare_last_error(const mare_context *ctx);
MARE_API mare_status mare_context_device(const mare_context *ctx, mare_device_info *out);
/* Where the script is now: nodes made from here on carry it, and errors tell it. */
MARE_API void mare_set_location(mare_context *ctx, const char *file, int line);
/* Gets what $MARE_DUMP asks for, each as one text: `graph` the nodes of an evaluation before it is
 * planned, `plan` each new plan's launches, `memory` where its temporaries lie and when, `glsl` the
 * whole shader of each kernel that is made. Evaluations that find their plan in the cache show
 * nothing. dump null: nothing is shown. */
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

/* How long the device may be at one submission, in milliseconds; 0: the default, 20. Evaluations
 * are cut into submissions of about that time by what a plan's second run took, so that no driver's
 * time-out is met, and so that others who use the queue, such as the host's frames, get their turn
 * in between. A single launch is not cut. */
MARE_API void mare_set_submit_ms(mare_context *ctx, double ms);

typedef struct mare_stats {
    uint64_t evals, plans, hits, launches, submits; /* plans: built; hits: found in the cache */
    uint64_t recorded; /* launches whose commands were recorded; the others' were sent again */
    uint64_t shaders_compiled, shaders_from_disk, pipelines, tuned;
    uint64_t nodes; /* graph nodes alive */
    int validation; /* messages of the validation layer */
} mare_stats;
MARE_API void mare_get_stats(mare_context *ctx, mare_stats *out);

/* The plan that ran last. Of its temporaries: the memory they share, what they would take without
 * sharing, and the most that is alive at once, which no sharing can do without. */
typedef struct mare_plan {
    uint64_t launches, barriers;
    uint64_t arena, sum, bound; /* bytes */
    uint64_t donated; /* bytes of assigned values that may take the memory of those they replace */
} mare_plan;
MARE_API void mare_get_plan(mare_context *ctx, mare_plan *out);
/* Which passes run from now on: a list as in $MARE_PASSES, applied to all. Plans made before are
 * forgotten. An unknown name is MARE_E_ARGUMENT and changes nothing. */
MARE_API mare_status mare_set_passes(mare_context *ctx, const char *list);

/* The random stream: seed and position. Restoring both repeats the numbers that followed. */
MARE_API void mare_random_get(mare_context *ctx, uint64_t *seed, uint64_t *position);
MARE_API void mare_random_set(mare_context *ctx, uint64_t seed, uint64_t position);

/* ---- Profiling ----------------------------------------------------------------------------- */

/* What the host does. The time of one work leaves out that of the works within it. */
typedef enum mare_work {
    MARE_WORK_SCRIPT,  /* outside of all below: the program runs and builds its graph */
    MARE_WORK_RECORD,  /* evaluations: a plan is looked for, bound to memory and recorded */
    MARE_WORK_PLAN,    /* new plans are made */
    MARE_WORK_COMPILE, /* kernels are chosen, compiled, and made into pipelines */
    MARE_WORK_SUBMIT,  /* commands are handed to the driver */
    MARE_WORK_COPY,    /* data is taken from the host, or given to it */
    MARE_WORK_WAIT     /* the host waits for the device */
} mare_work;
#define MARE_WORKS 7

/* "script", "record", "plan", "compile", "submit", "copy", "wait". */
MARE_API const char *mare_work_name(mare_work work);

/* Everything that runs from here on is put down, with the time it took: launches by timestamps of
 * the device, one after the other; where it has none, by the host's clock, one submission for each.
 * Commands are recorded anew each time, so that the host's time is more than that of a replay.
 * Results do not change. MARE_E_ARGUMENT when profiling is on already. */
MARE_API mare_status mare_profile_start(mare_context *ctx);

/* A profile as a whole; times in seconds. */
typedef struct mare_profile {
    bool timestamps;         /* launches were timed by the device */
    double wall;             /* from start to stop */
    double busy, copying;    /* of it, in launches, and in copies between host and device */
    double longest_gap;      /* between one launch or copy and the next */
    double host[MARE_WORKS]; /* by the host's work: adds up to wall */
    double idle[MARE_WORKS]; /* of that, while the device did nothing */
    uint64_t evals, plans, hits, submits, pipelines, shaders_compiled, tuned; /* as in mare_stats */
    size_t sites, launches, spans; /* how many of the records below there are */
} mare_profile;
/* Waits for the device. Afterwards the records can be read until the next start.
 * MARE_E_ARGUMENT when profiling is not on. out: null is allowed. */
MARE_API mare_status mare_profile_stop(mare_context *ctx, mare_profile *out);

/* What one operation of one plan launches for one line of the script. */
typedef struct mare_profile_site {
    const char *op;     /* "mul+add" where several were fused; "copy": between host and device */
    const char *kernel; /* shader; "" for copies */
    const char *file;   /* the script's line; null when unknown */
    int line;
    mare_dtype dtype; /* of the result */
    int rank;
    int64_t dims[MARE_MAX_DIMS];
    uint32_t groups[3];
    double bytes;      /* of one launch: all that it binds, once for reading, once for writing */
    double flops;      /* of one launch; 0: not known */
    uint64_t launches; /* in the profile */
    double seconds;    /* of all of them */
} mare_profile_site;
/* The i-th, in the order of their first launch; false past the last. Texts live as long as ctx. */
MARE_API bool mare_profile_site_at(mare_context *ctx, size_t i, mare_profile_site *out);

typedef struct mare_profile_launch {
    size_t site;       /* for mare_profile_site_at() */
    uint32_t eval;     /* evaluations are counted from 0 */
    double start, end; /* seconds since the profile's start */
} mare_profile_launch;
/* The i-th, in the order they ran; no two overlap. False past the last. */
MARE_API bool mare_profile_launch_at(mare_context *ctx, size_t i, mare_profile_launch *out);

/* The host was at a work; a span lies beside another one or within it. */
typedef struct mare_profile_span {
    mare_work work;
    double start, end; /* seconds since the profile's start */
    const char *about; /* of MARE_WORK_COMPILE the shader; else null */
} mare_profile_span;
/* The i-th, in the order of their starts; false past the last. */
MARE_API bool mare_profile_span_at(mare_context *ctx, size_t i, mare_profile_span *out);

/* Writes the profile that was stopped last as a file of trace events (JSON), which Perfetto and
 * chrome://tracing open: a track of the device's launches, each with its shape, groups, kernel and
 * script line, and one of the host's work. The file appears whole or not at all. MARE_E_ARGUMENT
 * when a profile is on, or none was stopped. */
MARE_API mare_status mare_profile_trace(mare_context *ctx, const char *path);

/* What the device does at best: bytes a second, read and written by a large copy, and flops a
 * second of f32 multiply-adds, each of which counts as two. Measured at the first call on ctx (for
 * some tenths of a second), and not while a profile is on: that is MARE_E_ARGUMENT. */
MARE_API mare_status mare_device_peaks(mare_context *ctx, double *bandwidth, double *flops);

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
 * share is computed once. Work is submitted; the device may still be busy when the call returns.
 * A failure of this or another call that evaluates undoes the assignments that waited for it: a
 * step that does not succeed leaves parameters as they were. */
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
/* A function of the host's in the backward pass, with what it needs. It gets the gradient of the
 * result and makes n handles, which Mare releases; a null stands for no gradient. It may call
 * anything but mare_context_destroy(). A failing one returns a status; the text may be its own
 * (mare_fail()). destroy (null allowed) is called once, when nothing can call run again; also when
 * the call that was given the struct fails. */
typedef struct mare_vjp {
    mare_status (*run)(void *user, mare_tensor *grad, int n, mare_tensor **out);
    void (*destroy)(void *user);
    void *user;
} mare_vjp;
/* y, computed from the n inputs in whatever way (best with mare_no_grad()), with a gradient of the
 * host's: f makes the gradients of the inputs, each of its input's shape and dtype. They may be
 * differentiated again. */
MARE_API mare_status mare_custom(mare_tensor *y, int n, mare_tensor *const *in, const mare_vjp *f,
                                 mare_tensor **out);
/* Each backward pass calls f with the whole gradient of t; what it makes (n is 1; null: no change)
 * takes the gradient's place. Hooks run in the order they were added, before the gradient goes on.
 * *id (null allowed) is for mare_remove_hook(), which does nothing when there is no such hook. */
MARE_API mare_status mare_add_hook(mare_tensor *t, const mare_vjp *f, int *id);
MARE_API void mare_remove_hook(mare_tensor *t, int id);
/* Sets the text of mare_last_error() for a callback that fails, and returns status. */
MARE_API mare_status mare_fail(mare_context *ctx, mare_status status, const char *why);
/* Gradient checkpointing (Chen et al. 2016): of y, everything that was made since start (what
 * mare_checkpoint_start() returned) is computed again in the backward pass instead of being kept
 * for it. Random numbers are the same again. */
MARE_API uint64_t mare_checkpoint_start(mare_context *ctx);
MARE_API mare_status mare_checkpoint(mare_tensor *y, uint64_t start, mare_tensor **out);
/* Between off and on, new tensors require no gradient. Calls nest. */
MARE_API void mare_no_grad(mare_context *ctx, bool off);
MARE_API bool mare_grad_enabled(const mare_context *ctx);
MARE_API mare_status mare_detach(mare_tensor *t, mare_tensor **out);
/* t takes the value of `value` (same shape and dtype); handles and gradients stay. Tensors computed
 * from t before keep what they saw. The next evaluation does all assignments that wait, or none
 * when it fails. In a loop the new value takes the memory of the old one, where no handle, pending
 * tensor or gradient needs that any more: release handles, and set gradients to null, before the
 * evaluation. */
MARE_API mare_status mare_assign(mare_tensor *t, mare_tensor *value);

/* t stands for `value` (same shape and dtype) and what that was computed from, as after an
 * assignment to a part of t: gradients flow to what was assigned and to what remains. Tensors
 * computed from t before keep what they saw. A leaf that requires a gradient is written between
 * no_grad calls alone, and then as mare_assign() does. */
MARE_API mare_status mare_rebind(mare_tensor *t, mare_tensor *value);

/* ---- Compiled steps ------------------------------------------------------------------------- */

/* A step that is done again and again - forward, backward, update - is built and evaluated once
 * while Mare notes what it does, and from then on done without building it:
 *
 *     mare_step_begin(ctx, 2, (mare_tensor *[]){x, y});
 *     ... the step, which ends with mare_assign() to parameters and mare_eval() ...
 *     mare_step_end(ctx, 1, &loss, &result, &step);
 *     ...
 *     mare_step_run(step, 2, (mare_tensor *[]){x2, y2}, 0, NULL, &result, &ran);
 *
 * Tensors that the step knew from outside (parameters, state) are read with the value that they
 * then have, and get their new one; gradients, too. Random numbers go on along the stream. What the
 * host computed while the step was built (numbers, branches, tensors from host data) is as it was,
 * but for mare_step_number(). Results come out as plain data, with no graph behind them. */
typedef struct mare_step mare_step;
/* Evaluates the inputs and all that waits, and begins to note. Until the end no value can be read
 * (MARE_E_ARGUMENT). MARE_E_UNSUPPORTED under MARE_EAGER and MARE_CHECK. */
MARE_API mare_status mare_step_begin(mare_context *ctx, int n_in, mare_tensor *const *in);
/* A scalar constant, as mare_scalar(), whose value each run gives anew: number `number`, from 0.
 * With another value of an integer type the step must be built anew. */
MARE_API mare_status mare_step_number(mare_context *ctx, mare_dtype dtype, double value, int number,
                                      mare_tensor **out);
/* Evaluates what the step leaves, and ends. results (n_out handles) are `out` as plain data. With
 * step null, or after a failure, nothing is kept. */
MARE_API mare_status mare_step_end(mare_context *ctx, int n_out, mare_tensor *const *out,
                                   mare_tensor **results, mare_step **step);
/* Does the step again; results: as many handles as mare_step_end() was given. *ran is false, and
 * nothing is done, when the step must be built anew: an input or a known tensor has another shape,
 * element type, layout, need of a gradient or (integers) a wider range of values than it had, a
 * parameter has a gradient that it did not have, or lacks one, or the passes or mare_no_grad() are
 * others. After a failure all is as before. */
MARE_API mare_status mare_step_run(mare_step *step, int n_in, mare_tensor *const *in, int n_numbers,
                                   const double *numbers, mare_tensor **results, bool *ran);
MARE_API void mare_step_release(mare_step *step); /* null is allowed */

/* ---- Operations ---------------------------------------------------------------------------- */

/* An elementwise operation by name, with NumPy broadcasting. mare_op_at() lists them. */
MARE_API mare_status mare_map(const char *name, int n, mare_tensor *const *in, mare_tensor **out);
/* With a number as the last input: mare_map_scalar("mul", 1, &x, 0.5, &y). */
MARE_API mare_status mare_map_scalar(const char *name, int n, mare_tensor *const *in, double value,
                                     mare_tensor **out);
typedef struct mare_op {
    const char *name, *doc; /* one line */
    const char *file;       /* where it stands in Mare's source */
    int line;
    int elementwise; /* number of inputs, when it is elementwise; else 0 */
    int derivatives; /* 0: it has no gradient; 1: a gradient; 2: one that is smooth, too */
    unsigned dtypes; /* bit t: tensors of mare_dtype t are taken */
} mare_op;
/* The i-th operation; false past the last. */
MARE_API bool mare_op_at(int i, mare_op *out);
/* Names of the shaders that may compute it, separated by spaces, for a device as most are. */
MARE_API mare_status mare_op_kernels(int i, char *out, size_t size);
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
/* a with value, stretched and cast, in place of that slice. */
MARE_API mare_status mare_put_slice(mare_tensor *a, const int64_t *start, const int64_t *stop,
                                    const int64_t *step, mare_tensor *value, mare_tensor **out);
MARE_API mare_status mare_flip(mare_tensor *a, int n, const int *axes, mare_tensor **out);
/* before[i] and after[i] elements of value around axis i; negative numbers crop. */
MARE_API mare_status mare_pad(mare_tensor *a, const int64_t *before, const int64_t *after,
                              double value, mare_tensor **out);
MARE_API mare_status mare_concat(int n, mare_tensor *const *in, int axis, mare_tensor **out);
MARE_API mare_status mare_stack(int n, mare_tensor *const *in, int axis, mare_tensor **out);
MARE_API mare_status mare_contiguous(mare_tensor *a, mare_tensor **out);

/* a's slices along axis at index (integers, 0-based, any shape). Out of range: MARE_E_RANGE. */
MARE_API mare_status mare_take(mare_tensor *a, mare_tensor *index, int axis, mare_tensor **out);
MARE_API mare_status mare_one_hot(mare_tensor *index, int64_t classes, mare_dtype dtype,
                                  mare_tensor **out);

/* [..., M, K] x [..., K, N], leading dimensions broadcast; vectors as in NumPy. Of integers the
 * result is i32, which wraps around. */
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

typedef enum mare_reduction { MARE_MEAN, MARE_SUM, MARE_NONE } mare_reduction;
/* logits [N, C, ...]; target: classes [N, ...] (integers; -100 counts nowhere) or probabilities
 * shaped like logits. The call "cross_entropy" has more options. */
MARE_API mare_status mare_cross_entropy(mare_tensor *logits, mare_tensor *target,
                                        double label_smoothing, mare_reduction reduction,
                                        mare_tensor **out);
/* "nll", "mse", "l1", "bce", "bce_with_logits". */
MARE_API mare_status mare_loss(const char *name, mare_tensor *a, mare_tensor *target,
                               mare_reduction reduction, mare_tensor **out);

/* ---- Calls: every other operation, by name ------------------------------------------------ */

typedef enum mare_arg_kind {
    MARE_ARG_TENSOR,
    MARE_ARG_TENSORS,
    MARE_ARG_NUMBER,
    MARE_ARG_INTEGERS,
    MARE_ARG_TEXT
} mare_arg_kind;

/* An argument of a call, made by one of the functions below. */
typedef struct mare_arg {
    const char *name;
    mare_arg_kind kind;
    int n;
    mare_tensor *tensor;
    mare_tensor *const *tensors;
    double number;
    const int64_t *integers;
    const char *text;
} mare_arg;

static inline mare_arg mare_arg_tensor(const char *name, mare_tensor *t) {
    mare_arg a = {name, MARE_ARG_TENSOR, 1, t, NULL, 0, NULL, NULL};
    return a;
}
static inline mare_arg mare_arg_tensors(const char *name, int n, mare_tensor *const *list) {
    mare_arg a = {name, MARE_ARG_TENSORS, n, NULL, list, 0, NULL, NULL};
    return a;
}
/* Also for integers, booleans (0, 1), axes (from 0) and element types (mare_dtype). */
static inline mare_arg mare_arg_number(const char *name, double value) {
    mare_arg a = {name, MARE_ARG_NUMBER, 1, NULL, NULL, value, NULL, NULL};
    return a;
}
/* Sizes, or axes from 0. */
static inline mare_arg mare_arg_integers(const char *name, int n, const int64_t *values) {
    mare_arg a = {name, MARE_ARG_INTEGERS, n, NULL, NULL, 0, values, NULL};
    return a;
}
/* A word such as "bilinear". */
static inline mare_arg mare_arg_text(const char *name, const char *text) {
    mare_arg a = {name, MARE_ARG_TEXT, 1, NULL, NULL, 0, NULL, text};
    return a;
}

/* Runs a call by name: mare_call(ctx, "softmax", 2, (mare_arg[]){mare_arg_tensor("x", x),
 * mare_arg_number("dim", -1)}, 1, &y). Arguments come in any order; those with a default may be
 * left out, as may tensors that are null. n_out must be the number of its results (a place may be
 * null where a result is not wanted). `mare ops` lists the calls, their arguments and results. */
MARE_API mare_status mare_call(mare_context *ctx, const char *name, int n, const mare_arg *args,
                               int n_out, mare_tensor **out);

/* ---- Kernels of one's own ------------------------------------------------------------------- */

/* GLSL over named tensors and numbers becomes an operation. In it stand
 *   - every input x and output y as an array in row-major order: x[k], float or int; with x_size
 *     (elements), x_rank and x_dim(d) (d from 0), which are uint;
 *   - every number by its name, a float; values may change from call to call;
 *   - count, the invocations that are wanted, and global_index() and group_index(), this one's and
 *     its workgroup's number (more invocations than `count` may run).
 * The GLSL is either the body of main, run for each `uint i` below count, or functions with a
 * "void main() {" among them. Every element of every output must be written, by one invocation.
 * Names are as in GLSL, without "mare_" or "gl_" before them or "__" within. */
typedef struct mare_kernel mare_kernel;
/* The most that a kernel may have. A device may bind fewer tensors at once: MARE_E_UNSUPPORTED. */
enum { MARE_KERNEL_INPUTS = 12, MARE_KERNEL_OUTPUTS = 4, MARE_KERNEL_NUMBERS = 32 };
typedef struct mare_kernel_options {
    const char *name, *glsl;
    int inputs, outputs, numbers; /* one output at least */
    const char *const *input_names, *const *output_names, *const *number_names;
    /* MARE_F32 or MARE_I32 of each; null: all f32. Floats of other kinds are converted to f32,
     * integers to i32. All outputs share one. */
    const mare_dtype *input_dtypes, *output_dtypes;
    uint32_t workgroup; /* invocations of a workgroup; 0: what suits the device */
} mare_kernel_options;
/* Compiles, so that MARE_E_SHADER comes here, with the kernel's name and the line in `glsl`; what
 * was compiled before, by any program, is found on disk. The kernel lives as long as the context;
 * the same definition gives the same kernel. */
MARE_API mare_status mare_kernel_create(mare_context *ctx, const mare_kernel_options *options,
                                        mare_kernel **out);
/* Runs it over inputs, giving outputs of these shapes (as many as the kernel has, dims one behind
 * the other). threads: the invocations; 0: one for each element of the first output. Lazy, as every
 * operation: the numbers are words that change without a new plan. The results have no gradient:
 * mare_custom() gives them one. */
MARE_API mare_status mare_kernel_run(mare_kernel *kernel, mare_tensor *const *in,
                                     const double *numbers, const int *ranks, const int64_t *dims,
                                     uint64_t threads, mare_tensor **out);

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

#include <mare/tune.h>

#endif
