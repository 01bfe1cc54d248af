#include "io/safetensors.h"

#include "base/text.h"
#include "io/convert.h"
#include "io/stream.h"

#include <cjson/cJSON.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char metadata_key[] = "__metadata__";
enum { MAX_HEADER = 100 * 1000 * 1000 };

static bool utf8_valid(const char *chars, size_t len) {
    const unsigned char *p = (const unsigned char *)chars, *end = p + len;
    while (p < end) {
        uint32_t c = *p++;
        if (c < 0x80) continue;
        int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
        if (c < 0xc2 || c > 0xf4 || end - p < more) return false;
        c &= 0x3fu >> more;
        for (int i = 0; i < more; i++) {
            if ((*p & 0xc0) != 0x80) return false;
            c = c << 6 | (*p++ & 0x3f);
        }
        /* Longer than needed, surrogates, beyond Unicode. */
        if ((more == 2 && c < 0x800) || (more == 3 && c < 0x10000)) return false;
        if ((c >= 0xd800 && c < 0xe000) || c > 0x10ffff) return false;
    }
    return true;
}

static char *copy_string(const char *s) {
    size_t n = strlen(s) + 1;
    char *p = malloc(n);
    if (p) memcpy(p, s, n);
    return p;
}

/* ---- Reading ------------------------------------------------------------------------------ */

/* One tensor as the header tells of it. */
typedef struct entry {
    const char *name;
    io_type type;
    shape shape;
    uint64_t begin, end;
} entry;

typedef struct reader {
    const char *path;
    mare_error *e;
    cJSON *root;
    entry *entries;
    size_t count;
} reader;

static int by_name(const void *a, const void *b) {
    return strcmp(((const entry *)a)->name, ((const entry *)b)->name);
}

static int by_key(const void *a, const void *b) {
    return strcmp(((const io_note *)a)->key, ((const io_note *)b)->key);
}

static int by_offset(const void *a, const void *b) {
    const entry *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end) return x->end < y->end ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* "path: tensor "name" ..." */
static mare_status refuse(const reader *r, const char *name, mare_status code, const char *why) {
    char label[IO_LABEL];
    return error_set(r->e, code, "%s: %s %s", r->path, io_label(label, "tensor", name), why);
}

/* A non-negative integer that a double holds exactly. */
static bool json_integer(const cJSON *item, uint64_t *out) {
    double v = item->valuedouble;
    if (!cJSON_IsNumber(item) || !(v >= 0 && v <= 0x1p53) || v != (double)(uint64_t)v) return false;
    *out = (uint64_t)v;
    return true;
}

/* The one member of that name; null when there is none or more than one. */
static const cJSON *only_member(const cJSON *object, const char *name) {
    const cJSON *found = NULL, *item;
    cJSON_ArrayForEach(item, object) {
        if (strcmp(item->string, name) != 0) continue;
        if (found) return NULL;
        found = item;
    }
    return found;
}

static mare_status parse_dtype(const reader *r, const char *name, const cJSON *item, io_type *out) {
    if (!cJSON_IsString(item))
        return refuse(r, name, MARE_E_FORMAT, "has no dtype, or more than one");
    for (int t = 0; t < IO_TYPES; t++)
        if (strcmp(item->valuestring, io_type_name((io_type)t)) == 0) {
            *out = (io_type)t;
            return MARE_OK;
        }
    char label[IO_LABEL], dtype[IO_LABEL];
    return error_set(r->e, MARE_E_FORMAT, "%s: %s has the unknown %s", r->path,
                     io_label(label, "tensor", name), io_label(dtype, "dtype", item->valuestring));
}

static mare_status parse_shape(const reader *r, const char *name, const cJSON *item, shape *out) {
    if (!cJSON_IsArray(item)) return refuse(r, name, MARE_E_FORMAT, "has no shape");
    memset(out, 0, sizeof *out);
    const cJSON *dim;
    cJSON_ArrayForEach(dim, item) {
        uint64_t v;
        if (!json_integer(dim, &v))
            return refuse(r, name, MARE_E_FORMAT, "has a dimension that is not a whole number");
        if (out->rank == MAX_DIMS)
            return refuse(r, name, MARE_E_SHAPE, "has more than the 8 dimensions that Mare knows");
        out->dim[out->rank++] = (int64_t)v;
    }
    return MARE_OK;
}

