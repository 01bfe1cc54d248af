#include "kernel/internal.h"

void kernels_set_dump(kernels *k, void (*dump)(void *user, const char *text), void *user) {
    k->dump = dump;
    k->dump_user = user;
}

/* The text is expanded anew: the module may have come from the disk, or from another thread. */
void kernel_dump(kernels *k, const kernel_id *id, bool whole) {
    text t = {0};
    text_add(&t, "// kernel %s: %d buffers, constants", id->shader, id->buffers);
    for (int i = 0; i < id->n_spec; i++)
        text_add(&t, " %u", id->spec[i]);
    text_add(&t, "\n");
    if (whole) source_expand(id, &t, NULL);
    if (!t.failed) k->dump(k->dump_user, text_str(&t));
    text_free(&t);
}
