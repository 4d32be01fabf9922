// AsmJit's JitAllocator for the benchmark, which is in Rust.

#include <asmjit/asmjit.h>
#include <cstring>

using asmjit::JitAllocator;
using asmjit::JitAllocatorOptions;

// Returns a new allocator with the options that jit-allocator2 has by default: the writable and the
// executable mapping are different, and traps overwrite released code.
extern "C" JitAllocator *bench_asmjit_new() {
    JitAllocator::CreateParams params;
    params.options = JitAllocatorOptions::kUseDualMapping | JitAllocatorOptions::kUseMultiplePools |
                     JitAllocatorOptions::kFillUnusedMemory;
    return new JitAllocator(&params);
}

extern "C" void bench_asmjit_free(JitAllocator *allocator) {
    delete allocator;
}

// Copies code into the allocator. Returns its address, or NULL if there is no memory.
extern "C" const void *bench_asmjit_publish(JitAllocator *allocator, const void *code, size_t length) {
    void *executable = nullptr;
    void *writable = nullptr;
    if (allocator->alloc(&executable, &writable, length) != asmjit::kErrorOk) {
        return nullptr;
    }
    std::memcpy(writable, code, length);
    asmjit::VirtMem::flushInstructionCache(executable, length);
    return executable;
}

extern "C" bool bench_asmjit_release(JitAllocator *allocator, void *code) {
    return allocator->release(code) == asmjit::kErrorOk;
}
