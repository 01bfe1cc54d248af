/* The files that the build embeds (scripts/embed.cmake writes the table). */
#ifndef MARE_KERNEL_EMBEDDED_H
#define MARE_KERNEL_EMBEDDED_H

#include <stddef.h>

typedef struct embedded_file {
    const char *name;          /* path in the tree, "shaders/..." or "lua/..." */
    const unsigned char *data; /* a zero byte follows */
    size_t len;
} embedded_file;

/* Sorted by name; the last has a null name. */
extern const embedded_file embedded_files[];

#endif
