//! What ends a run on the way to a node: OpenSSH, and dropbear in its place.

use super::*;
use crate::transport::failure::Cause;

#[test]
fn the_way_to_a_node_by_openssh_9_2() {
    check(&[
        (
            255,
            &[CHANGED, "Host key for [127.0.0.1]:50035 has changed and you have requested strict checking.\n", LEFT],
            Cause::HostKeyChanged,
            "Host key for [127.0.0.1]:50035 has changed",
            "only then remove the old key: ssh-keygen -R \"[127.0.0.1]:50035\" -f /root/.ssh/known_hosts",
        ),
        (
            255,
            &["Host key for h has changed and you have requested strict checking.\nHost key verification failed.\n"],
            Cause::HostKeyChanged,
            "Host key for h has changed",
            "ssh-keygen -R \"h\"",
        ),
        // StrictHostKeyChecking=no, and a key that another host does not take.
        (255, &[CHANGED, DENIED, LEFT], Cause::HostKeyChanged, "@    WARNING: REMOTE HOST", "ssh-keygen -R HOST"),
        (255, &["Host key verification failed.\n", LEFT], Cause::HostKeyUnknown, "Host key ver", "log in once by hand"),
        (255, &[DENIED, LEFT], Cause::Authentication, "root@h: Permission denied (publickey", "ssh server says"),
        (
            255,
            &[
                "@@@@@@@@@@@@@@@@@@@@\n@         WARNING: UNPROTECTED PRIVATE KEY FILE!          @\n",
                "Permissions 0644 for '/root/.ssh/id' are too open.\n",
                "It is required that your private key files are NOT accessible by others.\n",
                "This private key will be ignored.\nLoad key \"/root/.ssh/id\": bad permissions\n",
                DENIED,
                LEFT,
            ],
            Cause::KeyOpen,
            "Permissions 0644 for '/root/.ssh/id' are too open.",
            "chmod 600 /root/.ssh/id",
        ),
        // Another key was taken: then this one is not what is wrong.
        (
            12,
            &["Permissions 0644 for '/k' are too open.\n", "sudo: a password is required\n", LEFT],
            Cause::Sudo,
            "sudo: a password is required",
            "NOPASSWD",
        ),
        (
            12,
            &["Load key \"/root/.ssh/id\": error in libcrypto\n", DENIED, LEFT],
            Cause::KeyUnusable,
            "Load key \"/root/.ssh/id\": error in libcrypto",
            "look at /root/.ssh/id",
        ),
        (
            255,
            &["Warning: Identity file /k not accessible: No such file or directory.\n", DENIED, LEFT],
            Cause::KeyUnusable,
            "Warning: Identity file /k not accessible",
            "make /k",
        ),
        (
            255,
            &["ssh: connect to host 127.0.0.1 port 1: Connection refused\n", LEFT],
            Cause::Unreachable,
            "ssh: connect to host 127.0.0.1 port 1: Connection refused",
            "port",
        ),
        (
            255,
            &["ssh: Could not resolve hostname nowhere.invalid: Name or service not known\n", LEFT],
            Cause::UnknownHost,
            "ssh: Could not resolve hostname nowhere.invalid",
            "correct the name",
        ),
        // A jump host that has no address.
        (
            255,
            &[
                "ssh: Could not resolve hostname nowhere.invalid: Name or service not known\n",
                "kex_exchange_identification: Connection closed by remote host\n",
                LEFT,
            ],
            Cause::UnknownHost,
            "ssh: Could not resolve",
            "",
        ),
        // MaxStartups.
        (
            255,
            &[
                "kex_exchange_identification: read: Connection reset by peer\n",
                "Connection reset by 127.0.0.1 port 14523\n",
                LEFT,
            ],
            Cause::Dropped,
            "kex_exchange_identification: read: Connection reset by peer",
            "MaxStartups",
        ),
        // MaxSessions 0.
        (
            255,
            &[
                "mux_client_request_session: session request failed: Session open refused by peer\n",
                "channel 0: open failed: connect failed: open failed\n",
                LEFT,
            ],
            Cause::NoShell,
            "channel 0: open failed",
            "raise MaxSessions",
        ),
        // A jump host that may not forward.
        (
            255,
            &[
                "channel 0: open failed: administratively prohibited: open failed\n",
                "stdio forwarding failed\n",
                "kex_exchange_identification: Connection closed by remote host\n",
                LEFT,
            ],
            Cause::Unreachable,
            "channel 0: open failed: administratively prohibited",
            "AllowTcpForwarding",
        ),
        (
            255,
            &["/root/.ssh/config: line 2: Bad configuration option: fooo\n", "/root/.ssh/config: terminating, 1 bad\n"],
            Cause::SshConfig,
            "/root/.ssh/config: line 2: Bad configuration option: fooo",
            "correct the file",
        ),
        (
            255,
            &["Bad owner or permissions on /home/u/.ssh/config\n", LEFT],
            Cause::SshConfig,
            "Bad owner or permissions on /home/u/.ssh/config",
            "let only this user write /home/u/.ssh/config",
        ),
        (
            255,
            &["Can't open user config file /x: No such file or directory\n", LEFT],
            Cause::SshConfig,
            "Can't open user config file /x",
            "--rsh",
        ),
        (
            12,
            &["WARNING: Your password has expired.\nPassword change required but no TTY available.\n", LEFT],
            Cause::AccountExpired,
            "Password change required",
            "passwd",
        ),
        (255, &["Timeout, server h not responding.\n", LEFT], Cause::Timeout, "Timeout, server h", ""),
        (255, &["exec request failed on channel 0\n", LEFT], Cause::NoShell, "exec request failed", "SFTP"),
        (
            14,
            &[
                "rsync: [sender] Failed to exec /nonexistent/ssh: No such file or directory (2)\n",
                "the node prints '[sen...' where rsync should answer\n",
                UNCLEAN,
            ],
            Cause::NoRemoteShell,
            "rsync: [sender] Failed to exec /nonexistent/ssh",
            "--rsh",
        ),
    ]);
}

