/* A profile as a file of trace events, which Perfetto and chrome://tracing open. */
#ifndef MARE_IO_TRACE_H
#define MARE_IO_TRACE_H

#include "plan/profile.h"

/* One track of the device's launches, one of the host's work; times in microseconds from the
 * profile's start. The file appears whole or not at all. */
mare_status trace_write(const char *path, const profile *f, const char *device, mare_error *e);

#endif
