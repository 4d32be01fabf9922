//! Lookup, name and statistics of a pool.

use super::*;

suite! {
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
        let freed: Vec<(usize, usize)> = buffers.iter().skip(1).step_by(2).map(|b| (b.as_ptr().addr(), b.len())).collect();
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
        for (entry, length) in freed {
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
                assert_eq!((pool.stats().live(), pool.code_bytes()), (1, capacity));
                rename(code, 5);
                SHORTEST + 3
            }).unwrap();
            let entry = buffer.as_ptr();
            assert_eq!(pool.lookup(entry).map(place), Some((entry, SHORTEST + 3)));
            assert_eq!(pool.lookup(entry.wrapping_add(SHORTEST + 2)).map(place), Some((entry, SHORTEST + 3)));
            assert_eq!(pool.lookup(entry.wrapping_add(SHORTEST + 3)), None);
            assert_eq!((pool.stats().live(), pool.code_bytes()), (1, SHORTEST + 3));
            assert_eq!(call(&buffer), 5);
        }
        assert_eq!((pool.stats().live(), pool.code_bytes()), (0, 0));
    }

    fn the_name_of_a_pool_is_in_the_list_of_mappings() {
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

    fn names_that_are_too_long_or_contain_a_zero_byte_are_errors() {
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

    fn stats_describe_the_memory_of_the_pool() {
        let pool = pool();
        let stats = pool.stats();
        let numbers = (stats.live(), pool.code_bytes(), stats.mapped(), stats.resident(), stats.regions(), stats.dedicated());
        assert_eq!((numbers, stats.backend()), ((0, 0, 0, 0, 0, 0), None));
        let buffer = publish(&pool, 1);
        let stats = pool.stats();
        assert_eq!((stats.live(), pool.code_bytes(), stats.frozen()), (1, buffer.len(), 0));
        assert!(stats.bookkeeping() > 0);
        match stats.backend() {
            Some(Backend::Memfd | Backend::Section) => {
                assert_eq!((stats.regions(), stats.dedicated(), stats.attempts().len()), (1, 0, 0));
            }
            Some(_) => assert!(stats.regions() == 1 && !stats.attempts().is_empty()),
            None => assert_eq!((stats.regions(), stats.dedicated()), (0, 1)),
        }
        let large = pool.publish(&function(1, 3 << 20)).unwrap();
        let with = pool.stats();
        assert_eq!((with.live(), with.dedicated()), (2, stats.dedicated() + 1));
        assert_eq!(pool.code_bytes(), buffer.len() + large.len());
        assert!(with.mapped() >= stats.mapped() + large.len() && with.resident() >= stats.resident() + large.len());
        drop(large);
        let without = pool.stats();
        assert_eq!((without.mapped(), without.resident()), (stats.mapped(), stats.resident()));
        assert_eq!(pool.code_bytes(), buffer.len());
    }
}

/// Converts a place into a pair.
fn place(place: Place) -> (*const u8, usize) {
    (place.entry(), place.len())
}
