/* safetensors: round trips, the bytes that other programs see, hostile files. */
#define _POSIX_C_SOURCE 200809L
#include "base/file.h"
#include "io/safetensors.h"
#include "io_files.h"

#include <math.h>
#include <signal.h>
#include <sys/resource.h>

static mare_error err;

/* header length, JSON, then `data` bytes counting up from 0. */
static void put_tensors(const char *path, const char *json, size_t data) {
    size_t n = strlen(json);
    unsigned char *bytes = malloc(8 + n + data);
    cr_assert(bytes);
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(n >> 8 * i);
    memcpy(bytes + 8, json, n);
    for (size_t i = 0; i < data; i++)
        bytes[8 + n + i] = (unsigned char)i;
    put(path, bytes, 8 + n + data);
    free(bytes);
}

static io_array array(mare_dtype dtype, shape s) {
    io_array a;
    cr_assert_eq(io_array_new(&a, dtype, &s, &err), MARE_OK, "%s", err.text);
    for (size_t i = 0; i < io_array_bytes(&a); i++)
        ((unsigned char *)a.data)[i] = (unsigned char)(dtype == MARE_BOOL ? i & 1 : i * 37);
    return a;
}

static void same_array(const io_array *a, const io_array *b) {
    cr_assert_eq(a->dtype, b->dtype);
    cr_assert(shape_equal(&a->shape, &b->shape));
    cr_assert(memcmp(a->data, b->data, io_array_bytes(a)) == 0);
}

Test(safetensors, round_trip) {
    file_name f = scratch("round.safetensors");
    io_named items[] = {
        {"layer.weight", array(MARE_F32, shape_of(2, 3, 5))},
        {"z.mask", array(MARE_BOOL, shape_of(1, 7))},
        {"scalar", array(MARE_I32, shape_of(0))},
        {"empty", array(MARE_F32, shape_of(3, 2, 0, 4))},
        {"half", array(MARE_F16, shape_of(1, 3))},
        {"bfloat", array(MARE_BF16, shape_of(1, 5))},
        {"signed", array(MARE_I8, shape_of(2, 1, 3))},
        {"bytes \"quoted\" \\ \n \xc3\xa9", array(MARE_U8, shape_of(2, 1, 3))},
        {"", array(MARE_F32, shape_of(8, 1, 2, 1, 2, 1, 2, 1, 2))},
    };
    const size_t n = sizeof items / sizeof items[0];
    io_note notes[] = {{"format", "mare"}, {"epoch \"1\"", "line\nline\t\x01"}, {"", ""}};
    cr_assert_eq(safetensors_write(f.s, items, n, notes, 3, &err), MARE_OK, "%s", err.text);
    io_bundle b;
    cr_assert_eq(safetensors_read(f.s, &b, &err), MARE_OK, "%s", err.text);
    cr_assert_eq(b.count, n);
    for (size_t i = 0; i < n; i++) {
        const io_array *a = io_bundle_find(&b, items[i].name);
        cr_assert(a, "no %s", items[i].name);
        same_array(a, &items[i].array);
        io_array_free(&items[i].array);
    }
    cr_assert_null(io_bundle_find(&b, "absent"));
    cr_assert_eq(b.note_count, 3);
    for (int i = 0; i < 3; i++)
        cr_assert_str_eq(io_bundle_note(&b, notes[i].key), notes[i].value);
    cr_assert_null(io_bundle_note(&b, "absent"));
    io_bundle_free(&b);
    unlink(f.s);
}

