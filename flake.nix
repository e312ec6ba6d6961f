{
  description = "See and operate any remote machine: for AI models, people and scripts";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-26.05";

  outputs =
    { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      eachSystem =
        make:
        lib.genAttrs systems (
          system:
          make (
            import nixpkgs {
              inherit system;
              overlays = [ self.overlays.default ];
            }
          )
        );
      example = lib.nixosSystem {
        system = "x86_64-linux";
        modules = [
          self.nixosModules.default
          ./nixos-module/example.nix
        ];
      };
    in
    {
      overlays.default = final: _prev: {
        deskhand = final.callPackage ./nixos-module/package.nix { };
        deskhand-image = final.callPackage ./docker/image.nix {
          created = self.lastModified;
          revision = self.rev or "dirty";
        };
      };

      packages = eachSystem (pkgs: {
        default = pkgs.deskhand;
        inherit (pkgs) deskhand;
        oci-image = pkgs.deskhand-image;
      });

      nixosModules.default = {
        imports = [ ./nixos-module ];
        nixpkgs.overlays = [ self.overlays.default ];
      };

      nixosConfigurations.example = example;

      checks = eachSystem (
        pkgs:
        {
          inherit (pkgs) deskhand;
        }
        // lib.optionalAttrs (pkgs.system == "x86_64-linux") {
          example = example.config.system.build.toplevel;
          vm = import ./nixos-module/vm-test.nix {
            inherit pkgs;
            module = self.nixosModules.default;
          };
        }
      );

      devShells = eachSystem (pkgs: {
        default = import ./nixos-module/shell.nix { inherit pkgs; };
      });

      formatter = eachSystem (pkgs: pkgs.nixfmt);
    };
}
