// Matrix product through shared memory, for GPUs: a workgroup makes BM x BN elements, each of its
// invocations TM x TN of them in registers, and loads BK steps of k at a time.
//
// K_DIGITS: k has one digit (0), up to three (1) or four (2). A_VEC and B_VEC: four neighbours along
// m or n are loaded at once; all addresses are multiples of four then. BM, BN, TM and TN are
// multiples of four.
#extension GL_EXT_control_flow_attributes : require
#include "gemm.glsl"

#if A_VEC
layout(std430, binding = 1) readonly buffer A { T4 a[]; };
#else
layout(std430, binding = 1) readonly buffer A { T a[]; };
#endif
#if B_VEC
layout(std430, binding = 2) readonly buffer B { T4 b[]; };
#else
layout(std430, binding = 2) readonly buffer B { T b[]; };
#endif
#ifndef AFTER
layout(std430, binding = 3) writeonly buffer O { T o[]; };
#endif

const int THREADS = (BM / TM) * (BN / TN);
const int ROW_A = BM / 4 + 1, ROW_B = BN / 4 + 1; // the odd one keeps banks apart
shared T4 tile_a[BK * ROW_A];
shared T4 tile_b[BK * ROW_B];

#define EACH(i, n) [[unroll]] for (int i = 0; i < n; i++)

int k_address(int k, ivec3 stride, int stride3) {
#if K_DIGITS
    int rest = k / k_size0, outer = rest / k_size1, address = 0;
    ivec3 d = ivec3(k - rest * k_size0, rest - outer * k_size1, outer);
#if K_DIGITS == 2
    int last = outer / k_size2;
    d.z = outer - last * k_size2;
    address = last * stride3;
#endif
    return address + at(d, stride);
#else
    return k * stride.x;
#endif
}

void main() {
    int id = int(gl_LocalInvocationID.x), tx = id % (BN / TN), ty = id / (BN / TN);
    uint tiles_m = uint(M + BM - 1) / BM, tiles_n = uint(N + BN - 1) / BN;
    uint g = group_index();
    if (g >= tiles_m * tiles_n * uint(batches * slices)) return;
    uint row_tile = g / tiles_n;
    int col0 = int(g - row_tile * tiles_n) * BN;
    uint outer = row_tile / tiles_m;
    int row0 = int(row_tile - outer * tiles_m) * BM;
    place p = place_of(outer);
    int k_digit = k_size0 * k_size1;
    int k_begin = p.slice * k_part * k_digit, k_end = min(K, k_begin + k_part * k_digit);

    // What this invocation loads: four rows by one k, and one k by four columns, every THREADS.
    const int LOADS_A = (BK * BM / 4 + THREADS - 1) / THREADS;
    const int LOADS_B = (BK * BN / 4 + THREADS - 1) / THREADS;
#if !A_VEC
    int ar[LOADS_A][4];
    EACH(i, LOADS_A) EACH(j, 4) {
        int m = row0 + (id + i * THREADS) / BK * 4 + j;
        ar[i][j] = p.a + at(row_digits(min(m, M - 1)), a_m);
    }
#endif

    T4 acc[TM][TN / 4];
    EACH(r, TM) EACH(c, TN / 4) acc[r][c] = T4(0);

    for (int k0 = k_begin; k0 < k_end; k0 += BK) {
        EACH(i, LOADS_A) {
            int e = id + i * THREADS;
#if A_VEC
            int kk = e / (BM / 4), quad = e % (BM / 4), m = row0 + quad * 4;
#else
            int kk = e % BK, quad = e / BK, m = row0 + quad * 4;
#endif
            int k = k0 + kk;
            T4 v = T4(0);
            if (k < k_end && m < M && e < BK * BM / 4) {
                int ka = k_address(k, a_k, a_k3);
#if A_VEC
                v = a[(p.a + at(row_digits(m), a_m) + ka) / 4];
#else
                v = T4(a[ar[i][0] + ka], a[ar[i][1] + ka], a[ar[i][2] + ka], a[ar[i][3] + ka]);
#endif
            }
            if (e < BK * BM / 4) tile_a[kk * ROW_A + quad] = v;
        }
        EACH(i, LOADS_B) {
            int e = id + i * THREADS;
            int kk = e / (BN / 4), quad = e % (BN / 4), n = col0 + quad * 4, k = k0 + kk;
            T4 v = T4(0);
            if (k < k_end && n < N && e < BK * BN / 4) {
                int kb = p.b + k_address(k, b_k, b_k3);
#if B_VEC
                v = b[(kb + n) / 4];
#else
                EACH(j, 4) v[j] = b[kb + min(n + j, N - 1) * b_n];
#endif
            }
            if (e < BK * BN / 4) tile_b[kk * ROW_B + quad] = v;
        }
        barrier();
        EACH(kk, BK) {
            T4 va[TM / 4], vb[TN / 4];
            EACH(r, TM / 4) va[r] = tile_a[kk * ROW_A + ty + r * (BM / TM)];
            EACH(c, TN / 4) vb[c] = tile_b[kk * ROW_B + tx + c * (BN / TN)];
            EACH(r, TM) EACH(c, TN / 4)
                acc[r][c] = MULTIPLY_ADD(T4(va[r / 4][r % 4]), vb[c], acc[r][c]);
        }
        barrier();
    }

    EACH(r, TM) {
        int m = row0 + (ty + r / 4 * (BM / TM)) * 4 + r % 4;
        if (m < M) {
            int at_row = p.o + at(row_digits(m), o_m);
            EACH(c, TN / 4) EACH(j, 4) {
                int n = col0 + (tx + c * (BN / TN)) * 4 + j;
                if (n < N) WRITE(at_row + n * o_n, acc[r][c][j]);
            }
        }
    }
}
