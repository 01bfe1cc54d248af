/* How the operands of a program are reached from a loop's counter: what the kernels of programs
 * share (plan/map.c launches one, plan/attach.c puts one into another kernel). */
#ifndef MARE_PLAN_PLACES_H
#define MARE_PLAN_PLACES_H

#include "plan/program.h"

/* How an operand is read or written. */
typedef enum operand_class {
    CLASS_RAW,     /* given by the kernel that the program is attached to, or taken by it */
    CLASS_WORD,    /* a constant in the parameter block */
    CLASS_ONE,     /* the same element everywhere */
    CLASS_ROW,     /* in the order of the loop, from a multiple of 4 on */
    CLASS_STRIDED, /* anywhere */
    /* Where four consecutive places always stand in one innermost row, a strided operand can also
     * have for the four of them: */
    CLASS_STRIDED_ONE, /* one element */
    CLASS_STRIDED_ROW  /* four in a row, from a multiple of 4 on */
} operand_class;

static inline bool is_strided(operand_class c) {
    return c >= CLASS_STRIDED;
}

/* The work: operands of one shape, the outputs first. */
typedef struct work {
    const program *p;
    int n, n_out;
    int raw; /* the operand of CLASS_RAW, or -1 */
    operand o[PROGRAM_OPERANDS];
} work;

/* An operand's way through the kernel. */
typedef struct access_plan {
    operand_class class;
    int word;    /* the first of its parameter words: its first element, then strides */
    int written; /* of an input: the output that takes its memory, element by element; or -1 */
} access_plan;

static inline bool is_bound(const access_plan *a) {
    return a->class != CLASS_RAW && a->class != CLASS_WORD && a->written < 0;
}

/* The work of p. */
void work_of(const program *p, work *w);
/* Merges neighbouring axes that every operand named in `which` (a bit mask) steps through evenly.
 */
void work_collapse(work *w, uint64_t which);
operand_class work_classify(const work *w, int i);
/* Classes of all operands, and their words from `word` on, behind those of the loop. `four`: places
 * come in fours, for which there are finer classes. Returns the number of words so far, a multiple
 * of 4; *rank: axes that strided operands walk, 0 when there is none. */
int work_plan(work *w, access_plan *a, int word, bool four, int *rank);
/* Binds inputs, then outputs; first: the first element of each in its binding. */
mare_status work_bind(lowering *l, launch *x, const work *w, const access_plan *a, uint32_t *first);
/* Sizes of the loop with what divides by them, and words of the operands, in the order of
 * work_plan(). */
void work_words(launch *x, const work *w, const access_plan *a, int rank, const uint32_t *first);
/* ---- Launches of map.c, and merging them -------------------------------------------------- */

typedef struct map_text map_text;
/* Workgroups of a launch of one part. */
uint64_t map_groups(const launch *x);
/* Parameter words in front of those of the parts. */
int map_head_words(int parts);
/* One launch that does what n do whose defines are equal. */
mare_status map_merge(lowering *l, launch *const *part, int n, launch **out);

/* Is w a copy that shaders/movement/transpose.comp can do (plan/transpose.c)? Then its launch. */
bool work_transposes(const lowering *l, const work *w);
mare_status work_transpose(lowering *l, const work *w);

/* Does operand i fit one binding, wherever the binding's start falls? */
bool work_fits(const lowering *l, const operand *o);
/* The element type of an operand's storage block. */
const char *work_block_type(mare_dtype t, operand_class c);

#endif
