/* A compiler for a small language of loops, for x86-64. docs/first-jit.md explains it.
 *
 *     program    = { statement }
 *     statement  = name "=" expression
 *                | "repeat" expression "{" { statement } "}"
 *     expression = term { ("+" | "-") term }
 *     term       = factor { "*" factor }
 *     factor     = number | name | "(" expression ")"
 *
 * A program is a function of the variable n, and its result is the variable `result`. Variables hold 64-bit
 * integers without a sign, which wrap around. They begin with 0.
 *
 * The compiler emits code while it reads. The code has the address of the variables in rdi, and the result of
 * an expression in rax. */
#include "execbuf.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if !defined(__x86_64__)
#error "This example needs x86-64, and gcc or clang."
#endif

/* The attribute names the convention, so the same bytes also run on Windows. */
typedef __attribute__((sysv_abi)) void (*compiled)(uint64_t *variables);

enum { DEEPEST = 100, MOST_VARIABLES = 64, LONGEST_WORD = 31, LONGEST_CODE = 65536 };
enum { N, RESULT };

typedef struct compiler {
    const char *rest;             /* the source after the token */
    char token[LONGEST_WORD + 1]; /* the next word or sign; empty at the end */
    int line;
    int depth;
    char names[MOST_VARIABLES][LONGEST_WORD + 1];
    size_t variables;
    unsigned char code[LONGEST_CODE];
    size_t length;
} compiler;

static void fail(const compiler *c, const char *what) {
    const char *token = c->token[0] != '\0' ? c->token : "the end";
    fprintf(stderr, "loop_jit: line %d: %s, at %s\n", c->line, what, token);
    exit(1);
}

/* ---- Machine code ----------------------------------------------------------------------------------- */

static void emit(compiler *c, const void *bytes, size_t count) {
    if (count > LONGEST_CODE - c->length) {
        fail(c, "the program is too long");
    }
    memcpy(c->code + c->length, bytes, count);
    c->length += count;
}

/* Emits the bytes of one or more instructions. */
#define EMIT(c, ...)                                                                                         \
    emit(c, (const unsigned char[]){__VA_ARGS__}, sizeof((const unsigned char[]){__VA_ARGS__}))

/* Emits a jump's distance of 0, and returns where it is. */
static size_t distance(compiler *c) {
    EMIT(c, 0, 0, 0, 0);
    return c->length - 4;
}

/* Fills in a distance. It counts from the end of the jump, which is the end of the distance. */
static void patch(compiler *c, size_t at, size_t target) {
    int32_t distance = (int32_t)target - (int32_t)(at + 4);
    memcpy(c->code + at, &distance, sizeof distance);
}

/* ---- Words ------------------------------------------------------------------------------------------ */

/* Reads the next token. */
static void next(compiler *c) {
    size_t length = 0;
    for (; isspace((unsigned char)*c->rest); c->rest++) {
        c->line += *c->rest == '\n';
    }
    while (isalnum((unsigned char)c->rest[length]) || c->rest[length] == '_') {
        length++;
    }
    if (length == 0 && *c->rest != '\0') {
        length = 1; /* a sign */
    }
    if (length > LONGEST_WORD) {
        fail(c, "the next word has more than 31 letters");
    }
    memcpy(c->token, c->rest, length);
    c->token[length] = '\0';
    c->rest += length;
}

static int skip(compiler *c, const char *token) {
    if (strcmp(c->token, token) != 0) {
        return 0;
    }
    next(c);
    return 1;
}

static void demand(compiler *c, const char *token, const char *message) {
    if (!skip(c, token)) {
        fail(c, message);
    }
}

/* Reads the name of a variable, which may be new, and returns its offset in bytes. */
static int32_t name(compiler *c) {
    size_t variable = 0;
    if (!isalpha((unsigned char)c->token[0]) || strcmp(c->token, "repeat") == 0) {
        fail(c, "expected a name");
    }
    while (variable < c->variables && strcmp(c->names[variable], c->token) != 0) {
        variable++;
    }
    if (variable == MOST_VARIABLES) {
        fail(c, "too many variables");
    }
    if (variable == c->variables) {
        strcpy(c->names[c->variables++], c->token);
    }
    next(c);
    return (int32_t)(variable * sizeof(uint64_t));
}

/* ---- The compiler ----------------------------------------------------------------------------------- */

static void expression(compiler *c);

static void enter(compiler *c) {
    if (++c->depth > DEEPEST) {
        fail(c, "nested too deeply");
    }
}

