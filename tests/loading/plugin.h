/* What a library with a copy of execbuf offers to the program that loads it. */
#ifndef PLUGIN_H
#define PLUGIN_H

#define PLUGIN_API __attribute__((visibility("default")))

/* Makes, calls and frees code of all kinds. */
PLUGIN_API void plugin_use(unsigned rounds);

/* Forks, and uses a pool in both processes. */
PLUGIN_API void plugin_fork(void);

/* Makes a function that returns value, and never frees it or other code that it made. */
PLUGIN_API int (*plugin_leave(unsigned value))(void);

/* From now on, the destructor of the library uses it. Then it must not be unloaded. */
PLUGIN_API void plugin_use_at_exit(void);

#if defined(__x86_64__)
typedef int __attribute__((ms_abi)) plugin_win64_function(int value);

/* Calls a function through a thunk. */
PLUGIN_API int plugin_through_thunk(plugin_win64_function *function, int value);
#endif

#endif
