/* For the programs that tests/thunk_compilers generates for AArch64. They make calls as gcc compiles them,
 * and compare the registers and the stack with the layout of csrc/call/aarch64.c. arm_layouts.c is the part
 * of the program that is not generated. */
#ifndef ARM_LAYOUTS_H
#define ARM_LAYOUTS_H

#include <stdint.h>
#include <string.h>

#include "execbuf.h"

/* The values of the result and of the arguments, of the current signature. */
#define MAX_VALUE 320
extern uint8_t sent_values[EXECBUF_MAX_ARGUMENTS + 1][MAX_VALUE];

/* A vector of 128 bits. */
typedef float vector __attribute__((vector_size(16)));

/* Computes the layout of a signature, and chooses new values at random.
 *
 * In: masks: of the result and of each argument: a '1' for each byte that counts, a '0' for padding. */
void prepare(const char *text, const char *const *masks);

/* A function of any signature with the convention of the system, which stores what its caller passes and
 * checks the arguments. */
void capture(void);

/* Calls a function without arguments, which returns sent_values[0], and checks where its result is. */
void check_result(void (*function)(void));

/* Fails to compile unless two sizes are the same. */
#define SAME_SIZE(one, other) (void)sizeof(char[(one) == (other) ? 1 : -1])

#endif