static mare_status parse_entry(const reader *r, const cJSON *item, entry *out) {
    const char *name = out->name = item->string;
    if (!cJSON_IsObject(item)) return refuse(r, name, MARE_E_FORMAT, "is not a JSON object");
    mare_status status = parse_dtype(r, name, only_member(item, "dtype"), &out->type);
    if (!status) status = parse_shape(r, name, only_member(item, "shape"), &out->shape);
    if (status) return status;

    const cJSON *range = only_member(item, "data_offsets");
    if (!cJSON_IsArray(range) || cJSON_GetArraySize(range) != 2 ||
        !json_integer(range->child, &out->begin) || !json_integer(range->child->next, &out->end))
        return refuse(r, name, MARE_E_FORMAT, "has no data_offsets of two whole numbers");
    size_t bytes;
    if (!io_shape_bytes(&out->shape, io_type_size(out->type), &bytes))
        return refuse(r, name, MARE_E_FORMAT, "has a shape whose size overflows");
    if (out->end < out->begin || out->end - out->begin != bytes)
        return refuse(r, name, MARE_E_FORMAT, "has data_offsets that contradict its shape");
    return MARE_OK;
}

static mare_status parse_notes(const reader *r, const cJSON *object, io_bundle *out) {
    size_t n = 0;
    const cJSON *item;
    if (!cJSON_IsObject(object) || out->notes)
        return error_set(r->e, MARE_E_FORMAT, "%s: __metadata__ is not one JSON object", r->path);
    cJSON_ArrayForEach(item, object) n++;
    out->notes = calloc(n ? n : 1, sizeof *out->notes);
    if (!out->notes) return error_no_memory(r->e, n * sizeof *out->notes);
    cJSON_ArrayForEach(item, object) {
        if (!cJSON_IsString(item))
            return error_set(r->e, MARE_E_FORMAT, "%s: a value in __metadata__ is not a string",
                             r->path);
        io_note *note = &out->notes[out->note_count++];
        note->key = copy_string(item->string);
        note->value = copy_string(item->valuestring);
        if (!note->key || !note->value) return error_no_memory(r->e, strlen(item->valuestring));
    }
    qsort(out->notes, n, sizeof *out->notes, by_key);
    for (size_t i = 1; i < n; i++) {
        char label[IO_LABEL];
        if (strcmp(out->notes[i - 1].key, out->notes[i].key) == 0)
            return error_set(r->e, MARE_E_FORMAT, "%s: %s is there twice", r->path,
                             io_label(label, "the note", out->notes[i].key));
    }
    return MARE_OK;
}

/* The header's text into r->root. cJSON ends a string at a zero byte, written out or escaped, so
 * that two names could look like one: those are refused. */
static mare_status parse_json(reader *r, const char *chars, size_t len) {
    const char *end = NULL;
    bool zero = memchr(chars, 0, len) != NULL;
    for (size_t i = 0; i + 5 < len; i++)
        if (chars[i] == '\\') {
            zero |= memcmp(chars + i, "\\u0000", 6) == 0;
            i++;
        }
    if (zero || chars[0] != '{' || !utf8_valid(chars, len))
        return error_set(r->e, MARE_E_FORMAT, "%s: the header is not a JSON object", r->path);
    r->root = cJSON_ParseWithLengthOpts(chars, len, &end, 0);
    if (!r->root)
        return error_set(r->e, MARE_E_FORMAT, "%s: the header is not valid JSON near byte %td",
                         r->path, end ? end - chars : 0);
    for (; end < chars + len; end++)
        if (!strchr(" \t\r\n", *end))
            return error_set(r->e, MARE_E_FORMAT, "%s: text follows the header's JSON", r->path);
    return MARE_OK;
}

