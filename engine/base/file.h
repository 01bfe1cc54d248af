/* Files: whole reads, atomic writes, paths. */
#ifndef MARE_BASE_FILE_H
#define MARE_BASE_FILE_H

#include "base/status.h"

/* Reads a whole file into malloc'ed memory with a zero byte after it. Files over `limit` bytes
 * (0: no limit) are refused with MARE_E_IO. */
mare_status file_read(const char *path, size_t limit, void **data, size_t *len, mare_error *e);
/* Writes through a temporary file in the same folder and a rename, so that a reader sees the old
 * file or the new one, never a part; a crash leaves the old one. */
mare_status file_write(const char *path, const void *data, size_t len, mare_error *e);
/* Waits for the lock that path stands for (an empty file, made when there is none), at most so many
 * milliseconds. The processes that ask for it get it one after another; the system gives it back
 * for one that ends. Returns what file_unlock() takes; -1, which it takes too, when the lock could
 * not be had. */
int file_lock(const char *path, int wait_ms);
void file_unlock(int lock);
bool file_exists(const char *path);
/* Makes a folder and its parents. */
mare_status file_make_dir(const char *path, mare_error *e);
/* The folder for compiled shaders, pipelines and tuning: $MARE_CACHE, else $XDG_CACHE_HOME/mare,
 * else $HOME/.cache/mare. An empty string when there is none (no home): callers then go without. */
void file_cache_dir(char *out, size_t size);

#endif
