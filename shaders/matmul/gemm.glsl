// What every matrix product kernel shares: its parameters, the addresses of the operands.
//
// o[m, n] = sum over k of a[m, k] * b[k, n], for every batch. An address in `a` is the sum of a part
// that depends on m and one that depends on k, m written in up to three digits and k in up to four
// with a stride a digit, so that a convolution over a padded image is a product too: m counts pixels,
// k the taps and channels. In `b`, n has one stride. With slices > 1 each slice sums a part of k's
// outer digits into a matrix of its own; slices.comp adds them up.
//
// AFTER: a program takes the elements of o (attach.glsl). INTS: i32 elements, products and sums, which wrap around; else f32.
#include "mare.glsl"
#ifdef AFTER
#include "attach.glsl"
#endif

#ifdef INTS
#define T int
#define T2 ivec2
#define T4 ivec4
#define MULTIPLY_ADD(x, y, z) ((x) * (y) + (z))
#else
#define T float
#define T2 vec2
#define T4 vec4
#define MULTIPLY_ADD(x, y, z) fma(x, y, z)
#endif

layout(std140, binding = 0) uniform Params {
    int M, N, K, slices;
    int k_size0, k_size1;         // of the inner and the middle digit of k
    int k_part, batch_digits;     // steps of k's outer digits a slice
    int a_first, b_first, o_first, o_slice;
    ivec3 a_k; int b_n;           // strides, the inner digit first
    ivec3 b_k; int o_n;
    ivec3 a_m; int m_size0;
    ivec3 o_m; int m_size1;
    int batches, k_size2;         // of the third digit of k
    int a_k3, b_k3;               // strides of the fourth
    ivec4 batch[6];               // size, and the strides in a, b and o; the innermost digit first
#ifdef ATTACHED_WORDS
    uvec4 attached[ATTACHED_WORDS];
#endif
};

#ifdef AFTER
ATTACHED_TEXT
#define WRITE(address, v) after(uint(address), v)
#else
#define WRITE(address, v) o[address] = v
#endif

// Where a workgroup's part lies: its batch and slice, and the first elements of the operands there.
struct place {
    int a, b, o, slice;
};

place place_of(uint index) {
    place p = place(a_first, b_first, o_first, int(index) % slices);
    p.o += p.slice * o_slice;
    int rest = int(index) / slices;
    for (int i = 0; i < batch_digits; i++) {
        int digit = rest % batch[i].x;
        rest /= batch[i].x;
        p.a += digit * batch[i].y;
        p.b += digit * batch[i].z;
        p.o += digit * batch[i].w;
    }
    return p;
}

ivec3 row_digits(int m) {
    int rest = m / m_size0;
    return ivec3(m - rest * m_size0, rest % m_size1, rest / m_size1);
}

void next_row(inout ivec3 d) {
    d.x++;
    bool carry = d.x == m_size0;
    d.x = carry ? 0 : d.x;
    d.y += carry ? 1 : 0;
    carry = carry && d.y == m_size1;
    d.y = carry ? 0 : d.y;
    d.z += carry ? 1 : 0;
}

int at(ivec3 digits, ivec3 stride) {
    return digits.x * stride.x + digits.y * stride.y + digits.z * stride.z;
}
