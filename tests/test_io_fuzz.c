/* Valid files with bytes flipped and ends cut off, by the thousand: readers may refuse them or,
 * when the harm is not visible, read them; under the sanitizers nothing else may happen. */
#define _POSIX_C_SOURCE 200809L
#include "base/file.h"
#include "base/rng.h"
#include "io/digits.h"
#include "io/idx.h"
#include "io/image.h"
#include "io/npy.h"
#include "io/safetensors.h"
#include "io_files.h"

#include <zlib.h>

static mare_error err;

typedef mare_status (*reader)(const char *path);

static mare_status read_tensors(const char *path) {
    io_bundle b;
    mare_status status = safetensors_read(path, &b, &err);
    io_bundle_free(&b);
    return status;
}

static mare_status read_npy(const char *path) {
    io_array a;
    mare_status status = npy_read(path, &a, &err);
    io_array_free(&a);
    return status;
}

static mare_status read_idx(const char *path) {
    io_array a;
    mare_status status = idx_read(path, &a, &err);
    io_array_free(&a);
    return status;
}

static mare_status read_image(const char *path) {
    io_array a;
    mare_status status = image_read(path, 0, &a, &err);
    io_array_free(&a);
    return status;
}

/* Damages the file at path in `rounds` ways. The first `head` bytes, which hold what can lie, are
 * hit as often as all the rest. At least `refused` in 100 must be noticed. */
static void damage(const char *path, reader read, size_t head, int rounds, int refused) {
    unsigned char *good, *bad;
    size_t len;
    rng r = {.seed = 7};
    int noticed = 0;
    cr_assert_eq(read(path), MARE_OK, "%s", err.text);
    cr_assert_eq(file_read(path, 0, (void **)&good, &len, &err), MARE_OK);
    bad = malloc(len);
    cr_assert(bad && head <= len);
    for (int i = 0; i < rounds; i++) {
        memcpy(bad, good, len);
        size_t n = len;
        if (i % 4 == 0) n = rng_below(&r, (uint32_t)len);
        int flips = i % 4 == 0 ? 0 : 1 + (int)rng_below(&r, 4);
        for (int j = 0; j < flips; j++) {
            size_t at = rng_below(&r, (uint32_t)(rng_below(&r, 2) ? head : len));
            if (rng_below(&r, 2))
                bad[at] ^= (unsigned char)(1u << rng_below(&r, 8));
            else
                bad[at] = (unsigned char)rng_u32(&r);
        }
        put(path, bad, n);
        mare_status status = read(path);
        cr_assert(status == MARE_OK || (status != MARE_E_HOST_MEMORY && strstr(err.text, path)),
                  "round %d: %s: %s", i, mare_status_name(status), err.text);
        noticed += status != MARE_OK;
    }
    cr_assert_geq(noticed * 100, refused * rounds, "only %d of %d noticed", noticed, rounds);
    free(good);
    free(bad);
    unlink(path);
}

Test(fuzz, safetensors) {
    file_name f = scratch("fuzz.safetensors");
    float w[24] = {0};
    unsigned char u[5] = {0};
    io_named items[] = {{"w", {MARE_F32, shape_of(3, 2, 3, 4), w}},
                        {"b", {MARE_BOOL, shape_of(1, 5), u}},
                        {"u", {MARE_U8, shape_of(1, 5), u}},
                        {"s", {MARE_I32, shape_of(0), w}}};
    io_note note = {"format", "mare \"1\""};
    cr_assert_eq(safetensors_write(f.s, items, 4, &note, 1, &err), MARE_OK, "%s", err.text);
    damage(f.s, read_tensors, 260, 4000, 60);
}

Test(fuzz, npy) {
    file_name f = scratch("fuzz.npy");
    int32_t v[6] = {0};
    io_array a = {MARE_I32, shape_of(2, 2, 3), v};
    cr_assert_eq(npy_write(f.s, &a, &err), MARE_OK, "%s", err.text);
    damage(f.s, read_npy, 80, 4000, 60);
}

Test(fuzz, idx) {
    file_name f = scratch("fuzz.idx");
    unsigned char bytes[4 + 12 + 60] = {0, 0, 8, 3, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 5};
    put(f.s, bytes, sizeof bytes);
    damage(f.s, read_idx, 16, 4000, 50);
}

Test(fuzz, gzip) {
    file_name f = scratch("fuzz.gz");
    unsigned char bytes[8 + 3000] = {0, 0, 8, 1, 0, 0, 3000 >> 8, 3000 & 255};
    for (int i = 0; i < 3000; i++)
        bytes[8 + i] = (unsigned char)(i * i / 9);
    gzFile z = gzopen(f.s, "wb9");
    cr_assert(z && gzwrite(z, bytes, sizeof bytes) == (int)sizeof bytes && gzclose(z) == Z_OK);
    damage(f.s, read_idx, 32, 3000, 85);
}

/* With their check sums set right again, damaged PNGs reach the decoder itself. */
static mare_status read_resealed(const char *path) {
    unsigned char *p;
    size_t len;
    mare_status status = file_read(path, 0, (void **)&p, &len, &err);
    if (status) return status;
    for (size_t at = 8; at + 12 <= len;) {
        size_t n = (size_t)p[at] << 24 | p[at + 1] << 16 | p[at + 2] << 8 | p[at + 3];
        if (n > len - at - 12) break;
        uLong crc = crc32(0, p + at + 4, (uInt)n + 4);
        for (int i = 0; i < 4; i++)
            p[at + 8 + n + (size_t)i] = (unsigned char)(crc >> (24 - 8 * i));
        at += n + 12;
    }
    io_array a;
    status = image_decode(p, len, path, 0, &a, &err);
    io_array_free(&a);
    free(p);
    return status;
}

static void write_picture(const char *path) {
    io_array images, labels;
    cr_assert_eq(digits_make(5, false, 1, &images, &labels, &err), MARE_OK);
    io_array a = {MARE_U8, shape_of(2, 28, 28), images.data};
    cr_assert_eq(image_write_png(path, &a, &err), MARE_OK, "%s", err.text);
    io_array_free(&images);
    io_array_free(&labels);
}

Test(fuzz, png) {
    file_name f = scratch("fuzz.png");
    write_picture(f.s);
    damage(f.s, read_image, 40, 3000, 95);
}

Test(fuzz, png_decoder) {
    file_name f = scratch("resealed.png");
    write_picture(f.s);
    damage(f.s, read_resealed, 40, 3000, 50);
}

Test(fuzz, palette_png) {
    file_name f = scratch("palette.png");
    void *data;
    size_t len;
    cr_assert_eq(file_read(real_data("images/palette_color.png").s, 0, &data, &len, &err), MARE_OK);
    put(f.s, data, len);
    free(data);
    damage(f.s, read_resealed, 200, 2000, 30);
}

Test(fuzz, bmp) {
    file_name f = scratch("fuzz.bmp");
    unsigned char bmp[54 + 4 * 12] = {'B', 'M', 102, 0, 0, 0, 0, 0, 0, 0, 54, 0, 0, 0, 40};
    bmp[18] = 4, bmp[22] = 4, bmp[26] = 1, bmp[28] = 24;
    put(f.s, bmp, sizeof bmp);
    damage(f.s, read_image, 54, 3000, 5);
}

Test(fuzz, jpeg) {
    file_name f = scratch("fuzz.jpg");
    void *data;
    size_t len;
    cr_assert_eq(file_read(real_data("images/rocket.jpg").s, 0, &data, &len, &err), MARE_OK);
    put(f.s, data, len);
    free(data);
    damage(f.s, read_image, 700, 100, 5);
}
