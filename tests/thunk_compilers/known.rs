//! Signatures that are in every program.

/// Signatures that other libraries handled incorrectly: alternating integers and floats, floats on the stack, small
/// integers, one argument more than there are registers of its kind.
pub(crate) const KNOWN: &[&str] = &[
    "v()",
    "d(dlldd)",
    "v(ifif)",
    "v(fifififi)",
    "d(ffffffffff)",
    "v(llllllddddddddld)",
    "i(b)",
    "i(BbHh?)",
    "i(llllbBhH?)",
    "i(llllllllbBhH?)",
    "f(llllffff)",
    "?(?)",
    "b(b)",
    "H(H)",
    "i(p.d)",
    "i(p.iddd)",
    "d(d.ddddddddd)",
    "l(l.lllllllll)",
];

/// The same for types with members, 128-bit integers and vectors.
pub(crate) const KNOWN_VALUES: &[&str] = &[
    "{f}({f}{d}{ff})",
    "{ff}({fi}{if}{fff})",
    "{d}({dd}{dl}{ld})",
    "{dl}(d{ld}l)",
    "{m}({m}m)",
    "m(mmmmmmmmmm)",
    "x(xX)",
    "X(lllllxl)",
    "v(lllllxxlX)",
    "v(lllll{ll}l{ll})",
    "v(ddddddd{dd}d{dd})",
    "v(llll{ll}l{dl})", // with a pointer before it, the first struct is on the stack
    "x(llllx{ld}d)",
    "{[3l]}(lll{ll}{ld}i)",
    "{bbb}({b}{bb}{bbb}{bbbb}{bbbbb}{bbbbbb}{bbbbbbb})",
    "{[5b]}({[9b]}{[10b]}{[11b]}{[12b]}{[13b]}{[14b]}{[15b]})",
    "{[6b]}(l{[17b]}{[23b]}{[33b]})",
    "{[7b]}(llll{[7b]}{[3b]}{[15b]})",
    "{[15b]}({lh}{lb}{dhb})",
    "{[13b]}(bBhH{hb})",
    "{hb}(llllll{hb}bBhH)",
    "<lm>(<lm><dm><m[2d]>)",
    "<fi>(<d><ld><f[3b]>)",
    "@16{l}(@16{l}l@16{d}d)",
    "{@16l}(lllllll@16{b}{@16bb})",
    "!{bi}(!{bi}!{id}!{ii}!2{hi})",
    "!{bHb}(!{bHb}!{bi!{bi}})",
    "!{bHb}({ll}{ll}ll)", // a cycle of registers
    "!{bl}(l!{bl}!1{bi[3b]})",
    "{[3l]}({[3l]}l{[40b]}{[300b]})",
    "{[300b]}(d{[300b]}{[100b]}{[65b]}{[63b]})",
    "v(@16{[40l]}b@16{[3l]})",
    "i(p.{ll}{dd}{ld}xm{[3l]}i)",
    "{ll}(p{f}.d{f}{d}d)",
    "{ld}(ll.ddddddddd{dd}x)",
];
