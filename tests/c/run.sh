#!/bin/sh
# Builds the C tests and runs them: sh tests/c/run.sh DIRECTORY
# DIRECTORY receives the library and the programs. CC (cc), CXX (c++, or none), CFLAGS, CXXFLAGS, RUNNER (such as valgrind or
# wine), SUFFIX (such as .exe), JOBS (as many as there are processors) and ONLY (the names of some programs) may be set. JOBS
# programs are compiled or run at a time.
set -eu

out=$1
csrc=$(dirname "$0")/../../csrc
tests=$(dirname "$0")
jobs=${JOBS:-$(getconf _NPROCESSORS_ONLN 2> /dev/null || echo 2)}
warnings="-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wstrict-prototypes -Wundef"
mkdir -p "$out"

# The macros of a variant of the library, and of the programs that use it.
macros() {
    case $1 in
        plain) ;;
        faults) echo -DEXECBUF_FAULT_INJECTION ;;
        # Records of handles are used up soon.
        worn) echo -DEXECBUF_FAULT_INJECTION -DXB_LAST_GENERATION=15 ;;
        stub) echo -DEXECBUF_PRIM_STUB ;;
        # The code for systems without a folder in csrc/prim; it rewrites in place.
        unix) echo -DEXECBUF_PRIM_UNIX ;;
        unix-faults) echo -DEXECBUF_PRIM_UNIX -DEXECBUF_FAULT_INJECTION ;;
    esac
}

# CFLAGS, RUNNER and similar variables contain several words, which must be split.
# shellcheck disable=SC2046,SC2086
{
    # VARIANT: compiles the library once; all programs that use the variant are linked with it.
    library() {
        ${CC:-cc} -std=c11 -g -O1 $warnings ${CFLAGS:-} $(macros "$1") -I "$csrc/include" -c "$csrc/execbuf.c" \
            -o "$out/library-$1.o"
    }

    # NAME VARIANT SOURCE [FLAG…]: compiles and runs a program.
    program() {
        name=$1 variant=$2 source=$3
        shift 3
        ${CC:-cc} -std=c11 -g -O1 $warnings ${CFLAGS:-} $(macros "$variant") "$@" -I "$csrc/include" \
            "$tests/$source" "$out/library-$variant.o" -pthread -o "$out/$name" && execute C "$name"
    }

    # As program, in C++.
    program_cpp() {
        name=$1 variant=$2 source=$3 cxx=${CXX:-c++}
        if [ "$cxx" = none ] || ! command -v "${cxx%% *}" > /dev/null; then
            echo "SKIP: C++ test $name: no compiler"
            return
        fi
        $cxx -std=c++11 -g -O2 -Wall -Wextra ${CFLAGS:-} ${CXXFLAGS:-} $(macros "$variant") -I "$csrc/include" \
            "$tests/$source" "$out/library-$variant.o" -pthread -o "$out/$name" && execute C++ "$name"
    }

    # LANGUAGE NAME: runs a program, and prints its log if it fails.
    execute() {
        if ! ${RUNNER:-} "$out/$2" > "$out/$2.log" 2>&1; then
            cat "$out/$2.log"
            return 1
        fi
        grep '^SKIP' "$out/$2.log" || true
        echo "$1 test $2 ... ok"
    }

    # A worker: does jobs of the list until none is left. mkdir succeeds only for the first worker that tries a job.
    work() {
        while read -r command name rest <&3; do
            if mkdir "$out/jobs/$name" 2> /dev/null; then
                if "$command" "$name" $rest > "$out/jobs/$name/output" 2>&1; then
                    cat "$out/jobs/$name/output"
                else
                    echo "C test $name ... FAILED" >> "$out/jobs/$name/output"
                    return 1
                fi
            fi
        done 3< "$out/list"
    }
}

