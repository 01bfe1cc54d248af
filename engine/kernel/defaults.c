/* Which kernels to try first, and to take where nothing is measured: by kind of device. */
#include "kernel/kernel.h"

#include <stdlib.h>
#include <string.h>

/* ---- Kinds of devices ----------------------------------------------------------------------- */

typedef enum kind {
    LAVAPIPE_22 = 1 << 0, /* Mesa's software driver: before 24, */
    LAVAPIPE_25 = 1 << 1, /* 24 and 25, */
    LAVAPIPE_26 = 1 << 2, /* from 26 on */
    NVIDIA = 1 << 3,
    AMD = 1 << 4,
    INTEL = 1 << 5,
    MALI = 1 << 6,
    ADRENO = 1 << 7,
    OTHER = 1 << 8,
    LAVAPIPE = LAVAPIPE_22 | LAVAPIPE_25 | LAVAPIPE_26
} kind;

static kind lavapipe_of(const char *driver) {
    const char *mesa = strstr(driver, "Mesa ");
    long major = mesa ? strtol(mesa + strlen("Mesa "), NULL, 10) : 0;
    return major && major < 24 ? LAVAPIPE_22 : major && major < 26 ? LAVAPIPE_25 : LAVAPIPE_26;
}

/* Vulkan's vendor numbers are those of PCI. */
static kind kind_of(const dev_caps *caps) {
    static const struct {
        uint32_t vendor;
        kind kind;
    } vendors[] = {
        {0x10de, NVIDIA}, {0x1002, AMD}, {0x8086, INTEL}, {0x13b5, MALI}, {0x5143, ADRENO}};
    if (caps->type == DEV_CPU)
        return strstr(caps->driver, "llvmpipe") ? lavapipe_of(caps->driver) : OTHER;
    for (size_t i = 0; i < sizeof vendors / sizeof *vendors; i++)
        if (vendors[i].vendor == caps->vendor) return vendors[i].kind;
    return OTHER;
}

/* ---- The table ------------------------------------------------------------------------------ */

/* In a pattern * stands for any characters; keys and candidates have several, separated by spaces.
 * Candidates come in the order of the first row that fits; those that none of its patterns names
 * stay behind, as they are listed. */
typedef struct row {
    unsigned kinds;
    const char *keys;
    double flops; /* of the problem, at least */
    const char *candidates;
} row;

/* Keys of products are "family/dtype/MxNxK/...". */
#define NARROW "*/*x1x* */*x2x* */*x4x* */*x8x* */*x16x* */*x32x*"
#define VECTOR "*/1x* */*x1x*"

/* Lavapipe's rows were measured, on 22.3 and 26.2, over some 27 products and convolutions: the
 * kernel that holds the most sums in registers, which stands first, wins but for convolutions with
 * few columns, where those called rows* leave lanes idle (by a tenth on 22.3, by 2 to 4 times
 * on 26.2). Those called vectors*, for newer versions, do not. 25 had no measurement of its own.
 *
 * Those of GPUs follow from what they are like, until somebody measures one. A tile of m by n loads
 * (m + n) / mn of what it multiplies, so the largest is best as soon as there are enough tiles to
 * fill the device: some 256 for NVIDIA's and AMD's. By a square product's flops that is at 2048
 * for tiles of 128, and at 1024 for those of 64. Intel's 4 KiB of registers a thread hold no tile
 * of 8 by 8 an invocation. Mali's shared memory is its cache, which is no reason to copy there;
 * Adreno's is real, and its registers are few. A vector has no use for tiles. */
static const row rows[] = {
    {LAVAPIPE, NARROW, 0, "rows16* plain"},
    {LAVAPIPE, "*", 0, "plain"},
    {NVIDIA | AMD | INTEL | MALI | ADRENO, VECTOR, 0, "plain"},
    {NVIDIA | AMD, "*", 16e9, "tile128x128* tile128x64* tile64x64*"},
    {NVIDIA | AMD, "*", 2e9, "tile64x64.8x8 tile64x64* tile128x64*"},
    {NVIDIA | AMD, "*", 0, "tile32x32* tile64x64.4x4"},
    {INTEL, "*", 2e9, "tile64x64.4x4 tile32x32*"},
    {INTEL, "*", 0, "tile32x32* tile64x64.4x4"},
    {MALI, "*", 0, "plain tile32x32*"},
    {ADRENO, "*", 0, "tile32x32* plain"},
};

/* ---- Looking it up -------------------------------------------------------------------------- */

/* Does the text fit the first n characters of a pattern? */
static bool fits(const char *pattern, size_t n, const char *text) {
    if (n == 0) return *text == 0;
    if (*pattern == '*')
        return fits(pattern + 1, n - 1, text) || (*text && fits(pattern, n, text + 1));
    return *text == *pattern && fits(pattern + 1, n - 1, text + 1);
}

/* The next word at *at, which moves behind it; its length, 0 at the end. */
static size_t next_word(const char **at, const char **word) {
    *word = *at + strspn(*at, " ");
    size_t n = strcspn(*word, " ");
    *at = *word + n;
    return n;
}

static bool fits_any(const char *patterns, const char *text) {
    const char *word;
    for (size_t n; (n = next_word(&patterns, &word)) > 0;)
        if (fits(word, n, text)) return true;
    return false;
}

static const row *row_of(const dev_caps *caps, const tune_problem *p) {
    kind own = kind_of(caps);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].kinds & own && p->flops >= rows[i].flops && fits_any(rows[i].keys, p->key))
            return &rows[i];
    return NULL;
}

/* Adds i behind the n that are there, once. */
static void add(int *order, int *n, int i) {
    for (int j = 0; j < *n; j++)
        if (order[j] == i) return;
    order[(*n)++] = i;
}

void tune_order(const dev_caps *caps, const tune_problem *p, int *order) {
    const row *r = row_of(caps, p);
    const char *rest = r ? r->candidates : "", *word;
    int n = 0;
    for (size_t len; (len = next_word(&rest, &word)) > 0;)
        for (int i = 0; i < p->n; i++)
            if (fits(word, len, p->candidates[i].name)) add(order, &n, i);
    for (int i = 0; i < p->n; i++)
        add(order, &n, i);
}
