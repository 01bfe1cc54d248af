/* npy, idx, gzip, pictures and the built-in digits: round trips, hostile and real files. */
#define _POSIX_C_SOURCE 200809L
#include "base/file.h"
#include "base/hash.h"
#include "io/digits.h"
#include "io/idx.h"
#include "io/image.h"
#include "io/npy.h"
#include "io/stream.h"
#include "io_files.h"

#include <limits.h>
#include <zlib.h>

static mare_error err;

/* data as one gzip member, malloc'ed. */
static unsigned char *pack(const void *data, size_t len, size_t *packed) {
    z_stream z = {0};
    cr_assert_eq(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY), Z_OK);
    size_t cap = deflateBound(&z, len);
    unsigned char *out = malloc(cap);
    cr_assert(out);
    z.next_in = (unsigned char *)(uintptr_t)data;
    z.avail_in = (uInt)len;
    z.next_out = out;
    z.avail_out = (uInt)cap;
    cr_assert_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    *packed = cap - z.avail_out;
    deflateEnd(&z);
    return out;
}

static void put_packed(const char *path, const void *data, size_t len) {
    size_t n;
    unsigned char *p = pack(data, len, &n);
    put(path, p, n);
    free(p);
}

/* ---- npy ---------------------------------------------------------------------------------- */

/* A version 1, 2 or 3 file of this header and `data` bytes counting up from 0. */
static void put_npy(const char *path, int version, const char *header, size_t data) {
    unsigned char bytes[4096] = {0x93, 'N', 'U', 'M', 'P', 'Y', (unsigned char)version, 0};
    size_t n = strlen(header), at = 8;
    cr_assert(n + data + 12 < sizeof bytes);
    for (int i = 0; i < (version == 1 ? 2 : 4); i++)
        bytes[at++] = (unsigned char)(n >> 8 * i);
    memcpy(bytes + at, header, n);
    at += n;
    for (size_t i = 0; i < data; i++)
        bytes[at++] = (unsigned char)i;
    put(path, bytes, at);
}

Test(npy, round_trip) {
    static const mare_dtype dtypes[] = {MARE_F32, MARE_F16, MARE_I32, MARE_U8, MARE_I8, MARE_BOOL};
    const shape shapes[] = {shape_of(0), shape_of(1, 7), shape_of(3, 2, 0, 4),
                            shape_of(8, 1, 2, 3, 1, 2, 1, 2, 1)};
    file_name f = scratch("round.npy");
    for (int t = 0; t < 6; t++)
        for (int s = 0; s < 4; s++) {
            io_array a, b;
            cr_assert_eq(io_array_new(&a, dtypes[t], &shapes[s], &err), MARE_OK);
            for (size_t i = 0; i < io_array_bytes(&a); i++)
                ((unsigned char *)a.data)[i] = (unsigned char)(t == 5 ? i & 1 : i * 41);
            cr_assert_eq(npy_write(f.s, &a, &err), MARE_OK, "%s", err.text);
            cr_assert_eq(npy_read(f.s, &b, &err), MARE_OK, "%s", err.text);
            cr_assert(a.dtype == b.dtype && shape_equal(&a.shape, &b.shape));
            cr_assert(memcmp(a.data, b.data, io_array_bytes(&a)) == 0);
            io_array_free(&a);
            io_array_free(&b);
        }
    unlink(f.s);
}

Test(npy, lacks_bf16) {
    file_name f = scratch("bf16.npy");
    uint16_t v = 0x3f80;
    io_array a = {MARE_BF16, shape_of(1, 1), &v};
    cr_assert_eq(npy_write(f.s, &a, &err), MARE_E_DTYPE);
    cr_expect(strstr(err.text, "bf16"), "%s", err.text);
    err.code = MARE_OK;
}

