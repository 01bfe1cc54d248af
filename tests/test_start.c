/* A script's first start, and those after it: what the binary compiles, measures and plans. */
#define _POSIX_C_SOURCE 200809L
#include "tree.h"

#include "base/file.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(start, .init = tree_open, .fini = tree_close, .timeout = 300);

/* Trains a network with convolutions for two steps, then a shape that is new. */
static const char script[] =
    "local mare = require 'mare'\n"
    "local nn, optim = require 'mare.nn', require 'mare.optim'\n"
    "local net = nn.Sequential { nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),\n"
    "    nn.Linear(4 * 7 * 7, 16), nn.ReLU(), nn.Linear(16, 3) }\n"
    "local opt = optim.Adam(net:parameters())\n"
    "for _, batch in ipairs { 32, 32, 8 } do\n"
    "    opt:zero_grad()\n"
    "    local y = net(mare.randn(batch, 1, 16, 16))\n"
    "    nn.CrossEntropyLoss()(y, mare.zeros(batch, { dtype = 'i32' })):backward()\n"
    "    opt:step()\n"
    "end\n"
    "local s = mare.stats()\n"
    "print('counted', s.shaders_compiled, s.shaders_from_disk, s.tuned, s.pipelines, s.plans)\n";

typedef struct counts {
    int compiled, from_disk, tuned, pipelines, plans;
} counts;

/* Starts the script so many times at once; what the last of them counted. */
static counts start(int at_once) {
    char command[4096], line[1024];
    counts c = {-1, -1, -1, -1, -1};
    cr_assert(file_write(tree_path("train.lua"), script, strlen(script), NULL) == MARE_OK);
    unsetenv("MARE_ROOT");
    snprintf(command, sizeof command, "for i in $(seq %d); do '%s/mare' '%s' 2>&1 & done; wait",
             at_once, TEST_BUILD, tree_path("train.lua"));
    FILE *f = popen(command, "r");
    cr_assert(f);
    int ended = 0;
    while (fgets(line, sizeof line, f))
        if (sscanf(line, "counted %d %d %d %d %d", &c.compiled, &c.from_disk, &c.tuned,
                   &c.pipelines, &c.plans) == 5)
            ended++;
        else
            cr_expect(false, "%s", line);
    pclose(f);
    cr_assert(ended == at_once);
    return c;
}

static void expect_second(counts first) {
    for (int i = 0; i < 2; i++) {
        counts c = start(1);
        cr_expect(c.compiled == 0 && c.tuned == 0, "compiled %d, measured %d", c.compiled, c.tuned);
        cr_expect(c.from_disk > 0 && c.from_disk <= first.compiled + first.from_disk);
        cr_expect(c.pipelines > 0 && c.pipelines <= first.pipelines,
                  "candidates that lost are not made");
        cr_expect(c.plans == first.plans);
    }
}

Test(start, the_second_compiles_nothing) {
    unsetenv("MARE_TUNE");
    counts first = start(1);
    cr_assert(first.compiled > 0 && first.tuned > 0 && first.plans > 1);
    expect_second(first);
}

Test(start, nor_does_it_after_many_first_ones_at_once) {
    setenv("MARE_TUNE", "0", 1);
    counts first = start(4);
    cr_assert(first.compiled + first.from_disk > 0);
    expect_second(first);
}
