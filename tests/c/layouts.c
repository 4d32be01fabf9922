/* Where conventions have arguments: what other libraries and compilers got wrong on x86-64, and AArch64, of
 * which tests/thunk_compilers compares many more with what gcc emits. layout_text.h explains the text of a
 * layout. The general registers of x86-64 are numbered as in instructions: rax 0, rcx 1, rdx 2, rsi 6, rdi 7.
 */

#include "layout_text.h"

/* ---- x86-64 ---- */

static void check_both(const char *text, const char *sysv64, const char *win64) {
    check_layout(text, EXECBUF_ABI_SYSV64, sysv64);
    check_layout(text, EXECBUF_ABI_WIN64, win64);
}

/* llvm-project#59011: half of the integer was in r9 and half on the stack. A later argument may have r9. */
static void wide_integers_and_structs_are_not_split(void) {
    check_both("v(lllllxl)", "-(g7 g6 g2 g1 g8 s0 g9)16", "-(g1 g2 g8 g9 s32 &s40 s48)56");
    check_both("v(lllll{ll}l)", "-(g7 g6 g2 g1 g8 s0 g9)16", "-(g1 g2 g8 g9 s32 &s40 s48)56");
    check_both("v(ddddddd{dd}d)", "-(v0 v1 v2 v3 v4 v5 v6 s0 v7)16", "-(v0 v1 v2 v3 s32 s40 s48 &s56 s64)72");
    check_both("v(llllll{dl}d)", "-(g7 g6 g2 g1 g8 g9 s0 v0)16", "-(g1 g2 g8 g9 s32 s40 &s48 s56)64");
}

/* llvm-project#41784, rust#54341: they were at multiples of 8. LuaJIT#1455: so were structs of them. */
static void what_is_aligned_to_16_is_so_on_the_stack(void) {
    check_both("v(lllllllxl)", "-(g7 g6 g2 g1 g8 g9 s0 s16 s32)40", "-(g1 g2 g8 g9 s32 s40 s48 &s56 s64)72");
    check_both("v(llllllb{x}b)", "-(g7 g6 g2 g1 g8 g9 s0 s16 s32)40",
               "-(g1 g2 g8 g9 s32 s40 s48 &s56 s64)72");
    check_both("v(lllllll@16{ll})", "-(g7 g6 g2 g1 g8 g9 s0 s16)32", "-(g1 g2 g8 g9 s32 s40 s48 &s56)64");
    check_both("v(ddddddddfm)", "-(v0 v1 v2 v3 v4 v5 v6 v7 s0 s16)32",
               "-(v0 v1 v2 v3 s32 s40 s48 s56 s64 &s72)80");
}

/* gcc, clang and rustc return them in xmm0 by Win64's convention; rust#134290. */
static void wide_integers_and_vectors_are_results_in_xmm0(void) {
    check_both("x()", "g0g2()0", "v0:16()32");
    check_both("X()", "g0g2()0", "v0:16()32");
    check_both("m()", "v0:16()0", "v0:16()32");
    check_both("{x}()", "g0g2()0", "&g0@g1()32");
}

/* A struct of one vector is passed like the vector by System V, and like other structs by Win64. */
static void structs_of_a_vector_are_vectors_for_system_v_only(void) {
    check_both("{m}({m}m)", "v0:16(v0:16 v1:16)0", "&g0@g1(&g2 &g8)32");
    check_both("{mm}({mm})", "&g0@g7(s0)32", "&g0@g1(&g2)32");
    check_both("v({md}{dm})", "-(s0 s32)64", "-(&g1 &g2)32");
}

/* libffi#372 to #376: integers decide the class of an eightbyte, and Win64 has floats in structs as integers.
 */
static void integers_win_over_floats_in_an_eightbyte(void) {
    check_both("v({fi}{if}{ff}{f})", "-(g7 g6 v0 v1)0", "-(g1 g2 g8 g9)32");
    check_both("v({fif}{ffi}{dl}{ld})", "-(g7v0 v1g6 v2g2 g1v3)0", "-(&g1 &g2 &g8 &g9)32");
    check_both("{f}({d})", "v0(v0)0", "g0(g1)32");
    check_both("{ff}({dh})", "v0(v0g7)0", "g0(&g1)32");
    check_both("v(<fi><dl><f[3b]><[4f]>)", "-(g7 g6 g2 v0v1)0", "-(g1 g2 g8 &g9)32");
}

/* A member that is not at a multiple of its alignment puts all of the value into memory. */
static void packed_structs_are_in_memory_if_a_member_is_misaligned(void) {
    check_both("v(!{bi}!{id}!{ii}!{bl})", "-(s0 s8 g7 s24)40", "-(&g1 &g2 g8 &g9)32");
    check_both("!{bHb}(!{hbb})", "&g0@g7(g6)0", "g0(g1)32");
    check_both("v(!{bb}!2{bi}!4{bl}!8{bl})", "-(g7 s0 s8 g6g2)24", "-(g1 &g2 &g8 &g9)32");
}