/* Byte for byte what the format's description asks for. */
Test(safetensors, bytes) {
    file_name f = scratch("bytes.safetensors");
    unsigned char u8[3] = {1, 2, 3};
    float f32[2] = {1, -2};
    io_named items[] = {{"a", {MARE_U8, shape_of(1, 3), u8}},
                        {"b", {MARE_F32, shape_of(2, 2, 1), f32}}};
    io_note note = {"k", "v"};
    const char header[] = "{\"__metadata__\":{\"k\":\"v\"},"
                          "\"b\":{\"dtype\":\"F32\",\"shape\":[2,1],\"data_offsets\":[0,8]},"
                          "\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[8,11]}}";
    size_t padded = (sizeof header - 1 + 7) / 8 * 8, len;
    unsigned char *bytes;
    cr_assert_eq(safetensors_write(f.s, items, 2, &note, 1, &err), MARE_OK, "%s", err.text);
    cr_assert_eq(file_read(f.s, 0, (void **)&bytes, &len, &err), MARE_OK);
    cr_assert_eq(len, 8 + padded + 11);
    const unsigned char length[8] = {(unsigned char)padded};
    cr_assert(memcmp(bytes, length, 8) == 0);
    cr_assert(memcmp(bytes + 8, header, sizeof header - 1) == 0);
    for (size_t i = sizeof header - 1; i < padded; i++)
        cr_assert_eq(bytes[8 + i], ' ');
    cr_assert(memcmp(bytes + 8 + padded, f32, 8) == 0);
    cr_assert(memcmp(bytes + 8 + padded + 8, u8, 3) == 0);
    free(bytes);
    unlink(f.s);
}

Test(safetensors, nothing_at_all) {
    file_name f = scratch("nothing.safetensors");
    io_bundle b;
    cr_assert_eq(safetensors_write(f.s, NULL, 0, NULL, 0, &err), MARE_OK, "%s", err.text);
    cr_assert_eq(safetensors_read(f.s, &b, &err), MARE_OK, "%s", err.text);
    cr_assert_eq(b.count + b.note_count, 0);
    io_bundle_free(&b);
    unlink(f.s);
}

/* Element types that Mare has not, and how they come in. */
Test(safetensors, conversions) {
    static const struct {
        const char *dtype;
        int size;
        uint64_t bits;
        mare_status status;
        mare_dtype becomes;
        double value;
    } rows[] = {
        {"I64", 8, (uint64_t)-5, MARE_OK, MARE_I32, -5},
        {"I64", 8, 2147483647, MARE_OK, MARE_I32, 2147483647},
        {"I64", 8, (uint64_t)INT32_MIN, MARE_OK, MARE_I32, INT32_MIN},
        {"I64", 8, 2147483648u, MARE_E_RANGE, MARE_I32, 0},
        {"I64", 8, (uint64_t)INT32_MIN - 1, MARE_E_RANGE, MARE_I32, 0},
        {"U64", 8, 7, MARE_OK, MARE_I32, 7},
        {"U64", 8, UINT64_MAX, MARE_E_RANGE, MARE_I32, 0},
        {"U32", 4, 2147483647, MARE_OK, MARE_I32, 2147483647},
        {"U32", 4, 2147483648u, MARE_E_RANGE, MARE_I32, 0},
        {"I32", 4, 0xffffffff, MARE_OK, MARE_I32, -1},
        {"I16", 2, 0x8000, MARE_OK, MARE_I32, -32768},
        {"U16", 2, 0xffff, MARE_OK, MARE_I32, 65535},
        {"I8", 1, 0x80, MARE_OK, MARE_I8, -128},
        {"U8", 1, 0x80, MARE_OK, MARE_U8, 128},
        {"BOOL", 1, 1, MARE_OK, MARE_BOOL, 1},
        {"BOOL", 1, 2, MARE_E_FORMAT, MARE_BOOL, 0},
        {"BF16", 2, 0xc020, MARE_OK, MARE_BF16, -2.5},
        {"F16", 2, 0xc100, MARE_OK, MARE_F16, -2.5},
        {"F32", 4, 0xc0200000, MARE_OK, MARE_F32, -2.5},
        {"F64", 8, 0xc004000000000000, MARE_OK, MARE_F32, -2.5},
        {"F64", 8, 0x3ff0000010000000, MARE_OK, MARE_F32, 1},              /* a tie, to even */
        {"F64", 8, 0x47efffffe0000000, MARE_OK, MARE_F32, 0x1.fffffep127}, /* the largest f32 */
        {"F64", 8, 0x47effffff0000000, MARE_E_RANGE, MARE_F32, 0},
        {"F64", 8, 0x7ff0000000000000, MARE_OK, MARE_F32, (double)INFINITY},
        {"F8_E4M3", 1, 0, MARE_E_FORMAT, MARE_F32, 0},
    };
    file_name f = scratch("convert.safetensors");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned char bytes[160] = {0};
        int n = snprintf((char *)bytes + 8, sizeof bytes - 8,
                         "{\"x\":{\"dtype\":\"%s\",\"shape\":[],\"data_offsets\":[0,%d]}}",
                         rows[i].dtype, rows[i].size);
        bytes[0] = (unsigned char)n;
        memcpy(bytes + 8 + n, &rows[i].bits, (size_t)rows[i].size);
        put(f.s, bytes, (size_t)(8 + n + rows[i].size));
        io_bundle b;
        mare_status status = safetensors_read(f.s, &b, &err);
        cr_assert_eq(status, rows[i].status, "row %zu: %s: %s", i, mare_status_name(status),
                     err.text);
        if (status) {
            cr_assert(strstr(err.text, f.s) && strstr(err.text, "\"x\""), "row %zu: %s", i,
                      err.text);
            cr_assert(b.items == NULL && b.notes == NULL);
            continue;
        }
        double v;
        const io_array *a = io_bundle_find(&b, "x");
        cr_assert_eq(a->dtype, rows[i].becomes, "row %zu", i);
        cr_assert_eq(a->shape.rank, 0);
        dtype_unpack(a->dtype, a->data, &v, 1);
        cr_assert_eq(v, rows[i].value, "row %zu: %g", i, v);
        io_bundle_free(&b);
    }
    unlink(f.s);
}

