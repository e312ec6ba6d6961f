#!/usr/bin/env bash
# Installs what building and testing Deskhand needs besides Rust, and only what is missing.
#
#   tests/setup.sh        everything, for `make test`
#   tests/setup.sh demo   without what only the tests need, for `make demo`
#   tests/setup.sh flags  no set-up: prints the flags that cargo needs on this machine
#
# Debian and Ubuntu packages come from apt (with sudo unless root); the tests' Python packages go to
# .venv in the repository, their Node packages to tests/node/node_modules, Prometheus' promtool to .tools.
# Safe to run again: it then only looks.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*"; }
fail() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

# The bindings that come with env-libvpx-sys end with libvpx 1.13; for a newer one they are made with
# libclang.
newer_vpx() {
  local found
  found=$(pkg-config --modversion vpx 2>/dev/null) || return 1
  [[ $(printf '%s\n' 1.13.99 "$found" | sort -V | head -n 1) == 1.13.99 ]]
}

what=${1:-test}
case $what in demo | test) ;; flags)
  if newer_vpx; then echo "--features codec/generate-vpx"; fi
  exit 0
  ;;
*) fail "unknown argument '$what'; see the first lines of $0" ;; esac

packages=(
  build-essential # C and C++ of the bundled SQLite, OpenH264, dav1d, zstd and libjpeg-turbo
  cmake           # libjpeg-turbo's build
  meson           # dav1d's build
  ninja-build     # dav1d's build
  nasm            # the assembly of OpenH264, dav1d and libjpeg-turbo; much slower without
  pkg-config      # finds libvpx
  libvpx-dev      # VP8 and VP9
  xvfb            # an X11 display where there is no screen
  openbox         # its window manager
  xterm           # something to see on it
  xauth           # access to it for its owner only
)
if [[ $what == test ]]; then
  packages+=(
    python3         # the independent peer of tests/pyref
    python3-venv    # its packages
    x11-utils       # xprop, xwininfo, xev: what the X server says
    x11-xserver-utils # xrandr, xset: changing it
    xdotool         # input and pointer as an X client sees them
    xclip           # the clipboard as an X client sees it
    iproute2        # addresses inside a test's own network namespace
  )
  # Brings the packages of tests/node, a Node of its own among them; many machines have it from elsewhere.
  command -v npm >/dev/null || packages+=(npm)
fi

installed() { [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

install_packages() {
  install_missing
  # Known only once libvpx is there.
  if newer_vpx; then
    packages=(libclang-dev)
    install_missing
  fi
}

install_missing() {
  local missing=() package
  for package in "${packages[@]}"; do
    installed "$package" || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  local root=()
  if ((EUID)); then
    command -v sudo >/dev/null ||
      fail "as root, please: apt-get install --no-install-recommends ${missing[*]}"
    root=(sudo)
  fi
  say "installing ${missing[*]}"
  local apt=("${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
  "${apt[@]}" update
  "${apt[@]}" install -y --no-install-recommends "${missing[@]}" </dev/null >/dev/null
}

system() {
  if [[ -n ${IN_NIX_SHELL:-} ]]; then
    return 0 # the flake's dev shell brings them
  elif [[ -e /etc/NIXOS ]]; then
    fail "on NixOS: nix develop, and again in there"
  elif command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
    install_packages
  else
    say "no apt here: the equivalents of these Debian packages are taken to be installed:"
    say "  ${packages[*]}"
  fi
}

rust() {
  command -v cargo >/dev/null || fail "Rust is missing: https://rustup.rs"
  local wanted found
  wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
  found=$(rustc --version | cut -d' ' -f2)
  [[ $(printf '%s\n' "$wanted" "$found" | sort -V | head -n 1) == "$wanted" ]] ||
    fail "Rust $found is too old, $wanted or newer is needed: rustup update"
}

# Made anew when the requirements change.
venv() {
  local made=.venv/requirements.txt python
  cmp -s tests/pyref/requirements.txt "$made" && [[ -x .venv/bin/python ]] && return 0
  for python in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      say "installing the Python packages of tests/pyref into .venv"
      rm -rf .venv
      "$python" -m venv .venv
      .venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/pyref/requirements.txt
      cp tests/pyref/requirements.txt "$made"
      return 0
    fi
  done
  fail "Python 3.11 or newer with venv is needed"
}

# Made anew when the lock file changes. Nothing that a package would run is run.
node_packages() {
  local folder=tests/node made=tests/node/node_modules/.made-from.json
  cmp -s $folder/package-lock.json $made && return 0
  command -v npm >/dev/null || fail "npm is missing"
  say "installing the Node packages of tests/node"
  npm ci --prefix $folder --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
  cp $folder/package-lock.json $made
}

# Prometheus' package would start a server; only its checker is wanted.
promtool() {
  [[ -x .tools/usr/bin/promtool ]] && return 0
  command -v promtool >/dev/null && return 0
  if [[ -n ${IN_NIX_SHELL:-} ]] || ! command -v dpkg >/dev/null; then
    say "promtool is taken to be installed"
    return 0
  fi
  say "unpacking promtool into .tools"
  local folder
  folder=$(mktemp -d)
  (cd "$folder" && apt-get -qq download prometheus 2>/dev/null) ||
    fail "apt-get update, please: it knows no package prometheus, of which promtool is a part"
  mkdir -p .tools
  dpkg -x "$folder"/prometheus_*.deb "$folder/all"
  install -D "$folder/all/usr/bin/promtool" .tools/usr/bin/promtool
  rm -r "$folder"
}

system
rust
if [[ $what == test ]]; then
  promtool
fi
if [[ $what == test && -z ${DESKHAND_TEST_NODE:-} ]]; then
  node_packages
fi
if [[ $what == test && -z ${DESKHAND_TEST_PYTHON:-} ]]; then
  venv
fi