static void factor(compiler *c) {
    if (skip(c, "(")) {
        enter(c);
        expression(c);
        demand(c, ")", "expected ')'");
        c->depth--;
    } else if (isdigit((unsigned char)c->token[0])) {
        uint64_t number = 0;
        for (const char *digit = c->token; *digit != '\0'; digit++) {
            unsigned value = (unsigned)*digit - '0';
            if (value > 9 || number > (UINT64_MAX - value) / 10) {
                fail(c, "not a number of 64 bits");
            }
            number = number * 10 + value;
        }
        next(c);
        EMIT(c, 0x48, 0xb8); /* mov rax, number */
        emit(c, &number, sizeof number);
    } else {
        int32_t offset = name(c);
        EMIT(c, 0x48, 0x8b, 0x87); /* mov rax, [rdi + offset] */
        emit(c, &offset, sizeof offset);
    }
}

/* Pushes the left operand while the right one is computed, then moves the right one to rcx. */
static void operands(compiler *c, void (*right)(compiler *)) {
    EMIT(c, 0x50); /* push rax */
    right(c);
    EMIT(c, 0x48, 0x89, 0xc1); /* mov rcx, rax */
    EMIT(c, 0x58);             /* pop rax */
}

static void term(compiler *c) {
    factor(c);
    while (skip(c, "*")) {
        operands(c, factor);
        EMIT(c, 0x48, 0x0f, 0xaf, 0xc1); /* imul rax, rcx */
    }
}

static void expression(compiler *c) {
    term(c);
    for (;;) {
        if (skip(c, "+")) {
            operands(c, term);
            EMIT(c, 0x48, 0x01, 0xc8); /* add rax, rcx */
        } else if (skip(c, "-")) {
            operands(c, term);
            EMIT(c, 0x48, 0x29, 0xc8); /* sub rax, rcx */
        } else {
            return;
        }
    }
}

static void statements(compiler *c) {
    while (c->token[0] != '\0' && strcmp(c->token, "}") != 0) {
        if (skip(c, "repeat")) {
            size_t again, to_end, to_again;
            enter(c);
            expression(c);
            EMIT(c, 0x50); /* push rax: the turns left */
            again = c->length;
            EMIT(c, 0x48, 0x83, 0x3c, 0x24, 0); /* cmp qword [rsp], 0 */
            EMIT(c, 0x0f, 0x84);                /* je end */
            to_end = distance(c);
            demand(c, "{", "expected '{'");
            statements(c);
            demand(c, "}", "expected '}'");
            EMIT(c, 0x48, 0xff, 0x0c, 0x24); /* dec qword [rsp] */
            EMIT(c, 0xe9);                   /* jmp again */
            to_again = distance(c);
            patch(c, to_again, again);
            patch(c, to_end, c->length); /*       end: */
            EMIT(c, 0x59);               /* pop rcx: discards the count */
            c->depth--;
        } else {
            int32_t offset = name(c);
            demand(c, "=", "expected '='");
            expression(c);
            EMIT(c, 0x48, 0x89, 0x87); /* mov [rdi + offset], rax */
            emit(c, &offset, sizeof offset);
        }
    }
}

static const char squares[] = "i = 0\n"
                              "repeat n {\n"
                              "    i = i + 1\n"
                              "    result = result + i * i\n"
                              "}\n";

/* Returns the text of a file. */
static const char *read_file(const char *name) {
    static char text[65536];
    FILE *file = fopen(name, "r");
    size_t length = file != NULL ? fread(text, 1, sizeof text, file) : 0;
    if (file == NULL || ferror(file) || length == sizeof text) {
        fprintf(stderr, "loop_jit: %s: cannot be read, or is too long\n", name);
        exit(1);
    }
    fclose(file);
    text[length] = '\0';
    return text;
}

/* loop_jit [FILE [N]] compiles a program and calls it with the number N. */
int main(int count, char **arguments) {
    static compiler c = {.line = 1, .names = {"n", "result"}, .variables = 2};
    uint64_t variables[MOST_VARIABLES] = {1000}; /* n is the first one */
    char *end = "";
    execbuf buffer;
    execbuf_error error;
    compiled function;

    if (count > 2) {
        variables[N] = strtoull(arguments[2], &end, 10);
    }
    if (count > 3 || *end != '\0') {
        fprintf(stderr, "usage: loop_jit [FILE [N]]\n");
        return 1;
    }
    c.rest = count > 1 ? read_file(arguments[1]) : squares;
    next(&c);
    statements(&c);
    if (c.token[0] != '\0') {
        fail(&c, "expected a statement");
    }
    EMIT(&c, 0xc3); /* ret */

    if (execbuf_new(&buffer, c.code, c.length, &error) != EXECBUF_OK) {
        char text[400];
        execbuf_error_describe(&error, text, sizeof text);
        fprintf(stderr, "loop_jit: %s\n", text);
        return 1;
    }
    printf("compiled to %zu bytes\n", c.length);
    printf("f(%llu) = ", (unsigned long long)variables[N]);
    function = (compiled)execbuf_entry(&buffer, 0);
    function(variables);
    printf("%llu\n", (unsigned long long)variables[RESULT]);
    execbuf_free(&buffer);
    return 0;
}
