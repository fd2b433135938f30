//! Lines of an error output that tell nothing of a run, whatever becomes of it.

use crate::rsync::report::complaint::Complaint;

/// The beginnings of these lines.
const STARTS: &[&[u8]] = &[
    // The server of a local run says this with it.
    b"(Server) Protocol versions: ",
    // ssh: of a first connection, of one that is shared or is not, of its own list of hosts, of its terminal.
    b"Warning: Permanently added",
    b"Warning: the ",
    b"Failed to add the host to the list of known hosts",
    b"hostfile_replace_entries: ",
    b"update_known_hosts: ",
    b"Control socket connect(",
    b"ControlSocket ",
    b"mux_client_request_session:",
    b"mux_client_hello_exchange:",
    b"muxclient:",
    b"Shared connection to ",
    b"Pseudo-terminal will not be allocated",
    b"Could not chdir to home directory ",
    b"Warning: No xauth data",
    b"X11 forwarding request failed",
    b"Warning: remote port forwarding failed",
    // ssh, from 10.1 on, of a server without key exchange that quantum computers cannot break.
    b"** WARNING: connection is not using a post-quantum",
    b"** This session may be vulnerable",
    b"** The server may need to be upgraded",
    // perl and the shells, where the locale of this host is unknown at the node.
    b"perl: warning: ",
    b"\tLANGUAGE = ",
    b"\tLC_",
    b"\tLANG = ",
    b"    are supported and installed on your system.",
    b"locale: Cannot set LC_",
    b"manpath: can't set the locale",
    // rsync itself: two places to look.
    b"(see the rsync man",
];
/// The words of bash about the locale, in any file of a login.
const SETLOCALE: &[u8] = b": warning: setlocale: ";

/// Tells if a line tells nothing.
pub(crate) fn is_noise(line: &[u8]) -> bool {
    // A file may have any name.
    let is_of_locale =
        || line.windows(SETLOCALE.len()).any(|part| part == SETLOCALE) && Complaint::read(line).is_none();
    line.trim_ascii().is_empty() || STARTS.iter().any(|start| line.starts_with(start)) || is_of_locale()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ssh_and_the_shells_say_of_every_login_is_noise_and_what_is_wrong_is_not() {
        for (line, expected) in [
            ("(Server) Protocol versions: remote=32, negotiated=32", true),
            ("Warning: Permanently added '[h]:22' (ED25519) to the list of known hosts.", true),
            ("/home/u/.bashrc: line 1: warning: setlocale: LC_ALL: cannot change locale (xx_YY.UTF-8)", true),
            ("bash: warning: setlocale: LC_ALL: cannot change locale (xx_YY.UTF-8)", true),
            ("perl: warning: Setting locale failed.", true),
            ("\tLC_ALL = \"xx_YY.UTF-8\",", true),
            ("    are supported and installed on your system.", true),
            ("Pseudo-terminal will not be allocated because stdin is not a terminal.", true),
            ("Could not chdir to home directory /home/u: No such file or directory", true),
            ("** WARNING: connection is not using a post-quantum key exchange algorithm.", true),
            ("** This session may be vulnerable to \"store now, decrypt later\" attacks.", true),
            ("** The server may need to be upgraded. See https://openssh.com/pq.html", true),
            ("\r", true),
            ("Host key verification failed.", false),
            ("rsync: [sender] send_files failed to open \"/s/f\": Permission denied (13)", false),
            ("sudo: a password is required", false),
            (
                "rsync: [sender] send_files failed to open \"/s/a: warning: setlocale: b\": Permission denied (13)",
                false,
            ),
            ("file has vanished: \"/s/a: warning: setlocale: b\"", false),
        ] {
            assert_eq!(is_noise(line.as_bytes()), expected, "{line}");
        }
    }
}
