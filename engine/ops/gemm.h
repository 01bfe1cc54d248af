/* Matrix products as launches: what matmul and the convolutions share. */
#ifndef MARE_OPS_GEMM_H
#define MARE_OPS_GEMM_H

#include "plan/lower.h"

enum { GEMM_DIGITS = 3, GEMM_K_DIGITS = 4, GEMM_BATCH = 6 };

/* o[m, n] = sum over k of a[m, k] * b[k, n], for every batch, all f32 or all i32, which wraps
 * around. m and k are written in digits, the innermost first, each with its stride in elements; see
 * shaders/matmul/gemm.glsl. Unused digits have size 1. Element 0 is a_at, b_at and o_at elements
 * behind where an operand's view starts. */
typedef struct gemm {
    const char *family; /* of the tuner's key */
    operand a, b, o;    /* a and b have buffers; o is row-major when it is a whole tensor */
    int64_t a_at, b_at, o_at;
    bool part; /* of o: the rest is written by other products */
    int panel; /* columns of the panels that b lies in: gemm_prepare(); 0: in none */
    int64_t m_size[GEMM_DIGITS], m_a[GEMM_DIGITS], m_o[GEMM_DIGITS];
    int64_t k_size[GEMM_K_DIGITS], k_a[GEMM_K_DIGITS], k_b[GEMM_K_DIGITS];
    int64_t n, n_b, n_o;
    int batches; /* digits; a batch is shared by all that follows */
    int64_t batch_size[GEMM_BATCH], batch_a[GEMM_BATCH], batch_b[GEMM_BATCH], batch_o[GEMM_BATCH];
} gemm;

/* Launches nothing when there is no output element, writes zeros when k is empty. */
mare_status gemm_lower(lowering *l, const gemm *g);

/* Lays out b as the product's kernels read it, where that pays when `times` products use it: what
 * tells of b, from then on good for all of them, is in g->b, b_at, k_b, n_b, batch_b and panel.
 * gemm_lower() does it by itself for a product whose b nobody has prepared. */
mare_status gemm_prepare(lowering *l, gemm *g, int64_t times);

/* sum + x * y for references, in doubles or, of MARE_I32, in integers that wrap around. */
double gemm_ref_add(mare_dtype t, double sum, double x, double y);

#endif
