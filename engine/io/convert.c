#include "io/convert.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Files and tensors share their bytes without swapping on every machine that runs Vulkan. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "a little-endian machine is assumed");

static const struct {
    const char *name;
    size_t size;
    mare_dtype dtype;
    bool native; /* the bytes are kept */
} types[IO_TYPES] = {
    [IO_BOOL] = {"BOOL", 1, MARE_BOOL, true}, [IO_U8] = {"U8", 1, MARE_U8, true},
    [IO_I8] = {"I8", 1, MARE_I8, true},       [IO_U16] = {"U16", 2, MARE_I32, false},
    [IO_I16] = {"I16", 2, MARE_I32, false},   [IO_U32] = {"U32", 4, MARE_I32, false},
    [IO_I32] = {"I32", 4, MARE_I32, true},    [IO_U64] = {"U64", 8, MARE_I32, false},
    [IO_I64] = {"I64", 8, MARE_I32, false},   [IO_F16] = {"F16", 2, MARE_F16, true},
    [IO_BF16] = {"BF16", 2, MARE_BF16, true}, [IO_F32] = {"F32", 4, MARE_F32, true},
    [IO_F64] = {"F64", 8, MARE_F32, false},
};

size_t io_type_size(io_type t) {
    return types[t].size;
}

const char *io_type_name(io_type t) {
    return types[t].name;
}

mare_dtype io_type_dtype(io_type t) {
    return types[t].dtype;
}

static void swap_bytes(unsigned char *p, size_t size, size_t n) {
    if (size == 1) return;
    for (size_t i = 0; i < n; i++, p += size)
        for (size_t j = 0; j < size / 2; j++) {
            unsigned char c = p[j];
            p[j] = p[size - 1 - j];
            p[size - 1 - j] = c;
        }
}

/* Element i of in as an integer; of U64, values over INT64_MAX stay far out of range. */
static int64_t load_integer(io_type t, const unsigned char *in, size_t i) {
    switch (t) {
    case IO_U16: {
        uint16_t v;
        memcpy(&v, in + 2 * i, 2);
        return v;
    }
    case IO_I16: {
        int16_t v;
        memcpy(&v, in + 2 * i, 2);
        return v;
    }
    case IO_U32: {
        uint32_t v;
        memcpy(&v, in + 4 * i, 4);
        return v;
    }
    case IO_U64: {
        uint64_t v;
        memcpy(&v, in + 8 * i, 8);
        return v > INT64_MAX ? INT64_MAX : (int64_t)v;
    }
    default: {
        int64_t v;
        memcpy(&v, in + 8 * i, 8);
        return v;
    }
    }
}

static bool to_i32(io_type t, const unsigned char *in, int32_t *out, size_t n, int64_t *bad) {
    for (size_t i = 0; i < n; i++) {
        int64_t v = load_integer(t, in, i);
        if (v < INT32_MIN || v > INT32_MAX) {
            *bad = v;
            return false;
        }
        out[i] = (int32_t)v;
    }
    return true;
}

static bool to_f32(const unsigned char *in, float *out, size_t n, double *bad) {
    for (size_t i = 0; i < n; i++) {
        double v;
        memcpy(&v, in + 8 * i, 8);
        /* What rounds past the largest f32, and is no infinity itself. */
        if (isfinite(v) && fabs(v) >= 0x1.ffffffp127) {
            *bad = v;
            return false;
        }
        out[i] = (float)v;
    }
    return true;
}

static mare_status convert(io_type t, const unsigned char *in, void *out, size_t n,
                           const char *path, const char *what, mare_error *e) {
    int64_t integer = 0;
    double real = 0;
    if (types[t].dtype == MARE_F32) {
        if (to_f32(in, out, n, &real)) return MARE_OK;
        return error_set(e, MARE_E_RANGE, "%s: %s holds %g, which no f32 can hold", path, what,
                         real);
    }
    if (to_i32(t, in, out, n, &integer)) return MARE_OK;
    return error_set(e, MARE_E_RANGE,
                     "%s: %s holds the %s value %" PRId64 ", which an i32 cannot hold", path, what,
                     types[t].name, integer);
}

static mare_status read_elements(io_stream *s, io_type t, bool big_endian, void *out, size_t n,
                                 const char *what, mare_error *e) {
    size_t size = types[t].size;
    const char *path = io_stream_path(s);
    mare_status status = MARE_OK;
    if (types[t].native) {
        unsigned char *bytes = out;
        if ((status = io_stream_read(s, out, n * size, what, e))) return status;
        if (big_endian) swap_bytes(out, size, n);
        for (size_t i = 0; t == IO_BOOL && i < n; i++)
            if (bytes[i] > 1)
                return error_set(e, MARE_E_FORMAT, "%s: %s holds the boolean %d, not 0 or 1", path,
                                 what, bytes[i]);
        return MARE_OK;
    }
    enum { CHUNK = 8192 };
    unsigned char *in = malloc(CHUNK * 8);
    if (!in) return error_no_memory(e, CHUNK * 8);
    for (size_t i = 0; i < n && !status; i += CHUNK) {
        size_t part = n - i < CHUNK ? n - i : CHUNK;
        if ((status = io_stream_read(s, in, part * size, what, e))) break;
        if (big_endian) swap_bytes(in, size, part);
        status = convert(t, in, (char *)out + 4 * i, part, path, what, e);
    }
    free(in);
    return status;
}

mare_status io_read_array(io_stream *s, io_type t, bool big_endian, const shape *sh,
                          const char *what, io_array *a, mare_error *e) {
    size_t bytes;
    const char *path = io_stream_path(s);
    char buf[SHAPE_TEXT];
    memset(a, 0, sizeof *a);
    if (!io_shape_bytes(sh, types[t].size, &bytes))
        return error_set(e, MARE_E_FORMAT, "%s: %s has the impossible shape %s", path, what,
                         shape_text(sh, buf));
    if (bytes > io_stream_left(s))
        return error_set(e, MARE_E_FORMAT,
                         "%s: %s of shape %s needs %zu bytes, more than are left in the file", path,
                         what, shape_text(sh, buf), bytes);
    mare_status status = io_array_new(a, types[t].dtype, sh, e);
    if (!status) status = read_elements(s, t, big_endian, a->data, bytes / types[t].size, what, e);
    if (status) io_array_free(a);
    return status;
}