Test(npy, bytes) {
    file_name f = scratch("bytes.npy");
    float v[2] = {1, 2};
    io_array a = {MARE_F32, shape_of(1, 2), v};
    unsigned char *bytes;
    size_t len;
    const char header[] =
        "\x93NUMPY\1\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (2, ), }";
    cr_assert_eq(npy_write(f.s, &a, &err), MARE_OK, "%s", err.text);
    cr_assert_eq(file_read(f.s, 0, (void **)&bytes, &len, &err), MARE_OK);
    cr_assert_eq(len, 128 + 8);
    cr_assert(memcmp(bytes, header, sizeof header - 1) == 0);
    for (size_t i = sizeof header - 1; i < 127; i++)
        cr_assert_eq(bytes[i], ' ');
    cr_assert_eq(bytes[127], '\n');
    cr_assert(memcmp(bytes + 128, v, 8) == 0);
    free(bytes);
    unlink(f.s);
}

Test(npy, fortran_order_and_versions) {
    file_name f = scratch("fortran.npy");
    for (int version = 1; version <= 3; version++) {
        io_array a;
        put_npy(f.s, version, "{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3, 4), }\n",
                24);
        cr_assert_eq(npy_read(f.s, &a, &err), MARE_OK, "%s", err.text);
        for (int i = 0; i < 24; i++) {
            int x = i / 12, y = i / 4 % 3, z = i % 4;
            cr_assert_eq(((unsigned char *)a.data)[i], x + 2 * y + 6 * z);
        }
        io_array_free(&a);
    }
    unlink(f.s);
}

#define NPY(descr, order, dims)                                                                    \
    "{'descr': " descr ", 'fortran_order': " order ", 'shape': " dims ", }\n"

