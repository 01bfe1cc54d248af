/* Merging of launches that do the same to different memory. */
#ifndef MARE_PLAN_MERGE_H
#define MARE_PLAN_MERGE_H

#include "plan/lower.h"

/* Changes l->launches; what they do stays. */
mare_status plan_merge(lowering *l);

#endif
