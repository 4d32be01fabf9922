//! What pools do that other buffers do not, to be run as it is (`tests/pool.rs`) and in children that have given up
//! rights (`tests/hardened.rs`). Where the system has no regions, buffers of pools have pages of their own.

#![allow(dead_code, unreachable_pub, reason = "the list is for one of the two")]

use crate::support::{Random, SHORTEST, TRAP, call, child, function, maps, rename, reserve, returning, skip};
use execbuf::{Backend, ErrorKind, ExecBuffer, ExecPool, Place, ffi};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ptr;

macro_rules! suite {
    ($(fn $name:ident() $body:block)*) => {
        $(pub fn $name() $body)*

        /// Every test by name.
        pub const ALL: &[(&str, fn())] = &[$((stringify!($name), $name)),*];

        mod tests {
            $(#[test] fn $name() {
                // One at a time: they count the process's mappings.
                let _alone = crate::support::alone();
                super::$name()
            })*
        }
    };
}

suite! {
    fn a_hundred_thousand_functions_lie_in_a_few_mappings() {
        let pool = pool();
        let count = if has_regions() { 100_000 } else { 2000 };
        let mut random = Random(1);
        let mut functions: Vec<(u32, usize, ExecBuffer)> = Vec::with_capacity(count);
        let before = maps::look();
        for number in 0..u32::try_from(count).unwrap() {
            let length = random.of(8.max(SHORTEST)..1032);
            functions.push((number, length, pool.publish(&function(number, length)).unwrap()));
        }
        let stats = pool.stats();
        let bytes: usize = functions.iter().map(|function| function.1).sum();
        assert_eq!((stats.live(), stats.bytes(), stats.frozen()), (count, bytes, 0));
        assert!(stats.resident() >= bytes && stats.mapped() >= stats.resident(), "{stats:?}");
        let check = |functions: &[(u32, usize, ExecBuffer)]| {
            for (number, length, buffer) in functions {
                assert_eq!((call(buffer), buffer.len()), (*number, *length));
                assert_eq!(buffer.as_ptr().addr() % 16, 0);
            }
            let mut places: Vec<_> = functions.iter().map(|f| (f.2.as_ptr().addr(), f.1)).collect();
            places.sort_unstable();
            assert!(places.windows(2).all(|two| two[0].0 + two[0].1 <= two[1].0));
            // No code begins in the first bytes of a mapping.
            let mut mappings = maps::all().into_iter();
            let mut mapping = mappings.next().unwrap();
            for &(entry, length) in &places {
                while mapping.end <= entry {
                    mapping = mappings.next().unwrap();
                }
                assert!(mapping.start + 16 <= entry && entry + length <= mapping.end, "{mapping:x?}, {entry:x}");
                assert!(mapping.executable && !mapping.writable, "{mapping:x?}");
            }
        };
        check(&functions);
        if has_regions() {
            let after = maps::look();
            assert_eq!(stats.dedicated(), 0);
            // The heap for the book-keeping has a few, too.
            assert!(after.mappings <= before.mappings + 3 * stats.regions() + 8, "{before:?}, {after:?}, {stats:?}");
            assert!(stats.waste() < stats.bytes() / 5, "{stats:?}");
        }
        // Every second one makes room for others.
        let mut keep = false;
        functions.retain(|_| { keep = !keep; keep });
        check(&functions);
        for number in 0..u32::try_from(count / 2).unwrap() {
            let length = random.of(8.max(SHORTEST)..1032);
            let number = 1_000_000 + number;
            functions.push((number, length, pool.publish(&function(number, length)).unwrap()));
        }
        check(&functions);
        let bytes: usize = functions.iter().map(|function| function.1).sum();
        assert_eq!((pool.stats().live(), pool.stats().bytes()), (functions.len(), bytes));
    }

    fn code_of_every_size_is_published_and_rewritten() {
        let pool = pool();
        let mut sizes: Vec<usize> = (0..25).flat_map(|power| [(1 << power) - 1, 1 << power, (1 << power) + 1]).collect();
        sizes.extend([40 << 10, 3 << 20, 3000, 5000, 100_000]);
        sizes.retain(|&size| size >= SHORTEST);
        let mut functions: Vec<(u32, usize, ExecBuffer)> =
            (0..).zip(&sizes).map(|(n, &size)| (n, size, pool.publish(&function(n, size)).unwrap())).collect();
        for (number, size, buffer) in &mut functions {
            assert!(*buffer.as_ref() == function(*number, *size) && call(buffer) == *number, "{size}");
            *number += 1000;
            buffer.rewrite(0, &function(*number, *size)).unwrap();
        }
        for (number, size, buffer) in &functions {
            assert!(*buffer.as_ref() == function(*number, *size) && call(buffer) == *number, "{size}");
        }
        maps::look();
        let bytes = functions.iter().map(|function| function.1).sum();
        assert_eq!((pool.stats().live(), pool.stats().bytes()), (functions.len(), bytes));
        assert!(pool.stats().dedicated() >= 6, "{:?}", pool.stats());
        drop(functions);
        assert_eq!((pool.stats().live(), pool.stats().bytes(), pool.stats().dedicated()), (0, 0, 0));
    }

    fn the_executable_view_can_not_be_made_writable() {
        let pool = pool();
        let buffer = publish(&pool, 1);
        match pool.stats().backend() {
            _ if !has_regions() => skip("the executable view: this system has no regions"),
            #[cfg(unix)]
            Some(Backend::Memfd) => {
                let page = maps::at(buffer.as_ptr()).unwrap().start as *mut libc::c_void;
                for protection in [libc::PROT_WRITE, libc::PROT_READ | libc::PROT_WRITE, libc::PROT_WRITE | libc::PROT_EXEC] {
                    // SAFETY: The page is the pool's, and is not written.
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
                    // SAFETY: The page is the pool's, and is not written; `old` can be written.
                    assert_eq!(unsafe { VirtualProtect(page, 1, protection, &raw mut old) }, 0);
                }
            }
            other => assert_eq!(other, Some(Backend::Alias)),
        }
        assert_eq!(call(&buffer), 1);
        maps::look();
    }

    fn freed_code_is_traps_until_its_place_is_used_again() {
        let pool = pool();
        let _kept = publish(&pool, 1);
        let length = 64 + SHORTEST;
        let freed = pool.publish(&function(2, length)).unwrap();
        let entry = freed.as_ptr();
        drop(freed);
        if !has_regions() {
            return skip("freed code: this system has no regions, so it is unmapped");
        }
        let is_trap = |entry: *const u8| {
            // SAFETY: `_kept` keeps the region, which is readable.
            let bytes = unsafe { std::slice::from_raw_parts(entry, length.next_multiple_of(16)) };
            bytes.chunks(4).all(|bytes| bytes == TRAP)
        };
        assert!(is_trap(entry));
        let others: Vec<ExecBuffer> = (0..1000).map(|n| pool.publish(&function(n, length)).unwrap()).collect();
        assert!(others.iter().all(|buffer| buffer.as_ptr() != entry));
        assert!(is_trap(entry));
        let end = child::crashing("pool::tests::freed_code_is_traps_until_its_place_is_used_again", || {
            // SAFETY: It is a function in as far as it is executable; it traps.
            unsafe { std::mem::transmute::<*const u8, extern "C" fn()>(entry)() };
        });
        assert!(end.is_trap(), "{end:?}");
        drop(others);
        // What is dropped is overwritten, all of it, and nothing else. (New code: the child's fork froze the old.)
        let others: Vec<ExecBuffer> = (0..1000).map(|n| pool.publish(&function(n, length)).unwrap()).collect();
        let _kept = publish(&pool, 1);
        for (n, buffer) in (0..).zip(others) {
            let entry = buffer.as_ptr();
            assert_eq!(call(&buffer), n);
            drop(buffer);
            assert!(is_trap(entry), "{n}");
        }
    }

    fn between_pieces_of_code_are_traps() {
        let pool = pool();
        let mut random = Random(2);
        let mut buffers = Vec::new();
        for _ in 0..3 {
            // Longer code leaves nothing of itself behind in places that shorter code gets.
            buffers.extend((0..2000).map(|n| pool.publish(&vec![TRAP[0] ^ 0xff; 1 + (n * 7) % 300]).unwrap()));
            buffers.retain(|_| random.of(0..4) == 0);
        }
        buffers.extend((0..2000).map(|_| pool.publish(&vec![TRAP[0] ^ 0xff; random.of(1..300)]).unwrap()));
        for buffer in &buffers {
            assert!(buffer.as_ref().iter().all(|&byte| byte == TRAP[0] ^ 0xff));
            let (start, end) = (buffer.len().next_multiple_of(4), buffer.len().next_multiple_of(16));
            // SAFETY: Up to the next multiple of 16 nothing else begins, and it is readable.
            let bytes = unsafe { std::slice::from_raw_parts(buffer.as_ptr().add(start), end - start) };
            assert!(bytes.chunks(4).all(|bytes| bytes == TRAP), "{}: {bytes:?}", buffer.len());
        }
    }

    fn buffers_live_on_without_their_pool_and_its_memory_goes_with_the_last() {
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
                maps::at(buffer.as_ptr()).unwrap();
            }
        };
        let pool_without_code = pool();
        if has_regions() {
            round();
            let before = maps::look();
            round();
            let after = maps::look();
            assert_eq!(after.executable_bytes, before.executable_bytes);
            // A writable view that was left would be some MiB.
            assert!(after.bytes < before.bytes + (1 << 20), "{before:?}, {after:?}");
        }
        let before = maps::look().executable_bytes;
        let buffers: Vec<ExecBuffer> = (0..100).map(|n| publish(&pool_without_code, n)).collect();
        drop(pool_without_code);
        assert!(maps::look().executable_bytes > before);
        assert!((0..).zip(&buffers).all(|(n, buffer)| call(buffer) == n));
        drop(buffers);
        assert_eq!(maps::look().executable_bytes, before);
    }

    fn nobody_can_guess_where_the_writable_view_is() {
        let mut distances = std::collections::HashSet::new();
        for _ in 0..10 {
            let writable = || maps::all().into_iter().filter(|mapping| mapping.writable && mapping.shared);
            let before: Vec<usize> = writable().map(|mapping| mapping.start).collect();
            let pool = pool();
            let buffer = publish(&pool, 1);
            if !has_regions() {
                return skip("the writable view: there are no regions here");
            }
            let view = writable().find(|mapping| !before.contains(&mapping.start)).unwrap();
            let code = maps::at(buffer.as_ptr()).unwrap();
            let distance = view.start.wrapping_sub(code.start);
            // Left to itself, the kernel puts one right beside the other.
            let apart = view.start.abs_diff(code.start);
            assert!(apart > 16 * (code.end - code.start), "{apart:#x}");
            assert!(distances.insert(distance), "{distance:#x} once more");
        }
    }

    fn clones_are_the_same_pool() {
        let pool = pool();
        let clone = pool.clone();
        let buffer = publish(&clone, 5);
        assert_eq!(pool.lookup(buffer.as_ptr()).unwrap().entry(), buffer.as_ptr());
        assert_eq!((pool.stats().live(), clone.stats().live()), (1, 1));
        drop(pool);
        let other = publish(&clone, 6);
        assert_eq!((call(&buffer), call(&other), clone.stats().live()), (5, 6, 2));
        let threads: Vec<_> = (0..4).map(|thread| {
            let pool = clone.clone();
            std::thread::spawn(move || (0..500).map(|n| publish(&pool, thread * 1000 + n)).collect::<Vec<_>>())
        }).collect();
        let buffers: Vec<ExecBuffer> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert!((0..).zip(&buffers).all(|(n, buffer)| call(buffer) == n / 500 * 1000 + n % 500));
        assert_eq!(clone.stats().live(), 2002);
    }

    fn pools_do_not_share_code() {
        let (one, two) = (pool(), pool());
        let (first, second) = (publish(&one, 1), publish(&two, 2));
        assert_eq!((one.lookup(second.as_ptr()), two.lookup(first.as_ptr())), (None, None));
        assert_eq!((one.stats().live(), two.stats().live()), (1, 1));
        drop((two, second));
        assert_eq!((call(&first), one.stats().live()), (1, 1));
        // The number of a pool that is gone is used again, and means nothing else by that.
        for n in 0..100 {
            let pool = pool();
            let buffer = publish(&pool, n);
            assert_eq!((call(&buffer), one.stats().live(), pool.stats().live()), (n, 1, 1));
        }
    }

    fn lookup_finds_every_byte_of_live_code_and_nothing_else() {
        let pool = pool();
        let mut random = Random(3);
        let count = if has_regions() { 3000 } else { 100 };
        let lengths = |random: &mut Random| match random.of(0..40) {
            0 => random.of(1..50_000),
            1..6 => random.of(1..5000),
            _ => random.of(1..400),
        };
        let mut buffers: Vec<ExecBuffer> =
            (0..count).map(|_| pool.publish(&vec![TRAP[0]; lengths(&mut random)]).unwrap()).collect();
        let gone: Vec<(usize, usize)> = buffers.iter().skip(1).step_by(2).map(|b| (b.as_ptr().addr(), b.len())).collect();
        let mut keep = false;
        buffers.retain(|_| { keep = !keep; keep });
        buffers.push(pool.publish(&vec![TRAP[0]; 3 << 20]).unwrap());
        let live: BTreeMap<usize, usize> = buffers.iter().map(|buffer| (buffer.as_ptr().addr(), buffer.len())).collect();
        let expected = |address: usize| {
            let (&entry, &len) = live.range(..=address).next_back()?;
            (address - entry < len).then_some((entry as *const u8, len))
        };
        let check = |address: usize| assert_eq!(pool.lookup(address as *const u8).map(place), expected(address), "{address:x}");
        for (&entry, &length) in &live {
            for address in entry - 17..entry + length.min(5000) + 17 {
                check(address);
            }
            for address in entry + length - length.min(100)..entry + length + 40 {
                check(address);
            }
        }
        for (entry, length) in gone {
            (entry..entry + length).step_by(7).for_each(check);
        }
        let local = 0_u8;
        for address in [0, 1, 16, usize::MAX, usize::MAX - 4096, 1 << 47, (&raw const local).addr(), call as *const () as usize] {
            check(address);
        }
        for _ in 0..10_000 {
            check(usize::try_from(random.next()).unwrap());
        }
    }

    fn lookup_finds_no_code_before_it_is_published() {
        let pool = pool();
        for capacity in [100, 1000, 10_000, 100_000, 3 << 20] {
            let buffer = reserve(Some(&pool), capacity, |address, code| {
                assert_eq!(pool.lookup(address as *const u8), None);
                assert_eq!((pool.stats().live(), pool.stats().bytes()), (1, capacity));
                rename(code, 5);
                SHORTEST + 3
            }).unwrap();
            let entry = buffer.as_ptr();
            assert_eq!(pool.lookup(entry).map(place), Some((entry, SHORTEST + 3)));
            assert_eq!(pool.lookup(entry.wrapping_add(SHORTEST + 2)).map(place), Some((entry, SHORTEST + 3)));
            assert_eq!(pool.lookup(entry.wrapping_add(SHORTEST + 3)), None);
            assert_eq!((pool.stats().live(), pool.stats().bytes()), (1, SHORTEST + 3));
            assert_eq!(call(&buffer), 5);
        }
        assert_eq!((pool.stats().live(), pool.stats().bytes()), (0, 0));
    }

    fn closures_that_assemble_code_may_use_the_pool() {
        let pool = pool();
        let mut inner = Vec::new();
        let outer = pool.assemble(|outer| {
            inner.clear();
            inner.extend((0..50).map(|n| publish(&pool, n)));
            inner.push(pool.assemble(|inner| {
                assert!(inner.abs_diff(outer) >= 64);
                Ok::<_, Infallible>(function(50, 200))
            })?);
            Ok::<_, execbuf::Error>(function(99, 200))
        }).unwrap();
        assert!((0..).zip(&inner).all(|(n, buffer)| call(buffer) == n));
        assert_eq!((call(&outer), inner.len(), pool.stats().live()), (99, 51, 52));
    }

    fn what_could_not_be_assembled_is_not_there() {
        let pool = pool();
        let kept = publish(&pool, 3);
        let fail = || for capacity in [16, 1000, 50_000, 3 << 20] {
            let mut calls = 0;
            let second = || { calls += 1; calls == 2 };
            let mut second = second;
            pool.assemble(|_| if second() { Err("no") } else { Ok(vec![0; capacity.max(100)]) }).unwrap_err();
            pool.assemble(|_| Ok::<_, Infallible>([])).unwrap_err();
            reserve(Some(&pool), capacity, |_, _| 0).unwrap_err();
            reserve(Some(&pool), capacity, |_, _| capacity + 1).unwrap_err();
            let panic = std::panic::AssertUnwindSafe(|| {
                reserve(Some(&pool), capacity, |_, _| std::panic::resume_unwind(Box::new("no")))
            });
            std::panic::catch_unwind(panic).unwrap_err();
            let panic = std::panic::AssertUnwindSafe(|| {
                pool.assemble::<[u8; 0], Infallible>(|_| std::panic::resume_unwind(Box::new("no")))
            });
            std::panic::catch_unwind(panic).unwrap_err();
        };
        fail();
        let before = maps::look().executable_bytes;
        for _ in 0..100 {
            fail();
        }
        assert_eq!((pool.stats().live(), pool.stats().bytes(), call(&kept)), (1, kept.len(), 3));
        assert_eq!(maps::look().executable_bytes, before);
    }

    fn all_code_lies_near_the_given_address() {
        let heap = Box::new(7);
        for near in [call as *const u8, (&raw const *heap).cast()] {
            let pool = ExecPool::builder().near(near).build().unwrap();
            let mut sizes: Vec<usize> = (0..3000).map(|n| SHORTEST + n % 1000).collect();
            sizes.extend([3 << 20, 100_000, 64 << 20]);
            if !has_regions() {
                sizes.drain(..2900);
            }
            let buffers: Vec<ExecBuffer> = sizes.iter().map(|&size| pool.publish(&function(8, size)).unwrap()).collect();
            let reserved = reserve(Some(&pool), 5 << 20, |_, code| { rename(code, 8); SHORTEST }).unwrap();
            let assembled = pool.assemble(|_| Ok::<_, Infallible>(function(8, 5 << 20))).unwrap();
            for buffer in buffers.iter().chain([&reserved, &assembled]) {
                for end in [buffer.as_ptr(), buffer.as_ptr().wrapping_add(buffer.len())] {
                    assert!(is_near(end, near), "{end:?} is too far from {near:?}");
                }
                assert_eq!(call(buffer), 8);
            }
        }
    }

    fn where_nothing_is_free_near_the_address_the_error_says_so() {
        // No address space but for this: 2 GiB to both sides.
        let size = (4 << 30) + (256 << 20);
        let taken = take(size);
        if taken.is_null() {
            return skip("address space that is too far: there are no 4 GiB");
        }
        let pool = ExecPool::builder().near(taken.wrapping_add(size / 2)).build().unwrap();
        let before = maps::look().executable_bytes;
        for _ in 0..3 {
            for error in [
                pool.publish(&returning(1)).unwrap_err(),
                pool.publish(&function(1, 3 << 20)).unwrap_err(),
                reserve(Some(&pool), 100, |_, _| 1).unwrap_err(),
                pool.assemble(|_| Ok::<_, Infallible>(returning(1))).unwrap_err(),
                pool.publish_batch(&[&returning(1), &returning(2)]).unwrap_err(),
            ] {
                assert_eq!(error.kind(), ErrorKind::TooFar, "{error}");
            }
        }
        assert_eq!((pool.stats().live(), pool.stats().bytes(), pool.stats().regions()), (0, 0, 0));
        assert_eq!(maps::look().executable_bytes, before);
        give(taken, size);
        let buffer = publish(&pool, 9);
        assert_eq!((call(&buffer), pool.stats().live()), (9, 1));
        assert!(is_near(buffer.as_ptr(), taken.wrapping_add(size / 2)));
    }

    fn the_pools_name_is_in_the_list_of_mappings() {
        let longest = "x".repeat(63);
        for name in ["jit", "a name: 100%", &longest, "", "äöü"] {
            let pool = ExecPool::builder().name(name).build().unwrap();
            let buffer = publish(&pool, 1);
            assert_eq!((pool.name(), format!("{pool:?}")), (name, format!("ExecPool {{ name: {name:?}, .. }}")));
            #[cfg(target_os = "linux")]
            if (pool.stats().backend(), has_regions()) == (Some(Backend::Memfd), true) {
                assert_eq!(maps::name_at(buffer.as_ptr()), format!("/memfd:{name} (deleted)"));
            }
            assert_eq!(call(&buffer), 1);
        }
        assert_eq!(pool().name(), "execbuf");
    }

    fn names_that_are_too_long_or_hold_a_zero_are_refused() {
        for name in ["x".repeat(64), "x".repeat(1000)] {
            let error = ExecPool::builder().name(&name).build().unwrap_err();
            assert_eq!((error.kind(), error.culprit()), (ErrorKind::TooLarge, Some("name")));
        }
        let long = format!("{}\0", "x".repeat(1000));
        for name in ["a\0b", "\0", "a\0", &long] {
            let error = ExecPool::builder().name(name).build().unwrap_err();
            assert_eq!((error.kind(), error.culprit()), (ErrorKind::ZeroByte, Some("name")));
            assert_eq!(error.to_string(), "the text contains a zero byte; remove it (name)");
        }
    }

    fn stats_tell_how_the_pool_is_made() {
        let pool = pool();
        let stats = pool.stats();
        let numbers = (stats.live(), stats.bytes(), stats.mapped(), stats.resident(), stats.regions(), stats.dedicated());
        assert_eq!((numbers, stats.backend()), ((0, 0, 0, 0, 0, 0), None));
        let buffer = publish(&pool, 1);
        let stats = pool.stats();
        assert_eq!((stats.live(), stats.bytes(), stats.frozen()), (1, buffer.len(), 0));
        assert!(stats.bookkeeping() > 0 && stats.waste() == stats.resident() - stats.bytes());
        match stats.backend() {
            Some(Backend::Memfd | Backend::Section) => {
                assert_eq!((stats.regions(), stats.dedicated(), stats.attempts().len()), (1, 0, 0));
            }
            Some(_) => assert!(stats.regions() == 1 && !stats.attempts().is_empty()),
            None => assert_eq!((stats.regions(), stats.dedicated()), (0, 1)),
        }
        let large = pool.publish(&function(1, 3 << 20)).unwrap();
        let with = pool.stats();
        assert_eq!((with.live(), with.bytes(), with.dedicated()), (2, stats.bytes() + large.len(), stats.dedicated() + 1));
        assert!(with.mapped() >= stats.mapped() + large.len() && with.resident() >= stats.resident() + large.len());
        drop(large);
        let without = pool.stats();
        assert_eq!((without.mapped(), without.resident(), without.bytes()), (stats.mapped(), stats.resident(), stats.bytes()));
    }

    fn memory_that_is_empty_goes_back() {
        let pool = pool();
        let count = if has_regions() { 20_000 } else { 1000 };
        let before = maps::look().executable_bytes;
        for _ in 0..3 {
            let buffers: Vec<ExecBuffer> = (0..count).map(|n| pool.publish(&function(n, 1000)).unwrap()).collect();
            assert!(maps::look().executable_bytes >= before + count as usize * 1000);
            assert!((0..).zip(&buffers).all(|(n, buffer)| call(buffer) == n));
            let region = pool.stats().mapped() / pool.stats().regions().max(1);
            drop(buffers);
            let (after, stats) = (maps::look().executable_bytes, pool.stats());
            assert_eq!((stats.live(), stats.bytes()), (0, 0));
            assert!(stats.regions() <= 1 && after <= before + stats.regions() * region, "{before}, {after}, {stats:?}");
        }
    }

    fn a_batch_is_published_in_order() {
        let pool = pool();
        assert_eq!(pool.publish_batch(&[]).unwrap().len(), 0);
        assert_eq!(pool.stats().live(), 0);
        let mut codes: Vec<Vec<u8>> = (0..1000).map(|n| function(n, SHORTEST + (n as usize * 37) % 2000)).collect();
        codes[500] = function(500, 3 << 20);
        codes[700] = function(700, 100_000);
        if !has_regions() {
            codes.truncate(701);
        }
        let slices: Vec<&[u8]> = codes.iter().map(Vec::as_slice).collect();
        let buffers = pool.publish_batch(&slices).unwrap();
        for ((number, code), buffer) in (0..).zip(&codes).zip(&buffers) {
            assert!(buffer.as_ref() == code && call(buffer) == number, "{number}");
            assert_eq!(pool.lookup(buffer.as_ptr()).unwrap().len(), code.len());
        }
        let bytes = codes.iter().map(Vec::len).sum();
        assert_eq!((buffers.len(), pool.stats().live(), pool.stats().bytes()), (codes.len(), codes.len(), bytes));
        maps::look();
    }

    fn a_batch_is_all_or_nothing() {
        let pool = pool();
        let kept = publish(&pool, 1);
        for empty in [0, 1, 50, 99] {
            let mut codes: Vec<Vec<u8>> = (0..100).map(|n| function(n, 100)).collect();
            codes[30] = function(30, 3 << 20);
            codes[empty].clear();
            let slices: Vec<&[u8]> = codes.iter().map(Vec::as_slice).collect();
            let error = pool.publish_batch(&slices).unwrap_err();
            assert_eq!((error.kind(), error.culprit()), (ErrorKind::Empty, Some("length")));
            assert_eq!((pool.stats().live(), pool.stats().bytes()), (1, kept.len()));
        }
        // SAFETY: The last piece is refused for its length, before a byte of it is read.
        unsafe {
            let raw = RawPool::new();
            let good = returning(1);
            let code = |length| ffi::execbuf_code { bytes: good.as_ptr().cast(), length };
            let codes = [code(good.len()), code(good.len()), code(usize::MAX / 2)];
            let mut out = [NOTHING; 3];
            let status = ffi::execbuf_pool_publish_batch(raw.0, out.as_mut_ptr(), codes.as_ptr(), 3, ptr::null_mut());
            assert_eq!(status, ffi::execbuf_status::EXECBUF_E_TOO_LARGE);
            assert!(out.iter().all(|handle| handle.entry.is_null() && handle.length == 0 && handle.id == 0));
            assert_eq!(raw.live(), 0);
        }
    }

    fn publishing_in_a_warm_pool_takes_no_memory() {
        let pool = pool();
        if !has_regions() {
            return skip("a warm pool: this system has no regions");
        }
        let cycles = || (0..10_000).for_each(|n| drop(pool.publish(&function(n, 100)).unwrap()));
        let _kept = publish(&pool, 1);
        cycles();
        let before = pool.stats();
        let mapped = maps::look().executable_bytes;
        (0..5).for_each(|_| cycles());
        let after = pool.stats();
        assert_eq!((after.bookkeeping(), after.resident(), after.regions()), (before.bookkeeping(), before.resident(), 1));
        assert_eq!(maps::look().executable_bytes, mapped);
    }

    fn threads_publish_rewrite_and_drop_in_one_pool() {
        let pool = pool();
        let count = if has_regions() { 3000 } else { 200 };
        std::thread::scope(|scope| {
            for thread in 0..4_u32 {
                let pool = &pool;
                scope.spawn(move || {
                    let mut random = Random(thread.into());
                    let mut live: Vec<(u32, ExecBuffer)> = Vec::new();
                    for n in 0..count {
                        let number = thread * 10_000 + n;
                        live.push((number, pool.publish(&function(number, random.of(SHORTEST..300))).unwrap()));
                        if random.of(0..2) == 0 {
                            let chosen = random.of(0..live.len());
                            let (number, buffer) = live.swap_remove(chosen);
                            assert_eq!(call(&buffer), number);
                        }
                        let chosen = random.of(0..live.len().max(1));
                        if let Some((number, buffer)) = live.get_mut(chosen) {
                            *number += 100_000;
                            let mut code = buffer.as_ref().to_vec();
                            rename(&mut code, *number);
                            buffer.rewrite(0, &code).unwrap();
                        }
                    }
                    assert!(live.iter().all(|(number, buffer)| call(buffer) == *number));
                });
            }
        });
        assert_eq!((pool.stats().live(), pool.stats().bytes()), (0, 0));
    }

    fn buffers_are_dropped_by_other_threads_than_their_publisher() {
        let pool = pool();
        let (sender, receiver) = std::sync::mpsc::channel();
        let count = if has_regions() { 10_000 } else { 300 };
        std::thread::scope(|scope| {
            scope.spawn(move || for (n, buffer) in (0..).zip(receiver) {
                assert_eq!(call(&buffer), n);
            });
            for n in 0..count {
                sender.send(pool.publish(&function(n, 64)).unwrap()).unwrap();
            }
            drop(sender);
        });
        assert_eq!(pool.stats().live(), 0);
    }

    fn a_handle_is_freed_once() {
        let raw = RawPool::new();
        for size in [SHORTEST, 2000, 40 << 10, 3 << 20] {
            let mut handle = raw.publish(&function(1, size));
            let mut copy = twin(&handle);
            assert_eq!(free(&mut handle), OK);
            assert_eq!((handle.entry.is_null(), handle.length, handle.id), (true, 0, 0));
            assert_eq!(free(&mut handle), OK); // of nothing
            is_stale(&mut copy);
        }
        assert_eq!(raw.live(), 0);
    }

    fn handles_of_other_addresses_are_refused() {
        let raw = RawPool::new();
        let other = RawPool::new();
        let mut kept: Vec<ffi::execbuf> = (0..100).map(|n| raw.publish(&function(n, 64))).collect();
        let mut foreign = other.publish(&function(1, 64));
        let handle = twin(&kept[50]);
        let local = 0_u8;
        let elsewhere = [ptr::null(), ptr::without_provenance(16), (&raw const local).cast(), foreign.entry];
        let within = [1, 2, 8, 15, 16, 32, 63, 64, 128].map(|offset| handle.entry.wrapping_byte_add(offset));
        let around = [1, 16, 64, 4096, 1 << 20, 1 << 32].map(|offset| handle.entry.wrapping_byte_sub(offset));
        let flipped = (0..usize::BITS).map(|bit| ptr::without_provenance(handle.entry.addr() ^ 1 << bit));
        for entry in elsewhere.into_iter().chain(within).chain(around).chain(flipped) {
            // With the address of another live buffer it may be that one's handle.
            if kept.iter().all(|other| other.entry != entry) {
                is_stale(&mut ffi::execbuf { entry, ..handle });
            }
        }
        for (n, handle) in (0..).zip(&mut kept) {
            assert_eq!(run(handle), n);
            assert_eq!(free(handle), OK);
        }
        assert_eq!((run(&foreign), free(&mut foreign)), (1, OK));
    }

    fn handles_with_an_altered_id_are_refused() {
        let (raw, other) = (RawPool::new(), RawPool::new());
        for size in [SHORTEST, 2000, 40 << 10, 3 << 20] {
            // A slot that was used before has a tag that is not the first.
            for _ in 0..5 {
                free(&mut raw.publish(&function(1, size)));
            }
            let mut handle = raw.publish(&function(1, size));
            let mut others = other.publish(&function(2, size));
            for bit in 0..64 {
                is_stale(&mut ffi::execbuf { id: handle.id ^ 1 << bit, ..handle });
            }
            is_stale(&mut ffi::execbuf { id: 0, ..handle });
            is_stale(&mut ffi::execbuf { id: u64::MAX, ..handle });
            // A handle of one pool for code of another.
            is_stale(&mut ffi::execbuf { id: others.id, ..handle });
            is_stale(&mut ffi::execbuf { id: handle.id, ..others });
            assert_eq!((run(&handle), run(&others)), (1, 2));
            assert_eq!((free(&mut handle), free(&mut others)), (OK, OK));
        }
        assert_eq!((raw.live(), other.live()), (0, 0));
    }

    fn a_stale_handle_does_not_free_what_took_its_place() {
        let raw = RawPool::new();
        let mut kept = raw.publish(&function(0, 1000));
        let code = function(1, 1000);
        let mut old = raw.publish(&code);
        let mut copy = twin(&old);
        assert_eq!(free(&mut old), OK);
        let mut filler = Vec::new();
        let reused = (0..if has_regions() { 100_000 } else { 1000 }).find_map(|n| {
            let mut handle = raw.publish(&function(n, 1000));
            if handle.entry == copy.entry {
                return Some((n, handle));
            }
            // Some stay, so that the place is needed; the others wait in limbo until it is worth while.
            if filler.len() < 200 { filler.push(handle) } else { free(&mut handle); }
            None
        });
        let Some((n, mut new)) = reused else {
            assert!(!has_regions(), "a place is used again");
            drop_all(&mut filler);
            free(&mut kept);
            return skip("a stale handle: the place was not used again");
        };
        is_stale(&mut copy);
        assert_eq!(run(&new), n);
        assert_eq!((free(&mut new), free(&mut kept)), (OK, OK));
        drop_all(&mut filler);
        assert_eq!(raw.live(), 0);
    }

    fn handles_of_a_pool_that_is_gone_are_refused() {
        let raw = RawPool::new();
        let mut handle = raw.publish(&function(1, 100));
        let mut copy = twin(&handle);
        drop(raw);
        assert_eq!((run(&handle), free(&mut handle)), (1, OK));
        is_stale(&mut copy);
        // The pool's number is used again.
        let raw = RawPool::new();
        let mut handle = raw.publish(&function(2, 100));
        is_stale(&mut copy);
        is_stale(&mut ffi::execbuf { entry: handle.entry, ..copy });
        assert_eq!((run(&handle), free(&mut handle)), (2, OK));
    }

    fn reserved_handles_are_published_once() {
        let raw = RawPool::new();
        for capacity in [100, 2000, 40 << 10, 3 << 20] {
            let mut handle = NOTHING;
            let code = function(3, SHORTEST);
            let bytes = code.as_ptr().cast();
            // SAFETY: The pool lives, the handle can be written, and the code is readable for its length.
            unsafe {
                let none = ptr::null_mut();
                assert_eq!(ffi::execbuf_pool_reserve(raw.0, &raw mut handle, capacity, none), OK);
                let status = ffi::execbuf_rewrite(&raw mut handle, 0, bytes, 1, none);
                assert_eq!(status, ffi::execbuf_status::EXECBUF_E_NOT_PUBLISHED);
                let long = vec![0_u8; capacity + 1];
                let status = ffi::execbuf_publish(&raw mut handle, long.as_ptr().cast(), long.len(), none);
                assert_eq!((status, handle.length), (ffi::execbuf_status::EXECBUF_E_CAPACITY, 0));
                assert_eq!(ffi::execbuf_publish(&raw mut handle, bytes, code.len(), none), OK);
                assert_eq!(handle.length, SHORTEST);
                let status = ffi::execbuf_publish(&raw mut handle, bytes, code.len(), none);
                assert_eq!(status, ffi::execbuf_status::EXECBUF_E_PUBLISHED);
                let status = ffi::execbuf_rewrite(&raw mut handle, 1, bytes, code.len(), none);
                assert_eq!(status, ffi::execbuf_status::EXECBUF_E_OUT_OF_BOUNDS);
            }
            assert_eq!((run(&handle), free(&mut handle)), (3, OK));
        }
    }
}