Test(npy, headers) {
    static const struct {
        const char *why, *header;
        int version;
        size_t data;
        mare_status status;
        double second; /* element 1 of a valid file */
    } rows[] = {
        {"valid", NPY("'<i2'", "False", "(2,)"), 1, 4, MARE_OK, 0x0302},
        {"big endian", NPY("'>i2'", "False", "(2,)"), 1, 4, MARE_OK, 0x0203},
        {"double quotes, no last comma",
         "{\"descr\":\"|i1\",\"shape\":(2,1),\"fortran_order\":False}", 1, 2, MARE_OK, 1},
        {"Python 2's long integers", NPY("'|u1'", "False", "(2L, 1L)"), 1, 2, MARE_OK, 1},
        {"i8", NPY("'<i8'", "False", "(2,)"), 1, 16, MARE_E_RANGE, 0},
        {"u1 as bool", NPY("'|b1'", "False", "(3,)"), 1, 3, MARE_E_FORMAT, 0},
        {"complex", NPY("'<c8'", "False", "(1,)"), 1, 8, MARE_E_DTYPE, 0},
        {"objects", NPY("'|O'", "False", "(1,)"), 1, 8, MARE_E_DTYPE, 0},
        {"text", NPY("'<U3'", "False", "(1,)"), 1, 12, MARE_E_DTYPE, 0},
        {"an empty descr", NPY("''", "False", "(1,)"), 1, 1, MARE_E_DTYPE, 0},
        {"records", NPY("[('a', '<f4')]", "False", "(1,)"), 1, 4, MARE_E_DTYPE, 0},
        {"an endless string", "{'descr': '<f4", 1, 4, MARE_E_DTYPE, 0},
        {"version 0", NPY("'|u1'", "False", "(2,)"), 0, 2, MARE_E_FORMAT, 0},
        {"version 4", NPY("'|u1'", "False", "(2,)"), 4, 2, MARE_E_FORMAT, 0},
        {"truncated data", NPY("'<f4'", "False", "(2,)"), 1, 7, MARE_E_FORMAT, 0},
        {"a rest", NPY("'<f4'", "False", "(2,)"), 1, 9, MARE_E_FORMAT, 0},
        {"overflow", NPY("'<f4'", "False", "(4294967296, 4294967296)"), 1, 0, MARE_E_FORMAT, 0},
        {"overflow behind a zero", NPY("'<f4'", "False", "(0, 4294967296, 4294967296)"), 1, 0,
         MARE_E_FORMAT, 0},
        {"a dimension of 30 digits", NPY("'<f4'", "False", "(100000000000000000000000000000,)"), 1,
         0, MARE_E_FORMAT, 0},
        {"larger than the memory", NPY("'<f4'", "False", "(1099511627776,)"), 1, 4, MARE_E_FORMAT,
         0},
        {"negative dimension", NPY("'<f4'", "False", "(-2,)"), 1, 8, MARE_E_FORMAT, 0},
        {"a fraction", NPY("'<f4'", "False", "(2.5,)"), 1, 10, MARE_E_FORMAT, 0},
        {"a shape that is no tuple", NPY("'<f4'", "False", "2"), 1, 8, MARE_E_FORMAT, 0},
        {"an endless tuple", "{'descr': '<f4', 'fortran_order': False, 'shape': (2,", 1, 8,
         MARE_E_FORMAT, 0},
        {"nine dimensions", NPY("'|u1'", "False", "(1,1,1,1,1,1,1,1,1)"), 1, 1, MARE_E_SHAPE, 0},
        {"an order of neither", NPY("'<f4'", "0", "(2,)"), 1, 8, MARE_E_FORMAT, 0},
        {"no shape", "{'descr': '<f4', 'fortran_order': False}", 1, 8, MARE_E_FORMAT, 0},
        {"no descr", "{'fortran_order': False, 'shape': (2,)}", 1, 8, MARE_E_FORMAT, 0},
        {"a key twice", "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (2,)}",
         1, 8, MARE_E_FORMAT, 0},
        {"an unknown key", "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), 'x': 1}", 1, 8,
         MARE_E_FORMAT, 0},
        {"text after the dictionary", NPY("'<f4'", "False", "(2,)") "x", 1, 8, MARE_E_FORMAT, 0},
        {"no dictionary", "hello", 1, 8, MARE_E_FORMAT, 0},
        {"nothing", "", 1, 0, MARE_E_FORMAT, 0},
    };
    file_name f = scratch("header.npy");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        io_array a;
        put_npy(f.s, rows[i].version, rows[i].header, rows[i].data);
        mare_status status = npy_read(f.s, &a, &err);
        cr_assert_eq(status, rows[i].status, "%s: %s: %s", rows[i].why, mare_status_name(status),
                     err.text);
        if (status) {
            cr_assert(strstr(err.text, f.s) && a.data == NULL, "%s: %s", rows[i].why, err.text);
            continue;
        }
        double v[2];
        dtype_unpack(a.dtype, a.data, v, 2);
        cr_assert_eq(v[1], rows[i].second, "%s: %g", rows[i].why, v[1]);
        io_array_free(&a);
    }
    static const unsigned char huge[] = {0x93, 'N', 'U', 'M', 'P', 'Y', 2,
                                         0,    255, 255, 255, 255, '{'};
    io_array a;
    put(f.s, huge, sizeof huge);
    cr_assert_eq(npy_read(f.s, &a, &err), MARE_E_FORMAT);
    put(f.s, huge, 9);
    cr_assert_eq(npy_read(f.s, &a, &err), MARE_E_FORMAT);
    put(f.s, "not npy at all", 14);
    cr_assert_eq(npy_read(f.s, &a, &err), MARE_E_FORMAT);
    unlink(f.s);
}

/* ---- idx and gzip ------------------------------------------------------------------------- */

