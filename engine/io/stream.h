/* Files as streams: reading plain or gzip, writing through a temporary file. */
#ifndef MARE_IO_STREAM_H
#define MARE_IO_STREAM_H

#include "base/status.h"

#include <stdio.h>

/* ---- Reading ------------------------------------------------------------------------------ */

typedef struct io_stream io_stream;

/* Opens a regular file. With `gzip`, a file that starts with gzip's magic is unpacked on the way;
 * every length below then counts unpacked bytes. */
mare_status io_stream_open(const char *path, bool gzip, io_stream **out, mare_error *e);
/* Null is allowed. */
void io_stream_close(io_stream *s);
const char *io_stream_path(const io_stream *s);
/* How many bytes can still come: exact for a plain file; for gzip an upper bound from what the
 * packed bytes can hold at most, so that a size claimed by a header is refused before any memory
 * is taken for it. */
uint64_t io_stream_left(const io_stream *s);
/* Reads up to len bytes; *got is less only at the end. MARE_E_FORMAT for damaged gzip. */
mare_status io_stream_some(io_stream *s, void *data, size_t len, size_t *got, mare_error *e);
/* Reads exactly len bytes of `what` ("the header"); MARE_E_FORMAT when the file ends before. */
mare_status io_stream_read(io_stream *s, void *data, size_t len, const char *what, mare_error *e);
/* MARE_E_FORMAT when bytes follow, or gzip's check sum or length is wrong. */
mare_status io_stream_end(io_stream *s, mare_error *e);

/* A whole file, unpacked when it is gzip, of at most `limit` bytes, in malloc'ed memory with a
 * zero byte after it. */
mare_status io_unpack(const char *path, size_t limit, void **data, size_t *len, mare_error *e);

/* ---- Writing ------------------------------------------------------------------------------ */

/* A file written piece by piece under a temporary name in the same folder; io_out_commit renames
 * it, so that a reader sees the old file or the whole new one. */
typedef struct io_out {
    const char *path;
    char *temp;
    FILE *file;
    int error; /* errno of the first write that failed */
} io_out;

/* `path` has to live until the commit. */
mare_status io_out_open(io_out *o, const char *path, mare_error *e);
/* After a failed write, further ones do nothing, and the commit tells. */
void io_out_bytes(io_out *o, const void *data, size_t len);
/* Ends the file; when `keep` is false, or a write failed, nothing stays behind. */
mare_status io_out_close(io_out *o, bool keep, mare_error *e);

#endif
