/* When the tuner may measure. */
#include "kernel/internal.h"

#include <ctype.h>
#include <string.h>

/* Seconds at first use. Enough for the problems of most networks, which take some tenths each;
 * those of a large one are spread over its first starts. */
static const double default_budget = 60;

void tune_set_policy(kernels *k, mare_tuning when, double budget) {
    k->tune.when = when;
    k->tune.budget = budget < 0 ? default_budget : budget;
    k->tune.spent = 0;
}

mare_tuning tune_get_policy(const kernels *k, double *left) {
    const tuner *t = &k->tune;
    if (left) *left = t->spent < t->budget ? t->budget - t->spent : 0;
    return t->when;
}

/* "20s": whole seconds, six digits at most. */
static bool parse_seconds(const char *words, double *seconds) {
    size_t digits = 0;
    for (*seconds = 0; isdigit((unsigned char)words[digits]) && digits < 6; digits++)
        *seconds = *seconds * 10 + (words[digits] - '0');
    return digits && strcmp(words + digits, "s") == 0;
}

mare_status tune_parse_policy(const char *words, mare_tuning *when, double *budget, mare_error *e) {
    static const struct {
        const char *word;
        mare_tuning when;
    } all[] = {{"off", MARE_TUNING_OFF},
               {"0", MARE_TUNING_OFF},
               {"known", MARE_TUNING_KNOWN},
               {"first use", MARE_TUNING_FIRST_USE},
               {"1", MARE_TUNING_FIRST_USE}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(words, all[i].word) == 0) {
            *when = all[i].when;
            *budget = -1;
            return MARE_OK;
        }
    *when = MARE_TUNING_FIRST_USE;
    if (parse_seconds(words, budget)) return MARE_OK;
    return error_set(e, MARE_E_ARGUMENT,
                     "tuning: \"%.60s\" is none of off, known, first use, nor seconds such as 20s",
                     words);
}
