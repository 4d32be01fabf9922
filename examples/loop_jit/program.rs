//! A small language of loops: its parser, and an interpreter.
//!
//! ```text
//! program    = { statement }
//! statement  = name "=" expression
//!            | "repeat" expression "{" { statement } "}"
//! expression = term { ("+" | "-") term }
//! term       = factor { "*" factor }
//! factor     = number | name | "(" expression ")"
//! ```
//!
//! A program is a function of the variable `n`, and returns the variable `result`. Variables hold 64-bit integers
//! without a sign, which wrap around. They begin with 0. `repeat` computes its count once, before the first turn.

#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    /// Stores a value in the variable with this number.
    Assign(usize, Expression),
    Repeat(Expression, Vec<Statement>),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Expression {
    Number(u64),
    /// The variable with this number.
    Variable(usize),
    Binary(Operator, Box<Expression>, Box<Expression>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Operator {
    Add,
    Subtract,
    Multiply,
}

/// The numbers of the variables that every program has.
pub const N: usize = 0;
pub const RESULT: usize = 1;

#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// How many variables there are.
    pub variables: usize,
    pub body: Vec<Statement>,
}

/// The limits keep the parser and the compiler, which are recursive, within the stack.
pub const MOST_TOKENS: usize = 2000;
pub const DEEPEST: usize = 100;

impl Program {
    /// Parses a program. An error is a text that begins with the number of a line.
    pub fn parse(source: &str) -> Result<Self, String> {
        let names = vec!["n".to_owned(), "result".to_owned()];
        let mut parser = Parser { tokens: tokens(source), at: 0, names, depth: 0 };
        if parser.tokens.len() > MOST_TOKENS {
            return Err(format!("line 1: the program has more than {MOST_TOKENS} words and signs"));
        }
        let body = parser.statements()?;
        match parser.peek() {
            "" => Ok(Self { variables: parser.names.len(), body }),
            _ => Err(parser.expected("a statement")),
        }
    }
}

/// Splits a text into words and signs, each with the number of its line.
fn tokens(source: &str) -> Vec<(&str, usize)> {
    let mut tokens = Vec::new();
    for (line, text) in (1..).zip(source.lines()) {
        let mut rest = text.trim_start();
        while let Some(first) = rest.chars().next() {
            let length = match rest.find(|c: char| !c.is_alphanumeric() && c != '_') {
                Some(0) => first.len_utf8(), // a sign
                Some(end) => end,
                None => rest.len(),
            };
            let (token, after) = rest.split_at(length);
            tokens.push((token, line));
            rest = after.trim_start();
        }
    }
    tokens
}

struct Parser<'a> {
    tokens: Vec<(&'a str, usize)>,
    at: usize,
    names: Vec<String>,
    depth: usize,
}

impl<'a> Parser<'a> {
    /// Returns the next token, or an empty text at the end.
    fn peek(&self) -> &'a str {
        self.tokens.get(self.at).map_or("", |(token, _)| token)
    }

    /// Skips the next token if it is this one.
    fn skip(&mut self, token: &str) -> bool {
        let found = self.peek() == token;
        self.at += usize::from(found);
        found
    }

    fn demand(&mut self, token: &str) -> Result<(), String> {
        if self.skip(token) { Ok(()) } else { Err(self.expected(&format!("'{token}'"))) }
    }

    fn error(&self, text: &str) -> String {
        let (_, line) = self.tokens.get(self.at).or(self.tokens.last()).copied().unwrap_or(("", 1));
        format!("line {line}: {text}")
    }

    fn expected(&self, what: &str) -> String {
        let found = match self.peek() {
            "" => "the end of the program".to_owned(),
            token => format!("'{token}'"),
        };
        self.error(&format!("expected {what}, but found {found}"))
    }

    /// Enters a block or parentheses.
    fn enter(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > DEEPEST { Err(self.error("nested too deeply")) } else { Ok(()) }
    }

    fn statements(&mut self) -> Result<Vec<Statement>, String> {
        let mut statements = Vec::new();
        while !["", "}"].contains(&self.peek()) {
            statements.push(self.statement()?);
        }
        Ok(statements)
    }

    fn statement(&mut self) -> Result<Statement, String> {
        if self.skip("repeat") {
            let count = self.expression()?;
            self.enter()?;
            self.demand("{")?;
            let body = self.statements()?;
            self.demand("}")?;
            self.depth -= 1;
            return Ok(Statement::Repeat(count, body));
        }
        let Some(variable) = self.name() else { return Err(self.expected("a name or 'repeat'")) };
        self.demand("=")?;
        Ok(Statement::Assign(variable, self.expression()?))
    }

    fn expression(&mut self) -> Result<Expression, String> {
        let mut left = self.term()?;
        loop {
            let operator = match self.peek() {
                "+" => Operator::Add,
                "-" => Operator::Subtract,
                _ => return Ok(left),
            };
            self.at += 1;
            left = Expression::Binary(operator, Box::new(left), Box::new(self.term()?));
        }
    }

    fn term(&mut self) -> Result<Expression, String> {
        let mut left = self.factor()?;
        while self.skip("*") {
            left = Expression::Binary(Operator::Multiply, Box::new(left), Box::new(self.factor()?));
        }
        Ok(left)
    }

    fn factor(&mut self) -> Result<Expression, String> {
        if self.skip("(") {
            self.enter()?;
            let inner = self.expression()?;
            self.demand(")")?;
            self.depth -= 1;
            return Ok(inner);
        }
        if self.peek().starts_with(|first: char| first.is_ascii_digit()) {
            let number = self.peek().parse().map_err(|_| self.error("not a number of 64 bits"))?;
            self.at += 1;
            return Ok(Expression::Number(number));
        }
        self.name().map(Expression::Variable).ok_or_else(|| self.expected("a number, a name or '('"))
    }

    /// Returns the number of the variable that is next, which may be a new one.
    fn name(&mut self) -> Option<usize> {
        let name = self.peek();
        let is_name = name.starts_with(|first: char| first.is_alphabetic() || first == '_') && name != "repeat";
        if !is_name {
            return None;
        }
        self.at += 1;
        Some(self.names.iter().position(|known| known == name).unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        }))
    }
}

/// Interprets a program. Returns `None` if it takes more than `turns` turns of loops.
pub fn interpret(program: &Program, n: u64, mut turns: u64) -> Option<u64> {
    let mut variables = vec![0; program.variables];
    variables[N] = n;
    execute(&program.body, &mut variables, &mut turns)?;
    Some(variables[RESULT])
}

fn execute(statements: &[Statement], variables: &mut [u64], turns: &mut u64) -> Option<()> {
    for statement in statements {
        match statement {
            Statement::Assign(variable, expression) => variables[*variable] = evaluate(expression, variables),
            Statement::Repeat(count, body) => {
                for _ in 0..evaluate(count, variables) {
                    *turns = turns.checked_sub(1)?;
                    execute(body, variables, turns)?;
                }
            }
        }
    }
    Some(())
}

fn evaluate(expression: &Expression, variables: &[u64]) -> u64 {
    match expression {
        Expression::Number(number) => *number,
        Expression::Variable(variable) => variables[*variable],
        Expression::Binary(operator, left, right) => {
            let (left, right) = (evaluate(left, variables), evaluate(right, variables));
            match operator {
                Operator::Add => left.wrapping_add(right),
                Operator::Subtract => left.wrapping_sub(right),
                Operator::Multiply => left.wrapping_mul(right),
            }
        }
    }
}