/* libffi 04d721cc, 15926817: sizes that are no powers of two. */
static void odd_sizes_are_by_address_for_win64(void) {
    check_both("{[3b]}({[5b]}{[6b]}{[7b]})", "g0(g7 g6 g2)0", "&g0@g1(&g2 &g8 &g9)32");
    check_both("{[9b]}({[15b]}{[16b]}{[17b]})", "g0g2(g7g6 g2g1 s0)24", "&g0@g1(&g2 &g8 &g9)32");
}

/* ---- AArch64 ---- */

/* Compares the layouts of AAPCS64, of Apple and of Windows. */
static void check_arm(const char *text, const char *aapcs64, const char *apple, const char *windows) {
    check_layout(text, XB_ABI_AAPCS64, aapcs64);
    check_layout(text, XB_ABI_APPLE64, apple);
    check_layout(text, XB_ABI_WINDOWS64, windows);
}

/* What is the same in all three. */
static void check_arm_all(const char *text, const char *all) {
    check_arm(text, all, all, all);
}

static void words_and_results_are_in_registers_on_arm(void) {
    check_arm_all("v()", "-()0");
    check_arm_all("i(pldfbh)", "g0(g0 g1 v0 v1:4 g2 g3)0");
    check_arm_all("{ll}({l}{lb}{[3b]})", "g0g1(g0 g1g2 g3)0");
    check_arm_all("x(X)", "g0g1(g0g1)0");
    check_arm_all("m({m}m)", "v0:16(v0:16 v1:16)0");
    check_arm_all("{lll}(l{lll}l)", "&-@g8(g0 &g1 g2)0");
}

/* LuaJIT#1357, Cranelift (wasmtime#9509): all elements are in registers, or none is. Later floats find none.
 */
static void homogeneous_aggregates_are_not_split(void) {
    check_arm_all("{ffff}({fff}{dd}{f})", "v0v1v2v3:4(v0v1v2:4 v3v4 v5:4)0");
    check_arm_all("{[3d]}({f[2f]}{{d}{dd}})", "v0v1v2(v0v1v2:4 v3v4v5)0");
    check_arm_all("{mm}(<m{mmm}>{[4m]}d)", "v0v1:16(v0v1v2:16 v3v4v5v6:16 v7)0");
    check_arm_all("v(dddddd{ddd}d)", "-(v0 v1 v2 v3 v4 v5 s0 s24)32");
}

/* What looks like one, and is not: more than four elements, two sizes, an integer, or padding. */
static void other_aggregates_are_integers(void) {
    check_arm_all("v({[5f]}{fd}{ffi}{f@8f}<fd><ff>)", "-(&g0 g1g2 g3g4 g5g6 g7 v0:4)0");
    check_arm_all("v({[5m]}{md}@8{f}!{bf})", "-(&g0 &g1 g2 g3)0");
    check_arm_all("{dddl}()", "&-@g8()0");
}

/* No gap is filled, unlike in System V's convention. libffi#993: i128 on Apple. */
static void integers_are_not_split_and_fill_no_gap(void) {
    check_arm_all("v(lllllll{ll}l)", "-(g0 g1 g2 g3 g4 g5 g6 s0 s16)24");
    check_arm_all("v(lllllllxl)", "-(g0 g1 g2 g3 g4 g5 g6 s0 s16)24");
    check_arm_all("v(llllllllbx)", "-(g0 g1 g2 g3 g4 g5 g6 g7 s0 s16)32");
}

/* LuaJIT#1455, llvm-project#135551: alignments that attributes raise. */
static void pairs_begin_in_an_even_register_but_not_on_apple(void) {
    check_arm("v(ixi)", "-(g0 g2g3 g4)0", "-(g0 g1g2 g3)0", "-(g0 g2g3 g4)0");
    check_arm("v(i{x}i)", "-(g0 g2g3 g4)0", "-(g0 g1g2 g3)0", "-(g0 g2g3 g4)0");
    check_arm("v(i{@16l}i)", "-(g0 g2g3 g4)0", "-(g0 g1g2 g3)0", "-(g0 g2g3 g4)0");
    check_arm("v(i@16{ll}i)", "-(g0 g1g2 g3)0", "-(g0 g1g2 g3)0", "-(g0 g2g3 g4)0");
}

