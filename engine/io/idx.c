#include "io/idx.h"

#include "io/convert.h"
#include "io/stream.h"

#include <string.h>

static mare_status read_idx(io_stream *s, io_array *out, mare_error *e) {
    static const struct {
        unsigned char code;
        io_type type;
    } codes[] = {{0x08, IO_U8},  {0x09, IO_I8},  {0x0b, IO_I16},
                 {0x0c, IO_I32}, {0x0d, IO_F32}, {0x0e, IO_F64}};
    const size_t n_codes = sizeof codes / sizeof codes[0];
    const char *path = io_stream_path(s);
    unsigned char magic[4], dim[4];
    mare_status status = io_stream_read(s, magic, 4, "the idx magic number", e);
    if (status) return status;
    size_t c = 0;
    while (c < n_codes && codes[c].code != magic[2])
        c++;
    if (magic[0] || magic[1] || c == n_codes)
        return error_set(e, MARE_E_FORMAT, "%s is no idx file: magic number %02x%02x%02x%02x", path,
                         magic[0], magic[1], magic[2], magic[3]);
    if (magic[3] > MAX_DIMS)
        return error_set(e, MARE_E_SHAPE, "%s has %d dimensions; Mare knows at most %d", path,
                         magic[3], MAX_DIMS);
    shape sh = {.rank = magic[3]};
    for (int i = 0; i < sh.rank; i++) {
        if ((status = io_stream_read(s, dim, 4, "the idx dimensions", e))) return status;
        sh.dim[i] = (int64_t)dim[0] << 24 | dim[1] << 16 | dim[2] << 8 | dim[3];
    }
    status = io_read_array(s, codes[c].type, true, &sh, "the array", out, e);
    return status ? status : io_stream_end(s, e);
}

mare_status idx_read(const char *path, io_array *out, mare_error *e) {
    memset(out, 0, sizeof *out);
    io_stream *s;
    mare_status status = io_stream_open(path, true, &s, e);
    if (status) return status;
    status = read_idx(s, out, e);
    io_stream_close(s);
    if (status) io_array_free(out);
    return status;
}
