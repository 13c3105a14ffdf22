#!/usr/bin/env bash
# The symbols of a crate have other names in a wheel that maturin 1.16.0 builds with --zig than in one without, as soon as a
# dependency has a build script.
#
# Guess: --zig chooses a linker; the code, and what its functions are called, stay the same.
# Behaviour: without dependencies they do. With one that has a build script the hash in the crate's symbols is another:
#   with --zig cargo is told not to use the target's settings for what runs on the host (`target-applies-to-host`), which
#   goes into the identity of everything that depends on a build script.
# Versions: maturin 1.16.0, ziglang 0.17.1 (PyPI), libc 0.2.177 (crates.io); seen with rustc 1.95.0.
# For users: a profile (`-Cprofile-use`) names functions by these symbols. Counted by a build without zig it is used for the
#   crates that have no build script below them, and without a word for no other: count with --zig, and `-Clinker=cc`.
#
# Output seen:
#   no dependency: the same symbol
#   libc: another symbol
set -euo pipefail
command -v cargo > /dev/null || { echo "needs cargo and rustc" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check maturin==1.16.0 ziglang==0.17.1
export PATH=$work/venv/bin:$PATH
target=$(rustc -vV | sed -n 's/^host: //p')
mkdir -p "$work/crate/src"
cd "$work/crate"
cat > src/main.rs <<'RUST'
#[inline(never)]
fn work(n: u64) -> u64 {
    (0..n).fold(1, |sum, i| sum.wrapping_mul(i | 1) ^ i)
}

fn main() {
    println!("{}", work(std::env::args().count() as u64));
}
RUST

symbol() {
    CARGO_TARGET_DIR="$work/target$*" maturin build --quiet --release --target "$target" --bindings bin \
        --compatibility linux --out "$work/out" "$@" > "$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
    strings -a "$work/target$*/$target/release/counted" | grep -o '_ZN7counted4work.*'
}

compare() {
    printf '[package]\nname = "counted"\nversion = "0.1.0"\nedition = "2021"\n[profile.release]\nstrip = "none"\n%s\n' \
        "$2" > Cargo.toml
    local plain zig
    plain=$(symbol)
    zig=$(symbol --zig)
    if [ "$plain" = "$zig" ]; then echo "$1: the same symbol"; else echo "$1: another symbol"; fi
}

seen=$(compare "no dependency" ""; compare libc $'[dependencies]\nlibc = "=0.2.177"')
printf '%s\n' "$seen"
expected='no dependency: the same symbol
libc: another symbol'
[ "$seen" = "$expected" ] || { printf 'CHANGED; it was:\n%s\n' "$expected" >&2; exit 1; }
