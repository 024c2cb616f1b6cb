#!/bin/bash
# scripts/install puts every file where it belongs, with its mode, and takes it off again.
# usage: tests/interop/install.sh DIR, where DIR holds the built programs
set -euo pipefail
programs=$(cd "${1:?the folder of the built programs}" && pwd)
cd "$(dirname "$0")/../.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
root=$folder/root

fail() {
    echo "$*" >&2
    exit 1
}

# Every file below $root, with its mode.
files() {
    [[ ! -d $root ]] || (cd "$root" && find . -type f -printf '%m %P\n' | sort -k 2)
}

expect() { # expect WHAT, and on standard input the files that must be there
    diff <(sort -k 2) <(files) || fail "$1: not the files that must be there"
}

pages() { # pages PREFIX
    local page
    for page in man/*; do
        echo "644 $1/share/man/man${page##*.}/${page##*/}"
    done
}

system_files() {
    cat <<END
644 etc/punktfunk.conf
755 usr/local/bin/punktfunkctl
755 usr/local/bin/punktfunkd
644 usr/local/lib/modules-load.d/punktfunk.conf
644 usr/local/lib/punktfunk/libavenc.so
644 usr/local/lib/sysctl.d/99-punktfunk-net.conf
644 usr/local/lib/systemd/system/punktfunkd.service
644 usr/local/lib/systemd/user/punktfunkd.service
644 usr/local/lib/udev/rules.d/60-punktfunk.rules
644 usr/local/share/doc/punktfunk/punktfunk.conf
END
    pages usr/local
}

install_here() {
    scripts/install --destdir "$root" --programs "$programs" "$@"
}

for page in punktfunkd.8 punktfunk.conf.5 punktfunkctl.8 punktfunk.7; do
    [[ -f man/$page ]] || fail "man/$page is missing"
done

install_here
system_files | expect 'installed'
"$root/usr/local/bin/punktfunkd" -V >/dev/null
"$root/usr/local/bin/punktfunkd" -t -c "$root/etc/punktfunk.conf"
install_here
system_files | expect 'installed twice'

echo '# mine' >>"$root/etc/punktfunk.conf"
install_here | grep --quiet 'kept /etc/punktfunk.conf' || fail 'an edited configuration: not told'
tail -n 1 "$root/etc/punktfunk.conf" | grep --quiet '^# mine$' || fail 'overwritten'
install_here --uninstall | grep --quiet 'kept /etc/punktfunk.conf' || fail 'kept: not told'
echo '644 etc/punktfunk.conf' | expect 'taken off, edited'

rm -r "$root"
install_here
# Every line is one that the kernel knows, and what it allows is what SocketBuffer asks for.
while read -r name is value; do
    [[ -e "/proc/sys/${name//.//}" && $is == '=' ]] || fail "$name: no limit of the kernel"
    ((value == 32 << 20)) || fail "$name: not the default of SocketBuffer"
done < <(grep --invert-match '^#' "$root/usr/local/lib/sysctl.d/99-punktfunk-net.conf")
install_here --uninstall
expect 'taken off' </dev/null

# The library for programs in C is there for those who ask for it, and as programs are built with it.
install_here --library
{
    system_files
    cat <<END
644 usr/local/include/punktfunk_core.h
644 usr/local/lib/libpunktfunk_core.a
644 usr/local/lib/libpunktfunk_core.so.1
644 usr/local/lib/pkgconfig/punktfunk_core.pc
END
} | expect 'installed with the library'
cat >"$folder/version.c" <<'END'
#include <punktfunk_core.h>
int main(void) { return punktfunk_abi_version() != PUNKTFUNK_ABI_VERSION; }
END
export PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_PATH=$root/usr/local/lib/pkgconfig
# shellcheck disable=SC2046 # what pkg-config says is several words
cc -o "$folder/version" "$folder/version.c" $(pkg-config --cflags --libs punktfunk_core)
LD_LIBRARY_PATH=$root/usr/local/lib "$folder/version" || fail 'a program in C: does not run'
grep --quiet "^version = \"$(pkg-config --modversion punktfunk_core)\"$" Cargo.toml ||
    fail 'pkg-config: another version'
install_here --library --uninstall
[[ ! -L $root/usr/local/lib/libpunktfunk_core.so ]] || fail 'a link is left'
expect 'taken off with the library' </dev/null

# Another prefix is in the units as well, and systemd and udev find what is theirs in /etc.
install_here --prefix /opt/punktfunk
for unit in system user; do
    grep --quiet '^ExecStart=/opt/punktfunk/bin/punktfunkd$' \
        "$root/etc/systemd/$unit/punktfunkd.service" || fail "$unit unit: names another program"
done
for file in udev/rules.d/60-punktfunk.rules modules-load.d/punktfunk.conf \
    sysctl.d/99-punktfunk-net.conf; do
    [[ -f $root/etc/$file ]] || fail "/etc/$file is missing"
done
install_here --prefix /opt/punktfunk --uninstall
expect 'taken off another prefix' </dev/null

# For one user, nothing lies outside the home directory.
export HOME=/home/somebody
unset XDG_CONFIG_HOME XDG_STATE_HOME
install_here --user
{
    cat <<END
644 home/somebody/.config/punktfunk/punktfunk.conf
644 home/somebody/.config/systemd/user/punktfunkd.service
755 home/somebody/.local/bin/punktfunkctl
755 home/somebody/.local/bin/punktfunkd
644 home/somebody/.local/lib/punktfunk/libavenc.so
644 home/somebody/.local/share/doc/punktfunk/punktfunk.conf
END
    pages home/somebody/.local
} | expect 'installed for a user'
install_here --user --uninstall
expect 'taken off for a user' </dev/null

for wrong in '--prefix relative' '--destdir' '--user --prefix /x' '--what'; do
    # shellcheck disable=SC2086 # each row is several words
    if scripts/install $wrong >/dev/null 2>&1; then fail "$wrong: taken"; fi
done
