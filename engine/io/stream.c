#define _POSIX_C_SOURCE 200809L
#include "io/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { INPUT = 1 << 16 };
/* Deflate codes at most 258 bytes in two bits. */
enum { MAX_RATIO = 1032 };

struct io_stream {
    char *path;
    FILE *file;
    uint64_t unread; /* bytes of the file that were not read yet */
    bool gzip;
    bool member_done; /* the end of a gzip member was reached and checked */
    z_stream z;
    unsigned char input[INPUT];
};

static mare_status stream_start(io_stream *s, bool gzip, mare_error *e) {
    /* O_NONBLOCK: a pipe without a writer must not hang the caller; it is refused below. */
    int fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    s->file = fd < 0 ? NULL : fdopen(fd, "rb");
    if (!s->file) {
        int code = errno;
        if (fd >= 0) close(fd);
        return error_set(e, MARE_E_IO, "cannot open %s: %s", s->path, strerror(code));
    }
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        return error_set(e, MARE_E_IO, "%s is not a regular file", s->path);
    s->unread = (uint64_t)st.st_size;
    if (!gzip) return MARE_OK;
    size_t n = fread(s->input, 1, 2, s->file);
    if (ferror(s->file))
        return error_set(e, MARE_E_IO, "cannot read %s: %s", s->path, strerror(errno));
    if (n == 2 && s->input[0] == 0x1f && s->input[1] == 0x8b) {
        s->z.next_in = s->input;
        s->z.avail_in = 2;
        s->unread -= 2;
        if (inflateInit2(&s->z, 15 + 16) != Z_OK) return error_no_memory(e, sizeof s->z);
        s->gzip = true;
    } else if (fseek(s->file, 0, SEEK_SET) != 0) {
        return error_set(e, MARE_E_IO, "cannot read %s: %s", s->path, strerror(errno));
    }
    return MARE_OK;
}

mare_status io_stream_open(const char *path, bool gzip, io_stream **out, mare_error *e) {
    *out = NULL;
    io_stream *s = calloc(1, sizeof *s);
    if (!s || !(s->path = malloc(strlen(path) + 1))) {
        free(s);
        return error_no_memory(e, sizeof *s);
    }
    memcpy(s->path, path, strlen(path) + 1);
    mare_status status = stream_start(s, gzip, e);
    if (status)
        io_stream_close(s);
    else
        *out = s;
    return status;
}

void io_stream_close(io_stream *s) {
    if (!s) return;
    if (s->gzip) inflateEnd(&s->z);
    if (s->file) fclose(s->file);
    free(s->path);
    free(s);
}

const char *io_stream_path(const io_stream *s) {
    return s->path;
}

uint64_t io_stream_left(const io_stream *s) {
    if (!s->gzip) return s->unread;
    /* Beside what the bytes at hand can hold, zlib may keep back part of one match and its window
     * of 32 KiB. */
    uint64_t packed = s->unread + s->z.avail_in;
    return packed > (UINT64_MAX >> 11) ? UINT64_MAX : packed * MAX_RATIO + (1 << 16);
}

/* Reads from the file itself. */
static mare_status read_raw(io_stream *s, void *data, size_t len, size_t *got, mare_error *e) {
    *got = fread(data, 1, len, s->file);
    s->unread -= *got < s->unread ? *got : s->unread;
    if (*got < len && ferror(s->file))
        return error_set(e, MARE_E_IO, "cannot read %s: %s", s->path, strerror(errno));
    return MARE_OK;
}

static mare_status read_gzip(io_stream *s, void *data, size_t len, size_t *got, mare_error *e) {
    while (*got < len) {
        if (s->z.avail_in == 0) {
            size_t n;
            mare_status status = read_raw(s, s->input, INPUT, &n, e);
            if (status) return status;
            if (n == 0 && s->member_done) return MARE_OK;
            if (n == 0)
                return error_set(e, MARE_E_FORMAT, "%s: the gzip data is cut off at its end",
                                 s->path);
            s->z.next_in = s->input;
            s->z.avail_in = (uInt)n;
        }
        if (s->member_done) { /* what follows has to be another member */
            if (*s->z.next_in != 0x1f)
                return error_set(e, MARE_E_FORMAT, "%s: %ju bytes of garbage after the gzip data",
                                 s->path, (uintmax_t)(s->z.avail_in + s->unread));
            if (inflateReset(&s->z) != Z_OK) return error_no_memory(e, sizeof s->z);
            s->member_done = false;
        }
        size_t room = len - *got < (1u << 30) ? len - *got : (1u << 30);
        s->z.next_out = (unsigned char *)data + *got;
        s->z.avail_out = (uInt)room;
        int r = inflate(&s->z, Z_NO_FLUSH);
        *got += room - s->z.avail_out;
        if (r == Z_STREAM_END)
            s->member_done = true;
        else if (r == Z_MEM_ERROR)
            return error_no_memory(e, INPUT);
        else if (r != Z_OK && !(r == Z_BUF_ERROR && s->z.avail_in == 0))
            return error_set(e, MARE_E_FORMAT, "%s: the gzip data is damaged: %s", s->path,
                             s->z.msg ? s->z.msg : "no reason given");
    }
    return MARE_OK;
}

