#include "io/npy.h"

#include "base/text.h"
#include "io/convert.h"
#include "io/stream.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char magic[6] = {'\x93', 'N', 'U', 'M', 'P', 'Y'};
enum { MAX_HEADER = 1 << 20 };

static const char *const spelled[IO_TYPES] = {
    [IO_BOOL] = "b1", [IO_U8] = "u1",  [IO_I8] = "i1",  [IO_U16] = "u2",
    [IO_I16] = "i2",  [IO_U32] = "u4", [IO_I32] = "i4", [IO_U64] = "u8",
    [IO_I64] = "i8",  [IO_F16] = "f2", [IO_F32] = "f4", [IO_F64] = "f8",
};

/* The header: a Python dictionary with the keys descr, fortran_order and shape. */
typedef struct header {
    const char *path, *at;
    mare_error *e;
    bool has_descr, has_order, has_shape;
    io_type type;
    bool big_endian, fortran;
    shape shape;
} header;

static mare_status malformed(const header *h, const char *why) {
    return error_set(h->e, MARE_E_FORMAT, "%s: malformed npy header: %s", h->path, why);
}

static bool accept(header *h, const char *token) {
    while (*h->at && strchr(" \t\r\n", *h->at))
        h->at++;
    size_t n = strlen(token);
    if (strncmp(h->at, token, n) != 0) return false;
    h->at += n;
    return true;
}

/* A Python string without escapes, cut to the buffer; false when there is none. */
static bool accept_string(header *h, char *out, size_t size) {
    char quote = accept(h, "'") ? '\'' : accept(h, "\"") ? '"' : 0;
    size_t n = 0;
    if (!quote) return false;
    for (; *h->at != quote; h->at++) {
        if (*h->at == 0 || *h->at == '\\') return false;
        if (n + 1 < size) out[n++] = *h->at;
    }
    h->at++;
    out[n] = 0;
    return true;
}

static mare_status parse_descr(header *h) {
    char name[32];
    if (!accept_string(h, name, sizeof name))
        return error_set(h->e, MARE_E_DTYPE,
                         "%s: records and other structured types are no tensors", h->path);
    for (int t = 0; t < IO_TYPES; t++) {
        if (!spelled[t] || !strchr("<>=|", name[0]) || strcmp(name + 1, spelled[t]) != 0) continue;
        h->type = (io_type)t;
        h->big_endian = name[0] == '>';
        return MARE_OK;
    }
    char label[IO_LABEL];
    return error_set(h->e, MARE_E_DTYPE, "%s: %s is no element type of a tensor", h->path,
                     io_label(label, "descr", name));
}

static mare_status parse_order(header *h) {
    h->fortran = accept(h, "True");
    if (!h->fortran && !accept(h, "False"))
        return malformed(h, "fortran_order is neither True nor False");
    return MARE_OK;
}

static mare_status parse_shape(header *h) {
    if (!accept(h, "(")) return malformed(h, "shape is no tuple");
    while (!accept(h, ")")) {
        int64_t v = 0;
        if (*h->at < '0' || *h->at > '9') return malformed(h, "a dimension is no whole number");
        for (; *h->at >= '0' && *h->at <= '9'; h->at++) {
            if (v > (INT64_MAX - 9) / 10) return malformed(h, "a dimension overflows");
            v = v * 10 + (*h->at - '0');
        }
        accept(h, "L"); /* Python 2 wrote long integers so */
        if (h->shape.rank == MAX_DIMS)
            return error_set(h->e, MARE_E_SHAPE,
                             "%s has more than the %d dimensions that Mare knows", h->path,
                             MAX_DIMS);
        h->shape.dim[h->shape.rank++] = v;
        if (accept(h, ",")) continue;
        if (!accept(h, ")")) return malformed(h, "shape is no tuple");
        break;
    }
    return MARE_OK;
}

static mare_status parse_header(header *h) {
    static const struct {
        const char *key;
        size_t seen;
        mare_status (*parse)(header *h);
    } keys[] = {
        {"descr", offsetof(header, has_descr), parse_descr},
        {"fortran_order", offsetof(header, has_order), parse_order},
        {"shape", offsetof(header, has_shape), parse_shape},
    };
    if (!accept(h, "{")) return malformed(h, "it is no dictionary");
    while (!accept(h, "}")) {
        char key[32];
        size_t k = 0;
        if (!accept_string(h, key, sizeof key) || !accept(h, ":"))
            return malformed(h, "a key is missing");
        while (k < 3 && strcmp(key, keys[k].key) != 0)
            k++;
        if (k == 3) return malformed(h, "an unknown key");
        bool *seen = (bool *)((char *)h + keys[k].seen);
        if (*seen) return malformed(h, "a key is there twice");
        *seen = true;
        accept(h, "");
        mare_status status = keys[k].parse(h);
        if (status) return status;
        if (accept(h, ",")) continue;
        if (!accept(h, "}")) return malformed(h, "the dictionary does not end");
        break;
    }
    accept(h, "");
    if (*h->at) return malformed(h, "text follows the dictionary");
    if (!h->has_descr || !h->has_order || !h->has_shape)
        return malformed(h, "descr, fortran_order or shape is missing");
    return MARE_OK;
}

