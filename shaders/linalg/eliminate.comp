// A workgroup takes one matrix [n, width] of m through elimination, in place.
//
// Defines, one of
//   SOLVE     m is [a | b]; dst = the solution of a x = b, by Gauss and Jordan's method with pivots
//   DET       m is a; dst = sign, log of the size, and value of its determinant
//   CHOLESKY  m is a; dst = the lower triangle whose product with its transpose is a
#include "mare.glsl"
#define USE_log 1
#include "math.glsl"

layout(std140, binding = 0) uniform Params {
    uint count; // of matrices
    uint n;
    uint width;
    uint m_first, dst_first;
};
layout(std430, binding = 1) coherent buffer Matrices { float m[]; };
layout(std430, binding = 2) writeonly buffer Dst { float dst[]; };

#define AT(i, j) m[base + (i) * width + (j)]

void wait() {
    memoryBarrierBuffer();
    barrier();
}

#ifdef CHOLESKY

void main() {
    uint matrix = group_index();
    if (matrix >= count) return;
    uint size = gl_WorkGroupSize.x, lane = gl_LocalInvocationID.x;
    uint base = m_first + matrix * n * width;
    for (uint k = 0u; k < n; k++) {
        float d = sqrt(AT(k, k));
        wait();
        for (uint i = k + 1u + lane; i < n; i += size)
            AT(i, k) /= d;
        if (lane == 0u) AT(k, k) = d;
        wait();
        uint left = n - k - 1u;
        for (uint e = lane; e < left * left; e += size) {
            uint i = k + 1u + e / left, j = k + 1u + e % left;
            if (j <= i) AT(i, j) -= AT(i, k) * AT(j, k);
        }
        wait();
    }
    for (uint e = lane; e < n * n; e += size) {
        uint i = e / n, j = e % n;
        dst[dst_first + matrix * n * n + e] = j <= i ? AT(i, j) : 0.0;
    }
}

#else

shared float largest[gl_WorkGroupSize.x];
shared uint place[gl_WorkGroupSize.x];

// The row from k on with the largest element in column k, the first of equals.
uint pivot(uint base, uint k) {
    uint size = gl_WorkGroupSize.x, lane = gl_LocalInvocationID.x;
    float best = -1.0;
    uint row = k;
    for (uint i = k + lane; i < n; i += size) {
        float x = abs(AT(i, k));
        bool more = x > best;
        best = more ? x : best;
        row = more ? i : row;
    }
    largest[lane] = best;
    place[lane] = row;
    barrier();
    best = largest[0];
    row = place[0];
    for (uint i = 1u; i < size; i++) {
        bool more = largest[i] > best || (largest[i] == best && place[i] < row);
        best = more ? largest[i] : best;
        row = more ? place[i] : row;
    }
    return row;
}

void main() {
    uint matrix = group_index();
    if (matrix >= count) return;
    uint size = gl_WorkGroupSize.x, lane = gl_LocalInvocationID.x;
    uint base = m_first + matrix * n * width;
    float sign_of = 1.0, product = 1.0, logs = 0.0;
    for (uint k = 0u; k < n; k++) {
        uint p = pivot(base, k);
        wait();
        for (uint j = k + lane; j < width && p != k; j += size) {
            float x = AT(k, j);
            AT(k, j) = AT(p, j);
            AT(p, j) = x;
        }
        wait();
        float d = AT(k, k);
#ifdef DET
        sign_of = p != k ? -sign_of : sign_of;
        sign_of *= d < 0.0 ? -1.0 : d == 0.0 ? 0.0 : 1.0;
        product *= p != k ? -d : d;
        logs += m_log(abs(d));
        uint first = k + 1u, rows = n - first;
#else
        uint first = 0u, rows = n;
#endif
        uint left = width - k - 1u;
        for (uint e = lane; e < rows * left; e += size) {
            uint i = first + e / left, j = k + 1u + e % left;
            if (i != k) AT(i, j) -= AT(i, k) / d * AT(k, j);
        }
        wait();
    }
#ifdef DET
    if (lane == 0u) {
        dst[dst_first + matrix * 3u] = sign_of;
        dst[dst_first + matrix * 3u + 1u] = logs;
        dst[dst_first + matrix * 3u + 2u] = product;
    }
#else
    uint columns = width - n;
    for (uint e = lane; e < n * columns; e += size) {
        uint i = e / columns, j = e % columns;
        dst[dst_first + matrix * n * columns + e] = AT(i, n + j) / AT(i, i);
    }
#endif
}

#endif
