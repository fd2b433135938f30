if [ "$1" -eq 0 ] && [ -d /run/systemd/system ]; then
    systemctl --system stop 'inosync@*.service' || :
fi
