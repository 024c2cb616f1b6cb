#!/bin/bash
# A newcomer's way: root starts scripts/run, pairs, and the stock client sees a desktop and hears what
# it starts there. What that writes to /etc, /run and /var/lib, its ports and its processes are in
# name spaces of their own, and gone afterwards.
# usage: tests/interop/run.sh DIR, where DIR holds the built programs
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
[[ $EUID == 0 ]] || exec sudo --preserve-env=PYTHON,PATH "$here/run.sh" "$@"

built=$(realpath "${1:?the folder of the built programs}")
python=${PYTHON:-$here/../.venv/bin/python3}

fail() {
    echo "$*" >&2
    exit 1
}

if [[ -z ${2:-} ]]; then
    for part in "$python" ip paplay pgrep pulseaudio setpriv sox sway unshare; do
        type "$part" >/dev/null 2>&1 || fail "$part is missing, scripts/setup test brings it"
    done
    # Not in /tmp, of which there is another inside.
    folder=$(mktemp --directory /var/tmp/punktfunk-run.XXXXXX)
    trap 'rm -rf "$folder"' EXIT
    unshare --mount --net --pid --fork --kill-child --mount-proc "$0" "$built" "$folder"
    exit
fi

folder=$2
chmod 755 "$folder"
ip link set lo up
mount -t tmpfs none /run
mount -t tmpfs none /tmp
chmod 1777 /tmp
cp --archive /etc "$folder/etc"
mount --bind "$folder/etc" /etc
mkdir --parents "$folder/lib/dpkg"
mount --bind /var/lib/dpkg "$folder/lib/dpkg"
mount --rbind "$folder/lib" /var/lib
! getent passwd punktfunk >/dev/null || userdel punktfunk

# What was built already is taken for the release, and no module is loaded.
mkdir --parents "$folder/bin" "$folder/target/release"
for part in punktfunkd punktfunkctl libavenc.so; do
    [[ -f $built/$part ]] || fail "$built/$part is missing: run cargo build --workspace"
    install -m 755 "$built/$part" "$folder/target/release/$part"
done
cat >"$folder/bin/cargo" <<'END'
#!/bin/sh
[ "$*" = 'build --release --workspace --locked' ]
END
chmod 755 "$folder/bin/cargo"
ln -s /bin/false "$folder/bin/modprobe"
export CARGO_TARGET_DIR=$folder/target PATH=$folder/bin:$PATH

log=$folder/log
: >"$log"
"$here/../../scripts/run" >"$log" 2>&1 &
daemon=$!

eventually() { # eventually COMMAND...: within half a minute
    local end=$((SECONDS + 30))
    until "$@"; do
        ((SECONDS < end)) || return 1
        sleep 0.1
    done
}

has_logged() {
    grep --quiet "$1" "$log"
}

client() { # client SCRIPT ARGUMENT...
    "$python" "$here/../moonlight/$1" "${@:2}"
}

# As README tells it.
is_paired() {
    "$folder/target/release/punktfunkctl" pair pin 1 <<<1234 >"$folder/pairing" 2>&1
}

eventually has_logged 'encoders: h264: software' || fail "no encoders: $(<"$log")"
client peer.py 127.0.0.1 47989 "$folder/identity" \
    <<<'["pair", "1234"]' >"$folder/paired" 2>&1 &
pairing=$!
eventually is_paired || fail "not paired: $(<"$folder/pairing") $(<"$folder/paired")"
wait "$pairing"
# What the client types into the terminal, more than once where that is not there yet.
cat >/run/tone <<'END'
#!/bin/sh
sox -q -n -t wav - synth 60 sine 640 sine 1010 vol 0.5 channels 2 | paplay
END
chmod 755 /run/tone
client stream.py --host 127.0.0.1 --http-port 47989 --identity "$folder/identity" \
    --type 3 --text $'/run/tone\n' --seconds 7 --quit >"$folder/report" 2>"$folder/errors"

"$python" - "$folder/report" <<'END' || fail "$(<"$folder/errors") $(<"$log")"
import json
import sys

with open(sys.argv[1]) as file:
    report = json.load(file)
assert report["error"] is None, report["error"]
size = report["video"]["pictures"]["size"]
assert size == [1280, 720], size
tones = [tone["frequency"] for tone in report["audio"]["tones"]]
assert all(abs(tone / hertz - 1) < 0.02 for tone, hertz in zip(tones, [640, 1010], strict=True)), tones
END
for line in "runs as punktfunk" "session 1: display private" "first picture sent"; do
    has_logged "$line" || fail "not said: $line: $(<"$log")"
done
[[ $(stat --format=%U /var/lib/punktfunk) == punktfunk ]] || fail 'the state is not the user'"'"'s'

# Ctrl-C goes to all of the group, and the sound server is not of it: the end of the daemon ends it.
sound=$(pgrep --uid punktfunk --exact pulseaudio) || fail 'no sound server runs as punktfunk'
[[ $(ps -o pgid= "$sound") != "$(ps -o pgid= "$daemon")" ]] || fail 'Ctrl-C ends the sound server'
kill -TERM "$daemon"
wait "$daemon" || fail "ended with $?: $(<"$log")"
is_over() {
    ! pgrep --uid punktfunk >/dev/null
}
eventually is_over || fail "it is over, but not for $(pgrep --uid punktfunk --list-full)"
