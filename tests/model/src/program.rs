//! Programs of the model: what one thread does, as a list of operations.

/// The registers of a thread.
pub type Regs = [u8; 6];

/// What the properties need to know, and no thread of the real program does. All threads share it.
pub type Ghost = [u8; 12];

/// An address: a location, or a location and an index in a register.
#[derive(Clone, Copy)]
pub enum At {
    Fixed(usize),
    Indexed(usize, usize),
}

impl At {
    pub fn location(self, regs: &Regs) -> usize {
        match self {
            At::Fixed(location) => location,
            At::Indexed(base, reg) => base + usize::from(regs[reg]),
        }
    }
}

impl From<usize> for At {
    fn from(location: usize) -> Self {
        At::Fixed(location)
    }
}

/// The order of an atomic access, as in C11.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Order {
    pub acquires: bool,
    pub releases: bool,
}

pub const RELAXED: Order = Order { acquires: false, releases: false };
pub const ACQUIRE: Order = Order { acquires: true, releases: false };
pub const RELEASE: Order = Order { acquires: false, releases: true };

/// The values of locations that are not atomic, as one thread sees them.
pub trait Plain {
    /// A load that is not atomic. An error if another thread's store may or may not have come before: a data race.
    fn get(&self, thread: usize, at: usize) -> Result<u8, &'static str>;
    /// A store that is not atomic. An error as for `get`.
    fn set(&mut self, thread: usize, at: usize, value: u8) -> Result<(), &'static str>;
}

/// What an operation on local or locked data can access.
pub struct Here<'a> {
    pub memory: &'a mut dyn Plain,
    pub thread: usize,
    pub regs: &'a mut Regs,
    pub ghost: &'a mut Ghost,
    pub failure: Option<&'static str>,
}

impl Here<'_> {
    pub fn get(&mut self, at: usize) -> u8 {
        match self.memory.get(self.thread, at) {
            Ok(value) => value,
            Err(what) => {
                self.failure = Some(what);
                0
            }
        }
    }

    pub fn set(&mut self, at: usize, value: u8) {
        if let Err(what) = self.memory.set(self.thread, at, value) {
            self.failure = Some(what);
        }
    }

    pub fn check(&mut self, holds: bool, what: &'static str) {
        if !holds {
            self.failure = self.failure.or(Some(what));
        }
    }
}

pub type Action = Box<dyn Fn(&mut Here)>;
pub type Condition = Box<dyn Fn(&Regs) -> bool>;
pub type Value = Box<dyn Fn(&Regs) -> u8>;
/// The new value of a read-modify-write; `None`: it writes nothing.
pub type Change = Box<dyn Fn(&Regs, u8) -> Option<u8>>;

pub enum Op {
    Load {
        to: usize,
        at: At,
        order: Order,
    },
    /// Loads until all bits of the mask are 0.
    Await {
        at: At,
        mask: u8,
        order: Order,
    },
    Store {
        at: At,
        value: Value,
        order: Order,
    },
    /// An atomic read-modify-write. The register gets the old value. If it waits, it happens only if it writes.
    Update {
        to: usize,
        at: At,
        change: Change,
        order: Order,
        waits: bool,
    },
    /// `membarrier`: a full fence on every thread, on one after the other.
    FenceAll,
    /// Lets other threads run.
    Pause,
    /// Happens at once with the operation before it.
    Do(Action),
    JumpIf {
        when: Condition,
        label: usize,
    },
}

/// An operation, and the line of C that it stands for: "function: what"; in parentheses if there is none.
pub struct Line {
    pub text: &'static str,
    pub op: Op,
}

/// What one thread does.
pub struct Program {
    pub name: &'static str,
    pub lines: Vec<Line>,
    /// By label: the line.
    pub labels: Vec<usize>,
    /// The fences and orders that the program contains, by name.
    pub switches: Vec<String>,
    /// The fence or order that is left out.
    removed: String,
}

impl Program {
    #[must_use]
    pub fn new(name: &'static str, removed: &str) -> Self {
        let removed = removed.to_owned();
        Program { name, lines: vec![], labels: vec![], switches: vec![], removed }
    }

    /// Whether a fence is there, i.e. was not removed.
    pub fn has(&mut self, name: &str) -> bool {
        if !self.switches.iter().any(|switch| switch == name) {
            self.switches.push(name.to_owned());
        }
        name != self.removed
    }

    /// An order without the parts that were removed. What is not in the C code (its text is in parentheses) keeps all.
    fn order(&mut self, text: &str, order: Order) -> Order {
        let mut keeps =
            |part, is_there| is_there && (text.starts_with('(') || self.has(&format!("{text}, {part}")));
        Order { acquires: keeps("acquire", order.acquires), releases: keeps("release", order.releases) }
    }

    fn push(&mut self, text: &'static str, op: Op) {
        self.lines.push(Line { text, op });
    }

    pub fn load(&mut self, text: &'static str, to: usize, at: impl Into<At>, order: Order) {
        let order = self.order(text, order);
        self.push(text, Op::Load { to, at: at.into(), order });
    }

    pub fn wait(&mut self, text: &'static str, at: impl Into<At>, mask: u8, order: Order) {
        let order = self.order(text, order);
        self.push(text, Op::Await { at: at.into(), mask, order });
    }

    pub fn store(
        &mut self,
        text: &'static str,
        at: impl Into<At>,
        order: Order,
        value: impl Fn(&Regs) -> u8 + 'static,
    ) {
        let order = self.order(text, order);
        self.push(text, Op::Store { at: at.into(), value: Box::new(value), order });
    }

    pub fn update(
        &mut self,
        text: &'static str,
        to: usize,
        at: impl Into<At>,
        order: Order,
        change: impl Fn(&Regs, u8) -> Option<u8> + 'static,
    ) {
        let order = self.order(text, order);
        self.push(text, Op::Update { to, at: at.into(), change: Box::new(change), order, waits: false });
    }

    /// `pthread_mutex_lock`. Its order is not in doubt, and so has no name.
    pub fn lock_mutex(&mut self, text: &'static str, at: usize) {
        let change: Change = Box::new(|_, old| (old == 0).then_some(1));
        self.push(text, Op::Update { to: 0, at: At::Fixed(at), change, order: ACQUIRE, waits: true });
    }

    /// `pthread_mutex_unlock`.
    pub fn unlock_mutex(&mut self, text: &'static str, at: usize) {
        self.push(text, Op::Store { at: At::Fixed(at), value: Box::new(|_| 0), order: RELEASE });
    }

    pub fn fence_all(&mut self, text: &'static str) {
        if self.has(text) {
            self.push(text, Op::FenceAll);
        }
    }

    pub fn pause(&mut self, text: &'static str) {
        self.push(text, Op::Pause);
    }

    pub fn act(&mut self, action: impl Fn(&mut Here) + 'static) {
        self.push("", Op::Do(Box::new(action)));
    }

    /// A label that `place` puts somewhere.
    pub fn label(&mut self) -> usize {
        self.labels.push(usize::MAX);
        self.labels.len() - 1
    }

    pub fn place(&mut self, label: usize) {
        self.labels[label] = self.lines.len();
    }

    pub fn jump_if(&mut self, label: usize, when: impl Fn(&Regs) -> bool + 'static) {
        self.push("", Op::JumpIf { when: Box::new(when), label });
    }

    pub fn jump(&mut self, label: usize) {
        self.jump_if(label, |_| true);
    }
}
