/* Records of the autotuner as a file, to carry them from one machine to another. */
#ifndef MARE_IO_TUNING_H
#define MARE_IO_TUNING_H

#include "base/arena.h"
#include "base/vec.h"
#include "kernel/kernel.h"

typedef struct tuning_file {
    const char *id, *device, *driver; /* id: tune_device(), which stands for both and more */
    VEC(mare_tune_record) records;
    arena mem; /* texts, when it was read */
} tuning_file;

/* The file appears whole or not at all. */
mare_status tuning_write(const char *path, const tuning_file *f, mare_error *e);
/* Whatever is in the file: MARE_OK and well-formed records (names that are short and plain, times
 * that are finite, a best among the candidates), or MARE_E_FORMAT with the place. */
mare_status tuning_read(const char *path, tuning_file *f, mare_error *e);
void tuning_free(tuning_file *f);

#endif
