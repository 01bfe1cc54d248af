/* A temporary folder with a tree of shaders of the test's own (MARE_ROOT) and a cache (MARE_CACHE).
 */
#ifndef TESTS_TREE_H
#define TESTS_TREE_H

/* Makes the folder and sets both variables. For .init and .fini of a test. */
void tree_open(void);
/* Takes the folder away. */
void tree_close(void);
/* Writes shaders/<name>. */
void tree_shader(const char *name, const char *text);
/* Path of <name> in the folder; the next call but three overwrites it. */
const char *tree_path(const char *name);
/* Files in the cache whose names start with prefix; the path of the last in path, if not null. */
int tree_cached(const char *prefix, char path[512]);

#endif
