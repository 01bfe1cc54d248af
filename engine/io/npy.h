/* NumPy's .npy, versions 1 to 3, also packed by gzip. Element types are converted as io/convert.h
 * tells; Fortran order is transposed on reading. Written are version 1 and C order. */
#ifndef MARE_IO_NPY_H
#define MARE_IO_NPY_H

#include "io/io.h"

mare_status npy_read(const char *path, io_array *out, mare_error *e);
mare_status npy_write(const char *path, const io_array *a, mare_error *e);

#endif