#define X(dtype, dims, offsets)                                                                    \
    "\"x\":{\"dtype\":" dtype ",\"shape\":" dims ",\"data_offsets\":" offsets "}"
#define GOOD X("\"F32\"", "[2]", "[0,8]")

Test(safetensors, hostile_headers) {
    static const struct {
        const char *why, *json;
        size_t data;
        mare_status status;
        bool names_tensor;
    } rows[] = {
        {"valid, so that the others mean something", "{" GOOD "}", 8, MARE_OK, false},
        {"blanks after the JSON", "{" GOOD "}  \n", 8, MARE_OK, false},
        {"further members are ignored",
         "{\"x\":{\"more\":[1],\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, MARE_OK,
         false},
        {"not JSON", "{\"x\":", 8, MARE_E_FORMAT, false},
        {"an array", "[1,2,3]", 8, MARE_E_FORMAT, false},
        {"text after the JSON", "{" GOOD "} x", 8, MARE_E_FORMAT, false},
        {"two objects", "{" GOOD "}{}", 8, MARE_E_FORMAT, false},
        {"a blank first", " {" GOOD "}", 8, MARE_E_FORMAT, false},
        {"invalid UTF-8", "{\"\xff\":{}," GOOD "}", 8, MARE_E_FORMAT, false},
        {"overlong UTF-8", "{\"\xc0\x80\":{}," GOOD "}", 8, MARE_E_FORMAT, false},
        {"a surrogate in UTF-8", "{\"\xed\xa0\x80\":{}," GOOD "}", 8, MARE_E_FORMAT, false},
        {"a zero byte in a name",
         "{\"x\\u0000y\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
         MARE_E_FORMAT, false},
        {"a name that is no string", "{1:{}," GOOD "}", 8, MARE_E_FORMAT, false},
        {"a NaN dimension", "{" X("\"F32\"", "[NaN]", "[0,8]") "}", 8, MARE_E_FORMAT, false},
        {"an infinite dimension", "{" X("\"F32\"", "[1e999]", "[0,8]") "}", 8, MARE_E_FORMAT, true},
        {"a fraction", "{" X("\"F32\"", "[2.5]", "[0,10]") "}", 10, MARE_E_FORMAT, true},
        {"a negative dimension", "{" X("\"F32\"", "[-2]", "[0,8]") "}", 8, MARE_E_FORMAT, true},
        {"a dimension as text", "{" X("\"F32\"", "[\"2\"]", "[0,8]") "}", 8, MARE_E_FORMAT, true},
        {"no shape", "{\"x\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, MARE_E_FORMAT, true},
        {"a shape that is no list", "{" X("\"F32\"", "2", "[0,8]") "}", 8, MARE_E_FORMAT, true},
        {"two shapes",
         "{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
         MARE_E_FORMAT, true},
        {"nine dimensions", "{" X("\"F32\"", "[1,1,1,1,1,1,1,1,2]", "[0,8]") "}", 8, MARE_E_SHAPE,
         true},
        {"a product that overflows 64 bits",
         "{" X("\"F32\"", "[4294967296,4294967296,16]", "[0,0]") "}", 0, MARE_E_FORMAT, true},
        {"an overflow behind a zero", "{" X("\"F32\"", "[0,4294967296,4294967296]", "[0,0]") "}", 0,
         MARE_E_FORMAT, true},
        {"larger than the memory", "{" X("\"F32\"", "[1099511627776]", "[0,4398046511104]") "}", 8,
         MARE_E_FORMAT, true},
        {"unknown dtype", "{" X("\"Q4\"", "[2]", "[0,8]") "}", 8, MARE_E_FORMAT, true},
        {"a dtype that is no string", "{" X("7", "[2]", "[0,8]") "}", 8, MARE_E_FORMAT, true},
        {"no dtype", "{\"x\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, MARE_E_FORMAT, true},
        {"offsets beyond the file", "{" X("\"F32\"", "[4]", "[0,16]") "}", 8, MARE_E_FORMAT, true},
        {"offsets that start beyond", "{" X("\"F32\"", "[2]", "[8,16]") "}", 8, MARE_E_FORMAT,
         true},
        {"offsets reversed", "{" X("\"F32\"", "[2]", "[8,0]") "}", 8, MARE_E_FORMAT, true},
        {"negative offsets", "{" X("\"F32\"", "[2]", "[-8,0]") "}", 8, MARE_E_FORMAT, true},
        {"one offset", "{" X("\"F32\"", "[2]", "[8]") "}", 8, MARE_E_FORMAT, true},
        {"three offsets", "{" X("\"F32\"", "[2]", "[0,8,8]") "}", 8, MARE_E_FORMAT, true},
        {"offsets as text", "{" X("\"F32\"", "[2]", "\"0,8\"") "}", 8, MARE_E_FORMAT, true},
        {"offsets that contradict the shape", "{" X("\"F32\"", "[1]", "[0,8]") "}", 8,
         MARE_E_FORMAT, true},
        {"a hole before", "{" X("\"F32\"", "[1]", "[4,8]") "}", 8, MARE_E_FORMAT, true},
        {"a hole between",
         "{" X("\"U8\"", "[2]", "[0,2]") ",\"y\":{\"dtype\":\"U8\",\"shape\":[2],"
                                         "\"data_offsets\":[4,6]}}",
         6, MARE_E_FORMAT, false},
        {"overlap",
         "{" X("\"U8\"", "[4]", "[0,4]") ",\"y\":{\"dtype\":\"U8\",\"shape\":[4],"
                                         "\"data_offsets\":[2,6]}}",
         6, MARE_E_FORMAT, false},
        {"the same range twice",
         "{" X("\"U8\"", "[4]", "[0,4]") ",\"y\":{\"dtype\":\"U8\",\"shape\":[4],"
                                         "\"data_offsets\":[0,4]}}",
         4, MARE_E_FORMAT, false},
        {"a rest at the end", "{" GOOD "}", 9, MARE_E_FORMAT, true},
        {"data without a tensor", "{}", 1, MARE_E_FORMAT, false},
        {"a name twice",
         "{" GOOD ",\"y\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[8,10]}," X(
             "\"F32\"", "[2]", "[10,18]") "}",
         18, MARE_E_FORMAT, true},
        {"a tensor that is no object", "{\"x\":[1]}", 0, MARE_E_FORMAT, true},
        {"metadata that is no object", "{\"__metadata__\":[1]," GOOD "}", 8, MARE_E_FORMAT, false},
        {"metadata that is no text", "{\"__metadata__\":{\"a\":1}," GOOD "}", 8, MARE_E_FORMAT,
         false},
        {"metadata twice", "{\"__metadata__\":{},\"__metadata__\":{}," GOOD "}", 8, MARE_E_FORMAT,
         false},
        {"a note twice", "{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}," GOOD "}", 8, MARE_E_FORMAT,
         false},
    };
    file_name f = scratch("hostile.safetensors");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        io_bundle b;
        put_tensors(f.s, rows[i].json, rows[i].data);
        mare_status status = safetensors_read(f.s, &b, &err);
        cr_assert_eq(status, rows[i].status, "%s: %s: %s", rows[i].why, mare_status_name(status),
                     err.text);
        if (status) {
            cr_assert(strstr(err.text, f.s), "%s: no file in: %s", rows[i].why, err.text);
            cr_assert(!rows[i].names_tensor || strstr(err.text, "\"x\""), "%s: no tensor in: %s",
                      rows[i].why, err.text);
            cr_assert(b.items == NULL && b.notes == NULL && b.count == 0);
        }
        io_bundle_free(&b);
    }
    unlink(f.s);
}

Test(safetensors, hostile_lengths) {
    static const struct {
        const char *why;
        uint64_t length;
        size_t file;
    } rows[] = {
        {"an empty file", 0, 0},          {"half a length", 2, 5},
        {"only a length", 2, 8},          {"no header", 0, 64},
        {"one byte beyond", 57, 64},      {"far beyond", 1u << 20, 64},
        {"2^63", UINT64_C(1) << 63, 64},  {"2^64 - 1", UINT64_MAX, 64},
        {"2^64 - 8", UINT64_MAX - 7, 64}, {"more than the limit", 100000001, 100000100},
    };
    file_name f = scratch("length.safetensors");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned char start[8];
        io_bundle b;
        for (int j = 0; j < 8; j++)
            start[j] = (unsigned char)(rows[i].length >> 8 * j);
        put(f.s, start, rows[i].file < 8 ? rows[i].file : 8);
        cr_assert_eq(truncate(f.s, (off_t)rows[i].file), 0); /* the rest is zeros, and sparse */
        mare_status status = safetensors_read(f.s, &b, &err);
        cr_assert_eq(status, MARE_E_FORMAT, "%s: %s: %s", rows[i].why, mare_status_name(status),
                     err.text);
        cr_assert(strstr(err.text, f.s), "%s", err.text);
        cr_assert(rows[i].file < 64 || rows[i].length < 57 || strstr(err.text, "not possible"),
                  "%s: %s", rows[i].why, err.text);
    }
    unlink(f.s);
}

