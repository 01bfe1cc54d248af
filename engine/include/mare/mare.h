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

#ifdef __cplusplus
}
#endif
#endif