#[test]
fn the_way_to_a_node_by_dropbear_2022() {
    check(&[
        (
            12,
            &[
                "\ndbclient: Connection to root@127.0.0.1:46271 exited: \n\n",
                "ssh-ed25519 host key mismatch for 127.0.0.1 !\nFingerprint is SHA256:Z4Lh4v+jec1GNTPbUf4aFwVkZRM\n",
                LEFT,
            ],
            Cause::HostKeyChanged,
            "ssh-ed25519 host key mismatch for 127.0.0.1 !",
            "only then remove 127.0.0.1 from ~/.ssh/known_hosts",
        ),
        (
            30,
            &["\nHost '127.0.0.1' is not in the trusted hosts file.\n(ssh-ed25519 fingerprint SHA256:Z4Lh)\n"],
            Cause::HostKeyUnknown,
            "Host '127.0.0.1' is not in the trusted hosts file.",
            "by hand",
        ),
        (
            30,
            &["Login for root@127.0.0.1\nPassword: \n", "rsync error: timeout in data send/receive (code 30)\n"],
            Cause::Authentication,
            "Login for root@127.0.0.1",
            "ssh key",
        ),
        (
            12,
            &["dbclient: Connection to root@127.0.0.1:1 exited: Connect failed: Connection refused\n", LEFT],
            Cause::Unreachable,
            "dbclient: Connection to root@127.0.0.1:1 exited",
            "",
        ),
        (
            12,
            &[
                "dbclient: Connection to root@n.invalid:1 exited: Connect failed: Error resolving 'n.invalid' port '1'. \
                 Name or service not known\n",
                LEFT,
            ],
            Cause::UnknownHost,
            "dbclient: Connection to root@n.invalid:1",
            "",
        ),
    ]);
}
