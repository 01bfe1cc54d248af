#include "io/image.h"

#include "base/file.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* No picture within the limits needs more in one piece: 16-bit RGBA before its reduction, and
 * filter bytes. A packed PNG that would unfold to more fails here. */
static const size_t max_alloc = (size_t)IMAGE_MAX_PIXELS * 8 + IMAGE_MAX_SIDE * 2 + 65536;
enum { MAX_FILE = 1 << 29 };

static void *image_malloc(size_t bytes) {
    return bytes > max_alloc ? NULL : malloc(bytes);
}

static void *image_realloc(void *p, size_t bytes) {
    return bytes > max_alloc ? NULL : realloc(p, bytes);
}

/* The compression of stb_image_write is replaced by zlib's, which packs better and reports a lack
 * of memory. */
static unsigned char *image_compress(unsigned char *data, int len, int *out_len, int quality) {
    uLong size = compressBound((uLong)len);
    unsigned char *out = image_malloc(size);
    if (!out) return NULL;
    if (compress2(out, &size, data, (uLong)len, quality > 9 ? 9 : quality) != Z_OK) {
        free(out);
        return NULL;
    }
    *out_len = (int)size;
    return out;
}

/* The library never aborts: a decoder's own assertion is not worth a host's life, and what they
 * guard is checked by the tests under the address sanitizer. */
#define STBI_ASSERT(x) ((void)(x))
#define STBI_MALLOC image_malloc
#define STBI_REALLOC image_realloc
#define STBI_FREE free
#define STBI_NO_STDIO
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_ONLY_BMP
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_MAX_DIMENSIONS IMAGE_MAX_SIDE
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
/* Functions of stb that are not used, or only declared; gcc looks for them at the file's end. */
#pragma GCC diagnostic ignored "-Wunused-function"
#include <stb/stb_image.h>

#define STBIW_ASSERT(x) ((void)(x))
#define STBIW_MALLOC image_malloc
#define STBIW_REALLOC image_realloc
#define STBIW_FREE free
#define STBIW_ZLIB_COMPRESS image_compress
#define STBI_WRITE_NO_STDIO
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#include <stb/stb_image_write.h>

static uint32_t big_endian(const unsigned char *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* stb_image ignores the check sums of PNG: a damaged picture would pass as a strange one. */
static mare_status check_png(const unsigned char *p, size_t len, const char *name, mare_error *e) {
    static const unsigned char signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    if (len < 8 || memcmp(p, signature, 8) != 0) return MARE_OK;
    for (size_t at = 8;;) {
        if (len - at < 12)
            return error_set(e, MARE_E_FORMAT, "%s: the PNG is cut off at its end", name);
        size_t n = big_endian(p + at);
        if (n > len - at - 12)
            return error_set(e, MARE_E_FORMAT, "%s: a part of the PNG is longer than the file",
                             name);
        if (crc32(0, p + at + 4, (uInt)n + 4) != big_endian(p + at + 8 + n))
            return error_set(e, MARE_E_FORMAT, "%s: a part of the PNG is damaged (check sum)",
                             name);
        if (memcmp(p + at + 4, "IEND", 4) == 0) return MARE_OK;
        at += n + 12;
    }
}

mare_status image_decode(const void *data, size_t len, const char *name, int channels,
                         io_array *out, mare_error *e) {
    int w, h, c;
    memset(out, 0, sizeof *out);
    if (channels < 0 || channels > 4)
        return error_set(e, MARE_E_ARGUMENT, "%s: %d channels; 0 to 4 are possible", name,
                         channels);
    if (len > MAX_FILE)
        return error_set(e, MARE_E_FORMAT, "%s: %zu bytes are more than a picture's %d", name, len,
                         MAX_FILE);
    mare_status status = check_png(data, len, name, e);
    if (status) return status;
    if (!stbi_info_from_memory(data, (int)len, &w, &h, &c))
        return error_set(e, MARE_E_FORMAT, "%s is no PNG, JPEG or BMP that can be read: %s", name,
                         stbi_failure_reason());
    if (w < 1 || h < 1 || w > IMAGE_MAX_SIDE || h > IMAGE_MAX_SIDE || w > IMAGE_MAX_PIXELS / h)
        return error_set(e, MARE_E_FORMAT,
                         "%s: a picture of %d x %d is beyond the limit of %d "
                         "a side and %d pixels",
                         name, w, h, IMAGE_MAX_SIDE, IMAGE_MAX_PIXELS);
    unsigned char *pixels = stbi_load_from_memory(data, (int)len, &w, &h, &c, channels);
    if (!pixels && strcmp(stbi_failure_reason(), "outofmem") == 0)
        return error_set(e, MARE_E_HOST_MEMORY,
                         "%s: a picture of %d x %d needs more memory than there is or may be", name,
                         w, h);
    if (!pixels)
        return error_set(e, MARE_E_FORMAT, "%s cannot be read: %s", name, stbi_failure_reason());
    *out = (io_array){MARE_U8, shape_of(3, h, w, channels ? channels : c), pixels};
    return MARE_OK;
}

mare_status image_read(const char *path, int channels, io_array *out, mare_error *e) {
    void *data;
    size_t len;
    memset(out, 0, sizeof *out);
    mare_status status = file_read(path, MAX_FILE, &data, &len, e);
    if (status) return status;
    status = image_decode(data, len, path, channels, out, e);
    free(data);
    return status;
}

mare_status image_write_png(const char *path, const io_array *a, mare_error *e) {
    const int64_t *dim = a->shape.dim;
    int64_t channels = a->shape.rank == 3 ? dim[2] : 1;
    char buf[SHAPE_TEXT];
    if (a->dtype != MARE_U8)
        return error_set(e, MARE_E_DTYPE, "%s: a picture is made of u8, not %s", path,
                         mare_dtype_name(a->dtype));
    if (a->shape.rank < 2 || a->shape.rank > 3 || (channels != 1 && channels != 3) || dim[0] < 1 ||
        dim[1] < 1 || dim[0] > IMAGE_MAX_SIDE || dim[1] > IMAGE_MAX_SIDE ||
        dim[0] * dim[1] > IMAGE_MAX_PIXELS)
        return error_set(e, MARE_E_SHAPE,
                         "%s: %s is no picture: [height, width] or [height, width, 1 or 3], "
                         "at most %d a side and %d pixels",
                         path, shape_text(&a->shape, buf), IMAGE_MAX_SIDE, IMAGE_MAX_PIXELS);
    int len;
    unsigned char *png =
        stbi_write_png_to_mem(a->data, 0, (int)dim[1], (int)dim[0], (int)channels, &len);
    if (!png) return error_no_memory(e, io_array_bytes(a));
    mare_status status = file_write(path, png, (size_t)len, e);
    free(png);
    return status;
}
