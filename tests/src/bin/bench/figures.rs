//! Figures with what they are to be.

/// A figure, and what it is to be.
pub struct Line {
    pub what: String,
    pub is: f64,
    pub unit: &'static str,
    pub goal: Option<Goal>,
}

/// What a figure is to be.
#[derive(Clone, Copy)]
pub enum Goal {
    Least(f64),
    Below(f64),
}

impl Goal {
    pub fn is_met(self, figure: f64) -> bool {
        match self {
            Goal::Least(least) => least <= figure,
            Goal::Below(most) => figure < most,
        }
    }
}

/// Figures in their order, each told as it is known.
#[derive(Default)]
pub struct Lines(pub Vec<Line>);

impl Lines {
    pub fn add(&mut self, what: impl Into<String>, is: f64, unit: &'static str, goal: Option<Goal>) {
        let what = what.into();
        eprintln!("bench: {what}: {is:.2} {unit}");
        self.0.push(Line { what, is, unit, goal });
    }
}
