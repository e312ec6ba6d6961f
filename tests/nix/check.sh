#!/usr/bin/env bash
# Checks the flake and the module without nixpkgs: against tests/nix/stub, which stands in for it.
#
#   tests/nix/check.sh BINARY    BINARY is the program as cargo built it
#
# What it shows: flake.nix and flake.lock agree; everything evaluates; mistakes in options are refused; the
# units pass systemd-analyze; the configuration is checked while building; the image comes out bit for bit the
# same twice. What it can not show: that the real nixpkgs builds it, and the VM test.
set -euo pipefail
cd "$(dirname "$0")/../.."

binary=$(realpath "${1:?the program is missing}")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# A copy without what is built, so that nothing of it is read into the store.
flake=$scratch/flake
mkdir "$flake"
git ls-files -z --cached --others --exclude-standard | tar --null --files-from=- --create | tar --extract --directory "$flake"

# What the program needs to run in the build's sandbox, which has only what is named here.
libraries=$(ldd "$binary" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p' | xargs -r dirname | sort -u | tr '\n' ' ')
export NIX_CONFIG="
experimental-features = nix-command flakes
substituters =
build-users-group =
sandbox = true
sandbox-paths = /bin /usr /lib /lib64 /etc/alternatives /etc/ld.so.cache $libraries
flake-registry =
warn-dirty = false
"
export DESKHAND_BINARY=$binary
stub=(--override-input nixpkgs "path:$PWD/tests/nix/stub" --no-write-lock-file --impure)

step() { printf 'nix: %s\n' "$*"; }
fail() {
  printf 'nix: %s\n' "$*" >&2
  exit 1
}

step "flake.nix and flake.lock agree"
nix flake metadata "path:$flake" --no-update-lock-file >/dev/null
sed 's/nixos-26.05/nixos-99.99/' flake.nix >"$scratch/other.nix"
mkdir "$scratch/other" && cp flake.lock "$scratch/other/" && cp "$scratch/other.nix" "$scratch/other/flake.nix"
if nix flake metadata "path:$scratch/other" --no-update-lock-file >/dev/null 2>&1; then
  fail "a lock file that does not belong to the flake is accepted"
fi

step "everything evaluates"
nix flake show "path:$flake" "${stub[@]}" >/dev/null
for attribute in packages.aarch64-linux.deskhand.name formatter.x86_64-linux.name devShells.x86_64-linux.default.name \
  checks.x86_64-linux.vm.name; do
  nix eval "path:$flake#$attribute" "${stub[@]}" >/dev/null
done

build() {
  nix build "path:$flake#$1" "${stub[@]}" --out-link "$scratch/$2"
}

step "the example machine builds, its configuration is checked"
build nixosConfigurations.example.config.system.build.toplevel machine
unit=$scratch/machine/units/deskhand.service
nix eval --json "path:$flake#nixosConfigurations.example.config.services.deskhand" "${stub[@]}" \
  --apply 'c: builtins.deepSeq c.settings true' >/dev/null

step "the VM test evaluates"
build checks.x86_64-linux.vm vm

# A machine with these options on top of a plain one; must fail with this message.
refused() {
  local message=$1 options=$2 output
  output=$(nix build "${stub[@]}" --no-link --expr "
    let
      flake = builtins.getFlake \"path:$flake\";
      nixpkgs = builtins.getFlake \"path:$PWD/tests/nix/stub\";
      self = import $flake/flake.nix;
      outputs = self.outputs { inherit nixpkgs; self = outputs // { lastModified = 0; }; };
    in
    (nixpkgs.lib.nixosSystem {
      modules = [ outputs.nixosModules.default { system.stateVersion = \"26.05\"; services.deskhand = $options; } ];
    }).config.system.build.toplevel" 2>&1) && fail "accepted: $options"
  grep -qF "$message" <<<"$output" || fail "for $options expected \"$message\", got: $output"
}

step "mistakes are refused"
refused "is not of type" '{ enable = "yes"; }'
refused "does not exist" '{ enable = true; openFirewal = true; }'
refused "is used but not defined" '{ enable = true; targets.a.tags = [ ]; }'
refused "belong together" '{ enable = true; tls.keyFile = "/k"; }'
refused "services.deskhand.rendezvous.enable is not" '{ enable = true; rendezvous.keyFile = "/k"; }'
refused "have the same port" '{ enable = true; settings.metrics.listen = "127.0.0.1:8642"; }'
refused "names are made of" '{ enable = true; targets."a b".address = "123456789"; }'
refused "exclude each other" '{ host = { enable = true; passwordFile = "/p"; directPort = 1; virtual = "8x6"; display = ":0"; }; }'
refused "the public key of the server" '{ host = { enable = true; passwordFile = "/p"; server = "s"; virtual = "800x600"; }; }'
refused "nobody could reach it" '{ host = { enable = true; passwordFile = "/p"; virtual = "800x600"; }; }'
# By the program itself.
refused "htpp" '{ enable = true; settings.htpp = { }; }'

step "the units are sound and confined"
# The stub's programs are links to nowhere, and this systemd may not know the newest keys.
mkdir "$scratch/units"
for file in "$scratch"/machine/units/*.service; do
  sed -e 's|/nix/store/[^ ]*/bin/[a-z]*|/bin/true|' -e '/^RestartSteps=\|^RestartMaxDelaySec=/d' "$file" \
    >"$scratch/units/$(basename "$file")"
done
systemd-analyze verify --man=no --recursive-errors=one "$scratch"/units/*.service
systemd-analyze security --offline=yes --threshold=15 "$unit" | tail -n 1

step "the image is the same twice"
build packages.x86_64-linux.oci-image image
nix build "path:$flake#packages.x86_64-linux.oci-image" "${stub[@]}" --rebuild --no-link
sha256sum "$(realpath "$scratch/image")" | cut -d' ' -f1

step "done"
