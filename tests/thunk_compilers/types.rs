//! Random types with members, as text and in C. Sizes are computed here, too, independently of the library.

use std::fmt::Write as _;

use super::support::Random;

#[derive(Clone)]
pub(crate) enum Type {
    /// A letter.
    Scalar(char),
    /// `float _Complex` or `double _Complex`: its letter. As text, the struct.
    Complex(char),
    Struct(Vec<Type>),
    Union(Vec<Type>),
    Array(usize, Box<Type>),
    Packed(usize, Box<Type>),
    Aligned(usize, Box<Type>),
}

impl Type {
    pub(crate) fn text(&self) -> String {
        let all = |members: &[Self]| members.iter().map(Self::text).collect::<String>();
        match self {
            Self::Scalar(letter) => letter.to_string(),
            Self::Complex(letter) => format!("{{{letter}{letter}}}"),
            Self::Struct(members) => format!("{{{}}}", all(members)),
            Self::Union(members) => format!("<{}>", all(members)),
            Self::Array(count, element) => format!("[{count}{}]", element.text()),
            Self::Packed(limit, inner) => format!("!{limit}{}", inner.text()),
            Self::Aligned(align, inner) => format!("@{align}{}", inner.text()),
        }
    }

    /// Parses one type, and returns it with the rest of the text.
    pub(crate) fn parse(text: &str) -> (Self, &str) {
        let number = |text: &str| {
            let end = text.find(|letter: char| !letter.is_ascii_digit()).expect("a type follows");
            let number = text[..end].parse().unwrap_or(1);
            let (inner, rest) = Self::parse(&text[end..]);
            (number, Box::new(inner), rest.len())
        };
        let rest = &text[1..];
        let tail = |length: usize| &text[text.len() - length..];
        match &text[..1] {
            "{" | "<" => {
                let (mut members, mut rest) = (Vec::new(), rest);
                while !rest.starts_with(['}', '>']) {
                    let (member, more) = Self::parse(rest);
                    members.push(member);
                    rest = more;
                }
                let is_struct = text.starts_with('{');
                (if is_struct { Self::Struct(members) } else { Self::Union(members) }, &rest[1..])
            }
            "[" => {
                let (count, element, length) = number(rest);
                (Self::Array(count, element), &tail(length)[1..])
            }
            "!" => {
                let (limit, inner, length) = number(rest);
                (Self::Packed(limit, inner), tail(length))
            }
            "@" => {
                let (align, inner, length) = number(rest);
                (Self::Aligned(align, inner), tail(length))
            }
            letter => (Self::Scalar(letter.chars().next().expect("a letter")), rest),
        }
    }

    fn is_defined(&self) -> bool {
        match self {
            Self::Struct(_) | Self::Union(_) | Self::Packed(..) => true,
            Self::Aligned(_, inner) => inner.is_defined(),
            _ => false,
        }
    }

    /// Returns whether C passes the type as a word: all but 128-bit integers, vectors and types with members.
    pub(crate) fn is_word(&self) -> bool {
        matches!(self, Self::Scalar(letter) if !"xXm".contains(*letter))
    }

    pub(crate) fn has(&self, letters: &str) -> bool {
        match self {
            Self::Scalar(letter) => letters.contains(*letter),
            Self::Complex(_) => false,
            Self::Struct(members) | Self::Union(members) => members.iter().any(|member| member.has(letters)),
            Self::Array(_, inner) | Self::Packed(_, inner) | Self::Aligned(_, inner) => inner.has(letters),
        }
    }

    /// Returns whether a union has a member whose padding another member uses.
    pub(crate) fn uses_padding(&self) -> bool {
        match self {
            Self::Scalar(_) | Self::Complex(_) => false,
            Self::Struct(members) | Self::Union(members) => {
                let whole = self.mask();
                let has_hole =
                    |member: &Self| member.mask().bytes().zip(whole.bytes()).any(|pair| pair == (b'0', b'1'));
                matches!(self, Self::Union(_)) && members.iter().any(has_hole)
                    || members.iter().any(Self::uses_padding)
            }
            Self::Array(_, inner) | Self::Packed(_, inner) | Self::Aligned(_, inner) => inner.uses_padding(),
        }
    }

