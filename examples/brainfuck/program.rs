//! Parses and interprets Brainfuck programs. The parser combines consecutive equal commands.

use std::fmt;

/// The number of cells on the tape.
pub const TAPE: usize = 30_000;

/// A position in the source. Lines and columns start at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub line: usize,
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// An operation of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// `>` and `<`: moves by this number of cells.
    Move(i32),
    /// `+` and `-`: adds to the cell, modulo 256.
    Add(u8),
    /// `.`: writes the cell.
    Output,
    /// `,`: reads into the cell; 0 at the end of the input.
    Input,
    /// `[`, with the index of its `]`.
    Begin(usize),
    /// `]`, with the index of its `[`.
    End(usize),
}

/// A parsed program: its operations with their positions in the source.
#[derive(Debug)]
pub struct Program {
    pub ops: Vec<(Op, Position)>,
}

/// Why a program was rejected or stopped.
#[derive(Debug, PartialEq, Eq)]
pub enum Error {
    /// A `]` without a `[`.
    NothingToClose(Position),
    /// A `[` without a `]`.
    NeverClosed(Position),
    /// A move to before the first cell or beyond the last.
    OffTheTape(Position),
    /// The output could not be written.
    Output(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingToClose(at) => write!(f, "{at}: this ']' has no '['"),
            Self::NeverClosed(at) => write!(f, "{at}: this '[' has no ']'"),
            Self::OffTheTape(at) => write!(f, "{at}: the move leaves the tape of {TAPE} cells"),
            Self::Output(why) => write!(f, "cannot write the output: {why}"),
        }
    }
}

impl std::error::Error for Error {}

impl Program {
    pub fn parse(source: &str) -> Result<Self, Error> {
        let mut ops: Vec<(Op, Position)> = Vec::new();
        let mut open = Vec::new();
        for (line, text) in source.lines().enumerate() {
            for (column, command) in text.chars().enumerate() {
                let position = Position { line: line + 1, column: column + 1 };
                let op = match command {
                    '>' => Op::Move(1),
                    '<' => Op::Move(-1),
                    '+' => Op::Add(1),
                    '-' => Op::Add(255),
                    '.' => Op::Output,
                    ',' => Op::Input,
                    '[' => {
                        open.push(ops.len());
                        Op::Begin(usize::MAX)
                    }
                    ']' => {
                        let begin = open.pop().ok_or(Error::NothingToClose(position))?;
                        ops[begin].0 = Op::Begin(ops.len());
                        Op::End(begin)
                    }
                    _ => continue,
                };
                match (ops.last_mut().map(|(last, _)| last), op) {
                    (Some(Op::Move(by)), Op::Move(more)) if by.checked_add(more).is_some() => *by += more,
                    (Some(Op::Add(by)), Op::Add(more)) => *by = by.wrapping_add(more),
                    _ => ops.push((op, position)),
                }
            }
        }
        match open.pop() {
            Some(begin) => Err(Error::NeverClosed(ops[begin].1)),
            None => Ok(Self { ops }),
        }
    }
}

/// The input that a program reads and the output that it writes.
pub struct Streams<'a> {
    pub input: &'a [u8],
    pub output: &'a mut dyn std::io::Write,
    /// The error of a failed write.
    pub error: Option<std::io::Error>,
}

impl<'a> Streams<'a> {
    pub fn new(input: &'a [u8], output: &'a mut dyn std::io::Write) -> Self {
        Self { input, output, error: None }
    }

    /// Writes a byte. Returns whether that succeeded.
    pub fn put(&mut self, byte: u8) -> bool {
        if let Err(error) = self.output.write_all(&[byte]) {
            self.error = Some(error);
        }
        self.error.is_none()
    }

    /// Reads the next byte, or returns 0 at the end of the input.
    pub fn get(&mut self) -> u8 {
        let Some((&first, rest)) = self.input.split_first() else { return 0 };
        self.input = rest;
        first
    }

    /// Returns the error of the failed write.
    pub fn write_error(&mut self) -> Error {
        Error::Output(self.error.take().map_or_else(String::new, |error| error.to_string()))
    }
}

/// Interprets a program. Returns `None` if it executes more than `steps` operations.
pub fn interpret(program: &Program, streams: &mut Streams, steps: u64) -> Option<Result<(), Error>> {
    let mut tape = vec![0_u8; TAPE];
    let (mut cell, mut at) = (0_usize, 0);
    for _ in 0..steps {
        let Some(&(op, position)) = program.ops.get(at) else { return Some(Ok(())) };
        match op {
            Op::Move(by) => {
                cell = cell.wrapping_add_signed(by as isize);
                if cell >= TAPE {
                    return Some(Err(Error::OffTheTape(position)));
                }
            }
            Op::Add(by) => tape[cell] = tape[cell].wrapping_add(by),
            Op::Output => {
                if !streams.put(tape[cell]) {
                    return Some(Err(streams.write_error()));
                }
            }
            Op::Input => tape[cell] = streams.get(),
            Op::Begin(end) if tape[cell] == 0 => at = end,
            Op::End(begin) if tape[cell] != 0 => at = begin,
            Op::Begin(_) | Op::End(_) => {}
        }
        at += 1;
    }
    None
}
