//! Measures several things in turn, A B A B …, so that whatever else the machine does meanwhile slows all of them down.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use crate::Result;
use crate::report::{Report, Time};

/// Measures once, and returns a time in nanoseconds.
pub(crate) type Sample = Box<dyn FnMut() -> Result<f64>>;

/// How long to measure.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// The time of a sample.
    pub(crate) time: Duration,
}

/// Something to measure, with the row and the column of its figures.
pub(crate) struct Contender {
    pub(crate) row: String,
    pub(crate) library: &'static str,
    pub(crate) sample: Result<Sample>,
}

/// The figures of a contender, one for each round.
pub(crate) struct Figures(Vec<f64>);

/// The median of figures with their quartiles, and how they are shown.
struct Summary<T>([T; 3]);

impl Figures {
    pub(crate) fn median(&self) -> f64 {
        self.quartiles()[1]
    }

    /// Divides each figure by another one of the same round.
    fn relative_to(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(figure, other)| figure / other).collect())
    }

    fn quartiles(&self) -> [f64; 3] {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        let last = sorted.len() - 1;
        [last / 4, last / 2, last - last / 4].map(|index| sorted[index])
    }
}

impl<T: Display> Display for Summary<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self([lower, median, upper]) = self;
        write!(f, "{median} ({lower} to {upper})")
    }
}

/// A quotient of two times.
struct Times(f64);

impl Display for Times {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} ×", self.0)
    }
}

/// Returns a sample that makes as many turns as take the time of a sample. The closure runs the given number of turns, and
/// returns how long they took.
pub(crate) fn turns(effort: Effort, mut take: impl FnMut(u64) -> Result<Duration> + 'static) -> Result<Sample> {
    let mut turns: u64 = 16;
    let mut taken = take(turns)?;
    while taken < effort.time / 4 && turns < 1 << 30 {
        turns *= 4;
        taken = take(turns)?;
    }
    let scale = effort.time.as_secs_f64() / taken.as_secs_f64();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at least 16, and far less than 2^53"
    )]
    let turns = (turns as f64 * scale).max(16.0) as u64;
    Ok(Box::new(move || Ok(take(turns)?.as_secs_f64() * 1e9 / turns as f64)))
}

/// Measures all contenders in each round, and adds their medians and quartiles to the table. Returns their names with their
/// figures, if they had no error, in the same order.
pub(crate) fn measure(
    report: &mut Report,
    effort: Effort,
    mut contenders: Vec<Contender>,
) -> Vec<(&'static str, Option<Figures>)> {
    let mut figures: Vec<Vec<f64>> = contenders.iter().map(|_| Vec::new()).collect();
    for round in 0..effort.rounds {
        for index in 0..contenders.len() {
            // Each round begins with another one, so that the order is no advantage.
            let index = (index + round) % contenders.len();
            let Ok(sample) = &mut contenders[index].sample else { continue };
            match sample() {
                Ok(figure) => figures[index].push(figure),
                Err(error) => contenders[index].sample = Err(error),
            }
        }
    }
    let finish = |(contender, figures): (Contender, _)| {
        let figures = contender.sample.map(|_| Figures(figures));
        let shown = figures.as_ref().map(|figures| Summary(figures.quartiles().map(Time)));
        report.set(&contender.row, contender.library, shown.map_err(|error| error.to_string().into()));
        (contender.library, figures.ok())
    };
    contenders.into_iter().zip(figures).map(finish).collect()
}

/// Adds the quotients of figures and others of the same rounds to the table.
pub(crate) fn compare(report: &mut Report, row: &str, library: &'static str, figures: &Figures, others: &Figures) {
    report.set(row, library, Ok(Summary(figures.relative_to(others).quartiles().map(Times))));
}

/// Adds the quotients of all figures of a row and those of its first contender to the table.
pub(crate) fn compare_with_first(report: &mut Report, row: &str, figures: &[(&'static str, Option<Figures>)]) {
    let [(name, Some(first)), others @ ..] = figures else { return };
    for (library, figures) in others {
        if let Some(figures) = figures {
            compare(report, &format!("{row}, relative to {name}"), library, figures, first);
        }
    }
}
