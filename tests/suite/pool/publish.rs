//! Publishing many pieces of code of all sizes.

use super::raw::*;
use super::*;

suite! {
    fn a_hundred_thousand_functions_fit_in_a_few_mappings() {
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
        assert_eq!((stats.live(), pool.code_bytes(), stats.frozen()), (count, bytes, 0));
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
            if !maps::LISTED {
                return;
            }
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
            // The heap for the pool's bookkeeping also adds a few mappings.
            assert!(after.mappings <= before.mappings + 3 * stats.regions() + 8, "{before:?}, {after:?}, {stats:?}");
            assert!(stats.resident() - pool.code_bytes() < pool.code_bytes() / 5, "{stats:?}");
        }
        // Drop every second function, and publish others.
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
        assert_eq!((pool.stats().live(), pool.code_bytes()), (functions.len(), bytes));
    }

    fn code_of_every_size_can_be_published_and_rewritten() {
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
        assert_eq!((pool.stats().live(), pool.code_bytes()), (functions.len(), bytes));
        assert!(pool.stats().dedicated() >= 6, "{:?}", pool.stats());
        drop(functions);
        assert_eq!((pool.stats().live(), pool.code_bytes(), pool.stats().dedicated()), (0, 0, 0));
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
        assert_eq!((buffers.len(), pool.stats().live(), pool.code_bytes()), (codes.len(), codes.len(), bytes));
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
            assert_eq!((pool.stats().live(), pool.code_bytes()), (1, kept.len()));
        }
        // SAFETY: The last piece is refused because of its length, before any of its bytes is read.
        unsafe {
            let raw = RawPool::new();
            let good = returning(1);
            let code = |length| ffi::execbuf_code { bytes: good.as_ptr().cast(), length, info: ptr::null() };
            let codes = [code(good.len()), code(good.len()), code(usize::MAX / 2)];
            let mut out = [NOTHING; 3];
            let status = ffi::execbuf_pool_publish_batch(raw.0, out.as_mut_ptr(), codes.as_ptr(), 3, ptr::null_mut());
            assert_eq!(status, ffi::execbuf_status::EXECBUF_E_TOO_LARGE);
            assert!(out.iter().all(|handle| handle.entry.is_null() && handle.length == 0 && handle.id == 0));
            assert_eq!(raw.live(), 0);
        }
    }

    fn repeated_publishing_requests_no_more_memory() {
        let pool = pool();
        if !has_regions() {
            return skip("repeated publishing: pools are without regions here");
        }
        let cycles = || (0..10_000).for_each(|n| drop(pool.publish(&function(n, 100)).unwrap()));
        let _kept = publish(&pool, 1);
        cycles();
        let before = pool.stats();
        let mapped = maps::look().executable_bytes;
        (0..5).for_each(|_| cycles());
        let after = pool.stats();
        let memory = |stats: &execbuf::PoolStats| (stats.bookkeeping(), stats.resident(), stats.regions());
        assert_eq!(memory(&after), memory(&before));
        assert!(after.resident() <= 256 << 10, "more than quarantine takes: {after:?}");
        assert_eq!(maps::look().executable_bytes, mapped);
    }
}
