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

/// Returns a random signature whose types have members, or are 128-bit integers or vectors. They are small enough for a
/// thunk to copy all of them.
#[allow(dead_code, reason = "not every test that uses this module needs it")]
pub fn random_signature_of_values(random: &mut Random) -> String {
    let count = random.of(0..12);
    let mut text = random_value(random, 0);
    text.push('(');
    for _ in 0..count {
        text += &random_value(random, 0);
    }
    text + ")"
}

fn random_value(random: &mut Random, depth: usize) -> String {
    const LETTERS: &[u8] = b"bBhHiIlLpfdxXm";
    let letter = |random: &mut Random| char::from(LETTERS[random.of(0..LETTERS.len())]).to_string();
    if depth == 3 || random.of(0..3) == 0 {
        return letter(random);
    }
    if depth > 0 && random.of(0..3) == 0 {
        return format!("[{}{}]", random.of(1..70), ["b", "B"][random.of(0..2)]);
    }
    let members: String = (0..random.of(1..3)).map(|_| random_value(random, depth + 1)).collect();
    match random.of(0..6) {
        0 => format!("<{members}>"),
        1 => format!("!{{{members}}}"),
        2 if depth == 0 => format!("@16{{{members}}}"),
        _ => format!("{{{members}}}"),
    }
}
