/* Errors: a status code and a text that a person can act on. Every object that can fail carries
 * a pointer to the mare_error of the context it belongs to. */
#ifndef MARE_BASE_STATUS_H
#define MARE_BASE_STATUS_H

#include <mare/mare.h>

typedef struct mare_error {
    mare_status code;
    char text[1024];
} mare_error;

#if defined(__GNUC__)
#define MARE_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define MARE_PRINTF(fmt, args)
#endif

/* Stores code and the formatted text, and returns code: `return error_set(e, MARE_E_IO, ...)`.
 * A null e is allowed. */
mare_status error_set(mare_error *e, mare_status code, const char *fmt, ...) MARE_PRINTF(3, 4);
/* Puts "context: " before the text already there: the outer call names itself. */
mare_status error_prefix(mare_error *e, const char *fmt, ...) MARE_PRINTF(2, 3);
/* The usual answer when malloc returned null. */
mare_status error_no_memory(mare_error *e, size_t bytes);

#endif