Test(idx, files) {
    static const struct {
        const char *why;
        unsigned char bytes[48];
        size_t len;
        mare_status status;
        mare_dtype dtype;
        double last; /* the last element of a valid file */
    } rows[] = {
        {"u8", {0, 0, 8, 1, 0, 0, 0, 2, 5, 250}, 10, MARE_OK, MARE_U8, 250},
        {"i8", {0, 0, 9, 1, 0, 0, 0, 2, 5, 250}, 10, MARE_OK, MARE_I8, -6},
        {"i16", {0, 0, 11, 1, 0, 0, 0, 1, 1, 2}, 10, MARE_OK, MARE_I32, 258},
        {"i32", {0, 0, 12, 1, 0, 0, 0, 1, 255, 255, 255, 254}, 12, MARE_OK, MARE_I32, -2},
        {"f32", {0, 0, 13, 1, 0, 0, 0, 1, 0xc0, 0x20, 0, 0}, 12, MARE_OK, MARE_F32, -2.5},
        {"f64", {0, 0, 14, 1, 0, 0, 0, 1, 0xc0, 4}, 16, MARE_OK, MARE_F32, -2.5},
        {"rank 0", {0, 0, 8, 0, 7}, 5, MARE_OK, MARE_U8, 7},
        {"rank 8",
         {0, 0, 8, 8, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0,
          1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 9},
         37,
         MARE_OK,
         MARE_U8,
         9},
        {"rank 9", {0, 0, 8, 9}, 48, MARE_E_SHAPE, 0, 0},
        {"rank 255", {0, 0, 8, 255}, 48, MARE_E_SHAPE, 0, 0},
        {"nothing", {0}, 0, MARE_E_FORMAT, 0, 0},
        {"half a magic", {0, 0, 8}, 3, MARE_E_FORMAT, 0, 0},
        {"half a dimension", {0, 0, 8, 1, 0, 0}, 6, MARE_E_FORMAT, 0, 0},
        {"wrong magic", {1, 0, 8, 1, 0, 0, 0, 1, 5}, 9, MARE_E_FORMAT, 0, 0},
        {"wrong magic too", {0, 1, 8, 1, 0, 0, 0, 1, 5}, 9, MARE_E_FORMAT, 0, 0},
        {"wrong type", {0, 0, 10, 1, 0, 0, 0, 1, 5, 5}, 10, MARE_E_FORMAT, 0, 0},
        {"a size that lies", {0, 0, 8, 1, 0, 0, 0, 3, 5, 6}, 10, MARE_E_FORMAT, 0, 0},
        {"a size that lies hugely", {0, 0, 8, 1, 255, 255, 255, 255, 5}, 9, MARE_E_FORMAT, 0, 0},
        {"sizes that overflow",
         {0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255},
         48,
         MARE_E_FORMAT,
         0,
         0},
        {"trailing garbage", {0, 0, 8, 1, 0, 0, 0, 1, 5, 6}, 10, MARE_E_FORMAT, 0, 0},
    };
    file_name f = scratch("file.idx");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        for (int packed = 0; packed < 2; packed++) {
            io_array a;
            if (packed)
                put_packed(f.s, rows[i].bytes, rows[i].len);
            else
                put(f.s, rows[i].bytes, rows[i].len);
            mare_status status = idx_read(f.s, &a, &err);
            cr_assert_eq(status, rows[i].status, "%s: %s: %s", rows[i].why,
                         mare_status_name(status), err.text);
            if (status) {
                cr_assert(strstr(err.text, f.s) && a.data == NULL, "%s: %s", rows[i].why, err.text);
                continue;
            }
            double v[2];
            int64_t n = shape_count(&a.shape);
            cr_assert(a.dtype == rows[i].dtype && n <= 2, "%s", rows[i].why);
            dtype_unpack(a.dtype, a.data, v, n);
            cr_assert_eq(v[n - 1], rows[i].last, "%s: %g", rows[i].why, v[n - 1]);
            io_array_free(&a);
        }
    unlink(f.s);
}

enum { PIXELS = 40000 };

/* An idx file of PIXELS bytes with some pattern, packed, malloc'ed. */
static unsigned char *packed_idx(size_t *len) {
    static unsigned char plain[8 + PIXELS] = {0, 0, 8, 1, 0, 0, PIXELS >> 8, PIXELS & 255};
    for (int i = 0; i < PIXELS; i++)
        plain[8 + i] = (unsigned char)(i * i / 7);
    return pack(plain, sizeof plain, len);
}

Test(gzip, truncated_at_every_length) {
    size_t len;
    unsigned char *p = packed_idx(&len);
    file_name f = scratch("cut.gz");
    io_array a;
    for (size_t n = 0; n < len; n += n < len - 64 ? len / 97 + 1 : 1) {
        put(f.s, p, n);
        cr_assert_eq(idx_read(f.s, &a, &err), MARE_E_FORMAT, "at %zu: %s", n, err.text);
    }
    put(f.s, p, len);
    cr_assert_eq(idx_read(f.s, &a, &err), MARE_OK, "%s", err.text);
    io_array_free(&a);
    free(p);
    unlink(f.s);
}