static mare_status read_header(io_stream *s, header *h) {
    unsigned char start[12];
    mare_status status = io_stream_read(s, start, 8, "the npy header", h->e);
    if (status) return status;
    if (memcmp(start, magic, sizeof magic) != 0)
        return error_set(h->e, MARE_E_FORMAT, "%s is no npy file", h->path);
    if (start[6] < 1 || start[6] > 3)
        return error_set(h->e, MARE_E_FORMAT, "%s has the unknown npy version %d.%d", h->path,
                         start[6], start[7]);
    size_t bytes = start[6] == 1 ? 2 : 4, n = 0;
    if ((status = io_stream_read(s, start + 8, bytes, "the npy header", h->e))) return status;
    for (size_t i = bytes; i-- > 0;)
        n = n << 8 | start[8 + i];
    if (n > MAX_HEADER || n > io_stream_left(s))
        return error_set(h->e, MARE_E_FORMAT, "%s: a header of %zu bytes is not possible here",
                         h->path, n);
    char *chars = malloc(n + 1);
    if (!chars) return error_no_memory(h->e, n + 1);
    status = io_stream_read(s, chars, n, "the npy header", h->e);
    chars[n] = 0;
    h->at = chars;
    if (!status && memchr(chars, 0, n)) status = malformed(h, "it holds a zero byte");
    if (!status) status = parse_header(h);
    free(chars);
    return status;
}

/* a holds the elements of shape's reversal: puts them into row-major order of shape. */
static mare_status transpose(io_array *a, const shape *sh, mare_error *e) {
    io_array t;
    mare_status status = io_array_new(&t, a->dtype, sh, e);
    if (status) return status;
    size_t size = mare_dtype_size(a->dtype), count = (size_t)shape_count(sh);
    int64_t stride[MAX_DIMS] = {0}, at[MAX_DIMS] = {0}, from = 0;
    for (int64_t i = 0, n = 1; i < sh->rank; n *= sh->dim[i], i++)
        stride[i] = n;
    for (size_t i = 0; i < count; i++) {
        memcpy((char *)t.data + i * size, (char *)a->data + (size_t)from * size, size);
        for (int d = sh->rank - 1; d >= 0; d--) {
            from += stride[d];
            if (++at[d] < sh->dim[d]) break;
            from -= stride[d] * sh->dim[d];
            at[d] = 0;
        }
    }
    io_array_free(a);
    *a = t;
    return MARE_OK;
}

mare_status npy_read(const char *path, io_array *out, mare_error *e) {
    memset(out, 0, sizeof *out);
    io_stream *s;
    mare_status status = io_stream_open(path, true, &s, e);
    if (status) return status;
    header h = {.path = path, .e = e};
    status = read_header(s, &h);
    if (!status) {
        shape file = h.shape;
        for (int i = 0; h.fortran && i < file.rank; i++)
            file.dim[i] = h.shape.dim[file.rank - 1 - i];
        status = io_read_array(s, h.type, h.big_endian, &file, "the array", out, e);
    }
    if (!status) status = io_stream_end(s, e);
    if (!status && h.fortran && h.shape.rank > 1) status = transpose(out, &h.shape, e);
    io_stream_close(s);
    if (status) io_array_free(out);
    return status;
}

mare_status npy_write(const char *path, const io_array *a, mare_error *e) {
    static const char *const descr[MARE_DTYPES] = {
        [MARE_F32] = "<f4", [MARE_F16] = "<f2",  [MARE_I32] = "<i4",
        [MARE_U8] = "|u1",  [MARE_BOOL] = "|b1", [MARE_I8] = "|i1",
    };
    if (!descr[a->dtype])
        return error_set(e, MARE_E_DTYPE, "%s: npy files hold no %s; cast it first", path,
                         mare_dtype_name(a->dtype));
    text t = {0};
    text_bytes(&t, magic, sizeof magic);
    text_bytes(&t, "\1\0\0\0", 4);
    text_add(&t, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr[a->dtype]);
    for (int i = 0; i < a->shape.rank; i++)
        text_add(&t, "%" PRId64 ", ", a->shape.dim[i]);
    text_add(&t, "), }");
    /* Blanks and a line end, so that the data starts at a multiple of 64. */
    while (!t.failed && t.len % 64 != 63)
        text_add(&t, " ");
    text_add(&t, "\n");
    io_out out;
    mare_status status = t.failed ? error_no_memory(e, t.len) : io_out_open(&out, path, e);
    if (!status) {
        t.data[8] = (char)((t.len - 10) & 255);
        t.data[9] = (char)((t.len - 10) >> 8);
        io_out_bytes(&out, t.data, t.len);
        io_out_bytes(&out, a->data, io_array_bytes(a));
        status = io_out_close(&out, true, e);
    }
    text_free(&t);
    return status;
}
