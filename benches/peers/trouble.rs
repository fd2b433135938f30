//! What can go wrong in a measurement: a text that names what was tried and what the system said.

use std::error::Error;
use std::fmt::Display;

/// Why a scenario could not be measured.
pub type Trouble = Box<dyn Error + Send + Sync>;

/// The result of all that may fail here.
pub type Outcome<T> = Result<T, Trouble>;

/// Adds what was tried to an error.
pub trait At<T> {
    fn at(self, what: impl Display) -> Outcome<T>;
}

impl<T, E: Display> At<T> for Result<T, E> {
    fn at(self, what: impl Display) -> Outcome<T> {
        self.map_err(|error| format!("{what}: {error}").into())
    }
}

impl<T> At<T> for Option<T> {
    fn at(self, what: impl Display) -> Outcome<T> {
        self.ok_or_else(|| what.to_string().into())
    }
}
