# shellcheck shell=bash
# Sourced, after environment.sh, by what builds wheels: the tools in fixed versions, the options, and the profile.

MATURIN=1.16.0
ZIG=0.17.1
PROFILES=benches/profile

# make_wheel_tools PYTHON: in an environment of their own; $tools is where they are.
make_wheel_tools() {
    tools=$PWD/.venv-wheels
    [ "$(cat "$tools/.versions" 2>/dev/null)" != "$MATURIN $ZIG" ] || return 0
    rm -rf "$tools"
    "$1" -m venv "$tools"
    "$tools/$VENV_BIN/python" -m pip install --quiet --disable-pip-version-check "maturin==$MATURIN" "ziglang==$ZIG"
    printf '%s\n' "$MATURIN $ZIG" >"$tools/.versions"
}

wheel_target() { printf '%s\n' "${WHEEL_TARGET:-$(rustc -vV | sed -n 's/^host: //p')}"; }

profile_file() { printf '%s\n' "$PROFILES/$(wheel_target).profdata.xz"; }

# What the names of functions depend on, so that a profile made with another does not fit.
profile_identity() { { rustc -vV && cat Cargo.toml Cargo.lock; } | git hash-object --stdin; }

# unpack_profile FOLDER: the flag that makes the compiler use the profile, if there is one that fits.
unpack_profile() {
    local file
    file=$(profile_file)
    if [ ! -e "$file" ]; then
        printf '!!! no profile for %s: the wheels are built without\n' "$(wheel_target)" >&2
    elif [ "$(cat "$file.made-for")" != "$(profile_identity)" ]; then
        printf '!!! %s was made with another rustc, or other dependencies: the wheels are built without. scripts/profile makes one\n' \
            "$file" >&2
    else
        xz --decompress --stdout "$file" >"$1/profile.profdata"
        printf -- '-Cprofile-use=%s\n' "$1/profile.profdata"
    fi
}

# build_wheel PYTHON OUTPUT TARGET_FOLDER [FLAG…]: one wheel of the source in the working folder, without its paths.
build_wheel() {
    local python=$1 output=$2 target_folder=$3 options=(--release --locked --target "$(wheel_target)") flags separator=$'\x1f'
    shift 3
    flags=("--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo" "--remap-path-prefix=$PWD=." "$@")
    if [ "$(uname -s)" = Linux ]; then
        options+=(--zig --compatibility "${WHEEL_COMPATIBILITY:-manylinux2014}")
    fi
    (
        export CARGO_TARGET_DIR=$target_folder PATH=$tools/$VENV_BIN:$PATH CARGO_ENCODED_RUSTFLAGS
        CARGO_ENCODED_RUSTFLAGS=$(IFS=$separator && printf '%s' "${flags[*]}")
        "$tools/$VENV_BIN/maturin" build --quiet "${options[@]}" --interpreter "$(command -v "$python")" --out "$output"
    )
}
