//! The memory of a pool: its protection, its contents, and its return to the system.

use super::*;

suite! {
    fn the_executable_view_cannot_become_writable() {
        let pool = pool();
        let buffer = publish(&pool, 1);
        match pool.stats().backend() {
            _ if !has_regions() => skip("the executable view: pools are without regions here"),
            #[cfg(unix)]
            Some(Backend::Memfd) => {
                let page = maps::at(buffer.as_ptr()).unwrap().start as *mut libc::c_void;
                for protection in [libc::PROT_WRITE, libc::PROT_READ | libc::PROT_WRITE, libc::PROT_WRITE | libc::PROT_EXEC] {
                    // SAFETY: The page belongs to the pool, and nothing writes it.
                    let result = unsafe { libc::mprotect(page, 1, protection) };
                    let code = std::io::Error::last_os_error().raw_os_error();
                    // EPERM comes from a filter that refuses before the kernel does.
                    assert!(result == -1 && [Some(libc::EACCES), Some(libc::EPERM)].contains(&code), "{code:?}");
                }
            }
            #[cfg(windows)]
            Some(Backend::Section) => {
                use std::ffi::c_void;
                unsafe extern "system" {
                    fn VirtualProtect(address: *mut c_void, size: usize, protection: u32, old: *mut u32) -> i32;
                }
                for protection in [0x04, 0x40] { // PAGE_READWRITE, PAGE_EXECUTE_READWRITE
                    let mut old = 0;
                    let page = buffer.as_ptr().cast_mut().cast();
                    // SAFETY: The page belongs to the pool, and nothing writes it; `old` is writable.
                    assert_eq!(unsafe { VirtualProtect(page, 1, protection, &raw mut old) }, 0);
                }
            }
            other => assert_eq!(other, Some(Backend::Alias)),
        }
        assert_eq!(call(&buffer), 1);
        maps::look();
    }

    fn the_writable_view_is_at_a_random_distance() {
        let mut distances = std::collections::HashSet::new();
        for _ in 0..10 {
            let writable = || maps::all().into_iter().filter(|mapping| mapping.writable && mapping.shared);
            let before: Vec<usize> = writable().map(|mapping| mapping.start).collect();
            let pool = pool();
            let buffer = publish(&pool, 1);
            if !has_regions() || !maps::LISTED {
                return skip("the writable view: pools are without regions here, or mappings cannot be listed");
            }
            let view = writable().find(|mapping| !before.contains(&mapping.start)).unwrap();
            let code = maps::at(buffer.as_ptr()).unwrap();
            let distance = view.start.wrapping_sub(code.start);
            // Without a random address, the kernel places the two views next to each other.
            let apart = view.start.abs_diff(code.start);
            assert!(apart > 16 * (code.end - code.start), "{apart:#x}");
            assert!(distances.insert(distance), "the distance {distance:#x} occurs twice");
        }
    }

    fn freed_code_is_overwritten_with_traps_and_quarantined() {
        let pool = pool();
        let _kept = publish(&pool, 1);
        let length = 64 + SHORTEST;
        let freed = pool.publish(&function(2, length)).unwrap();
        let entry = freed.as_ptr();
        drop(freed);
        if !has_regions() {
            return skip("freed code: without regions it is unmapped");
        }
        let is_trap = |entry: *const u8| {
            // SAFETY: `_kept` keeps the region mapped, and it is readable.
            let bytes = unsafe { std::slice::from_raw_parts(entry, length.next_multiple_of(16)) };
            bytes.chunks(4).all(|bytes| bytes == TRAP)
        };
        assert!(is_trap(entry));
        // Few enough for the pages of the first region: without free pages, the pool would end the quarantine.
        let others: Vec<ExecBuffer> = (0..100).map(|n| pool.publish(&function(n, length)).unwrap()).collect();
        assert!(others.iter().all(|buffer| buffer.as_ptr() != entry));
        assert!(is_trap(entry));
        let test = "pool::memory::tests::freed_code_is_overwritten_with_traps_and_quarantined";
        let end = child::crashing(test, || {
            // SAFETY: None. The call traps, which ends this process.
            unsafe { std::mem::transmute::<*const u8, extern "C" fn()>(entry)() };
        });
        assert!(end.is_trap(), "{end:?}");
        drop(others);
        // Dropping overwrites all of the code and nothing else. (This needs new code: the fork of the child froze the
        // old.)
        let others: Vec<ExecBuffer> = (0..100).map(|n| pool.publish(&function(n, length)).unwrap()).collect();
        let _kept = publish(&pool, 1);
        for (n, buffer) in (0..).zip(others) {
            let entry = buffer.as_ptr();
            assert_eq!(call(&buffer), n);
            drop(buffer);
            assert!(is_trap(entry), "{n}");
        }
    }

    fn traps_fill_the_gaps_between_pieces_of_code() {
        let pool = pool();
        let mut random = Random(2);
        let mut buffers = Vec::new();
        for _ in 0..3 {
            // Shorter code reuses slots of longer code, of which no byte must remain.
            buffers.extend((0..2000).map(|n| pool.publish(&vec![TRAP[0] ^ 0xff; 1 + (n * 7) % 300]).unwrap()));
            buffers.retain(|_| random.of(0..4) == 0);
        }
        buffers.extend((0..2000).map(|_| pool.publish(&vec![TRAP[0] ^ 0xff; random.of(1..300)]).unwrap()));
        for buffer in &buffers {
            assert!(buffer.as_ref().iter().all(|&byte| byte == TRAP[0] ^ 0xff));
            let (start, end) = (buffer.len().next_multiple_of(4), buffer.len().next_multiple_of(16));
            // SAFETY: The bytes up to the next multiple of 16 belong to the same slot, and are readable.
            let bytes = unsafe { std::slice::from_raw_parts(buffer.as_ptr().add(start), end - start) };
            assert!(bytes.chunks(4).all(|bytes| bytes == TRAP), "{}: {bytes:?}", buffer.len());
        }
    }

    fn buffers_outlive_their_pool_and_the_last_one_frees_its_memory() {
        let round = || {
            let pool = pool();
            let mut buffers: Vec<ExecBuffer> = (0..3000).map(|n| pool.publish(&function(n, 1000)).unwrap()).collect();
            buffers.push(pool.publish(&function(3000, 3 << 20)).unwrap());
            drop(pool);
            buffers[7].rewrite(0, &function(7777, 1000)).unwrap();
            assert_eq!(call(&buffers[7]), 7777);
            drop(buffers.swap_remove(7));
            while let Some(buffer) = buffers.pop() {
                assert!([3000, buffers.len()].contains(&(call(&buffer) as usize)) || buffers.len() < 3000);
                assert!(!maps::LISTED || maps::at(buffer.as_ptr()).is_some());
            }
        };
        let pool_without_code = pool();
        if has_regions() {
            round();
            let before = maps::look();
            round();
            let after = maps::look();
            assert_eq!(after.executable_bytes, before.executable_bytes);
            // A leaked writable view would have a size of some MiB.
            assert!(after.bytes < before.bytes + (1 << 20), "{before:?}, {after:?}");
        }
        let before = maps::look().executable_bytes;
        let buffers: Vec<ExecBuffer> = (0..100).map(|n| publish(&pool_without_code, n)).collect();
        drop(pool_without_code);
        assert!(!maps::LISTED || maps::look().executable_bytes > before);
        assert!((0..).zip(&buffers).all(|(n, buffer)| call(buffer) == n));
        drop(buffers);
        assert_eq!(maps::look().executable_bytes, before);
    }

    fn empty_regions_are_unmapped() {
        let pool = pool();
        let count = if has_regions() { 20_000 } else { 1000 };
        let before = maps::look().executable_bytes;
        for _ in 0..3 {
            let buffers: Vec<ExecBuffer> = (0..count).map(|n| pool.publish(&function(n, 1000)).unwrap()).collect();
            assert!(!maps::LISTED || maps::look().executable_bytes >= before + count as usize * 1000);
            assert!((0..).zip(&buffers).all(|(n, buffer)| call(buffer) == n));
            let region = pool.stats().mapped() / pool.stats().regions().max(1);
            drop(buffers);
            let (after, stats) = (maps::look().executable_bytes, pool.stats());
            assert_eq!((stats.live(), pool.code_bytes()), (0, 0));
            assert!(stats.regions() <= 1 && after <= before + stats.regions() * region, "{before}, {after}, {stats:?}");
        }
    }
}
