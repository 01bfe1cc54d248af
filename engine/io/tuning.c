#include "io/tuning.h"

#include "base/file.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <string.h>

static const char format_name[] = "mare tuning";
enum { VERSION = 1, MAX_NAME = 63, MAX_TEXT = 500, LIST_HASH = 32 };
/* More than anybody has; looking for one costs time in proportion to them all. */
enum { MAX_FILE = 16 << 20, MAX_RECORDS = 10000, MAX_CANDIDATES = 256 };

/* ---- Writing -------------------------------------------------------------------------------- */

static cJSON *record_json(const mare_tune_record *r) {
    cJSON *o = cJSON_CreateObject();
    cJSON_AddStringToObject(o, "key", r->key);
    if (!r->list[0]) {
        cJSON_AddStringToObject(o, "pin", r->best);
        return o;
    }
    cJSON_AddStringToObject(o, "list", r->list);
    cJSON_AddStringToObject(o, "best", r->best);
    cJSON_AddNumberToObject(o, "flops", r->flops);
    cJSON_AddNumberToObject(o, "bytes", r->bytes);
    cJSON *all = cJSON_AddObjectToObject(o, "seconds");
    for (int i = 0; i < r->n; i++)
        cJSON_AddNumberToObject(all, r->candidates[i].name, r->candidates[i].seconds);
    return o;
}

mare_status tuning_write(const char *path, const tuning_file *f, mare_error *e) {
    cJSON *root = cJSON_CreateObject();
    cJSON_AddStringToObject(root, "format", format_name);
    cJSON_AddNumberToObject(root, "version", VERSION);
    cJSON *device = cJSON_AddObjectToObject(root, "device");
    cJSON_AddStringToObject(device, "id", f->id);
    cJSON_AddStringToObject(device, "name", f->device);
    cJSON_AddStringToObject(device, "driver", f->driver);
    cJSON *records = cJSON_AddArrayToObject(root, "records");
    for (size_t i = 0; i < f->records.len; i++) /* that nothing works is worth nothing elsewhere */
        if (f->records.data[i].best)
            cJSON_AddItemToArray(records, record_json(&f->records.data[i]));
    char *chars = cJSON_Print(root);
    cJSON_Delete(root);
    mare_status status =
        chars ? file_write(path, chars, strlen(chars), e) : error_no_memory(e, MAX_TEXT);
    cJSON_free(chars);
    return status;
}

/* ---- Reading -------------------------------------------------------------------------------- */

typedef struct reader {
    const char *path;
    tuning_file *f;
    mare_error *e;
    int at; /* record; from 1 */
} reader;

static mare_status refuse(const reader *r, const char *why) {
    if (!r->at) return error_set(r->e, MARE_E_FORMAT, "%s: %s", r->path, why);
    return error_set(r->e, MARE_E_FORMAT, "%s: record %d %s", r->path, r->at, why);
}

/* The one member of that name; null when there is none or more than one. */
static const cJSON *only(const cJSON *object, const char *name) {
    const cJSON *found = NULL, *item;
    if (!cJSON_IsObject(object)) return NULL;
    cJSON_ArrayForEach(item, object) {
        if (strcmp(item->string, name) != 0) continue;
        if (found) return NULL;
        found = item;
    }
    return found;
}

/* A text without control characters, of that length at most; a plain one is of ASCII, without
 * spaces. Null if it is not. */
static const char *plain_text(const char *s, size_t most, bool plain) {
    size_t n = s ? strlen(s) : 0;
    if (n == 0 || n > most) return NULL;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c < ' ' || c == 0x7f || (plain && (c == ' ' || c > '~'))) return NULL;
    }
    return s;
}

/* The same of a member, kept. */
static const char *member_text(reader *r, const cJSON *object, const char *name, size_t most,
                               bool plain) {
    const cJSON *item = only(object, name);
    const char *s = plain_text(cJSON_GetStringValue(item), most, plain);
    return s ? arena_string(&r->f->mem, s) : NULL;
}

/* A number that is finite and not negative. */
static bool member_number(const cJSON *item, double *out) {
    *out = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    return isfinite(*out) && *out >= 0;
}

