//! Random signatures as text.

use super::random::Random;

/// Returns the number in an environment variable, or a default.
pub fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {text}")))
}

/// Returns a random signature. The variadic arguments have types that C does not promote.
pub fn random_signature(random: &mut Random) -> String {
    const SCALARS: &[u8] = b"?bBhHiIlLpfd";
    let count = match random.of(0..20) {
        0 => random.of(0..128),
        1..=4 => random.of(9..25),
        _ => random.of(0..9),
    };
    // Some signatures use few types, so that one kind of register runs out.
    let types = match random.of(0..6) {
        0 => &SCALARS[10..],
        1 => &SCALARS[..7],
        _ => SCALARS,
    };
    let letter = |random: &mut Random, from: &[u8]| char::from(from[random.of(0..from.len())]);
    let fixed = if count > 1 && random.of(0..8) == 0 { random.of(1..count) } else { count };
    let mut text = String::new();
    text.push(letter(random, b"v?bBhHiIlLpfd"));
    text.push('(');
    for index in 0..count {
        if index == fixed {
            text.push('.');
        }
        text.push(letter(random, if index < fixed { types } else { b"iIlLpd" }));
    }
    text.push(')');
    text
}
