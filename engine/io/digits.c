#include "io/digits.h"

#include "base/hash.h"

#include <string.h>

/* A glyph is one or two strokes in a box of 60 x 100, y downwards. A stroke starts at its first
 * point, ends at its last, and in between follows quadratic curves from midpoint to midpoint with
 * the points as controls; a point given twice is a corner. */
enum { MAX_POINTS = 14, MAX_STROKES = 2 };

typedef struct point {
    int x, y;
} point;

typedef struct glyph {
    int digit;
    struct {
        int n;
        point p[MAX_POINTS];
    } stroke[MAX_STROKES];
} glyph;

#define STROKE(...)                                                                                \
    {                                                                                              \
        sizeof((point[]){__VA_ARGS__}) / sizeof(point), {                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define P(x, y)                                                                                    \
    { x, y }

/* Ways to write each digit, grouped by digit. */
static const glyph glyphs[] = {
    {0,
     {STROKE(P(30, 0), P(8, 0), P(0, 26), P(0, 74), P(12, 100), P(34, 102), P(54, 94), P(62, 60),
             P(58, 20), P(44, -2), P(28, 2))}},
    {0,
     {STROKE(P(44, 6), P(14, -8), P(-4, 60), P(12, 108), P(48, 100), P(64, 44), P(48, -2),
             P(26, 8))}},
    {1, {STROKE(P(30, 0), P(30, 100))}},
    {1, {STROKE(P(14, 24), P(32, 0), P(32, 0), P(32, 100))}},
    {1, {STROKE(P(14, 20), P(32, 0), P(32, 0), P(32, 100)), STROKE(P(10, 100), P(54, 100))}},
    {2,
     {STROKE(P(6, 22), P(10, -4), P(54, -6), P(62, 34), P(30, 64), P(4, 98), P(4, 98), P(60, 96))}},
    {2,
     {STROKE(P(8, 20), P(20, -8), P(62, 0), P(52, 48), P(12, 106), P(-4, 84), P(18, 76),
             P(62, 100))}},
    {3,
     {STROKE(P(6, 10), P(28, -8), P(64, 6), P(54, 46), P(22, 46), P(22, 46), P(64, 48), P(62, 102),
             P(24, 110), P(2, 86))}},
    {3,
     {STROKE(P(6, 2), P(56, 2), P(56, 2), P(26, 40), P(26, 40), P(68, 46), P(60, 106), P(16, 108),
             P(2, 88))}},
    {4, {STROKE(P(10, 0), P(4, 58), P(4, 58), P(60, 56)), STROKE(P(46, 16), P(42, 100))}},
    {4, {STROKE(P(46, 100), P(46, 0), P(46, 0), P(2, 66), P(2, 66), P(62, 66))}},
    {5,
     {STROKE(P(54, 2), P(12, 2), P(12, 2), P(8, 44), P(8, 44), P(40, 32), P(68, 56), P(54, 104),
             P(20, 108), P(2, 88))}},
    {5,
     {STROKE(P(12, 4), P(8, 46), P(8, 46), P(44, 32), P(68, 70), P(44, 110), P(4, 94)),
      STROKE(P(12, 4), P(58, 2))}},
    {6,
     {STROKE(P(48, 0), P(16, 14), P(-2, 70), P(10, 106), P(54, 106), P(62, 62), P(30, 44),
             P(6, 76))}},
    {6, {STROKE(P(36, 0), P(4, 50), P(0, 102), P(42, 108), P(62, 76), P(36, 50), P(6, 74))}},
    {7, {STROKE(P(4, 4), P(58, 4), P(58, 4), P(30, 50), P(22, 100))}},
    {7, {STROKE(P(4, 4), P(58, 4), P(58, 4), P(32, 50), P(22, 100)), STROKE(P(14, 52), P(50, 50))}},
    {7, {STROKE(P(4, 16), P(6, 2), P(6, 2), P(58, 2), P(58, 2), P(24, 100))}},
    {8,
     {STROKE(P(54, 16), P(32, -8), P(0, 6), P(8, 40), P(52, 58), P(68, 94), P(30, 110), P(-6, 94),
             P(8, 58), P(54, 40), P(58, 12), P(46, 4))}},
    {8,
     {STROKE(P(30, 0), P(12, -2), P(4, 12), P(8, 36), P(30, 50), P(52, 36), P(56, 12), P(46, -2),
             P(30, 0)),
      STROKE(P(30, 46), P(10, 52), P(-2, 74), P(8, 98), P(30, 104), P(54, 98), P(62, 74), P(50, 52),
             P(30, 46))}},
    {9,
     {STROKE(P(54, 18), P(40, -8), P(2, -2), P(0, 46), P(30, 58), P(54, 42), P(54, 12), P(54, 12),
             P(50, 60), P(44, 100))}},
    {9,
     {STROKE(P(54, 14), P(22, -12), P(-6, 30), P(16, 60), P(52, 46), P(56, 8), P(62, 72),
             P(40, 106), P(10, 96))}},
};
enum { GLYPHS = sizeof glyphs / sizeof glyphs[0] };

static int between(rng *r, int low, int high) {
    return low + (int)rng_below(r, (uint32_t)(high - low + 1));
}

/* From the box to the picture, in 1/256 pixel: out = m * p / 4096 + shift. */
typedef struct pen {
    int64_t m[2][2];
    int shift[2];
    int radius; /* of the line, in 1/256 pixel */
    int ink;    /* grey value of a full line */
} pen;

static pen random_pen(rng *r) {
    const int64_t one = 4096;
    /* Angle in 1/4096 radian; sine and cosine by their series, which is exact enough up to 15
     * degrees and the same everywhere. */
    int64_t a = between(r, -1000, 1000);
    int64_t sine = a - a * a * a / (6 * one * one);
    int64_t cosine = one - a * a / (2 * one) + a * a * a * a / (24 * one * one * one);
    int64_t shear = between(r, -1000, 650); /* most hands lean to the right */
    int64_t high = between(r, 44, 52);      /* 1/256 pixel a unit: a height of 17 to 20 pixels */
    int64_t wide = high * between(r, 80, 120) / 100;
    pen p;
    p.m[0][0] = cosine * wide;
    p.m[0][1] = (shear * cosine / one - sine) * high;
    p.m[1][0] = sine * wide;
    p.m[1][1] = (shear * sine / one + cosine) * high;
    p.shift[0] = DIGIT_SIDE * 128 + between(r, -384, 384);
    p.shift[1] = DIGIT_SIDE * 128 + between(r, -384, 384);
    p.radius = between(r, 190, 400);
    p.ink = between(r, 200, 255);
    return p;
}

static point apply(const pen *p, int x, int y) {
    int64_t u = x - 30, v = y - 50;
    return (point){(int)((p->m[0][0] * u + p->m[0][1] * v) / 4096) + p->shift[0],
                   (int)((p->m[1][0] * u + p->m[1][1] * v) / 4096) + p->shift[1]};
}

static int square_root(int v) {
    int root = 0;
    for (int bit = 1 << 14; bit; bit >>= 1)
        if ((root + bit) * (root + bit) <= v) root += bit;
    return root;
}

static int clamp(int v, int low, int high) {
    return v < low ? low : v > high ? high : v;
}

/* A line from a to b with round ends, blended in by maximum. Its edge falls from full to nothing
 * over one pixel. */
static void draw_line(unsigned char *image, const pen *p, point a, point b) {
    const int reach = p->radius + 128, side = DIGIT_SIDE;
    int x0 = clamp(((a.x < b.x ? a.x : b.x) - reach) / 256, 0, side - 1);
    int x1 = clamp(((a.x > b.x ? a.x : b.x) + reach) / 256, 0, side - 1);
    int y0 = clamp(((a.y < b.y ? a.y : b.y) - reach) / 256, 0, side - 1);
    int y1 = clamp(((a.y > b.y ? a.y : b.y) + reach) / 256, 0, side - 1);
    int64_t dx = b.x - a.x, dy = b.y - a.y, length = dx * dx + dy * dy;
    for (int y = y0; y <= y1; y++)
        for (int x = x0; x <= x1; x++) {
            int64_t u = x * 256 + 128 - a.x, v = y * 256 + 128 - a.y;
            int64_t t = length ? (u * dx + v * dy) * 4096 / length : 0;
            t = t < 0 ? 0 : t > 4096 ? 4096 : t;
            u -= t * dx / 4096;
            v -= t * dy / 4096;
            int64_t d2 = u * u + v * v;
            if (d2 >= reach * reach) continue;
            int cover = clamp(reach - square_root((int)d2), 0, 256);
            unsigned char grey = (unsigned char)(p->ink * cover / 256);
            if (grey > image[y * side + x]) image[y * side + x] = grey;
        }
}

/* The quadratic curve a, b, c. */
static void draw_curve(unsigned char *image, const pen *p, point a, point b, point c) {
    enum { STEPS = 6 };
    point from = a;
    for (int i = 1; i <= STEPS; i++) {
        int j = STEPS - i;
        point to = {(j * j * a.x + 2 * i * j * b.x + i * i * c.x) / (STEPS * STEPS),
                    (j * j * a.y + 2 * i * j * b.y + i * i * c.y) / (STEPS * STEPS)};
        draw_line(image, p, from, to);
        from = to;
    }
}

static void draw_stroke(unsigned char *image, const pen *p, rng *r, const point *at, int n) {
    point q[MAX_POINTS] = {{0, 0}};
    for (int i = 0; i < n; i++) {
        if (i && at[i].x == at[i - 1].x && at[i].y == at[i - 1].y) {
            q[i] = q[i - 1];
            continue;
        }
        /* Drawn one by one: the order of arguments is the compiler's choice. */
        int x = at[i].x + between(r, -5, 5);
        int y = at[i].y + between(r, -5, 5);
        q[i] = apply(p, x, y);
    }
    point from = q[0];
    for (int i = 1; i + 1 < n; i++) {
        point to = {(q[i].x + q[i + 1].x) / 2, (q[i].y + q[i + 1].y) / 2};
        draw_curve(image, p, from, q[i], to);
        from = to;
    }
    draw_line(image, p, from, q[n - 1]);
}

/* Noise with a triangular distribution, two pixels a random word. */
static void add_noise(unsigned char *image, rng *r) {
    int strength = between(r, 0, 24);
    for (int i = 0; i < DIGIT_SIDE * DIGIT_SIDE; i += 2) {
        uint32_t w = rng_u32(r);
        for (int j = 0; j < 2; j++, w >>= 16) {
            int noise = (int)(w & 255) + (int)(w >> 8 & 255) - 255;
            image[i + j] = (unsigned char)clamp(image[i + j] + noise * strength / 255, 0, 255);
        }
    }
}

static void draw_digit(unsigned char *image, int digit, rng *r) {
    int first = 0, ways = 0;
    while (glyphs[first].digit != digit)
        first++;
    while (first + ways < GLYPHS && glyphs[first + ways].digit == digit)
        ways++;
    const glyph *g = &glyphs[first + between(r, 0, ways - 1)];
    pen p = random_pen(r);
    memset(image, 0, DIGIT_SIDE * DIGIT_SIDE);
    for (int i = 0; i < MAX_STROKES && g->stroke[i].n; i++)
        draw_stroke(image, &p, r, g->stroke[i].p, g->stroke[i].n);
    add_noise(image, r);
}

mare_status digits_make(uint64_t seed, bool test, int64_t n, io_array *images, io_array *labels,
                        mare_error *e) {
    memset(images, 0, sizeof *images);
    memset(labels, 0, sizeof *labels);
    if (n < 0 || n > INT32_MAX)
        return error_set(e, MARE_E_ARGUMENT, "digits: %lld of them", (long long)n);
    shape image_shape = {.rank = 3, .dim = {n, DIGIT_SIDE, DIGIT_SIDE}};
    shape label_shape = {.rank = 1, .dim = {n}};
    mare_status status = io_array_new(images, MARE_U8, &image_shape, e);
    if (!status) status = io_array_new(labels, MARE_U8, &label_shape, e);
    if (status) {
        io_array_free(images);
        return status;
    }
    uint64_t key = hash_bytes(&seed, sizeof seed, test ? 2 : 1);
    for (int64_t i = 0; i < n; i++) {
        /* Every image has a stretch of the stream for itself. */
        rng r = {.seed = key, .next = (uint64_t)i << 16};
        int digit = between(&r, 0, 9);
        ((unsigned char *)labels->data)[i] = (unsigned char)digit;
        draw_digit((unsigned char *)images->data + i * DIGIT_SIDE * DIGIT_SIDE, digit, &r);
    }
    return MARE_OK;
}
