# As much of nixpkgs as our Nix files use, from what a Debian machine has: `sandbox-paths` of tests/nix/check.sh.
{
  system ? "x86_64-linux",
  overlays ? [ ],
}:
let
  lib = import ./lib.nix;

  path = "/usr/bin:/bin";

  shell =
    name: attrs: command:
    derivation (
      removeAttrs attrs [ "meta" ]
      // {
        inherit name system;
        builder = "/bin/bash";
        # Not the last command: one that replaces the shell is killed at random.
        args = [
          "-euc"
          "export PATH=${path} HOME=/tmp; ${command}\ntrue"
        ];
      }
    )
    // {
      inherit name;
      meta = attrs.meta or { };
    };

  tool = name: shell name { meta.mainProgram = name; } "mkdir -p $out/bin; ln -s /usr/bin/${name} $out/bin/${name}";

  packages = self: {
    inherit lib system;
    stdenv = {
      buildPlatform.canExecute = _: true;
      hostPlatform = { };
    };

    callPackage =
      file: given:
      let
        make = if builtins.isFunction file then file else import file;
        wanted = builtins.functionArgs make;
        found = builtins.intersectAttrs wanted (self // given);
      in
      make found;

    runCommand = name: attrs: command: shell name attrs command;
    writeText =
      name: text:
      shell name {
        inherit text;
        passAsFile = [ "text" ];
      } "cp $textPath $out";
    writeScript =
      name: text:
      shell name {
        inherit text;
        passAsFile = [ "text" ];
      } "cp $textPath $out; chmod +x $out";

    formats.toml = _: {
      type = lib.types.value;
      generate =
        name: value:
        shell name {
          json = builtins.toJSON value;
          passAsFile = [ "json" ];
          program = ./toml.py;
        } "python3 $program < $jsonPath > $out";
    };

    rustPlatform = {
      bindgenHook = null;
      # The program as the machine's cargo built it: what is checked here is how it is packed.
      buildRustPackage =
        attrs:
        let
          built = builtins.getEnv "DESKHAND_BINARY";
          binary = builtins.path {
            path = if built == "" then throw "DESKHAND_BINARY is not set" else built;
            name = "deskhand-binary";
          };
        in
        shell "${attrs.pname}-${attrs.version}" {
          inherit (attrs) meta src;
          inherit binary;
        } "test -f $src/Cargo.lock; mkdir -p $out/bin; cp $binary $out/bin/deskhand; chmod 0755 $out/bin/deskhand"
        // {
          inherit (attrs) version;
        };
    };

    dockerTools.buildLayeredImage =
      attrs:
      shell "docker-image-${attrs.name}.tar" {
        meta = { };
        spec = builtins.toJSON (
          builtins.removeAttrs attrs [
            "contents"
            "fakeRootCommands"
          ]
        );
        fakeRoot = attrs.fakeRootCommands;
        contents = map toString attrs.contents;
        exportReferencesGraph = lib.concatMap (package: [
          "graph-${package.name}"
          package
        ]) attrs.contents;
        graphs = map (package: "graph-${package.name}") attrs.contents;
        program = ./image.py;
        passAsFile = [
          "spec"
          "fakeRoot"
        ];
      } "python3 $program";

    testers.nixosTest =
      test:
      let
        machine =
          name: module:
          import ./nixos.nix { inherit lib; pkgs = self; } {
            modules = [
              module
              {
                system.stateVersion = "26.05";
                networking.hostName = name;
              }
            ];
          };
        machines = lib.mapAttrs machine test.nodes;
      in
      shell "vm-test-${test.name}" {
        tops = lib.mapAttrsToList (_: machine: machine.config.system.build.toplevel) machines;
        script = test.testScript;
        passAsFile = [ "script" ];
      } "python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read())' $scriptPath; echo $tops > $out";

    mkShell = attrs: shell "shell" { } "mkdir $out" // { inherit (attrs) packages; };
    xorg = lib.genAttrs [ "xev" "xorgserver" "xprop" "xrandr" "xset" "xwininfo" ] tool;
  }
  // lib.genAttrs [
    "cacert"
    "cargo-deny"
    "cargo-nextest"
    "clippy"
    "cmake"
    "coreutils"
    "curl"
    "git"
    "iproute2"
    "libvpx"
    "meson"
    "nasm"
    "ninja"
    "nixfmt"
    "nodejs_22"
    "openbox"
    "pkg-config"
    "prometheus"
    "python3"
    "rustfmt"
    "xauth"
    "xclip"
    "xdotool"
    "xterm"
  ] tool;

  all =
    let
      plain = packages all;
    in
    builtins.foldl' (set: overlay: set // overlay all set) plain overlays;
in
all
