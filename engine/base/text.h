/* Text: a growable string. After a failed growth, `failed` stays set and appends do nothing, so
 * that a long run of appends needs one check at its end. */
#ifndef MARE_BASE_TEXT_H
#define MARE_BASE_TEXT_H

#include "base/status.h"

typedef struct text {
    char *data; /* always ends in a zero byte once anything was added */
    size_t len, cap;
    bool failed;
} text;

void text_add(text *t, const char *fmt, ...) MARE_PRINTF(2, 3);
void text_bytes(text *t, const void *data, size_t len);
void text_free(text *t);
/* The characters so far; "" when there are none. */
const char *text_str(const text *t);

#endif
