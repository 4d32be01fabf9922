/* The whole library as one translation unit, for builds that want one file:
 *
 *   cc -c -Icsrc/include csrc/execbuf.c
 *
 * Each file below also compiles on its own. They are listed from the lowest folder to the highest, except
 * that prim comes first: it chooses the C library's feature macros, which count only before the first system
 * header. */

#include "prim/prim.c"

#include "base/sized.c"
#include "base/trap.c"

#include "exec/choice.c"
#include "exec/ladder.c"
#include "exec/park.c"
#include "exec/rewrite.c"
#include "exec/selftest.c"
#include "exec/view.c"

#include "mapping/handles.c"
#include "mapping/mapping.c"
#include "mapping/staged.c"

#include "pool/alloc.c"
#include "pool/chunk.c"
#include "pool/chunks.c"
#include "pool/data.c"
#include "pool/fork.c"
#include "pool/index.c"
#include "pool/large.c"
#include "pool/own.c"
#include "pool/placement.c"
#include "pool/pool.c"
#include "pool/put.c"
#include "pool/query.c"
#include "pool/readers.c"
#include "pool/reclaim.c"
#include "pool/region.c"
#include "pool/registry.c"
#include "pool/shrink.c"
#include "pool/sizes.c"
#include "pool/slot.c"
#include "pool/free.c"
#include "pool/span.c"

#include "call/parse.c"
#include "call/signature.c"
#include "call/type.c"
#include "call/x86_64.c"

#include "debug/announce.c"
#include "debug/canned.c"
#include "debug/cursor.c"
#include "debug/description.c"
#include "debug/dwarf.c"
#include "debug/eh_frame.c"
#include "debug/elf.c"
#include "debug/gdb_jit.c"
#include "debug/group.c"
#include "debug/rules.c"
#include "debug/section.c"
#include "debug/xdata.c"

#include "thunk/adapter.c"
#include "thunk/fingerprint.c"
#include "thunk/stub.c"
#include "thunk/table.c"
#include "thunk/x86_64/emit.c"

#include "api/backends.c"
#include "api/batch.c"
#include "api/buffer.c"
#include "api/data.c"
#include "api/describe.c"
#include "api/error.c"
#include "api/placement.c"
#include "api/pool.c"
#include "api/probe.c"
#include "api/process.c"
#include "api/signature.c"
#include "api/staged.c"
#include "api/thunk.c"
