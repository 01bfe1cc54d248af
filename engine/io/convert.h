/* Element types of files, and how they become Mare's.
 *
 * f32, f16, bf16, i32, i8, u8 and bool are kept. f64 becomes f32, rounded to nearest. i16 and u16
 * become i32 exactly; u32, i64 and u64 become i32 when every value fits.
 * A value that does not fit is MARE_E_RANGE, a boolean that is not 0 or 1 is MARE_E_FORMAT. */
#ifndef MARE_IO_CONVERT_H
#define MARE_IO_CONVERT_H

#include "io/io.h"
#include "io/stream.h"

typedef enum io_type {
    IO_BOOL,
    IO_U8,
    IO_I8,
    IO_U16,
    IO_I16,
    IO_U32,
    IO_I32,
    IO_U64,
    IO_I64,
    IO_F16,
    IO_BF16,
    IO_F32,
    IO_F64,
    IO_TYPES
} io_type;

size_t io_type_size(io_type t);
const char *io_type_name(io_type t); /* "F32", as safetensors spells it */
mare_dtype io_type_dtype(io_type t); /* what it becomes */

/* The next array out of s: makes a, of shape sh, from elements of type t. `what` names it in
 * errors. Memory is taken only when the stream can hold that many bytes. */
mare_status io_read_array(io_stream *s, io_type t, bool big_endian, const shape *sh,
                          const char *what, io_array *a, mare_error *e);

#endif
