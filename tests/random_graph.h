/* Random graphs. */
#ifndef TESTS_RANDOM_GRAPH_H
#define TESTS_RANDOM_GRAPH_H

#include "random_recipe.h"

/* The recipe of a seed: the same on every device. False when nothing came of it. */
bool random_graph(checker *c, uint64_t seed, recipe *r);
/* The same recipe on other sizes, from 0 on: those it was made with; odd ones; some 1 and perhaps
 * one 0. */
enum { RANDOM_SIZES = 3 };
void random_sizes(recipe *r, int which);

#endif
