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
        let mut random = Random(1);
        for _ in 0..40 {
            // Within a page, about a page, and about two pages.
            let pages = random.of(0..3);
            let length = random.of([1..64, 4000..4200, 8000..8300][pages].clone());
            let mut model = vec![TRAP[0]; length];
            let mut buffer = m.take(&model).unwrap();
            for _ in 0..random.of(1..8) {
                let offset = random.of(0..length);
                let bytes = vec![random.next().to_le_bytes()[0]; random.of(1..5000)];
                let result = buffer.rewrite(offset, &bytes);
                if offset + bytes.len() <= length {
                    result.unwrap();
                    model[offset..offset + bytes.len()].copy_from_slice(&bytes);
                } else {
                    assert_eq!(result.unwrap_err().kind(), ErrorKind::OutOfBounds);
                }
                assert_eq!(buffer.as_ref(), &model[..]);
            }
        }
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