const OK: ffi::execbuf_status = ffi::execbuf_status::EXECBUF_OK;
const NOTHING: ffi::execbuf = ffi::execbuf { entry: ptr::null(), length: 0, id: 0 };

/// A pool of the C API.
struct RawPool(*mut ffi::execbuf_pool);

impl RawPool {
    fn new() -> Self {
        let mut pool = ptr::null_mut();
        // SAFETY: `pool` can be written; the options and the report may be null.
        let status = unsafe { ffi::execbuf_pool_new(&raw mut pool, ptr::null(), ptr::null_mut()) };
        assert_eq!(status, OK);
        Self(pool)
    }

    fn publish(&self, code: &[u8]) -> ffi::execbuf {
        let mut handle = NOTHING;
        let (bytes, length) = (code.as_ptr().cast(), code.len());
        // SAFETY: The pool lives, the handle can be written, and the code is readable for its length.
        let status = unsafe { ffi::execbuf_pool_publish(self.0, &raw mut handle, bytes, length, ptr::null_mut()) };
        assert_eq!(status, OK);
        handle
    }

    fn live(&self) -> usize {
        let mut stats = std::mem::MaybeUninit::uninit();
        // SAFETY: The pool lives, and `stats` can be written, which the function does.
        unsafe {
            ffi::execbuf_pool_get_stats(self.0, stats.as_mut_ptr());
            stats.assume_init().live
        }
    }
}

