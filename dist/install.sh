#!/bin/sh
# Installs vmkit-agent: fetches the release for this machine, verifies its SHA-256, then runs its own
# `install` command. Made to be piped:
#
#   curl -fsSL https://github.com/vmkit/vmkit-agent/releases/latest/download/install.sh |
#       sudo sh -s -- --token-file FILE
#
# Nothing runs before the last line, so an incomplete download of this script does nothing.

releases=https://github.com/vmkit/vmkit-agent/releases
# The minisign key that SHA256SUMS is signed with; make dist RELEASE_PUBKEY=... fills it in.
release_key=''

usage() {
    cat <<'END'
usage: install.sh [OPTION]...
  --version VERSION    install that release (default: the latest)
  --base-url URL       the folder that has the release files; https:, or http: to loopback
  --binary FILE        install this file, without a download; a SHA256SUMS next to it is checked
  --token-file FILE    read the agent token from FILE; or set VMKIT_AGENT_TOKEN
  --token-stdin        read it from standard input (not with `curl ... | sh`: that is the script)
  --gateway-url URL    the gateway that the agent dials
  --ca-file FILE       certificates that the agent trusts in addition to the bundled public roots
  --no-start           install and enable, but do not start
  --dry-run            fetch and verify, then print what would be done; change nothing
  --uninstall          remove the program and service; --purge: configuration and state too
HTTPS_PROXY and NO_PROXY are used for the download, and copied to the agent's configuration.
END
}

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

has() {
    command -v "$1" >/dev/null 2>&1
}

main() {
    set -eu
    version='' base='' binary='' dry_run='' uninstall='' purge=''
    # Arguments for vmkit-agent are appended to "$@" again; after the loop "$@" holds nothing else.
    count=$#
    while [ "$count" -gt 0 ]; do
        option=$1
        shift
        count=$((count - 1))
        case $option in
        --version | --base-url | --binary | --token-file | --gateway-url | --ca-file)
            if [ "$count" -eq 0 ] || [ -z "$1" ]; then fail "$option needs a value; see --help"; fi
            value=$1
            shift
            count=$((count - 1))
            ;;
        esac
        case $option in
        --version) version=${value#v} ;;
        --base-url) base=${value%/} ;;
        --binary)
            case $value in
            */*) binary=$value ;;
            *) binary=./$value ;;
            esac
            ;;
        --token-file | --gateway-url | --ca-file) set -- "$@" "$option" "$value" ;;
        --token-stdin | --no-start) set -- "$@" "$option" ;;
        --dry-run) dry_run=--dry-run ;;
        --uninstall) uninstall=yes ;;
        --purge) purge=--purge ;;
        --help | -h) usage && return ;;
        --token) fail "no --token: other users on this machine could read it in the process list; use VMKIT_AGENT_TOKEN, --token-file or --token-stdin" ;;
        # Other arguments are not printed: one may be a token.
        --*=*) fail "unknown argument; see --help" ;;
        --*) fail "unknown argument $option; see --help" ;;
        *) fail "unknown argument; see --help" ;;
        esac
    done
    [ -z "$purge" ] || [ -n "$uninstall" ] || fail "--purge goes with --uninstall"
    [ "$(uname -s)" = Linux ] || fail "this is $(uname -s); vmkit-agent is for Linux"
    if [ "$(id -u)" -ne 0 ] && [ -z "$dry_run" ]; then
        fail "only root can install; run it as: curl ... | sudo sh -s -- --token-file FILE"
    fi

    if [ -n "$uninstall" ]; then
        [ $# -eq 0 ] || fail "--uninstall takes --purge, --dry-run and --binary only"
        : "${binary:=/usr/local/bin/vmkit-agent}"
        [ -x "$binary" ] || fail "$binary does not exist, and only the program can uninstall; name another copy with --binary FILE"
        exec "$binary" uninstall ${purge:+"$purge"} ${dry_run:+"$dry_run"}
    fi

    case $(uname -m) in
    # `processor` is the byte of an ELF file that names the processor.
    x86_64 | amd64) arch=amd64 processor='>' ;;
    aarch64 | arm64) arch=arm64 processor='\0267' ;;
    # armv8l: a 32-bit system on a 64-bit processor.
    armv7l | armv8l) arch=armv7 processor='(' ;;
    riscv64) arch=riscv64 processor='\0363' ;;
    arm*) fail "no release for $(uname -m): 32-bit ARM needs ARMv7, as in a Raspberry Pi 2 or later" ;;
    *) fail "no release for $(uname -m): there are amd64, arm64, armv7 and riscv64" ;;
    esac
    name=vmkit-agent-linux-$arch

    make_work
    if [ -n "$binary" ]; then
        take_binary
    else
        fetch_release
    fi
    chmod 755 "$work/$name"
    shown=${binary:-${base:-}/$name}
    if is_foreign "$work/$name"; then fail "$shown is not a linux-$arch binary; take the one for this machine"; fi
    said=$("$work/$name" --version 2>&1) ||
        fail "$shown does not run here: $(echo "$said" | head -n 1); is it a vmkit-agent?"
    case "$said " in
    "vmkit-agent ${version:+"$version "}"*) ;;
    *) fail "$shown says it is \"$said\", not vmkit-agent $version; check the release" ;;
    esac
    # The program prints its own errors.
    "$work/$name" install "$@" ${dry_run:+"$dry_run"}
}

# Makes the folder $work, in which programs can run: some machines mount /tmp noexec.
make_work() {
    work=
    trap 'rm -rf "${work:-}"' EXIT
    trap 'exit 130' INT TERM HUP
    for folder in "${TMPDIR:-/tmp}" /var/tmp /run /root; do
        work=$(mktemp -d "$folder/vmkit-install.XXXXXX" 2>/dev/null) || continue
        printf '#!/bin/sh\n' >"$work/probe" 2>/dev/null && chmod 700 "$work/probe" &&
            "$work/probe" 2>/dev/null && return
        rm -rf "$work"
    done
    work=
    fail "no folder to work in: ${TMPDIR:-/tmp}, /var/tmp, /run and /root are full, read-only or noexec; set TMPDIR"
}

take_binary() {
    [ -f "$binary" ] || fail "no such file: $binary; check --binary"
    # Copies that no other user can change: the verified file is the installed file.
    cp "$binary" "$work/$name" || fail "can't copy $binary to $work; is there room?"
    sums=$(dirname "$binary")/SHA256SUMS
    [ -f "$sums" ] || return 0
    for file in "$sums" "$sums.minisig"; do
        [ ! -f "$file" ] || cp "$file" "$work/" || fail "can't copy $file to $work; is there room?"
    done
    check_signature "$sums"
    verify "${binary##*/}" "$sums" "$sums lists no file named ${binary##*/}; use the original file name"
}

