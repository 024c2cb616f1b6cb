#!/bin/bash
# Chromium decodes what the daemon encodes: five seconds of H.264, recorded by the stock client.
# usage: tests/interop/webcodecs.sh DIR, where DIR holds the built programs
set -euo pipefail
programs=$(cd "${1:?the folder of the built programs}" && pwd)
cd "$(dirname "$0")/../.."

width=1280 height=720 client=rsa-2048 port=$((10010 + $$ % 440 * 50))
vectors=tests/vectors/certificates
python=tests/.venv/bin/python3
folder=$(mktemp -d)
daemon=''
clean_up() {
    [[ -z $daemon ]] || { kill "$daemon" && wait "$daemon"; } || true
    rm -rf "$folder"
}
trap clean_up EXIT

need() { # need PROGRAM OR FILE, WHAT BRINGS IT
    type "$1" >/dev/null 2>&1 || [[ -f $1 ]] || {
        echo "$1 is missing, $2 brings it" >&2
        exit 1
    }
}
for part in "$python" chromium node tests/webcodecs/node_modules/playwright-core/package.json; do
    need "$part" 'scripts/setup test'
done
need "$programs/libavenc.so" 'cargo build --workspace'

# The daemon and the client have met before.
mkdir "$folder/state" "$folder/client"
cp "$programs"/{punktfunkd,libavenc.so} "$folder"
cp "$vectors/host.key.pem" "$folder/state/gamestream_key.pem"
cp "$vectors/host.pem" "$folder/state/gamestream_cert.pem"
cp "$vectors/$client.key.pem" "$folder/client/key.pem"
cp "$vectors/$client.pem" "$folder/client/cert.pem"
echo 0123456789ABCDEF >"$folder/client/unique_id"
echo 6F1C2A54-9B1B-4B0E-9E8A-0A5B6C7D8E9F >"$folder/state/host_id"
"$python" - "$vectors/$client.pem" >"$folder/state/clients.json" <<'END'
import json, sys

client = {"name": "browser", "protocol": "gamestream", "paired_unix_s": 1_700_000_000}
client["certificate"] = open(sys.argv[1]).read()
print(json.dumps({"version": 1, "clients": [client]}))
END
cat >"$folder/conf" <<END
StateDirectory $folder/state
RuntimeDirectory $folder/run
GameStreamPort $port
Listen 127.0.0.1
Http off
Mdns no
Capture test
Encoder software
END
chmod 755 "$folder"
chmod 700 "$folder/state"
chmod 600 "$folder"/state/*
as=()
if [[ $EUID == 0 ]]; then
    chown -R nobody:nogroup "$folder"
    as=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
fi
"${as[@]}" "$folder/punktfunkd" -c "$folder/conf" 2>"$folder/log" &
daemon=$!
for _ in {1..100}; do
    [[ -S $folder/run/control ]] || sleep 0.1
done

"$python" tests/moonlight/stream.py --host 127.0.0.1 --http-port "$port" \
    --identity "$folder/client" --mode "${width}x${height}x60" --bitrate 10000 --seconds 5 --idr 2 \
    --record "$folder/stream.h264" >"$folder/report"
count=$("$python" -c '
import json, sys

report = json.load(open(sys.argv[1]))
if report["error"]:
    sys.exit(json.dumps(report["error"]))
print(report["video"]["access_unit_count"])
' "$folder/report") || {
    cat "$folder/log" >&2
    exit 1
}
node tests/webcodecs/check.mjs "$folder/stream.h264" "$width" "$height" "$count"
