/* Mare's autotuner: which of the kernels that can do a piece of work does it. <mare/mare.h>
 * includes this. */
#ifndef MARE_TUNE_H
#define MARE_TUNE_H

#include <mare/mare.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Work that several kernels can do is done by the one that was fastest on this device. What was
 * measured is kept on disk ($MARE_CACHE/tuning.db) under the device, its driver, the problem's key
 * and the list of candidates: when one of them is another, it is measured anew. */

/* When the tuner may measure, which takes the device and the caller's time. A pinned candidate
 * counts in every case. Where nothing is known and nothing may be measured, the candidate that
 * suits devices of this kind is taken. */
typedef enum mare_tuning {
    MARE_TUNING_FIRST_USE, /* when a problem is first met, as long as the budget lasts */
    MARE_TUNING_KNOWN,     /* never but in a run: what is on disk is used */
    MARE_TUNING_OFF        /* the same, and what is on disk is not looked at: every start of a
                              program takes the same kernels */
} mare_tuning;

/* From now on. budget: seconds that measuring at first use may take in this context from here on,
 * compiling the candidates among them; negative: the default, 60. Plans made before are forgotten,
 * so that their kernels are chosen anew. A new context measures at first use; on a device of the
 * host's own, which has frames to keep, it does not (MARE_TUNING_KNOWN). $MARE_TUNE says otherwise:
 * `off` (or 0), `known`, `first use` (or 1), or `20s`: at first use, with that budget. */
MARE_API mare_status mare_set_tuning(mare_context *ctx, mare_tuning when, double budget);
/* left: seconds of the budget; null is allowed. */
MARE_API mare_tuning mare_get_tuning(const mare_context *ctx, double *left);

typedef enum mare_tune_state {
    MARE_TUNE_MEASURED, /* in this run */
    MARE_TUNE_KNOWN,    /* measured before */
    MARE_TUNE_PINNED,
    MARE_TUNE_FAILED, /* no candidate could be measured */
    MARE_TUNE_LEFT,   /* the budget did not last */
    MARE_TUNE_RUNNING /* candidates are being measured */
} mare_tune_state;
#define MARE_TUNE_STATES 6
/* "measured", "known", "pinned", "failed", "left", "running". */
MARE_API const char *mare_tune_state_name(mare_tune_state state);

typedef struct mare_tune_candidate {
    const char *name;
    double seconds; /* of one run; 0: not measured, or it failed */
} mare_tune_candidate;

/* What is known of a problem. Texts live as long as the context. */
typedef struct mare_tune_record {
    const char *key;  /* family, sizes and layout, such as "matmul/f32/512x512x512/b1/a100/b21" */
    const char *list; /* stands for the candidates and their shaders; "" of a pin */
    const char *best; /* null where there is none */
    mare_tune_state state;
    double flops, bytes; /* of one run: arithmetic, and all that it binds; 0: not known */
    int n;
    const mare_tune_candidate *candidates;
} mare_tune_record;

/* The i-th record of this device: of every pinned key, and of every measured list. False past the
 * last. */
MARE_API bool mare_tune_record_at(mare_context *ctx, int i, mare_tune_record *out);
/* From now on, and in later runs on this device, problems of that key are answered by the candidate
 * of that name. Null takes the pin away. A name that is none of the candidates, where they are
 * known, is MARE_E_ARGUMENT and lists them; lists without it are chosen from as ever. */
MARE_API mare_status mare_tune_pin(mare_context *ctx, const char *key, const char *candidate);
/* Forgets all that is known of this device, pins too. */
MARE_API mare_status mare_tune_clear(mare_context *ctx);

typedef struct mare_tune_options {
    double budget; /* seconds that measuring may take; negative: no limit */
    bool force;    /* measure what is known, too */
    /* Told of each problem that is met, once when its state is certain, and before that, while it
     * is measured, after each candidate. It must not call the library; false: no further problem is
     * measured in this run. Null is allowed. */
    bool (*told)(void *user, const mare_tune_record *record);
    void *user;
} mare_tune_options;
/* A tuning run: from here to the end the problems of everything that is evaluated are measured,
 * whatever mare_set_tuning() says, each with all its candidates. What is known is not measured
 * again, so a run goes on where one before it ended. Plans made before are forgotten.
 * MARE_E_ARGUMENT within another run, and while a step is noted. */
MARE_API mare_status mare_tune_begin(mare_context *ctx, const mare_tune_options *options);
MARE_API mare_status mare_tune_end(mare_context *ctx);
/* The i-th problem that the last run met; false past the last. */
MARE_API bool mare_tune_result_at(mare_context *ctx, int i, mare_tune_record *out);

/* Writes the records of this device as a file (JSON), which appears whole or not at all. */
MARE_API mare_status mare_tune_export(mare_context *ctx, const char *path);
typedef struct mare_tune_import_info {
    int taken, refused; /* records */
    char why[512];      /* which were refused, and why: the first few */
} mare_tune_import_info;
/* Takes the records of such a file over those there are. One whose candidate is not among those
 * that are known of its problem, or that is of another list of candidates than those measured here,
 * is refused alone. A file that is not well-formed is MARE_E_FORMAT, one of another device or
 * driver MARE_E_ARGUMENT with both names; nothing is taken then. out: null is allowed. */
MARE_API mare_status mare_tune_import(mare_context *ctx, const char *path,
                                      mare_tune_import_info *out);

#ifdef __cplusplus
}
#endif
#endif
