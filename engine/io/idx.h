/* The idx format of MNIST, plain or packed by gzip. Element types are converted as io/convert.h
 * tells (u8 stays u8). */
#ifndef MARE_IO_IDX_H
#define MARE_IO_IDX_H

#include "io/io.h"

mare_status idx_read(const char *path, io_array *out, mare_error *e);

#endif
