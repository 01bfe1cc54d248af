// Matrix product for software drivers whose lanes are a SIMD vector of the processor
// (lanes.glsl): a workgroup is one subgroup, which keeps R rows of C vectors of columns in registers.
// For each step of k it loads C vectors of b and broadcasts R elements of a, and nothing else.
//
// b lies in panels of C * LANES columns; b_n is the distance from one panel to the next. They are
// pack.comp's, each step of k behind the one before, or for a few rows b's own. A turn of the loop takes U0 steps of k's inner digit, and U1 of
// the middle one (1, unless U0 is the whole inner digit): what the driver does to keep sums over a turn
// costs as much as two steps. A_ALONG_K: a's neighbours lie along k. A_ALONG_M: those of a tile's
// rows, none of which is past the end. K is not 0.
//
// Work: 2 M N K flops. The limit is the processor's two multiply-adds a cycle; R C + C + 1 vectors
// must fit its registers (32 with AVX-512VL). Of 190 GFLOP/s that two cores of one machine give, by
// processor time: R x C = 12 x 2: 111, 6 x 4: 103, 7 x 3: 113, 14 x 1: 77, 13 x 2: 97 (no registers are
// left). U0 = 4: 78 to 85. Without panels half of it: lines 4 KiB apart fall into one set of the cache.
#include "lanes.glsl"
#include "gemm.glsl"

#ifdef INTS
#define BUFFER Ints
#define LOAD load_ints
#else
#define BUFFER Floats
#define LOAD load_floats
#endif
#ifndef AFTER
layout(std430, binding = 3) writeonly buffer O { T o[]; };
#endif

#define EACH(i, n) [[unroll]] for (int i = 0; i < n; i++)
#define BYTES(elements) (uint64_t(elements) * 4)

T acc[R][C];
uint64_t row[R]; // where each row of a starts, in bytes

// N0 by N1 steps of k from the one that the loops are at.
#define TURN(N0, N1) \
    uint64_t turn_a = a1 + uint64_t(k) * a_step, turn_b = b1 + uint64_t(k) * b_step; \
    EACH(u1, N1) EACH(u0, N0) { \
        uint64_t from_a = turn_a + uint64_t(u1) * a_step1; \
        BUFFER from_b = BUFFER(turn_b + uint64_t(u1) * b_step1 + uint64_t(u0) * b_step); \
        T bv[C]; \
        EACH(c, C) bv[c] = LOAD(from_b, c * LANES); \
        EACH(r, R) { \
            T av = A_AT(r, u0); \
            EACH(c, C) acc[r][c] = MULTIPLY_ADD(av, bv[c], acc[r][c]); \
        } \
    }
#if A_ALONG_K
#define A_AT(r, u0) BUFFER(from_a + row[r]).v[u0]
#elif A_ALONG_M
#define A_AT(r, u0) BUFFER(from_a + uint64_t(u0) * a_step + row[0]).v[r]
#else
#define A_AT(r, u0) BUFFER(from_a + uint64_t(u0) * a_step + row[r]).v[0]
#endif

void main() {
    uint tiles_m = uint(M + R - 1) / R, panels = uint(N + C * LANES - 1) / (C * LANES);
    uint g = group_index();
    if (g >= tiles_m * panels * uint(batches * slices)) return;
    uint column_tile = g / tiles_m;
    int row0 = int(g - column_tile * tiles_m) * R;
    uint outer = column_tile / panels;
    int panel = int(column_tile - outer * panels), col0 = panel * C * LANES + int(LANE);
    place p = place_of(outer);

    // Rows past the end repeat the last one, and are not stored.
    EACH(r, R) {
        row[r] = BYTES(at(row_digits(min(row0 + r, M - 1)), a_m));
        EACH(c, C) acc[r][c] = T(0);
    }
    uint64_t a0 = address[0] + BYTES(p.a), b0 = address[1] + BYTES(p.b + panel * b_n);
    // Copied out of the parameter block, which is read again at each use.
    uint64_t a_step = BYTES(a_k.x), a_step1 = BYTES(a_k.y);
    uint64_t b_step = BYTES(b_k.x), b_step1 = BYTES(b_k.y);
    int size0 = k_size0, size1 = k_size1, size2 = k_size2, k_count = K;
    int k2 = p.slice * k_part;
    int k2_end = min(k2 + k_part, (k_count + size0 * size1 - 1) / (size0 * size1));
    do {
        int d3 = k2 / size2, d2 = k2 - d3 * size2, k1 = 0;
        uint64_t a2 = a0 + BYTES(d3 * a_k3 + d2 * a_k.z), b2 = b0 + BYTES(d3 * b_k3 + d2 * b_k.z);
        do {
            int end = min(size0, k_count - (k2 * size1 + k1) * size0), k = 0;
            uint64_t a1 = a2 + uint64_t(k1) * a_step1, b1 = b2 + uint64_t(k1) * b_step1;
            if (end >= U0) {
                do {
                    TURN(U0, U1)
                    k += U0;
                } while (k + U0 <= end);
            }
#if REST
            if (k < end) {
                do {
                    TURN(1, 1)
                    k++;
                } while (k < end);
            }
#endif
            k1 += U1;
        } while (k1 < size1);
        k2++;
    } while (k2 < k2_end);

    EACH(r, R) {
        if (row0 + r < M) {
            int at_row = p.o + at(row_digits(row0 + r), o_m);
            EACH(c, C) {
                int col = col0 + c * LANES;
                if (col < N) WRITE(at_row + col * o_n, acc[r][c]);
            }
        }
    }
}
