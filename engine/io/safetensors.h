/* safetensors: eight bytes of header length, a JSON header, the elements. Element types are
 * converted as io/convert.h tells. */
#ifndef MARE_IO_SAFETENSORS_H
#define MARE_IO_SAFETENSORS_H

#include "io/io.h"

/* Reads every tensor, in the order in which they lie in the file, and the notes of __metadata__,
 * sorted by key. */
mare_status safetensors_read(const char *path, io_bundle *out, mare_error *e);

/* Writes items (names differ, valid UTF-8) and notes. The elements lie sorted by element size,
 * largest first, then by name, so that each is aligned and the same content gives the same bytes.
 * The old file stays until the new one is complete. */
mare_status safetensors_write(const char *path, const io_named *items, size_t count,
                              const io_note *notes, size_t note_count, mare_error *e);

#endif
