/* Lowering: an op says as data what is to be launched. Nothing here touches a device, so that plans
 * can be made, printed and tested without one. */
#ifndef MARE_PLAN_LOWER_H
#define MARE_PLAN_LOWER_H

#include "graph/graph.h"
#include "kernel/kernel.h"

/* Where a value lies: a buffer of the plan, with offset and strides in elements. A constant of
 * node_const() has no buffer (buffer < 0): its value is a dynamic word. */
typedef struct attachment attachment;

typedef struct operand {
    int buffer;
    mare_dtype dtype;
    shape shape;
    view view;
    const node *constant; /* set when buffer < 0 */
    /* What the op may take over (plan/attach.h). Of an input: what makes its elements, where it has
     * no buffer. Of the result: what becomes of each element, in place of writing it. */
    attachment *before, *after;
} operand;

/* A 32-bit word of a kernel's parameter block: fixed, or taken at each run from a node's dyn. */
typedef struct param {
    uint32_t value;
    const node *from; /* null: value counts */
    int dyn;          /* which of from->dyn */
} param;

enum { MAX_PARAMS = 256, MAX_BINDINGS = 31 /* of the device layer */ };
enum { CHAIN_BINDINGS = 16 /* of one loop of fused nodes */ };

typedef enum access { READ = 1, WRITE = 2, READ_WRITE = 3 } access;

typedef struct binding {
    int buffer;
    access access;
    uint64_t offset, bytes; /* in bytes; offset a multiple of 256 */
} binding;

/* A way to run a launch, beside the launch's own kernel: the tuner picks one. All share bindings
 * and parameters. */
typedef struct variant {
    const char *name;
    kernel_id kernel;
    const char *plain; /* its defines without what is attached; null: nothing is */
    uint32_t groups[3];
    struct variant *next;
} variant;

typedef struct launch {
    const node *origin; /* op and script line, for errors, dumps and profiles */
    const char *label;  /* "mul+add" where it computes several nodes; null: the op's name */
    kernel_id kernel;   /* strings live as long as the lowering */
    uint32_t groups[3];
    int n_params, n_bindings;
    param params[MAX_PARAMS];
    binding bindings[MAX_BINDINGS];
    variant *variants; /* null: the kernel above is the only one */
    /* With something attached: the launch as it was without, which is what the tuner measures. */
    const char *plain;
    int plain_params, plain_bindings;
    uint64_t plain_out; /* bytes of the result that was its last binding; 0: it had none */
    const char *tune_key;
    double flops;
    const struct map_text *map; /* of a launch of plan/map.c: what it can be merged by */
    bool barrier;               /* set by the hazard pass: wait for the launches before */
} launch;

/* Buffer `kept` may be the memory of buffer `input` at a run: each element of it is written where,
 * and after, that of the input was read. */
typedef struct donation {
    int kept, input;
} donation;

typedef struct lowering {
    const dev_caps *caps;
    uint32_t passes; /* of plan_pass */
    arena *mem;      /* strings, launches */
    mare_error *error;
    const node *node;  /* being lowered */
    const char *label; /* of the launches to come */
    VEC(launch *) launches;
    VEC(uint64_t) buffers; /* bytes of each buffer; plan-wide numbering */
    VEC(donation) donations;
} lowering;

/* ---- What ops use ------------------------------------------------------------------------- */

/* A new launch of shader ("reduce/rows.comp") with defines; null when the host has no memory left
 * (the status is in l->error). */
launch *lower_launch(lowering *l, const char *shader, const char *defines);
/* Text that lives as long as the lowering. */
const char *lower_text(lowering *l, const char *fmt, ...) MARE_PRINTF(2, 3);
void launch_spec(launch *x, uint32_t value);
void launch_u32(launch *x, uint32_t value);
void launch_i32(launch *x, int32_t value);
void launch_f32(launch *x, float value);
void launch_dyn(launch *x, const node *n, int dyn);
/* Two words with which shaders/include/divide.glsl divides by d. */
void launch_divisor(launch *x, uint32_t d);
/* Binds all of an operand's elements. The binding starts at a multiple of 256 bytes; the elements
 * between that and the operand's first element come back in *first (callers pass it as a
 * parameter). More than caps.binding bytes, or more bindings than caps.storage_buffers:
 * MARE_E_UNSUPPORTED with the figures. */
mare_status launch_bind(lowering *l, launch *x, const operand *o, access a, uint32_t *first);
/* Adds to a launch, which has all bindings and parameters of its own, the programs that its
 * operands name (null: none). Its shader, and those of its variants, include attach.glsl: they call
 * before() for an element of the input and after() with one of the result, in place of reading and
 * writing them, at their places in row-major order. */
mare_status launch_attach(lowering *l, launch *x, const operand *in, const operand *out);
/* Groups for `n` work items along one axis, folded over two when past the device's limit: the
 * shader asks group_index() of shaders/include/mare.glsl. */
mare_status launch_groups(lowering *l, launch *x, uint64_t groups);
/* Workgroup size for kernels that work with any: the device's limit, at most 256. */
uint32_t lower_workgroup(const lowering *l);
/* A scratch buffer as a contiguous operand. */
operand lower_scratch(lowering *l, mare_dtype t, const shape *s);
/* *out = o as a row-major operand with an offset that is a multiple of 256 bytes: o itself when it
 * is so already, else a copy; constants are filled in. */
mare_status lower_contiguous(lowering *l, const operand *o, operand *out);
bool operand_contiguous(const operand *o); /* row-major, offset a multiple of 256 bytes */
mare_status lower_error(lowering *l);      /* the status in l->error, MARE_E_HOST_MEMORY if none */

/* Launches that compute out of in by themselves, through the op's lower or element. */
mare_status lower_node(lowering *l, const node *n, const operand *in, const operand *out);

/* The elementwise kernel (plan/map.c): out = expr(in[0], in[1], ...) with broadcasting, any
 * strides and dtypes. expr is GLSL over a, b, c, d, e, f, g, h, each converted to `compute`
 * (MARE_F32 or MARE_I32) first; the result is converted to out's dtype. Work over the device's
 * limits is split into several launches. */
mare_status lower_map(lowering *l, const char *expr, mare_dtype compute, const operand *in,
                      int n_in, const operand *out);

#endif