/* Apple's scalars have no padding. */
static void the_stack_of_arm(void) {
    check_arm("v(llllllll?bhf{[3b]}{fff}xb)",
              "-(g0 g1 g2 g3 g4 g5 g6 g7 s0 s8 s16 v0:4 s24 v1v2v3:4 s32 s48)56",
              "-(g0 g1 g2 g3 g4 g5 g6 g7 s0 s1 s2 v0:4 s8 v1v2v3:4 s16 s32)40",
              "-(g0 g1 g2 g3 g4 g5 g6 g7 s0 s8 s16 v0:4 s24 v1v2v3:4 s32 s48)56");
    check_arm("v(ddddddddfh{fff}{dd}fm)", "-(v0 v1 v2 v3 v4 v5 v6 v7 s0 g0 s8 s24 s40 s48)64",
              "-(v0 v1 v2 v3 v4 v5 v6 v7 s0 g0 s4 s16 s32 s48)64",
              "-(v0 v1 v2 v3 v4 v5 v6 v7 s0 g0 s8 s24 s40 s48)64");
    check_arm("v(lllllll{ll}lb{@16l}b@16{ll})", "-(g0 g1 g2 g3 g4 g5 g6 s0 s16 s24 s32 s48 s56)72",
              "-(g0 g1 g2 g3 g4 g5 g6 s0 s16 s24 s32 s48 s64)80",
              "-(g0 g1 g2 g3 g4 g5 g6 s0 s16 s24 s32 s48 s64)80");
    check_arm("v(dddddd{mm}{mm}df@16{ffff}b)", "-(v0 v1 v2 v3 v4 v5 v6v7:16 s0 s32 s40 s48 g0)64",
              "-(v0 v1 v2 v3 v4 v5 v6v7:16 s0 s32 s40 s44 g0)64",
              "-(v0 v1 v2 v3 v4 v5 v6v7:16 s0 s32 s40 s48 g0)64");
}

static void variadic_functions_of_arm(void) {
    check_arm("i(p.i{fff}d{ll}xm{lll})", "g0(g0 g1 v0v1v2:4 v3 g2g3 g4g5 v4:16 &g6)0",
              "g0(g0 s0 s8 s24 s32 s48 s64 &s80)88", "g0(g0 g1 g2g3 g4 g5g6 s0 s16 &s32)40");
    check_arm("d(d.{dd}{[3b]})", "v0(v0 v1v2 g0)0", "v0(v0 s0 s16)24", "v0(g0 g1g2 g3)0");
    check_arm("{ff}(p.i@16{ll}i{@16l}i{dddd}i)", "v0v1:4(g0 g1 g2g3 g4 g6g7 s0 v0v1v2v3 s8)16",
              "v0v1:4(g0 s0 s16 s32 s48 s64 s72 s104)112", "v0v1:4(g0 g1 g2g3 g4 g6g7 s0 &s8 s16)24");
    check_arm("v(p.i{mm}i)", "-(g0 g1 v0v1:16 g2)0", "-(g0 s0 s16 s48)56", "-(g0 g1 &g2 g3)0");
    check_arm("v(p.)", "-(g0)0", "-(g0)0", "-(g0)0");
}

/* Microsoft's imaginary stack: its first 64 bytes are in registers, so the pair is half there. */
static void a_value_is_half_on_the_stack_on_windows(void) {
    check_layout("i(p.iiiiii{ll}i)", XB_ABI_WINDOWS64, "g0(g0 g1 g2 g3 g4 g5 g6 g7s0 s8)16");
    check_layout("i(p.iiiiii{dd}i)", XB_ABI_WINDOWS64, "g0(g0 g1 g2 g3 g4 g5 g6 g7s0 s8)16");
    check_layout("i(p.iiiiiixi)", XB_ABI_WINDOWS64, "g0(g0 g1 g2 g3 g4 g5 g6 s0 s16)24");
}

int main(void) {
    RUN(wide_integers_and_structs_are_not_split);
    RUN(what_is_aligned_to_16_is_so_on_the_stack);
    RUN(wide_integers_and_vectors_are_results_in_xmm0);
    RUN(structs_of_a_vector_are_vectors_for_system_v_only);
    RUN(integers_win_over_floats_in_an_eightbyte);
    RUN(packed_structs_are_in_memory_if_a_member_is_misaligned);
    RUN(odd_sizes_are_by_address_for_win64);
    RUN(words_and_results_are_in_registers_on_arm);
    RUN(homogeneous_aggregates_are_not_split);
    RUN(other_aggregates_are_integers);
    RUN(integers_are_not_split_and_fill_no_gap);
    RUN(pairs_begin_in_an_even_register_but_not_on_apple);
    RUN(the_stack_of_arm);
    RUN(variadic_functions_of_arm);
    RUN(a_value_is_half_on_the_stack_on_windows);
    (void)printf("ok\n");
    return 0;
}
