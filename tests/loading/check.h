/* For programs of this folder that publish functions without arguments. */
#ifndef LOADING_CHECK_H
#define LOADING_CHECK_H

#include <stdio.h>
#include <stdlib.h>

typedef int (*int_function)(void);

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            (void)fprintf(stderr, "not true: %s\n", #condition);                                             \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

#endif
