#!/bin/bash
# The data plane of punktfunk/1 between two machines, over a network that loses nothing, a few
# datagrams, or many in a row: everything that is sent arrives, is recovered, or is named. The two
# machines are network namespaces.
# usage: tests/interop/native.sh DIR [long], where DIR holds the built programs; long is by hand, and
# wants a release build: seconds and rates are those that the daemon is to carry
# shellcheck disable=SC2317 # the trap calls a function by its name
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[[ $EUID == 0 ]] || exec sudo "$here/native.sh" "$@"
# shellcheck source=tests/interop/machines
source "$here/machines"

programs=$(realpath "${1:?the folder of the built programs}")
port=9778
folder=$(mktemp -d)
failures=0 receiver=''

clean_up() {
    [[ -z $receiver ]] || kill "$receiver" 2>/dev/null || true
    wait 2>/dev/null || true
    remove_machines
    rm -rf "$folder"
}
trap clean_up EXIT

fail() {
    echo "$*" >&2
    exit 1
}

for part in python3 ip nft tc; do
    type "$part" >/dev/null 2>&1 || fail "$part is missing, scripts/setup test brings it"
done
bench=$programs/punktfunk-bench
[[ -x $bench ]] || fail "$bench is missing: run cargo build --workspace"

add_machines 10.78.0.

# What the network drops, in the way of nft(8); nothing without one. Or what else it does.
network() { # network [RULE [ACTION]]
    ip netns exec "$peer" nft flush ruleset
    [[ -n ${1:-} ]] || return 0
    ip netns exec "$peer" nft -f - <<END
table inet loss {
    counter dropped {}
    chain in {
        type filter hook input priority -10; policy accept;
        udp dport $port udp length > 200 $1 counter name dropped ${2:-drop}
    }
}
END
}

dropped() {
    ip netns exec "$peer" nft --json list counters 2>/dev/null |
        python3 -c 'import json, sys
counters = [it["counter"] for it in json.load(sys.stdin)["nftables"] if "counter" in it]
print(sum(it["packets"] for it in counters))'
}

# Streams, and judges by a condition on sent (s), received (r) and dropped by the network (d).
stream() { # stream TITLE CONDITION SEND-OPTION...
    local title=$1 condition=$2 sender
    shift 2
    ip netns exec "$peer" "$bench" receive "10.78.0.2:$port" --patience 20 "${receive_options[@]}" \
        >"$folder/received" &
    receiver=$!
    until [[ -n $(ip netns exec "$peer" ss -Hlun "sport = :$port") ]]; do sleep 0.05; done
    ip netns exec "$host" "$bench" send "10.78.0.2:$port" "$@" >"$folder/sent" &
    sender=$!
    [[ -z ${while_streaming:-} ]] || "$while_streaming"
    wait "$sender" && wait "$receiver" || failures=$((failures + 1))
    receiver=''
    python3 - "$title" "$condition" "$folder" "$(dropped)" <<'END' || failures=$((failures + 1))
import json, sys
title, condition, folder, dropped = sys.argv[1:]
s = json.load(open(f"{folder}/sent"))
r = json.load(open(f"{folder}/received"))
d = int(dropped)
named = sum(last - first + 1 for first, last in r["lost"])
faults = [
    text
    for text, holds in {
        "no access unit is wrong": r["wrong"] == 0,
        "nothing is refused": r["refused"] == 0,
        "timers pace where no discipline keeps times": not s["is_paced_by_kernel"],
        "what was sent is known": r["sent_access_units"] == s["access_units"],
        "each lost access unit is named once": named == r["lost_access_units"]
        and len({first for first, _ in r["lost"]}) == len(r["lost"]),
        "every access unit arrived or is named":
            r["access_units"] + r["lost_access_units"] == s["access_units"],
        "every packet arrived or is counted":
            r["packets"] + r["packets_dropped"] == r["numbers"] > r["sent_packets"],
        condition: eval(condition),
    }.items()
    if not holds
]
print(
    f"{title}: {s['kbps'] / 1000:.0f} Mbit/s, {r['access_units']} of {s['access_units']} access units, "
    f"{r['packets_dropped']} of {r['sent_packets']} packets lost, {r['recovered']} shards recovered, "
    f"delay {r['delay_us']['p50']:.0f}/{r['delay_us']['p99']:.0f} us, "
    f"departures late {s['late_us']['p50']:.1f}/{s['late_us']['p99']:.1f} us, "
    f"core {s['core']:.2f} and {r['core']:.2f}"
)
for fault in faults:
    print(f"    not so: {fault}\n    {s}\n    {r}\n    of the network: {d}")
sys.exit(bool(faults))
END
}