Test(gzip, garbage_and_check_sums) {
    size_t len;
    unsigned char *p = packed_idx(&len);
    file_name f = scratch("garbage.gz");
    io_array a;
    p = realloc(p, 2 * len + 16);
    cr_assert(p);
    for (size_t from_end = 1; from_end <= 8; from_end++) { /* check sum and length */
        p[len - from_end] ^= 1;
        put(f.s, p, len);
        cr_assert_eq(idx_read(f.s, &a, &err), MARE_E_FORMAT, "byte %zu: %s", from_end, err.text);
        p[len - from_end] ^= 1;
    }
    memset(p + len, 0, 16);
    for (size_t more = 1; more <= 16; more++) {
        put(f.s, p, len + more);
        cr_assert_eq(idx_read(f.s, &a, &err), MARE_E_FORMAT, "%zu more: %s", more, err.text);
        cr_assert(strstr(err.text, "bytes of garbage"), "%s", err.text);
    }
    memcpy(p + len, p, len); /* a second member: unpacked too, and more than the header tells */
    put(f.s, p, 2 * len);
    cr_assert_eq(idx_read(f.s, &a, &err), MARE_E_FORMAT);
    put(f.s, p, 2 * len - 1);
    void *data;
    size_t n;
    cr_assert_eq(io_unpack(f.s, 1 << 20, &data, &n, &err), MARE_E_FORMAT);
    put(f.s, p, 2 * len);
    cr_assert_eq(io_unpack(f.s, 1 << 20, &data, &n, &err), MARE_OK, "%s", err.text);
    cr_assert_eq(n, 2 * (8 + PIXELS));
    free(data);
    free(p);
    unlink(f.s);
}

/* A file of a few KB that unfolds to MBs, behind a header that asks for little, or for all. */
Test(gzip, bombs) {
    const size_t n = 8 << 20;
    unsigned char *zeros = calloc(1, n);
    cr_assert(zeros);
    zeros[2] = 8, zeros[3] = 1, zeros[7] = 100;
    file_name f = scratch("bomb.gz");
    io_array a;
    void *data;
    size_t len;
    put_packed(f.s, zeros, n);
    cr_assert_eq(idx_read(f.s, &a, &err), MARE_E_FORMAT);
    cr_assert_eq(io_unpack(f.s, n - 1, &data, &len, &err), MARE_E_FORMAT);
    cr_assert_null(data);
    cr_assert_eq(io_unpack(f.s, n, &data, &len, &err), MARE_OK, "%s", err.text);
    cr_assert_eq(len, n);
    free(data);
    zeros[4] = 0xff; /* 4 GB, which a file of 8 KB cannot hold: refused before memory is taken */
    put_packed(f.s, zeros, n);
    cr_assert_eq(idx_read(f.s, &a, &err), MARE_E_FORMAT);
    cr_assert(strstr(err.text, "left in the file"), "%s", err.text);
    free(zeros);
    unlink(f.s);
}

Test(gzip, plain_files_pass) {
    file_name f = scratch("plain");
    for (size_t n = 0; n < 4; n++) {
        void *data;
        size_t len;
        put(f.s, "\x1f\x8a!", n);
        cr_assert_eq(io_unpack(f.s, 3, &data, &len, &err), MARE_OK, "%s", err.text);
        cr_assert(len == n && memcmp(data, "\x1f\x8a!", n) == 0);
        free(data);
    }
    unlink(f.s);
}

