//! Names the kinds of rsync runs.

/// The kinds of runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recipe {
    /// Sends the listed entries without what is below directories, files even where size and time are equal. What is
    /// missing is left alone: its removal is reported by itself, and a receiver that rejects it would reject all.
    Present,
    /// As `Present`, but files only where size or time differs.
    Large,
    /// As `Present`, but files only where the content differs.
    Closed,
    /// As `Present`, but files whole: the node has others by their names.
    Anew,
    /// Sends the listed files, and links those that are one file in the source to one at the node. Deletes nothing. Run in a
    /// directory that has nothing but the listed names: see [`Stage`](crate::rsync::staging::Stage).
    Link,
    /// As `Present`, with the help of what is in the same directory at the node: files of the same size and time first.
    Similar,
    /// Links the listed files of one directory to what the node has by the same names in another, where the content is the
    /// same. Deletes nothing.
    Gather,
    /// Makes one directory equal with all files and directories that are below it, by links to what the node has in another
    /// one. Nothing else is made.
    Build,
    /// Deletes the listed entries, which are missing.
    Missing,
    /// Deletes the entries that the rules for this run put at risk ([`rules::at_risk`](crate::patterns::rules::at_risk)), by the names in the listed directories
    /// that hold them. Sends nothing. What the node may not delete by itself for its own permissions, it deletes so.
    ByLevels,
    /// Sends the attributes of the root alone.
    Root,
    /// Makes the listed directories equal with all that is below them.
    Subtrees,
    /// As `Subtrees`, and sends files even where size and time are equal.
    SubtreesRewritten,
    /// Makes the entries of the listed directories equal, without what is below subdirectories.
    Levels,
    /// Deletes the listed missing entries at a receiver that rejects them in protocol 30 and later
    /// (<https://github.com/RsyncProject/rsync/issues/910>): older protocols send the parents of an entry not before it.
    Deletions29,
    /// Makes the whole tree equal.
    Full,
    /// Makes the listed directories as `Full` does, without what is in them: those above the parts of the tree that runs beside
    /// each other go through.
    Frame,
    /// Deletes what `Full` deletes, and sends nothing.
    Prune,
    /// Says what `Full` would do.
    DryRun,
    /// Says what differs in the whole tree, by the content of the files. Changes nothing.
    Verify,
    /// Says what differs in the listed entries, by the content of the files. Changes nothing.
    VerifyEntries,
    /// Says what the node has in the listed directories, and the source has not. Changes nothing.
    VerifyLevels,
    /// Says how the listed entries differ, by size, times and other attributes. Changes nothing.
    Recall,
    /// Says which of the listed entries the node has as another kind of entry. Changes nothing.
    Clash,
    /// As `Clash`, with all that is below the listed entries.
    ClashBelow,
    /// As `Clash`, of the whole tree.
    ClashAll,
    /// Finds out whether the receiver rejects missing entries. Changes nothing.
    Probe,
}

impl Recipe {
    /// Tells if nothing is changed anywhere.
    pub(crate) fn only_looks(self) -> bool {
        self.verifies() || self.finds_clashes() || matches!(self, Recipe::DryRun | Recipe::Recall | Recipe::Probe)
    }

    /// Tells if a run may read much that both ends have, and say nothing for a long time.
    pub(crate) fn reads_much(self) -> bool {
        self.verifies() || self == Recipe::Closed
    }

    /// Tells if a run says what the node has as another kind of entry.
    pub(crate) fn finds_clashes(self) -> bool {
        matches!(self, Recipe::Clash | Recipe::ClashBelow | Recipe::ClashAll)
    }

    /// Tells if rsync may delete at the node, if only to make room for an entry of another kind.
    pub(super) fn deletes(self) -> bool {
        !matches!(self, Recipe::Link | Recipe::Gather)
    }

    /// Tells if a run says what differs by content.
    pub(crate) fn verifies(self) -> bool {
        matches!(self, Recipe::Verify | Recipe::VerifyEntries | Recipe::VerifyLevels)
    }

    /// Tells if the list names files, and nothing that is not listed is sent or deleted.
    pub(crate) fn names_files(self) -> bool {
        matches!(self, Recipe::Present | Recipe::Large | Recipe::Closed | Recipe::Anew)
    }

    /// Tells if a run asks the node for the listed files whatever size and time say.
    pub(crate) fn asks_for_all(self) -> bool {
        matches!(self, Recipe::Present | Recipe::Anew)
    }

    /// Tells if a run compares files by their content, whatever the user says.
    pub(crate) fn reads_contents(self) -> bool {
        matches!(self, Recipe::Verify | Recipe::VerifyEntries | Recipe::Closed)
    }

    /// Tells if a run goes through the whole tree.
    pub(crate) fn covers_tree(self) -> bool {
        !self.is_listed() && self != Recipe::Build
    }

    /// Tells if rsync reads a list from its standard input.
    pub(crate) fn is_listed(self) -> bool {
        !matches!(
            self,
            Recipe::Build | Recipe::Full | Recipe::Prune | Recipe::DryRun | Recipe::Verify | Recipe::ClashAll
        )
    }

    /// Tells if a run passes over what the node cannot hold, since it compares what nobody has reported to have changed. What
    /// was reported goes whatever the node has, or if that differs in the least.
    pub(super) fn compares(self) -> bool {
        self.only_looks() || matches!(self, Recipe::Full | Recipe::Frame | Recipe::Levels | Recipe::Build)
    }

    /// Tells if this is the first way of removals.
    pub(crate) fn only_deletes(self) -> bool {
        matches!(self, Recipe::Missing | Recipe::Deletions29)
    }

    /// Tells if a run sends, or compares, what is below what is listed.
    pub(crate) fn sends_below(self) -> bool {
        matches!(
            self,
            Recipe::Subtrees
                | Recipe::SubtreesRewritten
                | Recipe::Levels
                | Recipe::ByLevels
                | Recipe::VerifyLevels
                | Recipe::Clash
                | Recipe::ClashBelow
        )
    }

    /// Tells if a run sends its listed directories with everything below them.
    pub(crate) fn sends_trees(self) -> bool {
        matches!(self, Recipe::Subtrees | Recipe::SubtreesRewritten)
    }

    /// Tells if a run deletes what it does not find in the source, or says what it would delete.
    pub(super) fn deletes_extras(self) -> bool {
        matches!(self, Recipe::Subtrees | Recipe::Levels | Recipe::Full | Recipe::Prune | Recipe::DryRun)
            || self.verifies()
    }
}