/* Tensors must differ in name, and lie without holes and overlaps from 0 to size. */
static mare_status check_entries(reader *r, uint64_t size) {
    if (r->count == 0 && size == 0) return MARE_OK;
    if (r->count == 0)
        return error_set(r->e, MARE_E_FORMAT, "%s: data without any tensor", r->path);
    qsort(r->entries, r->count, sizeof *r->entries, by_name);
    for (size_t i = 1; i < r->count; i++)
        if (strcmp(r->entries[i - 1].name, r->entries[i].name) == 0)
            return refuse(r, r->entries[i].name, MARE_E_FORMAT, "is there twice");
    qsort(r->entries, r->count, sizeof *r->entries, by_offset);
    uint64_t at = 0;
    for (size_t i = 0; i < r->count; i++) {
        const entry *t = &r->entries[i];
        if (t->end > size)
            return refuse(r, t->name, MARE_E_FORMAT, "has data_offsets beyond the end of the file");
        if (t->begin != at)
            return refuse(r, t->name, MARE_E_FORMAT,
                          t->begin < at ? "overlaps the data of another tensor"
                                        : "leaves a hole in the data before it");
        at = t->end;
    }
    if (at != size)
        return refuse(r, r->entries[r->count - 1].name, MARE_E_FORMAT,
                      "ends before the data does: the rest belongs to no tensor");
    return MARE_OK;
}

static mare_status read_header(reader *r, io_stream *s, io_bundle *out) {
    unsigned char length[8];
    uint64_t n = 0;
    mare_status status = io_stream_read(s, length, 8, "the header's length", r->e);
    if (status) return status;
    for (int i = 7; i >= 0; i--)
        n = n << 8 | length[i];
    if (n < 2 || n > MAX_HEADER || n > io_stream_left(s))
        return error_set(r->e, MARE_E_FORMAT,
                         "%s: a header of %" PRIu64 " bytes is not possible here", r->path, n);
    char *chars = malloc((size_t)n);
    if (!chars) return error_no_memory(r->e, (size_t)n);
    status = io_stream_read(s, chars, (size_t)n, "the header", r->e);
    if (!status) status = parse_json(r, chars, (size_t)n);
    free(chars);
    if (status) return status;

    size_t members = (size_t)cJSON_GetArraySize(r->root);
    r->entries = calloc(members ? members : 1, sizeof *r->entries);
    if (!r->entries) return error_no_memory(r->e, members * sizeof *r->entries);
    const cJSON *item;
    cJSON_ArrayForEach(item, r->root) {
        status = strcmp(item->string, metadata_key) == 0
                     ? parse_notes(r, item, out)
                     : parse_entry(r, item, &r->entries[r->count++]);
        if (status) return status;
    }
    return check_entries(r, io_stream_left(s));
}

static mare_status read_tensors(const reader *r, io_stream *s, io_bundle *out) {
    out->items = calloc(r->count ? r->count : 1, sizeof *out->items);
    if (!out->items) return error_no_memory(r->e, r->count * sizeof *out->items);
    for (size_t i = 0; i < r->count; i++) {
        const entry *t = &r->entries[i];
        io_named *item = &out->items[out->count++];
        item->name = copy_string(t->name);
        if (!item->name) return error_no_memory(r->e, strlen(t->name));
        char label[IO_LABEL];
        mare_status status = io_read_array(s, t->type, false, &t->shape,
                                           io_label(label, "tensor", t->name), &item->array, r->e);
        if (status) return status;
    }
    return io_stream_end(s, r->e);
}

mare_status safetensors_read(const char *path, io_bundle *out, mare_error *e) {
    memset(out, 0, sizeof *out);
    io_stream *s;
    mare_status status = io_stream_open(path, false, &s, e);
    if (status) return status;
    reader r = {.path = path, .e = e};
    status = read_header(&r, s, out);
    if (!status) status = read_tensors(&r, s, out);
    cJSON_Delete(r.root);
    free(r.entries);
    io_stream_close(s);
    if (status) io_bundle_free(out);
    return status;
}

/* ---- Writing ------------------------------------------------------------------------------ */

static const io_type written_as[MARE_DTYPES] = {
    [MARE_F32] = IO_F32,   [MARE_F16] = IO_F16,   [MARE_I32] = IO_I32, [MARE_U8] = IO_U8,
    [MARE_BOOL] = IO_BOOL, [MARE_BF16] = IO_BF16, [MARE_I8] = IO_I8,
};

static int by_size_and_name(const void *a, const void *b) {
    const io_named *x = *(const io_named *const *)a, *y = *(const io_named *const *)b;
    size_t m = mare_dtype_size(x->array.dtype), n = mare_dtype_size(y->array.dtype);
    if (m != n) return m > n ? -1 : 1;
    return strcmp(x->name, y->name);
}

