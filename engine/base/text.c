#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(text *t, size_t more) {
    if (t->failed) return false;
    if (t->cap - t->len > more) return true;
    size_t cap = t->cap ? t->cap : 64;
    while (cap - t->len <= more)
        cap *= 2;
    char *data = realloc(t->data, cap);
    if (!data) {
        t->failed = true;
        return false;
    }
    t->data = data;
    t->cap = cap;
    return true;
}

void text_add(text *t, const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n >= 0 && reserve(t, (size_t)n)) {
        vsnprintf(t->data + t->len, (size_t)n + 1, fmt, again);
        t->len += (size_t)n;
    }
    va_end(again);
}

void text_bytes(text *t, const void *data, size_t len) {
    if (!reserve(t, len)) return;
    if (len) memcpy(t->data + t->len, data, len);
    t->len += len;
    t->data[t->len] = 0;
}

void text_free(text *t) {
    free(t->data);
    *t = (text){0};
}

const char *text_str(const text *t) {
    return t->data ? t->data : "";
}
