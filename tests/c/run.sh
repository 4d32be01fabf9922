#!/bin/sh
# Builds the C tests and runs them: sh tests/c/run.sh DIRECTORY
# DIRECTORY gets the programs. CC (cc), CXX (c++), CFLAGS, CXXFLAGS and RUNNER (such as valgrind or wine) may be set.
set -eu

out=$1
csrc=$(dirname "$0")/../../csrc
tests=$(dirname "$0")
mkdir -p "$out"

# NAME SOURCE [FLAG…]
run() {
    name=$1 source=$2
    shift 2
    # The words of CFLAGS and RUNNER are meant to be split.
    # shellcheck disable=SC2086
    ${CC:-cc} -std=c11 -g -O1 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wstrict-prototypes -Wundef \
        ${CFLAGS:-} "$@" -I "$csrc/include" "$tests/$source" "$csrc/execbuf.c" -pthread -o "$out/$name"
    # shellcheck disable=SC2086
    if ! ${RUNNER:-} "$out/$name" > "$out/$name.log" 2>&1; then
        cat "$out/$name.log"
        echo "C test $name ... FAILED"
        exit 1
    fi
    grep '^SKIP' "$out/$name.log" || true
    echo "C test $name ... ok"
}

# As run, for C++; the library is compiled as C all the same. CXX (c++) may be set, or be none.
run_cpp() {
    name=$1 source=$2 cxx=${CXX:-c++}
    if [ "$cxx" = none ] || ! command -v "${cxx%% *}" > /dev/null; then
        echo "SKIP: C++ test $name: no compiler"
        return
    fi
    mkdir -p "$out/$name.o"
    for file in "$csrc/execbuf.c"; do
        # shellcheck disable=SC2086
        ${CC:-cc} -std=c11 -g -O1 ${CFLAGS:-} -I "$csrc/include" -c "$file" -o "$out/$name.o/$(echo "${file#"$csrc"/}" | tr / _).o"
    done
    # shellcheck disable=SC2086
    $cxx -std=c++11 -g -O2 -Wall -Wextra ${CFLAGS:-} ${CXXFLAGS:-} -I "$csrc/include" \
        "$tests/$source" "$out/$name.o"/*.o -pthread -o "$out/$name"
    # shellcheck disable=SC2086
    if ! ${RUNNER:-} "$out/$name" > "$out/$name.log" 2>&1; then
        cat "$out/$name.log"
        echo "C++ test $name ... FAILED"
        exit 1
    fi
    grep '^SKIP' "$out/$name.log" || true
    echo "C++ test $name ... ok"
}

suffix=${SUFFIX:-}
run "buffer$suffix" buffer.c
run "faults$suffix" faults.c -DEXECBUF_FAULT_INJECTION
run "stub$suffix" stub.c -DEXECBUF_PRIM_STUB
run "probe$suffix" probe.c
run "probe-faults$suffix" probe.c -DEXECBUF_FAULT_INJECTION
run "probe-stub$suffix" probe.c -DEXECBUF_PRIM_STUB
run "pool$suffix" pool.c
run "pool-memory$suffix" pool_memory.c
run "pool-faults$suffix" pool_faults.c -DEXECBUF_FAULT_INJECTION
run "thunk$suffix" thunk.c
run_cpp "unwind$suffix" unwind.cpp
if [ -z "$suffix" ]; then
    run thunk-fork thunk_fork.c -D_GNU_SOURCE
    run threads threads.c -D_GNU_SOURCE
    run pool-threads pool_threads.c -D_GNU_SOURCE
    # What systems without a file of their own in csrc/prim get, which rewrites in place.
    run buffer-unix buffer.c -DEXECBUF_PRIM_UNIX
    run faults-unix faults.c -DEXECBUF_PRIM_UNIX -DEXECBUF_FAULT_INJECTION
    run probe-unix probe.c -DEXECBUF_PRIM_UNIX
    run pool-unix pool.c -DEXECBUF_PRIM_UNIX
    run pool-memory-unix pool_memory.c -DEXECBUF_PRIM_UNIX
    run pool-faults-unix pool_faults.c -DEXECBUF_PRIM_UNIX -DEXECBUF_FAULT_INJECTION
    run pool-threads-unix pool_threads.c -D_GNU_SOURCE -DEXECBUF_PRIM_UNIX
fi