static mare_status read_candidates(reader *r, const cJSON *all, mare_tune_record *out) {
    int n = cJSON_IsObject(all) ? cJSON_GetArraySize(all) : 0;
    if (n < 2 || n > MAX_CANDIDATES) return refuse(r, "has no seconds of 2 to 256 candidates");
    mare_tune_candidate *list = arena_alloc(&r->f->mem, (size_t)n * sizeof *list);
    bool among = false;
    if (!list) return error_no_memory(r->e, (size_t)n * sizeof *list);
    const cJSON *item;
    cJSON_ArrayForEach(item, all) {
        mare_tune_candidate *c = &list[out->n];
        if (!plain_text(item->string, MAX_NAME, true) || only(all, item->string) != item)
            return refuse(r, "has a candidate without a name of its own");
        if (!member_number(item, &c->seconds))
            return refuse(r, "has a candidate whose seconds are no number");
        if (!(c->name = arena_string(&r->f->mem, item->string)))
            return error_no_memory(r->e, MAX_NAME);
        among |= strcmp(c->name, out->best) == 0 && c->seconds > 0;
        out->n++;
    }
    out->candidates = list;
    return among ? MARE_OK : refuse(r, "has a best that is none of its measured candidates");
}

static bool is_hash(const char *s) {
    return s && strlen(s) == LIST_HASH && strspn(s, "0123456789abcdef") == LIST_HASH;
}

static mare_status read_record(reader *r, const cJSON *object) {
    if (!cJSON_IsObject(object)) return refuse(r, "is not an object");
    mare_tune_record out = {.key = member_text(r, object, "key", MAX_TEXT, true), .list = ""};
    if (!out.key) return refuse(r, "has no key of plain text");
    bool pin = only(object, "pin") != NULL;
    out.best = member_text(r, object, pin ? "pin" : "best", MAX_NAME, true);
    if (!out.best) return refuse(r, "names no candidate");
    mare_status status = MARE_OK;
    if (!pin) {
        out.list = member_text(r, object, "list", LIST_HASH, true);
        if (!is_hash(out.list)) return refuse(r, "has no list of 32 hexadecimal digits");
        if (!member_number(only(object, "flops"), &out.flops) ||
            !member_number(only(object, "bytes"), &out.bytes))
            return refuse(r, "has no number of flops, or of bytes");
        status = read_candidates(r, only(object, "seconds"), &out);
    }
    out.state = pin ? MARE_TUNE_PINNED : MARE_TUNE_KNOWN;
    if (status) return status;
    return vec_push(&r->f->records, out) ? MARE_OK : error_no_memory(r->e, sizeof out);
}

static mare_status read_root(reader *r, const cJSON *root) {
    const char *format = cJSON_GetStringValue(only(root, "format"));
    const cJSON *version = only(root, "version"), *device = only(root, "device");
    const cJSON *records = only(root, "records"), *item;
    if (!format || strcmp(format, format_name) != 0)
        return refuse(r, "it is no file of tuning records");
    if (!cJSON_IsNumber(version) || version->valuedouble != VERSION)
        return refuse(r, "it is of a version that this one does not read");
    r->f->id = member_text(r, device, "id", LIST_HASH, true);
    r->f->device = member_text(r, device, "name", MAX_TEXT, false);
    r->f->driver = member_text(r, device, "driver", MAX_TEXT, false);
    if (!is_hash(r->f->id) || !r->f->device || !r->f->driver)
        return refuse(r, "it does not name its device");
    if (!cJSON_IsArray(records) || cJSON_GetArraySize(records) > MAX_RECORDS)
        return refuse(r, "it has no list of at most 10000 records");
    mare_status status = MARE_OK;
    cJSON_ArrayForEach(item, records) {
        r->at++;
        if (!status) status = read_record(r, item);
    }
    return status;
}

mare_status tuning_read(const char *path, tuning_file *f, mare_error *e) {
    *f = (tuning_file){0};
    reader r = {path, f, e, 0};
    void *data;
    size_t len;
    mare_status status = file_read(path, MAX_FILE, &data, &len, e);
    if (status) return status;
    /* cJSON ends its text at a zero byte. What follows it must be nothing. */
    cJSON *root = cJSON_ParseWithOpts(data, NULL, 1);
    bool whole = memchr(data, 0, len) == NULL;
    if (!root || !whole || !cJSON_IsObject(root))
        status = refuse(&r, "it is not a JSON object");
    else
        status = read_root(&r, root);
    cJSON_Delete(root);
    free(data);
    return status;
}

void tuning_free(tuning_file *f) {
    vec_free(&f->records);
    arena_free(&f->mem);
}
