/* The functions of the row language on the host: each by C's libm, apart from the shaders. */
#ifndef MARE_GRAPH_MATH_H
#define MARE_GRAPH_MATH_H

#include <mare/mare.h>

struct expr_function {
    const char *name;
    int arity;
    const char *sign; /* the operator in GLSL; null: m_<name>(...) */
    bool compares;    /* the operator's result is GLSL's bool */
    double (*f1)(double);
    double (*f2)(double, double);
    double (*f3)(double, double, double);
    int32_t (*i1)(int32_t);
    int32_t (*i2)(int32_t, int32_t);
    int32_t (*i3)(int32_t, int32_t, int32_t);
    /* Drivers are known that miscompile its GLSL within another kernel's loop: what calls it stays
     * in launches of its own. */
    bool apart;
};

/* Null when there is none. */
const struct expr_function *math_find(const char *name, int arity);
const struct expr_function *math_function(int i);
/* Does f work in this arithmetic (MARE_F32 or MARE_I32)? */
bool math_knows(const struct expr_function *f, mare_dtype compute);

#endif
