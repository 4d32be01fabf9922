//! Closures, and functions that drop an argument, between callers and thunks; and closures in place of thunks.

use super::support::Random;

/// What is between a caller and the thunk that it calls.
#[derive(Clone, Copy)]
pub(crate) enum Edit {
    Nothing,
    /// A closure, which inserts a pointer at the position.
    Insert(usize),
    /// A function that drops that pointer, and then the closure.
    DropAndInsert(usize),
    /// A function that drops an argument of any type, which the target does not have.
    Drop(usize),
    /// There is no thunk and no target, but a closure that calls a handler of `tests/c/crossing.c`.
    Handler,
}

impl Edit {
    /// Returns those to test: without a closure, or with one that inserts at a position.
    pub(crate) fn all(context: Option<usize>) -> Vec<Self> {
        context.map_or(vec![Self::Nothing], |at| vec![Self::Insert(at), Self::DropAndInsert(at)])
    }

    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Insert(_) => "_closure",
            Self::DropAndInsert(_) => "_dropped",
            Self::Drop(_) => "_shorter",
            Self::Handler => "_handler",
        }
    }

    /// Whether the caller passes the argument with this index.
    pub(crate) fn passes(self, index: usize) -> bool {
        !matches!(self, Self::Insert(at) if at == index)
    }

    /// Returns the call in C that makes what the caller calls. The declared signature is that of the thunk; if an argument
    /// is dropped, that of the caller.
    pub(crate) fn prepare(self, text: &str, declared: &str, attribute: &str, target: &str) -> String {
        match self {
            Self::Nothing => format!("prepare({text}, {declared}, EXECBUF_ABI_{attribute}, {target})"),
            Self::Insert(at) => format!("prepare_closure({text}, EXECBUF_ABI_{attribute}, {target}, {at}, 0)"),
            Self::DropAndInsert(at) => {
                format!("prepare_closure({text}, EXECBUF_ABI_{attribute}, {target}, {at}, 1)")
            }
            Self::Drop(at) => {
                format!("prepare_shorter({declared}, {text}, EXECBUF_ABI_{attribute}, {target}, {at})")
            }
            Self::Handler => format!("prepare_handler({text}, EXECBUF_ABI_{attribute})"),
        }
    }
}

/// Returns a position among so many arguments: often before or after all of them.
pub(crate) fn random_position(random: &mut Random, count: usize) -> usize {
    match random.of(0..3) {
        0 => 0,
        1 => count,
        _ => random.of(0..count + 1),
    }
}

/// Inserts a pointer into the text of a signature of letters, and returns its position, too.
pub(crate) fn with_context(text: &str, random: &mut Random) -> (String, usize) {
    let letters: Vec<char> = text.chars().collect();
    let count = letters.iter().filter(|letter| !"(.)".contains(**letter)).count() - 1;
    let position = random_position(random, count);
    let (mut made, mut seen) = (String::new(), 0);
    for (at, &letter) in letters.iter().enumerate() {
        let is_argument = at >= 2 && letter != '.';
        if is_argument && seen == position {
            made.push('p');
        }
        seen += usize::from(is_argument);
        made.push(letter);
    }
    (made, position)
}