# Does the jobs of the standard input with several workers. If a job fails, prints its output and ends the script.
side_by_side() {
    cat > "$out/list"
    rm -rf "$out/jobs"
    mkdir "$out/jobs"
    workers='' failed=0
    while [ "$(echo "$workers" | wc -w)" -lt "$jobs" ]; do
        work < /dev/null &
        workers="$workers $!"
    done
    for worker in $workers; do
        wait "$worker" || failed=1
    done
    if [ $failed = 1 ]; then
        for output in "$out"/jobs/*/output; do
            case $(tail -n 1 "$output") in *FAILED) cat "$output" ;; esac
        done
        exit 1
    fi
}

# The programs that take longest come first.
suffix=${SUFFIX:-}
variants="faults plain stub worn"
list="program pool-faults$suffix faults pool_faults.c
program faults$suffix faults faults.c
program region-faults$suffix faults region_faults.c
program parking$suffix faults parking.c
program pool-memory$suffix plain pool_memory.c -D_GNU_SOURCE
program placement$suffix plain placement.c -D_GNU_SOURCE
program pool-footprint$suffix plain pool_footprint.c
program pool-handles$suffix plain pool_handles.c
program pool-publish$suffix plain pool_publish.c
program pool$suffix plain pool.c
program link$suffix plain link.c
program link-counted$suffix faults link.c
program link-faults$suffix faults link_faults.c
program staged$suffix plain staged.c -D_GNU_SOURCE
program staged-faults$suffix faults staged_faults.c
program buffer$suffix plain buffer.c
program data$suffix plain data.c
program data-faults$suffix faults data_faults.c
program stub$suffix stub stub.c
program probe$suffix plain probe.c
program probe-faults$suffix faults probe.c
program probe-stub$suffix stub probe.c
program thunk$suffix plain thunk.c
program caller$suffix plain caller.c
program caller-threads$suffix plain caller_threads.c
program caller-faults$suffix faults caller_faults.c
program bind$suffix plain bind.c
program bind-threads$suffix plain bind_threads.c -D_GNU_SOURCE
program handler$suffix plain handler.c
program handler-threads$suffix plain handler_threads.c -D_GNU_SOURCE
program handler-faults$suffix faults handler_faults.c
program signature$suffix plain signature.c
program types$suffix plain types.c
program layouts$suffix plain layouts.c
program arm-calls$suffix plain arm_calls.c
program arm-edits$suffix plain arm_edits.c
program arm-handlers$suffix plain arm_handlers.c
program arm-stubs$suffix plain arm_stubs.c
program thunk-types$suffix plain thunk_types.c -fno-asynchronous-unwind-tables
program error$suffix plain error.c
program xdata$suffix plain xdata.c
program xdata-list$suffix plain xdata_list.c
program describe-xdata$suffix plain describe_xdata.c
program lines$suffix plain lines.c
program structs$suffix plain structs.c
program find$suffix plain find.c
program name$suffix plain name.c
program handles$suffix worn handles.c
program_cpp unwind$suffix plain unwind.cpp
program_cpp call-unwind$suffix plain call_unwind.cpp
program_cpp handler-unwind$suffix plain handler_unwind.cpp
program_cpp describe-unwind$suffix plain describe_unwind.cpp
program_cpp describe-peak$suffix plain describe_peak.cpp
program_cpp describe-windows$suffix plain describe_windows.cpp
program_cpp describe-windows-faults$suffix faults describe_windows.cpp"
if [ -z "$suffix" ]; then
    variants="$variants unix unix-faults"
    list="program random plain random.c -D_GNU_SOURCE
program random-unix unix random.c -D_GNU_SOURCE
program arena-numbers plain arena_numbers.c -D_GNU_SOURCE
program change-and-free plain change_and_free.c -D_GNU_SOURCE
program arenas plain arenas.c -D_GNU_SOURCE
program arenas-unix unix arenas.c -D_GNU_SOURCE
program pool-threads plain pool_threads.c -D_GNU_SOURCE
program pool-threads-unix unix pool_threads.c -D_GNU_SOURCE
program pool-fork plain pool_fork.c -D_GNU_SOURCE
program data-fork plain data_fork.c -D_GNU_SOURCE
program data-fork-unix unix data_fork.c -D_GNU_SOURCE
program not-inherited plain not_inherited.c -D_GNU_SOURCE
program not-inherited-unix unix not_inherited.c -D_GNU_SOURCE
program lookup-in-handler plain lookup_in_handler.c
program lookup-in-handler-unix unix lookup_in_handler.c
program pool-fork-unix unix pool_fork.c -D_GNU_SOURCE
$list
program biased-lock plain biased_lock.c -D_GNU_SOURCE
program biased-lock-unix unix biased_lock.c -D_GNU_SOURCE
program own plain own.c -D_GNU_SOURCE
program caller-without-code stub caller.c
program call-backtrace plain call_backtrace.c -fexceptions
program call-backtrace-without-code stub call_backtrace.c -fexceptions
program own-limits plain own_limits.c -D_GNU_SOURCE
program own-faults faults own_faults.c -D_GNU_SOURCE
program fences faults fences.c -D_GNU_SOURCE
program copy plain copy.c -D_GNU_SOURCE
program copy-faults faults copy_faults.c -D_GNU_SOURCE
program peak plain peak.c -D_GNU_SOURCE
program peak-faults faults peak_faults.c -D_GNU_SOURCE
program thunk-fork plain thunk_fork.c -D_GNU_SOURCE
program clone plain clone.c -D_GNU_SOURCE
program no-search plain no_search.c -D_GNU_SOURCE
program frame-pointer plain frame_pointer.c -D_GNU_SOURCE -fno-omit-frame-pointer
program unwinder plain unwinder.c -D_GNU_SOURCE
program describe plain describe.c -D_GNU_SOURCE
program describe-arrays plain describe.c -D_GNU_SOURCE -DUNWINDER_TAKES_ARRAYS
program describe-tables plain describe_tables.c
program observe plain observe.c -D_GNU_SOURCE
program jitdump plain jitdump.c -D_GNU_SOURCE
program dump-tables plain dump_tables.c -D_GNU_SOURCE
program tools plain tools.c -D_GNU_SOURCE
program tools-unix unix tools.c -D_GNU_SOURCE
program tools-faults faults tools_faults.c -D_GNU_SOURCE
program describe-faults faults describe_faults.c
program pool-dump plain pool_dump.c -D_GNU_SOURCE
program pool-key plain pool_key.c -D_GNU_SOURCE
program pool-key-unix unix pool_key.c -D_GNU_SOURCE
program threads plain threads.c -D_GNU_SOURCE
program backends plain backends.c -D_GNU_SOURCE
program cancel plain cancel.c -D_GNU_SOURCE
program unload plain unload.c -D_GNU_SOURCE
program unload-unix unix unload.c -D_GNU_SOURCE
program cancel-unix unix cancel.c -D_GNU_SOURCE
program backends-unix unix backends.c -D_GNU_SOURCE
program staged-process plain staged_process.c -D_GNU_SOURCE
program staged-process-unix unix staged_process.c -D_GNU_SOURCE
program staged-unix unix staged.c -D_GNU_SOURCE
program staged-faults-unix unix-faults staged_faults.c
program buffer-unix unix buffer.c
program data-unix unix data.c
program data-faults-unix unix-faults data_faults.c
program placement-unix unix placement.c -D_GNU_SOURCE
program reach plain reach.c -D_GNU_SOURCE
program placement-faults faults placement_faults.c -D_GNU_SOURCE
program faults-unix unix-faults faults.c
program probe-unix unix probe.c
program bind-unix unix bind.c
program bind-threads-unix unix bind_threads.c -D_GNU_SOURCE
program handler-unix unix handler.c
program pool-unix unix pool.c
program link-unix unix link.c
program link-faults-unix unix-faults link_faults.c
program pool-publish-unix unix pool_publish.c
program pool-handles-unix unix pool_handles.c
program pool-memory-unix unix pool_memory.c -D_GNU_SOURCE
program pool-footprint-unix unix pool_footprint.c
program pool-faults-unix unix-faults pool_faults.c
program region-faults-unix unix-faults region_faults.c
program parking-unix unix-faults parking.c"
fi
if [ -n "${ONLY:-}" ]; then
    list=$(echo "$list" | grep -E "^[a-z_]+ ($(echo "$ONLY" | tr ' ' '|'))$suffix ") || { echo "no such test: $ONLY"; exit 1; }
    variants=$(echo "$list" | cut -d ' ' -f 3 | sort -u)
fi
for variant in $variants; do
    echo "library $variant"
done | side_by_side
echo "$list" | side_by_side
