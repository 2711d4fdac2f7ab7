#!/bin/sh
# The dead-man's switch: powers off past the deadline. Run by a timer that survives a reboot; needs nothing but a shell.
# Where the Python part is installed it decides, for it knows of a deadline that was moved. Whatever cannot be told,
# such as a deadline that is no number, ends the machine.
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
home=${FIFTY_HOME:-/opt/fifty} state=${FIFTY_STATE:-/var/lib/fifty}

if [ -f "$home/infra/node/deadman.py" ]; then
    cd "$home" && timeout 50 /usr/bin/python3 -B -m infra.node.deadman && exit 0
    echo "fifty: the Python part of the switch failed; the shell decides" >&2
fi

deadline=$(cat "$home/deadline")
# Launched by hand, a machine has little time until its set-up says when the head was launched, whose life it shares.
life=$(cat "$home/life" 2>/dev/null)
launched=$(cat "$state/marks/launched" 2>/dev/null)
if [ -n "$life" ] && [ "$launched" -gt 0 ] && [ "$launched" -le "$(cat "$state/booted")" ]; then
    deadline=$((launched + life))
fi 2>/dev/null
if ! [ "$(date +%s)" -lt "$deadline" ]; then
    echo "fifty: the deadline has been reached; powering off"
    shutdown -h now
fi
