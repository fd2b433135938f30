//! Describes one run: its recipe, its subject, and the listeners to its output.

use std::cell::Cell;
use std::ffi::OsString;
use std::rc::Rc;

use tokio::sync::oneshot;

use crate::rsync::recipe::Recipe;
use crate::rsync::staging::Twins;
use crate::transport::rename::Relocation;
use crate::transport::traits::Traits;
use crate::transport::{Lane, Worked};

/// One run, as its caller describes it.
#[derive(Clone, Copy)]
pub(crate) struct Order<'a> {
    /// The kind of run.
    pub recipe: Recipe,
    /// The entries that the run is about.
    pub work: Work<'a>,
    /// `true` for a run of removals: what the node's own filter refuses counts as done.
    pub removes: bool,
    /// Filter rules beside those of the site.
    pub rules: &'a [OsString],
    /// The lane of the batch that the run belongs to, if any.
    pub lane: Option<Lane>,
    /// Traits of the node to compare with, in place of those that are known.
    pub traits: Option<&'a Traits>,
}

impl Order<'_> {
    /// A run of a recipe with an empty list.
    pub(crate) fn of(recipe: Recipe) -> Self {
        Order { recipe, work: Work::List(&[]), removes: false, rules: &[], lane: None, traits: None }
    }
}

/// The entries that a run is about.
#[derive(Clone, Copy)]
pub(crate) enum Work<'a> {
    /// The listed entries of the source.
    List(&'a [u8]),
    /// Renamed files, for [`Recipe::Link`].
    Links(&'a [Twins]),
    /// A moved directory, for [`Recipe::Build`].
    Directory(&'a Relocation),
    /// A moved directory and the listed entries in it, for [`Recipe::Gather`].
    Names(&'a Relocation, &'a [u8]),
}

/// The listeners to one run.
pub(crate) struct Ears<'a> {
    /// Gets each line of output.
    pub line: &'a mut dyn FnMut(&[u8]),
    /// Is sent when rsync says that its work is done. `None` once it was sent.
    pub worked: Option<Worked>,
    /// `true` as soon as a line has told that all is at the node that others wait for. Then `worked` is sent at once: the two
    /// ends take one or two round trips more to agree that nothing is left to do.
    pub is_there: Rc<Cell<bool>>,
    /// Is dropped when rsync says that its work is done, or ends.
    pub at_work: Option<oneshot::Sender<()>>,
}

impl<'a> Ears<'a> {
    /// Listens to the lines of output.
    pub(crate) fn to(line: &'a mut dyn FnMut(&[u8])) -> Self {
        Ears { line, worked: None, is_there: Rc::default(), at_work: None }
    }

    /// The same, and is told when the work is done.
    pub(crate) fn told(self, worked: Option<Worked>) -> Self {
        Ears { worked, ..self }
    }
}
