/* The kernel layer: shader text, compilation to SPIR-V, variants, the disk cache, the autotuner.
 * The only folder that sees glslang. */
#ifndef MARE_KERNEL_KERNEL_H
#define MARE_KERNEL_KERNEL_H

#include "device/device.h"

typedef struct kernels kernels;

/* d null: without a device, for kernel_compile() alone. */
mare_status kernels_create(dev_device *d, mare_error *e, kernels **out);
/* Keeps the driver's pipeline cache on disk for the next time. Null is allowed. */
void kernels_destroy(kernels *k);

/* From now on the whole GLSL of each kernel is shown when its first pipeline is made, and of those
 * that differ in constants alone the constants. dump null: no more. */
void kernels_set_dump(kernels *k, void (*dump)(void *user, const char *text), void *user);

/* Text embedded in the library, or read from $MARE_ROOT/<name> when that is set: "shaders/..." and
 * "lua/...". Null when there is no such file. Text from MARE_ROOT belongs to the caller (*owned is
 * set), who frees it. */
const char *source_text(const char *name, size_t *len, char **owned);
/* Name of the i-th embedded file, or null past the last. */
const char *source_name(int i);

enum { KERNEL_MAX_SPEC = 16 };

/* What makes a kernel: a shader below shaders/ (or the text of one that stands in no file), the
 * text of its defines ("NAME value" lines, each ending in a newline; put after #version, before the
 * shader's text), and its specialisation constants. */
typedef struct kernel_id {
    const char *shader;
    const char *defines; /* never null; "" for none */
    int buffers;         /* storage buffers that it binds */
    int n_spec;
    uint32_t spec[KERNEL_MAX_SPEC];
    const char *text; /* null: that of the file; else `shader` is but its name */
} kernel_id;

/* The pipeline for id, from memory, the disk cache or the compiler. Lives as long as k. A shader
 * error is MARE_E_SHADER with the shader's name, line and the compiler's text. */
mare_status kernel_get(kernels *k, const kernel_id *id, dev_pipeline **out);
/* Hands id to worker threads, which make its pipeline meanwhile; returns at once. kernel_get()
 * then waits for them, or makes itself what none has begun or could make. */
void kernel_prefetch(kernels *k, const kernel_id *id);
/* Compiles to SPIR-V without making a pipeline (for the test that walks every declared variant);
 * *words is malloc'ed. Needs no device when k is null. */
mare_status kernel_compile(kernels *k, const kernel_id *id, uint32_t **words, size_t *count,
                           mare_error *e);

/* ---- The autotuner ------------------------------------------------------------------------ */

/* One way to do a piece of work. */
typedef struct tune_candidate {
    const char *name; /* stands in the record on disk; unique in its list */
    kernel_id kernel;
    uint32_t groups[3];
    const uint32_t *params;
    int n_params;
} tune_candidate;

typedef struct tune_problem {
    const char *key; /* family and anchored sizes, such as "matmul/f32/512x512x512/nn" */
    const tune_candidate *candidates;
    int n;
    const uint64_t *buffer_bytes; /* of each binding: scratch buffers are made to measure with */
    int buffers;
    double flops; /* of one run, for the report; 0: unknown */
} tune_problem;

/* Index of the best candidate: the pinned or recorded one, else measured now and recorded on disk,
 * else, where that may not be or has failed, the one that suits the device. Records made under
 * another driver or candidate list count as absent. Candidate 0 must always work. */
int tune_choose(kernels *k, const tune_problem *p);
/* The same answer when nothing has to be measured for it, else -1. */
int tune_known(kernels *k, const tune_problem *p);

/* The candidates' numbers in the order in which they are likely to be best on such a device, as far
 * as that is known without measuring: order[0] is the one to take. */
void tune_order(const dev_caps *caps, const tune_problem *p, int *order);

/* When tune_choose() may measure; budget: seconds from here on, negative: the default. At first
 * what $MARE_TUNE says, else at first use. */
void tune_set_policy(kernels *k, mare_tuning when, double budget);
mare_tuning tune_get_policy(const kernels *k, double *left);
/* Reads what MARE_TUNE says. What is none of its words is MARE_E_ARGUMENT and lists what it may be.
 */
mare_status tune_parse_policy(const char *words, mare_tuning *when, double *budget, mare_error *e);

/* From now on, and in later runs on this device, key is answered by the candidate of that name,
 * wherever it stands in the list; a list without it is chosen from as ever. candidate null: takes
 * the pin away. */
mare_status tune_pin(kernels *k, const char *key, const char *candidate);
/* Takes records made elsewhere (with an empty list: a pin) over those of their keys and lists. */
mare_status tune_put(kernels *k, const mare_tune_record *list, int n);
/* Forgets every record of this device. */
mare_status tune_clear(kernels *k);
/* What the tuner knows about this device: one record for every pinned key, and one for every
 * measured list. Strings live as long as k. The caller frees *out. */
mare_status tune_list(kernels *k, mare_tune_record **out, int *n);
/* Hash of device and driver, under which records stand; "" without a device. */
const char *tune_device(kernels *k);

/* A tuning run, as mare_tune_begin() has it. */
mare_status tune_begin(kernels *k, const mare_tune_options *o);
mare_status tune_end(kernels *k);
/* Those that it met; valid until the next begin. */
const mare_tune_record *tune_results(const kernels *k, int *n);

/* What the device does at best: bytes a second, read and written by a large copy, and flops a
 * second of f32 multiply-adds, each of which counts as two. Measured at the first call. */
typedef struct kernel_peaks {
    double bandwidth, flops;
} kernel_peaks;
mare_status kernels_peaks(kernels *k, kernel_peaks *out);

/* Counters, for tests and reports. */
typedef struct kernel_stats {
    uint64_t compiled;  /* shaders that glslang compiled */
    uint64_t from_disk; /* SPIR-V found in the disk cache */
    uint64_t pipelines; /* pipelines made */
    uint64_t tuned;     /* problems measured */
} kernel_stats;
void kernels_get_stats(kernels *k, kernel_stats *out);

#endif
