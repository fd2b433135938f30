# Makes the user inosync and its directories. Enables and starts no mirror: there is no configuration yet.
systemd-sysusers inosync.conf || :
systemd-tmpfiles --create inosync.conf || :
if [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload || :
    # After an upgrade, restarts the running mirrors with the new version, each when it has sent its pending changes.
    if [ "$1" -gt 1 ]; then
        systemctl --system --no-block try-restart 'inosync@*.service' || :
    fi
fi
