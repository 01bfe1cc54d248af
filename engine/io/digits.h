/* Handwriting-like digits that Mare draws itself, for when no MNIST is at hand. */
#ifndef MARE_IO_DIGITS_H
#define MARE_IO_DIGITS_H

#include "io/io.h"

enum { DIGIT_SIDE = 28 };

/* Makes images u8 [n, 28, 28] (ink 255 on 0, as in MNIST) and labels u8 [n]. Image i depends on
 * seed, `test` and i alone, so a longer set starts like a shorter one, and the training and the
 * test set of a seed share nothing. Drawn in integers only: every machine gives the same bytes. */
mare_status digits_make(uint64_t seed, bool test, int64_t n, io_array *images, io_array *labels,
                        mare_error *e);

#endif
