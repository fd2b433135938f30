//! Limits the connections that are open at once. When the table is full, a new connection replaces one: the oldest silent one
//! of the address with most connections. So many slow clients keep out each other, and nobody else.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::rc::Rc;

use tokio::task::AbortHandle;

/// The most connections at once.
const MOST: usize = 64;

/// The connections, by number: a lower one is older.
#[derive(Clone, Default)]
pub(super) struct Connections(Rc<RefCell<ClientTable>>);

#[derive(Default)]
struct ClientTable {
    last: u64,
    open: BTreeMap<u64, Connection>,
}

struct Connection {
    /// The address; `None` for clients of a Unix socket, which have none.
    at: Option<IpAddr>,
    activity: Activity,
    task: AbortHandle,
}

/// The activity of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Activity {
    /// The client has not sent all of a request, or reads its answer.
    Silent,
    /// The answer is being made.
    Asking,
}

/// The entry of one connection in the table, until it is dropped.
pub(super) struct ClientEntry {
    table: Connections,
    number: u64,
}

impl Connections {
    /// Adds a connection from this address, or by a Unix socket. `serve` starts its task.
    pub fn add(&self, at: Option<IpAddr>, serve: impl FnOnce(Rc<ClientEntry>) -> AbortHandle) {
        // Not under the borrow: the end of a task removes its entry.
        let replaced = self.0.borrow_mut().make_room();
        replaced.inspect(|connection| connection.task.abort());
        let number = self.0.borrow().last + 1;
        let task = serve(Rc::new(ClientEntry { table: self.clone(), number }));
        let mut table = self.0.borrow_mut();
        table.last = number;
        table.open.insert(number, Connection { at, activity: Activity::Silent, task });
    }
}

impl ClientTable {
    /// Removes a connection for a new one, if the table is full.
    fn make_room(&mut self) -> Option<Connection> {
        if self.open.len() < MOST {
            return None;
        }
        let number = replaceable(self.open.iter().map(|(number, open)| (*number, open.at, open.activity)))?;
        self.open.remove(&number)
    }
}

impl ClientEntry {
    /// Makes the answer of the connection.
    pub async fn answer<T>(&self, answer: impl Future<Output = T>) -> T {
        self.is(Activity::Asking);
        let answer = answer.await;
        self.is(Activity::Silent);
        answer
    }

    fn is(&self, activity: Activity) {
        if let Some(connection) = self.table.0.borrow_mut().open.get_mut(&self.number) {
            connection.activity = activity;
        }
    }
}

impl Drop for ClientEntry {
    fn drop(&mut self) {
        self.table.0.borrow_mut().open.remove(&self.number);
    }
}

/// The number of the connection to replace: at the address with most connections the oldest silent one, else the oldest.
fn replaceable(connections: impl Iterator<Item = (u64, Option<IpAddr>, Activity)> + Clone) -> Option<u64> {
    let mut counts: HashMap<Option<IpAddr>, usize> = HashMap::new();
    connections.clone().for_each(|(_, at, _)| *counts.entry(at).or_default() += 1);
    let most = counts.values().copied().max()?;
    let greedy = connections.filter(|(_, at, _)| counts.get(at) == Some(&most));
    greedy.min_by_key(|(number, _, activity)| (*activity, *number)).map(|(number, ..)| number)
}

#[cfg(test)]
mod tests {
    use super::Activity::{Asking, Silent};
    use super::*;

    #[test]
    fn the_oldest_silent_connection_of_the_address_with_most_is_replaced() {
        for (connections, expected) in [
            (&[][..], None),
            (&[(1, 1, Silent), (2, 1, Silent)], Some(1)),
            (&[(1, 1, Asking), (2, 1, Silent)], Some(2)),
            (&[(1, 1, Asking), (2, 1, Asking)], Some(1)),
            (&[(1, 1, Silent), (2, 2, Asking), (3, 2, Silent)], Some(3)),
            (&[(1, 1, Silent), (2, 2, Silent)], Some(1)),
        ] {
            let connections = connections
                .iter()
                .map(|(number, at, activity)| (*number, Some(IpAddr::from([10, 0, 0, *at])), *activity));
            assert_eq!(replaceable(connections.clone()), expected, "{:?}", connections.collect::<Vec<_>>());
        }
    }
}
