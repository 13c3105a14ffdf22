# shellcheck shell=bash
# Sourced by ./demo and ./check, from the top of the repository: a virtual environment with this package in it, built
# in release mode, and only when something that goes into it has changed.

VENV=.venv
case "$(uname -s)" in
MINGW* | MSYS* | CYGWIN*) VENV_BIN=Scripts ;;
*) VENV_BIN=bin ;;
esac

say() { printf '\n==> %s\n' "$*" >&2; }

fail() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# The first Python that will do; $PYTHON overrides the search.
find_python() {
    local candidate version found=
    for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python3.10 python}; do
        if ! command -v "$candidate" >/dev/null 2>&1; then
            [ -z "${PYTHON:-}" ] || found+="; there is no $candidate"
            continue
        fi
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; then
            printf '%s\n' "$candidate"
            return
        fi
        version=$("$candidate" -c 'import platform
try:
    import venv, ensurepip
    print(platform.python_version())
except ImportError:
    print(platform.python_version() + " without venv")' 2>/dev/null) || continue
        found+="; $candidate is $version"
    done
    fail "needs Python 3.10 or newer with the venv module (on Debian: apt install python3-venv)${found:-; there is none}." \
        "PYTHON=/path/to/python names another one"
}

# Every CPython from 3.10 on that is here, one of each version: on PATH, and where pyenv has them. By names that say the
# version, which maturin wants where it builds for another target.
find_pythons() {
    local candidate kind seen=' '
    for candidate in python3.{10..15}{,t} "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.*/bin/python3.{10..15}{,t} \
        "$PWD"/.pythons/root/usr/bin/python3.{10..15}{,t} python3; do
        command -v "$candidate" >/dev/null 2>&1 || continue
        kind=$("$candidate" -c 'import sys, venv, ensurepip
if sys.implementation.name == "cpython" and sys.version_info >= (3, 10):
    print(sys.implementation.cache_tag + getattr(sys, "abiflags", ""))' 2>/dev/null) || continue
        [ -n "$kind" ] && [ "${seen#* "$kind" }" = "$seen" ] || continue
        seen+="$kind "
        printf '%s\n' "$(command -v "$candidate")"
    done
}

# The same in the array `pythons`: macOS has no `mapfile`.
list_pythons() {
    local python
    pythons=()
    while read -r python; do
        pythons+=("$python")
    done < <(find_pythons)
    [ ${#pythons[@]} -gt 0 ] || fail "no CPython from 3.10 on was found"
}

crate_version() { awk -F'"' '/^version = / { print $2; exit }' Cargo.toml; }

# What tells interpreters apart: kind and version, then where it is.
interpreter() {
    "$1" -c 'import sys; print(sys.implementation.cache_tag + getattr(sys, "abiflags", ""), sys.base_prefix, sys.version)' \
        2>/dev/null || true
}

require_rust() {
    command -v cargo >/dev/null 2>&1 && command -v rustc >/dev/null 2>&1 ||
        fail "needs the Rust toolchain, to build the native core: install it from https://rustup.rs"
    local wanted found
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    found=$(rustc --version | cut -d' ' -f2)
    [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ] ||
        fail "needs Rust $wanted or newer, found $found: run 'rustup update'"
    command -v cc >/dev/null 2>&1 ||
        fail "needs a C compiler and linker (on Debian: apt install build-essential; on macOS: xcode-select --install)"
}

# Without $PYTHON, the environment that is there serves whatever Python it has. With it, one of another Python is left as it
# is, and a second one is used beside it: .venv-cpython-313, say.
make_venv() {
    local python wanted
    if [ -n "${PYTHON:-}" ]; then
        python=$(find_python) || exit
        wanted=$(interpreter "$python")
        [ ! -e "$VENV" ] || [ "$(interpreter "$VENV/$VENV_BIN/python")" = "$wanted" ] || VENV=.venv-${wanted%% *}
    fi
    if ! "$VENV/$VENV_BIN/python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; then
        say "making $VENV"
        python=$(find_python) || exit
        rm -rf "$VENV"
        "$python" -m venv "$VENV"
    fi
}

# One hash over all that goes into the installed package.
sources_hash() {
    "$VENV/$VENV_BIN/python" - <<'PYTHON'
import hashlib
import pathlib

names = ["Cargo.toml", "Cargo.lock", "pyproject.toml", "constraints.txt", "README.md", "LICENSE-APACHE", "LICENSE-MIT"]
paths = [pathlib.Path(name) for name in names]
for folder in ("src", "python"):
    paths += sorted(path for path in pathlib.Path(folder).rglob("*") if path.is_file())
total = hashlib.sha256()
for path in paths:
    if "__pycache__" not in path.parts and path.suffix not in {".so", ".pyd"}:
        total.update(f"{path}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
print(total.hexdigest())
PYTHON
}

# install_package EXTRAS: what was installed with all extras will also do. What the tests are run with has the versions of
# constraints.txt (scripts/lock).
install_package() {
    local extras=$1 hash stamp options=()
    hash=$(sources_hash)
    for stamp in "$VENV/.installed-$extras" "$VENV/.installed-cli,dev"; do
        [ "$(cat "$stamp" 2>/dev/null)" = "$hash" ] && return
    done
    require_rust
    say "building the native core and installing the package (some minutes the first time)"
    rm -f "$VENV"/.installed-*
    case $extras in *dev*) options=(--constraint constraints.txt) ;; esac
    "$VENV/$VENV_BIN/python" -m pip install --quiet --disable-pip-version-check ${options[@]+"${options[@]}"} ".[$extras]" ||
        fail "the package could not be built and installed: pip says above why." \
            "The first time that takes a network, for packages of PyPI and crates of crates.io"
    printf '%s\n' "$hash" >"$VENV/.installed-$extras"
}