# is_foreign FILE: whether FILE is a program for another kind of processor.
is_foreign() {
    [ "$(head -c 4 "$1" | tail -c 3)" = ELF ] &&
        [ "$(head -c 19 "$1" | tail -c 1)" != "$(printf %b "$processor")" ]
}

fetch_release() {
    if [ -z "$base" ]; then
        base=$releases/latest/download
        [ -z "$version" ] || base=$releases/download/v$version
    fi
    case $base in
    # Every user of this machine could read the password among curl's arguments.
    *@*) fail "--base-url has a user or password in it; serve the files without a password" ;;
    https://*) protocols='=https' ;;
    http://*)
        host=${base#http://}
        host=${host%%/*}
        # For tests, and for a mirror on this machine.
        case $host in
        127.*[!0-9.:]*) fail "--base-url names no host: $host" ;;
        127.* | localhost | localhost:* | \[::1\] | \[::1\]:*) protocols='=http,https' ;;
        *) fail "--base-url must be https:// (http:// only to a loopback address)" ;;
        esac
        ;;
    *) fail "--base-url must be https://" ;;
    esac
    # wget knows only the lower-case names.
    if [ -n "${HTTPS_PROXY:-}" ] && [ -z "${https_proxy:-}" ]; then export https_proxy="$HTTPS_PROXY"; fi
    if [ -n "${NO_PROXY:-}" ] && [ -z "${no_proxy:-}" ]; then export no_proxy="$NO_PROXY"; fi
    if has curl; then
        fetcher=curl
    elif has wget; then
        fetcher=wget
    else
        fail "curl and wget are not installed; install one of them, or fetch $base/$name elsewhere and use --binary FILE"
    fi
    fetch "$base/SHA256SUMS" "$work/SHA256SUMS"
    if [ -n "$release_key" ] && has minisign; then fetch "$base/SHA256SUMS.minisig" "$work/SHA256SUMS.minisig"; fi
    check_signature "$base/SHA256SUMS"
    fetch "$base/$name" "$work/$name"
    verify "$name" "$base/SHA256SUMS" "$base/SHA256SUMS has no line for $name; is it a login page, or another release?"
}

# check_signature SUMS: fails unless the release key signed the checksums. SUMS is their name in messages.
check_signature() {
    [ -n "$release_key" ] || return 0
    if ! has minisign; then
        echo "install.sh: minisign is not installed, so the signature of SHA256SUMS was not checked" >&2
        return 0
    fi
    [ -f "$work/SHA256SUMS.minisig" ] || fail "$1 is not signed: there is no $1.minisig; check the release"
    minisign -V -q -P "$release_key" -m "$work/SHA256SUMS" >/dev/null 2>&1 ||
        fail "bad signature: $1 is not signed with the release key. Nothing was changed. The files are damaged or not from this release."
}

# fetch URL FILE: downloads URL to FILE.
fetch() {
    status=0
    case $fetcher in
    curl)
        curl --proto "$protocols" --fail --silent --show-error --location --connect-timeout 20 \
            --retry 2 --max-time 600 --output "$2" "$1" 2>"$work/said" || status=$?
        ;;
    wget)
        LC_ALL=C wget -t 3 -T 30 -O "$2" "$1" 2>"$work/said" || status=$?
        # busybox's own TLS: anyone on the way could send a false file with its checksum.
        if grep -q 'certificate validation not implemented' "$work/said"; then
            fail "this wget checks no certificates; install curl, or fetch $1 elsewhere and use --binary FILE"
        fi
        # wget also follows a redirect from https to http.
        if [ "$protocols" = '=https' ] && grep -q -i '^location: *http:' "$work/said"; then
            fail "$1 redirects to http://, without TLS; check the URL"
        fi
        ;;
    esac
    if [ "$status" -ne 0 ]; then
        why=$(grep -i -e error -e failed -e unable -e refused -e resolve -e 'bad address' "$work/said" | tail -n 1)
        host=${1#*://}
        host=${host%%/*}
        host=${host%:*}
        advice="; check the URL, DNS, HTTPS_PROXY and outbound port 443"
        case $why in
        # The line may hold the user and password of a proxy.
        *@*) why='' ;;
        *'error: 404'* | *'ERROR 404'* | *'1.1 404 '*) why="HTTP 404: no such release at this URL" advice='' ;;
        # Only the URL's host: else the unresolved name is the proxy's.
        *"resolve host: $host"* | *"address '$host'"*)
            why="could not resolve $host" advice="; check the URL and DNS, or set HTTPS_PROXY"
            ;;
        esac
        fail "can't fetch $1: ${why:-$fetcher ended with status $status}$advice"
    fi
    [ -s "$2" ] || fail "$1 is empty; check the release"
}

# verify NAME SUMS MISSING: fails unless the program in $work has the checksum that SHA256SUMS lists for
# NAME. SUMS is that file's name in messages, MISSING the message if NAME is not listed.
verify() {
    wanted=$(tr -d '\r' <"$work/SHA256SUMS" | while read -r sum file || [ -n "$sum" ]; do
        if [ "${file#\*}" = "$1" ]; then echo "$sum"; fi
    done | head -n 1 | tr A-F a-f)
    case ${#wanted}:$wanted in
    64:*[!0-9a-f]*) wanted='' ;;
    64:*) ;;
    *) wanted='' ;;
    esac
    [ -n "$wanted" ] || fail "$3"
    if has sha256sum; then
        found=$(sha256sum <"$work/$name")
    elif has shasum; then
        found=$(shasum -a 256 <"$work/$name")
    elif has openssl; then
        found=$(openssl dgst -sha256 -r <"$work/$name")
    else
        fail "can't verify $1: sha256sum, shasum and openssl are not installed; install coreutils"
    fi
    found=${found%% *}
    [ "$found" = "$wanted" ] ||
        fail "checksum mismatch: $1 is $found, $2 says $wanted. Nothing was changed. The file is damaged or not from this release."
}

{ main "$@"; exit "$?"; }
