// Products of few rows whose factors both lie along k (a linear layer's of one sample), for software
// drivers whose lanes are a SIMD vector of the processor (lanes.glsl): a workgroup is one subgroup,
// whose lanes go along k for R rows and C columns at once, and are added up at the end.
//
// Work: 2 M N K flops for N K elements of b, read once: the limit is the memory.
#extension GL_KHR_shader_subgroup_arithmetic : require
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

void main() {
    uint tiles_m = uint(M + R - 1) / R, tiles_n = uint(N + C - 1) / C;
    uint g = group_index();
    if (g >= tiles_m * tiles_n * uint(batches * slices)) return;
    uint column_tile = g / tiles_m;
    int row0 = int(g - column_tile * tiles_m) * R;
    uint outer = column_tile / tiles_n;
    int col0 = int(column_tile - outer * tiles_n) * C;
    place p = place_of(outer);

    // Rows and columns past the end repeat the last, and are not stored.
    T acc[R][C];
    uint64_t row[R], column[C];
    EACH(r, R) EACH(c, C) acc[r][c] = T(0);
    EACH(r, R) row[r] = address[0] + BYTES(p.a + at(row_digits(min(row0 + r, M - 1)), a_m));
    EACH(c, C) column[c] = address[1] + BYTES(p.b + min(col0 + c, N - 1) * b_n);
    // A slice is a digit of k in its own right, of k_size0 steps.
    int begin = p.slice * k_part * k_size0, end = min(K, begin + k_part * k_size0), k = begin;
    if (end - begin >= LANES) {
        do {
            T av[R];
            EACH(r, R) av[r] = LOAD(BUFFER(row[r] + BYTES(k)), 0);
            EACH(c, C) {
                T bv = LOAD(BUFFER(column[c] + BYTES(k)), 0);
                EACH(r, R) acc[r][c] = MULTIPLY_ADD(av[r], bv, acc[r][c]);
            }
            k += LANES;
        } while (k + LANES <= end);
    }
    if (k < end) {
        do { // what no whole vector is left for, in the first lane
            EACH(r, R) EACH(c, C) {
                T sum = MULTIPLY_ADD(BUFFER(row[r] + BYTES(k)).v[0],
                                     BUFFER(column[c] + BYTES(k)).v[0], acc[r][c]);
                acc[r][c] = LANE == 0 ? sum : acc[r][c];
            }
            k++;
        } while (k < end);
    }

    EACH(r, R) {
        int at_row = p.o + at(row_digits(min(row0 + r, M - 1)), o_m);
        EACH(c, C) {
            T sum = subgroupAdd(acc[r][c]);
            if (LANE == 0 && row0 + r < M && col0 + c < N) WRITE(at_row + (col0 + c) * o_n, sum);
        }
    }
}