Test(safetensors, deep_nesting) {
    file_name f = scratch("deep.safetensors");
    const size_t n = 1 << 20;
    char *json = malloc(n + 1);
    cr_assert(json);
    memset(json, '[', n);
    memcpy(json, "{\"x\":", 5);
    json[n] = 0;
    put_tensors(f.s, json, 0);
    io_bundle b;
    cr_assert_eq(safetensors_read(f.s, &b, &err), MARE_E_FORMAT);
    free(json);
    unlink(f.s);
}

Test(safetensors, no_such_file) {
    io_bundle b;
    cr_assert_eq(safetensors_read("/nowhere/at/all", &b, &err), MARE_E_IO);
    cr_assert_eq(safetensors_read("/", &b, &err), MARE_E_IO);
    cr_assert_eq(safetensors_read("/dev/zero", &b, &err), MARE_E_IO);
    cr_assert_eq(safetensors_write("/nowhere/at/all", NULL, 0, NULL, 0, &err), MARE_E_IO);
    cr_assert(strstr(err.text, "/nowhere/at/all"));
}

/* A refused or failed write leaves the old file, and nothing beside it. */
Test(safetensors, refused_writes) {
    file_name f = scratch("refused.safetensors");
    float v = 1;
    io_array a = {MARE_F32, shape_of(0), &v};
    io_named twice[] = {{"b", a}, {"a", a}, {"b", a}}, meta[] = {{"__metadata__", a}},
             bytes[] = {{"\xff", a}};
    unsigned char u = 1;
    io_named sizes[] = {{"b", a}, {"b", {MARE_U8, shape_of(0), &u}}};
    io_note bad = {"k", "\xc3"};
    put(f.s, "old", 3);
    cr_assert_eq(safetensors_write(f.s, twice, 3, NULL, 0, &err), MARE_E_ARGUMENT);
    cr_assert(strstr(err.text, "\"b\""), "%s", err.text);
    cr_assert_eq(safetensors_write(f.s, sizes, 2, NULL, 0, &err), MARE_E_ARGUMENT);
    cr_assert_eq(safetensors_write(f.s, meta, 1, NULL, 0, &err), MARE_E_ARGUMENT);
    cr_assert_eq(safetensors_write(f.s, bytes, 1, NULL, 0, &err), MARE_E_ARGUMENT);
    cr_assert_eq(safetensors_write(f.s, twice, 1, &bad, 1, &err), MARE_E_ARGUMENT);
    void *data;
    size_t len;
    cr_assert_eq(file_read(f.s, 0, &data, &len, &err), MARE_OK);
    cr_assert(len == 3 && memcmp(data, "old", 3) == 0);
    free(data);
    unlink(f.s);
}

