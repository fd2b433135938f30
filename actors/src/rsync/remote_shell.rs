//! The ssh by which nodes are reached, with its options, unless the user chose another remote shell.

use crate::site::Site;

/// ssh must never ask anybody, must notice a dead peer within half a minute (three intervals), and says nothing but
/// what is wrong: no banner of the server. Left out when the user chose a remote shell.
pub(super) const SSH: &str =
    "ssh -o BatchMode=yes -o LogLevel=ERROR -o ConnectTimeout=10 -o ServerAliveInterval=10 -o ServerAliveCountMax=2";

/// Tells if the user says how hosts are reached.
pub(super) fn user_chose_shell(site: &Site) -> bool {
    site.extra.rsh().is_some() || std::env::var_os("RSYNC_RSH").is_some_and(|shell| !shell.is_empty())
}