static void add_json_string(text *t, const char *s) {
    text_add(t, "\"");
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            text_add(t, "\\%c", c);
        else if (c < 0x20)
            text_add(t, "\\u%04x", c);
        else
            text_bytes(t, s, 1);
    }
    text_add(t, "\"");
}

static void add_tensor(text *t, const io_named *item, uint64_t *at) {
    const io_array *a = &item->array;
    add_json_string(t, item->name);
    text_add(t, ":{\"dtype\":\"%s\",\"shape\":[", io_type_name(written_as[a->dtype]));
    for (int i = 0; i < a->shape.rank; i++)
        text_add(t, "%s%" PRId64, i ? "," : "", a->shape.dim[i]);
    uint64_t end = *at + io_array_bytes(a);
    text_add(t, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", *at, end);
    *at = end;
}

static int by_item_name(const void *a, const void *b) {
    const io_named *x = *(const io_named *const *)a, *y = *(const io_named *const *)b;
    return strcmp(x->name, y->name);
}

/* Names must be fit for the format, and differ. Leaves order sorted by name. */
static mare_status check_items(const char *path, const io_named **order, size_t count,
                               mare_error *e) {
    qsort(order, count, sizeof *order, by_item_name);
    for (size_t i = 0; i < count; i++) {
        const char *name = order[i]->name;
        char label[IO_LABEL];
        io_label(label, "tensor", name);
        if (strcmp(name, metadata_key) == 0 || !utf8_valid(name, strlen(name)))
            return error_set(e, MARE_E_ARGUMENT, "%s: %s has a name that the format forbids", path,
                             label);
        if (i && strcmp(name, order[i - 1]->name) == 0)
            return error_set(e, MARE_E_ARGUMENT, "%s: %s is given twice", path, label);
    }
    return MARE_OK;
}

/* The header with its length before it, padded with blanks so that the data starts aligned. */
static mare_status make_header(const char *path, const io_named *const *order, size_t count,
                               const io_note *notes, size_t note_count, text *t, mare_error *e) {
    uint64_t at = 0;
    text_bytes(t, "\0\0\0\0\0\0\0\0", 8);
    text_add(t, "{");
    for (size_t i = 0; i < note_count; i++) {
        if (!utf8_valid(notes[i].key, strlen(notes[i].key)) ||
            !utf8_valid(notes[i].value, strlen(notes[i].value)))
            return error_set(e, MARE_E_ARGUMENT, "%s: a note is not valid UTF-8", path);
        if (i)
            text_add(t, ",");
        else
            text_add(t, "\"%s\":{", metadata_key);
        add_json_string(t, notes[i].key);
        text_add(t, ":");
        add_json_string(t, notes[i].value);
    }
    if (note_count) text_add(t, "%s", count ? "}," : "}");
    for (size_t i = 0; i < count; i++) {
        if (i) text_add(t, ",");
        add_tensor(t, order[i], &at);
    }
    text_add(t, "}");
    while (!t->failed && t->len % 8)
        text_add(t, " ");
    if (t->failed) return error_no_memory(e, t->len);
    uint64_t n = t->len - 8;
    if (n > MAX_HEADER)
        return error_set(e, MARE_E_ARGUMENT,
                         "%s: names and notes take %" PRIu64 " bytes, more than the format's %d",
                         path, n, MAX_HEADER);
    for (int i = 0; i < 8; i++)
        t->data[i] = (char)(n >> 8 * i);
    return MARE_OK;
}

mare_status safetensors_write(const char *path, const io_named *items, size_t count,
                              const io_note *notes, size_t note_count, mare_error *e) {
    const io_named **order = malloc((count ? count : 1) * sizeof *order);
    if (!order) return error_no_memory(e, count * sizeof *order);
    for (size_t i = 0; i < count; i++)
        order[i] = &items[i];

    text header = {0};
    io_out out;
    mare_status status = check_items(path, order, count, e);
    qsort(order, count, sizeof *order, by_size_and_name);
    if (!status) status = make_header(path, order, count, notes, note_count, &header, e);
    if (!status) status = io_out_open(&out, path, e);
    if (!status) {
        io_out_bytes(&out, header.data, header.len);
        for (size_t i = 0; i < count; i++)
            io_out_bytes(&out, order[i]->array.data, io_array_bytes(&order[i]->array));
        status = io_out_close(&out, true, e);
    }
    text_free(&header);
    free(order);
    return status;
}