Test(idx, real_mnist) {
    static const struct {
        const char *name;
        int rank, n;
    } rows[] = {{"mnist/train-images-idx3-ubyte.gz", 3, 60000},
                {"mnist/train-labels-idx1-ubyte.gz", 1, 60000},
                {"mnist/t10k-images-idx3-ubyte.gz", 3, 10000},
                {"mnist/t10k-labels-idx1-ubyte.gz", 1, 10000}};
    for (int i = 0; i < 4; i++) {
        io_array a;
        cr_assert_eq(idx_read(real_data(rows[i].name).s, &a, &err), MARE_OK, "%s", err.text);
        cr_assert(a.dtype == MARE_U8 && a.shape.rank == rows[i].rank &&
                  a.shape.dim[0] == rows[i].n);
        if (rows[i].rank == 3) cr_assert(a.shape.dim[1] == 28 && a.shape.dim[2] == 28);
        for (int j = 0; rows[i].rank == 1 && j < rows[i].n; j++)
            cr_assert_leq(((unsigned char *)a.data)[j], 9);
        io_array_free(&a);
    }
}

/* ---- Pictures ----------------------------------------------------------------------------- */

Test(image, round_trip) {
    const shape shapes[] = {shape_of(2, 5, 7), shape_of(3, 1, 1, 1), shape_of(3, 28, 33, 3)};
    file_name f = scratch("round.png");
    for (int s = 0; s < 3; s++) {
        io_array a, b;
        cr_assert_eq(io_array_new(&a, MARE_U8, &shapes[s], &err), MARE_OK);
        size_t n = io_array_bytes(&a);
        for (size_t i = 0; i < n; i++)
            ((unsigned char *)a.data)[i] = (unsigned char)(i * i);
        cr_assert_eq(image_write_png(f.s, &a, &err), MARE_OK, "%s", err.text);
        cr_assert_eq(image_read(f.s, 0, &b, &err), MARE_OK, "%s", err.text);
        cr_assert(b.dtype == MARE_U8 && b.shape.rank == 3 && io_array_bytes(&b) == n);
        cr_assert(b.shape.dim[0] == a.shape.dim[0] && b.shape.dim[1] == a.shape.dim[1]);
        cr_assert(memcmp(a.data, b.data, n) == 0);
        io_array_free(&b);
        cr_assert_eq(image_read(f.s, 4, &b, &err), MARE_OK, "%s", err.text);
        cr_assert_eq(b.shape.dim[2], 4);
        io_array_free(&b);
        io_array_free(&a);
    }
    unlink(f.s);
}

Test(image, refused_writes) {
    unsigned char v[16] = {0};
    file_name f = scratch("refused.png");
    const io_array arrays[] = {
        {MARE_F32, shape_of(2, 1, 1), v},       {MARE_U8, shape_of(1, 4), v},
        {MARE_U8, shape_of(3, 2, 2, 2), v},     {MARE_U8, shape_of(4, 1, 2, 2, 1), v},
        {MARE_U8, shape_of(2, 0, 3), v},        {MARE_U8, shape_of(2, 1, 16385), v},
        {MARE_U8, shape_of(2, 16384, 4097), v},
    };
    for (int i = 0; i < 7; i++)
        cr_assert_eq(image_write_png(f.s, &arrays[i], &err), i ? MARE_E_SHAPE : MARE_E_DTYPE);
    cr_assert_not(file_exists(f.s));
    io_array a = {MARE_U8, shape_of(2, 4, 4), v};
    cr_assert_eq(image_write_png("/nowhere/at/all.png", &a, &err), MARE_E_IO);
}

static void put_chunk(unsigned char *p, size_t *at, const char *name, const void *data, size_t n) {
    unsigned char *start = p + *at;
    start[0] = start[1] = 0, start[2] = (unsigned char)(n >> 8), start[3] = (unsigned char)n;
    memcpy(start + 4, name, 4);
    memcpy(start + 8, data, n);
    uLong crc = crc32(0, start + 4, (uInt)n + 4);
    for (int i = 0; i < 4; i++)
        start[8 + n + (size_t)i] = (unsigned char)(crc >> (24 - 8 * i));
    *at += n + 12;
}

