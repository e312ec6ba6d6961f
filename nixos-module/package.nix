# The program, from Cargo.lock alone.
{
  lib,
  rustPlatform,
  pkg-config,
  cmake,
  meson,
  ninja,
  nasm,
  libvpx,
}:
let
  manifest = lib.importTOML ../Cargo.toml;
in
rustPlatform.buildRustPackage {
  pname = "deskhand";
  inherit (manifest.workspace.package) version;

  # Only what the program is made of: a change of the documents builds nothing anew.
  src = lib.fileset.toSource {
    root = ../.;
    fileset = lib.fileset.unions [
      ../Cargo.toml
      ../Cargo.lock
      ../crates
      ../tests
      ../clippy.toml
    ];
  };
  cargoLock.lockFile = ../Cargo.lock;

  # meson and ninja build the dav1d that a crate brings along, cmake its libjpeg-turbo; none of them this.
  dontUseCmakeConfigure = true;
  dontUseMesonConfigure = true;
  dontUseNinjaBuild = true;
  dontUseNinjaCheck = true;
  dontUseNinjaInstall = true;
  nativeBuildInputs = [
    pkg-config
    cmake
    meson
    ninja
    nasm
    rustPlatform.bindgenHook
  ];
  buildInputs = [ libvpx ];

  # The bindings that come with the crate end with libvpx 1.13.
  buildFeatures = [ "codec/generate-vpx" ];
  cargoBuildFlags = [
    "--package"
    "deskhand"
  ];
  # They want X servers, network namespaces and the Python peer: `make test` in the dev shell.
  doCheck = false;

  meta = {
    description = "See and operate any remote machine over RustDesk: MCP gateway, headless client and host, hbbs and hbbr";
    license = lib.licenses.agpl3Plus;
    mainProgram = "deskhand";
    platforms = lib.platforms.linux;
  };
}
