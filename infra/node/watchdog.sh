#!/bin/sh
# Has the watchdog look once; the timer calls it again and again.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH
cd "${FIFTY_HOME:-/opt/fifty}" && exec timeout 170 /usr/bin/python3 -B -m infra.node.watchdog
