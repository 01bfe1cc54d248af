/* What the files of the matrix products share: gemm.c makes the launches, gemm_offer.c offers the
 * kernels that the tuner chooses among, gemm_pack.c lays out the factors. */
#ifndef MARE_OPS_GEMM_INTERNAL_H
#define MARE_OPS_GEMM_INTERNAL_H

#include "ops/gemm.h"

int64_t gemm_product(const int64_t *size, int n);
int64_t gemm_m(const gemm *g);
int64_t gemm_k(const gemm *g);

/* How a product's operands lie, which is what its kernels are made for. */
typedef struct gemm_form {
    int64_t m, k, outer; /* outer: batches and slices */
    int64_t lanes;       /* of the register kernels */
    int a_pair, b_pair;  /* two at once: 0 no, 1 along k, 2 along m or n */
    bool a_four, b_four; /* four at once along m or n */
    int k_digits;        /* 0: one digit of k; 1: up to three; 2: four */
} gemm_form;

/* first: of a and b in their bindings; m to lanes are set. */
void gemm_form_operands(gemm_form *f, const gemm *g, const uint32_t first[2]);
/* Adds the kernels to a launch that has its bindings and parameters. */
mare_status gemm_offer(lowering *l, launch *x, const gemm *g, const gemm_form *f);

/* Lays out a's rows in panels too, where they lie along m: steps of k far apart would fall into few
 * sets of the processor's cache. */
mare_status gemm_pack_rows(lowering *l, gemm *g);
/* Lanes of the register kernel: one SIMD vector of a CPU, or enough to fill a GPU's. */
int64_t gemm_lanes(const lowering *l);

#endif