# Keeps the rate of the last stream, if nothing of it was lost and it is the highest so far.
lossless=0
note_lossless() {
    local kbps
    kbps=$(python3 - "$folder" <<'END'
import json, sys
s, r = (json.load(open(f"{sys.argv[1]}/{name}")) for name in ("sent", "received"))
lost = r["packets_dropped"] + r["lost_access_units"] + s["packets_send_dropped"]
print(0 if lost else s["kbps"])
END
    )
    ((kbps > lossless)) && lossless=$kbps
}

receive_options=()
seconds=2 rate=200M
if [[ ${2:-} == long ]]; then
    seconds=10 rate=1G
fi
none='r["lost_access_units"] == 0'
network
cut_late "$host"
stream 'nothing lost' "$none and r['packets_dropped'] == 0" \
    --rate "$rate" --fps 60 --seconds "$seconds"
stream 'nothing lost, 240 a second' "$none and r['packets_dropped'] == 0" \
    --rate "$rate" --fps 240 --seconds "$seconds"
if [[ ${2:-} == long ]]; then
    for faster in 2500 5000; do
        stream "$faster Mbit/s" \
            "$none and r['packets_dropped'] == 0 and s['kbps'] > 0.97 * 1000 * $faster" \
            --rate "${faster}M" --fps 240 --seconds "$seconds"
        note_lossless || true
    done
    # Of what is beyond these nothing is asked but to tell how far it goes.
    for faster in 6000 7000 8000 9000 10000 12000 14000; do
        stream "$faster Mbit/s, if it can be" True --rate "${faster}M" --fps 240 --seconds "$seconds"
        note_lossless || break
    done
    echo "highest rate without loss: $((lossless / 1000)) Mbit/s"
fi
cut_here "$host"
exact='r["packets_dropped"] == d > 0'
network 'numgen random mod 100 < 1'
stream '1 %' "$none and $exact and r['recovered'] > 0" --rate "$rate" --seconds "$seconds"
network 'numgen random mod 100 < 5'
stream '5 %' "$none and $exact and r['recovered'] > 0" --rate "$rate" --seconds "$seconds"
network 'numgen inc mod 1000 < 20'
stream '20 in a row' "$none and $exact and r['recovered'] > 0" --rate "$rate" --seconds "$seconds"
# More in a row than an access unit has parity: those that are hit are lost, and no others.
network 'numgen inc mod 5000 < 400'
stream '400 in a row' "0 < r['lost_access_units'] < 0.5 * s['access_units'] and $exact" \
    --rate "$rate" --seconds "$seconds"

# A receiver that does not keep up loses what its buffer does not hold, and says so. The kernel counts
# messages, which are datagrams where they are cut in front of the cable.
hold_up() {
    sleep 1
    kill -STOP "$receiver"
    sleep 0.3
    kill -CONT "$receiver"
}
network
while_streaming=hold_up receive_options=(--buffer 0)
stream 'receiver held up' \
    "r['packets_dropped'] == r['kernel_dropped'] > 0 and s['packets_send_dropped'] == 0" \
    --rate "$rate" --seconds "$seconds"
while_streaming='' receive_options=()

# A sender whose way out is slow for a while loses what its buffer does not hold, and says so.
way_out() { # way_out VERB RATE
    ip netns exec "$host" tc qdisc "$1" dev eth0 root tbf rate "$2" burst 64kb limit 8mb
}
slow_down() {
    sleep 0.5
    way_out change 20mbit
    sleep 0.7
    way_out change 2gbit
}
way_out add 2gbit
while_streaming=slow_down
stream 'sender held up' \
    "r['packets_dropped'] == s['packets_send_dropped'] > 0 and r['kernel_dropped'] == 0" \
    --rate 100M --seconds 2 --buffer 0
while_streaming=''
ip netns exec "$host" tc qdisc delete dev eth0 root

# Whoever is on a full way marks datagrams, which is told. pfifo keeps no times, as tbf does not.
network 'ip ecn ect0 numgen random mod 100 < 10' 'ip ecn set ce'
ip netns exec "$host" tc qdisc add dev eth0 root pfifo
stream 'marked on the way' "$none and r['marked'] == d > 0 and r['markable'] >= r['packets']" \
    --rate "$rate" --seconds "$seconds"

[[ $failures == 0 ]] || fail "$failures failed"
