/* Kernels that a program brings along: GLSL over named tensors and numbers, as an op of its own. */
#ifndef MARE_OPS_USER_KERNEL_H
#define MARE_OPS_USER_KERNEL_H

#include "graph/graph.h"
#include "kernel/kernel.h"

/* A named tensor of a kernel; its elements are f32 or i32. */
typedef struct user_tensor {
    const char *name;
    mare_dtype dtype;
} user_tensor;

typedef struct user_kernel {
    op op; /* first, so that a node's op leads to its kernel */
    int n_in, n_out, n_numbers;
    user_tensor in[MARE_KERNEL_INPUTS], out[MARE_KERNEL_OUTPUTS];
    const char *numbers[MARE_KERNEL_NUMBERS];
    const char *glsl;   /* as it was given */
    uint32_t workgroup; /* invocations; 0: the device's choice */
    const char *text;   /* the whole shader */
    arena mem;          /* all strings */
} user_kernel;

/* Copies `given` (op.name, in, out, numbers, glsl, workgroup) and writes the shader: the interface
 * that is documented at mare_kernel_create(), and glsl. Null after an error. */
user_kernel *user_kernel_new(graph *g, const user_kernel *given);
void user_kernel_free(user_kernel *k); /* null is allowed */
bool user_kernel_same(const user_kernel *a, const user_kernel *given);
/* What the kernel layer compiles, for a device with these capabilities; false after an error, where
 * they do not do for it. */
bool user_kernel_id(graph *g, const user_kernel *k, const dev_caps *caps, kernel_id *out);

/* Nodes of the results. in: of any dtype of the slot's class (floats, integers). threads 0: one for
 * each element of the first result. False after an error. */
bool op_user_kernel(graph *g, const user_kernel *k, node *const *in, const double *numbers,
                    const shape *shapes, uint64_t threads, node **out);

#endif