/* No room on the disk, by a limit on the size of files. */
Test(safetensors, write_fails_half_way) {
    file_name dir = scratch("full.d"), f;
    snprintf(f.s, sizeof f.s, "%.900s/x.safetensors", dir.s);
    cr_assert_eq(file_make_dir(dir.s, &err), MARE_OK);
    put(f.s, "old", 3);
    io_named item = {"x", array(MARE_F32, shape_of(2, 300, 300))};
    struct rlimit limit = {100000, 100000};
    signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(safetensors_write(f.s, &item, 1, NULL, 0, &err), MARE_E_IO);
    cr_assert(strstr(err.text, f.s), "%s", err.text);
    void *data;
    size_t len;
    cr_assert_eq(file_read(f.s, 0, &data, &len, &err), MARE_OK);
    cr_assert(len == 3 && memcmp(data, "old", 3) == 0);
    free(data);
    io_array_free(&item.array);
    unlink(f.s);
    cr_assert_eq(rmdir(dir.s), 0, "the temporary file stayed");
}

Test(safetensors, real_file) {
    file_name f = real_data("safetensors/mnist.safetensors"), copy = scratch("copy.safetensors");
    io_bundle a, b;
    cr_assert_eq(safetensors_read(f.s, &a, &err), MARE_OK, "%s", err.text);
    cr_assert_eq(a.count, 20);
    int integers = 0;
    for (size_t i = 0; i < a.count; i++)
        integers += a.items[i].array.dtype == MARE_I32;
    cr_assert_eq(integers, 2);
    cr_assert_eq(safetensors_write(copy.s, a.items, a.count, a.notes, a.note_count, &err), MARE_OK,
                 "%s", err.text);
    cr_assert_eq(safetensors_read(copy.s, &b, &err), MARE_OK, "%s", err.text);
    cr_assert_eq(b.count, 20);
    for (size_t i = 0; i < a.count; i++)
        same_array(&a.items[i].array, io_bundle_find(&b, a.items[i].name));
    io_bundle_free(&a);
    io_bundle_free(&b);
    unlink(copy.s);
}