    /// Returns size and alignment, if members are aligned to at most `limit` bytes.
    fn measure(&self, limit: usize) -> (usize, usize) {
        match self {
            Self::Scalar(letter) => {
                let size = match letter {
                    'v' => return (0, 1),
                    '?' | 'b' | 'B' => 1,
                    'h' | 'H' => 2,
                    'i' | 'I' | 'f' => 4,
                    'x' | 'X' | 'm' => 16,
                    _ => 8,
                };
                (size, size)
            }
            Self::Complex('f') => (8, 4),
            Self::Complex(_) => (16, 8),
            Self::Struct(_) | Self::Union(_) => {
                let (mut size, mut align) = (0_usize, 1);
                for (at, member) in self.members(limit) {
                    let (member_size, own) = member.measure(16);
                    size = size.max(at + member_size);
                    align = align.max(own.min(limit));
                }
                (size.next_multiple_of(align), align)
            }
            Self::Array(count, element) => {
                let (size, align) = element.measure(16);
                (count * size, align)
            }
            Self::Packed(limit, inner) => inner.measure(*limit),
            Self::Aligned(align, inner) => {
                let size = inner.measure(16).0;
                (if inner.is_defined() { size.next_multiple_of(*align) } else { size }, *align)
            }
        }
    }

    /// Returns the members of a struct or union with their offsets.
    fn members(&self, limit: usize) -> Vec<(usize, &Self)> {
        let (Self::Struct(members) | Self::Union(members)) = self else { return Vec::new() };
        let mut end = 0_usize;
        let mut placed = Vec::new();
        for member in members {
            let (size, align) = member.measure(16);
            let at = if matches!(self, Self::Union(_)) { 0 } else { end.next_multiple_of(align.min(limit)) };
            placed.push((at, member));
            end = at + size;
        }
        placed
    }

    pub(crate) fn size(&self) -> usize {
        self.measure(16).0
    }

    pub(crate) fn align(&self) -> usize {
        self.measure(16).1
    }

    /// Returns a `1` for each byte that belongs to a scalar, and a `0` for padding.
    pub(crate) fn mask(&self) -> String {
        let mut mask = vec![b'0'; self.size()];
        self.cover(&mut mask, 0, 16);
        String::from_utf8(mask).expect("these are digits")
    }

    fn cover(&self, mask: &mut [u8], at: usize, limit: usize) {
        match self {
            Self::Scalar(_) | Self::Complex(_) => mask[at..at + self.size()].fill(b'1'),
            Self::Struct(_) | Self::Union(_) => {
                for (offset, member) in self.members(limit) {
                    member.cover(mask, at + offset, 16);
                }
            }
            Self::Array(count, element) => {
                for index in 0..*count {
                    element.cover(mask, at + index * element.size(), 16);
                }
            }
            Self::Packed(limit, inner) => inner.cover(mask, at, *limit),
            Self::Aligned(_, inner) => inner.cover(mask, at, limit),
        }
    }
}

/// Definitions of types in C.
pub(crate) struct Definitions {
    pub(crate) text: String,
    count: usize,
}

impl Definitions {
    pub(crate) fn new() -> Self {
        Self { text: String::new(), count: 0 }
    }

    /// Returns the name of a type in C, which is defined if it has members.
    pub(crate) fn name(&mut self, value: &Type) -> String {
        match value {
            Type::Scalar(letter) => super::c::type_of(*letter).to_owned(),
            Type::Complex('f') => "float _Complex".to_owned(),
            Type::Complex(_) => "double _Complex".to_owned(),
            _ => self.define(value, 16, 0),
        }
    }

    /// Returns the declaration of a member.
    fn member(&mut self, value: &Type, name: &str) -> String {
        match value {
            Type::Array(count, element) => self.member(element, &format!("{name}[{count}]")),
            Type::Aligned(align, inner) if !inner.is_defined() => {
                format!("_Alignas({align}) {}", self.member(inner, name))
            }
            _ => format!("{} {name}", self.name(value)),
        }
    }