mare_status io_stream_some(io_stream *s, void *data, size_t len, size_t *got, mare_error *e) {
    *got = 0;
    return s->gzip ? read_gzip(s, data, len, got, e) : read_raw(s, data, len, got, e);
}

mare_status io_stream_read(io_stream *s, void *data, size_t len, const char *what, mare_error *e) {
    size_t got;
    mare_status status = io_stream_some(s, data, len, &got, e);
    if (!status && got < len)
        status =
            error_set(e, MARE_E_FORMAT, "%s ends in %s: %zu bytes were expected, %zu are there",
                      s->path, what, len, got);
    return status;
}

mare_status io_stream_end(io_stream *s, mare_error *e) {
    unsigned char byte;
    size_t got;
    mare_status status = io_stream_some(s, &byte, 1, &got, e);
    if (!status && got)
        status =
            error_set(e, MARE_E_FORMAT, "%s: more data follows than the header tells of", s->path);
    return status;
}

mare_status io_unpack(const char *path, size_t limit, void **data, size_t *len, mare_error *e) {
    *data = NULL;
    *len = 0;
    io_stream *s;
    mare_status status = io_stream_open(path, true, &s, e);
    if (status) return status;
    unsigned char *p = NULL;
    size_t n = 0, cap = 0, got = 0;
    do {
        if (n > limit) {
            status = error_set(e, MARE_E_FORMAT, "%s has more than the %zu bytes allowed%s", path,
                               limit, s->gzip ? " when unpacked" : "");
            break;
        }
        /* One byte over the limit is asked for, so that a file that goes on is noticed. */
        size_t want = cap ? cap * 2 : s->gzip ? INPUT : (size_t)s->unread + 1;
        if (want > limit + 1) want = limit + 1;
        unsigned char *q = realloc(p, want + 1);
        if (!q) {
            status = error_no_memory(e, want + 1);
            break;
        }
        p = q;
        cap = want;
        status = io_stream_some(s, p + n, cap - n, &got, e);
        n += got;
    } while (!status && n == cap);
    io_stream_close(s);
    if (status) {
        free(p);
        return status;
    }
    p[n] = 0;
    *data = p;
    *len = n;
    return MARE_OK;
}

mare_status io_out_open(io_out *o, const char *path, mare_error *e) {
    size_t n = strlen(path) + 16;
    *o = (io_out){.path = path, .temp = malloc(n)};
    if (!o->temp) return error_no_memory(e, n);
    snprintf(o->temp, n, "%s.XXXXXX", path);
    int fd = mkstemp(o->temp);
    o->file = fd < 0 ? NULL : fdopen(fd, "wb");
    if (o->file) return MARE_OK;
    error_set(e, MARE_E_IO, "cannot write %s: %s", path, strerror(errno));
    if (fd >= 0) close(fd), unlink(o->temp);
    free(o->temp);
    return MARE_E_IO;
}

void io_out_bytes(io_out *o, const void *data, size_t len) {
    if (o->error || len == 0) return;
    if (fwrite(data, 1, len, o->file) != len) o->error = errno ? errno : EIO;
}

mare_status io_out_close(io_out *o, bool keep, mare_error *e) {
    int fd = fileno(o->file);
    if (keep && !o->error && (fflush(o->file) || fsync(fd) || fchmod(fd, 0644))) o->error = errno;
    if (fclose(o->file) != 0 && !o->error) o->error = errno;
    if (keep && !o->error && rename(o->temp, o->path) != 0) o->error = errno;
    if (!keep || o->error) unlink(o->temp);
    free(o->temp);
    if (!keep || !o->error) return MARE_OK;
    return error_set(e, MARE_E_IO, "cannot write %s: %s", o->path, strerror(o->error));
}
