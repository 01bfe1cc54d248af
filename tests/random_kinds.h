/* What random graphs are made of. */
#ifndef TESTS_RANDOM_KINDS_H
#define TESTS_RANDOM_KINDS_H

#include "random_maker.h"

typedef struct random_kind {
    step_kind step;
    int weight;
    /* Fills in a step; false where nothing was found that it could work on. */
    bool (*choose)(maker *m, recipe_step *s);
} random_kind;

extern const random_kind random_kinds[]; /* ends with a null name */

#endif
