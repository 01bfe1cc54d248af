#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *mare_status_name(mare_status status) {
    switch (status) {
    case MARE_OK:
        return "ok";
    case MARE_E_ARGUMENT:
        return "argument";
    case MARE_E_SHAPE:
        return "shape";
    case MARE_E_DTYPE:
        return "dtype";
    case MARE_E_RANGE:
        return "range";
    case MARE_E_HOST_MEMORY:
        return "host memory";
    case MARE_E_DEVICE_MEMORY:
        return "device memory";
    case MARE_E_NO_DEVICE:
        return "no device";
    case MARE_E_DEVICE_LOST:
        return "device lost";
    case MARE_E_UNSUPPORTED:
        return "unsupported";
    case MARE_E_SHADER:
        return "shader";
    case MARE_E_IO:
        return "io";
    case MARE_E_FORMAT:
        return "format";
    case MARE_E_VULKAN:
        return "vulkan";
    }
    return "unknown";
}

mare_status error_set(mare_error *e, mare_status code, const char *fmt, ...) {
    if (!e) return code;
    char text[sizeof e->text]; /* the arguments may point into e->text */
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    e->code = code;
    memcpy(e->text, text, sizeof text);
    return code;
}

mare_status error_prefix(mare_error *e, const char *fmt, ...) {
    if (!e) return MARE_E_ARGUMENT;
    char before[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(before, sizeof before, fmt, args);
    va_end(args);
    return error_set(e, e->code, "%s: %.700s", before, e->text);
}

mare_status error_no_memory(mare_error *e, size_t bytes) {
    return error_set(e, MARE_E_HOST_MEMORY, "the host has no memory left (%zu bytes asked)", bytes);
}
