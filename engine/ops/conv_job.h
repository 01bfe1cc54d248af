/* What conv_lower.c hands to the kernels of a convolution. */
#ifndef MARE_OPS_CONV_JOB_H
#define MARE_OPS_CONV_JOB_H

#include "ops/conv.h"
#include "plan/lower.h"

enum { SPACE = 2, RANK = SPACE + CONV_AXES }; /* [N, C, d, h, w] */

/* One convolution, or a part of one: x, y and w have RANK axes. */
typedef struct conv_job {
    conv v;
    operand x, w, y;
    enum { RESULT_Y, RESULT_X, RESULT_W } result;
} conv_job;

/* conv_depthwise.c: a channel a group, read where it lies. */
mare_status conv_depthwise_lower(lowering *l, const conv_job *j);

#endif
