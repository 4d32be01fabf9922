//! Rewriting published code.

use super::*;

suite! {
    fn rewrite_changes_the_code(m) {
        let mut buffer = m.publish(1);
        let address = buffer.as_ptr();
        for value in 2..20 {
            buffer.rewrite(0, &returning(value)).unwrap();
            maps::look();
            assert_eq!(call(&buffer), value);
        }
        assert_eq!(buffer.as_ptr(), address);
    }

    fn random_rewrites_follow_a_model(m) {
        // A buffer of up to a few pages, compared with a vector after each rewrite.
        let mut runner = TestRunner::new(Config { failure_persistence: None, cases: 40, ..Config::default() });
        let lengths = prop_oneof![1..64_usize, 4000..4200_usize, 8000..8300_usize];
        let rewrites = prop::collection::vec((any::<prop::sample::Index>(), 1..5000_usize, any::<u8>()), 1..8);
        runner.run(&(lengths, rewrites), |(length, rewrites)| {
            let mut model = vec![TRAP[0]; length];
            let mut buffer = m.take(&model).unwrap();
            for (offset, count, byte) in rewrites {
                let offset = offset.index(length);
                let bytes = vec![byte; count];
                let result = buffer.rewrite(offset, &bytes);
                if offset + count <= length {
                    prop_assert!(result.is_ok());
                    model[offset..offset + count].copy_from_slice(&bytes);
                } else {
                    prop_assert_eq!(result.unwrap_err().kind(), ErrorKind::OutOfBounds);
                }
                prop_assert_eq!(buffer.as_ref(), &model[..]);
            }
            Ok(())
        }).unwrap();
        maps::look();
    }

    fn large_code_is_published_and_rewritten(m) {
        let size = 64 << 20;
        let mut code = vec![TRAP[0]; size];
        let function = returning(3);
        code[size - 16..][..function.len()].copy_from_slice(&function);
        let mut buffer = m.take(&code).unwrap();
        let last = |buffer: &ExecBuffer| {
            // SAFETY: Such a function begins at this offset.
            unsafe { buffer.function_at::<extern "C" fn() -> u32>(size - 16) }.unwrap().call()
        };
        assert_eq!(last(&buffer), 3);
        buffer.rewrite(size - 16, &returning(4)).unwrap();
        assert_eq!(last(&buffer), 4);
        maps::look();
    }
}
