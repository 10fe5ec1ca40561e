#!/bin/sh
# Proves that `shared` needs no operating system: builds it for a microcontroller.
# Takes the standard library's source from Debian's rust-web-src, so no toolchain is downloaded.
set -eu
cd "$(dirname "$0")/.."
if [ ! -d "$(/usr/bin/rustc --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library/core" ]; then
    echo "skipped: Debian's rustc-web and rust-web-src are not installed"
    exit 0
fi
for features in "" alloc; do
    RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=target/bare-metal \
        cargo build --quiet -Z build-std=core,alloc --target thumbv7em-none-eabihf \
        --package bramble-shared --no-default-features --features "$features"
done
echo "shared builds for thumbv7em-none-eabihf, with and without alloc"
