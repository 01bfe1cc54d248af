/* Pictures: PNG, JPEG and BMP to arrays, arrays to PNG. */
#ifndef MARE_IO_IMAGE_H
#define MARE_IO_IMAGE_H

#include "io/io.h"

/* The largest side, and the most pixels, of a picture that is read or written. */
enum { IMAGE_MAX_SIDE = 1 << 14, IMAGE_MAX_PIXELS = 1 << 26 };

/* Reads u8 [height, width, channels]; channels 1 (grey), 2 (grey and alpha), 3 (RGB), 4 (RGBA)
 * converts; 0 keeps what the file has. `name` is for errors. */
mare_status image_decode(const void *data, size_t len, const char *name, int channels,
                         io_array *out, mare_error *e);
mare_status image_read(const char *path, int channels, io_array *out, mare_error *e);
/* Writes u8 [height, width], or [height, width, channels] with 1 or 3 channels, as PNG. */
mare_status image_write_png(const char *path, const io_array *a, mare_error *e);

#endif
