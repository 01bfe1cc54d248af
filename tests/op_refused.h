/* An op that must refuse what it was given. */
#ifndef TESTS_OP_REFUSED_H
#define TESTS_OP_REFUSED_H

#include "op_check.h"

#include <criterion/criterion.h>
#include <string.h>

static inline void refused(checker *c, node *n, mare_status status, const char *words) {
    cr_expect_null(n);
    cr_expect_eq(c->error.code, status);
    cr_expect(strstr(c->error.text, words) != NULL, "\"%s\" lacks \"%s\"", c->error.text, words);
    c->error.code = MARE_OK;
}

#endif
