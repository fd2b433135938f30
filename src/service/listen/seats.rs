//! The connections that are served at once. When all seats are taken, a newcomer gets one all the same: the oldest one
//! that is silent now, at the address that has most of them, makes room. So many slow clients keep out each other, and
//! nobody else.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::rc::Rc;

use tokio::task::AbortHandle;

/// Connections at once.
const SEATS: usize = 64;

/// The connections, by number: a lower one is older.
#[derive(Clone, Default)]
pub(super) struct Seats(Rc<RefCell<Table>>);

#[derive(Default)]
struct Table {
    last: u64,
    taken: BTreeMap<u64, Seat>,
}

struct Seat {
    at: IpAddr,
    stage: Stage,
    task: AbortHandle,
}

/// How far a client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    /// It has not said all of a request, or reads its answer.
    Silent,
    /// Its answer is being made.
    Asking,
}

/// The place of one connection, until it is dropped.
pub(super) struct Place {
    seats: Seats,
    number: u64,
}

impl Seats {
    /// Gives a connection from this address a seat. `serve` starts it.
    pub fn seat(&self, at: IpAddr, serve: impl FnOnce(Rc<Place>) -> AbortHandle) {
        // Not under the borrow: the end of a connection takes it off the table.
        let last = self.0.borrow_mut().make_room();
        last.inspect(|seat| seat.task.abort());
        let number = self.0.borrow().last + 1;
        let task = serve(Rc::new(Place { seats: self.clone(), number }));
        let mut table = self.0.borrow_mut();
        table.last = number;
        table.taken.insert(number, Seat { at, stage: Stage::Silent, task });
    }
}

impl Table {
    /// The seat that another one gets, if all are taken.
    fn make_room(&mut self) -> Option<Seat> {
        if self.taken.len() < SEATS {
            return None;
        }
        let number = victim(self.taken.iter().map(|(number, seat)| (*number, seat.at, seat.stage)))?;
        self.taken.remove(&number)
    }
}

impl Place {
    /// Its answer is made by this.
    pub async fn answer<T>(&self, answer: impl Future<Output = T>) -> T {
        self.is(Stage::Asking);
        let answer = answer.await;
        self.is(Stage::Silent);
        answer
    }

    fn is(&self, stage: Stage) {
        if let Some(seat) = self.seats.0.borrow_mut().taken.get_mut(&self.number) {
            seat.stage = stage;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.seats.0.borrow_mut().taken.remove(&self.number);
    }
}

/// Who makes room: of those at the address that has most seats the oldest one that is silent, else the oldest one.
fn victim(seats: impl Iterator<Item = (u64, IpAddr, Stage)> + Clone) -> Option<u64> {
    let mut counts: HashMap<IpAddr, usize> = HashMap::new();
    seats.clone().for_each(|(_, at, _)| *counts.entry(at).or_default() += 1);
    let most = counts.values().copied().max()?;
    let greedy = seats.filter(|(_, at, _)| counts.get(at) == Some(&most));
    greedy.min_by_key(|(number, _, stage)| (*stage, *number)).map(|(number, ..)| number)
}

#[cfg(test)]
mod tests {
    use super::Stage::{Asking, Silent};
    use super::*;

    #[test]
    fn the_oldest_silent_one_of_the_address_with_most_seats_makes_room() {
        for (seats, expected) in [
            (&[][..], None),
            (&[(1, 1, Silent), (2, 1, Silent)], Some(1)),
            (&[(1, 1, Asking), (2, 1, Silent)], Some(2)),
            (&[(1, 1, Asking), (2, 1, Asking)], Some(1)),
            (&[(1, 1, Silent), (2, 2, Asking), (3, 2, Silent)], Some(3)),
            (&[(1, 1, Silent), (2, 2, Silent)], Some(1)),
        ] {
            let seats = seats.iter().map(|(number, at, stage)| (*number, IpAddr::from([10, 0, 0, *at]), *stage));
            assert_eq!(victim(seats.clone()), expected, "{:?}", seats.collect::<Vec<_>>());
        }
    }
}
