#!/bin/bash
# The stock client streams from the daemon on another machine, over a network that loses nothing, a
# few datagrams, or many in a row. The two machines are network namespaces.
# usage: tests/interop/stream.sh DIR [long], where DIR holds the built programs; long is by hand
# shellcheck disable=SC2317 # the trap calls a function by its name
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[[ $EUID == 0 ]] || exec sudo --preserve-env=PYTHON "$here/stream.sh" "$@"
# shellcheck source=tests/interop/machines
source "$here/machines"

programs=$(realpath "${1:?the folder of the built programs}")
python=${PYTHON:-$here/../.venv/bin/python3}
ipv4=10.77.0.1 ipv6=fd00:5353::1
http_port=47989 video_port=47998
folder=$(mktemp -d)
processes=() failures=0 session=''

clean_up() {
    local process
    for process in "${processes[@]}"; do
        kill "$process" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    remove_machines
    rm -rf "$folder"
}
trap clean_up EXIT

fail() {
    echo "$*" >&2
    exit 1
}

for part in "$python" ip nft setpriv; do
    type "$part" >/dev/null 2>&1 || fail "$part is missing, scripts/setup test brings it"
done

eventually() { # eventually COMMAND...: within half a minute
    local end=$((SECONDS + 30))
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.1
    done
}

add_machines 10.77.0. fd00:5353::
# Each datagram is to be lost by itself.
cut_here "$host"
cut_here "$peer"

# The daemon, as an ordinary user, and the client with whom it is paired.
for part in punktfunkd punktfunkctl libavenc.so; do
    [[ -f $programs/$part ]] || fail "$programs/$part is missing: run cargo build --workspace"
    install -m 755 "$programs/$part" "$folder/$part"
done
chmod 755 "$folder"
mkdir "$folder/files" "$folder/identity"
chown 65534:65534 "$folder/files"
cat >"$folder/files/conf" <<END
StateDirectory $folder/files/state
RuntimeDirectory $folder/files/run
Http off
Mdns no
GameStream lan
Capture test
Codecs hevc h264
END

as_user() {
    ip netns exec "$host" setpriv --reuid 65534 --regid 65534 --clear-groups "$@"
}

: >"$folder/log"
# A network is tested, not a busy machine: who streams goes before others.
nice --adjustment=-10 ip netns exec "$host" setpriv --reuid 65534 --regid 65534 --clear-groups \
    "$folder/punktfunkd" -c "$folder/files/conf" >"$folder/log" 2>&1 &
processes+=("$!")

client() { # client SCRIPT ARGUMENT...
    nice --adjustment=-10 ip netns exec "$peer" "$python" "$here/../moonlight/$1" "${@:2}"
}

is_paired() {
    as_user "$folder/punktfunkctl" -s "$folder/files/run/control" pair pin 1 \
        <<<1234 >"$folder/pairing" 2>&1
}

knows_its_encoders() {
    grep --quiet 'encoders:.*h264: software' "$folder/log"
}

eventually knows_its_encoders || fail "no encoders: $(<"$folder/log")"
client peer.py "$ipv4" "$http_port" "$folder/identity" \
    <<<'["pair", "1234"]' >"$folder/paired" 2>&1 &
pairing=$!
eventually is_paired || fail "not paired: $(<"$folder/pairing") $(<"$folder/paired")"
wait "$pairing"
grep --quiet '"ok"' "$folder/paired" || fail "not paired: $(<"$folder/paired")"

# From now on the client's machine loses the datagrams of pictures for which this holds.
lose() { # lose [CONDITION]
    {
        echo 'table inet loss'
        echo 'delete table inet loss'
        echo 'table inet loss {'
        echo '    counter dropped { }'
        echo '    chain input {'
        echo '        type filter hook input priority -10; policy accept;'
        [[ -z ${1:-} ]] || echo "        udp sport $video_port $1 counter name dropped drop"
        echo '    }'
        echo '}'
    } | ip netns exec "$peer" nft --file -
}

dropped() {
    ip netns exec "$peer" nft list counter inet loss dropped | awk '$1 == "packets" { print $2 }'
}

last_session() {
    sed --quiet 's/.*session \([0-9]*\): .* launches .*/\1/p' "$folder/log" | tail -n 1
}

summary() { # what the daemon says of the last session
    sed --quiet "s/.*session $session: sent /sent /p" "$folder/log"
}

has_summary() {
    [[ -n $(summary) ]]
}

attempt() { # attempt as run; returns 2 where the client was too slow for what came
    lose "$3"
    client stream.py --host "${address:-$ipv4}" --http-port "$http_port" \
        --identity "$folder/identity" --mode "$4" --seconds "$seconds" "${@:5}" \
        >"$folder/report" 2>"$folder/errors" || true
    session=$(last_session)
    eventually has_summary || return 1
    "$python" "$here/judge.py" "$1" "$folder/report" "$(summary)" "$(dropped)" "$2" "${4##*x}" \
        2>>"$folder/errors"
}

run() { # run NAME REMEDY LOSS MODE [WORD...]: a stream, and a line that says how it was
    local status=2 left=5
    while ((status == 2 && left > 0)); do
        left=$((left - 1)) status=0
        attempt "$@" || status=$?
    done
    [[ $status != 0 ]] || return 0
    failures=$((failures + 1))
    [[ $status != 2 ]] || echo "failed  $1: the client is too slow"
    sed 's/^/        /' "$folder/errors"
    sed --quiet "s/.* session $session: /        /p" "$folder/log"
}

some='numgen random mod 100 < 2'
# Not every 16 frames: libx264 heals no loss across a wrap of frame_num, and an IDR frame begins it.
burst='numgen inc mod 700 >= 692'
# More than a frame has at these bitrates, parity included.
whole='numgen inc mod 1000 >= 940'

if [[ ${2:-} == long ]]; then
    seconds=30
    for mode in 1280x720x60 1920x1080x60; do
        name="H.264 ${mode%x*}@60"
        run "$name, no loss" ok '' "$mode"
        run "$name, 2 % random" any "$some" "$mode" --rfi
        run "$name, bursts" heal "$burst" "$mode" --rfi
        run "$name, bursts, no invalidation" idr "$burst" "$mode"
        run "$name, whole frames" heal "$whole" "$mode" --rfi
    done
    hevc=(1280x720x30 --codec hevc)
    run 'HEVC 1280x720@30, no loss' ok '' "${hevc[@]}"
    run 'HEVC 1280x720@30, 2 % random' any "$some" "${hevc[@]}"
    run 'HEVC 1280x720@30, bursts' idr "$burst" "${hevc[@]}"
else
    seconds=5
    mode=1280x720x60
    run 'no loss' ok '' "$mode"
    address="[$ipv6]" run 'no loss, IPv6' ok '' "$mode"
    run '2 % random' any "$some" "$mode"
    run '2 % random, invalidation' any "$some" "$mode" --rfi
    run 'bursts' idr "$burst" "$mode"
    run 'bursts, invalidation' heal "$burst" "$mode" --rfi
    run 'whole frames' idr "$whole" "$mode"
    run 'whole frames, invalidation' heal "$whole" "$mode" --rfi
fi
exit "$((failures > 0))"
