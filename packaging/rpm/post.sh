# Makes the user and its directories. No mirror is enabled or started: there is no configuration yet.
systemd-sysusers inosync.conf || :
systemd-tmpfiles --create inosync.conf || :
if [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload || :
    # After an upgrade those that run go on as the new version, each as soon as it has sent what is pending.
    if [ "$1" -gt 1 ]; then
        systemctl --system --no-block try-restart 'inosync@*.service' || :
    fi
fi
