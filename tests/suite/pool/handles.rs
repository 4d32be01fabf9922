//! Handles of the C API: stale and altered handles are refused.

use super::raw::*;
use super::*;

suite! {
    fn a_handle_can_be_freed_once() {
        let raw = RawPool::new();
        for size in [SHORTEST, 2000, 40 << 10, 3 << 20] {
            let mut handle = raw.publish(&function(1, size));
            let mut copy = twin(&handle);
            assert_eq!(free(&mut handle), OK);
            assert_eq!((handle.entry.is_null(), handle.length, handle.id), (true, 0, 0));
            assert_eq!(free(&mut handle), OK); // an all-zero handle
            is_stale(&mut copy);
        }
        assert_eq!(raw.live(), 0);
    }

    fn handles_with_an_altered_address_are_refused() {
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
            // With the address of another live buffer, the handle could be valid for that buffer.
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
            // Reuse the slot, so that its tag differs from the first one.
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
            // A handle with the id of one pool and the address of another.
            is_stale(&mut ffi::execbuf { id: others.id, ..handle });
            is_stale(&mut ffi::execbuf { id: handle.id, ..others });
            assert_eq!((run(&handle), run(&others)), (1, 2));
            assert_eq!((free(&mut handle), free(&mut others)), (OK, OK));
        }
        assert_eq!((raw.live(), other.live()), (0, 0));
    }

    fn a_stale_handle_does_not_free_new_code_at_its_address() {
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
            // Some stay live, so that the pool needs the slot again. The others fill the quarantine.
            if filler.len() < 200 { filler.push(handle) } else { free(&mut handle); }
            None
        });
        let Some((n, mut new)) = reused else {
            assert!(!has_regions(), "a slot is reused");
            drop_all(&mut filler);
            free(&mut kept);
            return skip("a stale handle: its address was not reused");
        };
        is_stale(&mut copy);
        assert_eq!(run(&new), n);
        assert_eq!((free(&mut new), free(&mut kept)), (OK, OK));
        drop_all(&mut filler);
        assert_eq!(raw.live(), 0);
    }

    fn handles_of_a_freed_pool_are_refused() {
        let raw = RawPool::new();
        let mut handle = raw.publish(&function(1, 100));
        let mut copy = twin(&handle);
        drop(raw);
        assert_eq!((run(&handle), free(&mut handle)), (1, OK));
        is_stale(&mut copy);
        // The next pool reuses the number of the freed pool.
        let raw = RawPool::new();
        let mut handle = raw.publish(&function(2, 100));
        is_stale(&mut copy);
        is_stale(&mut ffi::execbuf { entry: handle.entry, ..copy });
        assert_eq!((run(&handle), free(&mut handle)), (2, OK));
    }

    fn a_reservation_can_be_published_once() {
        let raw = RawPool::new();
        for capacity in [100, 2000, 40 << 10, 3 << 20] {
            let mut handle = NOTHING;
            let code = function(3, SHORTEST);
            let bytes = code.as_ptr().cast();
            // SAFETY: The pool exists, the handle is writable, and the code is readable for its length.
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
