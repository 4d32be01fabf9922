//! Signatures as text. `EXECBUF_SEED` sets the seed of the random numbers.

#[path = "support/mod.rs"]
mod support;

use execbuf::{Signature, Type};

use crate::support::Random;
use crate::support::signatures::{number, random_signature, random_signature_of_values};

#[test]
fn a_parsed_signature_formats_as_its_text() {
    let mut random = Random(number("EXECBUF_SEED", 2));
    for _ in 0..2000 {
        let text = random_signature(&mut random);
        let signature: Signature = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(signature.to_string(), text);
        assert_eq!(signature.result().letter(), text.chars().next().expect("the text is not empty"));
    }
    let signature: Signature = "d(p.id)".parse().expect("the text is valid");
    assert_eq!((signature.result(), signature.fixed()), (&Type::F64, Some(1)));
    assert_eq!(signature.arguments(), [Type::Pointer, Type::I32, Type::F64]);
    assert_eq!("v(.)".parse::<Signature>().expect("the text is valid").to_string(), "v(.)");
}

#[test]
fn types_with_members_format_as_their_text() {
    let mut random = Random(number("EXECBUF_SEED", 2));
    for _ in 0..2000 {
        let text = random_signature_of_values(&mut random);
        let signature: Signature = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(signature.to_string(), text);
    }
    let text = "{xXm}({l{hh}}<ld>{i[4f]}!{bi}!2{bi}@16{ll}{b@8[2{f}]}.{dd})";
    let signature: Signature = text.parse().expect("the text is valid");
    assert_eq!(signature.to_string(), text);
    assert_eq!("v(!1{bi})".parse::<Signature>().expect("the text is valid").to_string(), "v(!{bi})");
    let Type::Struct(members) = signature.result() else { panic!("it is a struct") };
    assert_eq!(members.types(), [Type::I128, Type::U128, Type::V128]);
    assert_eq!(format!("{members:?}"), "[I128, U128, V128]");
    assert!(matches!(&signature.arguments()[1], Type::Union(members) if members.types().len() == 2));
    assert_eq!(signature.arguments()[4].letter(), '!');
    let copy = signature.clone();
    drop(signature);
    assert_eq!(copy, text.parse().expect("the text is valid"));
    assert_ne!(copy, text.replace("4f", "5f").parse().expect("the text is valid"));
}

#[test]
fn malformed_text_is_an_error_with_a_position_and_a_reason() {
    let wrong = [
        ("", "at byte 0: the text ends here; a type is missing"),
        ("i", "at byte 1: '(' is missing"),
        ("i(pp", "at byte 4: the text ends here; ')' is missing"),
        ("i(pp)x", "at byte 5: more text than one signature"),
        ("i(pp)\0", "at byte 5: more text than one signature"),
        ("i(\0)", "at byte 2: no type has this letter"),
        ("i( p)", "at byte 2: no type has this letter"),
        ("i(é)", "at byte 2: no type has this letter"),
        ("i(p.i.i)", "at byte 5: a second full stop"),
        ("i(pv)", "argument 2: void is no argument; \"v()\" has none"),
        ("{ii", "at byte 3: the text ends here; '}' is missing"),
        ("v({[i]})", "at byte 4: a number is missing"),
        ("{}()", "result: an empty struct or union is no argument in C; leave it out"),
        ("v(p{i{l<bv>}})", "argument 2, member 2.2.2: void is no member"),
        ("v([4i])", "argument 1: C passes arrays by address, as p; an array may be a member only"),
        ("v(@32{l})", "argument 1: an alignment above 16 is passed differently by each compiler; pass a pointer"),
        ("v({[100000b]})", "argument 1, member 1: the type is larger than EXECBUF_MAX_TYPE_SIZE"),
        ("v({{{{{{{{{b}}}}}}}}})", "argument 1, member 1.1.1.1.1.1.1.1: nested deeper than EXECBUF_MAX_DEPTH"),
        ("v(long)", "argument 1: long has 4 bytes on Windows and 8 elsewhere; use i or l"),
        ("long double()", "result: long double has no form that compilers agree on for Win64; use d"),
        ("v(iwchar_t)", "argument 2: wchar_t has 2 bytes on Windows and 4 elsewhere; use H or i"),
        ("v(va_list)", "argument 1: va_list is another thing in each convention; pass the arguments, or an array"),
        ("v(p.f)", "argument 2: in \"...\", C passes int, or double; write i, I or d"),
        ("v(p.ib)", "argument 3: in \"...\", C passes int, or double; write i, I or d"),
    ];
    for (text, message) in wrong {
        let error = text.parse::<Signature>().expect_err(text);
        assert!(error.to_string().ends_with(&format!("({message})")), "{text}: {error}");
    }
    let many = |count| format!("v({})", "i".repeat(count));
    assert_eq!(many(127).parse::<Signature>().expect("the text is valid").arguments().len(), 127);
    assert_eq!(many(128).parse::<Signature>().expect_err("too many").kind(), execbuf::ErrorKind::Signature);
}