/* PNGs with right check sums and wrong content. */
Test(image, hostile_png) {
    static const struct {
        const char *why;
        unsigned char header[13]; /* width, height, depth, colour, 0, filter, interlace */
        size_t data;              /* zero bytes, packed, as pixels */
        mare_status status;
    } rows[] = {
        {"valid", {0, 0, 0, 2, 0, 0, 0, 2, 8, 0, 0, 0, 0}, 6, MARE_OK},
        {"too few pixels", {0, 0, 0, 2, 0, 0, 0, 2, 8, 0, 0, 0, 0}, 5, MARE_E_FORMAT},
        {"no pixels", {0, 0, 0, 2, 0, 0, 0, 2, 8, 0, 0, 0, 0}, 0, MARE_E_FORMAT},
        {"no width", {0, 0, 0, 0, 0, 0, 0, 2, 8, 0, 0, 0, 0}, 6, MARE_E_FORMAT},
        {"a huge side", {0, 1, 0, 0, 0, 0, 0, 1, 8, 0, 0, 0, 0}, 6, MARE_E_FORMAT},
        {"a side of 2^31", {128, 0, 0, 0, 0, 0, 0, 1, 8, 0, 0, 0, 0}, 6, MARE_E_FORMAT},
        {"too many pixels", {0, 0, 64, 0, 0, 0, 64, 0, 8, 0, 0, 0, 0}, 6, MARE_E_FORMAT},
        {"a depth of 3", {0, 0, 0, 2, 0, 0, 0, 2, 3, 0, 0, 0, 0}, 6, MARE_E_FORMAT},
        {"a palette that is missing", {0, 0, 0, 2, 0, 0, 0, 2, 8, 3, 0, 0, 0}, 6, MARE_E_FORMAT},
        {"colour type 5", {0, 0, 0, 2, 0, 0, 0, 2, 8, 5, 0, 0, 0}, 6, MARE_E_FORMAT},
        {"interlace 7", {0, 0, 0, 2, 0, 0, 0, 2, 8, 0, 0, 0, 7}, 6, MARE_E_FORMAT},
    };
    static const unsigned char zeros[64];
    file_name f = scratch("hostile.png");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned char png[512] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'}, packed[128];
        uLong n = sizeof packed;
        size_t at = 8;
        io_array a;
        compress(packed, &n, zeros, rows[i].data);
        put_chunk(png, &at, "IHDR", rows[i].header, 13);
        put_chunk(png, &at, "IDAT", packed, n);
        put_chunk(png, &at, "IEND", "", 0);
        put(f.s, png, at);
        mare_status status = image_read(f.s, 0, &a, &err);
        cr_assert_eq(status, rows[i].status, "%s: %s", rows[i].why, err.text);
        cr_assert(status == MARE_OK || strstr(err.text, f.s));
        io_array_free(&a);
        put(f.s, png, at - 1); /* cut off */
        cr_assert_eq(image_read(f.s, 0, &a, &err), MARE_E_FORMAT);
        png[29] ^= 1; /* a check sum alone: the picture itself would still decode */
        put(f.s, png, at);
        cr_assert_eq(image_read(f.s, 0, &a, &err), MARE_E_FORMAT);
    }
    io_array a;
    put(f.s, "GIF89a", 6);
    cr_assert_eq(image_read(f.s, 0, &a, &err), MARE_E_FORMAT);
    put(f.s, "", 0);
    cr_assert_eq(image_read(f.s, 0, &a, &err), MARE_E_FORMAT);
    cr_assert_eq(image_read(f.s, 5, &a, &err), MARE_E_ARGUMENT);
    unlink(f.s);
}

Test(image, real_pictures) {
    static const struct {
        const char *name;
        int h, w, c;
    } rows[] = {
        {"astronaut.png", 512, 512, 3}, {"chelsea.png", 300, 451, 3},
        {"camera.png", 512, 512, 1},    {"coins.png", 303, 384, 1},
        {"logo.png", 500, 500, 4},      {"color.png", 370, 371, 3},
        {"bw_text.png", 333, 516, 3},   {"rocket.jpg", 427, 640, 3},
        {"retina.jpg", 1411, 1411, 3},  {"palette_color.png", 10, 10, 3},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char name[64];
        io_array a;
        snprintf(name, sizeof name, "images/%s", rows[i].name);
        cr_assert_eq(image_read(real_data(name).s, 0, &a, &err), MARE_OK, "%s", err.text);
        const shape want = shape_of(3, rows[i].h, rows[i].w, rows[i].c);
        char buf[SHAPE_TEXT];
        cr_assert(shape_equal(&a.shape, &want), "%s: %s", name, shape_text(&a.shape, buf));
        io_array_free(&a);
    }
}

