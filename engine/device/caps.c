#define _POSIX_C_SOURCE 200809L
#include "device/internal.h"

#include "base/text.h"

#include <ctype.h>
#include <string.h>

static const char *const feature_names[DEV_FEATURES] = {
    [DEV_STORAGE16] = "storage16",
    [DEV_STORAGE8] = "storage8",
    [DEV_FLOAT16] = "float16",
    [DEV_INT8] = "int8",
    [DEV_INT64] = "int64",
    [DEV_SUBGROUP] = "subgroup",
    [DEV_SUBGROUP_SIZE] = "subgroup_size",
    [DEV_PUSH_DESCRIPTOR] = "push_descriptor",
    [DEV_BUFFER_ADDRESS] = "buffer_address",
    [DEV_UNIFORM_LOADS] = "uniform_loads",
    [DEV_COOP_MATRIX] = "coop_matrix",
    [DEV_MEMORY_BUDGET] = "memory_budget",
    [DEV_TIMESTAMPS] = "timestamps",
    [DEV_UNIFIED] = "unified",
};

const char *dev_feature_name(dev_feature f) {
    return (unsigned)f < DEV_FEATURES ? feature_names[f] : "?";
}

const char *dev_type_name(dev_type t) {
    static const char *const names[] = {"discrete", "integrated", "virtual", "cpu", "other"};
    return (unsigned)t <= DEV_OTHER ? names[t] : "other";
}

/* ---- MARE_CAPS ---------------------------------------------------------------------------- */

typedef enum limit {
    LIMIT_WORKGROUP,
    LIMIT_SHARED,
    LIMIT_PUSH,
    LIMIT_STORAGE,
    LIMIT_BINDING,
    LIMIT_GROUPS,
    LIMIT_SUBGROUP,
    LIMITS
} limit;

static const struct {
    const char *name;
    uint64_t least; /* below it nothing could run */
} limits[LIMITS] = {
    [LIMIT_WORKGROUP] = {"workgroup", 1},        [LIMIT_SHARED] = {"shared", 0},
    [LIMIT_PUSH] = {"push_constants", 0},        [LIMIT_STORAGE] = {"storage_buffers", 1},
    [LIMIT_BINDING] = {"binding", BUFFER_ALIGN}, [LIMIT_GROUPS] = {"groups", 1},
    [LIMIT_SUBGROUP] = {"subgroup", 1},
};

static void lower(uint32_t *v, uint64_t most) {
    if (*v > most) *v = (uint32_t)most;
}

static void limit_lower(dev_caps *c, limit l, uint64_t v) {
    switch (l) {
    case LIMIT_WORKGROUP:
        lower(&c->workgroup, v);
        for (int i = 0; i < 3; i++)
            lower(&c->workgroup_size[i], v);
        break;
    case LIMIT_SHARED:
        lower(&c->shared, v);
        break;
    case LIMIT_PUSH:
        lower(&c->push_constants, v);
        break;
    case LIMIT_STORAGE:
        lower(&c->storage_buffers, v);
        break;
    case LIMIT_BINDING:
        if (c->binding > v) c->binding = v / BUFFER_ALIGN * BUFFER_ALIGN;
        break;
    case LIMIT_GROUPS:
        for (int i = 0; i < 3; i++)
            lower(&c->groups[i], v);
        break;
    case LIMIT_SUBGROUP:
        lower(&c->subgroup, v);
        lower(&c->subgroup_min, v);
        lower(&c->subgroup_max, v);
        break;
    case LIMITS:
        break;
    }
}

/* What every device has, and a telephone of some years ago: the same with fewer bindings, but
 * with memory that host and device share. */
static void preset(dev_caps *c, bool phone) {
    for (int i = 0; i < DEV_FEATURES; i++)
        if (!(phone && i == DEV_UNIFIED)) c->has[i] = false;
    static const uint64_t values[LIMITS] = {128, 16384, 128, 8, 128 << 20, 65535, UINT32_MAX};
    for (int i = 0; i < LIMITS; i++)
        limit_lower(c, (limit)i, phone && i == LIMIT_STORAGE ? 4 : values[i]);
}

static mare_status unknown_word(mare_error *e, const char *word, size_t len) {
    text known = {0};
    for (int i = 0; i < DEV_FEATURES; i++)
        text_add(&known, " -%s", feature_names[i]);
    for (int i = 0; i < LIMITS; i++)
        text_add(&known, " %s=", limits[i].name);
    mare_status s =
        error_set(e, MARE_E_ARGUMENT, "MARE_CAPS: unknown word '%.*s'; known are: baseline phone%s",
                  (int)len, word, text_str(&known));
    text_free(&known);
    return s;
}

/* A decimal number, with k, m or g behind it for 2^10, 2^20, 2^30. */
static bool number(const char *s, size_t len, uint64_t *out) {
    uint64_t v = 0;
    size_t i = 0;
    for (; i < len && isdigit((unsigned char)s[i]); i++) {
        if (v > (UINT64_MAX - 9) / 10) return false;
        v = v * 10 + (uint64_t)(s[i] - '0');
    }
    if (!i) return false;
    if (i < len) {
        const char *units = "kmg";
        const char *u = strchr(units, tolower((unsigned char)s[i]));
        if (!u || i + 1 != len) return false;
        int shift = 10 * (int)(u - units + 1);
        if (v > UINT64_MAX >> shift) return false;
        v <<= shift;
    }
    *out = v;
    return true;
}

static bool word_is(const char *word, size_t len, const char *name) {
    return strlen(name) == len && !memcmp(word, name, len);
}

static mare_status apply_word(dev_caps *c, const char *w, size_t len, mare_error *e) {
    if (word_is(w, len, "baseline") || word_is(w, len, "phone")) {
        preset(c, w[0] == 'p');
        return MARE_OK;
    }
    if (w[0] == '-') {
        for (int i = 0; i < DEV_FEATURES; i++)
            if (word_is(w + 1, len - 1, feature_names[i])) {
                c->has[i] = false;
                return MARE_OK;
            }
        return unknown_word(e, w, len);
    }
    const char *eq = memchr(w, '=', len);
    if (!eq) return unknown_word(e, w, len);
    size_t name = (size_t)(eq - w);
    for (int i = 0; i < LIMITS; i++) {
        if (!word_is(w, name, limits[i].name)) continue;
        uint64_t v;
        if (!number(eq + 1, len - name - 1, &v) || v < limits[i].least)
            return error_set(e, MARE_E_ARGUMENT,
                             "MARE_CAPS: '%.*s': the value must be a whole number of at least "
                             "%llu, with k, m or g behind it for units of 1024",
                             (int)len, w, (unsigned long long)limits[i].least);
        limit_lower(c, (limit)i, v);
        return MARE_OK;
    }
    return unknown_word(e, w, len);
}

mare_status dev_caps_apply(dev_caps *caps, const char *words, mare_error *e) {
    dev_caps c = *caps; /* all of the words, or none */
    for (const char *p = words ? words : ""; *p;) {
        size_t len = strcspn(p, ",");
        const char *w = p;
        p += len + (p[len] == ',');
        while (len && isspace((unsigned char)*w))
            w++, len--;
        while (len && isspace((unsigned char)w[len - 1]))
            len--;
        mare_status s = len ? apply_word(&c, w, len, e) : MARE_OK;
        if (s) return s;
    }
    static const dev_feature needed[] = {DEV_BUFFER_ADDRESS, DEV_INT64, DEV_SUBGROUP};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!c.has[needed[i]]) c.has[DEV_UNIFORM_LOADS] = false;
    *caps = c;
    return MARE_OK;
}
