#!/bin/bash
# The daemon is found by avahi on its own machine and by Python's zeroconf on another, keeps out of
# avahi's way, follows its addresses and says goodbye. The two machines are network namespaces.
# usage: tests/interop/mdns.sh DIR, where DIR holds the built programs; or PUNKTFUNKD, one of them
# shellcheck disable=SC2317 # 'check' and the trap call functions by their names
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[[ $EUID == 0 ]] || exec sudo --preserve-env=PYTHON "$here/mdns.sh" "$@"

program=$(realpath "${1:?the folder of the built programs}")
[[ ! -d $program ]] || program=$program/punktfunkd
python=${PYTHON:-$here/../.venv/bin/python3}
host=pf-host-$$ peer=pf-peer-$$
folder=$(mktemp -d)
processes=() failures=0

clean_up() {
    local process
    for process in "${processes[@]}"; do
        kill "$process" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    ip netns delete "$host" 2>/dev/null || true
    ip netns delete "$peer" 2>/dev/null || true
    rm -rf "$folder"
}
trap clean_up EXIT

need() { # need PROGRAM
    type "$1" >/dev/null 2>&1 && return
    echo "$1 is missing, scripts/setup test brings it" >&2
    exit 1
}
for part in "$program" "$python" ip dbus-daemon avahi-daemon avahi-browse nsenter setpriv; do
    need "$part"
done

verdict() { # verdict WHAT STATUS [FILE...]: one line a check, and what was seen if it failed
    if [[ $2 == 0 ]]; then
        echo "ok      $1"
    else
        echo "failed  $1"
        failures=$((failures + 1))
        sed 's/^/        /' "${@:3}" || true
    fi
}

eventually() { # eventually COMMAND...: within half a minute
    local end=$((SECONDS + 30))
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.2
    done
}

check() { # check WHAT COMMAND...
    local status=0
    eventually "${@:2}" || status=1
    verdict "$1" "$status" "$folder/seen" "$folder"/*.log
}

# The machines: one cable between them; avahi with a bus and a /run of its own on the first.
ip netns add "$host"
ip netns add "$peer"
ip -n "$host" link add eth0 type veth peer name eth0 netns "$peer"
for machine in "$host" "$peer"; do
    [[ $machine == "$host" ]] && number=1 || number=2
    ip -n "$machine" link set lo up
    ip -n "$machine" address add "192.0.2.$number/24" dev eth0
    ip -n "$machine" address add "fd00:5353::$number/64" dev eth0 nodad
    ip -n "$machine" link set eth0 up
done
ip netns exec "$host" unshare --mount sleep infinity &
holder=$!
processes+=("$holder")

on_host() {
    nsenter --target "$holder" --mount --net "$@"
}

is_other_namespace() {
    [[ $(readlink "/proc/$holder/ns/mnt") != "$(readlink /proc/self/ns/mnt)" &&
        $(</proc/"$holder"/comm) == sleep ]]
}
eventually is_other_namespace
on_host mount -t tmpfs tmpfs /run
on_host mkdir -p /run/dbus /run/avahi-daemon

cat >"$folder/avahi.conf" <<END
[server]
host-name=neighbour
use-ipv4=yes
use-ipv6=yes
END
# Programs that stay are started by exec, so that what is noted is the program itself.
stay() { # stay LOG COMMAND...
    "${@:2}" >"$folder/$1.log" 2>&1 &
    processes+=("$!")
}
stay dbus nsenter --target "$holder" --mount --net dbus-daemon --system --nofork --nopidfile
eventually on_host test -S /run/dbus/system_bus_socket
stay avahi nsenter --target "$holder" --mount --net \
    avahi-daemon --file "$folder/avahi.conf" --no-rlimits --no-drop-root --no-chroot

cp "$program" "$folder/punktfunkd"
chmod 755 "$folder" "$folder/punktfunkd"

start() { # start MACHINE NAME MDNS: the daemon, as an ordinary user; $daemon is its process
    local files=$folder/$2
    mkdir "$files"
    chown 65534:65534 "$files"
    cat >"$files/conf" <<END
HostName $2
StateDirectory $files/state
RuntimeDirectory $files/run
Http off
Mdns $3
END
    ip netns exec "$1" setpriv --reuid 65534 --regid 65534 --clear-groups \
        "$folder/punktfunkd" -c "$files/conf" >"$folder/$2.log" 2>&1 &
    daemon=$!
    processes+=("$daemon")
}

stop() {
    kill "$daemon"
    wait "$daemon" || true
}

browse() { # what avahi knows of: interface, family, name, host, address, port
    on_host timeout 5 avahi-browse --resolve --parsable --terminate _nvstream._tcp |
        awk -F ';' '$1 == "=" && $2 != "lo" { print $2, $3, $4, $7, $8, $9 }' |
        sort >"$folder/seen" || true
}

avahi_sees() { # avahi_sees FAMILY NAME ADDRESS
    browse
    grep --quiet --extended-regexp \
        "^eth0 $1 $2 punktfunk-[0-9a-f]+\.local $3 47989\$" "$folder/seen"
}

avahi_sees_none() {
    browse
    [[ ! -s $folder/seen ]]
}

seek() { # seek NAME: what zeroconf on the other machine is told
    ip netns exec "$peer" "$python" "$here/mdns.py" find "$1" >"$folder/seen" 2>&1
}

zeroconf_sees() { # zeroconf_sees NAME ADDRESS...
    seek "$1" && diff <(printf '%s\n' "${@:2}" 47989 | sort) <(sort "$folder/seen") >/dev/null
}

start "$host" alpha yes
first=$daemon
check 'avahi sees it by IPv4' avahi_sees IPv4 alpha '[0-9a-f.:]+'
check 'avahi sees it by IPv6' avahi_sees IPv6 alpha '[0-9a-f.:]+'
check 'zeroconf elsewhere sees both addresses' zeroconf_sees alpha 192.0.2.1 fd00:5353::1

is_answered() {
    ip netns exec "$peer" "$python" "$here/mdns.py" ask >"$folder/seen" 2>&1
}
check 'who asks from another port is answered there' is_answered

ip -n "$host" address add 192.0.2.9/24 dev eth0
check 'a new address is announced' zeroconf_sees alpha 192.0.2.1 192.0.2.9 fd00:5353::1

is_told() { # is_told WORD
    grep --quiet "^$1 alpha" "$folder/watch.log"
}
stay watch ip netns exec "$peer" "$python" "$here/mdns.py" watch
check 'it is there' is_told added
daemon=$first
stop
check 'its goodbye is heard' is_told removed
check 'avahi knows it no more' avahi_sees_none

mkdir "$folder/before"
mv "$folder/alpha" "$folder/before/"
start "$peer" alpha yes
second=$daemon
check 'it is seen from another machine' avahi_sees IPv4 alpha '[0-9a-f.:]+'
mv "$folder/alpha" "$folder/before/alpha-of-peer"
start "$host" alpha yes
check 'the second of a name takes another' avahi_sees IPv4 'alpha\\032\\0402\\041' '[0-9a-f.:]+'
stop
daemon=$second
stop

start "$host" silent no
is_listening() {
    on_host bash -c '</dev/tcp/127.0.0.1/47989' 2>"$folder/seen"
}
check 'without mDNS it listens' is_listening
sleep 3 # longer than it takes to probe and announce
check 'and is not seen' avahi_sees_none
stop

grep --ignore-case --extended-regexp 'conflict|collision' "$folder/avahi.log" >"$folder/seen" &&
    status=1 || status=0
verdict "avahi's name was left alone" "$status" "$folder/seen"

exit "$((failures > 0))"
