{
  outputs = _: {
    lib = import ./lib.nix // {
      nixosSystem =
        {
          system ? "x86_64-linux",
          modules,
        }:
        let
          lib = import ./lib.nix;
          overlays = builtins.concatLists (
            map (module: if builtins.isAttrs module then module.nixpkgs.overlays or [ ] else [ ]) modules
          );
          pkgs = import ./. { inherit system overlays; };
        in
        import ./nixos.nix { inherit lib pkgs; } { inherit system modules; };
    };
  };
}
