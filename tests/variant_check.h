/* For the tests of ops that have several kernels for one launch: lowers a node by hand, for any
 * capabilities, and runs every kernel in turn, not only the one that the tuner would take. */
#ifndef TESTS_VARIANT_CHECK_H
#define TESTS_VARIANT_CHECK_H

#include "op_check.h"

/* How an input lies in memory. */
typedef enum input_layout {
    LAID_PLAIN,
    LAID_SWAPPED, /* the last axis outside of the others */
    LAID_SPARSE,  /* every second element and row of a larger tensor, backwards along the first
                     axis; what lies between is NaN (or a large integer) */
    INPUT_LAYOUTS
} input_layout;

/* Makes, by builders over leaves with values of checker_leaf(), a bilinear node of f32 or i32 that
 * is not evaluated. */
typedef node *(*make_node)(checker *c, const void *what);

/* Lowers what make() makes for caps, its two inputs laid out as told, and runs it on c's device.
 * Each result is compared with the op's reference: an element may be off by the (terms + 2)
 * roundings that a sum of so many terms has in any order, each of at most the sum of the
 * magnitudes; of i32 every element is exact.
 *
 * How many kernels were run; -1 with the reason in message. */
int check_variants(checker *c, const dev_caps *caps, const input_layout layout[2], make_node make,
                   const void *what, int64_t terms, char *message, size_t size);

/* The same for the capabilities of several kinds of devices; with both inputs plain and with both
 * laid out in other ways, or in all pairs of layouts. */
int check_everywhere(checker *c, make_node make, const void *what, int64_t terms, bool all_layouts,
                     char *message, size_t size);

#endif