impl Drop for RawPool {
    fn drop(&mut self) {
        // SAFETY: The pool is ours alone.
        unsafe { ffi::execbuf_pool_free(self.0) };
    }
}

fn twin(handle: &ffi::execbuf) -> ffi::execbuf {
    ffi::execbuf { ..*handle }
}

fn free(handle: &mut ffi::execbuf) -> ffi::execbuf_status {
    // SAFETY: The handle can be written. No code of its is running.
    unsafe { ffi::execbuf_free(handle) }
}

fn drop_all(handles: &mut [ffi::execbuf]) {
    for handle in handles {
        assert_eq!(free(handle), OK);
    }
}

/// Calls a published [`function`].
fn run(handle: &ffi::execbuf) -> u32 {
    // SAFETY: The test published such a function, and did not free it.
    unsafe { std::mem::transmute::<*const std::ffi::c_void, extern "C" fn() -> u32>(handle.entry)() }
}

/// Checks that nothing can be done with a handle, that it stays as it was, and that each refusal is counted.
fn is_stale(handle: &mut ffi::execbuf) {
    let stale = ffi::execbuf_status::EXECBUF_E_STALE;
    let before = twin(handle);
    let code = returning(9);
    let bytes = code.as_ptr().cast();
    // SAFETY: The handle can be written, the code is readable for its length, and the report may be null.
    unsafe {
        let count = ffi::execbuf_stale_count();
        assert_eq!(
            ffi::execbuf_rewrite(handle, 0, bytes, 1, ptr::null_mut()),
            stale,
            "rewrite of {:x}",
            before.id
        );
        assert_eq!(ffi::execbuf_stale_count(), count + 1, "rewrite of {:x}", before.id);
        assert_eq!(ffi::execbuf_publish(handle, bytes, 1, ptr::null_mut()), stale, "publish of {:x}", before.id);
        assert_eq!(ffi::execbuf_stale_count(), count + 2, "publish of {:x}", before.id);
        assert_eq!(ffi::execbuf_free(handle), stale, "free of {:x}", before.id);
        assert_eq!(ffi::execbuf_stale_count(), count + 3, "free of {:x}", before.id);
    }
    assert_eq!((handle.entry, handle.length, handle.id), (before.entry, before.length, before.id));
}