    fn define(&mut self, value: &Type, limit: usize, align: usize) -> String {
        match value {
            Type::Packed(limit, inner) => self.define(inner, *limit, align),
            Type::Aligned(align, inner) => self.define(inner, limit, *align),
            Type::Struct(members) | Type::Union(members) => {
                let mut list = String::new();
                for (i, member) in members.iter().enumerate() {
                    let _ = write!(list, " {};", self.member(member, &format!("m{i}")));
                }
                let keyword = if matches!(value, Type::Struct(_)) { "struct" } else { "union" };
                let aligned =
                    if align > 0 { format!("__attribute__((aligned({align}))) ") } else { String::new() };
                let name = format!("type_{}", self.count);
                self.count += 1;
                let definition = format!("typedef {keyword} {aligned}{{{list} }} {name};\n");
                if limit < 16 {
                    let _ = write!(self.text, "#pragma pack(push, {limit})\n{definition}#pragma pack(pop)\n");
                } else {
                    self.text += &definition;
                }
                name
            }
            _ => unreachable!("only structs and unions are defined"),
        }
    }
}

/// Returns a random type: of an argument, or of a result that is not void.
pub(crate) fn random_type(random: &mut Random, scalars: &[u8]) -> Type {
    loop {
        let value = match random.of(0..10) {
            0..=2 => random_scalar(random, scalars),
            3 => Type::Scalar(char::from(b"xXm"[random.of(0..3)])),
            4 if random.of(0..3) == 0 => Type::Complex(if random.of(0..2) == 0 { 'f' } else { 'd' }),
            _ => random_composite(random, 0, true),
        };
        if value.size() <= MAX_SIZE {
            return value;
        }
    }
}

/// The size of `sent_values` in `tests/c/crossing.h`.
const MAX_SIZE: usize = 320;

fn random_scalar(random: &mut Random, letters: &[u8]) -> Type {
    Type::Scalar(char::from(letters[random.of(0..letters.len())]))
}

fn random_composite(random: &mut Random, depth: usize, may_align: bool) -> Type {
    let kind = random.of(0..12);
    let packs = kind == 10;
    let count = match random.of(0..8) {
        0 => random.of(5..10),
        1..=3 => 1,
        _ => random.of(2..5),
    };
    let members = (0..count).map(|_| random_member(random, depth, may_align && !packs)).collect();
    let inner = if random.of(0..5) == 0 { Type::Union(members) } else { Type::Struct(members) };
    match kind {
        10 => Type::Packed([1, 1, 2, 4, 8][random.of(0..5)], Box::new(inner)),
        11 if may_align => Type::Aligned([8, 16][random.of(0..2)].max(inner.align()), Box::new(inner)),
        _ => inner,
    }
}

fn random_member(random: &mut Random, depth: usize, may_align: bool) -> Type {
    let member = match random.of(0..12) {
        0..=1 if depth < 2 => random_composite(random, depth + 1, may_align),
        2..=3 => Type::Array(random.of(1..6), Box::new(random_scalar(random, b"bBhHiIlLfd"))),
        4 => random_scalar(random, b"xXm"),
        5..=7 => random_scalar(random, b"fd"),
        _ => random_scalar(random, b"bBhHiIlLpfd"),
    };
    if may_align && random.of(0..20) == 0 && !member.is_defined() {
        let align = [8, 16][random.of(0..2)].max(member.align());
        return Type::Aligned(align, Box::new(member));
    }
    member
}

/// Whether Win64 passes the address of a value.
pub(crate) fn is_reference(value: &Type) -> bool {
    !matches!(value.size(), 1 | 2 | 4 | 8)
}

/// Whether Win64 passes the address of memory for a result.
pub(crate) fn is_returned_in_memory(value: &Type) -> bool {
    !matches!(value, Type::Scalar(_)) && is_reference(value)
}
