// Matrix product held in registers alone: each invocation keeps R rows of C columns, a workgroup R
// rows of C columns an invocation. There is no barrier and no shared memory, so it runs anywhere;
// with one SIMD vector as the workgroup it is the quick way on a CPU, where a load of the same
// element by all lanes costs as much as any. R = C = 1 is the plain kernel.
//
// A_PAIR and B_PAIR: two neighbours are loaded at once, along k (1) or along m or n (2); their
// addresses are even then. That halves the loads, which are what a CPU's driver is slow at. INT64:
// with 64-bit integers, which a driver cannot split into two loads again.
#extension GL_EXT_control_flow_attributes : require
#ifdef INT64
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#endif
#include "gemm.glsl"

#ifndef INT64
#define PAIR T2
#define SPLIT(x) (x)
#else
#define PAIR uint64_t
#ifdef INTS
#define SPLIT(x) ivec2(unpackUint2x32(x))
#else
#define SPLIT(x) uintBitsToFloat(unpackUint2x32(x))
#endif
#endif

#if A_PAIR
layout(std430, binding = 1) readonly buffer A { PAIR a[]; };
#else
layout(std430, binding = 1) readonly buffer A { T a[]; };
#endif
#if B_PAIR
layout(std430, binding = 2) readonly buffer B { PAIR b[]; };
#else
layout(std430, binding = 2) readonly buffer B { T b[]; };
#endif
#ifndef AFTER
layout(std430, binding = 3) writeonly buffer O { T o[]; };
#endif

#define EACH(i, n) [[unroll]] for (int i = 0; i < n; i++)
// Steps of k a turn of the loop.
#if A_PAIR == 1 || B_PAIR == 1
#define U 2
#else
#define U 1
#endif
// Columns that lie side by side in one invocation.
#if B_PAIR == 2
#define W 2
#else
#define W 1
#endif
#if A_PAIR
#define A_HALF 2
#else
#define A_HALF 1
#endif
#if B_PAIR
#define B_HALF 2
#else
#define B_HALF 1
#endif

void main() {
    int lanes = int(gl_WorkGroupSize.x), lane = int(gl_LocalInvocationID.x);
    uint tiles_m = uint(M + R - 1) / R;
    uint tiles_n = uint(N + lanes * C - 1) / uint(lanes * C);
    uint g = group_index();
    if (g >= tiles_m * tiles_n * uint(batches * slices)) return;
    uint column_tile = g / tiles_m;
    int row0 = int(g - column_tile * tiles_m) * R;
    uint outer = column_tile / tiles_n;
    int col0 = int(column_tile - outer * tiles_n) * lanes * C + lane * W;
    place p = place_of(outer);

    // Rows and columns past the end repeat the last ones, and are not stored.
    ivec3 first_row = row_digits(row0), d = first_row;
    int ar[R], bc[C];
    EACH(r, R) {
        ar[r] = (p.a + at(d, a_m)) / A_HALF;
        if (row0 + r + 1 < M) next_row(d);
    }
    EACH(c, C) bc[c] = (p.b + min(col0 + c / W * W * lanes, N - W) * b_n) / B_HALF;
    // Copied out of the parameter block: a read in the loop is not cheap everywhere. A turn of the
    // loop goes on by *_turn, a step of k within a turn by *_step; in units of what is loaded.
    int a_step = a_k.x / A_HALF, b_step = b_k.x / B_HALF;
    int a_turn = a_k.x * U / A_HALF, b_turn = b_k.x * U / B_HALF;

    T acc[R][C];
    EACH(r, R) EACH(c, C) acc[r][c] = T(0);

    int k2_end = min((p.slice + 1) * k_part, (K + k_size0 * k_size1 - 1) / (k_size0 * k_size1));
    for (int k2 = p.slice * k_part; k2 < k2_end; k2++) {
        int d3 = k2 / k_size2, d2 = k2 - d3 * k_size2;
        int a2 = d3 * a_k3 + d2 * a_k.z, b2 = d3 * b_k3 + d2 * b_k.z;
        for (int k1 = 0; k1 < k_size1; k1++) {
            int end = min(k_size0, K - (k2 * k_size1 + k1) * k_size0);
            int ka = (a2 + k1 * a_k.y) / A_HALF, kb = (b2 + k1 * b_k.y) / B_HALF;
            for (int k = 0; k < end; k += U) {
                T av[R][U], bv[U][C];
#if B_PAIR == 2
                EACH(u, U) EACH(c, C / 2) {
                    T2 t = SPLIT(b[bc[2 * c] + kb + u * b_step]);
                    bv[u][2 * c] = t.x;
                    bv[u][2 * c + 1] = t.y;
                }
#elif B_PAIR == 1
                EACH(c, C) {
                    T2 t = SPLIT(b[bc[c] + kb]);
                    bv[0][c] = t.x;
                    bv[1][c] = t.y;
                }
#else
                EACH(u, U) EACH(c, C) bv[u][c] = b[bc[c] + kb + u * b_step];
#endif
#if A_PAIR == 2
                EACH(u, U) EACH(r, R / 2) {
                    T2 t = SPLIT(a[ar[2 * r] + ka + u * a_step]);
                    av[2 * r][u] = t.x;
                    av[2 * r + 1][u] = t.y;
                }
#elif A_PAIR == 1
                EACH(r, R) {
                    T2 t = SPLIT(a[ar[r] + ka]);
                    av[r][0] = t.x;
                    av[r][1] = t.y;
                }
#else
                EACH(r, R) EACH(u, U) av[r][u] = a[ar[r] + ka + u * a_step];
#endif
                EACH(r, R) EACH(c, C) EACH(u, U)
                    acc[r][c] = MULTIPLY_ADD(av[r][u], bv[u][c], acc[r][c]);
                ka += a_turn;
                kb += b_turn;
            }
        }
    }

    d = first_row;
    EACH(r, R) {
        if (row0 + r < M) {
            int at_row = p.o + at(d, o_m);
            EACH(c, C) {
                int col = col0 + c / W * W * lanes + c % W;
                if (col < N) WRITE(at_row + col * o_n, acc[r][c]);
            }
        }
        next_row(d);
    }
}
