/* A random recipe in the making: it is built step by step, and the values of every step are known,
 * so that functions are asked where they are defined and nothing grows beyond all bounds. */
#ifndef TESTS_RANDOM_MAKER_H
#define TESTS_RANDOM_MAKER_H

#include "random_recipe.h"

typedef struct maker {
    checker *c;
    recipe *r;
    recipe_nodes nodes;
    rng random; /* of the choices */
    map known;  /* node -> double *: its values */
} maker;

uint32_t maker_below(maker *m, uint32_t n);
bool maker_chance(maker *m, uint32_t percent);
double maker_between(maker *m, double lo, double hi);

/* Which values will do. */
typedef struct wanted {
    bool any_dtype, floats; /* neither: integers; floats: f32, f16, bf16 */
    bool single;            /* f32 alone */
    int min_rank, max_rank;
} wanted;
/* An earlier step whose value will do, a young one by preference; -1 when there is none. */
int maker_pick(maker *m, wanted w);
/* The same, else a new leaf. -1 when there is no room. */
int maker_need(maker *m, wanted w);

node *maker_value(const maker *m, int step);

/* Appends a step and evaluates it: its place, or -1 where it is refused, is not finite or too
 * large. */
int maker_add(maker *m, const recipe_step *s);
int maker_leaf(maker *m, mare_dtype t, int rank, const axis_size *size, double lo, double hi);
/* A leaf that broadcasts with a step's value: some axes 1, some leading ones not there. */
int maker_partner(maker *m, int step, mare_dtype t, double lo, double hi);
/* Values of a step within lo..hi: itself, or squeezed and moved by two more steps (floats), or a
 * leaf of its shape. */
int maker_fit(maker *m, int step, double lo, double hi);

/* One of the recipe's sizes; an axis of a step. */
axis_size maker_size(maker *m);
axis_size maker_axis(int step, int axis);

#endif