/* ---- Digits ------------------------------------------------------------------------------- */

Test(digits, same_everywhere) {
    io_array images, labels, more, more_labels;
    cr_assert_eq(digits_make(1, false, 1000, &images, &labels, &err), MARE_OK, "%s", err.text);
    uint64_t hash = hash_bytes(images.data, 1000 * 784, hash_bytes(labels.data, 1000, 0));
    cr_assert_eq(hash, UINT64_C(0x5cbe4aae7b7d3b6c), "the digits of seed 1 changed: %016llx",
                 (unsigned long long)hash);
    int count[10] = {0};
    for (int i = 0; i < 1000; i++) {
        const unsigned char *p = (unsigned char *)images.data + i * 784;
        int label = ((unsigned char *)labels.data)[i], ink = 0, edge = 0;
        cr_assert_leq(label, 9);
        count[label]++;
        for (int j = 0; j < 784; j++) {
            ink += p[j] > 128;
            edge += p[j] > 128 && (j < 28 || j >= 27 * 28 || j % 28 == 0 || j % 28 == 27);
        }
        cr_assert(ink > 15 && ink < 300 && edge < 10, "image %d: %d, %d", i, ink, edge);
    }
    for (int i = 0; i < 10; i++)
        cr_assert(count[i] > 60 && count[i] < 150, "%d: %d", i, count[i]);
    /* A longer set starts like a shorter one; another seed and the test set differ. */
    cr_assert_eq(digits_make(1, false, 1100, &more, &more_labels, &err), MARE_OK);
    cr_assert(memcmp(images.data, more.data, 1000 * 784) == 0);
    io_array_free(&more);
    io_array_free(&more_labels);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(digits_make((uint64_t)(2 - i), i == 1, 1000, &more, &more_labels, &err),
                     MARE_OK);
        cr_assert(memcmp(images.data, more.data, 1000 * 784) != 0);
        io_array_free(&more);
        io_array_free(&more_labels);
    }
    io_array_free(&images);
    io_array_free(&labels);
}

/* The nearest of 2,000 training images has the right label for most test images. */
Test(digits, can_be_learned) {
    enum { TRAIN = 2000, TESTS = 100 };
    io_array x, y, tx, ty;
    cr_assert_eq(digits_make(3, false, TRAIN, &x, &y, &err), MARE_OK);
    cr_assert_eq(digits_make(3, true, TESTS, &tx, &ty, &err), MARE_OK);
    int right = 0;
    for (int i = 0; i < TESTS; i++) {
        const unsigned char *p = (unsigned char *)tx.data + i * 784;
        long best = LONG_MAX;
        int label = -1;
        for (int j = 0; j < TRAIN; j++) {
            const unsigned char *q = (unsigned char *)x.data + j * 784;
            long d = 0;
            for (int k = 0; k < 784; k++)
                d += (p[k] - q[k]) * (p[k] - q[k]);
            if (d < best) best = d, label = ((unsigned char *)y.data)[j];
        }
        right += label == ((unsigned char *)ty.data)[i];
    }
    cr_assert_geq(right, 90);
    io_array_free(&x);
    io_array_free(&y);
    io_array_free(&tx);
    io_array_free(&ty);
}

Test(digits, refused) {
    io_array x, y;
    cr_assert_eq(digits_make(1, false, -1, &x, &y, &err), MARE_E_ARGUMENT);
    cr_assert_eq(digits_make(1, false, 0, &x, &y, &err), MARE_OK);
    io_array_free(&x);
    io_array_free(&y);
}