fn pool() -> ExecPool {
    ExecPool::new().expect("this system allows executable memory")
}

fn publish(pool: &ExecPool, value: u32) -> ExecBuffer {
    pool.publish(&returning(value)).expect("this system allows executable memory")
}

/// A place as a pair.
fn place(place: Place) -> (*const u8, usize) {
    (place.entry(), place.len())
}

/// Whether a relative call of 32 bits reaches from the one to the other.
fn is_near(one: *const u8, other: *const u8) -> bool {
    one.addr().abs_diff(other.addr()) < 1 << 31
}

/// Whether pools have regions here.
fn has_regions() -> bool {
    let pool = pool();
    let _buffer = publish(&pool, 1);
    pool.stats().regions() > 0
}

#[cfg(windows)]
unsafe extern "system" {
    fn VirtualAlloc(address: *const u8, size: usize, how: u32, protection: u32) -> *mut u8;
    fn VirtualFree(address: *mut u8, size: usize, how: u32) -> i32;
}

/// Takes address space, and no memory; null if there is not so much.
fn take(size: usize) -> *mut u8 {
    #[cfg(unix)]
    // SAFETY: A new mapping touches no other.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let base = libc::mmap(ptr::null_mut(), size, libc::PROT_NONE, flags, -1, 0);
        if base == libc::MAP_FAILED { ptr::null_mut() } else { base.cast() }
    }
    #[cfg(windows)]
    // SAFETY: As above. MEM_RESERVE, PAGE_NOACCESS.
    unsafe {
        VirtualAlloc(ptr::null(), size, 0x2000, 0x01)
    }
}

/// Gives it back.
fn give(base: *mut u8, size: usize) {
    #[cfg(unix)]
    // SAFETY: It is ours, and nobody has anything in it.
    unsafe {
        libc::munmap(base.cast(), size);
    }
    #[cfg(windows)]
    // SAFETY: As above. MEM_RELEASE takes no size.
    unsafe {
        let _ = size;
        VirtualFree(base, 0, 0x8000);
    }
}
