//! A node: one place that mirrors the tree, in rsync's own syntax.
